//! From a description that has been read and repaired to the `openapiv3` model, whichever of
//! Swagger 2.0 and OpenAPI 3.0 it is written in. What Rust makes of it is left to the model.

mod common;
mod openapi3;
mod schema;
mod swagger2;

use openapiv3::OpenAPI;

use crate::problem::{Problem, Problems};
use crate::read::Document;

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
