//! Background operations: the handle of one, and what its end means. How the client learns of it is
//! left to `watcher` and `asking`.

mod asking;
mod ledger;
mod progress;
mod restarts;
mod state;
mod tracked;
pub(crate) mod watcher;

use std::error::Error as StdError;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lxd_types::wire::{self, Read};
use serde_json::Value;

pub use self::progress::{Progress, ProgressStream};
pub(crate) use self::state::State;
use self::tracked::{Lost, Tracked};
pub use self::watcher::Watcher;
use crate::call::{Answers, Endpoint};
use crate::client::Client;
use crate::error::Error;

/// A background operation of the server, and what it results in.
///
/// [`Call::start`](crate::Call::start) gives one, and [`Client::operation_handle`] one of which the UUID
/// is known. The client follows it from then on, so that its end is known also long after the server
/// has forgotten it, which it does after 5 seconds. Dropping this value does not cancel the operation.
///
/// ```no_run
/// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
/// use lxd_client::types::ImagesPost;
///
/// let operation = lxd.create_image(ImagesPost::default()).start().await?;
/// println!("{}: {}", operation.id(), operation.status());
/// let image = operation.wait().await?;
/// println!("{} has {} bytes", image.fingerprint, image.size);
/// # Ok(())
/// # }
/// ```
pub struct Operation<T = ()> {
    client: Client,
    /// The call that started it, as errors name it.
    call: Arc<str>,
    /// The operation of the API that it was, which says what it results in.
    endpoint: &'static Endpoint,
    id: Arc<str>,
    secret: Option<Arc<str>>,
    /// Where a handle was made of a UUID, this is empty until it is used.
    tracked: OnceLock<Arc<Tracked>>,
    marker: PhantomData<fn() -> T>,
}

impl Client {
    /// The handle of a background operation that something else started: another client, or this
    /// program before it was started anew. Nothing is sent before the handle is used.
    ///
    /// Such an operation may be of any project and of any member of a cluster.
    ///
    /// ```no_run
    /// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
    /// let operation = lxd.operation_handle("6916c8a6-9b7d-4abd-90b3-aedfec7ec7da");
    /// operation.wait().await?;
    /// println!("{}", operation.metadata());
    /// # Ok(())
    /// # }
    /// ```
    pub fn operation_handle(&self, id: &str) -> Operation {
        Operation {
            client: self.clone(),
            call: format!("GET /1.0/operations/{id}").into(),
            endpoint: &asking::GET,
            id: id.into(),
            secret: None,
            tracked: OnceLock::new(),
            marker: PhantomData,
        }
    }
}

impl<T> Operation<T> {
    pub(crate) fn new(
        client: Client,
        call: &str,
        endpoint: &'static Endpoint,
        tracked: Arc<Tracked>,
    ) -> Self {
        Self {
            client,
            call: call.into(),
            endpoint,
            id: Arc::clone(&tracked.id),
            secret: None,
            tracked: OnceLock::from(tracked),
            marker: PhantomData,
        }
    }

    /// The UUID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it does, in the server's words.
    pub fn description(&self) -> String {
        self.with(|state| state.description.clone())
    }

    /// How far it is, in the server's words: `Running`, `Success` …. Empty while nothing was heard of it
    /// yet.
    pub fn status(&self) -> String {
        self.with(|state| state.status.clone())
    }

    /// What it tells beside that: its progress while it runs, its results at its end. Null while nothing
    /// was heard of it yet.
    pub fn metadata(&self) -> Value {
        self.with(|state| state.metadata.clone())
    }

    /// Whether it is known to have ended, in one way or another.
    pub fn is_final(&self) -> bool {
        self.with(State::is_final)
    }

    /// Whether the server lets it be cancelled.
    pub fn may_cancel(&self) -> bool {
        self.with(|state| state.may_cancel)
    }

    fn with<V: Default>(&self, look: impl FnOnce(&State) -> V) -> V {
        self.tracked.get().map(|tracked| tracked.with(look)).unwrap_or_default()
    }

    /// What is known of it, which is followed from now on.
    fn tracked(&self) -> &Arc<Tracked> {
        self.tracked.get_or_init(|| match &self.secret {
            Some(secret) => watcher::follow_with_secret(&self.client, &self.id, secret),
            None => {
                let state = State { id: self.id.as_ref().to_owned(), ..State::default() };
                watcher::follow(&self.client, None, self.client.default_project(), state)
            }
        })
    }

    /// Asks the server how far it is (`GET /1.0/operations/{id}`).
    ///
    /// # Errors
    ///
    /// Those of any call; [`Error::is_not_found`] where the server has forgotten it.
    pub async fn refresh(&self) -> Result<(), Error> {
        let state = asking::look(&self.client, &self.id).await?;
        self.tracked().hear(state);
        Ok(())
    }

    /// Asks the server to cancel it (`DELETE /1.0/operations/{id}`). [`wait`](Self::wait) tells when that
    /// has happened.
    ///
    /// # Errors
    ///
    /// Those of any call; the server refuses where [`may_cancel`](Self::may_cancel) is false.
    pub async fn cancel(&self) -> Result<(), Error> {
        asking::cancel(&self.client, &self.id).await
    }

    /// Its progress from now on, until it has ended; see [`Progress`]. To be called within a Tokio
    /// runtime.
    ///
    /// ```no_run
    /// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
    /// use futures_util::StreamExt;
    /// # use lxd_client::types::ImagesPost;
    ///
    /// let operation = lxd.create_image(ImagesPost::default()).start().await?;
    /// let mut progress = operation.progress();
    /// while let Some(progress) = progress.next().await {
    ///     println!("{} ({:?} %)", progress.text, progress.percent);
    /// }
    /// operation.wait().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn progress(&self) -> ProgressStream {
        ProgressStream::new(self.client.clone(), Arc::clone(self.tracked()))
    }

    /// The same handle for a client that the server does not trust: the operation's own
    /// `metadata.secret` lets it wait for the end, and do nothing else.
    pub fn secret(mut self, secret: &str) -> Self {
        self.secret = Some(secret.into());
        self.tracked = OnceLock::new();
        self
    }

    /// The same handle for who knows what the operation results in: [`wait`](Self::wait) reads that from
    /// the metadata.
    ///
    /// ```no_run
    /// # async fn run(lxd: lxd_client::Client, id: &str) -> Result<(), lxd_client::Error> {
    /// use lxd_client::types::ImageResult;
    ///
    /// let image = lxd.operation_handle(id).expecting::<ImageResult>().wait().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn expecting<U: Read + Default>(self) -> Operation<U> {
        Operation {
            client: self.client,
            call: self.call,
            endpoint: &asking::RESULT,
            id: self.id,
            secret: self.secret,
            tracked: self.tracked,
            marker: PhantomData,
        }
    }

    /// Waits for its end and gives its metadata.
    pub(crate) async fn finish(&self) -> Result<Value, Error> {
        let tracked = self.tracked();
        let attend = || watcher::attend(&self.client, tracked);
        match tracked.until(attend, Tracked::end).await {
            Ok(state) => self.verdict(state),
            Err(lost) => Err(self.lost(lost)),
        }
    }
}

impl<T: Read + Default> Operation<T> {
    /// Waits for its end and gives what it results in.
    ///
    /// A token, which ends only when somebody uses it, is done as it is.
    ///
    /// # Errors
    ///
    /// - [`Error::Operation`] where it failed, [`Error::Cancelled`] where it was cancelled;
    /// - [`Error::Restarted`] where it vanished as the server was started again;
    /// - [`Error::Unknown`] where it ended while nobody could see it, and the server has forgotten it;
    /// - [`Error::Decode`] where its metadata are not what it is said to result in;
    /// - those of any call, where the server cannot be asked for as long as
    ///   [`ClientBuilder::response_timeout`](crate::ClientBuilder::response_timeout).
    pub async fn wait(&self) -> Result<T, Error> {
        let metadata = self.finish().await?;
        let mut value = T::default();
        self.read(&metadata, &mut value)?;
        Ok(value)
    }

    /// Waits for its end, but not longer than that. The operation goes on, and can be waited for again.
    ///
    /// # Errors
    ///
    /// [`Error::StillRunning`] where it has not ended in time, and those of [`wait`](Self::wait).
    pub async fn wait_timeout(&self, limit: Duration) -> Result<T, Error> {
        match tokio::time::timeout(limit, self.wait()).await {
            Ok(ended) => ended,
            Err(_) => {
                let (call, operation) = self.names();
                Err(Error::StillRunning { call, operation, after: limit })
            }
        }
    }
}

impl<T> Operation<T> {
    /// Reads what the operation results in from its metadata.
    pub(crate) fn read(&self, metadata: &Value, place: &mut dyn Read) -> Result<(), Error> {
        match self.endpoint.answers {
            Answers::OperationMetadata => {
                wire::from_value(metadata, place).map_err(|error| self.undecodable(error))
            }
            Answers::Nothing => Ok(()),
            // What the operation did is done; the value that was promised is missing.
            _ => Err(self.undecodable("expected a value, found a background operation")),
        }
    }

    fn undecodable(&self, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error::decode(format!("{} ({})", self.call, self.endpoint.id), error)
    }

    /// What its end means: only success is one. A cancelled operation has no `err`.
    fn verdict(&self, state: State) -> Result<Value, Error> {
        let (call, operation) = self.names();
        match state.status_code {
            401 => Err(Error::Cancelled { call, operation }),
            code if code > 200 => {
                let message = match state.err.as_str() {
                    "" => format!("the server gives no reason (status {code})"),
                    err => err.to_owned(),
                };
                Err(Error::Operation { call, operation, message })
            }
            _ => Ok(state.metadata),
        }
    }

    fn lost(&self, lost: Lost) -> Error {
        let (call, operation) = self.names();
        match lost {
            Lost::Restarted => Error::Restarted { call, operation },
            Lost::Forgotten => Error::Unknown { call, operation },
            Lost::Failed(error) => Error::again(&error),
        }
    }

    fn names(&self) -> (String, String) {
        (self.call.as_ref().to_owned(), self.id.as_ref().to_owned())
    }
}

impl<T> Clone for Operation<T> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            call: Arc::clone(&self.call),
            endpoint: self.endpoint,
            id: Arc::clone(&self.id),
            secret: self.secret.clone(),
            tracked: self.tracked.clone(),
            marker: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Operation<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the metadata, which holds the secrets of websockets and tokens.
        formatter
            .debug_struct("Operation")
            .field("id", &self.id)
            .field("description", &self.description())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
