//! Values as Rust code: struct literals in which fields that hold their default, and secrets, are left out.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use lxd_types::wire::{Code, Map, Number, Shape, Write};
use serde_json::Value;

use crate::mock::api;

/// How long a line may be.
pub(super) const WIDTH: usize = 100;

/// Names in braces, in as many lines as they need.
pub(super) fn names(names: BTreeSet<&'static str>) -> String {
    let mut lines = vec![String::from("   ")];
    for name in names {
        if lines[lines.len() - 1].len() + name.len() + 2 > WIDTH {
            lines.push(String::from("   "));
        }
        let last = lines.len() - 1;
        // Writing to a text does not fail.
        let _ = write!(lines[last], " {name},");
    }
    let line = lines.concat().replace("    ", " ");
    match lines.len() {
        1 if line.len() < WIDTH - 30 => format!("{{{}}}", line.trim().trim_end_matches(',')),
        _ => format!("{{\n{}\n}}", lines.join("\n")),
    }
}

/// What stands in the place of a secret.
const REMOVED: &str = "(removed)";

/// The code of a value, which begins so far from the margin, and the types that it names.
pub(super) struct Literal {
    pub(super) code: String,
    pub(super) types: BTreeSet<&'static str>,
    /// Whether there was a secret.
    pub(super) has_secrets: bool,
}

impl Literal {
    pub(super) fn of(value: &dyn Write, margin: usize) -> Self {
        let mut literal = Self { code: String::new(), types: BTreeSet::new(), has_secrets: false };
        let node = literal.node(value);
        node.lay_out(margin, &mut literal.code);
        literal
    }

    fn node(&mut self, value: &dyn Write) -> Node {
        let node = match value.shape() {
            Shape::Null => Node::plain("None"),
            Shape::Boolean(value) => Node::plain(value),
            Shape::Number(Number::Unsigned(value)) => Node::plain(value),
            Shape::Number(Number::Negative(value)) => Node::plain(value),
            Shape::Number(Number::Float(value)) => Node::Plain(format!("{value:?}")),
            Shape::Text(text) => Node::Plain(format!("{text:?}")),
            Shape::Any(value) => {
                let json = self.without_secrets(value).to_string();
                Node::Plain(format!("{json:?}.parse().expect(\"JSON\")"))
            }
            Shape::Given(value) => {
                let node = self.node(value);
                return Node::group("Some(", vec![node], ")");
            }
            Shape::List(list) => {
                let mut items = Vec::new();
                list.each(&mut |item| items.push(self.node(item)));
                Node::group("vec![", items, "]")
            }
            Shape::Map(map) => self.map(map, is_secret),
            Shape::Fields(fields) => self.fields(fields),
        };
        match (value.code(), &node) {
            (Code::From, _) => Node::Named(String::new(), Box::new(node), ".into()"),
            (Code::Parsed, Node::Plain(text)) if text != "None" => {
                Node::Named(String::new(), Box::new(node), ".parse().ok()")
            }
            _ => node,
        }
    }

    /// A map, without the values of the keys that are secrets.
    fn map(&mut self, map: &dyn Map, is_secret: impl Fn(&str) -> bool) -> Node {
        let mut entries = Vec::new();
        map.each(&mut |key, value| {
            let value = if is_secret(key) { self.removed(value) } else { self.node(value) };
            entries.push(Node::Named(format!("({key:?}.into(), "), Box::new(value), ")"));
        });
        Node::group("[", entries, "].into()")
    }

    fn fields(&mut self, value: &dyn Write) -> Node {
        let mut node = Node::plain("None");
        value.fields(&mut |fields| {
            self.types.insert(fields.of);
            let mut nodes = Vec::new();
            for (wire, value) in fields.names.iter().zip(fields.values) {
                if value.shape().is_default() {
                    continue;
                }
                let value = match (fields.secrets.contains(wire), value.shape()) {
                    // The usual way to give a secret to a command.
                    (false, Shape::Map(map)) if *wire == "environment" => self.map(map, |_| true),
                    (false, _) => self.node(*value),
                    (true, Shape::Text(_)) => self.removed(*value),
                    // It is left out.
                    (true, _) => {
                        self.has_secrets = true;
                        continue;
                    }
                };
                nodes.push(Node::Named(format!("{}: ", name(fields.of, wire)), Box::new(value), ""));
            }
            if nodes.len() < fields.names.len() {
                nodes.push(Node::plain("..Default::default()"));
            }
            node = Node::Group(format!("{} {{ ", fields.of), nodes, " }".into());
        });
        node
    }

    /// What stands for a secret, which is not told.
    fn removed(&mut self, value: &dyn Write) -> Node {
        match value.shape() {
            Shape::Null => return self.node(value),
            Shape::Given(value) => return Node::group("Some(", vec![self.removed(value)], ")"),
            _ => self.has_secrets = true,
        }
        match value.shape() {
            Shape::Any(_) => Node::Plain(format!("{:?}.parse().expect(\"JSON\")", format!("{REMOVED:?}"))),
            Shape::Text(_) => Node::Plain(format!("{REMOVED:?}.into()")),
            _ => Node::plain("Default::default()"),
        }
    }

    fn without_secrets(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(entries) => {
                let kept = entries.iter().map(|(key, value)| {
                    let value = match is_secret(key) && !value.is_null() {
                        true => {
                            self.has_secrets = true;
                            Value::from(REMOVED)
                        }
                        false => self.without_secrets(value),
                    };
                    (key.clone(), value)
                });
                kept.collect()
            }
            Value::Array(items) => items.iter().map(|item| self.without_secrets(item)).collect(),
            value => value.clone(),
        }
    }
}

/// What Rust calls a field.
fn name(of: &str, wire: &'static str) -> &'static str {
    let renamed = api::RENAMED.iter().find(|(known, before, _)| *known == of && *before == wire);
    renamed.map_or(wire, |(_, _, name)| name)
}

/// What the names of secrets have in them, and what is a word of them.
const SECRET: [&str; 8] =
    ["password", "passwd", "passphrase", "secret", "token", "credential", "user-data", "vendor-data"];
const SECRET_WORDS: [&str; 3] = ["key", "keys", "pass"];

/// Whether the value of a key of a configuration is a secret, by its name.
fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET.iter().any(|part| key.contains(part))
        || key.split(['.', '_', '-']).any(|word| SECRET_WORDS.contains(&word))
}

/// The fields of a value that are texts and no secrets, as Rust calls them.
pub(super) fn texts(value: &dyn Write) -> Vec<(&'static str, String)> {
    let mut texts = Vec::new();
    value.fields(&mut |fields| {
        for (wire, value) in fields.names.iter().zip(fields.values) {
            if let (Shape::Text(text), false) = (value.shape(), fields.secrets.contains(wire))
                && value.code() == Code::From
            {
                texts.push((name(fields.of, wire), text.into_owned()));
            }
        }
    });
    texts
}

/// A piece of code that is laid out as a whole.
enum Node {
    Plain(String),
    /// Something before another piece, and something behind.
    Named(String, Box<Node>, &'static str),
    /// Pieces with commas between them, in brackets.
    Group(String, Vec<Node>, String),
}

impl Node {
    fn plain(value: impl ToString) -> Self {
        Self::Plain(value.to_string())
    }

    fn group(open: &str, items: Vec<Node>, close: &str) -> Self {
        Self::Group(open.to_owned(), items, close.to_owned())
    }

    /// The piece in one line.
    fn line(&self, out: &mut String) {
        match self {
            Self::Plain(text) => out.push_str(text),
            Self::Named(before, node, behind) => {
                out.push_str(before);
                node.line(out);
                out.push_str(behind);
            }
            Self::Group(open, items, close) => {
                out.push_str(open);
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    item.line(out);
                }
                out.push_str(close);
            }
        }
    }

    /// The piece in one line where there is room, or else with a line for each part.
    fn lay_out(&self, margin: usize, out: &mut String) {
        let mut line = String::new();
        self.line(&mut line);
        let used = out.len() - out.rfind('\n').map_or(0, |at| at + 1);
        if used.max(margin) + line.len() <= WIDTH {
            out.push_str(&line);
            return;
        }
        match self {
            Self::Plain(text) => out.push_str(text),
            Self::Named(before, node, behind) => {
                out.push_str(before);
                node.lay_out(margin, out);
                out.push_str(behind);
            }
            // What is alone in its brackets is on the line that they begin and end.
            Self::Group(open, items, close) if items.len() == 1 && matches!(items[0], Self::Group(..)) => {
                out.push_str(open);
                items[0].lay_out(margin, out);
                out.push_str(close);
            }
            Self::Group(open, items, close) => {
                out.push_str(open.trim_end());
                for item in items {
                    // Writing to a text does not fail.
                    let _ = write!(out, "\n{:1$}", "", margin + 4);
                    item.lay_out(margin + 4, out);
                    // A base must not be followed by one.
                    if !matches!(item, Self::Plain(text) if text.starts_with("..")) {
                        out.push(',');
                    }
                }
                let _ = write!(out, "\n{:1$}{2}", "", margin, close.trim_start());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lxd_types::{Instance, InstancePatch, InstancesPost, Server};

    use super::Literal;

    #[test]
    fn literals_leave_out_what_is_not_set_and_what_is_secret() {
        let text = r#"{"name": "t1", "type": "container", "created_at": "2026-01-31T12:00:00Z", "status_code": 103,
            "config": {"limits.cpu": "2", "user.password": "hush"}, "devices": {"root": {"path": "/"}},
            "profiles": ["default"], "ephemeral": true}"#;
        let instance: Instance = serde_json::from_str(text).expect("an instance");
        let literal = Literal::of(&instance, 0);
        assert_eq!(
            literal.code,
            r#"Instance {
    config: [("limits.cpu".into(), "2".into()), ("user.password".into(), "(removed)".into())].into(),
    created_at: "2026-01-31T12:00:00Z".parse().ok(),
    devices: [("root".into(), [("path".into(), "/".into())].into())].into(),
    ephemeral: true,
    name: "t1".into(),
    profiles: vec!["default".into()],
    status_code: 103.into(),
    r#type: "container".into(),
    ..Default::default()
}"#
        );
        assert!(literal.has_secrets);
        assert_eq!(literal.types.into_iter().collect::<Vec<_>>(), ["Instance"]);

        let patch = r#"{"description": "", "config": {"a": null, "b": "c"}}"#;
        let patch: InstancePatch = serde_json::from_str(patch).expect("a patch");
        let code = Literal::of(&patch, 0).code;
        assert_eq!(
            code,
            r#"InstancePatch {
    config: Some([("a".into(), None), ("b".into(), Some("c".into()))].into()),
    description: Some("".into()),
    ..Default::default()
}"#
        );
        let patch = r#"{"config": {"user.password": "hush", "ssh.key": null}}"#;
        let patch: InstancePatch = serde_json::from_str(patch).expect("a patch");
        let literal = Literal::of(&patch, 0);
        assert!(literal.has_secrets && !literal.code.contains("hush"), "{}", literal.code);
        assert!(literal.code.contains(r#"("ssh.key".into(), None)"#), "{}", literal.code);
        let server = r#"{"config": {"loki.auth.password": "hush", "core.https_address": "a"}}"#;
        let server: Server = serde_json::from_str(server).expect("a server");
        let literal = Literal::of(&server, 0);
        assert!(literal.has_secrets && !literal.code.contains("hush"), "{}", literal.code);
        let any = serde_json::json!([{"trust_token": "hush", "name": "n"}]);
        let literal = Literal::of(&any, 0);
        assert!(literal.has_secrets && !literal.code.contains("hush"), "{}", literal.code);
        assert_eq!(Literal::of(&vec![String::from("a\"b")], 0).code, r#"vec!["a\"b".into()]"#);
        assert_eq!(Literal::of(&InstancesPost::default(), 0).code, "InstancesPost { ..Default::default() }");
    }
}
