//! The bytes of an answer as they come: none of them may be long in coming, and those that are taken
//! as a whole may not be too many. What they mean is left to others.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::client::limits::Limits;
use crate::error::Error;
use crate::transferred::{Counter, Report};

/// How much room is made at once, whatever an answer says of its length.
const ROOM: usize = 1 << 20;

/// The body of an answer that is on its way.
pub(crate) struct Arriving {
    body: Incoming,
    limits: Limits,
    /// Ends the wait for the next bytes, while that lasts.
    late: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    counter: Counter,
}

impl Arriving {
    pub(crate) fn new(body: Incoming, limits: Limits) -> Self {
        Self { body, limits, late: None, waiting: false, counter: Counter::default() }
    }

    /// Tells somebody how much of it has come.
    pub(crate) fn report_to(&mut self, report: Option<Report>) {
        self.counter = Counter::new(report, self.length());
    }

    /// How many bytes are to come, where the server says that.
    pub(crate) fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next bytes of the answer to a call.
    pub(crate) fn poll_bytes(
        &mut self,
        call: &str,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                return self.poll_late(call, context).map(|error| Some(Err(error)));
            };
            self.waiting = false;
            match frame {
                None => return Poll::Ready(None),
                Some(Err(error)) => {
                    let error = Error::transport(call.to_owned(), "the answer broke off", error);
                    return Poll::Ready(Some(Err(error)));
                }
                // Trailers are of no use here.
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.counter.add(bytes.len() as u64);
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
            }
        }
    }

    fn poll_late(&mut self, call: &str, context: &mut Context<'_>) -> Poll<Error> {
        let after = self.limits.response;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(after)));
        if !std::mem::replace(&mut self.waiting, true)
            && let Some(end) = Instant::now().checked_add(after)
        {
            late.as_mut().reset(end);
        }
        ready!(late.as_mut().poll(context));
        Poll::Ready(Error::Timeout { call: call.to_owned(), after, setting: Some("response_timeout") })
    }

    /// All bytes.
    pub(crate) async fn all(&mut self, call: &str) -> Result<Bytes, Error> {
        let announced = self.body.size_hint().lower();
        self.check(announced, call)?;
        let Some(first) = self.next(call).await.transpose()? else { return Ok(Bytes::new()) };
        let mut more = None;
        if first.len() as u64 >= announced {
            more = self.next(call).await.transpose()?;
            if more.is_none() {
                // Most answers come in one piece, which is given as it is.
                return self.check(first.len() as u64, call).map(|()| first);
            }
        }
        let mut all = BytesMut::with_capacity(usize::try_from(announced).map_or(ROOM, |all| all.min(ROOM)));
        all.extend_from_slice(&first);
        if let Some(second) = more {
            self.check(all.len() as u64 + second.len() as u64, call)?;
            all.extend_from_slice(&second);
        }
        while let Some(more) = self.next(call).await.transpose()? {
            self.check(all.len() as u64 + more.len() as u64, call)?;
            all.extend_from_slice(&more);
        }
        Ok(all.freeze())
    }

    fn check(&self, size: u64, call: &str) -> Result<(), Error> {
        let most = self.limits.answer;
        if size <= most as u64 {
            return Ok(());
        }
        let message = format!(
            "it has more than {most} bytes: ask for less, or take it as a stream where it is bytes; \
             ClientBuilder::answer_limit raises the limit"
        );
        Err(Error::decode(call.to_owned(), message))
    }

    async fn next(&mut self, call: &str) -> Option<Result<Bytes, Error>> {
        std::future::poll_fn(|context| self.poll_bytes(call, context)).await
    }
}
