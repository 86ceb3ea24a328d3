//! Expectations: which calls are meant, and what they are answered. That they are is left to `serving`.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName};
use lxd_types::wire::{self, Read, Write};
use serde_json::{Map, Value, json};

use super::{Accepts, Answer, Came, Line, Manner, Served, Shared};
use crate::answer::RawAnswer;

/// What is to come of a call, of which `B` is the body and `R` what it answers with. It counts from the moment
/// at which it is said what is answered.
#[must_use = "say what is answered, or what is to be asserted"]
pub struct Expectation<B, R> {
    pub(super) shared: Arc<Shared>,
    served: &'static Served,
    arguments: Vec<String>,
    accepts: Option<Accepts>,
    manner: Manner,
    marker: PhantomData<fn() -> (B, R)>,
}

/// A call that came.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MockCall<B> {
    /// What it sent.
    pub body: B,
    /// Its query, with the project.
    pub query: BTreeMap<String, String>,
    /// Its headers.
    pub headers: HeaderMap,
}

/// The bytes that a call sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Uploaded(pub Bytes);

/// What a call can send.
pub trait MockBody: sealed::Sealed {}

impl<B: sealed::Sealed> MockBody for B {}

mod sealed {
    /// How a body is read.
    pub trait Sealed: Sized {
        #[doc(hidden)]
        fn of(bytes: &bytes::Bytes) -> Option<Self>;
    }
}

impl<B: Read + Default> sealed::Sealed for B {
    fn of(bytes: &Bytes) -> Option<Self> {
        let mut body = B::default();
        if !bytes.is_empty() {
            wire::from_json(bytes, &mut body).ok()?;
        }
        Some(body)
    }
}

impl sealed::Sealed for Uploaded {
    fn of(bytes: &Bytes) -> Option<Self> {
        Some(Self(bytes.clone()))
    }
}

impl<B, R> Expectation<B, R> {
    pub(super) fn new(shared: Arc<Shared>, served: &'static Served, arguments: Vec<String>) -> Self {
        let (accepts, manner) = (None, Manner::default());
        Self { shared, served, arguments, accepts, manner, marker: PhantomData }
    }

    /// Answers after that time only, which passes at once where Tokio's time is paused.
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.manner.delay = Some(delay);
        self
    }

    /// Answers one call only. Of several such that fit, the first that is left does, before those that answer any
    /// number of calls: so a test says what is answered in turn.
    pub fn once(mut self) -> Self {
        self.manner.once = true;
        self
    }

    /// Adds a header to the answer, such as `etag`.
    ///
    /// # Panics
    ///
    /// Where it cannot be one.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("the name of a header");
        self.manner.headers.insert(name, value.parse().expect("the value of a header"));
        self
    }

    /// Breaks off in the middle of the answer.
    pub fn cut(self) {
        self.answer(Answer::Cut);
    }

    /// Answers with these bytes in the place of JSON.
    pub fn malformed(self, bytes: impl Into<Bytes>) {
        self.answer(Answer::Malformed(bytes.into()));
    }

    /// Refuses the call, with a status such as 404 and the server's words.
    pub fn error(self, status: u16, message: &str) {
        self.answer(Answer::Error(status, message.to_owned()));
    }

    /// Begins a background operation; what is called on that says how it ends.
    pub fn operation(self) -> MockOperation<B, R> {
        MockOperation { expectation: self, progress: Vec::new() }
    }

    /// Makes sure that the call came so many times until now, expected or not. (The client itself asks for
    /// `GET /1.0` and for events, when it begins to follow operations.)
    ///
    /// # Panics
    ///
    /// Where it did not.
    pub fn assert_called(&self, times: usize) {
        let came = self.calls().len();
        let called = format!("{} {} ({})", self.served.method, self.served.path, self.served.id);
        assert!(came == times, "{called} came {came} times, not {times}");
    }

    fn calls(&self) -> Vec<Arc<Came>> {
        // Not under the lock: what the test says may look at the mock.
        let came: Vec<_> = self.shared.lock().came.iter().map(|(came, _)| Arc::clone(came)).collect();
        came.into_iter().filter(|came| self.means(came)).collect()
    }

    /// Whether a request is meant.
    pub(super) fn means(&self, came: &Came) -> bool {
        came.is(self.served, &self.arguments) && self.accepts.as_ref().is_none_or(|accepts| accepts(came))
    }

    pub(super) fn answer(self, answer: Answer) {
        let Self { shared, served, arguments, accepts, manner, .. } = self;
        let line = Line { served, arguments, accepts, answer, manner, is_used: AtomicBool::new(false) };
        shared.lock().script.push(Arc::new(line));
    }
}

impl<B: MockBody, R> Expectation<B, R> {
    /// Means only the calls that are so. What cannot be read as the body is none of them. What is given here may
    /// look at other expectations, but must not keep the mock itself alive.
    pub fn when(mut self, is_meant: impl Fn(&MockCall<B>) -> bool + Send + Sync + 'static) -> Self {
        let before = self.accepts.take();
        self.accepts = Some(Arc::new(move |came| {
            before.as_ref().is_none_or(|accepts| accepts(came))
                && call(came).is_some_and(|call| is_meant(&call))
        }));
        self
    }

    /// The calls that came until now, expected or not. What cannot be read as the body is left out.
    pub fn received(&self) -> Vec<MockCall<B>> {
        self.calls().iter().filter_map(|came| call(came)).collect()
    }
}

fn call<B: MockBody>(came: &Came) -> Option<MockCall<B>> {
    let (query, headers) = (came.query.clone(), came.headers.clone());
    Some(MockCall { body: B::of(&came.body)?, query, headers })
}

impl<B, R: Write> Expectation<B, R> {
    /// Answers with a value.
    ///
    /// # Panics
    ///
    /// Where it cannot be written as JSON.
    pub fn reply(self, value: R) {
        self.answer(Answer::Value(wire::to_json(&value).expect("a value that can be sent")));
    }
}

impl<B> Expectation<B, RawAnswer> {
    /// Answers with bytes.
    pub fn reply(self, bytes: impl Into<Bytes>) {
        self.answer(Answer::Bytes(bytes.into()));
    }
}

impl<B, R> fmt::Debug for Expectation<B, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Expectation").field(&self.served.id).finish()
    }
}

/// A background operation that a call begins. It ends at once, and tells its progress before.
#[must_use = "say how it ends"]
#[derive(Debug)]
pub struct MockOperation<B, R> {
    expectation: Expectation<B, R>,
    progress: Vec<String>,
}

impl<B, R> MockOperation<B, R> {
    /// Tells a progress, in words such as `rootfs: 50% (12.50MB/s)`.
    pub fn progress(mut self, text: &str) -> Self {
        self.progress.push(text.to_owned());
        self
    }

    /// Ends well.
    pub fn succeed(self) {
        self.end(200, "", Value::Null);
    }

    /// Fails, with the server's words.
    pub fn fail(self, message: &str) {
        self.end(400, message, Value::Null);
    }

    /// Is cancelled.
    pub fn cancelled(self) {
        self.end(401, "", Value::Null);
    }

    fn end(self, status: u16, error: &str, metadata: Value) {
        let (progress, error) = (self.progress, error.to_owned());
        self.expectation.answer(Answer::Operation { progress, status, error, metadata });
    }
}

impl<B, R: Write> MockOperation<B, R> {
    /// Ends well, with this as its result.
    ///
    /// # Panics
    ///
    /// Where it cannot be written as JSON.
    pub fn succeed_with(self, value: R) {
        let json = wire::to_json(&value).expect("a value that can be sent");
        self.end(200, "", serde_json::from_slice(&json).expect("what was written"));
    }
}

/// An operation as the server tells it.
pub(super) fn told(id: &str, status: u16, error: &str, metadata: Value) -> Value {
    let words = match status {
        103 => "Running",
        200 => "Success",
        401 => "Cancelled",
        _ => "Failure",
    };
    let time = "2026-01-01T00:00:00Z";
    json!({
        "id": id, "class": "task", "description": "Mocked operation", "created_at": time, "updated_at": time,
        "status": words, "status_code": status, "resources": null, "metadata": metadata,
        "may_cancel": false, "err": error, "location": "none",
    })
}

/// The metadata of an operation that tells a progress.
pub(super) fn progress(text: &str) -> Value {
    Value::Object(Map::from_iter([("mock_progress".to_owned(), json!(text))]))
}
