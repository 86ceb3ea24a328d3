//! What the tests of lxd-client share: a server that answers as a test wants, and the way to a real
//! one. The tests themselves are in `tests/`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod certificates;
pub mod daemon;
pub mod fake_server;
pub mod proxy;
pub mod real;
pub mod tls;
pub mod websocket;

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
