//! A server in a process of its own that answers with recorded bytes of LXD 5.0.2, as fast as it can,
//! so that the client is what is measured; or many of them, for a client of a fleet. What they answer is in
//! `serving`.

mod serving;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::certificates::{Authority, Certified, Valid};
use crate::tls;

/// The argument that makes the program a server: `replay SOCKET DELAY`, the delay in microseconds or
/// `never`.
const ONE: &str = "replay";

/// The argument that makes it many: `replay-fleet PORT COUNT`, for so many ports from that one on. The
/// certificate and its key come in.
const MANY: &str = "replay-fleet";

/// The first port of a fleet: those that the system gives out are higher, and one of them, as the port of a
/// client, could be connected to itself.
const FIRST_PORT: u16 = 20_000;

/// Serves, where this process was started for that. The `main` of what uses this calls it first.
///
/// # Panics
///
/// Where it cannot listen.
pub fn serve_if_told() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, argument, place, how] = arguments.as_slice() else { return };
    match argument.as_str() {
        ONE => {
            end_with_the_other_process();
            let delay = how.parse().ok().map(Duration::from_micros);
            runtime().block_on(serving::one(Path::new(place), delay));
        }
        MANY => {
            let lines = std::io::stdin().lines().map(|line| line.expect("a line"));
            let certified: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let certified = certified.join("\n");
            let certified = Certified { certificate: certified.clone(), key: certified };
            end_with_the_other_process();
            let first = place.parse().expect("a port");
            let ports = first..first + how.parse::<u16>().expect("a number");
            runtime().block_on(serving::many(ports, tls::server(&certified, &[&TLS13])));
        }
        _ => {}
    }
}

/// Ends this process when the one that has started it does, however that comes about.
fn end_with_the_other_process() {
    std::thread::spawn(|| {
        // It says no more until then.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

/// A runtime of one thread.
///
/// # Panics
///
/// Where the system has none.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The time, in nanoseconds.
///
/// # Panics
///
/// Before 1970.
pub fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_nanos()
}

/// A process that runs until this is dropped.
#[derive(Debug)]
struct Process {
    process: Child,
    said: BufReader<ChildStdout>,
    /// The process ends when this does.
    _input: ChildStdin,
}

impl Process {
    /// Starts this program as a server, gives it what it reads, and waits until it listens.
    fn start(arguments: [&str; 3], input: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut given = process.stdin.take().expect("its input");
        given.write_all(input.as_bytes()).expect("a process that reads");
        let said = BufReader::new(process.stdout.take().expect("its output"));
        let mut started = Self { process, said, _input: given };
        assert_eq!(started.line(), "listening");
        started
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The next line that it says.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// A server on a Unix socket.
///
/// It starts an operation for each POST and ends it when it is told to: at once, or all that are
/// pending by [`end_all`](Self::end_all). The event of the end holds the time at which it was written.
#[derive(Debug)]
pub struct Replay {
    _process: Process,
    socket: PathBuf,
}

impl Drop for Replay {
    fn drop(&mut self) {
        // The system clears the folder some day.
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Replay {
    /// Starts a server that ends operations after a delay, or when it is told to.
    ///
    /// # Panics
    ///
    /// Where it cannot be started.
    pub fn start(delay: Option<Duration>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let socket = std::env::temp_dir().join(format!("lxd-replay-{}-{count}", std::process::id()));
        let delay = delay.map_or("never".to_owned(), |delay| delay.as_micros().to_string());
        let process = Process::start([ONE, &socket.display().to_string(), &delay], "");
        Self { _process: process, socket }
    }

    /// The path of its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its endpoint.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Ends all operations that are pending.
    pub async fn end_all(&self) {
        self.ask("PUT /end").await;
    }

    /// How many requests it was sent, but for these here.
    ///
    /// # Panics
    ///
    /// Where the server has gone.
    pub async fn requests(&self) -> u64 {
        self.ask("GET /requests").await.parse().expect("a number")
    }

    /// How many connections there are to it, but for these here.
    ///
    /// # Panics
    ///
    /// Where the server has gone.
    pub async fn connections(&self) -> u64 {
        self.ask("GET /connections").await.parse().expect("a number")
    }

    async fn ask(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).await.expect("a server");
        stream.write_all(format!("{line} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.expect("a server");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer.rsplit("\r\n\r\n").next().unwrap_or_default().trim().to_owned()
    }
}

/// Many servers in one process, each on a port of its own, over TLS with one certificate.
#[derive(Debug)]
pub struct Fleet {
    process: Process,
    certified: Certified,
    count: u16,
}

impl Fleet {
    /// Starts so many servers.
    ///
    /// # Panics
    ///
    /// Where they cannot be started.
    pub fn start(count: u16) -> Self {
        let certified = Authority::new("a fleet").sign("a server", &["localhost"], Valid::Now);
        Self { process: Self::process(count, &certified), certified, count }
    }

    fn process(count: u16, certified: &Certified) -> Process {
        let lines =
            certified.certificate.lines().chain(certified.key.lines()).filter(|line| !line.is_empty());
        let input = lines.map(|line| format!("{line}\n")).collect::<String>() + "\n";
        Process::start([MANY, &FIRST_PORT.to_string(), &count.to_string()], &input)
    }

    /// Where the servers are.
    pub fn endpoints(&self) -> impl Iterator<Item = String> + use<> {
        (FIRST_PORT..FIRST_PORT + self.count).map(|port| format!("https://127.0.0.1:{port}"))
    }

    /// The certificate that all of them show, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certified.certificate
    }

    /// Waits until each of them has been asked for its events; when that was, since they listen.
    ///
    /// # Panics
    ///
    /// Where they have ended.
    pub fn listened_to(&mut self) -> Vec<Duration> {
        let micros = (0..self.count).map(|_| self.process.line().parse().expect("a number"));
        micros.map(Duration::from_micros).collect()
    }

    /// Ends all of them at once.
    pub fn end(&mut self) {
        self.process.end();
    }

    /// Starts all of them again.
    ///
    /// # Panics
    ///
    /// Where they cannot be started.
    pub fn start_again(&mut self) {
        self.process = Self::process(self.count, &self.certified);
    }
}
