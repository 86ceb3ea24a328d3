//! Connections to a server: over its Unix socket, or over TCP with or without TLS, pooled by hyper.
//! What is sent over them is left to `call`.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::{Authority, Parts, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyperlocal::UnixConnector;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::body::Body;
use crate::error::BoxError;

/// A server, and the connections to it.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    client: Client<Connector, Body>,
    /// The server in the form of a URI; that of a Unix socket is made up by hyperlocal.
    scheme: Scheme,
    authority: Authority,
    /// The server for people.
    place: String,
}

/// How long a connection may take to come about, and how long an idle one is kept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

impl Transport {
    /// Over the Unix socket at a path.
    pub(crate) fn unix(path: &Path) -> Result<Self, BoxError> {
        let place = format!("unix://{}", path.display());
        Self::new(hyperlocal::Uri::new(path, "/").into(), place, Connector::Unix(UnixConnector))
    }

    /// Over TCP to `https://HOST:PORT` where there is a TLS configuration, to `http://HOST:PORT` else.
    pub(crate) fn tcp(authority: &Authority, tls: Option<rustls::ClientConfig>) -> Result<Self, BoxError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let (scheme, connector) = match tls {
            Some(tls) => {
                let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls);
                ("https", Connector::Tls(builder.https_only().enable_http1().wrap_connector(http)))
            }
            None => ("http", Connector::Tcp(http)),
        };
        let place = format!("{scheme}://{authority}");
        Self::new(format!("{place}/").parse()?, place, connector)
    }

    fn new(server: Uri, place: String, connector: Connector) -> Result<Self, BoxError> {
        // The pool connects ahead, and LXD serves nobody else on its Unix socket while a connection there
        // is open that has sent nothing: its own hooks would wait too. To connect there costs little.
        let kept = if matches!(connector, Connector::Unix(_)) { 0 } else { usize::MAX };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(kept)
            .build(connector);
        let Parts { scheme: Some(scheme), authority: Some(authority), .. } = server.into_parts() else {
            return Err("a server needs a scheme and an authority".into());
        };
        Ok(Self { client, scheme, authority, place })
    }

    /// Where the server is, for people.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Whether the server is reached by a Unix socket.
    pub(crate) fn is_unix(&self) -> bool {
        self.scheme.as_str() == "unix"
    }

    /// The URI of a path with its query on this server.
    pub(crate) fn uri(&self, path: String) -> Result<Uri, BoxError> {
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path.try_into()?);
        Ok(Uri::from_parts(parts)?)
    }

    /// Sends a request; the answer's body is still to come.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        Ok(self.client.request(request).await?)
    }
}

/// One type for all ways to connect, so that hyper is compiled once.
#[derive(Clone, Debug)]
enum Connector {
    Unix(UnixConnector),
    Tcp(HttpConnector),
    Tls(HttpsConnector<HttpConnector>),
}

type Connecting = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Connector::Unix(connector) => Service::<Uri>::poll_ready(connector, context).map_err(Into::into),
            Connector::Tcp(connector) => connector.poll_ready(context).map_err(Into::into),
            Connector::Tls(connector) => connector.poll_ready(context),
        }
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        match self {
            Connector::Unix(connector) => {
                let connecting = connector.call(uri);
                Box::pin(async move { Ok(Stream::Unix(connecting.await?)) })
            }
            Connector::Tcp(connector) => {
                let connecting = connector.call(uri);
                Box::pin(async move { Ok(Stream::Tcp(Box::new(MaybeHttpsStream::Http(connecting.await?)))) })
            }
            Connector::Tls(connector) => {
                let connecting = connector.call(uri);
                Box::pin(async move { Ok(Stream::Tcp(Box::new(connecting.await?))) })
            }
        }
    }
}

/// A connection of any kind.
enum Stream {
    Unix(hyperlocal::UnixStream),
    Tcp(Box<MaybeHttpsStream<TokioIo<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Stream::Unix(stream) => stream.connected(),
            Stream::Tcp(stream) => stream.connected(),
        }
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        match &mut *self {
            Stream::Unix(stream) => Read::poll_read(Pin::new(stream), context, buffer),
            Stream::Tcp(stream) => Read::poll_read(Pin::new(stream), context, buffer),
        }
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match &mut *self {
            Stream::Unix(stream) => Write::poll_write(Pin::new(stream), context, bytes),
            Stream::Tcp(stream) => Write::poll_write(Pin::new(stream), context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut *self {
            Stream::Unix(stream) => Write::poll_flush(Pin::new(stream), context),
            Stream::Tcp(stream) => Write::poll_flush(Pin::new(stream), context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut *self {
            Stream::Unix(stream) => Write::poll_shutdown(Pin::new(stream), context),
            Stream::Tcp(stream) => Write::poll_shutdown(Pin::new(stream), context),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Unix(stream) => Write::is_write_vectored(stream),
            Stream::Tcp(stream) => Write::is_write_vectored(stream),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        match &mut *self {
            Stream::Unix(stream) => Write::poll_write_vectored(Pin::new(stream), context, buffers),
            Stream::Tcp(stream) => Write::poll_write_vectored(Pin::new(stream), context, buffers),
        }
    }
}
