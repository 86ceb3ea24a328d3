//! Two websockets of two servers that are joined: what comes from the one goes to the other, as it is.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_sink::Sink;
use tokio_tungstenite::tungstenite::Message;

use crate::answer::WebSocket;

/// Joins two sockets until one of them ends. Of what goes from the first to the second, the bytes are counted.
pub(super) async fn relay(mut one: WebSocket, mut other: WebSocket, count: impl Fn(u64)) {
    let (mut there, mut back) = (Way::default(), Way::default());
    let first_ended = poll_fn(|context| {
        if there.poll(&mut one, &mut other, &count, context).is_ready() {
            return Poll::Ready(true);
        }
        back.poll(&mut other, &mut one, &|_| {}, context).map(|()| false)
    })
    .await;
    // What the other side was sent before has to go out. What it says to the end is of no interest.
    let rest = if first_ended { &mut other } else { &mut one };
    let _closed = poll_fn(|context| Pin::new(&mut *rest).poll_close(context)).await;
}

/// One of the two ways.
#[derive(Default)]
struct Way {
    /// What has come, and waits for room.
    held: Option<Message>,
    /// Whether something may not have gone out yet.
    unsent: bool,
}

impl Way {
    /// Passes on what comes; ready when there is an end to it.
    fn poll(
        &mut self,
        from: &mut WebSocket,
        to: &mut WebSocket,
        count: &impl Fn(u64),
        context: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            if self.held.is_some() {
                if ready!(Pin::new(&mut *to).poll_ready(context)).is_err() {
                    return Poll::Ready(());
                }
                if let Some(message) = self.held.take() {
                    let length = message.len() as u64;
                    if Pin::new(&mut *to).start_send(message).is_err() {
                        return Poll::Ready(());
                    }
                    self.unsent = true;
                    count(length);
                }
            }
            match Pin::new(&mut *from).poll_next(context) {
                Poll::Ready(Some(Ok(message @ (Message::Binary(_) | Message::Text(_))))) => {
                    self.held = Some(message);
                }
                // Each side has its own questions whether somebody is there.
                Poll::Ready(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {}
                Poll::Ready(Some(Ok(Message::Close(_)) | Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if self.unsent {
            if ready!(Pin::new(to).poll_flush(context)).is_err() {
                return Poll::Ready(());
            }
            self.unsent = false;
        }
        Poll::Pending
    }
}
