//! The servers that the command-line client `lxc` knows by name, as its configuration has them. It is
//! read and never changed.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_yaml::Value;

use crate::client::{Client, ClientBuilder};
use crate::error::Error;
use crate::trust::Identity;
use crate::trust::tls::invalid;

/// The remotes of the command-line client: servers, by the names that `lxc remote list` shows.
///
/// ```no_run
/// # fn run() -> Result<(), lxd_client::Error> {
/// use lxd_client::Remotes;
///
/// let remotes = Remotes::load()?;
/// for name in remotes.names() {
///     println!("{name}");
/// }
/// let lxd = remotes.builder(remotes.default_name())?.project("test").build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Remotes {
    folder: PathBuf,
    configuration: Value,
}

/// What `lxc` calls the server of the machine. It is there without any configuration.
const LOCAL: &str = "local";

impl Remotes {
    /// Reads the configuration of `lxc`: in the folder that `$LXD_CONF` names, in that of the snap
    /// (`~/snap/lxd/common/config`), or in `~/.config/lxc`. Where there is none, there is one remote, the
    /// server of this machine (`local`).
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where the configuration cannot be read.
    pub fn load() -> Result<Self, Error> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self::load_from(folder(variable("LXD_CONF"), std::env::home_dir()))
    }

    /// Reads the configuration in a folder.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn load_from(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = folder.into();
        let path = folder.join("config.yml");
        let configuration = match existing(&path)? {
            None => Value::Null,
            Some(text) => serde_yaml::from_str(&text)
                .map_err(|error| invalid(&format!("{} cannot be read as YAML", path.display()), error))?,
        };
        Ok(Self { folder, configuration })
    }

    /// The name of the remote that `lxc` takes where none is named.
    pub fn default_name(&self) -> &str {
        text(&self.configuration, "default-remote").unwrap_or(LOCAL)
    }

    /// The names of all remotes, also of those that are no LXD but hold images only.
    pub fn names(&self) -> Vec<&str> {
        let listed = self.configuration.get("remotes").and_then(Value::as_mapping);
        let mut names: Vec<_> = listed.into_iter().flatten().filter_map(|(name, _)| name.as_str()).collect();
        if !names.contains(&LOCAL) {
            names.push(LOCAL);
        }
        names.sort_unstable();
        names
    }

    /// Starts to build a client of a remote: with its endpoint, its project, the client's certificate,
    /// and which server it is.
    ///
    /// That is the one with the certificate which `lxc` has kept of it; else one whose certificate is
    /// signed by the authority that `lxc` has (`client.ca`); else one with the trust of this machine's
    /// authorities.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where there is no such remote, where it is no LXD, or where a certificate
    /// cannot be read.
    pub fn builder(&self, name: &str) -> Result<ClientBuilder, Error> {
        let remote = self.configuration.get("remotes").and_then(|remotes| remotes.get(name));
        let Some(remote) = remote else {
            if name == LOCAL {
                return Ok(Client::builder());
            }
            return Err(Error::configuration(format!(
                "there is no remote `{name}` in {}: there {}; `lxc remote add` adds one",
                self.folder.join("config.yml").display(),
                match self.names().as_slice() {
                    [one] => format!("is {one}"),
                    several => format!("are {}", several.join(", ")),
                }
            )));
        };
        let unusable = |why: &str| Error::configuration(format!("the remote `{name}` cannot be used: {why}"));
        let protocol = text(remote, "protocol").unwrap_or("lxd");
        if protocol != "lxd" {
            return Err(unusable(&format!("it is no LXD, but holds images ({protocol})")));
        }
        let address = text(remote, "addr").ok_or_else(|| unusable("it has no `addr`"))?;
        let mut builder = Client::builder();
        if let Some(project) = text(remote, "project") {
            builder = builder.project(project);
        }
        match address.strip_prefix("unix:") {
            // Wherever it is on this machine.
            Some("" | "//") => Ok(builder),
            Some(path) => Ok(builder.endpoint(format!("unix://{}", path.trim_start_matches("//")))),
            None => {
                let is_public = remote.get("public").and_then(Value::as_bool).unwrap_or_default();
                self.remote(builder.endpoint(address), name, is_public)
            }
        }
    }

    fn remote(&self, builder: ClientBuilder, name: &str, is_public: bool) -> Result<ClientBuilder, Error> {
        let kept = self.folder.join("servercerts").join(format!("{name}.crt"));
        let builder = if let Some(certificate) = existing(&kept)? {
            builder.server_certificate(certificate)
        } else if let Some(authority) = existing(&self.folder.join("client.ca"))? {
            builder.server_authority(authority)
        } else {
            builder.system_authorities()
        };
        let (certificate, key) = (self.folder.join("client.crt"), self.folder.join("client.key"));
        // `lxc` makes them when it needs them first.
        if is_public || !certificate.exists() {
            return Ok(builder);
        }
        Ok(builder.identity(Identity::from_files(certificate, key)?))
    }
}

/// The folder of the configuration: the one that is named, else the first that is there.
fn folder(named: Option<PathBuf>, home: Option<PathBuf>) -> PathBuf {
    if let Some(named) = named {
        return named;
    }
    let home = home.unwrap_or_default();
    let snap = home.join("snap/lxd/common/config");
    if snap.join("config.yml").exists() { snap } else { home.join(".config/lxc") }
}

/// The text of a file, where there is one.
fn existing(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(invalid(&format!("{} cannot be read", path.display()), error)),
    }
}

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

impl fmt::Debug for Remotes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Remotes")
            .field("folder", &self.folder)
            .field("names", &self.names())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Remotes, folder};
    use crate::error::Error;
    use crate::trust::Identity;

    /// A folder with files, which is removed with it.
    struct Folder(PathBuf);

    impl Folder {
        fn with(name: &str, files: &[(&str, &str)]) -> Self {
            let folder = std::env::temp_dir().join(format!("lxd-client-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = folder.join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Self(folder)
        }

        fn load(&self) -> Result<Remotes, Error> {
            Remotes::load_from(&self.0)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            // A test that failed leaves it.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const CONFIGURATION: &str = "
default-remote: lab
remotes:
  images: {addr: 'https://images.example', protocol: simplestreams, public: true}
  lab: {addr: 'https://lab.example:8443', auth_type: tls, project: ours, protocol: lxd, public: false}
  signed: {addr: 'https://signed.example:8443', protocol: lxd}
  public: {addr: 'https://public.example:8443', protocol: lxd, public: true}
  here: {addr: 'unix:///here/unix.socket', public: false}
  broken: {protocol: lxd}
aliases: {}
";

    #[test]
    fn remotes_are_what_lxc_has_of_them() {
        let (own, server) = (Identity::generate("me").unwrap(), Identity::generate("lab").unwrap());
        let folder = Folder::with(
            "remotes",
            &[
                ("config.yml", CONFIGURATION),
                ("client.crt", own.certificate()),
                ("client.key", own.key()),
                ("client.ca", server.certificate()),
                ("servercerts/lab.crt", server.certificate()),
            ],
        );
        let remotes = folder.load().unwrap();
        assert_eq!(remotes.default_name(), "lab");
        assert_eq!(remotes.names(), ["broken", "here", "images", "lab", "local", "public", "signed"]);

        let shown = |name: &str| format!("{:?}", remotes.builder(name).unwrap());
        let lab = shown("lab");
        assert!(lab.contains("https://lab.example:8443") && lab.contains(r#"Some("ours")"#), "{lab}");
        assert!(lab.contains(&own.fingerprint()), "{lab}");
        assert!(shown("signed").contains(&own.fingerprint()));
        // A stranger will do.
        assert!(shown("public").contains("identity: None"));
        assert!(shown("here").contains("unix:///here/unix.socket"));
        assert!(shown("local").contains("endpoint: None"));
        for name in ["lab", "signed", "public", "here"] {
            assert!(remotes.builder(name).unwrap().build().is_ok(), "{name}");
        }

        let refused = |name: &str| remotes.builder(name).unwrap_err().to_string();
        assert!(refused("images").contains("holds images (simplestreams)"));
        assert!(refused("broken").contains("no `addr`"));
        let unknown = refused("nowhere");
        assert!(
            unknown.contains("no remote `nowhere`") && unknown.contains("here, images, lab"),
            "{unknown}"
        );
    }

    #[test]
    fn what_lxc_has_is_checked() {
        let folder = Folder::with("remotes-yaml", &[("config.yml", "remotes: [")]);
        let error = folder.load().unwrap_err().to_string();
        assert!(error.contains("config.yml cannot be read as YAML"), "{error}");

        let files = [("config.yml", CONFIGURATION), ("client.crt", "no"), ("client.key", "ENCRYPTED")];
        let folder = Folder::with("remotes-key", &files);
        let error = folder.load().unwrap().builder("lab").unwrap_err().to_string();
        assert!(error.contains("the client's certificate"), "{error}");

        // Without any, there is this machine.
        let folder = Folder::with("remotes-none", &[]);
        let remotes = folder.load().unwrap();
        assert_eq!((remotes.default_name(), remotes.names()), ("local", vec!["local"]));
        assert!(remotes.builder("local").is_ok());
        assert!(remotes.builder("lab").unwrap_err().to_string().contains("`lxc remote add`"));
    }

    #[test]
    fn the_folder_is_where_lxc_has_it() {
        let home = Folder::with("remotes-home", &[(".config/lxc/config.yml", "")]);
        let at = |named: Option<&str>| folder(named.map(PathBuf::from), Some(home.0.clone()));
        assert_eq!(at(Some("/named")), PathBuf::from("/named"));
        assert_eq!(at(None), home.0.join(".config/lxc"));
        let snap = home.0.join("snap/lxd/common/config");
        std::fs::create_dir_all(&snap).unwrap();
        std::fs::write(snap.join("config.yml"), "").unwrap();
        assert_eq!(at(None), snap);
    }
}
