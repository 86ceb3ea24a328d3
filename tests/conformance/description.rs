//! A second, simple reader of the API's description, for the conformance test: what each call must put on the wire
//! and what it may be answered. It has no code in common with the generator, only the two files; how calls are made is
//! left to `cases`.

use std::fs;
use std::path::Path;

use serde_yaml::{Mapping, Value};

/// The description, and what the overlay says beside it.
pub(crate) struct Description {
    file: Value,
    overlay: Value,
}

/// An operation.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) method: String,
    /// With its parameters in braces, without the query.
    pub(crate) path: String,
    /// The query that belongs to the path.
    pub(crate) query: String,
    pub(crate) parameters: Vec<Parameter>,
    /// What can be sent; each is a method of its own.
    pub(crate) bodies: Vec<Body>,
    /// What it may be answered, one or the other.
    pub(crate) answers: Vec<Answer>,
}

/// A parameter of the query or a header.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) wire: String,
    pub(crate) is_header: bool,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Text,
    Boolean,
    Integer,
    /// A number that is written in base 8.
    Octal,
    List,
    Map,
}

#[derive(Debug)]
pub(crate) enum Body {
    Nothing,
    Json(Value),
    Bytes,
}

/// What a call may be answered; values by their schema.
#[derive(Debug)]
pub(crate) enum Answer {
    Nothing,
    Value(Value),
    /// A background operation, of which this is the metadata; none where that is of no interest.
    Operation(Option<Value>),
    Text,
    Bytes,
    /// A connection that speaks something else from then on.
    WebSocket,
    Connection,
}

/// The operations that share an id with a longer path, and what the overlay calls them.
const OF_THE_SAME_ID: [(&str, &str); 1] =
    [("/1.0/instances/{name}/logs/exec-output", "instance_logs_exec_output_get")];

impl Description {
    /// Reads what is vendored; `root` is that of the repository.
    pub(crate) fn read(root: &Path) -> Self {
        let file = |name: &str| {
            let path = root.join("spec").join(name);
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        Self { file: file("rest-api.yaml"), overlay: file("overlay.yaml") }
    }

    /// All operations, in the order of the file.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        let mut operations = Vec::new();
        for (path, item) in mapping(&self.file["paths"]) {
            for (method, operation) in mapping(item) {
                operations.push(self.operation(text(path), text(method), operation));
            }
        }
        operations
    }

    fn operation(&self, path: &str, method: &str, operation: &Value) -> Operation {
        let shorter = OF_THE_SAME_ID.iter().find(|(known, _)| *known == path).map(|(_, id)| *id);
        let id = shorter.or(operation["operationId"].as_str()).unwrap_or_default();
        let overlay = &self.overlay["operations"][id];
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut parameters = Vec::new();
        let mut bodies = Vec::new();
        for parameter in operation["parameters"].as_sequence().into_iter().flatten() {
            let wire = text(&parameter["name"]);
            match text(&parameter["in"]) {
                "body" => bodies.push(match &parameter["schema"] {
                    Value::Null => Body::Bytes,
                    schema => Body::Json(schema.clone()),
                }),
                place @ ("query" | "header") => {
                    // Some headers have their type where only bodies may have it.
                    let declared = [&parameter["type"], &parameter["schema"]["type"]];
                    let declared = declared.into_iter().find_map(Value::as_str).unwrap_or_default();
                    let given = overlay["parameters"][wire]["type"].as_str();
                    let kind = kind(given.unwrap_or(declared));
                    parameters.push(Parameter { wire: wire.to_owned(), is_header: place == "header", kind });
                }
                "path" => {}
                other => panic!("{method} {path}: a parameter in {other}"),
            }
        }
        for (wire, given) in mapping(&overlay["parameters"]) {
            let Some(place) = given["in"].as_str() else { continue };
            if !parameters.iter().any(|known| known.wire == text(wire)) {
                let kind = kind(given["type"].as_str().unwrap_or("string"));
                parameters.push(Parameter {
                    wire: text(wire).to_owned(),
                    is_header: place == "header",
                    kind,
                });
            }
        }
        if let Some(json) = overlay["body"]["json"].as_str() {
            bodies = vec![Body::Json(schema_of(json))];
        }
        if overlay["body"]["raw"] == Value::Bool(true)
            && !bodies.iter().any(|body| matches!(body, Body::Bytes))
        {
            bodies.push(Body::Bytes);
        }
        if bodies.is_empty() {
            bodies.push(Body::Nothing);
        }
        Operation {
            method: method.to_uppercase(),
            path: path.to_owned(),
            query: query.to_owned(),
            parameters,
            bodies,
            answers: self.answers(operation, overlay),
        }
    }

    fn answers(&self, operation: &Value, overlay: &Value) -> Vec<Answer> {
        let given = |key: &str| overlay[key].as_str();
        if let Some(ty) = given("operation_result") {
            return vec![Answer::Operation(Some(schema_of(ty)))];
        }
        match given("answer") {
            Some("raw") => return vec![Answer::Bytes],
            Some("websocket" | "events") => return vec![Answer::WebSocket],
            Some("upgrade") => return vec![Answer::Connection],
            _ => {}
        }
        if let Some(ty) = given("result") {
            return vec![Answer::Value(schema_of(ty))];
        }
        let is = |of: &Value, kinds: [&str; 2]| {
            of.as_sequence().is_some_and(|of| of.iter().any(|kind| kinds.contains(&text(kind))))
        };
        let mut answers = Vec::new();
        for (status, response) in mapping(&operation["responses"]) {
            let status: u16 = text(status).parse().expect("a status");
            let response = match response["$ref"].as_str() {
                Some(name) => &self.file["responses"][name.trim_start_matches("#/responses/")],
                None => response,
            };
            let (schema, produces) = (&response["schema"], &operation["produces"]);
            answers.extend(match status {
                101 => Some(Answer::Connection),
                202 => Some(Answer::Operation(None)),
                // The headers of a HEAD are no value.
                200 | 201 if schema.is_null() => {
                    let binary = ["application/octet-stream", "multipart/form-data"];
                    let is_binary = is(produces, binary) && !is(produces, ["application/json"; 2]);
                    Some(if is_binary { Answer::Bytes } else { Answer::Nothing })
                }
                200 | 201 => Some(match &schema["properties"]["metadata"] {
                    Value::Null if schema["properties"]["status_code"].is_null() => {
                        let is_text = schema["type"] == "string" && given("answer") != Some("json");
                        if is_text { Answer::Text } else { Answer::Value(schema.clone()) }
                    }
                    Value::Null => Answer::Nothing,
                    metadata => Answer::Value(metadata.clone()),
                }),
                _ => None,
            });
        }
        // Where only refusals are described, there is no value.
        if answers.is_empty() {
            answers.push(Answer::Nothing);
        }
        answers
    }

    /// The type that a name stands for: of which kind it is, and its fields.
    pub(crate) fn named(&self, name: &str) -> (Value, Vec<(String, Value)>) {
        let definition = &self.file["definitions"][name];
        let mut fields: Vec<(String, Value)> = mapping(&definition["properties"])
            .map(|(name, schema)| (text(name).to_owned(), schema.clone()))
            .collect();
        let beside = &self.overlay["schemas"][name];
        for (field, given) in mapping(beside).chain(mapping(&self.overlay["types"][name]["fields"])) {
            let known = fields.iter_mut().find(|(known, _)| known == text(field));
            match (known, given["type"].as_str()) {
                (Some((_, schema)), Some(ty)) => *schema = schema_of(ty),
                (None, ty) => fields.push((text(field).to_owned(), schema_of(ty.unwrap_or("string")))),
                (Some(_), None) => {}
            }
        }
        let kind = match definition["type"].as_str() {
            _ if !fields.is_empty() => Value::from("object"),
            Some(kind) => Value::from(kind),
            None => Value::Null,
        };
        (kind, fields)
    }
}

fn kind(name: &str) -> Kind {
    match name {
        "string" => Kind::Text,
        "boolean" | "bool" => Kind::Boolean,
        "integer" => Kind::Integer,
        "octal" => Kind::Octal,
        "array" => Kind::List,
        "object" => Kind::Map,
        other => panic!("a parameter of the type {other}"),
    }
}

/// The schema of a type as the overlay writes it.
fn schema_of(ty: &str) -> Value {
    let inner = |start: &str| ty.strip_prefix(start).and_then(|rest| rest.strip_suffix('>'));
    let schema = |pairs: &[(&str, Value)]| {
        Value::Mapping(pairs.iter().map(|(key, value)| (Value::from(*key), value.clone())).collect())
    };
    if let Some(ty) = inner("option<") {
        return schema_of(ty);
    }
    if let Some(item) = inner("array<") {
        return schema(&[("type", "array".into()), ("items", schema_of(item))]);
    }
    if let Some(value) = inner("map<") {
        return schema(&[("type", "object".into()), ("additionalProperties", schema_of(value))]);
    }
    match ty.split_once(':') {
        Some((ty, format)) => schema(&[("type", ty.into()), ("format", format.into())]),
        None if ty == "any" => schema(&[]),
        None if ["string", "boolean", "integer", "number"].contains(&ty) => schema(&[("type", ty.into())]),
        None => schema(&[("$ref", format!("#/definitions/{ty}").into())]),
    }
}

fn mapping(value: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    value.as_mapping().into_iter().flat_map(Mapping::iter)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value:?} is no text"))
}
