//! A server in front of a real one that passes everything on, and writes down what passed as expectations of a mock.
//! How those read is left to `written` and `literal`, what goes over connections to `tapped`.

mod literal;
mod tapped;
mod written;

use std::fmt;
use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_core::Stream;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use self::tapped::Tap;
use super::Came;
use super::serving::{at_socket, on_loopback, received, refusal};
use crate::arriving::Arriving;
use crate::body::Body;
use crate::client::Client;
use crate::client::limits::Limits;
use crate::envelope::{self, Outcome};
use crate::error::Error;
use crate::operation::Progress;

/// A server in front of a real one, for recording: it passes on all that its clients ask and are answered, and gives
/// it as Rust code of expectations, with which a [`MockLxd`](super::MockLxd) answers the same.
///
/// ```no_run
/// # async fn run(lxd: lxd_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use lxd_client::mock::Recorder;
///
/// let recorder = Recorder::start(&lxd).await;
/// let client = recorder.client();
/// // What is to be tested, such as:
/// client.delete_instance("t1").await?;
/// std::fs::write("tests/recorded.rs", recorder.code().await)?;
/// # Ok(())
/// # }
/// ```
///
/// The code is a module with a function, `expectations(lxd: &MockLxd)`. Calls are told apart by what is in their path,
/// their query and their JSON body; where the same call was answered in different ways, they come in turn, and the
/// last of them stays. The ends of background operations and what commands write are in it; what goes over other
/// connections (consoles, SFTP) is not, nor are files of more than 64 KiB, and only their place is marked. All
/// requests and answers are in memory while they pass.
///
/// Secrets are left out: the fields that the types call so, the values of configurations whose keys speak of passwords,
/// keys, tokens or cloud-init's data, the environment of commands, and all headers but those that say what an answer
/// is. What else requests and answers hold is kept as it is, such as names, addresses, command lines, and what
/// commands write: read it before you give it away.
pub struct Recorder {
    recording: Arc<Recording>,
    endpoint: String,
    serving: AbortHandle,
}

/// What all connections share.
struct Recording {
    client: Client,
    passed: Mutex<Vec<Passed>>,
    taps: Mutex<Vec<Tap>>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// A call, and what became of it.
struct Passed {
    came: Came,
    answer: Answered,
}

enum Answered {
    /// An answer with all that it holds.
    Whole { status: StatusCode, headers: HeaderMap, body: Bytes },
    /// A background operation.
    Operation { id: String, metadata: Value, end: watch::Receiver<Option<Ended>> },
    /// A connection that speaks something else from then on.
    Connection,
}

/// How a background operation went.
#[derive(Clone)]
struct Ended {
    progress: Vec<String>,
    end: End,
}

#[derive(Clone)]
enum End {
    Success(Value),
    Failure(String),
    Cancelled,
    /// It could not be followed.
    Unknown,
}

impl Recorder {
    /// Starts a server on this machine (TCP, on a free port) that passes everything on to that of a client, as that
    /// client.
    ///
    /// # Panics
    ///
    /// Where there is no free port.
    pub async fn start(client: &Client) -> Self {
        let recording = Recording::of(client);
        let passing = Arc::clone(&recording);
        let pass = move |request| Recording::pass(Arc::clone(&passing), request);
        let (endpoint, serving) = on_loopback(pass).await;
        Self { recording, endpoint, serving }
    }

    /// The same at a Unix socket, for programs that want one. The socket is left when this is dropped.
    ///
    /// # Panics
    ///
    /// Where the socket cannot be made, such as where it is there already.
    pub async fn start_at(client: &Client, socket: impl AsRef<Path>) -> Self {
        let recording = Recording::of(client);
        let passing = Arc::clone(&recording);
        let pass = move |request| Recording::pass(Arc::clone(&passing), request);
        let (endpoint, serving) = at_socket(socket.as_ref(), pass);
        Self { recording, endpoint, serving }
    }

    /// Its endpoint, as in [`ClientBuilder::endpoint`](crate::ClientBuilder::endpoint).
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A client of it, for the same project and cluster member as the server's.
    ///
    /// # Panics
    ///
    /// Never: the endpoint is one.
    pub fn client(&self) -> Client {
        let mut client = Client::builder().endpoint(self.endpoint()).build().expect("an endpoint");
        if let Some(project) = self.recording.client.default_project() {
            client = client.use_project(project);
        }
        if let Some(member) = self.recording.client.default_target() {
            client = client.use_target(member);
        }
        client
    }

    /// What passed until now, as Rust code. It waits for the ends of the background operations that were begun.
    pub async fn code(&self) -> String {
        let ends: Vec<_> = {
            let passed = lock(&self.recording.passed);
            let end = |passed: &Passed| match &passed.answer {
                Answered::Operation { end, .. } => Some(end.clone()),
                _ => None,
            };
            passed.iter().filter_map(end).collect()
        };
        for mut end in ends {
            // Its task always tells an end, but where the runtime ends.
            let _ended = end.wait_for(Option::is_some).await;
        }
        let (passed, taps) = (lock(&self.recording.passed), lock(&self.recording.taps));
        written::code(&passed, &taps, self.recording.client.default_project())
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recording {
    fn of(client: &Client) -> Arc<Self> {
        let (passed, taps, tasks) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Self { client: client.clone(), passed, taps, tasks })
    }

    async fn pass(recording: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let passed = recording.forward(request).await;
        passed.unwrap_or_else(|error| refusal(502, &format!("the recorder has no answer: {error}")))
    }

    /// Asks the server the same, and tells what it answers.
    async fn forward(self: &Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Error> {
        let uri = request.uri().clone();
        let (came, upgrade) = received(request).await?;
        let call = format!("{} {}", came.method, uri.path());
        let broken = |error| Error::transport(call.clone(), "no answer from the server", error);
        let mut request = Request::new(Body::from(came.body.clone()));
        *request.method_mut() = came.method.parse().unwrap_or_default();
        *request.uri_mut() = uri;
        copy(&came.headers, request.headers_mut());
        for (name, value) in &self.client.own_headers() {
            request.headers_mut().insert(name, value.clone());
        }
        if let Some(tokens) = self.client.tokens() {
            tokens.token(&call).await?.show_in(request.headers_mut());
        }
        let mut lease = self.client.transport().connect().await.map_err(broken)?;
        let sent = lease.send(request).await;
        let mut answer = sent.map_err(|failed| broken(failed.into_error().into()))?;
        let mut response = Response::new(Body::default());
        *response.status_mut() = answer.status();
        copy(answer.headers(), response.headers_mut());
        if let (StatusCode::SWITCHING_PROTOCOLS, Some(ours)) = (answer.status(), upgrade) {
            let protocol = answer.headers().get(CONNECTION).cloned();
            response.headers_mut().extend(protocol.map(|protocol| (CONNECTION, protocol)));
            self.connect(&came, ours, hyper::upgrade::on(&mut answer));
            lock(&self.passed).push(Passed { came, answer: Answered::Connection });
            return Ok(response);
        }
        let (head, body) = answer.into_parts();
        let limits = Limits { answer: usize::MAX, ..self.client.limits() };
        let body = Arriving::new(body, limits).all(&call).await?;
        *response.body_mut() = Body::from(body.clone());
        let answer = match envelope::read(&body, &mut ()) {
            Ok(Outcome::Background(state)) => {
                let (id, metadata) = (state.id.clone(), state.metadata);
                let end = self.follow(came.query.get("project"), &id);
                Answered::Operation { id, metadata, end }
            }
            _ => Answered::Whole { status: head.status, headers: head.headers, body },
        };
        lock(&self.passed).push(Passed { came, answer });
        Ok(response)
    }

    /// Passes on what goes over a connection.
    fn connect(&self, came: &Came, ours: OnUpgrade, theirs: OnUpgrade) {
        let tap = Tap::new(came);
        let passing = tokio::spawn(tap.clone().pass(ours, theirs));
        lock(&self.tasks).push(passing.abort_handle());
        lock(&self.taps).push(tap);
    }

    /// Follows an operation to its end.
    fn follow(&self, project: Option<&String>, id: &str) -> watch::Receiver<Option<Ended>> {
        let client = project.map_or_else(|| self.client.clone(), |project| self.client.use_project(project));
        let operation = client.operation_handle(id).expecting::<Value>();
        let (sender, receiver) = watch::channel(None);
        let following = tokio::spawn(async move {
            // The last word of each stage: the others say how quick the machine was.
            let mut progress: Vec<Progress> = Vec::new();
            let mut stream = operation.progress();
            while let Some(told) = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await {
                progress.retain(|known| known.stage != told.stage);
                progress.extend((!told.text.is_empty()).then_some(told));
            }
            let progress = progress.into_iter().map(|told| told.text).collect();
            let end = match operation.wait().await {
                Ok(metadata) => End::Success(metadata),
                Err(Error::Operation { message, .. }) => End::Failure(message),
                Err(Error::Cancelled { .. }) => End::Cancelled,
                Err(_) => End::Unknown,
            };
            sender.send_replace(Some(Ended { progress, end }));
        });
        lock(&self.tasks).push(following.abort_handle());
        receiver
    }
}

/// Copies the headers that are not about one connection.
fn copy(from: &HeaderMap, to: &mut HeaderMap) {
    let is_upgrade = from.contains_key(UPGRADE);
    for (name, value) in from {
        let of_connection = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name);
        if !of_connection && (*name != CONNECTION || is_upgrade) {
            to.append(name, value.clone());
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.serving.abort();
        for task in lock(&self.recording.tasks).drain(..) {
            task.abort();
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Recorder").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
