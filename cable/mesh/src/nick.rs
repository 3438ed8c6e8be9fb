//! The short name of a node on the wire.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// The 32-bit name by which records refer to a node; never 0, which means "not known".
///
/// A node draws a new one at random each time it starts. Its flood sequence starts anew with it,
/// so no other node takes the new frames for repetitions of the old ones. With 1024 nodes two
/// draws collide once in about 8000 meshes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nick(NonZeroU32);

impl Nick {
    /// The nick of this value; `None` for 0.
    pub const fn new(value: u32) -> Option<Self> {
        match NonZeroU32::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The value on the wire, 1 to `u32::MAX`.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Nick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for Nick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
