//! The mock: what users of lxd-client test their own code with.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lxd_client::mock::MockLxd;
use lxd_client::types::{
    EventLifecycle, EventLogging, ExecResult, ImageResult, ImagesPost, Instance, InstanceExecPost,
    InstancePatch, InstancesPost, Profile, StorageVolumesPost,
};
use lxd_client::{Body, Error, EventContent, ExecOutput};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn named(name: &str) -> InstancesPost {
    InstancesPost { name: name.into(), ..Default::default() }
}

#[tokio::test]
async fn what_is_expected_is_answered() {
    let lxd = MockLxd::start().await;
    let instance =
        |name: &str| Instance { name: name.into(), status: "Running".into(), ..Default::default() };
    lxd.on_instance("t1").reply(instance("t1"));
    lxd.on_instance("a b/c?").reply(instance("odd"));
    lxd.on_instances().reply(vec!["/1.0/instances/t1".into()]);
    lxd.on_instances_recursion1().reply(vec![instance("t1"), instance("t2")]);
    lxd.on_delete_instance("t2").error(404, "Instance not found");
    lxd.on_metrics().reply("# EOF\n".into());
    lxd.on_image_export("f0").reply(&b"\0\xff"[..]);
    let client = lxd.client();
    assert_eq!(client.instance("t1").await.unwrap(), instance("t1"));
    assert_eq!(client.instance("a b/c?").await.unwrap().name, "odd");
    assert_eq!(client.instances().await.unwrap(), ["/1.0/instances/t1"]);
    assert_eq!(client.instances_recursion1().await.unwrap().len(), 2);
    let error = client.delete_instance("t2").await.unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("Instance not found"), "{error}");
    assert_eq!(client.metrics().await.unwrap(), "# EOF\n");
    assert_eq!(client.image_export("f0").await.unwrap().bytes().await.unwrap(), &b"\0\xff"[..]);
    lxd.on_instance("t1").assert_called(1);
    lxd.on_instance("t2").assert_called(0);
    // The latest counts.
    lxd.on_instance("t1").error(500, "gone mad");
    assert_eq!(client.instance("t1").await.unwrap_err().status(), Some(500));
    lxd.on_instance("t1").assert_called(2);
}

#[tokio::test]
async fn what_is_sent_is_typed() {
    let lxd = MockLxd::start().await;
    lxd.on_modify_instance("t1").reply(());
    lxd.on_create_profile().when(|call| call.query.get("project").is_some_and(|p| p == "p")).reply(());
    lxd.on_create_profile().when(|call| call.body.name == "taken").error(409, "it exists");
    lxd.on_upload_image()
        .when(|call| call.body.0 == "image")
        .operation()
        .succeed_with(ImageResult { fingerprint: "f0".into(), ..Default::default() });
    let client = lxd.client();
    let patch = InstancePatch { description: Some(String::new()), ..Default::default() };
    client.modify_instance("t1", patch.clone()).if_match("e1").await.unwrap();
    let received = lxd.on_modify_instance("t1").received();
    assert_eq!((received.len(), &received[0].body), (1, &patch));
    assert_eq!(received[0].headers["if-match"], "e1");

    let profile = |name: &str| lxd_client::types::ProfilesPost { name: name.into(), ..Default::default() };
    client.use_project("p").create_profile(profile("free")).await.unwrap();
    assert!(client.create_profile(profile("taken")).await.unwrap_err().is_conflict());
    let image = client.upload_image(Body::reader(&b"image"[..])).public(true).await.unwrap();
    assert_eq!(image.fingerprint, "f0");
    let received = lxd.on_upload_image().received();
    assert_eq!(received[0].headers["x-lxd-public"], "true");
    assert_eq!(received[0].headers["x-lxd-fingerprint"].len(), 64);
}

#[tokio::test]
async fn operations_run_and_end() {
    let lxd = MockLxd::start().await;
    lxd.on_create_instance().operation().progress("rootfs: 50% (1.00MB/s)").succeed();
    lxd.on_create_instance().when(|call| call.body.name == "t2").operation().fail("no space left");
    lxd.on_create_instance().when(|call| call.body.name == "t3").operation().cancelled();
    lxd.on_create_image().operation().succeed_with(ImageResult { size: 7, ..Default::default() });
    let client = lxd.client();
    for project in ["default", "p"] {
        client.use_project(project).create_instance(named("t1")).await.unwrap();
        let failed = client.use_project(project).create_instance(named("t2")).await.unwrap_err();
        assert!(
            matches!(&failed, Error::Operation { message, .. } if message == "no space left"),
            "{failed:?}"
        );
    }
    assert!(matches!(client.create_instance(named("t3")).await, Err(Error::Cancelled { .. })));
    let operation = client.create_instance(named("t1")).start().await.unwrap();
    operation.wait().await.unwrap();
    assert_eq!(operation.status(), "Success");
    // Its progress comes before its end.
    let operation = client.create_instance(named("t1")).start().await.unwrap();
    let told: Vec<_> = operation.progress().map(|progress| progress.percent).collect().await;
    assert_eq!(told, [Some(50)]);
    operation.wait().await.unwrap();
    let again = client.operation_handle(operation.id());
    again.wait().await.unwrap();
    assert_eq!(client.create_image(ImagesPost::default()).await.unwrap().size, 7);
    lxd.on_create_instance().assert_called(7);
    lxd.on_create_instance().when(|call| call.body.name == "t2").assert_called(2);
}

#[tokio::test]
async fn commands_are_played_in_all_forms() {
    let lxd = MockLxd::start().await;
    let output = ExecOutput { status: 3, stdout: vec![7; 100_000], stderr: b"err\xff".to_vec() };
    lxd.on_execute_in_instance("t1").output(output.clone());
    let client = lxd.client();
    let post = |command: &str| InstanceExecPost { command: vec![command.into()], ..Default::default() };
    assert_eq!(client.execute_in_instance("t1", post("a")).output().await.unwrap(), output);
    assert_eq!(client.execute_in_instance("t1", post("b")).record().await.unwrap(), output);
    assert_eq!(client.execute_in_instance("t1", post("c")).await.unwrap().r#return, 3);

    let mut exec = client.execute_in_instance("t1", post("d")).spawn().await.unwrap();
    let (mut input, mut shown) = (exec.stdin.take().unwrap(), Vec::new());
    input.write_all(b"given").await.unwrap();
    input.shutdown().await.unwrap();
    exec.stdout.take().unwrap().read_to_end(&mut shown).await.unwrap();
    assert_eq!((shown.len(), exec.wait().await.unwrap()), (100_000, 3));
    let given = lxd.on_execute_in_instance("t1").when(|call| call.body.command == ["d"]);
    assert_eq!(given.inputs(), ["given"]);
    let interactive = InstanceExecPost { interactive: true, ..post("e") };
    let mut terminal = client.execute_in_instance("t1", interactive).spawn().await.unwrap();
    terminal.resize(80, 25).await.unwrap();
    let (mut typed, mut shown) = (terminal.stdin.take().unwrap(), Vec::new());
    typed.write_all(b"typed").await.unwrap();
    typed.flush().await.unwrap();
    terminal.stdout.take().unwrap().read_to_end(&mut shown).await.unwrap();
    assert_eq!((shown.len(), terminal.wait().await.unwrap()), (100_000, 3));
    let typed = lxd.on_execute_in_instance("t1").when(|call| call.body.interactive);
    assert_eq!(typed.inputs(), ["typed"]);
    lxd.on_execute_in_instance("t1").assert_called(5);
}

#[tokio::test(start_paused = true)]
async fn answers_are_late_cut_or_no_answers() {
    let lxd = MockLxd::start().await;
    let hour = Duration::from_secs(3600);
    lxd.on_instance("late").delayed(hour).reply(Instance::default());
    lxd.on_instance("cut").cut();
    lxd.on_instance("odd").malformed("{\"type\":");
    lxd.on_instance("marked").header("etag", "e1").reply(Instance::default());
    let client = lxd.client();
    let late = client.instance("late").await.unwrap_err();
    assert!(matches!(late, Error::Timeout { .. }), "{late:?}");
    let cut = client.instance("cut").await.unwrap_err();
    assert!(matches!(cut, Error::Transport { .. }), "{cut:?}");
    let odd = client.instance("odd").await.unwrap_err();
    assert!(matches!(odd, Error::Decode { .. }), "{odd:?}");
    assert_eq!(client.instance("marked").response().await.unwrap().etag(), Some("e1"));
}

#[tokio::test]
async fn a_test_may_look_at_the_mock_where_it_says_what_is_meant() {
    let lxd = MockLxd::start().await;
    let made = lxd.on_create_instance();
    lxd.on_create_instance().operation().succeed();
    lxd.on_instance("t1").error(404, "not yet");
    lxd.on_instance("t1").when(move |_| !made.received().is_empty()).reply(Instance::default());
    let client = lxd.client();
    assert!(client.instance("t1").await.unwrap_err().is_not_found());
    client.create_instance(named("t1")).await.unwrap();
    client.instance("t1").await.unwrap();
}

#[tokio::test]
async fn what_is_sent_tells_two_methods_apart() {
    let lxd = MockLxd::start().await;
    lxd.on_restore_instance_backup().operation().succeed();
    lxd.on_create_instance().operation().fail("it is full");
    let client = lxd.client();
    client.restore_instance_backup("backup").await.unwrap();
    assert!(client.create_instance(named("t1")).await.is_err());
    lxd.on_restore_instance_backup().assert_called(1);
    lxd.on_create_instance().assert_called(1);
    // A level of recursion with more behind it is that level.
    lxd.on_instances_recursion2().reply(Vec::new());
    client.instances_recursion2().recursion("2;fields=state").await.unwrap();
}

#[tokio::test]
async fn a_when_that_panics_is_told() {
    let lxd = MockLxd::start().await;
    lxd.on_instance("t1").when(|call| call.query["project"] == "p").reply(Instance::default());
    assert_eq!(lxd.client().instance("t1").await.unwrap_err().status(), Some(501));
    let told = told(lxd);
    assert!(told.contains("the `when` of GET /1.0/instances/t1 when … panicked"), "{told}");
}

#[tokio::test]
async fn a_mock_that_is_gone_is_gone_for_those_who_listen() {
    let folder = lxd_tests::folder::Folder::new();
    let socket = folder.0.join("socket");
    let lxd = MockLxd::start_at(&socket).await;
    let held = lxd.on_instances();
    let mut events = lxd.client().events().types(["lifecycle"]).await.unwrap();
    drop(lxd);
    held.assert_called(0);
    std::fs::remove_file(&socket).unwrap();
    let _another = MockLxd::start_at(&socket).await;
    let next = tokio::time::timeout(Duration::from_secs(30), events.next()).await.expect("in time");
    assert_eq!(next.expect("an event").unwrap().content, EventContent::Gap);
}

/// What a mock tells when it is dropped.
fn told(lxd: MockLxd) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| drop(lxd))).expect_err("a panic");
    *panic.downcast::<String>().expect("a text")
}

#[tokio::test]
async fn a_call_that_nobody_expected_fails_the_test() {
    let lxd = MockLxd::start().await;
    lxd.on_instance("t1").reply(Instance::default());
    lxd.on_create_instance().when(|call| call.body.name == "t1").operation().succeed();
    lxd.on_profile("default").reply(Profile::default());
    let client = lxd.client();
    assert_eq!(client.instance("t2").await.unwrap_err().status(), Some(501));
    assert!(client.create_instance(named("t2")).await.is_err());
    assert!(client.instances().await.is_err());
    assert!(client.create_storage_pool_volume("p", StorageVolumesPost::default()).await.is_err());
    let told = told(lxd);
    for line in [
        "nobody expected GET /1.0/instances/t2\n  the nearest is GET /1.0/instances/t1: other names in the path",
        "nobody expected POST /1.0/instances {\"name\":\"t2\"}\n  the nearest is POST /1.0/instances when …: \
         refused by its `when`",
        "nobody expected GET /1.0/instances\n  the nearest is POST /1.0/instances when …: another method",
        "nobody expected POST /1.0/storage-pools/p/volumes",
        "what was expected:\n  GET /1.0/instances/t1\n",
    ] {
        assert!(told.contains(line), "{line}\n---\n{told}");
    }
}

#[tokio::test]
async fn a_socket_of_ones_own_is_served() {
    let folder = lxd_tests::folder::Folder::new();
    let lxd = MockLxd::start_at(folder.0.join("socket")).await;
    lxd.on_create_instance().operation().succeed();
    assert!(lxd.endpoint().starts_with("unix:///"));
    lxd.client().create_instance(named("t1")).await.unwrap();
    let other = lxd_client::Client::builder().endpoint(lxd.endpoint()).build().unwrap();
    other.create_instance(named("t1")).await.unwrap();
    lxd.on_create_instance().assert_called(2);
}

#[tokio::test]
async fn a_test_can_look_before_the_end() {
    let lxd = MockLxd::start().await;
    lxd.verify();
    assert!(lxd.client().resources().await.is_err());
    let panic = catch_unwind(AssertUnwindSafe(|| lxd.verify())).expect_err("a panic");
    assert!(panic.downcast::<String>().unwrap().contains("GET /1.0/resources"));
    // It is told once.
    drop(lxd);
}

#[tokio::test]
async fn answers_in_turn() {
    let lxd = MockLxd::start().await;
    let state = |status: &str| Instance { status: status.into(), ..Default::default() };
    lxd.on_instance("t1").reply(state("Running"));
    lxd.on_instance("t1").once().error(404, "not yet");
    lxd.on_instance("t1").once().reply(state("Stopped"));
    let client = lxd.client();
    assert!(client.instance("t1").await.unwrap_err().is_not_found());
    for expected in ["Stopped", "Running", "Running"] {
        assert_eq!(client.instance("t1").await.unwrap().status, expected);
    }
    lxd.on_profile("p").once().reply(Profile::default());
    client.profile("p").await.unwrap();
    assert!(client.profile("p").await.is_err());
    let told = told(lxd);
    assert!(
        told.contains("nobody expected GET /1.0/profiles/p\n  the nearest is GET /1.0/profiles/p: used up"),
        "{told}"
    );
}

#[tokio::test]
async fn consoles_are_fed_from_the_test() {
    let lxd = MockLxd::start().await;
    let mut sessions = lxd.on_connect_instance_console("t1").sessions();
    let console = lxd.client().console("t1");
    let mut terminal = console.attach(80, 25).await.unwrap();
    let mut session = sessions.next().await;
    let mut socket = session.socket("0").await;
    socket.send(b"login: ".to_vec().into()).await.unwrap();
    let mut shown = [0; 7];
    terminal.read_exact(&mut shown).await.unwrap();
    assert_eq!(&shown, b"login: ");
    terminal.write_all(b"root\n").await.unwrap();
    terminal.flush().await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().into_data(), &b"root\n"[..]);
    terminal.resize(100, 40).await.unwrap();
    let mut control = session.socket("control").await;
    let resize = control.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(resize.contains("window-resize") && resize.contains("100"), "{resize}");
    // The server's end of it, then the operation's.
    socket.close().await.unwrap();
    assert_eq!(terminal.read(&mut shown).await.unwrap(), 0);
    let operation = lxd.client().operation_handle(terminal.operation().id());
    session.fail("the console is gone");
    let failed = operation.wait().await.unwrap_err();
    assert!(
        matches!(&failed, Error::Operation { message, .. } if message == "the console is gone"),
        "{failed:?}"
    );

    // Of a graphical one, each channel is a websocket.
    let graphical = console.vga().await.unwrap();
    let mut session = sessions.next().await;
    for channel in [b"one", b"two"] {
        let mut stream = graphical.open().await.unwrap();
        let mut socket = session.socket("0").await;
        socket.send(channel.to_vec().into()).await.unwrap();
        let mut shown = [0; 3];
        stream.read_exact(&mut shown).await.unwrap();
        assert_eq!(&shown, channel);
    }
    let operation = lxd.client().operation_handle(graphical.operation().id());
    drop(session);
    operation.wait().await.unwrap();
}

#[tokio::test]
async fn commands_are_fed_from_the_test() {
    let lxd = MockLxd::start().await;
    let mut sessions = lxd.on_execute_in_instance("t1").sessions();
    let post = InstanceExecPost { command: vec!["cat".into()], ..Default::default() };
    let mut exec = lxd.client().execute_in_instance("t1", post).spawn().await.unwrap();
    let mut session = sessions.next().await;
    let (mut input, mut output) = (exec.stdin.take().unwrap(), exec.stdout.take().unwrap());
    let (mut given, mut written) = (session.socket("0").await, session.socket("1").await);
    for text in ["one", "two"] {
        input.write_all(text.as_bytes()).await.unwrap();
        input.flush().await.unwrap();
        written.send(given.next().await.unwrap().unwrap()).await.unwrap();
        let mut shown = [0; 3];
        output.read_exact(&mut shown).await.unwrap();
        assert_eq!(shown, text.as_bytes());
    }
    session.succeed_with(&ExecResult { r#return: 7, ..Default::default() });
    assert_eq!(exec.wait().await.unwrap(), 7);
}

#[tokio::test]
async fn connections_are_fed_from_the_test() {
    let lxd = MockLxd::start().await;
    let mut sockets = lxd.on_operation_websocket("o1").connect();
    let mut connections = lxd.on_instance_sftp("t1").connect();
    let client = lxd.client();
    let mut theirs = client.operation_websocket("o1").secret("s").await.unwrap();
    let mut ours = sockets.next().await;
    ours.send("text".into()).await.unwrap();
    assert_eq!(theirs.next().await.unwrap().unwrap().into_text().unwrap(), "text");
    let mut theirs = client.instance_sftp("t1").await.unwrap();
    let mut ours = connections.next().await;
    theirs.write_all(b"ping").await.unwrap();
    let mut said = [0; 4];
    ours.read_exact(&mut said).await.unwrap();
    ours.write_all(b"pong").await.unwrap();
    theirs.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"pong");
}

#[tokio::test]
async fn events_of_a_test_are_told_to_those_who_listen() {
    let lxd = MockLxd::start().await;
    let client = lxd.client();
    let mut lifecycle = client.use_project("p").events().types(["lifecycle"]).await.unwrap();
    let mut logging = client.events().types(["logging"]).await.unwrap();
    let event = |action: &str| EventLifecycle { action: action.into(), ..Default::default() };
    lxd.tell_lifecycle("default", &event("not-of-p"));
    lxd.tell_lifecycle("p", &event("instance-started"));
    let line = EventLogging { message: "a line".into(), level: "info".into(), ..Default::default() };
    lxd.tell_logging(&line);
    let told = lifecycle.next().await.unwrap().unwrap();
    assert_eq!(told.content, EventContent::Lifecycle(event("instance-started")));
    assert_eq!(logging.next().await.unwrap().unwrap().content, EventContent::Logging(line));
    lxd.cut_events();
    assert_eq!(lifecycle.next().await.unwrap().unwrap().content, EventContent::Gap);
}

#[tokio::test]
async fn who_waits_for_a_connection_is_told_that_the_mock_is_gone() {
    let lxd = MockLxd::start().await;
    let mut sessions = lxd.on_execute_in_instance("t1").sessions();
    let client = lxd.client();
    let post = InstanceExecPost { wait_for_websocket: true, ..Default::default() };
    let operation = client.execute_in_instance("t1", post).start().await.unwrap();
    let session = sessions.next().await;
    // A websocket of what has ended is refused, and no call that nobody expected.
    session.succeed();
    let secret = operation.metadata()["fds"]["0"].as_str().unwrap_or("secret-0").to_owned();
    let refused = client.operation_websocket(operation.id()).secret(&secret).await.unwrap_err();
    assert!(refused.is_not_found(), "{refused}");
    let again = InstanceExecPost { wait_for_websocket: true, ..Default::default() };
    client.execute_in_instance("t1", again).start().await.unwrap();
    let mut session = sessions.next().await;
    drop(lxd);
    for waiting in [
        tokio::spawn(async move { drop(session.socket("0").await) }),
        tokio::spawn(async move { drop(sessions.next().await) }),
    ] {
        assert!(waiting.await.unwrap_err().is_panic());
    }
}
