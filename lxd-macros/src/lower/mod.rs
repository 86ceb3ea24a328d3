//! From a description that has been read and repaired to the `openapiv3` model, whichever of
//! Swagger 2.0 and OpenAPI 3.0 it is written in. What Rust makes of it is left to the model.

mod openapi3;
mod schema;
mod swagger2;

use openapiv3::OpenAPI;

use crate::problem::{Problem, Problems};
use crate::read::{Document, Node};

/// Lowers a description; all its faults are told at once.
pub(crate) fn lower(document: &Document) -> Result<OpenAPI, Vec<Problem>> {
    let mut problems = Problems::default();
    let root = document.node();
    let version = |key: &str| root.get(key).map(|node| node.value.clone());
    let api = match (version("swagger"), version("openapi")) {
        (Some(version), None) if is_version(&version, "2.0") => swagger2::lower(&root, &mut problems),
        (None, Some(version)) if is_version(&version, "3.0") => openapi3::lower(&root, &mut problems),
        (Some(_), _) => {
            problems.add("/swagger", "only version 2.0 can be read");
            OpenAPI::default()
        }
        (None, Some(_)) => {
            problems.add("/openapi", "only the versions 3.0.x can be read");
            OpenAPI::default()
        }
        (None, None) => {
            problems
                .add("", "has neither `swagger: \"2.0\"` nor `openapi: 3.0.x`: is it an API description?");
            OpenAPI::default()
        }
    };
    problems.into_result(document).map(|()| api)
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
fn meant<'a>(root: &Node<'a>, node: Node<'a>, problems: &mut Problems) -> Option<Node<'a>> {
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

/// Whether a version, which may be written as a number, is `wanted` or a patch release of it.
fn is_version(version: &serde_yaml::Value, wanted: &str) -> bool {
    match version {
        serde_yaml::Value::String(text) => {
            text == wanted || text.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
        }
        serde_yaml::Value::Number(number) => {
            number.as_f64().is_some_and(|number| format!("{number:.1}") == wanted)
        }
        _ => false,
    }
}

/// Whether a schema is bytes and not JSON.
pub(crate) fn is_binary(schema: &openapiv3::Schema) -> bool {
    use openapiv3::{SchemaKind, StringFormat, Type, VariantOrUnknownOrEmpty};
    matches!(
        &schema.schema_kind,
        SchemaKind::Type(Type::String(string))
            if string.format == VariantOrUnknownOrEmpty::Item(StringFormat::Binary)
    )
}
