//! The table of all operations, `operations.tsv`: that it has each of them, that what it says of the tests is so, and
//! that what it says is not served is not.

#[path = "../conformance/calls.rs"]
#[allow(dead_code, reason = "the conformance test sends bytes")]
mod calls;
#[path = "../conformance/description.rs"]
#[allow(dead_code, reason = "the conformance test looks at the types")]
mod description;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use calls::{CASES, Case};
use description::{Answer, Body, Description, Operation};
use lxd_client::Error;
use lxd_tests::real::client;
use serde_json::{Value, json};

/// A line of the table.
struct Row {
    how: String,
    test: String,
    reason: String,
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn table() -> BTreeMap<String, Row> {
    let text = fs::read_to_string(here().join("operations.tsv")).expect("the table");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let rows = lines.map(|line| {
        let mut columns = line.split('\t').map(str::to_owned);
        let mut next = || columns.next().unwrap_or_default();
        (next(), Row { how: next(), test: next(), reason: next() })
    });
    rows.collect()
}

fn description() -> Description {
    Description::read(here().parent().expect("a workspace"))
}

/// An operation as the table names it.
fn name(operation: &Operation) -> String {
    let mark = if operation.query.is_empty() { "" } else { "?" };
    format!("{} {}{mark}{}", operation.method, operation.path, operation.query)
}

#[test]
fn the_table_has_each_operation_and_says_why() {
    let table = table();
    let operations = description().operations();
    let known: BTreeSet<_> = operations.iter().map(name).collect();
    assert_eq!(table.keys().cloned().collect::<BTreeSet<_>>(), known);
    for operation in &operations {
        let name = name(operation);
        let row = &table[&name];
        let is_value = operation.answers.iter().any(|answer| matches!(answer, Answer::Value(_)));
        match row.how.as_str() {
            "compared" => assert!(is_value, "{name}: there is no value to compare"),
            // All that is read is read twice, where there is no reason against it.
            "called" if operation.method == "GET" && is_value => {
                assert!(!row.reason.is_empty(), "{name}: why is it not compared?");
            }
            "called" => {}
            "refused" | "absent" => assert!(!row.reason.is_empty(), "{name}: why?"),
            other => panic!("{name}: what is `{other}`?"),
        }
    }
}

#[test]
fn what_is_called_is_in_its_test() {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let (table, operations) = (table(), description().operations());
    for Case { operation, method, .. } in CASES {
        let name = name(&operations[*operation]);
        let Row { how, test, .. } = &table[&name];
        if how == "absent" {
            continue;
        }
        let text = texts.entry(test.clone()).or_insert_with(|| {
            let path = here().join(Path::new("tests").join(test).with_extension("rs"));
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {}: {error}", path.display()))
        });
        // A call may begin on the line after the client.
        let is_called = text.replace(['\n', ' '], "").contains(&format!(".{method}("));
        assert!(is_called, "{name}: {test} does not call {method}");
    }
}

#[tokio::test]
async fn what_is_newer_is_not_served() {
    let (table, description) = (table(), description());
    let operations = description.operations();
    let mut asked = 0;
    for case in CASES {
        let operation = &operations[case.operation];
        let name = name(operation);
        if table[&name].how != "absent" {
            continue;
        }
        let body = match &operation.bodies[case.body] {
            Body::Json(_) => json!({}),
            _ => Value::Null,
        };
        let refused = (case.call)(client("default"), body, false).await.expect_err(&name);
        // Of a path that is known for other methods, it says that this one is not implemented.
        let Error::Api { status: 404 | 501, .. } = refused else { panic!("{name}: {refused:?}") };
        asked += 1;
    }
    assert!(asked > 0);
}
