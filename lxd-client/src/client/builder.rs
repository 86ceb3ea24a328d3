//! The builder of clients: it takes what users say, and checks it when the client is built. What the
//! parts of a client do is left to them.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use super::endpoint::{self, Endpoint, unusable, without_password};
use super::limits::Limits;
use super::{Client, Core, View};
use crate::error::{BoxError, Error};
use crate::extensions::Extensions;
use crate::operation::watcher::{Watcher, Watching};
use crate::socket;
use crate::transport::Transport;
use crate::trust::access_token::{self, AccessTokens, Provider};
use crate::trust::tls::{self, Trust};
use crate::trust::{AccessToken, Identity, TokenRequest};

/// What sets headers of all requests.
pub(super) type Layer = Arc<dyn Fn(&mut HeaderMap) + Send + Sync>;

/// Which server to trust, as it was given.
#[derive(Clone)]
enum GivenTrust {
    Certificate(String),
    Fingerprint(String),
    Authority(String),
    SystemAuthorities,
}

impl GivenTrust {
    fn read(&self) -> Result<Trust, Error> {
        match self {
            Self::Certificate(pem) => Trust::certificate(pem),
            Self::Fingerprint(text) => Trust::fingerprint(text),
            Self::Authority(pem) => Trust::authority(pem),
            Self::SystemAuthorities => Trust::system(),
        }
    }
}

/// Where access tokens come from, as it was given.
#[derive(Clone)]
enum GivenTokens {
    Fixed(String),
    Provided(Provider),
}

/// Builds a [`Client`].
#[derive(Clone, Default)]
pub struct ClientBuilder {
    endpoint: Option<String>,
    project: Option<String>,
    trust: Option<GivenTrust>,
    identity: Option<Identity>,
    tokens: Option<GivenTokens>,
    limits: Limits,
    layers: Vec<Layer>,
    watcher: Watcher,
    /// The first thing that was wrong with what was given.
    fault: Option<String>,
}

impl ClientBuilder {
    /// Where the server is: `unix://PATH`, `https://HOST:PORT`, or `http://HOST:PORT` on this machine
    /// (for tests and proxies, as nothing protects it).
    ///
    /// Without it, the client uses the local server: the socket at `$LXD_SOCKET`, at
    /// `$LXD_DIR/unix.socket`, or where the packages of LXD put it.
    ///
    /// Connections to `https://` go through the proxy that the environment names (`HTTPS_PROXY`,
    /// `ALL_PROXY`, `NO_PROXY`), but for those to this machine.
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

    /// The certificate of the server behind `https://`, as PEM: the connection is refused where the
    /// server shows another one. The names and dates in it do not matter.
    ///
    /// Of this and the other ways to say which server is the right one
    /// ([`server_fingerprint`](Self::server_fingerprint), [`server_authority`](Self::server_authority),
    /// [`system_authorities`](Self::system_authorities)), the last one counts. There is no way to trust
    /// just any; [`Client::fetch_server_certificate`] gets what a server shows, for somebody to confirm.
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

    /// The certificate of the authority that signed that of the server behind `https://`, as PEM; several
    /// in a row will do. This is LXD's PKI mode (its file `client.ca`). The server's certificate must be
    /// for the name in the endpoint, and in its time.
    pub fn server_authority(mut self, pem: impl Into<String>) -> Self {
        self.trust = Some(GivenTrust::Authority(pem.into()));
        self
    }

    /// The server behind `https://` is the one whose certificate an authority signed that this machine
    /// trusts, as with web sites.
    pub fn system_authorities(mut self) -> Self {
        self.trust = Some(GivenTrust::SystemAuthorities);
        self
    }

    /// Who the client is to a server behind `https://`. Without it, or a token, the client is a stranger
    /// there, who may see little.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// A bearer token that shows the server who the client is (header `Authorization`). Where it names
    /// the certificate of its server (claim `server_cert_fingerprint`) and nothing else says which server
    /// is the right one, that is it.
    pub fn access_token(mut self, token: impl Into<String>) -> Self {
        self.tokens = Some(GivenTokens::Fixed(token.into()));
        self
    }

    /// What gets tokens that show the server who the client is, such as those of OIDC. It is asked before
    /// the first call, shortly before a token expires, and when the server refuses one, which then says
    /// where others come from. However many calls wait for the token, it is asked once.
    ///
    /// ```
    /// # async fn refresh(_: Option<lxd_client::OidcSettings>) -> Result<String, std::io::Error> {
    /// #     Ok("a token".into())
    /// # }
    /// use lxd_client::{AccessToken, Client};
    ///
    /// let builder = Client::builder()
    ///     .endpoint("https://lxd.example:8443")
    ///     .system_authorities()
    ///     .token_provider(|request| async move { Ok(AccessToken::new(refresh(request.oidc).await?)) });
    /// ```
    ///
    /// What it fails with is the error of all calls that waited for it ([`Error::Token`]). A provider
    /// that has to know first where tokens come from may give an empty one. It must not call this
    /// client, which would wait for it.
    pub fn token_provider<F>(mut self, provider: impl Fn(TokenRequest) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<AccessToken, BoxError>> + Send + 'static,
    {
        self.tokens = Some(GivenTokens::Provided(Arc::new(move |request| Box::pin(provider(request)))));
        self
    }

    /// A header that goes with all requests. Headers of the call itself come before it.
    pub fn header(self, name: &str, value: &str) -> Self {
        match (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            (Ok(name), Ok(value)) => self.layer(move |headers| drop(headers.insert(&name, value.clone()))),
            (Err(_), _) => self.faulty(format!("`{name}` is no name of a header")),
            // It may be a secret.
            (Ok(_), Err(_)) => {
                self.faulty(format!("the value of `{name}` has letters that a header cannot hold"))
            }
        }
    }

    /// What the client calls itself (header `User-Agent`), in place of `lxd-client/VERSION`.
    pub fn user_agent(self, text: &str) -> Self {
        self.header(USER_AGENT.as_str(), text)
    }

    /// What sets headers for each request when it is sent, such as the context of a trace. Headers of the
    /// call itself come before them.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// let count = AtomicU64::new(0);
    /// let builder = lxd_client::Client::builder().layer(move |headers| {
    ///     headers.insert("x-request-number", count.fetch_add(1, Ordering::Relaxed).into());
    /// });
    /// ```
    pub fn layer(mut self, layer: impl Fn(&mut HeaderMap) + Send + Sync + 'static) -> Self {
        self.layers.push(Arc::new(layer));
        self
    }

    fn faulty(mut self, fault: String) -> Self {
        self.fault.get_or_insert(fault);
        self
    }

    /// How long a connection may take to come about, with the name looked up, a proxy and TLS; ten
    /// seconds by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.limits.connect = timeout;
        self
    }

    /// How long the server may be silent, before it answers or in the middle of its answer; five minutes
    /// by default. While it takes what is sent, it is not silent. It does not limit a call that asks the
    /// server to wait, nor a websocket or connection that has been handed over. But an operation is given
    /// up when the server cannot be reached for that long.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.limits.response = timeout;
        self
    }

    /// How long a call may take, from the start to the last byte of its answer; ten minutes by default.
    /// It does not limit the wait for a background operation or one that the server is asked for, bytes
    /// that are sent or received as they come, or a connection that has been handed over.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.total = timeout;
        self
    }

    /// For how long a call is tried again, with rests between, that the server could not take yet: it
    /// refused the connection, or says with status 503 that it is just starting or stopping; a call that
    /// only reads is tried again after any 503. The default is five seconds; none at all switches it off.
    /// A call that may have done something is not tried again.
    pub fn retry_for(mut self, time: Duration) -> Self {
        self.limits.retry = time;
        self
    }

    /// How many bytes an answer may have that is taken as a whole, 256 MiB by default: no server can make
    /// the client run out of memory. Streams of bytes have no such limit.
    pub fn answer_limit(mut self, bytes: usize) -> Self {
        self.limits.answer = bytes;
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
    /// [`Error::Configuration`] where the endpoint, a certificate or a header is no such thing, or where
    /// no endpoint was given and there is no local server.
    pub fn build(self) -> Result<Client, Error> {
        if let Some(fault) = self.fault {
            return Err(Error::configuration(fault));
        }
        let transport = self.transport()?;
        let shows_certificate = self.shows_certificate();
        let tokens = match self.tokens {
            Some(GivenTokens::Fixed(token)) => Some(AccessTokens::fixed(&token)?),
            Some(GivenTokens::Provided(provider)) => Some(AccessTokens::of(provider)),
            None => None,
        };
        let agent = HeaderValue::from_static(concat!("lxd-client/", env!("CARGO_PKG_VERSION")));
        let named: Layer = Arc::new(move |headers| drop(headers.insert(USER_AGENT, agent.clone())));
        let core = Core {
            transport,
            limits: self.limits,
            layers: [named].into_iter().chain(self.layers).collect(),
            tokens: tokens.map(Arc::new),
            watching: Watching::new(self.watcher),
            extensions: Extensions::default(),
            shows_certificate,
        };
        let view = View { project: self.project, target: None };
        Ok(Client { core: Arc::new(core), view: Arc::new(view) })
    }

    fn transport(&self) -> Result<Transport, Error> {
        let Some(endpoint) = self.endpoint.as_deref() else { return Ok(Transport::unix(&socket::find()?)) };
        match endpoint.parse()? {
            Endpoint::Unix(path) => Ok(Transport::unix(&path)),
            Endpoint::Http(authority) => Transport::tcp(&authority, &self.limits).map_err(unusable),
            Endpoint::Https(authority) => {
                let tls = tls::configuration(self.server()?, self.identity.as_ref())?;
                endpoint::https(&authority, tls, &self.limits)
            }
        }
    }

    /// Which server is the right one.
    fn server(&self) -> Result<Trust, Error> {
        let by_token = || match &self.tokens {
            Some(GivenTokens::Fixed(token)) => access_token::server_of(token),
            _ => None,
        };
        match &self.trust {
            Some(given) => given.read(),
            None => by_token().ok_or_else(|| {
                Error::configuration(format!(
                    "nothing says which server to trust at `{}`: give its certificate with \
                     ClientBuilder::server_certificate, its fingerprint with server_fingerprint, or who signed \
                     it with server_authority or system_authorities",
                    self.endpoint.as_deref().map(without_password).unwrap_or_default()
                ))
            }),
        }
    }

    /// Whether the server knows the client by its certificate, and by nothing else.
    fn shows_certificate(&self) -> bool {
        let is_remote = self.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("https://"));
        is_remote && self.identity.is_some() && self.tokens.is_none()
    }

    pub(crate) fn given_endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClientBuilder")
            .field("endpoint", &self.endpoint.as_deref().map(without_password))
            .field("project", &self.project)
            .field("identity", &self.identity)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;

    use super::ClientBuilder;
    use crate::{Client, Identity};

    fn https() -> ClientBuilder {
        Client::builder().endpoint("https://localhost:1")
    }

    fn refusal(builder: ClientBuilder) -> String {
        builder.build().unwrap_err().to_string()
    }

    #[test]
    fn the_endpoint_is_shown() {
        for endpoint in ["unix:///x/unix.socket", "http://[::1]:1", "http://localhost:1"] {
            let shown = format!("{:?}", Client::builder().endpoint(endpoint).build().unwrap());
            assert!(shown.contains(endpoint), "{shown}");
        }
    }

    #[test]
    fn somebody_has_to_say_which_server_is_the_right_one() {
        assert!(refusal(https()).contains("nothing says which server to trust at `https://localhost:1`"));
        assert!(refusal(https().access_token("a.b.c")).contains("nothing says which server"));
        let claims = format!(r#"{{"server_cert_fingerprint":"{}"}}"#, "0".repeat(64));
        let token = format!("h.{}.s", BASE64URL_NOPAD.encode(claims.as_bytes()));
        assert!(https().access_token(token).build().is_ok());
        let identity = Identity::generate("an authority").unwrap();
        assert!(https().server_authority(identity.certificate()).build().is_ok());
        assert!(https().server_certificate(identity.certificate()).identity(identity).build().is_ok());
    }

    #[test]
    fn certificates_are_checked() {
        let error = refusal(https().server_certificate("no"));
        assert!(error.contains("the server's certificate cannot be read as PEM"), "{error}");
        let error = refusal(https().server_authority("no"));
        assert!(error.contains("the authority's certificate is not there"), "{error}");
        let error = refusal(https().server_fingerprint("no"));
        assert!(error.contains("no fingerprint"), "{error}");
    }

    #[test]
    fn headers_are_checked() {
        let error = refusal(https().header("no header", "hush").header("x-other", "\n"));
        assert_eq!(error, "`no header` is no name of a header");
        let error = refusal(https().header("x-key", "hush\n"));
        assert_eq!(error, "the value of `x-key` has letters that a header cannot hold");
        let error = refusal(Client::builder().endpoint("http://localhost:1").access_token("hush\n"));
        assert_eq!(error, "the token has letters that a header cannot hold");
    }
}
