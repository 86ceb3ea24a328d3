//! A typed, asynchronous client for [LXD](https://canonical.com/lxd). Its methods and the types that
//! they take and give are generated from LXD's API description when the crates are compiled.
//!
//! ```no_run
//! use lxd_client::Client;
//! use lxd_client::types::{InstanceAction, InstanceSource, InstanceStatePut, InstancesPost, SourceType};
//!
//! # async fn run() -> Result<(), lxd_client::Error> {
//! // The server of this machine; `endpoint` names another.
//! let lxd = Client::builder().build()?;
//!
//! let source = InstanceSource { r#type: SourceType::Image, alias: "busybox".into(), ..Default::default() };
//! let new = InstancesPost { name: "t1".into(), source: Some(source), ..Default::default() };
//! lxd.create_instance(new).await?;
//!
//! let start = InstanceStatePut { action: InstanceAction::Start, timeout: 30, ..Default::default() };
//! lxd.update_instance_state("t1", start).await?;
//!
//! for instance in lxd.instances_recursion1().filter("status eq running").await? {
//!     println!("{} was started at {:?}", instance.name, instance.last_used_at);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Calls
//!
//! Each operation of the API is a method of [`Client`], named for what it does: GET `instance`, POST
//! `create_instance`, PUT `update_instance`, PATCH `modify_instance`, DELETE `delete_instance`. Lists come
//! as URLs (`instances`) or as objects (`instances_recursion1`). The documentation of a method tells its
//! HTTP call, its parameters and the API extension that the server needs for it; [`rest`] finds the method of a
//! call.
//!
//! What is in the path and the body is an argument. What is in the query and the headers is a setter of the
//! [`Call`] that the method returns; [`parameters`] lists which calls have which. A call is sent when it is
//! awaited. [`Call::response`] gives the headers too, such as the ETag ([`Response::etag`]) that
//! [`Call::if_match`] takes; [`read_modify_write`] changes an object that others may change too.
//!
//! [`Client::use_project`] and [`Client::use_target`] give the same client for a project or a member of a
//! cluster. [`Client::has_extension`] tells what the server can do.
//!
//! Where a body may also be bytes, a second method takes a [`Body`]. An answer that is no JSON is a
//! [`RawAnswer`], a [`WebSocket`] or a [`Connection`].
//!
//! # Commands
//!
//! The call that runs a command in an instance has three forms more than any other: `output` gives what the
//! command wrote, `record` the same by way of files on the server, and `spawn` its streams ([`Exec`]).
//!
//! [`Client::console`] is the terminal of an instance, [`Client::files`] are its files.
//!
//! # Transfers
//!
//! What a call sends as bytes is a [`Body`]: bytes at hand, a [file](Body::file), a [reader](Body::reader), a
//! [stream](Body::stream). What comes as bytes is a [`RawAnswer`], which is a stream and can
//! [save](RawAnswer::save) itself as a file that has its name when it is whole. Neither is held in memory, however
//! long it is. [`Call::progress`] and [`RawAnswer::progress`] tell how much is done.
//!
//! The fingerprint of an image is computed and sent with every upload. [`Client::export_image`] checks it while the
//! one or two files of an image come.
//!
//! [`Client::copy_instance`], [`Client::copy_storage_volume`] and [`Client::copy_image`] copy from one server to
//! another; [`CopyMode`] says on which way.
//!
//! # Operations
//!
//! Much of what a server does is a background operation. A call that starts one waits until it has ended,
//! and gives its result where the server defines one; its failure is the call's error. [`Call::start`] does
//! not wait, but gives the [`Operation`]: to look how far it is, to cancel it or to wait for it, and
//! [`Client::operation_handle`] gives one of which the UUID is known. To drop a call or an operation does not
//! cancel what the server does.
//!
//! The client learns of an operation's end by the server's events: on one socket for each project in which it
//! starts operations, opened by the first and closed 10 seconds after the last. An operation takes no request
//! but the one that starts it. Events that come before the answer to that are kept for it. An operation of
//! which nothing is heard within a second (it may be of a place whose events do not come here) is asked for;
//! so are all of them when the server refuses its events, or while the socket is broken. [`Watcher`] has the
//! other ways, for those who want them.
//!
//! What happened while the socket was broken is looked up when it is open again. An operation that the server
//! does not know then is [`Error::Restarted`] where the server is another process, and [`Error::Unknown`]
//! where it is not; neither is ever a success.
//!
//! [`Client::events`] gives the events themselves, as a stream of [`Event`]s.
//!
//! # Remote servers
//!
//! A server behind `https://` has to be the right one, which [`ClientBuilder::server_certificate`],
//! [`server_fingerprint`](ClientBuilder::server_fingerprint),
//! [`server_authority`](ClientBuilder::server_authority) or
//! [`system_authorities`](ClientBuilder::system_authorities) tells; nothing is sent to any other. It knows
//! the client by the certificate of its [`Identity`], or by an access token. A client becomes trusted by a
//! [`TrustToken`] ([`ClientBuilder::join`]) or a password ([`Client::become_trusted`]).
//! [`Client::from_remote`] takes what `lxc` knows. All of it is HTTP/1.1: other protocols take over
//! connections, which HTTP/2 does not have to give.
//!
//! # Limits
//!
//! There is a limit for connecting ([`ClientBuilder::connect_timeout`], 10 seconds), for a server that is
//! silent ([`response_timeout`](ClientBuilder::response_timeout), 5 minutes), for a whole call
//! ([`timeout`](ClientBuilder::timeout), 10 minutes) and for the size of an answer that is taken as a whole
//! ([`answer_limit`](ClientBuilder::answer_limit), 256 MiB). They do not cut off what goes on: waits,
//! uploads, streams of bytes, websockets.
//!
//! A call that the server could not take yet is tried again ([`retry_for`](ClientBuilder::retry_for), 5
//! seconds). One that finds out that its kept connection was closed is sent on another, where it only reads
//! or was not sent. Nothing is sent twice that could act twice. Dropping a call closes its connection.
//!
//! As many calls as you like can be awaited at once: 128 are under way, and the others wait for their turn, so
//! that neither side runs out of connections; where none of them ends for a while, more are let through. The
//! wait for a turn is part of the call's time. Waits, uploads of more than 64 KiB, streams and websockets are not
//! counted, nor are operations that are pending: they take no connection.
//!
//! # Errors
//!
//! There is one type, [`Error`]. A refusal is [`Error::Api`], with [`Error::is_not_found`],
//! [`Error::is_conflict`] and the like; an operation that failed is [`Error::Operation`].
//!
//! # Tracing
//!
//! Each attempt of a call is an event of [`tracing`](https://docs.rs/tracing) at the level `debug`, target
//! `lxd_client::call`: method, path without the query, status, time, and the error with whether it is tried again.
//! No secret is in it. (The libraries below have their own: `tungstenite` tells all that goes over a websocket
//! by the crate `log`, at the level `trace`.)
//!
//! # Types
//!
//! The types are in [`types`], which is the crate lxd-types: plain structs, written as literals with
//! `..Default::default()`. Bodies of PATCH are types of their own (`InstancePatch`), whose fields are left
//! as they are where they are `None`. What was read turns into what can be written back with `From`, as in
//! `InstancePut::from(instance)`. How they are read and written is told [there](types#on-the-wire).
//!
//! # Tests without LXD
//!
//! The feature `mock` has a server for tests, `mock::MockLxd`, which answers in the types of the API.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod answer;
mod api;
mod arriving;
mod backoff;
mod body;
mod call;
mod change;
mod client;
mod console;
mod copies;
mod envelope;
mod error;
mod events;
mod exec;
mod extensions;
mod files;
mod images;
mod instance;
mod local;
mod metrics;
#[cfg(feature = "mock")]
pub mod mock;
mod operation;
mod remotes;
mod socket;
mod target;
mod transferred;
mod transport;
mod trust;
mod websockets;

pub use answer::{Connection, RawAnswer, WebSocket};
pub use api::parameters;
#[cfg(doc)]
pub use api::rest;
pub use body::Body;
pub use call::{Answer, Call, NoParameters, Response, Running};
pub use change::read_modify_write;
pub use client::{Client, ClientBuilder};
pub use console::{Console, ConsoleStream, InstanceConsole, VgaConsole};
pub use copies::{CopyImage, CopyMode, CopyToServer};
pub use error::Error;
pub use events::{Event, EventContent, Events};
pub use exec::{Exec, ExecOutput, ExecReader, ExecWriter};
pub use files::{ChangeFile, CopyFolder, FileAttributes, FileEntry, InstanceFiles, WriteFile};
pub use images::{ExportImage, ExportedImage, ImageFile, ImageFileKind};
pub use instance::{ChangeState, InstanceHandle};
pub use lxd_types as types;
pub use metrics::{MetricFamily, MetricSample, Metrics};
pub use operation::{Operation, Progress, ProgressStream, Watcher};
pub use remotes::Remotes;
pub use tokio_tungstenite::tungstenite::Message;
pub use transferred::Transferred;
pub use trust::{AccessToken, Identity, OidcSettings, ServerCertificate, TokenRequest, TrustToken};
