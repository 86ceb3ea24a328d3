//! Changes of whose a file is and who may use it, over SFTP: to write a file does not change those of one that
//! is there already, and older servers have no other way. Only the two requests that this takes are spoken
//! here; for more, [`Client::instance_sftp`](crate::Client) gives the connection to a library.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use bytes::{Buf, BufMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::InstanceFiles;
use crate::answer::Connection;
use crate::call::{Answers, Call, Endpoint, NoParameters, Request, Sent};
use crate::error::Error;

static SFTP: Endpoint = Endpoint {
    id: "instance_sftp",
    method: "GET",
    path: "/1.0/instances/{name}/sftp",
    query: "",
    answers: Answers::Connection,
    project: true,
    target: false,
    background: false,
};

// The numbers of draft-ietf-secsh-filexfer-02, which is version 3.
const VERSION: u32 = 3;
const INIT: u8 = 1;
const INIT_ANSWER: u8 = 2;
const SETSTAT: u8 = 9;
const STAT: u8 = 17;
const STATUS: u8 = 101;
const ATTRIBUTES: u8 = 105;
const HAS_SIZE: u32 = 1;
const HAS_OWNER: u32 = 2;
const HAS_MODE: u32 = 4;
/// The most that an answer may have.
const ANSWER: u32 = 256 << 10;

impl InstanceFiles {
    /// Changes whose a file or directory is and who may use it, where it is there already
    /// (`/1.0/instances/{name}/sftp`). Of a link, that is what it leads to.
    ///
    /// ```no_run
    /// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
    /// lxd.files("t1").change("/srv/www").uid(33).gid(33).mode(0o750).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn change(&self, path: &str) -> ChangeFile {
        let files = self.clone();
        ChangeFile { files, path: path.to_owned(), uid: None, gid: None, mode: None }
    }
}

/// A change of whose a file is and who may use it; see [`InstanceFiles::change`]. It is done when this is
/// awaited; what is not given stays as it is, but that the system takes the bits away by which a program runs
/// as its owner (setuid, setgid) where it gets another one.
///
/// # Errors
///
/// Those of any call; [`Error::is_not_found`] where there is no such file.
#[must_use = "a file is changed when this is awaited"]
#[derive(Debug)]
pub struct ChangeFile {
    files: InstanceFiles,
    path: String,
    uid: Option<u32>,
    gid: Option<u32>,
    mode: Option<u32>,
}

impl ChangeFile {
    /// The number of the user whose it is to be.
    pub fn uid(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    /// The number of the group whose it is to be.
    pub fn gid(mut self, gid: u32) -> Self {
        self.gid = Some(gid);
        self
    }

    /// The permissions, such as `0o644`. LXD 5.0.2 takes the last nine bits of them.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    async fn change(self) -> Result<(), Error> {
        let Self { files, path, uid, gid, mode } = self;
        let request = Request::new(Sent::Nothing, &files.client, &SFTP, &[&files.instance]);
        let call = request.name();
        let connection = Call::<Connection, NoParameters>::of(request).await?;
        let mut session = Session { call, connection };
        let (kind, _) = session.ask(INIT, &VERSION.to_be_bytes()).await?;
        if kind != INIT_ANSWER {
            return Err(session.unknown(kind));
        }
        let owner = match (uid, gid) {
            (None, None) if mode.is_none() => return session.owner(&path).await.map(drop),
            (None, None) => None,
            (Some(uid), Some(gid)) => Some((uid, gid)),
            // The two go together.
            (uid, gid) => {
                let (old_uid, old_gid) = session.owner(&path).await?;
                Some((uid.unwrap_or(old_uid), gid.unwrap_or(old_gid)))
            }
        };
        // One after the other, as the server of LXD 5.0.2 mistakes the one for the other where both come at
        // once. To change the owner may take permissions away, so those come last.
        if let Some((uid, gid)) = owner {
            session.set(&path, HAS_OWNER, &[uid, gid]).await?;
        }
        match mode {
            Some(mode) => session.set(&path, HAS_MODE, &[mode]).await,
            None => Ok(()),
        }
    }
}

impl IntoFuture for ChangeFile {
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let after = self.files.client.limits().total;
        let call = format!("GET /1.0/instances/{}/sftp", self.files.instance);
        Box::pin(async move {
            let changed = tokio::time::timeout(after, self.change()).await;
            changed.unwrap_or_else(|_| Err(Error::Timeout { call, after, setting: Some("timeout") }))
        })
    }
}

/// What a request about a path begins with. There is one at a time: all have the same number.
fn numbered(path: &str) -> Vec<u8> {
    let mut request = vec![0; 4];
    request.put_u32(path.len() as u32);
    request.put_slice(path.as_bytes());
    request
}

/// A connection that speaks SFTP.
struct Session {
    call: String,
    connection: Connection,
}

impl Session {
    /// Sends a request and gives the kind and the content of the answer.
    async fn ask(&mut self, kind: u8, content: &[u8]) -> Result<(u8, Vec<u8>), Error> {
        let mut request = Vec::with_capacity(content.len() + 5);
        request.put_u32(content.len() as u32 + 1);
        request.put_u8(kind);
        request.put_slice(content);
        let exchanged = async {
            self.connection.write_all(&request).await?;
            self.connection.flush().await?;
            let length = self.connection.read_u32().await?;
            if length == 0 || length > ANSWER {
                return Ok(None);
            }
            let kind = self.connection.read_u8().await?;
            let mut answer = vec![0; length as usize - 1];
            self.connection.read_exact(&mut answer).await?;
            std::io::Result::Ok(Some((kind, answer)))
        };
        match exchanged.await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(Error::decode(self.call.clone(), "the answer has an impossible length")),
            Err(error) => Err(Error::transport(self.call.clone(), "the connection broke off", error)),
        }
    }

    /// Sets attributes of a file.
    async fn set(&mut self, path: &str, which: u32, attributes: &[u32]) -> Result<(), Error> {
        let mut request = numbered(path);
        request.put_u32(which);
        for attribute in attributes {
            request.put_u32(*attribute);
        }
        let (kind, answer) = self.ask(SETSTAT, &request).await?;
        self.status(kind, &answer)
    }

    /// Whose a file is: the numbers of its user and group.
    async fn owner(&mut self, path: &str) -> Result<(u32, u32), Error> {
        let (kind, answer) = self.ask(STAT, &numbered(path)).await?;
        if kind != ATTRIBUTES {
            self.status(kind, &answer)?;
            return Err(self.unknown(kind));
        }
        let mut told = &answer[..];
        let mut read = || {
            let (_number, flags) = (told.try_get_u32()?, told.try_get_u32()?);
            if flags & HAS_SIZE != 0 {
                told.try_get_u64()?;
            }
            let owner = (told.try_get_u32()?, told.try_get_u32()?);
            Ok::<_, bytes::TryGetError>((flags & HAS_OWNER != 0).then_some(owner))
        };
        match read() {
            Ok(Some(owner)) => Ok(owner),
            _ => Err(Error::decode(self.call.clone(), "the answer does not tell whose the file is")),
        }
    }

    /// What a status means.
    fn status(&self, kind: u8, answer: &[u8]) -> Result<(), Error> {
        let (mut answer, call) = (answer, self.call.clone());
        if kind != STATUS {
            return Err(self.unknown(kind));
        }
        let code = answer.try_get_u32().and_then(|_| answer.try_get_u32());
        let text = match answer.try_get_u32() {
            Ok(length) => answer.get(..length as usize).unwrap_or_default(),
            Err(_) => &[],
        };
        let message = String::from_utf8_lossy(text).into_owned();
        match code {
            Ok(0) => Ok(()),
            Ok(2) => Err(Error::Api { call, status: 404, message }),
            Ok(3) => Err(Error::Api { call, status: 403, message }),
            Ok(_) => Err(Error::Api { call, status: 500, message }),
            Err(error) => Err(Error::decode(call, error)),
        }
    }

    fn unknown(&self, kind: u8) -> Error {
        Error::decode(self.call.clone(), format!("the answer is of the kind {kind}, which it cannot be"))
    }
}
