//! Writes the calls of the conformance test: one function for each method of the client. Which operations there are
//! is read from the description by a reader of its own, their names in Rust from the table of methods, a snapshot.

#[path = "conformance/cases.rs"]
#[allow(dead_code, reason = "the test looks at what is sent")]
mod cases;
#[path = "conformance/description.rs"]
#[allow(dead_code, reason = "the test reads the types")]
mod description;

use std::collections::HashMap;
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use description::{Answer, Body, Description, Operation};

/// Where the names of the methods are.
const TABLE: &str =
    "lxd-macros/src/model/snapshots/lxd_macros__model__tests__methods_of_the_vendored_description.snap";

/// A method, as the table has it.
struct Method {
    name: String,
    sends_bytes: bool,
    setters: Vec<String>,
}

fn main() {
    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo says where this is");
    let root = Path::new(&folder).parent().expect("a workspace");
    for input in [TABLE, "spec/rest-api.yaml", "spec/overlay.yaml", "tests/conformance"] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    let methods = methods(&fs::read_to_string(root.join(TABLE)).expect("the table of methods"));
    let (mut functions, mut cases, mut unchecked) = (String::new(), String::new(), String::new());
    for (at, operation) in Description::read(root).operations().iter().enumerate() {
        for (variant, body) in operation.bodies.iter().enumerate() {
            let key = key(operation);
            let sends_bytes = matches!(body, Body::Bytes);
            let method = methods
                .get(&key)
                .and_then(|methods| methods.iter().find(|method| method.sends_bytes == sends_bytes));
            let function = match method {
                Some(method) => function(operation, body, method, &format!("call_{at}_{variant}")),
                None => Err(format!("{key}: the table has no method for this body")),
            };
            match function {
                Ok(function) => {
                    functions.push_str(&function);
                    let _ = writeln!(
                        cases,
                        "    Case {{ operation: {at}, body: {variant}, method: {:?}, call: call_{at}_{variant} }},",
                        method.map(|method| &method.name).expect("a method")
                    );
                }
                Err(reason) => {
                    let _ = writeln!(unchecked, "    {reason:?},");
                }
            }
        }
    }
    let text = format!(
        "{functions}\npub(crate) const CASES: &[Case] = &[\n{cases}];\n\npub(crate) const UNCHECKED: &[&str] = &[\n{unchecked}];\n"
    );
    let out = env::var("OUT_DIR").expect("cargo says where to write");
    fs::write(Path::new(&out).join("conformance.rs"), text).expect("a file of its own");
}

fn key(operation: &Operation) -> String {
    let mark = if operation.query.is_empty() { "" } else { "?" };
    format!("{} {}{mark}{}", operation.method, operation.path, operation.query)
}

/// The methods of the table, by their operation: lines such as
/// `    create_image(body: ImagesPost) [project] -> ImageResult` below `POST /1.0/images`.
fn methods(table: &str) -> HashMap<String, Vec<Method>> {
    let mut methods: HashMap<String, Vec<Method>> = HashMap::new();
    let mut operation = "";
    for line in table.lines() {
        let Some(method) = line.strip_prefix("    ") else {
            operation = line;
            continue;
        };
        let (name, rest) = method.split_once('(').expect("a method");
        let setters = rest.split_once(") [").and_then(|(_, rest)| rest.split_once(']'));
        let setters =
            setters.map_or_else(Vec::new, |(list, _)| list.split(", ").map(str::to_owned).collect());
        let sends_bytes = rest.contains("body: Body)");
        let method = Method { name: name.to_owned(), sends_bytes, setters };
        methods.entry(operation.to_owned()).or_default().push(method);
    }
    methods
}

/// A function that makes the call; an error where the method lacks a setter.
fn function(operation: &Operation, body: &Body, method: &Method, name: &str) -> Result<String, String> {
    let mut arguments: Vec<String> =
        (0..operation.path.matches('{').count()).map(|at| format!("{:?}", cases::argument(at))).collect();
    match body {
        Body::Nothing => {}
        Body::Json(_) => arguments.push("typed(body)".to_owned()),
        Body::Bytes => arguments.push("BYTES".to_owned()),
    }
    let mut setters = String::new();
    for parameter in &operation.parameters {
        let setter = cases::setter(parameter);
        if !method.setters.contains(&setter) {
            return Err(format!("{}: {} has no setter {setter}", key(operation), method.name));
        }
        // `r#` also fits where the name is no keyword.
        let _ = write!(setters, ".r#{setter}({})", cases::given(parameter));
    }
    if method.setters.len() != operation.parameters.len() {
        return Err(format!("{}: {} has setters that are no parameters", key(operation), method.name));
    }
    let all = match setters.is_empty() {
        true => String::new(),
        false => format!("        let call = if all {{ call{setters} }} else {{ call }};\n"),
    };
    // One method gives the same for all answers: what a value is, or bytes, or a connection.
    let answer = match operation.answers[0] {
        Answer::Nothing | Answer::Value(_) | Answer::Operation(_) | Answer::Text => "json(&call.await?)",
        Answer::Bytes => "Answered::Bytes(call.await?.bytes().await?)",
        Answer::WebSocket | Answer::Connection => "opened(call.await?)",
    };
    Ok(format!(
        "#[allow(deprecated, unused_variables)]\nfn {name}(lxd: Client, body: Value, all: bool) -> Outcome {{\n    \
         Box::pin(async move {{\n        let call = lxd.{}({});\n{all}        Ok({answer})\n    }})\n}}\n\n",
        method.name,
        arguments.join(", "),
    ))
}
