//! A server for tests that answers as they say, typed by the same description: what was expected, and what came.
//! How it speaks HTTP is left to `serving`, commands to `commands`, what an expectation is made of to
//! `expectation`.

mod api;
mod commands;
mod expectation;
mod recorder;
mod serving;
mod sessions;
mod stateful;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use lxd_types::wire::{self, Read, Write};
use lxd_types::{EventLifecycle, EventLogging};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use self::commands::Command;
pub use self::expectation::{Expectation, MockBody, MockCall, MockOperation, Uploaded};
pub use self::recorder::Recorder;
pub use self::sessions::{MockConnections, MockSession};
use self::stateful::World;
use crate::answer::{Connection, WebSocket};
use crate::call::Answers;
use crate::client::Client;
use crate::exec::ExecOutput;

/// A method of the client, as the generator writes it down.
#[derive(Debug)]
pub(crate) struct Served {
    /// Its name.
    name: &'static str,
    /// The operationId of its operation.
    id: &'static str,
    method: &'static str,
    /// The path, with its parameters in braces.
    path: &'static str,
    /// The query that belongs to the path.
    query: &'static str,
    answers: Answers,
    /// What is sent.
    body: Form,
    /// What is answered, or is the metadata of the operation that is.
    answer: Form,
    /// Whether there is another method of the operation, which sends something else.
    has_twin: bool,
}

/// What goes over the wire in one direction.
#[derive(Debug)]
enum Form {
    Nothing,
    /// JSON of a type, of which this gives a value to read it into.
    Json(fn() -> Box<dyn Typed>),
    Bytes,
    /// Something that is not told in requests and answers.
    Connection,
}

/// A value of a type of the API.
trait Typed: Read + Write {}

impl<T: Read + Write> Typed for T {}

fn blank<T: Read + Write + Default + 'static>() -> Box<dyn Typed> {
    Box::<T>::default()
}

impl Served {
    /// Whether it sends JSON, where that tells it apart from its twin.
    fn sends_json(&self) -> Option<bool> {
        self.has_twin.then_some(matches!(self.body, Form::Json(_)))
    }
}

/// A server for tests that needs no LXD: it answers the calls that the test expects, and fails it for others.
///
/// For each method of [`Client`] there is one that begins with `on_`: it takes what is in the path, and gives an
/// [`Expectation`], which says what is answered. Where several fit a call, the latest does; but those that are
/// [`once`](Expectation::once) before, in their order. A background
/// operation ends, and is told by events, as a real one. By itself, it answers `GET /1.0`, with little, and what
/// the client asks of events and operations.
///
/// ```
/// use lxd_client::mock::MockLxd;
/// use lxd_client::types::{Instance, InstancesPost};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), lxd_client::Error> {
/// let lxd = MockLxd::start().await;
/// lxd.on_instance("t1").reply(Instance { name: "t1".into(), status: "Running".into(), ..Default::default() });
/// lxd.on_create_instance().when(|call| call.body.name == "t2").operation().progress("rootfs: 50%").succeed();
/// lxd.on_delete_instance("t3").error(404, "Instance not found");
///
/// let client = lxd.client();
/// assert_eq!(client.instance("t1").await?.status, "Running");
/// client.create_instance(InstancesPost { name: "t2".into(), ..Default::default() }).await?;
/// assert!(client.delete_instance("t3").await.unwrap_err().is_not_found());
/// lxd.on_create_instance().assert_called(1);
/// # Ok(())
/// # }
/// ```
///
/// # Panics
///
/// When it is dropped, where a call came that nobody expected: with what came, what was expected, and what is
/// near to it.
pub struct MockLxd {
    shared: Arc<Shared>,
    endpoint: String,
    serving: AbortHandle,
}

/// What all connections share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is expected, in the order of the test.
    script: Vec<Arc<Line>>,
    /// What came, and what became of it.
    came: Vec<(Arc<Came>, Outcome)>,
    /// What went wrong beside that.
    faults: Vec<String>,
    /// The operations that were begun, as they are now, by their UUIDs.
    operations: BTreeMap<String, Value>,
    /// Those of them that are commands.
    commands: BTreeMap<String, Command>,
    /// Those of them whose websockets the test feeds, with where these go.
    sessions: BTreeMap<String, UnboundedSender<(String, WebSocket)>>,
    followers: Vec<Follower>,
    /// What the mock keeps by itself, where it is stateful.
    world: Option<World>,
    /// What goes on beside the connections, and ends with the mock.
    tasks: Vec<AbortHandle>,
}

/// Somebody who follows the events.
struct Follower {
    /// Of which project; of all where there is none.
    project: Option<String>,
    /// Of which types; of all where there is none.
    types: Option<Vec<String>>,
    sender: UnboundedSender<String>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// The test had said what is answered.
    Expected,
    /// The mock knew by itself.
    Served,
    /// Nobody expected it.
    Unexpected,
    /// The same, and it was told.
    Told,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that is expected.
struct Line {
    served: &'static Served,
    /// What is in the path.
    arguments: Vec<String>,
    /// What else has to fit, and whether it does.
    accepts: Option<Accepts>,
    answer: Answer,
    manner: Manner,
    /// Whether it has answered a call.
    is_used: AtomicBool,
}

/// How it is answered.
#[derive(Clone, Default)]
struct Manner {
    /// Whether it answers one call only.
    once: bool,
    headers: HeaderMap,
    delay: Option<Duration>,
}

type Accepts = Arc<dyn Fn(&Came) -> bool + Send + Sync>;

/// What is answered.
#[derive(Clone)]
enum Answer {
    /// A value, as JSON.
    Value(Vec<u8>),
    /// Bytes.
    Bytes(Bytes),
    /// Bytes in the place of the envelope.
    Malformed(Bytes),
    /// Half an answer.
    Cut,
    /// A refusal.
    Error(u16, String),
    /// A command, with what it writes.
    Command(ExecOutput),
    /// An operation whose websockets go to the test.
    Session(UnboundedSender<MockSession>),
    /// A websocket, of which this end goes to the test.
    WebSocket(UnboundedSender<WebSocket>),
    /// A connection, of which this end goes to the test.
    Connection(UnboundedSender<Connection>),
    /// A background operation: its progress, and how it ends.
    Operation { progress: Vec<String>, status: u16, error: String, metadata: Value },
}

/// A request that came.
struct Came {
    method: String,
    /// Decoded, without the slash in front.
    path: Vec<String>,
    query: BTreeMap<String, String>,
    headers: HeaderMap,
    body: Bytes,
}

/// What a query has for variants of an operation, which are operations of their own.
const VARIANTS: [&str; 2] = ["recursion", "public"];

impl Came {
    /// Whether it is this operation, with these arguments in the path.
    fn is(&self, served: &Served, arguments: &[String]) -> bool {
        let kind = self.headers.get(CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap_or(""));
        let is_json = kind.starts_with("application/json");
        self.method == served.method
            && served.sends_json().is_none_or(|json| json == is_json)
            && self.is_variant(served)
            && self.differences(served, arguments) == Some(0)
    }

    fn is_variant(&self, served: &Served) -> bool {
        let wanted = |name: &str| {
            served.query.split('&').find_map(|pair| match pair.split_once('=') {
                Some((key, value)) => (key == name).then(|| value.to_owned()),
                None => (pair == name).then(String::new),
            })
        };
        // Behind a semicolon, newer servers take which fields are wanted.
        let level =
            |name: &str| self.query.get(name).map(|value| value.split(';').next().unwrap_or_default());
        VARIANTS.iter().all(|name| level(name) == wanted(name).as_deref())
    }

    /// In how many arguments it differs; nothing where it is another path.
    fn differences(&self, served: &Served, arguments: &[String]) -> Option<usize> {
        let found = self.arguments(served)?;
        Some(found.iter().zip(arguments).filter(|(found, wanted)| found != wanted).count())
    }

    /// What it has at the places of the path's parameters; nothing where it is another path.
    fn arguments(&self, served: &Served) -> Option<Vec<String>> {
        let template: Vec<_> = served.path.trim_start_matches('/').split('/').collect();
        let parts = || template.iter().zip(&self.path);
        let is_path = template.len() == self.path.len()
            && parts().all(|(part, found)| part.starts_with('{') || part == found);
        is_path.then(|| {
            parts().filter(|(part, _)| part.starts_with('{')).map(|(_, found)| found.clone()).collect()
        })
    }

    fn shown(&self) -> String {
        let mut shown = format!("{} /{}", self.method, self.path.join("/"));
        for (at, (name, value)) in self.query.iter().enumerate() {
            // Writing to a text does not fail.
            let _ = write!(shown, "{}{name}={value}", if at == 0 { '?' } else { '&' });
        }
        if !self.body.is_empty() {
            let text: String = String::from_utf8_lossy(&self.body).chars().take(500).collect();
            let _ = write!(shown, " {text}");
        }
        shown
    }
}

impl Line {
    /// Whether it is meant by a request; an error where the test's own code panics.
    fn fits(&self, came: &Came) -> Result<bool, String> {
        if !came.is(self.served, &self.arguments) {
            return Ok(false);
        }
        let Some(accepts) = &self.accepts else { return Ok(true) };
        catch_unwind(AssertUnwindSafe(|| accepts(came)))
            .map_err(|_| format!("the `when` of {} panicked at {}", self.shown(), came.shown()))
    }

    /// Whether it answers a call that it fits. What answers one only is used up by that.
    fn answers(&self) -> bool {
        !self.is_used.swap(true, Ordering::Relaxed) || !self.manner.once
    }

    fn shown(&self) -> String {
        let mut arguments = self.arguments.iter();
        let parts = self.served.path.split('/').map(|part| match part.starts_with('{') {
            true => arguments.next().cloned().unwrap_or_default(),
            false => part.to_owned(),
        });
        let query =
            if self.served.query.is_empty() { String::new() } else { format!("?{}", self.served.query) };
        let when = if self.accepts.is_some() { " when …" } else { "" };
        format!("{} {}{query}{when}", self.served.method, parts.collect::<Vec<_>>().join("/"))
    }

    /// How a request differs from it, and how much.
    fn difference(&self, came: &Came) -> Option<(usize, String)> {
        let differences = came.differences(self.served, &self.arguments)?;
        let (much, how) = if came.method != self.served.method {
            (4, "another method")
        } else if !came.is_variant(self.served) {
            (3, "another variant by its query")
        } else if differences > 0 {
            (2, "other names in the path")
        } else if self.accepts.is_some() {
            (1, "refused by its `when`")
        } else if self.served.has_twin {
            (2, "another kind of body")
        } else if self.manner.once {
            (1, "used up")
        } else {
            (1, "expected only after the call came")
        };
        Some((much + differences, format!("{}: {how}", self.shown())))
    }
}

impl MockLxd {
    /// Starts a server on this machine (TCP, on a free port), within a Tokio runtime.
    ///
    /// # Panics
    ///
    /// Where there is no free port.
    pub async fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let answers = Arc::clone(&shared);
        let answer = move |request| serving::answer(Arc::clone(&answers), request);
        let (endpoint, serving) = serving::on_loopback(answer).await;
        Self { shared, endpoint, serving }
    }

    /// Starts a server at a Unix socket, within a Tokio runtime. The socket is left when this is dropped.
    ///
    /// # Panics
    ///
    /// Where the socket cannot be made, such as where it is there already.
    pub async fn start_at(socket: impl AsRef<Path>) -> Self {
        let shared = Arc::<Shared>::default();
        let answers = Arc::clone(&shared);
        let answer = move |request| serving::answer(Arc::clone(&answers), request);
        let (endpoint, serving) = serving::at_socket(socket.as_ref(), answer);
        Self { shared, endpoint, serving }
    }

    /// Keeps a state: projects, profiles, images, instances and their snapshots, which calls make, list, change and
    /// delete, and which are missing or taken in the words of LXD 5.0. So code that only does that is tested
    /// without expectations; those that a test says come before the state.
    ///
    /// It begins as a server after its installation, with the project `default` and in that the profile `default`,
    /// which has a disk of the pool `default`. Any bytes that are uploaded are an image, of whose own properties
    /// nothing is known. Nothing runs in instances: what commands write, and what files hold, is for a test to say.
    /// Lists with a filter, copies from other servers and all other objects are not known to it.
    ///
    /// ```
    /// use lxd_client::mock::MockLxd;
    /// use lxd_client::types::{InstanceSource, InstanceStatePut, InstancesPost};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), lxd_client::Error> {
    /// let lxd = MockLxd::start().await.stateful();
    /// let client = lxd.client();
    /// let source = Some(InstanceSource { r#type: "none".into(), ..Default::default() });
    /// client.create_instance(InstancesPost { name: "t1".into(), source, ..Default::default() }).await?;
    /// let start = InstanceStatePut { action: "start".into(), ..Default::default() };
    /// client.update_instance_state("t1", start).await?;
    /// assert_eq!(client.instance("t1").await?.status, "Running");
    /// assert!(client.delete_instance("t1").await.unwrap_err().to_string().contains("Instance is running"));
    /// assert!(client.instance("t2").await.unwrap_err().is_not_found());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn stateful(self) -> Self {
        self.shared.lock().world = Some(World::new());
        self
    }

    /// Its endpoint, as in [`ClientBuilder::endpoint`](crate::ClientBuilder::endpoint).
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A client of it.
    ///
    /// # Panics
    ///
    /// Never: the endpoint is one.
    pub fn client(&self) -> Client {
        Client::builder().endpoint(self.endpoint()).build().expect("an endpoint")
    }

    pub(crate) fn expect<B, R>(&self, method: &str, arguments: &[&str]) -> Expectation<B, R> {
        let served = api::METHODS.iter().find(|served| served.name == method).expect("a method of the table");
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Expectation::new(Arc::clone(&self.shared), served, arguments)
    }

    /// Tells those who follow the events of a project that something happened there, as the server does when
    /// an instance starts. The ends of operations are told without it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), lxd_client::Error> {
    /// use futures_util::StreamExt;
    /// use lxd_client::EventContent;
    /// use lxd_client::mock::MockLxd;
    /// use lxd_client::types::EventLifecycle;
    ///
    /// let lxd = MockLxd::start().await;
    /// let mut events = lxd.client().events().types(["lifecycle"]).await?;
    /// let started = EventLifecycle {
    ///     action: "instance-started".into(),
    ///     source: "/1.0/instances/t1".into(),
    ///     ..Default::default()
    /// };
    /// lxd.tell_lifecycle("default", &started);
    /// let event = events.next().await.expect("an event")?;
    /// assert_eq!(event.content, EventContent::Lifecycle(started));
    /// # Ok(())
    /// # }
    /// ```
    pub fn tell_lifecycle(&self, project: &str, event: &EventLifecycle) {
        self.tell("lifecycle", Some(project), event);
    }

    /// Tells those who follow the events a line of the server's log.
    pub fn tell_logging(&self, event: &EventLogging) {
        self.tell("logging", None, event);
    }

    fn tell(&self, kind: &str, project: Option<&str>, event: &dyn Write) {
        let json = wire::to_json(event).and_then(|json| serde_json::from_slice(&json));
        // These types are text alone.
        self.shared.lock().announce(kind, project, &json.expect("a value that can be sent"));
    }

    /// Breaks off all event sockets, as when the server is started again; clients come back after a while.
    pub fn cut_events(&self) {
        self.shared.lock().followers.clear();
    }

    /// Makes sure that no call came that nobody expected. It is also done when this is dropped.
    ///
    /// # Panics
    ///
    /// Where there was one: with what came, what was expected, and what is near to it.
    pub fn verify(&self) {
        let told = self.shared.lock().unexpected();
        if let Some(told) = told {
            panic!("{told}");
        }
    }
}

impl State {
    /// Tells an event to those who follow such ones; those of no project are told to all.
    fn announce(&mut self, kind: &str, project: Option<&str>, metadata: &Value) {
        let event = json!({
            "type": kind, "timestamp": "2026-01-01T00:00:00Z", "metadata": metadata,
            "location": "none", "project": project.unwrap_or_default(),
        });
        let event = event.to_string();
        self.followers.retain(|follower| {
            let is_other =
                follower.project.as_deref().zip(project).is_some_and(|(wanted, project)| wanted != project);
            let is_wanted =
                follower.types.as_ref().is_none_or(|types| types.iter().any(|known| known == kind));
            is_other || !is_wanted || follower.sender.send(event.clone()).is_ok()
        });
    }

    /// The UUID of another operation.
    fn next_operation(&self) -> String {
        format!("00000000-0000-4000-8000-{:012}", self.operations.len())
    }

    /// What came that nobody expected, for people. It is told once.
    fn unexpected(&mut self) -> Option<String> {
        let mut told = self.faults.drain(..).map(|fault| fault + "\n").collect::<String>();
        for (came, outcome) in self.came.iter_mut().filter(|(_, outcome)| *outcome == Outcome::Unexpected) {
            *outcome = Outcome::Told;
            // Writing to a text does not fail.
            let _ = writeln!(told, "nobody expected {}", came.shown());
            let nearest = self.script.iter().filter_map(|line| line.difference(came));
            if let Some((_, how)) = nearest.min_by_key(|(much, _)| *much) {
                let _ = writeln!(told, "  the nearest is {how}");
            }
        }
        if told.is_empty() {
            return None;
        }
        let _ = writeln!(told, "what was expected:");
        for line in &self.script {
            let _ = writeln!(told, "  {}", line.shown());
        }
        if self.script.is_empty() {
            let _ = writeln!(told, "  nothing");
        }
        Some(told)
    }
}

impl Drop for MockLxd {
    fn drop(&mut self) {
        self.serving.abort();
        for task in self.shared.lock().tasks.drain(..) {
            task.abort();
        }
        let (told, script, sessions) = {
            let mut state = self.shared.lock();
            let told = state.unexpected();
            // What waits for connections is told that there are none any more.
            (told, std::mem::take(&mut state.script), std::mem::take(&mut state.sessions))
        };
        // Not under the lock: what the test says may look at the mock.
        drop((script, sessions));
        if let Some(told) = told.filter(|_| !std::thread::panicking()) {
            panic!("{told}");
        }
    }
}

impl fmt::Debug for MockLxd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MockLxd").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
