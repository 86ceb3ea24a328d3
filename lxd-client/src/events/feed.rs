//! The socket of the server's events, which is opened again when it breaks. What the events say is
//! left to its users.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use futures_sink::Sink;
use tokio::time::{Instant, Sleep, sleep};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

use crate::answer::WebSocket;
use crate::backoff::Backoff;
use crate::call::Request;
use crate::error::Error;

/// How often it is looked whether the server is silent: then it is asked whether it is there, and if it
/// still is by the next look, the socket counts as broken. (To measure the time since each event would
/// cost more than the event.)
const LOOK: Duration = Duration::from_secs(15);

/// How long a socket has to live for its end to be a misfortune, and not a habit.
const HEALTHY: Duration = Duration::from_secs(1);

/// How long a refusal counts: who may see events does not change often.
const REFUSED: Duration = Duration::from_secs(60);

/// What a feed tells.
pub(crate) enum Step {
    /// The socket is open, for the first time or again.
    Opened,
    /// An event, as JSON.
    Event(Utf8Bytes),
    /// The socket broke, or could not be opened. It is tried again after a rest.
    Broken {
        /// Why.
        error: Error,
        /// For how long.
        rest: Duration,
    },
}

/// A socket on its way.
type Opening = Pin<Box<dyn Future<Output = Result<WebSocket, Error>> + Send>>;

/// What the server tells, and what becomes of the socket, without an end.
pub(crate) struct Feed {
    /// What opens the socket.
    request: Box<Request>,
    phase: Phase,
    backoff: Backoff,
}

enum Phase {
    Opening(Opening),
    Open(Box<Open>),
    Resting(Pin<Box<Sleep>>),
}

impl Feed {
    /// A feed whose socket this request opens.
    pub(crate) fn new(request: Box<Request>) -> Self {
        let phase = Phase::Opening(opening(&request));
        Self { request, phase, backoff: Backoff::default() }
    }

    /// A feed that has a socket already.
    pub(crate) fn of(socket: WebSocket, request: Box<Request>) -> Self {
        let phase = Phase::Open(Box::new(Open::new(socket)));
        Self { request, phase, backoff: Backoff::default() }
    }

    /// What it tells next.
    pub(crate) fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        loop {
            let error = match &mut self.phase {
                Phase::Resting(sleep) => {
                    ready!(sleep.as_mut().poll(context));
                    self.phase = Phase::Opening(opening(&self.request));
                    continue;
                }
                Phase::Opening(opening) => match ready!(opening.as_mut().poll(context)) {
                    Ok(socket) => {
                        self.phase = Phase::Open(Box::new(Open::new(socket)));
                        return Poll::Ready(Step::Opened);
                    }
                    Err(error) => error,
                },
                Phase::Open(open) => match ready!(open.poll_event(context)) {
                    Ok(event) => return Poll::Ready(Step::Event(event)),
                    Err(error) => {
                        if open.since.elapsed() >= HEALTHY {
                            self.backoff.reset();
                        }
                        error
                    }
                },
            };
            let rest = if error.is_forbidden() { REFUSED } else { self.backoff.rest() };
            self.phase = Phase::Resting(Box::pin(sleep(rest)));
            return Poll::Ready(Step::Broken { error, rest });
        }
    }
}

fn opening(request: &Request) -> Opening {
    let opening = request.repeated().websocket(small());
    Box::pin(async move { Ok(opening.await?.value) })
}

/// With small buffers, which are cleared again and again, and held by each socket. For large messages
/// they are no slower.
pub(crate) fn small() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0)
}

/// A socket that is open.
struct Open {
    socket: WebSocket,
    since: Instant,
    /// Looks now and then whether the server is silent.
    look: Pin<Box<Sleep>>,
    silence: Silence,
}

/// How it stands with what the server says.
#[derive(PartialEq)]
enum Silence {
    /// It has said something since the last look.
    Not,
    /// It had said nothing.
    Still,
    /// It was asked if it is there, and has said nothing since.
    Asked,
}

impl Open {
    fn new(socket: WebSocket) -> Self {
        Self { socket, since: Instant::now(), look: Box::pin(sleep(LOOK)), silence: Silence::Still }
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<Utf8Bytes, Error>> {
        loop {
            match Pin::new(&mut self.socket).poll_next(context) {
                Poll::Ready(Some(message)) => {
                    self.silence = Silence::Not;
                    if let Message::Text(text) = message? {
                        return Poll::Ready(Ok(text));
                    }
                }
                Poll::Ready(None) => {
                    return Poll::Ready(Err(self.socket.broken(tungstenite::Error::ConnectionClosed)));
                }
                Poll::Pending => {
                    ready!(self.look.as_mut().poll(context));
                    self.look.as_mut().reset(Instant::now() + LOOK);
                    match self.silence {
                        Silence::Not => self.silence = Silence::Still,
                        Silence::Still => {
                            self.silence = Silence::Asked;
                            // Where there is no room for it, what was sent before is not read either.
                            if Pin::new(&mut self.socket).poll_ready(context)?.is_ready() {
                                Pin::new(&mut self.socket).start_send(Message::Ping(Default::default()))?;
                                let _sent_later = Pin::new(&mut self.socket).poll_flush(context)?;
                            }
                        }
                        Silence::Asked => {
                            let silent = std::io::Error::from(std::io::ErrorKind::TimedOut);
                            return Poll::Ready(Err(self.socket.broken(tungstenite::Error::Io(silent))));
                        }
                    }
                }
            }
        }
    }
}
