//! The calls that the build script writes: one function for each method of the client.

use std::pin::Pin;

use bytes::Bytes;
use lxd_client::{Client, Error};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What is made of the answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Answered {
    Json(Value),
    Bytes(Bytes),
    /// A connection that speaks something else.
    Opened,
}

pub(crate) type Outcome = Pin<Box<dyn Future<Output = Result<Answered, Error>> + Send>>;

/// A method of the client.
pub(crate) struct Case {
    /// The place of its operation in the description.
    pub(crate) operation: usize,
    /// Which of the operation's bodies it sends.
    pub(crate) body: usize,
    /// The name of the method.
    #[allow(dead_code, reason = "the table of operations names it")]
    pub(crate) method: &'static str,
    /// Calls it, with this body, and with all of its setters or none.
    pub(crate) call: fn(Client, Value, bool) -> Outcome,
}

/// What is sent as bytes, and answered.
pub(crate) const BYTES: &[u8] = b"bytes \0\xff\r\n";

fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap_or_else(|error| panic!("an example of a body: {error}"))
}

fn json<T: Serialize>(value: &T) -> Answered {
    Answered::Json(serde_json::to_value(value).expect("a value that can be written"))
}

fn opened<T>(connection: T) -> Answered {
    drop(connection);
    Answered::Opened
}

include!(concat!(env!("OUT_DIR"), "/conformance.rs"));
