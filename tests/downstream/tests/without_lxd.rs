//! The tests of a user's program: struct literals, and no LXD.

use downstream::{describe, ensure_running, statuses};
use lxd_client::mock::MockLxd;
use lxd_client::types::{Instance, InstanceAction, InstanceStatus};

fn instance(name: &str, status: &str) -> Instance {
    Instance { name: name.into(), status: status.into(), ..Default::default() }
}

#[tokio::test]
async fn what_is_not_there_is_made_and_started() {
    let lxd = MockLxd::start().await;
    lxd.on_instance("t1").error(404, "Instance not found");
    lxd.on_create_instance()
        .when(|call| call.body.name == "t1")
        .operation()
        .progress("rootfs: 50%")
        .succeed();
    lxd.on_update_instance_state("t1")
        .when(|call| call.body.action == InstanceAction::Start)
        .operation()
        .succeed();
    assert!(ensure_running(&lxd.client(), "t1", "busybox").await.unwrap());
    lxd.on_create_instance().assert_called(1);
    let created = &lxd.on_create_instance().received()[0].body;
    assert_eq!(created.source.as_ref().map(|source| source.alias.as_str()), Some("busybox"));
}

#[tokio::test]
async fn what_runs_is_left_alone() {
    let lxd = MockLxd::start().await;
    lxd.on_instance("t1").reply(instance("t1", "Running"));
    assert!(!ensure_running(&lxd.client(), "t1", "busybox").await.unwrap());
    lxd.on_update_instance_state("t1").assert_called(0);
}

#[tokio::test]
async fn a_failed_start_is_told() {
    let lxd = MockLxd::start().await;
    lxd.on_instance("t1").reply(instance("t1", "Stopped"));
    lxd.on_update_instance_state("t1").operation().fail("no space left");
    let error = ensure_running(&lxd.client(), "t1", "busybox").await.unwrap_err();
    assert!(error.to_string().contains("no space left"), "{error}");
}

#[tokio::test]
async fn what_was_read_goes_back_changed_in_one_place() {
    let lxd = MockLxd::start().await;
    let read = Instance { profiles: vec!["p".into()], ..instance("t1", "Running") };
    lxd.on_instance("t1").header("etag", "e1").reply(read);
    lxd.on_update_instance("t1").when(|call| call.headers["if-match"] == "e1").operation().succeed();
    describe(&lxd.client(), "t1", "mine").await.unwrap();
    let put = &lxd.on_update_instance("t1").received()[0].body;
    assert_eq!((put.description.as_str(), &put.profiles[..]), ("mine", &["p".to_owned()][..]));
}

#[tokio::test]
async fn a_word_of_a_newer_server_is_kept() {
    let lxd = MockLxd::start().await;
    lxd.on_instances_recursion1().reply(vec![instance("t1", "Running"), instance("t2", "Hibernating")]);
    let statuses = statuses(&lxd.client()).await.unwrap();
    assert_eq!(statuses[0].1, InstanceStatus::Running);
    assert_eq!(statuses[1].1.as_str(), "Hibernating");
}
