//! What only the gateway's port may send, and so no other port of this node. Where no node of the
//! mesh is the gateway, that is nothing.

use std::time::{Duration, Instant};

use ether::{MacAddr, VlanId};
use fabric::{DropReason, GatewayAddress, Guard, GuardConfig, PortId, PortTrust, Station};
use mesh::engine::{GatewayView, Heard};
use mesh::record::{GatewayClaim, Offence};

use super::Plane;
use crate::status::description_of;

/// How long ports are guarded when the gateway is gone: who waits for it to start again, in order to
/// take its place meanwhile, waits in vain.
const HOLD: Duration = Duration::from_secs(60);

impl Plane {
    /// A port of this node is the gateway's now, and its station is here for as long as the node
    /// has the role, heard or not, and nowhere else.
    pub(crate) fn keep_gateway(&mut self, port: PortId, mac: MacAddr, now: Instant) {
        let station = Station { vlan: VlanId::ZERO, mac };
        self.kept = Some((station, port));
        self.mesh.handle_station(station.vlan, mac, Heard::Static, now);
        self.mesh_wake.notify_one();
    }

    /// No port of this node is the gateway's any more.
    pub(crate) fn release_gateway(&mut self, now: Instant) {
        if let Some((Station { vlan, mac }, _)) = self.kept.take() {
            self.mesh.handle_station(vlan, mac, Heard::Gone, now);
            self.mesh_wake.notify_one();
        }
    }

    /// Says what this node wants of the gateway's role.
    pub(crate) fn claim_gateway(&mut self, claim: Option<GatewayClaim>, now: Instant) {
        self.mesh.set_gateway(claim, now);
        self.mesh_wake.notify_one();
    }

    /// Another node whose claim counts more than one that this node has made since then.
    pub(crate) fn gateway_rival(&self, since: u64) -> Option<GatewayView> {
        self.mesh.gateway_rival(since)
    }

    /// Lets the guard follow who is the gateway. Gives when to come again.
    pub(super) fn follow_gateways(&mut self, now: Instant) -> Option<Instant> {
        if self.mesh.poll_gateways_changed() {
            self.gateways_changed.notify_one();
            let claims = self.mesh.gateways().into_iter().map(|view| view.claim);
            let serving: Vec<GatewayClaim> = claims.filter(|claim| claim.is_active).collect();
            if !serving.is_empty() {
                self.guard_until = None;
                self.guard_for(serving);
            } else if self.guard.is_on() {
                self.guard_until.get_or_insert(now + HOLD);
            }
        }
        if self.guard_until.take_if(|until| now >= *until).is_some() {
            self.guard = Guard::default();
        }
        self.guard_until
    }

    fn guard_for(&mut self, serving: Vec<GatewayClaim>) {
        if self.settings.guards {
            let guarded = serving.into_iter().filter(|claim| claim.is_guarded);
            let gateways: Vec<GatewayAddress> = guarded.map(address_of).collect();
            self.guard = Guard::new(GuardConfig { servers: !gateways.is_empty(), gateways });
        }
    }

    /// Whether a frame may enter by a port.
    ///
    /// # Errors
    /// Why not; everybody is told.
    #[inline]
    pub(super) fn inspect(
        &mut self,
        port: PortId,
        frame: &[u8],
        now: Instant,
    ) -> Result<(), DropReason> {
        let is_gateways = self.kept.is_some_and(|(_, kept)| kept == port);
        let trust = if is_gateways { PortTrust::Trusted } else { PortTrust::Untrusted };
        match self.guard.inspect(trust, frame) {
            None => Ok(()),
            Some(reason) => {
                self.tell_of_offence(port, reason, frame, now);
                Err(reason)
            }
        }
    }

    #[cold]
    fn tell_of_offence(&mut self, id: PortId, reason: DropReason, frame: &[u8], now: Instant) {
        let offence = match reason {
            DropReason::RogueDhcp => Offence::DhcpServer,
            DropReason::RogueRa => Offence::Router,
            _ => Offence::GatewayAddress,
        };
        let source = frame.get(6..).and_then(|rest| rest.first_chunk());
        let mac = source.copied().map_or(MacAddr([0; 6]), MacAddr);
        let name = self.port(id).map(description_of).unwrap_or_default();
        let id = mesh::engine::PortId(id.0);
        self.mesh.handle_guarded(id, &name, offence, mac, now);
        self.mesh_wake.notify_one();
    }
}

fn address_of(claim: GatewayClaim) -> GatewayAddress {
    GatewayAddress { mac: MacAddr(claim.mac), ipv4: claim.ipv4, ipv6: claim.ipv6.into_vec() }
}
