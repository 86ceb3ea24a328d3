//! The client and its builder: one server, and what goes into every call to it. The calls
//! themselves are left to `call`, the methods to the generator.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::call::within;
use crate::error::{BoxError, Error};
use crate::extensions::Extensions;
use crate::fingerprint::ServerCertificate;
use crate::operation::watcher::{Watcher, Watching};
use crate::socket;
use crate::tls::{self, Identity, Trust};
use crate::transport::Transport;

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
    timeout: Duration,
    watching: Watching,
    extensions: Extensions,
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
        let shown = without_password(endpoint);
        let Some(rest) = endpoint.strip_prefix("https://") else {
            return Err(Error::configuration(format!("the endpoint `{shown}` is not https://HOST:PORT")));
        };
        let authority = authority(&shown, rest.strip_suffix('/').unwrap_or(rest))?;
        let place = Arc::default();
        let tls = tls::configuration(Trust::FirstContact(Arc::clone(&place)), None)?;
        let call = format!("first contact with {shown}");
        within(FIRST_CONTACT, &call, async {
            let connected = Transport::tcp(&authority, Some(tls)).map_err(unusable)?.connect().await;
            connected.map_err(|error| Error::transport(call.clone(), "no certificate", error))
        })
        .await?;
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

    pub(crate) fn timeout(&self) -> Duration {
        self.core.timeout
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

/// How long an answer may take, unless the builder is told otherwise. A server does some slow work
/// before it answers, such as making a storage pool.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// How long it may take to see a server's certificate.
const FIRST_CONTACT: Duration = Duration::from_secs(20);

/// Which server to trust, as it was given.
#[derive(Clone)]
enum GivenTrust {
    Certificate(String),
    Fingerprint(String),
}

impl GivenTrust {
    fn read(&self) -> Result<Trust, Error> {
        match self {
            Self::Certificate(pem) => Trust::certificate(pem),
            Self::Fingerprint(text) => Trust::fingerprint(text),
        }
    }
}

/// Builds a [`Client`].
#[derive(Clone, Default)]
pub struct ClientBuilder {
    endpoint: Option<String>,
    project: Option<String>,
    timeout: Option<Duration>,
    trust: Option<GivenTrust>,
    identity: Option<Identity>,
    watcher: Watcher,
}

impl ClientBuilder {
    /// Where the server is: `unix://PATH`, `https://HOST:PORT`, or `http://HOST:PORT` on this machine
    /// (for tests and proxies, as nothing protects it).
    ///
    /// Without it, the client uses the local server: the socket at `$LXD_SOCKET`, at
    /// `$LXD_DIR/unix.socket`, or where the packages of LXD put it.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// The project of all calls that have a `project` parameter and neither name one themselves nor ask
    /// for all projects. Without it, the server takes its project `default`.
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.project = Some(project.into());
        self
    }

    /// How long an answer may take, from the call to its last byte; five minutes by default. It does
    /// not limit the wait for a background operation, bytes as they come, or a connection that has
    /// been handed over. But an operation is given up when the server cannot be reached for that long.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The certificate of the server behind `https://`, as PEM: the connection is refused where the
    /// server shows another one. The names and dates in it do not matter.
    ///
    /// Of this and [`server_fingerprint`](Self::server_fingerprint), the last one counts.
    pub fn server_certificate(mut self, pem: impl Into<String>) -> Self {
        self.trust = Some(GivenTrust::Certificate(pem.into()));
        self
    }

    /// The fingerprint of the certificate of the server behind `https://`: the connection is refused
    /// where the server shows another one, before anything is sent. It is `sha256$` and 64 hexadecimal
    /// digits, or in old configurations `sha1$` and 40, with colons between them or without; the digits
    /// alone will do.
    ///
    /// ```
    /// use lxd_client::Client;
    ///
    /// let shown = "sha256$ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    /// let remote = Client::builder().endpoint("https://192.0.2.7:8443").server_fingerprint(shown);
    /// assert!(remote.build().is_ok());
    /// ```
    pub fn server_fingerprint(mut self, fingerprint: impl Into<String>) -> Self {
        self.trust = Some(GivenTrust::Fingerprint(fingerprint.into()));
        self
    }

    /// Who the client is to a server behind `https://`: a certificate that the server trusts and its
    /// key, both as PEM.
    pub fn identity(mut self, certificate: impl Into<String>, key: impl Into<String>) -> Self {
        self.identity = Some(Identity { certificate: certificate.into(), key: key.into() });
        self
    }

    /// How the client learns what becomes of background operations: by the server's events, unless
    /// this says otherwise.
    ///
    /// ```
    /// use lxd_client::{Client, Watcher};
    ///
    /// let builder = Client::builder().watcher(Watcher::LongPoll);
    /// ```
    pub fn watcher(mut self, watcher: Watcher) -> Self {
        self.watcher = watcher;
        self
    }

    /// Builds the client. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where the endpoint or a certificate is no such thing, or where no
    /// endpoint was given and there is no local server.
    pub fn build(self) -> Result<Client, Error> {
        let transport = self.transport()?;
        let timeout = self.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let watching = Watching::new(self.watcher);
        let core = Core { transport, timeout, watching, extensions: Extensions::default() };
        let view = View { project: self.project, target: None };
        Ok(Client { core: Arc::new(core), view: Arc::new(view) })
    }

    fn transport(&self) -> Result<Transport, Error> {
        let Some(endpoint) = self.endpoint.as_deref() else { return Ok(Transport::unix(&socket::find()?)) };
        let shown = without_password(endpoint);
        let (scheme, rest) = endpoint.split_once("://").unwrap_or((endpoint, ""));
        let rest = rest.strip_suffix('/').filter(|rest| scheme != "unix" && !rest.is_empty()).unwrap_or(rest);
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Transport::unix(Path::new(rest))),
            "http" => {
                let authority = authority(&shown, rest)?;
                if !is_loopback(authority.host()) {
                    return Err(Error::configuration(format!(
                        "the endpoint `{shown}` is not on this machine, and http protects nothing on \
                         the way: use https"
                    )));
                }
                Transport::tcp(&authority, None).map_err(unusable)
            }
            "https" => {
                let authority = authority(&shown, rest)?;
                let Some(trust) = &self.trust else {
                    return Err(Error::configuration(format!(
                        "nothing says which server to trust at `{shown}`: give its certificate with \
                         ClientBuilder::server_certificate, or its fingerprint with server_fingerprint"
                    )));
                };
                let tls = tls::configuration(trust.read()?, self.identity.as_ref())?;
                Transport::tcp(&authority, Some(tls)).map_err(unusable)
            }
            _ => Err(Error::configuration(format!(
                "the endpoint `{shown}` is none of unix:///PATH, https://HOST:PORT and http://HOST:PORT"
            ))),
        }
    }
}

fn unusable(error: BoxError) -> Error {
    Error::Configuration { message: format!("the endpoint cannot be used: {error}"), source: Some(error) }
}

fn authority(shown: &str, rest: &str) -> Result<http::uri::Authority, Error> {
    let authority: Result<http::uri::Authority, _> = rest.parse();
    match authority {
        Ok(authority) if !authority.as_str().contains('@') => Ok(authority),
        Ok(_) => Err(Error::configuration("the endpoint holds a user or password, which LXD does not know")),
        Err(error) => Err(Error::Configuration {
            message: format!("the endpoint `{shown}` has no HOST:PORT: {error}"),
            source: Some(error.into()),
        }),
    }
}

/// An endpoint as it may be shown: LXD has no passwords there, but people may write one.
fn without_password(endpoint: &str) -> String {
    match (endpoint.split_once("://"), endpoint.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) if scheme != "unix" => format!("{scheme}://…@{host}"),
        _ => endpoint.to_owned(),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClientBuilder")
            .field("endpoint", &self.endpoint.as_deref().map(without_password))
            .field("project", &self.project)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Client;

    fn refusal(endpoint: &str) -> String {
        Client::builder().endpoint(endpoint).build().unwrap_err().to_string()
    }

    #[test]
    fn endpoints_are_checked() {
        for endpoint in
            ["unix:///x/unix.socket", "http://127.0.0.1:1", "http://[::1]:1/", "http://localhost:1"]
        {
            let client = Client::builder().endpoint(endpoint).build().unwrap();
            let shown = format!("{client:?}");
            assert!(shown.contains(endpoint.trim_end_matches('/')), "{shown}");
        }
        assert!(refusal("http://10.0.0.1:8443").contains("use https"));
        assert!(refusal("https://10.0.0.1:8443").contains("server_certificate"));
        assert!(refusal("unix://relative").contains("none of"));
        assert!(refusal("/var/lib/lxd/unix.socket").contains("none of"));
        assert!(refusal("http://").contains("HOST:PORT"));
        assert!(refusal("http://user:secret@localhost:1").contains("user or password"));
    }

    #[test]
    fn certificates_are_checked() {
        let builder = Client::builder().endpoint("https://localhost:1");
        let error = builder.clone().server_certificate("no").build().unwrap_err();
        assert!(error.to_string().contains("the server's certificate cannot be read as PEM"), "{error}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let builder = Client::builder().identity("CERTIFICATE", "KEY");
        assert!(!format!("{builder:?}").contains("KEY"));
    }

    #[test]
    fn a_client_can_be_shared() {
        fn shared<T: Clone + Send + Sync + 'static>() {}
        shared::<Client>();
    }
}
