//! The delay line: frames on their way, each with the instant of its delivery.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

/// A frame on its way.
#[derive(Debug)]
pub(crate) struct OnWay<F> {
    pub(crate) frame: F,
    /// When it is delivered, in nanoseconds.
    pub(crate) due: u64,
    /// When it came, in nanoseconds.
    pub(crate) arrived: u64,
    /// Its place in the order in which frames entered the line; unique.
    pub(crate) sequence: u64,
}

impl<F> OnWay<F> {
    const fn key(&self) -> (u64, u64) {
        (self.due, self.sequence)
    }
}

/// Frames ordered by delivery, those for the same instant as they came.
///
/// Most links keep the order, so most frames are appended to a queue in constant time; only those
/// that will be delivered before the queue's last go through a heap. For each frame 24 octets and
/// its handle are held, up to twice that while the memory grows.
#[derive(Debug)]
pub(crate) struct DelayLine<F> {
    /// In ascending order.
    queue: VecDeque<OnWay<F>>,
    heap: BinaryHeap<Reverse<InHeap<F>>>,
    sequence: u64,
    /// The latest delivery so far.
    last: u64,
}

#[derive(Debug)]
struct InHeap<F>(OnWay<F>);

impl<F> PartialEq for InHeap<F> {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}

impl<F> Eq for InHeap<F> {}

impl<F> PartialOrd for InHeap<F> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<F> Ord for InHeap<F> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key().cmp(&other.0.key())
    }
}

impl<F> DelayLine<F> {
    pub(crate) const fn new() -> Self {
        Self { queue: VecDeque::new(), heap: BinaryHeap::new(), sequence: 0, last: 0 }
    }

    /// Adds a frame that waits for those before it.
    pub(crate) fn push_in_order(&mut self, frame: F, arrived: u64, due: u64) {
        self.push(frame, arrived, due.max(self.last));
    }

    /// Adds a frame that may overtake.
    pub(crate) fn push(&mut self, frame: F, arrived: u64, due: u64) {
        let entry = OnWay { frame, due, arrived, sequence: self.sequence };
        self.sequence += 1;
        self.last = self.last.max(due);
        if self.queue.back().is_none_or(|last| last.due <= due) {
            self.queue.push_back(entry);
        } else {
            self.heap.push(Reverse(InHeap(entry)));
        }
    }

    /// The frame that is delivered next.
    pub(crate) fn first(&self) -> Option<&OnWay<F>> {
        let heap = self.heap.peek().map(|Reverse(InHeap(entry))| entry);
        match (self.queue.front(), heap) {
            (Some(queue), Some(heap)) if heap.key() < queue.key() => Some(heap),
            (None, heap) => heap,
            (queue, _) => queue,
        }
    }

    /// Takes the next frame if it is due.
    pub(crate) fn pop(&mut self, now: u64) -> Option<OnWay<F>> {
        let (due, sequence) = self.first()?.key();
        if due > now {
            return None;
        }
        if self.queue.front().is_some_and(|entry| entry.sequence == sequence) {
            self.queue.pop_front()
        } else {
            self.heap.pop().map(|Reverse(InHeap(entry))| entry)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_leave_by_instant_and_then_as_they_came(
            dues in proptest::collection::vec(0u64..50, 0..200),
            step in 1u64..20,
        ) {
            let mut line = DelayLine::new();
            for (index, due) in dues.iter().enumerate() {
                line.push(index, 0, *due);
            }
            let mut expected: Vec<(u64, usize)> =
                dues.iter().enumerate().map(|(index, due)| (*due, index)).collect();
            expected.sort_unstable();
            let mut got = Vec::new();
            for now in (0..70).step_by(usize::try_from(step).unwrap()) {
                while let Some(entry) = line.pop(now) {
                    prop_assert!(entry.due <= now);
                    got.push((entry.due, entry.frame));
                }
                prop_assert!(line.first().is_none_or(|entry| entry.due > now));
            }
            prop_assert_eq!(got, expected);
            prop_assert!(line.first().is_none());
        }

        #[test]
        fn frames_in_order_never_overtake(
            free in proptest::collection::vec(0u64..50, 0..50),
            kept in proptest::collection::vec(0u64..50, 0..200),
        ) {
            let mut line = DelayLine::new();
            for due in free {
                line.push(0, 0, due);
            }
            for (index, due) in kept.iter().enumerate() {
                line.push_in_order(index + 1, 0, *due);
            }
            let order: Vec<usize> =
                std::iter::from_fn(|| line.pop(u64::MAX)).map(|it| it.frame).collect();
            prop_assert!(order.is_sorted());
        }
    }
}
