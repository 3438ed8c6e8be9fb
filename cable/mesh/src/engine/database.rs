//! The records of all nodes, checked.
//!
//! Owns which record replaces which, the bounds, and who is forgotten first when they are reached.
//! Every record in here was signed by its origin and decoded. Leaves to the engine whom to tell.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::event::RefusalReason;
use crate::authority::{Authority, NodeKey};
use crate::message::{DigestEntry, SlotVersion};
use crate::record::{
    GatewayClaim, GatewayRecord, Incarnation, LinkState, Record, Slot, StationPage,
    station_page_is_plausible,
};

/// A node that cannot be reached is forgotten after this time (the maximum age of IS-IS,
/// ISO/IEC 10589 7.3.16.3). What a reachable node has said does not age: it is in force because
/// its neighbours vouch for its cables at every moment.
pub(super) const FORGET: Duration = Duration::from_secs(1200);

/// A run that comes back after another one with the same key may have been shown old records of
/// the other, and gone above them. If it happens twice within this time, both live, and the one
/// with the higher instance is not listened to for this time after it last spoke.
const CLONE_REFUSED: Duration = Duration::from_secs(60);
const CLONE_RETURNS: u8 = 2;

/// How often the origin is sent a later run that was refused as a clone's: it answers by going above it.
const RIVAL_INTERVAL: Duration = Duration::from_secs(1);

/// Records of one origin: a node that fills all its 64 pages at once stays below the burst, and
/// sends half of the rate in the long run.
const RECORD_BURST: u32 = 256;
const RECORD_INTERVAL: Duration = Duration::from_millis(20);

/// Where a node stands in tables by number; given to another node when this one is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeIndex(pub(super) u16);

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) key: NodeKey,
    pub(super) state: LinkState,
    pub(super) incarnation: Incarnation,
    /// The slot [`Slot::LINK_STATE`] is always there.
    pub(super) records: BTreeMap<Slot, Record>,
    /// The exclusive-or of the fingerprints of all records.
    fingerprint: u64,
    /// When the link state was last replaced.
    pub(super) updated: Instant,
    /// Since when the node cannot be reached; `None` while it can.
    pub(super) unreachable_since: Option<Instant>,
    /// A neighbour that does not know the node was not told of it, as it could not be reached.
    is_untold: bool,
    /// The instance of the run before this one.
    superseded: Option<u64>,
    /// How often a superseded run came back, and since when that is counted.
    returns: (u8, Instant),
    refused: Option<Refused>,
    budget: Budget,
}

/// A run that is not listened to, as another one with the same key lives.
#[derive(Debug, Clone)]
struct Refused {
    instance: u64,
    until: Instant,
    /// Its link state, if it is above that of the run that is listened to.
    rival: Option<Record>,
    /// When the origin may be sent that (again).
    pass_at: Instant,
}

impl Refused {
    fn new(instance: u64, rival: Option<Record>, now: Instant) -> Self {
        let pass_at = if rival.is_some() { now + RIVAL_INTERVAL } else { now };
        Self { instance, until: now + CLONE_REFUSED, rival, pass_at }
    }
}

impl Node {
    /// The link state of a run that is refused, though it is above the one that is listened to.
    pub(super) fn rival(&self) -> Option<&Record> {
        let rival = self.refused.as_ref()?.rival.as_ref()?;
        (rival.version.incarnation > self.incarnation).then_some(rival)
    }

    pub(super) fn digest_entry(&self) -> DigestEntry {
        DigestEntry {
            origin: self.key,
            incarnation: self.incarnation,
            sequence: self.records[&Slot::LINK_STATE].version.sequence,
            fingerprint: self.fingerprint,
        }
    }

    pub(super) fn slot_versions(&self) -> Vec<SlotVersion> {
        let version = |(slot, record): (&Slot, &Record)| SlotVersion {
            slot: *slot,
            sequence: record.version.sequence,
            fingerprint: record.fingerprint(),
        };
        self.records.iter().map(version).collect()
    }

    pub(super) fn is_reachable(&self) -> bool {
        self.unreachable_since.is_none()
    }

    /// What it adds to the fingerprint of the mesh.
    fn share_of_digest(&self) -> u64 {
        if self.is_reachable() { self.fingerprint } else { 0 }
    }

    /// Whether the run that now supersedes the present one lives at the same time.
    fn is_duel(&mut self, instance: u64, now: Instant) -> bool {
        if self.superseded != Some(instance) {
            return false;
        }
        if now.saturating_duration_since(self.returns.1) > CLONE_REFUSED {
            self.returns = (0, now);
        }
        self.returns.0 = self.returns.0.saturating_add(1);
        self.returns.0 >= CLONE_RETURNS
    }
}

/// What is to be done about a record, as far as can be said before its signature is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is news.
    New,
    /// The same is here already.
    Known,
    /// A newer one is here; it may be this slot's, or a later run's link state.
    Outdated,
    /// A link state that is refused as a clone's, though it is above what its origin tells: whoever
    /// has it does not listen to the origin, until that knows and goes above it.
    Rival,
    /// It is not wanted.
    Refused(RefusalReason),
}

/// What came of a record that was installed.
#[derive(Debug)]
pub(super) struct Installed {
    pub(super) index: NodeIndex,
    /// What was there before.
    pub(super) replaced: Option<Record>,
    /// The link state before, if this is a link state.
    pub(super) state_before: Option<LinkState>,
    /// The records of an earlier run that went with it.
    pub(super) gone: Vec<Record>,
    /// Another run with the same key lives too.
    pub(super) cloned: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Database {
    index: BTreeMap<NodeKey, NodeIndex>,
    nodes: Vec<Option<Node>>,
    octets: usize,
    /// See [`Self::digest`]; kept, for every beat asks.
    digest: u64,
    max_nodes: usize,
    max_octets: usize,
}

impl Database {
    pub(super) fn new(max_nodes: usize, max_octets: usize) -> Self {
        let max_nodes = max_nodes.clamp(2, usize::from(u16::MAX) - 1);
        Self {
            index: BTreeMap::new(),
            nodes: Vec::new(),
            octets: 0,
            digest: 0,
            max_nodes,
            max_octets,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    pub(super) fn index_of(&self, key: &NodeKey) -> Option<NodeIndex> {
        self.index.get(key).copied()
    }

    pub(super) fn get(&self, index: NodeIndex) -> Option<&Node> {
        self.nodes.get(usize::from(index.0))?.as_ref()
    }

    pub(super) fn by_key(&self, key: &NodeKey) -> Option<&Node> {
        self.get(self.index_of(key)?)
    }

    fn by_key_mut(&mut self, key: &NodeKey) -> Option<&mut Node> {
        let index = self.index_of(key)?;
        self.nodes[usize::from(index.0)].as_mut()
    }

    /// All nodes, by key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeIndex, &Node)> {
        self.index.values().filter_map(|&index| Some((index, self.get(index)?)))
    }

    /// The nodes whose keys lie in a range, by key.
    pub(super) fn range(&self, first: NodeKey, last: NodeKey) -> impl Iterator<Item = &Node> {
        self.index.range(first..=last).filter_map(|(_, &index)| self.get(index))
    }

    /// Stands for all that is known of the nodes that can be reached.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    /// Judges a record of another node by what need not be verified.
    pub(super) fn judge(&mut self, record: &Record, now: Instant) -> Judgement {
        if record.slot > Slot::LAST {
            return Judgement::Refused(RefusalReason::Slot);
        }
        let Some(node) = self.by_key_mut(&record.origin) else {
            return match record.slot {
                Slot::LINK_STATE => Judgement::New,
                _ => Judgement::Refused(RefusalReason::Premature),
            };
        };
        let run = record.version.incarnation;
        // One that is out of reach has nobody beside it: what is left of the key is the node.
        let is_reachable = node.is_reachable();
        if let Some(refused) = &mut node.refused
            && is_reachable
            && refused.instance == run.instance
            && now < refused.until
        {
            if run > node.incarnation {
                refused.until = now + CLONE_REFUSED;
                if record.slot == Slot::LINK_STATE && now >= refused.pass_at {
                    return Judgement::Rival;
                }
            }
            return Judgement::Refused(RefusalReason::Cloned);
        }
        if run < node.incarnation {
            return Judgement::Outdated;
        }
        if run > node.incarnation {
            if record.slot != Slot::LINK_STATE {
                return Judgement::Refused(RefusalReason::Premature);
            }
        } else if let Some(present) = node.records.get(&record.slot) {
            if present == record {
                return Judgement::Known;
            }
            if !record.supersedes(present) {
                return Judgement::Outdated;
            }
        }
        // What is taken in counts: whoever forges records in a node's name must not silence it.
        if node.budget.is_spent(now) {
            Judgement::Refused(RefusalReason::TooMany)
        } else {
            Judgement::New
        }
    }

    /// Verifies and keeps a record that was judged to be new.
    pub(super) fn install(
        &mut self,
        record: Record,
        authority: &impl Authority,
        now: Instant,
    ) -> Result<Installed, RefusalReason> {
        let state = check_body(&record)?;
        if !record.is_authentic(authority) {
            return Err(RefusalReason::Signature);
        }
        self.keep(record, state, now)
    }

    /// Verifies and keeps a [rival](Judgement::Rival), to be sent to its origin.
    pub(super) fn keep_rival(
        &mut self,
        record: Record,
        authority: &impl Authority,
        now: Instant,
    ) -> Result<(), RefusalReason> {
        check_body(&record)?;
        if !record.is_authentic(authority) {
            return Err(RefusalReason::Signature);
        }
        if let Some(node) = self.by_key_mut(&record.origin) {
            node.refused =
                Some(Refused::new(record.version.incarnation.instance, Some(record), now));
        }
        Ok(())
    }

    /// Keeps a record that needs no check: this node's own.
    pub(super) fn install_own(&mut self, record: Record, now: Instant) -> Installed {
        let state = (record.slot == Slot::LINK_STATE)
            .then(|| record.decode().expect("this node has just encoded its link state"));
        self.keep(record, state, now).expect("a node has room for itself")
    }

    fn keep(
        &mut self,
        record: Record,
        state: Option<LinkState>,
        now: Instant,
    ) -> Result<Installed, RefusalReason> {
        let is_known = self.index.contains_key(&record.origin);
        if !is_known || self.octets + record.len() > self.max_octets {
            self.make_room(is_known, record.len())?;
        }
        let run = record.version.incarnation;
        let Some(index) = self.index_of(&record.origin) else {
            let state = state.ok_or(RefusalReason::Premature)?;
            return Ok(self.admit(record, state, now));
        };
        let node = self.nodes[usize::from(index.0)].as_mut().expect("the index is up to date");
        node.budget.take(now);
        let digest = node.share_of_digest();
        let mut installed = Installed {
            index,
            replaced: None,
            state_before: None,
            gone: Vec::new(),
            cloned: false,
        };
        if run != node.incarnation {
            let before = node.incarnation;
            if before.instance != run.instance {
                installed.cloned = node.is_reachable() && node.is_duel(run.instance, now);
                if installed.cloned && run.instance > before.instance {
                    node.refused = Some(Refused::new(run.instance, Some(record), now));
                    return Err(RefusalReason::Cloned);
                }
                if installed.cloned {
                    node.refused = Some(Refused::new(before.instance, None, now));
                }
                node.superseded = Some(before.instance);
            }
            node.incarnation = run;
            node.fingerprint = 0;
            let mut records = std::mem::take(&mut node.records);
            installed.replaced = records.remove(&Slot::LINK_STATE);
            installed.gone = records.into_values().collect();
        } else {
            installed.replaced = node.records.remove(&record.slot);
        }
        for lost in installed.replaced.iter().chain(&installed.gone) {
            self.octets -= lost.len();
        }
        if let Some(replaced) = &installed.replaced
            && replaced.version.incarnation == run
        {
            node.fingerprint ^= replaced.fingerprint();
        }
        node.fingerprint ^= record.fingerprint();
        if let Some(state) = state {
            installed.state_before = Some(std::mem::replace(&mut node.state, state));
            node.updated = now;
        }
        self.octets += record.len();
        node.records.insert(record.slot, record);
        self.digest ^= digest ^ node.share_of_digest();
        Ok(installed)
    }

    fn admit(&mut self, record: Record, state: LinkState, now: Instant) -> Installed {
        let is_dense = self.index.len() == self.nodes.len();
        let free = if is_dense { None } else { self.nodes.iter().position(Option::is_none) };
        let place = free.unwrap_or_else(|| {
            self.nodes.push(None);
            self.nodes.len() - 1
        });
        let index = NodeIndex(u16::try_from(place).expect("max_nodes is below that"));
        self.octets += record.len();
        self.index.insert(record.origin, index);
        self.nodes[place] = Some(Node {
            key: record.origin,
            state,
            incarnation: record.version.incarnation,
            fingerprint: record.fingerprint(),
            updated: now,
            unreachable_since: Some(now),
            is_untold: false,
            superseded: None,
            returns: (0, now),
            refused: None,
            budget: Budget::new(RECORD_BURST, RECORD_INTERVAL, now),
            records: BTreeMap::from([(record.slot, record)]),
        });
        Installed { index, replaced: None, state_before: None, gone: Vec::new(), cloned: false }
    }

    /// Checks the bounds.
    fn make_room(&self, is_known: bool, len: usize) -> Result<(), RefusalReason> {
        let full =
            (!is_known && self.len() >= self.max_nodes) || self.octets + len > self.max_octets;
        if full { Err(RefusalReason::TableFull) } else { Ok(()) }
    }

    /// The node to forget when the table is full: of those out of reach the one that has been so
    /// for longest.
    pub(super) fn longest_unreachable(&self) -> Option<(NodeIndex, Instant)> {
        self.iter()
            .filter_map(|(index, node)| Some((index, node.unreachable_since?)))
            .min_by_key(|(_, since)| *since)
    }

    /// Whether a record would find no room.
    pub(super) fn is_full_for(&self, record: &Record) -> bool {
        self.make_room(self.index.contains_key(&record.origin), record.len()).is_err()
    }

    /// Says whether a node can be reached.
    pub(super) fn set_reachable(&mut self, index: NodeIndex, reachable: bool, now: Instant) {
        if let Some(node) = &mut self.nodes[usize::from(index.0)]
            && node.is_reachable() != reachable
        {
            let digest = node.share_of_digest();
            node.unreachable_since = (!reachable).then_some(now);
            self.digest ^= digest ^ node.share_of_digest();
        }
    }

    /// A neighbour was not told of a node.
    pub(super) fn set_untold(&mut self, key: &NodeKey) {
        if let Some(node) = self.by_key_mut(key) {
            node.is_untold = true;
        }
    }

    /// The slots of a node that can be reached now, if a neighbour was not told of it before.
    pub(super) fn take_untold(&mut self, index: NodeIndex) -> Vec<Slot> {
        let node = self.nodes.get_mut(usize::from(index.0)).and_then(Option::as_mut);
        match node.filter(|node| node.is_untold && node.is_reachable()) {
            Some(node) => {
                node.is_untold = false;
                node.records.keys().copied().collect()
            }
            None => Vec::new(),
        }
    }

    pub(super) fn remove(&mut self, index: NodeIndex) -> Option<Node> {
        let node = self.nodes.get_mut(usize::from(index.0))?.take()?;
        self.index.remove(&node.key);
        self.octets -= node.records.values().map(Record::len).sum::<usize>();
        self.digest ^= node.share_of_digest();
        Some(node)
    }
}

/// The link state in a record, if it is one; an error when the body is not what its slot holds.
fn check_body(record: &Record) -> Result<Option<LinkState>, RefusalReason> {
    match record.slot {
        Slot::LINK_STATE => match record.decode::<LinkState>() {
            Some(state) if state.is_plausible(record.origin) => Ok(Some(state)),
            _ => Err(RefusalReason::Body),
        },
        Slot::NOTICES => {
            let notices = record.decode::<crate::record::Notices>();
            notices.map(|_| None).ok_or(RefusalReason::Body)
        }
        Slot::GATEWAY => match record.decode::<GatewayRecord>() {
            Some(claims) if claims.iter().all(GatewayClaim::is_plausible) => Ok(None),
            _ => Err(RefusalReason::Body),
        },
        Slot::CONTACTS => {
            let contacts = record.decode::<crate::record::Contacts>();
            contacts.map(|_| None).ok_or(RefusalReason::Body)
        }
        slot if slot.is_page() => match record.decode::<StationPage>() {
            Some(page) if station_page_is_plausible(&page) => Ok(None),
            _ => Err(RefusalReason::Body),
        },
        _ => Ok(None),
    }
}
