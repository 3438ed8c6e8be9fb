//! Frames of stations. A frame is the same octets wherever it is, as on a real network; by which entry
//! into the mesh it came, a world knows beside it.

use ether::MacAddr;
use mesh::framing::VNET_HEADER_LEN;

use crate::dice::Dice;

/// Where the number of a frame stands, both in UDP's payload and behind ARP's fields, but for a tag.
const NUMBER_AT: usize = 42;
const CHECKSUM_AT: usize = 40;
const TAG_LEN: usize = 4;

/// The shortest frame of a real network, without its check sequence.
const LEAST: usize = 60;

/// What a station says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// Something to one station, a group or all.
    To(MacAddr),
    /// That it is here now: a gratuitous ARP.
    Announcement,
}

/// A frame without a tag. `number` says which of all stations' frames it is.
pub(crate) fn build(source: MacAddr, words: Words, number: u64) -> Vec<u8> {
    let address = [10, 0, source.0[4], source.0[5]];
    let (destination, ethertype) = match words {
        Words::To(destination) => (destination, [0x08, 0x00]),
        Words::Announcement => (MacAddr([0xff; 6]), [0x08, 0x06]),
    };
    let mut frame = [&destination.0[..], &source.0, &ethertype].concat();
    match words {
        Words::To(_) => {
            frame.extend([0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0]);
            frame.extend(address);
            frame.extend([10, 0, 255, 255]);
            // Its checksum is still open.
            frame.extend([0x30, 0x39, 0x30, 0x39, 0, 16, 0, 0]);
        }
        Words::Announcement => {
            frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
            frame.extend(source.0);
            frame.extend(address);
            frame.extend([0; 6]);
            frame.extend(address);
        }
    }
    frame.extend(number.to_be_bytes());
    frame
}

fn tag_len(frame: &[u8]) -> usize {
    if frame.get(12..14) == Some(&[0x81, 0]) { TAG_LEN } else { 0 }
}

/// The number of a frame that [`build`] made, with or without a tag by now.
pub(crate) fn number_of(frame: &[u8]) -> Option<u64> {
    let number = frame.get(NUMBER_AT + tag_len(frame)..)?.first_chunk()?;
    Some(u64::from_be_bytes(*number))
}

/// What real networks do to a frame that they carry: pad it, complete its checksum.
pub(crate) fn wear(frame: &mut Vec<u8>, dice: &mut Dice) {
    let tag = tag_len(frame);
    if dice.chance(500) && frame.len() < LEAST + tag {
        frame.resize(LEAST + tag, 0);
    }
    let is_udp = frame.get(12 + tag..14 + tag) == Some(&[0x08, 0x00]);
    if is_udp && dice.chance(500) {
        frame[CHECKSUM_AT + tag..NUMBER_AT + tag].copy_from_slice(&[0xc0, 0xde]);
    }
}

/// Which entry into the mesh a frame on a cable came by, where cables carry what is still to be done to it:
/// what a real one does not look at, either.
pub(crate) fn ticket(passage: u64) -> [u8; VNET_HEADER_LEN] {
    let mut ticket = [0; VNET_HEADER_LEN];
    ticket[..8].copy_from_slice(&passage.to_be_bytes());
    ticket
}

/// The passage of a [`ticket`].
pub(crate) fn passage_of(ticket: &[u8; VNET_HEADER_LEN]) -> u64 {
    let (passage, _) = ticket.split_first_chunk().expect("it is longer");
    u64::from_be_bytes(*passage)
}
