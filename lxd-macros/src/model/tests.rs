use std::path::{Path, PathBuf};

use super::{Model, Ty, TypeKind};
use crate::read::{Document, Overlay};
use crate::{lower, repair};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn vendored() -> Model {
    model_of(&root().join("spec/rest-api.yaml"))
}

fn model_of(description: &Path) -> Model {
    let mut document = Document::read("rest-api.yaml", description).unwrap();
    let overlay = Document::read("overlay.yaml", &root().join("spec/overlay.yaml")).unwrap();
    repair::repair(&mut document.root);
    Model::of(&lower::lower(&document).unwrap(), &Overlay::of(&overlay).unwrap())
}

#[test]
fn each_entry_of_the_overlay_finds_its_target() {
    assert_eq!(vendored().unmatched, Vec::<String>::new());
}

/// What a bump changes for users, to be seen in review: each operation with its methods.
#[test]
fn methods_of_the_vendored_description() {
    let model = vendored();
    let mut table = String::new();
    for operation in &model.operations {
        let query = match operation.fixed_query.as_str() {
            "" => String::new(),
            query => format!("?{query}"),
        };
        table.push_str(&format!("{} {}{query}\n", operation.http, operation.path));
        for method in &operation.methods {
            let mut arguments: Vec<String> =
                operation.arguments.iter().map(|argument| argument.name.clone()).collect();
            if let Some(body) = &method.body {
                let ty = body.json.as_ref().map_or("Body".to_owned(), ToString::to_string);
                arguments.push(format!("{}: {ty}", body.name));
            }
            let set = model.parameters_of(operation).map(|set| &set.parameters);
            let setters: Vec<&str> = set.into_iter().flatten().map(|known| known.name.as_str()).collect();
            let setters =
                if setters.is_empty() { String::new() } else { format!(" [{}]", setters.join(", ")) };
            let result = match operation.answer {
                crate::read::Answer::Json => operation.result.to_string(),
                other => format!("{other:?}"),
            };
            table.push_str(&format!("    {}({}){setters} -> {result}\n", method.name, arguments.join(", ")));
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn everything_in_the_vendored_description_is_described() {
    let model = vendored();
    let mut bare = Vec::new();
    let mut want = |text: &str, what: String| {
        if text.trim().is_empty() {
            bare.push(what);
        }
    };
    for operation in &model.operations {
        let id = &operation.id;
        want(&operation.summary, format!("{id}: summary"));
        want(&operation.description, format!("{id}: description"));
        operation
            .arguments
            .iter()
            .for_each(|known| want(&known.description, format!("{id}: {}", known.name)));
        operation.parameter_descriptions.iter().for_each(|text| want(text, format!("{id}: a parameter")));
        for body in operation.methods.iter().filter_map(|method| method.body.as_ref()) {
            want(&body.description, format!("{id}: {}", body.name));
        }
    }
    for known in &model.types {
        want(&known.description, known.name.clone());
        if let TypeKind::Record(fields) = &known.kind {
            fields
                .iter()
                .for_each(|field| want(&field.description, format!("{}.{}", known.name, field.wire)));
        }
    }
    assert_eq!(bare, Vec::<String>::new());
}

#[test]
fn what_is_read_can_be_written_back() {
    let model = vendored();
    let conversions: Vec<String> =
        model.conversions.iter().map(|known| format!("{} -> {}", known.from, known.to)).collect();
    for expected in [
        "Instance -> InstancePut",
        "InstanceFull -> InstancePut",
        "Profile -> ProfilePut",
        "Network -> NetworkPut",
        "Image -> ImagePut",
        "StorageVolume -> StorageVolumePut",
    ] {
        assert!(conversions.iter().any(|known| known == expected), "{expected} is not among {conversions:?}");
    }
    insta::assert_snapshot!(conversions.join("\n"));
    // A program that changes one thing of what it read compiles with other descriptions too.
    for published in ["lxd-5.0.2.yaml", "lxd-6.9.yaml", "incus-7.3.yaml"] {
        let path = root().join("../shared/upstream").join(published);
        if !path.exists() {
            continue;
        }
        let model = model_of(&path);
        let has = |name: &str| model.types.iter().any(|known| known.name == name);
        let (mut lost, mut kept) = (Vec::new(), 0);
        for (one, put) in conversions.iter().filter_map(|known| known.split_once(" -> ")) {
            match model.conversions.iter().any(|known| known.from == one && known.to == put) {
                true => kept += 1,
                false if has(one) && has(put) => lost.push(format!("{one} -> {put}")),
                false => {}
            }
        }
        assert!(lost.is_empty() && kept > 10, "{published} has no {lost:?}");
    }
}

/// The columns of a table of facts, where the folder of facts is there: it is not a part of this
/// project.
fn facts(name: &str) -> Option<Vec<Vec<String>>> {
    let text = std::fs::read_to_string(root().join("../shared/facts").join(name)).ok()?;
    Some(text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

#[test]
fn the_facts_agree_on_operations_and_names() {
    let model = vendored();
    assert_eq!(model.operations.len(), 333);
    let Some(operations) = facts("operations.tsv") else { return };
    assert_eq!(operations.len(), model.operations.len());
    for row in &operations {
        let (path, query) = row[2].split_once('?').unwrap_or((&row[2], ""));
        let operation = model
            .operations
            .iter()
            .find(|known| known.http == row[1] && known.path == path && known.fixed_query == query)
            .unwrap_or_else(|| panic!("{} {} is missing", row[1], row[2]));
        let set = model.parameters_of(operation).map(|set| &set.parameters);
        for parameter in row[5].split(',').chain(row[6].split(',')).filter(|text| !text.is_empty()) {
            let wire = parameter.split(':').next().unwrap();
            assert!(set.is_some_and(|set| set.iter().any(|known| known.wire == wire)), "{row:?}: {wire}");
        }
        let bodies = row[7].split(',').filter(|text| !text.is_empty()).count();
        let methods = operation.methods.iter().filter(|method| method.body.is_some()).count();
        assert!(methods >= bodies, "{row:?}");
    }
    for row in facts("method-names.tsv").unwrap() {
        let wanted = if row[1].starts_with("PUT (") { format!("update_{}", row[0]) } else { row[0].clone() };
        let operation = model.operations.iter().find(|known| known.id == row[3]).unwrap();
        assert_eq!(operation.methods[0].name, wanted, "{row:?}");
    }
}

#[test]
fn the_facts_agree_on_schemas_and_fields() {
    let model = vendored();
    let of = |wire: &str| model.types.iter().find(|known| known.name == wire);
    let Some(rows) = facts("schemas.tsv") else { return };
    let schemas: std::collections::BTreeSet<&str> = rows.iter().map(|row| row[1].as_str()).collect();
    assert_eq!((schemas.len(), rows.len()), (229, 1159));
    for row in &rows {
        let known = of(&row[1]).unwrap_or_else(|| panic!("{} is missing", row[1]));
        match &known.kind {
            TypeKind::Record(fields) => {
                let field = fields.iter().find(|field| field.wire == row[2]);
                let field = field.unwrap_or_else(|| panic!("{}.{} is missing", row[1], row[2]));
                assert!(!field.description.is_empty(), "{}.{} has no description", row[1], row[2]);
                let expected = ty_of(&row[3]);
                let sets = matches!(field.ty, Ty::Named(_)) && expected == "String"
                    || field.absent_differs
                    || field.ty.to_string().replace("InstanceType", "String") == expected
                    || field.ty.to_string().replace("AuthenticationMethod", "String") == expected;
                let optional = field.ty.to_string() == format!("Option<{expected}>");
                assert!(
                    sets || optional || field.ty.to_string() == expected,
                    "{}.{} is {}, not {expected}",
                    row[1],
                    row[2],
                    field.ty
                );
            }
            _ => assert_eq!(row[2], "(self)"),
        }
    }
}

/// A type of the facts as Rust writes it.
fn ty_of(fact: &str) -> String {
    let inner = |start: &str| fact.strip_prefix(start)?.strip_suffix('>');
    if let Some(item) = inner("array<") {
        return format!("Vec<{}>", ty_of(item));
    }
    if let Some(value) = inner("map<") {
        return format!("BTreeMap<String, {}>", ty_of(value));
    }
    match fact {
        "string" => "String",
        "string:date-time" => "Option<Timestamp>",
        "boolean" => "bool",
        "integer" | "integer:int64" => "i64",
        "integer:uint64" => "u64",
        "integer:uint32" => "u32",
        "integer:uint16" => "u16",
        "number:double" => "f64",
        "any" | "object" => "Value",
        name => name,
    }
    .to_owned()
}
