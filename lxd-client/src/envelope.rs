//! The envelope of every JSON answer, read in one pass: the value goes straight to its place. What
//! an operation's end means is left to `operation`.

use lxd_types::wire::{self, Incoming, Read, Refused};
use serde_json::Value;

use crate::operation::State;

/// What an answer turned out to be.
pub(crate) enum Outcome {
    /// The value, which is in its place.
    Value,
    /// A background operation, as it stood when the answer was sent.
    Background(State),
    /// A refusal: its status and the server's words.
    Refusal(u16, String),
}

/// Reads an answer; a value goes to `place`. The answer's own `type` decides what it is: servers
/// have moved calls between the types, whatever their description says.
pub(crate) fn read(json: &[u8], place: &mut dyn Read) -> Result<Outcome, serde_json::Error> {
    let mut envelope = Envelope::new(place);
    wire::from_json(json, &mut envelope)?;
    if let Some(early) = envelope.early.take() {
        let place: &mut dyn Read = match envelope.kind {
            Kind::Async => &mut envelope.operation,
            Kind::Error => &mut (),
            _ => envelope.place,
        };
        wire::from_value(&early, place)?;
    }
    match envelope.kind {
        Kind::Sync => Ok(Outcome::Value),
        Kind::Async => Ok(Outcome::Background(envelope.operation)),
        Kind::Error => Ok(Outcome::Refusal(envelope.error_code, envelope.error)),
        Kind::Other(other) => Err(<serde_json::Error as serde::de::Error>::custom(format_args!(
            "type: expected `sync`, `async` or `error`, found `{other}`"
        ))),
    }
}

/// The type of an answer.
enum Kind {
    Sync,
    Async,
    Error,
    /// None that there is, or nothing yet.
    Other(String),
}

impl Read for Kind {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        *self = match value {
            Incoming::Text("sync") => Self::Sync,
            Incoming::Text("async") => Self::Async,
            Incoming::Text("error") => Self::Error,
            Incoming::Text(other) => Self::Other(other.to_owned()),
            Incoming::Null => Self::Other(String::new()),
            _ => return Err(Refused { expected: "a string" }),
        };
        Ok(())
    }
}

struct Envelope<'p> {
    kind: Kind,
    error_code: u16,
    error: String,
    place: &'p mut dyn Read,
    operation: State,
    /// The metadata, where it came before the type that says what it is. No known server does that.
    early: Option<Value>,
}

impl<'p> Envelope<'p> {
    fn new(place: &'p mut dyn Read) -> Self {
        Self {
            kind: Kind::Other(String::new()),
            error_code: 0,
            error: String::new(),
            place,
            operation: State::default(),
            early: None,
        }
    }
}

impl Read for Envelope<'_> {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        wire::read_fields(self, value)
    }

    fn field(&mut self, name: &str) -> Option<&mut dyn Read> {
        Some(match name {
            "type" => &mut self.kind,
            // Old documents call it `code`.
            "error_code" | "code" => &mut self.error_code,
            "error" => &mut self.error,
            "metadata" => match self.kind {
                Kind::Sync => &mut *self.place,
                Kind::Async => &mut self.operation,
                Kind::Error => return None,
                Kind::Other(_) => self.early.insert(Value::Null),
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, read};

    fn value(json: &str) -> (Result<Outcome, serde_json::Error>, Vec<String>) {
        let mut place: Vec<String> = Vec::new();
        (read(json.as_bytes(), &mut place), place)
    }

    #[test]
    fn the_type_decides() {
        let (outcome, place) = value(
            r#"{"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":["a","b"]}"#,
        );
        assert!(matches!(outcome.unwrap(), Outcome::Value));
        assert_eq!(place, ["a", "b"]);

        let (outcome, place) = value(
            r#"{"type":"async","status":"Operation created","status_code":100,"operation":"/1.0/operations/u","error_code":0,"error":"","metadata":{"id":"u","class":"task","status_code":103,"metadata":null,"may_cancel":true}}"#,
        );
        let Outcome::Background(state) = outcome.unwrap() else { panic!() };
        assert_eq!((state.id.as_str(), state.status_code, state.may_cancel), ("u", 103, true));
        assert!(place.is_empty());

        let (outcome, _) = value(
            r#"{"type":"error","status":"","status_code":0,"operation":"","error_code":404,"error":"not found","metadata":null}"#,
        );
        let Outcome::Refusal(404, message) = outcome.unwrap() else { panic!() };
        assert_eq!(message, "not found");
    }

    #[test]
    fn any_order_of_the_keys_will_do() {
        let (outcome, place) = value(r#"{"metadata":["a"],"type":"sync"}"#);
        assert!(matches!(outcome.unwrap(), Outcome::Value));
        assert_eq!(place, ["a"]);
        let (outcome, place) = value(r#"{"metadata":{"id":"u"},"type":"async"}"#);
        assert!(matches!(outcome.unwrap(), Outcome::Background(state) if state.id == "u"));
        assert!(place.is_empty());
        let (outcome, _) = value(r#"{"metadata":{"id":"u"},"code":400,"error":"no","type":"error"}"#);
        assert!(matches!(outcome.unwrap(), Outcome::Refusal(400, _)));
    }

    #[test]
    fn null_is_the_default_and_a_wrong_type_names_its_path() {
        let (outcome, place) = value(r#"{"type":"sync","metadata":null}"#);
        assert!(outcome.is_ok() && place.is_empty());
        let (outcome, _) = value(r#"{"type":"sync","metadata":["a",5]}"#);
        let message = outcome.err().unwrap().to_string();
        assert!(message.starts_with("metadata[1]: expected a string, found the number 5"), "{message}");
        let (outcome, _) = value(r#"{"type":"odd"}"#);
        assert!(outcome.err().unwrap().to_string().contains("found `odd`"));
    }
}
