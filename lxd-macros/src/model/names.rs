//! Rust names: the words of a wire name, the case that each use wants, and scopes in which no two
//! are alike. Which name a thing should have is left to the callers.

use std::collections::HashSet;

/// A set of names in which a name is given once. What differs in case or underscores alone counts
/// as the same, so that `fooBar`, `foo_bar` and `FooBar` are never beside each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    taken: HashSet<String>,
}

impl Scope {
    /// A scope in which some names are taken from the start.
    pub(crate) fn with(reserved: &[&str]) -> Self {
        let mut scope = Self::default();
        for name in reserved {
            scope.taken.insert(folded(name));
        }
        scope
    }

    /// Takes a name, or the first free one of `name2`, `name3` ….
    pub(crate) fn claim(&mut self, name: &str) -> String {
        let mut candidate = name.to_owned();
        let mut number = 2;
        while !self.taken.insert(folded(&candidate)) {
            candidate = format!("{name}{number}");
            number += 1;
        }
        candidate
    }
}

fn folded(name: &str) -> String {
    name.chars().filter(|letter| *letter != '_').flat_map(char::to_lowercase).collect()
}

/// The words of a name in any case.
fn words(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (index, &letter) in letters.iter().enumerate() {
        if !letter.is_alphanumeric() {
            words.push(String::new());
            continue;
        }
        let before = index.checked_sub(1).map(|index| letters[index]);
        let after = letters.get(index + 1);
        let starts = letter.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase()
                    || before.is_numeric()
                    || (before.is_uppercase() && after.is_some_and(|after| after.is_lowercase()))
            });
        if starts {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A name in snake case, that may be a keyword.
pub(crate) fn snake(name: &str) -> String {
    started(words(name).join("_"), "_")
}

/// A name in upper camel case. One that has it already is kept, with its abbreviations.
pub(crate) fn camel(name: &str) -> String {
    let is_camel = name.starts_with(|letter: char| letter.is_ascii_uppercase())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric());
    if is_camel {
        return name.to_owned();
    }
    let mut camel = String::new();
    for word in words(name) {
        let mut letters = word.chars();
        camel.extend(letters.next().into_iter().flat_map(char::to_uppercase));
        camel.push_str(letters.as_str());
    }
    if camel.is_empty() { "Unnamed".to_owned() } else { started(camel, "N") }
}

/// A name in upper snake case.
pub(crate) fn upper_snake(name: &str) -> String {
    snake(name).to_uppercase()
}

/// Puts `start` before a name that could not start an identifier.
fn started(name: String, start: &str) -> String {
    match name.chars().next() {
        Some(first) if first.is_alphabetic() => name,
        Some(_) => format!("{start}{name}"),
        None => "unnamed".to_owned(),
    }
}

/// The name of one of several things. A word of three letters is taken as an abbreviation, as `tls` is.
pub(crate) fn singular(plural: &str) -> String {
    let endings = [
        ("ies", "y"),
        ("sses", "ss"),
        ("xes", "x"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("ases", "as"),
        ("ss", "ss"),
        ("s", ""),
    ];
    if plural.len() < 4 {
        return plural.to_owned();
    }
    for (many, one) in endings {
        if let Some(stem) = plural.strip_suffix(many) {
            return format!("{stem}{one}");
        }
    }
    plural.to_owned()
}

/// The identifier for a name: raw where it is a keyword.
pub(crate) fn identifier(name: &str) -> proc_macro2::Ident {
    let span = proc_macro2::Span::call_site();
    // These four cannot be raw.
    if ["self", "super", "crate", "Self"].contains(&name) {
        return proc_macro2::Ident::new(&format!("{name}_"), span);
    }
    syn::parse_str(name).unwrap_or_else(|_| proc_macro2::Ident::new_raw(name, span))
}

#[cfg(test)]
mod tests {
    use super::{Scope, camel, identifier, singular, snake, upper_snake};

    #[test]
    fn cases() {
        for (name, expected) in [
            ("record-output", "record_output"),
            ("Config", "config"),
            ("entityType", "entity_type"),
            ("networkName", "network_name"),
            ("X-LXD-uid", "x_lxd_uid"),
            ("HTTPServer", "http_server"),
            ("type", "type"),
            ("2nd", "_2nd"),
            ("nameOrID", "name_or_id"),
        ] {
            assert_eq!(snake(name), expected, "{name}");
        }
        for (name, expected) in [
            ("InstanceStateCPU", "InstanceStateCPU"),
            ("virtual-machine", "VirtualMachine"),
            ("Running", "Running"),
            ("inet6", "Inet6"),
            ("9p", "N9p"),
            ("Client certificate (pending)", "ClientCertificatePending"),
        ] {
            assert_eq!(camel(name), expected, "{name}");
        }
        assert_eq!(upper_snake("OperationCreated"), "OPERATION_CREATED");
    }

    #[test]
    fn singulars() {
        for (plural, expected) in [
            ("instances", "instance"),
            ("identities", "identity"),
            ("addresses", "address"),
            ("aliases", "alias"),
            ("access", "access"),
            ("storage", "storage"),
        ] {
            assert_eq!(singular(plural), expected);
        }
    }

    #[test]
    fn a_scope_gives_a_name_once() {
        let mut scope = Scope::with(&["new"]);
        assert_eq!(scope.claim("new"), "new2");
        assert_eq!(scope.claim("foo_bar"), "foo_bar");
        assert_eq!(scope.claim("fooBar"), "fooBar2");
        assert_eq!(scope.claim("FooBar"), "FooBar3");
    }

    #[test]
    fn keywords_are_raw() {
        assert_eq!(identifier("type").to_string(), "r#type");
        assert_eq!(identifier("self").to_string(), "self_");
        assert_eq!(identifier("name").to_string(), "name");
    }
}
