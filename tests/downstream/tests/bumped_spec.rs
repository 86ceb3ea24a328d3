//! A bumped description: in a copy of the workspace, another one is put in its place, and this program is built and
//! tested with it, beside a test that uses what is new.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the next release brings, a type, a field and an operation, each with the lines behind which it is.
const BUMPS: [(&[&str], &str); 3] = [
    (
        &["definitions:\n"],
        "    Shelf:
        description: A place for instances.
        properties:
            name:
                description: Name of the shelf.
                type: string
            is_full:
                description: Whether there is no room left.
                type: boolean
        type: object
",
    ),
    (
        &["\n    Instance:\n", "        properties:\n"],
        "            shelf:
                description: Name of the shelf on which the instance is.
                type: string
",
    ),
    (
        &["\npaths:\n"],
        "    /1.0/shelves/{name}:
        get:
            description: Reads the shelf.
            operationId: shelf_get
            produces:
                - application/json
            responses:
                '200':
                    description: The shelf
                    schema:
                        properties:
                            metadata:
                                $ref: '#/definitions/Shelf'
                            status:
                                type: string
                            status_code:
                                type: integer
                            type:
                                type: string
                        type: object
            summary: Get the shelf
",
    ),
];

/// How a user tests what is new.
const TEST: &str = r#"
use lxd_client::mock::MockLxd;
use lxd_client::types::{Instance, InstancePut, Shelf};

#[tokio::test]
async fn what_is_new_is_there() {
    let lxd = MockLxd::start().await;
    lxd.on_shelf("top").reply(Shelf { is_full: true, ..Default::default() });
    lxd.on_instance("t1").reply(Instance { shelf: "top".into(), ..Default::default() });
    let client = lxd.client();
    let instance = client.instance("t1").await.unwrap();
    assert!(client.shelf(&instance.shelf).await.unwrap().is_full);
    assert_eq!(InstancePut::from(instance), InstancePut::default());
}
"#;

#[test]
fn this_program_builds_with_a_newer_description_and_has_what_is_new() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = program.ancestors().nth(2).expect("a workspace");
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bumped");
    if copy.exists() {
        fs::remove_dir_all(&copy).expect("a folder of this test");
    }
    fs::create_dir_all(&copy).expect("a folder of this test");
    for part in
        ["Cargo.toml", "Cargo.lock", "README.md", "lxd-macros", "lxd-types", "lxd-client", "spec", "tests"]
    {
        copy_all(&workspace.join(part), &copy.join(part));
    }

    let spec = copy.join("spec/rest-api.yaml");
    let mut text = fs::read_to_string(&spec).expect("the description");
    for (lines, new) in BUMPS {
        let behind = |at: usize, line: &&str| at + text[at..].find(*line).expect(line) + line.len();
        text.insert_str(lines.iter().fold(0, behind), new);
    }
    fs::write(&spec, text).expect("the bumped description");

    let program = copy.join("tests/downstream");
    // This test would begin anew there.
    fs::remove_file(program.join("tests/bumped_spec.rs")).expect("this test");
    fs::write(program.join("tests/bumped.rs"), TEST).expect("the test of what is new");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--quiet", "--locked", "--manifest-path"]).arg(program.join("Cargo.toml"));
    // What was built for this program need not be built again for that one.
    cargo.arg("--target-dir").arg(target());
    let output = cargo.output().expect("cargo");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

fn target() -> PathBuf {
    let own = std::env::current_exe().expect("the path of this test");
    own.ancestors().nth(3).expect("the folder of the build").to_owned()
}

/// Copies a file or a folder, with its links as they are and without what was built.
fn copy_all(from: &Path, to: &Path) {
    let kind = fs::symlink_metadata(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    if kind.is_symlink() {
        symlink(fs::read_link(from).expect("a link"), to).expect("a link");
    } else if kind.is_dir() {
        fs::create_dir(to).expect("a folder");
        for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
            if entry.file_name() != "target" {
                copy_all(&entry.path(), &to.join(entry.file_name()));
            }
        }
    } else {
        fs::copy(from, to).expect("a file");
    }
}
