//! How much memory requests ask for: counts that hold on any machine. It has no harness, as the server it asks is this
//! program in another process, so that nothing of that is counted.

use lxd_client::Client;
use lxd_tests::replay::{Replay, runtime, serve_if_told};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static MEMORY: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

/// How many times memory was asked for, or for more of it.
fn counted(run: impl FnOnce()) -> usize {
    let region = Region::new(MEMORY);
    run();
    let change = region.change();
    change.allocations + change.reallocations
}

fn main() {
    serve_if_told();
    let replay = Replay::start(None);
    let runtime = runtime();
    let lxd = Client::builder().endpoint(replay.endpoint()).build().expect("a client");
    // The first request opens the connection, which is kept.
    runtime.block_on(async { lxd.profile("default").await }).expect("a profile");

    let refused =
        counted(|| drop(runtime.block_on(async { lxd.instance("none").await }).expect_err("a refusal")));
    let mut profile = None;
    let small = counted(|| profile = runtime.block_on(async { lxd.profile("default").await }).ok());
    let profile = profile.expect("a profile");
    let of_profile = counted(|| drop(profile.clone()));
    let mut instance = None;
    let large = counted(|| instance = runtime.block_on(async { lxd.instance("one").await }).ok());
    let instance = instance.expect("an instance");
    let of_instance = counted(|| drop(instance.clone()));
    println!("a refusal: {refused}");
    println!("a profile: {small}, of which {of_profile} are its value's");
    println!("an instance: {large}, of which {of_instance} are its value's");
    assert_eq!((profile.name.as_str(), instance.name.as_str()), ("default", "one"));
    assert!(small <= 25, "a small GET");
    assert!(refused <= 18, "a refusal, which has no value");
    assert!(small - of_profile <= 14, "a call beside its value");
    // Two maps of which nobody knows beforehand that they are long.
    assert!(large - of_instance <= 24, "a call beside a larger value");
}
