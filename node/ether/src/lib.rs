//! The vocabulary of Ethernet that every other package shares: addresses, checked views of
//! frames, VLAN tags, size limits, and the virtio-net header with which a super-frame travels.
//!
//! Pure: no socket, no clock, no allocation except where a function says so. Names follow
//! IEEE 802.3-2022 and IEEE 802.1Q-2022.
//!
//! | I want… | Open |
//! |---|---|
//! | a station's address | [`mac`] |
//! | destination, source, tag of a frame | [`header`] |
//! | how long a frame may be | [`limits`] |
//! | a tag inserted, replaced or removed | [`vlan`] |
//! | what a virtio-net header says and whether to believe it | [`vnet`] |
//! | one super-frame cut into frames, a checksum completed | [`segment`] |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod header;
pub mod limits;
pub mod mac;
pub mod segment;
pub mod vlan;
pub mod vnet;

pub use header::{FrameHeader, Malformed, VlanId};
pub use mac::MacAddr;
pub use vlan::TagAction;
pub use vnet::VnetHeader;
