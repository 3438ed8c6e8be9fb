//! Who belongs to the mesh, as neighbours tell each other: all of it before a cable is used, so that
//! a node that was away learns who was put out before a frame flows; and what is new, as it comes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mesh::message::{MAX_ROSTER_ENTRIES, Message, RosterDigest, RosterEntries, encode};
use mesh::roster::{Forged, MAX_ENTRIES, MAX_MEMBERS};

use super::Shared;
use super::entry::now;
use crate::failure::CloseCode;
use crate::hello::{ControlError, ControlStream};
use crate::identity::PublicKey;
use crate::limit::{Bucket, Limit};
use crate::link::Link;
use crate::trust::{FORGET_EVERY, Trust};

/// How many entries of one peer are looked at closely: as many at once as the longest roster has, then
/// some a second, which is more than all administrators of a mesh say. Each may cost a signature's check
/// and the evaluation of a whole roster. A peer that says more is heard later.
const NEWS: Limit = Limit::per_second(16, 4096);
const _: () = assert!(MAX_ENTRIES == 4096);

/// The least time between two writes of the roster for the sake of what neighbours say; and how soon a
/// write that failed is tried again.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
const WRITE_AGAIN: Duration = Duration::from_secs(5);

/// How often it is looked whether the latest time is to be written.
const TIME_INTERVAL: Duration = Duration::from_secs(60);

/// How often news from neighbours may have all cables dialled at once that are waiting.
const WAKE_INTERVAL: Duration = Duration::from_secs(5);

/// The least time between two copies of the whole roster for one neighbour.
const WHOLE_INTERVAL: Duration = Duration::from_secs(10);

/// How often, in the looks at a link, neighbours compare their rosters although nothing has changed: what
/// was missed by some fault is then made good.
pub(super) const COMPARE_EVERY: u32 = 60;

/// Compares rosters with a peer that has just introduced itself, and takes in what it knows.
///
/// # Errors
/// [`ControlError`].
pub(super) async fn agree(
    shared: &Shared,
    peer: PublicKey,
    control: &mut ControlStream,
) -> Result<(), ControlError> {
    let Some(own) = shared.trust.roster_digest() else { return Ok(()) };
    control.send.write_all(&encode(&Message::RosterDigest(own))).await?;
    let Message::RosterDigest(theirs) = control.messages.next().await? else {
        return Err(ControlError::Misplaced);
    };
    if theirs.founding != own.founding || theirs.digest == own.digest {
        return Ok(());
    }
    let ControlStream { send, messages } = control;
    // At the same time: each end may wait until the other reads.
    let tell = async {
        for message in shared.trust.roster_messages() {
            send.write_all(&encode(&message)).await?;
        }
        Ok::<_, ControlError>(())
    };
    let hear = async {
        let mut heard = 0;
        while heard <= MAX_ENTRIES {
            let Message::Roster(entries) = messages.next().await? else {
                return Err(ControlError::Misplaced);
            };
            let last = entries.last;
            // An honest peer fills its messages; what else it has to say is awaited later.
            heard += entries.entries.len().max(MAX_ROSTER_ENTRIES);
            shared.take_roster(peer, entries, None)?;
            if last {
                return Ok(());
            }
        }
        Err(ControlError::Misplaced)
    };
    tokio::try_join!(tell, hear).map(drop)
}

/// Keeps the roster tidy and on disk, for ever.
pub(super) async fn keep(trust: &Trust) -> Infallible {
    tokio::select! {
        never = forget_hourly(trust) => never,
        never = write_news(trust) => never,
        never = keep_time(trust) => never,
    }
}

/// Remembers the latest time.
async fn keep_time(trust: &Trust) -> Infallible {
    loop {
        if trust.calendar().is_due() {
            let calendar = trust.calendar().clone();
            let kept = tokio::task::spawn_blocking(move || calendar.keep()).await;
            if let Ok(Err(err)) = kept {
                tracing::warn!(%err, "the time is not on disk");
            }
        }
        tokio::time::sleep(TIME_INTERVAL).await;
    }
}

/// Writes on a thread of its own: a slow disk holds up no frame.
async fn write_news(trust: &Trust) -> Infallible {
    loop {
        trust.is_unwritten().await;
        let is_written = trust.written().await;
        tokio::time::sleep(if is_written { WRITE_INTERVAL } else { WRITE_AGAIN }).await;
    }
}

/// Forgets invitations that are long over.
async fn forget_hourly(trust: &Trust) -> Infallible {
    loop {
        let rest = FORGET_EVERY - trust.now() % FORGET_EVERY;
        tokio::time::sleep(Duration::from_secs(rest)).await;
        trust.forget_old_invitations(trust.now());
    }
}

/// What neighbours have made this node do by their news.
#[derive(Debug, Default)]
pub(super) struct News {
    /// By peer, for a peer may come again with another cable. Only who is trusted comes so far.
    used: BTreeMap<PublicKey, Bucket>,
    woken_at: Option<Instant>,
}

impl News {
    /// Counts what was looked at. Gives how long the peer must wait.
    fn charge(&mut self, peer: PublicKey, count: usize, now: Instant) -> Duration {
        if self.used.len() >= MAX_MEMBERS {
            self.used.retain(|_, bucket| !bucket.is_whole(now));
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.used.entry(peer).or_default().charge(NEWS, count, now)
    }

    fn may_wake(&mut self, now: Instant) -> bool {
        let is_due =
            self.woken_at.is_none_or(|at| now.saturating_duration_since(at) >= WAKE_INTERVAL);
        if is_due {
            self.woken_at = Some(now);
        }
        is_due
    }
}

/// What one link has been told.
#[derive(Debug, Default)]
pub(super) struct Told {
    whole_at: Option<Instant>,
}

impl Told {
    /// The peer says what its roster is: it gets this one if it differs.
    pub(super) fn handle_digest(&mut self, shared: &Shared, link: &Link, theirs: &RosterDigest) {
        let Some(own) = shared.trust.roster_digest() else { return };
        let differs = theirs.founding == own.founding && theirs.digest != own.digest;
        let is_due =
            self.whole_at.is_none_or(|at| now().saturating_duration_since(at) >= WHOLE_INTERVAL);
        // One that does not read what it was sent asks in vain.
        if differs && is_due && link.has_posted_all() {
            self.whole_at = Some(now());
            for message in shared.trust.roster_messages() {
                link.post(&message);
            }
        }
    }
}

impl Shared {
    /// Tells a neighbour what this node's roster is, in short.
    pub(super) fn compare_rosters(&self, link: &Link) {
        if link.peer().has_roster
            && let Some(own) = self.trust.roster_digest()
        {
            link.post(&Message::RosterDigest(own));
        }
    }

    /// Takes in what a neighbour knows and passes on what is new. Gives how long the neighbour must
    /// wait before it is heard again.
    pub(super) fn take_roster(
        &self,
        peer: PublicKey,
        entries: RosterEntries,
        from: Option<&Rc<Link>>,
    ) -> Result<Duration, Forged> {
        let heard = self.trust.merge(&entries.founding, entries.entries.into_vec());
        if heard.is_news {
            let wakes = self.news.borrow_mut().may_wake(now());
            self.spread(from, wakes);
        }
        match heard.forged {
            Some(forged) => Err(forged),
            None => Ok(self.news.borrow_mut().charge(peer, heard.looked_at, now())),
        }
    }

    /// Tells the neighbours what this node has said, cuts the cables of those who are out, and tries
    /// again at once with all others.
    pub(super) fn roster_changed(&self) {
        self.spread(None, true);
    }

    fn spread(&self, from: Option<&Rc<Link>>, wakes: bool) {
        let news = self.trust.take_untold();
        let entries: Vec<_> = self.entries.borrow().values().cloned().collect();
        for entry in entries {
            if let Some(link) = entry.link()
                && link.peer().has_roster
                && from.is_none_or(|from| !Rc::ptr_eq(from, &link))
            {
                for message in &news {
                    link.post(message);
                }
            }
            match entry.peer_key() {
                Some(key) if !self.trust.contains(key) => entry.close(CloseCode::Untrusted),
                _ if wakes => entry.wake.notify_one(),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    #[test]
    fn a_peer_that_says_more_than_administrators_do_is_heard_later() {
        let [rogue, honest] = [0; 2].map(|_| Identity::generate().unwrap().public());
        let (mut news, start) = (News::default(), now());
        let whole = MAX_ENTRIES.div_ceil(MAX_ROSTER_ENTRIES);
        for _ in 0..whole {
            assert_eq!(news.charge(rogue, MAX_ROSTER_ENTRIES, start), Duration::ZERO);
        }
        // With whichever cable it comes.
        let wait = news.charge(rogue, MAX_ROSTER_ENTRIES, start);
        assert_eq!(wait.as_secs(), 8);
        assert_eq!(news.charge(honest, MAX_ROSTER_ENTRIES, start), Duration::ZERO);
        assert_eq!(news.charge(rogue, 1, start + Duration::from_secs(9)), Duration::ZERO);
    }

    #[test]
    fn news_from_neighbours_has_cables_dialled_anew_now_and_then_only() {
        let (mut news, start) = (News::default(), now());
        let times = (0..100).map(|turn| start + Duration::from_millis(100) * turn);
        assert_eq!(times.filter(|at| news.may_wake(*at)).count(), 2);
    }
}
