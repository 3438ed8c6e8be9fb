//! Floods of late: a frame that comes in by a port by which it has just left went around a loop
//! outside, and so did one that comes in twice within a moment.
//!
//! Owns the memory of them. It is for ports that lead to networks: a guest that repeats, at another
//! port, what it has just said elsewhere may have moved there.

use std::collections::VecDeque;
use std::hash::BuildHasher as _;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;

use crate::payload::{IPV4, IPV6, payload};
use crate::port::PortId;

/// A loop brings a frame back sooner than this; a host that says the same again, later.
const LATE: Duration = Duration::from_millis(500);

/// A frame that came in by a port, left by others, and comes in there again sooner than this went around;
/// a host that says the same again, later. (Hypervisors repeat what they announce after 50 ms.)
const AT_ONCE: Duration = Duration::from_millis(40);

/// Up to this length a frame may have been padded on its way (IEEE 802.3-2022 3.2.8).
const PADDED: usize = 60;

const UDP: u8 = 17;
const IPV6_HEADER: usize = 40;

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

    /// What frames are told apart by, on whatever networks they were: without padding, and without a
    /// checksum that may have been completed.
    pub fn hash(&self, frame: &[u8]) -> u64 {
        let frame = if frame.len() <= PADDED { without_padding(frame) } else { frame };
        match checksum_at(frame).and_then(|at| frame.split_at_checked(at)) {
            Some((before, [_, _, behind @ ..])) => self.hasher.hash_one((before, behind)),
            _ => self.hasher.hash_one(frame),
        }
    }

    /// Takes note of a frame that leaves by every port but its ingress, which is `None` when it came
    /// by a cable. Gives its [hash](Self::hash).
    pub fn note(&mut self, ingress: Option<PortId>, frame: &[u8], now: Instant) -> u64 {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        let hash = self.hash(frame);
        self.recent.push_back(Flood { hash, ingress, at: now });
        hash
    }

    /// Whether a frame that comes in by a port has gone around.
    pub fn has_returned_by(&self, port: PortId, frame: &[u8], now: Instant) -> bool {
        let age = |at: Instant| now.saturating_duration_since(at);
        let mut recent =
            self.recent.iter().rev().take_while(|flood| age(flood.at) < LATE).peekable();
        if recent.peek().is_none() {
            return false;
        }
        let hash = self.hash(frame);
        recent.any(|flood| {
            flood.hash == hash && (flood.ingress != Some(port) || age(flood.at) < AT_ONCE)
        })
    }
}

fn without_padding(frame: &[u8]) -> &[u8] {
    let len = frame.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
    &frame[..len]
}

/// Where the checksum of a UDP datagram is.
fn checksum_at(frame: &[u8]) -> Option<usize> {
    let (ethertype, packet) = payload(frame)?;
    let header = match ethertype {
        IPV4 if packet.get(9) == Some(&UDP) => usize::from(packet[0] & 0x0f) * 4,
        IPV6 if packet.get(6) == Some(&UDP) => IPV6_HEADER,
        _ => return None,
    };
    Some(frame.len() - packet.len() + header + 6)
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
        assert!(!floods.has_returned_by(A, b"hello", start));
        floods.note(Some(A), b"hello", start);
        assert!(floods.has_returned_by(B, b"hello", start));
        assert!(floods.has_returned_by(A, b"hello", start), "so soon it went around");
        let later = start + AT_ONCE;
        assert!(!floods.has_returned_by(A, b"hello", later), "a host may repeat itself");
        assert!(!floods.has_returned_by(B, b"hallo", start));
        floods.note(None, b"from afar", start);
        let soon = start + LATE - Duration::from_millis(1);
        for port in [A, B] {
            assert!(floods.has_returned_by(port, b"from afar", soon));
            assert!(!floods.has_returned_by(port, b"from afar", start + LATE));
        }
    }

    #[test]
    fn a_frame_is_known_after_it_was_padded_and_its_checksum_completed() {
        let (mut floods, now) = (Floods::new(1), Instant::now());
        let arp = [&[0xff; 6][..], &[2; 6], &[8, 6], &[1; 28]].concat();
        floods.note(None, &arp, now);
        assert!(floods.has_returned_by(A, &[&arp[..], &[0; 18]].concat(), now));
        let udp = |checksum: u16| {
            let mut frame = [&[0xff; 6][..], &[2; 6], &[8, 0, 0x45], &[7; 8], &[UDP]].concat();
            frame.extend([7; 10]);
            frame.extend([3; 6]);
            frame.extend(checksum.to_be_bytes());
            frame.extend([9; 40]);
            frame
        };
        floods.note(None, &udp(1), now);
        assert!(floods.has_returned_by(A, &udp(0xabcd), now));
        let mut other = udp(1);
        other[60] = 1;
        assert!(!floods.has_returned_by(A, &other, now));
        for len in 0..udp(1).len() {
            floods.note(None, &udp(1)[..len], now);
        }
    }

    #[test]
    fn a_storm_fills_no_memory_and_its_latest_frames_are_known() {
        let (mut floods, now) = (Floods::new(1), Instant::now());
        for number in 0..10_000_u32 {
            floods.note(None, &number.to_be_bytes(), now);
        }
        assert!(floods.recent.capacity() <= 2 * REMEMBERED);
        assert!(floods.has_returned_by(A, &9_999_u32.to_be_bytes(), now));
        assert!(floods.has_returned_by(A, &9_800_u32.to_be_bytes(), now));
        assert!(!floods.has_returned_by(A, &9_000_u32.to_be_bytes(), now));
    }
}
