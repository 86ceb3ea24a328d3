//! Records what a program asks of a real LXD, as expectations of a mock for its tests.
//!
//! ```text
//! tests/with-lxd cargo run -p lxd-client --features mock --example record -- recorded.rs
//! ```
//!
//! It wants an image with the alias `busybox`, and makes and deletes an instance of the name `recorded`.

use lxd_client::mock::Recorder;
use lxd_client::types::{InstanceExecPost, InstanceSource, InstanceStatePut, InstancesPost, ProfilesPost};
use lxd_client::{Client, Error};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("where is the recording to go?")?;
    let lxd = Client::builder().build()?;
    let recorder = Recorder::start(&lxd).await;
    let outcome = program(&recorder.client()).await;
    if outcome.is_err() {
        // Leave nothing behind; what went wrong is told all the same.
        let _ = lxd.update_instance_state("recorded", change("stop")).await;
        let _ = lxd.delete_instance("recorded").await;
        let _ = lxd.delete_profile("recorded").await;
    }
    outcome?;
    std::fs::write(&path, recorder.code().await)?;
    println!("what passed is in {path}");
    Ok(())
}

/// What is recorded. It asks over the recorder as over any other client.
async fn program(lxd: &Client) -> Result<(), Error> {
    // From JSON, as other descriptions have another type for a configuration.
    let profile = r#"{"name": "recorded", "config": {"user.password": "a secret", "user.place": "here"}}"#;
    let profile: ProfilesPost = serde_json::from_str(profile).expect("a profile");
    lxd.create_profile(profile).await?;
    let source = InstanceSource { r#type: "image".into(), alias: "busybox".into(), ..Default::default() };
    let profiles = Some(vec!["default".into(), "recorded".into()]);
    let new = InstancesPost { name: "recorded".into(), source: Some(source), profiles, ..Default::default() };
    lxd.create_instance(new.clone()).await?;
    // The second one is refused.
    let refused = lxd.create_instance(new).await;
    assert!(refused.is_err(), "there cannot be two");
    let before = lxd.instance("recorded").await?;
    lxd.update_instance_state("recorded", change("start")).await?;
    let after = lxd.instance("recorded").await?;
    println!("it was {}, and is {}", before.status, after.status);

    let script = |script: &str| InstanceExecPost {
        command: ["sh", "-c", script].map(String::from).to_vec(),
        ..Default::default()
    };
    lxd.execute_in_instance("recorded", script("echo out; echo err >&2; exit 3")).output().await?;
    lxd.execute_in_instance("recorded", script("echo recorded")).record().await?;
    lxd.instance_files("recorded").path("/etc/passwd").await?.text().await?;

    lxd.update_instance_state("recorded", change("stop")).await?;
    lxd.delete_instance("recorded").await?;
    lxd.delete_profile("recorded").await?;
    let gone = lxd.instance("recorded").await;
    assert!(gone.is_err_and(|error| error.is_not_found()), "it is gone");
    Ok(())
}

fn change(action: &str) -> InstanceStatePut {
    InstanceStatePut { action: action.into(), timeout: 30, force: action == "stop", ..Default::default() }
}
