//! Sending a request until there is an answer: on a connection that is at hand or a new one, with the
//! client's own headers and token, in the time that is given, and again where that does nothing twice.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, UPGRADE};
use http::{Method, StatusCode, Uri};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::arriving::Arriving;
use crate::backoff::Backoff;
use crate::body::{Body, Pace};
use crate::client::Client;
use crate::client::limits::Limits;
use crate::envelope::{self, Outcome};
use crate::error::{self, BoxError, Error};
use crate::transport::Lease;
use crate::trust::access_token::Issued;

/// What is to be sent.
pub(super) struct Outgoing<'a> {
    pub(super) method: Method,
    /// The path and the query.
    pub(super) uri: Uri,
    /// The headers of this call alone.
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a mut Body,
    /// Whether it is tried once only.
    pub(super) once: bool,
}

type Answered = (http::Response<Incoming>, Lease);

/// A request, while it is tried.
pub(super) struct Sending<'a> {
    client: &'a Client,
    call: &'a str,
    outgoing: Outgoing<'a>,
    limits: &'a Limits,
    /// The one that it is sent with now.
    token: Option<Arc<Issued>>,
    /// Whether that is not the first one.
    renewed: bool,
    retries: Retries,
}

/// Why an attempt gave no answer, and what may help.
struct Failure {
    error: Error,
    remedy: Remedy,
}

enum Remedy {
    /// Nothing that is known, or what was sent may have been done.
    None,
    /// The connection was kept from an earlier request, and closed meanwhile.
    AnotherConnection,
    /// The server could not take it yet.
    Rest,
    /// The server refused the token with these headers. The body may not be there any more.
    AnotherToken { headers: HeaderMap, at_hand: bool },
}

impl<'a> Sending<'a> {
    pub(super) fn new(client: &'a Client, call: &'a str, outgoing: Outgoing<'a>, limits: &'a Limits) -> Self {
        let retries = Retries::new(if outgoing.once { Duration::ZERO } else { limits.retry });
        Self { client, call, outgoing, limits, token: None, renewed: false, retries }
    }

    /// Sends what is to be sent, and gives the answer that is no refusal; its body is still to come. The
    /// lease is to be given back once that has been read.
    pub(super) async fn send(&mut self) -> Result<Answered, Error> {
        if let Some(tokens) = self.client.tokens() {
            self.token = Some(Box::pin(tokens.token(self.call)).await?);
        }
        loop {
            let begun = Instant::now();
            // In a box of its own, as memory of more than a kilobyte is not had as quickly.
            let attempt = Box::pin(self.attempt()).await;
            self.outgoing.trace(&attempt, begun.elapsed());
            match attempt {
                Ok(answered) => return Ok(answered),
                Err(failure) => Box::pin(self.mend(failure)).await?,
            }
        }
    }

    /// Does what may help another attempt; the error, where nothing does.
    async fn mend(&mut self, Failure { error, remedy }: Failure) -> Result<(), Error> {
        match remedy {
            // Each ends one of the connections that were kept: it is not for ever.
            Remedy::AnotherConnection => Ok(()),
            Remedy::Rest if self.retries.rest().await => Ok(()),
            Remedy::AnotherToken { headers, at_hand } => {
                let (Some(tokens), Some(refused)) = (self.client.tokens(), &self.token) else {
                    return Err(error);
                };
                let another = tokens.refuse(refused, &headers) && at_hand;
                if !another || std::mem::replace(&mut self.renewed, true) {
                    return Err(error);
                }
                self.token = Some(tokens.token(self.call).await?);
                Ok(())
            }
            _ => Err(error),
        }
    }

    async fn attempt(&mut self) -> Result<Answered, Failure> {
        let transport = self.client.transport();
        let (mut lease, kept) = match transport.kept() {
            Some(lease) => (lease, true),
            // Its future is large, and rarely needed.
            None => (Box::pin(self.connected()).await?, false),
        };
        let (request, is_at_hand, pace) = self.request();
        let answer = pin!(lease.send(request));
        let response = match unless_silent(self.limits.response, pace, answer).await {
            Some(Ok(response)) => response,
            Some(Err(mut failed)) => {
                let only_read = is_at_hand && self.outgoing.only_reads();
                let unsent =
                    failed.take_message().map(|unsent| *self.outgoing.body = unsent.into_body().into());
                let again = kept && (unsent.is_some() || only_read);
                let remedy = if again { Remedy::AnotherConnection } else { Remedy::None };
                return Err(Failure { error: self.no_answer(failed.into_error()), remedy });
            }
            None => {
                let (call, after) = (self.call.to_owned(), self.limits.response);
                let error = Error::Timeout { call, after, setting: Some("response_timeout") };
                return Err(Failure { error, remedy: Remedy::None });
            }
        };
        // A server that sends its clients elsewhere is no LXD.
        if response.status().is_success() || response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok((response, lease));
        }
        Err(Box::pin(self.refused(response, lease, is_at_hand)).await)
    }

    /// Why the server refused.
    async fn refused(
        &mut self,
        response: http::Response<Incoming>,
        lease: Lease,
        is_at_hand: bool,
    ) -> Failure {
        let (head, body) = response.into_parts();
        let body = match Arriving::new(body, *self.limits).all(self.call).await {
            Ok(body) => body,
            Err(error) => return Failure { error, remedy: Remedy::None },
        };
        lease.give_back();
        let error = refusal(self.call, head.status.as_u16(), &body);
        let remedy = match head.status {
            StatusCode::UNAUTHORIZED => Remedy::AnotherToken { headers: head.headers, at_hand: is_at_hand },
            StatusCode::SERVICE_UNAVAILABLE
                if is_at_hand && (self.outgoing.only_reads() || is_not_ready(&error)) =>
            {
                Remedy::Rest
            }
            _ => Remedy::None,
        };
        Failure { error, remedy }
    }

    async fn connected(&mut self) -> Result<Lease, Failure> {
        let (begun, after) = (Instant::now(), self.limits.connect);
        let error = match tokio::time::timeout(after, self.client.transport().connect()).await {
            Ok(Ok(lease)) => return Ok(lease),
            // The connector divides the time among the addresses of a name.
            Ok(Err(error)) if begun.elapsed() < after => error,
            _ => {
                let error =
                    Error::Timeout { call: self.call.to_owned(), after, setting: Some("connect_timeout") };
                return Err(Failure { error, remedy: Remedy::None });
            }
        };
        // A Unix socket says that it would block where too many are waiting to be let in.
        let is_busy = matches!(
            error::io_kind(error.as_ref()),
            Some(ErrorKind::ConnectionRefused | ErrorKind::WouldBlock)
        );
        let remedy = if is_busy { Remedy::Rest } else { Remedy::None };
        Err(Failure { error: self.no_answer(error), remedy })
    }

    /// The request; whether what it sends is still at hand for another, and how what may take long goes out.
    fn request(&mut self) -> (http::Request<Body>, bool, Option<Pace>) {
        let outgoing = &mut self.outgoing;
        let copy = outgoing.body.copy();
        let is_at_hand = copy.is_some();
        let mut body = copy.unwrap_or_else(|| std::mem::take(outgoing.body));
        let pace = body.is_long().then(|| body.paced());
        let mut request = http::Request::new(body);
        *request.method_mut() = outgoing.method.clone();
        *request.uri_mut() = outgoing.uri.clone();
        let headers = request.headers_mut();
        *headers = self.client.own_headers();
        for (name, value) in outgoing.headers {
            headers.insert(name, value.clone());
        }
        if let Some(token) = &self.token {
            token.show_in(headers);
        }
        (request, is_at_hand, pace)
    }

    fn no_answer(&self, error: impl Into<BoxError>) -> Error {
        let doing = format!("no answer from {}", self.client.transport().place());
        Error::transport(self.call.to_owned(), &doing, error)
    }
}

impl Outgoing<'_> {
    /// Whether to do it twice is to do it once. (A websocket is not that: the streams of a command can
    /// be had once.)
    fn only_reads(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD) && !self.headers.contains_key(UPGRADE)
    }

    /// Tells what was asked and what came of it; not the query, which may hold secrets.
    fn trace(&self, attempt: &Result<Answered, Failure>, time: Duration) {
        let (method, path) = (&self.method, self.uri.path());
        match attempt {
            Ok((response, _)) => {
                tracing::debug!(target: "lxd_client::call", %method, path, status = response.status().as_u16(), ?time, "answered");
            }
            Err(Failure { error, remedy }) => {
                let again = !matches!(remedy, Remedy::None);
                tracing::debug!(target: "lxd_client::call", %method, path, status = error.status(), ?time, %error, again, "failed");
            }
        }
    }
}

/// How long a request is tried again.
struct Retries {
    time: Duration,
    until: Option<Option<Instant>>,
    backoff: Backoff,
}

impl Retries {
    fn new(time: Duration) -> Self {
        Self { time, until: None, backoff: Backoff::default() }
    }

    /// Rests after a failure, where there is time for another attempt.
    async fn rest(&mut self) -> bool {
        let now = Instant::now();
        // Where there is no such time, the limit of the call ends it.
        let until = *self.until.get_or_insert_with(|| now.checked_add(self.time));
        let rest = self.backoff.rest();
        let again = self.time > Duration::ZERO && until.is_none_or(|until| now + rest <= until);
        if again {
            tokio::time::sleep(rest).await;
        }
        again
    }
}

/// What comes within a time; that it does not is an error.
pub(super) async fn within<T>(
    limit: Duration,
    call: &str,
    coming: Pin<&mut impl Future<Output = Result<T, Error>>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, coming).await {
        Ok(came) => came,
        Err(_) => Err(Error::Timeout { call: call.to_owned(), after: limit, setting: Some("timeout") }),
    }
}

/// What comes before the server has been silent for so long: it is not, while it takes the body.
async fn unless_silent<T>(
    limit: Duration,
    pace: Option<Pace>,
    mut coming: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let mut left = limit;
    loop {
        let early = tokio::time::timeout(left, coming.as_mut()).await;
        let silent = match (early, &pace) {
            (Ok(came), _) => return Some(came),
            (Err(_), None) => return None,
            (Err(_), Some(pace)) => pace.since().elapsed(),
        };
        left = limit.checked_sub(silent).filter(|left| !left.is_zero())?;
    }
}

/// Whether a refusal says that the server has done nothing, as it is just starting or stopping. Other
/// refusals with status 503 may come from the middle of what it does.
fn is_not_ready(error: &Error) -> bool {
    const WORDS: [&str; 3] =
        ["LXD daemon not ready yet", "LXD daemon setup in progress", "LXD is shutting down"];
    matches!(error, Error::Api { message, .. } if WORDS.contains(&message.as_str()))
}

/// The refusal that an answer is. What is no envelope comes from something between the client and the
/// server.
fn refusal(call: &str, status: u16, body: &[u8]) -> Error {
    // A refused websocket has the envelope after a line of text.
    let after_a_line = body.iter().position(|byte| *byte == b'\n').map(|end| &body[end + 1..]);
    let envelopes = [Some(body), after_a_line].into_iter().flatten();
    let told = envelopes.filter_map(|json| envelope::read(json, &mut ()).ok()).next();
    let (status, message) = match told {
        Some(Outcome::Refusal(0, message)) => (status, message),
        Some(Outcome::Refusal(status, message)) => (status, message),
        _ => (status, plain(body)),
    };
    Error::Api { call: call.to_owned(), status, message }
}

/// The start of an answer that is no envelope, for people.
fn plain(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match text.trim() {
        "" => "refused without a reason".to_owned(),
        text => text.chars().take(200).collect(),
    }
}
