//! Trust between a client and a server behind HTTPS: who the client is, which server it takes for the
//! right one, and how it becomes known there. To connect is left to `transport`.

pub(crate) mod access_token;
pub(crate) mod fingerprint;
pub(crate) mod identity;
mod joining;
mod pem;
pub(crate) mod tls;
pub(crate) mod token;

pub use self::access_token::{AccessToken, OidcSettings, TokenRequest};
pub use self::fingerprint::ServerCertificate;
pub use self::identity::Identity;
pub use self::token::TrustToken;
