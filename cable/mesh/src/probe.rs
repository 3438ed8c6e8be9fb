//! Probes: frames that leave access ports and must not come back by another one.
//!
//! Owns the octets. When to send them, and what to do about one that is heard, is in the
//! [engine](crate::engine). A probe is an ordinary multicast frame to whatever is outside, so that
//! a bridge out there passes it on; a node does so only where it is itself a bridge out there, to
//! nodes that it has no way to. It is signed by the node that sends it,
//! so that no guest can make one up; one that is recorded and played back elsewhere can only block
//! a port of those who play it.

use ether::MacAddr;

use crate::authority::{Authority, NodeKey, Signature};
use crate::random::mix;
use crate::record::PortName;

/// The first of the two EtherTypes for local experiments (IEEE 802-2014 9.2.4).
pub const ETHERTYPE_EXPERIMENT: u16 = 0x88b5;

/// Where probes go: a locally administered group address, which bridges pass on.
pub const PROBE_DESTINATION: MacAddr = MacAddr([0x03, 0x56, 0x44, 0x45, 0x4c, 0x50]);

/// What makes the EtherType ours.
const MAGIC: &[u8; 8] = b"vdeloop\x01";

/// What is signed begins with this, so that no other signature of the same key fits.
const DOMAIN: &[u8] = b"vdecable probe 1\0";

const ADDRESSES_LEN: usize = 12;
const START: usize = ADDRESSES_LEN + 2 + MAGIC.len();
/// Two keys, port, class, nonce, and the length of the name.
const FIXED_LEN: usize = 32 + 32 + 4 + 1 + 8 + 1;
const SIGNATURE_LEN: usize = 64;

/// What a port leads to. Of two ports in a loop the lower one is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortClass {
    /// A guest.
    Guest,
    /// A tap, or a stream from another switch: a network of the host's.
    Tap,
    /// The way out of the mesh.
    Gateway,
}

impl PortClass {
    /// The number on the wire.
    pub const fn to_wire(self) -> u8 {
        match self {
            Self::Guest => 0,
            Self::Tap => 1,
            Self::Gateway => 2,
        }
    }

    /// The class of a number; a number that is not known is the lowest.
    pub const fn from_wire(number: u8) -> Self {
        match number {
            1 => Self::Tap,
            2 => Self::Gateway,
            _ => Self::Guest,
        }
    }
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The node that sent it.
    pub sender: NodeKey,
    /// The lowest key of the nodes that the sender reaches through the mesh, itself included.
    pub group: NodeKey,
    /// The port that it left, by its node's number.
    pub port: u32,
    /// What that port leads to.
    pub class: PortClass,
    /// Different in each probe.
    pub nonce: u64,
    /// The port's name, for people.
    pub name: PortName,
}

impl Probe {
    /// The frame.
    pub fn encode(&self, authority: &impl Authority) -> Vec<u8> {
        let mut frame = PROBE_DESTINATION.0.to_vec();
        let source = mix(self.sender.prefix() ^ u64::from(self.port)).to_be_bytes();
        // Locally administered, and of one station.
        frame.push(0x02);
        frame.extend_from_slice(&source[..5]);
        frame.extend_from_slice(&ETHERTYPE_EXPERIMENT.to_be_bytes());
        frame.extend_from_slice(MAGIC);
        frame.extend_from_slice(&self.sender.0);
        frame.extend_from_slice(&self.group.0);
        frame.extend_from_slice(&self.port.to_be_bytes());
        frame.push(self.class.to_wire());
        frame.extend_from_slice(&self.nonce.to_be_bytes());
        let name = self.name.as_str().as_bytes();
        frame.push(u8::try_from(name.len()).expect("the bound of a name is below 256"));
        frame.extend_from_slice(name);
        let signature = authority.sign(&signed_octets(&frame[START..]));
        frame.extend_from_slice(&signature.0);
        frame
    }

    /// Whether a frame from an access port is a probe of this or another mesh. Such a frame is for
    /// [`Mesh::handle_probe`](crate::Mesh::handle_probe), which says what becomes of it.
    #[inline]
    pub fn is_probe(frame: &[u8]) -> bool {
        let rest = frame
            .get(ADDRESSES_LEN..)
            .and_then(|rest| rest.strip_prefix(&ETHERTYPE_EXPERIMENT.to_be_bytes()));
        rest.is_some_and(|rest| rest.starts_with(MAGIC))
    }

    /// Reads a frame; `None` when it is not a probe. Octets behind it are padding.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        Self::is_probe(frame).then_some(())?;
        let (fixed, rest) = frame[START..].split_first_chunk::<FIXED_LEN>()?;
        let name = rest.get(..usize::from(fixed[FIXED_LEN - 1]))?;
        rest.get(name.len()..name.len() + SIGNATURE_LEN)?;
        Some(Self {
            sender: NodeKey(fixed[..32].try_into().ok()?),
            group: NodeKey(fixed[32..64].try_into().ok()?),
            port: u32::from_be_bytes(fixed[64..68].try_into().ok()?),
            class: PortClass::from_wire(fixed[68]),
            nonce: u64::from_be_bytes(fixed[69..77].try_into().ok()?),
            name: PortName::new(std::str::from_utf8(name).ok()?).ok()?,
        })
    }

    /// Whether its sender made it.
    pub(crate) fn is_authentic(&self, frame: &[u8], authority: &impl Authority) -> bool {
        let end = START + FIXED_LEN + self.name.as_str().len();
        let Some((said, rest)) = frame.split_at_checked(end) else {
            return false;
        };
        let Some(signature) = rest.first_chunk::<SIGNATURE_LEN>() else {
            return false;
        };
        let signed = signed_octets(&said[START..]);
        authority.verify(&self.sender, &signed, &Signature(*signature))
    }
}

fn signed_octets(said: &[u8]) -> Vec<u8> {
    [DOMAIN, said].concat()
}
