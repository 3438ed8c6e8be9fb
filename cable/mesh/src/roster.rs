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
mod intake;
mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::authority::NodeKey;
use crate::message::Name;
use evaluate::{Decision, Evaluation, about, succession};
use intake::Known;

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
    /// The founder's key, or the last of those that it retired to.
    root: NodeKey,
    evaluation: Evaluation,
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
            root: founding.founder,
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
        let used = self.users().find(|(with, _)| with == invite).map(|(_, by)| by);
        self.state_of(invite, used, now)
    }

    /// What has become of each invitation that is remembered, by key, with who made it or, if that is
    /// not known any more, who ended it.
    pub fn invitations(&self, now: u64) -> BTreeMap<NodeKey, (NodeKey, InvitationState)> {
        let mut used = BTreeMap::new();
        for (invite, by) in self.users() {
            used.entry(invite).or_insert(by);
        }
        let mut makers = BTreeMap::new();
        for entry in self.entries.values() {
            match &entry.statement {
                Statement::Invite(_) => drop(makers.insert(entry.subject, entry.signer)),
                Statement::Closed { .. } => {
                    makers.entry(entry.subject).or_insert(entry.signer);
                }
                _ => {}
            }
        }
        let state =
            |(invite, by)| (invite, (by, self.state_of(&invite, used.get(&invite).copied(), now)));
        makers.into_iter().map(state).collect()
    }

    /// The invitations with which keys came, and those keys.
    fn users(&self) -> impl Iterator<Item = (NodeKey, NodeKey)> {
        self.entries.values().filter_map(|entry| {
            let with = match &entry.statement {
                Statement::Member(member) => member.invite,
                Statement::Revoked(revoked) => revoked.invite,
                _ => None,
            };
            with.filter(|_| self.has_authority(&entry.signer)).map(|with| (with, entry.subject))
        })
    }

    fn state_of(&self, invite: &NodeKey, used: Option<NodeKey>, now: u64) -> InvitationState {
        if let Some(by) = used {
            return InvitationState::UsedBy(by);
        }
        let statements =
            || about(&self.entries, *invite).filter(|entry| self.has_authority(&entry.signer));
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
