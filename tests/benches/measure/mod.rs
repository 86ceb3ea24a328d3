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

/// The processor time that this process has used; all is done by one thread.
pub(crate) fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/self/schedstat").expect("Linux");
    let nanos = told.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("a number"))
}
