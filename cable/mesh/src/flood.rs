//! Which flooded frames came before: the first of the barriers against loops.
//!
//! Owns the memory of (ingress node, flood sequence) pairs. Leaves the reverse-path check and the
//! hop count, the other two barriers, to whoever forwards. The window is that of the anti-replay
//! services of IPsec (RFC 4303 3.4.3), the arithmetic that of RFC 1982.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use crate::nick::Nick;

/// How far behind the highest sequence a flooded frame may arrive and still be told from a
/// repetition.
///
/// Two paths through the mesh differ by some milliseconds; 2048 floods from one node within that
/// time are beyond what storm control lets in.
pub const WINDOW: u32 = 2048;

/// How many ingress nodes are remembered; the one heard least recently makes room.
///
/// As many as the mesh may have nodes. At 272 octets each this is 272 KiB when full.
pub const MAX_NICKS: usize = 1024;

const WORDS: usize = WINDOW as usize / 64;
/// "No neighbour" in the list of recent use.
const NONE: u32 = u32::MAX;

/// Whether a flooded frame may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloodVerdict {
    /// Not seen before: forward it.
    New,
    /// Seen before, on this cable or another: drop it.
    Repeated,
    /// So far behind the newest that nobody remembers: drop it, for it may be a repetition.
    TooOld,
}

/// Lets every flooded frame pass at most once.
///
/// A node that was forgotten, because [`MAX_NICKS`] others spoke since, counts as new.
#[derive(Debug, Clone)]
pub struct FloodWindow {
    /// Where each nick stands in `entries`. The hasher is the standard one with a fixed key: an
    /// enrolled node that picks colliding nicks gains a search through at most [`MAX_NICKS`].
    places: HashMap<Nick, u32, BuildHasherDefault<DefaultHasher>>,
    entries: Vec<Entry>,
    /// The two ends of the list of recent use, which is threaded through `entries`.
    newest: u32,
    oldest: u32,
}

#[derive(Debug, Clone)]
struct Entry {
    nick: Nick,
    /// The highest sequence so far; bit `s % WINDOW` of `seen` says whether `s` came.
    highest: u32,
    seen: [u64; WORDS],
    newer: u32,
    older: u32,
}

impl Default for FloodWindow {
    fn default() -> Self {
        Self::new()
    }
}

impl FloodWindow {
    /// A window that remembers nothing. Memory grows with the nodes heard.
    pub fn new() -> Self {
        Self { places: HashMap::default(), entries: Vec::new(), newest: NONE, oldest: NONE }
    }

    /// Judges one flooded frame and remembers it. Constant time.
    ///
    /// A jump ahead, of any size below 2^31, moves the window along.
    pub fn handle_flood(&mut self, ingress: Nick, sequence: u32) -> FloodVerdict {
        // Floods come in runs from one node; the common case needs no hashing.
        if let Some(entry) = self.entries.get_mut(self.newest as usize)
            && entry.nick == ingress
        {
            return entry.handle(sequence);
        }
        let place = match self.places.get(&ingress) {
            Some(&place) => {
                self.unlink(place);
                place
            }
            None => self.admit(ingress, sequence),
        };
        self.link_newest(place);
        self.entries[place as usize].handle(sequence)
    }

    /// How many ingress nodes are remembered, at most [`MAX_NICKS`].
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no node was heard yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A place outside the list of recent use, ready for a nick that is not known.
    fn admit(&mut self, nick: Nick, sequence: u32) -> u32 {
        let fresh = Entry { nick, highest: sequence, seen: [0; WORDS], newer: NONE, older: NONE };
        let place = if self.entries.len() < MAX_NICKS {
            self.entries.push(fresh);
            u32::try_from(self.entries.len() - 1).expect("MAX_NICKS is small")
        } else {
            let place = self.oldest;
            self.unlink(place);
            self.places.remove(&self.entries[place as usize].nick);
            self.entries[place as usize] = fresh;
            place
        };
        self.places.insert(nick, place);
        place
    }

    fn unlink(&mut self, place: u32) {
        let Entry { newer, older, .. } = self.entries[place as usize];
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link_newest(&mut self, place: u32) {
        let older = self.newest;
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = place,
            None => self.oldest = place,
        }
        let entry = &mut self.entries[place as usize];
        entry.newer = NONE;
        entry.older = older;
        self.newest = place;
    }
}

impl Entry {
    fn handle(&mut self, sequence: u32) -> FloodVerdict {
        let ahead = sequence.wrapping_sub(self.highest);
        // RFC 1982 leaves a distance of exactly 2^31 open; here it is behind.
        if ahead != 0 && ahead < 1 << 31 {
            self.advance(ahead);
            self.highest = sequence;
        } else if ahead.wrapping_neg() >= WINDOW {
            return FloodVerdict::TooOld;
        }
        let bit = sequence % WINDOW;
        let word = &mut self.seen[(bit / 64) as usize];
        let mask = 1 << (bit % 64);
        if *word & mask != 0 {
            return FloodVerdict::Repeated;
        }
        *word |= mask;
        FloodVerdict::New
    }

    /// Clears the bits of the `count` sequences after the highest, a word at a time.
    fn advance(&mut self, count: u32) {
        if count >= WINDOW {
            self.seen = [0; WORDS];
            return;
        }
        let mut bit = self.highest.wrapping_add(1) % WINDOW;
        let mut left = count;
        while left > 0 {
            let run = left.min(64 - bit % 64);
            let mask = (u64::MAX >> (64 - run)) << (bit % 64);
            self.seen[(bit / 64) as usize] &= !mask;
            bit = (bit + run) % WINDOW;
            left -= run;
        }
    }
}

#[cfg(test)]
mod tests;
