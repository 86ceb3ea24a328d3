//! Folders as a whole, between this machine and an instance. Single files are left to `files`.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use futures_core::Stream;
use tokio::fs;
use tokio::io::AsyncWriteExt;

use super::{FileEntry, InstanceFiles};
use crate::answer::RawAnswer;
use crate::body::Body;
use crate::error::Error;

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
    /// Those of any call, and [`Error::Local`] where something cannot be read here. A file that was sent
    /// in part only is removed again.
    pub async fn push(&self, local: impl AsRef<Path>, path: &str) -> Result<(), Error> {
        let mut left = vec![(local.as_ref().to_owned(), path.trim_end_matches('/').to_owned())];
        while let Some((local, path)) = left.pop() {
            let broken = |error| unreadable(&local, error);
            let metadata = fs::symlink_metadata(&local).await.map_err(broken)?;
            let mode = metadata.permissions().mode() & PERMISSIONS;
            if metadata.is_dir() {
                self.create_directory(&path).mode(mode).await?;
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
                self.create_symlink(&path, target).await?;
            } else if metadata.is_file() {
                let file = fs::File::open(&local).await.map_err(broken)?;
                if let Err(error) = self.write(&path, Body::reader(file)).mode(mode).await {
                    // Half a file must not look like a whole one. That it is not there is as good.
                    let _gone = self.remove(&path).await;
                    return Err(error);
                }
            } else {
                return Err(broken(io::Error::other("it is neither a file nor a folder nor a link")));
            }
        }
        Ok(())
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
    pub async fn pull(&self, path: &str, local: impl AsRef<Path>) -> Result<(), Error> {
        let mut left = vec![(path.trim_end_matches('/').to_owned(), local.as_ref().to_owned())];
        // Folders get their permissions when all is in them: they may forbid to write.
        let mut folders = Vec::new();
        while let Some((path, local)) = left.pop() {
            let broken = |error| unwritable(&local, error);
            match self.read(if path.is_empty() { "/" } else { &path }).await? {
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
                            let call = format!("GET /1.0/instances/{}/files", self.instance);
                            let message = format!("the name `{name}` leads out of its folder");
                            return Err(Error::decode(call, message));
                        }
                        left.push((format!("{path}/{name}"), local.join(name)));
                    }
                    folders.push((local, attributes.mode));
                }
                FileEntry::File { attributes, content } => {
                    let part = beside(&local);
                    let written = receive(content, &part, attributes.mode).await;
                    if let Err(error) = match written {
                        Ok(()) => fs::rename(&part, &local).await.map_err(broken),
                        Err(error) => Err(error),
                    } {
                        // That it is not there is as good.
                        let _gone = fs::remove_file(&part).await;
                        return Err(error);
                    }
                }
                FileEntry::Symlink { target, .. } => {
                    let part = beside(&local);
                    fs::symlink(target, &part).await.map_err(broken)?;
                    fs::rename(&part, &local).await.map_err(broken)?;
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

/// Where a file is until it is whole: another would take it for what it is to become.
fn beside(local: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(local.file_name().unwrap_or_default());
    name.push(format!(".{}.part", std::process::id()));
    local.with_file_name(name)
}

/// Writes what comes into a new file.
async fn receive(mut content: RawAnswer, path: &Path, mode: u32) -> Result<(), Error> {
    let broken = |error| unwritable(path, error);
    // For nobody else before it has its permissions.
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).await.map_err(broken)?;
    let mut content = std::pin::Pin::new(&mut content);
    while let Some(bytes) = std::future::poll_fn(|context| content.as_mut().poll_next(context)).await {
        file.write_all(&bytes?).await.map_err(broken)?;
    }
    file.flush().await.map_err(broken)?;
    file.set_permissions(Permissions::from_mode(mode & PERMISSIONS)).await.map_err(broken)
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Local { message: format!("{} cannot be read", path.display()), source }
}

fn unwritable(path: &Path, source: io::Error) -> Error {
    Error::Local { message: format!("{} cannot be written", path.display()), source }
}
