//! Files of this machine: read in pieces, and written under another name until they are whole. What is
//! in them is left to others. All of it is done by the runtime's threads for what blocks, in pieces that are
//! worth the way there.

use std::fs::{self, File, OpenOptions, Permissions};
use std::future::Future;
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use ring::digest;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::error::{BoxError, Error};

/// How many bytes are read or written at once.
const PIECE: usize = 512 << 10;

/// Does what blocks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await?
}

pub(crate) fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Local { message: format!("{} cannot be read", path.display()), source }
}

pub(crate) fn unwritable(path: &Path, source: io::Error) -> Error {
    Error::Local { message: format!("{} cannot be written", path.display()), source }
}

/// A file to read, as often as is needed, with the length that it had at first.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    file: Arc<File>,
    pub(crate) length: u64,
}

impl Source {
    pub(crate) async fn open(path: &Path) -> Result<Self, Error> {
        let owned = path.to_owned();
        // To open a pipe would wait for somebody who writes to it.
        let opened = blocking(move || match fs::metadata(&owned)?.is_file() {
            true => Self::of(File::open(owned)?.into()),
            false => Err(no_file()),
        })
        .await;
        opened.map_err(|error| unreadable(path, error))
    }

    fn of(file: Arc<File>) -> io::Result<Self> {
        let metadata = file.metadata()?;
        match metadata.is_file() {
            true => Ok(Self { file, length: metadata.len() }),
            false => Err(no_file()),
        }
    }

    /// What is in it, however much that is.
    pub(crate) fn reader(self) -> io::Result<tokio::fs::File> {
        Ok(tokio::fs::File::from_std(self.file.try_clone()?))
    }

    /// What is in it.
    pub(crate) fn pieces(&self) -> Pieces {
        Pieces { source: self.clone(), at: 0, next: None }
    }

    /// Adds what is in it to a hash.
    pub(crate) async fn hash(&self, mut hash: digest::Context) -> io::Result<digest::Context> {
        const MANY: usize = 16;
        let (mut at, end) = (0, self.length);
        while at < end {
            let source = self.clone();
            (hash, at) = blocking(move || {
                for _ in 0..MANY {
                    let piece = source.piece(at)?;
                    hash.update(&piece);
                    at += piece.len() as u64;
                }
                Ok((hash, at))
            })
            .await?;
        }
        Ok(hash)
    }

    /// The piece that begins there, which is empty at the end.
    fn piece(&self, at: u64) -> io::Result<Vec<u8>> {
        let left = self.length.saturating_sub(at);
        let mut piece = vec![0; usize::try_from(left).map_or(PIECE, |left| left.min(PIECE))];
        self.file.read_exact_at(&mut piece, at).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the file became shorter"),
            _ => error,
        })?;
        Ok(piece)
    }
}

/// What is in a file, piece by piece.
pub(crate) struct Pieces {
    source: Source,
    at: u64,
    next: Option<JoinHandle<io::Result<Vec<u8>>>>,
}

impl Pieces {
    /// What it reads.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { source, at, next } = &mut *self;
        if *at >= source.length {
            return Poll::Ready(None);
        }
        let reading = next.get_or_insert_with(|| {
            let (source, at) = (source.clone(), *at);
            spawn_blocking(move || source.piece(at))
        });
        let piece = ready!(Pin::new(reading).poll(context))??;
        *at += piece.len() as u64;
        *next = None;
        Poll::Ready(Some(Ok(piece.into())))
    }
}

/// Bytes that go into a file, many at once.
struct Writing {
    file: Arc<File>,
    pieces: Vec<Bytes>,
    length: usize,
}

impl Writing {
    fn new(file: File) -> Self {
        Self { file: Arc::new(file), pieces: Vec::new(), length: 0 }
    }

    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.length += bytes.len();
        self.pieces.push(bytes);
        if self.length >= PIECE { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.length = 0;
        let (file, pieces) = (Arc::clone(&self.file), std::mem::take(&mut self.pieces));
        blocking(move || write_all(&file, &pieces)).await
    }
}

/// A file that is written. It gets its name by [`finish`](Self::finish); where this is dropped before, nothing
/// is left of it.
pub(crate) struct Partial {
    path: PathBuf,
    part: PathBuf,
    writing: Writing,
    finished: bool,
}

impl Partial {
    /// Begins a file, which is for nobody else until it has the permissions that it is to have, if any.
    pub(crate) async fn create(path: &Path, mode: Option<u32>) -> Result<Self, Error> {
        let owned = path.to_owned();
        let create = move || {
            let mode = if mode.is_some() { 0o600 } else { 0o666 };
            let open = |part: &Path| OpenOptions::new().write(true).create_new(true).mode(mode).open(part);
            let (part, file) = beside(&owned, open)?;
            Ok(Self { path: owned, part, writing: Writing::new(file), finished: false })
        };
        blocking(create).await.map_err(|error| unwritable(path, error))
    }

    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.writing.write(bytes).await.map_err(|error| unwritable(&self.path, error))
    }

    /// Gives it its permissions and its name.
    pub(crate) async fn finish(mut self, mode: Option<u32>) -> Result<(), Error> {
        let finished = self.finished(mode).await;
        finished.map_err(|error| unwritable(&self.path, error))?;
        self.finished = true;
        Ok(())
    }

    async fn finished(&mut self, mode: Option<u32>) -> io::Result<()> {
        self.writing.flush().await?;
        let (part, path) = (self.part.clone(), self.path.clone());
        let file = Arc::clone(&self.writing.file);
        blocking(move || {
            if let Some(mode) = mode {
                file.set_permissions(Permissions::from_mode(mode))?;
            }
            fs::rename(part, path)
        })
        .await
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.finished {
            // That it is not there is as good.
            let _gone = fs::remove_file(&self.part);
        }
    }
}

fn write_all(mut file: &File, pieces: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut left = &mut slices[..];
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut left, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes a link, in the place of what is there.
pub(crate) async fn link(target: String, path: &Path) -> Result<(), Error> {
    let owned = path.to_owned();
    let linked = blocking(move || {
        let (part, ()) = beside(&owned, |part| symlink(&target, part))?;
        fs::rename(&part, owned).inspect_err(|_| {
            // That it is not there is as good.
            let _gone = fs::remove_file(&part);
        })
    });
    linked.await.map_err(|error| unwritable(path, error))
}

/// Makes something in the folder of a file under a name that nobody has: another would take it for what it is
/// to become.
fn beside<T>(path: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(PathBuf, T)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let part = path.with_file_name(format!(".lxd-client-{}-{count}.part", std::process::id()));
        match make(&part) {
            // A process that had the same number was killed, or runs in another container.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|made| (part, made)),
        }
    }
}

/// What has to be kept a while: in a file that has no name any more.
pub(crate) struct Kept(Writing);

impl Kept {
    pub(crate) async fn new() -> io::Result<Self> {
        let opened = blocking(move || {
            let open = |path: &Path| {
                OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
            };
            let (path, file) = beside(&std::env::temp_dir().join("x"), open)?;
            fs::remove_file(path)?;
            Ok(file)
        });
        Ok(Self(Writing::new(opened.await?)))
    }

    pub(crate) async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.0.write(bytes).await
    }

    /// What was kept.
    pub(crate) async fn finish(mut self) -> io::Result<Source> {
        self.0.flush().await?;
        Source::of(self.0.file)
    }
}

fn no_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is no file")
}
