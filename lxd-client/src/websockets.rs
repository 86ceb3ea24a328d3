//! The websockets of an operation: connected by their secrets, and read and written by several at once. What
//! goes over them is left to others.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio_tungstenite::tungstenite::Message;

use crate::answer::WebSocket;
use crate::call::{Answers, Endpoint, Request, Sent};
use crate::client::Client;
use crate::error::Error;
use crate::events::feed::small;

/// The core has its own way there, so that it does not depend on what a description calls it.
static WEBSOCKET: Endpoint = Endpoint {
    id: "operation_websocket_get",
    method: "GET",
    path: "/1.0/operations/{id}/websocket",
    query: "",
    answers: Answers::WebSocket,
    project: false,
    target: false,
    background: false,
};

/// The most that one message carries.
const PIECE: usize = 64 << 10;

/// Connects these sockets of an operation, all at the same time: the server gives up after some seconds.
pub(crate) async fn connect(
    client: &Client,
    call: &str,
    operation: &str,
    secrets: &Value,
    wanted: &[&'static str],
) -> Result<Vec<(&'static str, WebSocket)>, Error> {
    let mut connecting = JoinSet::new();
    for &stream in wanted {
        let Some(secret) = secrets.get(stream).and_then(Value::as_str) else {
            return Err(Error::decode(call.to_owned(), format!("the operation has no stream `{stream}`")));
        };
        let connected = open(client, operation, secret);
        connecting.spawn(async move { (stream, connected.await) });
    }
    let mut sockets = Vec::with_capacity(wanted.len());
    while let Some(connected) = connecting.join_next().await {
        let (stream, socket) = joined(connected)?;
        sockets.push((stream, socket?));
    }
    Ok(sockets)
}

/// Connects a socket of an operation.
pub(crate) fn open(
    client: &Client,
    operation: &str,
    secret: &str,
) -> impl Future<Output = Result<WebSocket, Error>> + Send + use<> {
    let mut request = Request::new(Sent::Nothing, client, &WEBSOCKET, &[operation]);
    request.query("secret", &secret);
    async move { Ok(request.websocket(small()).await?.value) }
}

/// What a task of ours gives, which ends by a panic or with its runtime where it does not.
pub(crate) fn joined<T>(joined: Result<T, JoinError>) -> Result<T, Error> {
    joined.map_err(|error| Error::transport("a stream".into(), "its task was ended", error))
}

/// A websocket that is read and written by several, until it is closed.
#[derive(Clone)]
pub(crate) struct Socket(Arc<std::sync::Mutex<Shared>>);

struct Shared {
    /// Nothing once it is closed.
    socket: Option<WebSocket>,
    /// Who waits to read and to write. The socket would not wake them when it is closed.
    reading: Option<Waker>,
    writing: Option<Waker>,
}

impl Socket {
    pub(crate) fn new(socket: WebSocket) -> Self {
        Self(Arc::new(std::sync::Mutex::new(Shared { socket: Some(socket), reading: None, writing: None })))
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connection; the server drops its own end so, too.
    pub(crate) fn close(&self) {
        let (socket, waiting) = {
            let mut shared = self.lock();
            (shared.socket.take(), [shared.reading.take(), shared.writing.take()])
        };
        drop(socket);
        for waiting in waiting.into_iter().flatten() {
            waiting.wake();
        }
    }

    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        let mut shared = self.lock();
        let Some(socket) = shared.socket.as_mut() else { return Poll::Ready(None) };
        let polled = Pin::new(socket).poll_next(context);
        shared.reading = polled.is_pending().then(|| context.waker().clone());
        polled
    }

    /// Writes, in one way or another.
    fn poll_write<T>(
        &self,
        context: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut WebSocket>, &mut Context<'_>) -> Poll<Result<T, Error>>,
    ) -> Poll<io::Result<T>> {
        let mut shared = self.lock();
        let Some(socket) = shared.socket.as_mut() else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let polled = poll(Pin::new(socket), context);
        shared.writing = polled.is_pending().then(|| context.waker().clone());
        polled.map_err(|error| io::Error::new(io::ErrorKind::BrokenPipe, error))
    }

    /// Sends a message once there is room for it.
    pub(crate) fn poll_send(
        &self,
        message: impl FnOnce() -> Message,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_write(context, |mut socket, context| {
            ready!(socket.as_mut().poll_ready(context))?;
            Poll::Ready(socket.start_send(message()))
        })
    }

    /// Sends some of these bytes once there is room for them.
    pub(crate) fn poll_bytes(&self, bytes: &[u8], context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let count = bytes.len().min(PIECE);
        if count == 0 {
            return Poll::Ready(Ok(0));
        }
        let piece = || Message::binary(Bytes::copy_from_slice(&bytes[..count]));
        ready!(self.poll_send(piece, context))?;
        Poll::Ready(Ok(count))
    }

    pub(crate) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write(context, |socket, context| socket.poll_flush(context))
    }

    /// Sends a text.
    pub(crate) async fn send(&self, text: String) -> io::Result<()> {
        poll_fn(|context| self.poll_send(|| Message::text(text.as_str()), context)).await?;
        poll_fn(|context| self.poll_flush(context)).await
    }
}

/// The socket by which something is controlled that ends with it.
pub(crate) struct Control {
    socket: Socket,
    keeping: AbortHandle,
    /// One at a time: the socket wakes one of those who wait to write.
    sending: Mutex<()>,
}

impl Control {
    pub(crate) fn new(socket: WebSocket) -> Self {
        let socket = Socket::new(socket);
        let kept = socket.clone();
        let keeping = tokio::spawn(async move { keep(&kept).await }).abort_handle();
        Self { socket, keeping, sending: Mutex::new(()) }
    }

    pub(crate) async fn send(&self, command: &Value) -> io::Result<()> {
        let _turn = self.sending.lock().await;
        self.socket.send(command.to_string()).await
    }

    /// Tells the size of a terminal, in letters.
    pub(crate) async fn resize(&self, width: u16, height: u16) -> io::Result<()> {
        // The server ignores numbers.
        let size = json!({"width": width.to_string(), "height": height.to_string()});
        self.send(&json!({"command": "window-resize", "args": size})).await
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.keeping.abort();
        self.socket.close();
    }
}

/// Reads a socket on which nothing comes but the server's questions whether somebody is there, until it
/// ends.
pub(crate) async fn keep(socket: &Socket) {
    while let Some(Ok(_)) = poll_fn(|context| socket.poll_next(context)).await {}
    socket.close();
}
