//! A shell in an instance, in the terminal of this program:
//!
//! ```sh
//! cargo run -p lxd-client --example shell -- INSTANCE [COMMAND…]
//! ```
//!
//! The instance is in the project that `$LXD_PROJECT` names. All keys go to it, Ctrl-C too. The window may change its size. However the shell ends, the
//! terminal is as it was before; the exit code is that of the command.

use std::error::Error;
use std::io::{IsTerminal, Read, Write};

use lxd_client::types::InstanceExecPost;
use lxd_client::{Client, Exec, ExecReader, ExecWriter};
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() {
    let code = run().await.unwrap_or_else(|error| {
        eprintln!("shell: {error}");
        1
    });
    // Not by returning: a thread still reads from the terminal, which nothing can interrupt.
    std::process::exit(i32::try_from(code).unwrap_or(1))
}

async fn run() -> Result<i64> {
    let mut arguments = std::env::args().skip(1);
    let instance = arguments.next().ok_or("usage: shell INSTANCE [COMMAND…]")?;
    let mut command: Vec<String> = arguments.collect();
    if command.is_empty() {
        command.push("sh".into());
    }
    if !std::io::stdin().is_terminal() {
        return Err("this is for a terminal".into());
    }
    let size = tcgetwinsize(stdin())?;
    let terminal = std::env::var("TERM").unwrap_or_else(|_| "dumb".into());
    let environment = [("TERM".into(), terminal)].into();
    let (width, height) = (size.ws_col.into(), size.ws_row.into());
    let post =
        InstanceExecPost { command, environment, interactive: true, width, height, ..Default::default() };
    let project = std::env::var("LXD_PROJECT").unwrap_or_else(|_| "default".into());
    let lxd = Client::builder().project(project).build()?;
    let mut exec = lxd.execute_in_instance(&instance, post).spawn().await?;

    // From here on until it is dropped, whether by an error, a panic or the end.
    let raw = RawTerminal::enter()?;
    let code = converse(&mut exec).await;
    drop(raw);
    code
}

/// The terminal, while it passes on each key as it is.
struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    fn enter() -> Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Nothing can be done for a terminal that is gone.
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.before);
    }
}

/// Passes on what is typed and shown, until the command ends or this program is told to.
async fn converse(exec: &mut Exec) -> Result<i64> {
    let (Some(input), Some(output)) = (exec.stdin.take(), exec.stdout.take()) else {
        return Err("the command has no terminal".into());
    };
    tokio::spawn(pass_on(input));
    let mut resized = signal(SignalKind::window_change())?;
    let (mut ended, mut hung_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let mut shown = std::pin::pin!(show(output));
    loop {
        tokio::select! {
            shown = &mut shown => {
                shown?;
                return Ok(exec.wait().await?);
            }
            _ = resized.recv() => {
                let size = tcgetwinsize(stdin())?;
                exec.resize(size.ws_col, size.ws_row).await?;
            }
            // To drop the command ends it.
            _ = ended.recv() => return Err("terminated".into()),
            _ = hung_up.recv() => return Err("the terminal is gone".into()),
        }
    }
}

/// What is typed goes to the command. A thread of its own reads it, as that cannot be interrupted.
async fn pass_on(mut input: ExecWriter) -> std::io::Result<()> {
    let (sender, mut typed) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = std::io::stdin().read(&mut buffer) {
            if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    while let Some(keys) = typed.recv().await {
        input.write_all(&keys).await?;
        input.flush().await?;
    }
    input.shutdown().await
}

/// What the command writes is shown.
async fn show(mut output: ExecReader) -> std::io::Result<()> {
    let mut buffer = vec![0; 32 << 10];
    loop {
        let count = output.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let mut terminal = std::io::stdout().lock();
        terminal.write_all(&buffer[..count])?;
        terminal.flush()?;
    }
}
