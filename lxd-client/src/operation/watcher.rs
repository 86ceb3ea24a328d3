//! Following operations by the server's events: one socket for each project that a client starts
//! operations in, opened by the first of them and closed when there are none. What is known of the
//! operations is left to `ledger`; where there are no events, `asking` takes over.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use lxd_types::wire::{self, Incoming, Read, Refused};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::asking;
use super::ledger::Ledger;
use super::restarts::Restarts;
use super::state::State;
use super::tracked::Tracked;
use crate::client::Client;
use crate::events;
use crate::events::feed::{Feed, Step};

/// How a client learns what becomes of background operations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Watcher {
    /// By the server's events (`GET /1.0/events`): an operation needs no request beyond the one that
    /// starts it. Where the server refuses its events, or as long as the socket is broken, operations
    /// are followed as with [`LongPoll`](Self::LongPoll).
    #[default]
    Events,
    /// By requests that the server answers when the operation has ended
    /// (`GET /1.0/operations/{id}/wait`), each with a connection of its own. Of more than 64 operations at
    /// the same time, the others are looked at once a second.
    LongPoll,
    /// By looking at each operation (`GET /1.0/operations/{id}`) at this interval.
    Polling(Duration),
}

impl Watcher {
    /// [`Polling`](Self::Polling) at the interval of older clients, one second.
    pub const POLLING: Self = Self::Polling(Duration::from_secs(1));
}

/// How long it is waited for the socket before calls and operations go without.
const OPENING: Duration = Duration::from_secs(2);

/// How long a socket stays open that nobody needs.
const IDLE: Duration = Duration::from_secs(10);

/// How often the operations that need more than events are looked for.
const TICK: Duration = Duration::from_millis(250);

/// The shortest interval at which an operation is looked at.
const SHORTEST: Duration = Duration::from_millis(5);

/// All that a client follows.
pub(crate) struct Watching {
    watcher: Watcher,
    scopes: Mutex<HashMap<String, Arc<Scope>>>,
    pub(super) restarts: Restarts,
    /// Places for requests that wait, and for those that look.
    pub(super) waiting: Semaphore,
    pub(super) looking: Semaphore,
}

impl Watching {
    pub(crate) fn new(watcher: Watcher) -> Self {
        Self {
            watcher,
            scopes: Mutex::default(),
            restarts: Restarts::default(),
            waiting: Semaphore::new(asking::WAITING),
            looking: Semaphore::new(asking::LOOKING),
        }
    }

    /// The interval at which operations are looked at, where that is wanted.
    pub(super) fn interval(&self) -> Option<Duration> {
        match self.watcher {
            Watcher::Polling(interval) => Some(interval.max(SHORTEST)),
            Watcher::Events | Watcher::LongPoll => None,
        }
    }

    /// The scope of a project, where operations are followed by events.
    fn scope(&self, project: Option<&str>) -> Option<Arc<Scope>> {
        if self.watcher != Watcher::Events {
            return None;
        }
        let project = project.unwrap_or("default");
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = scopes.get(project).cloned();
        Some(known.unwrap_or_else(|| {
            let scope = Arc::new(Scope::new(project.to_owned()));
            scopes.insert(project.to_owned(), Arc::clone(&scope));
            scope
        }))
    }
}

/// A call that may start an operation, of which the events are kept until it has come back.
pub(crate) struct Announced {
    scope: Arc<Scope>,
}

impl Announced {
    /// Announces a call, once the socket is open or known not to open.
    pub(crate) async fn new(client: &Client, project: Option<&str>) -> Option<Self> {
        let scope = client.watching().scope(project)?;
        scope.inner().ledger.call_goes();
        let announced = Self { scope };
        announced.scope.attend(client);
        announced.scope.until_opened().await;
        Some(announced)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.scope.inner().ledger.call_came();
    }
}

/// Follows an operation from the state in which the server answered with it.
pub(crate) fn follow(
    client: &Client,
    announced: Option<&Announced>,
    project: Option<&str>,
    state: State,
) -> Arc<Tracked> {
    let restarts = client.watching().restarts.count();
    let scope = match announced {
        Some(announced) => Some(Arc::clone(&announced.scope)),
        None => client.watching().scope(project),
    };
    let Some(scope) = scope else {
        let tracked = Tracked::new(state, None, restarts, std::sync::Weak::new());
        attend(client, &tracked);
        return tracked;
    };
    let (tracked, broken) = {
        let mut inner = scope.inner();
        let tracked = inner.ledger.follow(state, restarts, Arc::downgrade(&scope));
        (tracked, inner.link == Link::Broken)
    };
    // Of a call that was not announced, the events may have come and gone.
    if broken || announced.is_none() {
        asking::start(client, &tracked);
    }
    attend(client, &tracked);
    tracked
}

/// Follows an operation by its secret alone, as clients do that the server does not trust.
pub(crate) fn follow_with_secret(client: &Client, id: &str, secret: &str) -> Arc<Tracked> {
    let state = State { id: id.to_owned(), ..State::default() };
    let restarts = client.watching().restarts.count();
    let tracked = Tracked::new(state, Some(secret.into()), restarts, std::sync::Weak::new());
    attend(client, &tracked);
    tracked
}

/// Sees to it that there will be news of an operation. The tasks that bring them end with the runtime
/// that they were started in, which is not always the one of those who wait.
pub(crate) fn attend(client: &Client, tracked: &Arc<Tracked>) {
    if tracked.has_ended() {
        return;
    }
    let scope = tracked.scope();
    if scope.is_none() || tracked.needs_asking() {
        asking::start(client, tracked);
    }
    if let Some(scope) = scope {
        scope.attend(client);
    }
}

/// A project whose events are received.
pub(crate) struct Scope {
    project: String,
    inner: Mutex<Inner>,
    /// Wakes those who wait for the socket.
    settled: Notify,
}

#[derive(Default)]
struct Inner {
    ledger: Ledger,
    link: Link,
    /// Since when it stands so with the socket.
    since: Option<Instant>,
    /// Counts the tasks that received events here; the last one does.
    task: u64,
    running: bool,
}

impl Inner {
    fn set(&mut self, link: Link) {
        self.link = link;
        self.since = Some(Instant::now());
    }
}

/// How it stands with the socket.
#[derive(Clone, Copy, Default, PartialEq)]
enum Link {
    #[default]
    Opening,
    Open,
    Broken,
}

impl Scope {
    fn new(project: String) -> Self {
        Self { project, inner: Mutex::default(), settled: Notify::new() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to receive events, where nobody does.
    fn attend(self: &Arc<Self>, client: &Client) {
        let receiving = {
            let mut inner = self.inner();
            if inner.running {
                return;
            }
            inner.running = true;
            inner.set(Link::Opening);
            inner.task += 1;
            Receiving { scope: Arc::clone(self), client: client.clone(), task: inner.task }
        };
        // Not under the lock: where the runtime has ended, the task is dropped at once.
        tokio::spawn(receiving.run());
    }

    /// Waits until the socket is open, or known not to be.
    async fn until_opened(&self) {
        let opened = async {
            loop {
                let mut settled = pin!(self.settled.notified());
                settled.as_mut().enable();
                if self.inner().link != Link::Opening {
                    return;
                }
                settled.await;
            }
        };
        if self.inner().link == Link::Opening {
            // What starts after that is followed in another way.
            let _in_time = tokio::time::timeout(OPENING, opened).await;
        }
    }

    fn set_link(&self, link: Link) -> Vec<Arc<Tracked>> {
        let mut inner = self.inner();
        inner.set(link);
        if link == Link::Open {
            inner.ledger.socket_opens();
        }
        self.settled.notify_waiters();
        inner.ledger.followed()
    }
}

/// The task that receives the events of a scope.
struct Receiving {
    scope: Arc<Scope>,
    client: Client,
    task: u64,
}

impl Receiving {
    async fn run(self) {
        let mut feed = Feed::new(events::of_operations(&self.client, &self.scope.project));
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut idle_since = None;
        loop {
            let step = poll_fn(|context| {
                if tick.poll_tick(context).is_ready() {
                    return Poll::Ready(None);
                }
                feed.poll_step(context).map(Some)
            });
            match step.await {
                Some(Step::Opened) => self.opened().await,
                Some(Step::Event(text)) => self.event(&text),
                Some(Step::Broken { rest, .. }) => self.broken(rest),
                None => {
                    if self.tick(&mut idle_since) {
                        return;
                    }
                }
            }
        }
    }

    /// The socket is open: what was not told while it was not has to be asked for.
    async fn opened(&self) {
        self.client.watching().restarts.look(&self.client).await;
        let followed = self.scope.set_link(Link::Open);
        for tracked in followed.iter().filter(|tracked| tracked.is_seen()) {
            tracked.stop_asking();
        }
        self.look_at(followed);
    }

    fn look_at(&self, operations: Vec<Arc<Tracked>>) {
        if !operations.is_empty() {
            let client = self.client.clone();
            tokio::spawn(async move { asking::look_at(&client, operations).await });
        }
    }

    fn event(&self, text: &str) {
        let mut event = OperationEvent::default();
        match wire::from_json(text.as_bytes(), &mut event) {
            Ok(()) if event.kind == "operation" => self.scope.inner().ledger.hear(event.state),
            Ok(()) => {}
            // It may have told of an end.
            Err(_) => {
                let followed = self.scope.inner().ledger.followed();
                self.look_at(followed);
            }
        }
    }

    /// The socket broke. Where it is not tried again at once, operations are asked for meanwhile.
    fn broken(&self, rest: Duration) {
        if rest.is_zero() {
            self.scope.inner().set(Link::Opening);
            return;
        }
        self.do_without_events();
    }

    fn do_without_events(&self) {
        for tracked in self.scope.set_link(Link::Broken) {
            asking::start(&self.client, &tracked);
        }
    }

    /// Looks after what needs more than events; whether there is nothing left to do.
    fn tick(&self, idle_since: &mut Option<Instant>) -> bool {
        let now = Instant::now();
        let (unseen, quiet, late) = {
            let mut inner = self.scope.inner();
            if !inner.ledger.tidy() {
                *idle_since = None;
            } else if now - *idle_since.get_or_insert(now) >= IDLE {
                inner.running = false;
                return true;
            }
            let quiet = if inner.link == Link::Open { inner.ledger.quiet(now) } else { Vec::new() };
            let late = inner.link == Link::Opening && inner.since.is_some_and(|since| now - since >= OPENING);
            (inner.ledger.unseen(now), quiet, late)
        };
        if late {
            self.do_without_events();
        }
        for tracked in &unseen {
            asking::start(&self.client, tracked);
        }
        self.look_at(quiet);
        false
    }
}

impl Drop for Receiving {
    /// The runtime may end while others wait: they start another task.
    fn drop(&mut self) {
        let followed = {
            let mut inner = self.scope.inner();
            if inner.task == self.task {
                inner.running = false;
                inner.set(Link::Opening);
            }
            inner.ledger.followed()
        };
        for tracked in followed {
            tracked.wake();
        }
    }
}

/// The event of an operation, without what is not needed here.
#[derive(Default)]
struct OperationEvent {
    kind: String,
    state: State,
}

impl Read for OperationEvent {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        wire::read_fields(self, value)
    }

    fn field(&mut self, name: &str) -> Option<&mut dyn Read> {
        Some(match name {
            "type" => &mut self.kind,
            "metadata" => &mut self.state,
            _ => return None,
        })
    }
}
