//! What a user sees when a description cannot be used: each folder of `compile-fail` becomes a crate
//! of its own, is compiled, and its error is compared with `expected.txt` beside it. To take what came
//! as what is expected, set `UPDATE_EXPECTED`.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The compiler's words about the crate in a folder: the error with its place, without the summary.
fn error_of(case: &Path, scratch: &Path) -> String {
    let krate = scratch.join(case.file_name().unwrap());
    fs::create_dir_all(krate.join("src")).unwrap();
    fs::create_dir_all(krate.join("spec")).unwrap();
    let macros = env!("CARGO_MANIFEST_DIR");
    let manifest = format!(
        "[package]\nname = \"case\"\nedition = \"2024\"\n\n[dependencies]\nlxd-macros = {{ path = {macros:?} }}\n\n\
         [workspace]\n"
    );
    fs::write(krate.join("Cargo.toml"), manifest).unwrap();
    // The versions of the workspace, which are at hand.
    fs::copy(Path::new(macros).join("../Cargo.lock"), krate.join("Cargo.lock")).unwrap();
    fs::copy(case.join("lib.rs"), krate.join("src/lib.rs")).unwrap();
    for file in ["rest-api.yaml", "overlay.yaml"] {
        if case.join(file).exists() {
            fs::copy(case.join(file), krate.join("spec").join(file)).unwrap();
        }
    }
    let output = Command::new(env!("CARGO"))
        .args(["check", "--quiet", "--offline", "--color=never"])
        .current_dir(&krate)
        .env("CARGO_TARGET_DIR", scratch.join("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    assert!(!output.status.success(), "{} compiles", case.display());
    let text = String::from_utf8(output.stderr).unwrap();
    let end = text.find("\nerror: could not compile").unwrap_or(text.len());
    text[..end].trim_end().replace(&*krate.to_string_lossy(), "CRATE") + "\n"
}

#[test]
fn errors_are_as_expected() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile-fail");
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile-fail");
    let mut folders: Vec<_> = fs::read_dir(cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(!folders.is_empty());
    for case in folders {
        let found = error_of(&case, &scratch);
        let expected = case.join("expected.txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, &found).unwrap();
        }
        assert_eq!(found, fs::read_to_string(&expected).unwrap_or_default(), "{}", case.display());
    }
}
