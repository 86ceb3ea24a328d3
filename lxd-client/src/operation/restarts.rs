//! Whether the server was started again: an operation that it does not know may have ended and been
//! forgotten, or have vanished with the process that ran it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lxd_types::wire::{self, Incoming, Read, Refused};

use crate::call::{Request, Sent};
use crate::client::Client;
use crate::extensions::SERVER;

/// How long the answer may take; others wait for it.
const LIMIT: Duration = Duration::from_secs(5);

/// The server's process, as far as it is known.
#[derive(Default)]
pub(super) struct Restarts {
    known: Mutex<Known>,
    /// Whether it was looked at, or is about to be.
    looked: AtomicBool,
}

#[derive(Clone, Copy, Default)]
struct Known {
    process: i64,
    restarts: u64,
}

impl Restarts {
    /// How often another process was found than the time before.
    pub(super) fn count(&self) -> u64 {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).restarts
    }

    /// Looks in the background which process the server is, the first time: there has to be one to
    /// compare another with.
    pub(super) fn look_first(&self, client: &Client) {
        if !self.looked.swap(true, Ordering::Relaxed) {
            let client = client.clone();
            tokio::spawn(async move { client.watching().restarts.look(&client).await });
        }
    }

    /// Looks which process the server is; whether it answered. That it does not tell (it tells only those
    /// whom it trusts) leaves what is known as it is.
    pub(super) async fn look(&self, client: &Client) -> bool {
        self.looked.store(true, Ordering::Relaxed);
        let request = Request::new(Sent::Nothing, client, &SERVER, &[]).once();
        let mut server = Server::default();
        let Ok(Ok(exchange)) = tokio::time::timeout(LIMIT, request.exchange()).await else {
            return false;
        };
        let answered = exchange.read(&mut server).is_ok();
        self.found(server.environment.process);
        answered
    }

    fn found(&self, process: i64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if process != 0 && process != known.process {
            known.restarts += u64::from(known.process != 0);
            known.process = process;
        }
    }
}

#[derive(Default)]
struct Server {
    environment: Environment,
}

#[derive(Default)]
struct Environment {
    process: i64,
}

impl Read for Server {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        wire::read_fields(self, value)
    }

    fn field(&mut self, name: &str) -> Option<&mut dyn Read> {
        (name == "environment").then_some(&mut self.environment as _)
    }
}

impl Read for Environment {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        wire::read_fields(self, value)
    }

    fn field(&mut self, name: &str) -> Option<&mut dyn Read> {
        (name == "server_pid").then_some(&mut self.process as _)
    }
}

#[cfg(test)]
mod tests {
    use super::Restarts;

    #[test]
    fn another_process_is_a_restart() {
        let restarts = Restarts::default();
        restarts.found(0);
        restarts.found(7);
        restarts.found(7);
        restarts.found(0);
        assert_eq!(restarts.count(), 0);
        restarts.found(8);
        assert_eq!(restarts.count(), 1);
    }
}
