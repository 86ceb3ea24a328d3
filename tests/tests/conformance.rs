//! Each operation of the description, called by its generated method: what is on the wire, and what is made of the
//! answer, is held against what a reader of the description says that has no code in common with the generator.

#[path = "../conformance/calls.rs"]
mod calls;
#[path = "../conformance/cases.rs"]
#[allow(dead_code, reason = "the build script writes the calls")]
mod cases;
#[path = "../conformance/description.rs"]
mod description;
#[path = "../conformance/examples.rs"]
mod examples;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use calls::{Answered, BYTES, CASES, Case, UNCHECKED};
use description::{Answer, Body, Description, Operation};
use examples::Fill;
use lxd_tests::fake_server::{self, FakeServer, Request};
use lxd_tests::websocket;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// What `sha256sum` says of them.
const SHA256_OF_BYTES: &str = "88537d486890a9e0b18393768b10566a9fe562de42b352dfb10b03417d57d639";

fn description() -> Description {
    Description::read(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace"))
}

/// A server that answers with what was put there last, and keeps what it was asked.
struct Server {
    server: FakeServer,
    answer: Arc<Mutex<Reply>>,
}

/// What the server answers.
#[derive(Clone)]
enum Reply {
    Sync(Value),
    /// A background operation that has ended, with this metadata.
    Ended(Value),
    Text(&'static str),
    Bytes,
    WebSocket,
    Connection,
}

impl Server {
    fn start() -> Self {
        let answer = Arc::new(Mutex::new(Reply::Sync(Value::Null)));
        let given = Arc::clone(&answer);
        let server = FakeServer::with(move |request| match given.lock().unwrap().clone() {
            Reply::Sync(value) => fake_server::Answer::sync(&value.to_string()),
            Reply::Ended(metadata) => fake_server::Answer::background(&fake_server::operation(
                "task",
                "Success",
                200,
                &metadata.to_string(),
                "",
            )),
            Reply::Text(text) => fake_server::Answer::raw(200, &[("content-type", "text/plain")], text),
            Reply::Bytes => {
                fake_server::Answer::raw(200, &[("content-type", "application/octet-stream")], BYTES)
            }
            Reply::WebSocket => websocket::agree(request),
            Reply::Connection => {
                let protocol = request.header("upgrade").unwrap_or_default().to_owned();
                let headers = [("connection", "Upgrade"), ("upgrade", protocol.as_str())];
                fake_server::Answer::raw(101, &headers, "").hand_over()
            }
        });
        Self { server, answer }
    }

    /// Makes a call, answers it, and gives what it sent and what it made of the answer.
    async fn call(
        &self,
        case: &Case,
        body: Value,
        all: bool,
        reply: Reply,
    ) -> (Request, Result<Answered, lxd_client::Error>) {
        *self.answer.lock().unwrap() = reply;
        let before = self.server.requests().len();
        let outcome = (case.call)(self.server.client(), body, all).await;
        let requests = self.server.requests();
        assert_eq!(requests.len(), before + 1, "one request for one call: {:?}", &requests[before..]);
        (requests.into_iter().next_back().expect("a request"), outcome)
    }
}

/// How a value is answered where the description says so.
fn reply(answer: &Answer, value: Value) -> Reply {
    match answer {
        Answer::Nothing | Answer::Value(_) => Reply::Sync(value),
        Answer::Operation(_) => Reply::Ended(value),
        Answer::Text => Reply::Text("text"),
        Answer::Bytes => Reply::Bytes,
        Answer::WebSocket => Reply::WebSocket,
        Answer::Connection => Reply::Connection,
    }
}

fn shown(operation: &Operation) -> String {
    format!("{} {}?{}", operation.method, operation.path, operation.query)
}

#[test]
fn no_operation_is_left_out() {
    assert_eq!(UNCHECKED, [""; 0]);
    let operations = description().operations();
    assert_eq!(operations.len(), 333);
    let cases: BTreeSet<_> = CASES.iter().map(|case| case.operation).collect();
    assert_eq!(cases.len(), operations.len());
}

#[tokio::test]
async fn each_call_is_on_the_wire_what_the_description_says() {
    let (server, description) = (Server::start(), description());
    let operations = description.operations();
    for case in CASES {
        let operation = &operations[case.operation];
        let what = shown(operation);
        let value = match &operation.answers[0] {
            Answer::Value(schema) | Answer::Operation(Some(schema)) => {
                description.example(schema, Fill::Full)
            }
            _ => Value::Null,
        };
        let body = &operation.bodies[case.body];
        for (fill, all) in [(Fill::Full, true), (Fill::Empty, false)] {
            let sent = match body {
                Body::Json(schema) => description.example(schema, fill),
                _ => Value::Null,
            };
            let reply = reply(&operation.answers[0], value.clone());
            let (request, outcome) = server.call(case, sent.clone(), all, reply).await;
            if let Err(error) = outcome {
                panic!("{what}: {error}");
            }
            check_target(&what, operation, &request, all);
            check_headers(&what, operation, body, &request, all);
            match body {
                Body::Nothing => assert!(request.body.is_empty(), "{what}: {:?}", request.body),
                Body::Bytes => assert_eq!(request.body, BYTES, "{what}"),
                Body::Json(_) => {
                    let found: Value = serde_json::from_slice(&request.body).expect(&what);
                    assert_eq!(found, sent, "{what}");
                }
            }
        }
    }
}

fn check_target(what: &str, operation: &Operation, request: &Request, all: bool) {
    assert_eq!(request.method, operation.method, "{what}");
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().expect("UTF-8").into_owned();
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let found: Vec<String> = path.split('/').map(decoded).collect();
    let mut arguments = 0..;
    let expected: Vec<String> = operation
        .path
        .split('/')
        .map(|part| match part.starts_with('{') {
            true => cases::argument(arguments.next().expect("a number")),
            false => part.to_owned(),
        })
        .collect();
    assert_eq!(found, expected, "{what}: {}", request.target);
    let pairs = |query: &str| -> Vec<(String, String)> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let mut pairs: Vec<_> = pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decoded(name), decoded(value)))
            .collect();
        pairs.sort();
        pairs
    };
    let mut expected = pairs(&operation.query);
    if all {
        let given = operation.parameters.iter().filter(|parameter| !parameter.is_header);
        let given: Vec<_> = given.flat_map(cases::sent).collect();
        // A setter may say otherwise than the path has it, as one of `recursion`.
        expected.retain(|(name, _)| !given.iter().any(|(known, _)| known == name));
        expected.extend(given);
    }
    expected.sort();
    assert_eq!(pairs(query), expected, "{what}: {}", request.target);
}

fn check_headers(what: &str, operation: &Operation, body: &Body, request: &Request, all: bool) {
    let mut expected: Vec<(String, String)> = match all {
        true => operation.parameters.iter().filter(|known| known.is_header).flat_map(cases::sent).collect(),
        false => Vec::new(),
    };
    let is_image = request.method == "POST" && operation.path == "/1.0/images";
    if is_image && matches!(body, Body::Bytes) && !all {
        // What the client adds by itself: without it, an upload that was cut would be taken.
        expected.push(("X-LXD-fingerprint".to_owned(), SHA256_OF_BYTES.to_owned()));
    }
    match body {
        Body::Nothing => {}
        Body::Json(_) => expected.push(("content-type".to_owned(), "application/json".to_owned())),
        Body::Bytes => expected.push(("content-type".to_owned(), "application/octet-stream".to_owned())),
    }
    // How the request comes, and not what it says.
    let carrying = ["host", "user-agent", "content-length", "connection", "upgrade"];
    let mut found: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value.clone()))
        .filter(|(name, _)| !carrying.contains(&name.as_str()) && !name.starts_with("sec-websocket-"))
        .collect();
    for (name, _) in &mut expected {
        *name = name.to_lowercase();
    }
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{what}");
}

#[tokio::test]
async fn each_answer_is_read_in_full_empty_and_with_nulls() {
    let (server, description) = (Server::start(), description());
    let operations = description.operations();
    for case in CASES {
        let operation = &operations[case.operation];
        for answer in &operation.answers {
            check_answer(&server, &description, case, operation, answer).await;
        }
    }
}

async fn check_answer(
    server: &Server,
    description: &Description,
    case: &Case,
    operation: &Operation,
    answer: &Answer,
) {
    let what = shown(operation);
    let body = match &operation.bodies[case.body] {
        Body::Json(schema) => description.example(schema, Fill::Empty),
        _ => Value::Null,
    };
    let read = async |value: Value| {
        let (_, answered) = server.call(case, body.clone(), false, reply(answer, value)).await;
        answered.expect(&what)
    };
    match answer {
        Answer::Value(schema) | Answer::Operation(Some(schema)) => {
            for fill in [Fill::Full, Fill::Empty, Fill::Nulls] {
                let value = description.example(schema, fill);
                // What is absent and what is null is the default, which is left out when it is written.
                let expected =
                    if fill == Fill::Full { value.clone() } else { description.example(schema, Fill::Empty) };
                assert_eq!(read(value).await, Answered::Json(expected), "{what} {fill:?}");
            }
            assert!(matches!(read(Value::Null).await, Answered::Json(_)), "{what}: no value");
        }
        Answer::Nothing | Answer::Operation(None) => {
            // Whatever a server says there is passed over.
            for value in [json!({}), Value::Null, json!({"a": [1]})] {
                assert_eq!(read(value).await, Answered::Json(Value::Null), "{what}");
            }
        }
        Answer::Text => assert_eq!(read(Value::Null).await, Answered::Json("text".into()), "{what}"),
        Answer::Bytes => {
            assert_eq!(read(Value::Null).await, Answered::Bytes(Bytes::from_static(BYTES)), "{what}");
        }
        Answer::WebSocket | Answer::Connection => {
            assert_eq!(read(Value::Null).await, Answered::Opened, "{what}");
        }
    }
}
