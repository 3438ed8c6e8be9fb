//! The entries of other nodes' stations, by node.

use foldhash::quality::FixedState;
use hashbrown::HashMap;

use super::holders::Holders;
use super::lru::{List, Slab};
use crate::location::RemoteId;

/// A holder that no node can be: of an owner that holds nothing.
const NOBODY: u32 = u32::MAX;

/// Who of the other nodes holds which entries.
///
/// The nodes' own numbers are too sparse to index a table. Only who holds an entry has a place, so
/// that there are never more places than entries.
#[derive(Debug)]
pub(super) struct Remotes {
    holders: Holders,
    /// The place of each node that holds an entry.
    places: HashMap<RemoteId, u32, FixedState>,
    free: Vec<u32>,
}

impl Remotes {
    pub(super) fn new(seed: u64) -> Self {
        let places = HashMap::with_hasher(FixedState::with_seed(seed));
        Self { holders: Holders::default(), places, free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.holders.len()
    }

    pub(super) fn entries(&self, owner: RemoteId) -> List {
        self.holders.entries(self.place(owner))
    }

    /// See [`Holders::victim`].
    pub(super) fn victim(&self, newcomer: RemoteId) -> Option<u32> {
        self.holders.victim(self.place(newcomer))
    }

    pub(super) fn add(&mut self, slab: &mut Slab, owner: RemoteId, index: u32) {
        let place = match self.places.get(&owner) {
            Some(place) => *place,
            None => {
                let unused = u32::try_from(self.places.len()).expect("the capacity is below u32");
                let place = self.free.pop().unwrap_or(unused);
                self.places.insert(owner, place);
                place
            }
        };
        self.holders.add(slab, place, index);
    }

    pub(super) fn remove(&mut self, slab: &mut Slab, owner: RemoteId, index: u32) {
        let place = self.place(owner);
        self.holders.remove(slab, place, index);
        if self.holders.entries(place).len == 0 {
            self.places.remove(&owner);
            self.free.push(place);
        }
    }

    fn place(&self, owner: RemoteId) -> u32 {
        self.places.get(&owner).copied().unwrap_or(NOBODY)
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        self.holders.check();
        assert!(self.places.values().all(|place| self.holders.entries(*place).len > 0));
        assert_eq!(self.places.len() + self.free.len(), self.holders.count() as usize);
    }
}
