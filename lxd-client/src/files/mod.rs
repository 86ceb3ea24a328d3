//! The files of an instance: read, written and removed one at a time, whether it runs or not. Folders as
//! a whole are left to `trees`, new owners of what is there to `change`, what is sent and received to `call`, the bytes to `body` and `answer`.

mod change;
mod trees;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderMap;
use http::header::{HeaderName, LAST_MODIFIED};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

pub use self::change::ChangeFile;
pub use self::trees::CopyFolder;
use crate::answer::RawAnswer;
use crate::body::Body;
use crate::call::{Answers, Call, Endpoint, NoParameters, Request, Sent};
use crate::client::Client;
use crate::error::Error;
use crate::transferred::{Report, Transferred};

static READ: Endpoint = endpoint("instance_files_get", "GET", Answers::Raw);
static WRITE: Endpoint = endpoint("instance_files_post", "POST", Answers::Nothing);
static REMOVE: Endpoint = endpoint("instance_files_delete", "DELETE", Answers::Nothing);

/// The core has its own way there, so that it does not depend on what a description calls it.
const fn endpoint(id: &'static str, method: &'static str, answers: Answers) -> Endpoint {
    let path = "/1.0/instances/{name}/files";
    Endpoint { id, method, path, query: "", answers, project: true, target: false, background: false }
}

impl Client {
    /// The files of an instance, whether it runs or not (`/1.0/instances/{name}/files`).
    ///
    /// ```no_run
    /// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
    /// use lxd_client::FileEntry;
    ///
    /// let files = lxd.files("t1");
    /// files.write("/root/.profile", "export EDITOR=vi\n").mode(0o600).await?;
    /// match files.read("/root").await? {
    ///     FileEntry::Directory { names, .. } => println!("{}", names.join(" ")),
    ///     FileEntry::File { content, .. } => println!("{}", content.text().await?),
    ///     FileEntry::Symlink { target, .. } => println!("see {target}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn files(&self, instance: &str) -> InstanceFiles {
        InstanceFiles { client: self.clone(), instance: instance.to_owned() }
    }
}

/// The files of an instance, see [`Client::files`].
#[derive(Clone, Debug)]
pub struct InstanceFiles {
    client: Client,
    instance: String,
}

/// Whose something is, and who may use it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct FileAttributes {
    /// The number of the user in the instance (header `X-LXD-uid`).
    pub uid: u32,
    /// The number of the group in the instance (header `X-LXD-gid`).
    pub gid: u32,
    /// The permissions, such as `0o644` (header `X-LXD-mode`).
    pub mode: u32,
    /// When it was changed last, in whole seconds (header `Last-Modified`).
    pub modified: Option<Timestamp>,
}

/// What is at a path of an instance.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time, and it is taken apart at once")]
pub enum FileEntry {
    /// A file.
    File {
        /// Whose it is.
        attributes: FileAttributes,
        /// Its bytes, which are still on their way.
        content: RawAnswer,
    },
    /// A directory.
    Directory {
        /// Whose it is.
        attributes: FileAttributes,
        /// The names in it, in no order.
        names: Vec<String>,
    },
    /// A symbolic link.
    Symlink {
        /// Whose it is.
        attributes: FileAttributes,
        /// Where it leads to. LXD 5.0.2 tells a whole path, also where the link has one from its own place.
        target: String,
    },
}

impl FileEntry {
    /// Whose it is.
    pub fn attributes(&self) -> &FileAttributes {
        match self {
            Self::File { attributes, .. }
            | Self::Directory { attributes, .. }
            | Self::Symlink { attributes, .. } => attributes,
        }
    }
}

impl InstanceFiles {
    /// Reads what is at a path.
    ///
    /// # Errors
    ///
    /// Those of any call; [`Error::is_not_found`] where there is nothing.
    pub async fn read(&self, path: &str) -> Result<FileEntry, Error> {
        let request = self.request(&READ, Sent::Nothing, path);
        let call = request.name();
        let answer = Call::<RawAnswer, NoParameters>::of(request).await?;
        let (kind, attributes) =
            described(answer.headers()).map_err(|fault| Error::decode(call.clone(), fault))?;
        match kind.as_str() {
            "file" => Ok(FileEntry::File { attributes, content: answer }),
            "directory" => Ok(FileEntry::Directory { attributes, names: answer.json().await? }),
            "symlink" => {
                // Older servers end the target with a line.
                let target = answer.text().await?.trim_end_matches('\n').to_owned();
                Ok(FileEntry::Symlink { attributes, target })
            }
            other => Err(Error::decode(call, format!("it is of the type `{other}`, which is not known"))),
        }
    }

    /// Writes a file, which is made where there is none. Its directory has to be there.
    ///
    /// ```no_run
    /// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
    /// use lxd_client::Body;
    ///
    /// let backup = Body::file("backup.tar").await?;
    /// lxd.files("t1").write("/root/backup.tar", backup).mode(0o600).await?;
    /// lxd.files("t1").write("/var/log/backup.log", "backup.tar is there\n").append().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn write(&self, path: &str, content: impl Into<Body>) -> WriteFile {
        self.make("file", path, content.into())
    }

    /// Makes a directory. One that is there already is left as it is. That above it has to be there.
    pub fn create_directory(&self, path: &str) -> WriteFile {
        self.make("directory", path, Body::default())
    }

    /// Makes a symbolic link to a target, which need not be there.
    pub fn create_symlink(&self, path: &str, target: &str) -> WriteFile {
        self.make("symlink", path, Body::from(target.to_owned()))
    }

    /// Removes a file, a link, or a directory that is empty.
    ///
    /// # Errors
    ///
    /// Those of any call; [`Error::is_not_found`] where there is nothing.
    pub async fn remove(&self, path: &str) -> Result<(), Error> {
        self.request(&REMOVE, Sent::Nothing, path).exchange().await?.read(&mut ()).map(drop)
    }

    fn make(&self, kind: &'static str, path: &str, content: Body) -> WriteFile {
        let mut request = self.request(&WRITE, Sent::Bytes(content), path);
        request.header(HeaderName::from_static("x-lxd-type"), &kind);
        let files = (self.clone(), path.to_owned());
        WriteFile { request, files, given: Vec::new(), may_be_cut: kind == "file", report: None }
    }

    fn request(&self, endpoint: &'static Endpoint, sent: Sent, path: &str) -> Box<Request> {
        let mut request = Request::new(sent, &self.client, endpoint, &[&self.instance]);
        request.query("path", &path);
        request
    }
}

/// What is written into an instance, with whose it is to be; see [`InstanceFiles::write`]. It is written
/// when this is awaited.
///
/// What is not given is the server's choice: root's, with the permissions `0o644` (`0o755` for a
/// directory). A file that is there already keeps its owner and its permissions, unless the server has
/// the API extension `instances_files_modify_permissions`; [`InstanceFiles::change`] changes them on any.
///
/// Where it breaks off in the middle of a file, this is an error, and what the server has of the file is
/// removed, unless it was to be appended.
#[must_use = "a file is written when this is awaited"]
pub struct WriteFile {
    request: Box<Request>,
    /// Where it goes.
    files: (InstanceFiles, String),
    /// Which of its attributes were given.
    given: Vec<&'static str>,
    /// Whether a part of it would look like the whole.
    may_be_cut: bool,
    report: Option<Report>,
}

impl WriteFile {
    /// The number of the user whose it is to be (header `X-LXD-uid`).
    pub fn uid(self, uid: u32) -> Self {
        self.attribute("uid", "x-lxd-uid", &uid)
    }

    /// The number of the group whose it is to be (header `X-LXD-gid`).
    pub fn gid(self, gid: u32) -> Self {
        self.attribute("gid", "x-lxd-gid", &gid)
    }

    /// The permissions, such as `0o644` (header `X-LXD-mode`). LXD 5.0.2 takes the last nine bits of them.
    pub fn mode(self, mode: u32) -> Self {
        // Without a 0 before it, the server would read it as a decimal number.
        self.attribute("mode", "x-lxd-mode", &format_args!("0{mode:o}"))
    }

    /// Writes behind what is in the file already (header `X-LXD-write`).
    pub fn append(mut self) -> Self {
        self.request.header(HeaderName::from_static("x-lxd-write"), &"append");
        // What was there before must not go with a part.
        self.may_be_cut = false;
        self
    }

    /// Tells how much of a file was sent, for each piece.
    pub fn progress(mut self, report: impl FnMut(Transferred) + Send + 'static) -> Self {
        self.report = Some(Report::new(report));
        self
    }

    async fn write(mut self) -> Result<(), Error> {
        let begun = Arc::new(AtomicBool::new(false));
        let (sent, report) = (Arc::clone(&begun), self.report);
        self.request.report = Some(Report::new(move |done| {
            sent.store(true, Ordering::Relaxed);
            if let Some(report) = &report {
                report.tell(done);
            }
        }));
        let written = self.request.exchange().await.and_then(|answer| answer.read(&mut ()).map(drop));
        if let Err(error) = &written
            && self.may_be_cut
            && begun.load(Ordering::Relaxed)
            && error.status().is_none_or(|status| status >= 500)
        {
            // That it is not there is as good.
            let (files, path) = &self.files;
            let _gone = files.remove(path).await;
        }
        written
    }

    fn attribute(mut self, name: &'static str, header: &'static str, value: &dyn fmt::Display) -> Self {
        self.request.header(HeaderName::from_static(header), value);
        if !self.given.contains(&name) {
            self.given.push(name);
        }
        self.request.header(HeaderName::from_static("x-lxd-modify-perm"), &self.given.join(","));
        self
    }
}

impl IntoFuture for WriteFile {
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.write())
    }
}

impl fmt::Debug for WriteFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("WriteFile").field(&self.request.name()).finish()
    }
}

/// What the headers of an answer say: the type, and whose it is.
fn described(headers: &HeaderMap) -> Result<(String, FileAttributes), String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let told = |name: &str| text(name).ok_or_else(|| format!("it has no header {name}"));
    let number = |name: &str, radix| {
        let value = told(name)?;
        u32::from_str_radix(value, radix).map_err(|_| format!("its header {name} is no number: {value}"))
    };
    let modified = text(LAST_MODIFIED.as_str()).and_then(|time| rfc2822::parse(time).ok());
    let attributes = FileAttributes {
        uid: number("x-lxd-uid", 10)?,
        gid: number("x-lxd-gid", 10)?,
        mode: number("x-lxd-mode", 8)?,
        modified: modified.map(|time| time.timestamp()),
    };
    Ok((told("x-lxd-type")?.to_owned(), attributes))
}
