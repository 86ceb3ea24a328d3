//! Schemas, which Swagger 2.0 and OpenAPI 3.0 write nearly alike. Where schemas stand is left to
//! the two dialects.

use openapiv3::{
    AdditionalProperties, AnySchema, ArrayType, IntegerFormat, IntegerType, NumberFormat, NumberType,
    ObjectType, ReferenceOr, Schema, SchemaData, SchemaKind, StringFormat, StringType, Type,
    VariantOrUnknownOrEmpty,
};

use crate::problem::Problems;
use crate::read::Node;

/// Lowers a schema. A reference with a description of its own becomes an `allOf` of one, as
/// `openapiv3` has no other place for the description.
pub(super) fn schema(node: &Node<'_>, problems: &mut Problems) -> ReferenceOr<Schema> {
    if node.value.as_mapping().is_none() {
        problems.add(&node.pointer, format!("expected a schema, found {}", node.kind()));
        return item(SchemaData::default(), any());
    }
    let data = SchemaData {
        description: description(node, problems),
        deprecated: node.flag_of("deprecated", problems),
        nullable: node.flag_of("nullable", problems),
        read_only: node.flag_of("readOnly", problems),
        title: node.text_of("title", problems).map(str::to_owned),
        ..SchemaData::default()
    };
    if let Some(reference) = reference(node, problems) {
        if data.description.is_none() {
            return ReferenceOr::Reference { reference };
        }
        return item(data, SchemaKind::AllOf { all_of: vec![ReferenceOr::Reference { reference }] });
    }
    let kind = kind(node, problems);
    item(data, kind)
}

fn item(schema_data: SchemaData, schema_kind: SchemaKind) -> ReferenceOr<Schema> {
    ReferenceOr::Item(Schema { schema_data, schema_kind })
}

fn boxed(schema: ReferenceOr<Schema>) -> ReferenceOr<Box<Schema>> {
    match schema {
        ReferenceOr::Reference { reference } => ReferenceOr::Reference { reference },
        ReferenceOr::Item(schema) => ReferenceOr::Item(Box::new(schema)),
    }
}

fn any() -> SchemaKind {
    SchemaKind::Any(AnySchema::default())
}

/// The description, without the space around it.
pub(super) fn description(node: &Node<'_>, problems: &mut Problems) -> Option<String> {
    let text = node.text_of("description", problems)?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The target of a node that is a reference, as `openapiv3` writes it.
pub(super) fn reference(node: &Node<'_>, problems: &mut Problems) -> Option<String> {
    let target = node.text_of("$ref", problems)?;
    for (section, lowered) in [
        ("#/definitions/", "#/components/schemas/"),
        ("#/responses/", "#/components/responses/"),
        ("#/parameters/", "#/components/parameters/"),
        ("#/components/", "#/components/"),
    ] {
        if let Some(name) = target.strip_prefix(section) {
            return Some(format!("{lowered}{name}"));
        }
    }
    problems.add(&format!("{}/$ref", node.pointer), format!("`{target}` leads out of this file"));
    None
}

fn kind(node: &Node<'_>, problems: &mut Problems) -> SchemaKind {
    for (key, wrap) in [
        ("allOf", (|all_of| SchemaKind::AllOf { all_of }) as fn(Vec<ReferenceOr<Schema>>) -> SchemaKind),
        ("oneOf", |one_of| SchemaKind::OneOf { one_of }),
        ("anyOf", |any_of| SchemaKind::AnyOf { any_of }),
    ] {
        if node.get(key).is_some() {
            let items = node.items_of(key, problems);
            return wrap(items.iter().map(|item| schema(item, problems)).collect());
        }
    }
    let declared = node.text_of("type", problems);
    let has = |key: &str| node.get(key).is_some();
    let kind = match declared {
        Some(kind) => kind,
        None if has("properties") || has("additionalProperties") => "object",
        None if has("items") => "array",
        None => return any(),
    };
    let format = node.text_of("format", problems).unwrap_or_default();
    SchemaKind::Type(match kind {
        "string" => Type::String(StringType {
            format: match format {
                "date-time" => VariantOrUnknownOrEmpty::Item(StringFormat::DateTime),
                "binary" => VariantOrUnknownOrEmpty::Item(StringFormat::Binary),
                other => unknown(other),
            },
            enumeration: node
                .items_of("enum", problems)
                .iter()
                .filter(|value| !value.value.is_null())
                .map(|value| value.text(problems).map(str::to_owned))
                .collect(),
            ..StringType::default()
        }),
        "integer" => Type::Integer(IntegerType {
            format: match format {
                "int32" => VariantOrUnknownOrEmpty::Item(IntegerFormat::Int32),
                "int64" => VariantOrUnknownOrEmpty::Item(IntegerFormat::Int64),
                other => unknown(other),
            },
            ..IntegerType::default()
        }),
        "number" => Type::Number(NumberType {
            format: match format {
                "float" => VariantOrUnknownOrEmpty::Item(NumberFormat::Float),
                "double" => VariantOrUnknownOrEmpty::Item(NumberFormat::Double),
                other => unknown(other),
            },
            ..NumberType::default()
        }),
        "boolean" => Type::Boolean(openapiv3::BooleanType::default()),
        "array" => Type::Array(ArrayType {
            items: node.get("items").map(|items| boxed(schema(&items, problems))),
            min_items: None,
            max_items: None,
            unique_items: false,
        }),
        "object" => Type::Object(ObjectType {
            properties: node
                .entries_of("properties", problems)
                .into_iter()
                .map(|(name, property)| (name, boxed(schema(&property, problems))))
                .collect(),
            additional_properties: additional(node, problems),
            ..ObjectType::default()
        }),
        other => {
            let known = ["string", "integer", "number", "boolean", "array", "object"];
            problems.add(&format!("{}/type", node.pointer), crate::read::unknown("type", other, &known));
            return any();
        }
    })
}

fn unknown<T>(format: &str) -> VariantOrUnknownOrEmpty<T> {
    match format {
        "" => VariantOrUnknownOrEmpty::Empty,
        other => VariantOrUnknownOrEmpty::Unknown(other.to_owned()),
    }
}

fn additional(node: &Node<'_>, problems: &mut Problems) -> Option<AdditionalProperties> {
    let additional = node.get("additionalProperties")?;
    Some(match additional.value.as_bool() {
        Some(flag) => AdditionalProperties::Any(flag),
        None => AdditionalProperties::Schema(Box::new(schema(&additional, problems))),
    })
}
