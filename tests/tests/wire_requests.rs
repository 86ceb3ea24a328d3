//! What the client puts on the wire: methods, targets, headers and bodies, byte by byte.

use std::collections::BTreeMap;
use std::future::IntoFuture;

use bytes::Bytes;
use futures_util::stream;
use lxd_client::types::{
    self, CertificatesPost, InstancePatch, InstancePut, InstanceSnapshotPatch, InstanceSource,
    InstanceStatePut, InstancesPost, ProfilePatch, ProfilePut,
};
use lxd_client::{Body, Client, Error, read_modify_write};
use lxd_tests::fake_server::{Answer, FakeServer, Request, operation};
use lxd_tests::websocket::agree;

/// A server that has nothing to say to anything.
fn silent() -> FakeServer {
    FakeServer::with(|_| Answer::sync("null"))
}

/// The one request that a call sends.
macro_rules! sent {
    (|$lxd:ident| $call:expr) => {{
        let server = silent();
        let $lxd = server.client();
        $call.await.unwrap();
        server.request()
    }};
}

#[tokio::test]
async fn each_method_has_its_http_method_and_path() {
    let server = silent();
    let lxd = server.client();
    lxd.server().await.unwrap();
    lxd.instances().await.unwrap();
    lxd.instance("t1").await.unwrap();
    lxd.create_instance(InstancesPost::default()).await.unwrap();
    lxd.update_instance("t1", InstancePut::default()).await.unwrap();
    lxd.modify_instance("t1", InstancePatch::default()).await.unwrap();
    lxd.delete_instance("t1").await.unwrap();
    lxd.update_instance_state("t1", InstanceStatePut::default()).await.unwrap();
    lxd.instance_snapshot("t1", "first").await.unwrap();
    lxd.storage_pool("local").await.unwrap();
    lxd.instance_files_head("t1").path("/etc/hosts").await.unwrap();
    lxd.delete_instance_files("t1").path("/etc/hosts").await.unwrap();
    lxd.delete_project("p").force(true).await.unwrap();
    assert_eq!(
        server.lines(),
        [
            "GET /1.0",
            "GET /1.0/instances",
            "GET /1.0/instances/t1",
            "POST /1.0/instances",
            "PUT /1.0/instances/t1",
            "PATCH /1.0/instances/t1",
            "DELETE /1.0/instances/t1",
            "PUT /1.0/instances/t1/state",
            "GET /1.0/instances/t1/snapshots/first",
            "GET /1.0/storage-pools/local",
            "HEAD /1.0/instances/t1/files?path=%2Fetc%2Fhosts",
            "DELETE /1.0/instances/t1/files?path=%2Fetc%2Fhosts",
            "DELETE /1.0/projects/p?force=true",
        ]
    );
}

#[tokio::test]
async fn a_name_never_reaches_another_path() {
    for (name, encoded) in [
        ("a/b", "a%2Fb"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("?x", "%3Fx"),
        ("50%", "50%25"),
        ("%2e%2e", "%252e%252e"),
        ("é", "%C3%A9"),
        ("a b", "a%20b"),
        ("a#b", "a%23b"),
        ("a\r\nHost: b", "a%0D%0AHost%3A%20b"),
        ("{name}", "%7Bname%7D"),
    ] {
        let request = sent!(|lxd| lxd.instance(name));
        assert_eq!(request.line(), format!("GET /1.0/instances/{encoded}"));
        let request = sent!(|lxd| lxd.instance_snapshot(name, name));
        assert_eq!(request.target, format!("/1.0/instances/{encoded}/snapshots/{encoded}"));
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_one_is_not_sent() {
    let server = silent();
    let lxd = server.client();
    for error in [
        lxd.instance("").await.unwrap_err(),
        lxd.delete_instance("").await.unwrap_err(),
        lxd.instance_snapshot("t1", "").await.unwrap_err(),
        lxd.delete_instance("").start().await.unwrap_err(),
        lxd.instance_files("").await.unwrap_err(),
        lxd.instance_sftp("").await.unwrap_err(),
        lxd.operation_websocket("").await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Argument { .. }), "{error:?}");
        assert!(error.to_string().contains("is empty"), "{error}");
    }
    // The server's database would read a name up to there.
    let error = lxd.instance("t1\0").await.unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error:?}");
    assert_eq!(server.lines(), [""; 0]);
}

#[tokio::test]
async fn setters_make_the_query() {
    let request = sent!(|lxd| lxd.instances().all_projects(true).filter("status eq running&x=é+/"));
    assert_eq!(
        request.target,
        "/1.0/instances?all-projects=true&filter=status%20eq%20running%26x%3D%C3%A9%2B%2F"
    );
    let request = sent!(|lxd| lxd.instances().all_projects(false));
    assert_eq!(request.target, "/1.0/instances?all-projects=false");
    let request = sent!(|lxd| lxd.operation_wait("u").timeout(-1));
    assert_eq!(request.target, "/1.0/operations/u/wait?timeout=-1");
    let request = sent!(|lxd| lxd.delete_instance("t1").force(true).project("a b"));
    assert_eq!(request.target, "/1.0/instances/t1?force=true&project=a%20b");
    let request = sent!(|lxd| lxd.instances().filter("first").filter("last"));
    assert_eq!(request.target, "/1.0/instances?filter=last");
}

#[tokio::test]
async fn a_fixed_query_is_sent_and_can_be_replaced() {
    assert_eq!(sent!(|lxd| lxd.instances_recursion1()).target, "/1.0/instances?recursion=1");
    assert_eq!(sent!(|lxd| lxd.images_untrusted()).target, "/1.0/images?public");
    assert_eq!(
        sent!(|lxd| lxd.images_recursion1_untrusted().filter("a")).target,
        "/1.0/images?public&recursion=1&filter=a"
    );
    assert_eq!(sent!(|lxd| lxd.instances_recursion2()).target, "/1.0/instances?recursion=2");
    assert_eq!(
        sent!(|lxd| lxd.instances_recursion2().recursion("2;fields=state.disk")).target,
        "/1.0/instances?recursion=2%3Bfields%3Dstate.disk"
    );
}

#[tokio::test]
async fn the_project_of_the_client_goes_where_it_belongs() {
    let server = silent();
    let lxd = server.builder().project("test").build().unwrap();
    lxd.instance("t1").await.unwrap();
    lxd.create_instance(InstancesPost::default()).await.unwrap();
    lxd.upload_image("bytes").start().await.unwrap_err();
    lxd.instance_files("t1").path("/x").await.unwrap();
    lxd.certificates().await.unwrap();
    lxd.update_server(types::ServerPut::default()).await.unwrap();
    lxd.operation_wait("u").await.unwrap();
    lxd.instances().project("other").await.unwrap();
    lxd.instances().all_projects(true).await.unwrap();
    lxd.instances().all_projects(false).await.unwrap();
    lxd.instances().all_projects(true).project("other").await.unwrap();
    assert_eq!(
        server.lines(),
        [
            "GET /1.0/instances/t1?project=test",
            "POST /1.0/instances?project=test",
            "POST /1.0/images?project=test",
            "GET /1.0/instances/t1/files?path=%2Fx&project=test",
            "GET /1.0/certificates",
            "PUT /1.0",
            "GET /1.0/operations/u/wait",
            "GET /1.0/instances?project=other",
            "GET /1.0/instances?all-projects=true",
            "GET /1.0/instances?all-projects=false&project=test",
            "GET /1.0/instances?all-projects=true&project=other",
        ]
    );
}

#[tokio::test]
async fn a_call_has_these_headers_and_no_others() {
    let mut server = silent();
    server.client().instance("t1").await.unwrap();
    let endpoint = server.tcp_endpoint().await;
    let tcp = Client::builder().endpoint(&endpoint).build().unwrap();
    tcp.instance("t1").await.unwrap();
    let requests = server.requests();
    let agent = concat!("lxd-client/", env!("CARGO_PKG_VERSION"));
    for (request, host) in requests.iter().zip(["lxd", endpoint.trim_start_matches("http://")]) {
        assert_eq!(request.line(), "GET /1.0/instances/t1");
        assert_eq!(request.header("host"), Some(host));
        assert_eq!(request.header("user-agent"), Some(agent));
        assert_eq!(request.headers.len(), 2, "{:?}", request.headers);
        assert_eq!(request.body, b"");
    }
    assert_eq!(requests.len(), 2);
}

#[tokio::test]
async fn headers_can_be_added() {
    let call = |lxd: &Client| lxd.update_instance("t1", InstancePut::default()).if_match("\"abc\"");
    let request =
        sent!(|lxd| call(&lxd).header("X-Own", "a b").header("User-Agent", "me").header("host", "h"));
    assert_eq!(request.header("if-match"), Some("\"abc\""));
    assert_eq!(request.header("x-own"), Some("a b"));
    assert_eq!(request.header("user-agent"), Some("me"));
    assert_eq!(request.header("host"), Some("h"));

    let server = silent();
    let lxd = server.client();
    for error in [
        lxd.server().header("bad name", "hush").await.unwrap_err(),
        lxd.server().header("", "hush").await.unwrap_err(),
        lxd.server().header("x-own", "hush\r\nX-Other: 1").await.unwrap_err(),
        lxd.server().if_match("hush\n").await.unwrap_err(),
        lxd.upload_image("").secret("hush\n").await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Argument { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
    }
    assert_eq!(server.lines(), [""; 0]);
}

/// The body of the one request that a call sends, which must be JSON.
fn json(request: &Request) -> &str {
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("content-length"), Some(request.body.len().to_string().as_str()));
    request.text()
}

#[tokio::test]
async fn a_body_leaves_out_defaults() {
    let source = InstanceSource { r#type: "image".into(), alias: "busybox".into(), ..Default::default() };
    let body = InstancesPost {
        name: "t1".into(),
        source: Some(source),
        config: BTreeMap::from([
            ("user.é".to_owned(), "\"\n".to_owned()),
            ("empty".to_owned(), String::new()),
        ]),
        ..Default::default()
    };
    let request = sent!(|lxd| lxd.create_instance(body.clone()).target("lxd02"));
    assert_eq!(request.line(), "POST /1.0/instances?target=lxd02");
    assert_eq!(
        json(&request),
        r#"{"config":{"empty":"","user.é":"\"\n"},"name":"t1","source":{"alias":"busybox","type":"image"}}"#
    );
    let body = InstanceStatePut { action: "start".into(), timeout: -1, force: true, ..Default::default() };
    let request = sent!(|lxd| lxd.update_instance_state("t1", body.clone()));
    assert_eq!(json(&request), r#"{"action":"start","force":true,"timeout":-1}"#);
    let request = sent!(|lxd| lxd.update_instance("t1", InstancePut::default()));
    assert_eq!(json(&request), "{}");
}

#[tokio::test]
async fn no_profiles_differ_from_the_default_profile() {
    let body = |profiles| InstancesPost { name: "t1".into(), profiles, ..Default::default() };
    let request = sent!(|lxd| lxd.create_instance(body(None)));
    assert_eq!(json(&request), r#"{"name":"t1"}"#);
    let request = sent!(|lxd| lxd.create_instance(body(Some(Vec::new()))));
    assert_eq!(json(&request), r#"{"name":"t1","profiles":[]}"#);
    let request = sent!(|lxd| lxd.create_instance(body(Some(vec!["a".into()]))));
    assert_eq!(json(&request), r#"{"name":"t1","profiles":["a"]}"#);
}

#[tokio::test]
async fn a_patch_sends_what_is_given_even_if_it_is_empty() {
    let body = InstancePatch {
        description: Some(String::new()),
        ephemeral: Some(false),
        config: Some(BTreeMap::new()),
        profiles: Some(Vec::new()),
        ..Default::default()
    };
    let request = sent!(|lxd| lxd.modify_instance("t1", body.clone()));
    assert_eq!(json(&request), r#"{"config":{},"description":"","ephemeral":false,"profiles":[]}"#);
    let body = ProfilePatch {
        config: Some(BTreeMap::from([("a".into(), None), ("b".into(), Some(String::new()))])),
        devices: Some(BTreeMap::from([("root".into(), None), ("eth0".into(), Some(BTreeMap::new()))])),
        ..Default::default()
    };
    let request = sent!(|lxd| lxd.modify_profile("p", body.clone()));
    assert_eq!(request.line(), "PATCH /1.0/profiles/p");
    assert_eq!(json(&request), r#"{"config":{"a":null,"b":""},"devices":{"eth0":{},"root":null}}"#);
    let body = InstanceSnapshotPatch { expires_at: Some(types::NEVER) };
    let request = sent!(|lxd| lxd.modify_instance_snapshot("t1", "first", body.clone()));
    assert_eq!(json(&request), r#"{"expires_at":"0001-01-01T00:00:00Z"}"#);
    let request = sent!(|lxd| lxd.modify_instance("t1", InstancePatch::default()));
    assert_eq!(json(&request), "{}");
}

#[tokio::test]
async fn what_was_read_can_be_written_back() {
    let server = FakeServer::answering([
        Answer::sync(
            r#"{"name":"t1","status":"Running","architecture":"x86_64","config":{"a":"b"},"profiles":["default"]}"#,
        )
        .header("etag", "abc"),
        Answer::sync("{}"),
    ]);
    let lxd = server.client();
    let read = lxd.instance("t1").response().await.unwrap();
    let etag = read.etag().unwrap().to_owned();
    let mut body = InstancePut::from(read.value);
    body.description = "new".into();
    lxd.update_instance("t1", body).if_match(&etag).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests[1].header("if-match"), Some("abc"));
    assert_eq!(
        json(&requests[1]),
        r#"{"architecture":"x86_64","config":{"a":"b"},"description":"new","profiles":["default"]}"#
    );
}

#[tokio::test]
async fn secrets_are_sent() {
    let body = CertificatesPost { name: "me".into(), password: "hush".into(), ..Default::default() };
    let request = sent!(|lxd| lxd.add_certificate(body.clone()));
    assert_eq!(json(&request), r#"{"name":"me","password":"hush"}"#);
}

#[tokio::test]
async fn an_image_is_uploaded_as_it_is() {
    let finished = operation("task", "Success", 200, r#"{"fingerprint":"f0","size":"3"}"#, "");
    let server = FakeServer::answering([Answer::background(&finished)]);
    let properties = BTreeMap::from([("os".into(), "a b".into()), ("x&y".into(), "é=".into())]);
    server
        .client()
        .upload_image(&b"\0\xff\n"[..])
        .fingerprint("f0")
        .public(true)
        .properties(&properties)
        .profiles(&["a", "b c"])
        .filename("image.tar")
        .await
        .unwrap();
    let request = server.request();
    assert_eq!(request.line(), "POST /1.0/images");
    assert_eq!(request.header("content-type"), Some("application/octet-stream"));
    assert_eq!(request.header("content-length"), Some("3"));
    assert_eq!(request.header("x-lxd-fingerprint"), Some("f0"));
    assert_eq!(request.header("x-lxd-public"), Some("true"));
    assert_eq!(request.header("x-lxd-properties"), Some("os=a%20b&x%26y=%C3%A9%3D"));
    assert_eq!(request.header("x-lxd-profiles"), Some("profile=a&profile=b%20c"));
    assert_eq!(request.header("x-lxd-filename"), Some("image.tar"));
    assert_eq!(request.body, b"\0\xff\n");
}

#[tokio::test]
async fn a_file_is_written_with_its_mode() {
    for (mode, text) in [(0o644, "0644"), (0o4755, "04755"), (0o7, "0007"), (0, "0000")] {
        let request = sent!(|lxd| lxd.create_instance_file("t1", "text").path("/a b").mode(mode));
        assert_eq!(request.line(), "POST /1.0/instances/t1/files?path=%2Fa%20b");
        assert_eq!(request.header("x-lxd-mode"), Some(text));
        assert_eq!(request.text(), "text");
    }
    let request = sent!(|lxd| {
        let file = lxd.create_instance_file("t1", "").path("/x").uid(0).gid(1000);
        file.r#type("file").write("append").modify_perm("uid,gid")
    });
    assert_eq!(request.header("x-lxd-uid"), Some("0"));
    assert_eq!(request.header("x-lxd-gid"), Some("1000"));
    assert_eq!(request.header("x-lxd-type"), Some("file"));
    assert_eq!(request.header("x-lxd-write"), Some("append"));
    assert_eq!(request.header("x-lxd-modify-perm"), Some("uid,gid"));
    assert_eq!(request.header("x-lxd-mode"), None);
    assert_eq!(request.body, b"");
}

#[tokio::test]
async fn a_stream_is_sent_in_chunks_and_whole() {
    let parts: Vec<Bytes> = (0..100_u8).map(|part| vec![part; 10_000].into()).collect();
    let whole = parts.concat();
    let server = silent();
    let body = Body::stream(stream::iter(parts.into_iter().map(Ok)));
    server.client().create_instance_file("t1", body).path("/x").await.unwrap();
    let request = server.request();
    assert_eq!(request.header("transfer-encoding"), Some("chunked"));
    assert_eq!(request.header("content-length"), None);
    assert!(request.body == whole, "{} bytes came", request.body.len());
}

#[tokio::test]
async fn a_stream_that_fails_fails_the_call() {
    let server = silent();
    let parts = [Ok(Bytes::from("half")), Err(std::io::Error::other("the disk is gone"))];
    let call = server.client().create_instance_file("t1", Body::stream(stream::iter(parts))).path("/x");
    let error = call.await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    server.until_left().await;
    assert_eq!(server.lines(), [""; 0]);
}

#[tokio::test]
async fn a_view_of_a_client_is_of_a_project_and_a_member() {
    let server = silent();
    let lxd = server.builder().project("p").build().unwrap();
    let view = lxd.use_project("a&b").use_target("one");
    view.create_instance(InstancesPost::default()).await.unwrap();
    view.create_instance(InstancesPost::default()).project("q").target("two").await.unwrap();
    view.instances().await.unwrap();
    view.server().await.unwrap();
    lxd.create_instance(InstancesPost::default()).await.unwrap();
    lxd.use_target("one").use_project("r").instances().await.unwrap();
    let expected = [
        "POST /1.0/instances?project=a%26b&target=one",
        "POST /1.0/instances?target=two&project=q",
        "GET /1.0/instances?project=a%26b",
        "GET /1.0?project=a%26b&target=one",
        "POST /1.0/instances?project=p",
        "GET /1.0/instances?project=r",
    ];
    assert_eq!(server.lines(), expected);
    assert!(server.requests().iter().all(|request| request.connection == 0));
}

#[tokio::test]
async fn extensions_are_asked_for_once() {
    let server = FakeServer::answering([
        Answer::error(500, "starting"),
        Answer::sync(r#"{"api_extensions":["projects","oidc"]}"#),
    ]);
    let lxd = server.client();
    assert_eq!(lxd.has_extension("oidc").await.unwrap_err().status(), Some(500));
    assert!(lxd.has_extension("oidc").await.unwrap());
    assert!(!lxd.use_project("p").has_extension("oid").await.unwrap());
    lxd.require_extension("projects").await.unwrap();
    let error = lxd.require_extension("vsock").await.unwrap_err();
    assert!(matches!(&error, Error::Extension { extension, .. } if extension == "vsock"), "{error:?}");
    assert!(error.to_string().contains("`vsock`") && error.to_string().contains("unix://"), "{error}");
    assert_eq!(server.lines(), ["GET /1.0"; 2]);
}

#[tokio::test]
async fn who_changes_an_object_changes_what_is_there() {
    let object = |etag: &str, text: &str| {
        Answer::sync(&format!(r#"{{"config":{{}},"description":"{text}"}}"#)).header("etag", etag)
    };
    let server = FakeServer::answering([
        object("one", "first"),
        Answer::error(412, "ETag doesn't match"),
        object("two", "second"),
        Answer::sync("{}"),
        Answer::sync("{}"),
        object("three", "third"),
        Answer::error(400, "no"),
    ]);
    let lxd = server.client();
    let change = || {
        read_modify_write(
            || lxd.profile("p"),
            |profile| {
                let description = format!("{}, and more", profile.description);
                ProfilePut { description, ..ProfilePut::from(profile) }
            },
            |profile| lxd.update_profile("p", profile),
        )
    };
    change().await.unwrap();
    let requests = server.requests();
    let sent: Vec<_> = requests.iter().filter(|request| request.method == "PUT").collect();
    assert_eq!(sent.iter().map(|put| put.header("if-match").unwrap()).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(sent[1].text(), r#"{"description":"second, and more"}"#);
    let error = change().await.unwrap_err();
    assert!(error.to_string().contains("no ETag"), "{error}");
    assert_eq!(change().await.unwrap_err().status(), Some(400));
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let mut server = silent();
    for endpoint in [server.tcp_endpoint().await, server.endpoint()] {
        let (known, first) = (server.requests().len(), server.connections());
        let lxd = server.builder().endpoint(endpoint).build().unwrap();
        lxd.server().await.unwrap();
        lxd.clone().create_instance(InstancesPost::default()).await.unwrap();
        drop(lxd.instance_files("t1").await.unwrap().bytes().await.unwrap());
        lxd.instances().await.unwrap();
        let connections: Vec<_> =
            server.requests()[known..].iter().map(|request| request.connection).collect();
        assert_eq!(connections, [first; 4]);
        drop(lxd);
        server.until_left().await;
    }
}

/// LXD serves nobody else on its Unix socket while a connection there is open that has sent nothing.
#[tokio::test]
async fn no_connection_is_opened_ahead() {
    let server = silent();
    let lxd = server.client();
    for _ in 0..20 {
        let (one, other) = tokio::join!(lxd.instances().into_future(), lxd.networks().into_future());
        one.and(other).unwrap();
    }
    let requests = server.requests();
    let used: std::collections::HashSet<_> = requests.iter().map(|request| request.connection).collect();
    assert_eq!((requests.len(), used.len(), server.connections()), (40, 2, 2));
    drop(lxd);
    server.until_left().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_in_the_end() {
    let server = silent();
    let lxd = server.client();
    lxd.server().await.unwrap();
    server.until_left().await;
    lxd.server().await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_connection_whose_answer_is_not_read_is_not_used_again() {
    let server = FakeServer::with(|request| match request.target.as_str() {
        "/1.0" => Answer::sync("{}"),
        _ => Answer::raw(200, &[], vec![0; 10_000_000]),
    });
    let lxd = server.client();
    drop(lxd.instance_files("t1").await.unwrap());
    lxd.server().await.unwrap();
    assert_eq!(server.requests()[1].connection, 1);
}

#[tokio::test]
async fn calls_at_the_same_time_do_not_wait_for_each_other() {
    let server = FakeServer::with(|request| match request.target.as_str() {
        "/1.0" => Answer::never(),
        _ => Answer::sync("null"),
    });
    let lxd = server.client();
    let first = tokio::spawn(lxd.server().into_future());
    server.until_asked(1).await;
    lxd.instances().await.unwrap();
    assert_eq!(server.lines(), ["GET /1.0", "GET /1.0/instances"]);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn nothing_is_sent_before_the_call_is_awaited() {
    let server = silent();
    let lxd = server.client();
    drop(lxd.delete_instance("t1"));
    drop(lxd.delete_instance("t2").into_future());
    lxd.server().await.unwrap();
    assert_eq!(server.lines(), ["GET /1.0"]);
}

#[tokio::test]
async fn where_there_is_no_server_the_error_says_where_it_was_looked_for() {
    let server = silent();
    let endpoint = server.endpoint();
    let lxd = server.client();
    drop(server);
    let error = lxd.instance("t1").await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("GET /1.0/instances/t1: "), "{text}");
    assert!(text.contains(&endpoint) && text.contains("is LXD running there?"), "{text}");
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn headers_of_the_users_own_go_with_all_requests() {
    let server = FakeServer::with(|request| match request.target.contains("websocket") {
        true => agree(request),
        false => Answer::sync("{}"),
    });
    let count = std::sync::atomic::AtomicU64::new(0);
    let builder =
        server.builder().user_agent("lab/1.0").header("X-Team", "storage").header("x-team", "network");
    let builder = builder.layer(move |headers| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        headers.insert("x-request-number", number.into());
    });
    let lxd = builder.build().unwrap();
    lxd.server().await.unwrap();
    drop(lxd.operation_websocket("u").await.unwrap());
    lxd.server().header("x-team", "compute").header("user-agent", "once").await.unwrap();
    let shown: Vec<_> = ["user-agent", "x-team", "x-request-number"]
        .iter()
        .map(|name| {
            server
                .requests()
                .iter()
                .map(|request| request.header(name).unwrap().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(shown[0], ["lab/1.0", "lab/1.0", "once"]);
    assert_eq!(shown[1], ["network", "network", "compute"]);
    assert_eq!(shown[2], ["0", "1", "2"]);

    let server = FakeServer::with(|_| Answer::sync("{}"));
    server.client().server().await.unwrap();
    let agent = server.request().header("user-agent").unwrap().to_owned();
    assert!(agent.starts_with("lxd-client/0."), "{agent}");
}
