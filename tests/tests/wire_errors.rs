//! What goes wrong on the way, and what the error says about it: one line, with its cause, and without
//! the secrets that were given.

use std::error::Error as _;
use std::time::Duration;

use lxd_client::types::{
    CertificatesPost, ClusterPut, ImagesPost, ImagesPostSource, InstanceSource, InstancesPost,
};
use lxd_client::{AccessToken, Client, Error, Identity};
use lxd_tests::fake_server::{Answer, FakeServer, UUID, envelope, operation};

/// The error of a call that is answered so.
async fn refused(answer: Answer) -> Error {
    let server = FakeServer::answering([answer]);
    let lxd = server.builder().retry_for(Duration::ZERO).build().unwrap();
    lxd.instance("t1").await.unwrap_err()
}

/// The text of an error, which must be one line.
fn line(error: &Error) -> String {
    let text = error.to_string();
    assert!(!text.contains(['\n', '\r']) && !text.is_empty(), "{text:?}");
    text
}

#[tokio::test]
async fn a_refusal_has_the_status_and_words_of_the_server() {
    for status in [400, 401, 403, 404, 409, 412, 500, 501, 503] {
        let error = refused(Answer::error(status, "Instance \"t1\": no")).await;
        let Error::Api { call, status: found, message } = &error else { panic!("{error:?}") };
        assert_eq!((call.as_str(), *found), ("GET /1.0/instances/t1", status));
        assert_eq!(message, "Instance \"t1\": no");
        assert_eq!(error.status(), Some(status));
        assert_eq!(error.is_not_found(), status == 404);
        assert_eq!(error.is_conflict(), status == 409);
        assert_eq!(error.is_forbidden(), matches!(status, 401 | 403));
        assert_eq!(error.is_precondition_failed(), status == 412);
        let start = format!("GET /1.0/instances/t1: Instance \"t1\": no (status {status})");
        assert!(line(&error).starts_with(&start), "{error}");
        assert!(error.source().is_none());
    }
}

#[tokio::test]
async fn the_envelope_knows_better_than_the_status_of_http() {
    let json =
        |http: u16, code: u16| Answer::json(http, envelope("error", "", 0, "", code, "not found", "null"));
    assert_eq!(refused(json(500, 404)).await.status(), Some(404));
    assert_eq!(refused(json(200, 404)).await.status(), Some(404));
    assert_eq!(refused(json(404, 0)).await.status(), Some(404));
    let old = Answer::json(400, r#"{"type":"error","error":"no","code":404,"metadata":null}"#);
    assert_eq!(refused(old).await.status(), Some(404));
    // No success, whatever its envelope says.
    let error = refused(Answer::json(500, r#"{"type":"sync","metadata":{"name":"t1"}}"#)).await;
    assert_eq!(error.status(), Some(500));
}

#[tokio::test]
async fn a_refusal_keeps_the_words_of_the_server_where_its_code_is_missing() {
    let json = envelope("error", "", 0, "", 0, "no such thing", "null");
    let error = refused(Answer::json(404, json)).await;
    assert!(
        matches!(&error, Error::Api { status: 404, message, .. } if message == "no such thing"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_refusal_that_is_no_json_comes_from_something_between() {
    let html = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n</body>\r\n</html>\r\n";
    let error = refused(Answer::raw(502, &[("content-type", "text/html")], html)).await;
    assert_eq!(error.status(), Some(502));
    assert!(line(&error).contains("502 Bad Gateway"), "{error}");

    let error = refused(Answer::raw(503, &[], "")).await;
    assert_eq!(error.status(), Some(503));
    assert!(line(&error).contains("without a reason"), "{error}");

    // A server that sends its clients elsewhere is no LXD.
    let login = Answer::raw(302, &[("location", "https://login.example")], "<html>log in</html>");
    let server = FakeServer::answering([login]);
    let error = server.client().instance_files("t1").await.unwrap_err();
    assert_eq!(error.status(), Some(302));

    let error = refused(Answer::raw(500, &[], "é".repeat(100_000))).await;
    assert!(line(&error).len() < 1000, "{} bytes", error.to_string().len());

    let error = refused(Answer::json(404, "null")).await;
    assert_eq!(error.status(), Some(404));
}

#[tokio::test]
async fn an_error_cannot_steer_a_terminal() {
    let error = refused(Answer::raw(500, &[], &b"\xff\xfe\0\x1b[31m"[..])).await;
    assert_eq!(error.status(), Some(500));
    assert!(!line(&error).contains(['\0', '\x1b']), "{error:?}");
    let error = refused(Answer::error(500, "\u{1b}[31mred")).await;
    assert!(line(&error).contains("red") && !line(&error).contains('\x1b'), "{error:?}");
}

#[tokio::test]
async fn words_of_several_lines_become_one() {
    let error = refused(Answer::error(500, "Failed to run: zfs\n\tcannot open\r\nno pool\n")).await;
    let text = line(&error);
    for word in ["Failed to run: zfs", "cannot open", "no pool"] {
        assert!(text.contains(word), "{text}");
    }
    let failed = operation("task", "Failure", 400, "null", "first\\nsecond");
    let error = FakeServer::answering([Answer::background(&failed)]).client().delete_instance("t1").await;
    let text = line(&error.unwrap_err());
    assert!(text.contains("first") && text.contains("second"), "{text}");
}

#[tokio::test]
async fn what_a_server_calls_things_breaks_no_line() {
    for json in [r#"{"type":"odd\nkind"}"#, r#"{"type":"sync","metadata":{"config":{"a\nb":1}}}"#] {
        line(&refused(Answer::json(200, json)).await);
    }
    let lxd = FakeServer::answering([]).client();
    line(&lxd.instance("a\nb").project("c\nd").await.unwrap_err());
    line(&lxd.server().header("a\nb", "").await.unwrap_err());
}

#[tokio::test]
async fn a_connection_that_is_closed_is_a_failure_of_transport() {
    for answer in [Answer::close(), Answer::half(100, "{\"type\":\"sync\"")] {
        let error = refused(answer).await;
        assert!(matches!(error, Error::Transport { .. }), "{error:?}");
        assert!(line(&error).starts_with("GET /1.0/instances/t1: "), "{error}");
        assert!(error.source().is_some());
    }
}

#[tokio::test]
async fn a_change_of_protocol_that_nobody_wanted_is_an_error() {
    let mut server = FakeServer::answering([Answer::raw(101, &[], "").hand_over()]);
    let error = server.client().instance("t1").await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. } | Error::Decode { .. }), "{error:?}");
    assert!(line(&error).starts_with("GET /1.0/instances/t1"), "{error}");
    drop(server.stream().await);
}

#[tokio::test]
async fn a_call_that_may_have_arrived_is_not_sent_again() {
    let mut server = FakeServer::with(|request| match request.method.as_str() {
        "GET" => Answer::sync("{}"),
        _ => Answer::close(),
    });
    let lxd = server.builder().endpoint(server.tcp_endpoint().await).build().unwrap();
    // The connection is a used one.
    lxd.server().await.unwrap();
    let error = lxd.create_instance(InstancesPost::default()).await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert_eq!(server.lines(), ["GET /1.0", "POST /1.0/instances"]);
    assert_eq!(server.requests()[1].connection, 0);
    // The client is as good as before.
    lxd.server().await.unwrap();
    assert_eq!(server.requests()[2].connection, 1);
}

#[tokio::test]
async fn who_speaks_no_tls_has_no_certificate() {
    let mut server = FakeServer::with(|_| Answer::sync("{}"));
    let endpoint = server.tcp_endpoint().await;
    let error = Client::fetch_server_certificate(&endpoint).await.unwrap_err();
    assert!(matches!(error, Error::Configuration { .. }), "{error:?}");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Not a word of TLS.
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = Client::fetch_server_certificate(&format!("https://{address}")).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(error.to_string().starts_with(&format!("first contact with https://{address}: ")), "{error}");
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced() {
    let body = r#"{"type":"sync"}"#;
    let server = FakeServer::with(move |request| match request.method.as_str() {
        // Its length being told, the server closes the connection.
        "GET" => Answer::raw(200, &[("content-length", &body.len().to_string())], body),
        _ => Answer::background(&operation("task", "Success", 200, "null", "")),
    });
    let lxd = server.client();
    lxd.server().await.unwrap();
    server.until_left().await;
    lxd.create_instance(InstancesPost::default()).await.unwrap();
    assert_eq!(server.lines(), ["GET /1.0", "POST /1.0/instances"]);
}

#[tokio::test]
async fn a_read_that_finds_its_connection_closed_is_sent_again() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let server = FakeServer::with(move |_| match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        1 => Answer::close(),
        _ => Answer::sync("{}"),
    });
    let lxd = server.client();
    lxd.server().await.unwrap();
    lxd.server().await.unwrap();
    let connections: Vec<_> = server.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_timeout() {
    let limit = Duration::from_millis(100);
    let server = FakeServer::with(|request| match request.target.as_str() {
        "/1.0/instances/half" => {
            Answer::raw(200, &[("transfer-encoding", "chunked")], "1\r\n{\r\n").hand_over()
        }
        "/1.0/instances/half/files" => {
            Answer::raw(500, &[("transfer-encoding", "chunked")], "1\r\nn\r\n").hand_over()
        }
        _ => Answer::never(),
    });
    let lxd = server.builder().timeout(limit).build().unwrap();
    for (error, call) in [
        (lxd.instance("t1").await.unwrap_err(), "GET /1.0/instances/t1"),
        (lxd.instance("half").await.unwrap_err(), "GET /1.0/instances/half"),
        (lxd.instance_files("t1").await.unwrap_err(), "GET /1.0/instances/t1/files"),
        (lxd.instance_files("half").await.unwrap_err(), "GET /1.0/instances/half/files"),
        (
            lxd.operation_websocket("u").secret("hush").await.map(drop).unwrap_err(),
            "GET /1.0/operations/u/websocket",
        ),
        (lxd.instance_sftp("t1").await.map(drop).unwrap_err(), "GET /1.0/instances/t1/sftp"),
        (lxd.delete_instance("t1").start().await.map(drop).unwrap_err(), "DELETE /1.0/instances/t1"),
    ] {
        let Error::Timeout { call: found, after, .. } = &error else { panic!("{error:?}") };
        assert_eq!((found.as_str(), *after), (call, limit));
        let text = line(&error);
        assert!(text.starts_with(&format!("{call}: no answer within 0.1 s")), "{text}");
    }
}

/// What must not be seen.
const SECRET: &str = "hush-hush";

/// Sees to it that the secret does not appear.
fn assert_hidden(shown: &dyn std::fmt::Debug) {
    for text in [format!("{shown:?}"), format!("{shown:#?}")] {
        assert!(!text.contains(SECRET), "{text}");
        assert!(!text.contains("104, 117, 115, 104"), "{text}");
    }
}

/// The same of an error, and of all that caused it.
fn assert_hidden_in(error: &Error) {
    assert_hidden(error);
    line(error);
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        assert!(!error.to_string().contains(SECRET), "{error}");
        assert_hidden(&error);
        cause = error.source();
    }
}

#[tokio::test]
async fn no_error_shows_a_secret_that_was_sent() {
    let answers: [fn() -> Answer; 8] = [
        || Answer::error(403, "no"),
        || Answer::raw(502, &[], "<html>"),
        || Answer::sync("5"),
        || Answer::raw(200, &[], "no JSON"),
        || Answer::background(&operation("task", "Failure", 400, "null", "no")),
        || Answer::close(),
        || Answer::half(100, "{"),
        || Answer::never(),
    ];
    for answer in answers {
        let server = FakeServer::with(move |_| answer());
        let lxd = server.builder().timeout(Duration::from_millis(100)).build().unwrap();
        let certificate = CertificatesPost { trust_token: SECRET.into(), ..Default::default() };
        if let Err(error) = lxd.add_certificate(certificate).await {
            assert_hidden_in(&error);
        }
        let error = lxd.operation_websocket(UUID).secret(SECRET).await.unwrap_err();
        assert_hidden_in(&error);
        if let Err(error) = lxd.image_untrusted("f0").secret(SECRET).await {
            assert_hidden_in(&error);
        }
        if let Err(error) = lxd.upload_image(SECRET).secret(SECRET).header("authorization", SECRET).await {
            assert_hidden_in(&error);
        }
        assert!(server.requests().iter().any(|request| request.target.contains(SECRET)));
    }
}

#[tokio::test]
async fn no_error_shows_a_secret_of_a_call_that_is_not_sent() {
    let server = FakeServer::answering([]);
    let lxd = server.client();
    let bad = format!("{SECRET}\n");
    assert_hidden_in(&lxd.upload_image("").secret(&bad).await.unwrap_err());
    assert_hidden_in(&lxd.server().header("authorization", &bad).await.unwrap_err());
    assert_hidden_in(&lxd.operation_websocket("").secret(SECRET).await.unwrap_err());
    drop(server);
    assert_hidden_in(&lxd.operation_websocket("u").secret(SECRET).await.unwrap_err());
}

#[test]
fn a_password_in_an_endpoint_is_not_shown() {
    for endpoint in
        ["http://me:hush-hush@localhost:1", "https://me:hush-hush@localhost:x", "ftp://me:hush-hush@h"]
    {
        let builder = Client::builder().endpoint(endpoint);
        assert_hidden(&builder);
        assert_hidden_in(&builder.build().unwrap_err());
    }
}

#[tokio::test]
async fn what_a_server_sent_is_not_shown_where_it_cannot_be_read() {
    let bytes = [SECRET.as_bytes(), b"\xff"].concat();
    let server = FakeServer::with(move |_| Answer::raw(200, &[], bytes.clone()));
    let lxd = server.client();
    assert_hidden_in(&lxd.instance_files("t1").await.unwrap().text().await.unwrap_err());
    assert_hidden_in(&lxd.metrics().await.unwrap_err());
    assert_hidden_in(&lxd.instance("t1").await.unwrap_err());
    assert_hidden_in(&lxd.instance_files("t1").await.unwrap().json::<Vec<String>>().await.unwrap_err());
}

#[tokio::test]
async fn nothing_that_is_printed_shows_a_secret() {
    let server = FakeServer::answering([]);
    let builder = server.builder().access_token(SECRET).header("authorization", SECRET).project("p");
    assert_hidden(&builder);
    assert_hidden(&builder.build().unwrap());
    let identity = Identity::generate("me").unwrap();
    for printed in [format!("{identity:?}"), format!("{:?}", server.builder().identity(identity.clone()))] {
        assert!(identity.key().lines().all(|line| !printed.contains(line)), "{printed}");
    }
    assert_hidden(&AccessToken::new(SECRET));
    let lxd = server.builder().project("p").build().unwrap();
    assert!(format!("{lxd:?}").contains(&server.endpoint()), "{lxd:?}");

    let certificate = CertificatesPost {
        name: "me".into(),
        password: SECRET.into(),
        trust_token: SECRET.into(),
        ..Default::default()
    };
    assert_hidden(&certificate);
    assert!(format!("{certificate:?}").contains("name: \"me\""), "{certificate:?}");
    let source = InstanceSource {
        secret: SECRET.into(),
        secrets: [("control".to_owned(), SECRET.to_owned())].into(),
        ..Default::default()
    };
    assert_hidden(&source);
    assert_hidden(&InstancesPost { source: Some(source), ..Default::default() });
    let source = ImagesPostSource { secret: SECRET.into(), ..Default::default() };
    assert_hidden(&ImagesPost { source: Some(source), ..Default::default() });
    assert_hidden(&ClusterPut {
        cluster_token: SECRET.into(),
        cluster_password: SECRET.into(),
        ..Default::default()
    });

    assert_hidden(&lxd.add_certificate(certificate));
    assert_hidden(&lxd.operation_websocket("u").secret(SECRET));
    assert_hidden(&lxd.upload_image(SECRET).secret(SECRET).header("authorization", SECRET));
    assert_hidden(&lxd_client::Body::from(SECRET));
}
