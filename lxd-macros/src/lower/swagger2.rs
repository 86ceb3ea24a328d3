//! Swagger 2.0: where it keeps schemas, parameters, bodies and answers. Schemas themselves are left
//! to their own module.

use indexmap::IndexMap;
use openapiv3::{
    Components, MediaType, OpenAPI, Operation, Parameter, ParameterData, ParameterSchemaOrContent, PathItem,
    ReferenceOr, RequestBody, Response, Responses, StatusCode,
};

use super::schema::{description, reference, schema};
use crate::problem::Problems;
use crate::read::Node;

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

pub(super) fn lower(root: &Node<'_>, problems: &mut Problems) -> OpenAPI {
    let mut api = OpenAPI { openapi: "3.0.3".to_owned(), ..OpenAPI::default() };
    if let Some(info) = root.get("info") {
        api.info.title = info.text_of("title", problems).unwrap_or_default().to_owned();
        api.info.version = info.text_of("version", problems).unwrap_or_default().to_owned();
    }
    let mut components = Components::default();
    for (name, node) in root.entries_of("definitions", problems) {
        components.schemas.insert(name, schema(&node, problems));
    }
    for (name, node) in root.entries_of("responses", problems) {
        components.responses.insert(name, response(&node, &[], problems));
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
                *slot = Some(operation(&node, &parameters, problems));
            } else if key != "parameters" && !key.starts_with("x-") {
                problems.add(&node.pointer, format!("`{key}` is no method of HTTP"));
            }
        }
        api.paths.paths.insert(path, ReferenceOr::Item(item));
    }
    api
}

/// Where a path keeps the operation of a method.
pub(super) fn method_slot<'i>(item: &'i mut PathItem, method: &str) -> Option<&'i mut Option<Operation>> {
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

/// What both dialects write alike in an operation.
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
