//! What the client makes of answers: values, texts, bytes, and what cannot be understood.

use std::collections::BTreeMap;
use std::error::Error as _;

use futures_util::StreamExt;
use lxd_client::Error;
use lxd_client::types::{ImageResult, InstanceStatus, InstancesPost, StoragePoolPut};
use lxd_tests::fake_server::{Answer, FakeServer, UUID, operation};
use tokio::io::AsyncWriteExt;

/// A server with one answer.
fn one(answer: Answer) -> FakeServer {
    FakeServer::answering([answer])
}

#[tokio::test]
async fn logs_are_bytes_as_they_come() {
    let server = FakeServer::answering([
        Answer::raw(200, &[("content-type", "application/octet-stream")], &b"dropped \xff\n"[..]),
        Answer::raw(200, &[("transfer-encoding", "chunked")], "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
    ]);
    let lxd = server.client();
    assert_eq!(lxd.network_acl_log("a").await.unwrap().bytes().await.unwrap(), &b"dropped \xff\n"[..]);
    assert_eq!(lxd.instance_log("t1", "lxc.log").await.unwrap().text().await.unwrap(), "onetwo");
    assert_eq!(server.lines(), ["GET /1.0/network-acls/a/log", "GET /1.0/instances/t1/logs/lxc.log"]);
}

#[tokio::test]
async fn what_is_saved_is_whole_or_not_there() {
    let folder = std::env::temp_dir().join(format!("lxd-tests-saved-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("backup");
    let cut = [("transfer-encoding", "chunked")];
    let server = FakeServer::answering([
        Answer::half(1000, "half"),
        Answer::raw(200, &cut, "4\r\nhalf\r\n"),
        Answer::raw(200, &[], "whole"),
        Answer::half(1000, "half"),
    ]);
    let lxd = server.client();
    for whole in [false, false, true, false] {
        let saved = lxd.instance_backup_export("t1", "b").await.unwrap().save(&path).await;
        assert_eq!(saved.is_ok(), whole, "{saved:?}");
        let left = std::fs::read_dir(&folder).unwrap().count();
        assert_eq!(left, usize::from(path.exists()));
    }
    // What was there stays when another breaks off.
    assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_value_is_read() {
    let server = one(Answer::sync(
        r#"{"name":"t1","status":"Running","status_code":103,"type":"container","ephemeral":true,"config":{"a":"b"},"devices":{"root":{"type":"disk"}},"profiles":["default"],"created_at":"2026-01-31T12:00:00.5+02:00","last_used_at":"1970-01-01T00:00:00Z"}"#,
    ));
    let instance = server.client().instance("t1").await.unwrap();
    assert_eq!(instance.name, "t1");
    assert_eq!(instance.status, InstanceStatus::Running);
    assert_eq!(instance.status_code, 103);
    assert_eq!(instance.r#type, "container");
    assert!(instance.ephemeral);
    assert_eq!(instance.config, BTreeMap::from([("a".into(), "b".into())]));
    assert_eq!(instance.devices["root"]["type"], "disk");
    assert_eq!(instance.profiles, ["default"]);
    assert_eq!(instance.created_at.unwrap().to_string(), "2026-01-31T10:00:00.5Z");
    assert_eq!(instance.last_used_at, None);
}

#[tokio::test]
async fn what_is_null_absent_or_unknown_is_no_error() {
    let server = FakeServer::answering([
        Answer::sync(
            r#"{"name":"t1","backups":null,"snapshots":null,"config":null,"created_at":null,"status":null,"future":{"a":[1,{"b":null}]},"state":{"network":null,"disk":null,"cpu":null,"pid":null,"future":1.5e3}}"#,
        ),
        Answer::sync("null"),
        Answer::sync("{}"),
    ]);
    let lxd = server.client();
    let full = lxd.instance_recursion1("t1").await.unwrap();
    assert_eq!(full.name, "t1");
    assert!(full.backups.is_empty() && full.snapshots.is_empty() && full.config.is_empty());
    assert_eq!((full.created_at, full.status.as_str()), (None, ""));
    let state = full.state.unwrap();
    assert!(state.network.is_empty() && state.disk.is_empty() && state.cpu.is_none());
    assert_eq!(state.pid, 0);
    assert_eq!(lxd.instance("t1").await.unwrap(), Default::default());
    assert_eq!(lxd.instance("t1").await.unwrap(), Default::default());
}

#[tokio::test]
async fn lists_are_read() {
    let server = FakeServer::answering([
        Answer::sync(r#"["/1.0/instances/t1","/1.0/instances/t2?project=p"]"#),
        Answer::sync(r#"[{"name":"t1"},{"name":"t2","status":"Frozen"}]"#),
        Answer::sync("[]"),
        Answer::sync("null"),
    ]);
    let lxd = server.client();
    assert_eq!(lxd.instances().await.unwrap(), ["/1.0/instances/t1", "/1.0/instances/t2?project=p"]);
    let instances = lxd.instances_recursion1().await.unwrap();
    let told: Vec<_> = instances.iter().map(|each| (each.name.as_str(), each.status.as_str())).collect();
    assert_eq!(told, [("t1", ""), ("t2", "Frozen")]);
    assert_eq!(lxd.instances_recursion1().await.unwrap(), []);
    assert_eq!(lxd.instances_recursion1().await.unwrap(), []);
}

#[tokio::test]
async fn an_unknown_word_of_an_enumeration_survives() {
    let server = one(Answer::sync(r#"{"name":"t1","status":"Dreaming","type":"robot"}"#));
    let instance = server.client().instance("t1").await.unwrap();
    assert_eq!(instance.status, InstanceStatus::Other("Dreaming".into()));
    assert_eq!(instance.status.to_string(), "Dreaming");
    assert_eq!(serde_json::to_value(&instance).unwrap()["type"], "robot");
}

#[tokio::test]
async fn a_text_is_given_as_it_is() {
    let text = "# HELP lxd_uptime\nlxd_uptime 1.5\né\n";
    let server = FakeServer::answering([
        Answer::raw(200, &[("content-type", "text/plain")], text),
        Answer::raw(200, &[], "\u{1}\u{80}".as_bytes()[1..].to_vec()),
        Answer::raw(200, &[], &b"\xff\xfe"[..]),
        Answer::error(403, "not authorized"),
    ]);
    let lxd = server.client();
    assert_eq!(lxd.metrics().await.unwrap(), text);
    assert_eq!(lxd.metrics().await.unwrap(), "\u{80}");
    let error = lxd.metrics().await.unwrap_err();
    assert!(matches!(error, Error::Decode { .. }) && error.to_string().contains("utf-8"), "{error}");
    assert!(lxd.metrics().await.unwrap_err().is_forbidden());
}

#[tokio::test]
async fn bytes_come_with_their_headers() {
    let file = || Answer::raw(200, &[("X-LXD-mode", "0644"), ("x-lxd-type", "file")], &b"\0\xffn\n"[..]);
    let server = FakeServer::answering([
        file(),
        file(),
        Answer::raw(200, &[], "text é"),
        Answer::raw(206, &[("content-range", "bytes 0-1/4")], "te"),
        Answer::raw(200, &[], ""),
    ]);
    let lxd = server.client();
    let call = || lxd.instance_files("t1").path("/x");
    let answer = call().await.unwrap();
    assert_eq!(answer.header("x-lxd-mode"), Some("0644"));
    assert_eq!(answer.headers()["x-lxd-type"], "file");
    assert_eq!(answer.header("x-lxd-uid"), None);
    assert_eq!(&answer.bytes().await.unwrap()[..], b"\0\xffn\n");
    let error = call().await.unwrap().text().await.unwrap_err();
    assert!(matches!(error, Error::Decode { .. }), "{error:?}");
    assert!(error.to_string().starts_with("GET /1.0/instances/t1/files: "), "{error}");
    assert_eq!(call().await.unwrap().text().await.unwrap(), "text é");
    let part = call().header("range", "bytes=0-1").response().await.unwrap();
    assert_eq!(part.status, 206);
    assert_eq!(part.value.text().await.unwrap(), "te");
    assert_eq!(server.requests()[3].header("range"), Some("bytes=0-1"));
    assert_eq!(call().await.unwrap().text().await.unwrap(), "");
}

#[tokio::test]
async fn bytes_are_given_as_they_come() {
    let mut server =
        one(Answer::raw(200, &[("transfer-encoding", "chunked")], "6\r\nfirst,\r\n").hand_over());
    let lxd = server.client();
    let mut answer = lxd.instance_files("t1").path("/x").await.unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap(), "first,");
    // The second part is not even written yet.
    let mut stream = server.stream().await;
    stream.write_all(b"7\r\nsecond,\r\n").await.unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap(), "second,");
    stream.write_all(b"5\r\nthird\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), "third");
}

#[tokio::test]
async fn bytes_that_break_off_are_an_error() {
    let server = FakeServer::with(|_| Answer::half(100, "half"));
    let lxd = server.client();
    let mut answer = lxd.instance_files("t1").path("/x").await.unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap(), "half");
    let error = answer.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    let error = lxd.instance_files("t1").path("/x").await.unwrap().bytes().await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert!(error.to_string().starts_with("GET /1.0/instances/t1/files: the answer broke off"), "{error}");
}

#[tokio::test]
async fn bytes_can_be_a_value() {
    let server = FakeServer::answering([
        Answer::sync(r#"["b","a"]"#),
        Answer::sync(r#"["b",5]"#),
        Answer::error(404, "not found"),
        Answer::json(200, r#"{"type":"error","error_code":404,"error":"gone"}"#),
    ]);
    let lxd = server.client();
    let call = || lxd.instance_files("t1").path("/");
    assert_eq!(call().await.unwrap().json::<Vec<String>>().await.unwrap(), ["b", "a"]);
    let error = call().await.unwrap().json::<Vec<String>>().await.unwrap_err();
    assert!(error.to_string().contains("metadata[1]: expected a string, found the number 5"), "{error}");
    assert!(call().await.unwrap_err().is_not_found());
    let error = call().await.unwrap().json::<Vec<String>>().await.unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("gone"), "{error}");
}

#[tokio::test]
async fn a_response_has_the_head_of_the_answer() {
    let server = FakeServer::answering([
        Answer::sync(r#"{"name":"t1"}"#).header("ETag", "abc").header("X-Other", "1"),
        Answer::sync("{}"),
        Answer::created("/1.0/storage-pools/p"),
        Answer::created("/1.0/storage-pools/p"),
        Answer::raw(200, &[("x-lxd-type", "directory"), ("content-type", "application/json")], ""),
    ]);
    let lxd = server.client();
    let response = lxd.instance("t1").response().await.unwrap();
    assert_eq!((response.value.name.as_str(), response.status), ("t1", 200));
    assert_eq!(response.etag(), Some("abc"));
    assert_eq!(response.headers["x-other"], "1");
    assert_eq!(lxd.instance("t1").response().await.unwrap().etag(), None);
    lxd.create_storage_pool(Default::default()).await.unwrap();
    let response = lxd.create_storage_pool(Default::default()).response().await.unwrap();
    assert_eq!((response.value, response.status), ((), 201));
    assert_eq!(response.headers["location"], "/1.0/storage-pools/p");
    let response = lxd.instance_files_head("t1").path("/").response().await.unwrap();
    assert_eq!(response.headers["x-lxd-type"], "directory");
}

#[tokio::test]
async fn the_keys_of_the_envelope_may_come_in_any_order() {
    let finished = operation("task", "Success", 200, r#"{"fingerprint":"f0","size":5}"#, "");
    let server = FakeServer::answering([
        Answer::json(200, r#"{"metadata":{"name":"t1","config":{"a":"b"}},"future":[],"type":"sync"}"#),
        Answer::json(202, format!(r#"{{"metadata":{finished},"type":"async"}}"#)),
        Answer::json(404, r#"{"error":"gone","metadata":null,"error_code":404,"type":"error"}"#),
        Answer::json(200, " {\r\n\"type\" : \"sync\",\t\"metadata\": {\"name\": \"t2\"} }\n"),
    ]);
    let lxd = server.client();
    let instance = lxd.instance("t1").await.unwrap();
    assert_eq!((instance.name.as_str(), instance.config["a"].as_str()), ("t1", "b"));
    assert_eq!(lxd.create_image(Default::default()).await.unwrap().fingerprint, "f0");
    assert!(lxd.instance("t1").await.unwrap_err().is_not_found());
    assert_eq!(lxd.instance("t1").await.unwrap().name, "t2");
}

#[tokio::test]
async fn the_type_of_the_answer_decides_and_not_the_description() {
    let done = || operation("task", "Success", 200, r#"{"other":1}"#, "");
    let server = FakeServer::operating([
        // Described as a background operation.
        Answer::sync("{}"),
        Answer::sync(r#"{"fingerprint":"f0"}"#),
        // Described as done at once.
        Answer::background(&operation("task", "Running", 103, "null", "")),
        Answer::sync(&done()),
        // A status that says something else.
        Answer::json(200, format!(r#"{{"type":"async","metadata":{}}}"#, done())),
        // A value that never comes.
        Answer::background(&done()),
    ]);
    let lxd = server.client();
    lxd.create_instance(InstancesPost::default()).await.unwrap();
    let image = lxd.create_image(Default::default()).await.unwrap();
    assert_eq!(image, ImageResult { fingerprint: "f0".into(), size: 0 });
    lxd.update_storage_pool("p", StoragePoolPut::default()).await.unwrap();
    lxd.update_storage_pool("p", StoragePoolPut::default()).await.unwrap();
    let error = lxd.instance("t1").await.unwrap_err();
    assert!(matches!(error, Error::Decode { .. }), "{error:?}");
    assert!(error.to_string().contains("found a background operation"), "{error}");
    let mut lines = server.lines();
    lines.retain(|line| line != "GET /1.0");
    assert_eq!(lines[2], "PUT /1.0/storage-pools/p");
    assert!(lines[3].starts_with(&format!("GET /1.0/operations/{UUID}/wait")), "{lines:?}");
    assert_eq!(lines[4..], ["PUT /1.0/storage-pools/p", "GET /1.0/instances/t1"]);
}

#[tokio::test]
async fn a_wrong_type_is_told_with_its_place() {
    for (metadata, place) in [
        (r#"{"config":{"a":5}}"#, "metadata.config.a: expected a string, found the number 5"),
        (r#"{"profiles":["a",{"b":1}]}"#, "metadata.profiles[1]: expected a string, found an object"),
        (r#"{"devices":{"root":[]}}"#, "metadata.devices.root: expected an object, found a list"),
        (r#"{"ephemeral":"yes"}"#, "metadata.ephemeral: expected a boolean, found a string"),
        (
            r#"{"status_code":1.5}"#,
            "metadata.status_code: expected an integer of 64 bits, found the number 1.5",
        ),
        (
            r#"{"created_at":true}"#,
            "metadata.created_at: expected a time as in 2026-01-31T12:00:00Z, found a boolean",
        ),
        (
            r#"{"created_at":"hush"}"#,
            "metadata.created_at: expected a time as in 2026-01-31T12:00:00Z, found a string",
        ),
        (r#"[]"#, "metadata: expected an object, found a list"),
        (r#""hush""#, "metadata: expected an object, found a string"),
    ] {
        let server = one(Answer::sync(metadata));
        let error = server.client().instance("t1").project("p").await.unwrap_err();
        assert!(matches!(error, Error::Decode { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with("GET /1.0/instances/t1"), "{text}");
        assert!(text.contains("instance_get"), "{text}");
        assert!(text.contains(place), "{text}");
        assert!(!text.contains("hush") && !text.contains('\n'), "{text}");
        assert!(error.source().is_some());
    }
    let server = one(Answer::sync(r#"[{"snapshots":[{},{"size":{}}]}]"#));
    let error = server.client().instances_recursion2().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("metadata[0].snapshots[1].size: expected an integer"), "{text}");
}

#[tokio::test]
async fn a_wrong_type_in_the_result_of_an_operation_is_told_too() {
    let finished = operation("task", "Success", 200, r#"{"fingerprint":["a"]}"#, "");
    let server = one(Answer::background(&finished));
    let error = server.client().create_image(Default::default()).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Decode { .. }), "{error:?}");
    assert!(text.starts_with("POST /1.0/images") && text.contains("images_post"), "{text}");
    assert!(text.contains("fingerprint: expected a string, found a list"), "{text}");
}

#[tokio::test]
async fn what_is_no_answer_is_told() {
    let html = "<html>\n<head><title>Welcome</title></head>\n<body>It works</body>\n</html>\n";
    for (body, about) in [
        (&b""[..], "expected a value, but it ends at line 1 column 1"),
        (b"{\"type\":\"sync\",\"metadata\":{\"name\":\"t1\"", "expected `,` or `}`, but it ends"),
        (b"{\"type\":\"sync\",\"metadata\":{}} and more", "expected the end, found something else"),
        (b"{\"type\":\"sync\",\"metadata\":{\"name\":\"\xff\xfe\"}}", "utf-8"),
        (b"{\"type\":\"odd\"}", "`odd`"),
        (b"{}", "type"),
        (b"null", ""),
        (b"[]", "found a list"),
        (html.as_bytes(), "not JSON: expected a value"),
    ] {
        let server = one(Answer::raw(200, &[("content-type", "text/html")], body));
        let error = server.client().instance("t1").await.unwrap_err();
        assert!(matches!(error, Error::Decode { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with("GET /1.0/instances/t1 (instance_get): cannot understand"), "{text}");
        assert!(text.contains(about) && !text.contains('\n'), "{text}");
        assert!(error.source().is_some());
    }
}

#[tokio::test]
async fn a_long_answer_is_read_whole() {
    let many: Vec<_> = (0..20_000).map(|each| format!("/1.0/instances/instance-{each}")).collect();
    let server = one(Answer::sync(&serde_json::to_string(&many).unwrap()));
    assert_eq!(server.client().instances().await.unwrap(), many);
}
