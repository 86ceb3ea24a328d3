//! A call and the whole answer to it, which is JSON or text. What is in the JSON is left to `envelope`,
//! following an operation to `operation`.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use lxd_types::wire::{self, Read};

use super::{Answers, Endpoint, Response};
use crate::client::Client;
use crate::envelope::{self, Outcome};
use crate::error::{BoxError, Error};
use crate::operation::watcher::{self, Announced};
use crate::operation::{Operation, State};

/// An answer, and what was seen to for the operation that it may be.
pub(super) type Begun = (Exchange, Option<Announced>);

/// A call and its whole answer.
pub(crate) struct Exchange {
    pub(crate) call: String,
    pub(super) endpoint: &'static Endpoint,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) client: Client,
    pub(super) project: Option<String>,
}

impl Exchange {
    /// Reads the answer: a value goes to `place`, a background operation is returned, a refusal is
    /// an error, also where its HTTP status is that of a success.
    pub(crate) fn read(&self, place: &mut dyn Read) -> Result<Option<State>, Error> {
        if self.endpoint.method == "HEAD" {
            return Ok(None);
        }
        if self.endpoint.answers == Answers::Text {
            let text = std::str::from_utf8(&self.body).map_err(|error| self.undecodable(error))?;
            place.read(wire::Incoming::Text(text)).map_err(|_| self.undecodable("it is text"))?;
            return Ok(None);
        }
        match envelope::read(&self.body, place) {
            Ok(Outcome::Value) => Ok(None),
            Ok(Outcome::Background(state)) => Ok(Some(state)),
            Ok(Outcome::Refusal(status, message)) => {
                Err(Error::Api { call: self.call.clone(), status, message })
            }
            Err(error) => Err(self.undecodable(error)),
        }
    }

    /// The background operation that the answer is, which is followed from now on.
    pub(super) fn operation<T>(&self, announced: Option<Announced>, state: State) -> Operation<T> {
        let tracked = watcher::follow(&self.client, announced.as_ref(), self.project.as_deref(), state);
        Operation::new(self.client.clone(), &self.call, self.endpoint, tracked)
    }

    /// Leaves the memory that the answer was received into, which may be large, to others: the end of
    /// an operation may be far away.
    pub(super) fn shrink(&mut self) {
        self.body = Bytes::new();
        let copied = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.clone(), HeaderValue::from_bytes(value.as_bytes()).ok()?))
        };
        self.headers = self.headers.iter().filter_map(copied).collect();
    }

    fn undecodable(&self, error: impl Into<BoxError>) -> Error {
        Error::decode(format!("{} ({})", self.call, self.endpoint.id), error)
    }

    pub(super) fn response<T>(self, value: T) -> Response<T> {
        Response { value, headers: self.headers, status: self.status }
    }
}
