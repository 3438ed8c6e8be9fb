//! The data plane: frames from ports through the bridge to ports, in batches, without a copy.
//!
//! A batch is borrowed from the buffer into which it was received. The bridge names the egress of
//! each frame, each port collects its share as indices, and every port touched is flushed before
//! the call returns. Only a cable whose path is slow keeps a copy.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Instant;

use arrayvec::ArrayVec;
use console::Event;
use ether::segment::SegmentBuffer;
use ether::{FrameHeader, TagAction, VlanId, VnetHeader};
use fabric::{
    Bridge, Classified, DropReason, Location, PortId, PortKind, Reach, RemoteId, Verdict,
    VlanPolicy,
};
use mesh::Nick;
use mesh::flood::{FloodVerdict, FloodWindow};
use tokio::sync::{Notify, broadcast};

use crate::port::{Access, Counters, Endpoint, EndpointId, Peer, Port, PortIo};
use crate::pressure::{Congested, Patience};

/// Frames that are relayed together at most.
pub(crate) const BATCH: usize = 64;

/// Cables that a frame may cross after its first, 63 in all: far more than the diameter of any sane
/// mesh, few enough that a frame in a circle is gone within a millisecond.
pub(crate) const MAX_HOPS: u8 = 62;

/// Plugs that may share a port: each gets a copy of every frame, in one turn of the data plane.
const ENDPOINTS: usize = 64;

/// A frame on its way through the data plane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// The frame itself, borrowed from where it was received.
    pub(crate) bytes: &'a [u8],
    /// What is still to be done to it.
    pub(crate) vnet: VnetHeader,
    /// Where it entered the mesh, when that was not here.
    pub(crate) origin: Option<Origin>,
}

/// Where a frame that came by a cable entered the mesh.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) ingress: Nick,
    /// How many more cables it may cross.
    pub(crate) hops: u8,
    /// Its flood sequence there, when it was flooded.
    pub(crate) flood: Option<u32>,
}

/// A batch.
pub(crate) type Frames<'a> = ArrayVec<Frame<'a>, BATCH>;

/// How a frame is marked when it leaves over a cable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) ingress: Nick,
    /// How many more cables it may cross after the next one; none when it may not cross that.
    pub(crate) hops: Option<u8>,
    /// Its flood sequence, when it is flooded.
    pub(crate) flood: Option<u32>,
}

/// The route of each frame of a batch.
pub(crate) type Routes = ArrayVec<Route, BATCH>;

/// How ports treat VLAN tags, and whether they keep their settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vlans {
    /// Tags pass as they are; a port out of use is forgotten.
    Transparent,
    /// As VDE's switch: each port is in VLAN 0 without tags until it is told otherwise.
    Aware,
}

/// How the plane deals with ports.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Port numbers are below this.
    pub(crate) ports: u32,
    pub(crate) vlans: Vlans,
    /// Who comes and goes.
    pub(crate) events: broadcast::Sender<Event>,
}

/// Whether a user may plug into a port out of use.
fn may_use(access: Access, user: u32) -> bool {
    let in_group = |group| crate::accounts::is_member(user, group);
    user == 0
        || access == Access::default()
        || access.user == Some(user)
        || access.group.is_some_and(in_group)
}

/// Who wants to be plugged in.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) io: PortIo,
    pub(crate) description: String,
    pub(crate) max_frame: usize,
    /// Which process of this host it is, when it is one.
    pub(crate) peer: Option<Peer>,
}

/// Where an endpoint is plugged in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) port: PortId,
    pub(crate) endpoint: EndpointId,
}

/// Why nobody is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("all ports are taken")]
    Full,
    #[error("port {0} is taken by somebody else")]
    Taken(PortId),
    #[error("there is no port {0}")]
    OutOfRange(PortId),
    #[error("port {0} has {ENDPOINTS} plugs already")]
    Crowded(PortId),
    #[error("port {0} is for other users")]
    NotYours(PortId),
}

/// The bridge and its ports.
#[derive(Debug)]
pub(crate) struct Plane {
    pub(crate) bridge: Bridge,
    /// By number. A place is empty until its number is first used.
    ports: Vec<Option<Box<Port>>>,
    /// Those of them that are cables.
    cables: Vec<PortId>,
    next_endpoint: u32,
    pub(crate) settings: Settings,
    nick: Nick,
    /// Of the next frame that is flooded from here.
    next_flood: u32,
    floods: FloodWindow,
    segments: SegmentBuffer,
    /// Frames whose tag had to change for the port that is being flushed.
    retagged: Vec<u8>,
    /// Ports that have a share of the present batch.
    touched: Vec<PortId>,
}

impl Plane {
    pub(crate) fn new(config: fabric::Config, settings: Settings, nick: Nick) -> Self {
        Self {
            bridge: Bridge::new(config),
            ports: vec![None],
            cables: Vec::new(),
            next_endpoint: 1,
            settings,
            nick,
            next_flood: 0,
            floods: FloodWindow::new(),
            segments: SegmentBuffer::new(),
            retagged: Vec::new(),
            touched: Vec::new(),
        }
    }

    /// Whether a newcomer would be let in, and at which port.
    pub(crate) fn admit(&self, wish: Option<PortId>, user: Option<u32>) -> Result<PortId, Denied> {
        let id = match wish {
            Some(id) => id,
            None => self.lowest_free().ok_or(Denied::Full)?,
        };
        if id.0 >= self.settings.ports {
            return Err(Denied::OutOfRange(id));
        }
        match self.port(id).filter(|port| !port.endpoints.is_empty()) {
            Some(port) if user.is_none() || port.user != user => Err(Denied::Taken(id)),
            Some(port) if port.endpoints.len() >= ENDPOINTS => Err(Denied::Crowded(id)),
            Some(_) => Ok(id),
            None => {
                let access = self.port(id).map(|port| port.access).unwrap_or_default();
                if user.is_none_or(|user| may_use(access, user)) {
                    Ok(id)
                } else {
                    Err(Denied::NotYours(id))
                }
            }
        }
    }

    /// Plugs a newcomer in: at the port that it asks for, or at the lowest that is out of use.
    pub(crate) fn plug_in(
        &mut self,
        wish: Option<PortId>,
        newcomer: Newcomer,
    ) -> Result<Place, Denied> {
        let Newcomer { io, description, max_frame, peer } = newcomer;
        let user = peer.map(|peer| peer.uid);
        let port = self.admit(wish, user)?;
        let role = io.role();
        if self.port(port).is_none_or(|port| port.endpoints.is_empty()) {
            self.open(port, role);
        }
        let endpoint = EndpointId(self.next_endpoint);
        self.next_endpoint += 1;
        let words = description.clone();
        let cut = Rc::default();
        let place = self.ports[port.0 as usize].get_or_insert_default();
        place.user = user;
        let patience = Patience::default();
        let id = endpoint;
        place.endpoints.push(Endpoint { id, io, description, max_frame, peer, cut, patience });
        let (number, id) = (port.0, endpoint.0);
        self.tell(Event::EndpointOpened { port: number, endpoint: id });
        self.tell(Event::Described { port: number, endpoint: id, description: words });
        Ok(Place { port, endpoint })
    }

    /// Puts a port into the bridge, with fresh counters.
    fn open(&mut self, port: PortId, role: PortKind) {
        let index = port.0 as usize;
        if index >= self.ports.len() {
            self.ports.resize_with(index + 1, || None);
        }
        let is_new = self.ports[index].is_none();
        self.ports[index].get_or_insert_default().counters = Counters::default();
        self.bridge.add_port(port, role);
        if role == PortKind::Cable {
            self.cables.push(port);
        }
        self.tell(Event::PortOpened { port: port.0 });
        if is_new && self.settings.vlans == Vlans::Aware && role == PortKind::Access {
            let tagged = BTreeSet::new();
            let policy = VlanPolicy::Aware { untagged: Some(VlanId::ZERO), tagged };
            self.bridge.set_vlan_policy(port, &policy).expect("VLAN 0 always exists");
        }
    }

    /// Makes a port that is out of use, for who asks for it by number: that one, or the lowest that
    /// there is not yet.
    pub(crate) fn create(&mut self, wish: Option<PortId>) -> Result<PortId, Denied> {
        let missing = || (1..self.settings.ports).map(PortId).find(|id| self.port(*id).is_none());
        let id = wish.or_else(missing).ok_or(Denied::Full)?;
        if id.0 >= self.settings.ports {
            return Err(Denied::OutOfRange(id));
        }
        if self.port(id).is_some() {
            return Err(Denied::Taken(id));
        }
        self.open(id, PortKind::Access);
        if let Some(port) = self.port_mut(id) {
            port.reserved = true;
        }
        Ok(id)
    }

    /// Forgets a port that is out of use, with its settings.
    pub(crate) fn remove(&mut self, id: PortId) {
        if let Some(place) = self.ports.get_mut(id.0 as usize) {
            *place = None;
            self.bridge.remove_port(id);
        }
        // Number 0 keeps its place: numbers are counted from it.
        while self.ports.len() > 1 && self.ports.last().is_some_and(Option::is_none) {
            self.ports.pop();
        }
    }

    /// Every port that there is, in use or not, by number.
    pub(crate) fn all_ports(&self) -> impl Iterator<Item = (PortId, &Port)> {
        let numbered = (0..).map(PortId).zip(&self.ports);
        numbered.filter_map(|(id, port)| Some((id, port.as_deref()?)))
    }

    pub(crate) fn port_mut(&mut self, id: PortId) -> Option<&mut Port> {
        self.ports.get_mut(id.0 as usize)?.as_deref_mut()
    }

    /// Sets the counters of one port, or of all, to zero.
    pub(crate) fn reset_counters(&mut self, chosen: Option<PortId>) {
        for (id, port) in (0..).map(PortId).zip(&mut self.ports) {
            if let Some(port) = port
                && chosen.is_none_or(|chosen| chosen == id)
            {
                port.counters = Counters::default();
            }
        }
    }

    /// What tells an endpoint that it is wanted out.
    pub(crate) fn cut(&self, place: Place) -> Option<Rc<Notify>> {
        let endpoints = &self.port(place.port)?.endpoints;
        endpoints.iter().find(|known| known.id == place.endpoint).map(|known| known.cut.clone())
    }

    fn tell(&self, event: Event) {
        // Nobody listening is no failure.
        let _ = self.settings.events.send(event);
    }

    fn lowest_free(&self) -> Option<PortId> {
        let is_free = |port: &Option<Box<Port>>| {
            port.as_ref().is_none_or(|port| port.endpoints.is_empty() && !port.reserved)
        };
        // Port 0 is kept for who asks for it: it is VDE's management port.
        let free = self.ports.iter().skip(1).position(is_free);
        let id = PortId(u32::try_from(free.unwrap_or(self.ports.len() - 1) + 1).ok()?);
        (id.0 < self.settings.ports).then_some(id)
    }

    /// Unplugs an endpoint. With its last one a port goes out of use, and what was learned behind
    /// it is forgotten.
    pub(crate) fn unplug(&mut self, place: Place) {
        let Some(port) = self.port_mut(place.port) else {
            return;
        };
        port.endpoints.retain(|known| known.id != place.endpoint);
        let is_last = port.endpoints.is_empty();
        if is_last {
            port.user = None;
            self.cables.retain(|cable| *cable != place.port);
            self.bridge.remove_remotes_of(RemoteId(place.port.0));
            match self.settings.vlans {
                Vlans::Transparent => self.remove(place.port),
                // The port keeps its settings, as VDE's do.
                Vlans::Aware => self.bridge.flush_port(place.port),
            }
        }
        let (port, endpoint) = (place.port.0, place.endpoint.0);
        self.tell(Event::EndpointClosed { port, endpoint });
        if is_last {
            self.tell(Event::PortClosed { port });
        }
    }

    /// The ports in use, by number.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (PortId, &Port)> {
        self.all_ports().filter(|(_, port)| !port.endpoints.is_empty())
    }

    pub(crate) fn port(&self, id: PortId) -> Option<&Port> {
        self.ports.get(id.0 as usize)?.as_deref()
    }

    /// Counts frames that were lost at a port before they were frames.
    pub(crate) fn record_drops(&mut self, port: PortId, reason: DropReason, count: u64) {
        if let Some(Some(port)) = self.ports.get_mut(port.0 as usize) {
            port.counters.drops.record_many(reason, count);
        }
    }

    /// Relays a batch from one ingress. Gives the egress whose queue is filling, if there is one,
    /// so that the ingress may wait.
    pub(crate) fn relay(
        &mut self,
        ingress: PortId,
        frames: &Frames<'_>,
        now: Instant,
    ) -> Option<Congested> {
        let mut routes = Routes::new();
        for (index, frame) in frames.iter().enumerate() {
            let verdict = self.judge(ingress, frame, now);
            let (port_drop, flooded) = match verdict {
                Verdict::Drop(reason) => (Some(reason), false),
                Verdict::Forward { egress, tag } => {
                    self.hand(egress, index, tag);
                    (None, false)
                }
                Verdict::Remote { owner, frame } => {
                    self.hand(PortId(owner.0), index, frame.trunk_tag());
                    (None, false)
                }
                Verdict::Flood(classified) => {
                    self.hand_to_all(ingress, index, classified);
                    (None, true)
                }
            };
            routes.push(self.route(frame, flooded));
            let Some(Some(port)) = self.ports.get_mut(ingress.0 as usize) else {
                continue;
            };
            match port_drop {
                Some(reason) => port.counters.drops.record(reason),
                None => {
                    port.counters.rx_frames += 1;
                    port.counters.rx_bytes += frame.bytes.len() as u64;
                }
            }
        }
        self.flush(frames, &routes)
    }

    fn judge(&mut self, ingress: PortId, frame: &Frame<'_>, now: Instant) -> Verdict {
        let header = match FrameHeader::parse(frame.bytes) {
            Ok(header) => header,
            Err(err) => {
                return Verdict::Drop(DropReason::from(err));
            }
        };
        if let Some(Origin { ingress, flood: Some(sequence), .. }) = frame.origin {
            // A frame of our own that comes back has been everywhere already.
            let repeated = ingress == self.nick
                || self.floods.handle_flood(ingress, sequence) != FloodVerdict::New;
            if repeated {
                return Verdict::Drop(DropReason::RepeatedFlood);
            }
        }
        match frame.origin {
            Some(_) => self.judge_from_cable(ingress, &header, now),
            None => self.bridge.handle_frame(ingress, &header, now),
        }
    }

    /// Until nodes tell each other where their stations are, a cable's number stands for all nodes
    /// behind it, and a frame that comes by it says that its source is one of their stations.
    fn judge_from_cable(&mut self, cable: PortId, header: &FrameHeader, now: Instant) -> Verdict {
        let node = RemoteId(cable.0);
        let mut reach = Reach::Flood;
        if !self.bridge.is_hub() {
            self.bridge.set_remote(header.vlan, header.source, node);
            match self.bridge.locate(header.vlan, header.destination, now) {
                Some(Location::Port(_)) => reach = Reach::Unicast,
                Some(Location::Remote(owner)) if owner == node => {
                    return Verdict::Drop(DropReason::SamePort);
                }
                Some(Location::Remote(owner)) => {
                    return Verdict::Remote { owner, frame: Classified::by_tag(header) };
                }
                None => {}
            }
        }
        self.bridge.handle_from_cable(node, header, reach, now)
    }

    /// How the frame is marked on cables: as it came, one hop less; or as our own.
    fn route(&mut self, frame: &Frame<'_>, flooded: bool) -> Route {
        match frame.origin {
            Some(origin) if origin.flood.is_some() || !flooded => Route {
                ingress: origin.ingress,
                hops: origin.hops.checked_sub(1),
                flood: origin.flood,
            },
            // Not known where the sender thought that it was: it starts anew as a flood from here.
            origin => Route {
                ingress: self.nick,
                hops: origin.map_or(Some(MAX_HOPS), |origin| origin.hops.checked_sub(1)),
                flood: flooded.then(|| {
                    let sequence = self.next_flood;
                    self.next_flood = sequence.wrapping_add(1);
                    sequence
                }),
            },
        }
    }

    fn hand(&mut self, egress: PortId, index: usize, tag: TagAction) {
        give(&mut self.ports, &mut self.touched, egress, index, tag);
    }

    fn hand_to_all(&mut self, ingress: PortId, index: usize, classified: Classified) {
        let cables = self.cables.iter().filter(|cable| **cable != ingress);
        let cables = cables.map(|cable| (*cable, classified.trunk_tag()));
        for (egress, tag) in self.bridge.flood_ports(Some(ingress), classified).chain(cables) {
            give(&mut self.ports, &mut self.touched, egress, index, tag);
        }
    }

    fn flush(&mut self, frames: &Frames<'_>, routes: &Routes) -> Option<Congested> {
        let alone = self.touched.len() == 1;
        let mut congested = None;
        for id in self.touched.drain(..) {
            if let Some(Some(port)) = self.ports.get_mut(id.0 as usize) {
                let full = port.flush(frames, routes, &mut self.segments, &mut self.retagged);
                congested = full.filter(|full| alone || full.is_cable()).or(congested);
            }
        }
        congested
    }
}

/// Adds a frame to a port's share of the batch.
fn give(
    ports: &mut [Option<Box<Port>>],
    touched: &mut Vec<PortId>,
    egress: PortId,
    index: usize,
    tag: TagAction,
) {
    if let Some(Some(port)) = ports.get_mut(egress.0 as usize) {
        if port.share.is_empty() {
            touched.push(egress);
        }
        port.hand(index, tag);
    }
}
