//! The filtering database: which station is behind which port.
//!
//! Keys are (VLAN, address) pairs, so each VLAN learns by itself (IEEE 802.1Q-2022 8.8,
//! independent VLAN learning). All entries are dynamic. A lookup is one hash look-up; learning,
//! refreshing, ageing and evicting cost the same however many entries there are, save for the order
//! of the ports by size, which is logarithmic in the number of ports. A station that floods the
//! bridge with invented addresses therefore slows nobody and displaces its own entries first.

mod lru;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::hash::Hasher;
use std::time::{Duration, Instant};

use ether::{MacAddr, VlanId};
use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use hashbrown::HashTable;

use crate::config::Config;
use crate::port::{PortId, PortKind};
use lru::{Entry, List, Order, Slab};

/// An entry younger than this is not refreshed: a busy station's entry then costs one write a
/// second, not one a frame. It is short against any ageing time that the standard allows.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// The largest capacity: entries are numbered in 32 bits.
const MAX_CAPACITY: usize = 1 << 24;

/// What has happened to the entries of the filtering database.
///
/// Learned entries are either still there or counted once more: the number of entries is always
/// `learned - aged - evicted - forgotten`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// A station was heard that had no entry.
    pub learned: u64,
    /// A station with an entry was heard on another port.
    pub moved: u64,
    /// An entry was not refreshed for the ageing time.
    pub aged: u64,
    /// An entry made room for another.
    pub evicted: u64,
    /// An entry left with its port, or because the port's VLANs changed.
    pub forgotten: u64,
    /// A station was heard but not learned, as only the last entries of other ports could have
    /// made room. Its frames are relayed; frames to it are flooded.
    pub full: u64,
}

pub(crate) struct Fdb {
    ageing_time: Duration,
    refresh_interval: Duration,
    capacity: usize,
    per_port_capacity: usize,
    seed: u64,
    shared_seed: SharedSeed,
    /// Slab indices by the hash of the entry's key; a key is in it at most once.
    table: HashTable<u32>,
    slab: Slab,
    by_age: List,
    /// Each port's entries, by the port's index.
    ports: Vec<List>,
    /// (entries, port) of every port that has entries: the last holds most.
    by_size: BTreeSet<(u32, PortId)>,
    counters: Counters,
}

impl std::fmt::Debug for Fdb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither thousands of entries nor the secret seeds belong in a log.
        f.debug_struct("Fdb")
            .field("entries", &self.table.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Fdb {
    pub(crate) fn new(config: &Config) -> Self {
        let capacity = config.capacity.min(MAX_CAPACITY);
        Self {
            ageing_time: config.ageing_time,
            refresh_interval: REFRESH_INTERVAL.min(config.ageing_time / 10),
            capacity,
            per_port_capacity: config.per_port_capacity,
            seed: config.seed,
            shared_seed: SharedSeed::from_u64(config.seed),
            table: HashTable::new(),
            slab: Slab::default(),
            by_age: List::default(),
            ports: Vec::new(),
            by_size: BTreeSet::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Where a station is, if it was heard within the ageing time.
    #[inline]
    pub(crate) fn lookup(&self, vlan: VlanId, mac: MacAddr, now: Instant) -> Option<PortId> {
        let entry = self.slab.get(self.find(key(vlan, mac))?);
        (!self.is_expired(entry, now)).then_some(entry.port)
    }

    /// Takes note that a station was heard on a port. `now` never runs backwards.
    #[inline]
    pub(crate) fn learn(
        &mut self,
        vlan: VlanId,
        mac: MacAddr,
        (port, kind): (PortId, PortKind),
        now: Instant,
    ) {
        let key = key(vlan, mac);
        if let Some(index) = self.find(key) {
            let entry = self.slab.get(index);
            if entry.port == port && !self.is_expired(entry, now) {
                if now.saturating_duration_since(entry.seen) >= self.refresh_interval {
                    self.refresh(index, now);
                }
                return;
            }
        }
        self.admit(key, port, kind, now);
    }

    /// Forgets every entry of a port.
    pub(crate) fn forget_port(&mut self, port: PortId) {
        while let Some(index) = self.ports.get(port.index()).and_then(List::oldest) {
            self.remove(index);
            self.counters.forgotten += 1;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn forget_all(&mut self) {
        while let Some(index) = self.by_age.oldest() {
            self.remove(index);
            self.counters.forgotten += 1;
        }
    }

    pub(crate) fn set_ageing_time(&mut self, ageing_time: Duration) {
        self.ageing_time = ageing_time;
        self.refresh_interval = REFRESH_INTERVAL.min(ageing_time / 10);
    }

    /// Ages out what is due.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(index) = self.by_age.oldest()
            && self.is_expired(self.slab.get(index), now)
        {
            self.remove(index);
            self.counters.aged += 1;
        }
    }

    /// When the next entry is due.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.slab.get(self.by_age.oldest()?).seen.checked_add(self.ageing_time)
    }

    /// The entries that are not due yet, in no order.
    pub(crate) fn iter(
        &self,
        now: Instant,
    ) -> impl Iterator<Item = (VlanId, MacAddr, PortId, Duration)> {
        let entries = self.table.iter().map(|index| self.slab.get(*index));
        entries.filter(move |entry| !self.is_expired(entry, now)).map(move |entry| {
            let [v0, v1, mac @ ..] = entry.key.to_be_bytes();
            let vlan = VlanId(u16::from_be_bytes([v0, v1]));
            (vlan, MacAddr(mac), entry.port, now.saturating_duration_since(entry.seen))
        })
    }

    #[inline]
    fn is_expired(&self, entry: &Entry, now: Instant) -> bool {
        now.saturating_duration_since(entry.seen) >= self.ageing_time
    }

    #[inline]
    fn find(&self, key: u64) -> Option<u32> {
        let hash = hash(self.seed, &self.shared_seed, key);
        self.table.find(hash, |index| self.slab.get(*index).key == key).copied()
    }

    fn refresh(&mut self, index: u32, now: Instant) {
        let entry = self.slab.get_mut(index);
        entry.seen = now;
        let port = &mut self.ports[entry.port.index()];
        self.slab.unlink(port, Order::Port, index);
        self.slab.push_newest(port, Order::Port, index);
        self.slab.unlink(&mut self.by_age, Order::Age, index);
        self.slab.push_newest(&mut self.by_age, Order::Age, index);
    }

    /// Makes an entry for a station that has none on this port, making room first.
    #[cold]
    fn admit(&mut self, key: u64, port: PortId, kind: PortKind, now: Instant) {
        // No entry may be pushed out while a dead one keeps its place.
        self.expire(now);
        let moved = self.find(key);
        if let Some(index) = moved {
            self.remove(index);
        }
        let room = self.make_room(port, kind);
        // A station that moved to where there is no room for it has not been learned there.
        match (moved, room) {
            (Some(_), true) => self.counters.moved += 1,
            (None, true) => self.counters.learned += 1,
            (Some(_), false) => {
                self.counters.evicted += 1;
                self.counters.full += 1;
            }
            (None, false) => self.counters.full += 1,
        }
        if room {
            self.insert(key, port, now);
        }
    }

    /// Evicts an entry where a bound demands it; `false` when none may go.
    fn make_room(&mut self, port: PortId, kind: PortKind) -> bool {
        let own = self.ports.get(port.index()).copied().unwrap_or_default();
        let at_own_bound = kind == PortKind::Access && own.len as usize >= self.per_port_capacity;
        if !at_own_bound && self.table.len() < self.capacity {
            return true;
        }
        let victim = match self.by_size.last() {
            // The port that holds most pays, the newcomer's own if it is one of those; but the
            // last entry of another port is never the price.
            Some(&(len, largest)) if !at_own_bound && len > own.len.max(1) => {
                self.ports[largest.index()].oldest()
            }
            _ => own.oldest(),
        };
        if let Some(index) = victim {
            self.remove(index);
            self.counters.evicted += 1;
        }
        victim.is_some()
    }

    fn insert(&mut self, key: u64, port: PortId, now: Instant) {
        let index = self.slab.insert(key, port, now);
        let (slab, seed, shared_seed) = (&self.slab, self.seed, &self.shared_seed);
        self.table.insert_unique(hash(seed, shared_seed, key), index, |index| {
            hash(seed, shared_seed, slab.get(*index).key)
        });
        if self.ports.len() <= port.index() {
            self.ports.resize_with(port.index() + 1, List::default);
        }
        self.slab.push_newest(&mut self.ports[port.index()], Order::Port, index);
        self.slab.push_newest(&mut self.by_age, Order::Age, index);
        let len = self.ports[port.index()].len;
        self.resize_port(port, len - 1, len);
    }

    fn remove(&mut self, index: u32) {
        let (key, port) = (self.slab.get(index).key, self.slab.get(index).port);
        let hash = hash(self.seed, &self.shared_seed, key);
        if let Ok(entry) = self.table.find_entry(hash, |candidate| *candidate == index) {
            entry.remove();
        }
        self.slab.unlink(&mut self.ports[port.index()], Order::Port, index);
        self.slab.unlink(&mut self.by_age, Order::Age, index);
        self.slab.remove(index);
        let len = self.ports[port.index()].len;
        self.resize_port(port, len + 1, len);
    }

    fn resize_port(&mut self, port: PortId, from: u32, to: u32) {
        self.by_size.remove(&(from, port));
        if to > 0 {
            self.by_size.insert((to, port));
        }
    }
}

/// VLAN and address in one word: the hash takes it in one step.
#[inline]
fn key(vlan: VlanId, mac: MacAddr) -> u64 {
    let [v0, v1] = vlan.0.to_be_bytes();
    let [a, b, c, d, e, f] = mac.0;
    u64::from_be_bytes([v0, v1, a, b, c, d, e, f])
}

#[inline]
fn hash(seed: u64, shared_seed: &SharedSeed, key: u64) -> u64 {
    let mut hasher = FoldHasher::with_seed(seed, shared_seed);
    hasher.write_u64(key);
    hasher.finish()
}
