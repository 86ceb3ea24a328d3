//! What a request sends: nothing, bytes that are at hand, or bytes as they come.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http_body::{Frame, SizeHint};
use ring::digest;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::answer::RawAnswer;
use crate::error::{BoxError, Error};
use crate::images::fingerprint;
use crate::images::form::Form;
use crate::local::{Kept, Pieces, Source, unreadable};
use crate::transferred::{Counter, Report};

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
    /// How many bytes are left to send, where that is known of a stream.
    left: Option<u64>,
    pace: Option<Pace>,
    counter: Counter,
}

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Bytes(Bytes),
    /// What is to come, and the rest of what has come; so below.
    File(Pieces, Bytes),
    Form(Form),
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>, Bytes),
}

impl Body {
    fn new(kind: Kind) -> Self {
        Self { kind, ..Self::default() }
    }

    /// What is in a file, which is read while it is sent.
    ///
    /// ```no_run
    /// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
    /// use lxd_client::Body;
    ///
    /// lxd.restore_instance_backup(Body::file("t1.tar.gz").await?).name("t2").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Local`] where it cannot be opened, or is no file: [`reader`](Self::reader) takes pipes too.
    pub async fn file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let file = Source::open(path).await?;
        match file.length {
            // Files that the system makes up, such as those of /proc, do not say how long they are.
            0 => Ok(Self::reader(file.reader().map_err(|error| unreadable(path, error))?)),
            _ => Ok(file.into()),
        }
    }

    /// Bytes as they come; the request ends when the stream does. To upload an image, the whole stream has to
    /// be read before, as the fingerprint goes first: it is kept in a file in the temporary folder
    /// (`$TMPDIR`), unless the fingerprint is given.
    pub fn stream(stream: impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static) -> Self {
        struct Boxed<S>(Pin<Box<S>>);
        impl<S: Stream<Item = Result<Bytes, std::io::Error>>> Stream for Boxed<S> {
            type Item = Result<Bytes, BoxError>;

            fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                self.0.as_mut().poll_next(context).map_err(Into::into)
            }
        }
        Self::new(Kind::Stream(Box::pin(Boxed(Box::pin(stream))), Bytes::new()))
    }

    /// What a reader gives, as in [`stream`](Self::stream).
    ///
    /// ```
    /// use lxd_client::Body;
    ///
    /// let body = Body::reader(tokio::io::stdin());
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
        Self::new(Kind::Stream(Box::pin(pieces), Bytes::new()))
    }

    /// The two files of a container's image, for an upload: its metadata and its root file system.
    ///
    /// ```no_run
    /// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
    /// use lxd_client::Body;
    ///
    /// let (metadata, rootfs) = (Body::file("meta.tar.xz").await?, Body::file("rootfs.squashfs").await?);
    /// let image = lxd.upload_image(Body::split_image(metadata, rootfs)).public(true).await?;
    /// println!("{}", image.fingerprint);
    /// # Ok(())
    /// # }
    /// ```
    pub fn split_image(metadata: impl Into<Self>, rootfs: impl Into<Self>) -> Self {
        Self::form([("metadata", metadata.into()), ("rootfs", rootfs.into())])
    }

    /// The two files of a virtual machine's image, for an upload: its metadata and its disk.
    pub fn split_virtual_machine_image(metadata: impl Into<Self>, disk: impl Into<Self>) -> Self {
        Self::form([("metadata", metadata.into()), ("rootfs.img", disk.into())])
    }

    fn form(parts: [(&str, Self); 2]) -> Self {
        let form = Form::new(parts);
        Self { left: form.length(), ..Self::new(Kind::Form(form)) }
    }

    /// Says how many bytes a stream or a reader gives, so that the server knows, and
    /// [`Call::progress`](crate::Call::progress) can tell. What is more than that is not sent; where there is
    /// less, the request fails.
    ///
    /// ```
    /// use lxd_client::Body;
    ///
    /// let body = Body::reader(&b"text"[..]).length(4);
    /// ```
    pub fn length(mut self, bytes: u64) -> Self {
        if matches!(self.kind, Kind::Stream(..)) {
            self.left = Some(bytes);
        }
        self
    }

    /// What a server answers with.
    pub(crate) fn answer(answer: RawAnswer) -> Self {
        let left = answer.length();
        Self { left, ..Self::stream(Answered(answer)) }
    }

    /// The same once more, where it is at hand.
    pub(crate) fn copy(&self) -> Option<Self> {
        let kind = match &self.kind {
            Kind::Empty => Kind::Empty,
            Kind::Bytes(bytes) => Kind::Bytes(bytes.clone()),
            Kind::File(pieces, _) => Kind::File(pieces.source().pieces(), Bytes::new()),
            Kind::Form(form) => Kind::Form(form.copy()?),
            Kind::Stream(..) => return None,
        };
        Some(Self { kind, left: self.left, pace: None, counter: self.counter.again() })
    }

    /// Tells somebody how much of it was sent.
    pub(crate) fn report_to(&mut self, report: Option<Report>) {
        self.counter = Counter::new(report, self.known_length());
    }

    /// How many bytes it has, where that is known.
    pub(crate) fn known_length(&self) -> Option<u64> {
        http_body::Body::size_hint(self).exact()
    }

    /// The type of what it sends.
    pub(crate) fn content_type(&self) -> Cow<'static, str> {
        match &self.kind {
            Kind::Form(form) => form.content_type().into(),
            _ => "application/octet-stream".into(),
        }
    }

    /// The hash of what it sends, which of a form is that of its parts, and a body that sends the same. What
    /// can be read only once is kept in a file.
    pub(crate) async fn hashed(
        mut self,
        mut hash: digest::Context,
    ) -> Result<(digest::Context, Self), Error> {
        match &mut self.kind {
            Kind::Empty => {}
            Kind::Bytes(bytes) => hash = fingerprint::of_bytes(hash, bytes.clone()).await?,
            Kind::File(pieces, _) => hash = pieces.source().hash(hash).await.map_err(unhashed)?,
            Kind::Form(form) => {
                for part in form.parts() {
                    (hash, *part) = Box::pin(std::mem::take(part).hashed(hash)).await?;
                }
                self.left = form.length();
            }
            Kind::Stream(..) => {
                let mut kept = Kept::new().await.map_err(unhashed)?;
                while let Some(bytes) = poll_fn(|context| self.poll_bytes(context)).await {
                    let bytes = bytes.map_err(|error| unhashed(io::Error::other(error)))?;
                    hash.update(&bytes);
                    kept.write(bytes).await.map_err(unhashed)?;
                }
                self = kept.finish().await.map_err(unhashed)?.into();
            }
        }
        Ok((hash, self))
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.kind, Kind::Empty)
    }

    /// The bytes, where all of them are at hand.
    pub(crate) fn at_hand(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Bytes(bytes) => Some(bytes),
            Kind::Empty | Kind::File(..) | Kind::Form(_) | Kind::Stream(..) => None,
        }
    }

    /// Whether it may take long to send.
    pub(crate) fn is_long(&self) -> bool {
        match &self.kind {
            Kind::Empty => false,
            Kind::Bytes(bytes) => bytes.len() > PIECE,
            Kind::File(..) | Kind::Form(_) | Kind::Stream(..) => true,
        }
    }

    /// The next bytes to send.
    pub(crate) fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        let left = self.left;
        let polled = match &mut self.kind {
            _ if left == Some(0) => Poll::Ready(None),
            Kind::Empty => Poll::Ready(None),
            Kind::Bytes(bytes) => {
                let piece = bytes.split_to(bytes.len().min(PIECE));
                if bytes.is_empty() {
                    self.kind = Kind::Empty;
                }
                Poll::Ready(Some(Ok(piece)))
            }
            Kind::File(pieces, rest) => poll_piece(rest, left, || Pin::new(pieces).poll_next(context)),
            Kind::Form(form) => form.poll_next(context),
            Kind::Stream(stream, rest) => poll_piece(rest, left, || stream.as_mut().poll_next(context)),
        };
        if let Some(pace) = &self.pace {
            pace.note(polled.is_ready().then(Instant::now));
        }
        match ready!(polled) {
            Some(Ok(piece)) => {
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(piece.len() as u64);
                }
                self.counter.add(piece.len() as u64);
                Poll::Ready(Some(Ok(piece)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                let missing = self.left.filter(|left| *left > 0).map(|left| {
                    let message = format!("it ended {left} bytes too early");
                    Err(io::Error::new(io::ErrorKind::UnexpectedEof, message).into())
                });
                Poll::Ready(missing)
            }
        }
    }

    /// Notes when it was last asked for more from now on.
    pub(crate) fn paced(&mut self) -> Pace {
        self.pace.insert(Pace::new()).clone()
    }
}

/// The bytes of an answer. What becomes of them is told as it is told of other streams.
struct Answered(RawAnswer);

impl Stream for Answered {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(context).map_err(io::Error::other)
    }
}

/// The next piece of what comes, and the rest of it for the next time.
fn poll_piece(
    rest: &mut Bytes,
    left: Option<u64>,
    poll: impl FnOnce() -> Poll<Option<Result<Bytes, BoxError>>>,
) -> Poll<Option<Result<Bytes, BoxError>>> {
    let polled = match rest.is_empty() {
        true => poll(),
        false => Poll::Ready(Some(Ok(std::mem::take(rest)))),
    };
    polled.map_ok(|mut bytes| {
        let most = left.and_then(|left| usize::try_from(left).ok()).unwrap_or(PIECE).min(PIECE);
        let piece = bytes.split_to(bytes.len().min(most));
        *rest = bytes;
        piece
    })
}

fn unhashed(source: io::Error) -> Error {
    Error::Local { message: "what is to be uploaded cannot be read".to_owned(), source }
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
        Self::new(if bytes.is_empty() { Kind::Empty } else { Kind::Bytes(bytes) })
    }
}

impl From<Source> for Body {
    fn from(file: Source) -> Self {
        Self { kind: Kind::File(file.pieces(), Bytes::new()), left: Some(file.length), ..Self::default() }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the bytes: they may hold secrets.
        match &self.kind {
            Kind::Empty => formatter.write_str("Body(empty)"),
            Kind::Bytes(bytes) => write!(formatter, "Body({} bytes)", bytes.len()),
            Kind::File(..) => formatter.write_str("Body(file)"),
            Kind::Form(_) => formatter.write_str("Body(form)"),
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
        self.poll_bytes(context).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty() || self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.kind, self.left) {
            (Kind::Empty, _) => SizeHint::with_exact(0),
            (Kind::Bytes(bytes), _) => SizeHint::with_exact(bytes.len() as u64),
            (_, Some(left)) => SizeHint::with_exact(left),
            (Kind::File(..) | Kind::Form(_) | Kind::Stream(..), None) => SizeHint::new(),
        }
    }
}

/// A body in a box, as a connection keeps room for 32 requests; but for the one that has nothing to send.
pub(crate) struct Boxed(Option<Box<Body>>);

impl From<Body> for Boxed {
    fn from(body: Body) -> Self {
        Self((!body.is_empty()).then(|| Box::new(body)))
    }
}

impl From<Boxed> for Body {
    fn from(Boxed(body): Boxed) -> Self {
        body.map(|body| *body).unwrap_or_default()
    }
}

impl http_body::Body for Boxed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), |body| body.size_hint())
    }
}
