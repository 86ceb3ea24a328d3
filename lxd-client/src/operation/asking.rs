//! Following an operation by asking the server for it: by requests that wait for its end, or by looking
//! at it again and again. This is what clients do that may not see events, or have lost them.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::state::State;
use super::tracked::{Lost, Tracked};
use super::watcher::Watching;
use crate::backoff::Backoff;
use crate::call::{Answers, Endpoint, Exchange, Request, Sent};
use crate::client::Client;
use crate::error::Error;

const OPERATION: &str = "/1.0/operations/{id}";
pub(super) static GET: Endpoint = endpoint("operation_get", "GET", OPERATION, Answers::Nothing);
/// The same for who expects something of the operation.
pub(super) static RESULT: Endpoint = endpoint("operation_get", "GET", OPERATION, Answers::OperationMetadata);
static CANCEL: Endpoint = endpoint("operation_delete", "DELETE", OPERATION, Answers::Nothing);
static WAIT: Endpoint = endpoint("operation_wait_get", "GET", "/1.0/operations/{id}/wait", Answers::Nothing);

/// The core has its own way to operations, so that it does not depend on what a description calls
/// their methods.
const fn endpoint(id: &'static str, method: &'static str, path: &'static str, answers: Answers) -> Endpoint {
    Endpoint { id, method, path, query: "", answers, project: false, target: false, background: false }
}

/// How long one request waits for the end of an operation. A connection that broke unseen is found out
/// this way.
const WAIT_TIME: Duration = Duration::from_secs(60);

/// The same for an operation whose progress somebody looks at, and how often those are looked at that
/// find no place among the requests that wait.
const GLANCE_TIME: Duration = Duration::from_secs(1);

/// How long a server that has just started is asked which process it is.
const SETTLING: Duration = Duration::from_secs(5);

/// How much later than asked for the server may answer a request that waits.
const LATE: Duration = Duration::from_secs(15);

/// How many requests of a client wait at the same time, each with a connection of its own.
pub(super) const WAITING: usize = 64;

/// How many look at an operation at the same time.
pub(super) const LOOKING: usize = 8;

/// Asks for an operation until it has ended, where nobody does so yet.
pub(super) fn start(client: &Client, tracked: &Arc<Tracked>) {
    if tracked.secret.is_none() {
        client.watching().restarts.look_first(client);
    }
    tracked.ask(|task| {
        let asking = Asking {
            task,
            client: client.clone(),
            id: Arc::clone(&tracked.id),
            secret: tracked.secret.clone(),
            tracked: Arc::downgrade(tracked),
        };
        tokio::spawn(asking.run()).abort_handle()
    });
}

/// Asks for an operation anew where it is asked for: somebody looks at its progress, which a request that
/// waits for the end does not show.
pub(super) fn show_progress(client: &Client, tracked: &Arc<Tracked>) {
    if tracked.stop_asking() {
        start(client, tracked);
    }
}

/// Looks at operations, once at each.
pub(super) async fn look_at(client: &Client, operations: Vec<Arc<Tracked>>) {
    let operations = Arc::new(Mutex::new(operations));
    let next = |operations: &Mutex<Vec<Arc<Tracked>>>| {
        operations.lock().unwrap_or_else(PoisonError::into_inner).pop()
    };
    let mut looking = JoinSet::new();
    for _ in 0..LOOKING {
        let (client, operations) = (client.clone(), Arc::clone(&operations));
        looking.spawn(async move {
            while let Some(tracked) = next(&operations) {
                match look(&client, &tracked.id).await {
                    Ok(state) => drop(tracked.hear(state)),
                    Err(error) if error.is_not_found() => tracked.lose(missing(&client, &tracked).await),
                    // Whatever it is, it takes more than one attempt.
                    Err(_) => start(&client, &tracked),
                }
            }
        });
    }
    while looking.join_next().await.is_some() {}
}

/// How far an operation is.
pub(super) async fn look(client: &Client, id: &str) -> Result<State, Error> {
    state_in(&Request::new(Sent::Nothing, client, &GET, &[id]).once().exchange().await?)
}

/// Asks the server to cancel an operation.
pub(super) async fn cancel(client: &Client, id: &str) -> Result<(), Error> {
    Request::new(Sent::Nothing, client, &CANCEL, &[id]).exchange().await?.read(&mut ()).map(drop)
}

/// What it means that the server does not have an operation (any more).
async fn missing(client: &Client, tracked: &Tracked) -> Lost {
    let restarts = &client.watching().restarts;
    let mut backoff = Backoff::default();
    let deadline = Instant::now() + SETTLING;
    // A server that has just started may not answer all at once.
    while !restarts.look(client).await && Instant::now() < deadline {
        tokio::time::sleep(backoff.rest()).await;
    }
    // Of what was never heard of, nothing has vanished.
    let was_there = tracked.with(|state| state.status_code != 0);
    if was_there && restarts.count() != tracked.restarts { Lost::Restarted } else { Lost::Forgotten }
}

/// The operation that an answer holds, as a value or as the operation that it is.
fn state_in(exchange: &Exchange) -> Result<State, Error> {
    let mut state = State::default();
    Ok(exchange.read(&mut state)?.unwrap_or(state))
}

/// One task that asks.
struct Asking {
    /// Its number among those of the operation.
    task: u64,
    client: Client,
    id: Arc<str>,
    secret: Option<Box<str>>,
    /// Nobody waits any more where it is gone.
    tracked: Weak<Tracked>,
}

impl Asking {
    async fn run(self) {
        let mut backoff = Backoff::default();
        let mut trouble: Option<Instant> = None;
        // Of a handle that was made of a UUID, nothing is known: that comes first.
        let mut patience =
            self.tracked.upgrade().is_some_and(|tracked| tracked.with(|state| state.status_code != 0));
        while let Some(viewed) = self.tracked.upgrade().map(|tracked| tracked.is_viewed()) {
            let begun = Instant::now();
            let answer = self.ask(viewed, std::mem::replace(&mut patience, true)).await;
            let Some(tracked) = self.tracked.upgrade() else { return };
            let rest = match answer {
                Ok((state, time)) => {
                    if state.is_some_and(|state| tracked.hear(state)) {
                        return;
                    }
                    if trouble.take().is_some() {
                        // It may be another process by now, of which nothing has vanished yet.
                        self.client.watching().restarts.look(&self.client).await;
                    }
                    if begun.elapsed() >= time / 2 {
                        backoff.reset();
                        Duration::ZERO
                    } else {
                        // The server does not wait as long as it is asked to.
                        backoff.rest()
                    }
                }
                Err(error) if error.is_not_found() => {
                    return tracked.lose(missing(&self.client, &tracked).await);
                }
                Err(error) => {
                    let since = *trouble.get_or_insert_with(Instant::now);
                    if !error.may_pass() || since.elapsed() >= self.client.limits().patience() {
                        return tracked.lose(Lost::Failed(Arc::new(error)));
                    }
                    backoff.rest()
                }
            };
            drop(tracked);
            tokio::time::sleep(rest).await;
        }
    }

    /// How far the operation is after some time, which is told too; without patience, at once.
    /// A stranger may hear only that it goes on.
    async fn ask(&self, viewed: bool, patience: bool) -> Result<(Option<State>, Duration), Error> {
        let watching = self.client.watching();
        if let Some(interval) = watching.interval() {
            return self.glance(watching, if patience { interval } else { Duration::ZERO }).await;
        }
        match watching.waiting.try_acquire() {
            Ok(place) => {
                let time = match (patience, viewed) {
                    (false, _) => Duration::ZERO,
                    (true, true) => GLANCE_TIME,
                    (true, false) => WAIT_TIME,
                };
                Ok((self.wait(time, place).await?, time))
            }
            // The secret lets a client wait, but not look.
            Err(_) if self.secret.is_some() => {
                tokio::time::sleep(GLANCE_TIME).await;
                Ok((self.wait_for(Duration::ZERO).await?, Duration::ZERO))
            }
            Err(_) => self.glance(watching, GLANCE_TIME).await,
        }
    }

    async fn glance(
        &self,
        watching: &Watching,
        interval: Duration,
    ) -> Result<(Option<State>, Duration), Error> {
        tokio::time::sleep(interval).await;
        let _place = watching.looking.acquire().await;
        Ok((Some(look(&self.client, &self.id).await?), interval))
    }

    async fn wait(&self, time: Duration, _place: SemaphorePermit<'_>) -> Result<Option<State>, Error> {
        // The limit of any call is longer than what a broken connection may take to be found out.
        let limit = time + LATE;
        match tokio::time::timeout(limit, self.wait_for(time)).await {
            Ok(answer) => answer,
            Err(_) => {
                let call = format!("GET /1.0/operations/{}/wait", self.id);
                Err(Error::Timeout { call, after: limit, setting: Some("response_timeout") })
            }
        }
    }

    /// One request that waits for the end; how far the operation is when it is answered.
    async fn wait_for(&self, time: Duration) -> Result<Option<State>, Error> {
        let mut request = Request::new(Sent::Nothing, &self.client, &WAIT, &[&self.id]).once();
        request.query("timeout", &time.as_secs());
        if let Some(secret) = &self.secret {
            request.query("secret", secret);
        }
        let exchange = request.exchange().await?;
        match state_in(&exchange) {
            // Newer servers answer so when the time is up: what the operation is at says whether it was
            // that. A stranger may not look at it.
            Err(Error::Api { status, .. }) if !matches!(status, 403 | 404) => match &self.secret {
                Some(_) => Ok(None),
                None => look(&self.client, &self.id).await.map(Some),
            },
            answered => answered.map(Some),
        }
    }
}

impl Drop for Asking {
    /// Also with the runtime, while others may still wait.
    fn drop(&mut self) {
        if let Some(tracked) = self.tracked.upgrade() {
            tracked.asked(self.task);
        }
    }
}
