//! How a connection to a server comes about, and one type for all kinds of it, so that hyper is
//! compiled once.

use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tower_service::Service;

use super::proxy::Proxy;
use crate::error::BoxError;

/// How long a connection may be silent before the system asks whether the other side is still there,
/// how often, and how many times: streams may last, and the server may vanish meanwhile.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 6);

/// Where a server is, and how it is reached.
pub(super) enum Server {
    Unix(PathBuf),
    Tcp(Uri, HttpConnector),
    Tls(Uri, HttpsConnector<HttpConnector>),
    Proxied(Uri, HttpsConnector<Tunnel<HttpConnector>>),
}

impl Server {
    /// Over TCP.
    pub(super) fn tcp(uri: Uri, limit: Duration) -> Self {
        Self::Tcp(uri, connector(limit))
    }

    /// Over TLS, and through a proxy where there is one.
    pub(super) fn tls(uri: Uri, tls: rustls::ClientConfig, proxy: Option<Proxy>, limit: Duration) -> Self {
        // No other version of HTTP: websockets and SFTP take over a connection, which later ones share.
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1();
        match proxy {
            None => Self::Tls(uri, builder.wrap_connector(connector(limit))),
            Some(proxy) => Self::Proxied(uri, builder.wrap_connector(proxy.tunnel(connector(limit)))),
        }
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Stream, BoxError> {
        // All connectors are always ready; and their futures are large, and rarely needed.
        let stream = match self {
            Self::Unix(path) => return Ok(Stream::Unix(TokioIo::new(UnixStream::connect(path).await?))),
            Self::Tcp(uri, connector) => {
                MaybeHttpsStream::Http(Box::pin(connector.clone().call(uri.clone())).await?)
            }
            Self::Tls(uri, connector) => Box::pin(connector.clone().call(uri.clone())).await?,
            Self::Proxied(uri, connector) => Box::pin(connector.clone().call(uri.clone())).await?,
        };
        Ok(Stream::Tcp(Box::new(stream)))
    }
}

/// What connects within a time, which it divides among the addresses of a name.
fn connector(limit: Duration) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(limit));
    let (silent, interval, times) = KEEPALIVE;
    connector.set_keepalive(Some(silent));
    connector.set_keepalive_interval(Some(interval));
    connector.set_keepalive_retries(Some(times));
    connector
}

/// A connection of any kind.
pub(super) enum Stream {
    Unix(TokioIo<UnixStream>),
    Tcp(Box<MaybeHttpsStream<TokioIo<TcpStream>>>),
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
