//! Who belongs to the mesh, as neighbours tell each other: all of it before a cable is used, so that
//! a node that was away learns who was put out before a frame flows; and what is new, as it comes.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mesh::message::{Message, RosterDigest, RosterEntries, encode};
use mesh::roster::Forged;

use super::Shared;
use super::entry::now;
use crate::calendar::unix_seconds;
use crate::failure::CloseCode;
use crate::hello::{ControlError, ControlStream};
use crate::link::Link;
use crate::trust::{FORGET_EVERY, RosterError, Trust};

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
        loop {
            let Message::Roster(entries) = messages.next().await? else {
                return Err(ControlError::Misplaced);
            };
            let last = entries.last;
            shared.take_roster(entries, None)?;
            if last {
                return Ok(());
            }
        }
    };
    tokio::try_join!(tell, hear).map(drop)
}

/// Forgets invitations that are long over, for ever.
pub(super) async fn forget_hourly(trust: &Trust) -> Infallible {
    loop {
        let rest = FORGET_EVERY - unix_seconds() % FORGET_EVERY;
        tokio::time::sleep(Duration::from_secs(rest)).await;
        if let Err(err) = trust.forget_old_invitations(unix_seconds()) {
            tracing::warn!(%err, "invitations that are over cannot be forgotten");
        }
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

    /// Takes in what a neighbour knows and passes on what is new.
    pub(super) fn take_roster(
        &self,
        entries: RosterEntries,
        from: Option<&Rc<Link>>,
    ) -> Result<(), Forged> {
        match self.trust.merge(&entries.founding, entries.entries.into_vec()) {
            Ok(false) => {}
            Ok(true) => self.roster_changed(from),
            Err(RosterError::Forged(forged)) => return Err(forged),
            Err(err) => tracing::warn!(%err, "news of the mesh's members cannot be kept"),
        }
        Ok(())
    }

    /// Tells the neighbours what is new, and cuts the cables of those who are out.
    pub(super) fn roster_changed(&self, from: Option<&Rc<Link>>) {
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
                _ => entry.wake.notify_one(),
            }
        }
    }
}
