//! Which frames belong together.

use std::hash::{Hash as _, Hasher};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TAGS: [u16; 2] = [0x8100, 0x88a8];

/// The flow of a frame: the same number for frames that a station's transport sends as one, by
/// addresses, protocol and ports; by MAC addresses where there is no IP. Never fails: what is cut
/// short counts as far as it goes.
pub fn flow_of(frame: &[u8]) -> u32 {
    let mut hasher = Fnv::default();
    let mut at = 12;
    let mut kind = field(frame, at);
    while kind.is_some_and(|kind| TAGS.contains(&kind)) {
        at += 4;
        kind = field(frame, at);
    }
    let packet = frame.get(at + 2..).unwrap_or(&[]);
    match kind {
        Some(IPV4) if packet.len() >= 20 => {
            let protocol = packet[9];
            packet[12..20].hash(&mut hasher);
            protocol.hash(&mut hasher);
            // Only the first fragment has ports, so no fragment is told by them.
            let is_fragment = field(packet, 6).is_some_and(|field| field & 0x3fff != 0);
            let payload = packet.get(usize::from(packet[0] & 0x0f) * 4..).unwrap_or(&[]);
            if !is_fragment {
                ports(protocol, payload).hash(&mut hasher);
            }
        }
        Some(IPV6) if packet.len() >= 40 => {
            let protocol = packet[6];
            packet[8..40].hash(&mut hasher);
            protocol.hash(&mut hasher);
            ports(protocol, &packet[40..]).hash(&mut hasher);
        }
        _ => frame.get(..14).unwrap_or(frame).hash(&mut hasher),
    }
    hasher.fold()
}

/// The ports of TCP, UDP, DCCP, SCTP and UDP-Lite.
fn ports(protocol: u8, payload: &[u8]) -> Option<&[u8]> {
    matches!(protocol, 6 | 17 | 33 | 132 | 136).then(|| payload.get(..4)).flatten()
}

fn field(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*octets.get(at)?, *octets.get(at + 1)?]))
}

/// FNV-1a (draft-eastlake-fnv): a few dozen octets, no secret. A guest that finds colliding flows
/// only shares its turn with them.
#[derive(Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
    fn fold(&self) -> u32 {
        (self.0 >> 32) as u32 ^ self.0 as u32
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.0 = (self.0 ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
