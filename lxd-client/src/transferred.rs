//! How much of a transfer is done, and who wants to know.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// How much of a transfer is done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Transferred {
    /// How many bytes were sent or have come.
    pub bytes: u64,
    /// How many there will be; none where that is not known.
    pub total: Option<u64>,
}

/// Somebody who wants to know.
#[derive(Clone)]
pub(crate) struct Report(Arc<Mutex<dyn FnMut(Transferred) + Send>>);

impl Report {
    pub(crate) fn new(report: impl FnMut(Transferred) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(report)))
    }

    pub(crate) fn tell(&self, transferred: Transferred) {
        (*self.0.lock().unwrap_or_else(PoisonError::into_inner))(transferred);
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Report")
    }
}

/// A transfer that is counted.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    report: Option<Report>,
    done: Transferred,
}

impl Counter {
    pub(crate) fn new(report: Option<Report>, total: Option<u64>) -> Self {
        Self { report, done: Transferred { bytes: 0, total } }
    }

    /// The same transfer from its beginning.
    pub(crate) fn again(&self) -> Self {
        Self::new(self.report.clone(), self.done.total)
    }

    pub(crate) fn add(&mut self, bytes: u64) {
        self.done.bytes += bytes;
        if let Some(report) = &self.report {
            report.tell(self.done);
        }
    }
}
