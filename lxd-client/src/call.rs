//! A call: a request that is put together by setters and runs when it is awaited. What all calls
//! share is here, once and without type parameters; following a background operation is left to
//! `operation`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH, UPGRADE, USER_AGENT,
};
use hyper::body::Incoming;
use lxd_types::wire::{self, Read};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, tungstenite};

use crate::answer::{Connection, RawAnswer, WebSocket, collected};
use crate::body::Body;
use crate::client::Client;
use crate::envelope::{self, Outcome};
use crate::error::{BoxError, Error};
use crate::events::Events;
use crate::operation::watcher::{self, Announced};
use crate::operation::{Operation, State};
use crate::target;
use crate::transport::Lease;

/// An operation of the API, as the generator writes it down.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Its operationId.
    pub(crate) id: &'static str,
    /// The method of HTTP.
    pub(crate) method: &'static str,
    /// The path, with its parameters in braces.
    pub(crate) path: &'static str,
    /// The query that belongs to the path.
    pub(crate) query: &'static str,
    /// How its answer comes.
    pub(crate) answers: Answers,
    /// Whether it has the parameter `project`.
    pub(crate) project: bool,
    /// Whether it has the parameter `target`.
    pub(crate) target: bool,
    /// Whether it can answer with a background operation.
    pub(crate) background: bool,
}

/// How an answer comes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(dead_code, reason = "a description may have none of a kind")]
pub(crate) enum Answers {
    /// As an envelope without a value.
    Nothing,
    /// As a value in the envelope.
    Value,
    /// As the metadata of a background operation, once it is done.
    OperationMetadata,
    /// As plain text.
    Text,
    /// As bytes.
    Raw,
    /// As a websocket.
    WebSocket,
    /// As a websocket of events.
    Events,
    /// As a connection that speaks the protocol of the path's last part.
    Connection,
}

/// What a request sends, as the generated methods have it.
pub(crate) enum Sent {
    /// No body.
    Nothing,
    /// A value, written as JSON or failing to be.
    Json(Result<Vec<u8>, serde_json::Error>),
    /// Bytes.
    Bytes(Body),
}

/// The marker of calls without parameters.
#[derive(Debug)]
pub enum NoParameters {}

/// A call that runs when it is awaited.
///
/// `T` is what it answers with; `P` marks which parameters it takes, each of them a setter. A call is
/// made by a method of [`Client`]:
///
/// ```no_run
/// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
/// let running = lxd.instances_recursion1().all_projects(true).filter("status eq running").await?;
/// # Ok(())
/// # }
/// ```
///
/// Where the server answers with a background operation, the call waits until that is done, and the
/// operation's failure is the call's.
#[must_use = "a call runs when it is awaited"]
pub struct Call<T, P = NoParameters> {
    request: Box<Request>,
    marker: PhantomData<fn() -> (T, P)>,
}

/// A request without its types.
pub(crate) struct Request {
    client: Client,
    endpoint: &'static Endpoint,
    path: String,
    query: Vec<(Cow<'static, str>, String)>,
    headers: HeaderMap,
    body: Body,
    /// The first thing that was wrong with what was given; nothing is sent then.
    fault: Option<String>,
    /// Whether the headers of the answer are wanted.
    wants_head: bool,
}

impl<T, P> Call<T, P> {
    pub(crate) fn of(request: Box<Request>) -> Self {
        Self { request, marker: PhantomData }
    }

    /// Sends the call only where the object still has this ETag (header `If-Match`); otherwise it
    /// fails, see [`Error::is_precondition_failed`]. The ETag of an object is
    /// [`Response::etag`].
    pub fn if_match(mut self, etag: &str) -> Self {
        self.request.header(IF_MATCH, &etag);
        self
    }

    /// Adds a header of your own.
    pub fn header(self, name: &str, value: &str) -> Self {
        self.header_value(name, &value)
    }

    /// The call as errors name it.
    pub(crate) fn shown(&self) -> String {
        self.request.name()
    }

    pub(crate) fn query(mut self, name: &'static str, value: &dyn fmt::Display) -> Self {
        self.request.query(name, value);
        self
    }

    #[allow(dead_code, reason = "for descriptions with lists in a query")]
    pub(crate) fn query_list(mut self, name: &'static str, values: &[&str]) -> Self {
        self.request.query.retain(|(known, _)| known != name);
        let values = values.iter().map(|value| (name.into(), (*value).to_owned()));
        self.request.query.extend(values);
        self
    }

    pub(crate) fn header_value(mut self, name: &str, value: &dyn fmt::Display) -> Self {
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => self.request.header(name, value),
            Err(_) => self.request.fault(format!("`{name}` is no name of a header")),
        }
        self
    }

    #[allow(dead_code, reason = "for descriptions with lists in a header")]
    pub(crate) fn header_list(self, name: &'static str, item: &str, values: &[&str]) -> Self {
        let pairs: Vec<_> =
            values.iter().map(|value| (item.to_owned().into(), (*value).to_owned())).collect();
        self.header_pairs(name, &pairs)
    }

    #[allow(dead_code, reason = "for descriptions with maps in a header")]
    pub(crate) fn header_map(self, name: &'static str, values: &BTreeMap<String, String>) -> Self {
        let pairs: Vec<_> = values.iter().map(|(key, value)| (key.clone().into(), value.clone())).collect();
        self.header_pairs(name, &pairs)
    }

    /// Pairs in the form of a query, which is how the server wants several values in one header.
    fn header_pairs(self, name: &'static str, pairs: &[(Cow<'static, str>, String)]) -> Self {
        let mut text = String::new();
        target::push_query(&mut text, "", pairs);
        self.header_value(name, &text.trim_start_matches('?'))
    }

    #[allow(dead_code, reason = "for descriptions with a body that may be left out")]
    pub(crate) fn json(mut self, json: Result<Vec<u8>, serde_json::Error>) -> Self {
        self.request.send_this(Sent::Json(json));
        self
    }

    /// Runs the call and gives the head of the answer with its value.
    ///
    /// # Errors
    ///
    /// What awaiting the call returns.
    pub async fn response(self) -> Result<Response<T>, Error>
    where
        T: Answer,
    {
        let mut request = self.request;
        request.wants_head = true;
        T::receive(*request).await
    }

    /// Runs the call, but does not wait for the background operation that it starts.
    ///
    /// # Errors
    ///
    /// What awaiting the call returns, without the failures of the operation; and [`Error::Decode`]
    /// where the server did all at once, so that there is no operation.
    pub async fn start(self) -> Result<Operation<T>, Error> {
        let (exchange, announced) = self.request.announced_exchange().await?;
        match exchange.read(&mut ())? {
            Some(state) => Ok(exchange.operation(announced, state)),
            None => Err(Error::decode(exchange.call, "the server did it at once: there is no operation")),
        }
    }
}

impl<T: Answer, P> IntoFuture for Call<T, P> {
    type Output = Result<T, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let receiving = T::receive(*self.request);
        Box::pin(async move { Ok(receiving.await?.value) })
    }
}

impl<T, P> fmt::Debug for Call<T, P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Call").field(&self.request.name()).finish()
    }
}

/// A value with the head of the answer that it came in.
#[derive(Clone, Debug)]
pub struct Response<T> {
    /// The value.
    pub value: T,
    /// The headers of the answer.
    pub headers: HeaderMap,
    /// The status of HTTP.
    pub status: u16,
}

impl<T> Response<T> {
    /// The mark of the object's present state, for [`Call::if_match`] (header `ETag`).
    pub fn etag(&self) -> Option<&str> {
        self.headers.get(http::header::ETAG)?.to_str().ok()
    }
}

/// What a call can answer with: a value, bytes or a connection.
pub trait Answer: sealed::Sealed + Sized + Send + 'static {}

impl<T: sealed::Sealed + Send + 'static> Answer for T {}

pub(crate) mod sealed {
    use super::{Error, Future, Pin, Request, Response};

    /// What is on its way.
    #[allow(unreachable_pub)]
    pub type Receiving<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Error>> + Send>>;

    /// How a kind of answer is received.
    pub trait Sealed: Sized {
        #[doc(hidden)]
        #[allow(private_interfaces)]
        fn receive(request: Request) -> Receiving<Self>;
    }
}

impl<T: Read + Default + Send + 'static> sealed::Sealed for T {
    #[allow(private_interfaces)]
    fn receive(request: Request) -> sealed::Receiving<T> {
        let begun = request.announced_exchange();
        Box::pin(async move {
            let mut value = T::default();
            let (mut exchange, announced) = begun.await?;
            if let Some(state) = exchange.read(&mut value)? {
                let operation: Operation<T> = exchange.operation(announced, state);
                exchange.shrink();
                operation.read(&operation.finish().await?, &mut value)?;
            }
            Ok(exchange.response(value))
        })
    }
}

impl sealed::Sealed for RawAnswer {
    #[allow(private_interfaces)]
    fn receive(request: Request) -> sealed::Receiving<Self> {
        Box::pin(async move {
            let call = request.name();
            let (response, lease) = request.send_checked(&call).await?;
            let (head, body) = response.into_parts();
            let value = RawAnswer::new(call, head.headers.clone(), body, lease);
            Ok(Response { value, headers: head.headers, status: head.status.as_u16() })
        })
    }
}

impl sealed::Sealed for Connection {
    #[allow(private_interfaces)]
    fn receive(request: Request) -> sealed::Receiving<Self> {
        let protocol = request.endpoint.path.rsplit('/').next().unwrap_or_default();
        let call = request.name();
        Box::pin(request.upgrade(call, protocol))
    }
}

impl sealed::Sealed for WebSocket {
    #[allow(private_interfaces)]
    fn receive(request: Request) -> sealed::Receiving<Self> {
        Box::pin(request.websocket(WebSocketConfig::default()))
    }
}

impl sealed::Sealed for Events {
    #[allow(private_interfaces)]
    fn receive(request: Request) -> sealed::Receiving<Self> {
        Box::pin(Events::open(request))
    }
}

impl Request {
    /// A request. What it sends comes first: it is used up before anything else is done.
    pub(crate) fn new(
        sent: Sent,
        client: &Client,
        endpoint: &'static Endpoint,
        arguments: &[&str],
    ) -> Box<Self> {
        let (path, fault) = match target::path(endpoint.path, arguments) {
            Ok(path) => (path, None),
            Err(fault) => (endpoint.path.to_owned(), Some(fault)),
        };
        let (client, headers) = (client.clone(), HeaderMap::new());
        let (query, body) = (Vec::new(), Body::default());
        let wants_head = false;
        let mut request = Box::new(Self { client, endpoint, path, query, headers, body, fault, wants_head });
        request.send_this(sent);
        request
    }

    /// Sets a parameter of the query.
    pub(crate) fn query(&mut self, name: &'static str, value: &dyn fmt::Display) {
        self.query.retain(|(known, _)| known != name);
        self.query.push((name.into(), value.to_string()));
    }

    fn header(&mut self, name: HeaderName, value: &dyn fmt::Display) {
        match HeaderValue::from_str(&value.to_string()) {
            Ok(value) => drop(self.headers.insert(name, value)),
            Err(_) => self.fault(format!("the value of `{name}` has letters that a header cannot hold")),
        }
    }

    fn fault(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }

    fn send_this(&mut self, sent: Sent) {
        let (kind, body) = match sent {
            Sent::Nothing => return,
            Sent::Json(Ok(json)) => ("application/json", Body::from(json)),
            Sent::Json(Err(error)) => return self.fault(format!("the body cannot be sent: {error}")),
            Sent::Bytes(body) => ("application/octet-stream", body),
        };
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        self.body = body;
    }

    /// The call as errors name it. The query may hold secrets; only the project is told.
    pub(crate) fn name(&self) -> String {
        let mut name = format!("{} {}", self.endpoint.method, self.path);
        if let Some(project) = self.project() {
            let shown = [("project".into(), project.to_owned())];
            target::push_query(&mut name, "", &shown);
        }
        name
    }

    /// What was given for a parameter of the query.
    fn given(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The project that is named by the call, or else by the client.
    fn project(&self) -> Option<&str> {
        let everywhere = self.given("all-projects") == Some("true");
        let by_client = || self.client.default_project().filter(|_| self.endpoint.project && !everywhere);
        self.given("project").or_else(by_client)
    }

    /// Sends the request, which errors name `call`; the body of the answer is still to come.
    async fn send(mut self, call: &str) -> Result<(http::Response<Incoming>, Lease), Error> {
        if let Some(message) = self.fault.take() {
            return Err(Error::Argument { call: call.to_owned(), message });
        }
        if let Some(project) = self.project().map(str::to_owned) {
            self.query("project", &project);
        }
        if let Some(target) = self.client.default_target().filter(|_| self.endpoint.target)
            && self.given("target").is_none()
        {
            let target = target.to_owned();
            self.query("target", &target);
        }
        let mut target = std::mem::take(&mut self.path);
        target::push_query(&mut target, self.endpoint.query, &self.query);
        let request = self.http(target).map_err(|error| Error::Argument {
            call: call.to_owned(),
            message: format!("the call cannot be sent: {error}"),
        })?;
        let transport = self.client.transport();
        transport.send(request).await.map_err(|error| {
            Error::transport(call.to_owned(), &format!("no answer from {}", transport.place()), error)
        })
    }

    fn http(&mut self, target: String) -> Result<http::Request<Body>, BoxError> {
        let mut request = http::Request::new(std::mem::take(&mut self.body));
        *request.method_mut() = self.endpoint.method.parse()?;
        *request.uri_mut() = target.try_into()?;
        let agent = concat!("lxd-client/", env!("CARGO_PKG_VERSION"));
        self.headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(agent));
        *request.headers_mut() = std::mem::take(&mut self.headers);
        Ok(request)
    }

    /// How long the answer may take. A call that asks the server to wait for something may take that
    /// much longer, or for ever.
    fn limit(&self) -> Duration {
        let limit = self.client.timeout();
        if !self.endpoint.path.ends_with("/wait") {
            return limit;
        }
        match self.given("timeout").and_then(|seconds| seconds.parse().ok()) {
            Some(seconds) => limit.saturating_add(Duration::from_secs(seconds)),
            None => Duration::MAX,
        }
    }

    /// Sees to it that the events of the operation are not missed that the call may start.
    fn announce(&self) -> impl Future<Output = Option<Announced>> + use<> {
        let wanted = self.endpoint.background && self.fault.is_none();
        let place = wanted.then(|| (self.client.clone(), self.project().map(str::to_owned)));
        async move {
            let (client, project) = place?;
            Announced::new(&client, project.as_deref()).await
        }
    }

    /// Sends the request and takes the whole answer, and the events of the operation that it may start.
    ///
    /// The future is in a box of its own, which is gone when the answer is here: an operation may be
    /// waited for long after that.
    fn announced_exchange(self) -> Pin<Box<dyn Future<Output = Result<Begun, Error>> + Send>> {
        Box::pin(async move {
            let announced = self.announce().await;
            Ok((self.exchange().await?, announced))
        })
    }

    /// The same request once more, where it has no body.
    pub(crate) fn repeated(&self) -> Self {
        Self {
            client: self.client.clone(),
            endpoint: self.endpoint,
            path: self.path.clone(),
            query: self.query.clone(),
            headers: self.headers.clone(),
            body: Body::default(),
            fault: self.fault.clone(),
            wants_head: self.wants_head,
        }
    }

    /// Sends the request and takes the whole answer, which is JSON or text.
    pub(crate) async fn exchange(self) -> Result<Exchange, Error> {
        let (call, endpoint, client) = (self.name(), self.endpoint, self.client.clone());
        let project = self.project().map(str::to_owned);
        let wants_head = self.wants_head;
        let (head, body) = within(self.limit(), &call, async {
            let (response, lease) = self.send(&call).await?;
            let (head, body) = response.into_parts();
            let body = collected(&call, body).await?;
            lease.give_back();
            Ok((head, body))
        })
        .await?;
        let status = head.status.as_u16();
        let headers = if wants_head { head.headers } else { HeaderMap::new() };
        Ok(Exchange { call, endpoint, status, headers, body, client, project })
    }

    /// Sends the request; a refusal is an error, any other body is still to come.
    async fn send_checked(self, call: &str) -> Result<(http::Response<Incoming>, Lease), Error> {
        within(self.limit(), call, async {
            let (response, lease) = self.send(call).await?;
            let status = response.status().as_u16();
            if is_success(status) {
                return Ok((response, lease));
            }
            let body = collected(call, response.into_body()).await?;
            lease.give_back();
            Err(refusal(call, status, &body))
        })
        .await
    }

    /// Sends the request and takes over its connection for another protocol.
    async fn upgrade(mut self, call: String, protocol: &'static str) -> Result<Response<Connection>, Error> {
        self.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        self.headers.insert(UPGRADE, HeaderValue::from_static(protocol));
        let (mut response, _lease) = self.send_checked(&call).await?;
        if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::decode(call, format!("the server does not speak {protocol} here")));
        }
        let upgraded = hyper::upgrade::on(&mut response)
            .await
            .map_err(|error| Error::transport(call, "the connection broke off", error))?;
        let (head, _) = response.into_parts();
        let value = Connection::new(upgraded);
        Ok(Response { value, headers: head.headers, status: head.status.as_u16() })
    }

    /// Sends the request and makes a websocket of its connection.
    pub(crate) async fn websocket(mut self, config: WebSocketConfig) -> Result<Response<WebSocket>, Error> {
        let key = tungstenite::handshake::client::generate_key();
        self.header(HeaderName::from_static("sec-websocket-version"), &"13");
        self.header(HeaderName::from_static("sec-websocket-key"), &key);
        let call = self.name();
        let Response { value, headers, status } = self.upgrade(call.clone(), "websocket").await?;
        let accepted = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let answered = headers.get("sec-websocket-accept").map(HeaderValue::as_bytes);
        if answered != Some(accepted.as_bytes()) {
            return Err(Error::decode(call, "the server's handshake is not that of a websocket"));
        }
        let role = tungstenite::protocol::Role::Client;
        let value = WebSocketStream::from_raw_socket(value, role, Some(config)).await;
        Ok(Response { value: WebSocket::new(call, value), headers, status })
    }
}

/// An answer, and what was seen to for the operation that it may be.
type Begun = (Exchange, Option<Announced>);

/// A call and its whole answer.
pub(crate) struct Exchange {
    pub(crate) call: String,
    endpoint: &'static Endpoint,
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    client: Client,
    project: Option<String>,
}

impl Exchange {
    /// Reads the answer: a value goes to `place`, a background operation is returned, a refusal is
    /// an error, also where its HTTP status is that of a success.
    pub(crate) fn read(&self, place: &mut dyn Read) -> Result<Option<State>, Error> {
        if !self.came_as_success() {
            return Err(refusal(&self.call, self.status, &self.body));
        }
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
    fn operation<T>(&self, announced: Option<Announced>, state: State) -> Operation<T> {
        let tracked = watcher::follow(&self.client, announced.as_ref(), self.project.as_deref(), state);
        Operation::new(self.client.clone(), &self.call, self.endpoint, tracked)
    }

    /// Leaves the memory that the answer was received into, which may be large, to others: the end of
    /// an operation may be far away.
    fn shrink(&mut self) {
        self.body = Bytes::new();
        let copied = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.clone(), HeaderValue::from_bytes(value.as_bytes()).ok()?))
        };
        self.headers = self.headers.iter().filter_map(copied).collect();
    }

    fn undecodable(&self, error: impl Into<BoxError>) -> Error {
        Error::decode(format!("{} ({})", self.call, self.endpoint.id), error)
    }

    /// Whether the answer's HTTP status is that of a success, whatever it holds.
    pub(crate) fn came_as_success(&self) -> bool {
        is_success(self.status)
    }

    fn response<T>(self, value: T) -> Response<T> {
        Response { value, headers: self.headers, status: self.status }
    }
}

/// What comes within a time; that it does not is an error.
pub(crate) fn within<'a, T>(
    limit: Duration,
    call: &'a str,
    coming: impl Future<Output = Result<T, Error>> + Send + 'a,
) -> impl Future<Output = Result<T, Error>> + Send + 'a {
    let coming = tokio::time::timeout(limit, Box::pin(coming));
    async move {
        match coming.await {
            Ok(came) => came,
            Err(_) => Err(Error::Timeout { call: call.to_owned(), after: limit }),
        }
    }
}

fn is_success(status: u16) -> bool {
    status < 400
}

/// The refusal that an answer is. What is no envelope comes from something between the client and the
/// server.
fn refusal(call: &str, status: u16, body: &[u8]) -> Error {
    // A refused websocket has the envelope after a line of text.
    let after_a_line = body.iter().position(|byte| *byte == b'\n').map(|end| &body[end + 1..]);
    let envelopes = [Some(body), after_a_line].into_iter().flatten();
    let told = envelopes.filter_map(|json| envelope::read(json, &mut ()).ok()).next();
    let (status, message) = match told {
        Some(Outcome::Refusal(0, message)) => (status, message),
        Some(Outcome::Refusal(status, message)) => (status, message),
        _ => (status, plain(body)),
    };
    Error::Api { call: call.to_owned(), status, message }
}

/// The start of an answer that is no envelope, for people.
fn plain(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match text.trim() {
        "" => "refused without a reason".to_owned(),
        text => text.chars().take(200).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::IntoFuture;
    use std::time::Duration;

    use super::{Answers, Endpoint, Request, Sent};
    use crate::Client;

    const WAIT: Endpoint = Endpoint {
        id: "operation_wait_get",
        method: "GET",
        path: "/1.0/operations/{id}/wait",
        query: "",
        answers: Answers::Value,
        project: false,
        target: false,
        background: false,
    };

    fn client() -> Client {
        let limit = Duration::from_secs(5);
        Client::builder().endpoint("http://127.0.0.1:1").timeout(limit).build().unwrap()
    }

    #[test]
    fn a_call_that_waits_has_the_time_that_it_asks_for() {
        let limit = |timeout: Option<i64>| {
            let mut request = Request::new(Sent::Nothing, &client(), &WAIT, &["u"]);
            if let Some(timeout) = timeout {
                request.query("timeout", &timeout);
            }
            request.limit()
        };
        assert_eq!(limit(Some(60)), Duration::from_secs(65));
        assert_eq!(limit(Some(-1)), Duration::MAX);
        assert_eq!(limit(None), Duration::MAX);
    }

    #[test]
    fn calls_can_run_on_any_thread() {
        fn send<T: Send>(_: T) {}
        let lxd = client();
        send(lxd.instances_recursion2().into_future());
        send(lxd.instance("t1").response());
        send(lxd.delete_instance("t1").start());
        send(lxd.instance_files("t1").into_future());
        send(lxd.events().into_future());
    }

    #[test]
    fn a_call_shows_no_more_than_its_path() {
        let call = client().operation_websocket("u").secret("hush");
        assert_eq!(format!("{call:?}"), r#"Call("GET /1.0/operations/u/websocket")"#);
    }
}
