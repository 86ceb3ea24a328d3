//! A request without its types: what the setters of a call put together, and the ways to have it
//! answered. That it is sent is left to `sending`.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::method::InvalidMethod;
use http::uri::InvalidUri;
use hyper::body::Incoming;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, tungstenite};

use super::exchange::{Begun, Exchange};
use super::sending::{Outgoing, Sending, within};
use super::{Endpoint, Response, Sent};
use crate::answer::{Connection, WebSocket};
use crate::arriving::Arriving;
use crate::body::Body;
use crate::client::Client;
use crate::client::limits::Limits;
use crate::error::Error;
use crate::images::fingerprint;
use crate::operation::watcher::Announced;
use crate::target;
use crate::transferred::Report;
use crate::transport::Lease;

const JSON: &str = "application/json";

const FINGERPRINT: HeaderName = HeaderName::from_static("x-lxd-fingerprint");

/// A request without its types.
pub(crate) struct Request {
    pub(super) client: Client,
    pub(super) endpoint: &'static Endpoint,
    path: String,
    pub(super) query: Vec<(Cow<'static, str>, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// The first thing that was wrong with what was given; nothing is sent then.
    fault: Option<String>,
    /// Whether the headers of the answer are wanted.
    pub(super) wants_head: bool,
    /// Whether it is tried once only, as there is somebody who tries again.
    once: bool,
    /// Who wants to know how much of it is done.
    pub(crate) report: Option<Report>,
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
        let mut request = Box::new(Self {
            client,
            endpoint,
            path,
            query,
            headers,
            body,
            fault,
            wants_head: false,
            once: false,
            report: None,
        });
        request.send_this(sent);
        request
    }

    /// A request for something among the logs of an instance that the server gave a URL of.
    pub(crate) fn at(client: &Client, endpoint: &'static Endpoint, url: &str) -> Result<Box<Self>, Error> {
        let path = url.split('?').next().unwrap_or_default();
        let mut request = Self::new(Sent::Nothing, client, endpoint, &[]);
        let leads_elsewhere =
            path.contains(['%', '\\']) || path.split('/').any(|part| matches!(part, "." | ".."));
        if !path.starts_with("/1.0/instances/") || !path.contains("/logs/") || leads_elsewhere {
            let message = format!("the server gives `{path}` as the path of something, which it is not");
            return Err(Error::decode(endpoint.method.to_owned(), message));
        }
        request.path = path.to_owned();
        Ok(request)
    }

    /// Sets a parameter of the query.
    pub(crate) fn query(&mut self, name: &'static str, value: &dyn fmt::Display) {
        self.query.retain(|(known, _)| known != name);
        self.query.push((name.into(), value.to_string()));
    }

    pub(crate) fn header(&mut self, name: HeaderName, value: &dyn fmt::Display) {
        match HeaderValue::from_str(&value.to_string()) {
            Ok(value) => drop(self.headers.insert(name, value)),
            Err(_) => self.fault(format!("the value of `{name}` has letters that a header cannot hold")),
        }
    }

    pub(super) fn fault(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }

    pub(super) fn send_this(&mut self, sent: Sent) {
        let (kind, body) = match sent {
            Sent::Nothing => return,
            Sent::Json(Ok(json)) => (JSON.into(), Body::from(json)),
            Sent::Json(Err(error)) => return self.fault(format!("the body cannot be sent: {error}")),
            Sent::Bytes(body) => (body.content_type(), body),
        };
        match kind {
            Cow::Borrowed(kind) => drop(self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind))),
            Cow::Owned(kind) => self.header(CONTENT_TYPE, &kind),
        }
        self.body = body;
    }

    /// The call as errors name it. The query may hold secrets; only the project is told.
    pub(crate) fn name(&self) -> String {
        let mut name = [self.endpoint.method, " ", &self.path].concat();
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
    pub(super) fn project(&self) -> Option<&str> {
        let everywhere = self.given("all-projects") == Some("true");
        let by_client = || self.client.default_project().filter(|_| self.endpoint.project && !everywhere);
        self.given("project").or_else(by_client)
    }

    /// The same request, which is not tried again where the server cannot take it yet.
    pub(crate) fn once(mut self: Box<Self>) -> Box<Self> {
        self.once = true;
        self
    }

    /// What goes out. What was given may make that impossible.
    fn outgoing(&mut self, call: &str) -> Result<Outgoing<'_>, Error> {
        let unsendable = |message| Error::Argument { call: call.to_owned(), message };
        if let Some(message) = self.fault.take() {
            return Err(unsendable(message));
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
        let broken = |error: http::Error| unsendable(format!("the call cannot be sent: {error}"));
        let uri = target.try_into().map_err(|error: InvalidUri| broken(error.into()))?;
        let method = self.endpoint.method.parse().map_err(|error: InvalidMethod| broken(error.into()))?;
        self.body.report_to(self.report.take());
        let Self { headers, body, once, .. } = self;
        Ok(Outgoing { method, uri, headers, body, once: *once })
    }

    /// Sends the request, which errors name `call`. A refusal is an error; the body of any other answer
    /// is still to come.
    pub(super) async fn send(&mut self, call: &str) -> Result<(http::Response<Incoming>, Lease), Error> {
        let limits = self.limits();
        within(limits.total, call, pin!(self.sent(call, &limits))).await
    }

    async fn sent(
        &mut self,
        call: &str,
        limits: &Limits,
    ) -> Result<(http::Response<Incoming>, Lease), Error> {
        if self.uploads_image() {
            let body = std::mem::take(&mut self.body);
            let (fingerprint, body) = Box::pin(fingerprint::of(body)).await?;
            self.header(FINGERPRINT, &fingerprint);
            self.body = body;
        }
        let client = self.client.clone();
        let outgoing = self.outgoing(call)?;
        Sending::new(&client, call, outgoing, limits).send().await
    }

    /// Whether it uploads an image of which the fingerprint is not given. That of a form which somebody has
    /// made up is not the hash of what is sent.
    fn uploads_image(&self) -> bool {
        let uploads = self.endpoint.method == "POST" && self.endpoint.path == "/1.0/images";
        let is_ours = self.headers.get(CONTENT_TYPE).is_some_and(|kind| *kind == *self.body.content_type());
        uploads && is_ours && self.fault.is_none() && !self.headers.contains_key(&FINGERPRINT)
    }

    /// How long the answer may take. A call that asks the server to wait for something may take that
    /// much longer, or for ever.
    pub(super) fn limits(&self) -> Limits {
        let mut limits = self.client.limits();
        if self.body.is_long() {
            // It has the time that it takes, as long as the server takes it.
            limits.total = Duration::MAX;
        }
        if !self.endpoint.path.ends_with("/wait") {
            return limits;
        }
        let asked = self.given("timeout").and_then(|seconds| seconds.parse().ok());
        let longer = |limit: Duration| {
            asked.map_or(Duration::MAX, |seconds| limit.saturating_add(Duration::from_secs(seconds)))
        };
        Limits { total: longer(limits.total), response: longer(limits.response), ..limits }
    }

    /// Whether it has to wait for its turn: not where it may take long, and not what the client itself asks to
    /// follow operations, which others wait for.
    fn takes_turns(&self) -> bool {
        !self.body.is_long() && !self.once && !self.endpoint.path.starts_with("/1.0/operations/")
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
    pub(super) fn announced_exchange(
        self: Box<Self>,
    ) -> Pin<Box<dyn Future<Output = Result<Begun, Error>> + Send>> {
        Box::pin(async move {
            let announced = self.announce().await;
            Ok((self.exchange().await?, announced))
        })
    }

    /// The same request once more, where it has no body, for somebody who tries again.
    pub(crate) fn repeated(&self) -> Box<Self> {
        Box::new(Self {
            client: self.client.clone(),
            endpoint: self.endpoint,
            path: self.path.clone(),
            query: self.query.clone(),
            headers: self.headers.clone(),
            body: Body::default(),
            fault: self.fault.clone(),
            wants_head: self.wants_head,
            once: true,
            report: None,
        })
    }

    /// Sends the request and takes the whole answer, which is JSON or text.
    pub(crate) async fn exchange(mut self: Box<Self>) -> Result<Exchange, Error> {
        let (call, endpoint, client) = (self.name(), self.endpoint, self.client.clone());
        let project = self.project().map(str::to_owned);
        let wants_head = self.wants_head;
        let limits = self.limits();
        let (head, body) = {
            let answered = pin!(async {
                let _turn = match self.takes_turns() {
                    true => Some(client.transport().turns().take().await),
                    false => None,
                };
                let (response, lease) = self.sent(&call, &limits).await?;
                let (head, body) = response.into_parts();
                let body = Arriving::new(body, limits).all(&call).await?;
                lease.give_back();
                Ok((head, body))
            });
            within(limits.total, &call, answered).await?
        };
        let status = head.status.as_u16();
        let headers = if wants_head { head.headers } else { HeaderMap::new() };
        Ok(Exchange { call, endpoint, status, headers, body, client, project })
    }

    /// Sends the request and takes over its connection for another protocol.
    pub(super) async fn upgrade(
        mut self: Box<Self>,
        call: String,
        protocol: &'static str,
    ) -> Result<Response<Connection>, Error> {
        self.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        self.headers.insert(UPGRADE, HeaderValue::from_static(protocol));
        let (mut response, _lease) = self.send(&call).await?;
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
    pub(crate) async fn websocket(
        mut self: Box<Self>,
        config: WebSocketConfig,
    ) -> Result<Response<WebSocket>, Error> {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Answers;
    use super::{Endpoint, Request, Sent};
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
            request.limits().total
        };
        assert_eq!(limit(Some(60)), Duration::from_secs(65));
        assert_eq!(limit(Some(-1)), Duration::MAX);
        assert_eq!(limit(None), Duration::MAX);
    }
}
