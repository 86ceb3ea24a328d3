//! How many requests are under way at once: each takes a connection, of which neither side can have any
//! number. Which requests have to wait is left to `call`.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// How many there are at once, as long as they move on.
pub(super) const AT_ONCE: usize = 128;

/// After how long without an end of any of them as many more are let through. They may be slow, or belong to
/// futures that nobody polls, which must not keep others from going on.
const STALLED: Duration = Duration::from_millis(250);

/// The turns of the requests to one server.
#[derive(Debug)]
pub(crate) struct Turns {
    free: Semaphore,
    /// How many have ended, and how many times more were let through.
    moves: AtomicUsize,
}

impl Default for Turns {
    fn default() -> Self {
        Self { free: Semaphore::new(AT_ONCE), moves: AtomicUsize::new(0) }
    }
}

/// The turn of a request, which it has until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    /// There always is one, as nobody closes the semaphore.
    _permit: Option<SemaphorePermit<'a>>,
}

impl Turns {
    /// Waits for a turn.
    pub(crate) async fn take(&self) -> Turn<'_> {
        let permit = match self.free.try_acquire() {
            Ok(permit) => Some(permit),
            // Its future is large, and rarely needed.
            Err(_) => Box::pin(self.wait()).await,
        };
        Turn { turns: self, _permit: permit }
    }

    async fn wait(&self) -> Option<SemaphorePermit<'_>> {
        let mut taken = pin!(self.free.acquire());
        loop {
            let moves = self.moves.load(Ordering::Relaxed);
            if let Ok(permit) = timeout(STALLED, taken.as_mut()).await {
                return permit.ok();
            }
            // One of those who wait does it for all of them.
            let stalled = self.moves.compare_exchange(moves, moves + 1, Ordering::Relaxed, Ordering::Relaxed);
            if stalled.is_ok() {
                self.free.add_permits(AT_ONCE);
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.moves.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

    use super::{AT_ONCE, STALLED, Turns};

    #[tokio::test(start_paused = true)]
    async fn those_that_do_not_move_on_hold_nobody_up_for_long() {
        let turns = Turns::default();
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(timeout(Duration::ZERO, turns.take()).await.unwrap());
        }
        let begun = Instant::now();
        held.push(turns.take().await);
        assert_eq!(begun.elapsed(), STALLED);
        // There is room for as many more now.
        for _ in 1..AT_ONCE {
            held.push(timeout(Duration::ZERO, turns.take()).await.unwrap());
        }
        assert!(timeout(STALLED / 2, turns.take()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn as_long_as_some_end_the_others_wait() {
        let turns = Turns::default();
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(turns.take().await);
        }
        let others = async {
            let waiting: Vec<_> = (0..10).map(|_| turns.take()).collect();
            let mut taken = Vec::new();
            for each in waiting {
                taken.push(each.await);
            }
            taken.len()
        };
        let ending = async {
            while held.len() > AT_ONCE - 10 {
                tokio::time::sleep(STALLED / 2).await;
                held.pop();
            }
        };
        let (taken, ()) = tokio::join!(others, ending);
        assert_eq!((taken, turns.free.available_permits()), (10, 10));
    }
}
