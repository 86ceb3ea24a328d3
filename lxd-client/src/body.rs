//! What a request sends: nothing, bytes that are at hand, or bytes as they come.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::error::BoxError;

/// How many bytes are passed on at once: between two pieces it is seen that the server takes them.
const PIECE: usize = 64 << 10;

/// The bytes that a request sends.
///
/// ```
/// use lxd_client::Body;
///
/// let all_at_once = Body::from("text");
/// ```
#[derive(Default)]
pub struct Body {
    kind: Kind,
    pace: Option<Pace>,
}

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Bytes(Bytes),
    /// What is to come, and the rest of what has come.
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>, Bytes),
}

impl Body {
    /// Bytes as they come; the request ends when the stream does.
    pub fn stream(stream: impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static) -> Self {
        struct Boxed<S>(Pin<Box<S>>);
        impl<S: Stream<Item = Result<Bytes, std::io::Error>>> Stream for Boxed<S> {
            type Item = Result<Bytes, BoxError>;

            fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                self.0.as_mut().poll_next(context).map_err(Into::into)
            }
        }
        Self { kind: Kind::Stream(Box::pin(Boxed(Box::pin(stream))), Bytes::new()), pace: None }
    }

    /// What a reader gives, such as a file.
    ///
    /// ```no_run
    /// # async fn run() -> std::io::Result<()> {
    /// use lxd_client::Body;
    ///
    /// let body = Body::reader(tokio::fs::File::open("image.tar.gz").await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reader(reader: impl AsyncRead + Send + 'static) -> Self {
        struct Pieces<R>(Pin<Box<R>>, BytesMut);
        impl<R: AsyncRead> Stream for Pieces<R> {
            type Item = Result<Bytes, BoxError>;

            fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                let Self(reader, room) = &mut *self;
                room.resize(PIECE, 0);
                let mut buffer = ReadBuf::new(room);
                ready!(reader.as_mut().poll_read(context, &mut buffer))?;
                let count = buffer.filled().len();
                Poll::Ready((count > 0).then(|| Ok(room.split_to(count).freeze())))
            }
        }
        let pieces = Pieces(Box::pin(reader), BytesMut::new());
        Self { kind: Kind::Stream(Box::pin(pieces), Bytes::new()), pace: None }
    }

    /// The same once more, where it is at hand.
    pub(crate) fn copy(&self) -> Option<Self> {
        let kind = match &self.kind {
            Kind::Empty => Kind::Empty,
            Kind::Bytes(bytes) => Kind::Bytes(bytes.clone()),
            Kind::Stream(..) => return None,
        };
        Some(Self { kind, pace: None })
    }

    /// The bytes, where all of them are at hand.
    pub(crate) fn at_hand(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Bytes(bytes) => Some(bytes),
            Kind::Empty | Kind::Stream(..) => None,
        }
    }

    /// Whether it may take long to send.
    pub(crate) fn is_long(&self) -> bool {
        match &self.kind {
            Kind::Empty => false,
            Kind::Bytes(bytes) => bytes.len() > PIECE,
            Kind::Stream(..) => true,
        }
    }

    /// Notes when it was last asked for more from now on.
    pub(crate) fn paced(&mut self) -> Pace {
        self.pace.insert(Pace::new()).clone()
    }
}

/// How a body goes out: when the server last took some of it.
#[derive(Clone)]
pub(crate) struct Pace {
    /// Nothing while it is the body that has nothing to send.
    last: Arc<Mutex<Option<Instant>>>,
}

impl Pace {
    fn new() -> Self {
        Self { last: Arc::new(Mutex::new(Some(Instant::now()))) }
    }

    fn note(&self, last: Option<Instant>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    /// Since when the server is silent.
    pub(crate) fn since(&self) -> Instant {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Instant::now)
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        let bytes = bytes.into();
        Self { kind: if bytes.is_empty() { Kind::Empty } else { Kind::Bytes(bytes) }, pace: None }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the bytes: they may hold secrets.
        match &self.kind {
            Kind::Empty => formatter.write_str("Body(empty)"),
            Kind::Bytes(bytes) => write!(formatter, "Body({} bytes)", bytes.len()),
            Kind::Stream(..) => formatter.write_str("Body(stream)"),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Bytes(bytes) => {
                let piece = bytes.split_to(bytes.len().min(PIECE));
                if bytes.is_empty() {
                    self.kind = Kind::Empty;
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Kind::Stream(stream, rest) => {
                let polled = match rest.is_empty() {
                    true => stream.as_mut().poll_next(context),
                    false => Poll::Ready(Some(Ok(std::mem::take(rest)))),
                };
                polled.map_ok(|mut bytes| {
                    let piece = bytes.split_to(bytes.len().min(PIECE));
                    *rest = bytes;
                    Frame::data(piece)
                })
            }
        };
        if let Some(pace) = &self.pace {
            pace.note(polled.is_ready().then(Instant::now));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(..) => SizeHint::new(),
        }
    }
}
