//! A handle of an instance: its state, and what changes that. The calls behind it are those of the API.

use std::future::IntoFuture;
use std::time::Duration;

use lxd_types::InstanceState;
use serde_json::{Map, Value, json};

use crate::call::{Answers, Call, Endpoint, NoParameters, Request, Running, Sent};
use crate::client::Client;
use crate::error::Error;
use crate::operation::Operation;

static STATE: Endpoint = endpoint("instance_state_get", "GET", Answers::Value, false);
static CHANGE: Endpoint = endpoint("instance_state_put", "PUT", Answers::Nothing, true);

/// The core has its own way there, so that it does not depend on what a description calls it.
const fn endpoint(id: &'static str, method: &'static str, answers: Answers, background: bool) -> Endpoint {
    let path = "/1.0/instances/{name}/state";
    Endpoint { id, method, path, query: "", answers, project: true, target: false, background }
}

impl Client {
    /// A handle of an instance (`/1.0/instances/{name}/state`). Nothing is sent before it is used; whether there is
    /// such an instance shows then.
    ///
    /// ```no_run
    /// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
    /// use std::time::Duration;
    ///
    /// let instance = lxd.handle("t1");
    /// instance.start().await?;
    /// println!("{} processes", instance.state().await?.processes);
    /// // Asks what runs in it to end, and ends it by force where that takes too long.
    /// if instance.stop().timeout(Duration::from_secs(30)).await.is_err() {
    ///     instance.stop().force(true).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn handle(&self, instance: &str) -> InstanceHandle {
        InstanceHandle { client: self.clone(), instance: instance.to_owned() }
    }
}

/// A handle of an instance; see [`Client::handle`].
#[derive(Clone, Debug)]
pub struct InstanceHandle {
    client: Client,
    instance: String,
}

impl InstanceHandle {
    /// The name of the instance.
    pub fn name(&self) -> &str {
        &self.instance
    }

    /// How it is now: its status, and what it uses (`GET`).
    ///
    /// # Errors
    ///
    /// Those of any call.
    pub async fn state(&self) -> Result<InstanceState, Error> {
        let request = Request::new(Sent::Nothing, &self.client, &STATE, &[&self.instance]);
        Call::<InstanceState, NoParameters>::of(request).await
    }

    /// Starts it; one that was stopped with its state goes on where [`stateful`](ChangeState::stateful) is set.
    pub fn start(&self) -> ChangeState {
        self.change("start")
    }

    /// Stops it: asks what runs in it to end, and waits for that.
    pub fn stop(&self) -> ChangeState {
        self.change("stop")
    }

    /// Stops and starts it.
    pub fn restart(&self) -> ChangeState {
        self.change("restart")
    }

    /// Freezes all that runs in it.
    pub fn freeze(&self) -> ChangeState {
        self.change("freeze")
    }

    /// Lets it go on.
    pub fn unfreeze(&self) -> ChangeState {
        self.change("unfreeze")
    }

    fn change(&self, action: &'static str) -> ChangeState {
        let wanted = Map::from_iter([("action".to_owned(), json!(action))]);
        ChangeState { client: self.client.clone(), instance: self.instance.clone(), wanted }
    }
}

/// A change of the state of an instance (`PUT /1.0/instances/{name}/state`). It is made when this is awaited, which
/// is over when the change is.
///
/// # Errors
///
/// Those of any call; [`Error::Operation`] with the words of the server where the instance is in that state
/// already, or does not get there.
#[must_use = "the change is made when this is awaited"]
#[derive(Clone, Debug)]
pub struct ChangeState {
    client: Client,
    instance: String,
    wanted: Map<String, Value>,
}

impl ChangeState {
    /// Whether what runs in the instance is ended without being asked.
    pub fn force(mut self, force: bool) -> Self {
        self.wanted.insert("force".to_owned(), json!(force));
        self
    }

    /// Whether what runs in the instance is kept when it stops, and goes on when it starts.
    pub fn stateful(mut self, stateful: bool) -> Self {
        self.wanted.insert("stateful".to_owned(), json!(stateful));
        self
    }

    /// How long the server waits for what runs in the instance, in whole seconds (a part of one counts as one),
    /// before it gives up. Where this is not called, the server decides.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        let seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
        self.wanted.insert("timeout".to_owned(), json!(seconds));
        self
    }

    /// Begins the change and gives its operation, to follow or to leave alone.
    ///
    /// # Errors
    ///
    /// Those of any call.
    pub async fn start(self) -> Result<Operation, Error> {
        self.call().start().await
    }

    fn call(self) -> Call<(), NoParameters> {
        let sent = Sent::Json(serde_json::to_vec(&self.wanted));
        Call::of(Request::new(sent, &self.client, &CHANGE, &[&self.instance]))
    }
}

impl IntoFuture for ChangeState {
    type Output = Result<(), Error>;
    type IntoFuture = Running<()>;

    fn into_future(self) -> Running<()> {
        self.call().into_future()
    }
}
