//! The streams of a command: websockets whose messages are pieces of bytes. What a stream is for is left
//! to `exec`.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_core::Stream;
use futures_sink::Sink;
use lxd_types::ExecResult;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use super::joined;
use crate::answer::WebSocket;
use crate::error::Error;
use crate::operation::Operation;

/// The most that one message carries.
const PIECE: usize = 64 << 10;

/// How much later than the end of a stream that of the operation may be known.
const LATER: Duration = Duration::from_secs(10);

/// A websocket that is read and written by several, until it is closed.
#[derive(Clone)]
pub(super) struct Socket(Arc<Mutex<Option<WebSocket>>>);

impl Socket {
    pub(super) fn new(socket: WebSocket) -> Self {
        Self(Arc::new(Mutex::new(Some(socket))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<WebSocket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connection; the server drops its own end so, too.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        match self.lock().as_mut() {
            Some(socket) => Pin::new(socket).poll_next(context),
            None => Poll::Ready(None),
        }
    }

    fn with<T>(
        &self,
        poll: impl FnOnce(Pin<&mut WebSocket>) -> Poll<Result<T, Error>>,
    ) -> Poll<io::Result<T>> {
        match self.lock().as_mut() {
            Some(socket) => {
                poll(Pin::new(socket)).map_err(|error| io::Error::new(io::ErrorKind::BrokenPipe, error))
            }
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Sends a message once there is room for it.
    fn poll_send(
        &self,
        message: impl FnOnce() -> Message,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.with(|socket| socket.poll_ready(context)))?;
        self.with(|socket| Poll::Ready(socket.start_send(message())))
    }

    fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|socket| socket.poll_flush(context))
    }

    /// Sends a text.
    pub(super) async fn send(&self, text: String) -> io::Result<()> {
        poll_fn(|context| self.poll_send(|| Message::text(text.as_str()), context)).await?;
        poll_fn(|context| self.poll_flush(context)).await
    }
}

/// Reads a socket on which nothing comes but the server's questions whether somebody is there, until it
/// ends.
pub(super) async fn keep(socket: &Socket) {
    while let Some(Ok(_)) = poll_fn(|context| socket.poll_next(context)).await {}
    socket.close();
}

/// The output of a command, as it comes. The server waits until it is read; where this is dropped
/// before its end, the rest is thrown away.
pub struct ExecReader {
    socket: Socket,
    /// What has come and is not read yet.
    rest: Bytes,
    operation: Operation<ExecResult>,
    /// Finds out what it means that the socket broke.
    asking: Option<JoinHandle<Result<(), Error>>>,
    ended: bool,
    /// Whether it is the rest of one that was dropped, which goes with its runtime.
    is_rest: bool,
}

impl ExecReader {
    pub(super) fn new(socket: Socket, operation: Operation<ExecResult>) -> Self {
        Self { socket, rest: Bytes::new(), operation, asking: None, ended: false, is_rest: false }
    }

    /// The next bytes; none at the end.
    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        loop {
            if self.ended {
                return Poll::Ready(Ok(Bytes::new()));
            }
            if let Some(asking) = &mut self.asking {
                let meaning = ready!(Pin::new(asking).poll(context));
                self.end();
                return Poll::Ready(joined(meaning).and_then(|meaning| meaning).map(|()| Bytes::new()));
            }
            let broken = match ready!(self.socket.poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) if !bytes.is_empty() => return Poll::Ready(Ok(bytes)),
                Some(Ok(Message::Text(text))) if text.is_empty() => {
                    self.end();
                    continue;
                }
                Some(Ok(Message::Text(text))) => return Poll::Ready(Ok(text.into())),
                Some(Ok(Message::Close(_))) | None => None,
                Some(Ok(_)) => continue,
                Some(Err(error)) => Some(error),
            };
            self.asking = Some(tokio::spawn(meaning(self.operation.clone(), broken)));
        }
    }

    /// After the end of the stream, the server waits for that of the socket.
    fn end(&mut self) {
        self.ended = true;
        self.asking = None;
        self.socket.close();
    }

    /// All bytes.
    pub(super) async fn all(mut self) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        loop {
            let bytes = poll_fn(|context| self.poll_bytes(context)).await?;
            if bytes.is_empty() {
                return Ok(all);
            }
            all.extend_from_slice(&bytes);
        }
    }
}

/// What it means that a stream has broken before its end was told. A command that could not be run has
/// none; of any other, something is missing.
async fn meaning(operation: Operation<ExecResult>, broken: Option<Error>) -> Result<(), Error> {
    match tokio::time::timeout(LATER, operation.finish()).await {
        Ok(Err(Error::Operation { .. } | Error::Cancelled { .. })) => Ok(()),
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(_) => Err(broken.unwrap_or_else(|| {
            let call = format!("GET /1.0/operations/{}/websocket", operation.id());
            let early = io::Error::from(io::ErrorKind::UnexpectedEof);
            Error::transport(call, "the output broke off", early)
        })),
    }
}

impl AsyncRead for ExecReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            self.rest = ready!(self.poll_bytes(context)).map_err(io::Error::other)?;
        }
        let count = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl Drop for ExecReader {
    fn drop(&mut self) {
        if self.ended || self.is_rest {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let (socket, operation) = (self.socket.clone(), self.operation.clone());
        let mut rest = Self::new(socket, operation);
        (rest.asking, rest.is_rest) = (self.asking.take(), true);
        runtime.spawn(async move {
            // How it ends is of no interest any more; it must not be dropped before.
            while let Ok(bytes) = poll_fn(|context| rest.poll_bytes(context)).await
                && !bytes.is_empty()
            {}
            rest.end();
        });
    }
}

impl fmt::Debug for ExecReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ExecReader").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// The input of a command. The command gets what is written when it reads; its end is told by
/// [`shutdown`](tokio::io::AsyncWriteExt::shutdown), or by dropping this.
pub struct ExecWriter {
    socket: Socket,
    is_terminal: bool,
    /// Whether its end was told.
    ended: bool,
    /// Whether it is the rest of one that was dropped, which goes with its runtime.
    is_rest: bool,
}

impl ExecWriter {
    pub(super) fn new(socket: Socket, is_terminal: bool) -> Self {
        Self { socket, is_terminal, ended: false, is_rest: false }
    }

    /// Tells the end of the input.
    pub(super) async fn end(mut self) {
        // Where the command has ended, it is known there.
        let _ended = poll_fn(|context| Pin::new(&mut self).poll_shutdown(context)).await;
        self.ended = true;
    }

    /// What tells the end. The server would hang up a terminal at the empty text.
    fn last(&self) -> Message {
        match self.is_terminal {
            true => Message::binary(&b"\x04"[..]),
            false => Message::text(""),
        }
    }
}

impl AsyncWrite for ExecWriter {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(PIECE);
        if count == 0 {
            return Poll::Ready(Ok(0));
        }
        let piece = || Message::binary(Bytes::copy_from_slice(&bytes[..count]));
        ready!(self.socket.poll_send(piece, context))?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            ready!(self.socket.poll_send(|| self.last(), context))?;
            self.ended = true;
        }
        self.socket.poll_flush(context)
    }
}

impl Drop for ExecWriter {
    fn drop(&mut self) {
        if self.ended || self.is_rest {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let mut rest = Self::new(self.socket.clone(), self.is_terminal);
        rest.is_rest = true;
        runtime.spawn(rest.end());
    }
}

impl fmt::Debug for ExecWriter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ExecWriter").field("ended", &self.ended).finish_non_exhaustive()
    }
}
