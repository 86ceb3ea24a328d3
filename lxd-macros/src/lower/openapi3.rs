//! OpenAPI 3.0: where it keeps schemas, parameters, bodies and answers. Schemas themselves are left
//! to their own module.

use openapiv3::{
    Components, MediaType, OpenAPI, Operation, ParameterSchemaOrContent, PathItem, ReferenceOr, RequestBody,
    Response, Schema,
};

use super::schema::{description, reference, schema};
use super::swagger2::{method_slot, operation_head, parameter_in, responses};
use crate::problem::Problems;
use crate::read::Node;

pub(super) fn lower(root: &Node<'_>, problems: &mut Problems) -> OpenAPI {
    let mut api = OpenAPI { openapi: "3.0.3".to_owned(), ..OpenAPI::default() };
    if let Some(info) = root.get("info") {
        api.info.title = info.text_of("title", problems).unwrap_or_default().to_owned();
        api.info.version = info.text_of("version", problems).unwrap_or_default().to_owned();
    }
    let mut components = Components::default();
    if let Some(node) = root.get("components") {
        for (name, node) in node.entries_of("schemas", problems) {
            components.schemas.insert(name, schema(&node, problems));
        }
        for (name, node) in node.entries_of("responses", problems) {
            components.responses.insert(name, response(&node, problems));
        }
    }
    api.components = Some(components);
    if root.get("paths").is_none() {
        problems.add(&root.pointer, "has no `paths`");
    }
    for (path, path_node) in root.entries_of("paths", problems) {
        let mut item = PathItem::default();
        for (key, node) in path_node.entries(problems) {
            if let Some(slot) = method_slot(&mut item, &key) {
                let parameters = super::parameters(root, &path_node, &node, problems);
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

fn operation<'a>(
    root: &Node<'a>,
    node: &Node<'a>,
    parameters: &[Node<'a>],
    problems: &mut Problems,
) -> Operation {
    let mut operation = operation_head(node, problems);
    for node in parameters {
        let Some(lowered) = node.get("schema").map(|node| schema(&node, problems)) else {
            problems.add(&node.pointer, "a parameter needs a `schema`");
            continue;
        };
        let format = ParameterSchemaOrContent::Schema(lowered);
        if let Some(parameter) = parameter_in(node, format, problems) {
            operation.parameters.push(ReferenceOr::Item(parameter));
        }
    }
    if let Some(node) = node.get("requestBody").and_then(|node| super::meant(root, node, problems)) {
        operation.request_body = Some(ReferenceOr::Item(RequestBody {
            description: description(&node, problems),
            required: node.flag_of("required", problems),
            content: content(&node, problems),
            ..RequestBody::default()
        }));
    }
    operation.responses = responses(node, problems, response);
    operation
}

fn response(node: &Node<'_>, problems: &mut Problems) -> ReferenceOr<Response> {
    if let Some(reference) = reference(node, problems) {
        return ReferenceOr::Reference { reference };
    }
    ReferenceOr::Item(Response {
        description: description(node, problems).unwrap_or_default(),
        content: content(node, problems),
        ..Response::default()
    })
}

fn content(node: &Node<'_>, problems: &mut Problems) -> openapiv3::Content {
    node.entries_of("content", problems)
        .into_iter()
        .map(|(kind, node)| {
            let schema: Option<ReferenceOr<Schema>> = node.get("schema").map(|node| schema(&node, problems));
            (kind, MediaType { schema, ..MediaType::default() })
        })
        .collect()
}
