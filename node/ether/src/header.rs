//! What a bridge reads of a frame: addresses and the outer VLAN tag.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::{HEADER_LEN, TAG_LEN};
use crate::mac::MacAddr;

/// EtherType of the customer VLAN tag (IEEE 802.1Q-2022 Table 9-1).
pub const ETHERTYPE_VLAN: u16 = 0x8100;

/// A VLAN identifier, 0 to 4094; 0 means untagged or priority-tagged.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct VlanId(pub u16);

impl VlanId {
    /// Untagged and priority-tagged frames where nothing says otherwise.
    pub const ZERO: Self = Self(0);

    /// The largest identifier, 4094 (IEEE 802.1Q-2022 Table 9-2).
    pub const MAX: Self = Self(4094);
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The frame cannot be relayed, whatever its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter than an Ethernet header, or than the tag it announces.
    #[error("frame of {0} octets is shorter than its header")]
    Runt(usize),
    /// The source is a group address or zero: no station can have sent it (IEEE 802.3-2022 3.2.3).
    #[error("source {0} is not the address of one station")]
    Source(MacAddr),
    /// VLAN identifier 4095 is reserved and never sent (IEEE 802.1Q-2022 Table 9-2).
    #[error("VLAN identifier 4095 is reserved")]
    Vlan,
}

/// The fields of a frame that decide where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Who shall receive it.
    pub destination: MacAddr,
    /// Who sent it; always an individual, non-zero address.
    pub source: MacAddr,
    /// The outer 802.1Q tag's VLAN, or 0.
    pub vlan: VlanId,
    /// Whether there is such a tag. With VLAN 0 it carries a priority alone.
    pub tagged: bool,
}

impl FrameHeader {
    /// Reads the header of a frame.
    ///
    /// # Errors
    /// [`Malformed`] when the frame is too short or its source or tag is impossible.
    #[inline]
    pub fn parse(frame: &[u8]) -> Result<Self, Malformed> {
        let runt = Malformed::Runt(frame.len());
        let (header, rest) = frame.split_first_chunk::<HEADER_LEN>().ok_or(runt)?;
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
        let source = MacAddr([s0, s1, s2, s3, s4, s5]);
        if source.is_group() || source.is_zero() {
            return Err(Malformed::Source(source));
        }
        let mut vlan = VlanId::ZERO;
        let tagged = u16::from_be_bytes([t0, t1]) == ETHERTYPE_VLAN;
        if tagged {
            let tag = rest.first_chunk::<TAG_LEN>().ok_or(runt)?;
            vlan = VlanId(u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff);
            if vlan.0 == 0x0fff {
                return Err(Malformed::Vlan);
            }
        }
        Ok(Self { destination: MacAddr([d0, d1, d2, d3, d4, d5]), source, vlan, tagged })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(source: [u8; 6], tail: &[u8]) -> Vec<u8> {
        [&[0xff; 6][..], &source, tail].concat()
    }

    const STATION: [u8; 6] = [2, 0, 0, 0, 0, 1];

    #[test]
    fn an_untagged_frame_belongs_to_vlan_0() {
        let header = FrameHeader::parse(&frame(STATION, &[0x08, 0x00])).unwrap();
        assert_eq!(header.destination, MacAddr::BROADCAST);
        assert_eq!(header.source, MacAddr(STATION));
        assert_eq!((header.vlan, header.tagged), (VlanId(0), false));
    }

    #[test]
    fn a_priority_tag_is_a_tag_of_vlan_0() {
        let header = FrameHeader::parse(&frame(STATION, &[0x81, 0x00, 0xa0, 0, 8, 0])).unwrap();
        assert_eq!((header.vlan, header.tagged), (VlanId(0), true));
    }

    #[test]
    fn the_outer_tag_names_the_vlan_without_its_priority() {
        let header = FrameHeader::parse(&frame(STATION, &[0x81, 0x00, 0xe0, 0x2a, 8, 0])).unwrap();
        assert_eq!((header.vlan, header.tagged), (VlanId(42), true));
    }

    #[test]
    fn what_no_station_can_send_is_malformed() {
        assert_eq!(FrameHeader::parse(&[0; 13]), Err(Malformed::Runt(13)));
        assert_eq!(
            FrameHeader::parse(&frame(STATION, &[0x81, 0x00, 0x00])),
            Err(Malformed::Runt(15))
        );
        let group = [3, 0, 0, 0, 0, 1];
        assert_eq!(
            FrameHeader::parse(&frame(group, &[8, 0])),
            Err(Malformed::Source(MacAddr(group)))
        );
        assert!(FrameHeader::parse(&frame([0; 6], &[8, 0])).is_err());
        assert_eq!(
            FrameHeader::parse(&frame(STATION, &[0x81, 0, 0x0f, 0xff, 8, 0])),
            Err(Malformed::Vlan)
        );
    }
}
