//! Commands in instances: what goes over their streams, and what the ends of those mean.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lxd_client::types::InstanceExecPost;
use lxd_client::{Error, Exec, ExecOutput, Watcher};
use lxd_tests::fake_server::{Answer, FakeServer, Request, UUID, operation};
use lxd_tests::websocket::{BINARY, PING, PONG, TEXT, agree, frame, read_frame};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinHandle;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A server that runs a command, of which the test plays the part.
struct Server {
    fake: FakeServer,
    /// The operation as it is told from now on.
    state: Arc<Mutex<String>>,
    streams: BTreeMap<String, Box<dyn Duplex>>,
}

const RUNNING: &str = r#"{"fds":{"0":"s0","1":"s1","2":"s2","control":"sc"}}"#;

impl Server {
    fn new() -> Self {
        let state = Arc::new(Mutex::new(operation("websocket", "Running", 103, RUNNING, "")));
        let told = Arc::clone(&state);
        let fake = FakeServer::with(move |request: &Request| match request.method.as_str() {
            "POST" => Answer::background(&told.lock().unwrap()),
            "DELETE" => Answer::sync("{}"),
            _ if request.target.contains("/websocket") => agree(request),
            _ if request.target.contains("/logs/") => Answer::raw(200, &[], request.target.clone()),
            _ => Answer::sync(&told.lock().unwrap()),
        });
        Self { fake, state, streams: BTreeMap::new() }
    }

    /// The operation ends so.
    fn end(&self, status: &str, code: u16, metadata: &str, err: &str) {
        *self.state.lock().unwrap() = operation("websocket", status, code, metadata, err);
    }

    fn call(
        &self,
        post: InstanceExecPost,
    ) -> lxd_client::Call<lxd_client::types::ExecResult, lxd_client::parameters::Project> {
        let builder = self.fake.builder().watcher(Watcher::Polling(Duration::from_millis(5))).project("p");
        builder.build().unwrap().execute_in_instance("t1", post)
    }

    fn output(&self) -> JoinHandle<Result<ExecOutput, Error>> {
        tokio::spawn(self.call(InstanceExecPost::default()).output())
    }

    async fn spawn(&mut self, interactive: bool) -> Exec {
        let exec = tokio::spawn(self.call(InstanceExecPost { interactive, ..Default::default() }).spawn());
        self.connect(if interactive { 2 } else { 4 }).await;
        exec.await.unwrap().unwrap()
    }

    /// Waits for so many streams.
    async fn connect(&mut self, count: usize) {
        while self.streams.len() < count {
            let (target, stream) = self.fake.stream_with_target().await;
            let path = format!("/1.0/operations/{UUID}/websocket?secret=");
            let secret = target.strip_prefix(&path).expect("a websocket").to_owned();
            self.streams.insert(secret, Box::new(stream));
        }
    }

    fn stream(&mut self, secret: &str) -> &mut Box<dyn Duplex> {
        self.streams.get_mut(secret).expect("a stream")
    }

    async fn write(&mut self, secret: &str, frames: &[Vec<u8>]) {
        self.stream(secret).write_all(&frames.concat()).await.unwrap();
    }

    async fn read(&mut self, secret: &str) -> (u8, Vec<u8>) {
        read_frame(self.stream(secret)).await
    }

    /// Ends the connection of a stream without a word, as the server does.
    fn cut(&mut self, secret: &str) {
        drop(self.streams.remove(secret).expect("a stream"));
    }

    fn sent(&self) -> Value {
        serde_json::from_slice(&self.fake.requests()[0].body).unwrap()
    }
}

fn closing() -> Vec<u8> {
    frame(TEXT, b"")
}

#[tokio::test]
async fn the_output_of_a_command_ends_with_an_empty_text() {
    let mut server = Server::new();
    let output = server.output();
    server.connect(3).await;
    assert_eq!(server.streams.keys().collect::<Vec<_>>(), ["s0", "s1", "s2"]);
    let sent = server.sent();
    let flags = ["wait-for-websocket", "record-output", "interactive"].map(|name| sent[name].clone());
    assert_eq!(flags, [json!(true), json!(false), json!(false)]);
    // There is no input.
    assert_eq!(server.read("s0").await, (TEXT, Vec::new()));
    server
        .write("s1", &[frame(BINARY, b"one "), frame(PING, b"?"), frame(BINARY, b"\0\xfftwo"), closing()])
        .await;
    assert_eq!(server.read("s1").await, (PONG, b"?".to_vec()));
    server.write("s2", &[frame(BINARY, b"err"), closing()]).await;
    // An end without a word is clean after that.
    for stream in ["s1", "s2", "s0"] {
        server.cut(stream);
    }
    server.end("Success", 200, r#"{"return":3}"#, "");
    let ended = output.await.unwrap().unwrap();
    assert_eq!(ended, ExecOutput { status: 3, stdout: b"one \0\xfftwo".to_vec(), stderr: b"err".to_vec() });
}

#[tokio::test]
async fn output_can_be_on_its_way_when_the_operation_has_ended() {
    let mut server = Server::new();
    let output = server.output();
    server.connect(3).await;
    server.end("Success", 200, r#"{"return":0}"#, "");
    server.write("s2", &[closing()]).await;
    server.write("s1", &[frame(BINARY, b"late"), closing()]).await;
    server.cut("s0");
    assert_eq!(output.await.unwrap().unwrap().stdout, b"late");
}

#[tokio::test]
async fn output_that_breaks_off_is_an_error_unless_the_command_was_never_run() {
    // Of a command that ran, something is missing.
    let mut server = Server::new();
    let output = server.output();
    server.connect(3).await;
    server.write("s1", &[frame(BINARY, b"half")]).await;
    server.end("Success", 200, r#"{"return":0}"#, "");
    server.streams.clear();
    let error = output.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert!(error.to_string().contains("broke off"), "{error}");

    for (code, err) in [(127, "Command not found"), (126, "Command not executable")] {
        let mut server = Server::new();
        let output = server.output();
        server.connect(3).await;
        server.end("Failure", 400, &format!(r#"{{"return":{code}}}"#), err);
        server.streams.clear();
        let ended = output.await.unwrap().unwrap();
        assert_eq!((ended.status, ended.is_command_not_found()), (code, code == 127));
    }
    // What had come before is not the whole of it, whatever the shell said in the end.
    let mut server = Server::new();
    let output = server.output();
    server.connect(3).await;
    server.write("s1", &[frame(BINARY, b"half")]).await;
    server.end("Failure", 400, r#"{"return":127}"#, "Command not found");
    server.streams.clear();
    let error = output.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");

    let mut server = Server::new();
    let output = server.output();
    server.connect(3).await;
    server.end("Failure", 400, "null", "Instance is not running");
    server.streams.clear();
    let error = output.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, Error::Operation { message, .. } if message == "Instance is not running"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_command_is_fed_and_controlled() {
    let mut server = Server::new();
    let mut exec = server.spawn(false).await;
    assert_eq!(server.sent()["interactive"], false);
    let mut input = exec.stdin.take().unwrap();
    input.write_all(b"to the command").await.unwrap();
    assert_eq!(server.read("s0").await, (BINARY, b"to the command".to_vec()));
    // Large pieces are several messages, none of them a text.
    let many = vec![7; 100_000];
    let writing = tokio::spawn(async move {
        input.write_all(&many).await.unwrap();
        input.shutdown().await.unwrap();
        input
    });
    let mut read = 0;
    let end = loop {
        let (kind, bytes) = server.read("s0").await;
        if kind != BINARY {
            break (kind, bytes);
        }
        read += bytes.len();
    };
    assert_eq!((read, end), (100_000, (TEXT, Vec::new())));
    let mut input = writing.await.unwrap();
    assert!(input.write_all(b"more").await.is_err());

    exec.signal(15).await.unwrap();
    exec.resize(100, 50).await.unwrap();
    let expected = [
        json!({"command": "signal", "signal": 15}),
        json!({"command": "window-resize", "args": {"width": "100", "height": "50"}}),
    ];
    for expected in expected {
        let (kind, bytes) = server.read("sc").await;
        assert_eq!((kind, serde_json::from_slice::<Value>(&bytes).unwrap()), (TEXT, expected));
    }
    server.write("s0", &[frame(PING, b"!")]).await;
    assert_eq!(server.read("s0").await, (PONG, b"!".to_vec()));
    server.write("sc", &[frame(PING, b"!")]).await;
    assert_eq!(server.read("sc").await, (PONG, b"!".to_vec()));

    // A stream that is not wanted is read all the same; one that is given up has its end.
    drop(exec.stderr.take());
    server.write("s2", &[frame(BINARY, &vec![0; 1 << 20]), frame(PING, b"2")]).await;
    assert_eq!(server.read("s2").await, (PONG, b"2".to_vec()));
    server.write("s1", &[frame(BINARY, b"out"), closing()]).await;
    let mut output = String::new();
    exec.stdout.take().unwrap().read_to_string(&mut output).await.unwrap();
    assert_eq!(output, "out");
    server.end("Success", 200, r#"{"return":143}"#, "");
    assert_eq!(exec.wait().await.unwrap(), 143);
    // Nobody is left to control it.
    drop(exec);
    assert_eq!(server.stream("sc").read(&mut [0; 100]).await.unwrap_or_default(), 0);
}

#[tokio::test]
async fn a_terminal_is_one_stream_that_no_empty_text_ends() {
    let mut server = Server::new();
    let mut exec = server.spawn(true).await;
    assert_eq!(server.sent()["interactive"], true);
    assert_eq!(server.streams.keys().collect::<Vec<_>>(), ["s0", "sc"]);
    assert!(exec.stderr.is_none());
    let (mut input, mut output) = (exec.stdin.take().unwrap(), exec.stdout.take().unwrap());
    input.write_all(b"ls\r").await.unwrap();
    assert_eq!(server.read("s0").await, (BINARY, b"ls\r".to_vec()));
    server.write("s0", &[frame(BINARY, b"a b\r\n")]).await;
    let mut read = [0; 5];
    output.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"a b\r\n");
    // Ctrl-D.
    drop(input);
    assert_eq!(server.read("s0").await, (BINARY, b"\x04".to_vec()));
    server.write("s0", &[closing()]).await;
    assert_eq!(output.read(&mut read).await.unwrap(), 0);
    // The server waits for that.
    assert_eq!(server.stream("s0").read(&mut [0; 100]).await.unwrap_or_default(), 0);
    server.end("Success", 200, r#"{"return":0}"#, "");
    assert_eq!(exec.wait().await.unwrap(), 0);
}

#[tokio::test]
async fn recorded_output_is_fetched_from_where_it_is_and_deleted() {
    let metadata = r#"{"return":3,"output":{"1":"/1.0/instances/t1/logs/exec_a.stdout","2":"/1.0/instances/t1/logs/exec-output/exec_a.stderr"}}"#;
    let server = Server::new();
    server.end("Success", 200, metadata, "");
    let ended = server.call(InstanceExecPost::default()).record().await.unwrap();
    let out = "/1.0/instances/t1/logs/exec_a.stdout?project=p";
    let err = "/1.0/instances/t1/logs/exec-output/exec_a.stderr?project=p";
    assert_eq!(ended, ExecOutput { status: 3, stdout: out.into(), stderr: err.into() });
    let sent = server.sent();
    assert_eq!((&sent["record-output"], &sent["wait-for-websocket"]), (&json!(true), &json!(false)));
    let (get, delete) =
        ([out, err].map(|url| format!("GET {url}")), [out, err].map(|url| format!("DELETE {url}")));
    // Nothing is deleted before all is here.
    let expected = ["POST /1.0/instances/t1/exec?project=p".to_owned()].into_iter().chain(get).chain(delete);
    let lines = server.fake.lines();
    let lines: Vec<_> =
        lines.into_iter().filter(|line| !line.contains("/operations/") && line != "GET /1.0").collect();
    assert_eq!(lines, expected.collect::<Vec<_>>());

    // In the project of the call, where that is another one.
    let server = Server::new();
    server.end("Success", 200, metadata, "");
    server.call(InstanceExecPost::default()).project("q").record().await.unwrap();
    let lines = server.fake.lines();
    let logs: Vec<_> = lines.iter().filter(|line| line.contains("/logs/")).collect();
    assert!(logs.len() == 4 && logs.iter().all(|line| line.ends_with("?project=q")), "{logs:?}");

    // What is no place of the server's is not asked for.
    let server = Server::new();
    server.end("Success", 200, r#"{"return":0,"output":{"1":"//elsewhere/x"}}"#, "");
    let error = server.call(InstanceExecPost::default()).record().await.unwrap_err();
    assert!(matches!(error, Error::Decode { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_without_streams_is_told() {
    let server = Server::new();
    server.end("Running", 103, r#"{"fds":{"0":"s0"}}"#, "");
    let error = server.output().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Decode { .. }), "{error:?}");
    assert!(error.to_string().contains("no stream `1`"), "{error}");
}

#[tokio::test]
async fn output_that_nobody_waits_for_is_given_up() {
    let mut server = Server::new();
    let output = server.output();
    server.connect(3).await;
    output.abort();
    assert!(output.await.unwrap_err().is_cancelled());
    for stream in ["s1", "s2", "s0"] {
        let mut rest = Vec::new();
        // The end of the input may be there still, and the end comes in whichever way.
        let _ended = server.stream(stream).read_to_end(&mut rest).await;
    }
}

#[tokio::test]
async fn an_end_that_was_not_waited_for_goes_out_all_the_same() {
    let mut server = Server::new();
    let mut exec = server.spawn(false).await;
    let mut input = exec.stdin.take().unwrap();
    // More than fits on the way, so that the end has to wait.
    let full = tokio::time::timeout(Duration::from_millis(50), input.write_all(&[7; 4 << 20])).await;
    assert!(full.is_err());
    let late = tokio::time::timeout(Duration::from_millis(10), input.shutdown()).await;
    assert!(late.is_err());
    // Outside of any runtime.
    std::thread::spawn(move || drop(input)).join().unwrap();
    let end = loop {
        let (kind, bytes) = server.read("s0").await;
        if kind != BINARY {
            break (kind, bytes);
        }
    };
    assert_eq!(end, (TEXT, Vec::new()));
}
