//! The fingerprint of an image that is uploaded: the hash of its file, or of its metadata and then its root
//! file system. Without it, a server would take a part of an image for the whole.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use ring::digest::{Context, SHA256};

use crate::body::Body;
use crate::error::Error;

/// The fingerprint of what a body sends, and a body that sends it. What can be read only once is kept in a
/// file meanwhile.
pub(crate) async fn of(body: Body) -> Result<(String, Body), Error> {
    let (hash, body) = body.hashed(Context::new(&SHA256)).await?;
    Ok((HEXLOWER.encode(hash.finish().as_ref()), body))
}

/// A hash and what it is of.
pub(crate) async fn of_bytes(mut hash: Context, bytes: Bytes) -> Result<Context, Error> {
    let hashed = tokio::task::spawn_blocking(move || {
        hash.update(&bytes);
        hash
    });
    hashed.await.map_err(|error| Error::Local {
        message: "the fingerprint of an image was not computed".to_owned(),
        source: error.into(),
    })
}
