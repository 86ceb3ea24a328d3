//! What a fleet costs: one process with a client of each of a thousand servers, over TLS, each with its socket of
//! events; and how the clients come back after an outage of all servers. Needs 4,000 open files. Run with
//!
//! ```text
//! cargo bench -p lxd-tests --bench fleet
//! ```
//!
//! or with ` -- NAME` behind it for one of `idle` and `outage`.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lxd_client::{Client, Events, Identity};
use lxd_tests::measure::{current_memory, processor_time, run, show};
use lxd_tests::replay::{Fleet, runtime, serve_if_told};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static MEMORY: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

const COUNT: u16 = 1_000;

fn main() {
    serve_if_told();
    run(&[("idle", idle), ("outage", outage)]);
}

/// A client of each server.
fn clients(fleet: &Fleet) -> Vec<Client> {
    let identity = Identity::generate("an orchestrator").expect("an identity");
    let build = |endpoint: String| {
        Client::builder()
            .endpoint(endpoint)
            .server_certificate(fleet.certificate())
            .identity(identity.clone())
            .build()
            .expect("a client")
    };
    fleet.endpoints().map(build).collect()
}

/// Its socket of events.
async fn listen(clients: &[Client]) -> Vec<Events> {
    let mut streams = Vec::with_capacity(clients.len());
    for lxd in clients {
        streams.push(lxd.events().await.expect("events"));
    }
    streams
}

/// Memory of clients that have nothing to do, on the client's side.
fn idle() {
    let mut fleet = Fleet::start(COUNT);
    runtime().block_on(async {
        let (before, region) = (current_memory(), Region::new(MEMORY));
        let tell = |what: &str| {
            let stats = region.change();
            let held = (stats.bytes_allocated - stats.bytes_deallocated) as f64 / f64::from(COUNT);
            let resident = (current_memory() - before) as f64 / f64::from(COUNT);
            println!(
                "{:<64} {:.1} KiB, resident {resident:.1} KiB",
                format!("memory of a client, {what}"),
                held / 1024.0
            );
        };
        let used = processor_time();
        let clients = clients(&fleet);
        println!(
            "{:<64} {:.1} µs",
            "CPU to build a client",
            (processor_time() - used).as_secs_f64() * 1e6 / f64::from(COUNT)
        );
        tell("built");
        let streams = listen(&clients).await;
        fleet.listened_to();
        tell("with its socket of events");
        for lxd in &clients {
            lxd.instance("one").await.expect("an instance");
        }
        tell("with a connection that is kept for a minute, too");
        drop((streams, clients));
    });
}

/// All servers go at once, and come back: when each of the clients does.
fn outage() {
    let mut fleet = Fleet::start(COUNT);
    let runtime = runtime();
    let clients = clients(&fleet);
    let streams = runtime.block_on(listen(&clients));
    fleet.listened_to();
    let watching = std::thread::spawn(move || {
        runtime.block_on(async {
            let tasks: Vec<_> = streams
                .into_iter()
                .map(|mut stream| tokio::spawn(async move { while stream.next().await.is_some() {} }))
                .collect();
            for task in tasks {
                task.await.expect("no panic");
            }
        });
    });
    for seconds in [1, 20] {
        fleet.end();
        // The outage itself.
        std::thread::sleep(Duration::from_secs(seconds));
        let begun = Instant::now();
        fleet.start_again();
        let mut back: Vec<f64> = fleet.listened_to().iter().map(|time| time.as_secs_f64() * 1000.0).collect();
        back.sort_by(f64::total_cmp);
        let crowd = |width: f64| {
            back.iter()
                .map(|begin| back.iter().filter(|at| (*begin..*begin + width).contains(*at)).count())
                .max()
        };
        println!(
            "{:<64} {:?} of {COUNT}, in all {:.1?}",
            format!("most that come back in 100 ms, after {seconds} s"),
            crowd(100.0).unwrap_or_default(),
            begun.elapsed()
        );
        show(&format!("when a client is back, after {seconds} s"), back, "ms");
    }
    drop(clients);
    // The streams have no end.
    drop(watching);
}
