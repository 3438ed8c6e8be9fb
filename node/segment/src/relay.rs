//! Where a frame goes: the bridge names its egress, and where that is another node, the mesh names the
//! cable.

use std::time::Instant;

use ether::{FrameHeader, MacAddr, TagAction, VnetHeader};
use fabric::{Classified, Doubt, DropReason, PortId, RemoteId, Verdict};
use mesh::Nick;
use mesh::authority::Authority;
use mesh::engine::{FloodDrop, LinkId, NextHop, ProbeVerdict};
use mesh::framing::Reach;
use mesh::packet;
use mesh::probe::Probe;

use crate::{Held, Outlet, Segment};

/// How a frame is marked on a cable: when it came by one, or when it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Where it entered the mesh.
    pub ingress: Nick,
    /// How many more cables it may cross.
    pub hops: u8,
    /// For whom it is.
    pub reach: Reach,
}

impl<A: Authority> Segment<A> {
    /// The route of a frame that leaves by no cable.
    #[inline]
    pub fn nowhere(&self) -> Route {
        Route { ingress: self.mesh.nick(), hops: 0, reach: Reach::Unicast { egress: None } }
    }

    /// Hands out a frame from an access port of this node, and says how it is marked on cables. It may
    /// also be [held](Self::poll_held), with what is still to be done to it.
    ///
    /// # Errors
    /// Why it goes nowhere.
    #[inline]
    pub fn handle_own(
        &mut self,
        ingress: PortId,
        (bytes, vnet): (&[u8], &VnetHeader),
        outlet: &mut impl Outlet,
        now: Instant,
    ) -> Result<Route, DropReason> {
        if Probe::is_probe(bytes) && self.handle_probe(ingress, bytes, now) == ProbeVerdict::Taken {
            return Ok(self.nowhere());
        }
        let header = FrameHeader::parse(bytes)?;
        // First: it is no offence of that port's that others' frames come back by it.
        if header.destination.is_group() && self.has_returned(ingress, &header, bytes, now) {
            return Err(DropReason::Returned);
        }
        self.inspect(ingress, bytes)?;
        let mut verdict = self.bridge.handle_frame(ingress, &header, now);
        if let Verdict::Doubtful(doubt) = verdict {
            if self.has_returned(ingress, &header, bytes, now) {
                return Err(DropReason::Returned);
            }
            if doubt == Doubt::Elsewhere && self.hold(ingress, &header, (bytes, vnet), now) {
                return Ok(self.nowhere());
            }
            verdict = self.bridge.handle_believed(ingress, &header, now);
        }
        self.hand_out(ingress, &header, bytes, verdict, outlet, now)
    }

    /// Hands out a frame that [was held](Self::poll_held), as [`handle_own`](Self::handle_own) does.
    ///
    /// # Errors
    /// Why it goes nowhere.
    pub fn handle_held(
        &mut self,
        held: &Held,
        outlet: &mut impl Outlet,
        now: Instant,
    ) -> Result<Route, DropReason> {
        let header = FrameHeader::parse(&held.bytes)?;
        let verdict = self.bridge.handle_believed(held.port, &header, now);
        self.hand_out(held.port, &header, &held.bytes, verdict, outlet, now)
    }

    #[inline]
    fn hand_out(
        &mut self,
        ingress: PortId,
        header: &FrameHeader,
        bytes: &[u8],
        verdict: Verdict,
        outlet: &mut impl Outlet,
        now: Instant,
    ) -> Result<Route, DropReason> {
        self.follow_changes(Some((header, bytes)), outlet, now)?;
        match verdict {
            Verdict::Drop(reason) => Err(reason),
            Verdict::Forward { egress, tag } => {
                outlet.hand(egress, tag);
                Ok(self.nowhere())
            }
            Verdict::Remote { owner, frame } => {
                let egress = Nick::new(owner.0).ok_or(DropReason::NoEgress)?;
                let hops = self.mesh.initial_hops(egress);
                let NextHop::Link(cable) = self.mesh.next_hop(egress, None, flow(header)) else {
                    return Err(DropReason::NoEgress);
                };
                outlet.hand(PortId(cable.0), frame.trunk_tag());
                let reach = Reach::Unicast { egress: Some(egress) };
                Ok(Route { ingress: self.mesh.nick(), hops, reach })
            }
            Verdict::Flood(frame) => {
                let waited = self.note_flood(Some(ingress), frame, bytes, outlet, now);
                self.hand_to_ports(Some(ingress), frame, &waited, outlet);
                let ingress = self.mesh.nick();
                let (sequence, hops, cables) = self.mesh.originate_flood();
                for cable in cables {
                    outlet.hand(PortId(cable.0), frame.trunk_tag());
                }
                Ok(Route { ingress, hops, reach: Reach::Flood { sequence } })
            }
            // One that is believed is not doubted.
            Verdict::Doubtful(_) => Ok(self.nowhere()),
        }
    }

    /// Hands out a frame that came by a cable, and says how it is marked on others.
    ///
    /// # Errors
    /// Why it goes nowhere.
    #[inline]
    pub fn handle_from_cable(
        &mut self,
        cable: PortId,
        origin: Route,
        bytes: &[u8],
        outlet: &mut impl Outlet,
        now: Instant,
    ) -> Result<Route, DropReason> {
        let from = LinkId(cable.0);
        if let Reach::Node { egress } = origin.reach {
            return match self.mesh.next_hop(egress, Some(from), packet::flow(bytes)) {
                NextHop::Here => {
                    self.mesh.handle_packet(origin.ingress, origin.hops, bytes, now);
                    Ok(self.nowhere())
                }
                NextHop::Link(next) => pass_on(next, origin, outlet),
                NextHop::Back | NextHop::Unreachable => Err(DropReason::NoEgress),
            };
        }
        let header = FrameHeader::parse(bytes)?;
        match origin.reach {
            Reach::Node { .. } => Err(DropReason::NoEgress),
            Reach::Unicast { egress } => {
                let egress = egress.ok_or(DropReason::NoEgress)?;
                match self.mesh.next_hop(egress, Some(from), flow(&header)) {
                    NextHop::Here => self.handle_unicast(origin, &header, outlet, now),
                    NextHop::Link(next) => pass_on(next, origin, outlet),
                    NextHop::Back | NextHop::Unreachable => Err(DropReason::NoEgress),
                }
            }
            Reach::Flood { sequence } => {
                let onward =
                    self.mesh.flood(origin.ingress, sequence, from).map_err(flood_drop_reason)?;
                let ingress = RemoteId(origin.ingress.get());
                let verdict =
                    self.bridge.handle_from_cable(ingress, &header, fabric::Reach::Flood, now);
                // What the bridge takes for a storm or a loop goes no further. Of the latter, what goes
                // around outside as well is to be known when it is back.
                if let Verdict::Drop(reason) = verdict {
                    if reason == DropReason::LocalSource {
                        self.note_flood(None, Classified::by_tag(&header), bytes, outlet, now);
                    }
                    return Err(reason);
                }
                let hops = origin.hops.checked_sub(1);
                if hops.is_some() {
                    for next in onward {
                        outlet.hand(PortId(next.0), TagAction::AsIs);
                    }
                }
                match verdict {
                    Verdict::Forward { egress, tag } => outlet.hand(egress, tag),
                    Verdict::Flood(frame) => {
                        let waited = self.note_flood(None, frame, bytes, outlet, now);
                        self.hand_to_ports(None, frame, &waited, outlet);
                    }
                    Verdict::Drop(_) | Verdict::Remote { .. } | Verdict::Doubtful(_) => {}
                }
                Ok(Route { hops: hops.unwrap_or(0), ..origin })
            }
        }
    }

    /// A frame for a station of this node came by a cable.
    #[inline]
    fn handle_unicast(
        &mut self,
        origin: Route,
        header: &FrameHeader,
        outlet: &mut impl Outlet,
        now: Instant,
    ) -> Result<Route, DropReason> {
        let ingress = RemoteId(origin.ingress.get());
        match self.bridge.handle_from_cable(ingress, header, fabric::Reach::Unicast, now) {
            Verdict::Drop(DropReason::NotHere) => {
                let port = self.handle_stray(header, now).ok_or(DropReason::NotHere)?;
                outlet.hand(port, TagAction::AsIs);
            }
            Verdict::Drop(reason) => return Err(reason),
            Verdict::Forward { egress, tag } => outlet.hand(egress, tag),
            Verdict::Flood(frame) => self.hand_to_ports(None, frame, &[], outlet),
            Verdict::Remote { .. } | Verdict::Doubtful(_) => return Err(DropReason::NotHere),
        }
        Ok(Route { hops: 0, ..origin })
    }

    #[inline]
    fn hand_to_ports(
        &self,
        ingress: Option<PortId>,
        frame: Classified,
        except: &[PortId],
        outlet: &mut impl Outlet,
    ) {
        let ports = self.bridge.flood_ports(ingress, frame);
        for (egress, tag) in ports.filter(|(port, _)| !except.contains(port)) {
            outlet.hand(egress, tag);
        }
    }
}

/// Hands what is for another node to the cable that is next on the way.
#[inline]
fn pass_on(next: LinkId, origin: Route, outlet: &mut impl Outlet) -> Result<Route, DropReason> {
    let hops = origin.hops.checked_sub(1).ok_or(DropReason::HopLimit)?;
    outlet.hand(PortId(next.0), TagAction::AsIs);
    Ok(Route { hops, ..origin })
}

fn flood_drop_reason(drop: FloodDrop) -> DropReason {
    match drop {
        FloodDrop::ReversePath => DropReason::ReversePath,
        FloodDrop::UnknownIngress | FloodDrop::UnknownLink => DropReason::UnknownIngress,
        FloodDrop::Repeated | FloodDrop::TooOld | FloodDrop::Own => DropReason::RepeatedFlood,
    }
}

/// Frames of one conversation have the same: they must not overtake each other on two equally good
/// ways.
#[inline]
fn flow(header: &FrameHeader) -> u32 {
    let mix = |mac: MacAddr| {
        let [_, _, a, b, c, d] = mac.0;
        u32::from_be_bytes([a, b, c, d])
    };
    // Multiplicative hashing (Knuth, The Art of Computer Programming 3, 6.4); the high bits are the
    // good ones.
    (mix(header.source).rotate_left(16) ^ mix(header.destination)).wrapping_mul(0x9e37_79b9) >> 16
}
