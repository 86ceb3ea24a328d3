//! Folders as a whole, between this machine and an instance. Single files are left to `files`.

use std::fs::Permissions;
use std::future::{Future, IntoFuture};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::fs;

use super::{FileEntry, InstanceFiles};
use crate::body::Body;
use crate::error::Error;
use crate::local::{Partial, link, unreadable, unwritable};
use crate::transferred::{Counter, Report, Transferred};

/// The permissions of a file; who it is and what else it is are kept apart.
const PERMISSIONS: u32 = 0o7777;

impl InstanceFiles {
    /// Copies a file, a link, or a folder with all in it to a path of the instance, with their
    /// permissions; they belong to root there. Links are copied as they are and never followed. What is
    /// neither a file nor a folder nor a link is an error. Files that are there already are written anew,
    /// and keep their owners and permissions unless the server has the API extension
    /// `instances_files_modify_permissions`.
    ///
    /// # Errors
    ///
    /// Those of any call, and [`Error::Local`] where something cannot be read here.
    pub fn push(&self, local: impl AsRef<Path>, path: &str) -> CopyFolder {
        CopyFolder::new(self, Direction::Push, local.as_ref(), path)
    }

    /// Copies what is at a path of the instance here, with its permissions: a file, a link, or a folder
    /// with all in it. Links are copied as they are and never followed, neither there nor here. A file
    /// has its name when it is whole. What is there already is replaced, but for a folder, which gets
    /// what is new.
    ///
    /// # Errors
    ///
    /// Those of any call; [`Error::Local`] where something cannot be written here; and
    /// [`Error::Decode`] where the instance has a name that would lead out of the folder.
    pub fn pull(&self, path: &str, local: impl AsRef<Path>) -> CopyFolder {
        CopyFolder::new(self, Direction::Pull, local.as_ref(), path)
    }
}

/// A folder that is copied when this is awaited; see [`InstanceFiles::push`] and [`InstanceFiles::pull`].
#[must_use = "a folder is copied when this is awaited"]
#[derive(Debug)]
pub struct CopyFolder {
    files: InstanceFiles,
    direction: Direction,
    local: PathBuf,
    /// That in the instance, without a slash at its end.
    path: String,
    counter: Counter,
}

#[derive(Debug)]
enum Direction {
    Push,
    Pull,
}

impl CopyFolder {
    fn new(files: &InstanceFiles, direction: Direction, local: &Path, path: &str) -> Self {
        let (files, local) = (files.clone(), local.to_owned());
        let path = path.trim_end_matches('/').to_owned();
        Self { files, direction, local, path, counter: Counter::default() }
    }

    /// Tells how many bytes of files were copied, for each piece. How many there will be is not known.
    pub fn progress(mut self, report: impl FnMut(Transferred) + Send + 'static) -> Self {
        self.counter = Counter::new(Some(Report::new(report)), None);
        self
    }

    async fn push(self) -> Result<(), Error> {
        let Self { files, local, path, counter, .. } = self;
        let counter = Arc::new(Mutex::new(counter));
        let mut left = vec![(local, path)];
        while let Some((local, path)) = left.pop() {
            let broken = |error| unreadable(&local, error);
            let metadata = fs::symlink_metadata(&local).await.map_err(broken)?;
            let mode = metadata.permissions().mode() & PERMISSIONS;
            if metadata.is_dir() {
                files.create_directory(&path).mode(mode).await?;
                let mut entries = fs::read_dir(&local).await.map_err(broken)?;
                while let Some(entry) = entries.next_entry().await.map_err(broken)? {
                    let name = entry.file_name().into_string().map_err(|name| {
                        let message = format!("its name is not in UTF-8: {}", name.display());
                        unreadable(&local, io::Error::new(io::ErrorKind::InvalidData, message))
                    })?;
                    left.push((entry.path(), format!("{path}/{name}")));
                }
            } else if metadata.is_symlink() {
                let target = fs::read_link(&local).await.map_err(broken)?;
                let target = target.to_str().ok_or_else(|| broken(io::ErrorKind::InvalidData.into()))?;
                files.create_symlink(&path, target).await?;
            } else if metadata.is_file() {
                let file = Body::file(&local).await?;
                let (counter, mut before) = (Arc::clone(&counter), 0);
                let sent = files.write(&path, file).mode(mode).progress(move |done| {
                    // A file that is sent once more counts once more.
                    let more = done.bytes.checked_sub(std::mem::replace(&mut before, done.bytes));
                    let mut counter = counter.lock().unwrap_or_else(PoisonError::into_inner);
                    counter.add(more.unwrap_or(done.bytes));
                });
                sent.await?;
            } else {
                return Err(broken(io::Error::other("it is neither a file nor a folder nor a link")));
            }
        }
        Ok(())
    }

    async fn pull(self) -> Result<(), Error> {
        let Self { files, local, path, mut counter, .. } = self;
        let mut left = vec![(path, local)];
        // Folders get their permissions when all is in them: they may forbid to write.
        let mut folders = Vec::new();
        while let Some((path, local)) = left.pop() {
            let broken = |error| unwritable(&local, error);
            match files.read(if path.is_empty() { "/" } else { &path }).await? {
                FileEntry::Directory { attributes, names } => {
                    match fs::create_dir(&local).await {
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                            let metadata = fs::symlink_metadata(&local).await.map_err(broken)?;
                            if !metadata.is_dir() {
                                return Err(broken(error));
                            }
                        }
                        made => made.map_err(broken)?,
                    }
                    for name in names {
                        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
                            let call = format!("GET /1.0/instances/{}/files", files.instance);
                            let message = format!("the name `{name}` leads out of its folder");
                            return Err(Error::decode(call, message));
                        }
                        left.push((format!("{path}/{name}"), local.join(name)));
                    }
                    folders.push((local, attributes.mode));
                }
                FileEntry::File { attributes, mut content } => {
                    let mode = Some(attributes.mode & PERMISSIONS);
                    let mut file = Partial::create(&local, mode).await?;
                    while let Some(bytes) = content.next().await.transpose()? {
                        counter.add(bytes.len() as u64);
                        file.write(bytes).await?;
                    }
                    file.finish(mode).await?;
                }
                FileEntry::Symlink { target, .. } => {
                    link(target, &local).await?;
                }
            }
        }
        for (folder, mode) in folders.into_iter().rev() {
            let permissions = Permissions::from_mode(mode & PERMISSIONS);
            fs::set_permissions(&folder, permissions).await.map_err(|error| unwritable(&folder, error))?;
        }
        Ok(())
    }
}

impl IntoFuture for CopyFolder {
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        match self.direction {
            Direction::Push => Box::pin(self.push()),
            Direction::Pull => Box::pin(self.pull()),
        }
    }
}
