//! Measuring: the spread of several, and what this process has used, as Linux tells it.

use std::time::Duration;

/// Prints the spread of some measurements; their median.
///
/// # Panics
///
/// Where there are none.
pub fn show(what: &str, mut measured: Vec<f64>, unit: &str) -> f64 {
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
///
/// # Panics
///
/// Where the system is not Linux.
pub fn processor_time_of_all() -> [f64; 2] {
    let told = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after = told.rsplit_once(')').expect("a name").1;
    let numbers: Vec<f64> = after.split_whitespace().filter_map(|each| each.parse().ok()).collect();
    // The letter of the state is no number: these are utime and stime, cutime and cstime.
    [numbers[10] + numbers[11], numbers[12] + numbers[13]].map(|ticks| ticks * 10.0)
}

/// The parts of a bench that are wanted by name, or all of them, in turn.
///
/// # Panics
///
/// Where there is no part of a name.
pub fn run(parts: &[(&str, fn())]) {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    for name in &wanted {
        assert!(parts.iter().any(|(part, _)| part == name), "there is no part `{name}`");
    }
    for (name, measure) in parts {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            measure();
        }
    }
}

/// The processor time that this thread has used, where all is done by one.
///
/// # Panics
///
/// Where the system is not Linux.
pub fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/self/schedstat").expect("Linux");
    let nanos = told.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("a number"))
}

/// How much memory this process has taken at most since [`forget_peak`], in KiB.
///
/// # Panics
///
/// Where the system is not Linux.
pub fn peak_memory() -> u64 {
    told("VmHWM:")
}

/// How much memory this process takes now, in KiB.
///
/// # Panics
///
/// Where the system is not Linux.
pub fn current_memory() -> u64 {
    told("VmRSS:")
}

fn told(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a number");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Measures the peak of memory anew; what is taken now, in KiB.
///
/// # Panics
///
/// Where the system is not Linux.
pub fn forget_peak() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux");
    peak_memory()
}
