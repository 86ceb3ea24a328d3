//! The recorder: what it writes of what passes. That this is Rust, and answers again, is a test of `downstream`.

use futures_util::StreamExt;
use lxd_client::mock::{MockLxd, Recorder};
use lxd_client::types::{
    Certificate, ExecResult, ImageResult, Instance, InstanceConsolePost, InstanceExecPost, InstanceStatePut,
    InstancesPost, ProfilesPost, Server, ServerPut, StoragePool,
};
use lxd_client::{Client, Error};
use lxd_tests::fake_server::{Answer, FakeServer};
use lxd_tests::folder::Folder;
use serde_json::json;

/// What is between the braces of the function that a recorder writes.
async fn written(recorder: &Recorder) -> String {
    let code = recorder.code().await;
    let (_, body) = code.split_once("pub fn expectations(lxd: &MockLxd) {\n").expect("a function");
    body.strip_suffix("}\n").expect("its end").to_owned()
}

#[tokio::test]
async fn calls_are_told_apart_and_answers_come_in_turn() {
    let lxd = MockLxd::start().await;
    let instance = |status: &str| Instance { status: status.into(), ..Default::default() };
    lxd.on_instance("t1").once().reply(instance("Stopped"));
    lxd.on_instance("t1").once().reply(instance("Stopped"));
    lxd.on_instance("t1").header("etag", "e1").reply(instance("Running"));
    lxd.on_instances().reply(vec!["/1.0/instances/t1".into()]);
    lxd.on_instance_log("t1", "a \"log\"").reply(&b"bytes\0\xff"[..]);
    lxd.on_metrics().reply("# EOF\n".into());
    lxd.on_create_placement_group().reply(());
    lxd.on_server().reply(Server { auth: "trusted".into(), ..Default::default() });
    lxd.on_delete_instance("t2").error(404, "Instance not found");
    let recorder = Recorder::start(&lxd.client()).await;
    let client = recorder.client();
    for expected in ["Stopped", "Stopped", "Running"] {
        assert_eq!(client.instance("t1").await.unwrap().status, expected);
    }
    client.use_project("p").instances().filter("status eq running").await.unwrap();
    client.instance_log("t1", "a \"log\"").await.unwrap().bytes().await.unwrap();
    client.instances().await.unwrap();
    client.metrics().await.unwrap();
    client.create_placement_group(json!({"name": "g"})).await.unwrap();
    assert!(client.delete_instance("t2").await.unwrap_err().is_not_found());
    assert_eq!(
        written(&recorder).await,
        r##"    lxd.on_instance("t1").once().reply(Instance { status: "Stopped".into(), ..Default::default() });
    lxd.on_instance("t1").once().reply(Instance { status: "Stopped".into(), ..Default::default() });
    lxd.on_instance("t1")
        .header("etag", "e1")
        .reply(Instance { status: "Running".into(), ..Default::default() });
    lxd.on_instances()
        .when(|call| call.query.get("filter").is_some_and(|value| value == "status eq running")
            && call.query.get("project").is_some_and(|value| value == "p"))
        .reply(vec!["/1.0/instances/t1".into()]);
    lxd.on_instance_log("t1", "a \"log\"").reply(&b"bytes\x00\xff"[..]);
    lxd.on_instances()
        .when(|call| !call.query.contains_key("filter") && !call.query.contains_key("project"))
        .reply(vec!["/1.0/instances/t1".into()]);
    lxd.on_metrics().reply("# EOF\n".into());
    lxd.on_create_placement_group()
        .when(|call| call.body.to_string() == "{\"name\":\"g\"}")
        .reply(());
    lxd.on_server().reply(Server { auth: "trusted".into(), ..Default::default() });
    lxd.on_delete_instance("t2").error(404, "Instance not found");
"##
    );
}

#[tokio::test]
async fn operations_are_written_with_how_they_ended() {
    let lxd = MockLxd::start().await;
    let image = ImageResult { fingerprint: "f0".into(), size: 7 };
    lxd.on_upload_image().operation().succeed_with(image);
    // The client asks which server it is before it follows operations.
    lxd.on_server().reply(Server { auth: "trusted".into(), ..Default::default() });
    lxd.on_create_instance().operation().progress("Unpack: 5%").progress("Unpack: 50%").succeed();
    lxd.on_delete_instance("t1").operation().fail("it is \"busy\"");
    lxd.on_update_instance_state("t1").operation().cancelled();
    let mut consoles = lxd.on_connect_instance_console("t1").sessions();
    let recorder = Recorder::start(&lxd.client()).await;
    let client = recorder.client();
    client.upload_image(&b"image"[..]).await.unwrap();
    client.create_instance(InstancesPost { name: "t1".into(), ..Default::default() }).await.unwrap();
    client.delete_instance("t1").await.unwrap_err();
    let stop = InstanceStatePut { action: "stop".into(), ..Default::default() };
    let stopped = client.update_instance_state("t1", stop).await;
    assert!(matches!(stopped, Err(Error::Cancelled { .. })));
    client.connect_instance_console("t1", InstanceConsolePost::default()).start().await.unwrap();
    drop(consoles.next().await);
    assert_eq!(
        written(&recorder).await,
        r#"    lxd.on_server().reply(Server { auth: "trusted".into(), ..Default::default() });
    lxd.on_upload_image()
        .operation()
        .succeed_with(ImageResult { fingerprint: "f0".into(), size: 7 });
    lxd.on_create_instance()
        .when(|call| call.body == InstancesPost { name: "t1".into(), ..Default::default() })
        .operation()
        .progress("Unpack: 50%")
        .succeed();
    lxd.on_delete_instance("t1").operation().fail("it is \"busy\"");
    lxd.on_update_instance_state("t1")
        .when(|call| call.body == InstanceStatePut { action: "stop".into(), ..Default::default() })
        .operation()
        .cancelled();
    // lxd.on_connect_instance_console("t1"): not recorded.
"#
    );
}

#[tokio::test]
async fn secrets_are_left_out() {
    let lxd = MockLxd::start().await;
    let config = [("source".into(), "/disk".into()), ("rbd.passphrase".into(), "hush1".into())].into();
    lxd.on_storage_pool("p").reply(StoragePool { config, ..Default::default() });
    lxd.on_update_server().reply(());
    lxd.on_certificate("f0").reply(Certificate { name: "c".into(), ..Default::default() });
    let client = Client::builder()
        .endpoint(lxd.endpoint())
        .layer(|headers| drop(headers.insert("x-mine", "hush2".parse().unwrap())))
        .build()
        .unwrap();
    let recorder = Recorder::start(&client).await;
    let client = recorder.client();
    client.storage_pool("p").await.unwrap();
    let config = [("core.trust_password".into(), "hush3".into())].into();
    client.update_server(ServerPut { config }).await.unwrap();
    client.certificate("f0").await.unwrap();
    lxd.on_create_profile().reply(());
    for name in ["one", "two"] {
        let config = [("user.password".into(), "hush4".into())].into();
        client
            .create_profile(ProfilesPost { name: name.into(), config, ..Default::default() })
            .await
            .unwrap();
    }
    lxd.on_execute_in_instance("t1").operation().succeed_with(ExecResult::default());
    let environment = [("WHERE".into(), "hush5".into())].into();
    let command = InstanceExecPost { environment, command: vec!["env".into()], ..Default::default() };
    client.execute_in_instance("t1", command).await.unwrap();
    assert_eq!(lxd.on_certificate("f0").received()[0].headers["x-mine"], "hush2");
    let written = written(&recorder).await;
    assert!(!written.contains("hush"), "{written}");
    assert!(written.contains(r#"("rbd.passphrase".into(), "(removed)".into())"#), "{written}");
    // What was left out cannot be compared, but what is beside it can.
    assert!(written.contains(r#".when(|call| call.body.name == "two")"#), "{written}");
    assert!(written.contains("    lxd.on_update_server().reply(());\n"), "{written}");
}

#[tokio::test]
async fn what_has_no_place_among_expectations_is_marked() {
    let server = FakeServer::with(|request| match request.line().as_str() {
        "GET /1.0/operations" => Answer::sync("{}"),
        "GET /1.0/images/f0/export" => Answer::raw(200, &[], vec![7; 65 << 10]),
        _ => Answer::sync("[1]"),
    });
    let folder = Folder::new();
    let recorder = Recorder::start_at(&server.client(), folder.0.join("socket")).await;
    let client = recorder.client();
    assert!(recorder.endpoint().starts_with("unix:///"));
    client.operations().await.unwrap();
    client.image_export("f0").await.unwrap().bytes().await.unwrap();
    // It is no list of names, which the program was told too.
    assert!(matches!(client.instances().await, Err(Error::Decode { .. })));
    let stream = tokio::net::UnixStream::connect(folder.0.join("socket")).await.unwrap();
    let mut stream = tokio::io::BufReader::new(stream);
    let request = b"GET /1.0/nowhere HTTP/1.1\r\nhost: lxd\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut stream, &mut line).await.unwrap();
    assert_eq!(line, "HTTP/1.1 200 OK\r\n");
    assert_eq!(
        written(&recorder).await,
        r#"    lxd.on_operations().reply([].into());
    // lxd.on_image_export("f0"): not recorded.
    // lxd.on_instances(): not recorded.
    // GET "/1.0/nowhere": no method of the client.
"#
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told() {
    let recorder = Recorder::start(&Client::builder().endpoint("http://127.0.0.1:1").build().unwrap()).await;
    let error = recorder.client().instances().await.unwrap_err();
    assert_eq!(error.status(), Some(502));
    assert!(error.to_string().contains("the recorder has no answer"), "{error}");
    assert_eq!(written(&recorder).await, "");
}

#[tokio::test]
async fn events_pass() {
    let lxd = MockLxd::start().await;
    let recorder = Recorder::start(&lxd.client()).await;
    let mut events = recorder.client().events().types(["lifecycle"]).await.unwrap();
    lxd.tell_lifecycle("default", &Default::default());
    events.next().await.unwrap().unwrap();
    assert_eq!(written(&recorder).await, "");
}
