//! The outer 802.1Q tag of a frame: reading, inserting, replacing and removing it.
//!
//! Only the customer tag counts (EtherType 0x8100). A frame with a service tag (0x88a8) outside is
//! untagged here and what is inside is its payload, as in VDE's switch. Results are appended to a
//! buffer of the caller's; the frame itself is usually lent out to other ports at the same time.
//! Frames are not padded: one that loses its tag may become shorter than
//! [`MIN_FRAME`](crate::limits::MIN_FRAME).
//!
//! Source: IEEE 802.1Q-2022 clause 9.

#[cfg(test)]
mod tests;

use crate::header::{ETHERTYPE_VLAN, VlanId};
use crate::limits::{HEADER_LEN, MAX_FRAME, MAX_SUPER_FRAME, TAG_LEN};
use crate::vnet::{Checksum, VnetError, VnetHeader};

/// A tag goes behind the two addresses.
const TAG_AT: usize = 12;

/// [`TAG_LEN`] in the unit of a virtio-net header.
const TAG_SHIFT: u16 = 4;
const _: () = assert!(TAG_SHIFT as usize == TAG_LEN);

const VLAN_MASK: u16 = 0x0fff;

/// What a tag says besides being one: priority (PCP, 3 bits), drop eligibility (DEI, 1 bit) and
/// VLAN (12 bits), from the most significant bit down (IEEE 802.1Q-2022 9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tci(pub u16);

impl Tci {
    /// The lowest priority, which an untagged frame has, in a VLAN.
    pub const fn new(vlan: VlanId) -> Self {
        Self(vlan.0 & VLAN_MASK)
    }

    /// That of a frame's outer tag; `None` when there is no whole one.
    pub fn of(frame: &[u8]) -> Option<Self> {
        let tag = frame.get(TAG_AT..)?.first_chunk::<TAG_LEN>()?;
        let [t0, t1, c0, c1] = *tag;
        (u16::from_be_bytes([t0, t1]) == ETHERTYPE_VLAN).then(|| Self(u16::from_be_bytes([c0, c1])))
    }

    /// The VLAN; 0 when the tag carries a priority alone.
    pub const fn vlan(self) -> VlanId {
        VlanId(self.0 & VLAN_MASK)
    }

    /// The same priority and drop eligibility in another VLAN.
    pub const fn with_vlan(self, vlan: VlanId) -> Self {
        Self(self.0 & !VLAN_MASK | vlan.0 & VLAN_MASK)
    }
}

/// Appends the frame with one more tag, outside of those that it has. What is shorter than two
/// addresses is no frame and stays as it is.
pub fn insert_tag(frame: &[u8], tci: Tci, out: &mut Vec<u8>) {
    match frame.split_at_checked(TAG_AT) {
        Some((addresses, rest)) => join(addresses, Some(tci), rest, out),
        None => out.extend_from_slice(frame),
    }
}

/// Appends the frame with its outer tag in another VLAN, priority and drop eligibility kept; with
/// a new tag if it has none.
pub fn set_tag(frame: &[u8], vlan: VlanId, out: &mut Vec<u8>) {
    match Tci::of(frame) {
        Some(tci) => {
            let (addresses, rest) = (&frame[..TAG_AT], &frame[TAG_AT + TAG_LEN..]);
            join(addresses, Some(tci.with_vlan(vlan)), rest, out);
        }
        None => insert_tag(frame, Tci::new(vlan), out),
    }
}

/// Appends the frame without its outer tag, and as it is if it has none.
pub fn remove_tag(frame: &[u8], out: &mut Vec<u8>) {
    match Tci::of(frame) {
        Some(_) => join(&frame[..TAG_AT], None, &frame[TAG_AT + TAG_LEN..], out),
        None => out.extend_from_slice(frame),
    }
}

fn join(addresses: &[u8], tci: Option<Tci>, rest: &[u8], out: &mut Vec<u8>) {
    out.reserve(addresses.len() + TAG_LEN + rest.len());
    out.extend_from_slice(addresses);
    if let Some(Tci(tci)) = tci {
        out.extend_from_slice(&ETHERTYPE_VLAN.to_be_bytes());
        out.extend_from_slice(&tci.to_be_bytes());
    }
    out.extend_from_slice(rest);
}

/// What is to be done to a frame's tag before the frame leaves through a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TagAction {
    /// Nothing; the frame need not be copied.
    #[default]
    AsIs,
    /// The outer tag is removed: [`remove_tag`].
    Untag,
    /// The outer tag shall name this VLAN: [`set_tag`].
    Tag(VlanId),
}

impl TagAction {
    /// Appends the frame as it shall leave, and returns the virtio-net header that goes with it:
    /// offsets behind the tag move with what they point at.
    ///
    /// The header must have been [validated](VnetHeader::validate) with the frame; the result is
    /// then valid in the same way, but that a super-frame may now have more tags than
    /// [`split_into`](crate::segment::split_into) looks behind, which it says itself.
    ///
    /// # Errors
    /// [`VnetError::TooLong`] when the tag makes the frame longer than any port takes, and
    /// [`VnetError::ChecksumPlace`] when the checksum begins inside the tag that goes or is out of
    /// a header's reach. Nothing has been appended then.
    pub fn apply(
        self,
        vnet: VnetHeader,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<VnetHeader, VnetError> {
        let is_tagged = Tci::of(frame).is_some();
        let vnet = match self {
            Self::Tag(_) if !is_tagged => {
                let limit = if vnet.is_super_frame() { MAX_SUPER_FRAME } else { MAX_FRAME };
                let len = frame.len() + TAG_LEN;
                if len > limit {
                    return Err(VnetError::TooLong { len, limit });
                }
                shifted(vnet, |place| place.checked_add(TAG_SHIFT))?
            }
            Self::Untag if is_tagged => shifted(vnet, |place| {
                let moved = place.checked_sub(TAG_SHIFT)?;
                (usize::from(moved) >= HEADER_LEN).then_some(moved)
            })?,
            _ => vnet,
        };
        match self {
            Self::AsIs => out.extend_from_slice(frame),
            Self::Untag => remove_tag(frame, out),
            Self::Tag(vlan) => set_tag(frame, vlan, out),
        }
        Ok(vnet)
    }
}

fn shifted(vnet: VnetHeader, shift: impl Fn(u16) -> Option<u16>) -> Result<VnetHeader, VnetError> {
    let checksum = match vnet.checksum {
        Checksum::Partial { start, offset } => Checksum::Partial {
            start: shift(start).ok_or(VnetError::ChecksumPlace { start, offset })?,
            offset,
        },
        complete => complete,
    };
    Ok(VnetHeader {
        checksum,
        // It is a hint, 0 when there is none; where it cannot follow, there is none any more.
        header_len: match vnet.header_len {
            0 => 0,
            header_len => shift(header_len).unwrap_or(0),
        },
        ..vnet
    })
}
