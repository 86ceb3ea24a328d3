//! Prints what `lxd_api!` expands to, for people whose editor does not show it:
//!
//! ```text
//! cargo run -p lxd-macros --example expand -- types [FOLDER_WITH_SPEC]
//! cargo run -p lxd-macros --example expand -- methods [FOLDER_WITH_SPEC]
//! ```
//!
//! A crate of macros can lend nothing else to others, so the stages are compiled into this program.

#[path = "../src/emit/mod.rs"]
mod emit;
#[path = "../src/lower/mod.rs"]
mod lower;
#[path = "../src/model/mod.rs"]
mod model;
#[path = "../src/pipeline/mod.rs"]
mod pipeline;
#[path = "../src/problem.rs"]
mod problem;
#[path = "../src/read/mod.rs"]
mod read;
#[path = "../src/repair.rs"]
mod repair;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let part = match arguments.next().as_deref() {
        Some("types") => pipeline::Part::Types,
        Some("methods") => pipeline::Part::Methods,
        Some("mock") => pipeline::Part::Mock,
        _ => {
            eprintln!("usage: expand types|methods|mock [FOLDER_WITH_SPEC]");
            return ExitCode::from(2);
        }
    };
    let vendored = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let base = arguments.next().map_or_else(|| PathBuf::from(vendored), PathBuf::from);
    let tokens = match pipeline::expand(&base, "spec/rest-api.yaml", part) {
        Ok(tokens) => tokens,
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            return ExitCode::FAILURE;
        }
    };
    match syn::parse2(tokens) {
        Ok(file) => {
            print!("{}", prettyplease::unparse(&file));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("the expansion is no Rust: {error}");
            ExitCode::FAILURE
        }
    }
}
