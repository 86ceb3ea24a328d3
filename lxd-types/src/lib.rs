//! The request and response types of [LXD](https://canonical.com/lxd)'s REST API, generated at compile
//! time from its API description. The client that speaks them is
//! [lxd-client](https://docs.rs/lxd-client).
//!
//! All types have plain public fields and a default, so that they are written as literals:
//!
//! ```
//! use lxd_types::{InstanceSource, InstancesPost};
//!
//! let request = InstancesPost {
//!     name: "t1".into(),
//!     source: Some(InstanceSource { r#type: "image".into(), alias: "busybox".into(), ..Default::default() }),
//!     ..Default::default()
//! };
//! # assert_eq!(
//! #     serde_json::to_value(&request).unwrap(),
//! #     serde_json::json!({"name": "t1", "source": {"type": "image", "alias": "busybox"}})
//! # );
//! ```
//!
//! # On the wire
//!
//! - **Reading.** A field that is absent or `null` has its default; fields that are not known are passed
//!   over; a time that is not set (in the years 1 and 1970, as the server writes it) is `None`.
//! - **Writing.** A field that holds its default is left out, which the server reads as the same thing. The
//!   few fields where absent and empty differ for it are an `Option`: `None` is absent.
//! - **`…Patch` types** are the bodies of PATCH: each field is an `Option`, `None` leaves the object as it is,
//!   and any other value is sent, also an empty one. In the maps where that removes an entry, a value can be
//!   `None`. A time is unset with [`NEVER`].
//! - **Enumerations** are open: a text that is not known is kept in their variant `Other`.
//! - **`From`** turns what was read into what can be written back: `InstancePut::from(instance)`.
//! - **`Debug`** leaves out fields that hold their default, and never shows passwords, secrets and tokens.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod wire;

lxd_macros::lxd_api!("spec/rest-api.yaml", types);

#[doc(inline)]
pub use schemas::*;

/// The time that the server takes for "not set". To send it unsets a time, where to leave it out would
/// leave it as it is, or take what the configuration says.
///
/// ```
/// let patch = lxd_types::InstanceSnapshotPatch { expires_at: Some(lxd_types::NEVER) };
/// assert_eq!(serde_json::to_string(&patch).unwrap(), r#"{"expires_at":"0001-01-01T00:00:00Z"}"#);
/// ```
pub const NEVER: jiff::Timestamp = jiff::Timestamp::constant(-62_135_596_800, 0);
