//! Swagger 2.0: where it keeps schemas, parameters, bodies and answers. Schemas themselves are left
//! to their own module.

use openapiv3::{
    Components, MediaType, OpenAPI, Operation, Parameter, ParameterSchemaOrContent, ReferenceOr, RequestBody,
    Response,
};

use super::common::{api, operation_head, parameter_in, responses};
use super::schema::{description, reference, schema};
use crate::problem::Problems;
use crate::read::Node;

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

pub(super) fn lower(root: &Node<'_>, problems: &mut Problems) -> OpenAPI {
    let mut components = Components::default();
    for (name, node) in root.entries_of("definitions", problems) {
        components.schemas.insert(name, schema(&node, problems));
    }
    for (name, node) in root.entries_of("responses", problems) {
        components.responses.insert(name, response(&node, &[], problems));
    }
    api(root, components, problems, &|_, node, parameters, problems| operation(node, parameters, problems))
}

fn operation(node: &Node<'_>, parameters: &[Node<'_>], problems: &mut Problems) -> Operation {
    let mut operation = operation_head(node, problems);
    let media = |key: &str, problems: &mut Problems| -> Vec<String> {
        node.items_of(key, problems)
            .iter()
            .filter_map(|kind| kind.text(problems))
            .map(str::to_owned)
            .collect()
    };
    let consumes = media("consumes", problems);
    let produces = media("produces", problems);
    for parameter in parameters {
        if parameter.text_of("in", problems) == Some("body") {
            body(parameter, &consumes, &mut operation, problems);
        } else if let Some(parameter) = self::parameter(parameter, problems) {
            operation.parameters.push(ReferenceOr::Item(parameter));
        }
    }
    operation.responses = responses(node, problems, |node, problems| response(node, &produces, problems));
    operation
}

/// A parameter that is not a body.
fn parameter(node: &Node<'_>, problems: &mut Problems) -> Option<Parameter> {
    let lowered = schema(node, problems);
    let format = match lowered {
        // The description is that of the parameter.
        ReferenceOr::Item(mut schema) => {
            schema.schema_data.description = None;
            ParameterSchemaOrContent::Schema(ReferenceOr::Item(schema))
        }
        reference => ParameterSchemaOrContent::Schema(reference),
    };
    parameter_in(node, format, problems)
}

/// Adds a body parameter to the operation's bodies: one content type for JSON, one for bytes.
fn body(node: &Node<'_>, consumes: &[String], operation: &mut Operation, problems: &mut Problems) {
    let Some(lowered) = node.get("schema").map(|node| schema(&node, problems)) else {
        problems.add(&node.pointer, "a body needs a `schema`");
        return;
    };
    let binary = matches!(&lowered, ReferenceOr::Item(schema) if super::is_binary(schema));
    let content =
        if binary { consumes.iter().find(|kind| *kind != JSON).map_or(BYTES, String::as_str) } else { JSON };
    let body = operation.request_body.get_or_insert_with(|| ReferenceOr::Item(RequestBody::default()));
    let ReferenceOr::Item(body) = body else { return };
    let media = MediaType { schema: Some(lowered), ..MediaType::default() };
    if body.content.insert(content.to_owned(), media).is_some() {
        problems.add(&node.pointer, "is a second body of the same content type");
    }
    body.required |= node.flag_of("required", problems);
    if !binary || body.description.is_none() {
        body.description = description(node, problems);
    }
}

fn response(node: &Node<'_>, produces: &[String], problems: &mut Problems) -> ReferenceOr<Response> {
    if let Some(reference) = reference(node, problems) {
        return ReferenceOr::Reference { reference };
    }
    let lowered = node.get("schema").map(|node| schema(&node, problems));
    let mut response =
        Response { description: description(node, problems).unwrap_or_default(), ..Response::default() };
    let json = [JSON.to_owned()];
    for kind in if produces.is_empty() && lowered.is_some() { &json } else { produces } {
        let media = MediaType { schema: lowered.clone(), ..MediaType::default() };
        response.content.insert(kind.clone(), media);
    }
    ReferenceOr::Item(response)
}
