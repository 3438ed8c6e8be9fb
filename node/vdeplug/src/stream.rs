//! Ethernet over a byte stream: each frame follows its length. Pure codecs ([`Decoder`],
//! [`Encoder`]) and a thin endpoint over any stream of this host ([`StreamPort`]).
//!
//! | Framing | Who speaks it |
//! |---|---|
//! | [`Framing::Vde`] | two `vde_plug` over pipes, ssh or dpipe; wirefilter |
//! | [`Framing::Length32`] | QEMU's `-netdev stream`, passt, libkrun's `unixstream`, socket_vmnet |
//!
//! Neither has a magic number, a version, or a way back into step: after one wrong length the
//! stream is of no more use. So a frame that was begun is always finished before anything else,
//! and only frames not yet begun are dropped.

mod decoder;
mod encoder;
mod port;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use port::{End, OpenError, RecvError, StreamPort};

/// The longest length in front of a frame.
const MAX_HEADER: usize = 4;

/// Destination, source and EtherType (IEEE 802.3-2022 3.1.1). Some peers end the stream at
/// anything shorter.
const MIN_FRAME: usize = 14;

/// The default of [`StreamConfig::queue`]: 256 KiB, more than two batches of 64 full frames, and
/// 2 ms at 1 Gb/s.
pub const DEFAULT_QUEUE: usize = 256 << 10;

/// How the length in front of each frame is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Two octets, big-endian (libvdeplug's stream form). A length of 0 is skipped.
    Vde,
    /// Four octets, big-endian (QEMU's stream sockets). A length of 0 is skipped: QEMU takes it
    /// for an empty frame, which no device of its guests looks at.
    Length32,
}

impl Framing {
    /// The longest frame that is taken from a peer, in octets.
    ///
    /// `Vde`: 9236, as libvdeplug 4 takes. `Length32`: 65,553, the largest IP packet with an
    /// Ethernet header and one tag. The protocol has no limit of its own; QEMU takes 69,632, but
    /// no device of it sends more than this, and the buffer has to end somewhere.
    pub const fn max_received(self) -> usize {
        match self {
            Self::Vde => 9236,
            Self::Length32 => 14 + 4 + 65_535,
        }
    }

    /// The longest frame that any known peer takes, in octets; the default of
    /// [`StreamConfig::max_sent`].
    ///
    /// `Vde`: 1521, as VDE 2 takes; it falls out of step at a longer one. `Length32`: 65,535, as
    /// passt takes; it ends the stream at a longer one.
    pub const fn max_sent(self) -> usize {
        match self {
            Self::Vde => 1521,
            Self::Length32 => 65_535,
        }
    }

    /// Octets in front of a frame.
    const fn header_len(self) -> usize {
        match self {
            Self::Vde => 2,
            Self::Length32 => 4,
        }
    }

    /// The length at the beginning of `octets`; `None` when there is only a part of it.
    fn length(self, octets: &[u8]) -> Option<usize> {
        match self {
            Self::Vde => {
                octets.first_chunk().map(|octets| usize::from(u16::from_be_bytes(*octets)))
            }
            Self::Length32 => {
                octets.first_chunk().map(|octets| u32::from_be_bytes(*octets) as usize)
            }
        }
    }

    /// The length of a frame, of which the first [`Self::header_len`] octets count. `len` is at
    /// most [`Self::max_received`].
    fn header(self, len: usize) -> [u8; MAX_HEADER] {
        let word = u32::try_from(len).expect("at most max_received");
        match self {
            Self::Vde => (word << 16).to_be_bytes(),
            Self::Length32 => word.to_be_bytes(),
        }
    }
}

/// How to speak to the peer of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamConfig {
    /// How lengths are written.
    pub framing: Framing,
    /// The longest frame to send, in octets. Default [`Framing::max_sent`]; what is beyond
    /// [`Framing::max_received`] is taken for that. Raise it for a peer that is known to take more.
    pub max_sent: usize,
    /// Octets that may wait for room in the stream, lengths included. Frames that do not fit are
    /// not taken; only the rest of a frame that was begun is kept in any case. Default
    /// [`DEFAULT_QUEUE`]; 0 leaves only the system's own buffer.
    pub queue: usize,
}

impl StreamConfig {
    /// Everything default.
    pub const fn new(framing: Framing) -> Self {
        Self { framing, max_sent: framing.max_sent(), queue: DEFAULT_QUEUE }
    }
}

/// A stream cannot be followed any further: where the next frame begins is unknown. Close it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The next frame would be longer than any can be.
    #[error(
        "the stream announces a frame of {len} octets where {limit} are the most; it is out of \
         step, or its framing is another"
    )]
    TooLong {
        /// What the stream says.
        len: usize,
        /// [`Framing::max_received`].
        limit: usize,
    },
}
