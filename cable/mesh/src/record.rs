//! Records: what a node says of itself to the whole mesh, signed, so that no other can say it.
//!
//! Owns the envelope, its order in time and what is signed. The bodies are in the modules below.
//! Leaves keeping and passing on to the [engine](crate::engine). A record replaces the one before
//! it in the same slot of the same node as a whole, so that it does not matter which ones between
//! were missed.

mod contacts;
mod gateway;
mod link_state;
mod notice;
mod station;

use serde::{Deserialize, Serialize};

use crate::authority::{Authority, NodeKey, Signature};
use crate::message::Octets;

pub use contacts::{Contact, Contacts, MAX_CONTACTS};
pub use gateway::{GatewayClaim, GatewayRecord, MAX_GATEWAY_ADDRESSES};
pub use link_state::{LinkEntry, LinkState, MAX_COST, MAX_LINKS};
pub use notice::{MAX_NOTICES, Notice, Notices, Offence, PortName};
pub(crate) use station::{MAX_MOBILITY, is_plausible as station_page_is_plausible};
pub use station::{PAGE_STATIONS, StationEntry, StationPage};

/// The longest body, in octets. The longest that is defined, 64 links, has some 3000.
pub const MAX_BODY_LEN: usize = 4096;

/// What is signed begins with this, so that no other signature of the same key fits.
const DOMAIN: &[u8] = b"vdecable record 1\0";

/// Which record of its origin one is. A node has one record in each slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u8);

impl Slot {
    /// The node itself and its links: [`LinkState`].
    pub const LINK_STATE: Self = Self(0);

    /// The first of the pages of stations: [`StationPage`].
    pub const FIRST_PAGE: Self = Self(1);

    /// The last: 64 pages of 128 stations are the 8192 that a bridge holds by default.
    pub const LAST_PAGE: Self = Self(64);

    /// What the operators of all nodes should know: [`Notices`].
    pub const NOTICES: Self = Self(65);

    /// That the node is the gateway, or stands by for it: [`GatewayRecord`].
    pub const GATEWAY: Self = Self(66);

    /// Where the node can be reached: [`Contacts`].
    pub const CONTACTS: Self = Self(67);

    /// The last slot that is kept. Those between [`CONTACTS`](Self::CONTACTS) and this one are for
    /// what newer nodes will say; they are kept and passed on unread.
    pub const LAST: Self = Self(79);

    /// Whether stations are in it.
    pub fn is_page(self) -> bool {
        (Self::FIRST_PAGE..=Self::LAST_PAGE).contains(&self)
    }
}

/// One run of one node.
///
/// The order is that of the epoch, then of the instance: a run that began later supersedes all
/// that the runs before said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// One more at each start, kept on disk. A node that lost its disk begins anywhere, is shown
    /// its old records by the others, and goes on above them.
    pub epoch: u64,
    /// Drawn at each start; tells two runs with the same epoch apart. Of two nodes that run with
    /// the same key, the one with the lower instance stays in the mesh.
    pub instance: u64,
}

/// When in the life of its origin a record was made. Later ones replace earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// The run.
    pub incarnation: Incarnation,
    /// Counts the records of that run, over all slots.
    pub sequence: u64,
}

/// A signed record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Who says it.
    pub origin: NodeKey,
    /// When.
    pub version: Version,
    /// About what.
    pub slot: Slot,
    /// The fields of that slot's type, in postcard.
    pub body: Octets<MAX_BODY_LEN>,
    /// Over all of the above.
    pub signature: Signature,
}

impl Record {
    /// Makes and signs a record of this node.
    ///
    /// # Panics
    /// When the body is longer than [`MAX_BODY_LEN`], which the bounds of its fields rule out.
    pub fn sign(
        origin: NodeKey,
        version: Version,
        slot: Slot,
        body: &impl Serialize,
        authority: &impl Authority,
    ) -> Self {
        let body = postcard::to_allocvec(body).expect("a vector takes everything");
        let body = Octets::new(body).expect("the bounds of its fields keep a body short");
        let mut record = Self { origin, version, slot, body, signature: Signature([0; 64]) };
        record.signature = authority.sign(&record.signed_octets());
        record
    }

    /// Whether its origin made it. Expensive: see [`Authority::verify`].
    pub fn is_authentic(&self, authority: &impl Authority) -> bool {
        authority.verify(&self.origin, &self.signed_octets(), &self.signature)
    }

    /// The body as the type of its slot; `None` when it does not decode, or not to the last octet.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        match postcard::take_from_bytes(&self.body) {
            Ok((body, [])) => Some(body),
            _ => None,
        }
    }

    /// Octets on the wire, to within some.
    pub(crate) fn len(&self) -> usize {
        self.body.len() + 136
    }

    /// What stands for it in a digest.
    pub(crate) fn fingerprint(&self) -> u64 {
        [
            self.origin.prefix(),
            self.version.incarnation.epoch,
            self.version.incarnation.instance,
            self.version.sequence,
            u64::from(self.slot.0),
            self.signature.prefix(),
        ]
        .into_iter()
        .fold(0, |hash, part| crate::random::mix(hash ^ part))
    }

    /// Whether this one replaces `other`, of the same origin and slot. Two that an origin signed
    /// with one version, which it should not, are ordered by their signatures: all nodes must keep
    /// the same one.
    pub(crate) fn supersedes(&self, other: &Self) -> bool {
        (self.version, &self.signature) > (other.version, &other.signature)
    }

    fn signed_octets(&self) -> Vec<u8> {
        let fields = (self.origin, self.version, self.slot, &self.body);
        postcard::to_extend(&fields, DOMAIN.to_vec()).expect("a vector takes everything")
    }
}
