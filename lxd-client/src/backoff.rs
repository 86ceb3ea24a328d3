//! How long to rest between attempts that fail: not at all after the first, then longer each time, and
//! not as long as others rest, so that many clients do not come back to a server at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(3);

/// The rests of one series of attempts.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The rest after one more failure.
    pub(crate) fn rest(&mut self) -> Duration {
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        if failures == 0 {
            return Duration::ZERO;
        }
        let full = FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST);
        // From an eighth of it on: with less to choose from, they would still come in waves after some seconds.
        // Each state of a hasher has keys of its own: chance enough for this.
        let chance = (RandomState::new().hash_one(failures) % 1000) as u32;
        full / 8 + full / 8 * 7 * chance / 1000
    }

    /// Starts anew, after a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, FIRST, LONGEST};

    #[test]
    fn rests_grow_to_a_limit_and_differ() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.rest(), Duration::ZERO);
        for doubled in 1..40 {
            let full = FIRST.saturating_mul(1 << doubled.min(10)).min(LONGEST);
            let rest = backoff.rest();
            assert!(rest >= full / 8 && rest <= full, "{rest:?} of {full:?}");
        }
        // Those who began together have nothing in common soon.
        let rests: std::collections::HashSet<_> = (0..20).map(|_| backoff.rest()).collect();
        assert!(rests.len() > 10, "{rests:?}");
        backoff.reset();
        assert_eq!(backoff.rest(), Duration::ZERO);
    }
}
