//! Images that are downloaded: their one or two files as they come, checked against the fingerprint. The form
//! that two of them come in is left to `form`.

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_core::Stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use ring::digest;
use tokio::io::{AsyncRead, ReadBuf};

use super::form::{Event, Parts, parameter};
use crate::answer::{RawAnswer, hand_out};
use crate::call::{Answers, Call, Endpoint, NoParameters, Request, Sent};
use crate::client::Client;
use crate::error::Error;
use crate::local::Partial;
use crate::transferred::Transferred;

/// The core has its own way there, so that it does not depend on what a description calls it.
pub(crate) static EXPORT: Endpoint = Endpoint {
    id: "image_export_get",
    method: "GET",
    path: "/1.0/images/{fingerprint}/export",
    query: "",
    answers: Answers::Raw,
    project: true,
    target: false,
    background: false,
};

impl Client {
    /// Downloads an image (`GET /1.0/images/{fingerprint}/export`), which is checked against its fingerprint
    /// as it comes. The beginning of a fingerprint is enough, where no other image has it.
    ///
    /// ```no_run
    /// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
    /// let image = lxd.export_image("a3b7c2").await?;
    /// for path in image.save("/srv/images").await? {
    ///     println!("{}", path.display());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn export_image(&self, fingerprint: &str) -> ExportImage {
        let request = Request::new(Sent::Nothing, self, &EXPORT, &[fingerprint]);
        ExportImage { request, fingerprint: fingerprint.to_ascii_lowercase() }
    }
}

/// A download of an image; see [`Client::export_image`]. It begins when this is awaited.
#[must_use = "an image is downloaded when this is awaited"]
pub struct ExportImage {
    request: Box<Request>,
    fingerprint: String,
}

impl ExportImage {
    /// The secret by which a client that the server does not trust may have an image that is not public
    /// (query `secret`). A client that it trusts gets one by
    /// [`initiate_image_upload`](Client::initiate_image_upload).
    pub fn secret(mut self, secret: &str) -> Self {
        self.request.query("secret", &secret);
        self
    }
}

impl IntoFuture for ExportImage {
    type Output = Result<ExportedImage, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { request, fingerprint } = self;
        let receiving = Call::<RawAnswer, NoParameters>::of(request).into_future();
        Box::pin(async move { ExportedImage::new(receiving.await?, fingerprint) })
    }
}

impl fmt::Debug for ExportImage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("ExportImage").field(&self.request.name()).finish()
    }
}

/// What a file of an image holds.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ImageFileKind {
    /// All of the image.
    Unified,
    /// The metadata and templates.
    Metadata,
    /// The root file system of a container.
    RootFileSystem,
    /// The disk of a virtual machine.
    Disk,
}

/// An image that is on its way.
///
/// ```no_run
/// # async fn run(lxd: lxd_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use tokio::io::AsyncReadExt;
///
/// let mut image = lxd.export_image("a3b7c2").await?;
/// while let Some(mut file) = image.next_file().await? {
///     let mut content = Vec::new();
///     file.read_to_end(&mut content).await?;
///     println!("{}, {:?}: {} bytes", file.name(), file.kind(), content.len());
/// }
/// println!("{} is whole", image.fingerprint());
/// # Ok(())
/// # }
/// ```
pub struct ExportedImage {
    answer: RawAnswer,
    /// What the fingerprint has to begin with; after the end, all of it.
    fingerprint: String,
    /// None once it is checked.
    hash: Option<digest::Context>,
    /// Where there are two files.
    parts: Option<Parts>,
    /// That of the file which is on its way.
    name: String,
    kind: ImageFileKind,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Another file may come.
    Between,
    InFile,
    /// All has come and was checked.
    Ended,
    /// It broke off, or is not what it should be.
    Failed,
}

impl ExportedImage {
    fn new(answer: RawAnswer, fingerprint: String) -> Result<Self, Error> {
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let content_type = header(CONTENT_TYPE);
        let parts = match content_type.starts_with("multipart/form-data") {
            true => {
                let parts = Parts::new(content_type);
                Some(parts.map_err(|fault| Error::decode(answer.call().to_owned(), fault))?)
            }
            false => None,
        };
        let name = parameter(header(CONTENT_DISPOSITION), "filename").unwrap_or_default();
        let hash = Some(digest::Context::new(&digest::SHA256));
        let (kind, state) = (ImageFileKind::Unified, State::Between);
        Ok(Self { answer, fingerprint, hash, parts, name, kind, state })
    }

    /// Whether it has two files, one for the metadata and one for the root file system or the disk.
    pub fn is_split(&self) -> bool {
        self.parts.is_some()
    }

    /// Its fingerprint: all of it after the end, before that what was asked for.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Tells how much of it has come, for each piece. The total is not known where there are two files.
    pub fn progress(mut self, report: impl FnMut(Transferred) + Send + 'static) -> Self {
        self.answer = self.answer.progress(report);
        self
    }

    /// The next file; none at the end, when all has come and has the fingerprint that it should have. What
    /// was not read of the file before is thrown away.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] where it has another fingerprint, or is no image; [`Error::Transport`] where the
    /// connection breaks before the end; and [`Error::Timeout`] where nothing comes for too long.
    pub async fn next_file(&mut self) -> Result<Option<ImageFile<'_>>, Error> {
        loop {
            match self.state {
                State::Ended => return Ok(None),
                State::Failed => return Err(self.undecodable("it failed before")),
                State::InFile => {
                    poll_fn(|context| self.poll_bytes(context)).await?;
                }
                State::Between => {
                    if poll_fn(|context| self.poll_file(context)).await? {
                        return Ok(Some(ImageFile { image: self, rest: Bytes::new() }));
                    }
                }
            }
        }
    }

    /// Writes its one or two files into a folder, under the names that the server gives them. They have them
    /// when all has come and has the right fingerprint.
    ///
    /// # Errors
    ///
    /// Those of [`next_file`](Self::next_file), and [`Error::Local`] where they cannot be written.
    pub async fn save(mut self, folder: impl AsRef<Path>) -> Result<Vec<PathBuf>, Error> {
        let (mut paths, mut files) = (Vec::new(), Vec::new());
        while let Some(mut image) = self.next_file().await? {
            let path = folder.as_ref().join(image.local_name());
            if paths.contains(&path) {
                let call = image.image.answer.call().to_owned();
                return Err(Error::decode(call, "its two files have the same name"));
            }
            let mut file = Partial::create(&path, None).await?;
            while let Some(bytes) = image.next().await {
                file.write(bytes?).await?;
            }
            paths.push(path);
            files.push(file);
        }
        for file in files {
            file.finish(None).await?;
        }
        Ok(paths)
    }

    /// Waits for the next file; whether there is one.
    fn poll_file(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        if self.parts.is_none() {
            self.state = State::InFile;
            return Poll::Ready(Ok(true));
        }
        let ended = match ready!(self.poll_event(context)) {
            Ok(Some(Event::Part(name, file))) => match kind(&name) {
                Some(kind) => {
                    (self.kind, self.name, self.state) = (kind, file, State::InFile);
                    return Poll::Ready(Ok(true));
                }
                None => Err(self.undecodable(format!("it has a part `{name}`, which is not known"))),
            },
            Ok(Some(Event::End)) => self.check(),
            Ok(_) => Err(self.undecodable("it ends in the middle of its form")),
            Err(error) => Err(error),
        };
        self.state = if ended.is_ok() { State::Ended } else { State::Failed };
        Poll::Ready(ended.map(|()| false))
    }

    /// The next bytes of the file; none at its end.
    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let next = match self.parts.is_some() {
            false => match ready!(Pin::new(&mut self.answer).poll_next(context)).transpose() {
                Ok(Some(bytes)) => Ok(Some(bytes)),
                Ok(None) => {
                    self.state = State::Ended;
                    self.check().map(|()| None)
                }
                Err(error) => Err(error),
            },
            true => match ready!(self.poll_event(context)) {
                Ok(Some(Event::Bytes(bytes))) => Ok(Some(bytes)),
                Ok(Some(Event::PartEnd)) => {
                    self.state = State::Between;
                    Ok(None)
                }
                Ok(_) => Err(self.undecodable("it ends in the middle of a file")),
                Err(error) => Err(error),
            },
        };
        match (&next, &mut self.hash) {
            (Ok(Some(bytes)), Some(hash)) => hash.update(bytes),
            (Err(_), _) => self.state = State::Failed,
            _ => {}
        }
        Poll::Ready(next)
    }

    /// The next of a form; none where the answer ends before.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        let Some(parts) = &mut self.parts else { return Poll::Ready(Ok(None)) };
        loop {
            match parts.next() {
                Ok(None) => {}
                Ok(Some(Event::End)) => {
                    // What is behind it is of no use, but it has to come.
                    while let Some(more) = ready!(Pin::new(&mut self.answer).poll_next(context)) {
                        if let Err(error) = more {
                            return Poll::Ready(Err(error));
                        }
                    }
                    return Poll::Ready(Ok(Some(Event::End)));
                }
                Ok(event) => return Poll::Ready(Ok(event)),
                Err(fault) => return Poll::Ready(Err(self.undecodable(fault))),
            }
            match ready!(Pin::new(&mut self.answer).poll_next(context)) {
                Some(Ok(bytes)) => parts.feed(bytes),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(None)),
            }
        }
    }

    fn check(&mut self) -> Result<(), Error> {
        let Some(hash) = self.hash.take() else { return Ok(()) };
        let found = HEXLOWER.encode(hash.finish().as_ref());
        if !found.starts_with(&self.fingerprint) {
            let message = format!("what came has the fingerprint {found}: it is another image, or damaged");
            return Err(self.undecodable(message));
        }
        self.fingerprint = found;
        Ok(())
    }

    fn undecodable(&self, fault: impl Into<String>) -> Error {
        Error::decode(self.answer.call().to_owned(), fault.into())
    }
}

fn kind(part: &str) -> Option<ImageFileKind> {
    match part {
        "metadata" => Some(ImageFileKind::Metadata),
        "rootfs" => Some(ImageFileKind::RootFileSystem),
        "rootfs.img" => Some(ImageFileKind::Disk),
        _ => None,
    }
}

impl fmt::Debug for ExportedImage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ExportedImage")
            .field("fingerprint", &self.fingerprint)
            .field("is_split", &self.is_split())
            .finish_non_exhaustive()
    }
}

/// A file of an image that is on its way: a stream of its bytes, and a reader. Where it is the last of them,
/// its end is an error if the image has not the right fingerprint.
pub struct ImageFile<'a> {
    image: &'a mut ExportedImage,
    /// What has come and is not read yet.
    rest: Bytes,
}

impl ImageFile<'_> {
    /// What it holds.
    pub fn kind(&self) -> ImageFileKind {
        self.image.kind
    }

    /// The name that the server gives it, which may be empty, and anything else.
    pub fn name(&self) -> &str {
        &self.image.name
    }

    /// A name for it in a folder of this machine.
    fn local_name(&self) -> String {
        let name = self.name();
        let leads_elsewhere = name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']);
        if !leads_elsewhere {
            return name.to_owned();
        }
        let ending = match self.kind() {
            ImageFileKind::Unified => "",
            ImageFileKind::Metadata => ".metadata",
            ImageFileKind::RootFileSystem => ".rootfs",
            ImageFileKind::Disk => ".img",
        };
        format!("{}{ending}", self.image.fingerprint)
    }

    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    fn poll_checked(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let image = &mut *self.image;
        if image.state == State::Failed {
            return Poll::Ready(Err(image.undecodable("it failed before")));
        }
        if image.state == State::InFile
            && let Some(bytes) = ready!(image.poll_bytes(context))?
        {
            return Poll::Ready(Ok(Some(bytes)));
        }
        // Behind the last file, all is to be checked before its reader takes it for good.
        let is_last = !matches!(image.kind, ImageFileKind::Metadata);
        if is_last && image.state == State::Between && ready!(image.poll_file(context))? {
            image.state = State::Failed;
            return Poll::Ready(Err(image.undecodable("it has more than two files")));
        }
        Poll::Ready(Ok(None))
    }
}

impl Stream for ImageFile<'_> {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.rest))));
        }
        self.poll_checked(context).map(Result::transpose)
    }
}

impl AsyncRead for ImageFile<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            self.rest = ready!(self.poll_checked(context)).map_err(io::Error::other)?.unwrap_or_default();
        }
        hand_out(&mut self.rest, buffer);
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for ImageFile<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ImageFile")
            .field("name", &self.name())
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}
