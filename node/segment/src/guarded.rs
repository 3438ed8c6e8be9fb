//! What only the gateway's port may send, and so no other port of this node. Where no node of the
//! mesh is the gateway, that is nothing.

use std::time::{Duration, Instant};

use ether::{MacAddr, VlanId};
use fabric::{DropReason, GatewayAddress, Guard, GuardConfig, PortId, PortTrust, Station};
use mesh::authority::Authority;
use mesh::engine::{Heard, PortId as MeshPort};
use mesh::record::{GatewayClaim, Offence};

use crate::Segment;

/// How long ports are guarded when the gateway is gone: who waits for it to start again, in order to
/// take its place meanwhile, waits in vain.
const HOLD: Duration = Duration::from_secs(60);

/// What came of looking at the mesh's gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    /// Some node's claim may have changed.
    pub has_changed: bool,
    /// When to look again; `None`: when the mesh has something new.
    pub again: Option<Instant>,
}

impl<A: Authority> Segment<A> {
    /// A port of this node is the gateway's now, and its station is here for as long as the node
    /// has the role, heard or not, and nowhere else.
    pub fn keep_gateway(&mut self, port: PortId, mac: MacAddr, now: Instant) {
        let station = Station { vlan: VlanId::ZERO, mac };
        self.kept = Some((station, port));
        self.mesh.handle_station(station.vlan, mac, Heard::Static, now);
        self.wants_turn = true;
    }

    /// No port of this node is the gateway's any more.
    pub fn release_gateway(&mut self, now: Instant) {
        if let Some((Station { vlan, mac }, _)) = self.kept.take() {
            self.mesh.handle_station(vlan, mac, Heard::Gone, now);
            self.wants_turn = true;
        }
    }

    /// Lets the guard follow who is the gateway.
    pub fn follow_gateways(&mut self, now: Instant) -> Followed {
        let has_changed = self.mesh.poll_gateways_changed();
        if has_changed {
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
        Followed { has_changed, again: self.guard_until }
    }

    fn guard_for(&mut self, serving: Vec<GatewayClaim>) {
        if self.config.guards {
            let guarded = serving.into_iter().filter(|claim| claim.is_guarded);
            let gateways: Vec<GatewayAddress> = guarded.map(address_of).collect();
            self.guard = Guard::new(GuardConfig { servers: !gateways.is_empty(), gateways });
        }
    }

    /// Whether a frame may enter by a port.
    ///
    /// # Errors
    /// Why not; see [`tell_of_offence`](Self::tell_of_offence).
    #[inline]
    pub(crate) fn inspect(&self, port: PortId, frame: &[u8]) -> Result<(), DropReason> {
        let is_gateways = self.kept.is_some_and(|(_, kept)| kept == port);
        let trust = if is_gateways { PortTrust::Trusted } else { PortTrust::Untrusted };
        self.guard.inspect(trust, frame).map_or(Ok(()), Err)
    }

    /// Tells everybody that a frame which came in at a port was dropped for this reason, if that is
    /// because only the gateway may send it.
    #[cold]
    pub fn tell_of_offence(
        &mut self,
        port: PortId,
        name: impl FnOnce() -> String,
        reason: DropReason,
        frame: &[u8],
        now: Instant,
    ) {
        let offence = match reason {
            DropReason::RogueDhcp => Offence::DhcpServer,
            DropReason::RogueRa => Offence::Router,
            DropReason::GatewayClaim => Offence::GatewayAddress,
            _ => return,
        };
        let source = frame.get(6..).and_then(|rest| rest.first_chunk());
        let mac = source.copied().map_or(MacAddr([0; 6]), MacAddr);
        self.mesh.handle_guarded(MeshPort(port.0), &name(), offence, mac, now);
        self.wants_turn = true;
    }
}

fn address_of(claim: GatewayClaim) -> GatewayAddress {
    GatewayAddress { mac: MacAddr(claim.mac), ipv4: claim.ipv4, ipv6: claim.ipv6.into_vec() }
}
