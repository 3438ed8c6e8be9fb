//! Floods of late: a frame that comes in by a port by which it has just left went around a loop
//! outside, and so did one that comes in twice within a moment.
//!
//! Owns the memory of them. Frames are told apart within a VLAN: a network that joins two may carry a frame
//! from the one into the other. It is for ports that lead to networks: a guest that repeats, at another
//! port, what it has just said elsewhere may have moved there.

use std::collections::VecDeque;
use std::hash::BuildHasher as _;
use std::time::{Duration, Instant};

use ether::VlanId;
use ether::header::ETHERTYPE_VLAN;
use ether::limits::TAG_LEN;
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

const ADDRESSES_LEN: usize = 12;

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

    /// What frames of a VLAN are told apart by, on whatever networks they were: without the tag that says
    /// which VLAN, without padding, and without a checksum that may have been completed.
    pub fn hash(&self, vlan: VlanId, frame: &[u8]) -> u64 {
        let (addresses, rest) = frame.split_at(frame.len().min(ADDRESSES_LEN));
        let rest = without_tag(rest);
        let start = frame.len() - rest.len();
        let rest = if ADDRESSES_LEN + rest.len() <= PADDED { without_padding(rest) } else { rest };
        let vlan = vlan.0;
        let at = checksum_at(frame).and_then(|at| at.checked_sub(start));
        match at.and_then(|at| rest.split_at_checked(at)) {
            Some((before, [_, _, behind @ ..])) => {
                self.hasher.hash_one((vlan, addresses, before, behind))
            }
            _ => self.hasher.hash_one((vlan, addresses, rest)),
        }
    }

    /// Takes note of a frame that leaves by every port of its VLAN but its ingress, which is `None` when
    /// it came by a cable. Gives its [hash](Self::hash).
    pub fn note(
        &mut self,
        ingress: Option<PortId>,
        vlan: VlanId,
        frame: &[u8],
        now: Instant,
    ) -> u64 {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        let hash = self.hash(vlan, frame);
        self.recent.push_back(Flood { hash, ingress, at: now });
        hash
    }

    /// Whether a frame that comes in by a port has gone around.
    pub fn has_returned_by(&self, port: PortId, vlan: VlanId, frame: &[u8], now: Instant) -> bool {
        let age = |at: Instant| now.saturating_duration_since(at);
        let mut recent =
            self.recent.iter().rev().take_while(|flood| age(flood.at) < LATE).peekable();
        if recent.peek().is_none() {
            return false;
        }
        let hash = self.hash(vlan, frame);
        recent.any(|flood| {
            flood.hash == hash && (flood.ingress != Some(port) || age(flood.at) < AT_ONCE)
        })
    }
}

fn without_tag(rest: &[u8]) -> &[u8] {
    let is_tagged = rest.starts_with(&ETHERTYPE_VLAN.to_be_bytes());
    rest.get(TAG_LEN..).filter(|_| is_tagged).unwrap_or(rest)
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
    const V: VlanId = VlanId(10);

    #[test]
    fn a_frame_that_comes_back_by_another_port_than_it_came_is_known_for_a_moment() {
        let (mut floods, start) = (Floods::new(1), Instant::now());
        assert!(!floods.has_returned_by(A, V, b"hello", start));
        floods.note(Some(A), V, b"hello", start);
        assert!(floods.has_returned_by(B, V, b"hello", start));
        assert!(floods.has_returned_by(A, V, b"hello", start), "so soon it went around");
        let later = start + AT_ONCE;
        assert!(!floods.has_returned_by(A, V, b"hello", later), "a host may repeat itself");
        assert!(!floods.has_returned_by(B, V, b"hallo", start));
        floods.note(None, V, b"from afar", start);
        let soon = start + LATE - Duration::from_millis(1);
        for port in [A, B] {
            assert!(floods.has_returned_by(port, V, b"from afar", soon));
            assert!(!floods.has_returned_by(port, V, b"from afar", start + LATE));
        }
    }

    #[test]
    fn a_frame_is_known_after_it_was_padded_and_its_checksum_completed() {
        let (mut floods, now) = (Floods::new(1), Instant::now());
        let arp = [&[0xff; 6][..], &[2; 6], &[8, 6], &[1; 28]].concat();
        floods.note(None, V, &arp, now);
        assert!(floods.has_returned_by(A, V, &[&arp[..], &[0; 18]].concat(), now));
        let udp = |checksum: u16| {
            let mut frame = [&[0xff; 6][..], &[2; 6], &[8, 0, 0x45], &[7; 8], &[UDP]].concat();
            frame.extend([7; 10]);
            frame.extend([3; 6]);
            frame.extend(checksum.to_be_bytes());
            frame.extend([9; 40]);
            frame
        };
        floods.note(None, V, &udp(1), now);
        assert!(floods.has_returned_by(A, V, &udp(0xabcd), now));
        let mut other = udp(1);
        other[60] = 1;
        assert!(!floods.has_returned_by(A, V, &other, now));
        for len in 0..udp(1).len() {
            floods.note(None, V, &udp(1)[..len], now);
        }
    }

    #[test]
    fn a_frame_is_known_with_the_tag_of_its_vlan_and_without_and_not_in_another_vlan() {
        let (mut floods, now) = (Floods::new(1), Instant::now());
        for payload in [&[7; 20][..], &[7; 60], &[0x45; 60]] {
            let plain = [&[0xff; 6][..], &[2; 6], &[8, 0], payload].concat();
            let tagged = [&[0xff; 6][..], &[2; 6], &[0x81, 0, 0, 10, 8, 0], payload].concat();
            floods.note(None, V, &tagged, now);
            assert!(floods.has_returned_by(A, V, &plain, now));
            assert!(!floods.has_returned_by(A, VlanId(20), &plain, now), "somebody joined them");
            floods.note(None, VlanId(30), &plain, now);
            assert!(floods.has_returned_by(A, VlanId(30), &tagged, now));
        }
    }

    #[test]
    fn a_storm_fills_no_memory_and_its_latest_frames_are_known() {
        let (mut floods, now) = (Floods::new(1), Instant::now());
        for number in 0..10_000_u32 {
            floods.note(None, V, &number.to_be_bytes(), now);
        }
        assert!(floods.recent.capacity() <= 2 * REMEMBERED);
        assert!(floods.has_returned_by(A, V, &9_999_u32.to_be_bytes(), now));
        assert!(floods.has_returned_by(A, V, &9_800_u32.to_be_bytes(), now));
        assert!(!floods.has_returned_by(A, V, &9_000_u32.to_be_bytes(), now));
    }
}
