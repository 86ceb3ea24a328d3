//! What it costs to run commands in a container of a real LXD: time in all, processor time of this process
//! and memory. Run with
//!
//! ```text
//! tests/with-lxd cargo bench -p lxd-tests --bench exec
//! ```

use std::time::Instant;

use lxd_client::types::InstanceExecPost;
use lxd_client::{Client, Error};
use lxd_tests::measure::{forget_peak, peak_memory, processor_time, show};
use lxd_tests::real::with_project;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(with_project(|place| async move {
        place.running_container("c1").await?;
        short(&place.lxd).await?;
        through_cat(&place.lxd).await
    }));
}

fn command(name: &str) -> InstanceExecPost {
    InstanceExecPost { command: vec![name.to_owned()], ..Default::default() }
}

/// The command `true`, one after the other.
async fn short(lxd: &Client) -> Result<(), Error> {
    const TIMES: usize = 50;
    let [mut wall, mut cpu] = [const { Vec::new() }; 2];
    lxd.execute_in_instance("c1", command("true")).output().await?;
    for _ in 0..8 {
        let used = processor_time();
        for _ in 0..TIMES {
            let begun = Instant::now();
            lxd.execute_in_instance("c1", command("true")).output().await?;
            wall.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        cpu.push((processor_time() - used).as_secs_f64() * 1000.0 / TIMES as f64);
    }
    show("exec of `true`, time in all", wall, "ms");
    show("exec of `true`, CPU of the client", cpu, "ms");
    Ok(())
}

/// A gibibyte to `cat` and back.
async fn through_cat(lxd: &Client) -> Result<(), Error> {
    const PIECE: usize = 64 << 10;
    const PIECES: usize = (1 << 30) / PIECE;
    let mut exec = lxd.execute_in_instance("c1", command("cat")).spawn().await?;
    let (mut input, mut output) = (exec.stdin.take().expect("input"), exec.stdout.take().expect("output"));
    let (before, begun, used) = (forget_peak(), Instant::now(), processor_time());
    let writing = tokio::spawn(async move {
        let piece = vec![7; PIECE];
        for _ in 0..PIECES {
            input.write_all(&piece).await?;
        }
        input.shutdown().await
    });
    let (mut buffer, mut read) = (vec![0; PIECE], 0);
    loop {
        let count = output.read(&mut buffer).await.expect("the output");
        if count == 0 {
            break;
        }
        read += count;
    }
    writing.await.expect("no panic").expect("the input");
    assert_eq!(read, PIECES * PIECE);
    assert_eq!(exec.wait().await?, 0);
    println!(
        "1 GiB through `cat`: time in all                                {:>9.2} s",
        begun.elapsed().as_secs_f64()
    );
    println!(
        "1 GiB through `cat`: CPU of the client                          {:>9.2} s",
        (processor_time() - used).as_secs_f64()
    );
    println!(
        "1 GiB through `cat`: memory beside that before                  {:>9} KiB",
        peak_memory() - before
    );
    Ok(())
}
