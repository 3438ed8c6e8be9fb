//! The data plane: the bridge, its ports, and the mesh of other nodes, in one thread's hands.
//!
//! | I want to change… | Open |
//! |---|---|
//! | how a batch of frames gets from port to port | `relay.rs` |
//! | who is plugged in, and where | `admission.rs` |
//! | what only the gateway's port may send | `guarded.rs` |
//! | what bridge, cables and mesh tell each other | `meshed.rs` |
//! | how frames get into a wire and out again | `wired.rs` |

mod admission;
mod guarded;
mod meshed;
mod relay;
mod wired;

use std::collections::BTreeMap;
use std::rc::Rc;

use ::mesh::engine::{EchoId, EchoOutcome, InquiryId};
use ::mesh::packet::Stations;
use ::segment::Segment;
use cable::Notary;
use console::Event;
use ether::segment::SegmentBuffer;
use fabric::{DropReason, PortId};
use tokio::sync::{Notify, broadcast, oneshot};

pub(crate) use ::segment::Route;
pub(crate) use admission::{Denied, Newcomer, Place};
pub(crate) use relay::{BATCH, Frame, Frames, Relayed, Routes};

use crate::port::{Counters, Port};
use crate::wire::Wires;

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
    /// Whether loops outside are looked for.
    pub(crate) probes: bool,
    /// Who comes and goes.
    pub(crate) events: broadcast::Sender<Event>,
}

/// The bridge and its ports.
#[derive(Debug)]
pub(crate) struct Plane {
    /// The bridge and the other nodes. A cable has the same number there as its port has here.
    pub(crate) segment: Segment<Notary>,
    /// By number. A place is empty until its number is first used.
    ports: Vec<Option<Box<Port>>>,
    next_endpoint: u32,
    pub(crate) settings: Settings,
    /// Told when the mesh has something to say or to do.
    pub(crate) mesh_wake: Rc<Notify>,
    /// Who waits for an echo.
    echoes: BTreeMap<EchoId, oneshot::Sender<EchoOutcome>>,
    /// Told when another node's claim to the gateway's role may have changed.
    pub(crate) gateways_changed: Rc<Notify>,
    /// Who waits for the stations of another node.
    inquiries: BTreeMap<InquiryId, oneshot::Sender<Option<Stations>>>,
    segments: SegmentBuffer,
    /// Frames whose tag had to change for the port that is being flushed.
    retagged: Vec<u8>,
    /// Ports that have a share of the present batch.
    touched: Vec<PortId>,
    /// Copies of frames that were handed out in this turn.
    copies: usize,
    /// Links that are worse than they are.
    pub(crate) wires: Wires,
}

impl Plane {
    pub(crate) fn new(segment: Segment<Notary>, settings: Settings) -> Self {
        Self {
            segment,
            ports: vec![None],
            next_endpoint: 1,
            settings,
            mesh_wake: Rc::default(),
            echoes: BTreeMap::new(),
            gateways_changed: Rc::default(),
            inquiries: BTreeMap::new(),
            segments: SegmentBuffer::new(),
            retagged: Vec::new(),
            touched: Vec::new(),
            copies: 0,
            wires: Wires::default(),
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
}
