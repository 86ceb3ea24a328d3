//! What Swagger 2.0 and OpenAPI 3.0 write alike around schemas: paths, the heads of operations,
//! parameters, answers. What they write differently is left to the two dialects.

use indexmap::IndexMap;
use openapiv3::{
    Components, OpenAPI, Operation, Parameter, ParameterData, ParameterSchemaOrContent, PathItem,
    ReferenceOr, Response, Responses, StatusCode,
};

use super::schema::description;
use crate::problem::Problems;
use crate::read::Node;

/// How a dialect lowers an operation: from the top of the file, the operation and its parameters.
pub(super) type LowerOperation<'l> =
    dyn for<'a> Fn(&Node<'a>, &Node<'a>, &[Node<'a>], &mut Problems) -> Operation + 'l;

/// The whole description.
pub(super) fn api(
    root: &Node<'_>,
    components: Components,
    problems: &mut Problems,
    operation: &LowerOperation<'_>,
) -> OpenAPI {
    let mut api = OpenAPI { openapi: "3.0.3".to_owned(), components: Some(components), ..OpenAPI::default() };
    if let Some(info) = root.get("info") {
        api.info.title = info.text_of("title", problems).unwrap_or_default().to_owned();
        api.info.version = info.text_of("version", problems).unwrap_or_default().to_owned();
    }
    if root.get("paths").is_none() {
        problems.add(&root.pointer, "has no `paths`");
    }
    for (path, path_node) in root.entries_of("paths", problems) {
        let mut item = PathItem::default();
        for (key, node) in path_node.entries(problems) {
            if let Some(slot) = method_slot(&mut item, &key) {
                let parameters = parameters(root, &path_node, &node, problems);
                *slot = Some(operation(root, &node, &parameters, problems));
            } else if !["parameters", "summary", "description", "servers"].contains(&key.as_str())
                && !key.starts_with("x-")
            {
                problems.add(&node.pointer, format!("`{key}` is no method of HTTP"));
            }
        }
        api.paths.paths.insert(path, ReferenceOr::Item(item));
    }
    api
}

/// The parameters of an operation: its own, then those of its path that it does not declare anew. A
/// reference is followed to what it means.
fn parameters<'a>(
    root: &Node<'a>,
    path: &Node<'a>,
    operation: &Node<'a>,
    problems: &mut Problems,
) -> Vec<Node<'a>> {
    let mut all = Vec::new();
    let mut known = std::collections::HashSet::new();
    for owner in [operation, path] {
        for node in owner.items_of("parameters", problems) {
            let Some(node) = meant(root, node, problems) else { continue };
            let name = |key: &str| node.get(key).and_then(|node| node.value.as_str());
            if known.insert((name("in"), name("name"))) || owner.pointer == operation.pointer {
                all.push(node);
            }
        }
    }
    all
}

/// What a node means: the node itself, or the one that it refers to in the same file.
pub(super) fn meant<'a>(root: &Node<'a>, node: Node<'a>, problems: &mut Problems) -> Option<Node<'a>> {
    let Some(target) = node.text_of("$ref", problems) else { return Some(node) };
    let mut found = target.starts_with("#/").then(|| root.clone());
    for step in target.trim_start_matches("#/").split('/') {
        found = found.and_then(|node| node.get(&step.replace("~1", "/").replace("~0", "~")));
    }
    if found.is_none() {
        problems.add(&format!("{}/$ref", node.pointer), format!("`{target}` leads nowhere"));
    }
    found
}

/// Where a path keeps the operation of a method.
fn method_slot<'i>(item: &'i mut PathItem, method: &str) -> Option<&'i mut Option<Operation>> {
    Some(match method {
        "get" => &mut item.get,
        "head" => &mut item.head,
        "post" => &mut item.post,
        "put" => &mut item.put,
        "patch" => &mut item.patch,
        "delete" => &mut item.delete,
        "options" => &mut item.options,
        _ => return None,
    })
}

/// The head of an operation, without parameters, bodies and answers.
pub(super) fn operation_head(node: &Node<'_>, problems: &mut Problems) -> Operation {
    Operation {
        tags: node
            .items_of("tags", problems)
            .iter()
            .filter_map(|tag| tag.text(problems))
            .map(str::to_owned)
            .collect(),
        summary: node.text_of("summary", problems).map(|text| text.trim().to_owned()),
        description: description(node, problems),
        operation_id: node.text_of("operationId", problems).map(str::to_owned),
        deprecated: node.flag_of("deprecated", problems),
        ..Operation::default()
    }
}

/// A parameter with the schema that its dialect found.
pub(super) fn parameter_in(
    node: &Node<'_>,
    format: ParameterSchemaOrContent,
    problems: &mut Problems,
) -> Option<Parameter> {
    let (Some(name), Some(place)) = (node.text_of("name", problems), node.text_of("in", problems)) else {
        problems.add(&node.pointer, "a parameter needs a `name` and an `in`");
        return None;
    };
    let parameter_data = ParameterData {
        name: name.to_owned(),
        description: description(node, problems),
        required: node.flag_of("required", problems),
        deprecated: Some(node.flag_of("deprecated", problems)),
        format,
        example: None,
        examples: IndexMap::new(),
        explode: None,
        extensions: IndexMap::new(),
    };
    match place {
        "query" => Some(Parameter::Query {
            parameter_data,
            allow_reserved: false,
            style: Default::default(),
            allow_empty_value: None,
        }),
        "header" => Some(Parameter::Header { parameter_data, style: Default::default() }),
        "path" => Some(Parameter::Path { parameter_data, style: Default::default() }),
        "cookie" => Some(Parameter::Cookie { parameter_data, style: Default::default() }),
        other => {
            let known = ["query", "header", "path", "body", "cookie"];
            problems.add(&format!("{}/in", node.pointer), crate::read::unknown("place", other, &known));
            None
        }
    }
}

/// The answers of an operation, each lowered by the dialect.
pub(super) fn responses(
    node: &Node<'_>,
    problems: &mut Problems,
    response: impl Fn(&Node<'_>, &mut Problems) -> ReferenceOr<Response>,
) -> Responses {
    let mut responses = Responses::default();
    if node.get("responses").is_none() {
        problems.add(&node.pointer, "has no `responses`");
    }
    for (status, node) in node.entries_of("responses", problems) {
        let lowered = response(&node, problems);
        match status.parse() {
            Ok(code) => {
                responses.responses.insert(StatusCode::Code(code), lowered);
            }
            Err(_) if status == "default" => responses.default = Some(lowered),
            Err(_) => problems.add(&node.pointer, format!("`{status}` is no status of HTTP")),
        }
    }
    responses
}
