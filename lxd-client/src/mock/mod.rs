//! A server for tests that answers as they say, typed by the same description: what was expected, and what came.
//! How it speaks HTTP is left to `serving`, commands to `commands`, what an expectation is made of to
//! `expectation`.

mod api;
mod commands;
mod expectation;
mod serving;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use self::commands::Command;
pub use self::expectation::{Expectation, MockBody, MockCall, MockOperation, Uploaded};
use crate::call::Answers;
use crate::client::Client;
use crate::exec::ExecOutput;

/// An operation of the API, as the generator writes it down.
#[derive(Debug)]
pub(crate) struct Served {
    /// Its operationId.
    id: &'static str,
    method: &'static str,
    /// The path, with its parameters in braces.
    path: &'static str,
    /// The query that belongs to the path.
    query: &'static str,
    /// Whether it sends JSON, where that tells it apart from another one.
    json: Option<bool>,
    answers: Answers,
}

/// A server for tests that needs no LXD: it answers the calls that the test expects, and fails it for others.
///
/// For each method of [`Client`] there is one that begins with `on_`: it takes what is in the path, and gives an
/// [`Expectation`], which says what is answered. Where several fit a call, the latest does. A background
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
    followers: Vec<Follower>,
    /// What goes on beside the connections, and ends with the mock.
    tasks: Vec<AbortHandle>,
}

/// Somebody who follows the events.
struct Follower {
    /// Of which project; of all where there is none.
    project: Option<String>,
    wants_operations: bool,
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
}

/// How it is answered.
#[derive(Clone, Default)]
struct Manner {
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
            && served.json.is_none_or(|json| json == is_json)
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
        let template: Vec<_> = served.path.trim_start_matches('/').split('/').collect();
        if template.len() != self.path.len() {
            return None;
        }
        let (mut arguments, mut differences) = (arguments.iter(), 0);
        for (part, found) in template.iter().zip(&self.path) {
            match part.starts_with('{') {
                true if arguments.next() != Some(found) => differences += 1,
                false if part != found => return None,
                _ => {}
            }
        }
        Some(differences)
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
        } else if self.served.json.is_some() {
            (2, "another kind of body")
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
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        Self::with(format!("http://{address}"), move |context| {
            listener.poll_accept(context).map_ok(|(stream, _)| stream)
        })
    }

    /// Starts a server at a Unix socket, within a Tokio runtime. The socket is left when this is dropped.
    ///
    /// # Panics
    ///
    /// Where the socket cannot be made, such as where it is there already.
    pub async fn start_at(socket: impl AsRef<Path>) -> Self {
        let socket = std::path::absolute(socket).expect("a path");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let endpoint = format!("unix://{}", socket.display());
        Self::with(endpoint, move |context| listener.poll_accept(context).map_ok(|(stream, _)| stream))
    }

    fn with<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        endpoint: String,
        accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<S>> + Send + 'static,
    ) -> Self {
        let shared = Arc::<Shared>::default();
        let serving = tokio::spawn(serving::serve(accept, Arc::clone(&shared))).abort_handle();
        Self { shared, endpoint, serving }
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

    pub(crate) fn expect<B, R>(&self, served: &'static Served, arguments: &[&str]) -> Expectation<B, R> {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Expectation::new(Arc::clone(&self.shared), served, arguments)
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
        if !std::thread::panicking() {
            self.verify();
        }
    }
}

impl fmt::Debug for MockLxd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MockLxd").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
