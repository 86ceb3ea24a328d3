//! The overlay: what the published description does not say. Whether an entry finds its target in
//! a description is left to the model; what does not find one is skipped.

use indexmap::IndexMap;

use super::unknown;
use super::yaml::{Document, Node};
use crate::problem::{Problem, Problems};

/// The whole overlay.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// By operationId.
    pub(crate) operations: IndexMap<String, OperationOverlay>,
    /// By schema, then by field.
    pub(crate) fields: IndexMap<String, IndexMap<String, FieldOverlay>>,
    /// Types that the description has not at all, by name; each a set of fields.
    pub(crate) types: IndexMap<String, TypeOverlay>,
    /// Sets of texts, by name.
    pub(crate) enumerations: IndexMap<String, TextSet>,
    /// Sets of numbers, by name.
    pub(crate) codes: IndexMap<String, CodeSet>,
}

/// What the description does not say of an operation.
#[derive(Debug, Default)]
pub(crate) struct OperationOverlay {
    /// The name of its method.
    pub(crate) method: Option<String>,
    /// The name of its second method, which takes bytes.
    pub(crate) raw_method: Option<String>,
    /// What its body is.
    pub(crate) body: Option<BodyOverlay>,
    /// How its answer comes.
    pub(crate) answer: Option<Answer>,
    /// The type of its answer, as the facts write types.
    pub(crate) result: Option<String>,
    /// The type of the metadata of its background operation, once that is final.
    pub(crate) operation_result: Option<String>,
    /// The API extension that a server must have for it.
    pub(crate) extension: Option<String>,
    /// The parameters that the description has wrong or lacks.
    pub(crate) parameters: IndexMap<String, ParameterOverlay>,
}

/// What the description does not say of a parameter.
#[derive(Debug, Default)]
pub(crate) struct ParameterOverlay {
    /// Its type: `string`, `boolean`, `integer` or `octal`.
    pub(crate) kind: Option<String>,
    /// Where it goes, for one that the description lacks: `query` or `header`.
    pub(crate) place: Option<String>,
    /// What it means, for one that the description lacks.
    pub(crate) description: String,
}

/// What a body is, where the description does not say.
#[derive(Debug, Default)]
pub(crate) struct BodyOverlay {
    /// The type of its JSON form.
    pub(crate) json: Option<String>,
    /// Whether it also may be bytes.
    pub(crate) raw: bool,
    /// Whether it may be left out.
    pub(crate) optional: bool,
}

/// How an answer comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    /// In the JSON envelope.
    Json,
    /// As bytes.
    Raw,
    /// As plain text.
    Text,
    /// As a websocket.
    Websocket,
    /// As a websocket of events.
    Events,
    /// As a connection that speaks another protocol from then on.
    Upgrade,
}

/// What the description does not say of a field.
#[derive(Debug, Default)]
pub(crate) struct FieldOverlay {
    /// The type, as the facts write types.
    pub(crate) kind: Option<String>,
    /// The set of texts or numbers that it takes.
    pub(crate) set: Option<String>,
    /// What it means, where the description does not have the field.
    pub(crate) description: Option<String>,
    /// Whether absent and empty differ for the server.
    pub(crate) absent_differs: bool,
    /// Whether null removes an entry of this map in a PATCH.
    pub(crate) null_removes: bool,
    /// Whether it must not be shown to people.
    pub(crate) secret: bool,
    /// Whether it asks for an action and is no part of the object.
    pub(crate) request_only: bool,
}

/// A type that the description does not have.
#[derive(Debug, Default)]
pub(crate) struct TypeOverlay {
    /// What it is.
    pub(crate) description: String,
    /// Its fields.
    pub(crate) fields: IndexMap<String, FieldOverlay>,
}

/// A set of texts.
#[derive(Debug, Default)]
pub(crate) struct TextSet {
    /// What the texts are.
    pub(crate) description: String,
    /// The texts, each with what it means.
    pub(crate) values: IndexMap<String, String>,
}

/// A set of numbers.
#[derive(Debug, Default)]
pub(crate) struct CodeSet {
    /// What the numbers are.
    pub(crate) description: String,
    /// The numbers by the name of each.
    pub(crate) values: IndexMap<String, i64>,
}

impl Overlay {
    /// Makes sense of an overlay; all its faults are told at once.
    pub(crate) fn of(document: &Document) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let mut overlay = Self::default();
        let root = document.node();
        if !root.value.is_null() {
            overlay.read(&root, &mut problems);
            overlay.check_sets(&root, &mut problems);
        }
        problems.into_result(document).map(|()| overlay)
    }

    /// A field must name a set that the overlay has: no description could add it.
    fn check_sets(&self, root: &Node<'_>, problems: &mut Problems) {
        let known: Vec<&str> =
            self.enumerations.keys().chain(self.codes.keys()).map(String::as_str).collect();
        for (schema, fields) in &self.fields {
            for (field, entry) in fields {
                if let Some(set) = entry.set.as_deref().filter(|set| !known.contains(set)) {
                    let pointer = format!("{}/schemas/{schema}/{field}/set", root.pointer);
                    problems.add(&pointer, unknown("set", set, &known));
                }
            }
        }
    }

    fn read(&mut self, root: &Node<'_>, problems: &mut Problems) {
        let known = ["operations", "schemas", "types", "enumerations", "codes"];
        only(root, &known, problems);
        for (id, node) in root.entries_of("operations", problems) {
            self.operations.insert(id, operation(&node, problems));
        }
        for (name, node) in root.entries_of("schemas", problems) {
            self.fields.insert(name, fields(&node, problems));
        }
        for (name, node) in root.entries_of("types", problems) {
            only(&node, &["description", "fields"], problems);
            let description = text(&node, "description", problems).unwrap_or_default();
            let fields = node.get("fields").map(|node| fields(&node, problems)).unwrap_or_default();
            self.types.insert(name, TypeOverlay { description, fields });
        }
        for (name, node) in root.entries_of("enumerations", problems) {
            only(&node, &["description", "values"], problems);
            let description = text(&node, "description", problems).unwrap_or_default();
            let mut values = IndexMap::new();
            for (value, node) in node.entries_of("values", problems) {
                let meaning = if node.value.is_null() { None } else { node.text(problems) };
                values.insert(value, meaning.unwrap_or_default().to_owned());
            }
            self.enumerations.insert(name, TextSet { description, values });
        }
        for (name, node) in root.entries_of("codes", problems) {
            only(&node, &["description", "values"], problems);
            let description = text(&node, "description", problems).unwrap_or_default();
            let mut values = IndexMap::new();
            for (value, node) in node.entries_of("values", problems) {
                match node.value.as_i64() {
                    Some(code) => drop(values.insert(value, code)),
                    None => problems.add(&node.pointer, format!("expected a number, found {}", node.kind())),
                }
            }
            self.codes.insert(name, CodeSet { description, values });
        }
    }
}

fn only(node: &Node<'_>, known: &[&str], problems: &mut Problems) {
    for (key, node) in node.entries(problems) {
        if !known.contains(&key.as_str()) {
            problems.add(&node.pointer, unknown("key", &key, known));
        }
    }
}

fn text(node: &Node<'_>, key: &str, problems: &mut Problems) -> Option<String> {
    node.text_of(key, problems).map(|text| text.trim().to_owned())
}

fn operation(node: &Node<'_>, problems: &mut Problems) -> OperationOverlay {
    let known =
        ["method", "raw_method", "body", "answer", "result", "operation_result", "extension", "parameters"];
    only(node, &known, problems);
    OperationOverlay {
        method: text(node, "method", problems),
        raw_method: text(node, "raw_method", problems),
        body: node.get("body").map(|node| {
            only(&node, &["json", "raw", "optional"], problems);
            BodyOverlay {
                json: text(&node, "json", problems),
                raw: node.flag_of("raw", problems),
                optional: node.flag_of("optional", problems),
            }
        }),
        answer: node.get("answer").and_then(|node| answer(&node, problems)),
        result: text(node, "result", problems),
        operation_result: text(node, "operation_result", problems),
        extension: text(node, "extension", problems),
        parameters: node
            .entries_of("parameters", problems)
            .into_iter()
            .map(|(name, node)| (name, parameter(&node, problems)))
            .collect(),
    }
}

fn parameter(node: &Node<'_>, problems: &mut Problems) -> ParameterOverlay {
    only(node, &["type", "in", "description"], problems);
    let mut one_of = |key: &str, known: &[&str]| {
        let value = node.get(key)?;
        let text = value.text(problems)?;
        if !known.contains(&text) {
            problems.add(&value.pointer, unknown(key, text, known));
        }
        Some(text.to_owned())
    };
    ParameterOverlay {
        kind: one_of("type", &["string", "boolean", "integer", "octal"]),
        place: one_of("in", &["query", "header"]),
        description: text(node, "description", problems).unwrap_or_default(),
    }
}

fn answer(node: &Node<'_>, problems: &mut Problems) -> Option<Answer> {
    Some(match node.text(problems)? {
        "json" => Answer::Json,
        "raw" => Answer::Raw,
        "text" => Answer::Text,
        "websocket" => Answer::Websocket,
        "events" => Answer::Events,
        "upgrade" => Answer::Upgrade,
        other => {
            let known = ["json", "raw", "text", "websocket", "events", "upgrade"];
            problems.add(&node.pointer, unknown("answer", other, &known));
            return None;
        }
    })
}

fn fields(node: &Node<'_>, problems: &mut Problems) -> IndexMap<String, FieldOverlay> {
    let known = ["type", "set", "description", "absent_differs", "null_removes", "secret", "request_only"];
    let mut fields = IndexMap::new();
    for (name, node) in node.entries(problems) {
        only(&node, &known, problems);
        let field = FieldOverlay {
            kind: text(&node, "type", problems),
            set: text(&node, "set", problems),
            description: text(&node, "description", problems),
            absent_differs: node.flag_of("absent_differs", problems),
            null_removes: node.flag_of("null_removes", problems),
            secret: node.flag_of("secret", problems),
            request_only: node.flag_of("request_only", problems),
        };
        fields.insert(name, field);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::{Answer, Overlay};
    use crate::read::Document;

    fn overlay(text: &str) -> Result<Overlay, Vec<String>> {
        let document = Document::parse("overlay.yaml", text.to_owned()).unwrap();
        Overlay::of(&document).map_err(|list| list.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_empty_overlay_says_nothing() {
        assert!(overlay("").unwrap().operations.is_empty());
    }

    #[test]
    fn an_overlay_is_read() {
        let overlay = overlay(
            "operations: {a_get: {method: a, answer: raw, body: {json: A, optional: true}}}\n\
             schemas: {A: {type: {set: Kind}}}\n\
             enumerations: {Kind: {description: Kinds., values: {x: , y-z: Last.}}}\n\
             codes: {Code: {values: {Success: 200}}}",
        )
        .unwrap();
        let operation = &overlay.operations["a_get"];
        assert_eq!(operation.method.as_deref(), Some("a"));
        assert_eq!(operation.answer, Some(Answer::Raw));
        assert!(operation.body.as_ref().unwrap().optional);
        assert_eq!(overlay.fields["A"]["type"].set.as_deref(), Some("Kind"));
        assert_eq!(overlay.enumerations["Kind"].values["y-z"], "Last.");
        assert_eq!(overlay.codes["Code"].values["Success"], 200);
    }

    #[test]
    fn a_set_must_be_there() {
        let problems = overlay("schemas: {A: {b: {set: Knd}}}\nenumerations: {Kind: {values: {x: }}}");
        assert_eq!(
            problems.unwrap_err(),
            ["overlay.yaml:1: /schemas/A/b/set: unknown set `Knd`: did you mean `Kind`?"]
        );
    }

    #[test]
    fn unknown_keys_suggest_the_near_one_and_all_are_told() {
        let problems = overlay(
            "operatoins: {}\noperations:\n  a_get:\n    metod: a\n    answer: row\n    quite_other: 1\n",
        )
        .unwrap_err();
        assert_eq!(
            problems,
            [
                "overlay.yaml:1: /operatoins: unknown key `operatoins`: did you mean `operations`?",
                "overlay.yaml:4: /operations/a_get/metod: unknown key `metod`: did you mean `method`?",
                "overlay.yaml:5: /operations/a_get/answer: unknown answer `row`: did you mean `raw`?",
                "overlay.yaml:6: /operations/a_get/quite_other: unknown key `quite_other`: known are \
                 `method`, `raw_method`, `body`, `answer`, `result`, `operation_result`, `extension`, \
                 `parameters`",
            ]
        );
    }
}
