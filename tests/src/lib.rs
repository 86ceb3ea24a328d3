//! What the tests of lxd-client share: a server that answers as a test wants, and the way to a real
//! one. The tests themselves are in `tests/`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

use std::path::PathBuf;
use std::process::Command;

pub mod certificates;
pub mod daemon;
pub mod fake_server;
pub mod folder;
pub mod measure;
pub mod proxy;
pub mod reading;
pub mod real;
pub mod replay;
pub mod tls;
pub mod twice;
pub mod websocket;

/// Builds an example of lxd-client, which the tests of another package do not; where it is.
///
/// # Panics
///
/// Where it cannot be built.
pub fn example(name: &str) -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--locked", "-p", "lxd-client", "--example", name]);
    assert!(build.status().expect("cargo").success());
    let own = std::env::current_exe().expect("the path of the test");
    own.ancestors().nth(2).expect("the folder of the build").join("examples").join(name)
}

/// Base64, by hand: what the client does is not judged by its own library.
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = char::from(LETTERS[bits >> (18 - 6 * place) & 63]);
            text.push(if place <= three.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
