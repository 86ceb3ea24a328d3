//! What a value that does not fit its place is told as: where it is, what the place takes, and what was
//! found. Who finds that is left to the readers.

use std::borrow::Cow;
use std::fmt;

use super::{Number, Refused};

/// What a list or an object returns when the fault is further in; word of that has been left.
pub(super) const PASSED_ON: Refused = Refused { expected: "another value" };

/// A value that does not fit its place, and the way to it, innermost step first.
pub(super) struct Mismatch {
    pub(super) steps: Vec<Step>,
    pub(super) expected: &'static str,
    pub(super) found: Cow<'static, str>,
}

pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Mismatch {
    pub(super) fn new(expected: &'static str, found: Cow<'static, str>) -> Self {
        Self { steps: Vec::new(), expected, found }
    }
}

/// A number as it is told.
pub(super) fn number(number: Number) -> Cow<'static, str> {
    match number {
        Number::Unsigned(value) => format!("the number {value}").into(),
        Number::Negative(value) => format!("the number {value}").into(),
        Number::Float(value) => format!("the number {value}").into(),
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.steps.iter().rev().enumerate() {
            match step {
                Step::Key(key) if depth == 0 => write!(formatter, "{key}")?,
                Step::Key(key) => write!(formatter, ".{key}")?,
                Step::Index(index) => write!(formatter, "[{index}]")?,
            }
        }
        let colon = if self.steps.is_empty() { "" } else { ": " };
        write!(formatter, "{colon}expected {}, found {}", self.expected, self.found)
    }
}
