//! Readers that do what those of users may do.

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// A reader of so many buffers that breaks off then.
#[derive(Debug)]
pub struct Broken(pub usize);

impl AsyncRead for Broken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        if self.0 == 0 {
            return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
        }
        self.0 -= 1;
        let count = buffer.remaining();
        buffer.put_slice(&vec![b'x'; count]);
        Poll::Ready(Ok(()))
    }
}
