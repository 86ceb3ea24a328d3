//! OpenAPI 3.0: where it keeps schemas, parameters, bodies and answers. Schemas themselves are left
//! to their own module.

use openapiv3::{
    Components, MediaType, OpenAPI, Operation, ParameterSchemaOrContent, ReferenceOr, RequestBody, Response,
    Schema,
};

use super::common::{api, meant, operation_head, parameter_in, responses};
use super::schema::{description, reference, schema};
use crate::problem::Problems;
use crate::read::Node;

pub(super) fn lower(root: &Node<'_>, problems: &mut Problems) -> OpenAPI {
    let mut components = Components::default();
    if let Some(node) = root.get("components") {
        for (name, node) in node.entries_of("schemas", problems) {
            components.schemas.insert(name, schema(&node, problems));
        }
        for (name, node) in node.entries_of("responses", problems) {
            components.responses.insert(name, response(&node, problems));
        }
    }
    api(root, components, problems, &operation)
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
    if let Some(node) = node.get("requestBody").and_then(|node| meant(root, node, problems)) {
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
