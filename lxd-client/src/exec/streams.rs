//! The streams of a command, as readers and writers. What a stream is for is left to `exec`.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use lxd_types::ExecResult;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::answer::hand_out;
use crate::error::Error;
use crate::operation::Operation;
use crate::websockets::{Socket, joined};

/// How much later than the end of a stream that of the operation may be known.
const LATER: Duration = Duration::from_secs(10);

/// The output of a command, as it comes. The server waits until it is read; where this is dropped
/// before its end, the rest is thrown away.
pub struct ExecReader {
    socket: Socket,
    /// What has come and is not read yet.
    rest: Bytes,
    operation: Operation<ExecResult>,
    /// Finds out what it means that the socket broke.
    asking: Option<JoinHandle<Result<(), Error>>>,
    /// Whether anything has come: then its end has to be told.
    received: bool,
    ended: bool,
    /// Whether nothing goes on when it is dropped.
    is_rest: bool,
    /// Where it was made, and goes on when it is dropped elsewhere.
    runtime: Handle,
}

impl ExecReader {
    pub(super) fn new(socket: Socket, operation: Operation<ExecResult>) -> Self {
        Self {
            socket,
            rest: Bytes::new(),
            operation,
            asking: None,
            received: false,
            ended: false,
            is_rest: false,
            runtime: Handle::current(),
        }
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
                Some(Ok(Message::Binary(bytes))) if !bytes.is_empty() => {
                    self.received = true;
                    return Poll::Ready(Ok(bytes));
                }
                Some(Ok(Message::Text(text))) if text.is_empty() => {
                    self.end();
                    continue;
                }
                Some(Ok(Message::Text(text))) => {
                    self.received = true;
                    return Poll::Ready(Ok(text.into()));
                }
                Some(Ok(Message::Close(_))) | None => None,
                Some(Ok(_)) => continue,
                Some(Err(error)) => Some(error),
            };
            self.asking = Some(self.runtime.spawn(meaning(self.operation.clone(), broken, self.received)));
        }
    }

    /// After the end of the stream, the server waits for that of the socket.
    fn end(&mut self) {
        self.ended = true;
        self.asking = None;
        self.socket.close();
    }

    /// All bytes. Where this is dropped, so is the stream.
    pub(super) async fn all(mut self) -> Result<Vec<u8>, Error> {
        self.is_rest = true;
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
async fn meaning(
    operation: Operation<ExecResult>,
    broken: Option<Error>,
    received: bool,
) -> Result<(), Error> {
    match tokio::time::timeout(LATER, operation.finish()).await {
        Ok(Err(Error::Operation { .. } | Error::Cancelled { .. })) if !received => Ok(()),
        Ok(Err(error)) if !received => Err(error),
        _ => Err(broken.unwrap_or_else(|| {
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
        hand_out(&mut self.rest, buffer);
        Poll::Ready(Ok(()))
    }
}

impl Drop for ExecReader {
    fn drop(&mut self) {
        if self.ended || self.is_rest {
            return;
        }
        let mut rest = Self {
            socket: self.socket.clone(),
            rest: Bytes::new(),
            operation: self.operation.clone(),
            asking: self.asking.take(),
            received: self.received,
            ended: false,
            is_rest: true,
            runtime: self.runtime.clone(),
        };
        self.runtime.spawn(async move {
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

/// The input of a command. The command gets what is written when it reads; where it is to answer to it,
/// [`flush`](tokio::io::AsyncWriteExt::flush) makes sure that all of it goes out. Its end is told by
/// [`shutdown`](tokio::io::AsyncWriteExt::shutdown), or by dropping this.
pub struct ExecWriter {
    socket: Socket,
    is_terminal: bool,
    /// Whether its end is on its way.
    ended: bool,
    /// Whether all of it has gone out.
    flushed: bool,
    /// Whether nothing goes on when it is dropped.
    is_rest: bool,
    /// Where it was made, and goes on when it is dropped elsewhere.
    runtime: Handle,
}

impl ExecWriter {
    pub(super) fn new(socket: Socket, is_terminal: bool) -> Self {
        let runtime = Handle::current();
        Self { socket, is_terminal, ended: false, flushed: false, is_rest: false, runtime }
    }

    /// Tells the end of the input. Where this is dropped, so is the stream.
    pub(super) async fn end(mut self) {
        self.is_rest = true;
        // Where the command has ended, it is known there.
        let _ended = poll_fn(|context| Pin::new(&mut self).poll_shutdown(context)).await;
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
        self.socket.poll_bytes(bytes, context)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            ready!(self.socket.poll_send(|| self.last(), context))?;
            self.ended = true;
        }
        ready!(self.socket.poll_flush(context))?;
        self.flushed = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for ExecWriter {
    fn drop(&mut self) {
        if self.flushed || self.is_rest {
            return;
        }
        let rest = Self {
            socket: self.socket.clone(),
            is_terminal: self.is_terminal,
            ended: self.ended,
            flushed: false,
            is_rest: true,
            runtime: self.runtime.clone(),
        };
        self.runtime.spawn(rest.end());
    }
}

impl fmt::Debug for ExecWriter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ExecWriter").field("ended", &self.ended).finish_non_exhaustive()
    }
}
