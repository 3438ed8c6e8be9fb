//! VLANs: which one a frame is in, which ports carry it, and with which tag it leaves.
//!
//! A port is either transparent or VLAN-aware. Cables are always transparent, so that a VLAN
//! reaches every node. [`Bridge`](crate::Bridge) applies these rules:
//!
//! | frame | from a transparent port | from a VLAN-aware port |
//! |---|---|---|
//! | with a tag | the tag's VLAN | the tag's VLAN, if the port is a member |
//! | with a priority tag (VLAN 0) | VLAN 0 | as untagged; VLAN 0 if the port carries that tagged |
//! | untagged | VLAN 0 | the port's untagged VLAN, if it has one |
//!
//! | VLAN | through a transparent port | through a VLAN-aware port |
//! |---|---|---|
//! | 0 | as it came | as its membership says |
//! | any other | with its tag | as its membership says |
//!
//! Source: IEEE 802.1Q-2022 6.9 and 8.6, with VDE's switch as the model where the standard leaves
//! a choice: a tagged frame in the port's own untagged VLAN is accepted, and a service tag (0x88a8)
//! is payload. It departs from VDE's switch in that priority and drop eligibility are kept when a
//! tag changes, and in that an aware port takes a priority-tagged frame into its untagged VLAN, as
//! the standard demands, where VDE drops it unless the port carries VLAN 0.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use ether::{FrameHeader, TagAction, VlanId};

use crate::port::PortId;

/// Which VLANs a port carries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum VlanPolicy {
    /// All, whether they exist in the bridge or not, each frame with the tag with which it came.
    #[default]
    Transparent,
    /// Only those of which it is a member; they must exist in the bridge.
    Aware {
        /// The VLAN of frames without a tag, whose frames leave without one (the standard's PVID).
        /// `None`: they are dropped, and no frame leaves untagged.
        untagged: Option<VlanId>,
        /// The VLANs whose frames have a tag. The untagged VLAN, should it be among them, is left
        /// out.
        tagged: BTreeSet<VlanId>,
    },
}

/// How the frames of a VLAN leave through a member port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Membership {
    /// Without a tag.
    Untagged,
    /// With a tag.
    Tagged,
}

/// A VLAN that exists in the bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlanSnapshot {
    /// The VLAN.
    pub vlan: VlanId,
    /// Its members, ascending. Transparent ports, which carry it as well, are not listed.
    pub members: Vec<(PortId, Membership)>,
}

/// A change to VLANs was refused. Everything is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VlanError {
    /// Outside of what can be created and removed; VLAN 0 always exists.
    #[error("{0} is not a VLAN that can be created or removed; use 1 to {max}", max = VlanId::MAX)]
    OutOfRange(VlanId),
    /// It cannot be created twice.
    #[error("VLAN {0} exists already")]
    Exists(VlanId),
    /// It has not been created.
    #[error("VLAN {0} does not exist; create it first")]
    UnknownVlan(VlanId),
    /// It still has a member.
    #[error("VLAN {vlan} is in use by port {port}; take the port out of it first")]
    InUse {
        /// The VLAN.
        vlan: VlanId,
        /// Its lowest member.
        port: PortId,
    },
    /// The bridge has no such port.
    #[error("there is no port {0}")]
    UnknownPort(PortId),
    /// A cable carries every VLAN.
    #[error("port {0} is a cable and carries every VLAN; its VLANs are chosen at its ends' ports")]
    Cable(PortId),
    /// The port has no list of VLANs that could be changed.
    #[error("port {0} is transparent and carries every VLAN; make it VLAN-aware first")]
    Transparent(PortId),
    /// A port carries a VLAN either untagged or tagged.
    #[error("VLAN {vlan} is untagged on port {port}; give the port another untagged VLAN first")]
    IsUntagged {
        /// The VLAN.
        vlan: VlanId,
        /// The port.
        port: PortId,
    },
}

/// The VLAN of a frame, and what its tag says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classified {
    /// The VLAN.
    pub vlan: VlanId,
    /// The tag with which the frame came.
    pub carried: CarriedTag,
}

/// The outer tag of a frame, compared with the VLAN in which the frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarriedTag {
    /// There is none.
    None,
    /// It names the VLAN.
    Same,
    /// It carries a priority alone, and the VLAN is not 0.
    Priority,
}

impl Classified {
    /// By the tag alone: what a transparent port does, and the far end of a cable.
    #[inline]
    pub fn by_tag(header: &FrameHeader) -> Self {
        let carried = if header.tagged { CarriedTag::Same } else { CarriedTag::None };
        Self { vlan: header.vlan, carried }
    }

    /// What is to be done to the frame's tag before it leaves by a cable or a transparent port.
    ///
    /// A priority tag stays on a frame of VLAN 0. Not only does the priority reach the other end of
    /// a cable; a second tag behind it does not come to the front either, where the other end would
    /// take it for the frame's VLAN.
    #[inline]
    pub fn trunk_tag(self) -> TagAction {
        match self.carried {
            CarriedTag::Same => TagAction::AsIs,
            _ if self.vlan == VlanId::ZERO => TagAction::AsIs,
            CarriedTag::None | CarriedTag::Priority => TagAction::Tag(self.vlan),
        }
    }
}

/// The VLANs of a VLAN-aware port, in the form in which frames are compared with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Memberships {
    pub(crate) untagged: Option<VlanId>,
    /// Without `untagged`.
    pub(crate) tagged: VlanSet,
}

impl Memberships {
    pub(crate) fn new(untagged: Option<VlanId>, mut tagged: VlanSet) -> Self {
        if let Some(vlan) = untagged {
            tagged.remove(vlan);
        }
        Self { untagged, tagged }
    }

    pub(crate) fn membership(&self, vlan: VlanId) -> Option<Membership> {
        if self.untagged == Some(vlan) {
            Some(Membership::Untagged)
        } else {
            self.tagged.contains(vlan).then_some(Membership::Tagged)
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (VlanId, Membership)> {
        let untagged = self.untagged.map(|vlan| (vlan, Membership::Untagged));
        let tagged = self.tagged.iter().map(|vlan| (vlan, Membership::Tagged));
        untagged.into_iter().chain(tagged)
    }

    /// The VLAN of a frame that came in here; `None` when it may not.
    #[inline]
    pub(crate) fn classify(&self, header: &FrameHeader) -> Option<Classified> {
        if header.tagged && self.membership(header.vlan).is_some() {
            return Some(Classified::by_tag(header));
        }
        if header.vlan != VlanId::ZERO {
            return None;
        }
        let carried = if header.tagged { CarriedTag::Priority } else { CarriedTag::None };
        let vlan = self.untagged?;
        Some(Classified { vlan, carried })
    }

    /// With which tag a frame leaves here; `None` when its VLAN does not.
    #[inline]
    pub(crate) fn tag_for(&self, frame: Classified) -> Option<TagAction> {
        let tag = match (self.membership(frame.vlan)?, frame.carried) {
            (Membership::Untagged, CarriedTag::None) => TagAction::AsIs,
            (Membership::Untagged, _) => TagAction::Untag,
            (Membership::Tagged, CarriedTag::Same) => TagAction::AsIs,
            (Membership::Tagged, _) => TagAction::Tag(frame.vlan),
        };
        Some(tag)
    }
}

/// A set of VLANs, one bit for each, so that a frame costs one look.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct VlanSet([u64; Self::WORDS]);

impl VlanSet {
    const WORDS: usize = VlanId::MAX.0 as usize / 64 + 1;

    fn place(vlan: VlanId) -> (usize, u64) {
        (usize::from(vlan.0 / 64), 1 << (vlan.0 % 64))
    }

    #[inline]
    pub(crate) fn contains(&self, vlan: VlanId) -> bool {
        let (word, bit) = Self::place(vlan);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// `false` when it was there already, or is no VLAN.
    pub(crate) fn insert(&mut self, vlan: VlanId) -> bool {
        let (word, bit) = Self::place(vlan);
        let is_new = vlan <= VlanId::MAX && !self.contains(vlan);
        if is_new {
            self.0[word] |= bit;
        }
        is_new
    }

    /// `false` when it was not there.
    pub(crate) fn remove(&mut self, vlan: VlanId) -> bool {
        let (word, bit) = Self::place(vlan);
        let was_there = self.contains(vlan);
        if was_there {
            self.0[word] &= !bit;
        }
        was_there
    }

    /// Ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = VlanId> {
        (0..=VlanId::MAX.0).map(VlanId).filter(|vlan| self.contains(*vlan))
    }
}

impl FromIterator<VlanId> for VlanSet {
    fn from_iter<I: IntoIterator<Item = VlanId>>(vlans: I) -> Self {
        let mut set = Self([0; Self::WORDS]);
        for vlan in vlans {
            set.insert(vlan);
        }
        set
    }
}

impl std::fmt::Debug for VlanSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
