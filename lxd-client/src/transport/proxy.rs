//! The proxy between a client and a server behind HTTPS, which the environment names. To speak with it
//! is left to hyper-util.

use http::Uri;
use http::header::HeaderValue;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;

use crate::error::Error;

/// A proxy that passes connections on (`CONNECT`).
pub(crate) struct Proxy {
    uri: Uri,
    authorization: Option<HeaderValue>,
}

impl Proxy {
    /// The proxy for a server, where the environment names one (`HTTPS_PROXY` or `ALL_PROXY`) and does
    /// not except the server (`NO_PROXY`).
    pub(crate) fn for_server(server: &Uri) -> Result<Option<Self>, Error> {
        Self::among(&Matcher::from_env(), server)
    }

    fn among(matcher: &Matcher, server: &Uri) -> Result<Option<Self>, Error> {
        let Some(found) = matcher.intercept(server) else { return Ok(None) };
        let uri = found.uri().clone();
        if uri.scheme_str() != Some("http") {
            let scheme = uri.scheme_str().unwrap_or_default();
            return Err(Error::configuration(format!(
                "the proxy that HTTPS_PROXY or ALL_PROXY names speaks {scheme}, and only http://HOST:PORT is \
                 known; NO_PROXY can except {}",
                server.host().unwrap_or_default()
            )));
        }
        Ok(Some(Self { uri, authorization: found.basic_auth().cloned() }))
    }

    /// What connects through it.
    pub(super) fn tunnel(self, connector: HttpConnector) -> Tunnel<HttpConnector> {
        let tunnel = Tunnel::new(self.uri, connector);
        match self.authorization {
            Some(authorization) => tunnel.with_auth(authorization),
            None => tunnel,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Uri;
    use hyper_util::client::proxy::matcher::Matcher;

    use super::Proxy;

    #[test]
    fn the_environment_names_the_proxy() {
        let server = Uri::from_static("https://lab.example:8443");
        let matcher = Matcher::builder().https("http://user:hush@proxy.example:3128").build();
        let proxy = Proxy::among(&matcher, &server).unwrap().unwrap();
        assert_eq!((proxy.uri.host(), proxy.uri.port_u16()), (Some("proxy.example"), Some(3128)));
        assert_eq!(proxy.authorization.unwrap(), "Basic dXNlcjpodXNo");

        let except =
            Matcher::builder().https("http://proxy.example:3128").no("other.example,.example").build();
        assert!(Proxy::among(&except, &server).unwrap().is_none());
        assert!(Proxy::among(&Matcher::builder().build(), &server).unwrap().is_none());
        let http = Matcher::builder().http("http://proxy.example:3128").build();
        assert!(Proxy::among(&http, &server).unwrap().is_none());

        let socks = Matcher::builder().all("socks5://user:hush@proxy.example:1080").build();
        let error = Proxy::among(&socks, &server).err().unwrap().to_string();
        assert!(
            error.contains("speaks socks5") && error.contains("NO_PROXY can except lab.example"),
            "{error}"
        );
        assert!(!error.contains("hush"), "{error}");
    }
}
