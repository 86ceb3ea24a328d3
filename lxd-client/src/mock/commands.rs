//! Commands that a mock only plays: what they write goes over websockets or into files as with a real server, and
//! what they are given is kept. Which commands are meant is left to the expectations.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::Response;
use lxd_types::ExecResult;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::expectation::{Expectation, told};
use super::serving::{Socket, begun, ended, next, response, send, sync, websocket};
use super::sessions::secrets;
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
        let input = |command: &Command| (Arc::clone(&command.came), Bytes::copy_from_slice(&command.input));
        let inputs: Vec<_> = self.shared.lock().commands.values().map(input).collect();
        inputs.into_iter().filter(|(came, _)| self.means(came)).map(|(_, input)| input).collect()
    }
}

/// Begins a command.
pub(super) fn begin(shared: &Arc<Shared>, came: &Arc<Came>, output: ExecOutput) -> Response<Body> {
    let asked: Value = serde_json::from_slice(&came.body).unwrap_or_default();
    let flag = |name: &str| asked.get(name) == Some(&Value::Bool(true));
    let (is_interactive, has_sockets) = (flag("interactive"), flag("wait-for-websocket"));
    let mut state = shared.lock();
    let id = state.next_operation();
    let left = if is_interactive { 1 } else { 3 };
    let status = output.status;
    let command = Command { came: Arc::clone(came), output, is_interactive, left, input: BytesMut::new() };
    state.commands.insert(id.clone(), command);
    if has_sockets {
        return begun(&mut state, came, &id, told(&id, 103, "", secrets(is_interactive)));
    }
    let mut metadata = json!({ "return": status });
    if flag("record-output") {
        let path = format!("/{}/logs/exec_{id}", came.path[..came.path.len() - 1].join("/"));
        metadata["output"] = json!({"1": format!("{path}.stdout"), "2": format!("{path}.stderr")});
    }
    let response = begun(&mut state, came, &id, told(&id, 103, "", Value::Null));
    ended(&mut state, came, &id, 200, "", metadata);
    response
}

/// What a command wrote, as a file among the logs of its instance.
pub(super) fn recorded(shared: &Shared, method: &str, name: &str) -> Option<Response<Body>> {
    let state = shared.lock();
    let (id, stream) = name.strip_prefix("exec_")?.split_once('.')?;
    let command = state.commands.get(id)?;
    match (method, stream) {
        ("GET", "stdout") => Some(bytes(&command.output.stdout)),
        ("GET", "stderr") => Some(bytes(&command.output.stderr)),
        ("DELETE", "stdout" | "stderr") => Some(sync(&json!({}))),
        _ => None,
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
) -> Option<Response<Body>> {
    let stream = came.query.get("secret")?.strip_prefix("secret-")?.to_owned();
    let written = {
        let state = shared.lock();
        let command = state.commands.get(id)?;
        match stream.as_str() {
            "0" if command.is_interactive => Some(command.output.stdout.clone()),
            "1" => Some(command.output.stdout.clone()),
            "2" => Some(command.output.stderr.clone()),
            _ => None,
        }
    };
    let (state, id) = (Arc::clone(shared), id.to_owned());
    Some(websocket(shared, came, upgrade, move |mut socket| async move {
        if let Some(written) = &written {
            write(&mut socket, written).await;
        }
        if stream == "0" || stream == "control" {
            read(&state, &id, &mut socket, stream == "0").await;
        }
        drop(socket);
        if stream != "control" {
            end(&state, &id);
        }
    }))
}

/// Sends what a command wrote.
async fn write(socket: &mut Socket, written: &[u8]) {
    for piece in written.chunks(32 << 10) {
        if !send(socket, Message::binary(piece.to_vec())).await {
            // A reader that has gone is one that has had enough.
            return;
        }
    }
    let _told = send(socket, Message::text("")).await;
}

/// Ends a command with the last of its streams.
fn end(shared: &Shared, id: &str) {
    let mut state = shared.lock();
    let Some(command) = state.commands.get_mut(id) else { return };
    command.left = command.left.saturating_sub(1);
    if command.left == 0 {
        let (came, metadata) = (Arc::clone(&command.came), json!({ "return": command.output.status }));
        ended(&mut state, &came, id, 200, "", metadata);
    }
}

/// Reads what a command is given, or what controls it, until that ends.
async fn read(shared: &Shared, id: &str, socket: &mut Socket, is_input: bool) {
    while let Some(message) = next(socket).await {
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
