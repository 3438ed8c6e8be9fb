//! Whom this node trusts, shared with the TLS verifier: the members of its mesh, as the roster says,
//! and keys that its operator named by hand, which need no mesh; and the handshakes that failed for
//! want of trust, so that an operator can see and mend them.
//!
//! | a key is | then |
//! |---|---|
//! | put out of the mesh | it is refused, named by hand or not |
//! | a member | it may open and answer cables |
//! | named by hand | so it may, here alone |

pub(crate) mod enrolment;
mod entering;
mod kept;
mod membership;
mod rotation;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use mesh::roster::{Roles, Standing};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::calendar::Calendar;
use crate::identity::{Identity, PublicKey};
use crate::signer::Signer;
use crate::store::{self, StoreError};

use membership::Membership;

pub use enrolment::{Honoured, InviteView, MemberView, Offer, Removed, request};
pub use entering::Letter;
pub(crate) use membership::FORGET_EVERY;
pub use membership::RosterError;
pub use rotation::{RotationError, settle};

/// How many refused keys are remembered. Full: the one refused longest ago is forgotten.
const REFUSALS: usize = 32;

/// A key that may open and answer cables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trusted {
    /// The key.
    pub key: PublicKey,
    /// What the operator calls its holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Whether a key is let in, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Trusted,
    /// Nobody has said that it should be.
    Unknown,
    /// An administrator has put it out.
    Revoked,
    /// Its membership has ended.
    Expired,
    /// It is to follow a member's key. It may compare rosters, so that the other end hears that the one
    /// before is done with; before that it opens and answers no cable.
    Waiting,
}

/// Who refused in a failed handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refuser {
    /// This node does not trust the peer.
    Us,
    /// The peer does not trust this node.
    Peer,
}

/// A key that was refused, here or by a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The key that was not trusted.
    pub key: PublicKey,
    /// Who did not trust it.
    pub by: Refuser,
    /// The peer's address at the last attempt.
    pub address: SocketAddr,
    /// How often.
    pub count: u64,
    /// When last.
    pub last: Instant,
}

/// The trust list. Clones share one list.
#[derive(Debug, Clone)]
pub struct Trust {
    /// Never held while the disk is waited for: each handshake asks.
    inner: Arc<Mutex<Inner>>,
    /// Held by whoever writes, from the moment when it decides what. Taken before `inner`.
    writing: Arc<Mutex<()>>,
    /// Told when there is something to be written.
    changed: Arc<Notify>,
    calendar: Arc<Calendar>,
}

#[derive(Debug)]
struct Inner {
    path: Option<PathBuf>,
    /// A key is listed once.
    trusted: Vec<Trusted>,
    /// Newest first; (key, by, address without port) is unique.
    refusals: VecDeque<Refusal>,
    /// The mesh that this node belongs to; none until [`Trust::belong`].
    membership: Option<Membership>,
}

impl Trust {
    /// The list in a state directory (`trust.json`), empty at first.
    ///
    /// # Errors
    /// [`StoreError`] when it is there but cannot be read.
    pub fn load(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join("trust.json");
        let trusted = store::load(&path)?.unwrap_or_default();
        Ok(Self::of(Some(path), trusted, Calendar::load(directory)?))
    }

    /// A list that is not kept.
    pub fn in_memory(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let trusted = keys.into_iter().map(|key| Trusted { key, name: None }).collect();
        Self::of(None, trusted, Calendar::default())
    }

    fn of(path: Option<PathBuf>, trusted: Vec<Trusted>, calendar: Calendar) -> Self {
        let inner = Inner { path, trusted, refusals: VecDeque::new(), membership: None };
        let (inner, calendar) = (Arc::new(Mutex::new(inner)), Arc::new(calendar));
        Self { inner, writing: Arc::default(), changed: Arc::default(), calendar }
    }

    /// Takes up membership: in the mesh that the state directory tells of (`roster.json`), or in a
    /// new one of this node alone, where it is called `name`.
    ///
    /// # Errors
    /// [`RosterError`].
    pub fn belong(
        &self,
        directory: Option<&Path>,
        identity: &Identity,
        name: &str,
    ) -> Result<(), RosterError> {
        let (calendar, signer) = (self.calendar.clone(), Signer::new(identity));
        let membership = Membership::load_or_found(directory, calendar, signer, name)?;
        self.inner().membership = Some(membership);
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change is a single push, remove or assignment: a poisoned list is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on, nobody else writes.
    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something that waits for the disk on a thread where nothing else waits for it. To be called
    /// within a runtime.
    pub async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        let trust = self.clone();
        match tokio::task::spawn_blocking(move || work(&trust)).await {
            Ok(done) => done,
            Err(err) => match err.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and with it whoever waits.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Seconds since 1970, for what ends by the calendar.
    pub fn now(&self) -> u64 {
        self.calendar.now()
    }

    /// What the time is, as it is kept.
    pub(crate) const fn calendar(&self) -> &Arc<Calendar> {
        &self.calendar
    }

    /// Whether a key may open and answer cables.
    pub fn contains(&self, key: PublicKey) -> bool {
        self.verdict(key) == Verdict::Trusted
    }

    /// Whether a key may open and answer cables, and why not.
    pub fn verdict(&self, key: PublicKey) -> Verdict {
        let inner = self.inner();
        let named = inner.trusted.iter().any(|trusted| trusted.key == key);
        let standing = inner
            .membership
            .as_ref()
            .map(|membership| membership.roster.standing(&key.into(), self.now()));
        match standing {
            Some(Standing::Revoked | Standing::Replaced(_) | Standing::Outrun) => Verdict::Revoked,
            Some(Standing::Member(_)) => Verdict::Trusted,
            _ if named => Verdict::Trusted,
            Some(Standing::Waiting(_)) => Verdict::Waiting,
            Some(Standing::Expired(_)) => Verdict::Expired,
            Some(Standing::Unknown) | None => Verdict::Unknown,
        }
    }

    /// Whether what a key says to the whole network is heard. In a mesh, only members speak. A node
    /// that trusts keys by hand lets those speak, too, whom they bring with them: it cannot know them.
    pub fn lets_speak(&self, key: PublicKey) -> bool {
        match self.verdict(key) {
            Verdict::Trusted => true,
            Verdict::Revoked | Verdict::Expired | Verdict::Waiting => false,
            Verdict::Unknown => {
                let inner = self.inner();
                !inner.trusted.is_empty() || inner.membership.is_none()
            }
        }
    }

    /// Whether a key may be the gateway: a member that was given the role, or is an administrator, and
    /// a key named by hand. Nobody else in a mesh of several; a node alone in its mesh that trusts
    /// keys by hand cannot know whom they bring with them.
    pub fn may_be_gateway(&self, key: PublicKey) -> bool {
        if self.verdict(key) == Verdict::Revoked {
            return false;
        }
        let (inner, now) = (self.inner(), self.now());
        let is_named = inner.trusted.iter().any(|trusted| trusted.key == key);
        let Some(membership) = &inner.membership else { return true };
        let roster = &membership.roster;
        match roster.standing(&key.into(), now) {
            Standing::Member(member) => {
                let roles = member.roles;
                is_named || roles.contains(Roles::GATEWAY) || roles.contains(Roles::ADMIN)
            }
            Standing::Unknown => {
                is_named || !inner.trusted.is_empty() && roster.members(now).nth(1).is_none()
            }
            _ => is_named,
        }
    }

    /// What a member may do; `None` for a key that is not one now.
    pub fn role_of(&self, key: PublicKey) -> Option<Roles> {
        let inner = self.inner();
        inner.membership.as_ref()?.roster.role_of(&key.into(), self.now())
    }

    /// What the operator calls the holder of a key, else what the mesh does.
    pub fn name_of(&self, key: PublicKey) -> Option<String> {
        let inner = self.inner();
        let given = inner.trusted.iter().find(|trusted| trusted.key == key);
        given.and_then(|trusted| trusted.name.clone()).or_else(|| {
            let name = inner.membership.as_ref()?.roster.name_of(&key.into())?;
            Some(name.as_str().to_owned())
        })
    }

    /// The names of all keys that have one, as [`name_of`](Self::name_of) gives them.
    pub fn names(&self) -> Vec<(PublicKey, String)> {
        let is_current = |member: &MemberView| {
            matches!(member.standing, Standing::Member(_) | Standing::Expired(_))
        };
        let members = self.members().into_iter().filter(is_current);
        let members = members.map(|member| (member.key, member.name));
        let given = self.list().into_iter().filter_map(|t| Some((t.key, t.name?)));
        members.chain(given).collect()
    }

    /// All keys trusted by hand, in the order in which they were added.
    pub fn list(&self) -> Vec<Trusted> {
        self.inner().trusted.clone()
    }

    /// The key trusted by hand that an operator means: its text form or the name given with it.
    pub fn find(&self, text: &str) -> Option<PublicKey> {
        let inner = self.inner();
        if let Ok(key) = text.parse() {
            return inner.trusted.iter().any(|trusted| trusted.key == key).then_some(key);
        }
        inner.trusted.iter().find(|t| t.name.as_deref() == Some(text)).map(|t| t.key)
    }

    /// Trusts a key from now on, on disk before it takes effect. A key already listed keeps its
    /// place and takes the new name, if one is given. Waits for the disk.
    ///
    /// # Errors
    /// [`StoreError::Write`]; nothing has changed then.
    pub fn add(&self, key: PublicKey, name: Option<String>) -> Result<(), StoreError> {
        let _writing = self.writing();
        let mut trusted = self.list();
        match trusted.iter_mut().find(|trusted| trusted.key == key) {
            Some(known) => known.name = name.or_else(|| known.name.take()),
            None => trusted.push(Trusted { key, name }),
        }
        self.replace(trusted)?;
        self.inner().refusals.retain(|refusal| refusal.by != Refuser::Us || refusal.key != key);
        Ok(())
    }

    /// Trusts a key no more; false when it was not trusted anyway. Waits for the disk.
    ///
    /// # Errors
    /// [`StoreError::Write`]; nothing has changed then.
    pub fn remove(&self, key: PublicKey) -> Result<bool, StoreError> {
        let _writing = self.writing();
        let mut trusted = self.list();
        let before = trusted.len();
        trusted.retain(|trusted| trusted.key != key);
        let removed = trusted.len() != before;
        if removed {
            self.replace(trusted)?;
        }
        Ok(removed)
    }

    /// For whoever is writing.
    fn replace(&self, trusted: Vec<Trusted>) -> Result<(), StoreError> {
        let path = self.inner().path.clone();
        if let Some(path) = path {
            store::save(&path, &trusted)?;
        }
        self.inner().trusted = trusted;
        Ok(())
    }

    /// Remembers that a handshake failed for want of trust.
    pub fn record_refusal(&self, key: PublicKey, by: Refuser, address: SocketAddr, now: Instant) {
        let refusals = &mut self.inner().refusals;
        let known = refusals
            .iter()
            .position(|r| r.key == key && r.by == by && r.address.ip() == address.ip());
        let count = known.and_then(|i| refusals.remove(i)).map_or(0, |refusal| refusal.count);
        refusals.truncate(REFUSALS - 1);
        refusals.push_front(Refusal { key, by, address, count: count + 1, last: now });
    }

    /// Forgets that a peer did not trust us: it does now.
    pub fn forget_refusals_by(&self, address: SocketAddr) {
        self.inner().refusals.retain(|r| r.by != Refuser::Peer || r.address.ip() != address.ip());
    }

    /// Forgets that peers did not trust us: this node is in another mesh now, or in it again.
    pub(crate) fn forget_refusals_by_peers(&self) {
        self.inner().refusals.retain(|refusal| refusal.by != Refuser::Peer);
    }

    /// The refusals, newest first.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.inner().refusals.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    fn key() -> PublicKey {
        Identity::generate().unwrap().public()
    }

    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to start from")]
    fn epoch() -> Instant {
        Instant::now()
    }

    #[test]
    fn trust_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (key(), key());
        let trust = Trust::load(dir.path()).unwrap();
        trust.add(a, Some("hostA".into())).unwrap();
        trust.add(b, None).unwrap();
        trust.add(a, None).unwrap();
        assert!(trust.remove(b).unwrap());
        assert!(!trust.remove(b).unwrap());
        let again = Trust::load(dir.path()).unwrap();
        assert!(again.contains(a) && !again.contains(b));
        assert_eq!(again.find("hostA"), Some(a));
        assert_eq!(again.list().len(), 1);
    }

    #[test]
    fn refusals_are_counted_bounded_and_forgotten_when_mended() {
        let trust = Trust::in_memory([]);
        let address: SocketAddr = "192.0.2.1:7".parse().unwrap();
        let stranger = key();
        for port in 1..=3 {
            let address = SocketAddr::new(address.ip(), port);
            trust.record_refusal(stranger, Refuser::Us, address, epoch());
        }
        assert_eq!(trust.refusals()[0].count, 3);
        for _ in 0..2 * REFUSALS {
            trust.record_refusal(key(), Refuser::Us, address, epoch());
        }
        assert_eq!(trust.refusals().len(), REFUSALS);
        let newest = trust.refusals()[0].key;
        trust.add(newest, None).unwrap();
        assert!(trust.refusals().iter().all(|refusal| refusal.key != newest));
    }
}
