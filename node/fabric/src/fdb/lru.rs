//! Entries in a slab, each on up to two lists at once: its holder's and, if it ages, everybody's,
//! ordered by when the station was last seen. Moving an entry is a handful of index writes.

use crate::location::Location;
use crate::time::Nanos;

/// An index that is none.
pub(super) const NIL: u32 = u32::MAX;

/// Which of its two lists an entry's links belong to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// Among the entries of the same port or node.
    Holder = 0,
    /// Among all entries that age.
    Age = 1,
}

/// One station.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: u64,
    pub(super) location: Location,
    /// When a frame of the station last refreshed the entry. It says nothing of a remote station.
    pub(super) seen: Nanos,
    links: [Links; 2],
}

#[derive(Debug, Clone, Copy)]
struct Links {
    before: u32,
    after: u32,
}

const UNLINKED: Links = Links { before: NIL, after: NIL };

/// A list of entries, least recently seen first.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    head: u32,
    tail: u32,
    pub(super) len: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { head: NIL, tail: NIL, len: 0 }
    }
}

impl List {
    /// The least recently seen entry.
    pub(super) fn oldest(&self) -> Option<u32> {
        (self.head != NIL).then_some(self.head)
    }
}

/// All entries, by index. Indices of removed entries are used again.
#[derive(Debug, Default)]
pub(super) struct Slab {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

impl Slab {
    pub(super) fn insert(&mut self, key: u64, location: Location, seen: Nanos) -> u32 {
        let entry = Entry { key, location, seen, links: [UNLINKED; 2] };
        if let Some(index) = self.free.pop() {
            self.entries[index as usize] = entry;
            return index;
        }
        self.entries.push(entry);
        u32::try_from(self.entries.len() - 1).expect("the capacity is below u32::MAX")
    }

    /// Gives back the index of an entry that is on no list any more.
    pub(super) fn remove(&mut self, index: u32) {
        self.free.push(index);
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> &Entry {
        &self.entries[index as usize]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> &mut Entry {
        &mut self.entries[index as usize]
    }

    pub(super) fn push_newest(&mut self, list: &mut List, order: Order, index: u32) {
        self.get_mut(index).links[order as usize] = Links { before: list.tail, after: NIL };
        match list.tail {
            NIL => list.head = index,
            tail => self.get_mut(tail).links[order as usize].after = index,
        }
        list.tail = index;
        list.len += 1;
    }

    pub(super) fn unlink(&mut self, list: &mut List, order: Order, index: u32) {
        let Links { before, after } = self.get(index).links[order as usize];
        match before {
            NIL => list.head = after,
            _ => self.get_mut(before).links[order as usize].after = after,
        }
        match after {
            NIL => list.tail = before,
            _ => self.get_mut(after).links[order as usize].before = before,
        }
        list.len -= 1;
    }
}

/// What only tests ask.
#[cfg(test)]
impl Slab {
    pub(super) fn after(&self, index: u32, order: Order) -> Option<u32> {
        let after = self.get(index).links[order as usize].after;
        (after != NIL).then_some(after)
    }

    pub(super) fn slots(&self) -> usize {
        self.entries.len()
    }
}
