//! TLS: which server a client takes for the right one, and what it shows of itself.

use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use lxd_client::{Client, ClientBuilder, Error, Identity};
use lxd_tests::certificates::{Authority, Certified, Valid, self_signed};
use lxd_tests::fake_server::{Answer, FakeServer};
use lxd_tests::tls;
use rustls::ProtocolVersion;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const BOTH: &[&rustls::SupportedProtocolVersion] = &[&TLS12, &TLS13];

/// What LXD's own certificate is like: it names only the host that made it.
static OWN: LazyLock<Certified> = LazyLock::new(|| self_signed("root@elsewhere", &["elsewhere"], Valid::Now));

/// A server that answers anything, with a certificate.
async fn server(certified: &Certified) -> (FakeServer, ClientBuilder) {
    server_of(certified, BOTH).await
}

async fn server_of(
    certified: &Certified,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> (FakeServer, ClientBuilder) {
    let mut server = FakeServer::with(|_| Answer::sync("{}"));
    let endpoint = server.tls_endpoint(tls::server(certified, versions)).await;
    (server, Client::builder().endpoint(endpoint))
}

/// What a call fails with, of which the server must not see a byte.
async fn unsafe_call(server: &FakeServer, builder: ClientBuilder) -> String {
    let error = builder.build().unwrap().create_instance(Default::default()).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("POST /1.0/instances: no safe connection: ") && !text.contains('\n'), "{text}");
    assert!(server.requests().is_empty(), "{:?}", server.lines());
    text
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[tokio::test]
async fn a_pinned_server_is_the_right_one_whatever_its_certificate_says() {
    let old = self_signed("root@elsewhere", &["elsewhere"], Valid::Once);
    for certified in [&*OWN, &old] {
        let (server, builder) = server(certified).await;
        let lxd = builder.server_certificate(&certified.certificate).build().unwrap();
        lxd.server().await.unwrap();
        lxd.server().await.unwrap();
        let [handshake] = server.handshakes().try_into().expect("one connection");
        assert_eq!(handshake.version, Some(ProtocolVersion::TLSv1_3));
        // A connection of HTTP/2 cannot be taken over by a websocket.
        assert!(!handshake.protocols.iter().any(|name| name == "h2"), "{handshake:?}");
        assert_eq!(handshake.client, None);
    }
}

#[tokio::test]
async fn an_older_tls_will_do_where_the_server_has_no_newer() {
    let (server, builder) = server_of(&OWN, &[&TLS12]).await;
    let lxd = builder.server_certificate(&OWN.certificate).build().unwrap();
    lxd.server().await.unwrap();
    assert_eq!(server.handshakes()[0].version, Some(ProtocolVersion::TLSv1_2));
}

#[tokio::test]
async fn another_server_than_the_pinned_one_sees_nothing() {
    let (server, builder) = server(&OWN).await;
    let shown = Client::fetch_server_certificate(builder_endpoint(&builder).as_str()).await.unwrap();
    assert_eq!(shown.pem().trim(), OWN.certificate.trim());
    let other = self_signed("root@elsewhere", &["elsewhere"], Valid::Now);
    let identity = Identity::generate("me").unwrap();
    for wrong in [
        builder.clone().server_certificate(&other.certificate),
        builder.clone().server_fingerprint("0".repeat(64)),
        builder.clone().server_fingerprint(format!("sha1${}", "0".repeat(40))),
    ] {
        let told = unsafe_call(&server, wrong.identity(identity.clone())).await;
        assert!(told.contains("another certificate than the trusted one"), "{told}");
        assert!(told.contains(&shown.fingerprint()), "{told}");
        let handshakes = server.handshakes();
        let last = handshakes.last().expect("a handshake");
        assert!(last.failure.is_some() && last.client.is_none(), "{last:?}");
    }
}

/// The endpoint of a builder, which its `Debug` shows.
fn builder_endpoint(builder: &ClientBuilder) -> String {
    let shown = format!("{builder:?}");
    let (_, rest) = shown.split_once("https://").expect("an endpoint");
    format!("https://{}", rest.split('"').next().expect("its end"))
}

/// The certificate is public: only the handshake proves whose it is.
#[tokio::test]
async fn a_server_that_only_shows_the_right_certificate_sees_nothing() {
    let liar =
        Certified { certificate: OWN.certificate.clone(), key: self_signed("liar", &[], Valid::Now).key };
    for versions in [&[&TLS12][..], &[&TLS13][..]] {
        let (server, builder) = server_of(&liar, versions).await;
        let told = unsafe_call(&server, builder.server_certificate(&OWN.certificate)).await;
        assert!(told.contains("BadSignature"), "{told}");
    }
}

#[tokio::test]
async fn an_authority_vouches_for_servers_by_their_names_and_dates() {
    let authority = Authority::new("the lab");
    let certified = authority.sign("lxd", &["localhost", "127.0.0.1"], Valid::Now);
    let (_server, builder) = server(&certified).await;
    let several = Authority::new("another").certificate() + &authority.certificate();
    for authorities in [authority.certificate(), several] {
        let lxd = builder.clone().server_authority(authorities).build().unwrap();
        lxd.server().await.unwrap();
    }

    for (certified, told) in [
        (
            Authority::new("another").sign("lxd", &["127.0.0.1"], Valid::Now),
            "signed by none of the authorities",
        ),
        (self_signed("lxd", &["127.0.0.1"], Valid::Now), "pin it with ClientBuilder::server_fingerprint"),
        (authority.sign("lxd", &["elsewhere"], Valid::Now), "is not for this host"),
        (authority.sign("lxd", &["127.0.0.1"], Valid::Once), "has expired"),
    ] {
        let (server, builder) = server(&certified).await;
        let told_then = unsafe_call(&server, builder.server_authority(authority.certificate())).await;
        assert!(told_then.contains(told), "{told_then}");
    }
}

#[tokio::test]
async fn the_authorities_of_the_machine_do_not_vouch_for_just_any() {
    let (server, builder) = server(&OWN).await;
    match builder.clone().system_authorities().build() {
        Ok(_) => {
            let told = unsafe_call(&server, builder.system_authorities()).await;
            assert!(told.contains("signed by none of the authorities"), "{told}");
        }
        // A machine may have none.
        Err(error) => assert!(error.to_string().contains("ca-certificates"), "{error}"),
    }
}

#[tokio::test]
async fn a_client_shows_who_it_is() {
    let generated = Identity::generate("me").unwrap();
    let signed = Authority::new("the lab").sign("me", &[], Valid::Now);
    let signed = Identity::from_pem(signed.certificate, signed.key).unwrap();
    for versions in [&[&TLS12][..], &[&TLS13][..]] {
        for identity in [&generated, &signed] {
            let (server, builder) = server_of(&OWN, versions).await;
            let lxd = builder.server_certificate(&OWN.certificate).identity(identity.clone());
            lxd.build().unwrap().server().await.unwrap();
            let shown = server.handshakes()[0].client.clone().expect("a certificate");
            assert!(shown == *der(identity.certificate()), "it showed another");
        }
    }
}

/// Set for the process that a test starts of itself.
const CHILD: &str = "LXD_TESTS_THROUGH_PROXY";

/// The environment of a process is for all its tests: this one starts another process.
#[tokio::test]
async fn a_proxy_is_used_for_https_alone() {
    if let Ok(fingerprint) = std::env::var(CHILD) {
        return through_proxy(fingerprint).await;
    }
    let (server, builder) = server(&OWN).await;
    let target = builder_endpoint(&builder).replace("https://", "");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let asked = tokio::spawn(async move {
        let mut asked = Vec::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut client = BufReader::new(stream);
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                client.read_line(&mut line).await.unwrap();
                if line.trim().is_empty() {
                    break;
                }
                head.push(line.trim().to_owned());
            }
            let is_last = head[0].contains("stop");
            asked.push(head);
            if is_last {
                client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await.unwrap();
                return asked;
            }
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let mut server = TcpStream::connect(&target).await.unwrap();
            tokio::spawn(async move {
                // Either side may leave.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let unix = server.endpoint();
    let fingerprint =
        lxd_client::Client::fetch_server_certificate(&builder_endpoint(&builder)).await.unwrap();
    let child = tokio::task::spawn_blocking(move || {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "a_proxy_is_used_for_https_alone", "--nocapture"]);
        child.env(CHILD, fingerprint.fingerprint()).env("LXD_TESTS_UNIX", unix);
        child.env("HTTPS_PROXY", format!("http://user:hush@{proxy}")).env("NO_PROXY", "except.example");
        for other in ["https_proxy", "no_proxy", "all_proxy", "ALL_PROXY"] {
            child.env_remove(other);
        }
        child.output().unwrap()
    });
    let output = child.await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let asked = asked.await.unwrap();
    assert_eq!(asked[0][0], "CONNECT lab.example:8443 HTTP/1.1");
    // The base64 of `user:hush`.
    let authorization = "proxy-authorization: basic dxnlcjpodxno";
    assert!(asked[0].iter().any(|line| line.to_lowercase() == authorization), "{asked:?}");
    assert_eq!(asked[1][0], "CONNECT stop.example:8443 HTTP/1.1");
    assert_eq!(asked.len(), 2);
}

async fn through_proxy(fingerprint: String) {
    let pinned = Client::builder().server_fingerprint(fingerprint).retry_for(Duration::ZERO);
    let lxd = pinned.clone().endpoint("https://lab.example:8443").build().unwrap();
    lxd.server().await.unwrap();
    // No proxy leads to a Unix socket.
    let unix = std::env::var("LXD_TESTS_UNIX").unwrap();
    Client::builder().endpoint(unix).build().unwrap().server().await.unwrap();
    // Nor to what is excepted, of which nobody knows the name.
    let excepted = pinned.clone().endpoint("https://except.example:8443").build().unwrap();
    let error = excepted.server().await.unwrap_err();
    assert!(
        matches!(error, Error::Transport { .. }) && error.to_string().contains("https://except.example:8443")
    );
    let refused = pinned.endpoint("https://stop.example:8443").build().unwrap().server().await.unwrap_err();
    assert!(matches!(refused, Error::Transport { .. }), "{refused:?}");
    assert!(refused.to_string().contains("tunnel"), "{refused}");
    assert!(!format!("{refused:?}").contains("hush"), "{refused:?}");
}
