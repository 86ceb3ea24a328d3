//! How a client becomes known to a server that does not trust it yet: by a token or a password. Making
//! tokens is a call of the API.

use serde_json::{Value, json};

use super::token::{Kind, TrustToken};
use crate::call::{Answers, Endpoint, Request, Sent};
use crate::client::{Client, ClientBuilder};
use crate::error::Error;
use crate::extensions::Server;

static CERTIFICATES: Endpoint = endpoint("certificates_post_untrusted", "/1.0/certificates", "public");
static IDENTITIES: Endpoint = endpoint("identities_post_tls_untrusted", "/1.0/auth/identities/tls", "public");

/// The core has its own way there, so that it does not depend on what a description calls them.
const fn endpoint(id: &'static str, path: &'static str, query: &'static str) -> Endpoint {
    let (method, answers) = ("POST", Answers::Nothing);
    Endpoint { id, method, path, query, answers, project: false, target: false, background: false }
}

impl ClientBuilder {
    /// Builds a client of the server that made a token, which trusts the client's
    /// [`identity`](Self::identity) from now on.
    ///
    /// The token says where the server is and which one it is: its addresses are tried in turn, unless
    /// [`endpoint`](Self::endpoint) names one, and no server with another certificate than the token's
    /// sees the token. It can be used once, by which the client becomes known under the name in it. Where
    /// the server trusts the client already, the token is not used. That of a new member of a cluster
    /// makes the client's certificate one of the cluster's servers.
    ///
    /// ```no_run
    /// # async fn run(shown: &str) -> Result<(), lxd_client::Error> {
    /// use lxd_client::{Client, Identity};
    ///
    /// // What `lxc config trust add` showed on the server.
    /// let token = shown.parse()?;
    /// let identity = Identity::generate("laptop")?;
    /// let lxd = Client::builder().identity(identity.clone()).join(&token).await?;
    /// // The client is known by these from now on.
    /// identity.write_files("client.crt", "client.key")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// What the last of the addresses failed with, where no server of the token can be reached;
    /// [`Error::Api`] where the server refuses the token, as it has expired or was used; and
    /// [`Error::Configuration`] where there is no identity to be trusted, or the endpoint is not of
    /// `https`.
    pub async fn join(self, token: &TrustToken) -> Result<Client, Error> {
        let (client, server) = self.found_by(token).await?;
        if !server.trusts() {
            let (endpoint, body) = introduction(token, &server);
            introduced(&client, endpoint, &body).await?;
        }
        Ok(client)
    }

    /// The server of a token, at the first of its addresses where it is.
    async fn found_by(&self, token: &TrustToken) -> Result<(Client, Server), Error> {
        let endpoints = match self.given_endpoint() {
            Some(endpoint) => vec![endpoint.to_owned()],
            None => token.addresses().iter().map(|address| format!("https://{address}")).collect(),
        };
        let mut failures = Vec::new();
        for endpoint in endpoints {
            let builder = self.clone().server_fingerprint(token.fingerprint()).endpoint(endpoint);
            let found = async {
                let client = builder.build()?;
                certain_of_certificate(&client)?;
                let server = Server::told(Server::question(&client).once()).await?;
                Ok((client, server))
            };
            match found.await {
                Ok(found) => return Ok(found),
                Err(error) => failures.push(error),
            }
        }
        let told: Vec<_> = failures.iter().map(ToString::to_string).collect();
        match failures.pop() {
            None => Err(Error::configuration(
                "the token names no address of its server: give one with ClientBuilder::endpoint",
            )),
            Some(only) if failures.is_empty() => Err(only),
            Some(last) => Err(Error::Transport {
                call: "POST /1.0/certificates".into(),
                message: format!("no address of the token leads to its server: {}", told.join("; ")),
                source: last.into(),
            }),
        }
    }
}

impl Client {
    /// Makes the server trust the client's [`identity`](ClientBuilder::identity) from now on, under a
    /// name, by its trust password (`core.trust_password`), as servers up to LXD 5.0 may have one. Where
    /// it trusts the client already, the password is not used.
    ///
    /// # Errors
    ///
    /// [`Error::Api`] where the server refuses the password, or has none, and [`Error::Configuration`]
    /// where the client is not one over `https` with an identity.
    pub async fn become_trusted(&self, name: &str, password: &str) -> Result<(), Error> {
        certain_of_certificate(self)?;
        if Server::told(Server::question(self)).await?.trusts() {
            return Ok(());
        }
        let body = json!({"type": "client", "name": name, "password": password});
        introduced(self, &CERTIFICATES, &body).await
    }
}

/// Only over TLS does a server see a certificate, and only over TLS is it sure who sees the token or
/// password.
fn certain_of_certificate(client: &Client) -> Result<(), Error> {
    if client.shows_certificate() {
        return Ok(());
    }
    Err(Error::configuration(format!(
        "the client of {} shows no certificate that could become trusted: that takes https, an identity \
         (ClientBuilder::identity), and no access token",
        client.transport().place()
    )))
}

/// What is sent to a server with a token, and where.
fn introduction(token: &TrustToken, server: &Server) -> (&'static Endpoint, Value) {
    // Not the secret alone: the server wants all of it.
    let text = token.text();
    let explicit = server.api_extensions.iter().any(|name| name == "explicit_trust_token");
    match token.kind {
        Kind::Identity => (&IDENTITIES, json!({"trust_token": text})),
        Kind::Client if explicit => (&CERTIFICATES, json!({"type": "client", "trust_token": text})),
        Kind::Client => (&CERTIFICATES, json!({"type": "client", "password": text})),
        Kind::Member => (&CERTIFICATES, json!({"type": "server", "name": token.name(), "password": text})),
    }
}

/// Sends what makes the server trust the client, and makes sure that it does.
async fn introduced(client: &Client, endpoint: &'static Endpoint, body: &Value) -> Result<(), Error> {
    let request = Request::new(Sent::Json(serde_json::to_vec(body)), client, endpoint, &[]);
    let call = request.name();
    request.exchange().await?.read(&mut ())?;
    if Server::told(Server::question(client)).await?.trusts() {
        return Ok(());
    }
    Err(Error::decode(call, "the server took it, and does not trust the client all the same"))
}
