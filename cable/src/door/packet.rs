//! Which datagrams might be from a stranger, by the part of their header that no QUIC version
//! changes (RFC 8999).

/// QUIC version 1 (RFC 9000).
const VERSION_1: u32 = 1;

/// Set in the first octet of a long header.
const LONG: u8 = 0x80;

/// Type of a long header of version 1: the two bits of an Initial packet are zero.
const TYPE: u8 = 0x30;

/// What a datagram that needs no cable might be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstPacket {
    /// Somebody knocks.
    New,
    /// Somebody goes on: it names a connection ID that this node gave out.
    Following,
    /// Neither, and of no use to anybody.
    Stray,
}

/// Looks at a datagram. None for those with a short header, as nearly all are: they belong to a
/// cable, or QUIC throws them away at once. `is_ours` tells the connection IDs of this node.
pub fn classify(datagram: &[u8], is_ours: impl Fn(&[u8]) -> bool) -> Option<FirstPacket> {
    let (&first, rest) = datagram.split_first()?;
    if first & LONG == 0 {
        return None;
    }
    let Some((version, rest)) = rest.split_first_chunk::<4>() else {
        return Some(FirstPacket::Stray);
    };
    let Some(id) = rest.split_first().and_then(|(&len, rest)| rest.get(..usize::from(len))) else {
        return Some(FirstPacket::Stray);
    };
    if is_ours(id) {
        return Some(FirstPacket::Following);
    }
    let version = u32::from_be_bytes(*version);
    // What is of another version is answered with those that this node speaks, at some cost; version
    // 0 is such an answer, to a connection ID that is not ours.
    match version {
        0 => Some(FirstPacket::Stray),
        VERSION_1 if first & TYPE != 0 => Some(FirstPacket::Stray),
        _ => Some(FirstPacket::New),
    }
}
