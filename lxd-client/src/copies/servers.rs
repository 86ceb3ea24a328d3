//! How a server is reached by another one: its addresses and its certificate.

use serde_json::Value;

use crate::call::{Call, NoParameters, Request, Sent};
use crate::client::Client;
use crate::error::Error;
use crate::extensions::SERVER;

/// How a server is reached by another one.
pub(super) struct Reachable {
    /// As `https://HOST:PORT`, at least one.
    pub(super) addresses: Vec<String>,
    /// As PEM; empty where an authority vouches for it.
    pub(super) certificate: String,
}

impl Reachable {
    /// What a server says of itself, with the address at which this client reaches it in front.
    pub(super) async fn of(client: &Client) -> Result<Self, Error> {
        let request = Request::new(Sent::Nothing, client, &SERVER, &[]);
        let server = Call::<Value, NoParameters>::of(request).await?;
        let environment = &server["environment"];
        let own = client.transport().place();
        let mut addresses: Vec<_> = own.starts_with("https://").then(|| own.to_owned()).into_iter().collect();
        let told = environment["addresses"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for address in told.map(|address| format!("https://{address}")) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(Error::configuration(format!(
                "no other server can reach {own}: set its `core.https_address`, or use CopyMode::Relay"
            )));
        }
        let certificate = environment["certificate"].as_str().unwrap_or_default().to_owned();
        Ok(Self { addresses, certificate })
    }
}
