//! What nodes send each other the way that frames go: through the same queues, over the same cables
//! and past the same nodes, so that it meets what frames meet.
//!
//! Owns the octets of one packet, which stand where a frame stands in a record. What is answered, and
//! what is waited for, is the [engine](crate::engine)'s.

use ether::limits::MAX_FRAME;

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
