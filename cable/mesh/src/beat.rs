//! Beats: small datagrams by which both ends of a cable know that frames get through, both ways,
//! and how long they take.
//!
//! Owns the octets. When to send one, and what silence means, is in the
//! [engine](crate::engine). The idea is that of BFD (RFC 5880): on the path that the frames take,
//! not on one that may work when theirs does not.

use std::time::Duration;

/// The first octet of a datagram that carries a beat.
pub const TYPE_BEAT: u8 = 0x02;

/// Octets of a beat.
pub const BEAT_LEN: usize = 22;

const FLAG_ANSWER: u8 = 1 << 0;
const FLAG_DEAF: u8 = 1 << 1;
const FLAG_HEARD: u8 = 1 << 2;

/// One beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Counts the sender's beats on this connection, from any number, wrapping.
    pub sequence: u32,
    /// The sender wants a beat back at once.
    pub answer: bool,
    /// The sender has heard nothing for so long that it does not use the cable.
    pub deaf: bool,
    /// The newest beat that the sender has heard.
    pub heard: Option<Heard>,
    /// Stands for all that the sender knows of the mesh.
    pub digest: u64,
}

/// Which beat the sender of a [`Beat`] heard last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Its sequence.
    pub sequence: u32,
    /// How long before this beat was sent; in steps of a microsecond, at most 71 minutes.
    pub held: Duration,
}

/// The datagram is not a beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BeatError {
    /// Another type or another length.
    #[error("datagram of {0} octets is not a beat of {BEAT_LEN}")]
    Length(usize),
    /// A flag is set that this protocol version does not define.
    #[error("beat with unknown flags {0:#010b}")]
    Flags(u8),
}

impl Beat {
    /// The datagram.
    pub fn encode(&self) -> [u8; BEAT_LEN] {
        let mut octets = [0; BEAT_LEN];
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        octets[0] = TYPE_BEAT;
        octets[1] = flag(self.answer, FLAG_ANSWER)
            | flag(self.deaf, FLAG_DEAF)
            | flag(self.heard.is_some(), FLAG_HEARD);
        octets[2..6].copy_from_slice(&self.sequence.to_be_bytes());
        if let Some(heard) = self.heard {
            let held = u32::try_from(heard.held.as_micros()).unwrap_or(u32::MAX);
            octets[6..10].copy_from_slice(&heard.sequence.to_be_bytes());
            octets[10..14].copy_from_slice(&held.to_be_bytes());
        }
        octets[14..].copy_from_slice(&self.digest.to_be_bytes());
        octets
    }

    /// Reads a datagram of type [`TYPE_BEAT`].
    ///
    /// # Errors
    /// [`BeatError`]; count it and go on.
    pub fn parse(datagram: &[u8]) -> Result<Self, BeatError> {
        let octets: &[u8; BEAT_LEN] =
            datagram.try_into().map_err(|_| BeatError::Length(datagram.len()))?;
        let [TYPE_BEAT, flags, rest @ ..] = octets else {
            return Err(BeatError::Length(datagram.len()));
        };
        if flags & !(FLAG_ANSWER | FLAG_DEAF | FLAG_HEARD) != 0 {
            return Err(BeatError::Flags(*flags));
        }
        let word = |at: usize| {
            let octets = rest[at..at + 4].try_into().expect("a beat has room for its fields");
            u32::from_be_bytes(octets)
        };
        let heard = Heard { sequence: word(4), held: Duration::from_micros(word(8).into()) };
        Ok(Self {
            sequence: word(0),
            answer: flags & FLAG_ANSWER != 0,
            deaf: flags & FLAG_DEAF != 0,
            heard: (flags & FLAG_HEARD != 0).then_some(heard),
            digest: u64::from(word(12)) << 32 | u64::from(word(16)),
        })
    }
}
