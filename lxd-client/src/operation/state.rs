//! A background operation as it stood at some moment, and which of two moments is the later one. The
//! core has its own type for it, so that it does not depend on what a description calls things.

use jiff::Timestamp;
use lxd_types::wire::{self, Incoming, Read, Refused};
use serde_json::Value;

/// A background operation as it stood at some moment.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) id: String,
    pub(crate) class: String,
    pub(crate) description: String,
    pub(crate) updated_at: Option<Timestamp>,
    pub(crate) status: String,
    pub(crate) status_code: i64,
    pub(crate) metadata: Value,
    pub(crate) may_cancel: bool,
    pub(crate) err: String,
}

impl State {
    /// Whether it has ended, in one way or another. Such a state is the last one.
    pub(crate) fn is_final(&self) -> bool {
        self.status_code >= 200
    }

    /// Whether this is a later moment than one that is known, as far as can be told.
    ///
    /// The server sends states out of order. `updated_at` orders those between which the metadata
    /// changed, as progress does; it stays the same when an operation starts and ends.
    pub(crate) fn is_later_than(&self, known: &Self) -> bool {
        if known.is_final() || self.is_final() {
            return !known.is_final();
        }
        match (self.updated_at, known.updated_at) {
            (Some(own), Some(other)) if own != other => own > other,
            _ => self.stage() >= known.stage(),
        }
    }

    /// How far in its life an operation with this code is: waiting to start, at work, being cancelled.
    fn stage(&self) -> u8 {
        match self.status_code {
            104 | 108 => 2,
            101 | 103 | 106 => 1,
            _ => 0,
        }
    }
}

impl Read for State {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        wire::read_fields(self, value)
    }

    fn field(&mut self, name: &str) -> Option<&mut dyn Read> {
        Some(match name {
            "id" => &mut self.id,
            "class" => &mut self.class,
            "description" => &mut self.description,
            "updated_at" => &mut self.updated_at,
            "status" => &mut self.status,
            "status_code" => &mut self.status_code,
            "metadata" => &mut self.metadata,
            "may_cancel" => &mut self.may_cancel,
            "err" => &mut self.err,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::State;

    fn state(status_code: i64, updated_at: &str) -> State {
        State { status_code, updated_at: updated_at.parse().ok(), ..State::default() }
    }

    #[test]
    fn an_end_is_later_than_all_and_the_first_one_counts() {
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z");
        for end in [200, 400, 401] {
            assert!(state(end, early).is_later_than(&state(103, late)));
            assert!(!state(103, late).is_later_than(&state(end, early)));
            assert!(!state(400, late).is_later_than(&state(end, early)));
        }
    }

    #[test]
    fn the_time_of_the_metadata_comes_before_the_stage() {
        let (early, late) = ("2026-01-01T00:00:00.9Z", "2026-01-01T00:00:00.95Z");
        assert!(state(103, late).is_later_than(&state(103, early)));
        assert!(!state(103, early).is_later_than(&state(103, late)));
        // It was to be cancelled, which did not come about.
        assert!(state(103, late).is_later_than(&state(104, early)));
        for time in [early, ""] {
            assert!(state(103, time).is_later_than(&state(105, time)));
            assert!(!state(105, time).is_later_than(&state(103, time)));
            assert!(state(104, time).is_later_than(&state(103, time)));
            assert!(!state(103, time).is_later_than(&state(104, time)));
            assert!(state(103, time).is_later_than(&state(103, time)));
        }
    }
}
