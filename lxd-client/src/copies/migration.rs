//! Migrations: two background operations, one on each server, that are brought together. What is migrated is
//! left to `copies`, what goes over the sockets in a relay to `relay`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::relay::relay;
use super::servers::Reachable;
use super::{CopyMode, put_all, start};
use crate::answer::WebSocket;
use crate::call::Endpoint;
use crate::client::Client;
use crate::error::Error;
use crate::operation::Operation;
use crate::transferred::{Report, Transferred};
use crate::websockets::{joined, open};

/// The sockets that an operation may have. The one by which the servers agree on all else comes first.
const SOCKETS: [&str; 3] = ["control", "fs", "criu"];

/// How much longer than the target the source may take to say what went wrong.
const LATER: Duration = Duration::from_secs(2);

/// How long a target takes at most to give up what nobody brings, and to remove what it has of it.
const GIVING_UP: Duration = Duration::from_secs(20);

/// One of the servers, and what begins its operation.
pub(super) struct Side {
    client: Client,
    endpoint: &'static Endpoint,
    path: Vec<String>,
    body: Map<String, Value>,
}

impl Side {
    pub(super) fn new(
        client: &Client,
        endpoint: &'static Endpoint,
        path: Vec<String>,
        body: Map<String, Value>,
    ) -> Self {
        Self { client: client.clone(), endpoint, path, body }
    }

    /// Begins the operation, of which more is known now.
    async fn start(&self, more: Map<String, Value>) -> Result<Operation, Error> {
        let mut body = self.body.clone();
        put_all(&mut body, more);
        let path: Vec<_> = self.path.iter().map(String::as_str).collect();
        start(&self.client, self.endpoint, &path, &body).await
    }
}

/// A migration.
pub(super) struct Migration {
    pub(super) source: Side,
    pub(super) target: Side,
    pub(super) report: Option<Report>,
}

impl Migration {
    pub(super) async fn run(self, mode: CopyMode) -> Result<(), Error> {
        match mode {
            CopyMode::Pull => self.pull().await,
            CopyMode::Push => self.push().await,
            CopyMode::Relay => self.relay().await,
        }
    }

    /// The target connects to the operation of the source.
    async fn pull(self) -> Result<(), Error> {
        let reachable = Reachable::of(&self.source.client).await?;
        let mut source = self.source.start(Map::new()).await?;
        let mut failures = Failures::default();
        for address in &reachable.addresses {
            if source.is_final() {
                // It has given up, as nobody came from the address before.
                source = self.source.start(Map::new()).await?;
            }
            let mut from = meeting(&source, address, &reachable.certificate);
            from["mode"] = json!("pull");
            // What the target does not want it does not want from anywhere.
            let target = self.target.start(field("source", from)).await?;
            match self.both(&source, &target).await {
                Ok(()) => return Ok(()),
                Err(error) => failures.add(error),
            }
        }
        Err(failures.error())
    }

    /// The source connects to the operation of the target.
    async fn push(self) -> Result<(), Error> {
        let reachable = Reachable::of(&self.target.client).await?;
        let waiting = || self.target.start(field("source", json!({"mode": "push"})));
        let mut target = waiting().await?;
        let mut failures = Failures::default();
        for address in &reachable.addresses {
            if target.is_final() {
                // It has given up, as nobody came to the address before.
                target = waiting().await?;
            }
            let to = meeting(&target, address, &reachable.certificate);
            // Where the source cannot connect, it refuses the call.
            let pushed = match self.source.start(field("target", to)).await {
                Ok(source) => self.both(&source, &target).await,
                Err(error) => Err(error),
            };
            match pushed {
                Ok(()) => return Ok(()),
                Err(error) => failures.add(error),
            }
        }
        gone(&target).await;
        Err(failures.error())
    }

    /// This client connects to both operations.
    async fn relay(self) -> Result<(), Error> {
        let source = self.source.start(Map::new()).await?;
        let target = self.target.start(field("source", json!({"mode": "push"}))).await?;
        let relayed = self.joined(&source, &target).await;
        if relayed.is_err() {
            gone(&target).await;
        }
        relayed
    }

    /// Joins the sockets of both operations, and waits for them.
    async fn joined(&self, source: &Operation, target: &Operation) -> Result<(), Error> {
        let (given, wanted) = (source.metadata(), target.metadata());
        let mut relays = JoinSet::new();
        let counted = Arc::new(AtomicU64::new(0));
        for name in SOCKETS.iter().filter(|name| given.get(**name).is_some()) {
            let one = socket(&self.source, source, &given, name).await?;
            let other = socket(&self.target, target, &wanted, name).await?;
            let (report, counted) =
                (self.report.clone().filter(|_| *name != SOCKETS[0]), Arc::clone(&counted));
            relays.spawn(relay(one, other, move |bytes| {
                if let Some(report) = &report {
                    let bytes = counted.fetch_add(bytes, Ordering::Relaxed) + bytes;
                    report.tell(Transferred { bytes, total: None });
                }
            }));
        }
        both(source, target, None).await
    }

    async fn both(&self, source: &Operation, target: &Operation) -> Result<(), Error> {
        both(source, target, self.report.as_ref()).await
    }
}

/// Waits for both operations. Where one fails, the other does not go on for long.
async fn both(source: &Operation, target: &Operation, report: Option<&Report>) -> Result<(), Error> {
    let mut waiting = JoinSet::new();
    for (is_target, operation) in [(false, source.clone()), (true, target.clone())] {
        let report = report.cloned();
        waiting.spawn(async move {
            if let Some(report) = report {
                told(&operation, &report).await;
            }
            (is_target, operation.wait().await)
        });
    }
    let Some(first) = waiting.join_next().await else { return Ok(()) };
    let (is_target, first) = joined(first)?;
    let second = match &first {
        Ok(()) => waiting.join_next().await,
        Err(_) => {
            let later = if is_target { LATER } else { GIVING_UP };
            tokio::time::timeout(later, waiting.join_next()).await.unwrap_or_default()
        }
    };
    let second = match second {
        Some(second) => joined(second)?.1,
        None => Ok(()),
    };
    match (first, second) {
        (Ok(()), Ok(())) => Ok(()),
        (Ok(()), Err(error)) | (Err(error), Ok(())) => Err(error),
        (Err(first), Err(second)) if is_target => Err(together(first, &second)),
        (Err(first), Err(second)) => Err(together(second, &first)),
    }
}

/// Waits until a target has given up, so that nothing is left there.
async fn gone(target: &Operation) {
    // How it ends is known already: as an error.
    let _ended = tokio::time::timeout(GIVING_UP, target.wait()).await;
}

/// Connects a socket of an operation.
async fn socket(side: &Side, operation: &Operation, secrets: &Value, name: &str) -> Result<WebSocket, Error> {
    match secrets.get(name).and_then(Value::as_str) {
        Some(secret) => open(&side.client, operation.id(), secret).await,
        None => {
            let call = format!("{} {}", side.endpoint.method, side.endpoint.path);
            Err(Error::decode(call, format!("the operation has no socket `{name}`")))
        }
    }
}

/// Tells how much is done, as an operation tells, until it has ended.
async fn told(operation: &Operation, report: &Report) {
    let mut progress = operation.progress();
    while let Some(progress) = progress.next().await {
        if let Some(bytes) = progress.processed {
            report.tell(Transferred { bytes, total: None });
        }
    }
}

/// How the other server meets an operation.
fn meeting(operation: &Operation, address: &str, certificate: &str) -> Value {
    let metadata = operation.metadata();
    let secrets: Map<_, _> =
        SOCKETS.iter().filter_map(|name| Some(((*name).to_owned(), metadata.get(name)?.clone()))).collect();
    let url = format!("{address}/1.0/operations/{}", operation.id());
    json!({"operation": url, "secrets": secrets, "certificate": certificate})
}

fn field(name: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value)])
}

/// What the target says, with what the source says.
fn together(target: Error, source: &Error) -> Error {
    match (target, source) {
        (Error::Operation { call, operation, message }, Error::Operation { message: source, .. }) => {
            Error::Operation { call, operation, message: format!("{message} (the source says: {source})") }
        }
        (target, _) => target,
    }
}

/// What went wrong at each address.
#[derive(Default)]
pub(super) struct Failures(Vec<Error>);

impl Failures {
    pub(super) fn add(&mut self, error: Error) {
        self.0.push(error);
    }

    /// One error of all.
    pub(super) fn error(mut self) -> Error {
        let Some(mut last) = self.0.pop() else { return Error::configuration("the server has no address") };
        if let Error::Operation { message, .. } | Error::Api { message, .. } = &mut last {
            for earlier in &self.0 {
                if let Error::Operation { message: other, .. } | Error::Api { message: other, .. } = earlier
                    && !message.contains(other)
                {
                    *message = format!("{other}; {message}");
                }
            }
        }
        last
    }
}
