//! What waits for room in a cable: a queue for each flow, served in turn, each kept short
//! (FQ-CoDel, RFC 8290).
//!
//! A bulk transfer fills whatever queue it meets. Here it meets its own: a flow that sends little, a
//! ping, a keystroke, the acknowledgements of another transfer, waits behind nobody. And a queue
//! that has not been short for a while loses a frame now and then (CoDel, RFC 8289), which is what
//! makes the sender's transport slow down before delay builds up.
//!
//! Differs from RFC 8290 in that a full queue gives up the oldest frame of the longest flow one at
//! a time, as many as it must, and in that frames which ask for it are not marked instead of dropped.

mod codel;
mod flow;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::codel::{CoDel, Judgement};
pub use self::flow::flow_of;

/// How many queues there are. Two flows meet in one by chance: seldom among a thousand, and then
/// they only share (RFC 8290 5.2).
const QUEUES: usize = 1024;

/// Octets that a flow may send before the next one's turn: one frame of Ethernet (RFC 8290 5.2.4).
const QUANTUM: i64 = 1514;

/// Frames that the longest flow gives up before it is looked whether it still is the longest
/// (RFC 8290 4.1.2).
const GIVEN_UP: u32 = 64;

/// How a queue is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of all flows together. Beyond it the longest flow loses its oldest frame.
    pub octets: usize,
    /// How long a frame may wait without anything being wrong.
    pub target: Duration,
    /// For how long all frames of a flow must wait longer before one is dropped: about the longest
    /// round trip of a transport's control loop.
    pub interval: Duration,
}

impl Default for Limits {
    /// RFC 8290 5.2: a target of 5 ms, an interval of 100 ms. 2 MiB are what a transfer at 2 Gbit/s
    /// has under way in 8 ms, so the target is in reach, and eight cables have memory for it.
    fn default() -> Self {
        Self {
            octets: 2 << 20,
            target: Duration::from_millis(5),
            interval: Duration::from_millis(100),
        }
    }
}

/// What was lost here. Counters only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drops {
    /// Moves with each frame that was dropped because its flow's queue did not get short.
    pub codel: u64,
    /// Moves with each frame that was dropped because the whole was full.
    pub full: u64,
}

/// Frames that wait, by flow. `T` is what comes out again.
#[derive(Debug)]
pub struct FlowQueue<T> {
    limits: Limits,
    queues: Box<[Queue<T>]>,
    /// Queues that have just become active: served first, once.
    new: VecDeque<usize>,
    old: VecDeque<usize>,
    octets: usize,
    frames: usize,
    /// The longest frame so far: a queue that holds no more than one is not too long.
    longest: usize,
    /// Who gives up frames when all is full.
    victim: Option<Victim>,
    drops: Drops,
}

/// The flow that was the longest when it was last looked.
#[derive(Debug, Clone, Copy)]
struct Victim {
    index: usize,
    /// Half of what it had.
    floor: usize,
    drops_left: u32,
}

#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<Item<T>>,
    octets: usize,
    /// Octets that may still be sent in this turn.
    credit: i64,
    is_active: bool,
    codel: CoDel,
}

#[derive(Debug)]
struct Item<T> {
    since: Instant,
    len: usize,
    content: T,
}

impl<T> FlowQueue<T> {
    /// An empty queue.
    pub fn new(limits: Limits) -> Self {
        let empty = || Queue {
            items: VecDeque::new(),
            octets: 0,
            credit: 0,
            is_active: false,
            codel: CoDel::default(),
        };
        Self {
            limits,
            queues: std::iter::repeat_with(empty).take(QUEUES).collect(),
            new: VecDeque::new(),
            old: VecDeque::new(),
            octets: 0,
            frames: 0,
            longest: 0,
            victim: None,
            drops: Drops::default(),
        }
    }

    /// Octets that wait.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Frames that wait.
    pub fn len(&self) -> usize {
        self.frames
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// What was lost so far.
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// Takes in a frame of `len` octets that belongs to a flow. When that makes the whole too long,
    /// the oldest frames of the longest flow are dropped.
    pub fn handle_frame(&mut self, flow: u32, len: usize, content: T, now: Instant) {
        let index = flow as usize % QUEUES;
        let queue = &mut self.queues[index];
        queue.items.push_back(Item { since: now, len, content });
        queue.octets += len;
        self.octets += len;
        self.frames += 1;
        self.longest = self.longest.max(len);
        if !queue.is_active {
            queue.is_active = true;
            queue.credit = QUANTUM;
            self.new.push_back(index);
        }
        while self.octets > self.limits.octets {
            self.drop_from_longest();
        }
    }

    /// The next frame to send.
    pub fn poll_frame(&mut self, now: Instant) -> Option<T> {
        loop {
            let (index, is_new) = match (self.new.front(), self.old.front()) {
                (Some(index), _) => (*index, true),
                (None, Some(index)) => (*index, false),
                (None, None) => return None,
            };
            if self.queues[index].credit <= 0 {
                self.queues[index].credit += QUANTUM;
                self.leave(is_new);
                self.old.push_back(index);
                continue;
            }
            if let Some(item) = self.poll_queue(index, now) {
                let len = i64::try_from(item.len).expect("a frame is no longer than memory");
                self.queues[index].credit -= len;
                return Some(item.content);
            }
            self.leave(is_new);
            if is_new {
                // Once more in the others' turn, so that it cannot become new again and again and
                // starve them.
                self.old.push_back(index);
            } else {
                self.queues[index].is_active = false;
            }
        }
    }

    /// Empties it; says how many frames were in it.
    pub fn clear(&mut self) -> usize {
        let frames = self.frames;
        let drops = self.drops;
        *self = Self { drops, ..Self::new(self.limits) };
        frames
    }

    fn leave(&mut self, is_new: bool) {
        let list = if is_new { &mut self.new } else { &mut self.old };
        list.pop_front();
    }

    /// The next frame of one flow that CoDel lets pass.
    fn poll_queue(&mut self, index: usize, now: Instant) -> Option<Item<T>> {
        loop {
            let queue = &mut self.queues[index];
            let Some(item) = queue.items.pop_front() else {
                queue.codel.handle_empty();
                return None;
            };
            queue.octets -= item.len;
            self.octets -= item.len;
            self.frames -= 1;
            let waited = now.saturating_duration_since(item.since);
            let is_short = waited < self.limits.target || queue.octets <= self.longest;
            match queue.codel.judge(is_short, now, self.limits.interval) {
                Judgement::Pass => return Some(item),
                Judgement::Drop => self.drops.codel += 1,
            }
        }
    }

    fn drop_from_longest(&mut self) {
        let Some(mut victim) = self.victim.take().filter(|victim| self.is_long(victim)) else {
            self.victim = self.find_longest();
            if self.victim.is_some() {
                self.drop_from_longest();
            }
            return;
        };
        let queue = &mut self.queues[victim.index];
        if let Some(item) = queue.items.pop_front() {
            queue.octets -= item.len;
            self.octets -= item.len;
            self.frames -= 1;
            self.drops.full += 1;
        }
        victim.drops_left -= 1;
        self.victim = Some(victim);
    }

    fn is_long(&self, victim: &Victim) -> bool {
        victim.drops_left > 0 && self.queues[victim.index].octets > victim.floor
    }

    fn find_longest(&self) -> Option<Victim> {
        let active = self.new.iter().chain(&self.old);
        let index = active.copied().max_by_key(|&index| self.queues[index].octets)?;
        let octets = self.queues[index].octets;
        (octets > 0).then_some(Victim { index, floor: octets / 2, drops_left: GIVEN_UP })
    }
}

#[cfg(test)]
mod tests;
