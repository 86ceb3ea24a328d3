//! A server that answers as a test wants and records what it was sent. It speaks HTTP/1.1 by hand, so
//! that what the client puts on the wire is not judged by the library that the client uses itself.
//!
//! A request that is no well-formed HTTP/1.1 ends its connection, with a panic that says why.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lxd_client::{Client, ClientBuilder, Watcher};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::tls::{self, Handshake};

/// The UUID of the operation in [`operation`].
pub const UUID: &str = "6916c8a6-9b7d-4abd-90b3-aedfec7ec7da";

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// The connection it came on, counted from 0.
    pub connection: usize,
    /// The method.
    pub method: String,
    /// The path and query, as sent.
    pub target: String,
    /// The names and values of the headers, as sent and in their order.
    pub headers: Vec<(String, String)>,
    /// The body; one that came in chunks is put together.
    pub body: Vec<u8>,
}

impl Request {
    /// The method and the target, as in `GET /1.0`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    /// The value of a header.
    ///
    /// # Panics
    ///
    /// Where the header is there more than once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is there twice: {:?}", self.headers);
        value
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// Where it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of UTF-8")
    }
}

/// What the server answers with, and what it does after that.
#[derive(Debug)]
pub struct Answer {
    /// The lines of the head; none where nothing is sent at all.
    head: String,
    body: Vec<u8>,
    then: Then,
}

#[derive(Debug)]
enum Then {
    /// Reads the next request.
    Next,
    /// Closes the connection.
    Close,
    /// Gives the connection to the test.
    HandOver,
    /// Waits until the client ends the connection.
    Silence,
}

impl Answer {
    /// Bytes with headers. The length is added, unless the headers say how the body comes; if they do,
    /// it is sent as it is and the connection closed.
    pub fn raw(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let mut answer =
            Self { head: format!("HTTP/1.1 {status} Test\r\n"), body: body.into(), then: Then::Next };
        let length = answer.body.len().to_string();
        if headers.iter().any(|(name, _)| matches!(*name, "content-length" | "transfer-encoding")) {
            answer.then = Then::Close;
        } else if status >= 200 {
            answer = answer.header("content-length", &length);
        }
        headers.iter().fold(answer, |answer, (name, value)| answer.header(name, value))
    }

    /// JSON text.
    pub fn json(status: u16, json: impl Into<Vec<u8>>) -> Self {
        Self::raw(status, &[("content-type", "application/json")], json)
    }

    /// The envelope of a value, which is given as JSON.
    pub fn sync(metadata: &str) -> Self {
        Self::json(200, envelope("sync", "Success", 200, "", 0, "", metadata))
    }

    /// The envelope of what was created.
    pub fn created(location: &str) -> Self {
        Self::json(201, envelope("sync", "Success", 200, "", 0, "", "null")).header("location", location)
    }

    /// The envelope of a background operation, which is given as JSON, with the identifier [`UUID`].
    pub fn background(operation: &str) -> Self {
        let path = format!("/1.0/operations/{UUID}");
        Self::json(202, envelope("async", "Operation created", 100, &path, 0, "", operation))
            .header("location", &path)
    }

    /// The envelope of a refusal.
    pub fn error(code: u16, text: &str) -> Self {
        Self::json(code, envelope("error", "", 0, "", code, text, "null"))
    }

    /// An answer that breaks off after `body`, which is less than the length it declares.
    pub fn half(declared: usize, body: &str) -> Self {
        Self::raw(200, &[("content-length", &declared.to_string())], body)
    }

    /// No answer: the connection is closed.
    pub fn close() -> Self {
        Self { head: String::new(), body: Vec::new(), then: Then::Close }
    }

    /// No answer, for as long as the client waits.
    pub fn never() -> Self {
        Self { then: Then::Silence, ..Self::close() }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    /// Gives the connection to the test once this is sent, see [`FakeServer::stream`].
    pub fn hand_over(self) -> Self {
        Self { then: Then::HandOver, ..self }
    }

    /// The body, where a test writes the head itself.
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    fn bytes(&self) -> Vec<u8> {
        let end = if self.head.is_empty() { "" } else { "\r\n" };
        [self.head.as_bytes(), end.as_bytes(), &self.body].concat()
    }
}

/// The JSON of an envelope, with the keys in the order that LXD has.
pub fn envelope(
    kind: &str,
    status: &str,
    status_code: u16,
    operation: &str,
    error_code: u16,
    error: &str,
    metadata: &str,
) -> String {
    let error = serde_json::Value::from(error);
    format!(
        r#"{{"type":"{kind}","status":"{status}","status_code":{status_code},"operation":"{operation}","error_code":{error_code},"error":{error},"metadata":{metadata}}}"#
    )
}

/// The JSON of an operation with the identifier [`UUID`]; its own metadata is given as JSON.
pub fn operation(class: &str, status: &str, status_code: u16, metadata: &str, err: &str) -> String {
    format!(
        r#"{{"id":"{UUID}","class":"{class}","description":"Doing it","created_at":"2026-01-31T12:00:00.5Z","updated_at":"2026-01-31T12:00:00.5Z","status":"{status}","status_code":{status_code},"resources":null,"metadata":{metadata},"may_cancel":false,"err":"{err}","location":"none"}}"#
    )
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

type Stream = BufReader<Box<dyn Duplex>>;

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

/// A server on a Unix socket in a folder of its own. Dropping it ends its connections and removes the
/// folder.
pub struct FakeServer {
    shared: Arc<Shared>,
    folder: PathBuf,
    tasks: JoinSet<()>,
    handed_over: mpsc::UnboundedReceiver<(String, Stream)>,
}

struct Shared {
    script: Box<Script>,
    requests: watch::Sender<Vec<Request>>,
    connections: AtomicUsize,
    /// How many of the connections are open.
    open: watch::Sender<usize>,
    handed_over: mpsc::UnboundedSender<(String, Stream)>,
    handshakes: Mutex<Vec<Handshake>>,
}

impl FakeServer {
    /// Starts a server that answers the first request with the first of these, and so on.
    pub fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::with(one_by_one(answers))
    }

    /// The same for a server of background operations, whose clients ask which process it is
    /// (`GET /1.0`): that is answered beside the others.
    pub fn operating(answers: impl IntoIterator<Item = Answer>) -> Self {
        let others = one_by_one(answers);
        Self::with(move |request| match request.line().as_str() {
            "GET /1.0" => Answer::sync(r#"{"environment":{"server_pid":7}}"#),
            _ => others(request),
        })
    }

    /// Starts a server that answers what the script says.
    pub fn with(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("lxd-tests-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&folder).expect("a folder for the socket");
        let listener = UnixListener::bind(folder.join("socket")).expect("a socket to listen on");
        let (sender, handed_over) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            requests: watch::Sender::default(),
            connections: AtomicUsize::new(0),
            open: watch::Sender::default(),
            handed_over: sender,
            handshakes: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let shared = shared.clone();
            async move {
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.spawn(shared.clone().serve(Box::new(stream)));
                }
            }
        });
        Self { shared, folder, tasks, handed_over }
    }

    /// The server's endpoint.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.folder.join("socket").display())
    }

    /// Listens on TCP too, on this machine's loopback; returns the endpoint.
    pub async fn tcp_endpoint(&mut self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port to listen on");
        let address = listener.local_addr().expect("an address");
        let shared = self.shared.clone();
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(shared.clone().serve(Box::new(stream)));
            }
        });
        format!("http://{address}")
    }

    /// Listens for TLS too, on this machine's loopback; returns the endpoint.
    pub async fn tls_endpoint(&mut self, server: rustls::ServerConfig) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port to listen on");
        let address = listener.local_addr().expect("an address");
        let (shared, server) = (self.shared.clone(), Arc::new(server));
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, server) = (shared.clone(), server.clone());
                connections.spawn(async move {
                    let (handshake, stream) = tls::accept(stream, server).await;
                    shared.handshakes.lock().expect("handshakes").push(handshake);
                    if let Some(stream) = stream {
                        shared.serve(Box::new(stream)).await;
                    }
                });
            }
        });
        format!("https://{address}")
    }

    /// How the clients began to speak TLS so far.
    pub fn handshakes(&self) -> Vec<Handshake> {
        self.shared.handshakes.lock().expect("handshakes").clone()
    }

    /// A builder of clients of this server. They follow operations by requests that wait, so that a
    /// script need not know about events.
    pub fn builder(&self) -> ClientBuilder {
        Client::builder().endpoint(self.endpoint()).watcher(Watcher::LongPoll)
    }

    /// A client of this server.
    pub fn client(&self) -> Client {
        self.builder().build().expect("a client")
    }

    /// What has been asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.borrow().clone()
    }

    /// The methods and targets of what has been asked so far.
    pub fn lines(&self) -> Vec<String> {
        self.shared.requests.borrow().iter().map(Request::line).collect()
    }

    /// The only request so far.
    ///
    /// # Panics
    ///
    /// Where there is none or another one.
    pub fn request(&self) -> Request {
        let [request] = self.requests().try_into().expect("one request");
        request
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Waits until so many requests have come.
    pub async fn until_asked(&self, times: usize) {
        let mut requests = self.shared.requests.subscribe();
        requests.wait_for(|requests| requests.len() >= times).await.expect("a server that runs");
    }

    /// Waits until the client has ended all its connections.
    pub async fn until_left(&self) {
        self.until_open(0).await;
    }

    /// Waits until so many connections are open.
    pub async fn until_open(&self, count: usize) {
        self.shared.open.subscribe().wait_for(|open| *open == count).await.expect("a server that runs");
    }

    /// Waits for the next connection that [`Answer::hand_over`] gives away.
    pub async fn stream(&mut self) -> impl AsyncRead + AsyncWrite + Send + Unpin + use<> {
        self.stream_with_target().await.1
    }

    /// The same with the target of the request that it was for.
    pub async fn stream_with_target(
        &mut self,
    ) -> (String, impl AsyncRead + AsyncWrite + Send + Unpin + use<>) {
        self.handed_over.recv().await.expect("a server that runs")
    }
}

/// A server that treats each connection so, for what is no HTTP: its address.
///
/// # Panics
///
/// Where it cannot listen.
pub async fn raw<F>(treat: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port to listen on");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // The client may leave.
            tokio::spawn(treat(stream));
        }
    });
    address
}

/// A script that answers the first request with the first of these, and so on.
fn one_by_one(answers: impl IntoIterator<Item = Answer>) -> Box<Script> {
    let answers: Mutex<VecDeque<_>> = Mutex::new(answers.into_iter().collect());
    Box::new(move |request| {
        let next = answers.lock().expect("a script that does not panic").pop_front();
        next.unwrap_or_else(|| Answer::error(599, &format!("unexpected: {}", request.line())))
    })
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        // Nothing can be done about a folder that stays.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, stream: Box<dyn Duplex>) {
        let connection = self.connections.fetch_add(1, Ordering::Relaxed);
        self.open.send_modify(|open| *open += 1);
        // A client may leave at any time; what that means is for the test to say.
        let _ = self.converse(connection, BufReader::new(stream)).await;
        self.open.send_modify(|open| *open -= 1);
    }

    async fn converse(&self, connection: usize, mut stream: Stream) -> std::io::Result<()> {
        while let Some(request) = read_request(&mut stream, connection).await? {
            let answer = (self.script)(&request);
            let target = request.target.clone();
            self.requests.send_modify(|requests| requests.push(request));
            stream.write_all(&answer.bytes()).await?;
            stream.flush().await?;
            match answer.then {
                Then::Next => {}
                Then::Close => return Ok(()),
                Then::Silence => return tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop),
                Then::HandOver => {
                    // The test may have ended.
                    let _ = self.handed_over.send((target, stream));
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

async fn read_request(stream: &mut Stream, connection: usize) -> std::io::Result<Option<Request>> {
    let Some(line) = read_line(stream).await? else { return Ok(None) };
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1"), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        panic!("no request: {line}");
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    let mut request = Request { connection, method, target, headers: Vec::new(), body: Vec::new() };
    loop {
        let line = read_line(stream).await?.expect("a header");
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').expect("a header");
        request.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    match (request.header("content-length"), request.header("transfer-encoding")) {
        (None, None) => {}
        (Some(length), None) => {
            request.body = vec![0; length.parse().expect("a length")];
            stream.read_exact(&mut request.body).await?;
        }
        (None, Some("chunked")) => read_chunks(stream, &mut request.body).await?,
        both => panic!("a body of two lengths: {both:?}"),
    }
    Ok(Some(request))
}

async fn read_chunks(stream: &mut Stream, body: &mut Vec<u8>) -> std::io::Result<()> {
    loop {
        let line = read_line(stream).await?.expect("the length of a chunk");
        let length = usize::from_str_radix(&line, 16).expect("the length of a chunk");
        let start = body.len();
        body.resize(start + length, 0);
        stream.read_exact(&mut body[start..]).await?;
        assert_eq!(read_line(stream).await?.as_deref(), Some(""), "a chunk ends with its line");
        if length == 0 {
            return Ok(());
        }
    }
}

/// A line without its end; none at the end of the stream.
async fn read_line(stream: &mut Stream) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    Ok(Some(line.strip_suffix("\r\n").expect("a line that ends with CR LF").to_owned()))
}
