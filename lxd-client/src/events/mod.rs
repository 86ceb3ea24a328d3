//! The server's events as a stream of typed values. The socket that they come from is left to `feed`.

pub(crate) mod feed;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use jiff::Timestamp;
use lxd_types::wire::{self, Incoming, Read, Refused};
use lxd_types::{EventLifecycle, EventLogging, Operation};
use serde_json::Value;

use self::feed::{Feed, Step, small};
use crate::call::{Answers, Call, Endpoint, Request, Response, Sent};
use crate::client::Client;
use crate::error::Error;

const EVENTS: Endpoint = Endpoint {
    id: "events_get",
    method: "GET",
    path: "/1.0/events",
    query: "",
    answers: Answers::Events,
    project: true,
    target: false,
    background: false,
};

/// The request for the events of the operations of a project.
pub(crate) fn of_operations(client: &Client, project: &str) -> Box<Request> {
    let mut request = Request::new(Sent::Nothing, client, &EVENTS, &[]);
    request.query("type", &"operation");
    request.query("project", &project);
    request
}

/// The events of a server (`GET /1.0/events`), as a stream.
///
/// The socket that they come from is opened again when it breaks, for as long as it takes. What was sent
/// meanwhile is lost, as the server sends nothing twice: [`EventContent::Gap`] marks where that may be. The
/// server does not keep the order of events that follow each other closely.
///
/// ```no_run
/// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
/// use futures_util::StreamExt;
/// use lxd_client::EventContent;
///
/// let mut events = lxd.events().types(["lifecycle", "logging"]).all_projects(true).await?;
/// while let Some(event) = events.next().await {
///     let event = event?;
///     match event.content {
///         EventContent::Lifecycle(change) => println!("{}: {}", change.action, change.source),
///         EventContent::Logging(line) => println!("{}: {}", line.level, line.message),
///         EventContent::Gap => println!("there may have been others"),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// An item is an error where an event cannot be understood, which is passed over, and where the server
/// refuses to go on after a connection broke, which is the end of the stream.
pub struct Events {
    call: String,
    feed: Option<Feed>,
}

impl Events {
    pub(crate) async fn open(request: Box<Request>) -> Result<Response<Self>, Error> {
        let call = request.name();
        let again = request.repeated();
        let Response { value, headers, status } = request.websocket(small()).await?;
        let feed = Some(Feed::of(value, again));
        Ok(Response { value: Self { call, feed }, headers, status })
    }
}

impl<P> Call<Events, P> {
    /// The types of events to receive, such as `operation`, `lifecycle` and `logging`; without them, the
    /// server chooses. What types there are depends on the server (see
    /// [`EventType`](crate::types::EventType)); it refuses those that it does not know.
    pub fn types<T: fmt::Display>(self, types: impl IntoIterator<Item = T>) -> Self {
        let types: Vec<String> = types.into_iter().map(|kind| kind.to_string()).collect();
        self.query("type", &types.join(","))
    }
}

impl Stream for Events {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Some(feed) = &mut self.feed else { return Poll::Ready(None) };
            match ready!(feed.poll_step(context)) {
                Step::Event(text) => {
                    let event = Event::of(&text).map_err(|error| Error::decode(self.call.clone(), error));
                    return Poll::Ready(Some(event));
                }
                Step::Opened => return Poll::Ready(Some(Ok(Event::default()))),
                // Others may pass, and a broken connection is what is to be mended here.
                Step::Broken { error, .. } if !error.may_pass() => {
                    self.feed = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Step::Broken { .. } => {}
            }
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Events").field("call", &self.call).finish_non_exhaustive()
    }
}

/// Something that happened on the server.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// When.
    pub timestamp: Option<Timestamp>,
    /// The name of the cluster member that it comes from; empty or `none` where there is no cluster.
    pub location: String,
    /// The project that it belongs to; empty where it belongs to none.
    pub project: String,
    /// What.
    pub content: EventContent,
}

/// What an event tells.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum EventContent {
    /// How far a background operation is.
    Operation(Operation),
    /// That something was made, changed or removed.
    Lifecycle(EventLifecycle),
    /// A line of the server's log.
    Logging(EventLogging),
    /// An event of another type.
    Other {
        /// The type.
        r#type: String,
        /// What it tells, as the server sent it.
        metadata: Value,
    },
    /// Nothing that happened: the connection broke and is there again, and events may have been missed in
    /// between.
    #[default]
    Gap,
}

impl Event {
    fn of(json: &str) -> Result<Self, serde_json::Error> {
        let mut raw = RawEvent::default();
        wire::from_json(json.as_bytes(), &mut raw)?;
        let content = match raw.kind.as_str() {
            "operation" => EventContent::Operation(content(&raw.metadata)?),
            "lifecycle" => EventContent::Lifecycle(content(&raw.metadata)?),
            "logging" => EventContent::Logging(content(&raw.metadata)?),
            _ => EventContent::Other { r#type: raw.kind, metadata: raw.metadata },
        };
        Ok(Self { timestamp: raw.timestamp, location: raw.location, project: raw.project, content })
    }
}

fn content<T: Read + Default>(metadata: &Value) -> Result<T, serde_json::Error> {
    let mut content = T::default();
    wire::from_value(metadata, &mut content)?;
    Ok(content)
}

/// An event whose type is not looked at yet.
#[derive(Default)]
struct RawEvent {
    kind: String,
    timestamp: Option<Timestamp>,
    location: String,
    project: String,
    metadata: Value,
}

impl Read for RawEvent {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        wire::read_fields(self, value)
    }

    fn field(&mut self, name: &str) -> Option<&mut dyn Read> {
        Some(match name {
            "type" => &mut self.kind,
            "timestamp" => &mut self.timestamp,
            "location" => &mut self.location,
            "project" => &mut self.project,
            "metadata" => &mut self.metadata,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, EventContent};

    #[test]
    fn known_types_are_typed_and_others_are_kept() {
        let event = Event::of(
            r#"{"type":"lifecycle","timestamp":"2026-01-31T12:00:00.5+01:00","location":"none","project":"p",
                "metadata":{"action":"instance-created","source":"/1.0/instances/t1?project=p",
                "context":{"type":"container"},"requestor":{"username":"root","protocol":"unix","address":"@"}}}"#,
        )
        .unwrap();
        assert_eq!((event.location.as_str(), event.project.as_str()), ("none", "p"));
        assert_eq!(event.timestamp, "2026-01-31T11:00:00.5Z".parse().ok());
        let EventContent::Lifecycle(change) = event.content else { panic!("{event:?}") };
        assert_eq!(
            (change.action.as_str(), change.source.as_str()),
            ("instance-created", "/1.0/instances/t1?project=p")
        );
        assert_eq!(change.context["type"], "container");
        assert_eq!(change.requestor.map(|requestor| requestor.protocol).as_deref(), Some("unix"));

        let event =
            Event::of(r#"{"metadata":{"message":"hi","level":"info","context":null},"type":"logging"}"#);
        let EventContent::Logging(line) = event.unwrap().content else { panic!() };
        assert_eq!((line.message.as_str(), line.level.as_str()), ("hi", "info"));

        let event = Event::of(r#"{"type":"operation","metadata":{"id":"u","status_code":103}}"#);
        let EventContent::Operation(operation) = event.unwrap().content else { panic!() };
        assert_eq!(operation.id, "u");
        assert_eq!(operation.status_code, 103);

        let event = Event::of(r#"{"type":"ovn","metadata":{"a":[1]}}"#).unwrap();
        let metadata = serde_json::json!({"a": [1]});
        assert_eq!(event.content, EventContent::Other { r#type: "ovn".into(), metadata });

        for bad in ["", "[]", r#"{"type":"logging","metadata":"no"}"#, r#"{"type":5}"#] {
            assert!(Event::of(bad).is_err(), "{bad}");
        }
    }
}
