//! What a client tells by `tracing`: what was asked and what came of it, and no secret.

use std::io::Write;
use std::sync::{Arc, Mutex};

use lxd_client::types::{CertificatesPost, ImagesPost, ImagesPostSource, InstancesPost};
use lxd_client::{AccessToken, Client, Identity, TokenRequest};
use lxd_tests::base64;
use lxd_tests::certificates::{Valid, self_signed};
use lxd_tests::fake_server::{Answer, FakeServer, UUID, operation};
use lxd_tests::tls;
use lxd_tests::websocket::agree;
use rustls::version::TLS13;
use serde_json::json;
use tracing::Level;
use tracing::subscriber::DefaultGuard;

/// What must not be seen.
const SECRET: &str = "hush-hush";

/// All that is told on this thread.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Told {
    fn by_level(level: Level) -> (Self, DefaultGuard) {
        let told = Self::default();
        let writer = told.clone();
        let subscriber = tracing_subscriber::fmt().with_max_level(level).with_ansi(false);
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        (told, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines of the client itself, without their times.
    fn lines(&self) -> Vec<String> {
        let text = self.text();
        let own = text.lines().filter_map(|line| line.split_once("DEBUG lxd_client").map(|(_, line)| line));
        own.map(|line| line.split_once(": ").expect("a target").1.to_owned()).collect()
    }
}

#[tokio::test]
async fn each_attempt_is_told_with_what_came_of_it() {
    let server = FakeServer::answering([
        Answer::sync("{}"),
        Answer::error(503, "LXD is shutting down"),
        Answer::background(&operation("task", "Success", 200, "null", "")),
        Answer::error(404, "Instance not found"),
    ]);
    let lxd = server.builder().project("p").build().unwrap();
    let (told, _guard) = Told::by_level(Level::DEBUG);
    lxd.server().await.unwrap();
    lxd.create_instance(InstancesPost::default()).await.unwrap();
    lxd.instance("t1").await.unwrap_err();
    let lines = told.lines();
    let expected = [
        "answered method=GET path=\"/1.0\" status=200 time=",
        "failed method=POST path=\"/1.0/instances\" status=503 time=",
        "answered method=POST path=\"/1.0/instances\" status=202 time=",
        "failed method=GET path=\"/1.0/instances/t1\" status=404 time=",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
    assert!(lines[1].contains("LXD is shutting down") && lines[1].ends_with("again=true"), "{}", lines[1]);
    assert!(lines[3].contains("Instance not found") && lines[3].ends_with("again=false"), "{}", lines[3]);
}

#[tokio::test]
async fn nothing_that_is_told_is_a_secret() {
    let (told, _guard) = Told::by_level(Level::TRACE);
    let own = self_signed("root@elsewhere", &["elsewhere"], Valid::Now);
    let mut server = FakeServer::with(|request| match request.target.as_str() {
        "/1.0" => Answer::sync(r#"{"auth":"untrusted"}"#),
        target if target.contains("/websocket") => agree(request),
        target if target.contains("/events") => Answer::error(403, "Forbidden"),
        target if target.contains("/wait") => {
            Answer::sync(&operation("task", "Failure", 400, r#"{"secret":"hush-hush"}"#, "no"))
        }
        _ if request.header("authorization") == Some("Bearer stale-hush-hush") => Answer::error(401, "no"),
        target if target.starts_with("/1.0/certificates") => Answer::error(503, "LXD is shutting down"),
        _ => Answer::background(&operation("task", "Running", 103, r#"{"secret":"hush-hush"}"#, "")),
    });
    let endpoint = server.tls_endpoint(tls::server(&own, &[&TLS13])).await;
    let fingerprint = Client::fetch_server_certificate(&endpoint).await.unwrap().fingerprint();
    let identity = Identity::generate("me").unwrap();
    let provider = |request: TokenRequest| async move {
        Ok(AccessToken::new(if request.refused { "hush-hush" } else { "stale-hush-hush" }))
    };
    let builder = Client::builder()
        .endpoint(&endpoint)
        .server_fingerprint(&fingerprint)
        .identity(identity.clone())
        .header("x-api-key", SECRET)
        .retry_for(std::time::Duration::from_millis(200))
        .token_provider(provider);
    let lxd = builder.clone().build().unwrap();

    // By a call, a query, a body, a header, a token, an answer: in vain or not.
    let source = ImagesPostSource { secret: SECRET.into(), ..Default::default() };
    let post = ImagesPost { source: Some(source), ..Default::default() };
    lxd.create_image(post).header("x-lxd-secret", SECRET).await.unwrap_err();
    drop(lxd.operation_websocket(UUID).secret(SECRET).await.unwrap());
    lxd.operation_wait_untrusted(UUID).secret(SECRET).timeout(0).await.unwrap();
    let handle = lxd.operation_handle(UUID).secret(SECRET);
    handle.wait().await.unwrap_err();
    let post = CertificatesPost { password: SECRET.into(), trust_token: SECRET.into(), ..Default::default() };
    lxd.add_certificate_untrusted(post).await.unwrap_err();
    lxd.become_trusted("me", SECRET).await.unwrap_err();
    let token = json!({"client_name": "me", "fingerprint": fingerprint, "addresses": [], "secret": SECRET});
    let token = base64(token.to_string().as_bytes());
    builder.join(&token.parse().unwrap()).await.unwrap_err();

    let text = told.text();
    assert!(text.contains("/1.0/operations") && text.contains("DEBUG lxd_client"), "{text}");
    for secret in [SECRET, &token, &base64(SECRET.as_bytes())] {
        let found = text.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "{secret}");
    }
    let key = identity.key().lines().filter(|line| !line.starts_with('-'));
    for line in key {
        assert!(!text.contains(line));
    }
}
