//! Tokens: those that go with each request, and those with which a client becomes trusted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use jiff::{SignedDuration, Timestamp};
use lxd_client::types::InstancesPost;
use lxd_client::{AccessToken, Body, Client, Error, Identity, OidcSettings, TokenRequest, TrustToken};
use lxd_tests::certificates::{Certified, Valid, self_signed};
use lxd_tests::fake_server::{Answer, FakeServer, Request, operation};
use lxd_tests::{base64, tls};
use rustls::version::TLS13;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// A server that takes one token, and says where it comes from when it gets another.
fn taking(token: &'static str) -> FakeServer {
    FakeServer::with(move |request| {
        if request.header("authorization") == Some(&format!("Bearer {token}")) {
            return match request.method.as_str() {
                "GET" => Answer::sync("{}"),
                _ => Answer::background(&operation("task", "Success", 200, "null", "")),
            };
        }
        Answer::error(401, "invalid token")
            .header("X-LXD-OIDC-issuer", "https://login.example/realm")
            .header("X-LXD-OIDC-clientid", "lxd")
            .header("X-LXD-OIDC-audience", "https://lxd.example:8443")
            .header("X-LXD-OIDC-groups-claim", "groups")
    })
}

fn authorizations(server: &FakeServer) -> Vec<String> {
    let shown = |request: &Request| request.header("authorization").unwrap_or_default().to_owned();
    server.requests().iter().map(shown).collect()
}

#[tokio::test]
async fn a_bearer_token_goes_with_each_request() {
    let server = taking("one");
    let lxd = server.builder().access_token("one").build().unwrap();
    lxd.server().await.unwrap();
    lxd.create_instance(InstancesPost::default()).await.unwrap();
    assert_eq!(authorizations(&server), ["Bearer one"; 2]);
    // There is no other.
    let lxd = server.builder().access_token("hush").build().unwrap();
    let error = lxd.server().await.unwrap_err();
    assert!(error.is_forbidden() && error.to_string().contains("invalid token"), "{error}");
    assert_eq!(server.lines().len(), 3);
    assert!(!format!("{error:?}{error}").contains("hush"), "{error:?}");
    // The user's own header is the user's own.
    let lxd = server.builder().build().unwrap();
    lxd.server().header("authorization", "Bearer one").await.unwrap();
}

#[tokio::test]
async fn a_bearer_token_pins_the_server_that_it_is_for() {
    let own = self_signed("root@elsewhere", &["elsewhere"], Valid::Now);
    let (mut server, mut other) =
        (FakeServer::with(|_| Answer::sync("{}")), FakeServer::with(|_| Answer::sync("{}")));
    let endpoint = server.tls_endpoint(tls::server(&own, &[&TLS13])).await;
    let wrong = self_signed("root@elsewhere", &["elsewhere"], Valid::Now);
    let wrong = other.tls_endpoint(tls::server(&wrong, &[&TLS13])).await;
    let fingerprint = Client::fetch_server_certificate(&endpoint).await.unwrap().fingerprint();
    let claims = json!({"sub": "me", "server_cert_fingerprint": fingerprint}).to_string();
    let claims = base64(claims.as_bytes()).replace('+', "-").replace('/', "_");
    let token = format!("e30.{}.c2lnbmVk", claims.trim_end_matches('='));
    let builder = Client::builder().access_token(&token);
    builder.clone().endpoint(endpoint).build().unwrap().server().await.unwrap();
    assert_eq!(authorizations(&server), [format!("Bearer {token}")]);
    let error = builder.endpoint(wrong).build().unwrap().server().await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_provider_is_asked_once_for_many_calls() {
    let server = taking("fresh");
    let (asked, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let provider = {
        let (asked, go) = (Arc::clone(&asked), Arc::clone(&go));
        move |_| {
            asked.fetch_add(1, Ordering::Relaxed);
            let go = Arc::clone(&go);
            async move {
                go.notified().await;
                Ok(AccessToken::new("fresh"))
            }
        }
    };
    let lxd = server.builder().token_provider(provider).build().unwrap();
    // One of them gives up, and the token is not lost by that.
    let first = tokio::spawn(lxd.server().response());
    while asked.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let calls: Vec<_> = (0..100).map(|_| tokio::spawn(lxd.server().response())).collect();
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.is_err());
    go.notify_one();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(authorizations(&server), ["Bearer fresh"; 100]);
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once_for_all() {
    let server = taking("fresh");
    let requests = Arc::new(std::sync::Mutex::new(Vec::new()));
    let provider = {
        let requests = Arc::clone(&requests);
        move |request: TokenRequest| {
            let token = if request.refused { "fresh" } else { "" };
            requests.lock().unwrap().push(request);
            async move { Ok(AccessToken::new(token)) }
        }
    };
    let lxd = server.builder().token_provider(provider).build().unwrap();
    let calls = (0..20).map(|_| lxd.create_instance(InstancesPost::default()).response());
    for answer in join_all(calls).await {
        answer.unwrap();
    }
    let requests = requests.lock().unwrap();
    let [first, second] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!((first.refused, &first.oidc), (false, &None));
    let Some(OidcSettings { issuer, client_id, audience, groups_claim, scopes, .. }) = &second.oidc else {
        panic!("{second:?}")
    };
    assert!(second.refused);
    assert_eq!((issuer.as_str(), client_id.as_str()), ("https://login.example/realm", "lxd"));
    assert_eq!((audience.as_str(), groups_claim.as_str()), ("https://lxd.example:8443", "groups"));
    assert_eq!(scopes, "");
}

#[tokio::test]
async fn a_token_is_replaced_before_it_expires() {
    let server = FakeServer::with(|_| Answer::sync("{}"));
    let asked = AtomicUsize::new(0);
    let provider = move |request: TokenRequest| {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        // The first is as good as over, the second is good for an hour.
        let left = [SignedDuration::from_secs(5), SignedDuration::from_hours(1)][number];
        let token = AccessToken::new(format!("t{number}")).expires_at(Timestamp::now() + left);
        async move { if request.refused { Err("nobody refused it".into()) } else { Ok(token) } }
    };
    let lxd = server.builder().token_provider(provider).build().unwrap();
    for _ in 0..3 {
        lxd.server().await.unwrap();
    }
    assert_eq!(authorizations(&server), ["Bearer t0", "Bearer t1", "Bearer t1"]);
}

#[tokio::test]
async fn the_failure_of_a_provider_is_that_of_all_who_wait() {
    let server = taking("fresh");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let provider = move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::task::yield_now().await;
            Err(std::io::Error::other("the login page is down").into())
        }
    };
    let lxd = server.builder().token_provider(provider).build().unwrap();
    for answer in join_all((0..10).map(|_| lxd.server().response())).await {
        let error = answer.unwrap_err();
        assert!(matches!(error, Error::Token { .. }), "{error:?}");
        assert_eq!(error.to_string(), "GET /1.0: no access token: the login page is down");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert!(server.lines().is_empty());
    // The next call is another chance.
    assert!(lxd.server().await.is_err());
    assert_eq!(asked.load(Ordering::Relaxed), 2);

    // One that ends without an answer does not hold anybody up.
    let lxd = server.builder().token_provider(|_| async { panic!("a provider") }).build().unwrap();
    assert!(matches!(lxd.server().await.unwrap_err(), Error::Token { .. }));
}

#[tokio::test]
async fn what_can_be_sent_once_is_not_sent_again_with_another_token() {
    let server = taking("fresh");
    let provider = |request: TokenRequest| async move {
        Ok(AccessToken::new(if request.refused { "fresh" } else { "stale" }))
    };
    let lxd = server.builder().token_provider(provider).build().unwrap();
    let body = || Body::stream(stream::iter([Ok(Bytes::from_static(b"x"))]));
    let error = lxd.upload_image(body()).fingerprint("f0").await.unwrap_err();
    assert!(error.is_forbidden(), "{error:?}");
    // But the next ones have the other.
    lxd.upload_image(body()).fingerprint("f0").await.unwrap();
    lxd.server().await.unwrap();
    assert_eq!(authorizations(&server), ["Bearer stale", "Bearer fresh", "Bearer fresh"]);
}

/// A server that trusts who shows it the token, in the way that newer or older ones want it.
async fn trusting(own: &Certified, extensions: &'static [&'static str]) -> (FakeServer, String) {
    let trusted = std::sync::atomic::AtomicBool::new(false);
    let mut server = FakeServer::with(move |request| match request.method.as_str() {
        "GET" => {
            let auth = if trusted.load(Ordering::Relaxed) { "trusted" } else { "untrusted" };
            Answer::sync(&json!({"auth": auth, "api_extensions": extensions}).to_string())
        }
        _ if request.text().contains("refused") => Answer::error(403, "Forbidden"),
        _ => {
            trusted.store(true, Ordering::Relaxed);
            Answer::created("/1.0/certificates/0")
        }
    });
    let endpoint = server.tls_endpoint(tls::server(own, &[&TLS13])).await;
    (server, endpoint.replace("https://", ""))
}

fn token(fingerprint: &str, addresses: &[&str], more: Value) -> (String, TrustToken) {
    let mut token = json!({
        "fingerprint": fingerprint, "addresses": addresses, "secret": "hush",
        "expires_at": "0001-01-01T00:00:00Z",
    });
    token.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let text = base64(token.to_string().as_bytes());
    let token = text.parse().unwrap();
    (text, token)
}

#[tokio::test]
async fn a_token_is_given_as_the_server_wants_it() {
    let own = self_signed("root@elsewhere", &["elsewhere"], Valid::Now);
    let identity = Identity::generate("me").unwrap();
    for (extensions, more, line, expected) in [
        (
            &["projects"][..],
            json!({"client_name": "me"}),
            "certificates",
            json!({"type": "client", "password": "TOKEN"}),
        ),
        (
            &["explicit_trust_token"],
            json!({"client_name": "me"}),
            "certificates",
            json!({"type": "client", "trust_token": "TOKEN"}),
        ),
        (
            &["explicit_trust_token", "access_management"],
            json!({"client_name": "me", "type": "Client certificate"}),
            "auth/identities/tls",
            json!({"trust_token": "TOKEN"}),
        ),
        (
            &["explicit_trust_token"],
            json!({"server_name": "node2"}),
            "certificates",
            json!({"type": "server", "name": "node2", "password": "TOKEN"}),
        ),
    ] {
        let (server, address) = trusting(&own, extensions).await;
        let shown = Client::fetch_server_certificate(&format!("https://{address}")).await.unwrap();
        let (text, token) = token(&shown.fingerprint(), &[&address], more);
        let lxd = Client::builder().identity(identity.clone()).join(&token).await.unwrap();
        let expected: Value = expected.to_string().replace("TOKEN", &text).parse().unwrap();
        let post = format!("POST /1.0/{line}?public");
        assert_eq!(server.lines(), ["GET /1.0", post.as_str(), "GET /1.0"]);
        let sent: Value = server.requests()[1].text().parse().unwrap();
        assert_eq!(sent, expected);
        assert!(server.handshakes().last().unwrap().client.is_some());
        // Who is trusted does not use up another.
        drop(lxd);
        Client::builder().identity(identity.clone()).join(&token).await.unwrap();
        assert_eq!(server.lines().len(), 4);
    }
}

#[tokio::test]
async fn the_addresses_of_a_token_are_tried_in_turn_and_only_its_server_sees_it() {
    let own = self_signed("root@elsewhere", &["elsewhere"], Valid::Now);
    let other = self_signed("root@elsewhere", &["elsewhere"], Valid::Now);
    let (server, address) = trusting(&own, &[]).await;
    let (wrong, wrong_address) = trusting(&other, &[]).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let fingerprint =
        Client::fetch_server_certificate(&format!("https://{address}")).await.unwrap().fingerprint();
    let builder = Client::builder().identity(Identity::generate("me").unwrap());

    let all = [nobody.as_str(), &wrong_address, "no address", &address];
    let (_, right) = token(&fingerprint, &all, json!({"client_name": "me"}));
    let lxd = builder.clone().join(&right).await.unwrap();
    assert!(format!("{lxd:?}").contains(&address), "{lxd:?}");
    assert!(wrong.requests().is_empty() && server.lines().len() == 3);

    let (text, lost) = token(&fingerprint, &all[..3], json!({"client_name": "me"}));
    let error = builder.clone().join(&lost).await.unwrap_err();
    let told = error.to_string();
    assert!(told.contains("no address of the token leads to its server"), "{told}");
    assert!(told.contains(&nobody) && told.contains("another certificate"), "{told}");
    assert!(!format!("{error:?}{told}").contains(&text), "{told}");
    // What the builder names comes before what the token says.
    let elsewhere = builder.clone().endpoint(format!("https://{address}")).join(&lost).await.unwrap();
    elsewhere.server().await.unwrap();

    let (_, refused) = token(&fingerprint, &[&address], json!({"client_name": "me"}));
    let stranger = Client::builder().join(&refused).await.unwrap_err();
    assert!(stranger.to_string().contains("ClientBuilder::identity"), "{stranger}");
    // Nobody is sure who listens there, or sees a certificate.
    let open = FakeServer::with(|_| Answer::sync(r#"{"auth":"untrusted"}"#));
    let mut tcp = FakeServer::with(|_| Answer::sync(r#"{"auth":"trusted"}"#));
    for endpoint in [open.endpoint(), tcp.tcp_endpoint().await] {
        let builder = builder.clone().endpoint(&endpoint);
        let error = builder.clone().join(&refused).await.unwrap_err().to_string();
        assert!(error.contains("shows no certificate") && error.contains(&endpoint), "{error}");
        let error = builder.build().unwrap().become_trusted("me", "hush").await.unwrap_err();
        assert!(matches!(error, Error::Configuration { .. }), "{error:?}");
    }
    let known = builder.clone().access_token("a").endpoint(format!("https://{address}"));
    assert!(matches!(known.join(&refused).await.unwrap_err(), Error::Configuration { .. }));
    assert!(open.requests().is_empty() && tcp.requests().is_empty() && server.lines().len() == 5);
    let (_, nowhere) = token(&fingerprint, &[], json!({"client_name": "me"}));
    let error = builder.retry_for(Duration::ZERO).join(&nowhere).await.unwrap_err();
    assert!(error.to_string().contains("no address"), "{error}");
}
