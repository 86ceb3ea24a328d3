//! HTTPS with the real LXD: a server that is pinned by its certificate, and clients that it trusts or not.

use lxd_client::types::{CertificatesPost, ServerPatch};
use lxd_client::{Client, Error};
use lxd_tests::real::{Place, finally, with_project};
use serde_json::json;

const ONE: (&str, &str) = (include_str!("../data/one.crt"), include_str!("../data/one.key"));
const TWO: (&str, &str) = (include_str!("../data/two.crt"), include_str!("../data/two.key"));

async fn listen(lxd: &Client, address: &str) -> Result<(), Error> {
    let config = [("core.https_address".to_owned(), json!(address))].into();
    lxd.modify_server(ServerPatch { config: Some(config) }).await
}

#[tokio::test]
async fn the_server_and_the_client_prove_who_they_are() {
    with_project(|place| async move {
        let lxd = place.lxd.clone();
        finally(speak(place), async move { listen(&lxd, "").await }).await;
        Ok(())
    })
    .await;
}

async fn speak(place: Place) -> Result<(), Error> {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a free port").to_string();
    listen(&place.lxd, &address).await?;
    let certificate = place.lxd.server().await?.environment.unwrap_or_default().certificate;
    let remote = Client::builder().endpoint(format!("https://{address}")).project(&place.name);

    let stranger = remote.clone().server_certificate(&certificate).build()?;
    assert_eq!(stranger.server_untrusted().await?.auth, "untrusted");
    assert!(stranger.instances().await.unwrap_err().is_forbidden());

    let trusted = remote.clone().server_certificate(&certificate).identity(ONE.0, ONE.1).build()?;
    let add = CertificatesPost {
        name: place.named("one"),
        r#type: "client".into(),
        certificate: ONE.0.lines().filter(|line| !line.starts_with("-----")).collect(),
        ..Default::default()
    };
    assert_eq!(place.lxd.add_certificate(add).await?, None);
    assert_eq!(trusted.server().await?.auth, "trusted");
    assert_eq!(trusted.instances().await?, Vec::<String>::new());

    let elsewhere = remote.server_certificate(TWO.0).identity(ONE.0, ONE.1).build()?;
    let error = elsewhere.instances().await.unwrap_err();
    assert!(
        matches!(error, Error::Tls { .. }) && error.to_string().contains("another certificate"),
        "{error}"
    );
    Ok(())
}
