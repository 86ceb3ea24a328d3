//! The client: one server, and what goes into every call to it. What it is made of is left to `builder`,
//! the calls themselves to `call`, the methods to the generator.

mod builder;
mod endpoint;
pub(crate) mod limits;

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use http::header::HOST;

pub use self::builder::ClientBuilder;
use self::builder::Layer;
use self::endpoint::Endpoint;
use self::limits::Limits;
use crate::error::Error;
use crate::extensions::Extensions;
use crate::operation::watcher::Watching;
use crate::remotes::Remotes;
use crate::transport::Transport;
use crate::trust::ServerCertificate;
use crate::trust::access_token::AccessTokens;
use crate::trust::tls::{self, Pin, Trust};

/// A client of one LXD server. A clone is cheap and shares its connections.
///
/// ```no_run
/// # async fn run() -> Result<(), lxd_client::Error> {
/// let lxd = lxd_client::Client::builder().project("test").build()?;
/// for instance in lxd.instances_recursion1().await? {
///     println!("{} is {}", instance.name, instance.status);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    core: Arc<Core>,
    view: Arc<View>,
}

struct Core {
    transport: Transport,
    limits: Limits,
    layers: Vec<Layer>,
    tokens: Option<Arc<AccessTokens>>,
    watching: Watching,
    extensions: Extensions,
    /// Whether the server knows the client by its certificate.
    shows_certificate: bool,
}

/// What goes into the calls of one client, and not of another that shares its connections.
#[derive(Clone, Default)]
struct View {
    project: Option<String>,
    target: Option<String>,
}

impl Client {
    /// Starts to build a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A client of a server that the command-line client `lxc` knows by a name, as its `lxc remote list`
    /// shows them: with its address, its certificate, its project, and the client's own certificate.
    /// [`Remotes`] has more of them, and can build on them.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), lxd_client::Error> {
    /// let lxd = lxd_client::Client::from_remote("lab")?;
    /// println!("{} instances", lxd.instances().await?.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where there is no such remote, or it cannot be used.
    pub fn from_remote(name: &str) -> Result<Self, Error> {
        Remotes::load()?.builder(name)?.build()
    }

    /// Asks a server at `https://HOST:PORT` for its certificate, as on a first contact: somebody has to
    /// confirm the fingerprint before it can be trusted. Nothing else is sent to the server.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), lxd_client::Error> {
    /// use lxd_client::Client;
    ///
    /// let endpoint = "https://192.0.2.7:8443";
    /// let shown = Client::fetch_server_certificate(endpoint).await?;
    /// println!("Is {} the fingerprint of your server?", shown.fingerprint());
    /// // After a yes:
    /// let lxd = Client::builder().endpoint(endpoint).server_certificate(shown.pem()).build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where the endpoint is not of `https`; [`Error::Transport`],
    /// [`Error::Tls`] or [`Error::Timeout`] where no server shows a certificate there.
    pub async fn fetch_server_certificate(endpoint: &str) -> Result<ServerCertificate, Error> {
        let Endpoint::Https(authority) = endpoint.parse()? else {
            return Err(Error::configuration("only an endpoint of https://HOST:PORT has a certificate"));
        };
        let place = Arc::default();
        let trust = Trust::Pinned(Pin::FirstContact(Arc::clone(&place)));
        let transport = endpoint::https(&authority, tls::configuration(trust, None)?, &Limits::default())?;
        let call = format!("first contact with {}", transport.place());
        let after = Limits::default().connect;
        match tokio::time::timeout(after, transport.connect()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(Error::transport(call, "no certificate", error)),
            Err(_) => return Err(Error::Timeout { call, after, setting: None }),
        }
        let certificate = place.get().cloned();
        let certificate =
            certificate.ok_or_else(|| Error::decode(call, "the server shows no certificate"))?;
        Ok(ServerCertificate::new(certificate))
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.core.transport
    }

    /// The same client in a project: that of all calls that have a `project` parameter and neither name
    /// one themselves nor ask for all projects. It shares the connections, and costs next to nothing.
    ///
    /// ```no_run
    /// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
    /// for project in lxd.projects_recursion1().await? {
    ///     let instances = lxd.use_project(&project.name).instances().await?;
    ///     println!("{} has {} instances", project.name, instances.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn use_project(&self, name: &str) -> Self {
        self.with(View { project: Some(name.to_owned()), ..View::clone(&self.view) })
    }

    /// The same client for a member of the cluster: that of all calls that have a `target` parameter and
    /// do not name one themselves.
    pub fn use_target(&self, member: &str) -> Self {
        self.with(View { target: Some(member.to_owned()), ..View::clone(&self.view) })
    }

    fn with(&self, view: View) -> Self {
        Self { core: Arc::clone(&self.core), view: Arc::new(view) }
    }

    /// Whether the server has an API extension, such as `instances_state_os_info`. The list is fetched
    /// once (`GET /1.0`) and kept.
    ///
    /// # Errors
    ///
    /// Those of any call.
    pub async fn has_extension(&self, name: &str) -> Result<bool, Error> {
        self.core.extensions.have(self, name).await
    }

    /// Makes sure that the server has an API extension.
    ///
    /// # Errors
    ///
    /// [`Error::Extension`] where it has not, and those of any call.
    pub async fn require_extension(&self, name: &str) -> Result<(), Error> {
        if self.has_extension(name).await? {
            return Ok(());
        }
        let server = self.core.transport.place().to_owned();
        Err(Error::Extension { server, extension: name.to_owned() })
    }

    pub(crate) fn default_project(&self) -> Option<&str> {
        self.view.project.as_deref()
    }

    pub(crate) fn default_target(&self) -> Option<&str> {
        self.view.target.as_deref()
    }

    pub(crate) fn shows_certificate(&self) -> bool {
        self.core.shows_certificate
    }

    pub(crate) fn limits(&self) -> Limits {
        self.core.limits
    }

    pub(crate) fn tokens(&self) -> Option<&Arc<AccessTokens>> {
        self.core.tokens.as_ref()
    }

    /// The headers that are the same for all requests.
    pub(crate) fn own_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, self.core.transport.host().clone());
        for layer in &self.core.layers {
            layer(&mut headers);
        }
        headers
    }

    pub(crate) fn watching(&self) -> &Watching {
        &self.core.watching
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("endpoint", &self.core.transport.place())
            .field("project", &self.view.project)
            .field("target", &self.view.target)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Client;

    #[test]
    fn a_client_can_be_shared() {
        fn shared<T: Clone + Send + Sync + 'static>() {}
        shared::<Client>();
    }
}
