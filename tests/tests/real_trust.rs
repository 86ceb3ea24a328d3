//! Certificates, tokens and HTTPS on a real LXD.

use futures_util::StreamExt;
use lxd_client::types::{
    CertificatePatch, CertificatePut, CertificateToken, CertificateType, CertificatesPost, OperationStatus,
    ProjectsPost, ServerPatch, ServerTrust,
};
use lxd_client::{Client, ClientBuilder, Error, EventContent, Identity};
use lxd_tests::base64;
use lxd_tests::real::{Place, finally, map, names, with_project};
use serde_json::{Value, json};

/// Certificates for these tests alone, some with their keys.
const ONE: (&str, &str) = (include_str!("../data/one.crt"), include_str!("../data/one.key"));
const TWO: (&str, &str) = (include_str!("../data/two.crt"), include_str!("../data/two.key"));
const THREE: &str = include_str!("../data/three.crt");

/// What makes the server trust a certificate, which it takes without the lines that frame the PEM.
fn trust(name: String, certificate: &str) -> CertificatesPost {
    let certificate = certificate.lines().filter(|line| !line.starts_with('-')).collect();
    CertificatesPost { name, certificate, r#type: CertificateType::Client, ..Default::default() }
}

#[tokio::test]
async fn a_certificate_lives() {
    with_project(|place| async move {
        let (lxd, name) = (&place.lxd, place.named("three"));
        assert_eq!(lxd.add_certificate(trust(name.clone(), THREE)).await?, None);
        let again = lxd.add_certificate(trust(name.clone(), THREE)).await.unwrap_err();
        assert!(again.status().is_some() && again.to_string().contains("already"), "{again:?}");
        let mut listed = lxd.certificates_recursion1().await?;
        listed.retain(|certificate| certificate.name == name);
        let [certificate] = listed.as_slice() else { panic!("{listed:?}") };
        let fingerprint = &certificate.fingerprint;
        assert!(names(&lxd.certificates().await?).contains(&fingerprint.as_str()));
        let read = lxd.certificate(fingerprint).response().await?;
        let etag = read.etag().expect("an ETag").to_owned();
        assert_eq!(read.value, *certificate);
        assert_eq!((&certificate.r#type, certificate.restricted), (&CertificateType::Client, false));
        assert_eq!(certificate.certificate.trim(), THREE.trim());

        let put = CertificatePut {
            restricted: true,
            projects: vec![place.name.clone()],
            ..CertificatePut::from(read.value)
        };
        lxd.update_certificate(fingerprint, put.clone()).if_match(&etag).await?;
        let late = lxd.update_certificate(fingerprint, put).if_match(&etag).await.unwrap_err();
        assert!(late.is_precondition_failed(), "{late}");
        let changed = lxd.certificate(fingerprint).await?;
        assert_eq!((changed.restricted, changed.projects), (true, vec![place.name.clone()]));
        let patch = CertificatePatch {
            name: Some(place.named("other")),
            restricted: Some(false),
            projects: Some(Vec::new()),
            ..Default::default()
        };
        lxd.modify_certificate(fingerprint, patch).await?;
        let changed = lxd.certificate(fingerprint).await?;
        assert_eq!((changed.name, changed.restricted), (place.named("other"), false));
        assert!(changed.projects.is_empty());
        lxd.delete_certificate(fingerprint).await?;
        assert!(lxd.certificate(fingerprint).await.unwrap_err().is_not_found());
        Ok(())
    })
    .await;
}

async fn add_token(lxd: &Client, name: &str) -> Result<CertificateToken, Error> {
    let post = CertificatesPost {
        name: name.to_owned(),
        r#type: CertificateType::Client,
        token: true,
        ..Default::default()
    };
    Ok(lxd.add_certificate(post).await?.expect("a token"))
}

/// A token is an operation that lasts until it is used.
async fn take_back(lxd: &Client, token: &CertificateToken) -> Result<(), Error> {
    let operations = lxd.operations_recursion1().project("default").await?;
    let mut running = operations["running"].iter();
    let operation = running
        .find(|operation| operation.metadata.get("secret").and_then(Value::as_str) == Some(&token.secret));
    lxd.delete_operation(&operation.expect("the token").id).await
}

/// All that takes HTTPS is one test, as the server has one address for it.
#[tokio::test]
async fn https_is_spoken_with_whom_one_trusts() {
    with_project(|place| async move {
        let server = place.lxd.server().await?;
        let before = server.config.get("core.https_address").cloned().unwrap_or_default();
        let lxd = place.lxd.clone();
        let set_back = async move { listen(&lxd, before).await };
        finally(https(place), set_back).await;
        Ok(())
    })
    .await;
}

async fn listen(lxd: &Client, address: Value) -> Result<(), Error> {
    lxd.modify_server(ServerPatch { config: Some(map([("core.https_address", address)])) }).await
}

async fn https(place: Place) -> Result<(), Error> {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a free port").to_string();
    listen(&place.lxd, json!(address)).await?;
    let environment = place.lxd.server().await?.environment.unwrap_or_default();
    assert_eq!(environment.addresses, [address.as_str()]);
    let endpoint = format!("https://{address}");
    let remote = Client::builder().endpoint(&endpoint).project(&place.name);
    let remote = remote.server_certificate(&environment.certificate);

    let shown = Client::fetch_server_certificate(&endpoint).await?;
    assert_eq!(shown.fingerprint(), environment.certificate_fingerprint);
    assert_eq!(shown.pem().trim(), environment.certificate.trim());
    fingerprints_pin_the_server(&remote, &shown.fingerprint()).await?;

    strangers_see_little(&remote.clone().build()?).await?;
    secrets_open_what_they_are_for(&place, &remote.clone().build()?).await?;
    certificates_are_trusted(&place, &remote.clone().identity(Identity::from_pem(ONE.0, ONE.1)?).build()?)
        .await?;
    tokens_are_used_once(&place, &remote.clone().identity(Identity::from_pem(TWO.0, TWO.1)?).build()?)
        .await?;
    other_servers_get_nothing(&place, &remote.server_certificate(ONE.0).build()?).await
}

async fn strangers_see_little(stranger: &Client) -> Result<(), Error> {
    let server = stranger.server_untrusted().await?;
    assert_eq!((server.auth, server.api_version.as_str()), (ServerTrust::Untrusted, "1.0"));
    let server = stranger.server().await?;
    assert_eq!((server.auth, server.environment), (ServerTrust::Untrusted, None));
    assert_eq!(stranger.api().await?, ["/1.0"]);
    assert!(stranger.images_untrusted().await?.is_empty());
    let refused = [
        stranger.instances().await.map(drop),
        stranger.projects().await.map(drop),
        stranger.events().await.map(drop),
        stranger.instance_files("one").path("/").await.map(drop),
        stranger.create_instance(Place::empty_instance("one")).await,
    ];
    for refused in refused {
        let error = refused.unwrap_err();
        assert!(error.is_forbidden(), "{error:?}");
    }
    Ok(())
}

async fn secrets_open_what_they_are_for(place: &Place, stranger: &Client) -> Result<(), Error> {
    let lxd = &place.lxd;
    let fingerprint = lxd.image_alias("busybox").await?.target;
    let closed = stranger.image_export_untrusted(&fingerprint).await.unwrap_err();
    assert!(closed.is_not_found() || closed.is_forbidden(), "{closed:?}");
    let secret = lxd.initiate_image_upload(&fingerprint).await?.secret;
    let wrong = stranger.image_export_untrusted(&fingerprint).secret("wrong").await.unwrap_err();
    assert!(wrong.is_not_found() || wrong.is_forbidden(), "{wrong:?}");
    let export = stranger.image_export_untrusted(&fingerprint).secret(&secret).await?;
    let bytes = export.bytes().await?;
    assert_eq!(bytes, lxd.image_export(&fingerprint).await?.bytes().await?);

    let token = lxd.initiate_image_upload(&fingerprint).start().await?;
    let secret = token.metadata()["secret"].as_str().expect("a secret").to_owned();
    let running = stranger.operation_wait_untrusted(token.id()).secret(&secret).timeout(0).await?;
    assert_eq!((running.id.as_str(), running.status), (token.id(), OperationStatus::Running));
    let wrong = stranger.operation_wait_untrusted(token.id()).secret("wrong").timeout(0).await.unwrap_err();
    assert!(wrong.is_forbidden(), "{wrong:?}");
    token.cancel().await
}

async fn fingerprints_pin_the_server(remote: &ClientBuilder, fingerprint: &str) -> Result<(), Error> {
    let upper = format!("SHA256${}", fingerprint.to_uppercase());
    for right in [fingerprint, &upper] {
        remote.clone().server_fingerprint(right).build()?.server().await?;
    }
    let wrong = remote.clone().server_fingerprint("0".repeat(64)).build()?;
    let error = wrong.server().await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains(fingerprint), "{error}");
    Ok(())
}

async fn certificates_are_trusted(place: &Place, remote: &Client) -> Result<(), Error> {
    assert_eq!(remote.server().await?.auth, ServerTrust::Untrusted);
    assert!(remote.instances().await.unwrap_err().is_forbidden());
    place.lxd.add_certificate(trust(place.named("one"), ONE.0)).await?;
    assert_eq!(remote.server().await?.auth, ServerTrust::Trusted);

    let mut events = remote.events().types(["lifecycle"]).await?;
    remote.create_instance(Place::empty_instance("one")).await?;
    assert_eq!(names(&remote.instances().await?), ["one"]);
    let event = events.next().await.expect("an event")?;
    let EventContent::Lifecycle(change) = event.content else { panic!("{event:?}") };
    assert_eq!(change.action, "instance-created");
    remote.delete_instance("one").await?;

    let listed = place.lxd.certificates_recursion1().await?;
    let own = listed.iter().find(|certificate| certificate.name == place.named("one"));
    place.lxd.delete_certificate(&own.expect("the certificate").fingerprint).await?;
    assert!(remote.instances().await.unwrap_err().is_forbidden());
    Ok(())
}

async fn tokens_are_used_once(place: &Place, remote: &Client) -> Result<(), Error> {
    let unused = add_token(&place.lxd, &place.named("unused")).await?;
    take_back(&place.lxd, &unused).await?;
    let token = add_token(&place.lxd, &place.named("two")).await?;
    assert!(!token.addresses.is_empty() && token.secret != unused.secret);
    assert_eq!((token.fingerprint.len(), token.expires_at), (64, None));
    let request = token.request.as_ref().expect("the request");
    assert_eq!((&request.name, request.token), (&place.named("two"), true));
    // The server wants the token as the command-line client shows it.
    let shown = json!({
        "client_name": place.named("two"), "fingerprint": token.fingerprint, "addresses": token.addresses,
        "secret": token.secret, "expires_at": "0001-01-01T00:00:00Z",
    });
    let post = CertificatesPost {
        password: base64(shown.to_string().as_bytes()),
        r#type: CertificateType::Client,
        ..Default::default()
    };
    remote.add_certificate_untrusted(post.clone()).await?;
    assert_eq!(remote.server().await?.auth, ServerTrust::Trusted);
    let again = remote.add_certificate_untrusted(post).await.unwrap_err();
    assert!(again.status().is_some(), "{again:?}");
    Ok(())
}

async fn other_servers_get_nothing(place: &Place, remote: &Client) -> Result<(), Error> {
    let name = place.named("never");
    let post = ProjectsPost { name: name.clone(), ..Default::default() };
    let error = remote.create_project(post).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains("another certificate"), "{error}");
    assert!(place.lxd.project(&name).await.unwrap_err().is_not_found());
    Ok(())
}
