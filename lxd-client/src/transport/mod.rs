//! The way to a server: requests go out on connections that are kept for the next ones. How a
//! connection comes about is left to `connect`, keeping it to `pool`, what is sent to `call`.

mod connect;
mod pool;

use std::path::Path;
use std::sync::Arc;

use http::header::{HOST, HeaderValue, UPGRADE};
use http::uri::Authority;
use http::{Method, Request, Response};
use hyper::body::{Body as _, Incoming};

use self::connect::Server;
pub(crate) use self::pool::Lease;
use self::pool::Pool;
use crate::body::Body;
use crate::error::BoxError;

/// A server, and the connections to it.
pub(crate) struct Transport {
    server: Server,
    pool: Arc<Pool>,
    /// The header `Host` of all requests.
    host: HeaderValue,
    /// The server for people.
    place: String,
}

impl Transport {
    /// Over the Unix socket at a path.
    pub(crate) fn unix(path: &Path) -> Self {
        Self {
            server: Server::Unix(path.to_owned()),
            pool: Arc::default(),
            host: HeaderValue::from_static("lxd"),
            place: format!("unix://{}", path.display()),
        }
    }

    /// Over TCP to `https://HOST:PORT` where there is a TLS configuration, to `http://HOST:PORT` else.
    pub(crate) fn tcp(authority: &Authority, tls: Option<rustls::ClientConfig>) -> Result<Self, BoxError> {
        let place = format!("{}://{authority}", if tls.is_some() { "https" } else { "http" });
        Ok(Self {
            server: Server::tcp(place.parse()?, tls),
            pool: Arc::default(),
            host: HeaderValue::from_str(authority.as_str())?,
            place,
        })
    }

    /// Opens a connection and closes it again.
    pub(crate) async fn connect(&self) -> Result<(), BoxError> {
        self.server.connect().await.map(drop)
    }

    /// Where the server is, for people.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Sends a request, of which the URI is the path; the answer's body is still to come. The lease is
    /// to be given back once that has been read.
    ///
    /// A connection that was kept may have been closed by the server meanwhile. What is not on its way
    /// then is sent on another one, and what is, where to do it twice is to do it once.
    pub(crate) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, Lease), BoxError> {
        request.headers_mut().entry(HOST).or_insert_with(|| self.host.clone());
        while let Some(mut lease) = self.pool.take() {
            let copy = repeatable(&request);
            match lease.send(request).await {
                Ok(response) => return Ok((response, lease)),
                Err(mut failed) => match failed.take_message().or(copy) {
                    Some(unsent) => request = unsent,
                    None => return Err(failed.into_error().into()),
                },
            }
        }
        let mut lease = self.pool.lease(self.server.connect().await?).await?;
        match lease.send(request).await {
            Ok(response) => Ok((response, lease)),
            Err(failed) => Err(failed.into_error().into()),
        }
    }
}

/// The request once more, where it changes nothing on the server and has no body. (A websocket does: the
/// streams of a command can be had once.)
fn repeatable(request: &Request<Body>) -> Option<Request<Body>> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads || request.headers().contains_key(UPGRADE) || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(Body::default());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}
