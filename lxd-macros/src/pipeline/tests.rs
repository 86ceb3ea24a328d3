use std::path::Path;

use serde_yaml::Value;

use super::{Document, Part, expand, generate};

const CRATE: &str = env!("CARGO_MANIFEST_DIR");

/// The expansion of a fixture, formatted, without the lines that track its files.
fn expansion(file: &str, part: Part) -> String {
    let tokens = expand(Path::new(CRATE), file, part).unwrap();
    let mut items: syn::File = syn::parse2(tokens).unwrap();
    items.items.retain(|item| !matches!(item, syn::Item::Const(_)));
    prettyplease::unparse(&items)
}

/// The faults of a description that has no overlay beside it but an empty one.
fn faults(description: &str) -> Vec<String> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("lxd-macros-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("api.yaml"), description).unwrap();
    std::fs::write(folder.join("overlay.yaml"), "").unwrap();
    let expanded = expand(&folder, "api.yaml", Part::Types);
    std::fs::remove_dir_all(&folder).unwrap();
    expanded.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn types_are_emitted() {
    insta::assert_snapshot!(expansion("fixtures/odd/swagger2.yaml", Part::Types));
}

#[test]
fn methods_are_emitted() {
    insta::assert_snapshot!(expansion("fixtures/odd/swagger2.yaml", Part::Methods));
}

#[test]
fn expectations_are_emitted() {
    insta::assert_snapshot!(expansion("fixtures/odd/swagger2.yaml", Part::Mock));
}

#[test]
fn each_method_has_an_expectation() {
    let names = |part, before: &str| -> Vec<String> {
        let expand = expand(Path::new(CRATE).parent().unwrap(), "spec/rest-api.yaml", part).unwrap();
        let file: syn::File = syn::parse2(expand).unwrap();
        let methods = file.items.into_iter().filter_map(|item| match item {
            syn::Item::Impl(block) if block.generics.params.is_empty() => Some(block.items),
            _ => None,
        });
        let names = methods.flatten().filter_map(|item| match item {
            syn::ImplItem::Fn(method) => Some(method.sig.ident.to_string()),
            _ => None,
        });
        names.map(|name| name.strip_prefix(before).expect("a name").to_owned()).collect()
    };
    let methods = names(Part::Methods, "");
    assert!(methods.len() >= 333, "{}", methods.len());
    assert_eq!(names(Part::Mock, "on_"), methods);
}

#[test]
fn openapi_3_expands_to_the_same_code() {
    for part in [Part::Types, Part::Methods, Part::Mock] {
        let swagger = expansion("fixtures/odd/swagger2.yaml", part);
        let openapi = expansion("fixtures/odd/openapi3.yaml", part);
        // By lines, so that a failure shows where.
        for (number, (one, other)) in swagger.lines().zip(openapi.lines()).enumerate() {
            assert_eq!(one, other, "line {number} of {part:?}");
        }
        assert_eq!(swagger.lines().count(), openapi.lines().count());
    }
}

#[test]
fn both_files_are_tracked() {
    let tokens = expand(Path::new(CRATE), "fixtures/odd/swagger2.yaml", Part::Types).unwrap().to_string();
    for file in ["/fixtures/odd/swagger2.yaml", "/fixtures/odd/overlay.yaml"] {
        assert!(
            tokens.contains(&format!(
                "include_bytes ! (concat ! (env ! (\"CARGO_MANIFEST_DIR\") , \"{file}\"))"
            ))
        );
    }
}

#[test]
fn a_missing_file_is_told_with_its_path() {
    let problems = expand(Path::new("/none"), "spec/rest-api.yaml", Part::Types).unwrap_err();
    let told = problems[0].to_string();
    assert!(told.starts_with("spec/rest-api.yaml: cannot be read at /none/spec/rest-api.yaml: "), "{told}");
}

#[test]
fn all_faults_are_told_at_once_with_their_places() {
    let found = faults(
        "swagger: '2.0'
definitions:
  A:
    type: objekt
  B: 7
  C:
    properties:
      x: {$ref: 'other.yaml#/X'}
paths:
  /a:
    get:
      operationId: 5
      parameters:
        - {in: qwery, name: x, type: string}
        - {in: query}
        - {$ref: '#/parameters/none'}
      responses:
        '200': {description: ''}
        abc: {description: ''}
    fetch: {}
  /b:
    get: {operationId: b_get}
",
    );
    assert_eq!(
        found,
        [
            "api.yaml:4: /definitions/A/type: unknown type `objekt`: did you mean `object`?",
            "api.yaml:5: /definitions/B: expected a schema, found a number",
            "api.yaml:8: /definitions/C/properties/x/$ref: `other.yaml#/X` leads out of this file",
            "api.yaml:12: /paths/~1a/get/operationId: expected a string, found a number",
            "api.yaml:14: /paths/~1a/get/parameters/0/in: unknown place `qwery`: did you mean `query`?",
            "api.yaml:15: /paths/~1a/get/parameters/1: a parameter needs a `name` and an `in`",
            "api.yaml:16: /paths/~1a/get/parameters/2/$ref: `#/parameters/none` leads nowhere",
            "api.yaml:19: /paths/~1a/get/responses/abc: `abc` is no status of HTTP",
            "api.yaml:20: /paths/~1a/fetch: `fetch` is no method of HTTP",
            "api.yaml:22: /paths/~1b/get: has no `responses`",
        ]
    );
}

#[test]
fn no_input_makes_it_panic() {
    for (description, expected) in [
        ("", "neither `swagger"),
        ("5", "neither `swagger"),
        ("- a", "neither `swagger"),
        ("swagger: '1.2'", "/swagger: only version 2.0"),
        ("openapi: 3.1.0", "/openapi: only the versions 3.0.x"),
        ("swagger: '2.0'", "has no `paths`"),
        ("swagger: '2.0'\npaths: 3", "/paths: expected a mapping, found a number"),
        ("swagger: '2.0'\npaths: {/a: 3}", "/paths/~1a: expected a mapping, found a number"),
        ("swagger: '2.0'\npaths: {/a: {get: }}", "/paths/~1a/get: has no `responses`"),
        ("swagger: '2.0'\npaths: {/a: {get: {responses: []}}}", "expected a mapping, found a list"),
        ("swagger: '2.0'\npaths: {}\ndefinitions: {A: {properties: []}}", "expected a mapping, found a list"),
        ("swagger: '2.0'\npaths: {}\ndefinitions: {A: {type: {}}}", "expected a string, found a mapping"),
        ("swagger: '2.0'\npaths: {? [1] : 2}", "has a key that is not a string"),
        ("swagger: '2.0'\npaths: {", "api.yaml:3: is not valid YAML"),
        ("a: &a\n  b: *a", "is not valid YAML"),
    ] {
        let found = faults(description).join("\n");
        assert!(found.contains(expected), "{description:?}: {found:?}");
    }
}

#[test]
fn names_of_all_kinds_make_code() {
    for name in
        ["self", "Self", "crate", "super", "async", "type", "_", "1", "é", "a b", "-", "", "String", "Option"]
    {
        let description = format!(
            "{{swagger: '2.0', definitions: {{'{name}': {{type: object, properties: {{'{name}': {{type: string}}}}}}}}, \
             paths: {{'/1.0/{{{name}}}': {{get: {{operationId: '{name}_get', responses: {{'200': {{description: ''}}}}, \
             parameters: [{{in: query, name: '{name}', type: string}}]}}}}}}}}"
        );
        let folder = std::env::temp_dir().join(format!("lxd-macros-names-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("api.yaml"), description).unwrap();
        std::fs::write(folder.join("overlay.yaml"), "").unwrap();
        for part in [Part::Types, Part::Methods] {
            let tokens = expand(&folder, "api.yaml", part).unwrap();
            syn::parse2::<syn::File>(tokens).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

/// Puts `other` in the place of the node with this number, counted depth first; false where there is none.
fn replace(node: &mut Value, number: &mut usize, other: &Value) -> bool {
    if *number == 0 {
        node.clone_from(other);
        return true;
    }
    *number -= 1;
    match node {
        Value::Mapping(mapping) => mapping.values_mut().any(|node| replace(node, number, other)),
        Value::Sequence(items) => items.iter_mut().any(|node| replace(node, number, other)),
        _ => false,
    }
}

#[test]
fn no_value_in_any_place_makes_it_panic_or_emit_what_is_no_code() {
    let read =
        |file: &str| std::fs::read_to_string(Path::new(CRATE).join("fixtures/odd").join(file)).unwrap();
    let overlay = Document::parse("overlay.yaml", read("overlay.yaml")).unwrap();
    let intruders = ["null", "5", "x", "[1]", "{a: {}}"].map(|text| serde_yaml::from_str(text).unwrap());
    for file in ["swagger2.yaml", "openapi3.yaml"] {
        let whole: Value = serde_yaml::from_str(&read(file)).unwrap();
        for number in 0.. {
            // Each place gets one of them, in turn: all places and all values are seen many times.
            let mut broken = whole.clone();
            let intruder = &intruders[number % intruders.len()];
            if !replace(&mut broken, &mut number.clone(), intruder) {
                assert!(number > 400, "{file} has {number} places");
                break;
            }
            let document = Document::parse(file, serde_yaml::to_string(&broken).unwrap()).unwrap();
            match generate(document, &overlay, if number % 2 == 0 { Part::Types } else { Part::Methods }) {
                Ok(tokens) => drop(syn::parse2::<syn::File>(tokens).unwrap()),
                Err(problems) => assert!(!problems.is_empty()),
            }
        }
    }
}
