//! Events on their way to whoever follows them, and the latest of them.
//!
//! The data plane writes, the control plane reads. What an event is called and says is in
//! [`control::event`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use control::Failure;
use control::event::{Event, Level, Told};
use control::message::MAX_PAST;
use control::transport::Feed;
use tokio::sync::broadcast;

/// Events that may wait for one follower. Full: it misses the oldest and is told how many.
const QUEUE: usize = 256;

/// Followers at once: half of the places at the control socket, so that the other half stays free for
/// requests.
const FOLLOWERS: usize = 64;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Journal {
    live: broadcast::Sender<Arc<Told>>,
    /// Held only to add or to copy; events are rare.
    past: Mutex<VecDeque<Arc<Told>>>,
}

impl Default for Journal {
    fn default() -> Self {
        let (live, _) = broadcast::channel(QUEUE);
        Self { live, past: Mutex::default() }
    }
}

impl Journal {
    /// Takes down what has happened at that moment.
    pub(crate) fn tell(&self, at: SystemTime, event: Event) -> Arc<Told> {
        let told = Arc::new(Told::new(at, event));
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if told.level != Level::Debug {
            if past.len() == MAX_PAST {
                past.pop_front();
            }
            past.push_back(told.clone());
        }
        // Nobody listening is no failure.
        let _ = self.live.send(told.clone());
        told
    }

    /// The last so many events, and those to come if they are wanted: none is missed in between.
    pub(crate) fn follow(&self, last: usize, follow: bool) -> Result<Feed, Failure> {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if follow && self.live.receiver_count() >= FOLLOWERS {
            return Err(Failure::new(
                "events are not shown",
                format!("{FOLLOWERS} programs follow them already"),
                "end one of those",
            ));
        }
        let skip = past.len().saturating_sub(last);
        let past = past.iter().skip(skip).cloned().collect();
        Ok(Feed { past, live: follow.then(|| self.live.subscribe()) })
    }
}

#[cfg(test)]
mod tests {
    use control::event::Named;

    use super::*;

    fn node(name: usize) -> Named {
        Named { name: name.to_string(), key: String::new() }
    }

    fn tell(journal: &Journal, name: usize) {
        journal.tell(SystemTime::UNIX_EPOCH, Event::NodeJoined { node: node(name) });
    }

    fn name_of(told: &Told) -> usize {
        let Event::NodeJoined { node } = &told.event else { panic!("{told:?}") };
        node.name.parse().unwrap()
    }

    #[test]
    fn the_latest_events_are_kept_and_those_that_follow_are_told() {
        let journal = Journal::default();
        (0..MAX_PAST + 3).for_each(|name| tell(&journal, name));
        let all = journal.follow(usize::MAX, false).unwrap();
        let names: Vec<_> = all.past.iter().map(|told| name_of(told)).collect();
        assert!(names.iter().copied().eq(3..MAX_PAST + 3), "{names:?}");
        assert!(all.live.is_none());

        let feed = journal.follow(2, true).unwrap();
        assert_eq!(feed.past.len(), 2);
        tell(&journal, 7000);
        assert_eq!(name_of(&feed.live.unwrap().try_recv().unwrap()), 7000);
        assert!(journal.follow(0, false).unwrap().past.is_empty());
    }

    #[test]
    fn what_anybody_can_cause_does_not_push_out_the_rest() {
        let journal = Journal::default();
        tell(&journal, 1);
        let mut live = journal.follow(0, true).unwrap().live.unwrap();
        for _ in 0..2 * MAX_PAST {
            let (cable, reason) = ("c1".into(), "malformed".into());
            let refused = Event::RecordRefused { cable, origin: node(2), reason };
            journal.tell(SystemTime::UNIX_EPOCH, refused);
        }
        assert_eq!(journal.follow(usize::MAX, false).unwrap().past.len(), 1);
        assert!(matches!(live.try_recv().unwrap().event, Event::RecordRefused { .. }));
    }

    #[test]
    fn followers_leave_room_for_requests() {
        let journal = Journal::default();
        let mut feeds: Vec<_> = (0..FOLLOWERS).map(|_| journal.follow(0, true).unwrap()).collect();
        assert!(journal.follow(0, true).is_err());
        assert!(journal.follow(0, false).is_ok());
        feeds.pop();
        assert!(journal.follow(0, true).is_ok());
    }
}
