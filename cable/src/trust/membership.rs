//! This node's copy of the roster: on disk before it counts, the same content as what is in memory.
//! What is said in the name of this node is said here.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use mesh::NodeKey;
use mesh::message::{
    Bounded, MAX_ROSTER_ENTRIES, MeshId, Message, Name, RosterDigest, RosterEntries,
};
use mesh::roster::{
    AuthorError, Entry, Forged, Founding, Membership as Member, Roster, Sealer as _, Standing,
    Statement,
};
use serde::{Deserialize, Serialize};

use crate::calendar::unix_seconds;
use crate::invitation::mesh_id;
use crate::signer::{Signatures, Signer};
use crate::store::{self, StoreError};

/// The version of the file.
const FILE_VERSION: u32 = 1;

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

/// The roster on disk.
#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: u32,
    founder: String,
    nonce: String,
    entries: Vec<String>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Membership {
    file: Option<PathBuf>,
    signer: Signer,
    pub(super) roster: Roster,
    digest: [u8; 32],
    /// Entries that the neighbours are to hear of.
    untold: Vec<Entry>,
}

impl Membership {
    /// Loads the roster of a state directory (`roster.json`), or founds a mesh of this node alone.
    pub(super) fn load_or_found(
        directory: Option<&Path>,
        signer: Signer,
        name: &str,
    ) -> Result<Self, RosterError> {
        let file = directory.map(|directory| directory.join("roster.json"));
        let (name, now) = (Name::lossy(name), unix_seconds());
        let Some((_, mut roster)) = directory.map_or(Ok(None), load)? else {
            return Self::found(file, signer, name);
        };
        forget_old(&mut roster, now);
        let digest = digest_of(&roster);
        let mut membership = Self { file, signer, roster, digest, untold: Vec::new() };
        membership.follow_name(&name, now)?;
        Ok(membership)
    }

    fn found(file: Option<PathBuf>, signer: Signer, name: Name) -> Result<Self, RosterError> {
        let mut nonce = [0; 16];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| RosterError::Random)?;
        let founding = Founding { founder: signer.key(), nonce };
        let now = unix_seconds();
        let first = Roster::found(founding, name, now, &signer);
        let mut roster = Roster::new(founding);
        roster.merge(vec![first], now, &Signatures)?;
        let mut membership =
            Self { file, signer, digest: digest_of(&roster), roster, untold: Vec::new() };
        let roster = membership.roster.clone();
        membership.commit(roster)?;
        Ok(membership)
    }

    /// Leaves the mesh and begins another one.
    pub(super) fn found_anew(&mut self, signer: Signer) -> Result<(), RosterError> {
        let name = self.roster.name_of(&self.signer.key()).unwrap_or_default();
        *self = Self::found(self.file.clone(), signer, name)?;
        Ok(())
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
        in_messages(*self.roster.founding(), &self.roster.entries_in_order())
    }

    /// What neighbours have not been told yet, in messages.
    pub(super) fn take_untold(&mut self) -> Vec<Message> {
        let untold = std::mem::take(&mut self.untold);
        if untold.is_empty() {
            return Vec::new();
        }
        in_messages(*self.roster.founding(), &untold)
    }

    /// Says what this node has signed: all of it is kept and told, or nothing.
    pub(super) fn say(&mut self, entries: Vec<Entry>) -> Result<(), RosterError> {
        let (mut roster, now) = (self.roster.clone(), unix_seconds());
        let count = entries.len();
        forget_old(&mut roster, now);
        let merged = roster.merge(entries, now, &Signatures)?;
        if merged.taken.len() < count {
            return Err(RosterError::Full);
        }
        self.commit(roster)?;
        self.untold.extend(merged.taken);
        Ok(())
    }

    /// Takes in what a neighbour knows, on disk before it counts. Returns whether anything was new.
    pub(super) fn merge(&mut self, entries: Vec<Entry>) -> Result<bool, RosterError> {
        let (mut roster, now) = (self.roster.clone(), unix_seconds());
        forget_old(&mut roster, now);
        let merged = roster.merge(entries, now, &Signatures)?;
        if merged.unfounded + merged.no_room > 0 {
            tracing::debug!(merged.unfounded, merged.no_room, "roster entries not taken");
        }
        if merged.taken.is_empty() {
            return Ok(false);
        }
        self.commit(roster)?;
        self.untold.extend(merged.taken);
        Ok(true)
    }

    /// Forgets invitations that are long over, on disk too.
    pub(super) fn forget(&mut self, now: u64) -> Result<(), RosterError> {
        let mut roster = self.roster.clone();
        if forget_old(&mut roster, now) { self.commit(roster) } else { Ok(()) }
    }

    /// Enters another mesh, or this one again, as `own` was just admitted to it.
    pub(super) fn enter(
        &mut self,
        wanted: MeshId,
        founding: Founding,
        entries: Vec<Entry>,
        admitted_by: NodeKey,
    ) -> Result<(), RosterError> {
        if mesh_id(&founding) != wanted {
            return Err(RosterError::WrongMesh("it was founded by somebody else"));
        }
        let now = unix_seconds();
        let mut roster = if founding == *self.roster.founding() {
            self.roster.clone()
        } else {
            Roster::new(founding)
        };
        roster.merge(entries, now, &Signatures)?;
        if !roster.has_authority(&admitted_by) {
            return Err(RosterError::WrongMesh("whoever answered is no administrator of it"));
        }
        if !matches!(roster.standing(&self.signer.key(), now), Standing::Member(_)) {
            return Err(RosterError::WrongMesh("it does not list this node as a member"));
        }
        self.commit(roster)
    }

    fn commit(&mut self, roster: Roster) -> Result<(), RosterError> {
        if let Some(file) = &self.file {
            store::save(file, &encode(&roster))?;
        }
        self.digest = digest_of(&roster);
        self.roster = roster;
        Ok(())
    }
}

/// The roster of a state directory, and its file; none before a mesh was founded.
pub(super) fn load(directory: &Path) -> Result<Option<(PathBuf, Roster)>, RosterError> {
    let path = directory.join("roster.json");
    let Some(kept) = store::load::<File>(&path)? else { return Ok(None) };
    let senseless = |why: String| StoreError::Senseless { path: path.clone(), why };
    let (founding, entries) = decode(&kept).map_err(senseless)?;
    let mut roster = Roster::new(founding);
    let merged = roster.merge(entries, unix_seconds(), &Signatures);
    merged.map_err(|err| senseless(err.to_string()))?;
    Ok(Some((path, roster)))
}

/// Adds to the roster of a node that does not run.
pub(super) fn add(
    file: &Path,
    roster: &mut Roster,
    entries: Vec<Entry>,
) -> Result<(), RosterError> {
    roster.merge(entries, unix_seconds(), &Signatures)?;
    Ok(store::save(file, &encode(roster))?)
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

fn in_messages(founding: Founding, entries: &[Entry]) -> Vec<Message> {
    let chunks = entries.chunks(MAX_ROSTER_ENTRIES);
    let count = chunks.len();
    let message = |(at, chunk): (usize, &[Entry])| {
        let entries = Bounded::truncated(chunk.to_vec());
        Message::Roster(RosterEntries { founding, entries, last: at + 1 == count })
    };
    chunks.enumerate().map(message).collect()
}

fn encode(roster: &Roster) -> File {
    let text = |octets: &[u8]| data_encoding::BASE64URL_NOPAD.encode(octets);
    let entry =
        |entry: &Entry| text(&postcard::to_allocvec(entry).expect("a vector takes everything"));
    File {
        version: FILE_VERSION,
        founder: text(&roster.founding().founder.0),
        nonce: text(&roster.founding().nonce),
        entries: roster.entries().map(entry).collect(),
    }
}

fn decode(file: &File) -> Result<(Founding, Vec<Entry>), String> {
    if file.version != FILE_VERSION {
        return Err(format!(
            "it is of version {}, and this program reads {FILE_VERSION}",
            file.version
        ));
    }
    let octets = |text: &str| {
        data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|err| err.to_string())
    };
    let wrong = |_| "the founding has a wrong length".to_owned();
    let founder = NodeKey(octets(&file.founder)?.try_into().map_err(wrong)?);
    let nonce = octets(&file.nonce)?.try_into().map_err(wrong)?;
    let entries = file
        .entries
        .iter()
        .map(|text| postcard::from_bytes(&octets(text)?).map_err(|err| format!("an entry: {err}")));
    Ok((Founding { founder, nonce }, entries.collect::<Result<_, _>>()?))
}
