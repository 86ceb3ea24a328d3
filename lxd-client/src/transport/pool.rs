//! Connections that wait for their next request. None is opened ahead: LXD serves nobody else on its
//! Unix socket while a connection there is open that has sent nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use tokio::runtime::{self, Handle};
use tokio::time::Instant;

use super::connect::Stream;
use super::turns::AT_ONCE;
use crate::body::{Body, Boxed};
use crate::error::BoxError;

/// How long a connection is kept without being used.
const KEPT: Duration = Duration::from_secs(60);

/// How long a connection may take to be done with a request whose answer was read.
const SETTLING: Duration = Duration::from_secs(1);

/// The connections to one server.
#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The one that was used last is at the end.
    connections: Vec<Kept>,
    /// Whether a task ends those that have been kept too long.
    tended: bool,
}

struct Kept {
    connection: Connection,
    since: Instant,
}

/// A connection, and the runtime that drives it. (Another cannot use it: that one may rest.)
struct Connection {
    sender: SendRequest<Boxed>,
    runtime: runtime::Id,
}

impl Pool {
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that was kept and is open, as far as is known.
    pub(super) fn take(self: &Arc<Self>) -> Option<Lease> {
        let runtime = Handle::current().id();
        let mut idle = self.idle();
        loop {
            let last = idle.connections.iter().rposition(|kept| kept.connection.runtime == runtime)?;
            let Kept { connection, .. } = idle.connections.remove(last);
            if connection.sender.is_ready() {
                return Some(Lease { connection, pool: Arc::clone(self) });
            }
        }
    }

    /// Starts to speak HTTP on a new connection.
    pub(super) async fn lease(self: &Arc<Self>, stream: Stream) -> Result<Lease, BoxError> {
        let (sender, driven) = http1::handshake(stream).await?;
        // How the connection ends is told to those who use it.
        tokio::spawn(async move { drop(driven.with_upgrades().await) });
        let connection = Connection { sender, runtime: Handle::current().id() };
        Ok(Lease { connection, pool: Arc::clone(self) })
    }

    fn keep(self: &Arc<Self>, connection: Connection) {
        {
            let mut idle = self.idle();
            if idle.connections.len() >= AT_ONCE {
                // Those of a runtime that has ended are of no use to anybody.
                idle.connections.retain(|kept| !kept.connection.sender.is_closed());
            }
            if idle.connections.len() >= AT_ONCE {
                return;
            }
            idle.connections.push(Kept { connection, since: Instant::now() });
            if std::mem::replace(&mut idle.tended, true) {
                return;
            }
        }
        // Not under the lock: where the runtime has ended, the task is dropped at once.
        tokio::spawn(Tending(Arc::downgrade(self)).run());
    }
}

/// The task that ends connections that have been kept too long.
struct Tending(Weak<Pool>);

impl Tending {
    async fn run(self) {
        while let Some(pool) = self.0.upgrade() {
            let oldest = {
                let mut idle = pool.idle();
                idle.connections
                    .retain(|kept| !kept.connection.sender.is_closed() && kept.since.elapsed() < KEPT);
                let oldest = idle.connections.iter().map(|kept| kept.since).min();
                idle.tended = oldest.is_some();
                oldest
            };
            drop(pool);
            let Some(oldest) = oldest else { return };
            tokio::time::sleep_until(oldest + KEPT).await;
        }
    }
}

impl Drop for Tending {
    /// Also with the runtime, of which the connections end too.
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.idle().tended = false;
        }
    }
}

/// A connection that is in use. Dropping it closes the connection.
pub(crate) struct Lease {
    connection: Connection,
    pool: Arc<Pool>,
}

impl Lease {
    /// Sends a request, of which the URI is the path; the answer's body is still to come.
    pub(crate) fn send(
        &mut self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Boxed>>>> + use<> {
        self.connection.sender.try_send_request(request.map(Boxed::from))
    }

    /// Keeps the connection for the next request, now that the answer has been read.
    pub(crate) fn give_back(self) {
        let Self { mut connection, pool } = self;
        if connection.sender.is_ready() {
            pool.keep(connection);
        } else if !connection.sender.is_closed() {
            // The connection's own task may not have come that far, or a server that answers early
            // leaves it with a body to send.
            tokio::spawn(async move {
                if let Ok(Ok(())) = tokio::time::timeout(SETTLING, connection.sender.ready()).await {
                    pool.keep(connection);
                }
            });
        }
    }
}
