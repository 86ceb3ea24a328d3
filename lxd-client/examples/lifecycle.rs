//! The life of a container: created, started, used, snapshotted, stopped and deleted.
//!
//! ```text
//! tests/with-lxd cargo run -p lxd-client --example lifecycle
//! ```
//!
//! It wants an image with the alias `busybox`, or the one whose alias is given as an argument.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use futures_util::StreamExt;
use lxd_client::types::{
    InstanceExecPost, InstanceSnapshotsPost, InstanceSource, InstanceStatePut, InstancesPost,
};
use lxd_client::{Client, Error, Operation};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let image = std::env::args().nth(1).unwrap_or_else(|| "busybox".to_owned());
    let lxd = Client::builder().build()?;
    let name = format!("lifecycle-{}", std::process::id());
    let outcome = lifecycle(&lxd, &name, &image).await;
    if outcome.is_err() {
        // Leave nothing behind; what went wrong is told all the same.
        let _ = lxd.update_instance_state(&name, change("stop", true)).await;
        let _ = lxd.delete_instance(&name).await;
    }
    outcome
}

async fn lifecycle(lxd: &Client, name: &str, image: &str) -> Result<(), Error> {
    let server = lxd.server().await?;
    let environment = server.environment.unwrap_or_default();
    println!("server   {} {}", environment.server, environment.server_version);

    let source = InstanceSource { r#type: "image".into(), alias: image.into(), ..Default::default() };
    let create =
        lxd.create_instance(InstancesPost { name: name.into(), source: Some(source), ..Default::default() });
    finish("create", create.start().await?).await?;
    finish("start", lxd.update_instance_state(name, change("start", false)).start().await?).await?;

    let state = lxd.instance_state(name).await?;
    println!("state    {name} is {} with {} processes", state.status, state.processes);

    let command = ["sh", "-c", "uname -sm > /root/system; exit 3"];
    let executed = lxd
        .execute_in_instance(
            name,
            InstanceExecPost { command: command.map(String::from).to_vec(), ..Default::default() },
        )
        .await?;
    println!("execute  `{}` returned {}", command.join(" "), executed.r#return);

    let file = lxd.instance_files(name).path("/root/system").await?;
    let mode = file.header("x-lxd-mode").unwrap_or("unknown").to_owned();
    println!("file     /root/system (mode {mode}) holds `{}`", file.text().await?.trim());

    let snapshot = InstanceSnapshotsPost { name: "first".into(), ..Default::default() };
    finish("snapshot", lxd.create_instance_snapshot(name, snapshot).start().await?).await?;
    for snapshot in lxd.instance_snapshots_recursion1(name).await? {
        println!("         {} of {:?}", snapshot.name, snapshot.created_at);
    }

    finish("stop", lxd.update_instance_state(name, change("stop", true)).start().await?).await?;
    finish("delete", lxd.delete_instance(name).start().await?).await?;
    match lxd.instance(name).await {
        Err(error) if error.is_not_found() => println!("gone     {name}"),
        other => println!("still there: {other:?}"),
    }
    Ok(())
}

fn change(action: &str, force: bool) -> InstanceStatePut {
    InstanceStatePut { action: action.into(), timeout: 30, force, ..Default::default() }
}

/// Waits for an operation and shows how far it is.
async fn finish(what: &str, operation: Operation) -> Result<(), Error> {
    let began = Instant::now();
    let mut progress = operation.progress();
    while let Some(progress) = progress.next().await {
        if std::io::stdout().is_terminal() {
            print!("\r{what:<8} {}\x1b[K", progress.text);
            // To show it is all this is for; how the operation ends is told below.
            let _ = std::io::stdout().flush();
        }
    }
    operation.wait().await?;
    let clear = if std::io::stdout().is_terminal() { "\r\x1b[K" } else { "" };
    println!("{clear}{what:<8} done in {:.2} s", began.elapsed().as_secs_f32());
    Ok(())
}
