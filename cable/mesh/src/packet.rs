//! What nodes send each other the way that frames go: through the same queues, over the same cables
//! and past the same nodes, so that it meets what frames meet.
//!
//! Owns the octets of one packet, which stand where a frame stands in a record. What is answered, and
//! what is waited for, is the [engine](crate::engine)'s.

use ether::limits::MAX_FRAME;
use ether::{MacAddr, VlanId};

/// Kind, hops, crossed, zero, turn, token.
pub const ECHO_LEN: usize = 16;

/// The longest packet: as long as the longest frame, so that one can be measured.
pub const MAX_PACKET_LEN: usize = MAX_FRAME;

/// A request for an answer, or that answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// Which of the two.
    pub kind: EchoKind,
    /// The hop count with which the packet left its node: less what is left of it on arrival, that
    /// is how many cables it crossed, but for the last one.
    pub hops: u8,
    /// In an answer, how many cables the request had crossed; 0 in a request.
    pub crossed: u8,
    /// Counts the requests of one node. Where several cables lead to the next node, echoes take them
    /// in turn.
    pub turn: u32,
    /// Who was not asked cannot know it.
    pub token: u64,
    /// Octets of the packet in all. Those behind the fields are zero when sent and mean nothing when
    /// received.
    pub len: usize,
}

/// The two kinds of echo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EchoKind {
    /// To be answered by one that has all fields but the first three alike, and its length.
    Request,
    /// The answer.
    Answer,
}

const REQUEST: u8 = 1;
const ANSWER: u8 = 2;
const STATIONS_ASKED: u8 = 3;
const STATIONS: u8 = 4;

/// Octets of a station in an answer.
const SEEN_LEN: usize = 16;

/// The most stations in one answer: what a frame holds.
pub const MAX_SEEN: usize = 512;

impl Echo {
    /// The octets.
    ///
    /// # Panics
    /// When [`len`](Self::len) is not from [`ECHO_LEN`] to [`MAX_PACKET_LEN`]: whoever makes one up
    /// has checked that.
    pub fn encode(&self) -> Vec<u8> {
        assert!((ECHO_LEN..=MAX_PACKET_LEN).contains(&self.len), "an echo of {} octets", self.len);
        let kind = match self.kind {
            EchoKind::Request => REQUEST,
            EchoKind::Answer => ANSWER,
        };
        let mut octets = vec![kind, self.hops, self.crossed, 0];
        octets.extend(self.turn.to_be_bytes());
        octets.extend(self.token.to_be_bytes());
        octets.resize(self.len, 0);
        octets
    }

    /// Reads a packet; `None` when it is not an echo, or of a kind that a later version knows.
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let fields = octets.first_chunk::<ECHO_LEN>()?;
        let [kind, hops, crossed, _, t0, t1, t2, t3, token @ ..] = *fields;
        let kind = match kind {
            REQUEST => EchoKind::Request,
            ANSWER => EchoKind::Answer,
            _ => return None,
        };
        (octets.len() <= MAX_PACKET_LEN).then_some(Self {
            kind,
            hops,
            crossed,
            turn: u32::from_be_bytes([t0, t1, t2, t3]),
            token: u64::from_be_bytes(token),
            len: octets.len(),
        })
    }
}

/// What stands for a packet where a frame's addresses would choose one of several cables: the
/// octets at which every kind has a number that counts on.
pub fn flow(octets: &[u8]) -> u32 {
    octets.get(4..).and_then(|rest| rest.first_chunk()).map_or(0, |turn| u32::from_be_bytes(*turn))
}

/// Asks a node behind which of its ports its stations are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StationsAsked {
    /// As [`Echo::turn`].
    pub turn: u32,
    /// As [`Echo::token`].
    pub token: u64,
    /// The first station of interest, in the order of VLAN and address.
    pub from: (VlanId, MacAddr),
}

impl StationsAsked {
    /// The octets.
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = front(STATIONS_ASKED, 0, self.turn, self.token);
        octets.extend(self.from.0.0.to_be_bytes());
        octets.extend(self.from.1.0);
        octets
    }

    /// Reads a packet; `None` when it asks for nothing of the kind.
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let (_, turn, token, rest) = behind_front(STATIONS_ASKED, octets)?;
        let [v0, v1, mac @ ..] = *rest.first_chunk::<8>()?;
        Some(Self { turn, token, from: (VlanId(u16::from_be_bytes([v0, v1])), MacAddr(mac)) })
    }
}

/// A station as its own node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenStation {
    /// Its VLAN.
    pub vlan: VlanId,
    /// Its address.
    pub mac: MacAddr,
    /// The port that it is behind, by its node's number.
    pub port: u32,
    /// For how long it has not been heard, in milliseconds.
    pub age: u32,
}

/// A node's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stations {
    /// Of the question.
    pub turn: u32,
    /// Of the question.
    pub token: u64,
    /// At most [`MAX_SEEN`], in order.
    pub stations: Vec<SeenStation>,
    /// Whether there are more behind the last one.
    pub more: bool,
}

impl Stations {
    /// The octets.
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = front(STATIONS, self.more.into(), self.turn, self.token);
        for station in self.stations.iter().take(MAX_SEEN) {
            octets.extend(station.vlan.0.to_be_bytes());
            octets.extend(station.mac.0);
            octets.extend(station.port.to_be_bytes());
            octets.extend(station.age.to_be_bytes());
        }
        octets
    }

    /// Reads a packet; `None` when it is no such answer.
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let (flags, turn, token, rest) = behind_front(STATIONS, octets)?;
        let (stations, odd) = rest.as_chunks::<SEEN_LEN>();
        if !odd.is_empty() || stations.len() > MAX_SEEN {
            return None;
        }
        let station = |octets: &[u8; SEEN_LEN]| {
            let [v0, v1, m0, m1, m2, m3, m4, m5, p0, p1, p2, p3, a0, a1, a2, a3] = *octets;
            SeenStation {
                vlan: VlanId(u16::from_be_bytes([v0, v1])),
                mac: MacAddr([m0, m1, m2, m3, m4, m5]),
                port: u32::from_be_bytes([p0, p1, p2, p3]),
                age: u32::from_be_bytes([a0, a1, a2, a3]),
            }
        };
        let more = flags & 1 != 0;
        Some(Self { turn, token, stations: stations.iter().map(station).collect(), more })
    }
}

/// What all kinds but echoes begin with.
fn front(kind: u8, flags: u8, turn: u32, token: u64) -> Vec<u8> {
    let mut octets = vec![kind, flags, 0, 0];
    octets.extend(turn.to_be_bytes());
    octets.extend(token.to_be_bytes());
    octets
}

fn behind_front(kind: u8, octets: &[u8]) -> Option<(u8, u32, u64, &[u8])> {
    let (fields, rest) = octets.split_first_chunk::<16>()?;
    let [is, flags, _, _, t0, t1, t2, t3, token @ ..] = *fields;
    let turn = u32::from_be_bytes([t0, t1, t2, t3]);
    (is == kind).then_some((flags, turn, u64::from_be_bytes(token), rest))
}
