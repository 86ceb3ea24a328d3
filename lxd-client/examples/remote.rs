//! A server on another machine: becomes trusted there by a token, and shows what runs.
//!
//! ```text
//! cargo run -p lxd-client --example remote -- me TOKEN      # what `lxc config trust add` shows on the server
//! cargo run -p lxd-client --example remote -- me            # from then on
//! ```
//!
//! The client's certificate and key are kept in `me.crt` and `me.key`, the server's address and fingerprint in
//! `me.server`.

use std::fs;

use lxd_client::{Client, Identity, TrustToken};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("usage: remote NAME [TOKEN]")?;
    let [certificate, key, server] = ["crt", "key", "server"].map(|ending| format!("{name}.{ending}"));
    let lxd = match arguments.next() {
        Some(shown) => {
            let token: TrustToken = shown.parse()?;
            let identity = Identity::generate(&name)?;
            let lxd = Client::builder().identity(identity.clone()).join(&token).await?;
            identity.write_files(&certificate, &key)?;
            let seen = lxd.server().await?.environment.unwrap_or_default();
            let address = seen.addresses.first().ok_or("the server has no address")?;
            fs::write(&server, format!("https://{address} {}", seen.certificate_fingerprint))?;
            lxd
        }
        None => {
            let known = fs::read_to_string(&server)?;
            let (endpoint, fingerprint) = known.split_once(' ').ok_or("no address and fingerprint")?;
            Client::builder()
                .endpoint(endpoint)
                .server_fingerprint(fingerprint)
                .identity(Identity::from_files(&certificate, &key)?)
                .build()?
        }
    };
    for instance in lxd.instances_recursion1().await? {
        println!("{} {}", instance.name, instance.status);
    }
    Ok(())
}
