//! Examples of the types of the description, as JSON: with all there can be, with nothing, with nulls.

use serde_json::{Value, json};

use crate::description::Description;

/// How much there is in an example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fill {
    /// Each field, with a value that is not its default.
    Full,
    /// No field.
    Empty,
    /// Each field, all null.
    Nulls,
}

impl Description {
    /// An example of a schema. Lists and maps have one entry, which is filled so.
    pub(crate) fn example(&self, schema: &serde_yaml::Value, fill: Fill) -> Value {
        self.inside(&[], schema, fill)
    }

    /// The same inside of these types. A type within itself ends there.
    fn inside(&self, types: &[&str], schema: &serde_yaml::Value, fill: Fill) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.named_inside(types, reference.trim_start_matches("#/definitions/"), fill);
        }
        match schema["type"].as_str() {
            Some("string") if schema["format"] == "date-time" => json!("2026-02-03T04:05:06.7Z"),
            Some("string") => json!("text ü\n\""),
            Some("integer") => json!(7),
            Some("number") => json!(1.5),
            Some("boolean") => json!(true),
            Some("array") => json!([self.inside(types, &schema["items"], fill)]),
            Some("object") if !schema["additionalProperties"].is_null() => {
                json!({"key.a": self.inside(types, &schema["additionalProperties"], fill)})
            }
            Some("object") if !schema["properties"].is_null() => {
                let fields = schema["properties"].as_mapping().into_iter().flatten();
                let fields = fields
                    .map(|(name, schema)| (name.as_str().unwrap_or_default().to_owned(), schema.clone()));
                self.object(types, fields.collect(), fill)
            }
            _ => json!({"any": [1, "text", null, {"a": true}]}),
        }
    }

    fn named_inside(&self, types: &[&str], name: &str, fill: Fill) -> Value {
        let fill = if types.contains(&name) { Fill::Empty } else { fill };
        let types = &[types, &[name]].concat();
        let (kind, fields) = self.named(name);
        match kind.as_str() {
            Some("object") => self.object(types, fields, fill),
            _ => {
                let schema = [("type".into(), kind)].into_iter().collect();
                self.inside(types, &serde_yaml::Value::Mapping(schema), fill)
            }
        }
    }

    fn object(&self, types: &[&str], fields: Vec<(String, serde_yaml::Value)>, fill: Fill) -> Value {
        let fields = fields.into_iter().filter(|_| fill != Fill::Empty);
        let example = |schema| match fill {
            Fill::Nulls => Value::Null,
            _ => self.inside(types, &schema, fill),
        };
        fields.map(|(name, schema)| (name, example(schema))).collect()
    }
}
