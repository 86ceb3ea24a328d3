//! Commands in containers of a real LXD, in the three ways to run them.

use std::time::Duration;

use lxd_client::types::InstanceExecPost;
use lxd_client::{Client, Error, Exec, ExecOutput};
use lxd_tests::real::{Place, with_project};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// More than anything here takes.
const LONG: Duration = Duration::from_secs(20);

fn command(command: &[&str]) -> InstanceExecPost {
    let command = command.iter().map(|part| (*part).to_owned()).collect();
    let environment = [("PATH".to_owned(), "/bin".to_owned())].into();
    InstanceExecPost { command, environment, ..Default::default() }
}

fn shell(script: &str) -> InstanceExecPost {
    command(&["sh", "-c", script])
}

async fn output(lxd: &Client, post: InstanceExecPost) -> Result<ExecOutput, Error> {
    lxd.execute_in_instance("c1", post).output().await
}

async fn spawn(lxd: &Client, post: InstanceExecPost) -> Result<Exec, Error> {
    lxd.execute_in_instance("c1", post).spawn().await
}

/// Runs a test with a container `c1` that runs.
async fn with_container<F>(body: impl FnOnce(Client) -> F + Send + 'static)
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    with_project(|place: Place| async move {
        place.running_container("c1").await?;
        body(place.lxd.clone()).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_gives_its_exit_code_and_all_that_it_wrote() {
    with_container(|lxd| async move {
        for (script, status) in [
            ("true", 0),
            ("exit 3", 3),
            ("/no/such/command", 127),
            ("touch /x; chmod 644 /x; /x", 126),
            ("kill -9 $$", 137),
            ("kill -15 $$", 143),
        ] {
            for recorded in [false, true] {
                let call = lxd.execute_in_instance("c1", shell(script));
                let ended = if recorded { call.record().await? } else { call.output().await? };
                assert_eq!(ended.status, status, "{script}: {ended:?}");
            }
        }
        // All bytes there are, and each stream for itself.
        let script =
            "i=0; while [ $i -lt 256 ]; do printf \"\\\\$(printf %o $i)\"; i=$((i+1)); done; printf err >&2";
        let all: Vec<u8> = (0..=255).collect();
        for ended in
            [output(&lxd, shell(script)).await?, lxd.execute_in_instance("c1", shell(script)).record().await?]
        {
            assert_eq!((ended.status, ended.stdout.as_slice()), (0, all.as_slice()));
            assert_eq!(ended.stderr, b"err");
        }
        // Nothing is left of what was recorded.
        assert_eq!(lxd.instance_logs("c1").await?.iter().filter(|url| url.contains("exec_")).count(), 0);

        // Much of it, and of both at the same time.
        let script = "head -c 3000000 /dev/zero | tr '\\0' a; head -c 3000000 /dev/zero | tr '\\0' b >&2";
        let ended = output(&lxd, shell(script)).await?;
        assert!(ended.stdout == vec![b'a'; 3_000_000] && ended.stderr == vec![b'b'; 3_000_000]);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_run_is_told() {
    with_container(|lxd| async move {
        output(&lxd, shell("touch /y")).await?;
        for (name, status) in [("no-such-command", 127), ("/y", 126)] {
            let call = || lxd.execute_in_instance("c1", command(&[name]));
            for ended in [call().output().await?, call().record().await?] {
                assert_eq!(ended, ExecOutput { status, ..Default::default() });
                assert_eq!(ended.is_command_not_found(), status == 127);
            }
            assert_eq!(call().spawn().await?.wait().await?, status);
            // Who only awaits it gets no code that could be overlooked.
            let error = call().await.unwrap_err();
            assert!(matches!(error, Error::Operation { .. }), "{error:?}");
        }
        // What it wrote before is not lost.
        let ended = output(&lxd, shell("echo one; no-such-command 2> /dev/null")).await?;
        assert_eq!((ended.status, ended.stdout.as_slice()), (127, &b"one\n"[..]));
        let error = lxd.execute_in_instance("none", command(&["true"])).output().await.unwrap_err();
        assert!(error.is_not_found(), "{error:?}");
        let terminal = || InstanceExecPost { interactive: true, ..command(&["true"]) };
        let error = output(&lxd, terminal()).await.unwrap_err();
        assert!(
            matches!(error, Error::Argument { .. }) && error.to_string().contains("`spawn`"),
            "{error:?}"
        );
        let error = lxd.execute_in_instance("c1", terminal()).record().await.unwrap_err();
        assert!(matches!(error, Error::Argument { .. }), "{error:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_comes_back_exactly() {
    with_container(|lxd| async move {
        let mut exec = spawn(&lxd, command(&["cat"])).await?;
        let (mut input, mut output) = (exec.stdin.take().unwrap(), exec.stdout.take().unwrap());
        let many: Vec<u8> = (0..16_u32 << 20).map(|each| (each ^ (each >> 7)).to_le_bytes()[0]).collect();
        let sent = many.clone();
        let writing = tokio::spawn(async move {
            input.write_all(&sent).await?;
            input.shutdown().await
        });
        let mut read = Vec::new();
        output.read_to_end(&mut read).await.expect("the output");
        writing.await.unwrap().expect("the input");
        assert!(read == many, "{} bytes", read.len());
        assert_eq!(exec.wait().await?, 0);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_holds_up_no_other_and_loses_nothing() {
    with_container(|lxd| async move {
        // Eight times what is on its way at most.
        let script =
            "head -c 8000000 /dev/zero | tr '\\0' a & head -c 8000000 /dev/zero | tr '\\0' b >&2; wait";
        let mut exec = spawn(&lxd, shell(script)).await?;
        let (mut output, mut errors) = (exec.stdout.take().unwrap(), exec.stderr.take().unwrap());
        let mut first = [0; 10];
        output.read_exact(&mut first).await.expect("the output");
        // Not to its end, which is that of the command.
        let mut read = vec![0; 8_000_000];
        errors.read_exact(&mut read).await.expect("the errors");
        assert!(read == vec![b'b'; 8_000_000]);
        read.clear();
        output.read_to_end(&mut read).await.expect("the output");
        assert!(read == vec![b'a'; 8_000_000 - 10], "{}", read.len());
        assert_eq!(exec.wait().await?, 0);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_nobody_wants_hold_nothing_up() {
    with_container(|lxd| async move {
        let script = "head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2; cat > /dev/null; exit 4";
        let mut exec = spawn(&lxd, shell(script)).await?;
        assert_eq!(exec.wait().await?, 4);
        let mut exec = spawn(&lxd, shell(script)).await?;
        drop((exec.stdout.take(), exec.stdin.take()));
        let mut errors = Vec::new();
        exec.stderr.take().unwrap().read_to_end(&mut errors).await.expect("the errors");
        assert_eq!((errors.len(), exec.wait().await?), (5_000_000, 4));
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_ended_by_a_signal_or_by_nobody_being_there() {
    with_container(|lxd| async move {
        let mut exec =
            spawn(&lxd, shell("trap 'echo got it; exit 5' USR1; echo ready; while :; do sleep 0.1; done"))
                .await?;
        let mut output = exec.stdout.take().unwrap();
        let mut ready = [0; 6];
        output.read_exact(&mut ready).await.expect("the output");
        assert_eq!(&ready, b"ready\n");
        exec.signal(10).await?;
        let mut rest = String::new();
        output.read_to_string(&mut rest).await.expect("the output");
        assert_eq!((exec.wait().await?, rest.as_str()), (5, "got it\n"));
        let error = exec.signal(15).await.unwrap_err();
        assert!(error.to_string().contains("has it ended?"), "{error}");

        let mut exec = spawn(&lxd, command(&["sleep", "1000"])).await?;
        exec.signal(15).await?;
        assert_eq!(exec.wait().await?, 143);

        let exec = spawn(&lxd, command(&["sleep", "1000"])).await?;
        let operation = exec.operation().clone();
        drop(exec);
        let ended = tokio::time::timeout(LONG, operation.wait()).await.expect("its end")?;
        assert_eq!(ended.r#return, 137);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_one() {
    with_container(|lxd| async move {
        let post = InstanceExecPost { interactive: true, width: 80, height: 25, ..command(&["sh"]) };
        let mut exec = spawn(&lxd, post).await?;
        assert!(exec.stderr.is_none());
        let (mut input, mut output) = (exec.stdin.take().unwrap(), exec.stdout.take().unwrap());
        let mut told = String::new();
        let mut until = async |words: &str| {
            let mut buffer = [0; 1000];
            while !told.contains(words) {
                let read = tokio::time::timeout(LONG, output.read(&mut buffer)).await;
                let count = read.unwrap_or_else(|_| panic!("no {words:?} in {told:?}")).expect("the output");
                assert!(count > 0, "{told}");
                told += &String::from_utf8_lossy(&buffer[..count]);
            }
            let (_, rest) = told.split_once(words).expect("the words");
            told = rest.to_owned();
        };
        input.write_all(b"stty size; tty\n").await.unwrap();
        until("25 80").await;
        until("/dev/").await;
        exec.resize(100, 50).await?;
        input.write_all(b"stty size\n").await.unwrap();
        until("50 100").await;
        // Ctrl-C ends what runs in the terminal, and not the shell.
        input.write_all(b"sh -c \"echo be''gun; exec sleep 1000\"\n").await.unwrap();
        until("begun").await;
        input.write_all(b"\x03").await.unwrap();
        until("# ").await;
        input.write_all(b"echo al''ive\n").await.unwrap();
        until("alive").await;
        // Ctrl-D ends the shell, where it waits for what is typed next.
        input.write_all(b"(exit 7)\n").await.unwrap();
        until("(exit 7)").await;
        until("# ").await;
        input.shutdown().await.unwrap();
        let mut rest = Vec::new();
        tokio::time::timeout(LONG, output.read_to_end(&mut rest))
            .await
            .expect("in time")
            .expect("the output");
        assert_eq!(tokio::time::timeout(LONG, exec.wait()).await.expect("in time")?, 7);
        Ok(())
    })
    .await;
}
