//! The mock as a server: connections, requests, answers in their envelope, and what a real server does by itself
//! for operations and events. What is answered is left to the expectations.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_core::Stream;
use futures_sink::Sink;
use http::header::{CONNECTION, CONTENT_TYPE, LOCATION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::expectation::{progress, told};
use super::{Answer, Came, Shared};
use crate::arriving::Arriving;
use crate::body::Body;
use crate::call::Answers;
use crate::client::limits::Limits;

/// Serves all who come, until this is dropped.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(connection(stream, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A client that goes away is none of a test's business; what it asked before was noted.
    let _ended = served.with_upgrades().await;
}

async fn answer(shared: &Arc<Shared>, mut request: Request<Incoming>) -> Response<Body> {
    let upgrade = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let Ok(body) = Arriving::new(body, Limits::default()).all("a call of the mock").await else {
        return refusal(400, "the body broke off");
    };
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let path = head.uri.path().trim_start_matches('/').split('/').map(decoded).collect();
    let pairs = head.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let query = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    });
    let (method, query, headers) = (head.method.to_string(), query.collect(), head.headers);
    let came = Arc::new(Came { method, path, query, headers, body });
    let expected = {
        let mut state = shared.lock();
        let line = state.script.iter().rev().find(|line| line.fits(&came));
        let answer = line.map(|line| (line.served.answers, line.answer.clone()));
        if answer.is_some() {
            state.came.push((Arc::clone(&came), true));
        }
        answer
    };
    if let Some((answers, expected)) = expected {
        return given(shared, &came, answers, expected);
    }
    let path: Vec<_> = came.path.iter().map(String::as_str).collect();
    match (came.method.as_str(), &path[..], upgrade) {
        ("GET", ["1.0"], _) => sync(&json!({"api_status": "stable", "auth": "trusted", "environment": {}})),
        ("GET", ["1.0", "events"], Some(upgrade)) => events(shared, &came, upgrade),
        ("GET", ["1.0", "operations", id] | ["1.0", "operations", id, "wait"], _) => {
            match shared.lock().operations.get(*id) {
                Some(operation) => sync(operation),
                None => refusal(404, "not found"),
            }
        }
        _ => {
            let message = format!("the mock does not expect {} /{}", came.method, path.join("/"));
            shared.lock().came.push((Arc::clone(&came), false));
            refusal(501, &message)
        }
    }
}

/// What the test said.
fn given(shared: &Arc<Shared>, came: &Came, answers: Answers, answer: Answer) -> Response<Body> {
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
        Answer::Operation { progress: steps, status, error, metadata } => {
            let mut state = shared.lock();
            let id = format!("00000000-0000-4000-8000-{:012}", state.operations.len());
            let running = |metadata| told(&id, 103, "", metadata);
            let ended = told(&id, status, &error, metadata);
            let project = came.query.get("project").map_or("default", String::as_str);
            let steps = steps.iter().map(|text| running(progress(text)));
            for operation in steps.chain([ended.clone()]) {
                let event = json!({
                    "type": "operation", "timestamp": "2026-01-01T00:00:00Z", "metadata": operation,
                    "location": "none", "project": project,
                });
                let event = event.to_string();
                state.followers.retain(|(of, follower)| {
                    of.as_deref().is_some_and(|of| of != project) || follower.send(event.clone()).is_ok()
                });
            }
            state.operations.insert(id.clone(), ended);
            let path = format!("/1.0/operations/{id}");
            let begun = running(Value::Null);
            let mut response = enveloped(202, "async", "Operation created", 100, &path, (0, ""), &begun);
            if let Ok(path) = HeaderValue::from_str(&path) {
                response.headers_mut().insert(LOCATION, path);
            }
            response
        }
    }
}

/// Lets somebody follow the events.
fn events(shared: &Arc<Shared>, came: &Came, upgrade: hyper::upgrade::OnUpgrade) -> Response<Body> {
    let Some(key) = came.headers.get("sec-websocket-key") else { return refusal(400, "no websocket") };
    let accept = derive_accept_key(key.as_bytes());
    let (sender, receiver) = unbounded_channel();
    let everywhere = came.query.get("all-projects").is_some_and(|all| all == "true");
    let project = came.query.get("project").cloned().unwrap_or_else(|| "default".to_owned());
    shared.lock().followers.push(((!everywhere).then_some(project), sender));
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
            tell(socket, receiver).await;
        }
    });
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert("sec-websocket-accept", accept);
    }
    response
}

/// Sends the events to somebody who follows them, and reads what that one says, until one of both ends.
async fn tell(
    mut socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
    mut events: UnboundedReceiver<String>,
) {
    let mut unsent = false;
    poll_fn(|context| {
        while let Poll::Ready(ready) = Pin::new(&mut socket).poll_ready(context) {
            if ready.is_err() {
                return Poll::Ready(());
            }
            match events.poll_recv(context) {
                Poll::Ready(Some(event)) => {
                    if Pin::new(&mut socket).start_send(Message::text(event)).is_err() {
                        return Poll::Ready(());
                    }
                    unsent = true;
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if unsent {
            match Pin::new(&mut socket).poll_flush(context) {
                Poll::Ready(Ok(())) => unsent = false,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
        }
        loop {
            match Pin::new(&mut socket).poll_next(context) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

fn sync(value: &Value) -> Response<Body> {
    enveloped(200, "sync", "Success", 200, "", (0, ""), value)
}

fn refusal(status: u16, message: &str) -> Response<Body> {
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

fn response(status: u16, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
