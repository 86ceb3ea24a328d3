//! Tokens that an administrator makes on a server and hands to whom it is to trust. What is done with
//! them is left to `joining`.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use jiff::Timestamp;
use serde_json::Value;

use super::fingerprint::Fingerprint;
use crate::error::Error;

/// A token with which a server lets a client in: what `lxc config trust add` shows, or `lxc cluster add`
/// for a new member of a cluster. It is used by
/// [`ClientBuilder::join`](crate::ClientBuilder::join).
///
/// ```
/// use lxd_client::TrustToken;
///
/// let error = "not a token".parse::<TrustToken>().unwrap_err();
/// assert!(error.to_string().contains("is no token"));
/// ```
#[derive(Clone, PartialEq)]
pub struct TrustToken {
    /// The whole token, which is what the server wants back.
    text: String,
    pub(super) kind: Kind,
    name: String,
    pub(super) fingerprint: Fingerprint,
    addresses: Vec<String>,
    expires_at: Option<Timestamp>,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// A certificate of a client.
    Client,
    /// An identity of a client, as newer servers have them.
    Identity,
    /// A new member of a cluster.
    Member,
}

impl TrustToken {
    /// The name that the server will have for the client, or for the new member of the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The addresses of the server, as `HOST:PORT`.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The fingerprint of the server's certificate (SHA-256, in hexadecimal digits).
    pub fn fingerprint(&self) -> String {
        self.fingerprint.to_string()
    }

    /// Until when the server takes the token, where there is a limit.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl FromStr for TrustToken {
    type Err = Error;

    /// Reads a token as it was shown; space around it and line breaks in it do not matter.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text: String = text.split_whitespace().collect();
        let json = BASE64.decode(text.as_bytes()).map_err(|_| unreadable("it is not in base64"))?;
        let token: Value = serde_json::from_slice(&json).map_err(|_| unreadable("it holds no JSON"))?;
        let given = |name: &str| token.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let kind = match (given("server_name"), given("type")) {
            (Some(_), _) => Kind::Member,
            (None, Some(_)) => Kind::Identity,
            (None, None) => Kind::Client,
        };
        given("secret").ok_or_else(|| unreadable("it has no `secret`"))?;
        let fingerprint = given("fingerprint").ok_or_else(|| unreadable("it has no `fingerprint`"))?;
        let fingerprint = fingerprint.parse().ok().filter(Fingerprint::is_strong);
        let fingerprint = fingerprint.ok_or_else(|| unreadable("its `fingerprint` is none of SHA-256"))?;
        let listed = token.get("addresses").and_then(Value::as_array);
        let addresses = listed.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        // A time that is none means that there is no limit: the server knows.
        let expires_at = given("expires_at").and_then(|time| time.parse().ok());
        let expires_at = expires_at.filter(|time: &Timestamp| time.as_second() > 0);
        let name = given("client_name").or(given("server_name")).unwrap_or_default().to_owned();
        Ok(Self { text, kind, name, fingerprint, addresses, expires_at })
    }
}

/// What is wrong, without the token: it may be one all the same, but for a letter.
fn unreadable(why: &str) -> Error {
    Error::configuration(format!(
        "what was given is no token: {why}; take all that `lxc config trust add` (or `lxc cluster add`) shows"
    ))
}

impl fmt::Debug for TrustToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TrustToken")
            .field("name", &self.name)
            .field("addresses", &self.addresses)
            .field("fingerprint", &self.fingerprint)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;
    use serde_json::{Value, json};

    use super::{Kind, TrustToken};

    const FINGERPRINT: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn encoded(token: &Value) -> String {
        BASE64.encode(token.to_string().as_bytes())
    }

    fn token() -> Value {
        json!({
            "client_name": "laptop", "fingerprint": FINGERPRINT, "addresses": ["192.0.2.7:8443", "[2001:db8::7]:8443"],
            "secret": "hush", "expires_at": "0001-01-01T00:00:00Z",
        })
    }

    #[test]
    fn tokens_are_read() {
        let text = encoded(&token());
        let (start, end) = text.split_at(70);
        let read: TrustToken = format!("  {start}\n{end}\n").parse().unwrap();
        assert_eq!((read.name(), read.text(), read.kind), ("laptop", text.as_str(), Kind::Client));
        assert_eq!(read.addresses(), ["192.0.2.7:8443", "[2001:db8::7]:8443"]);
        assert_eq!((read.fingerprint().as_str(), read.expires_at()), (FINGERPRINT, None));
        let shown = format!("{read:?}");
        assert!(!shown.contains("hush") && !shown.contains(&text), "{shown}");

        let mut newer = token();
        newer["type"] = "Client certificate".into();
        newer["expires_at"] = "2030-01-02T03:04:05.678+01:00".into();
        let read: TrustToken = encoded(&newer).parse().unwrap();
        assert_eq!(read.kind, Kind::Identity);
        assert_eq!(read.expires_at().unwrap().to_string(), "2030-01-02T02:04:05.678Z");

        let mut member = token();
        member["client_name"].take();
        member["server_name"] = "node2".into();
        let read: TrustToken = encoded(&member).parse().unwrap();
        assert_eq!((read.kind, read.name()), (Kind::Member, "node2"));
    }

    #[test]
    fn what_is_no_token_is_told_without_showing_it() {
        let without = |name: &str| {
            let mut token = token();
            token[name].take();
            encoded(&token)
        };
        let mut weak = token();
        weak["fingerprint"] = FINGERPRINT[..40].into();
        let weak = encoded(&weak);
        for (text, why) in [
            ("hush".to_owned() + "!", "not in base64"),
            (BASE64.encode(b"hush"), "holds no JSON"),
            (without("secret"), "no `secret`"),
            (without("fingerprint"), "no `fingerprint`"),
            (weak, "`fingerprint` is none of SHA-256"),
        ] {
            let error = text.parse::<TrustToken>().unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains(&text) && !error.contains("hush"), "{error}");
        }
    }
}
