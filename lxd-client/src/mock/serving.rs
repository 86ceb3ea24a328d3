//! The mock as a server: connections, requests, answers in their envelope, and what a real server does by itself
//! for operations and events. What is answered is left to the expectations.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use futures_sink::Sink;
use http::header::{CONNECTION, CONTENT_TYPE, LOCATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{AbortHandle, JoinSet};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::expectation::{progress, told};
use super::{Answer, Came, Follower, Outcome, Shared, State, commands, sessions, stateful};
use crate::answer::Connection;
use crate::arriving::Arriving;
use crate::body::Body;
use crate::call::Answers;
use crate::client::limits::Limits;
use crate::error::Error;

/// How long an operation takes for each progress that it tells.
const STEP: Duration = Duration::from_millis(10);

/// Serves on this machine (TCP, on a free port) until the handle ends it; with its endpoint.
pub(super) async fn on_loopback<F>(
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
) -> (String, AbortHandle)
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let accept = move |context: &mut Context<'_>| listener.poll_accept(context).map_ok(|(stream, _)| stream);
    (format!("http://{address}"), tokio::spawn(serve(accept, answer)).abort_handle())
}

/// The same at a Unix socket.
pub(super) fn at_socket<F>(
    socket: &Path,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
) -> (String, AbortHandle)
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let socket = std::path::absolute(socket).expect("a path");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let accept = move |context: &mut Context<'_>| listener.poll_accept(context).map_ok(|(stream, _)| stream);
    (format!("unix://{}", socket.display()), tokio::spawn(serve(accept, answer)).abort_handle())
}

/// Serves all whom a listener accepts, until this is dropped.
async fn serve<S, F>(
    mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<S>>,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    while let Ok(stream) = poll_fn(&mut accept).await {
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let answering = answer(request);
            async move { Ok::<_, Infallible>(answering.await) }
        });
        let served =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move {
            // A client that goes away is none of a test's business; what it asked before was noted.
            let _ended = served.with_upgrades().await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// A request as it came, with its body; and what it can become.
pub(super) async fn received(mut request: Request<Incoming>) -> Result<(Came, Option<OnUpgrade>), Error> {
    let upgrade = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let body = Arriving::new(body, Limits { answer: usize::MAX, ..Limits::default() })
        .all("a call of the mock")
        .await?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let path = head.uri.path().trim_start_matches('/').split('/').map(decoded).collect();
    let pairs = head.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let query = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    });
    let (method, query, headers) = (head.method.to_string(), query.collect(), head.headers);
    Ok((Came { method, path, query, headers, body }, upgrade))
}

/// What a mock answers.
pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let Ok((came, upgrade)) = received(request).await else { return refusal(400, "the body broke off") };
    let came = Arc::new(came);
    // Not under the lock: what the test says may look at the mock.
    let script = shared.lock().script.clone();
    let mut expected = None;
    let in_turn = script.iter().filter(|line| line.manner.once);
    for line in in_turn.chain(script.iter().rev().filter(|line| !line.manner.once)) {
        match line.fits(&came) {
            Ok(true) if !line.answers() => {}
            Ok(true) => {
                expected = Some((line.served.answers, line.answer.clone(), line.manner.clone()));
                break;
            }
            Ok(false) => {}
            Err(fault) => shared.lock().faults.push(fault),
        }
    }
    let note = |outcome| shared.lock().came.push((Arc::clone(&came), outcome));
    if let Some((answers, expected, manner)) = expected {
        note(Outcome::Expected);
        if let Some(delay) = manner.delay {
            tokio::time::sleep(delay).await;
        }
        let mut response = given(&shared, &came, upgrade, answers, expected);
        response.headers_mut().extend(manner.headers);
        return response;
    }
    let by_itself = by_itself(&shared, &came, upgrade);
    match by_itself.or_else(|| stateful::answer(&mut shared.lock(), &came)) {
        Some(served) => {
            note(Outcome::Served);
            served
        }
        None => {
            note(Outcome::Unexpected);
            refusal(501, &format!("the mock does not expect {} /{}", came.method, came.path.join("/")))
        }
    }
}

/// What needs no expectation.
fn by_itself(shared: &Arc<Shared>, came: &Came, upgrade: Option<OnUpgrade>) -> Option<Response<Body>> {
    let path: Vec<_> = came.path.iter().map(String::as_str).collect();
    match (came.method.as_str(), &path[..], upgrade) {
        ("GET", ["1.0"], _) => {
            Some(sync(&json!({"api_status": "stable", "auth": "trusted", "environment": {}})))
        }
        ("GET", ["1.0", "events"], Some(upgrade)) => Some(events(shared, came, upgrade)),
        ("GET", ["1.0", "operations", id, "websocket"], Some(upgrade)) => {
            let (is_command, is_known) = {
                let state = shared.lock();
                (state.commands.contains_key(*id), state.operations.contains_key(*id))
            };
            let connect = if is_command { commands::connect } else { sessions::connect };
            // One that has ended, or another secret.
            let refused = || is_known.then(|| refusal(404, "websocket not found"));
            connect(shared, came, id, upgrade).or_else(refused)
        }
        (method, ["1.0", "instances", _, "logs", name], _) => commands::recorded(shared, method, name),
        // How it ends, the test has said.
        ("DELETE", ["1.0", "operations", id], _) => {
            shared.lock().operations.contains_key(*id).then(|| sync(&json!({})))
        }
        ("GET", ["1.0", "operations", id] | ["1.0", "operations", id, "wait"], _) => {
            shared.lock().operations.get(*id).map(sync)
        }
        _ => None,
    }
}

/// What the test said.
fn given(
    shared: &Arc<Shared>,
    came: &Arc<Came>,
    upgrade: Option<OnUpgrade>,
    answers: Answers,
    answer: Answer,
) -> Response<Body> {
    match answer {
        Answer::Value(json) => match serde_json::from_slice::<Value>(&json) {
            Ok(Value::String(text)) if answers == Answers::Text => {
                response(200, "text/plain", Body::from(text))
            }
            Ok(value) => sync(&value),
            Err(error) => refusal(500, &error.to_string()),
        },
        Answer::Bytes(bytes) => response(200, "application/octet-stream", Body::from(bytes)),
        Answer::Error(status, message) => refusal(status, &message),
        Answer::Malformed(bytes) => response(200, "application/json", Body::from(bytes)),
        Answer::Cut => {
            let half = Body::reader(&b"{\"type\":\"sync\",\"status\":\"Succ"[..]).length(1000);
            response(200, "application/json", half)
        }
        Answer::Command(output) => commands::begin(shared, came, output),
        Answer::Session(test) => sessions::begin(shared, came, &test),
        Answer::WebSocket(_) | Answer::Connection(_) => sessions::given(shared, came, upgrade, answer),
        Answer::Operation { progress: steps, status, error, metadata } => {
            let mut state = shared.lock();
            let id = state.next_operation();
            let response = begun(&mut state, came, &id, told(&id, 103, "", Value::Null));
            if steps.is_empty() {
                ended(&mut state, came, &id, status, &error, metadata);
                return response;
            }
            let (later, came) = (Arc::clone(shared), Arc::clone(came));
            let going_on = tokio::spawn(async move {
                for text in steps {
                    tokio::time::sleep(STEP).await;
                    let mut state = later.lock();
                    let running = told(&id, 103, "", progress(&text));
                    announce(&mut state, &came, &running);
                    state.operations.insert(id.clone(), running);
                }
                tokio::time::sleep(STEP).await;
                ended(&mut later.lock(), &came, &id, status, &error, metadata);
            });
            state.tasks.push(going_on.abort_handle());
            response
        }
    }
}

/// Answers with an operation that runs from now on, as it is told.
pub(super) fn begun(state: &mut State, came: &Came, id: &str, running: Value) -> Response<Body> {
    announce(state, came, &running);
    let path = format!("/1.0/operations/{id}");
    let mut response = enveloped(202, "async", "Operation created", 100, &path, (0, ""), &running);
    if let Ok(path) = HeaderValue::from_str(&path) {
        response.headers_mut().insert(LOCATION, path);
    }
    state.operations.insert(id.to_owned(), running);
    response
}

/// Ends an operation.
pub(super) fn ended(state: &mut State, came: &Came, id: &str, status: u16, error: &str, metadata: Value) {
    let mut ended = told(id, status, error, metadata);
    if let Some(begun) = state.operations.get(id) {
        for name in ["description", "resources"] {
            ended[name] = begun[name].clone();
        }
    }
    announce(state, came, &ended);
    state.operations.insert(id.to_owned(), ended);
}

/// Tells those who follow the events how an operation is that a call began.
fn announce(state: &mut State, came: &Came, operation: &Value) {
    let project = came.query.get("project").map_or("default", String::as_str);
    state.announce("operation", Some(project), operation);
}

/// Lets somebody follow the events.
fn events(shared: &Arc<Shared>, came: &Came, upgrade: OnUpgrade) -> Response<Body> {
    let (sender, receiver) = unbounded_channel();
    let given = |name: &str| came.query.get(name).map(String::as_str);
    let project = given("project").unwrap_or("default").to_owned();
    let project = (given("all-projects") != Some("true")).then_some(project);
    let types = given("type").map(|types| types.split(',').map(str::to_owned).collect());
    shared.lock().followers.push(Follower { project, types, sender });
    websocket(shared, came, upgrade, |socket| tell(socket, receiver))
}

/// A websocket of this side.
pub(super) type Socket = WebSocketStream<Connection>;

/// Makes a websocket of a call, and uses it.
pub(super) fn websocket<F: Future<Output = ()> + Send>(
    shared: &Shared,
    came: &Came,
    upgrade: OnUpgrade,
    work: impl FnOnce(Socket) -> F + Send + 'static,
) -> Response<Body> {
    upgraded(shared, came, upgrade, |connection| async move {
        work(WebSocketStream::from_raw_socket(connection, Role::Server, None).await).await;
    })
}

/// Makes of a call the connection that it asks for, and uses that.
pub(super) fn upgraded<F: Future<Output = ()> + Send>(
    shared: &Shared,
    came: &Came,
    upgrade: OnUpgrade,
    work: impl FnOnce(Connection) -> F + Send + 'static,
) -> Response<Body> {
    let working = tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            work(Connection::new(upgraded)).await;
        }
    });
    shared.lock().tasks.push(working.abort_handle());
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.extend(came.headers.get(UPGRADE).map(|protocol| (UPGRADE, protocol.clone())));
    if let Some(key) = came.headers.get(SEC_WEBSOCKET_KEY) {
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
        headers.extend(accept.ok().map(|accept| (SEC_WEBSOCKET_ACCEPT, accept)));
    }
    response
}

/// Sends a message; whether it went out.
pub(super) async fn send(socket: &mut Socket, message: Message) -> bool {
    if poll_fn(|context| Pin::new(&mut *socket).poll_ready(context)).await.is_err() {
        return false;
    }
    Pin::new(&mut *socket).start_send(message).is_ok()
        && poll_fn(|context| Pin::new(&mut *socket).poll_flush(context)).await.is_ok()
}

/// The next message; none at the end, in one way or another.
pub(super) async fn next(socket: &mut Socket) -> Option<Message> {
    poll_fn(|context| Pin::new(&mut *socket).poll_next(context)).await?.ok()
}

/// Sends the events to somebody who follows them, and reads what that one says, until one of both ends.
async fn tell(mut socket: Socket, mut events: UnboundedReceiver<String>) {
    loop {
        // What is dropped here has no more of the message than what the socket keeps for the next time.
        let event = {
            let said = next(&mut socket);
            let mut said = std::pin::pin!(said);
            poll_fn(|context| match events.poll_recv(context) {
                Poll::Ready(event) => Poll::Ready(event),
                Poll::Pending => said.as_mut().poll(context).map(|said| said.map(|_| String::new())),
            })
            .await
        };
        match event {
            // It said something, which is of no interest.
            Some(event) if event.is_empty() => {}
            Some(event) => {
                if !send(&mut socket, Message::text(event)).await {
                    return;
                }
            }
            None => return,
        }
    }
}

pub(super) fn sync(value: &Value) -> Response<Body> {
    enveloped(200, "sync", "Success", 200, "", (0, ""), value)
}

pub(super) fn refusal(status: u16, message: &str) -> Response<Body> {
    enveloped(status, "error", "", 0, "", (status, message), &Value::Null)
}

/// An answer as LXD puts it, with its seven keys.
fn enveloped(
    http: u16,
    kind: &str,
    status: &str,
    code: u16,
    operation: &str,
    error: (u16, &str),
    metadata: &Value,
) -> Response<Body> {
    let envelope = json!({
        "type": kind, "status": status, "status_code": code, "operation": operation,
        "error_code": error.0, "error": error.1, "metadata": metadata,
    });
    response(http, "application/json", Body::from(envelope.to_string()))
}

pub(super) fn response(status: u16, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
