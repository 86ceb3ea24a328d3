//! The book of the operations that somebody waits for, and of the news of those that nobody knows of
//! yet: an event can come before the answer that names its operation. It does no input or output.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::state::State;
use super::tracked::Tracked;
use super::watcher::Scope;

/// How long an operation may go without any event before it is asked for: the events of another
/// project, or of a cluster member that is cut off, do not come here.
const UNSEEN: Duration = Duration::from_secs(1);

/// After how long without news an operation is looked at, in case its end was never told, and how often
/// such ones are searched for.
const QUIET: Duration = Duration::from_secs(60);
const SEARCH: Duration = Duration::from_secs(15);

/// How many news are kept for the answers that are still to come, at least and for each of them. What
/// is lost by that is asked for.
const KEPT: usize = 1024;
const KEPT_FOR_EACH: usize = 4;

/// The book.
#[derive(Default)]
pub(super) struct Ledger {
    followed: HashMap<Arc<str>, Weak<Tracked>>,
    /// Calls that are on their way, and may come back with an operation.
    coming: usize,
    /// The latest news of operations that are not followed, and their order. They are kept while
    /// calls are on their way.
    recent: HashMap<String, State>,
    order: VecDeque<String>,
    /// Operations of which no event has come yet, and when to ask for them.
    unseen: VecDeque<(Instant, Weak<Tracked>)>,
    searched: Option<Instant>,
}

impl Ledger {
    /// A call is on its way that may start an operation.
    pub(super) fn call_goes(&mut self) {
        self.coming += 1;
    }

    /// Such a call has come back, in one way or another.
    pub(super) fn call_came(&mut self) {
        self.coming -= 1;
        if self.coming == 0 {
            // Others than those of the calls that came back.
            self.recent = HashMap::new();
            self.order = VecDeque::new();
        }
    }

    /// Follows an operation that a call started.
    pub(super) fn follow(&mut self, state: State, restarts: u64, scope: Weak<Scope>) -> Arc<Tracked> {
        let known = self.followed.get(state.id.as_str()).and_then(Weak::upgrade);
        let recent = self.recent.remove(&state.id);
        let tracked = match known {
            Some(tracked) => {
                tracked.hear(state);
                tracked
            }
            None => {
                let tracked = Tracked::new(state, None, restarts, scope);
                self.followed.insert(Arc::clone(&tracked.id), Arc::downgrade(&tracked));
                if recent.is_none() {
                    self.unseen.push_back((Instant::now() + UNSEEN, Arc::downgrade(&tracked)));
                }
                tracked
            }
        };
        if let Some(recent) = recent {
            tracked.hear_event(recent);
        }
        if tracked.has_ended() {
            self.followed.remove(&tracked.id);
        }
        tracked
    }

    /// The socket is open after it was not: what was under way before that may have ended in between.
    pub(super) fn socket_opens(&mut self) {
        self.recent.retain(|_, state| state.is_final());
    }

    /// Takes in what an event told.
    pub(super) fn hear(&mut self, state: State) {
        let followed = self.followed.get(state.id.as_str()).and_then(Weak::upgrade);
        if let Some(tracked) = followed {
            if tracked.hear_event(state) {
                self.followed.remove(&tracked.id);
            }
        } else if self.coming > 0 {
            self.keep(state);
        }
    }

    fn keep(&mut self, state: State) {
        if let Some(known) = self.recent.get_mut(&state.id) {
            if state.is_later_than(known) {
                *known = state;
            }
            return;
        }
        let is_full = self.order.len() >= KEPT.max(KEPT_FOR_EACH * self.coming);
        if let Some(oldest) = is_full.then(|| self.order.pop_front()).flatten() {
            self.recent.remove(&oldest);
        }
        self.order.push_back(state.id.clone());
        self.recent.insert(state.id.clone(), state);
    }

    /// Forgets what nobody waits for any more; whether nobody waits for anything.
    pub(super) fn tidy(&mut self) -> bool {
        self.followed.retain(|_, tracked| tracked.upgrade().is_some_and(|tracked| !tracked.has_ended()));
        self.coming == 0 && self.followed.is_empty()
    }

    /// All operations that are followed and have not ended.
    pub(super) fn followed(&self) -> Vec<Arc<Tracked>> {
        let known = self.followed.values().filter_map(Weak::upgrade);
        known.filter(|tracked| !tracked.has_ended()).collect()
    }

    /// Those whose time to show themselves is up.
    pub(super) fn unseen(&mut self, now: Instant) -> Vec<Arc<Tracked>> {
        let mut unseen = Vec::new();
        while self.unseen.front().is_some_and(|(time, _)| *time <= now) {
            let tracked = self.unseen.pop_front().and_then(|(_, tracked)| tracked.upgrade());
            unseen.extend(tracked.filter(|tracked| !tracked.is_seen() && !tracked.has_ended()));
        }
        unseen
    }

    /// Those of which nothing was heard for long.
    pub(super) fn quiet(&mut self, now: Instant) -> Vec<Arc<Tracked>> {
        if now - *self.searched.get_or_insert(now) < SEARCH {
            return Vec::new();
        }
        self.searched = Some(now);
        let mut followed = self.followed();
        followed.retain(|tracked| now.saturating_duration_since(tracked.heard()) >= QUIET);
        followed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;
    use std::time::Duration;

    use serde_json::json;
    use tokio::time::Instant;

    use super::{KEPT, Ledger, QUIET, SEARCH, State, UNSEEN};

    /// What the server sends of one operation.
    #[derive(Clone)]
    enum Message {
        /// The answer to the call.
        Answer(State),
        Event(State),
    }

    fn state(status_code: i64, updated_at: &str, percent: u64) -> State {
        State {
            id: "u".into(),
            class: "task".into(),
            status_code,
            updated_at: format!("2026-01-31T12:00:{updated_at}Z").parse().ok(),
            metadata: json!({ "percent": percent }),
            ..State::default()
        }
    }

    /// An operation from its start to this end, as LXD 5.0.2 tells it.
    fn recorded(end: i64) -> Vec<Message> {
        vec![
            Message::Answer(state(103, "00.1", 0)),
            Message::Event(state(105, "00.1", 0)),
            Message::Event(state(103, "00.1", 0)),
            Message::Event(state(103, "00.25", 50)),
            Message::Event(state(103, "00.3", 99)),
            Message::Event(state(104, "00.3", 99)),
            Message::Event(state(end, "00.3", 100)),
        ]
    }

    /// All orders of some messages.
    fn orders(messages: &[Message]) -> Vec<Vec<Message>> {
        let [first, rest @ ..] = messages else { return vec![Vec::new()] };
        let mut all = Vec::new();
        for order in orders(rest) {
            for place in 0..=order.len() {
                let mut order = order.clone();
                order.insert(place, first.clone());
                all.push(order);
            }
        }
        all
    }

    fn place_of(state: &State) -> (bool, u64, i64) {
        let percent = state.metadata["percent"].as_u64().unwrap_or_default();
        (state.is_final(), percent, if state.status_code == 105 { 0 } else { state.status_code })
    }

    #[test]
    fn every_order_of_the_messages_leads_to_the_same_end() {
        for end in [200, 400, 401] {
            let orders = orders(&recorded(end));
            assert_eq!(orders.len(), 5040);
            for order in orders {
                let mut ledger = Ledger::default();
                ledger.call_goes();
                let mut tracked = None;
                let mut seen = Vec::new();
                for message in order {
                    match message {
                        Message::Answer(state) => {
                            tracked = Some(ledger.follow(state, 0, Weak::new()));
                            ledger.call_came();
                        }
                        Message::Event(state) => ledger.hear(state),
                    }
                    seen.extend(tracked.iter().map(|tracked| tracked.with(place_of)));
                }
                assert!(seen.is_sorted(), "{seen:?}");
                let tracked = tracked.unwrap();
                assert!(tracked.is_seen());
                let ended = tracked.end().unwrap().ok().unwrap();
                assert_eq!((ended.status_code, ended.metadata["percent"].as_u64()), (end, Some(100)));
                assert!(ledger.tidy(), "nothing is left");
                assert!(ledger.followed.is_empty() && ledger.recent.is_empty() && ledger.order.is_empty());
            }
        }
    }

    #[test]
    fn news_are_kept_for_calls_that_are_on_their_way_alone() {
        let mut ledger = Ledger::default();
        ledger.hear(state(200, "00", 0));
        assert!(ledger.recent.is_empty());
        ledger.call_goes();
        ledger.call_goes();
        ledger.hear(state(200, "00", 0));
        ledger.call_came();
        assert_eq!(ledger.recent.len(), 1);
        ledger.call_came();
        assert!(ledger.recent.is_empty() && ledger.tidy());
    }

    #[test]
    fn a_busy_server_does_not_fill_the_memory() {
        let mut ledger = Ledger::default();
        ledger.call_goes();
        for number in 0..10 * KEPT {
            ledger.hear(State { id: number.to_string(), ..state(200, "00", 0) });
        }
        assert_eq!((ledger.recent.len(), ledger.order.len()), (KEPT, KEPT));
        let latest = State { id: (10 * KEPT - 1).to_string(), ..state(103, "00", 0) };
        assert!(ledger.follow(latest, 0, Weak::new()).has_ended());
    }

    #[test]
    fn who_follows_the_same_shares_it_and_dropping_it_ends_that() {
        let mut ledger = Ledger::default();
        let one = ledger.follow(state(103, "00", 0), 0, Weak::new());
        let other = ledger.follow(state(105, "00", 0), 0, Weak::new());
        assert!(std::sync::Arc::ptr_eq(&one, &other));
        assert_eq!(one.with(|state| state.status_code), 103);
        drop(one);
        assert!(!ledger.tidy());
        drop(other);
        assert!(ledger.tidy());
        // What has ended by other news than events is done with too.
        let kept = ledger.follow(state(103, "00", 0), 0, Weak::new());
        assert!(!ledger.tidy());
        kept.hear(state(200, "00", 0));
        assert!(ledger.tidy() && ledger.followed().is_empty());
    }

    #[test]
    fn news_from_before_a_gap_do_not_count_as_seen() {
        let mut ledger = Ledger::default();
        ledger.call_goes();
        ledger.hear(state(103, "00", 0));
        ledger.socket_opens();
        let tracked = ledger.follow(state(103, "00", 0), 0, Weak::new());
        assert!(!tracked.is_seen());
    }

    #[test]
    fn what_no_event_tells_of_is_found() {
        let mut ledger = Ledger::default();
        let now = Instant::now();
        let unseen = ledger.follow(State { id: "unseen".into(), ..state(103, "00", 0) }, 0, Weak::new());
        let seen = ledger.follow(State { id: "seen".into(), ..state(103, "00", 0) }, 0, Weak::new());
        ledger.hear(State { id: "seen".into(), ..state(103, "00", 0) });
        assert!(ledger.unseen(now).is_empty());
        let found = ledger.unseen(now + UNSEEN + Duration::from_secs(1));
        assert_eq!(found.iter().map(|found| &*found.id).collect::<Vec<_>>(), ["unseen"]);
        assert!(ledger.unseen(now + 2 * UNSEEN).is_empty(), "told once");

        assert!(ledger.quiet(now).is_empty());
        assert!(ledger.quiet(now + SEARCH).is_empty());
        let found = ledger.quiet(now + QUIET + Duration::from_secs(1));
        assert_eq!(found.len(), 2);
        drop((unseen, seen));
    }
}
