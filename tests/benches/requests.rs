//! What a request costs: processor time and allocations of a small GET and of lists of full instances, beside the
//! least that could do the same, a loop over hyper with structs that serde derives. Run with
//!
//! ```text
//! cargo bench -p lxd-tests --bench requests
//! ```
//!
//! or with ` -- NAME` behind it for one of `get`, `list` and `memory`.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Instant;

use http::header::HOST;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use lxd_client::Client;
use lxd_client::types::InstanceFull;
use lxd_tests::measure::{forget_peak, peak_memory, processor_time, show};
use lxd_tests::replay::{Replay, runtime, serve_if_told};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

#[global_allocator]
static MEMORY: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

fn main() {
    serve_if_told();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let all: [(&str, fn()); 3] = [("get", get), ("list", list), ("memory", memory)];
    for (name, measure) in all {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            measure();
        }
    }
}

fn client(replay: &Replay) -> Client {
    Client::builder().endpoint(replay.endpoint()).build().expect("a client")
}

/// The least: one connection, a request, its bytes.
struct Floor(SendRequest<String>);

impl Floor {
    async fn new(replay: &Replay) -> Self {
        let stream = UnixStream::connect(replay.socket()).await.expect("a server");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("a connection");
        tokio::spawn(connection);
        Self(sender)
    }

    async fn get<T: DeserializeOwned>(&mut self, path: &str) -> T {
        let request = http::Request::get(path).header(HOST, "lxd").body(String::new()).expect("a request");
        let mut body = self.0.send_request(request).await.expect("an answer").into_body();
        let bytes = all(&mut body).await;
        let envelope: Envelope<T> = serde_json::from_slice(&bytes).expect("an envelope");
        envelope.metadata
    }
}

async fn all(body: &mut Incoming) -> Vec<u8> {
    let length = body.size_hint().exact().expect("a length");
    let mut bytes = Vec::with_capacity(usize::try_from(length).expect("a length"));
    while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        bytes.extend_from_slice(&frame.expect("bytes").into_data().expect("bytes"));
    }
    bytes
}

#[derive(Deserialize)]
struct Envelope<T> {
    metadata: T,
}

/// Sixteen of the fields, which is what many programs look at.
#[allow(dead_code, reason = "they are read, and not looked at")]
#[derive(Deserialize)]
struct Some16 {
    name: String,
    status: String,
    status_code: i64,
    architecture: String,
    created_at: String,
    description: String,
    ephemeral: bool,
    last_used_at: String,
    location: String,
    profiles: Vec<String>,
    project: String,
    stateful: bool,
    #[serde(rename = "type")]
    kind: String,
    config: BTreeMap<String, String>,
    devices: BTreeMap<String, BTreeMap<String, String>>,
    expanded_devices: BTreeMap<String, BTreeMap<String, String>>,
}

/// All of the fields, derived.
#[allow(dead_code, reason = "they are read, and not looked at")]
#[derive(Deserialize)]
struct All {
    name: String,
    status: String,
    status_code: i64,
    architecture: String,
    created_at: Time,
    description: String,
    ephemeral: bool,
    last_used_at: Time,
    location: String,
    profiles: Vec<String>,
    project: String,
    stateful: bool,
    #[serde(rename = "type")]
    kind: String,
    config: BTreeMap<String, String>,
    expanded_config: BTreeMap<String, String>,
    devices: BTreeMap<String, BTreeMap<String, String>>,
    expanded_devices: BTreeMap<String, BTreeMap<String, String>>,
    backups: Option<Vec<Value>>,
    state: State,
    snapshots: Option<Vec<Snapshot>>,
}

#[allow(dead_code, reason = "they are read, and not looked at")]
#[derive(Deserialize)]
struct Snapshot {
    name: String,
    architecture: String,
    created_at: Time,
    expires_at: Time,
    last_used_at: Time,
    ephemeral: bool,
    stateful: bool,
    size: i64,
    profiles: Vec<String>,
    config: BTreeMap<String, String>,
    expanded_config: BTreeMap<String, String>,
    devices: BTreeMap<String, BTreeMap<String, String>>,
    expanded_devices: BTreeMap<String, BTreeMap<String, String>>,
}

#[allow(dead_code, reason = "they are read, and not looked at")]
#[derive(Deserialize)]
struct State {
    status: String,
    status_code: i64,
    disk: BTreeMap<String, BTreeMap<String, i64>>,
    memory: Memory,
    network: Option<BTreeMap<String, Network>>,
    pid: i64,
    processes: i64,
    cpu: Cpu,
}

#[allow(dead_code, reason = "they are read, and not looked at")]
#[derive(Deserialize)]
struct Memory {
    usage: i64,
    usage_peak: i64,
    swap_usage: i64,
    swap_usage_peak: i64,
}

#[allow(dead_code, reason = "they are read, and not looked at")]
#[derive(Deserialize)]
struct Cpu {
    usage: i64,
}

#[allow(dead_code, reason = "they are read, and not looked at")]
#[derive(Deserialize)]
struct Network {
    addresses: Vec<BTreeMap<String, String>>,
    counters: BTreeMap<String, i64>,
    hwaddr: String,
    host_name: String,
    mtu: i64,
    state: String,
    #[serde(rename = "type")]
    kind: String,
}

/// A time, read as the client's types do it.
#[allow(dead_code, reason = "it is read, and not looked at")]
struct Time(jiff::Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// Runs two things in turns, so many times each in a batch; the processor time of one, in microseconds.
fn in_turns(batches: usize, times: usize, mut run: [&mut dyn FnMut(usize); 2]) -> [Vec<f64>; 2] {
    let mut measured = [Vec::new(), Vec::new()];
    // The first batch is to warm up.
    for batch in 0..=batches {
        for (measured, run) in measured.iter_mut().zip(&mut run) {
            let before = processor_time();
            run(times);
            let taken = processor_time() - before;
            if batch > 0 {
                measured.push(taken.as_secs_f64() * 1e6 / times as f64);
            }
        }
    }
    measured
}

/// The same, printed with the ratio of the second one, the client, to the first one.
fn compare(what: &str, floor: &str, batches: usize, times: usize, run: [&mut dyn FnMut(usize); 2]) {
    let [least, ours] = in_turns(batches, times, run);
    let least = show(&format!("{what}, {floor}"), least, "µs");
    let ours = show(&format!("{what}, client"), ours, "µs");
    println!("{:<64} {:.2}", "ratio", ours / least);
}

/// A small GET: processor time, of the client's thread alone, and allocations.
fn get() {
    let replay = Replay::start(None);
    let runtime = runtime();
    let lxd = client(&replay);
    let mut floor = runtime.block_on(Floor::new(&replay));
    let mut least = |times: usize| {
        runtime.block_on(async {
            for _ in 0..times {
                let one: Some16 = floor.get("/1.0/instances/one").await;
                assert_eq!(one.name, "one");
            }
        });
    };
    let mut ours = |times: usize| {
        runtime.block_on(async {
            for _ in 0..times {
                assert_eq!(lxd.instance("one").await.expect("an answer").name, "one");
            }
        });
    };
    compare("GET of one instance", "floor (16 fields)", 20, 500, [&mut least, &mut ours]);
    let region = Region::new(MEMORY);
    runtime.block_on(async { lxd.instance("one").await }).expect("an answer");
    println!("{:<64} {}", "allocations of a GET of one instance", region.change().allocations);
    let region = Region::new(MEMORY);
    runtime.block_on(async { lxd.instance("none").await }).expect_err("a refusal");
    println!("{:<64} {}", "allocations of a GET that is refused", region.change().allocations);
}

/// Lists of full instances.
fn list() {
    let replay = Replay::start(None);
    let runtime = runtime();
    for (count, batches, times) in [(200, 20, 10), (5000, 10, 1)] {
        let lxd = client(&replay).use_project(&count.to_string());
        let mut ours = |times: usize| {
            runtime.block_on(async {
                for _ in 0..times {
                    assert_eq!(lxd.instances_recursion2().await.expect("an answer").len(), count);
                }
            });
        };
        let what = format!("list of {count}");
        let mut some = least::<Some16>(&replay, &runtime, count);
        compare(&what, "floor (16 fields)", batches, times, [&mut some, &mut ours]);
        let mut all = least::<All>(&replay, &runtime, count);
        compare(&what, "derived serde (all fields)", batches, times, [&mut all, &mut ours]);
    }
}

/// Reads lists of that many with the least that can do it.
fn least<T: DeserializeOwned>(replay: &Replay, runtime: &Runtime, count: usize) -> impl FnMut(usize) {
    let mut floor = runtime.block_on(Floor::new(replay));
    let path = format!("/1.0/instances?recursion=2&project={count}");
    move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                assert_eq!(floor.get::<Vec<T>>(&path).await.len(), count);
            }
        });
    }
}

/// How much memory the list of 5,000 takes at most, beside its bytes and its values.
fn memory() {
    let replay = Replay::start(None);
    let runtime = runtime();
    let one = client(&replay);
    let lxd = one.use_project("5000");
    // What a client takes at first is none of the list's.
    runtime.block_on(async { one.instance("one").await }).expect("an answer");
    let body = runtime.block_on(async {
        let mut floor = Floor::new(&replay).await;
        serde_json::to_vec(&floor.get::<Value>("/1.0/instances?recursion=2&project=5000").await)
            .expect("JSON")
            .len()
    });
    let begun = Instant::now();
    let region = Region::new(MEMORY);
    let list: Vec<InstanceFull> =
        runtime.block_on(async { lxd.instances_recursion2().await }).expect("a list");
    let taken = begun.elapsed();
    let stats = region.change();
    let values = stats.bytes_allocated - stats.bytes_deallocated;
    drop(list);
    let before = forget_peak();
    let list = runtime.block_on(async { lxd.instances_recursion2().await }).expect("a list");
    let peak = (peak_memory() - before) * 1024;
    println!("{:<64} {} of {} instances in {taken:.1?}", "bytes of the values", values, list.len());
    println!("{:<64} {body}", "bytes of the body");
    println!("{:<64} {peak}", "peak of the process beside what it had");
    println!("{:<64} {:.2}", "ratio to body and values", peak as f64 / (body + values) as f64);
}
