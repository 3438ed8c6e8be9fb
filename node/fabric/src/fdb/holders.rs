//! Who holds how many entries, and who pays when there are too many: Open vSwitch's fairness, in
//! constant time.
//!
//! Holders of the same number of entries are on one list, and the lists are indexed by that number.
//! A holder's number changes by one at a time, so the largest number does, too, and is never
//! searched for.

use super::lru::{List, NIL, Order, Slab};

#[derive(Debug, Clone, Copy)]
struct Holder {
    entries: List,
    /// The neighbours among those who hold as many. They mean nothing while it holds none.
    before: u32,
    after: u32,
}

/// The holders of entries, by a number of their own: ports, or nodes.
#[derive(Debug, Default)]
pub(super) struct Holders {
    holders: Vec<Holder>,
    /// The first of those who hold as many entries as the index says. Who holds none is on no list.
    first: Vec<u32>,
    /// The most entries that anybody holds.
    most: u32,
    len: usize,
}

impl Holders {
    /// The entries of all together.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The entries of one, the least recently seen first.
    pub(super) fn entries(&self, holder: u32) -> List {
        self.holders.get(holder as usize).map(|holder| holder.entries).unwrap_or_default()
    }

    /// The entry that makes room for a new one of this holder; `None` when none may go.
    ///
    /// Who holds most pays, with what was not seen for longest: the newcomer itself if it is one of
    /// those, else who came to hold as many last. The last entry of another is never the price.
    pub(super) fn victim(&self, newcomer: u32) -> Option<u32> {
        let own = self.entries(newcomer);
        if self.most > own.len.max(1) {
            self.entries(self.first[self.most as usize]).oldest()
        } else {
            own.oldest()
        }
    }

    /// Gives an entry to a holder, as its newest.
    pub(super) fn add(&mut self, slab: &mut Slab, holder: u32, index: u32) {
        let at = holder as usize;
        if self.holders.len() <= at {
            let empty = Holder { entries: List::default(), before: NIL, after: NIL };
            self.holders.resize(at + 1, empty);
        }
        self.leave_peers(holder);
        slab.push_newest(&mut self.holders[at].entries, Order::Holder, index);
        self.join_peers(holder);
        self.len += 1;
    }

    /// Takes an entry from its holder.
    pub(super) fn remove(&mut self, slab: &mut Slab, holder: u32, index: u32) {
        self.leave_peers(holder);
        slab.unlink(&mut self.holders[holder as usize].entries, Order::Holder, index);
        self.join_peers(holder);
        self.len -= 1;
    }

    /// Makes an entry its holder's newest.
    pub(super) fn renew(&mut self, slab: &mut Slab, holder: u32, index: u32) {
        let entries = &mut self.holders[holder as usize].entries;
        slab.unlink(entries, Order::Holder, index);
        slab.push_newest(entries, Order::Holder, index);
    }

    fn join_peers(&mut self, holder: u32) {
        let len = self.holders[holder as usize].entries.len;
        if len == 0 {
            return;
        }
        if self.first.len() <= len as usize {
            self.first.resize(len as usize + 1, NIL);
        }
        let after = std::mem::replace(&mut self.first[len as usize], holder);
        if let Some(after) = self.holders.get_mut(after as usize) {
            after.before = holder;
        }
        let place = &mut self.holders[holder as usize];
        (place.before, place.after) = (NIL, after);
        self.most = self.most.max(len);
    }

    fn leave_peers(&mut self, holder: u32) {
        let Holder { entries, before, after } = self.holders[holder as usize];
        if entries.len == 0 {
            return;
        }
        match self.holders.get_mut(before as usize) {
            Some(before) => before.after = after,
            None => self.first[entries.len as usize] = after,
        }
        if let Some(after) = self.holders.get_mut(after as usize) {
            after.before = before;
        }
        // It comes back with one more or one less, or was the last: nobody is in between.
        if entries.len == self.most && self.first[self.most as usize] == NIL {
            self.most -= 1;
        }
    }
}

/// What only tests ask.
#[cfg(test)]
impl Holders {
    /// Panics when the lists and the numbers contradict each other.
    pub(super) fn check(&self) {
        let mut listed = 0;
        for (len, &first) in self.first.iter().enumerate() {
            let (mut before, mut next) = (NIL, first);
            while next != NIL {
                let holder = &self.holders[next as usize];
                assert_eq!((holder.entries.len as usize, holder.before), (len, before));
                listed += len;
                (before, next) = (next, holder.after);
            }
        }
        let sizes = self.holders.iter().map(|holder| holder.entries.len);
        assert_eq!(sizes.clone().max().unwrap_or(0), self.most);
        let total = sizes.map(|len| len as usize).sum::<usize>();
        assert_eq!((listed, total), (self.len, self.len));
    }

    /// How many numbers there are, in use or not.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.holders.len()).expect("ports and nodes are few")
    }
}
