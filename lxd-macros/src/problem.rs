//! What is wrong with an input file, and where. Finding it is left to the stages; showing it at the
//! macro's literal is left to the entry point.

use std::fmt;

/// One fault of an input file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    /// The file, as the macro names it.
    pub(crate) file: String,
    /// The line, from 1, where it could be found.
    pub(crate) line: Option<usize>,
    /// The JSON pointer to the value at fault.
    pub(crate) pointer: String,
    /// What is wrong with it.
    pub(crate) message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        if !self.pointer.is_empty() {
            write!(formatter, ": {}", self.pointer)?;
        }
        write!(formatter, ": {}", self.message)
    }
}

/// The faults found so far in one file, which all are told at once.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<(String, String)>,
}

impl Problems {
    /// Notes a fault of the value at `pointer`.
    pub(crate) fn add(&mut self, pointer: &str, message: impl Into<String>) {
        self.found.push((pointer.to_owned(), message.into()));
    }

    /// The faults with their places in `document`, in the order of its lines; `Ok` when there are none.
    pub(crate) fn into_result(self, document: &crate::pipeline::Document) -> Result<(), Vec<Problem>> {
        if self.found.is_empty() {
            return Ok(());
        }
        let place = |(pointer, message): (String, String)| Problem {
            file: document.file.clone(),
            line: document.line_of(&pointer),
            pointer,
            message,
        };
        let mut problems: Vec<_> = self.found.into_iter().map(place).collect();
        problems.sort_by_key(|problem| problem.line);
        Err(problems)
    }
}
