//! A node's piece of the one Ethernet: its bridge and its part in the mesh, joined.
//!
//! Owns what a frame from a port or from a cable sets off in both: where it goes, what the mesh is told
//! of stations, what the bridge is told of those elsewhere, which ports are blocked and which are
//! guarded. Leaves to the caller the frames, in batches or one by one, the clock, and sending what the
//! mesh has to say. A cable has the same number as a port of the bridge and as a link of the mesh.
//!
//! | I want to know… | Open |
//! |---|---|
//! | where a frame goes | `relay` |
//! | what bridge and mesh tell each other of stations | `stations` |
//! | what happens to probes, and to what has gone around outside | `loops`, `held` |
//! | what only the gateway's port may send | `guarded` |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod guarded;
mod held;
mod loops;
mod relay;
mod stations;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Instant;

use ether::TagAction;
use fabric::{Bridge, Change, DropReason, Floods, Guard, PortId, Station};
use held::Waiting;
use mesh::Mesh;
use mesh::authority::Authority;

pub use guarded::Followed;
pub use held::Held;
pub use relay::Route;

/// What a segment does beside relaying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Whether loops outside are looked for.
    pub probes: bool,
    /// Whether ports are kept from being a DHCP server or a router while there is a gateway.
    pub guards: bool,
    /// Keeps guests from making up frames that look alike.
    pub seed: u64,
}

/// What takes the decisions on one frame.
pub trait Outlet {
    /// The frame leaves by a port, or by the cable of that number, with this done to its tag.
    fn hand(&mut self, egress: PortId, tag: TagAction);

    /// The filtering database has changed; the mesh knows already.
    fn tell(&mut self, change: Change);

    /// Another frame, which came in at this port earlier and was held, goes nowhere.
    fn lose(&mut self, ingress: PortId, reason: DropReason);
}

/// A bridge in a mesh. See the [module](self).
///
/// Whoever tells the bridge or the mesh something by itself calls [`follow`](Self::follow) afterwards.
pub struct Segment<A> {
    /// This node's ports and stations.
    pub bridge: Bridge,
    /// The other nodes.
    pub mesh: Mesh<A>,
    config: Config,
    /// What ports other than the gateway's may not send.
    guard: Guard,
    /// Until when that holds, when nobody is the gateway any more.
    guard_until: Option<Instant>,
    /// The gateway's station, this node's for as long as it is the gateway, heard or not, and its port.
    kept: Option<(Station, PortId)>,
    /// Ports that lead to networks, where a frame may go around.
    networks: BTreeSet<PortId>,
    waiting: Waiting,
    /// Floods of late, once there is such a port.
    floods: Option<Floods>,
    wants_turn: bool,
}

impl<A> fmt::Debug for Segment<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("bridge", &self.bridge)
            .field("mesh", &self.mesh)
            .finish_non_exhaustive()
    }
}

impl<A: Authority> Segment<A> {
    /// Joins a bridge and a mesh, both new.
    pub fn new(bridge: Bridge, mesh: Mesh<A>, config: Config) -> Self {
        Self {
            bridge,
            mesh,
            config,
            guard: Guard::default(),
            guard_until: None,
            kept: None,
            networks: BTreeSet::new(),
            waiting: Waiting::default(),
            floods: None,
            wants_turn: false,
        }
    }

    /// Whether the mesh was told something since this was asked, and may have something to say.
    #[inline]
    pub fn take_wants_turn(&mut self) -> bool {
        std::mem::take(&mut self.wants_turn)
    }

    /// Lets bridge and mesh follow each other.
    pub fn follow(&mut self, outlet: &mut impl Outlet, now: Instant) {
        self.follow_stations();
        self.follow_port_states();
        // Nobody waits for what becomes of a frame.
        let _ = self.follow_changes(None, outlet, now);
    }
}
