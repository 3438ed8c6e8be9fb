//! The gateway of a virtual Ethernet: hands out addresses, remembers them on disk, names the
//! machines, and says which rules the kernel needs to let them out.
//!
//! Pure: no socket, no file, no clock, no randomness of its own. Frames, bytes and the time go in
//! through `handle_*`; frames, bytes to store and events come out of `poll_*`. The kernel of the
//! gateway's host answers ARP and ICMP on the tap, forwards and translates.
//!
//! | I want to know… | Open |
//! |---|---|
//! | who gets which address, and why | [`dhcp`] |
//! | what a lease looks like on disk, what a crash can do to it | [`lease_log`] |
//! | what `vm1` resolves to | [`names`] |
//! | what nftables is told, and who else drops our packets | [`nft`] |
//! | what machines learn of IPv6 | [`ra`] |
//! | which subnet is free on this host | [`overlap`] |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod client;
pub mod dhcp;
pub mod hostname;
pub mod lease_log;
pub mod names;
pub mod nft;
pub mod overlap;
pub mod ra;
pub mod subnet;
pub mod time;
mod wire;

pub use client::{ClientKey, ReservedFor};
pub use hostname::{DomainName, Hostname};
pub use subnet::Subnet;
pub use time::{BootId, LeaseTime, Now, UtcTime};
pub use wire::{announcement, claim_of, probe};
