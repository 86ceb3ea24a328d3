//! The example `shell`, in a terminal of its own, with a container of a real LXD.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use lxd_client::Error;
use lxd_tests::example;
use lxd_tests::real::{Place, with_project};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

/// More than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// A terminal in which the example runs.
struct Terminal {
    master: File,
    /// Also the side of the example, for the terminal's state to last.
    own: File,
    child: Child,
    told: Receiver<Vec<u8>>,
    text: String,
}

impl Terminal {
    fn start(place: &Place, size: (u16, u16)) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("a terminal");
        let path = ptsname(&master, Vec::new()).expect("its path");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = || -> OwnedFd {
            rustix::fs::open(path.as_c_str(), flags, Mode::empty()).expect("its other side")
        };
        let mut terminal = Command::new("setsid");
        // The terminal's signals reach only whom it controls.
        terminal.args(["--ctty", "--wait"]).arg(example("shell")).arg("c1");
        terminal.env("LXD_PROJECT", &place.name);
        resize(&master, size);
        let child =
            terminal.stdin(Stdio::from(open())).stdout(Stdio::from(open())).stderr(Stdio::from(open()));
        let child = child.spawn().expect("setsid");
        let (sender, told) = channel();
        let master = File::from(master);
        let mut reading = master.try_clone().expect("the terminal");
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reading.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { master, own: File::from(open()), child, told, text: String::new() }
    }

    fn write(&mut self, keys: &[u8]) {
        self.master.write_all(keys).expect("the terminal");
    }

    /// Waits for words, and goes on behind them.
    fn until(&mut self, words: &str) {
        let deadline = Instant::now() + LONG;
        loop {
            if let Some((_, rest)) = self.text.split_once(words) {
                self.text = rest.to_owned();
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let more = self.told.recv_timeout(left);
            let more = more.unwrap_or_else(|_| panic!("no {words:?} in {:?}", self.text));
            self.text += &String::from_utf8_lossy(&more);
        }
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().expect("its end").code()
    }

    /// What the terminal does with keys and letters.
    fn state(&self) -> String {
        format!("{:?}", tcgetattr(&self.own).expect("its state"))
    }
}

fn resize(terminal: &impl std::os::fd::AsFd, (columns, rows): (u16, u16)) {
    let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("a size");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_is_at_home_in_the_terminal_and_leaves_it_as_it_was() {
    with_project(|place| async move {
        place.running_container("c1").await?;
        let shell = tokio::task::spawn_blocking(move || {
            use_a_shell(&place);
            end_a_shell(&place);
        });
        shell.await.expect("no panic");
        Ok::<_, Error>(())
    })
    .await;
}

fn use_a_shell(place: &Place) {
    let mut terminal = Terminal::start(place, (80, 25));
    terminal.until("# ");
    let raw = terminal.state();
    terminal.write(b"stty size\r");
    terminal.until("25 80");
    resize(&terminal.master, (100, 50));
    // It takes a moment until it is there.
    terminal.write(b"until [ \"$(stty size)\" = '50 100' ]; do sleep 0.1; done; echo as lar''ge\r");
    terminal.until("as large");
    terminal.write(b"sh -c \"echo be''gun; exec sleep 1000\"\r");
    terminal.until("begun");
    terminal.write(b"\x03");
    terminal.until("# ");
    terminal.write(b"echo al''ive\r");
    terminal.until("alive");
    terminal.write(b"exit 3\r");
    assert_eq!(terminal.exit_code(), Some(3), "{}", terminal.text);
    let after = terminal.state();
    assert!(after != raw && after.contains("ECHO") && after.contains("ICANON"), "{after}");
}

/// Somebody else ends it.
fn end_a_shell(place: &Place) {
    let mut terminal = Terminal::start(place, (80, 25));
    terminal.until("# ");
    let raw = terminal.state();
    // `setsid` has one child, the example.
    let parent = terminal.child.id();
    let children =
        std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let pid: i32 = match children.trim().parse() {
        Ok(child) => child,
        // It is the example itself, where it had no need to fork.
        Err(_) => i32::try_from(parent).expect("a pid"),
    };
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::TERM).expect("a signal");
    assert_eq!(terminal.exit_code(), Some(1), "{}", terminal.text);
    terminal.until("terminated");
    let after = terminal.state();
    assert!(after != raw && after.contains("ICANON"), "{after}");
}
