//! What goes over a connection, which is passed on in both directions; what the server says is kept.

use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Mutex};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};

use super::{Came, lock};

/// How much is kept.
pub(super) const KEPT: usize = 64 << 10;

/// A connection, and what was said there.
#[derive(Clone)]
pub(super) struct Tap {
    /// The path that was asked for.
    path: Vec<String>,
    secret: Option<String>,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    pub(super) fn new(came: &Came) -> Self {
        Self { path: came.path.clone(), secret: came.query.get("secret").cloned(), said: Arc::default() }
    }

    /// Whether it is the websocket of an operation that this secret opens.
    pub(super) fn is(&self, operation: &str, secret: &str) -> bool {
        self.path == ["1.0", "operations", operation, "websocket"] && self.secret.as_deref() == Some(secret)
    }

    /// Passes on what goes over it, until both sides have ended.
    pub(super) async fn pass(self, ours: OnUpgrade, theirs: OnUpgrade) {
        let (Ok(ours), Ok(theirs)) = (ours.await, theirs.await) else { return };
        let (mut from_client, mut to_client) = tokio::io::split(TokioIo::new(ours));
        let (mut from_server, mut to_server) = tokio::io::split(TokioIo::new(theirs));
        // An end is passed on, whichever it is: what broke off is told by who waits for more.
        let mut asking = JoinSet::new();
        asking.spawn(async move {
            let _copied = tokio::io::copy(&mut from_client, &mut to_server).await;
            let _ended = to_server.shutdown().await;
        });
        let mut buffer = vec![0; 8 << 10];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            {
                let mut said = lock(&self.said);
                let room = KEPT.saturating_sub(said.len()).min(count);
                said.extend_from_slice(&buffer[..room]);
            }
            if to_client.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        let _ended = to_client.shutdown().await;
        let _asked = asking.join_next().await;
    }

    /// The bytes that the server sent over it, where it is a websocket.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let said = Cursor::new(lock(&self.said).clone());
        let mut socket = WebSocket::from_raw_socket(Said(said), Role::Client, None);
        let mut bytes = Vec::new();
        while let Ok(message) = socket.read() {
            if message.is_binary() {
                bytes.extend_from_slice(&message.into_data());
            }
        }
        bytes
    }
}

/// What was said, to be read once more; nobody hears what is answered.
struct Said(Cursor<Vec<u8>>);

impl Read for Said {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut self.0, buffer)
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
