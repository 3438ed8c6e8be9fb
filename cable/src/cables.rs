//! Every cable of a node: those that it was told to keep, which it dials for ever, and those that
//! peers opened. Which of several with one peer serve is decided in `admission`.
//!
//! ```text
//!   dialled here:   Connecting ⇄ Retrying        (back-off of `redial`)
//!                       ↓   ↑
//!                       Up ─┘        Standby while the peer's own cable serves
//!   opened by peer: Up → AwaitingPeer → Up …
//! ```

mod account;
mod admission;
mod dial;
mod entry;
mod gossip;
mod join;
mod kept;
mod newcomers;
mod serve;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::{Rc, Weak};

use control::status::CableStatus;
use mesh::message::Message;
use mesh::queue::Limits;
use tokio::sync::mpsc;

use crate::address::Target;
use crate::contacts::Contacts;
use crate::endpoint::{Endpoint, EndpointError};
use crate::failure::{CloseCode, Failure};
use crate::hello::Introduction;
use crate::identity::{Identity, PublicKey};
use crate::link::Link;
use crate::store::{self, StoreError};
use crate::trust::Trust;

use entry::{Entry, State};
use gossip::News;
use kept::Kept;
use newcomers::Newcomers;

pub use join::{JoinError, Joined, reason as join_refusal};
pub use newcomers::Attempt;

/// Cables that an operator may configure. A mesh of more is wired through transit nodes.
const DIALLED: usize = 256;

/// Cables opened by peers that are remembered after they went down. Full: the oldest is forgotten.
const REMEMBERED: usize = 256;

/// Events that may wait for the data plane. Full: the cable that has one waits.
const EVENTS: usize = 64;

/// A cable of this node, shown as `c1`. Never used twice in one run of a node; a kept cable has the same
/// one in the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CableId(u32);

impl fmt::Display for CableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// What the data plane must know.
#[derive(Debug)]
pub enum CableEvent {
    /// Frames can flow.
    Up {
        /// Which cable.
        cable: CableId,
        /// Its link.
        link: Rc<Link>,
    },
    /// The other end says something.
    Message {
        /// By which cable.
        cable: CableId,
        /// What.
        message: Message,
    },
    /// There is room for messages again, after [`Link::post`] said that there was none.
    Room {
        /// On which cable.
        cable: CableId,
    },
    /// Its peer's host, or whoever pretends to be it, says that nobody is there any more.
    Doubted {
        /// Which cable.
        cable: CableId,
    },
    /// They cannot any more.
    Down {
        /// Which cable.
        cable: CableId,
        /// Why.
        failure: Failure,
    },
}

/// What cables need to know of their node.
#[derive(Debug)]
pub struct CablesConfig {
    /// Where to await cables; none to only dial.
    pub listen: Option<SocketAddr>,
    /// Where the list of cables is kept (`cables.json`); none to keep it in memory.
    pub state: Option<PathBuf>,
    /// What this node says of itself.
    pub introduction: Introduction,
    /// How the queue of each cable is bounded.
    pub queue: Limits,
    /// Seed of the back-off's jitter.
    pub seed: u64,
}

/// Why an operator's command about a cable failed.
#[derive(Debug, thiserror::Error)]
pub enum CableError {
    /// The host name has no address now.
    #[error("{0} cannot be resolved: {1}")]
    Unresolved(Target, std::io::Error),
    /// Nobody has said where that member is.
    #[error("no address of {0} is known here")]
    NoAddress(String),
    /// It is this node itself that is meant.
    #[error("{0} is this node itself")]
    Own(String),
    /// More cables than a node keeps.
    #[error("this node already keeps {DIALLED} cables")]
    TooMany,
    /// No such cable.
    #[error("there is no cable {0:?} here")]
    Unknown(String),
    /// The list could not be saved.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why cables could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The endpoint failed.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The list of cables could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The cables of one node. Clones share them; all live on one thread.
#[derive(Debug, Clone)]
pub struct Cables {
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    endpoint: Endpoint,
    trust: Trust,
    own: PublicKey,
    introduction: Introduction,
    queue: Limits,
    list: Option<PathBuf>,
    seed: u64,
    next_id: Cell<u32>,
    /// A target is dialled by one entry, a peer remembered by one.
    entries: RefCell<BTreeMap<CableId, Rc<Entry>>>,
    events: mpsc::Sender<CableEvent>,
    contacts: Contacts,
    newcomers: RefCell<Newcomers>,
    news: RefCell<News>,
}

/// For how long a cable is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// For ever, also after a restart.
    Always,
    /// As long as this node runs.
    Once,
}

impl Cables {
    /// Opens the endpoint and starts every kept cable. Must be called within a `LocalSet`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        config: CablesConfig,
        identity: &Identity,
        trust: Trust,
    ) -> Result<(Self, mpsc::Receiver<CableEvent>), StartError> {
        let contacts = Contacts::load(config.state.as_deref())?;
        let list = config.state.map(|state| state.join("cables.json"));
        let kept: Option<Vec<Kept>> = list.as_deref().map_or(Ok(None), store::load)?;
        let kept = kept.unwrap_or_default();
        let endpoint = Endpoint::new(identity, trust.clone(), config.listen)?;
        let (events, receiver) = mpsc::channel(EVENTS);
        let shared = Rc::new(Shared {
            endpoint,
            trust,
            own: identity.public(),
            introduction: config.introduction,
            queue: config.queue,
            list,
            seed: config.seed,
            next_id: Cell::new(1),
            entries: RefCell::default(),
            events,
            contacts,
            newcomers: RefCell::default(),
            news: RefCell::default(),
        });
        let highest = kept.iter().filter_map(Kept::id).max();
        shared.next_id.set(highest.map_or(1, |id| id.0 + 1));
        for kept in kept {
            let id = kept.id().filter(|id| !shared.entries.borrow().contains_key(id));
            let id = id.unwrap_or_else(|| shared.new_id());
            match kept.target() {
                Ok(target) => shared.keep(id, target, Keep::Always),
                Err(err) => tracing::warn!(%err, "a kept cable is not dialled"),
            }
        }
        tokio::task::spawn_local(serve::accept_all(shared.clone()));
        let supervised = shared.clone();
        tokio::task::spawn_local(async move { supervised.endpoint.supervise().await });
        if let Some(refusals) = shared.endpoint.refusals() {
            tokio::task::spawn_local(follow_refusals(Rc::downgrade(&shared), refusals));
        }
        Ok((Self { shared }, receiver))
    }

    /// Where cables are awaited.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.shared.endpoint.local_addr()
    }

    /// What an operator means by a word: a member of the mesh, by name or key, or an address.
    ///
    /// # Errors
    /// Why it is neither.
    pub fn target(&self, word: &str) -> Result<Target, crate::address::ParseTargetError> {
        match self.shared.trust.member(word) {
            Ok(key) => {
                let name = self.shared.trust.name_of(key).unwrap_or_else(|| word.to_owned());
                Ok(Target::member(&name, key))
            }
            Err(_) => word.parse(),
        }
    }

    /// Makes a cable to a target. Its name must resolve now; afterwards it is resolved again for each
    /// attempt. False when that cable is there already.
    ///
    /// # Errors
    /// [`CableError`]; nothing has changed then.
    pub async fn connect(&self, target: Target, keep: Keep) -> Result<(CableId, bool), CableError> {
        let shared = &self.shared;
        if target.member_key() == Some(shared.own) {
            return Err(CableError::Own(target.to_string()));
        }
        let known = || {
            let entry = shared.find(|entry| entry.target() == Some(&target))?;
            entry.begin_anew();
            Some((entry.id, false))
        };
        if let Some(known) = known() {
            return Ok(known);
        }
        if let Err(err) = shared.resolve(&target).await {
            return Err(match target.member_key() {
                Some(_) => CableError::NoAddress(target.to_string()),
                None => CableError::Unresolved(target, err),
            });
        }
        // Someone else may have asked for the same while the name was resolved.
        if let Some(known) = known() {
            return Ok(known);
        }
        let dialled = shared.entries.borrow().values().filter(|e| e.target().is_some()).count();
        if dialled >= DIALLED {
            return Err(CableError::TooMany);
        }
        let id = shared.new_id();
        if keep == Keep::Always {
            let mut kept = shared.kept();
            kept.push(Kept::of(id, &target));
            shared.save(&kept)?;
        }
        shared.keep(id, target, keep);
        Ok((id, true))
    }

    /// The cable that serves a member which has dialled it, if this node keeps none to that member
    /// itself: another one would lead to the same node.
    pub fn dialled_by_member(&self, target: &Target) -> Option<CableId> {
        let shared = &self.shared;
        let key = shared.trust.latest_key(target.member_key()?);
        if shared.find(|entry| entry.target() == Some(target)).is_some() {
            return None;
        }
        shared.find(|entry| entry.serves(key)).map(|entry| entry.id)
    }

    /// What members say of where they can be reached.
    pub fn hear_contacts(&self, told: impl IntoIterator<Item = (PublicKey, Vec<String>)>) {
        self.shared.contacts.hear(told);
    }

    /// Where a member can be reached, as far as is known.
    pub fn contacts_of(&self, key: PublicKey) -> Vec<Target> {
        self.shared.contacts.of(key)
    }

    /// Pulls a cable out and forgets it: by id or address; by peer name or key every cable with that
    /// peer, of which the one that serves is returned.
    ///
    /// # Errors
    /// [`CableError`].
    pub fn disconnect(&self, which: &str) -> Result<CableId, CableError> {
        let shared = &self.shared;
        let target: Option<Target> = which.parse().ok();
        let one = shared
            .find(|e| e.id.to_string() == which)
            .or_else(|| shared.find(|e| e.target().is_some() && e.target() == target.as_ref()))
            .or_else(|| {
                let member = shared.trust.member(which).ok()?;
                let meant = |e: &Entry| e.target().and_then(Target::member_key) == Some(member);
                shared.find(meant)
            });
        let mut entries = match one {
            Some(entry) => vec![entry],
            None => shared.find_all(|e| e.is_with(which, &shared.trust)),
        };
        entries.sort_by_key(|entry| !matches!(entry.state(), State::Up(_)));
        for entry in &entries {
            shared.forget(entry)?;
            entry.close(CloseCode::Disconnected);
        }
        let first = entries.first().map(|entry| entry.id);
        first.ok_or_else(|| CableError::Unknown(which.to_owned()))
    }

    /// Whom this node trusts has changed: tell the neighbours, cut the cables of those who are out,
    /// and try again at once with those who may be in.
    pub fn handle_trust_change(&self) {
        self.shared.roster_changed();
    }

    /// Remembers at which bridge port a cable is plugged, for the status view.
    pub fn set_port(&self, cable: CableId, port: Option<u32>) {
        if let Some(entry) = self.shared.entries.borrow().get(&cable) {
            entry.port.set(port);
        }
    }

    /// Ends a connection whose peer broke the protocol, and tells both ends `how`.
    pub fn close_faulty(&self, cable: CableId, how: &str) {
        if let Some(entry) = self.shared.entries.borrow().get(&cable) {
            entry.close_saying(CloseCode::Protocol, how);
        }
    }

    /// The cable that is plugged in at a bridge port.
    pub fn at_port(&self, port: u32) -> Option<CableId> {
        let entries = self.shared.entries.borrow();
        entries.iter().find(|(_, entry)| entry.port.get() == Some(port)).map(|(id, _)| *id)
    }

    /// Every cable, by id.
    pub fn statuses(&self) -> Vec<CableStatus> {
        let shared = &self.shared;
        shared.entries.borrow().values().map(|e| e.status(&shared.trust, shared.own)).collect()
    }

    /// Closes every cable and tells the peers why.
    pub async fn shut_down(&self) {
        self.shared.trust.write();
        let _ = self.shared.trust.calendar().keep();
        self.shared.endpoint.close(CloseCode::ShuttingDown).await;
    }
}

/// Passes on of which cables hosts say that nobody is at the other end, for as long as somebody
/// else holds the cables.
async fn follow_refusals(shared: Weak<Shared>, mut refusals: mpsc::Receiver<SocketAddr>) {
    while let Some(refused) = refusals.recv().await {
        let Some(shared) = shared.upgrade() else { return };
        for entry in shared.find_all(|entry| entry.leads_to(refused)) {
            let _ = shared.events.send(CableEvent::Doubted { cable: entry.id }).await;
        }
    }
}

impl Shared {
    fn new_id(&self) -> CableId {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        CableId(id)
    }

    fn find(&self, matches: impl Fn(&Entry) -> bool) -> Option<Rc<Entry>> {
        let entries = self.entries.borrow();
        entries.values().find(|entry| matches(entry)).cloned()
    }

    fn find_all(&self, matches: impl Fn(&Entry) -> bool) -> Vec<Rc<Entry>> {
        let entries = self.entries.borrow();
        entries.values().filter(|e| matches(e)).cloned().collect()
    }

    fn save(&self, kept: &[Kept]) -> Result<(), StoreError> {
        self.list.as_deref().map_or(Ok(()), |list| store::save(list, &kept))
    }

    fn kept(&self) -> Vec<Kept> {
        let entries = self.entries.borrow();
        let kept = entries.values().filter(|entry| entry.keep() == Keep::Always);
        kept.filter_map(|entry| Some(Kept::of(entry.id, entry.target()?))).collect()
    }

    /// Where a target is now, in the order in which to try.
    async fn resolve(&self, target: &Target) -> std::io::Result<Vec<SocketAddr>> {
        let Some(key) = target.member_key() else { return target.resolve().await };
        let mut addresses = Vec::new();
        for contact in self.contacts.of(self.trust.latest_key(key)) {
            // One that is not known any more must not stand in the way of the others.
            addresses.extend(contact.resolve().await.unwrap_or_default());
        }
        if addresses.is_empty() {
            return Err(std::io::Error::other(format!("no address of {target} is known here")));
        }
        Ok(addresses)
    }

    /// Starts to dial a target for ever.
    fn keep(self: &Rc<Self>, id: CableId, target: Target, keep: Keep) {
        let entry = Rc::new(Entry::dialled(id, target.clone(), keep));
        self.entries.borrow_mut().insert(id, entry.clone());
        tokio::task::spawn_local(dial::keep_up(self.clone(), entry, target));
    }

    /// Takes a cable off the lists, on disk first.
    fn forget(&self, entry: &Entry) -> Result<(), StoreError> {
        if let Some(target) = entry.target() {
            let mut kept = self.kept();
            kept.retain(|kept| kept.target().as_ref() != Ok(target));
            self.save(&kept)?;
        }
        self.entries.borrow_mut().remove(&entry.id);
        Ok(())
    }

    /// Forgets the oldest of the peers' cables that are down when there are too many.
    fn bound_remembered(&self) {
        let mut entries = self.entries.borrow_mut();
        let down = |entry: &Entry| entry.target().is_none() && entry.state() == State::AwaitingPeer;
        let remembered: Vec<_> =
            entries.values().filter(|entry| down(entry)).map(|entry| entry.id).collect();
        for id in remembered.iter().take(remembered.len().saturating_sub(REMEMBERED)) {
            entries.remove(id);
        }
    }
}
