//! Connections to a server: over its Unix socket, or over TCP with or without TLS, pooled by hyper.
//! What is sent over them is left to `call`.

use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

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
    server: Server,
}

/// Where a server is.
#[derive(Clone, Debug)]
enum Server {
    Unix(PathBuf),
    Tcp {
        /// `http://HOST:PORT` or `https://HOST:PORT`.
        base: String,
    },
}

/// How long a connection may take to come about, and how long an idle one is kept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

impl Transport {
    /// Over the Unix socket at a path.
    pub(crate) fn unix(path: PathBuf) -> Self {
        Self { client: client(Connector::Unix(UnixConnector)), server: Server::Unix(path) }
    }

    /// Over TCP; `base` says whether with TLS.
    pub(crate) fn tcp(base: String, tls: Option<rustls::ClientConfig>) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = match tls {
            Some(tls) => Connector::Tls(
                hyper_rustls::HttpsConnectorBuilder::new()
                    .with_tls_config(tls)
                    .https_only()
                    .enable_http1()
                    .wrap_connector(http),
            ),
            None => Connector::Tcp(http),
        };
        Self { client: client(connector), server: Server::Tcp { base } }
    }

    /// Where the server is, for people.
    pub(crate) fn place(&self) -> String {
        match &self.server {
            Server::Unix(path) => format!("unix://{}", path.display()),
            Server::Tcp { base } => base.clone(),
        }
    }

    /// The URI of a path with its query on this server.
    pub(crate) fn uri(&self, path: &str) -> Result<Uri, BoxError> {
        match &self.server {
            Server::Unix(socket) => Ok(hyperlocal::Uri::new(socket, path).into()),
            Server::Tcp { base } => Ok(format!("{base}{path}").parse()?),
        }
    }

    /// Sends a request; the answer's body is still to come.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        Ok(self.client.request(request).await?)
    }
}

fn client(connector: Connector) -> Client<Connector, Body> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .build(connector)
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
