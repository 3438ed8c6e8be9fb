//! Who is plugged in where: admission, the numbers of ports, and their coming and going.

use std::collections::BTreeSet;
use std::rc::Rc;

use console::Event;
use ether::VlanId;
use fabric::{PortId, PortKind, VlanPolicy};
use tokio::sync::Notify;

use super::{Plane, Vlans};
use crate::driver::now;
use crate::port::{Access, Counters, Endpoint, EndpointId, Peer, Port, PortIo};
use crate::pressure::Patience;

/// Plugs that may share a port: each gets a copy of every frame, in one turn of the data plane.
const ENDPOINTS: usize = 64;

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

impl Plane {
    /// Whether a newcomer would be let in, and at which port.
    pub(crate) fn admit(&self, wish: Option<PortId>, user: Option<u32>) -> Result<PortId, Denied> {
        let id = match wish {
            Some(id) => id,
            None => self.lowest_free(user).ok_or(Denied::Full)?,
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
            self.watch_port(port, &io, &description, now());
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
        self.segment.bridge.add_port(port, role);
        self.tell(Event::PortOpened { port: port.0 });
        if is_new && self.settings.vlans == Vlans::Aware && role == PortKind::Access {
            let tagged = BTreeSet::new();
            let policy = VlanPolicy::Aware { untagged: Some(VlanId::ZERO), tagged };
            self.segment.bridge.set_vlan_policy(port, &policy).expect("VLAN 0 always exists");
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
            self.segment.bridge.remove_port(id);
        }
        // Number 0 keeps its place: numbers are counted from it.
        while self.ports.len() > 1 && self.ports.last().is_some_and(Option::is_none) {
            self.ports.pop();
        }
    }

    /// What tells an endpoint that it is wanted out.
    pub(crate) fn cut(&self, place: Place) -> Option<Rc<Notify>> {
        let endpoints = &self.port(place.port)?.endpoints;
        endpoints.iter().find(|known| known.id == place.endpoint).map(|known| known.cut.clone())
    }

    pub(super) fn tell(&self, event: Event) {
        // Nobody listening is no failure.
        let _ = self.settings.events.send(event);
    }

    /// The lowest port out of use that is for everyone, or for that user.
    fn lowest_free(&self, user: Option<u32>) -> Option<PortId> {
        let is_free = |port: &Option<Box<Port>>| {
            port.as_ref().is_none_or(|port| {
                let is_out_of_use = port.endpoints.is_empty() && !port.reserved;
                is_out_of_use && user.is_none_or(|user| may_use(port.access, user))
            })
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
            // A cable's is kept by its id.
            if let Some(wire) = port.wire.take() {
                wire.set_port(None);
            }
            self.forget_port(place.port, now());
            match self.settings.vlans {
                Vlans::Transparent => self.remove(place.port),
                // The port keeps its settings, as VDE's do.
                Vlans::Aware => self.segment.bridge.flush_port(place.port),
            }
        }
        let (port, endpoint) = (place.port.0, place.endpoint.0);
        self.tell(Event::EndpointClosed { port, endpoint });
        if is_last {
            self.tell(Event::PortClosed { port });
        }
    }
}
