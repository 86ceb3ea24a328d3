//! What a long list takes of memory, beside its bytes and its values. Run with
//!
//! ```text
//! cargo bench -p lxd-tests --bench memory
//! ```

use std::time::Instant;

use lxd_client::Client;
use lxd_client::types::InstanceFull;
use lxd_tests::measure::{forget_peak, peak_memory};
use lxd_tests::replay::{Replay, runtime, serve_if_told};
use serde_json::Value;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static MEMORY: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

const COUNT: usize = 5_000;

/// How much memory the list of 5,000 takes at most, beside its bytes and its values.
fn main() {
    serve_if_told();
    let replay = Replay::start(None);
    let runtime = runtime();
    let one = Client::builder().endpoint(replay.endpoint()).build().expect("a client");
    let lxd = one.use_project(&COUNT.to_string());
    // What a client takes at first is none of the list's.
    runtime.block_on(async { one.instance("one").await }).expect("an answer");
    let full: Value = serde_json::from_str(include_str!("../data/instance-full.json")).expect("JSON");
    let body = COUNT * (full.to_string().len() + 1);
    let (begun, before, region) = (Instant::now(), forget_peak(), Region::new(MEMORY));
    let list: Vec<InstanceFull> =
        runtime.block_on(async { lxd.instances_recursion2().await }).expect("a list");
    let taken = begun.elapsed();
    let (stats, peak) = (region.change(), (peak_memory() - before) * 1024);
    let values = stats.bytes_allocated - stats.bytes_deallocated;
    println!("{:<64} {} of {} instances in {taken:.1?}", "bytes of the values", values, list.len());
    println!("{:<64} {body}", "bytes of the body");
    println!("{:<64} {peak}", "peak of the process beside what it had");
    println!("{:<64} {:.2}", "ratio to body and values", peak as f64 / (body + values) as f64);
}
