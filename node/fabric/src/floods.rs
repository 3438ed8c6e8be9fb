//! Floods of late: a frame that comes in by a port by which it has just left went around a loop
//! outside.
//!
//! Owns the memory of them. It is for ports that lead to networks: a guest that repeats, at another
//! port, what it has just said elsewhere may have moved there.

use std::collections::VecDeque;
use std::hash::BuildHasher as _;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;

use crate::port::PortId;

/// A loop brings a frame back sooner than this; a host that says the same again, later.
const LATE: Duration = Duration::from_millis(500);

/// How many floods are remembered. More in so short a time are a storm, and what has gone around is
/// among the latest anyway.
const REMEMBERED: usize = 256;

#[derive(Debug, Clone, Copy)]
struct Flood {
    hash: u64,
    /// `None`: it came by a cable.
    ingress: Option<PortId>,
    at: Instant,
}

/// The floods that a bridge passed on of late: which frames have just left by which ports.
#[derive(Debug)]
pub struct Floods {
    hasher: FixedState,
    recent: VecDeque<Flood>,
}

impl Floods {
    /// None yet. The seed keeps guests from making up frames that look alike.
    pub fn new(seed: u64) -> Self {
        Self { hasher: FixedState::with_seed(seed), recent: VecDeque::with_capacity(REMEMBERED) }
    }

    /// Takes note of a frame that leaves by every port but its ingress, which is `None` when it came
    /// by a cable.
    pub fn note(&mut self, ingress: Option<PortId>, frame: &[u8], now: Instant) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(Flood { hash: self.hasher.hash_one(frame), ingress, at: now });
    }

    /// Whether a frame that comes in by a port has just left by it.
    pub fn has_left_by(&self, port: PortId, frame: &[u8], now: Instant) -> bool {
        let is_late = |flood: &&Flood| now.saturating_duration_since(flood.at) < LATE;
        let mut recent = self.recent.iter().rev().take_while(is_late).peekable();
        if recent.peek().is_none() {
            return false;
        }
        let hash = self.hasher.hash_one(frame);
        recent.any(|flood| flood.hash == hash && flood.ingress != Some(port))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "fake time begins somewhere")]
mod tests {
    use super::*;

    const A: PortId = PortId(1);
    const B: PortId = PortId(2);

    #[test]
    fn a_frame_that_comes_back_by_another_port_than_it_came_is_known_for_a_moment() {
        let (mut floods, start) = (Floods::new(1), Instant::now());
        assert!(!floods.has_left_by(A, b"hello", start));
        floods.note(Some(A), b"hello", start);
        assert!(floods.has_left_by(B, b"hello", start));
        assert!(!floods.has_left_by(A, b"hello", start), "a host may repeat itself");
        assert!(!floods.has_left_by(B, b"hallo", start));
        floods.note(None, b"from afar", start);
        let soon = start + LATE - Duration::from_millis(1);
        for port in [A, B] {
            assert!(floods.has_left_by(port, b"from afar", soon));
            assert!(!floods.has_left_by(port, b"from afar", start + LATE));
        }
    }

    #[test]
    fn a_storm_fills_no_memory_and_its_latest_frames_are_known() {
        let (mut floods, now) = (Floods::new(1), Instant::now());
        for number in 0..10_000_u32 {
            floods.note(None, &number.to_be_bytes(), now);
        }
        assert!(floods.recent.capacity() <= 2 * REMEMBERED);
        assert!(floods.has_left_by(A, &9_999_u32.to_be_bytes(), now));
        assert!(floods.has_left_by(A, &9_800_u32.to_be_bytes(), now));
        assert!(!floods.has_left_by(A, &9_000_u32.to_be_bytes(), now));
    }
}
