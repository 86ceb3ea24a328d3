//! client
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod answer;
mod api;
mod body;
mod call;
mod client;
mod envelope;
mod error;
mod operation;
mod socket;
mod target;
mod tls;
mod transport;

pub use answer::{Connection, RawAnswer, WebSocket};
pub use api::parameters;
pub use body::Body;
pub use call::{Answer, Call, NoParameters, Response};
pub use client::{Client, ClientBuilder};
pub use error::Error;
pub use lxd_types as types;
pub use operation::Operation;
pub use tokio_tungstenite::tungstenite::Message;
