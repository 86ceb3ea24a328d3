//! What it costs to follow background operations: time from the server's word to the task that waits,
//! requests, processor time and memory. Run with
//!
//! ```text
//! tests/with-lxd cargo bench -p lxd-tests --bench operations
//! ```
//!
//! or with ` -- NAME` behind it for one of `latency`, `requests`, `memory` and `pairs`.

use std::future::IntoFuture as _;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lxd_client::types::InstancesPost;
use lxd_client::{Client, Error};
use lxd_tests::measure::{processor_time, run, show};
use lxd_tests::real::{Place, socket, with_project};
use lxd_tests::replay::{Replay, now, runtime, serve_if_told};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

#[global_allocator]
static MEMORY: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

fn main() {
    serve_if_told();
    run(&[("latency", latency), ("requests", requests), ("memory", memory), ("pairs", pairs)]);
}

fn client(replay: &Replay) -> Client {
    Client::builder().endpoint(replay.endpoint()).build().expect("a client")
}

/// From the moment before the server writes the event of the end until the task that waits goes on.
/// The floor is a task that reads the same bytes from a socket and does nothing with them.
fn latency() {
    let replay = Replay::start(Some(Duration::from_micros(500)));
    let (mut awaited, mut floor) = (Vec::new(), Vec::new());
    runtime().block_on(async {
        let lxd = client(&replay);
        let mut socket = UnixStream::connect(replay.socket()).await.expect("a server");
        let request = "GET /1.0/events HTTP/1.1\r\nhost: x\r\nsec-websocket-key: x\r\n\r\n";
        socket.write_all(request.as_bytes()).await.expect("a server");
        let mut bytes = vec![0; 4096];
        let head = socket.read(&mut bytes).await.expect("the head");
        assert!(bytes[..head].ends_with(b"\r\n\r\n"));
        let raw = tokio::spawn(async move {
            let mut floor = Vec::new();
            while floor.len() < 2000 {
                let read = socket.read(&mut bytes).await.expect("an event");
                let now = now();
                let text = String::from_utf8_lossy(&bytes[..read]);
                let sent = text.split(r#""sent":""#).nth(1).and_then(|rest| rest.split('"').next());
                floor.push(micros(now, sent.expect("a time")));
            }
            floor
        });
        for _ in 0..2000 {
            let operation = lxd.create_instance(InstancesPost::default()).start().await.expect("a call");
            operation.wait().await.expect("a success");
            let now = now();
            awaited.push(micros(now, operation.metadata()["sent"].as_str().expect("a time")));
        }
        floor = raw.await.expect("no panic");
    });
    let floor = show("latency, floor (a task that reads the socket)", floor, "µs");
    let awaited = show("latency, from the server's event to the task that waits", awaited, "µs");
    println!("{:<64} {:.2}", "ratio to the floor", awaited / floor);
}

fn micros(now: u128, sent: &str) -> f64 {
    let sent: u128 = sent.parse().expect("a number");
    now.saturating_sub(sent) as f64 / 1000.0
}

/// How many requests a thousand operations take, beside the two that open the socket.
fn requests() {
    let replay = Replay::start(Some(Duration::ZERO));
    runtime().block_on(async {
        let lxd = client(&replay);
        lxd.create_instance(InstancesPost::default()).await.expect("a success");
        let used = processor_time();
        for _ in 1..1000 {
            lxd.create_instance(InstancesPost::default()).await.expect("a success");
        }
        let used = (processor_time() - used).as_secs_f64() * 1e6 / 999.0;
        println!("{:<64} {used:.1} µs", "CPU per awaited operation, one after the other, with one event");
        let requests = replay.requests().await;
        let once = 2;
        println!("{:<64} {}", "requests per awaited operation, of 1000", (requests - once) as f64 / 1000.0);
    });
}

/// Memory of ten thousand operations that are pending, on the client's side.
fn memory() {
    const COUNT: usize = 10_000;
    for awaited in [false, true] {
        let replay = Replay::start(None);
        runtime().block_on(async {
            let lxd = client(&replay);
            // What the first calls set up stays: the socket of events, and the connections, which are kept for a
            // minute.
            drop(lxd.create_instance(InstancesPost::default()).start().await.expect("a call"));
            let connections = Region::new(MEMORY);
            join_all((0..1_000).map(|_| lxd.instance("one").into_future())).await;
            let (stats, count) = (connections.change(), replay.connections().await);
            let held = (stats.bytes_allocated - stats.bytes_deallocated) as f64 / count as f64 / 1024.0;
            println!("{:<64} {held:.1} KiB", format!("memory of a connection that is kept, of {count}"));
            let asked = replay.requests().await;
            let before = Region::new(MEMORY);
            let (mut handles, mut tasks) = (Vec::with_capacity(COUNT), Vec::with_capacity(COUNT));
            for _ in 0..COUNT {
                if awaited {
                    let call = lxd.create_instance(InstancesPost::default());
                    tasks.push(tokio::spawn(call.into_future()));
                } else {
                    handles
                        .push(lxd.create_instance(InstancesPost::default()).start().await.expect("a call"));
                }
            }
            while awaited && replay.requests().await < asked + COUNT as u64 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            let stats = before.change();
            let held = stats.bytes_allocated as f64 - stats.bytes_deallocated as f64;
            let held = held - (COUNT * size_of::<usize>()) as f64;
            let what = if awaited { "a task that awaits the call" } else { "a handle" };
            println!(
                "{:<64} {:.0} bytes",
                format!("memory per pending operation, {COUNT} pending, {what}"),
                held / COUNT as f64
            );
            let begun = Instant::now();
            replay.end_all().await;
            for handle in &handles {
                handle.wait().await.expect("a success");
            }
            for task in tasks {
                task.await.expect("no panic").expect("a success");
            }
            println!(
                "{:<64} {:.1} ms",
                format!("{COUNT} ends at once, until all know, {what}"),
                begun.elapsed().as_secs_f64() * 1000.0
            );
        });
    }
}

/// Pairs of creation and deletion on a real LXD: processor time of this process, and time in all. The
/// floor does the same with two sockets and no more than a search for the bytes of the end.
fn pairs() {
    const PAIRS: usize = 50;
    let [mut cpu, mut floor, mut ratio, mut wall] = [const { Vec::new() }; 4];
    runtime().block_on(with_project(move |place| async move {
        let lxd = &place.lxd;
        let mut raw = Raw::connect(&place.name).await;
        pair(lxd).await?;
        for _ in 0..8 {
            let (begun, used) = (Instant::now(), processor_time());
            for _ in 0..PAIRS {
                pair(lxd).await?;
            }
            let client = (processor_time() - used).as_secs_f64() * 1000.0 / PAIRS as f64;
            wall.push(begun.elapsed().as_secs_f64() * 1000.0 / PAIRS as f64);
            raw.say_that_it_listens().await;
            let used = processor_time();
            for _ in 0..PAIRS {
                raw.pair().await;
            }
            let least = (processor_time() - used).as_secs_f64() * 1000.0 / PAIRS as f64;
            cpu.push(client);
            floor.push(least);
            ratio.push(client / least);
        }
        show("CPU of a create-and-delete pair on a real LXD, floor", floor, "ms");
        show("CPU of a create-and-delete pair on a real LXD", cpu, "ms");
        show("ratio to the floor", ratio, "  ");
        show("time of a create-and-delete pair on a real LXD, in all", wall, "ms");
        Ok::<_, Error>(())
    }));
}

async fn pair(lxd: &Client) -> Result<(), Error> {
    lxd.create_instance(Place::empty_instance("one")).await?;
    lxd.delete_instance("one").await
}

/// The least that could do it.
struct Raw {
    project: String,
    calls: UnixStream,
    events: UnixStream,
    bytes: Vec<u8>,
}

impl Raw {
    async fn connect(project: &str) -> Self {
        let connect = || async { UnixStream::connect(socket()).await.expect("a server") };
        let mut events = connect().await;
        let request = format!(
            "GET /1.0/events?type=operation&project={project} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        events.write_all(request.as_bytes()).await.expect("a server");
        let mut bytes = vec![0; 16 * 1024];
        let read = events.read(&mut bytes).await.expect("the handshake");
        assert!(bytes[..read].starts_with(b"HTTP/1.1 101"));
        // LXD serves nobody else while a connection is open that has sent nothing.
        let mut calls = connect().await;
        calls.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("a server");
        let read = calls.read(&mut bytes).await.expect("an answer");
        assert!(bytes[..read].starts_with(b"HTTP/1.1 200"));
        Self { project: project.to_owned(), calls, events, bytes }
    }

    /// Answers the questions of the server whether it listens, which is closed otherwise.
    async fn say_that_it_listens(&mut self) {
        self.events.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await.expect("a server");
    }

    async fn pair(&mut self) {
        let body = r#"{"name":"one","source":{"type":"none"}}"#;
        self.call("POST /1.0/instances", body).await;
        self.call("DELETE /1.0/instances/one", "").await;
    }

    async fn call(&mut self, line: &str, body: &str) {
        let (project, length) = (&self.project, body.len());
        let request =
            format!("{line}?project={project} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
        self.calls.write_all(request.as_bytes()).await.expect("a server");
        let read = self.calls.read(&mut self.bytes).await.expect("an answer");
        let answer = String::from_utf8_lossy(&self.bytes[..read]);
        let id = answer.split(r#""id":""#).nth(1).and_then(|rest| rest.get(..36)).expect("an operation");
        let id = id.to_owned();
        let mut seen = String::new();
        loop {
            let read = self.events.read(&mut self.bytes).await.expect("an event");
            assert!(read > 0, "the server has closed the socket");
            seen.push_str(&String::from_utf8_lossy(&self.bytes[..read]));
            let mut events = seen.split(r#"{"type":"operation""#);
            if events.any(|event| event.contains(&id) && event.contains(r#""status_code":200"#)) {
                return;
            }
        }
    }
}
