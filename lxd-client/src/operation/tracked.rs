//! One operation that somebody waits for: what is known of it, and whom to wake when that changes.
//! Where the news come from is left to `watcher` and `asking`.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::state::State;
use super::watcher::Scope;
use crate::error::Error;

/// Why an operation's end will never be known.
#[derive(Clone)]
pub(crate) enum Lost {
    /// The server has it no more, as it was started again meanwhile.
    Restarted,
    /// The server has it no more: it ended while nobody could see it, if it ever was there.
    Forgotten,
    /// The server does not tell.
    Failed(Arc<Error>),
}

/// An operation, shared by those who wait for it and those who hear of it.
pub(crate) struct Tracked {
    pub(crate) id: Arc<str>,
    /// What lets a client wait for it that the server does not trust.
    pub(crate) secret: Option<Box<str>>,
    /// How often the server was known to have been started again when this began.
    pub(super) restarts: u64,
    /// Whose events tell of it; nobody's where it is asked for instead.
    scope: Weak<Scope>,
    known: Mutex<Known>,
    changed: Notify,
}

struct Known {
    state: State,
    lost: Option<Lost>,
    /// Whether an event told of it, so that others will.
    seen: bool,
    heard: Instant,
    /// How many look at its progress.
    viewers: usize,
    /// Whether events do not suffice.
    needs_asking: bool,
    /// The task that asks, by its number; without a handle while it is being started.
    asking: Option<(u64, Option<AbortHandle>)>,
    /// How many tasks there have been.
    tasks: u64,
}

impl Tracked {
    pub(super) fn new(
        state: State,
        secret: Option<Box<str>>,
        restarts: u64,
        scope: Weak<Scope>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: state.id.as_str().into(),
            secret,
            restarts,
            scope,
            known: Mutex::new(Known {
                state,
                lost: None,
                seen: false,
                heard: Instant::now(),
                viewers: 0,
                needs_asking: false,
                asking: None,
                tasks: 0,
            }),
            changed: Notify::new(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn scope(&self) -> Option<Arc<Scope>> {
        self.scope.upgrade()
    }

    /// Takes in a state, unless a later one is known; whether the operation has ended.
    pub(super) fn hear(&self, state: State) -> bool {
        let mut known = self.known();
        known.heard = Instant::now();
        if known.lost.is_none() && state.is_later_than(&known.state) {
            known.state = state;
            self.changed.notify_waiters();
        }
        known.stop_asking_after_the_end()
    }

    /// Takes in a state that an event told; whether the operation has ended.
    pub(super) fn hear_event(&self, state: State) -> bool {
        self.known().seen = true;
        self.hear(state)
    }

    /// Gives up on it.
    pub(super) fn lose(&self, lost: Lost) {
        let mut known = self.known();
        if !known.has_ended() {
            known.lost = Some(lost);
            self.changed.notify_waiters();
        }
        known.stop_asking_after_the_end();
    }

    /// Wakes all that wait, to look after what they wait for.
    pub(super) fn wake(&self) {
        self.changed.notify_waiters();
    }

    pub(super) fn is_seen(&self) -> bool {
        self.known().seen
    }

    pub(super) fn heard(&self) -> Instant {
        self.known().heard
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.known().has_ended()
    }

    /// Looks at the latest state.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.known().state)
    }

    /// Its end, where that is known.
    pub(crate) fn end(&self) -> Option<Result<State, Lost>> {
        let known = self.known();
        match &known.lost {
            Some(lost) => Some(Err(lost.clone())),
            None => known.has_ended().then(|| Ok(known.state.clone())),
        }
    }

    /// Waits until `look` finds something. `attend` sees to it that there will be news.
    pub(crate) async fn until<T>(&self, attend: impl Fn(), look: impl Fn(&Self) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = look(self) {
                return found;
            }
            attend();
            changed.await;
            // Where the runtime is about to end, the news are that nobody attends: let it.
            tokio::task::yield_now().await;
        }
    }

    /// Whether somebody looks at its progress, which a long wait would not show.
    pub(super) fn is_viewed(&self) -> bool {
        self.known().viewers > 0
    }

    pub(super) fn view(&self) {
        self.known().viewers += 1;
    }

    pub(super) fn unview(&self) {
        self.known().viewers -= 1;
    }

    /// Asks the server for it with a task that `begin` starts by a number, where none does so already.
    pub(super) fn ask(&self, begin: impl FnOnce(u64) -> AbortHandle) {
        let task = {
            let mut known = self.known();
            if known.has_ended() || known.asking.is_some() {
                return;
            }
            known.needs_asking = true;
            known.tasks += 1;
            known.asking = Some((known.tasks, None));
            known.tasks
        };
        // Not under the lock: where the runtime has ended, the task is dropped at once.
        let started = begin(task);
        match &mut self.known().asking {
            Some((number, handle)) if *number == task => *handle = Some(started),
            _ => started.abort(),
        }
    }

    /// The task with this number has ended, perhaps with its runtime and before the operation.
    pub(super) fn asked(&self, task: u64) {
        self.known().asking.take_if(|(number, _)| *number == task);
        self.changed.notify_waiters();
    }

    pub(super) fn needs_asking(&self) -> bool {
        self.known().needs_asking
    }

    /// Ends the task that asks for it; whether there was one.
    pub(super) fn stop_asking(&self) -> bool {
        let mut known = self.known();
        known.needs_asking = false;
        known.stop_asking()
    }
}

impl Known {
    fn has_ended(&self) -> bool {
        // A token ends when somebody uses it: it is not waited for.
        self.lost.is_some() || self.state.is_final() || self.state.class == "token"
    }

    fn stop_asking_after_the_end(&mut self) -> bool {
        let ended = self.has_ended();
        if ended {
            self.stop_asking();
        }
        ended
    }

    fn stop_asking(&mut self) -> bool {
        let asking = self.asking.take();
        if let Some((_, Some(handle))) = &asking {
            handle.abort();
        }
        asking.is_some()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.stop_asking();
    }
}
