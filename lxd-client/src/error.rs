//! The one error type of the client, and how failures of the layers below become one. When to try
//! again is left to the caller.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a failure of another library comes as.
pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a call failed.
///
/// `call` is the call in question, as in `GET /1.0/instances/t1`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused the call.
    #[error("{}: {} (status {status}){}", Line(call), Line(message), advice_for_status(*status))]
    Api {
        /// The call.
        call: String,
        /// The status of HTTP, which is the server's `error_code`.
        status: u16,
        /// The server's words.
        message: String,
    },

    /// The server took the call, and the background operation that it started failed.
    #[error("{}: operation {} failed: {}", Line(call), Line(operation), Line(message))]
    Operation {
        /// The call that started the operation.
        call: String,
        /// The operation's UUID.
        operation: String,
        /// The server's words, the operation's `err`.
        message: String,
    },

    /// The background operation was cancelled before its end.
    #[error("{}: operation {} was cancelled", Line(call), Line(operation))]
    Cancelled {
        /// The call that started the operation.
        call: String,
        /// The operation's UUID.
        operation: String,
    },

    /// The background operation has not ended in the time that was given. It goes on.
    #[error(
        "{}: operation {} has not ended within {} s; it goes on, and can be waited for again",
        Line(call),
        Line(operation),
        after.as_secs_f32()
    )]
    StillRunning {
        /// The call that started the operation.
        call: String,
        /// The operation's UUID.
        operation: String,
        /// How long it was waited for.
        after: Duration,
    },

    /// The background operation vanished, as the server was started again while it ran.
    #[error(
        "{}: operation {} is gone, as the server was started again meanwhile; look at what it was to \
         change to see how far it came",
        Line(call),
        Line(operation)
    )]
    Restarted {
        /// The call that started the operation.
        call: String,
        /// The operation's UUID.
        operation: String,
    },

    /// How the background operation ended is not known: the server does not have it, as it forgets an
    /// operation 5 seconds after its end, or never had it.
    #[error(
        "{}: how operation {} ended is not known, as the server does not have it any more; look at what \
         it was to change to see how far it came",
        Line(call),
        Line(operation)
    )]
    Unknown {
        /// The call that started the operation.
        call: String,
        /// The operation's UUID.
        operation: String,
    },

    /// The answer is not what the description of the API promises.
    #[error("{}: cannot understand the answer: {}", Line(call), Line(source))]
    Decode {
        /// The call.
        call: String,
        /// What is wrong, with the path of the value.
        source: BoxError,
    },

    /// The server could not be reached, or the connection broke.
    #[error("{}: {}{}", Line(call), Line(message), advice_for_source(source.as_ref()))]
    Transport {
        /// The call.
        call: String,
        /// What failed.
        message: String,
        /// Why.
        source: BoxError,
    },

    /// The connection is not safe: one side does not trust the other, or their protocols differ.
    #[error("{}: no safe connection: {}{}", Line(call), Line(source), advice_for_tls(source.as_ref()))]
    Tls {
        /// The call.
        call: String,
        /// Why.
        source: BoxError,
    },

    /// The answer did not come in time.
    #[error(
        "{}: no {} within {} s{}",
        Line(call),
        if *setting == Some("connect_timeout") { "connection" } else { "answer" },
        after.as_secs_f32(),
        setting.map(|name| format!("; a longer time can be set with ClientBuilder::{name}")).unwrap_or_default()
    )]
    Timeout {
        /// The call.
        call: String,
        /// How long it was waited for.
        after: Duration,
        /// The setter of [`ClientBuilder`](crate::ClientBuilder) that this time is from, where it is from
        /// one: `connect_timeout`, `response_timeout` or `timeout`.
        setting: Option<&'static str>,
    },

    /// There is no access token for the call. It was not sent.
    #[error("{}: no access token: {}", Line(call), Line(source))]
    Token {
        /// The call.
        call: String,
        /// Why, which is what the provider of tokens failed with.
        source: BoxError,
    },

    /// An argument cannot be sent. Nothing was.
    #[error("{}: {}", Line(call), Line(message))]
    Argument {
        /// The call, as the API describes it.
        call: String,
        /// What is wrong.
        message: String,
    },

    /// The server lacks an API extension that is needed.
    #[error("{} has no API extension `{}`; a newer LXD may have it", Line(server), Line(extension))]
    Extension {
        /// Where the server is.
        server: String,
        /// The extension.
        extension: String,
    },

    /// Something on this machine that was to be sent or received cannot be read or written.
    #[error("{}: {}", Line(message), Line(source))]
    Local {
        /// What failed, and where.
        message: String,
        /// Why.
        source: std::io::Error,
    },

    /// The client cannot be built from what it was given.
    #[error("{}", Line(message))]
    Configuration {
        /// What is wrong, and what would be right.
        message: String,
        /// Why, where something else failed.
        source: Option<BoxError>,
    },
}

impl Error {
    /// The status with which the server refused the call.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Api { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the server has no such object.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether the object exists already, or is in use.
    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    /// Whether the server does not let this client do that: it does not trust it, or limits it.
    pub fn is_forbidden(&self) -> bool {
        matches!(self.status(), Some(401 | 403))
    }

    /// Whether the object has changed since the ETag that was sent.
    pub fn is_precondition_failed(&self) -> bool {
        self.status() == Some(412)
    }

    /// Whether it may be gone when the same is tried again: the server is busy, or out of reach.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Error::Api { status, .. } => *status >= 500 || matches!(status, 408 | 429),
            Error::Transport { .. } | Error::Timeout { .. } | Error::Token { .. } => true,
            _ => false,
        }
    }

    /// The same error for one more of those who wait for what it happened to.
    pub(crate) fn again(error: &Arc<Self>) -> Self {
        match error.as_ref() {
            Error::Api { call, status, message } => {
                Error::Api { call: call.clone(), status: *status, message: message.clone() }
            }
            Error::Timeout { call, after, setting } => {
                Error::Timeout { call: call.clone(), after: *after, setting: *setting }
            }
            Error::Token { call, .. } => {
                Error::Token { call: call.clone(), source: Box::new(Cause(Arc::clone(error))) }
            }
            Error::Argument { call, message } => {
                Error::Argument { call: call.clone(), message: message.clone() }
            }
            Error::Transport { call, message, .. } => Error::Transport {
                call: call.clone(),
                message: message.clone(),
                source: Box::new(Arc::clone(error)),
            },
            Error::Tls { call, .. } => {
                Error::Tls { call: call.clone(), source: Box::new(Cause(Arc::clone(error))) }
            }
            Error::Decode { call, .. } => Error::decode(call.clone(), Cause(Arc::clone(error))),
            // What asks for an operation fails with none of the others.
            other => Error::decode(String::from("GET /1.0/operations"), other.to_string()),
        }
    }

    pub(crate) fn decode(call: String, source: impl Into<BoxError>) -> Self {
        Error::Decode { call, source: source.into() }
    }

    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Error::Configuration { message: message.into(), source: None }
    }

    /// A failure of a connection: of TLS where that is at its root.
    pub(crate) fn transport(call: String, doing: &str, source: impl Into<BoxError>) -> Self {
        let source = source.into();
        if causes(source.as_ref()).any(is_tls) {
            return Error::Tls { call, source: deepest(source) };
        }
        let message = match causes(source.as_ref()).last() {
            Some(cause) => format!("{doing}: {cause}"),
            None => doing.to_owned(),
        };
        Error::Transport { call, message, source }
    }
}

/// The cause of an error that several share.
#[derive(Debug)]
struct Cause(Arc<Error>);

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.source() {
            Some(source) => fmt::Display::fmt(source, formatter),
            None => fmt::Display::fmt(&self.0, formatter),
        }
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()?.source()
    }
}

/// Words of a server on one line, and without what would steer a terminal.
struct Line<T>(T);

impl<T: fmt::Display> fmt::Display for Line<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let parts = text.split(char::is_control).map(str::trim).filter(|part| !part.is_empty());
        for (index, part) in parts.enumerate() {
            if index > 0 {
                formatter.write_str(" ")?;
            }
            formatter.write_str(part)?;
        }
        Ok(())
    }
}

/// An error and what caused it, outermost first.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<std::io::Error>() {
        // An I/O error holds its cause inside.
        Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    }
}

fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    error.is::<rustls::Error>()
}

fn is_no_http(error: &(dyn StdError + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)
}

/// The failure of TLS itself, of which the layers above say only that they could not connect.
fn deepest(source: BoxError) -> BoxError {
    let tls = causes(source.as_ref()).find_map(|cause| cause.downcast_ref::<rustls::Error>()).cloned();
    tls.map(Into::into).unwrap_or(source)
}

fn advice_for_status(status: u16) -> &'static str {
    match status {
        401 | 403 => "; does the server trust this client, and may it do this?",
        412 => "; read the object again, and change that",
        _ => "",
    }
}

/// What to do about a failure of TLS; those of a pinned certificate say it themselves.
fn advice_for_tls(source: &(dyn StdError + 'static)) -> &'static str {
    use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error as Tls};
    match causes(source).find_map(|cause| cause.downcast_ref::<Tls>()) {
        Some(Tls::InvalidCertificate(why)) => match why {
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                "; the server's certificate has expired: renew it there"
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "; the server's certificate is not for this host: use a name that is in it"
            }
            Certificate::BadSignature => {
                "; the server does not have the key of the certificate that it shows"
            }
            // One that signed itself is told so too.
            _ => {
                "; the server's certificate is signed by none of the authorities that are trusted: pin it with \
                 ClientBuilder::server_fingerprint, or name its authority with server_authority"
            }
        },
        Some(Tls::AlertReceived(
            Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRequired
            | Alert::CertificateUnknown
            | Alert::UnknownCA,
        )) => "; the server refuses the client's certificate: is it in its time, and for clients?",
        Some(Tls::InvalidMessage(_)) => "; is it https that is spoken there?",
        _ => "",
    }
}

/// What kind of failure of the system is behind an error, where one is.
pub(crate) fn io_kind(error: &(dyn StdError + 'static)) -> Option<std::io::ErrorKind> {
    causes(error).find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind)
}

fn advice_for_source(source: &(dyn StdError + 'static)) -> &'static str {
    match io_kind(source) {
        Some(std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => {
            "; is LXD running there?"
        }
        Some(std::io::ErrorKind::PermissionDenied) => "; is this user in the group `lxd`?",
        _ if causes(source).any(is_no_http) => "; is it LXD that answers there?",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::Error;

    #[test]
    fn an_error_is_one_line_that_says_what_to_do() {
        let io = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let error = Error::transport("GET /1.0".into(), "cannot connect to /x", io);
        assert_eq!(
            error.to_string(),
            "GET /1.0: cannot connect to /x: permission denied; is this user in the group `lxd`?"
        );
        assert!(std::error::Error::source(&error).is_some());
        let error = Error::Api { call: "GET /1.0/x".into(), status: 404, message: "not found".into() };
        assert_eq!(error.to_string(), "GET /1.0/x: not found (status 404)");
        assert!(error.is_not_found() && !error.is_conflict());
    }

    #[test]
    fn an_error_that_is_shared_reads_the_same() {
        let call = || String::from("GET /1.0");
        let io = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for error in [
            Error::Api { call: call(), status: 403, message: "no".into() },
            Error::Timeout { call: call(), after: Duration::from_secs(1), setting: Some("timeout") },
            Error::Token { call: call(), source: "no".into() },
            Error::Argument { call: call(), message: "no".into() },
            Error::transport(call(), "cannot connect", io),
            Error::Tls { call: call(), source: "no".into() },
            Error::decode(call(), "no"),
        ] {
            let error = Arc::new(error);
            let again = Error::again(&error);
            assert_eq!(again.to_string(), error.to_string());
            assert_eq!(
                std::error::Error::source(&again).is_some(),
                std::error::Error::source(&*error).is_some()
            );
        }
    }

    #[test]
    fn a_failure_of_tls_is_told_apart() {
        let tls = rustls::Error::General("no".into());
        let error = Error::transport("GET /1.0".into(), "cannot connect", std::io::Error::other(tls));
        assert!(matches!(error, Error::Tls { .. }), "{error}");
    }
}
