#![forbid(unsafe_code)]
#![warn(missing_docs)]
//! types

pub mod wire;

lxd_macros::lxd_api!("spec/rest-api.yaml", types);
#[doc(inline)]
pub use schemas::*;
