//! Connections that a test feeds itself: the websockets of consoles and commands, and calls that are one. How a
//! request becomes a connection is left to `serving`.

use std::fmt;
use std::sync::Arc;

use http::Response;
use hyper::upgrade::OnUpgrade;
use lxd_types::wire::{self, Write};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::expectation::{Expectation, told};
use super::serving::{begun, ended, refusal, upgraded};
use super::{Answer, Came, Shared};
use crate::answer::{Connection, WebSocket};
use crate::body::Body;

/// What calls that become connections give to the test: a [`WebSocket`], a [`Connection`] or a [`MockSession`] for
/// each, in the order in which they come.
pub struct MockConnections<T> {
    receiver: UnboundedReceiver<T>,
}

impl<T> MockConnections<T> {
    fn new() -> (UnboundedSender<T>, Self) {
        let (sender, receiver) = unbounded_channel();
        (sender, Self { receiver })
    }

    /// Waits for the next one.
    ///
    /// # Panics
    ///
    /// Where there can be none any more: the mock is gone.
    pub async fn next(&mut self) -> T {
        self.receiver.recv().await.expect("a mock that is still there")
    }
}

impl<T> fmt::Debug for MockConnections<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MockConnections")
    }
}

impl<B> Expectation<B, WebSocket> {
    /// Takes the call, and gives this end of the websocket to the test.
    pub fn connect(self) -> MockConnections<WebSocket> {
        let (sender, connections) = MockConnections::new();
        self.answer(Answer::WebSocket(sender));
        connections
    }
}

impl<B> Expectation<B, Connection> {
    /// Takes the call, and gives this end of the connection to the test.
    pub fn connect(self) -> MockConnections<Connection> {
        let (sender, connections) = MockConnections::new();
        self.answer(Answer::Connection(sender));
        connections
    }
}

impl<B, R> Expectation<B, R> {
    /// Begins an operation whose websockets the test feeds itself, as those of a console or of a command that does
    /// more than to write something.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use futures_util::{SinkExt, StreamExt};
    /// use lxd_client::mock::MockLxd;
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// let lxd = MockLxd::start().await;
    /// let mut sessions = lxd.on_connect_instance_console("t1").sessions();
    /// let mut console = lxd.client().console("t1").attach(80, 25).await?;
    ///
    /// let mut session = sessions.next().await;
    /// let mut terminal = session.socket("0").await;
    /// terminal.send(b"login: ".to_vec().into()).await?;
    /// let mut shown = [0; 7];
    /// console.read_exact(&mut shown).await?;
    /// assert_eq!(&shown, b"login: ");
    ///
    /// console.write_all(b"root\n").await?;
    /// console.flush().await?;
    /// assert_eq!(terminal.next().await.expect("a message")?.into_data(), "root\n");
    /// session.succeed();
    /// # Ok(())
    /// # }
    /// ```
    pub fn sessions(self) -> MockConnections<MockSession> {
        let (sender, connections) = MockConnections::new();
        self.answer(Answer::Session(sender));
        connections
    }
}

/// An operation whose websockets the test feeds itself. It runs until the test says how it ends; where that is not
/// said, it succeeds when this is dropped.
pub struct MockSession {
    shared: Arc<Shared>,
    came: Arc<Came>,
    id: String,
    sockets: UnboundedReceiver<(String, WebSocket)>,
    /// Those that came before they were asked for.
    early: Vec<(String, WebSocket)>,
    is_over: bool,
}

impl MockSession {
    /// Waits until the client connects a websocket: `0`, `1` and `2` for the standard streams of a command, `0` for
    /// a terminal or a console, `control` for what resizes and signals. Of a graphical console, each channel is a
    /// `0`. To close it is the end of the stream; to drop it breaks the connection.
    ///
    /// # Panics
    ///
    /// Where the client cannot come any more: the mock is gone.
    pub async fn socket(&mut self, name: &str) -> WebSocket {
        if let Some(at) = self.early.iter().position(|(known, _)| known == name) {
            return self.early.remove(at).1;
        }
        loop {
            let (known, socket) = self.sockets.recv().await.expect("a mock that is still there");
            if known == name {
                return socket;
            }
            self.early.push((known, socket));
        }
    }

    /// Ends well.
    pub fn succeed(self) {
        self.end(200, "", Value::Null);
    }

    /// Ends well, with this as its result, such as the [`ExecResult`](crate::types::ExecResult) of a command.
    ///
    /// # Panics
    ///
    /// Where it cannot be written as JSON.
    pub fn succeed_with(self, value: &impl Write) {
        let json = wire::to_json(value).expect("a value that can be sent");
        self.end(200, "", serde_json::from_slice(&json).expect("what was written"));
    }

    /// Fails, with the server's words.
    pub fn fail(self, message: &str) {
        self.end(400, message, Value::Null);
    }

    fn end(mut self, status: u16, error: &str, metadata: Value) {
        self.is_over = true;
        ended(&mut self.shared.lock(), &self.came, &self.id, status, error, metadata);
    }
}

impl Drop for MockSession {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.sessions.remove(&self.id);
        if !self.is_over {
            ended(&mut state, &self.came, &self.id, 200, "", Value::Null);
        }
    }
}

impl fmt::Debug for MockSession {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MockSession").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Begins an operation whose websockets the test feeds.
pub(super) fn begin(
    shared: &Arc<Shared>,
    came: &Arc<Came>,
    test: &UnboundedSender<MockSession>,
) -> Response<Body> {
    let asked: Value = serde_json::from_slice(&came.body).unwrap_or_default();
    // A console has a terminal always, a command where it asks for one.
    let is_terminal = asked.get("command").is_none() || asked.get("interactive") == Some(&Value::Bool(true));
    let (sender, sockets) = unbounded_channel();
    let mut state = shared.lock();
    let id = state.next_operation();
    let response = begun(&mut state, came, &id, told(&id, 103, "", secrets(is_terminal)));
    state.sessions.insert(id.clone(), sender);
    drop(state);
    let (shared, came) = (Arc::clone(shared), Arc::clone(came));
    let session = MockSession { shared, came, id, sockets, early: Vec::new(), is_over: false };
    // A test that does not listen drops it, which ends the operation.
    let _unheard = test.send(session);
    response
}

/// The secrets with which the sockets of an operation are connected.
pub(super) fn secrets(is_terminal: bool) -> Value {
    let names: &[_] = if is_terminal { &["0", "control"] } else { &["0", "1", "2", "control"] };
    let secret = |name: &&str| ((*name).to_owned(), json!(format!("secret-{name}")));
    json!({ "fds": names.iter().map(secret).collect::<Map<_, _>>() })
}

/// Connects a websocket of such an operation.
pub(super) fn connect(
    shared: &Arc<Shared>,
    came: &Came,
    id: &str,
    upgrade: OnUpgrade,
) -> Option<Response<Body>> {
    let name = came.query.get("secret")?.strip_prefix("secret-")?.to_owned();
    let session = shared.lock().sessions.get(id)?.clone();
    Some(websocket(shared, came, upgrade, move |socket| drop(session.send((name, socket)))))
}

/// Makes a websocket of a call.
pub(super) fn websocket(
    shared: &Arc<Shared>,
    came: &Came,
    upgrade: OnUpgrade,
    give: impl FnOnce(WebSocket) + Send + 'static,
) -> Response<Body> {
    upgraded(shared, came, upgrade, |connection| async move {
        let socket = WebSocketStream::from_raw_socket(connection, Role::Server, None).await;
        give(WebSocket::new("a websocket of the mock".to_owned(), socket));
    })
}

/// Makes a connection of a call that asks for one.
pub(super) fn given(
    shared: &Arc<Shared>,
    came: &Came,
    upgrade: Option<OnUpgrade>,
    answer: Answer,
) -> Response<Body> {
    match (upgrade, answer) {
        (Some(upgrade), Answer::WebSocket(test)) => {
            websocket(shared, came, upgrade, move |socket| drop(test.send(socket)))
        }
        (Some(upgrade), Answer::Connection(test)) => {
            upgraded(shared, came, upgrade, move |connection| async move { drop(test.send(connection)) })
        }
        _ => refusal(400, "this call is to become a connection"),
    }
}
