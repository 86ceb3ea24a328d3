//! Commands that a mock only plays: what they write goes over websockets or into files as with a real server, and
//! what they are given is kept. Which commands are meant is left to the expectations.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::Response;
use lxd_types::ExecResult;
use serde_json::{Map, Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::expectation::Expectation;
use super::serving::{Socket, begun, ended, next, refusal, response, send, sync, websocket};
use super::{Answer, Came, Shared};
use crate::body::Body;
use crate::exec::ExecOutput;

/// A command that is played.
pub(super) struct Command {
    came: Arc<Came>,
    output: ExecOutput,
    is_interactive: bool,
    /// How many of its streams have to end before it does.
    left: usize,
    input: BytesMut,
}

impl<B> Expectation<B, ExecResult> {
    /// Plays a command that writes this and ends with this exit code, in each of the forms in which a command can
    /// be run. Of an interactive one, the standard output is what appears in the terminal.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), lxd_client::Error> {
    /// use lxd_client::ExecOutput;
    /// use lxd_client::mock::MockLxd;
    /// use lxd_client::types::InstanceExecPost;
    ///
    /// let lxd = MockLxd::start().await;
    /// let output = ExecOutput { status: 3, stdout: b"out".to_vec(), stderr: b"err".to_vec() };
    /// lxd.on_execute_in_instance("t1").when(|call| call.body.command == ["make"]).output(output.clone());
    ///
    /// let make = InstanceExecPost { command: vec!["make".into()], ..Default::default() };
    /// assert_eq!(lxd.client().execute_in_instance("t1", make).output().await?, output);
    /// # Ok(())
    /// # }
    /// ```
    pub fn output(self, output: ExecOutput) {
        self.answer(Answer::Command(output));
    }

    /// What the commands were given as their input until now, in the order in which they were begun.
    pub fn inputs(&self) -> Vec<Bytes> {
        let state = self.shared.lock();
        let commands = state.commands.values().filter(|command| self.means(&command.came));
        commands.map(|command| Bytes::copy_from_slice(&command.input)).collect()
    }
}

/// Begins a command.
pub(super) fn begin(shared: &Arc<Shared>, came: &Arc<Came>, output: ExecOutput) -> Response<Body> {
    let asked: Value = serde_json::from_slice(&came.body).unwrap_or_default();
    let flag = |name: &str| asked.get(name) == Some(&Value::Bool(true));
    let (is_interactive, has_sockets) = (flag("interactive"), flag("wait-for-websocket"));
    let mut state = shared.lock();
    let id = state.next_operation();
    let left = if is_interactive { 1 } else { 2 };
    let status = output.status;
    let command = Command { came: Arc::clone(came), output, is_interactive, left, input: BytesMut::new() };
    state.commands.insert(id.clone(), command);
    if has_sockets {
        let names: &[_] = if is_interactive { &["0", "control"] } else { &["0", "1", "2", "control"] };
        let secret = |name: &&str| ((*name).to_owned(), json!(format!("secret-{name}")));
        let secrets: Map<_, _> = names.iter().map(secret).collect();
        return begun(&mut state, came, &id, json!({ "fds": secrets }));
    }
    let mut metadata = json!({ "return": status });
    if flag("record-output") {
        let path = format!("/{}/logs/exec_{id}", came.path[..came.path.len() - 1].join("/"));
        metadata["output"] = json!({"1": format!("{path}.stdout"), "2": format!("{path}.stderr")});
    }
    let response = begun(&mut state, came, &id, Value::Null);
    ended(&mut state, came, &id, 200, "", metadata);
    response
}

/// What a command wrote, as a file among the logs of its instance.
pub(super) fn recorded(shared: &Shared, method: &str, name: &str) -> Response<Body> {
    let state = shared.lock();
    let file = name.strip_prefix("exec_").and_then(|name| name.split_once('.'));
    let found = file.and_then(|(id, stream)| Some((state.commands.get(id)?, stream)));
    match (method, found) {
        ("GET", Some((command, "stdout"))) => bytes(&command.output.stdout),
        ("GET", Some((command, "stderr"))) => bytes(&command.output.stderr),
        ("DELETE", Some(_)) => sync(&json!({})),
        _ => refusal(404, "not found"),
    }
}

fn bytes(bytes: &[u8]) -> Response<Body> {
    response(200, "application/octet-stream", Body::from(bytes.to_vec()))
}

/// Connects a stream of a command.
pub(super) fn connect(
    shared: &Arc<Shared>,
    came: &Came,
    id: &str,
    upgrade: hyper::upgrade::OnUpgrade,
) -> Response<Body> {
    let secret = came.query.get("secret").map_or("", String::as_str);
    let Some(stream) = secret.strip_prefix("secret-").map(str::to_owned) else {
        return refusal(404, "not found");
    };
    let written = match shared.lock().commands.get(id) {
        None => return refusal(404, "not found"),
        Some(command) => match stream.as_str() {
            "0" if !command.is_interactive => None,
            "0" | "1" => Some(command.output.stdout.clone()),
            "2" => Some(command.output.stderr.clone()),
            _ => None,
        },
    };
    let (shared, id) = (Arc::clone(shared), id.to_owned());
    websocket(came, upgrade, move |socket| async move {
        match written {
            Some(written) => write(&shared, &id, socket, written).await,
            None => read(&shared, &id, socket, stream == "0").await,
        }
    })
}

/// Sends what a command wrote, and ends the command with the last of its streams.
async fn write(shared: &Shared, id: &str, mut socket: Socket, written: Vec<u8>) {
    let mut sent = true;
    for piece in written.chunks(32 << 10) {
        sent = sent && send(&mut socket, Message::binary(piece.to_vec())).await;
    }
    // A reader that has gone is one that has had enough.
    let _told = sent && send(&mut socket, Message::text("")).await;
    drop(socket);
    let mut state = shared.lock();
    let Some(command) = state.commands.get_mut(id) else { return };
    command.left = command.left.saturating_sub(1);
    if command.left == 0 {
        let (came, metadata) = (Arc::clone(&command.came), json!({ "return": command.output.status }));
        ended(&mut state, &came, id, 200, "", metadata);
    }
}

/// Reads what a command is given, or what controls it, until that ends.
async fn read(shared: &Shared, id: &str, mut socket: Socket, is_input: bool) {
    while let Some(message) = next(&mut socket).await {
        match message {
            Message::Binary(bytes) if is_input => {
                if let Some(command) = shared.lock().commands.get_mut(id) {
                    command.input.extend_from_slice(&bytes);
                }
            }
            Message::Text(_) if is_input => return,
            Message::Close(_) => return,
            _ => {}
        }
    }
}
