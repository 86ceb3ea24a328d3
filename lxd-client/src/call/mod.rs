//! A call: a request that is put together by setters and runs when it is awaited. What all calls share,
//! once and without type parameters, is in the parts: what is sent in `request`, that it is sent in
//! `sending`, the answer in `exchange`. Following a background operation is left to `operation`.

mod exchange;
mod request;
mod sending;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{HeaderMap, HeaderName, IF_MATCH};
use lxd_types::wire::Read;
use serde_json::{Map, Value};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

pub(crate) use self::exchange::Exchange;
pub(crate) use self::request::Request;
use crate::answer::{Connection, RawAnswer, WebSocket};
use crate::arriving::Arriving;
use crate::body::Body;
use crate::client::Client;
use crate::error::Error;
use crate::events::Events;
use crate::operation::Operation;
use crate::target;
use crate::transferred::{Report, Transferred};

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
/// made by a method of [`Client`](crate::Client):
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

    /// Tells how much was sent of what the call sends: for each piece, and from the beginning where it has
    /// to be sent again. [`RawAnswer::progress`] does so for what it answers with, and
    /// [`Operation::progress`] for what the server does in the background.
    ///
    /// ```no_run
    /// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
    /// use lxd_client::Body;
    ///
    /// let backup = Body::file("t1.tar.gz").await?;
    /// lxd.restore_instance_backup(backup)
    ///     .progress(|done| println!("{} of {:?} bytes", done.bytes, done.total))
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn progress(mut self, report: impl FnMut(Transferred) + Send + 'static) -> Self {
        self.request.report = Some(Report::new(report));
        self
    }

    /// The call as errors name it.
    pub(crate) fn shown(&self) -> String {
        self.request.name()
    }

    pub(crate) fn client(&self) -> Client {
        self.request.client.clone()
    }

    /// The project that it is for, where one is named.
    pub(crate) fn project_named(&self) -> Option<String> {
        self.request.project().map(str::to_owned)
    }

    /// What it sends, where that is an object of JSON.
    pub(crate) fn sent_object(&self) -> Option<Map<String, Value>> {
        serde_json::from_slice(self.request.body.at_hand()?).ok()
    }

    /// Changes what it sends, where that is an object of JSON. What is none is refused by the server.
    pub(crate) fn change_sent_object(&mut self, change: impl FnOnce(&mut Map<String, Value>)) {
        if let Some(mut body) = self.sent_object() {
            change(&mut body);
            self.request.send_this(Sent::Json(serde_json::to_vec(&body)));
        }
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
        T::receive(request).await
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
    type IntoFuture = Running<T>;

    fn into_future(self) -> Running<T> {
        Running(T::receive(self.request))
    }
}

/// A call that runs while it is polled, which is what `.await` does. To drop it is to give it up: the server
/// may have done what it was told by then.
#[must_use = "a call runs while it is polled"]
pub struct Running<T>(sealed::Receiving<T>);

impl<T> Future for Running<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context).map_ok(|response| response.value)
    }
}

impl<T> fmt::Debug for Running<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Running")
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
        fn receive(request: Box<Request>) -> Receiving<Self>;
    }
}

impl<T: Read + Default + Send + 'static> sealed::Sealed for T {
    #[allow(private_interfaces)]
    fn receive(request: Box<Request>) -> sealed::Receiving<T> {
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
    fn receive(mut request: Box<Request>) -> sealed::Receiving<Self> {
        Box::pin(async move {
            let call = request.name();
            let limits = request.limits();
            let (response, lease) = request.send(&call).await?;
            let (head, body) = response.into_parts();
            let body = Arriving::new(body, limits);
            let value = RawAnswer::new(call, head.headers.clone(), body, lease);
            Ok(Response { value, headers: head.headers, status: head.status.as_u16() })
        })
    }
}

impl sealed::Sealed for Connection {
    #[allow(private_interfaces)]
    fn receive(request: Box<Request>) -> sealed::Receiving<Self> {
        let protocol = request.endpoint.path.rsplit('/').next().unwrap_or_default();
        let call = request.name();
        Box::pin(request.upgrade(call, protocol))
    }
}

impl sealed::Sealed for WebSocket {
    #[allow(private_interfaces)]
    fn receive(request: Box<Request>) -> sealed::Receiving<Self> {
        Box::pin(request.websocket(WebSocketConfig::default()))
    }
}

impl sealed::Sealed for Events {
    #[allow(private_interfaces)]
    fn receive(request: Box<Request>) -> sealed::Receiving<Self> {
        Box::pin(Events::open(request))
    }
}

#[cfg(test)]
mod tests {
    use std::future::IntoFuture;

    use crate::Client;

    fn client() -> Client {
        Client::builder().endpoint("http://127.0.0.1:1").build().unwrap()
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
