//! How long things may take, and how large they may be, where the user does not say otherwise. To hold
//! to it is left to those who wait.

use std::time::Duration;

/// The limits of one client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Until there is a connection: the name looked up, TCP, a proxy, TLS.
    pub(crate) connect: Duration,
    /// How long the server may be silent: until it answers, or between the bytes of its answer.
    pub(crate) response: Duration,
    /// From the call to the last byte of its answer.
    pub(crate) total: Duration,
    /// For how long a call is tried again that the server could not take yet.
    pub(crate) retry: Duration,
    /// How many bytes an answer may have that is taken as a whole.
    pub(crate) answer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            // A server does some slow work before it answers, such as making a storage pool.
            response: Duration::from_secs(300),
            total: Duration::from_secs(600),
            // A server that is started again takes some seconds.
            retry: Duration::from_secs(5),
            // Ten thousand instances with their states take about a third of it.
            answer: 256 << 20,
        }
    }
}

impl Limits {
    /// How long the server may be silent, or out of reach.
    pub(crate) fn patience(&self) -> Duration {
        self.response.min(self.total)
    }
}
