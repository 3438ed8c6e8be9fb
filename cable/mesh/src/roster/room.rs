//! How much a roster holds, what is not taken, and what gives way.

use super::entry::{Entry, Statement};
use super::evaluate::{Evaluation, heirs};
use super::{Known, Roster};
use crate::authority::NodeKey;

/// The most keys that are members or have been: as many as there can be nodes.
pub const MAX_MEMBERS: usize = 1024;

/// The most invitations remembered, used ones among them; and the most of which one administrator
/// says that they are over.
pub const MAX_INVITES: usize = 1024;

/// The most of one administrator: four of them fill the list, not one.
pub const MAX_INVITES_OF_SIGNER: usize = 256;

/// The most entries: some from several administrators about each key. At most 400 octets each.
pub const MAX_ENTRIES: usize = 4096;

/// How many of them are kept for the founder, or the key that it retired to: it can always put out who
/// has filled the rest.
const RESERVE: usize = 256;

/// Keys that one key may name to follow it. An honest node names one; of a stolen key the thief
/// names another.
const MAX_HEIRS: usize = 4;

/// How far ahead an invitation's end may be, in seconds: two years, for honest ones are good for one.
const MAX_AHEAD: u64 = 2 * 366 * 86_400;

/// A clock that shows less than 2020 was never set: nothing is ahead of it.
const LATE_ENOUGH: u64 = 50 * 365 * 86_400;

/// For how long an invitation is remembered after its end, in seconds: longer than clocks are wrong
/// and nodes are out of reach while an invitation is being used.
const REMEMBER_INVITES: u64 = 7 * 86_400;

impl Roster {
    /// Whether an entry is about an invitation whose time is not worth remembering.
    pub(super) fn is_untimely(entry: &Entry, now: u64) -> bool {
        invitation_end(entry).is_some_and(|end| is_forgotten(end, now) || is_endless(end, now))
    }

    pub(super) fn has_room(&self, entry: &Entry) -> bool {
        if self.entries.contains_key(&entry.place()) {
            return true;
        }
        let room = match &entry.statement {
            Statement::Member(_) | Statement::Revoked(_) => {
                let is_known = self.known.get(&entry.subject).is_some_and(|known| known.steps == 0);
                is_known || self.count_known(|known| known.steps == 0) < MAX_MEMBERS
            }
            // Keys that follow others crowd out nobody, and are not crowded out.
            Statement::Succeeded(succession) => {
                heirs(&self.entries, entry.subject).count() < MAX_HEIRS
                    && (self.known.contains_key(&succession.to)
                        || self.count_known(|known| known.steps > 0) < MAX_MEMBERS)
            }
            Statement::Invite(_) => {
                self.count_invites(&entry.signer) < MAX_INVITES_OF_SIGNER
                    && self.invites().count() < MAX_INVITES
            }
            // Closing one makes no more of them, so that nobody honest closes more than there are.
            Statement::Closed { .. } => self.count_invites(&entry.signer) < MAX_INVITES,
        };
        let reserved = if entry.signer == self.root { 0 } else { RESERVE };
        room && self.entries.len() < MAX_ENTRIES - reserved
    }

    fn count_known(&self, counts: impl Fn(&Known) -> bool) -> usize {
        self.known.values().filter(|known| counts(known)).count()
    }

    fn count_invites(&self, signer: &NodeKey) -> usize {
        self.invites().filter(|(_, other)| other == signer).count()
    }

    /// Makes room for entries for which there was none, where that helps: what was said by those who
    /// have no voice is forgotten. It costs as much as reading the whole roster, so nobody gets it done
    /// who has no voice either, or who has no room for more of his own keys. Gives whether there was
    /// anything.
    pub(super) fn clear_for(&mut self, entries: &[Entry]) -> bool {
        let is_owed = |entry: &Entry| match &entry.statement {
            Statement::Succeeded(_) => heirs(&self.entries, entry.subject).count() < MAX_HEIRS,
            _ => self.has_authority(&entry.signer),
        };
        let is_void = |entry: &Entry| match &entry.statement {
            Statement::Succeeded(_) => false,
            _ => !self.has_authority(&entry.signer),
        };
        if !entries.iter().any(is_owed) || !self.entries.values().any(is_void) {
            return false;
        }
        let kept: Vec<_> = self.entries.values().filter(|e| !is_void(e)).cloned().collect();
        let mut cleared = Self::new(self.founding);
        cleared.take_all(kept, 0, &mut |_, _| true, &mut |_| true);
        cleared.evaluation = Evaluation::of(&cleared.founding, &cleared.entries);
        *self = cleared;
        true
    }

    /// Forgets invitations that are long over. Call it now and then, and after loading.
    pub fn forget_old_invitations(&mut self, now: u64) {
        self.entries
            .retain(|_, entry| invitation_end(entry).is_none_or(|end| !is_forgotten(end, now)));
    }
}

/// When what an entry says about an invitation is over; `None` if it is about something else.
fn invitation_end(entry: &Entry) -> Option<u64> {
    match &entry.statement {
        Statement::Invite(invitation) => Some(invitation.expires),
        Statement::Closed { expires } => Some(*expires),
        _ => None,
    }
}

fn is_endless(end: u64, now: u64) -> bool {
    now >= LATE_ENOUGH && end > now.saturating_add(MAX_AHEAD)
}

fn is_forgotten(end: u64, now: u64) -> bool {
    end.saturating_add(REMEMBER_INVITES) <= now
}
