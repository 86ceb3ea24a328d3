//! What passed between the example `record` of lxd-client and a real LXD, played again to a program that asks the same.
//! With the feature `fresh`, it is the recording that was made last, in `target/recorded.rs`.

#[cfg(feature = "fresh")]
mod expectations {
    include!("../../../target/recorded.rs");
}
#[cfg(not(feature = "fresh"))]
#[path = "recorded/expectations.rs"]
mod expectations;

use lxd_client::mock::MockLxd;
use lxd_client::types::{
    InstanceExecPost, InstanceSource, InstanceStatePut, InstanceStatus, InstancesPost, ProfilesPost,
};
use lxd_client::{Error, ExecOutput};

fn change(action: &str) -> InstanceStatePut {
    InstanceStatePut { action: action.into(), timeout: 30, force: action == "stop", ..Default::default() }
}

#[tokio::test]
async fn what_was_recorded_is_answered_again() {
    let mock = MockLxd::start().await;
    expectations::expectations(&mock);
    let lxd = mock.client();
    let profile = ProfilesPost { name: "recorded".into(), ..Default::default() };
    lxd.create_profile(profile).await.unwrap();
    let source = InstanceSource { r#type: "image".into(), alias: "busybox".into(), ..Default::default() };
    let profiles = Some(vec!["default".into(), "recorded".into()]);
    let new = InstancesPost { name: "recorded".into(), source: Some(source), profiles, ..Default::default() };
    lxd.create_instance(new.clone()).await.unwrap();
    let refused = lxd.create_instance(new).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Operation { message, .. } if message.contains("already exists")),
        "{refused:?}"
    );
    assert_eq!(lxd.instance("recorded").await.unwrap().status, InstanceStatus::Stopped);
    lxd.update_instance_state("recorded", change("start")).await.unwrap();
    let instance = lxd.instance("recorded").response().await.unwrap();
    assert!(instance.etag().is_some());
    assert_eq!(instance.value.status, InstanceStatus::Running);
    assert!(instance.value.created_at.is_some());
    assert_eq!(instance.value.expanded_config["user.place"], "here");
    assert_eq!(instance.value.expanded_config["user.password"], "(removed)");

    let script = |script: &str| InstanceExecPost {
        command: ["sh", "-c", script].map(String::from).to_vec(),
        ..Default::default()
    };
    let output = lxd.execute_in_instance("recorded", script("echo out; echo err >&2; exit 3")).output().await;
    let expected = ExecOutput { status: 3, stdout: b"out\n".to_vec(), stderr: b"err\n".to_vec() };
    assert_eq!(output.unwrap(), expected);
    let output = lxd.execute_in_instance("recorded", script("echo recorded")).record().await.unwrap();
    assert_eq!(output.stdout, b"recorded\n");
    let file = lxd.instance_files("recorded").path("/etc/passwd").await.unwrap();
    assert_eq!(file.header("x-lxd-mode"), Some("0644"));
    assert!(file.text().await.unwrap().starts_with("root:"));

    lxd.update_instance_state("recorded", change("stop")).await.unwrap();
    lxd.delete_instance("recorded").await.unwrap();
    lxd.delete_profile("recorded").await.unwrap();
    assert!(lxd.instance("recorded").await.unwrap_err().is_not_found());
}
