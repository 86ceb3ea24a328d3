//! What calls put on the wire, and what they make of the answers, against a server that speaks HTTP by hand.

use std::time::Duration;

use lxd_client::Error;
use lxd_client::types::{InstancePatch, InstanceStatePut, InstancesPost};
use lxd_tests::fake_server::{Answer, FakeServer, UUID, operation};

#[tokio::test]
async fn requests_are_as_the_api_wants_them() {
    let server = FakeServer::with(|_| Answer::sync("{}"));
    let lxd = server.builder().project("p").build().unwrap();
    for name in ["t1", "a/b", "..", "x?project=y", "50%", "é"] {
        lxd.instance(name).await.unwrap();
    }
    lxd.server().await.unwrap();
    lxd.instance("t1").project("q r").await.unwrap();
    lxd.instance_files_head("t1").path("/a b").await.unwrap();
    assert_eq!(
        server.lines(),
        [
            "GET /1.0/instances/t1?project=p",
            "GET /1.0/instances/a%2Fb?project=p",
            "GET /1.0/instances/%2E%2E?project=p",
            "GET /1.0/instances/x%3Fproject%3Dy?project=p",
            "GET /1.0/instances/50%25?project=p",
            "GET /1.0/instances/%C3%A9?project=p",
            "GET /1.0?project=p",
            "GET /1.0/instances/t1?project=q%20r",
            "HEAD /1.0/instances/t1/files?path=%2Fa%20b&project=p",
        ]
    );
    assert!(server.requests().iter().all(|request| request.connection == 0), "one connection serves all");
    for name in ["", "a\0b"] {
        let error = lxd.delete_instance(name).await.unwrap_err();
        assert!(matches!(error, Error::Argument { .. }), "{error}");
    }
    assert_eq!(server.lines().len(), 9, "nothing is sent for a name that cannot be one");
}

#[tokio::test]
async fn queries_fix_what_the_path_does_and_projects_are_left_out_for_all() {
    let server = FakeServer::with(|_| Answer::sync("[]"));
    let lxd = server.builder().project("p").build().unwrap();
    lxd.instances_recursion2().all_projects(true).filter("status eq running").await.unwrap();
    lxd.instances_recursion2().recursion("2;fields=state").await.unwrap();
    lxd.images_recursion1_untrusted().await.unwrap();
    assert_eq!(
        server.lines(),
        [
            "GET /1.0/instances?recursion=2&all-projects=true&filter=status%20eq%20running",
            "GET /1.0/instances?recursion=2%3Bfields%3Dstate&project=p",
            "GET /1.0/images?public&recursion=1&project=p",
        ]
    );
}

#[tokio::test]
async fn bodies_and_headers_are_sent() {
    let server = FakeServer::with(|_| Answer::sync("null"));
    let lxd = server.client();
    let new = InstancesPost { name: "t1".into(), profiles: Some(Vec::new()), ..Default::default() };
    lxd.create_instance(new).await.unwrap();
    let patch = InstancePatch {
        description: Some(String::new()),
        config: Some([("user.a".to_owned(), None)].into()),
        ..Default::default()
    };
    lxd.modify_instance("t1", patch).if_match("abc").await.unwrap();
    lxd.create_instance_file("t1", "text").path("/f").r#type("file").uid(0).mode(0o644).await.unwrap();
    let upload = lxd.upload_image("bytes").public(true).profiles(&["a", "b&c"]);
    upload.properties(&[("os".to_owned(), "a b".to_owned())].into()).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests[0].text(), r#"{"name":"t1","profiles":[]}"#);
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    assert_eq!(requests[1].text(), r#"{"config":{"user.a":null},"description":""}"#);
    assert_eq!(requests[1].header("if-match"), Some("abc"));
    assert_eq!((requests[2].text(), requests[2].header("x-lxd-mode")), ("text", Some("0644")));
    assert_eq!(
        (requests[2].header("x-lxd-uid"), requests[2].header("x-lxd-type")),
        (Some("0"), Some("file"))
    );
    assert_eq!(requests[3].header("x-lxd-profiles"), Some("profile=a&profile=b%26c"));
    assert_eq!(requests[3].header("x-lxd-properties"), Some("os=a%20b"));
    assert_eq!(requests[3].header("x-lxd-public"), Some("true"));
    assert_eq!(requests[3].header("content-type"), Some("application/octet-stream"));
}

#[tokio::test]
async fn operations_are_followed_in_each_way_that_wait_answers() {
    let running = || operation("task", "Running", 103, "null", "");
    let done = operation("task", "Success", 200, r#"{"fingerprint":"f","size":"12"}"#, "");
    let server = FakeServer::answering([
        Answer::background(&running()),
        // The time is up: the operation as it stands.
        Answer::sync(&running()),
        // The time is up: a refusal inside of a success, as newer servers do it.
        Answer::raw(200, &[], r#"{"type":"error","error_code":400,"error":"timed out","metadata":null}"#),
        Answer::sync(&running()),
        Answer::sync(&done),
    ]);
    let image = server.client().upload_image("bytes").await.unwrap();
    assert_eq!((image.fingerprint.as_str(), image.size), ("f", 12));
    let wait = format!("GET /1.0/operations/{UUID}/wait?timeout=60");
    let get = format!("GET /1.0/operations/{UUID}");
    let sent = server.lines();
    assert_eq!(sent, ["POST /1.0/images".to_owned(), wait.clone(), wait.clone(), get, wait]);
}

#[tokio::test]
async fn the_end_of_an_operation_is_told() {
    let ended = |status, code, err| Answer::background(&operation("task", status, code, "null", err));
    let change = || InstanceStatePut { action: "start".into(), ..Default::default() };
    let server = FakeServer::answering([ended("Success", 200, "")]);
    server.client().update_instance_state("t1", change()).await.unwrap();
    assert_eq!(server.lines().len(), 1, "an operation that has ended is not asked for");

    let server = FakeServer::answering([ended("Failure", 400, "no such disk")]);
    let error = server.client().update_instance_state("t1", change()).await.unwrap_err();
    assert!(matches!(&error, Error::Operation { message, .. } if message == "no such disk"), "{error}");

    let server = FakeServer::answering([ended("Cancelled", 401, "")]);
    let error = server.client().update_instance_state("t1", change()).await.unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");

    // A token ends when somebody uses it: it is the answer as it is.
    let token = operation("token", "Running", 103, r#"{"secret":"hush"}"#, "");
    let server = FakeServer::answering([Answer::background(&token)]);
    let secret = server.client().initiate_image_upload("f").await.unwrap();
    assert_eq!(secret.secret, "hush");
    assert!(!format!("{secret:?}").contains("hush"));
}

#[tokio::test]
async fn what_goes_wrong_is_told_apart() {
    let server = FakeServer::answering([
        Answer::error(404, "Instance not found"),
        Answer::error(412, "ETag doesn't match"),
        Answer::raw(502, &[], "<html>bad gateway"),
        Answer::sync(r#"{"name":"t1","devices":{"root":{"size":5}}}"#),
        Answer::raw(200, &[], "not json"),
    ]);
    let lxd = server.client();
    let error = lxd.instance("t1").await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), "GET /1.0/instances/t1: Instance not found (status 404)");
    assert!(lxd.instance("t1").await.unwrap_err().is_precondition_failed());
    let error = lxd.instance("t1").await.unwrap_err();
    assert!(error.status() == Some(502) && error.to_string().contains("bad gateway"), "{error}");
    let error = lxd.instance("t1").await.unwrap_err().to_string();
    for part in ["GET /1.0/instances/t1 (instance_get)", "devices.root.size", "a string", "the number 5"] {
        assert!(error.contains(part), "{error}");
    }
    let error = lxd.instance("t1").await.unwrap_err();
    assert!(matches!(error, Error::Decode { .. }), "{error}");
}

#[tokio::test]
async fn broken_and_silent_servers_end_a_call() {
    for broken in [Answer::close(), Answer::half(100, r#"{"type":"sync""#)] {
        let server = FakeServer::answering([broken]);
        let error = server.client().delete_instance("t1").await.unwrap_err();
        assert!(matches!(error, Error::Transport { .. }), "{error}");
    }
    let server = FakeServer::answering([Answer::never()]);
    let lxd = server.builder().timeout(Duration::from_millis(100)).build().unwrap();
    let error = lxd.instance("t1").await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }) && error.to_string().contains("t1"), "{error}");
}

#[tokio::test]
async fn the_head_of_an_answer_is_there_when_asked_for() {
    let server = FakeServer::answering([Answer::sync(r#"{"name":"t1"}"#).header("ETag", "abc")]);
    let response = server.client().instance("t1").response().await.unwrap();
    assert_eq!((response.etag(), response.status, response.value.name.as_str()), (Some("abc"), 200, "t1"));
}
