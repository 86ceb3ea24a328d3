//! A server in a process of its own that answers with recorded bytes of LXD 5.0.2, as fast as it can,
//! so that the client is what is measured.
//!
//! It starts an operation for each POST and ends it when it is told to: at once, or all that are
//! pending by `PUT /end`. The event of the end holds the time at which it was written.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lxd_tests::websocket::{TEXT, accept, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, mpsc};

/// The argument that makes the program a server: `replay SOCKET DELAY`, the delay in microseconds or
/// `never`.
const ARGUMENT: &str = "replay";

/// Serves, where this process was started for that.
pub(crate) fn serve_if_told() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, argument, socket, delay] = arguments.as_slice() else { return };
    if argument == ARGUMENT {
        let delay = delay.parse().ok().map(Duration::from_micros);
        runtime().block_on(serve(Path::new(socket), delay));
    }
}

/// A runtime of one thread.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The time, in nanoseconds.
pub(crate) fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_nanos()
}

/// A server that runs until this is dropped.
pub(crate) struct Replay {
    process: Child,
    socket: PathBuf,
}

impl Replay {
    /// Starts a server that ends operations after a delay, or when it is told to.
    pub(crate) fn start(delay: Option<Duration>) -> Self {
        let socket = std::env::temp_dir().join(format!("lxd-replay-{}", std::process::id()));
        let delay = delay.map_or("never".to_owned(), |delay| delay.as_micros().to_string());
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args([ARGUMENT, &socket.display().to_string(), &delay])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        // It says so when it listens.
        let mut ready = [0; 1];
        let said = process.stdout.take().expect("its output");
        std::io::Read::read_exact(&mut { said }, &mut ready).expect("a server that listens");
        Self { process, socket }
    }

    /// The path of its socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its endpoint.
    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Ends all operations that are pending.
    #[allow(dead_code, reason = "each bench has what it needs of this")]
    pub(crate) async fn end_all(&self) {
        self.ask("PUT /end").await;
    }

    /// How many requests it was sent, but for these here.
    #[allow(dead_code, reason = "each bench has what it needs of this")]
    pub(crate) async fn requests(&self) -> u64 {
        self.ask("GET /requests").await.parse().expect("a number")
    }

    #[allow(dead_code, reason = "each bench has what it needs of this")]
    async fn ask(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).await.expect("a server");
        stream.write_all(format!("{line} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.expect("a server");
        let mut answer = String::new();
        let mut bytes = [0; 512];
        while !answer.ends_with('\n') {
            let read = stream.read(&mut bytes).await.expect("an answer");
            answer.push_str(std::str::from_utf8(&bytes[..read]).expect("text"));
        }
        answer.rsplit("\r\n\r\n").next().unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

struct Shared {
    delay: Option<Duration>,
    requests: AtomicU64,
    operations: AtomicU64,
    /// Frames for the sockets of events.
    events: broadcast::Sender<Ending>,
    pending: mpsc::UnboundedSender<Option<u64>>,
    /// Lists that were answered, by how many instances they have.
    lists: Mutex<HashMap<usize, Vec<u8>>>,
}

/// What ends.
#[derive(Clone)]
struct Ending(u64);

async fn serve(socket: &Path, delay: Option<Duration>) {
    let listener = UnixListener::bind(socket).expect("a socket to listen on");
    std::io::Write::write_all(&mut std::io::stdout(), b"\n").expect("somebody who reads");
    let (pending, mut to_end) = mpsc::unbounded_channel();
    let (events, _) = broadcast::channel(1 << 15);
    let (requests, operations) = (AtomicU64::new(0), AtomicU64::new(0));
    let lists = Mutex::default();
    let shared = Arc::new(Shared { delay, requests, operations, events, pending, lists });
    tokio::spawn({
        let shared = Arc::clone(&shared);
        async move {
            let mut pending = Vec::new();
            while let Some(operation) = to_end.recv().await {
                match operation {
                    Some(operation) => pending.push(operation),
                    None => {
                        for operation in pending.drain(..) {
                            // Nobody may listen.
                            let _ = shared.events.send(Ending(operation));
                        }
                    }
                }
            }
        }
    });
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // A client that leaves is none of the server's business.
            let _ = shared.converse(stream).await;
        });
    }
}

impl Shared {
    async fn converse(self: Arc<Self>, mut stream: UnixStream) -> std::io::Result<()> {
        let mut bytes = Vec::with_capacity(4096);
        loop {
            let head = loop {
                if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
                    break end + 4;
                }
                if stream.read_buf(&mut bytes).await? == 0 {
                    return Ok(());
                }
            };
            let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
            let length = header(&text, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            while bytes.len() < head + length {
                if stream.read_buf(&mut bytes).await? == 0 {
                    return Ok(());
                }
            }
            bytes.drain(..head + length);
            if text.starts_with("PUT /end") || text.starts_with("GET /requests") {
                if text.starts_with("PUT") {
                    // The task that ends them lives as long as the server.
                    let _ = self.pending.send(None);
                }
                let requests = self.requests.load(Ordering::Relaxed);
                stream.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{requests}\n").as_bytes()).await?;
                return Ok(());
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
            if text.starts_with("GET /1.0/events") {
                return self.tell(stream, &text).await;
            }
            if text.starts_with("GET /1.0 ") {
                let body = r#"{"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":{"environment":{"server_pid":7}}}"#;
                stream.write_all(&answer("200 OK", "", body)).await?;
                continue;
            }
            if let Some(path) = text.strip_prefix("GET /1.0/instances") {
                stream.write_all(&self.instances(path.split(' ').next().unwrap_or_default())).await?;
                continue;
            }
            let operation = self.operations.fetch_add(1, Ordering::Relaxed);
            let uuid = uuid(operation);
            let body = format!(
                r#"{{"type":"async","status":"Operation created","status_code":100,"operation":"/1.0/operations/{uuid}","error_code":0,"error":"","metadata":{}}}"#,
                state(&uuid, "Running", 103, "null")
            );
            let location = format!("Location: /1.0/operations/{uuid}\r\n");
            stream.write_all(&answer("202 Accepted", &location, &body)).await?;
            match self.delay {
                None => drop(self.pending.send(Some(operation))),
                Some(delay) => {
                    let events = self.events.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        // Nobody may listen.
                        let _ = events.send(Ending(operation));
                    });
                }
            }
        }
    }

    /// One instance, or as many as the project says, as LXD 5.0.2 answers.
    fn instances(&self, path: &str) -> Vec<u8> {
        let (one, full) =
            (include_str!("../../data/instance.json"), include_str!("../../data/instance-full.json"));
        match path.split_once("project=") {
            None if path == "/one" => answer("200 OK", "", &sync(one.trim())),
            Some((_, count)) if path.starts_with('?') => {
                let count: usize = count.split('&').next().and_then(|count| count.parse().ok()).unwrap_or(0);
                let mut lists = self.lists.lock().expect("a lock");
                let list = lists.entry(count).or_insert_with(|| {
                    answer("200 OK", "", &sync(&format!("[{}]", vec![full.trim(); count].join(","))))
                });
                list.clone()
            }
            _ => {
                let body = r#"{"type":"error","status":"","status_code":0,"operation":"","error_code":404,"error":"Instance not found","metadata":null}"#;
                answer("404 Not Found", "", body)
            }
        }
    }

    async fn tell(&self, mut stream: UnixStream, head: &str) -> std::io::Result<()> {
        let accepted = accept(header(head, "sec-websocket-key").unwrap_or_default());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accepted}\r\n\r\n"
        );
        let mut endings = self.events.subscribe();
        stream.write_all(head.as_bytes()).await?;
        while let Ok(Ending(operation)) = endings.recv().await {
            let metadata = format!(r#"{{"sent":"{}"}}"#, now());
            let json = format!(
                r#"{{"type":"operation","timestamp":"2026-11-24T18:29:03.380494576Z","metadata":{},"location":"none","project":"default"}}"#,
                state(&uuid(operation), "Success", 200, &metadata)
            );
            stream.write_all(&frame(TEXT, json.as_bytes())).await?;
        }
        Ok(())
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn uuid(number: u64) -> String {
    format!("6916c8a6-9b7d-4abd-90b3-{number:012x}")
}

/// The envelope of a value.
fn sync(metadata: &str) -> String {
    format!(
        r#"{{"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":{metadata}}}"#
    )
}

/// An operation, as LXD 5.0.2 writes it.
fn state(uuid: &str, status: &str, code: u16, metadata: &str) -> String {
    format!(
        r#"{{"id":"{uuid}","class":"task","description":"Creating instance","created_at":"2026-11-24T18:29:03.360352396Z","updated_at":"2026-11-24T18:29:03.360352396Z","status":"{status}","status_code":{code},"resources":{{"containers":["/1.0/containers/t1"],"instances":["/1.0/instances/t1"]}},"metadata":{metadata},"may_cancel":false,"err":"","location":"none"}}"#
    )
}

/// An answer with the headers of LXD 5.0.2.
fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Date: Tue, 24 Nov 2026 18:29:03 GMT\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
