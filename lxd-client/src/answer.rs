//! Answers that are no JSON value: bytes as they come, and connections that speak another protocol
//! from then on. Which answers come this way is said by the description and its overlay.

use std::fmt;
use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures_core::Stream;
use futures_sink::Sink;
use http::HeaderMap;
use hyper_util::rt::TokioIo;
use lxd_types::wire::Read;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::arriving::Arriving;
use crate::envelope::{self, Outcome};
use crate::error::Error;
use crate::local::Partial;
use crate::transferred::{Report, Transferred};
use crate::transport::Lease;

/// An answer of bytes, which are still on their way.
///
/// It is a stream of them; [`bytes`](Self::bytes) and [`text`](Self::text) take them all.
///
/// ```no_run
/// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
/// let file = lxd.instance_files("t1").path("/etc/hostname").await?;
/// println!("mode {:?}", file.header("x-lxd-mode"));
/// println!("{}", file.text().await?);
/// # Ok(())
/// # }
/// ```
pub struct RawAnswer {
    call: String,
    headers: HeaderMap,
    body: Arriving,
    /// The connection, until all bytes have come.
    lease: Option<Lease>,
}

impl RawAnswer {
    pub(crate) fn new(call: String, headers: HeaderMap, body: Arriving, lease: Lease) -> Self {
        Self { call, headers, body, lease: Some(lease) }
    }

    /// The call that it is the answer to, as errors name it.
    pub(crate) fn call(&self) -> &str {
        &self.call
    }

    /// How many bytes are to come, where the server says that.
    pub(crate) fn length(&self) -> Option<u64> {
        self.body.length()
    }

    /// The next bytes.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The headers of the answer.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The text of a header, where the answer has it.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Tells how much of it has come, for each piece.
    pub fn progress(mut self, report: impl FnMut(Transferred) + Send + 'static) -> Self {
        self.body.report_to(Some(Report::new(report)));
        self
    }

    /// Waits for all bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`] where the connection breaks before the end, [`Error::Timeout`] where nothing
    /// comes for too long, and [`Error::Decode`] where they are more than
    /// [`ClientBuilder::answer_limit`](crate::ClientBuilder::answer_limit) allows: the stream has no such
    /// limit.
    pub async fn bytes(mut self) -> Result<Bytes, Error> {
        let bytes = self.body.all(&self.call).await?;
        if let Some(lease) = self.lease {
            lease.give_back();
        }
        Ok(bytes)
    }

    /// Waits for all bytes, as text.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] where they are no UTF-8, and what [`bytes`](Self::bytes) returns.
    pub async fn text(self) -> Result<String, Error> {
        let call = self.call.clone();
        // Not the whole error, which holds the bytes.
        String::from_utf8(self.bytes().await?.into()).map_err(|error| Error::decode(call, error.utf8_error()))
    }

    /// Writes all bytes into a file, which has its name once it is whole; what had it is replaced. (It is not
    /// waited for until the disk has it.)
    ///
    /// ```no_run
    /// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
    /// let backup = lxd.instance_backup_export("t1", "nightly").await?;
    /// backup
    ///     .progress(|done| println!("{} of {:?} bytes", done.bytes, done.total))
    ///     .save("t1.tar.gz")
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Local`] where the file cannot be written, [`Error::Transport`] where the connection
    /// breaks before the end, and [`Error::Timeout`] where nothing comes for too long.
    pub async fn save(mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let mut file = Partial::create(path.as_ref(), None).await?;
        while let Some(bytes) = self.next().await {
            file.write(bytes?).await?;
        }
        file.finish(None).await
    }

    /// Waits for all of an answer in JSON: some calls answer with bytes or with a value, as the
    /// header `content-type` tells. The files of an instance are bytes, its folders are lists.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] where it is no such value, and what [`bytes`](Self::bytes) returns.
    pub async fn json<T: Read + Default>(self) -> Result<T, Error> {
        let call = self.call.clone();
        let mut value = T::default();
        match envelope::read(&self.bytes().await?, &mut value) {
            Ok(Outcome::Value) => Ok(value),
            Ok(Outcome::Refusal(status, message)) => Err(Error::Api { call, status, message }),
            Ok(Outcome::Background(_)) => Err(Error::decode(call, "it is a background operation")),
            Err(error) => Err(Error::decode(call, error)),
        }
    }
}

impl Stream for RawAnswer {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        // Without it, the answer has ended, in one way or another.
        let Some(lease) = this.lease.take() else { return Poll::Ready(None) };
        match this.body.poll_bytes(&this.call, context) {
            Poll::Ready(None) => {
                lease.give_back();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            going_on => {
                this.lease = Some(lease);
                going_on
            }
        }
    }
}

impl fmt::Debug for RawAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RawAnswer").field("call", &self.call).finish_non_exhaustive()
    }
}

/// Gives a reader as much as it has room for of what has come.
pub(crate) fn hand_out(rest: &mut Bytes, buffer: &mut ReadBuf<'_>) {
    let count = rest.len().min(buffer.remaining());
    buffer.put_slice(&rest[..count]);
    rest.advance(count);
}

/// A connection to the server that speaks another protocol than HTTP from here on.
pub struct Connection {
    io: TokioIo<hyper::upgrade::Upgraded>,
}

/// A websocket to the server: a stream of messages, and a sink for them.
pub struct WebSocket {
    call: String,
    socket: WebSocketStream<Connection>,
}

impl WebSocket {
    pub(crate) fn new(call: String, socket: WebSocketStream<Connection>) -> Self {
        Self { call, socket }
    }

    pub(crate) fn broken(&self, error: tungstenite::Error) -> Error {
        Error::transport(self.call.clone(), "the websocket broke off", error)
    }
}

impl Stream for WebSocket {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = Pin::new(&mut self.socket).poll_next(context);
        message.map_err(|error| self.broken(error))
    }
}

impl Sink<Message> for WebSocket {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let ready = Pin::new(&mut self.socket).poll_ready(context);
        ready.map_err(|error| self.broken(error))
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let sent = Pin::new(&mut self.socket).start_send(message);
        sent.map_err(|error| self.broken(error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(context);
        flushed.map_err(|error| self.broken(error))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let closed = Pin::new(&mut self.socket).poll_close(context);
        closed.map_err(|error| self.broken(error))
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WebSocket").field("call", &self.call).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(upgraded: hyper::upgrade::Upgraded) -> Self {
        Self { io: TokioIo::new(upgraded) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Connection")
    }
}
