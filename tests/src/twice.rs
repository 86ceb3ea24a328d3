//! Reading an answer of a real LXD twice, as JSON and in its type, to see whether anything is lost.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use lxd_client::{Answer, Call, Error};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// What the server answers to GET, as it came.
async fn json_of(socket: &str, path: &str) -> Value {
    let mut stream = UnixStream::connect(socket).await.expect("a connection");
    // Of HTTP 1.0, an answer ends with its connection and has no chunks.
    let request = format!("GET {path} HTTP/1.0\r\nHost: lxd\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a connection");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer in text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.lines().next().is_some_and(|line| line.contains(" 200 ")), "{path}: {head} {body}");
    let mut envelope: Value = serde_json::from_str(body).expect("JSON");
    envelope["metadata"].take()
}

/// A value without what stands for a default, with its times in one form, and without the numbers
/// that change from one look to the next.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let moving = ["used", "usage", "usage_peak", "frequency"];
            let plain = entries.into_iter().map(|(key, value)| match value {
                Value::Number(_) if moving.contains(&key.as_str()) => (key, json!("a number")),
                value => (key, plain(value)),
            });
            Value::Object(plain.filter(|(_, value)| !is_default(value)).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        Value::String(text) => match text.parse::<Timestamp>() {
            Ok(time) if time <= Timestamp::UNIX_EPOCH => Value::Null,
            Ok(time) => Value::String(time.to_string()),
            Err(_) => Value::String(text),
        },
        value => value,
    }
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        Value::String(value) => value.is_empty(),
        Value::Array(value) => value.is_empty(),
        Value::Object(value) => value.is_empty(),
    }
}

/// Checks that a call gives what the server at a Unix socket answers. What changes meanwhile is looked at again.
///
/// # Errors
///
/// Those of the call.
///
/// # Panics
///
/// Where it does not, with the place and both values.
pub async fn same<T: Answer + Serialize, P>(
    socket: &str,
    path: &str,
    call: impl Fn() -> Call<T, P>,
) -> Result<T, Error> {
    let began = Instant::now();
    loop {
        let answered = plain(json_of(socket, path).await);
        let value = call().await?;
        let typed = plain(serde_json::to_value(&value).expect("a value of the wire"));
        match difference(&answered, &typed) {
            None => return Ok(value),
            Some(difference) if began.elapsed() > Duration::from_secs(5) => panic!("{path}{difference}"),
            Some(_) => {}
        }
    }
}

/// The first place where two values differ, with both.
fn difference(one: &Value, other: &Value) -> Option<String> {
    let inside = match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys = one.keys().chain(other.keys());
            keys.map(|key| (key.clone(), one.get(key), other.get(key))).collect::<Vec<_>>()
        }
        (Value::Array(one), Value::Array(other)) => {
            let indices = 0..one.len().max(other.len());
            indices.map(|index| (index.to_string(), one.get(index), other.get(index))).collect()
        }
        _ if one == other => return None,
        _ => return Some(format!(": {one} became {other}")),
    };
    inside.into_iter().find_map(|(step, one, other)| {
        let difference = difference(one.unwrap_or(&Value::Null), other.unwrap_or(&Value::Null))?;
        Some(format!(" {step}{difference}"))
    })
}

/// The same, of an answer that has something in it.
///
/// # Errors
///
/// Those of the call.
///
/// # Panics
///
/// Where it does not, or there is nothing.
pub async fn some<T: Answer + Serialize, P>(
    socket: &str,
    path: &str,
    call: impl Fn() -> Call<T, P>,
) -> Result<T, Error> {
    let value = same(socket, path, call).await?;
    let shown = serde_json::to_value(&value).expect("a value of the wire");
    assert!(!is_default(&shown), "{path}: there is nothing in it");
    Ok(value)
}

/// What is lost between the metadata of a background operation and the typed result: the paths of what the server
/// said and the type does not keep, or keeps otherwise.
pub fn lost(metadata: &Value, result: &impl Serialize) -> Vec<String> {
    let typed = plain(serde_json::to_value(result).expect("a value of the wire"));
    let Value::Object(said) = plain(metadata.clone()) else { return Vec::new() };
    let kept = |(key, value): &(String, Value)| {
        // The server writes the numbers inside an operation's metadata as text.
        let number = value.as_str().and_then(|text| text.parse::<i64>().ok()).map(Value::from);
        typed.get(key) == Some(value) || (number.is_some() && typed.get(key) == number.as_ref())
    };
    said.into_iter().filter(|entry| !kept(entry)).map(|(key, _)| key).collect()
}
