//! A YAML file as a tree whose nodes know their JSON pointer, and the line of any pointer. What the
//! tree means is left to the stages that follow.

use std::fmt;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_yaml::Value;

use crate::problem::{Problem, Problems};

/// A file that has been read.
#[derive(Debug)]
pub(crate) struct Document {
    /// The file, as the macro names it.
    pub(crate) file: String,
    /// Its content.
    pub(crate) root: Value,
    text: String,
}

impl Document {
    /// Reads the file at `path`, which errors call `file`.
    pub(crate) fn read(file: &str, path: &Path) -> Result<Self, Problem> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(file, text),
            Err(error) => Err(Problem {
                file: file.to_owned(),
                line: None,
                pointer: String::new(),
                message: format!("cannot be read at {}: {error}", path.display()),
            }),
        }
    }

    /// Takes the text of a file.
    pub(crate) fn parse(file: &str, text: String) -> Result<Self, Problem> {
        match serde_yaml::from_str(&text) {
            Ok(root) => Ok(Self { file: file.to_owned(), root, text }),
            Err(error) => Err(Problem {
                file: file.to_owned(),
                line: error.location().map(|location| location.line()),
                pointer: String::new(),
                message: format!("is not valid YAML: {error}"),
            }),
        }
    }

    /// The top of the tree.
    pub(crate) fn node(&self) -> Node<'_> {
        Node { value: &self.root, pointer: String::new() }
    }

    /// The line of the value at a JSON pointer.
    ///
    /// The YAML library keeps no places in its values but puts them on errors: the file is read once
    /// more up to the value, and stopped there by an error. So only faulty files pay for places.
    pub(crate) fn line_of(&self, pointer: &str) -> Option<usize> {
        let steps: Vec<String> =
            pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
        let error =
            Stop { steps: &steps }.deserialize(serde_yaml::Deserializer::from_str(&self.text)).err()?;
        error.location().map(|location| location.line())
    }
}

/// Walks to the end of the steps and stops the reader there.
struct Stop<'s> {
    steps: &'s [String],
}

impl<'de> DeserializeSeed<'de> for Stop<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.steps {
            [] => deserializer.deserialize_any(Here),
            _ => deserializer.deserialize_any(self),
        }
    }
}

/// Takes no value at all, so that any stops the reader.
struct Here;

impl Visitor<'_> for Here {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the end of the way")
    }
}

impl<'de> Visitor<'de> for Stop<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a mapping or a sequence")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let (step, rest) = (&self.steps[0], &self.steps[1..]);
        while let Some(matches) = access.next_key_seed(StopAtKey { step, last: rest.is_empty() })? {
            if matches {
                access.next_value_seed(Stop { steps: rest })?;
            } else {
                access.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let (step, rest) = (&self.steps[0], &self.steps[1..]);
        for index in 0.. {
            let more = if index.to_string() == *step {
                access.next_element_seed(Stop { steps: rest })?.is_some()
            } else {
                access.next_element::<IgnoredAny>()?.is_some()
            };
            if !more {
                break;
            }
        }
        Ok(())
    }
}

/// Tells whether a key is the step; stops the reader at the key of the last step.
struct StopAtKey<'s> {
    step: &'s str,
    last: bool,
}

impl<'de> DeserializeSeed<'de> for StopAtKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for StopAtKey<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        match key == self.step {
            true if self.last => Err(E::custom("here")),
            matches => Ok(matches),
        }
    }
}

/// A value of a file, with the way to it.
#[derive(Clone, Debug)]
pub(crate) struct Node<'a> {
    /// The value.
    pub(crate) value: &'a Value,
    /// Its JSON pointer.
    pub(crate) pointer: String,
}

impl<'a> Node<'a> {
    fn step(&self, value: &'a Value, step: &str) -> Node<'a> {
        let step = step.replace('~', "~0").replace('/', "~1");
        Node { value, pointer: format!("{}/{step}", self.pointer) }
    }

    /// What the value is, as errors name it.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
            Value::Tagged(_) => "a tagged value",
        }
    }

    /// The value of a key, where the node is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<Node<'a>> {
        let value = self.value.as_mapping()?.get(key)?;
        Some(self.step(value, key))
    }

    /// The entries of a mapping; anything else is a problem.
    pub(crate) fn entries(&self, problems: &mut Problems) -> Vec<(String, Node<'a>)> {
        let Some(mapping) = self.value.as_mapping() else {
            problems.add(&self.pointer, format!("expected a mapping, found {}", self.kind()));
            return Vec::new();
        };
        let mut entries = Vec::with_capacity(mapping.len());
        for (key, value) in mapping {
            match key_text(key) {
                Some(key) => {
                    let node = self.step(value, &key);
                    entries.push((key, node));
                }
                None => problems.add(&self.pointer, "has a key that is not a string"),
            }
        }
        entries
    }

    /// The entries of the mapping at `key`, none where it is absent.
    pub(crate) fn entries_of(&self, key: &str, problems: &mut Problems) -> Vec<(String, Node<'a>)> {
        self.get(key).map(|node| node.entries(problems)).unwrap_or_default()
    }

    /// The items of the list at `key`, none where it is absent.
    pub(crate) fn items_of(&self, key: &str, problems: &mut Problems) -> Vec<Node<'a>> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let Some(items) = node.value.as_sequence() else {
            problems.add(&node.pointer, format!("expected a list, found {}", node.kind()));
            return Vec::new();
        };
        items.iter().enumerate().map(|(index, item)| node.step(item, &index.to_string())).collect()
    }

    /// The text of the node; anything else is a problem.
    pub(crate) fn text(&self, problems: &mut Problems) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            problems.add(&self.pointer, format!("expected a string, found {}", self.kind()));
        }
        text
    }

    /// The text at `key`, none where it is absent.
    pub(crate) fn text_of(&self, key: &str, problems: &mut Problems) -> Option<&'a str> {
        self.get(key)?.text(problems)
    }

    /// The boolean at `key`, false where it is absent.
    pub(crate) fn flag_of(&self, key: &str, problems: &mut Problems) -> bool {
        let Some(node) = self.get(key) else { return false };
        node.value.as_bool().unwrap_or_else(|| {
            problems.add(&node.pointer, format!("expected true or false, found {}", node.kind()));
            false
        })
    }
}

/// A key as text: statuses are often written as numbers.
fn key_text(key: &Value) -> Option<String> {
    match key {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Document;
    use crate::problem::Problems;

    const TEXT: &str = "a:\n  b/c:\n    - x\n    - y: 1\n  '200': z\n";

    fn document() -> Document {
        Document::parse("test.yaml", TEXT.to_owned()).unwrap()
    }

    #[test]
    fn lines_are_those_of_the_keys() {
        let document = document();
        assert_eq!(document.line_of("/a"), Some(1));
        assert_eq!(document.line_of("/a/b~1c"), Some(2));
        assert_eq!(document.line_of("/a/b~1c/0"), Some(3));
        assert_eq!(document.line_of("/a/b~1c/1"), Some(4));
        assert_eq!(document.line_of("/a/b~1c/1/y"), Some(4));
        assert_eq!(document.line_of("/a/200"), Some(5));
        assert_eq!(document.line_of("/a/none"), None);
    }

    #[test]
    fn nodes_know_their_pointer() {
        let document = document();
        let mut problems = Problems::default();
        let entries = document.node().entries_of("a", &mut problems);
        assert_eq!(entries[0].1.pointer, "/a/b~1c");
        assert_eq!(entries[1].1.pointer, "/a/200");
        let items = document.node().get("a").unwrap().items_of("b/c", &mut problems);
        assert_eq!(items[1].get("y").unwrap().pointer, "/a/b~1c/1/y");
        assert!(problems.into_result(&document).is_ok());
    }

    #[test]
    fn a_wrong_kind_is_a_problem_with_its_place() {
        let document = document();
        let mut problems = Problems::default();
        let a = document.node().get("a").unwrap();
        assert!(a.items_of("200", &mut problems).is_empty());
        let found = problems.into_result(&document).unwrap_err();
        assert_eq!(found[0].to_string(), "test.yaml:5: /a/200: expected a list, found a string");
    }

    #[test]
    fn broken_yaml_names_its_line() {
        let problem = Document::parse("test.yaml", "a: 1\nb: [\n".to_owned()).unwrap_err();
        assert_eq!(problem.line, Some(3), "{problem}");
        let problem = Document::parse("test.yaml", "a: 1\na: 2\n".to_owned()).unwrap_err();
        assert!(problem.to_string().contains("duplicate"), "{problem}");
    }
}
