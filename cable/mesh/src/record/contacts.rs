//! Where a node can be reached from outside the mesh, for those who want a cable to it.

use serde::{Deserialize, Serialize};

use crate::message::{Bounded, Text};

/// The most addresses of one node.
pub const MAX_CONTACTS: usize = 8;

/// An address as people write it, with its port: `192.0.2.1:7667`, `[2001:db8::1]:7667`,
/// `host.example:7667`. The longest host name has 253 octets.
pub type Contact = Text<260>;

/// The body of [`Slot::CONTACTS`](super::Slot::CONTACTS).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Contacts {
    /// The best first.
    pub addresses: Bounded<Contact, MAX_CONTACTS>,
}
