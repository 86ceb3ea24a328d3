//! Background operations: following one to its end, and what that end means.

use std::fmt;

use serde_json::Value;

use crate::call::{Answers, Endpoint, Exchange, Request, Sent};
use crate::client::Client;
use crate::envelope::State;
use crate::error::Error;

const GET: Endpoint = endpoint("operation_get", "GET", "/1.0/operations/{id}");
const WAIT: Endpoint = endpoint("operation_wait_get", "GET", "/1.0/operations/{id}/wait");
const CANCEL: Endpoint = endpoint("operation_delete", "DELETE", "/1.0/operations/{id}");

/// The core has its own way to operations, so that it does not depend on what a description calls
/// their methods.
const fn endpoint(id: &'static str, method: &'static str, path: &'static str) -> Endpoint {
    Endpoint { id, method, path, query: "", answers: Answers::Value, project: false }
}

/// How long one request waits for the end of an operation, in seconds. A connection that broke unseen
/// is found out this way.
const WAIT_SECONDS: u64 = 60;

/// A background operation of the server.
///
/// The server forgets an operation 5 seconds after its end. Dropping this value does not cancel it.
#[derive(Clone)]
pub struct Operation {
    client: Client,
    /// The call that started it.
    call: String,
    state: State,
}

impl Operation {
    pub(crate) fn new(client: Client, call: String, state: State) -> Self {
        Self { client, call, state }
    }

    /// The UUID.
    pub fn id(&self) -> &str {
        &self.state.id
    }

    /// What it does, in the server's words.
    pub fn description(&self) -> &str {
        &self.state.description
    }

    /// How far it is, in the server's words: `Running`, `Success` ….
    pub fn status(&self) -> &str {
        &self.state.status
    }

    /// What it tells beside that: its progress while it runs, its results at its end.
    pub fn metadata(&self) -> &Value {
        &self.state.metadata
    }

    /// Whether it has ended, in one way or another.
    pub fn is_final(&self) -> bool {
        self.state.status_code >= 200
    }

    /// Whether the server lets it be cancelled.
    pub fn may_cancel(&self) -> bool {
        self.state.may_cancel
    }

    /// Asks the server how far it is (`GET /1.0/operations/{id}`).
    ///
    /// # Errors
    ///
    /// Those of any call; [`Error::is_not_found`] where the server has forgotten it.
    pub async fn refresh(&mut self) -> Result<(), Error> {
        self.state = self.ask().await?;
        Ok(())
    }

    /// Asks the server to cancel it (`DELETE /1.0/operations/{id}`).
    ///
    /// # Errors
    ///
    /// Those of any call; the server refuses where [`may_cancel`](Self::may_cancel) is false.
    pub async fn cancel(&self) -> Result<(), Error> {
        let request = Request::new(Sent::Nothing, &self.client, &CANCEL, &[&self.state.id]);
        request.exchange().await?.read(&mut ()).map(drop)
    }

    /// Waits for its end (`GET /1.0/operations/{id}/wait`) and gives its metadata.
    ///
    /// # Errors
    ///
    /// [`Error::Operation`] where it failed, [`Error::Cancelled`] where it was cancelled, and those
    /// of any call.
    pub async fn wait(self) -> Result<Value, Error> {
        Ok(self.finish().await?.metadata)
    }

    /// Waits for its end. A token, which ends only when somebody uses it, is done as it is.
    pub(crate) async fn finish(mut self) -> Result<State, Error> {
        while !self.is_final() && self.state.class != "token" {
            self.state = self.wait_once().await?;
        }
        self.verdict()
    }

    /// What the end means: only success is one. A cancelled operation has no `err`.
    fn verdict(self) -> Result<State, Error> {
        let (call, operation) = (self.call, self.state.id.clone());
        match self.state.status_code {
            401 => Err(Error::Cancelled { call, operation }),
            code if code > 200 => {
                let message = match self.state.err.as_str() {
                    "" => format!("the server gives no reason (status {code})"),
                    err => err.to_owned(),
                };
                Err(Error::Operation { call, operation, message })
            }
            _ => Ok(self.state),
        }
    }

    /// One request that waits for the end; how far the operation is when it is answered.
    async fn wait_once(&self) -> Result<State, Error> {
        let mut request = Request::new(Sent::Nothing, &self.client, &WAIT, &[&self.state.id]);
        request.query("timeout", &WAIT_SECONDS);
        let exchange = request.exchange().await?;
        match state_in(&exchange) {
            // Newer servers answer so when the time is up: what the operation is at says whether it was
            // that.
            Err(error @ Error::Api { .. }) if exchange.came_as_success() => {
                self.ask().await.map_err(|_| error)
            }
            answered => answered,
        }
    }

    async fn ask(&self) -> Result<State, Error> {
        let request = Request::new(Sent::Nothing, &self.client, &GET, &[&self.state.id]);
        state_in(&request.exchange().await?)
    }
}

/// The operation that an answer holds, as a value or as the operation that it is.
fn state_in(exchange: &Exchange) -> Result<State, Error> {
    let mut state = State::default();
    Ok(exchange.read(&mut state)?.unwrap_or(state))
}

impl fmt::Debug for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the metadata, which holds the secrets of websockets and tokens.
        formatter
            .debug_struct("Operation")
            .field("id", &self.state.id)
            .field("description", &self.state.description)
            .field("status", &self.state.status)
            .finish_non_exhaustive()
    }
}
