//! The gateway's role: what this node wants of it, and what follows for its ports.

use std::time::Instant;

use ether::MacAddr;
use fabric::{DropReason, PortId};
use mesh::engine::GatewayView;
use mesh::record::GatewayClaim;
use segment::Followed;

use super::Plane;
use crate::status::description_of;

impl Plane {
    /// A port of this node is the gateway's now, and its station is here for as long as the node
    /// has the role, heard or not, and nowhere else.
    pub(crate) fn keep_gateway(&mut self, port: PortId, mac: MacAddr, now: Instant) {
        self.segment.keep_gateway(port, mac, now);
        self.wake_mesh();
    }

    /// No port of this node is the gateway's any more.
    pub(crate) fn release_gateway(&mut self, now: Instant) {
        self.segment.release_gateway(now);
        self.wake_mesh();
    }

    /// Says what this node wants of the gateway's role.
    pub(crate) fn claim_gateway(&mut self, claim: Option<GatewayClaim>, now: Instant) {
        self.segment.mesh.set_gateway(claim, now);
        self.mesh_wake.notify_one();
    }

    /// Another node whose claim counts more than one that this node has made since then.
    pub(crate) fn gateway_rival(&self, since: u64) -> Option<GatewayView> {
        self.segment.mesh.gateway_rival(since)
    }

    /// Follows who is the gateway. Gives when to come again.
    pub(super) fn follow_gateways(&mut self, now: Instant) -> Option<Instant> {
        let Followed { has_changed, again } = self.segment.follow_gateways(now);
        if has_changed {
            self.gateways_changed.notify_one();
        }
        again
    }

    /// Tells everybody of a frame that only the gateway may send, if it was dropped for that.
    #[cold]
    pub(super) fn tell_of_offence(
        &mut self,
        port: PortId,
        reason: DropReason,
        frame: &[u8],
        now: Instant,
    ) {
        let port_there = self.ports.get(port.0 as usize).and_then(Option::as_deref);
        let name = || port_there.map(description_of).unwrap_or_default();
        self.segment.tell_of_offence(port, name, reason, frame, now);
    }
}
