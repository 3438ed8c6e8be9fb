//! Frames of stations, and the mark by which a world follows each of them.

use ether::MacAddr;

/// Octets of a mark, at the end of a frame.
const MARK_LEN: usize = 18;

/// What a world writes into a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Which frame of which station it is. It stays when the frame goes around outside.
    pub(crate) sent: u64,
    /// Which entry into the mesh: another one for each time that it comes in at an access port.
    pub(crate) passage: u64,
    /// The VLAN of the station that sent it.
    pub(crate) vlan: u16,
}

/// What a station says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// Something to one station, a group or all.
    To(MacAddr),
    /// That it is here now: a gratuitous ARP.
    Announcement,
}

/// A frame without a tag.
pub(crate) fn build(source: MacAddr, words: Words, mark: Mark) -> Vec<u8> {
    let (destination, ethertype) = match words {
        Words::To(destination) => (destination, [0x88, 0xb6]),
        Words::Announcement => (MacAddr([0xff; 6]), [0x08, 0x06]),
    };
    let mut frame = Vec::with_capacity(64);
    frame.extend_from_slice(&destination.0);
    frame.extend_from_slice(&source.0);
    frame.extend_from_slice(&ethertype);
    if words == Words::Announcement {
        let address = [10, 0, source.0[4], source.0[5]];
        frame.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
        frame.extend_from_slice(&source.0);
        frame.extend_from_slice(&address);
        frame.extend_from_slice(&[0; 6]);
        frame.extend_from_slice(&address);
    }
    frame.extend_from_slice(&mark.sent.to_be_bytes());
    frame.extend_from_slice(&mark.passage.to_be_bytes());
    frame.extend_from_slice(&mark.vlan.to_be_bytes());
    frame
}

/// The mark of a frame that [`build`] made, with or without a tag by now.
pub(crate) fn mark_of(frame: &[u8]) -> Option<Mark> {
    let (_, mark) = frame.split_at_checked(frame.len().checked_sub(MARK_LEN)?)?;
    Some(Mark {
        sent: u64::from_be_bytes(mark[..8].try_into().ok()?),
        passage: u64::from_be_bytes(mark[8..16].try_into().ok()?),
        vlan: u16::from_be_bytes(mark[16..].try_into().ok()?),
    })
}

/// The same frame on another way through the mesh, perhaps in another VLAN.
pub(crate) fn remark(frame: &mut [u8], passage: u64, vlan: u16) {
    let at = frame.len() - MARK_LEN + 8;
    frame[at..at + 8].copy_from_slice(&passage.to_be_bytes());
    frame[at + 8..].copy_from_slice(&vlan.to_be_bytes());
}
