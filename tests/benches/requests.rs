//! What a request costs: processor time of a GET, of lists of full instances and of many requests at once, beside the
//! least that could do the same, a loop over hyper with structs that serde derives. Run with
//!
//! ```text
//! cargo bench -p lxd-tests --bench requests
//! ```
//!
//! or with ` -- NAME` behind it for one of `get`, `list` and `crowd`.

use std::collections::BTreeMap;
use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::time::Instant;

use futures_util::future::try_join_all;
use http::header::HOST;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use lxd_client::Client;
use lxd_tests::measure::{processor_time, run, show};
use lxd_tests::replay::{Replay, runtime, serve_if_told};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

fn main() {
    serve_if_told();
    run(&[("get", get), ("list", list), ("crowd", crowd)]);
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

/// An instance with sixteen of its fields, which is what many programs look at, with times of a type, and with more
/// fields.
macro_rules! instance {
    ($(#[$doc:meta])* $name:ident, $time:ty $(, $more:ident: $type:ty)*) => {
        $(#[$doc])*
        #[allow(dead_code, reason = "they are read, and not looked at")]
        #[derive(Deserialize)]
        struct $name {
            name: String,
            status: String,
            status_code: i64,
            architecture: String,
            created_at: $time,
            description: String,
            ephemeral: bool,
            last_used_at: $time,
            location: String,
            profiles: Vec<String>,
            project: String,
            stateful: bool,
            #[serde(rename = "type")]
            kind: String,
            config: BTreeMap<String, String>,
            devices: BTreeMap<String, BTreeMap<String, String>>,
            expanded_devices: BTreeMap<String, BTreeMap<String, String>>,
            $($more: $type,)*
        }
    };
}

instance!(
    /// The sixteen alone.
    Some16,
    String
);

instance!(
    /// All of the fields of an instance.
    All17,
    Time,
    expanded_config: BTreeMap<String, String>
);

instance!(
    /// All of the fields of a full instance.
    All,
    Time,
    expanded_config: BTreeMap<String, String>,
    backups: Option<Vec<Value>>,
    state: State,
    snapshots: Option<Vec<Snapshot>>
);

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

/// All of the fields of a profile.
#[allow(dead_code, reason = "they are read, and not looked at")]
#[derive(Deserialize)]
struct Profile {
    name: String,
    description: String,
    config: BTreeMap<String, String>,
    devices: BTreeMap<String, BTreeMap<String, String>>,
    used_by: Vec<String>,
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

/// Runs two things in turns, so many times each in a batch, and prints the processor time of one, and its ratio
/// turn by turn: what the machine has to do beside this changes from one second to the next.
fn compare(what: &str, names: [&str; 2], batches: usize, times: usize, mut run: [&mut dyn FnMut(usize); 2]) {
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
    let ratios = measured[1].iter().zip(&measured[0]).map(|(ours, least)| ours / least).collect();
    for (name, measured) in names.iter().zip(measured) {
        show(&format!("{what}, {name}"), measured, "µs");
    }
    show(&format!("{what}, ratio to {}", names[0]), ratios, "");
}

/// Runs something so many times, one after the other.
fn repeat(runtime: &Runtime, mut run: impl AsyncFnMut()) -> impl FnMut(usize) {
    move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                run().await;
            }
        });
    }
}

/// Reads something, and looks at it, with the least that can do it.
fn least<T: DeserializeOwned>(
    replay: &Replay,
    runtime: &Runtime,
    path: &str,
    check: impl Fn(T),
) -> impl FnMut(usize) {
    let mut floor = runtime.block_on(Floor::new(replay));
    repeat(runtime, async move || check(floor.get(path).await))
}

/// A GET of one object: processor time of the client's thread alone.
fn get() {
    let replay = Replay::start(None);
    let runtime = runtime();
    let lxd = client(&replay);
    let (what, path) = ("GET of one instance", "/1.0/instances/one");
    let mut ours = repeat(&runtime, async || {
        assert_eq!(lxd.instance("one").await.expect("an answer").name, "one");
    });
    let mut some = least(&replay, &runtime, path, |one: Some16| assert_eq!(one.name, "one"));
    compare(what, ["floor (16 fields)", "client"], 60, 300, [&mut some, &mut ours]);
    let mut all = least(&replay, &runtime, path, |one: All17| assert_eq!(one.name, "one"));
    compare(what, ["floor (all 17 fields)", "client"], 60, 300, [&mut all, &mut ours]);
    let (what, path) = ("GET of a profile", "/1.0/profiles/default");
    let mut ours = repeat(&runtime, async || {
        assert_eq!(lxd.profile("default").await.expect("an answer").name, "default");
    });
    let mut all = least(&replay, &runtime, path, |one: Profile| assert_eq!(one.name, "default"));
    compare(what, ["floor (all 5 fields)", "client"], 60, 300, [&mut all, &mut ours]);
}

/// Lists of full instances.
fn list() {
    let replay = Replay::start(None);
    let runtime = runtime();
    for (count, batches, times) in [(200, 40, 8), (5000, 12, 1)] {
        let lxd = client(&replay).use_project(&count.to_string());
        let (what, path) =
            (format!("list of {count}"), format!("/1.0/instances?recursion=2&project={count}"));
        let mut ours = repeat(&runtime, async || {
            assert_eq!(lxd.instances_recursion2().await.expect("an answer").len(), count);
        });
        let mut some = least(&replay, &runtime, &path, |list: Vec<Some16>| assert_eq!(list.len(), count));
        compare(&what, ["floor (16 fields)", "client"], batches, times, [&mut some, &mut ours]);
        let mut all = least(&replay, &runtime, &path, |list: Vec<All>| assert_eq!(list.len(), count));
        compare(&what, ["derived serde (all fields)", "client"], batches, times, [&mut all, &mut ours]);
    }
}

/// Ten thousand requests under way from a thousand tasks, beside as many one after the other.
fn crowd() {
    const TASKS: usize = 1_000;
    const EACH: usize = 10;
    let replay = Replay::start(None);
    let runtime = runtime();
    let lxd = client(&replay);
    let mut one = repeat(&runtime, async || {
        lxd.instance("one").await.expect("an answer");
    });
    let mut crowded = |times: usize| {
        assert_eq!(times, TASKS * EACH);
        runtime.block_on(async {
            let task = |_| {
                let lxd = lxd.clone();
                tokio::spawn(async move {
                    let requests = (0..EACH).map(|_| lxd.instance("one").into_future());
                    try_join_all(requests).await.expect("answers").len()
                })
            };
            for task in (0..TASKS).map(task).collect::<Vec<_>>() {
                assert_eq!(task.await.expect("no panic"), EACH);
            }
        });
    };
    let begun = Instant::now();
    crowded(TASKS * EACH);
    println!("{:<64} {:.0?}", "10,000 requests from 1,000 tasks, time in all", begun.elapsed());
    println!("{:<64} {}", "connections that this took", runtime.block_on(replay.connections()));
    let names = ["one after the other", "from 1,000 tasks at once"];
    compare("one of 10,000 requests", names, 5, TASKS * EACH, [&mut one, &mut crowded]);
}
