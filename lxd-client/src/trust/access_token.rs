//! Tokens that go with each request in place of a certificate: bearer tokens and those of OIDC. Getting
//! one is left to whom the user names; when that is asked, and for whom, is decided here.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::watch;

use super::tls::Trust;
use crate::error::{BoxError, Error};

/// How long before its end a token is replaced: requests take time, and clocks differ.
const EARLY: SignedDuration = SignedDuration::from_secs(10);

/// How long a provider may take. A person may have to confirm something.
const PATIENCE: Duration = Duration::from_secs(300);

/// A token that shows the server who the client is, in the header `Authorization`.
#[derive(Clone)]
pub struct AccessToken {
    text: String,
    expires_at: Option<Timestamp>,
}

impl AccessToken {
    /// A token that is used until the server refuses it.
    pub fn new(token: impl Into<String>) -> Self {
        Self { text: token.into(), expires_at: None }
    }

    /// The same token, which is replaced shortly before this time.
    pub fn expires_at(self, time: Timestamp) -> Self {
        Self { expires_at: Some(time), ..self }
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AccessToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Why a token is wanted, for the provider of [`ClientBuilder::token_provider`](crate::ClientBuilder::token_provider).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TokenRequest {
    /// Whether the server has refused the last token. A provider that keeps tokens must not give that
    /// one again.
    pub refused: bool,
    /// Where the server says that tokens come from. It says so when it refuses one.
    pub oidc: Option<OidcSettings>,
}

/// Where tokens for a server come from by OpenID Connect: what its refusals say (headers
/// `X-LXD-OIDC-…`).
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct OidcSettings {
    /// The URL of who issues the tokens (`X-LXD-OIDC-issuer`).
    pub issuer: String,
    /// As whom a client asks there (`X-LXD-OIDC-clientid`).
    pub client_id: String,
    /// For whom the token is to be (`X-LXD-OIDC-audience`).
    pub audience: String,
    /// The claim with the groups of the user, where the server uses one (`X-LXD-OIDC-groups-claim`).
    pub groups_claim: String,
    /// What is to be asked for, separated by spaces or commas as the server has it (`X-LXD-OIDC-scopes`).
    pub scopes: String,
}

impl OidcSettings {
    fn told_by(headers: &HeaderMap) -> Option<Self> {
        let told = |name: &str| {
            let value = headers.get(format!("x-lxd-oidc-{name}"));
            value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let settings = Self {
            issuer: told("issuer"),
            client_id: told("clientid"),
            audience: told("audience"),
            groups_claim: told("groups-claim"),
            scopes: told("scopes"),
        };
        (!settings.issuer.is_empty()).then_some(settings)
    }
}

type Getting = Pin<Box<dyn Future<Output = Result<AccessToken, BoxError>> + Send>>;

/// What gets tokens.
pub(crate) type Provider = Arc<dyn Fn(TokenRequest) -> Getting + Send + Sync>;

/// The server that a bearer token is for, where it says so. (The server checks who signed the token.)
pub(crate) fn server_of(token: &str) -> Option<Trust> {
    let claims = BASE64URL_NOPAD.decode(token.split('.').nth(1)?.as_bytes()).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    Trust::fingerprint(claims.get("server_cert_fingerprint")?.as_str()?).ok()
}

/// The present token of a client. However many calls want one, the provider is asked once.
pub(crate) struct AccessTokens {
    /// Nobody, where there is one token for good.
    provider: Option<Provider>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    present: Option<Arc<Issued>>,
    /// What the provider is to know when it is asked next.
    wanted: TokenRequest,
    /// Where the one is heard of that the provider has been asked for.
    coming: Option<Coming>,
}

type Answer = Result<Arc<Issued>, Arc<BoxError>>;

/// The answer of a provider, and the runtime in which that is asked. (Another may be one that nobody
/// drives.)
#[derive(Clone)]
struct Coming {
    answer: watch::Receiver<Option<Answer>>,
    runtime: tokio::runtime::Id,
}

/// A token as it was given.
pub(crate) struct Issued {
    header: HeaderValue,
    expires_at: Option<Timestamp>,
}

impl Issued {
    fn new(token: &AccessToken) -> Result<Self, BoxError> {
        let mut header = HeaderValue::from_str(&format!("Bearer {}", token.text))
            .map_err(|_| "the token has letters that a header cannot hold")?;
        header.set_sensitive(true);
        Ok(Self { header, expires_at: token.expires_at })
    }

    /// Shows the server who the client is.
    pub(crate) fn show_in(&self, headers: &mut HeaderMap) {
        headers.insert(AUTHORIZATION, self.header.clone());
    }

    fn is_fresh(&self) -> bool {
        self.expires_at.is_none_or(|end| end - Timestamp::now() > EARLY)
    }
}

impl AccessTokens {
    /// One token for good.
    pub(crate) fn fixed(token: &str) -> Result<Self, Error> {
        let issued =
            Issued::new(&AccessToken::new(token)).map_err(|error| Error::configuration(error.to_string()))?;
        let state = State { present: Some(Arc::new(issued)), ..State::default() };
        Ok(Self { provider: None, state: Mutex::new(state) })
    }

    /// The tokens that somebody gives.
    pub(crate) fn of(provider: Provider) -> Self {
        Self { provider: Some(provider), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token for a call.
    pub(crate) async fn token(self: &Arc<Self>, call: &str) -> Result<Arc<Issued>, Error> {
        let coming = {
            let mut state = self.state();
            match (&state.present, &self.provider) {
                (Some(present), _) if present.is_fresh() => return Ok(Arc::clone(present)),
                (_, Some(provider)) => self.ask(&mut state, provider),
                (_, None) => return Err(unanswered(call)),
            }
        };
        arrival(call, coming).await
    }

    /// Takes note that the server refused a token with these headers; whether there may be another.
    pub(crate) fn refuse(&self, refused: &Arc<Issued>, headers: &HeaderMap) -> bool {
        if self.provider.is_none() {
            return false;
        }
        let mut state = self.state();
        // Others may have heard before, and have another already.
        if state.present.take_if(|present| Arc::ptr_eq(present, refused)).is_some() {
            state.wanted = TokenRequest { refused: true, oidc: OidcSettings::told_by(headers) };
        }
        true
    }

    /// Asks the provider, unless it has been asked and has not answered yet. It is asked in a task of its
    /// own: who waits may give up, and a token must not be lost by that.
    fn ask(self: &Arc<Self>, state: &mut State, provider: &Provider) -> Coming {
        let runtime = tokio::runtime::Handle::current().id();
        // An error says that the task is gone, with its runtime.
        let going_on = |coming: &&Coming| coming.runtime == runtime && coming.answer.has_changed().is_ok();
        if let Some(coming) = state.coming.as_ref().filter(going_on) {
            return coming.clone();
        }
        let (sender, answer) = watch::channel(None);
        let coming = Coming { answer, runtime };
        state.coming = Some(coming.clone());
        let (tokens, provider) = (Arc::clone(self), Arc::clone(provider));
        let request = std::mem::take(&mut state.wanted);
        tokio::spawn(async move {
            let answer: Answer = match tokio::time::timeout(PATIENCE, provider(request)).await {
                Ok(Ok(token)) => Issued::new(&token).map(Arc::new).map_err(Arc::new),
                Ok(Err(error)) => Err(Arc::new(error)),
                Err(late) => Err(Arc::new(late.into())),
            };
            let mut state = tokens.state();
            state.present = answer.as_ref().ok().cloned();
            state.coming = None;
            sender.send_replace(Some(answer));
        });
        coming
    }
}

/// What the provider answers.
async fn arrival(call: &str, mut coming: Coming) -> Result<Arc<Issued>, Error> {
    let answer = coming.answer.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
    match answer {
        Some(Ok(issued)) => Ok(issued),
        Some(Err(error)) => Err(Error::Token { call: call.to_owned(), source: Box::new(Shared(error)) }),
        None => Err(unanswered(call)),
    }
}

fn unanswered(call: &str) -> Error {
    Error::Token { call: call.to_owned(), source: "nobody gave one".into() }
}

/// The failure of a provider, for one of those who waited for it.
#[derive(Debug)]
struct Shared(Arc<BoxError>);

impl fmt::Display for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
