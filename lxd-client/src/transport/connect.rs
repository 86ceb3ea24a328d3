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
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tower_service::Service;

use crate::error::BoxError;

/// How long a connection may take to come about.
const LIMIT: Duration = Duration::from_secs(10);

/// Where a server is, and how it is reached.
pub(super) enum Server {
    Unix(PathBuf),
    Tcp(Uri, HttpConnector),
    Tls(Uri, HttpsConnector<HttpConnector>),
}

impl Server {
    /// Over TCP, with TLS where there is a configuration for it.
    pub(super) fn tcp(uri: Uri, tls: Option<rustls::ClientConfig>) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(LIMIT));
        match tls {
            Some(tls) => {
                let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
                Self::Tls(uri, builder.https_only().enable_http1().wrap_connector(http))
            }
            None => Self::Tcp(uri, http),
        }
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Stream, BoxError> {
        match self {
            Self::Unix(path) => Ok(Stream::Unix(TokioIo::new(UnixStream::connect(path).await?))),
            // Both are always ready; and their futures are large, and rarely needed.
            Self::Tcp(uri, connector) => {
                let stream = Box::pin(connector.clone().call(uri.clone())).await?;
                Ok(Stream::Tcp(Box::new(MaybeHttpsStream::Http(stream))))
            }
            Self::Tls(uri, connector) => {
                let stream = Box::pin(connector.clone().call(uri.clone())).await?;
                Ok(Stream::Tcp(Box::new(stream)))
            }
        }
    }
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
