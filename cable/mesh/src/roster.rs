//! Who belongs to the mesh: what administrators have said about keys, and what follows from it.
//!
//! Owns the entries, their bounds, and the answer to "who is this key". Leaves to the shell the
//! keys ([`Sealer`], [`Checker`]), the disk, the time, and carrying entries from node to node.
//! `PROTOCOL.md` beside this package is normative.
//!
//! A roster is the set of entries that came, whatever their order: for each subject and signer the
//! one with the highest serial, and the first one with which a key is retired. Whose word counts is worked out from the whole set
//! (`roster/evaluate.rs`). What does not count is kept all the same, so that all nodes that heard the same
//! come to the same result.

mod author;
mod entry;
mod evaluate;
mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::authority::NodeKey;
use crate::message::Name;
use evaluate::{Decision, Evaluation, MAX_SUCCESSIONS, about, heirs, succession};

pub use author::{Admission, AuthorError};
pub use entry::{
    Checker, Class, Entry, Founding, Invitation, Membership, Place, Revocation, Roles, Sealer,
    Statement, Succession, consent_octets,
};
pub use room::{MAX_ENTRIES, MAX_INVITES, MAX_INVITES_OF_SIGNER, MAX_MEMBERS};

/// What a roster says of a key at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is a member.
    Member(Membership),
    /// It was one until a time that has come.
    Expired(Membership),
    /// It was put out.
    Revoked,
    /// Its holder has this key now.
    Replaced(NodeKey),
    /// It is to follow this member's key, and is nobody's before that one is done with.
    Waiting(NodeKey),
    /// Somebody else used its invitation first.
    Outrun,
    /// Nobody has said that it is a member.
    Unknown,
}

/// What has become of an invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvitationState {
    /// It can be used.
    Open(Invitation),
    /// It could be used until a time that has come.
    Expired,
    /// This key used it.
    UsedBy(NodeKey),
    /// An administrator took it back.
    TakenBack,
    /// Nobody whose word counts has made it.
    Unknown,
}

/// Something came that no honest node sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a roster entry about {subject:?} is forged or makes no sense")]
pub struct Forged {
    /// Whom it is about.
    pub subject: NodeKey,
}

/// What came of entries that were offered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    /// Those that were new, in an order in which another node can take them.
    pub taken: Vec<Entry>,
    /// How many were not taken because nobody known signed them.
    pub unfounded: usize,
    /// Those that were not taken because the roster is full.
    pub no_room: Vec<Entry>,
    /// The first one that is not honest.
    pub forged: Option<Forged>,
}

impl Merged {
    /// How many had to be looked at closely, whatever came of it: what says nothing new costs nothing.
    pub fn looked_at(&self) -> usize {
        self.taken.len() + self.unfounded + self.no_room.len() + usize::from(self.forged.is_some())
    }
}

/// The roster of one mesh. See the [module](self).
#[derive(Clone)]
pub struct Roster {
    founding: Founding,
    entries: BTreeMap<Place, Entry>,
    /// Keys that are or have been administrators: their entries are kept.
    authors: BTreeSet<NodeKey>,
    /// Keys that have been admitted, or are to follow one that was.
    known: BTreeMap<NodeKey, Known>,
    evaluation: Evaluation,
}

/// How a key came to be known.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// How many successions it is from an administrator's word.
    steps: u8,
    /// It is by such a word, or by the last one of the key before it.
    is_taken: bool,
}

impl Known {
    const ADMITTED: Self = Self { steps: 0, is_taken: true };
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roster")
            .field("founder", &self.founding.founder)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

impl Roster {
    /// The roster of a mesh of which nothing is known but its beginning.
    pub fn new(founding: Founding) -> Self {
        let entries = BTreeMap::new();
        let evaluation = Evaluation::of(&founding, &entries);
        Self {
            founding,
            entries,
            authors: BTreeSet::from([founding.founder]),
            known: BTreeMap::from([(founding.founder, Known::ADMITTED)]),
            evaluation,
        }
    }

    /// Where the mesh comes from.
    pub fn founding(&self) -> &Founding {
        &self.founding
    }

    /// All entries, in the order of their places.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// All entries, in an order in which another roster takes them without waiting for later ones:
    /// whoever signed one comes before it.
    pub fn entries_in_order(&self) -> Vec<Entry> {
        let mut other = Self::new(self.founding);
        other.take_all(self.entries.values().cloned().collect(), 0, &mut |_| true).taken
    }

    /// Takes in what another node, or the disk, knows. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`Forged`]: whoever sent this is not honest, or the disk is damaged. What came before it has
    /// been taken.
    pub fn merge(
        &mut self,
        entries: Vec<Entry>,
        now: u64,
        checker: &impl Checker,
    ) -> Result<Merged, Forged> {
        let merged = self.take_in(entries, now, checker);
        merged.forged.map_or(Ok(merged), Err)
    }

    /// The same, and what of it was taken although somebody has forged something.
    pub fn take_in(&mut self, entries: Vec<Entry>, now: u64, checker: &impl Checker) -> Merged {
        let founding = self.founding;
        let mut forged = None;
        let mut is_honest = |entry: &Entry| {
            let honest = entry.is_plausible() && entry.is_authentic(&founding, checker);
            if !honest && forged.is_none() {
                forged = Some(Forged { subject: entry.subject });
            }
            honest
        };
        let mut merged = self.take_all(entries, now, &mut is_honest);
        if !merged.taken.is_empty() {
            self.evaluation = Evaluation::of(&self.founding, &self.entries);
        }
        // Only a full roster says who has no voice by now, and only then it matters.
        if !merged.no_room.is_empty() && self.forget_void() {
            let again = std::mem::take(&mut merged.no_room);
            let more = self.take_all(again, now, &mut is_honest);
            self.evaluation = Evaluation::of(&self.founding, &self.entries);
            merged.taken.extend(more.taken);
            merged.unfounded += more.unfounded;
            merged.no_room = more.no_room;
        }
        Merged { forged, ..merged }
    }

    /// An entry may found another one that came before it: those without a known signer are looked
    /// at again until nothing moves.
    fn take_all(
        &mut self,
        entries: Vec<Entry>,
        now: u64,
        is_honest: &mut dyn FnMut(&Entry) -> bool,
    ) -> Merged {
        let mut merged = Merged::default();
        let mut waiting = entries;
        loop {
            let mut still = Vec::new();
            let before = waiting.len();
            for entry in waiting {
                if self.is_outdated(&entry, now) {
                } else if !self.is_founded(&entry) {
                    still.push(entry);
                } else if !self.has_room(&entry) {
                    merged.no_room.push(entry);
                } else if is_honest(&entry) {
                    self.take(entry.clone());
                    merged.taken.push(entry);
                }
            }
            if still.is_empty() || still.len() == before {
                merged.unfounded = still.len();
                return merged;
            }
            waiting = still;
        }
    }

    /// Whether it says nothing new, or something that is over.
    fn is_outdated(&self, entry: &Entry, now: u64) -> bool {
        Self::is_untimely(entry, now)
            || self
                .entries
                .get(&entry.place())
                .is_some_and(|known| known.rank() >= entry.rank() || known.says_the_same(entry))
            || entry.retires() && self.is_retired(entry.subject)
    }

    /// Whether a key's holder is done with it. The first word that says so is the last one: what comes
    /// later is from whoever found the key. Nothing in the entries tells which of two was
    /// first, so this alone depends on their order.
    fn is_retired(&self, key: NodeKey) -> bool {
        heirs(&self.entries, key).any(Entry::retires)
    }

    /// Whether the signer may have a word in this, now or at some time.
    fn is_founded(&self, entry: &Entry) -> bool {
        match &entry.statement {
            Statement::Succeeded(_) => {
                let known = self.known.get(&entry.subject);
                known.is_some_and(|known| known.is_taken && known.steps < MAX_SUCCESSIONS)
            }
            _ => self.authors.contains(&entry.signer),
        }
    }

    fn take(&mut self, entry: Entry) {
        match &entry.statement {
            Statement::Member(member) => {
                self.known.insert(entry.subject, Known::ADMITTED);
                let roles = member.roles;
                if roles.contains(Roles::ADMIN) || roles.contains(Roles::FORMER_ADMIN) {
                    self.add_author(entry.subject);
                }
            }
            Statement::Revoked(revoked) => {
                self.known.insert(entry.subject, Known::ADMITTED);
                if revoked.was_admin {
                    self.add_author(entry.subject);
                }
            }
            Statement::Succeeded(Succession { to, retired, .. }) => {
                let steps = self.known.get(&entry.subject).map_or(1, |known| known.steps + 1);
                let new = Known { steps, is_taken: *retired };
                let known = self.known.entry(*to).or_insert(new);
                known.steps = known.steps.min(steps);
                known.is_taken |= *retired;
                if self.authors.contains(&entry.subject) {
                    self.add_author(*to);
                }
            }
            Statement::Invite(_) | Statement::Closed { .. } => {}
        }
        self.entries.insert(entry.place(), entry);
    }

    /// Those who follow an administrator are administrators.
    fn add_author(&mut self, key: NodeKey) {
        let mut new = vec![key];
        while let Some(key) = new.pop() {
            if self.authors.insert(key) {
                new.extend(heirs(&self.entries, key).filter_map(|entry| match &entry.statement {
                    Statement::Succeeded(succession) => Some(succession.to),
                    _ => None,
                }));
            }
        }
    }

    /// What a key is, at a time in seconds since 1970.
    pub fn standing(&self, key: &NodeKey, now: u64) -> Standing {
        match self.evaluation.decisions.get(key) {
            None => Standing::Unknown,
            Some(Decision::Revoked) => Standing::Revoked,
            Some(Decision::Replaced(by)) => Standing::Replaced(*by),
            Some(Decision::Waiting(of)) => match self.standing(of, now) {
                Standing::Member(_) => Standing::Waiting(*of),
                other => other,
            },
            Some(Decision::Outrun) => Standing::Outrun,
            Some(Decision::Member(member)) if member.expires != 0 && member.expires <= now => {
                Standing::Expired(member.clone())
            }
            Some(Decision::Member(member)) => Standing::Member(member.clone()),
        }
    }

    /// What a member may do; `None` for a key that is not one now.
    pub fn role_of(&self, key: &NodeKey, now: u64) -> Option<Roles> {
        match self.standing(key, now) {
            Standing::Member(member) => Some(member.roles),
            _ => None,
        }
    }

    /// Whether what a key signs counts. It is so also for an administrator whose membership has
    /// ended by expiry or by the word of an equal.
    pub fn has_authority(&self, key: &NodeKey) -> bool {
        self.evaluation.levels.contains_key(key)
    }

    /// Whether a key is a member and an administrator now.
    pub fn is_admin(&self, key: &NodeKey, now: u64) -> bool {
        self.has_authority(key)
            && self.role_of(key, now).is_some_and(|roles| roles.contains(Roles::ADMIN))
    }

    /// Every key that is or was a member and what it is now, by key.
    pub fn standings(&self, now: u64) -> impl Iterator<Item = (NodeKey, Standing)> {
        self.evaluation.decisions.keys().map(move |key| (*key, self.standing(key, now)))
    }

    /// The members now, by key.
    pub fn members(&self, now: u64) -> impl Iterator<Item = (NodeKey, Membership)> {
        self.standings(now).filter_map(|(key, standing)| match standing {
            Standing::Member(member) => Some((key, member)),
            _ => None,
        })
    }

    /// What a key that is known was or is called.
    pub fn name_of(&self, key: &NodeKey) -> Option<Name> {
        match self.evaluation.decisions.get(key) {
            Some(Decision::Member(member)) => return Some(member.name.clone()),
            Some(Decision::Waiting(of)) => return self.name_of(of),
            _ => {}
        }
        let latest = about(&self.entries, *key).max_by_key(|entry| entry.rank())?;
        match &latest.statement {
            Statement::Member(member) => Some(member.name.clone()),
            Statement::Revoked(revoked) => Some(revoked.name.clone()),
            _ => None,
        }
    }

    /// The key that a member has now, of which this was one.
    pub fn latest_key(&self, key: &NodeKey) -> NodeKey {
        let mut at = *key;
        // No line is longer than there are keys.
        for _ in 0..MAX_MEMBERS {
            match self.evaluation.decisions.get(&at) {
                Some(Decision::Replaced(by)) => at = *by,
                _ => break,
            }
        }
        at
    }

    /// What follows a key, as its holder says.
    pub fn succession_of(&self, key: &NodeKey) -> Option<Succession> {
        succession(&self.entries, *key)
    }

    /// What has become of an invitation.
    pub fn invitation(&self, invite: &NodeKey, now: u64) -> InvitationState {
        let statements =
            || about(&self.entries, *invite).filter(|entry| self.has_authority(&entry.signer));
        let used = self.entries.values().find_map(|entry| {
            let with = match &entry.statement {
                Statement::Member(member) => member.invite,
                Statement::Revoked(revoked) => revoked.invite,
                _ => None,
            };
            (with == Some(*invite) && self.has_authority(&entry.signer)).then_some(entry.subject)
        });
        if let Some(by) = used {
            return InvitationState::UsedBy(by);
        }
        if statements().any(|entry| matches!(entry.statement, Statement::Closed { .. })) {
            return InvitationState::TakenBack;
        }
        let latest = statements().max_by_key(|entry| entry.rank());
        match latest.map(|entry| &entry.statement) {
            Some(Statement::Invite(invitation)) if invitation.expires <= now => {
                InvitationState::Expired
            }
            Some(Statement::Invite(invitation)) => InvitationState::Open(invitation.clone()),
            _ => InvitationState::Unknown,
        }
    }

    /// The keys of all invitations that are remembered, each with who made it.
    pub fn invites(&self) -> impl Iterator<Item = (NodeKey, NodeKey)> {
        let made = |entry: &Entry| {
            matches!(entry.statement, Statement::Invite(_) | Statement::Closed { .. })
                .then_some((entry.subject, entry.signer))
        };
        self.entries.values().filter_map(made)
    }
}
