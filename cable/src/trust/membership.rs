//! This node's copy of the roster, in memory and on disk. What is said in the name of this node is said
//! here.
//!
//! | what | counts | is on disk |
//! |---|---|---|
//! | this node lets somebody in, invites, takes a key, enters a mesh | when it is on disk | first, or nothing is said |
//! | this node puts somebody out, takes an invitation back | at once | at once, or as soon as the disk takes it |
//! | news from a neighbour | at once | soon, at a bounded pace |
//!
//! A disk that fails must not keep anybody in who was put out, and one that is slow must not hold up
//! frames: it is written on threads where nothing else waits, by one at a time ([`Trust`](super::Trust)).
//! What is heard while something is being written counts at once, and is written after it.

use std::path::Path;
use std::sync::Arc;

use crate::calendar::Calendar;
use crate::invitation::mesh_id;
use crate::signer::{Signatures, Signer};
use crate::store::StoreError;
use aws_lc_rs::digest;
use mesh::NodeKey;
use mesh::message::{
    Bounded, MAX_ROSTER_ENTRIES, MeshId, Message, Name, RosterDigest, RosterEntries,
};
use mesh::roster::{
    AuthorError, Entry, Forged, Founding, Membership as Member, Roster, Sealer as _, Standing,
    Statement,
};

use super::kept::{self, Writing, path_in};

/// Invitations that are long over are forgotten at full hours, by each node's clock, so that all forget
/// the same ones and their digests agree.
pub(crate) const FORGET_EVERY: u64 = 3600;

/// Why something about who belongs to the mesh was not done. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    /// This node, or what was asked for, does not allow it.
    #[error(transparent)]
    Author(#[from] AuthorError),
    /// The roster is full.
    #[error("the roster of this mesh is full")]
    Full,
    /// What came is not honest.
    #[error(transparent)]
    Forged(#[from] Forged),
    /// The roster could not be saved.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gave no random numbers.
    #[error("the system has no random numbers")]
    Random,
    /// This node keeps no roster.
    #[error("this node belongs to no mesh")]
    NoMesh,
    /// Nobody goes by that name or key.
    #[error("{0}")]
    NotFound(String),
    /// Several do.
    #[error("several members are called {0}; give the key of the one that is meant")]
    Ambiguous(String),
    /// The node would have to leave other members behind.
    #[error("this node is in a mesh of its own with {0}")]
    OtherMembers(String),
    /// What a node offered as the roster is not the one that the invitation is for.
    #[error("what answered is not the mesh that the invitation is for: {0}")]
    WrongMesh(&'static str),
}

/// What is to be said once it is on disk.
pub(super) struct Draft {
    entries: Vec<Entry>,
    /// Of which turn the roster was to which they were added.
    turn: u64,
    pub(super) writing: Option<Writing>,
}

/// What came of a neighbour's words.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Whether anything has changed here.
    pub(crate) is_news: bool,
    /// How many entries had to be looked at closely.
    pub(crate) looked_at: usize,
    /// Something was not honest.
    pub(crate) forged: Option<Forged>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Membership {
    file: Option<Arc<Path>>,
    calendar: Arc<Calendar>,
    signer: Signer,
    pub(super) roster: Roster,
    digest: [u8; 32],
    /// Counts the roster's changes.
    turn: u64,
    /// Which of them is on disk.
    kept: u64,
    /// Why the latest one could not be written.
    trouble: Option<String>,
    /// Entries that the neighbours are to hear of.
    untold: Vec<Entry>,
}

impl Membership {
    /// Loads the roster of a state directory (`roster.json`), or founds a mesh of this node alone.
    pub(super) fn load_or_found(
        directory: Option<&Path>,
        calendar: Arc<Calendar>,
        signer: Signer,
        name: &str,
    ) -> Result<Self, RosterError> {
        let file = directory.map(path_in);
        let (name, now) = (Name::lossy(name), calendar.now());
        let kept = directory.map_or(Ok(None), |directory| kept::load(directory, now))?;
        let is_new = kept.is_none();
        let roster = match kept {
            Some(roster) => roster,
            None => found(&signer, name.clone(), now)?,
        };
        let (digest, untold) = (digest_of(&roster), Vec::new());
        let (turn, kept, trouble) = (1, u64::from(!is_new), None);
        let mut membership =
            Self { file, calendar, signer, roster, digest, turn, kept, trouble, untold };
        membership.forget(now);
        membership.follow_name(&name, now)?;
        // Nobody waits for this node yet.
        if let Some(writing) = membership.unwritten() {
            writing.carry_out()?;
            membership.handle_written(writing.turn(), Ok(()));
        }
        Ok(membership)
    }

    /// A node alone in its mesh is called what its operator calls it now.
    fn follow_name(&mut self, name: &Name, now: u64) -> Result<(), RosterError> {
        let own = self.signer.key();
        let Standing::Member(member) = self.roster.standing(&own, now) else { return Ok(()) };
        let is_alone = self.roster.members(now).all(|(key, _)| key == own);
        if !is_alone || member.name == *name || !self.roster.is_admin(&own, now) {
            return Ok(());
        }
        let serial = self.roster.entries().filter(|e| e.subject == own).map(|e| e.serial).max();
        let renamed = Statement::Member(Member { name: name.clone(), ..member });
        let founding = *self.roster.founding();
        let serial = serial.unwrap_or(0).saturating_add(1);
        self.say(vec![Entry::sign(&founding, own, serial, renamed, &self.signer)])
    }

    /// Who speaks here.
    pub(super) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Seconds since 1970.
    pub(super) fn now(&self) -> u64 {
        self.calendar.now()
    }

    pub(super) fn key(&self) -> NodeKey {
        self.signer.key()
    }

    pub(super) fn mesh_id(&self) -> MeshId {
        mesh_id(self.roster.founding())
    }

    pub(super) fn digest(&self) -> RosterDigest {
        RosterDigest { founding: *self.roster.founding(), digest: self.digest }
    }

    /// The whole roster, in messages.
    pub(super) fn messages(&self) -> Vec<Message> {
        in_messages(&self.roster)
    }

    /// What neighbours have not been told yet, in messages.
    pub(super) fn take_untold(&mut self) -> Vec<Message> {
        let untold = std::mem::take(&mut self.untold);
        if untold.is_empty() {
            return Vec::new();
        }
        messages(*self.roster.founding(), &untold)
    }

    /// Says what this node has signed, all of it or nothing: at once, on disk or not.
    ///
    /// # Errors
    /// [`RosterError`]; nothing was said then.
    pub(super) fn say(&mut self, entries: Vec<Entry>) -> Result<(), RosterError> {
        let (roster, taken) = self.with(entries)?;
        self.set(roster);
        self.untold.extend(taken);
        Ok(())
    }

    /// The same, for what must be on disk first.
    ///
    /// # Errors
    /// [`RosterError`]; it cannot be said.
    pub(super) fn draft(&self, entries: Vec<Entry>) -> Result<Draft, RosterError> {
        let (roster, _) = self.with(entries.clone())?;
        let writing = self.file.clone().map(|file| Writing::new(file, self.turn, &roster));
        Ok(Draft { entries, turn: self.turn, writing })
    }

    /// That is on disk, with what this node knew then. What it has heard meanwhile is not.
    ///
    /// # Errors
    /// [`RosterError::Full`]; nothing was said then.
    pub(super) fn adopt(&mut self, draft: Draft) -> Result<(), RosterError> {
        let is_all = self.turn == draft.turn;
        let said = self.say(draft.entries);
        if said.is_err() {
            // What is on disk is not to stay there.
            self.turn += 1;
        }
        self.kept = if is_all && said.is_ok() { self.turn } else { self.kept.max(draft.turn) };
        said
    }

    /// The roster with what this node has signed, and that in the order in which it is to be told.
    fn with(&self, entries: Vec<Entry>) -> Result<(Roster, Vec<Entry>), RosterError> {
        let (mut roster, now) = (self.roster.clone(), self.now());
        let count = entries.len();
        forget_old(&mut roster, now);
        let merged = roster.merge(entries, now, &Signatures)?;
        if merged.taken.len() < count {
            return Err(RosterError::Full);
        }
        Ok((roster, merged.taken))
    }

    /// Another mesh to go to, or what of this one was heard at once: what is to be written first.
    pub(super) fn draft_of(&self, roster: &Roster) -> Option<Writing> {
        self.file.clone().map(|file| Writing::new(file, self.turn, roster))
    }

    /// That is on disk. `turn` is that of the roster for which it was written.
    pub(super) fn change_to(&mut self, roster: Roster, turn: u64) {
        let is_all = self.turn == turn;
        if is_all || roster.founding() != self.roster.founding() {
            self.set(roster);
            self.kept = self.turn;
        } else {
            self.merge(roster.entries_in_order());
        }
    }

    /// How often the roster has changed.
    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    fn set(&mut self, roster: Roster) {
        self.digest = digest_of(&roster);
        self.roster = roster;
        self.turn += 1;
    }

    /// Takes in what a neighbour knows. It counts at once, and waits to be written.
    pub(super) fn merge(&mut self, entries: Vec<Entry>) -> Heard {
        let merged = self.roster.take_in(entries, self.now(), &Signatures);
        let (looked_at, forged) = (merged.looked_at(), merged.forged);
        let (unfounded, no_room) = (merged.unfounded, merged.no_room.len());
        if unfounded + no_room > 0 {
            tracing::debug!(unfounded, no_room, "roster entries not taken");
        }
        let is_news = !merged.taken.is_empty();
        if is_news {
            self.digest = digest_of(&self.roster);
            self.turn += 1;
            self.untold.extend(merged.taken);
        }
        Heard { is_news, looked_at, forged }
    }

    /// Forgets invitations that are long over.
    pub(super) fn forget(&mut self, now: u64) {
        let mut roster = self.roster.clone();
        if forget_old(&mut roster, now) {
            self.set(roster);
        }
    }

    pub(super) fn is_unwritten(&self) -> bool {
        self.file.is_some() && self.kept < self.turn
    }

    /// What is not on disk yet.
    pub(super) fn unwritten(&self) -> Option<Writing> {
        let file = self.file.clone().filter(|_| self.kept < self.turn)?;
        Some(Writing::new(file, self.turn, &self.roster))
    }

    /// The content of that turn was written, or not.
    pub(super) fn handle_written(&mut self, turn: u64, result: Result<(), StoreError>) {
        match result {
            Ok(()) => {
                self.kept = self.kept.max(turn);
                if self.kept == self.turn && self.trouble.take().is_some() {
                    tracing::info!("what is known of the mesh's members is on disk again");
                }
            }
            Err(err) => {
                if self.trouble.is_none() {
                    tracing::warn!(%err, "what is known of the mesh's members is not on disk");
                }
                self.trouble = Some(err.to_string());
            }
        }
    }

    /// Why what is known is not on disk; none while it is, or will be before long.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref().filter(|_| self.kept < self.turn)
    }
}

/// A new mesh of one node.
pub(super) fn found(signer: &Signer, name: Name, now: u64) -> Result<Roster, RosterError> {
    let mut nonce = [0; 16];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| RosterError::Random)?;
    let founding = Founding { founder: signer.key(), nonce };
    let first = Roster::found(founding, name, now, signer);
    let mut roster = Roster::new(founding);
    roster.merge(vec![first], now, &Signatures)?;
    Ok(roster)
}

/// Whether there was anything to forget.
fn forget_old(roster: &mut Roster, now: u64) -> bool {
    let before = roster.entries().count();
    roster.forget_old_invitations(now - now % FORGET_EVERY);
    roster.entries().count() < before
}

fn digest_of(roster: &Roster) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for entry in roster.entries() {
        context.update(&entry.signature.0);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 octets")
}

/// A whole roster.
pub(super) fn in_messages(roster: &Roster) -> Vec<Message> {
    messages(*roster.founding(), &roster.entries_in_order())
}

fn messages(founding: Founding, entries: &[Entry]) -> Vec<Message> {
    let chunks = entries.chunks(MAX_ROSTER_ENTRIES);
    let count = chunks.len();
    let message = |(at, chunk): (usize, &[Entry])| {
        let entries = Bounded::truncated(chunk.to_vec());
        Message::Roster(RosterEntries { founding, entries, last: at + 1 == count })
    };
    chunks.enumerate().map(message).collect()
}
