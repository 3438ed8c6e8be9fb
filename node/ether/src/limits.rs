//! Sizes of frames, without the frame check sequence, which no virtual link carries.

/// Destination, source and EtherType: 14 octets (IEEE 802.3-2022 3.1.1).
pub const HEADER_LEN: usize = 14;

/// One 802.1Q tag: 4 octets.
pub const TAG_LEN: usize = 4;

/// The shortest frame on a real wire, without its check sequence (IEEE 802.3-2022 4A.4.2: 64 with).
/// Shorter frames are padded with zeros before they leave.
pub const MIN_FRAME: usize = 60;

/// A full frame of a guest with the usual MTU of 1500.
pub const STANDARD_FRAME: usize = HEADER_LEN + 1500;

/// The longest frame that is relayed: an MTU of 9216 (what jumbo-frame switches agree on, and what
/// `libvdeplug` 4 takes), a header and one tag.
pub const MAX_FRAME: usize = HEADER_LEN + TAG_LEN + 9216;

/// The longest super-frame: the largest IP packet with its Ethernet header and one tag. It
/// exists only together with a virtio-net header that says how to cut it.
pub const MAX_SUPER_FRAME: usize = HEADER_LEN + TAG_LEN + 65_535;
