//! What the servers answer: recorded bytes of LXD 5.0.2.

use std::collections::HashMap;
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{broadcast, mpsc};

use super::now;
use crate::tls;
use crate::websocket::{TEXT, accept, frame};

struct Shared {
    begun: Instant,
    /// Whether it says when it was asked for its events.
    tells: bool,
    delay: Option<Duration>,
    requests: AtomicU64,
    connections: AtomicU64,
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

/// Says something to the process that has started this one.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("somebody who reads");
}

/// One server.
pub(super) async fn one(socket: &Path, delay: Option<Duration>) {
    // One of a process that was killed, with the same number.
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket).expect("a socket to listen on");
    let shared = Shared::new(delay, false);
    say("listening");
    while let Ok((stream, _)) = listener.accept().await {
        shared.serve(stream);
    }
}

/// One server for each port. They end nothing.
pub(super) async fn many(ports: Range<u16>, server: ServerConfig) {
    let server = Arc::new(server);
    let mut listeners = Vec::new();
    for port in ports {
        listeners.push(TcpListener::bind(("127.0.0.1", port)).await.expect("a port to listen on"));
    }
    let shared = Shared::new(None, true);
    say("listening");
    for listener in listeners {
        let (shared, server) = (Arc::clone(&shared), Arc::clone(&server));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, server) = (Arc::clone(&shared), Arc::clone(&server));
                tokio::spawn(async move {
                    if let (_, Some(stream)) = tls::accept(stream, server).await {
                        shared.serve(stream);
                    }
                });
            }
        });
    }
    std::future::pending().await
}

impl Shared {
    fn new(delay: Option<Duration>, tells: bool) -> Arc<Self> {
        let (pending, mut to_end) = mpsc::unbounded_channel();
        let (events, _) = broadcast::channel(if tells { 1 } else { 1 << 15 });
        let (requests, connections, operations) = Default::default();
        let (begun, lists) = (Instant::now(), Mutex::default());
        let ending = events.clone();
        let shared = Self { begun, tells, delay, requests, connections, operations, events, pending, lists };
        tokio::spawn(async move {
            let mut pending = Vec::new();
            while let Some(operation) = to_end.recv().await {
                match operation {
                    Some(operation) => pending.push(operation),
                    None => {
                        for operation in pending.drain(..) {
                            // Nobody may listen.
                            let _ = ending.send(Ending(operation));
                        }
                    }
                }
            }
        });
        Arc::new(shared)
    }

    fn serve(self: &Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            shared.connections.fetch_add(1, Ordering::Relaxed);
            // A client that leaves is none of the server's business.
            let _ = shared.converse(stream).await;
            shared.connections.fetch_sub(1, Ordering::Relaxed);
        });
    }

    async fn converse(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
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
            let told = match text.split(" HTTP").next() {
                Some("PUT /end") => {
                    // The task that ends them lives as long as the server.
                    let _ = self.pending.send(None);
                    Some(0)
                }
                Some("GET /requests") => Some(self.requests.load(Ordering::Relaxed)),
                Some("GET /connections") => Some(self.connections.load(Ordering::Relaxed) - 1),
                _ => None,
            };
            if let Some(told) = told {
                return stream.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{told}\n").as_bytes()).await;
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
            if text.starts_with("GET /1.0/events") {
                return self.tell(stream, &text).await;
            }
            if text.starts_with("GET /1.0 ") {
                let body = sync(r#"{"environment":{"server_pid":7}}"#);
                stream.write_all(&answer("200 OK", "", &body)).await?;
                continue;
            }
            if let Some(path) = text.strip_prefix("GET /1.0/instances") {
                stream.write_all(&self.instances(path.split(' ').next().unwrap_or_default())).await?;
                continue;
            }
            if text.starts_with("GET /1.0/profiles/default ") {
                let profile = include_str!("../../data/profile.json");
                stream.write_all(&answer("200 OK", "", &sync(profile.trim()))).await?;
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

    async fn tell(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str) -> std::io::Result<()> {
        let accepted = accept(header(head, "sec-websocket-key").unwrap_or_default());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accepted}\r\n\r\n"
        );
        let mut endings = self.events.subscribe();
        stream.write_all(head.as_bytes()).await?;
        if self.tells {
            say(&self.begun.elapsed().as_micros().to_string());
        }
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
