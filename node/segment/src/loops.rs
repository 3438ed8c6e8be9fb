//! Loops outside: probes, ports that are blocked, and frames that have gone around.

use std::time::Instant;

use ether::{FrameHeader, VnetHeader};
use fabric::{Classified, DropReason, Floods, PortId};
use mesh::authority::Authority;
use mesh::engine::{PortId as MeshPort, PortState, ProbeVerdict};
use mesh::probe::PortClass;

use crate::{Held, Outlet, Segment};

impl<A: Authority> Segment<A> {
    /// A port leads somewhere now. If that is a network, data pass a little later; what it leads to may
    /// be something else than it was before.
    pub fn port_up(
        &mut self,
        port: PortId,
        class: PortClass,
        name: &str,
        outlet: &mut impl Outlet,
        now: Instant,
    ) {
        if !self.config.probes {
            return;
        }
        if class != PortClass::Guest {
            self.networks.insert(port);
            self.bridge.set_doubtful(port, true);
            self.floods.get_or_insert_with(|| Floods::new(self.config.seed));
        }
        let id = MeshPort(port.0);
        self.mesh.handle_port_up(id, class, name, now);
        // The mesh tells of changes, and takes a port that is new to be open.
        self.bridge.set_blocked(port, self.mesh.port_state(id) != PortState::Open);
        self.wants_turn = true;
        self.follow(outlet, now);
    }

    /// A port leads nowhere for a while; it is blocked, if loops are looked for, until it does again.
    pub fn port_down(&mut self, port: PortId, outlet: &mut impl Outlet, now: Instant) {
        self.forget_port(port, now);
        self.bridge.set_blocked(port, self.config.probes);
        self.follow(outlet, now);
    }

    /// Nothing is plugged in at a port any more.
    pub fn forget_port(&mut self, port: PortId, now: Instant) {
        self.networks.remove(&port);
        self.bridge.set_doubtful(port, false);
        self.mesh.handle_port_down(MeshPort(port.0), now);
        self.wants_turn = true;
    }

    /// The next probe that is due, to leave by a port.
    pub fn poll_probe(&mut self) -> Option<(PortId, Vec<u8>)> {
        self.mesh.poll_probe().map(|(port, frame)| (PortId(port.0), frame))
    }

    /// Blocks and opens ports.
    pub(crate) fn follow_port_states(&mut self) {
        while let Some((port, state)) = self.mesh.poll_block() {
            self.bridge.set_blocked(PortId(port.0), state != PortState::Open);
        }
    }

    #[cold]
    pub(crate) fn handle_probe(
        &mut self,
        port: PortId,
        frame: &[u8],
        now: Instant,
    ) -> ProbeVerdict {
        self.wants_turn = true;
        self.mesh.handle_probe(MeshPort(port.0), frame, now)
    }

    /// Whether a frame that came in at a port and would be flooded has gone around, and is to go nowhere: else it
    /// would go around again, and its station seem to be here. Loops are then looked for at once.
    #[inline]
    pub(crate) fn has_returned(
        &mut self,
        port: PortId,
        header: &FrameHeader,
        frame: &[u8],
        now: Instant,
    ) -> bool {
        let Some(floods) = &self.floods else { return false };
        if !self.networks.contains(&port) || self.bridge.is_blocked(port) {
            return false;
        }
        let vlan = self.bridge.vlan_of(port, header);
        let has_returned = vlan.is_some_and(|vlan| floods.has_returned_by(port, vlan, frame, now));
        if has_returned {
            self.mesh.handle_flapping(now);
            self.wants_turn = true;
        }
        has_returned
    }

    /// Takes note of a flood. What waits because it may be that had gone around; where it does, the
    /// network has it already, and the ports are given.
    #[inline]
    pub(crate) fn note_flood(
        &mut self,
        ingress: Option<PortId>,
        frame: Classified,
        bytes: &[u8],
        outlet: &mut impl Outlet,
        now: Instant,
    ) -> Vec<PortId> {
        let Some(floods) = &mut self.floods else { return Vec::new() };
        let hash = floods.note(ingress, frame.vlan, bytes, now);
        let waited = self.waiting.remove(hash);
        for port in &waited {
            outlet.lose(*port, DropReason::Returned);
            self.mesh.handle_flapping(now);
            self.wants_turn = true;
        }
        waited
    }

    /// Lets a frame wait that may have gone around; `false` if it cannot.
    #[cold]
    pub(crate) fn hold(
        &mut self,
        port: PortId,
        header: &FrameHeader,
        (bytes, vnet): (&[u8], &VnetHeader),
        now: Instant,
    ) -> bool {
        let (Some(floods), Some(vlan)) = (&self.floods, self.bridge.vlan_of(port, header)) else {
            return false;
        };
        let hash = floods.hash(vlan, bytes);
        self.wants_turn = true;
        self.waiting.push(port, bytes, *vnet, hash, now)
    }

    /// The next frame that has waited long enough for [`handle_held`](Self::handle_held).
    pub fn poll_held(&mut self, now: Instant) -> Option<Held> {
        self.waiting.pop_due(now)
    }

    /// When to poll for one.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.next_timeout()
    }
}
