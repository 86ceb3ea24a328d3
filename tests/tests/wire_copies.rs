//! Copies between two servers: what each of them is asked, and what goes through a relay.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lxd_client::types::InstancesPost;
use lxd_client::{Client, CopyMode, Error, Watcher};
use lxd_tests::fake_server::{Answer, FakeServer, Request, UUID, operation};
use lxd_tests::websocket::{BINARY, PING, PONG, TEXT, agree, frame, read_frame};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const INSTANCE: &str = r#"{"name":"t1","status":"Stopped","type":"container","architecture":"x86_64",
    "description":"one","ephemeral":false,"profiles":["p"],"devices":{"d":{"type":"none"}},
    "config":{"user.a":"1","volatile.eth0.hwaddr":"00:16:3e","volatile.base_image":"f0"},
    "expanded_devices":{"root":{"type":"disk","path":"/","pool":"default","size":"5GiB"}}}"#;

const SERVER: &str = r#"{"environment":{"addresses":["192.0.2.1:8443","[2001:db8::1]:8443"],
    "certificate":"PEM"}}"#;

/// How an operation ends that was begun at a server, by the count of those before.
type Ends = fn(usize) -> (&'static str, u16, &'static str);

fn success(_: usize) -> (&'static str, u16, &'static str) {
    ("Success", 200, "")
}

/// A server whose operations end like that, after they have run as long as they are not asked for.
fn server(ends: Ends) -> FakeServer {
    let begun = Arc::new(Mutex::new(0));
    FakeServer::with(move |request: &Request| {
        let secrets = r#"{"control":"sc","fs":"sf","entity_url":"/1.0/instances/t1"}"#;
        match (request.method.as_str(), request.target.split('?').next().unwrap_or_default()) {
            ("POST", _) => {
                *begun.lock().unwrap() += 1;
                Answer::background(&operation("websocket", "Running", 103, secrets, ""))
            }
            ("DELETE", _) => Answer::sync("{}"),
            (_, "/1.0") => Answer::sync(SERVER),
            (_, path) if path.ends_with("/websocket") => agree(request),
            (_, path) if path.contains("/operations/") => {
                let (status, code, err) = ends(*begun.lock().unwrap());
                Answer::sync(&operation("websocket", status, code, secrets, err))
            }
            (_, path) if path.contains("/volumes/") => Answer::sync(
                r#"{"name":"v","type":"custom","content_type":"filesystem","description":"","used_by":[],
                    "config":{"size":"1GiB","volatile.uuid":"u","volatile.idmap.last":"[]"}}"#,
            ),
            _ => Answer::sync(INSTANCE),
        }
    })
}

fn client(server: &FakeServer) -> Client {
    server.builder().watcher(Watcher::Polling(Duration::from_millis(5))).build().unwrap()
}

/// What was posted: the path, and the body.
fn posted(server: &FakeServer) -> Vec<(String, Value)> {
    let requests = server.requests();
    let posted = requests.iter().filter(|request| request.method == "POST");
    posted.map(|request| (request.target.clone(), serde_json::from_slice(&request.body).unwrap())).collect()
}

fn deleted(server: &FakeServer) -> Vec<String> {
    server.lines().into_iter().filter(|line| line.starts_with("DELETE")).collect()
}

#[tokio::test]
async fn a_pull_tries_each_address_of_the_source() {
    let (source, target) = (
        server(success),
        server(|begun| match begun {
            1 => ("Failure", 400, "no route"),
            _ => success(begun),
        }),
    );
    let with = InstancesPost { description: "two".into(), ..Default::default() };
    let (from, to) = (client(&source).use_project("a"), client(&target).use_project("b"));
    from.copy_instance("t1", &to).name("t2").pool("fast").with(with).await.unwrap();
    let begin = json!({"name": "t1", "migration": true, "live": false});
    assert!(
        posted(&source).iter().all(|posted| *posted == ("/1.0/instances/t1?project=a".into(), begin.clone()))
    );
    let expected = |address: &str| {
        json!({
            "name": "t2", "type": "container", "architecture": "x86_64", "description": "two",
            "ephemeral": false, "profiles": ["p"],
            "config": {"user.a": "1", "volatile.base_image": "f0"},
            "devices": {
                "d": {"type": "none"},
                "root": {"type": "disk", "path": "/", "pool": "fast", "size": "5GiB"},
            },
            "source": {
                "type": "migration", "mode": "pull", "base-image": "f0", "certificate": "PEM",
                "operation": format!("https://{address}/1.0/operations/{UUID}"),
                "secrets": {"control": "sc", "fs": "sf"},
            },
        })
    };
    let asked = ["192.0.2.1:8443", "[2001:db8::1]:8443"].map(expected);
    assert_eq!(posted(&target), asked.map(|body| ("/1.0/instances?project=b".to_owned(), body)));
    assert!(deleted(&source).is_empty() && deleted(&target).is_empty());
}

#[tokio::test]
async fn a_push_tells_the_source_where_to_go() {
    let (source, target) = (server(success), server(success));
    let copy = client(&source).copy_storage_volume("one", "v", &client(&target)).pool("two");
    copy.mode(CopyMode::Push).without_snapshots().await.unwrap();
    let wanted = json!({
        "name": "v", "type": "custom", "content_type": "filesystem", "description": "",
        "config": {"size": "1GiB", "volatile.idmap.last": "[]"},
        "source": {"type": "migration", "mode": "push", "volume_only": true},
    });
    assert_eq!(posted(&target), [("/1.0/storage-pools/two/volumes/custom".to_owned(), wanted)]);
    let brought = json!({
        "name": "v", "migration": true, "volume_only": true,
        "target": {
            "operation": format!("https://192.0.2.1:8443/1.0/operations/{UUID}"),
            "secrets": {"control": "sc", "fs": "sf"},
            "certificate": "PEM",
        },
    });
    assert_eq!(posted(&source), [("/1.0/storage-pools/one/volumes/custom/v".to_owned(), brought)]);
}

#[tokio::test]
async fn what_was_not_copied_is_not_deleted() {
    let failed: Ends = |_| ("Failure", 400, "no space left");
    for (source, target) in [(server(success), server(failed)), (server(failed), server(success))] {
        for mode in [CopyMode::Pull, CopyMode::Push] {
            let moved = client(&source).move_instance("t1", &client(&target)).mode(mode).await;
            let error = moved.unwrap_err();
            assert!(matches!(error, Error::Operation { .. }), "{error:?}");
            assert!(error.to_string().contains("no space left"), "{error}");
            assert!(deleted(&source).is_empty() && deleted(&target).is_empty());
        }
    }
    let (source, target) = (server(failed), server(|_| ("Failure", 400, "peer is gone")));
    let error = client(&source).copy_instance("t1", &client(&target)).await.unwrap_err();
    assert!(error.to_string().contains("peer is gone (the source says: no space left)"), "{error}");

    let (source, target) = (server(success), server(success));
    client(&source).move_instance("t1", &client(&target)).await.unwrap();
    assert_eq!(deleted(&source), ["DELETE /1.0/instances/t1"]);
    // What a move takes along is more than what a copy does.
    assert_eq!(posted(&target)[0].1["config"]["volatile.eth0.hwaddr"], "00:16:3e");
}

#[tokio::test]
async fn a_member_of_the_cluster_is_not_where_the_source_goes() {
    let (source, target) = (server(success), server(success));
    let (from, to) = (client(&source).use_target("m1"), client(&target).use_target("m2"));
    from.copy_instance("t1", &to).await.unwrap();
    assert_eq!(posted(&source)[0].0, "/1.0/instances/t1");
    assert_eq!(posted(&target)[0].0, "/1.0/instances?target=m2");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let (source, target) = (server(success), server(success));
    let (from, to) = (client(&source), client(&target));
    for refused in [
        from.move_instance("t1/s", &to).await,
        from.copy_instance("t1", &to).with("no object").await,
        from.copy_instance("t1/s/x/..", &to).mode(CopyMode::Push).with(json!([])).await,
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::Argument { .. }), "{error:?}");
    }
    assert!(source.lines().is_empty() && target.lines().is_empty());
}

#[tokio::test]
async fn a_relay_passes_on_what_comes_as_it_is() {
    // They run as long as the test wants.
    static ENDED: Mutex<bool> = Mutex::new(false);
    let running: Ends = |_| match *ENDED.lock().unwrap() {
        true => ("Success", 200, ""),
        false => ("Running", 103, ""),
    };
    let (mut source, mut target) = (server(running), server(running));
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let copy = client(&source).copy_instance("t1", &client(&target)).mode(CopyMode::Relay);
    let copy = copy.progress(move |done| telling.lock().unwrap().push(done.bytes));
    let copying = tokio::spawn(async move { copy.await });
    let mut sockets = Vec::new();
    for secret in ["sc", "sf"] {
        for server in [&mut source, &mut target] {
            let (path, stream) = server.stream_with_target().await;
            assert_eq!(path, format!("/1.0/operations/{UUID}/websocket?secret={secret}"));
            sockets.push(stream);
        }
    }
    let [control, other_control, files, other_files] = &mut sockets[..] else { panic!() };
    let large = vec![7; 200_000];
    let pieces = [frame(TEXT, b"{}"), frame(BINARY, &large), frame(PING, b"?"), frame(TEXT, b"")].concat();
    files.write_all(&pieces).await.unwrap();
    assert_eq!(read_frame(other_files).await, (TEXT, b"{}".to_vec()));
    assert_eq!(read_frame(other_files).await, (BINARY, large));
    assert_eq!(read_frame(other_files).await, (TEXT, Vec::new()));
    // A question whether somebody is there is answered here.
    assert_eq!(read_frame(files).await, (PONG, b"?".to_vec()));
    other_control.write_all(&frame(BINARY, b"back")).await.unwrap();
    assert_eq!(read_frame(control).await, (BINARY, b"back".to_vec()));
    // What was sent before an end arrives before the end does.
    control.write_all(&frame(BINARY, b"last")).await.unwrap();
    drop(sockets.remove(0));
    assert_eq!(read_frame(&mut sockets[0]).await, (BINARY, b"last".to_vec()));
    let (kind, _) = read_frame(&mut sockets[0]).await;
    assert_eq!((kind, sockets[0].read(&mut [0; 8]).await.unwrap()), (8, 0));
    assert!(!copying.is_finished());
    *ENDED.lock().unwrap() = true;
    copying.await.unwrap().unwrap();
    assert_eq!(told.lock().unwrap().last(), Some(&200_002));
}
