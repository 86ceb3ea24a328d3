//! The console of an instance: its terminal, what was written there before, and the screen of a virtual
//! machine. How the sockets are connected is left to `websockets`.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio_tungstenite::tungstenite::Message;

use crate::answer::{RawAnswer, WebSocket, hand_out};
use crate::call::{Answers, Call, Endpoint, NoParameters, Request, Sent};
use crate::client::Client;
use crate::error::Error;
use crate::operation::Operation;
use crate::websockets::{self, Control, Socket};

static ATTACH: Endpoint = endpoint("instance_console_post", "POST", Answers::Nothing, true);
static LOG: Endpoint = endpoint("instance_console_get", "GET", Answers::Raw, false);
static CLEAR: Endpoint = endpoint("instance_console_delete", "DELETE", Answers::Nothing, false);

/// The core has its own way there, so that it does not depend on what a description calls it.
const fn endpoint(id: &'static str, method: &'static str, answers: Answers, background: bool) -> Endpoint {
    let path = "/1.0/instances/{name}/console";
    Endpoint { id, method, path, query: "", answers, project: true, target: false, background }
}

impl Client {
    /// The console of an instance (`/1.0/instances/{name}/console`).
    ///
    /// ```no_run
    /// # async fn run(lxd: lxd_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// println!("{}", lxd.console("t1").log().await?.text().await?);
    /// let mut console = lxd.console("t1").attach(80, 25).await?;
    /// console.write_all(b"\r").await?;
    /// let mut screen = [0; 4096];
    /// let count = console.read(&mut screen).await?;
    /// println!("{}", String::from_utf8_lossy(&screen[..count]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn console(&self, instance: &str) -> InstanceConsole {
        InstanceConsole { client: self.clone(), instance: instance.to_owned() }
    }
}

/// The console of an instance; see [`Client::console`].
#[derive(Clone, Debug)]
pub struct InstanceConsole {
    client: Client,
    instance: String,
}

impl InstanceConsole {
    /// Attaches to the terminal of a running instance, which has that many letters in a line and that many
    /// lines. Only one client can be attached to a container at a time. The server takes a moment until it
    /// has got hold of the terminal: what is typed before that may be lost.
    ///
    /// # Errors
    ///
    /// Those of any call; the server refuses where the instance does not run.
    pub async fn attach(&self, width: u16, height: u16) -> Result<Console, Error> {
        let size = json!({"type": "console", "width": width, "height": height});
        let attached = self.start(size).await?;
        let secrets = attached.metadata();
        let fds = secrets.get("fds").unwrap_or(&Value::Null);
        let wanted = &["0", "control"];
        let sockets = websockets::connect(&self.client, &self.call(), attached.id(), fds, wanted).await?;
        let (mut data, mut control) = (None, None);
        for (stream, socket) in sockets {
            match stream {
                "control" => control = Some(Control::new(socket)),
                _ => data = Some(ConsoleStream::new(socket)),
            }
        }
        match (data, control) {
            (Some(data), control @ Some(_)) => {
                Ok(Console { data, control, operation: attached, runtime: Handle::current() })
            }
            _ => Err(Error::decode(self.call(), "the operation lacks a stream")),
        }
    }

    /// Attaches to the screen of a running virtual machine, which speaks SPICE.
    ///
    /// # Errors
    ///
    /// Those of any call; the server refuses where the instance does not run, or is a container.
    pub async fn vga(&self) -> Result<VgaConsole, Error> {
        let attached = self.start(json!({"type": "vga"})).await?;
        let secrets = attached.metadata();
        let fds = secrets.get("fds").unwrap_or(&Value::Null);
        let Some(data) = fds.get("0").and_then(Value::as_str) else {
            return Err(Error::decode(self.call(), "the operation has no stream `0`"));
        };
        let control =
            websockets::connect(&self.client, &self.call(), attached.id(), fds, &["control"]).await?;
        let control = control.into_iter().next().map(|(_, socket)| Control::new(socket));
        let secret = data.to_owned();
        Ok(VgaConsole { client: self.client.clone(), secret, _control: control, operation: attached })
    }

    /// What was written to the terminal, as far as the server keeps it (`GET`). The server takes it out of
    /// the memory of a running container.
    ///
    /// # Errors
    ///
    /// Those of any call.
    pub async fn log(&self) -> Result<RawAnswer, Error> {
        Call::<RawAnswer, NoParameters>::of(self.request(&LOG, Sent::Nothing)).await
    }

    /// Forgets what was written to the terminal (`DELETE`).
    ///
    /// # Errors
    ///
    /// Those of any call.
    pub async fn clear_log(&self) -> Result<(), Error> {
        self.request(&CLEAR, Sent::Nothing).exchange().await?.read(&mut ()).map(drop)
    }

    async fn start(&self, what: Value) -> Result<Operation, Error> {
        let sent = Sent::Json(serde_json::to_vec(&what));
        Call::<(), NoParameters>::of(self.request(&ATTACH, sent)).start().await
    }

    fn request(&self, endpoint: &'static Endpoint, sent: Sent) -> Box<Request> {
        Request::new(sent, &self.client, endpoint, &[&self.instance])
    }

    fn call(&self) -> String {
        format!("POST /1.0/instances/{}/console", self.instance)
    }
}

/// The terminal of an instance: what is written to it is typed there, and what is read of it is what
/// appears. It ends with the instance, or when this is dropped or shut down; what it said last can still be
/// read after that.
pub struct Console {
    data: ConsoleStream,
    /// Nothing once it is detached.
    control: Option<Control>,
    operation: Operation,
    /// Where it was made, and goes on when it is dropped elsewhere.
    runtime: Handle,
}

impl Console {
    /// The background operation that it is, which ends when this is dropped.
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// Leaves the terminal, and waits until the server has noticed, so that somebody else can attach to it.
    ///
    /// # Errors
    ///
    /// Those of [`Operation::wait`].
    pub async fn detach(mut self) -> Result<(), Error> {
        self.control = None;
        self.data.drain().await;
        self.operation.wait().await
    }

    /// Tells it that it has another size, in letters.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`] where the console has ended.
    pub async fn resize(&self, width: u16, height: u16) -> Result<(), Error> {
        let resized = match &self.control {
            Some(control) => control.resize(width, height).await,
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        resized.map_err(|error| {
            let call = format!("GET /1.0/operations/{}/websocket", self.operation.id());
            Error::transport(call, "the console cannot be controlled; has it ended?", error)
        })
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if !self.data.ended {
            // The server says farewell on the data, and fails where nobody is there.
            let mut data = ConsoleStream::on(self.data.socket.clone());
            self.runtime.spawn(async move { data.drain().await });
        }
    }
}

impl AsyncRead for Console {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.data).poll_read(context, buffer)
    }
}

impl AsyncWrite for Console {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.data).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.data).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.data.socket.poll_flush(context)).or_else(|error| self.data.unless_ended(error))?;
        // What is left to read is the server's farewell.
        self.control = None;
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Console").field("operation", &self.operation).finish_non_exhaustive()
    }
}

/// The screen of a virtual machine, to which a viewer opens a connection for each channel of SPICE. It lasts
/// until this is dropped.
///
/// ```no_run
/// # async fn run(lxd: lxd_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// // For `remote-viewer spice+unix:///run/user/1000/v1.spice`.
/// let viewer = tokio::net::UnixListener::bind("/run/user/1000/v1.spice")?;
/// let screen = lxd.console("v1").vga().await?;
/// loop {
///     let (mut channel, _) = viewer.accept().await?;
///     let mut server = screen.open().await?;
///     tokio::spawn(async move { tokio::io::copy_bidirectional(&mut channel, &mut server).await });
/// }
/// # }
/// ```
pub struct VgaConsole {
    client: Client,
    /// That of the data.
    secret: String,
    _control: Option<Control>,
    operation: Operation,
}

impl VgaConsole {
    /// Opens another connection.
    ///
    /// # Errors
    ///
    /// Those of any call; the server refuses where the console has ended.
    pub async fn open(&self) -> Result<ConsoleStream, Error> {
        let socket = websockets::open(&self.client, self.operation.id(), &self.secret).await?;
        Ok(ConsoleStream::new(socket))
    }

    /// The background operation that it is, which ends when this is dropped.
    pub fn operation(&self) -> &Operation {
        &self.operation
    }
}

impl fmt::Debug for VgaConsole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("VgaConsole").field("operation", &self.operation).finish_non_exhaustive()
    }
}

/// A connection to a console, as bytes both ways. It ends when this is dropped or shut down.
pub struct ConsoleStream {
    socket: Socket,
    /// What has come and is not read yet.
    rest: Bytes,
    ended: bool,
}

impl ConsoleStream {
    fn new(socket: WebSocket) -> Self {
        Self::on(Socket::new(socket))
    }

    fn on(socket: Socket) -> Self {
        Self { socket, rest: Bytes::new(), ended: false }
    }

    fn end(&mut self) {
        self.ended = true;
        self.socket.close();
    }

    /// What it means that nothing more can be sent.
    fn unless_ended(&self, error: io::Error) -> io::Result<()> {
        if self.ended { Ok(()) } else { Err(error) }
    }

    /// Throws away what comes until the end.
    async fn drain(&mut self) {
        while let Ok(bytes) = poll_fn(|context| self.poll_bytes(context)).await
            && !bytes.is_empty()
        {}
    }

    /// The next bytes; none at the end.
    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        while !self.ended {
            match ready!(self.socket.poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) if !bytes.is_empty() => {
                    return Poll::Ready(Ok(bytes));
                }
                Some(Ok(Message::Text(text))) if !text.is_empty() => {
                    return Poll::Ready(Ok(text.into()));
                }
                // The server tells the end by an empty text.
                Some(Ok(Message::Text(_) | Message::Close(_))) | None => self.end(),
                Some(Err(error)) => {
                    self.end();
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, error)));
                }
                Some(Ok(_)) => {}
            }
        }
        Poll::Ready(Ok(Bytes::new()))
    }
}

impl AsyncRead for ConsoleStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            self.rest = ready!(self.poll_bytes(context))?;
        }
        hand_out(&mut self.rest, buffer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ConsoleStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_bytes(bytes, context)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is on its way out goes first; there is no end of one direction alone.
        let flushed = ready!(self.socket.poll_flush(context));
        let flushed = flushed.or_else(|error| self.unless_ended(error));
        self.end();
        Poll::Ready(flushed)
    }
}

impl fmt::Debug for ConsoleStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ConsoleStream").field("ended", &self.ended).finish_non_exhaustive()
    }
}
