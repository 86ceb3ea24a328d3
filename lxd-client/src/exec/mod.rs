//! Commands in instances: run to their end with all they wrote, or with their streams in hand. What a
//! stream is made of is left to `streams`, following the operation to `operation`.

mod streams;

use std::fmt;
use std::io::{self, ErrorKind};

use lxd_types::ExecResult;
use serde_json::{Value, json};
use tokio::task::JoinSet;

pub use self::streams::{ExecReader, ExecWriter};
use crate::answer::{RawAnswer, WebSocket};
use crate::call::{Answers, Call, Endpoint, NoParameters, Request};
use crate::client::Client;
use crate::error::Error;
use crate::operation::Operation;
use crate::websockets::{Control, Socket, connect, joined, keep};

/// Where output was recorded, which the server says.
static READ: Endpoint = endpoint("GET", "", Answers::Raw);
static REMOVE: Endpoint = endpoint("DELETE", "", Answers::Nothing);

const fn endpoint(method: &'static str, path: &'static str, answers: Answers) -> Endpoint {
    let id = "instance_exec";
    Endpoint { id, method, path, query: "", answers, project: true, target: false, background: false }
}

/// What became of a command that has ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExecOutput {
    /// Its exit code; 128 and the signal's number where a signal ended it. It is 127 where there is no
    /// such command, and 126 where it cannot be executed.
    pub status: i64,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
}

impl ExecOutput {
    /// Whether the instance does not have the command, by its exit code 127. (The server does not tell
    /// whether a shell gave that, of a command in its script.)
    pub fn is_command_not_found(&self) -> bool {
        self.status == 127
    }
}

impl<P> Call<ExecResult, P> {
    /// Runs the command to its end, without any input, and gives all that it wrote, exactly and whole.
    /// An exit code that is not 0 is no error here.
    ///
    /// ```no_run
    /// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
    /// use lxd_client::types::InstanceExecPost;
    ///
    /// let command = vec!["uname".into(), "-r".into()];
    /// let post = InstanceExecPost { command, ..Default::default() };
    /// let output = lxd.execute_in_instance("t1", post).output().await?;
    /// println!("{}: {}", output.status, String::from_utf8_lossy(&output.stdout));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Where this future is dropped, the command loses its output, which ends it when it writes.
    ///
    /// # Errors
    ///
    /// Those of any call; [`Error::Transport`] where a stream broke before its end; and
    /// [`Error::Argument`] where the command is to be interactive.
    pub async fn output(self) -> Result<ExecOutput, Error> {
        let (operation, sockets) = self.connected(&["0", "1", "2"], false).await?;
        let mut reading = JoinSet::new();
        for (stream, socket) in sockets {
            let operation = operation.clone();
            reading.spawn(async move {
                let socket = Socket::new(socket);
                if stream == "0" {
                    ExecWriter::new(socket.clone(), false).end().await;
                    // Whatever comes of it, the command's own end is what counts.
                    keep(&socket).await;
                    return Ok((stream, Vec::new()));
                }
                Ok((stream, ExecReader::new(socket, operation).all().await?))
            });
        }
        let mut output = ExecOutput::default();
        while let Some(read) = reading.join_next().await {
            let (stream, bytes) = joined(read)??;
            match stream {
                "1" => output.stdout = bytes,
                "2" => output.stderr = bytes,
                _ => {}
            }
        }
        output.status = exit_code(&operation).await?;
        Ok(output)
    }

    /// The same, but the server keeps what the command writes in files, which are fetched when it has
    /// ended, and deleted. This takes no connections while the command runs, and one that breaks does no
    /// harm. Where this future is dropped, the command goes on, and its files stay.
    ///
    /// # Errors
    ///
    /// Those of any call, and [`Error::Argument`] where the command is to be interactive.
    pub async fn record(mut self) -> Result<ExecOutput, Error> {
        self.set_flags(&[("record-output", true), ("wait-for-websocket", false), ("interactive", false)])?;
        let (client, project) = (self.client(), self.project_named());
        let operation = self.start().await?;
        let ended = exit_code(&operation).await;
        let metadata = operation.metadata();
        let recorded = metadata.get("output").and_then(Value::as_object);
        let mut output = ExecOutput::default();
        let mut failure = None;
        let recorded: Vec<_> = recorded
            .into_iter()
            .flatten()
            .filter_map(|(stream, url)| Some((stream, url.as_str()?)))
            .collect();
        let at = |endpoint, url| recording(&client, endpoint, project.as_deref(), url);
        for (stream, url) in recorded.iter().filter(|_| ended.is_ok()) {
            let fetched = async { Call::<RawAnswer, NoParameters>::of(at(&READ, url)?).await?.bytes().await };
            match fetched.await {
                Ok(bytes) if *stream == "1" => output.stdout = bytes.to_vec(),
                Ok(bytes) => output.stderr = bytes.to_vec(),
                Err(error) => failure = Some(error),
            }
        }
        output.status = ended?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        for (_, url) in recorded {
            // What the command did and wrote is worth more than that nothing is left of it.
            if let Err(error) = at(&REMOVE, url)?.exchange().await.and_then(|gone| gone.read(&mut ())) {
                tracing::debug!(target: "lxd_client::exec", %error, "recorded output is left");
            }
        }
        Ok(output)
    }

    /// Starts the command and gives its streams.
    ///
    /// ```no_run
    /// # async fn run(lxd: lxd_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use lxd_client::types::InstanceExecPost;
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// let post = InstanceExecPost { command: vec!["sort".into()], ..Default::default() };
    /// let mut sort = lxd.execute_in_instance("t1", post).spawn().await?;
    /// let mut input = sort.stdin.take().expect("the input");
    /// input.write_all(b"pear\napple\n").await?;
    /// input.shutdown().await?;
    /// let mut sorted = String::new();
    /// sort.stdout.take().expect("the output").read_to_string(&mut sorted).await?;
    /// assert_eq!((sort.wait().await?, sorted.as_str()), (0, "apple\npear\n"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of any call. That the command cannot be run is told by [`Exec::wait`].
    pub async fn spawn(self) -> Result<Exec, Error> {
        let is_interactive = self.flag("interactive");
        let wanted: &[_] = if is_interactive { &["0", "control"] } else { &["0", "1", "2", "control"] };
        let (operation, sockets) = self.connected(wanted, is_interactive).await?;
        let mut exec = Exec { stdin: None, stdout: None, stderr: None, control: None, operation };
        for (stream, socket) in sockets {
            if stream == "control" {
                exec.control = Some(Control::new(socket));
                continue;
            }
            let socket = Socket::new(socket);
            let reader = || ExecReader::new(socket.clone(), exec.operation.clone());
            match stream {
                "0" => {
                    if is_interactive {
                        exec.stdout = Some(reader());
                    } else {
                        let kept = socket.clone();
                        tokio::spawn(async move { keep(&kept).await });
                    }
                    exec.stdin = Some(ExecWriter::new(socket, is_interactive));
                }
                "1" => exec.stdout = Some(reader()),
                _ => exec.stderr = Some(reader()),
            }
        }
        Ok(exec)
    }

    /// Starts the command and connects these of its streams, all at the same time: the server gives up
    /// after some seconds.
    async fn connected(
        mut self,
        wanted: &[&'static str],
        interactive: bool,
    ) -> Result<(Operation<ExecResult>, Vec<(&'static str, WebSocket)>), Error> {
        let flags = [("wait-for-websocket", true), ("record-output", false), ("interactive", interactive)];
        self.set_flags(&flags)?;
        let client = self.client();
        let call = self.shown();
        let operation = self.start().await?;
        let metadata = operation.metadata();
        let secrets = metadata.get("fds").unwrap_or(&Value::Null);
        let sockets = connect(&client, &call, operation.id(), secrets, wanted).await?;
        Ok((operation, sockets))
    }

    /// Says how the command is to be run. What was asked for otherwise is an error where it would be
    /// another thing.
    fn set_flags(&mut self, flags: &[(&'static str, bool)]) -> Result<(), Error> {
        let interactive = flags.contains(&("interactive", true));
        if self.flag("interactive") && !interactive {
            let message = "an interactive command has one stream, its terminal: use `spawn`".to_owned();
            return Err(Error::Argument { call: self.shown(), message });
        }
        self.change_sent_object(|body| {
            for (name, value) in flags {
                body.insert((*name).to_owned(), json!(value));
            }
        });
        Ok(())
    }

    fn flag(&self, name: &str) -> bool {
        self.sent_object().and_then(|body| body.get(name).and_then(Value::as_bool)).unwrap_or_default()
    }
}

/// The exit code of a command, once it has ended. Those that say that it could not be run are failures for
/// the server, also where a shell gave them.
async fn exit_code(operation: &Operation<ExecResult>) -> Result<i64, Error> {
    match operation.wait().await {
        Ok(result) => Ok(result.r#return),
        Err(error @ Error::Operation { .. }) => {
            let code = operation.metadata().get("return").and_then(Value::as_i64);
            code.filter(|code| matches!(code, 126 | 127)).ok_or(error)
        }
        Err(error) => Err(error),
    }
}

/// A request for output that was recorded.
fn recording(
    client: &Client,
    endpoint: &'static Endpoint,
    project: Option<&str>,
    url: &str,
) -> Result<Box<Request>, Error> {
    let mut request = Request::at(client, endpoint, url)?;
    if let Some(project) = project {
        request.query("project", &project);
    }
    Ok(request)
}

/// A command that runs. Its streams can be taken out of it; those that are dropped are read and thrown
/// away, so that the command goes on, and a dropped input ends.
///
/// Dropping this ends the command, as the server does where nobody is left to control it.
pub struct Exec {
    /// Its input. To shut it down, or to drop it, is the end of it; for a terminal, that is Ctrl-D.
    pub stdin: Option<ExecWriter>,
    /// Its output; for an interactive command, all of its terminal.
    pub stdout: Option<ExecReader>,
    /// What it writes to its standard error, where it is not interactive.
    pub stderr: Option<ExecReader>,
    control: Option<Control>,
    operation: Operation<ExecResult>,
}

impl Exec {
    /// The background operation that the command is.
    pub fn operation(&self) -> &Operation<ExecResult> {
        &self.operation
    }

    /// Sends a signal to the command, such as 15 (SIGTERM).
    ///
    /// # Errors
    ///
    /// [`Error::Transport`] where the command has ended.
    pub async fn signal(&self, signal: i32) -> Result<(), Error> {
        let command = json!({"command": "signal", "signal": signal});
        match &self.control {
            Some(control) => control.send(&command).await.map_err(|error| self.uncontrolled(error)),
            None => Err(self.uncontrolled(ErrorKind::NotConnected.into())),
        }
    }

    /// Tells the command the size of its terminal, in letters.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`] where the command has ended.
    pub async fn resize(&self, width: u16, height: u16) -> Result<(), Error> {
        match &self.control {
            Some(control) => control.resize(width, height).await.map_err(|error| self.uncontrolled(error)),
            None => Err(self.uncontrolled(ErrorKind::NotConnected.into())),
        }
    }

    fn uncontrolled(&self, error: io::Error) -> Error {
        let call = format!("GET /1.0/operations/{}/websocket", self.operation.id());
        Error::transport(call, "the command cannot be controlled; has it ended?", error)
    }

    /// Ends the input, reads to their ends and throws away the streams that were not taken, and waits for
    /// the command: its exit code, or 128 and the signal's number where a signal ended it. The exit code is
    /// 127 where there is no such command, and 126 where it cannot be executed.
    ///
    /// What was taken has to be read elsewhere at the same time: much of it would hold the command up, and a
    /// terminal lasts until it is read to its end. So has an input that was taken to be shut down.
    ///
    /// # Errors
    ///
    /// Those of [`Operation::wait`].
    pub async fn wait(&mut self) -> Result<i64, Error> {
        // Dropped readers go on to read.
        (self.stdin, self.stdout, self.stderr) = (None, None, None);
        exit_code(&self.operation).await
    }
}

impl fmt::Debug for Exec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Exec").field("operation", &self.operation).finish_non_exhaustive()
    }
}
