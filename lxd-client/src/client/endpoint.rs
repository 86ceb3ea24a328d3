//! Where a server is, as users write it. The way there is left to `transport`.

use std::path::PathBuf;
use std::str::FromStr;

use http::uri::Authority;

use super::limits::Limits;
use crate::error::{BoxError, Error};
use crate::transport::{Proxy, Transport};

/// An endpoint.
#[derive(Debug, PartialEq)]
pub(super) enum Endpoint {
    Unix(PathBuf),
    Http(Authority),
    Https(Authority),
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(endpoint: &str) -> Result<Self, Error> {
        let shown = without_password(endpoint);
        let (scheme, rest) = endpoint.split_once("://").unwrap_or((endpoint, ""));
        let host = rest.strip_suffix('/').unwrap_or(rest);
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            "http" => {
                let authority = authority(&shown, host)?;
                if !is_loopback(authority.host()) {
                    return Err(Error::configuration(format!(
                        "the endpoint `{shown}` is not on this machine, and http protects nothing on \
                         the way: use https"
                    )));
                }
                Ok(Self::Http(authority))
            }
            "https" => Ok(Self::Https(authority(&shown, host)?)),
            _ => Err(Error::configuration(format!(
                "the endpoint `{shown}` is none of unix:///PATH, https://HOST:PORT and http://HOST:PORT"
            ))),
        }
    }
}

/// The way to a server over TLS, through the proxy that the environment names. As for other programs,
/// there is none on the way to this machine itself.
pub(super) fn https(
    authority: &Authority,
    configuration: rustls::ClientConfig,
    limits: &Limits,
) -> Result<Transport, Error> {
    let proxy = match is_loopback(authority.host()) {
        true => None,
        false => Proxy::for_server(&format!("https://{authority}").parse().map_err(unusable)?)?,
    };
    Transport::tls(authority, configuration, proxy, limits).map_err(unusable)
}

pub(super) fn unusable(error: impl Into<BoxError>) -> Error {
    let error = error.into();
    Error::Configuration { message: format!("the endpoint cannot be used: {error}"), source: Some(error) }
}

fn authority(shown: &str, rest: &str) -> Result<Authority, Error> {
    let authority: Result<Authority, _> = rest.parse();
    match authority {
        Ok(authority) if !authority.as_str().contains('@') => {
            let port = authority.as_str().strip_prefix(authority.host());
            let has_port = port.is_some_and(|port| port.is_empty() || authority.port_u16().is_some());
            if authority.host().is_empty() || !has_port {
                return Err(Error::configuration(format!(
                    "the endpoint `{shown}` has no HOST:PORT: a port is a number up to 65535"
                )));
            }
            Ok(authority)
        }
        Ok(_) => Err(Error::configuration("the endpoint holds a user or password, which LXD does not know")),
        Err(error) => Err(Error::Configuration {
            message: format!("the endpoint `{shown}` has no HOST:PORT: {error}"),
            source: Some(error.into()),
        }),
    }
}

/// An endpoint as it may be shown: LXD has no passwords there, but people may write one.
pub(super) fn without_password(endpoint: &str) -> String {
    match (endpoint.split_once("://"), endpoint.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) if scheme != "unix" => format!("{scheme}://…@{host}"),
        _ => endpoint.to_owned(),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn endpoints_are_read() {
        let unix = |path: &str| Endpoint::Unix(path.into());
        let http = |authority: &str| Endpoint::Http(authority.parse().unwrap());
        let https = |authority: &str| Endpoint::Https(authority.parse().unwrap());
        for (text, expected) in [
            ("unix:///x/unix.socket", unix("/x/unix.socket")),
            ("http://127.0.0.1:1", http("127.0.0.1:1")),
            ("http://[::1]:1/", http("[::1]:1")),
            ("http://localhost:1", http("localhost:1")),
            ("https://lab.example:8443/", https("lab.example:8443")),
            ("https://lab.example", https("lab.example")),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_told() {
        for (text, told) in [
            ("http://10.0.0.1:8443", "use https"),
            ("unix://relative", "none of"),
            ("unix://", "none of"),
            ("/var/lib/lxd/unix.socket", "none of"),
            ("http://", "HOST:PORT"),
            ("https://:8443", "HOST:PORT"),
            ("https://lab.example:", "up to 65535"),
            ("https://lab.example:84433", "up to 65535"),
            ("https://lab.example:ssh", "up to 65535"),
            ("https://lab.example:8443/1.0", "HOST:PORT"),
            ("http://user:secret@localhost:1", "user or password"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(told) && !error.contains("secret"), "{error}");
        }
    }
}
