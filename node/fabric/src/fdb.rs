//! The filtering database: which station is behind which port, and which behind another node.
//!
//! Keys are (VLAN, address) pairs, so each VLAN learns by itself (IEEE 802.1Q-2022 8.8,
//! independent VLAN learning). Entries of this node's stations are dynamic; those of other nodes'
//! stations are set and removed by the mesh and do not age. One look-up answers for both. Learning,
//! refreshing, ageing and evicting cost the same however many entries and ports there are. A
//! station that floods the bridge with invented addresses therefore slows nobody and displaces its
//! own entries first.

mod holders;
mod lru;
mod remotes;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::hash::Hasher;
use std::time::Duration;

use ether::{MacAddr, VlanId};
use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use hashbrown::HashTable;

use crate::change::{Change, Changes};
use crate::config::Config;
use crate::flap::Flaps;
use crate::location::{Location, RemoteId, Station};
use crate::port::PortId;
use crate::time::{Nanos, nanos};
use holders::Holders;
use lru::{Entry, List, Order, Slab};
use remotes::Remotes;

/// An entry younger than this, in nanoseconds, is not refreshed: a busy station's entry then costs
/// one write a second, not one a frame. It is short against any ageing time that the standard
/// allows.
const REFRESH_INTERVAL: u64 = 1_000_000_000;

/// The largest capacity of either kind of entry: entries are numbered in 32 bits.
const MAX_CAPACITY: usize = 1 << 24;

/// An ageing time that is never over.
const NEVER: u64 = u64::MAX;

/// What has happened to the entries of the filtering database.
///
/// Learned entries are either still there or counted once more: the number of entries of this
/// node's stations is always `learned - aged - evicted - forgotten - moved_away`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// A station was heard that had no entry, or one of another node.
    pub learned: u64,
    /// A station with an entry was heard on another port.
    pub moved: u64,
    /// An entry was not refreshed for the ageing time.
    pub aged: u64,
    /// An entry made room for another.
    pub evicted: u64,
    /// An entry left with its port, or because the port's VLANs changed.
    pub forgotten: u64,
    /// An entry was replaced by one of another node.
    pub moved_away: u64,
    /// A station was heard but not learned, as only the last entries of other ports could have
    /// made room. Its frames are relayed; frames to it are flooded.
    pub full: u64,
    /// An entry of another node's station made room for another, or found none. Frames to the
    /// station are flooded.
    pub remotes_evicted: u64,
}

pub(crate) struct Fdb {
    /// In nanoseconds, as the next.
    ageing_time: u64,
    refresh_interval: u64,
    capacity: usize,
    per_port_capacity: usize,
    remote_capacity: usize,
    seed: u64,
    shared_seed: SharedSeed,
    /// Slab indices by the hash of the entry's key; a key is in it at most once.
    table: HashTable<u32>,
    slab: Slab,
    /// The entries of this node's stations.
    by_age: List,
    /// The same, by the port's index.
    ports: Holders,
    /// The entries of other nodes' stations.
    remotes: Remotes,
    /// The keys of this node's stations, in order, for who wants to read them piece by piece.
    order: BTreeSet<u64>,
    counters: Counters,
    changes: Changes,
    flaps: Flaps,
}

impl std::fmt::Debug for Fdb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither thousands of entries nor the secret seeds belong in a log.
        f.debug_struct("Fdb")
            .field("entries", &self.len())
            .field("remote_entries", &self.remote_len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Fdb {
    pub(crate) fn new(config: &Config) -> Self {
        let mut fdb = Self {
            ageing_time: NEVER,
            refresh_interval: 0,
            capacity: config.capacity.min(MAX_CAPACITY),
            per_port_capacity: config.per_port_capacity,
            remote_capacity: config.remote_capacity.min(MAX_CAPACITY),
            seed: config.seed,
            shared_seed: SharedSeed::from_u64(config.seed),
            table: HashTable::new(),
            slab: Slab::default(),
            by_age: List::default(),
            ports: Holders::default(),
            remotes: Remotes::new(config.seed),
            order: BTreeSet::new(),
            counters: Counters::default(),
            changes: Changes::default(),
            flaps: Flaps::default(),
        };
        fdb.set_ageing_time(config.ageing_time);
        fdb
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    #[inline]
    pub(crate) fn poll_change(&mut self) -> Option<Change> {
        self.changes.poll()
    }

    /// Where a station is, if the mesh said so or it was heard within the ageing time.
    #[inline]
    pub(crate) fn lookup(&self, station: Station, now: Nanos) -> Option<Location> {
        let entry = self.slab.get(self.find(key(station))?);
        (!self.is_expired(entry, now)).then_some(entry.location)
    }

    /// Whether a station of this node was heard within a time.
    #[inline]
    pub(crate) fn was_heard(&self, station: Station, within: u64, now: Nanos) -> bool {
        self.find(key(station)).is_some_and(|index| {
            let entry = self.slab.get(index);
            matches!(entry.location, Location::Port(_))
                && now.since(entry.seen) < within.min(self.ageing_time)
        })
    }

    /// Takes note that a station was heard on a port, if it is known to be there.
    #[inline]
    pub(crate) fn refresh(&mut self, station: Station, port: PortId, now: Nanos) -> bool {
        let Some(index) = self.find(key(station)) else {
            return false;
        };
        let entry = self.slab.get(index);
        if entry.location != Location::Port(port) || self.is_expired(entry, now) {
            return false;
        }
        if now.since(entry.seen) >= self.refresh_interval {
            self.renew(index, port, now);
        }
        true
    }

    /// Makes an entry for a station that is not known to be on this port, making room first. `now`
    /// never runs backwards.
    #[cold]
    pub(crate) fn admit(&mut self, station: Station, port: PortId, now: Nanos) {
        // No entry may be pushed out while a dead one keeps its place.
        self.expire(now);
        let before = self.find(key(station)).map(|index| self.remove(index));
        let room = self.make_room(port);
        if !room {
            self.counters.full += 1;
        }
        match (before, room) {
            (Some(Location::Port(from)), true) => {
                self.counters.moved += 1;
                self.changes.push(Change::Moved { station, from, to: port });
                if let Some((a, b)) = self.flaps.handle_move(station, from, port, now) {
                    self.changes.push(Change::Flapping { a, b });
                }
            }
            // A station that moved to where there is no room for it has not been learned there.
            (Some(Location::Port(from)), false) => {
                self.counters.evicted += 1;
                self.changes.push(Change::Evicted { station, port: from });
            }
            (Some(Location::Remote(from)), true) => {
                self.counters.learned += 1;
                self.changes.push(Change::MovedHere { station, from, to: port });
            }
            (Some(Location::Remote(_)), false) => self.counters.remotes_evicted += 1,
            (None, true) => {
                self.counters.learned += 1;
                self.changes.push(Change::Learned { station, port });
            }
            (None, false) => {}
        }
        if room {
            self.insert(station, Location::Port(port), now);
        }
    }

    /// Says that a station is behind another node, wherever it was before.
    pub(crate) fn set_remote(&mut self, station: Station, owner: RemoteId) {
        if let Some(index) = self.find(key(station)) {
            match self.slab.get(index).location {
                Location::Remote(known) if known == owner => return,
                Location::Remote(_) => {}
                Location::Port(from) => {
                    self.counters.moved_away += 1;
                    self.changes.push(Change::MovedAway { station, from, to: owner });
                }
            }
            self.remove(index);
        }
        if self.remotes.len() >= self.remote_capacity {
            self.counters.remotes_evicted += 1;
            match self.remotes.victim(owner) {
                Some(index) => self.remove(index),
                None => return,
            };
        }
        self.insert(station, Location::Remote(owner), Nanos::default());
    }

    /// Takes back what [`set_remote`](Self::set_remote) said; `false` when nothing of it is left.
    pub(crate) fn remove_remote(&mut self, station: Station) -> bool {
        let index = self.find(key(station));
        let index = index.filter(|index| {
            let location = self.slab.get(*index).location;
            matches!(location, Location::Remote(_))
        });
        index.is_some_and(|index| {
            self.remove(index);
            true
        })
    }

    pub(crate) fn remove_remotes_of(&mut self, owner: RemoteId) {
        while let Some(index) = self.remotes.entries(owner).oldest() {
            self.remove(index);
        }
    }

    /// Forgets every station of a port.
    pub(crate) fn forget_port(&mut self, port: PortId) {
        while let Some(index) = self.ports.entries(port.0).oldest() {
            self.forget(index);
        }
    }

    /// How many stations of this node have an entry.
    pub(crate) fn len(&self) -> usize {
        self.ports.len()
    }

    /// How many stations of other nodes have an entry.
    pub(crate) fn remote_len(&self) -> usize {
        self.remotes.len()
    }

    /// Forgets every station of this node.
    pub(crate) fn forget_all(&mut self) {
        while let Some(index) = self.by_age.oldest() {
            self.forget(index);
        }
    }

    pub(crate) fn set_ageing_time(&mut self, ageing_time: Duration) {
        self.ageing_time = nanos(ageing_time);
        self.refresh_interval = REFRESH_INTERVAL.min(self.ageing_time / 10);
    }

    /// Ages out what is due.
    pub(crate) fn expire(&mut self, now: Nanos) {
        while let Some(index) = self.by_age.oldest()
            && self.is_expired(self.slab.get(index), now)
        {
            let station = station(self.slab.get(index).key);
            if let Location::Port(port) = self.remove(index) {
                self.counters.aged += 1;
                self.changes.push(Change::Aged { station, port });
            }
        }
    }

    /// When the next entry is due.
    pub(crate) fn next_expiry(&self) -> Option<Nanos> {
        let oldest = self.slab.get(self.by_age.oldest()?).seen;
        if self.ageing_time == NEVER {
            return None;
        }
        oldest.0.checked_add(self.ageing_time).map(Nanos)
    }

    /// The entries that are not due yet, with their age in nanoseconds, in no order.
    pub(crate) fn iter(&self, now: Nanos) -> impl Iterator<Item = (Station, Location, u64)> {
        let entries = self.table.iter().map(|index| self.slab.get(*index));
        let current = entries.filter(move |entry| !self.is_expired(entry, now));
        current.map(move |entry| (station(entry.key), entry.location, now.since(entry.seen)))
    }

    /// The entries of this node's stations from one on, in the order of VLAN and address, that are not
    /// due yet; each with its port and its age in nanoseconds.
    pub(crate) fn local_from(
        &self,
        first: Station,
        now: Nanos,
    ) -> impl Iterator<Item = (Station, PortId, u64)> {
        self.order.range(key(first)..).filter_map(move |key| {
            let entry = self.slab.get(self.find(*key)?);
            match entry.location {
                Location::Port(port) if !self.is_expired(entry, now) => {
                    Some((station(*key), port, now.since(entry.seen)))
                }
                Location::Port(_) | Location::Remote(_) => None,
            }
        })
    }

    #[inline]
    fn is_expired(&self, entry: &Entry, now: Nanos) -> bool {
        matches!(entry.location, Location::Port(_)) && now.since(entry.seen) >= self.ageing_time
    }

    #[inline]
    fn find(&self, key: u64) -> Option<u32> {
        let hash = hash(self.seed, &self.shared_seed, key);
        self.table.find(hash, |index| self.slab.get(*index).key == key).copied()
    }

    fn renew(&mut self, index: u32, port: PortId, now: Nanos) {
        self.slab.get_mut(index).seen = now;
        self.ports.renew(&mut self.slab, port.0, index);
        self.slab.unlink(&mut self.by_age, Order::Age, index);
        self.slab.push_newest(&mut self.by_age, Order::Age, index);
    }

    /// Evicts an entry where a bound demands it; `false` when none may go.
    fn make_room(&mut self, port: PortId) -> bool {
        let own = self.ports.entries(port.0);
        let victim = if own.len as usize >= self.per_port_capacity {
            own.oldest()
        } else if self.len() >= self.capacity {
            self.ports.victim(port.0)
        } else {
            return true;
        };
        let Some(index) = victim else {
            return false;
        };
        let station = station(self.slab.get(index).key);
        if let Location::Port(port) = self.remove(index) {
            self.counters.evicted += 1;
            self.changes.push(Change::Evicted { station, port });
        }
        true
    }

    fn forget(&mut self, index: u32) {
        let station = station(self.slab.get(index).key);
        if let Location::Port(port) = self.remove(index) {
            self.counters.forgotten += 1;
            self.changes.push(Change::Forgotten { station, port });
        }
    }

    fn insert(&mut self, station: Station, location: Location, now: Nanos) {
        let key = key(station);
        let index = self.slab.insert(key, location, now);
        let (slab, seed, shared_seed) = (&self.slab, self.seed, &self.shared_seed);
        self.table.insert_unique(hash(seed, shared_seed, key), index, |index| {
            hash(seed, shared_seed, slab.get(*index).key)
        });
        match location {
            Location::Port(port) => {
                self.order.insert(key);
                self.ports.add(&mut self.slab, port.0, index);
                self.slab.push_newest(&mut self.by_age, Order::Age, index);
            }
            Location::Remote(owner) => self.remotes.add(&mut self.slab, owner, index),
        }
    }

    /// Takes an entry out of everything, and says where its station was.
    fn remove(&mut self, index: u32) -> Location {
        let &Entry { key, location, .. } = self.slab.get(index);
        let hash = hash(self.seed, &self.shared_seed, key);
        if let Ok(entry) = self.table.find_entry(hash, |candidate| *candidate == index) {
            entry.remove();
        }
        match location {
            Location::Port(port) => {
                self.order.remove(&key);
                self.ports.remove(&mut self.slab, port.0, index);
                self.slab.unlink(&mut self.by_age, Order::Age, index);
            }
            Location::Remote(owner) => self.remotes.remove(&mut self.slab, owner, index),
        }
        self.slab.remove(index);
        location
    }
}

/// VLAN and address in one word: the hash takes it in one step.
#[inline]
fn key(station: Station) -> u64 {
    let [v0, v1] = station.vlan.0.to_be_bytes();
    let [a, b, c, d, e, f] = station.mac.0;
    u64::from_be_bytes([v0, v1, a, b, c, d, e, f])
}

/// The station of a [`key`].
fn station(key: u64) -> Station {
    let [v0, v1, mac @ ..] = key.to_be_bytes();
    Station { vlan: VlanId(u16::from_be_bytes([v0, v1])), mac: MacAddr(mac) }
}

#[inline]
fn hash(seed: u64, shared_seed: &SharedSeed, key: u64) -> u64 {
    let mut hasher = FoldHasher::with_seed(seed, shared_seed);
    hasher.write_u64(key);
    hasher.finish()
}
