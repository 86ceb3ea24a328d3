//! The way to a server: connections to it, which are kept for the next requests. How one comes about is
//! left to `connect`, keeping it to `pool`, how many there are at once to `turns`, what is sent on it to `call`.

mod connect;
mod pool;
mod proxy;
mod turns;

use std::path::Path;
use std::sync::Arc;

use http::Uri;
use http::header::HeaderValue;
use http::uri::Authority;

use self::connect::Server;
pub(crate) use self::pool::Lease;
use self::pool::Pool;
pub(crate) use self::proxy::Proxy;
use self::turns::Turns;
use crate::client::limits::Limits;
use crate::error::BoxError;

/// A server, and the connections to it.
pub(crate) struct Transport {
    server: Server,
    pool: Arc<Pool>,
    turns: Turns,
    host: HeaderValue,
    /// The server for people.
    place: String,
}

impl Transport {
    /// Over the Unix socket at a path.
    pub(crate) fn unix(path: &Path) -> Self {
        let place = format!("unix://{}", path.display());
        Self::new(Server::Unix(path.to_owned()), HeaderValue::from_static("lxd"), place)
    }

    /// Over TCP to `http://HOST:PORT`.
    pub(crate) fn tcp(authority: &Authority, limits: &Limits) -> Result<Self, BoxError> {
        Self::at(format!("http://{authority}"), authority, |uri| Server::tcp(uri, limits.connect))
    }

    /// Over TLS to `https://HOST:PORT`.
    pub(crate) fn tls(
        authority: &Authority,
        configuration: rustls::ClientConfig,
        proxy: Option<Proxy>,
        limits: &Limits,
    ) -> Result<Self, BoxError> {
        let server = |uri| Server::tls(uri, configuration, proxy, limits.connect);
        Self::at(format!("https://{authority}"), authority, server)
    }

    fn at(
        place: String,
        authority: &Authority,
        server: impl FnOnce(Uri) -> Server,
    ) -> Result<Self, BoxError> {
        let host = HeaderValue::from_str(authority.as_str())?;
        Ok(Self::new(server(place.parse()?), host, place))
    }

    fn new(server: Server, host: HeaderValue, place: String) -> Self {
        Self { server, pool: Arc::default(), turns: Turns::default(), host, place }
    }

    /// Where the server is, for people.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// The header `Host` of all requests.
    pub(crate) fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// Whose turn it is to have a request under way.
    pub(crate) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// A connection that was kept from an earlier request. The server may have closed it meanwhile.
    pub(crate) fn kept(&self) -> Option<Lease> {
        self.pool.take()
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Result<Lease, BoxError> {
        self.pool.lease(self.server.connect().await?).await
    }
}
