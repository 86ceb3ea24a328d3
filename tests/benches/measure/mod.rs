//! Measuring: the spread of several, and what this process has used.

use std::time::Duration;

/// Prints the spread of some measurements; their median.
pub(crate) fn show(what: &str, mut measured: Vec<f64>, unit: &str) -> f64 {
    measured.sort_by(f64::total_cmp);
    let at = |part: f64| measured[((measured.len() - 1) as f64 * part) as usize];
    println!(
        "{what:<64} median {:>9.3} {unit}   10 % {:>9.3}   90 % {:>9.3}   of {}",
        at(0.5),
        at(0.1),
        at(0.9),
        measured.len()
    );
    at(0.5)
}

/// The processor time that this process has used with all its threads, and that of the processes that it has
/// waited for, in milliseconds. It is told in hundredths of a second: to be taken over something that lasts.
#[allow(dead_code, reason = "each bench has what it needs of this")]
pub(crate) fn processor_time_of_all() -> [f64; 2] {
    let told = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after = told.rsplit_once(')').expect("a name").1;
    let numbers: Vec<f64> = after.split_whitespace().filter_map(|each| each.parse().ok()).collect();
    // The letter of the state is no number: these are utime and stime, cutime and cstime.
    [numbers[10] + numbers[11], numbers[12] + numbers[13]].map(|ticks| ticks * 10.0)
}

/// The processor time that this thread has used, where all is done by one.
#[allow(dead_code, reason = "each bench has what it needs of this")]
pub(crate) fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/self/schedstat").expect("Linux");
    let nanos = told.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("a number"))
}

/// How much memory this process has taken at most since [`forget_peak`], in KiB.
#[allow(dead_code, reason = "each bench has what it needs of this")]
pub(crate) fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a number");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Measures the peak of memory anew; what is taken now, in KiB.
#[allow(dead_code, reason = "each bench has what it needs of this")]
pub(crate) fn forget_peak() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux");
    peak_memory()
}
