//! How an operator changes VLANs. Nothing here is on a frame's way.

use std::collections::BTreeMap;

use ether::VlanId;

use super::{Bridge, BridgePort};
use crate::port::{PortId, PortKind};
use crate::vlan::{Memberships, VlanError, VlanPolicy, VlanSnapshot};

#[cfg(test)]
mod tests;

/// VLANs. They exist for VLAN-aware ports to be members of; transparent ports carry all in any
/// case.
///
/// Whenever the VLANs of a port change, the stations behind it are forgotten. A change that changes
/// nothing succeeds and forgets nothing.
impl Bridge {
    /// Creates a VLAN, 1 to 4094, without members. At the beginning only VLAN 0 exists.
    ///
    /// # Errors
    /// [`VlanError::OutOfRange`] and [`VlanError::Exists`].
    pub fn create_vlan(&mut self, vlan: VlanId) -> Result<(), VlanError> {
        check_range(vlan)?;
        if self.vlans.insert(vlan) { Ok(()) } else { Err(VlanError::Exists(vlan)) }
    }

    /// Removes a VLAN that has no members left. Its frames still pass between transparent ports.
    ///
    /// # Errors
    /// [`VlanError::OutOfRange`], [`VlanError::UnknownVlan`] and [`VlanError::InUse`].
    pub fn remove_vlan(&mut self, vlan: VlanId) -> Result<(), VlanError> {
        check_range(vlan)?;
        self.check_exists(vlan)?;
        let is_member = |vlans: &Memberships| vlans.membership(vlan).is_some();
        if let Some((port, _)) = self.aware_ports().find(|(_, vlans)| is_member(vlans)) {
            return Err(VlanError::InUse { vlan, port });
        }
        self.vlans.remove(vlan);
        Ok(())
    }

    /// Every VLAN that exists with its members, in the order of VLANs.
    pub fn vlans(&self) -> Vec<VlanSnapshot> {
        let mut members: BTreeMap<_, _> =
            self.vlans.iter().map(|vlan| (vlan, Vec::new())).collect();
        for (port, vlans) in self.aware_ports() {
            for (vlan, membership) in vlans.iter() {
                members.entry(vlan).or_default().push((port, membership));
            }
        }
        let snapshots = members.into_iter();
        snapshots.map(|(vlan, members)| VlanSnapshot { vlan, members }).collect()
    }

    /// Which VLANs a port carries; `None` when there is no such port.
    pub fn vlan_policy(&self, port: PortId) -> Option<VlanPolicy> {
        let policy = match &self.port(port)?.vlans {
            None => VlanPolicy::Transparent,
            Some(vlans) => VlanPolicy::Aware {
                untagged: vlans.untagged,
                tagged: vlans.tagged.iter().collect(),
            },
        };
        Some(policy)
    }

    /// Says which VLANs a port carries.
    ///
    /// # Errors
    /// [`VlanError::UnknownPort`], [`VlanError::Cable`] for anything but
    /// [`VlanPolicy::Transparent`], and [`VlanError::UnknownVlan`].
    pub fn set_vlan_policy(&mut self, port: PortId, policy: &VlanPolicy) -> Result<(), VlanError> {
        let place = self.port(port).ok_or(VlanError::UnknownPort(port))?;
        let vlans = match policy {
            VlanPolicy::Transparent => None,
            VlanPolicy::Aware { .. } if place.kind == PortKind::Cable => {
                return Err(VlanError::Cable(port));
            }
            VlanPolicy::Aware { untagged, tagged } => {
                for vlan in untagged.iter().chain(tagged) {
                    self.check_exists(*vlan)?;
                }
                Some(Memberships::new(*untagged, tagged.iter().copied().collect()))
            }
        };
        self.replace(port, vlans);
        Ok(())
    }

    /// Changes the untagged VLAN of a VLAN-aware port; `None` takes it away. The port is no longer
    /// a member of the one that it had, and carries the new one untagged even if it was tagged.
    ///
    /// # Errors
    /// [`VlanError::UnknownPort`], [`VlanError::Cable`], [`VlanError::Transparent`] and
    /// [`VlanError::UnknownVlan`].
    pub fn set_untagged_vlan(
        &mut self,
        port: PortId,
        vlan: Option<VlanId>,
    ) -> Result<(), VlanError> {
        let vlans = self.memberships(port)?;
        let vlans = Memberships::new(vlan, vlans.tagged.clone());
        vlan.map_or(Ok(()), |vlan| self.check_exists(vlan))?;
        self.replace(port, Some(vlans));
        Ok(())
    }

    /// Makes a VLAN-aware port a tagged member of a VLAN.
    ///
    /// # Errors
    /// Those of [`set_untagged_vlan`](Self::set_untagged_vlan), and [`VlanError::IsUntagged`].
    pub fn add_tagged_vlan(&mut self, port: PortId, vlan: VlanId) -> Result<(), VlanError> {
        let mut vlans = self.tagged_memberships(port, vlan)?;
        vlans.tagged.insert(vlan);
        self.replace(port, Some(vlans));
        Ok(())
    }

    /// Ends the tagged membership of a VLAN-aware port in a VLAN, if there is one.
    ///
    /// # Errors
    /// Those of [`add_tagged_vlan`](Self::add_tagged_vlan).
    pub fn remove_tagged_vlan(&mut self, port: PortId, vlan: VlanId) -> Result<(), VlanError> {
        let mut vlans = self.tagged_memberships(port, vlan)?;
        vlans.tagged.remove(vlan);
        self.replace(port, Some(vlans));
        Ok(())
    }

    /// Keeps the promises that hang on a port's VLANs, after they changed in any way.
    pub(super) fn vlans_changed(&mut self, port: PortId) {
        let is_vlan_aware = self.aware_ports().next().is_some();
        self.is_vlan_aware = is_vlan_aware;
        self.fdb.forget_port(port);
    }

    fn aware_ports(&self) -> impl Iterator<Item = (PortId, &Memberships)> {
        let numbered = (0..).map(PortId).zip(&self.ports);
        numbered.filter_map(|(id, port)| Some((id, port.as_ref()?.vlans.as_deref()?)))
    }

    fn check_exists(&self, vlan: VlanId) -> Result<(), VlanError> {
        if self.vlans.contains(vlan) { Ok(()) } else { Err(VlanError::UnknownVlan(vlan)) }
    }

    fn memberships(&self, port: PortId) -> Result<&Memberships, VlanError> {
        let place = self.port(port).ok_or(VlanError::UnknownPort(port))?;
        place.vlans.as_deref().ok_or(match place.kind {
            PortKind::Access => VlanError::Transparent(port),
            PortKind::Cable => VlanError::Cable(port),
        })
    }

    fn tagged_memberships(&self, port: PortId, vlan: VlanId) -> Result<Memberships, VlanError> {
        let vlans = self.memberships(port)?;
        self.check_exists(vlan)?;
        if vlans.untagged == Some(vlan) {
            return Err(VlanError::IsUntagged { vlan, port });
        }
        Ok(vlans.clone())
    }

    fn replace(&mut self, port: PortId, vlans: Option<Memberships>) {
        let Some(Some(BridgePort { vlans: place, .. })) = self.ports.get_mut(port.index()) else {
            return;
        };
        if place.as_deref() != vlans.as_ref() {
            *place = vlans.map(Box::new);
            self.vlans_changed(port);
        }
    }
}

fn check_range(vlan: VlanId) -> Result<(), VlanError> {
    if vlan == VlanId::ZERO || vlan > VlanId::MAX {
        Err(VlanError::OutOfRange(vlan))
    } else {
        Ok(())
    }
}
