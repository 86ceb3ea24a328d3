//! Where the local server is, when nobody says: the places that LXD's own tools look at.

use std::path::PathBuf;

use crate::error::Error;

/// Finds the socket of the local server.
pub(crate) fn find() -> Result<PathBuf, Error> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    find_among(variable("LXD_SOCKET"), variable("LXD_DIR"), &PACKAGES.map(PathBuf::from))
}

/// Where the packages put it: the snap, and those of distributions.
const PACKAGES: [&str; 2] = ["/var/snap/lxd/common/lxd/unix.socket", "/var/lib/lxd/unix.socket"];

/// What the environment names is taken as it is; else the first that exists.
fn find_among(
    socket: Option<PathBuf>,
    folder: Option<PathBuf>,
    packages: &[PathBuf],
) -> Result<PathBuf, Error> {
    if let Some(socket) = socket {
        return Ok(socket);
    }
    if let Some(folder) = folder {
        return Ok(folder.join("unix.socket"));
    }
    packages.iter().find(|path| path.exists()).cloned().ok_or_else(|| {
        let tried: Vec<_> = packages.iter().map(|path| path.display().to_string()).collect();
        Error::configuration(format!(
            "no local LXD found: LXD_SOCKET and LXD_DIR are not set, and there is no {}; install LXD or \
             name the server with ClientBuilder::endpoint",
            tried.join(" and no ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::find_among;

    #[test]
    fn the_environment_comes_first() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(find_among(path("/a"), path("/b"), &[]).unwrap(), PathBuf::from("/a"));
        assert_eq!(find_among(None, path("/b"), &[]).unwrap(), PathBuf::from("/b/unix.socket"));
        assert_eq!(find_among(None, None, &["/none".into(), "/".into()]).unwrap(), PathBuf::from("/"));
    }

    #[test]
    fn where_there_is_none_it_says_what_it_tried() {
        let error = find_among(None, None, &["/none".into(), "/nowhere".into()]).unwrap_err();
        let message = error.to_string();
        for tried in ["LXD_SOCKET", "LXD_DIR", "/none", "/nowhere"] {
            assert!(message.contains(tried), "{message}");
        }
    }
}
