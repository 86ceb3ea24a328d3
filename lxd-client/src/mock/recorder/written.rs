//! What passed, as the code of expectations. How a value is written is left to `literal`.

use std::collections::BTreeSet;

use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, HeaderMap};
use lxd_types::wire::{self, Shape};
use serde_json::Value;

use super::literal::{self, Literal, WIDTH};
use super::tapped::{KEPT, Tap};
use super::{Answered, End, Ended, Passed};
use crate::call::Answers;
use crate::envelope::{self, Outcome};
use crate::mock::{Came, Form, Served, Typed, api};

/// What the code begins with.
const HEAD: &str = "\
// What passed between a client and an LXD, as lxd_client::mock::Recorder saw it. Fields that hold
// their default, and secrets, are left out.

";

/// An expectation.
struct Expected {
    /// Which calls it means: the expectation and its conditions.
    call: Vec<String>,
    /// What they are answered: the rest of the chain, for each time.
    answers: Vec<Vec<String>>,
}

/// The code for all that passed, to and from clients whose own project is this.
pub(super) fn code(passed: &[Passed], taps: &[Tap], project: Option<&str>) -> String {
    let mut writing = Writing { passed, taps, project, types: BTreeSet::new(), has_output: false };
    let mut expected: Vec<Expected> = Vec::new();
    for one in passed {
        let Some((call, answer)) = writing.expectation(one) else { continue };
        match expected.iter_mut().find(|known| known.call == call) {
            Some(known) => known.answers.push(answer),
            None => {
                // The latest that fits a call answers it: what means all calls of a path is before what means some.
                let is_general = call.len() == 1;
                let first = expected.iter().position(|known| is_general && known.call[0] == call[0]);
                let at = first.unwrap_or(expected.len());
                expected.insert(at, Expected { call, answers: vec![answer] });
            }
        }
    }
    let mut body = String::new();
    for Expected { call, mut answers } in expected {
        // The last answer stays: it need not be said more than once.
        while let [.., before, last] = &answers[..]
            && before == last
        {
            answers.pop();
        }
        let last = answers.len() - 1;
        for (at, answer) in answers.into_iter().enumerate() {
            let once = (at < last).then(|| ".once()".to_owned());
            let chain: Vec<_> = call.iter().cloned().chain(once).chain(answer).collect();
            body.push_str(&statement(&chain));
        }
    }
    let mut head = HEAD.to_owned();
    if writing.has_output {
        head.push_str("use lxd_client::ExecOutput;\n");
    }
    head.push_str("use lxd_client::mock::MockLxd;\n");
    if !writing.types.is_empty() {
        head.push_str(&format!("use lxd_client::types::{};\n", literal::names(writing.types)));
    }
    format!("{head}\n/// Answers as the server did.\npub fn expectations(lxd: &MockLxd) {{\n{body}}}\n")
}

/// A chain of calls: in one line where there is room. What is a comment stays one.
fn statement(chain: &[String]) -> String {
    let line = chain.concat();
    if line.len() + 5 <= WIDTH && !line.contains('\n') || line.starts_with("//") {
        let end = if line.starts_with("//") { "" } else { ";" };
        return format!("    {line}{end}\n");
    }
    format!("    {};\n", chain.join("\n        "))
}

struct Writing<'a> {
    passed: &'a [Passed],
    taps: &'a [Tap],
    project: Option<&'a str>,
    types: BTreeSet<&'static str>,
    has_output: bool,
}

impl Writing<'_> {
    /// The expectation of a call, and how that is answered; nothing for what a mock knows by itself.
    fn expectation(&mut self, one: &Passed) -> Option<(Vec<String>, Vec<String>)> {
        let came = &one.came;
        let path: Vec<_> = came.path.iter().map(String::as_str).collect();
        if matches!(path[..], ["1.0", "events"] | ["1.0", "operations", _, ..]) || self.is_output(&came.path)
        {
            return None;
        }
        let Some((served, arguments)) = served(came) else {
            let path = format!("/{}", came.path.join("/"));
            let nobody = format!("// {} {path:?}: no method of the client.", came.method);
            return Some((vec![nobody], Vec::new()));
        };
        let arguments: Vec<_> = arguments.iter().map(|argument| format!("{argument:?}")).collect();
        let mut call = vec![format!("lxd.on_{}({})", served.name, arguments.join(", "))];
        call.extend(self.condition(came, served));
        let answer = match &one.answer {
            Answered::Whole { status, headers, body } => self.answer(served, status.as_u16(), headers, body),
            Answered::Operation { id, metadata, end } => {
                let ended = end.borrow().clone();
                self.operation(served, id, metadata, ended)
            }
            Answered::Connection => None,
        };
        Some(match answer {
            Some(answer) => (call, answer),
            None => (vec![format!("// {}: not recorded.", call[0])], Vec::new()),
        })
    }

    /// What tells the call apart from others with the same path.
    fn condition(&mut self, came: &Came, served: &Served) -> Option<String> {
        let of_path: Vec<_> =
            served.query.split('&').map(|pair| pair.split('=').next().unwrap_or(pair)).collect();
        let mut conditions = Vec::new();
        for (name, value) in &came.query {
            let is_own = name == "project" && Some(value.as_str()) == self.project;
            if !is_own && name != "secret" && !of_path.contains(&name.as_str()) {
                conditions.push(format!("call.query.get({name:?}).is_some_and(|value| value == {value:?})"));
            }
        }
        // Where other calls of the path have more in their query, it has to be seen that this one has not.
        let others =
            self.passed.iter().filter(|other| other.came.arguments(served) == came.arguments(served));
        let names: BTreeSet<_> = others.flat_map(|other| other.came.query.keys()).collect();
        for name in names.into_iter().filter(|name| !came.query.contains_key(*name)) {
            if name != "secret"
                && !of_path.contains(&name.as_str())
                && name != "recursion"
                && name != "public"
            {
                conditions.push(format!("!call.query.contains_key({name:?})"));
            }
        }
        if let (Form::Json(blank), false) = (&served.body, came.body.is_empty()) {
            let mut body = blank();
            if wire::from_json(&came.body, &mut *body).is_ok() {
                conditions.extend(self.of_body(&*body));
            }
        }
        let line = conditions.join(" && ");
        let conditions = if line.len() + 24 > WIDTH { conditions.join("\n            && ") } else { line };
        (!conditions.is_empty()).then(|| format!(".when(|call| {conditions})"))
    }

    /// What tells a body apart from others: all of it, or its texts where there are secrets, which are left out.
    fn of_body(&mut self, body: &dyn Typed) -> Vec<String> {
        let literal = Literal::of(body, 8);
        if literal.has_secrets {
            let texts = literal::texts(body).into_iter().filter(|(_, text)| !text.is_empty());
            return texts.map(|(name, text)| format!("call.body.{name} == {text:?}")).collect();
        }
        if let Shape::Any(value) = body.shape() {
            return vec![format!("call.body.to_string() == {:?}", value.to_string())];
        }
        self.types.extend(literal.types);
        vec![format!("call.body == {}", literal.code)]
    }

    fn answer(
        &mut self,
        served: &Served,
        status: u16,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Option<Vec<String>> {
        if status >= 400 {
            let message = match envelope::read(body, &mut ()) {
                Ok(Outcome::Refusal(_, message)) => message,
                _ => String::from_utf8_lossy(body).into_owned(),
            };
            return Some(vec![format!(".error({status}, {message:?})")]);
        }
        let mut chain = Vec::new();
        for (name, value) in headers {
            let is_told = [CONTENT_DISPOSITION, ETAG].contains(name)
                || name.as_str().starts_with("x-lxd-")
                || self.is_kind(served, name, value);
            if let (true, Ok(value)) = (is_told, value.to_str()) {
                chain.push(format!(".header({:?}, {value:?})", name.as_str()));
            }
        }
        chain.push(match &served.answer {
            Form::Nothing => ".reply(())".to_owned(),
            // Half of a file is none.
            Form::Bytes if body.len() > KEPT => return None,
            Form::Bytes => format!(".reply(&b\"{}\"[..])", body.escape_ascii()),
            Form::Json(blank) => {
                let mut value = blank();
                match served.answers {
                    Answers::Text => {
                        let text = Value::from(String::from_utf8_lossy(body));
                        wire::from_value(&text, &mut *value).ok()?;
                    }
                    _ => drop(envelope::read(body, &mut *value).ok()?),
                }
                format!(".reply({})", self.literal(&*value))
            }
            Form::Connection => return None,
        });
        Some(chain)
    }

    /// Whether it says what bytes are.
    fn is_kind(&self, served: &Served, name: &http::HeaderName, value: &http::HeaderValue) -> bool {
        *name == CONTENT_TYPE && matches!(served.answer, Form::Bytes) && value != "application/octet-stream"
    }

    fn operation(
        &mut self,
        served: &Served,
        id: &str,
        metadata: &Value,
        ended: Option<Ended>,
    ) -> Option<Vec<String>> {
        let Ended { progress, end } = ended?;
        let mut chain = vec![".operation()".to_owned()];
        chain.extend(progress.iter().map(|text| format!(".progress({text:?})")));
        chain.push(match end {
            End::Failure(message) => format!(".fail({message:?})"),
            End::Cancelled => ".cancelled()".to_owned(),
            End::Unknown => return None,
            End::Success(result) => match &served.answer {
                Form::Json(blank) if served.answers == Answers::OperationMetadata => {
                    if let Some(output) = self.output(id, metadata, &result, served) {
                        return Some(vec![output]);
                    }
                    let mut value = blank();
                    wire::from_value(&result, &mut *value).ok()?;
                    format!(".succeed_with({})", self.literal(&*value))
                }
                // A console or another server's way in.
                _ if metadata.get("fds").is_some() => return None,
                _ => ".succeed()".to_owned(),
            },
        });
        Some(chain)
    }

    /// What a command wrote, where somebody could read it.
    fn output(&mut self, id: &str, metadata: &Value, result: &Value, served: &Served) -> Option<String> {
        if !served.path.ends_with("/exec") {
            return None;
        }
        let status = result.get("return").and_then(Value::as_i64)?;
        let stream = |name: &str| {
            let secret = metadata.get("fds").and_then(|secrets| secrets.get(name)).and_then(Value::as_str);
            match secret {
                Some(secret) => self.taps.iter().find(|tap| tap.is(id, secret)).map(Tap::bytes),
                None => self.recorded(result.get("output")?.get(name)?.as_str()?),
            }
        };
        // A terminal has one stream for both directions.
        let (stdout, stderr) = (stream("1").or_else(|| stream("0")), stream("2"));
        if stdout.is_none() && stderr.is_none() {
            return None;
        }
        self.has_output = true;
        let bytes = |bytes: Option<Vec<u8>>| match bytes.unwrap_or_default() {
            bytes if bytes.is_empty() => "Vec::new()".to_owned(),
            bytes => format!("b\"{}\".to_vec()", bytes.escape_ascii()),
        };
        let (stdout, stderr) = (bytes(stdout), bytes(stderr));
        Some(format!(".output(ExecOutput {{ status: {status}, stdout: {stdout}, stderr: {stderr} }})"))
    }

    /// The file that a command's output was recorded in, where a client has read it.
    fn recorded(&self, path: &str) -> Option<Vec<u8>> {
        let is_read =
            |one: &&Passed| one.came.method == "GET" && format!("/{}", one.came.path.join("/")) == path;
        match &self.passed.iter().find(is_read)?.answer {
            Answered::Whole { status, body, .. } if status.is_success() => Some(body.to_vec()),
            _ => None,
        }
    }

    /// Whether the path is that of a file that a command's output was recorded in.
    fn is_output(&self, path: &[String]) -> bool {
        let path = Value::from(format!("/{}", path.join("/")));
        self.passed.iter().any(|one| match &one.answer {
            Answered::Operation { end, .. } => match &*end.borrow() {
                Some(Ended { end: End::Success(result), .. }) => {
                    let files = result.get("output").and_then(Value::as_object);
                    files.is_some_and(|files| files.values().any(|known| *known == path))
                }
                _ => false,
            },
            _ => false,
        })
    }

    fn literal(&mut self, value: &dyn Typed) -> String {
        let literal = Literal::of(value, 8);
        self.types.extend(literal.types);
        literal.code
    }
}

/// The method that makes such a call, and what it takes for the path. Of several, the one whose path says most.
fn served(came: &Came) -> Option<(&'static Served, Vec<String>)> {
    let fitting = api::METHODS.iter().filter_map(|served| {
        let arguments = came.arguments(served)?;
        came.is(served, &arguments).then_some((served, arguments))
    });
    fitting.min_by_key(|(_, arguments)| arguments.len())
}
