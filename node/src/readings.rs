//! What the data plane copies for a request: plain data, with as little work as can be. Text and
//! order are made of it elsewhere, in [`crate::views`].

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cable::trust::MemberView;
use control::Answer;
use control::status::CableStatus;
use ether::{MacAddr, VlanId};
use fabric::{Location, PortId, Snapshot};
use mesh::Nick;
use mesh::authority::NodeKey;
use mesh::engine::{CableView, EchoError, EchoOutcome, NodeView, PortState};
use mesh::packet::SeenStation;
use tokio::task::JoinSet;

use crate::driver::{Shard, now, unix_seconds};
use crate::plane::Plane;
use crate::port::{Counters, Endpoint, Peer, Port};
use crate::reporter::given_names;
use crate::status::description_of;

/// What came of a request on the data plane.
#[derive(Debug)]
pub(crate) enum Reading {
    /// There is no more to do.
    Ready(Answer),
    Ports(Vec<PortReading>),
    Macs(Box<MacsReading>),
    Nodes(Box<NodesReading>),
    Cables(Vec<CableReading>),
    Trace(Box<TraceReading>),
    Ping(Box<PingReading>),
}

impl From<Answer> for Reading {
    fn from(answer: Answer) -> Self {
        Self::Ready(answer)
    }
}

/// A port in use.
#[derive(Debug, Clone)]
pub(crate) struct PortReading {
    pub(crate) port: PortId,
    pub(crate) kind: &'static str,
    pub(crate) description: String,
    pub(crate) blocked: bool,
    pub(crate) listening: bool,
    pub(crate) peer: Option<Peer>,
    pub(crate) max_frame: usize,
    pub(crate) offload: bool,
    pub(crate) counters: Counters,
}

/// The nodes, and what this node's operator calls them.
#[derive(Debug)]
pub(crate) struct Nodes {
    pub(crate) known: Vec<NodeView>,
    pub(crate) given: BTreeMap<NodeKey, String>,
}

/// The port that a station is behind at its own node, and for how long it has been silent.
pub(crate) type Seen = BTreeMap<(NodeKey, VlanId, MacAddr), (u32, Duration)>;

/// Every station.
#[derive(Debug)]
pub(crate) struct MacsReading {
    pub(crate) snapshot: Snapshot,
    pub(crate) ports: Vec<PortReading>,
    pub(crate) nodes: Nodes,
    /// What other nodes say of their stations: the port, and how old.
    pub(crate) seen: Seen,
    /// Which are asked for.
    pub(crate) node: Option<String>,
    pub(crate) vlan: Option<u16>,
}

/// Every node, and the cables of this one.
#[derive(Debug)]
pub(crate) struct NodesReading {
    pub(crate) nodes: Nodes,
    pub(crate) cables: Vec<CableStatus>,
    /// Who is or was a member of the mesh.
    pub(crate) members: Vec<MemberView>,
    /// Seconds since 1970.
    pub(crate) wall: u64,
}

/// A cable, and what the mesh and its port say of it.
#[derive(Debug)]
pub(crate) struct CableReading {
    pub(crate) status: CableStatus,
    pub(crate) mesh: Option<CableView>,
    pub(crate) silent: Option<Duration>,
    pub(crate) counters: Option<Counters>,
}

/// What a way is asked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Station(MacAddr),
    /// By name or key.
    Node(String),
}

/// Where a target is.
#[derive(Debug)]
pub(crate) struct Place {
    /// A station's VLAN.
    pub(crate) vlan: Option<VlanId>,
    /// A station's port, when it is this node's.
    pub(crate) port: Option<PortReading>,
    pub(crate) node: NodeKey,
    /// This node first; empty when there is no way.
    pub(crate) path: Vec<NodeKey>,
}

/// The ways to a target.
#[derive(Debug)]
pub(crate) struct TraceReading {
    pub(crate) target: Target,
    pub(crate) places: Vec<Place>,
    pub(crate) nodes: Nodes,
    /// This node's cables that frames take, by the node to which they lead.
    pub(crate) own_cables: BTreeMap<NodeKey, Vec<String>>,
    pub(crate) cables: Vec<CableStatus>,
}

/// An echo, and whom it was for.
#[derive(Debug)]
pub(crate) struct PingReading {
    pub(crate) target: Target,
    /// The node to be asked, and a station's VLAN. None: there is no such target, or several nodes
    /// are called so.
    pub(crate) place: Option<(NodeKey, Option<VlanId>)>,
    pub(crate) octets: usize,
    pub(crate) wait: Duration,
    /// Not looked at without a place.
    pub(crate) outcome: Result<EchoOutcome, EchoError>,
    pub(crate) nodes: Nodes,
    pub(crate) cables: Vec<CableStatus>,
}

impl Nodes {
    pub(crate) fn read(shard: &Shard, now: Instant) -> Self {
        let known = shard.plane.borrow().mesh().nodes(now);
        Self { known, given: given_names(&shard.trust) }
    }

    /// What a node is called here.
    pub(crate) fn name(&self, node: &NodeView) -> String {
        let given = self.given.get(&node.key);
        given.cloned().unwrap_or_else(|| node.name.as_str().to_owned())
    }

    /// All nodes of that name, or the one with that key.
    pub(crate) fn find(&self, which: &str) -> Vec<&NodeView> {
        let is_meant = |node: &&NodeView| {
            self.given.get(&node.key).is_some_and(|given| given == which)
                || node.name.as_str() == which
                || node.key.to_string() == which
        };
        self.known.iter().filter(is_meant).collect()
    }
}

/// Every port in use, by number.
pub(crate) fn ports(shard: &Shard) -> Vec<PortReading> {
    let plane = shard.plane.borrow();
    plane.ports().map(|(id, port)| read_port(&plane, id, port)).collect()
}

fn read_port(plane: &Plane, id: PortId, port: &Port) -> PortReading {
    let first = port.endpoints.first();
    let is_shut = plane.segment.bridge.is_blocked(id);
    let in_loop = plane.mesh().port_state(mesh::engine::PortId(id.0)) == PortState::Blocked;
    PortReading {
        port: id,
        kind: first.map(|endpoint| endpoint.io.kind()).unwrap_or_default(),
        description: description_of(port),
        blocked: is_shut && in_loop,
        listening: is_shut && !in_loop,
        peer: first.and_then(|endpoint| endpoint.peer),
        max_frame: port.endpoints.iter().map(|e| e.max_frame).min().unwrap_or(0),
        offload: port.endpoints.iter().all(Endpoint::has_offload),
        counters: port.counters.clone(),
    }
}

/// Every station. Other nodes are asked behind which of their ports theirs are; of those that do not
/// answer soon, that is not known.
pub(crate) async fn macs(
    shard: &Rc<Shard>,
    node: Option<String>,
    vlan: Option<u16>,
) -> Box<MacsReading> {
    let nodes = Nodes::read(shard, now());
    let wanted: Option<Vec<NodeKey>> =
        node.as_deref().map(|which| nodes.find(which).into_iter().map(|node| node.key).collect());
    let is_wanted =
        |node: &NodeView| wanted.as_ref().is_none_or(|wanted| wanted.contains(&node.key));
    let seen = seen_elsewhere(shard, nodes.known.iter().filter(|node| is_wanted(node))).await;
    let snapshot = shard.plane.borrow().segment.bridge.snapshot(now());
    Box::new(MacsReading { snapshot, ports: ports(shard), nodes, seen, node, vlan })
}

/// What those of these nodes that are other ones, and answer soon, say of their stations.
pub(crate) async fn seen_elsewhere<'a>(
    shard: &Rc<Shard>,
    nodes: impl Iterator<Item = &'a NodeView>,
) -> Seen {
    let mut answers = JoinSet::new();
    for node in nodes.filter(|node| !node.is_own && node.route.is_some() && node.stations > 0) {
        let (shard, key) = (shard.clone(), node.key);
        answers.spawn_local(async move { stations_of(&shard, key).await });
    }
    let mut seen = Seen::new();
    while let Some(answer) = answers.join_next().await {
        seen.extend(answer.into_iter().flatten());
    }
    seen
}

/// How long one answer of another node is waited for, how often it is asked again, and for how much
/// of a large table at most.
const ANSWER_PATIENCE: Duration = Duration::from_millis(300);
const ANSWER_TRIES: u32 = 3;
const ANSWER_PAGES: u32 = 64;

/// What another node says of its stations.
async fn stations_of(
    shard: &Shard,
    node: NodeKey,
) -> Vec<((NodeKey, VlanId, MacAddr), (u32, Duration))> {
    let mut seen = Vec::new();
    let mut from = (VlanId::ZERO, MacAddr([0; 6]));
    let (mut tries, mut pages) = (0, 0);
    while tries < ANSWER_TRIES && pages < ANSWER_PAGES {
        let asked = shard.plane.borrow_mut().ask_stations(&node, from, ANSWER_PATIENCE, now());
        let Some(told) = asked else { break };
        let Ok(Some(answer)) = told.await else {
            tries += 1;
            continue;
        };
        (tries, pages) = (0, pages + 1);
        let of = |station: &SeenStation| {
            let age = Duration::from_millis(station.age.into());
            ((node, station.vlan, station.mac), (station.port, age))
        };
        seen.extend(answer.stations.iter().map(of));
        match answer.stations.last().and_then(|last| following(last.vlan, last.mac)) {
            Some(next) if answer.more && next > from => from = next,
            _ => break,
        }
    }
    seen
}

/// What another node says of some of its untagged stations, the given one first if it has it. `None`:
/// it does not answer.
pub(crate) async fn stations_at(
    shard: &Shard,
    node: Nick,
    from: MacAddr,
) -> Option<Vec<SeenStation>> {
    for _ in 0..ANSWER_TRIES {
        let asked = {
            let mut plane = shard.plane.borrow_mut();
            let nodes = plane.mesh().nodes(now());
            let key = nodes.iter().find(|known| known.nick == node)?.key;
            plane.ask_stations(&key, (VlanId::ZERO, from), ANSWER_PATIENCE, now())?
        };
        if let Ok(Some(answer)) = asked.await {
            return Some(answer.stations);
        }
    }
    None
}

/// The station that would be next in the order of VLAN and address.
fn following(vlan: VlanId, mac: MacAddr) -> Option<(VlanId, MacAddr)> {
    let [a, b, c, d, e, f] = mac.0;
    let place = u64::from_be_bytes([0, 0, a, b, c, d, e, f]) + 1;
    let [_, overflow, a, b, c, d, e, f] = place.to_be_bytes();
    match overflow {
        0 => Some((vlan, MacAddr([a, b, c, d, e, f]))),
        _ => Some((VlanId(vlan.0.checked_add(1)?), MacAddr([0; 6]))),
    }
}

/// Every node.
pub(crate) fn nodes(shard: &Shard) -> Box<NodesReading> {
    let nodes = Nodes::read(shard, now());
    let (cables, members) = (shard.cables.statuses(), shard.trust.members());
    Box::new(NodesReading { nodes, cables, members, wall: unix_seconds() })
}

/// Every cable.
pub(crate) fn cables(shard: &Shard) -> Vec<CableReading> {
    let now = now();
    let plane = shard.plane.borrow();
    let views = plane.mesh().cables(now);
    let mut views: BTreeMap<_, _> = views.into_iter().map(|view| (view.link.0, view)).collect();
    let cables = shard.cables.statuses().into_iter().map(|status| {
        let port = status.port.map(PortId);
        CableReading {
            mesh: port.and_then(|port| views.remove(&port.0)),
            silent: port.and_then(|port| shard.reporter.silent_for(port, now)),
            counters: port.and_then(|port| Some(plane.port(port)?.counters.clone())),
            status,
        }
    });
    cables.collect()
}

/// The ways to a target.
pub(crate) fn trace(shard: &Shard, target: &str, vlan: Option<u16>) -> Box<TraceReading> {
    let now = now();
    let nodes = Nodes::read(shard, now);
    let plane = shard.plane.borrow();
    let path = |node: &NodeKey| plane.mesh().path(node);
    let (target, places) = match target.parse() {
        Ok(mac) => {
            let own = nodes.known.iter().find(|node| node.is_own).map(|node| node.key);
            let vlans = vlan.map_or(0..=VlanId::MAX.0, |vlan| vlan..=vlan);
            let found = vlans.map(VlanId).filter_map(|vlan| {
                let location = plane.segment.bridge.locate(vlan, mac, now)?;
                let (port, node) = match location {
                    Location::Port(id) => {
                        (plane.port(id).map(|port| read_port(&plane, id, port)), own?)
                    }
                    Location::Remote(owner) => {
                        let owner = nodes.known.iter().find(|node| node.nick.get() == owner.0)?;
                        (None, owner.key)
                    }
                };
                Some(Place { vlan: Some(vlan), port, node, path: path(&node) })
            });
            (Target::Station(mac), found.collect())
        }
        Err(_) => {
            let found = nodes.find(target).into_iter();
            let place = |node: &NodeView| {
                let path = path(&node.key);
                Place { vlan: None, port: None, node: node.key, path }
            };
            (Target::Node(target.to_owned()), found.map(place).collect())
        }
    };
    let mut own_cables = BTreeMap::<_, Vec<_>>::new();
    for view in plane.mesh().cables(now).into_iter().filter(|view| view.up_for.is_some()) {
        let id = shard.reporter.cable_at(PortId(view.link.0));
        own_cables.entry(view.peer).or_default().extend(id.map(|id| id.to_string()));
    }
    let cables = shard.cables.statuses();
    Box::new(TraceReading { target, places, nodes, own_cables, cables })
}

/// Sends an echo request to a node, or to the one that a station is behind, and waits for what
/// becomes of it.
pub(crate) async fn ping(
    shard: &Shard,
    target: &str,
    vlan: Option<u16>,
    octets: usize,
    wait: Duration,
) -> Box<PingReading> {
    let (target, place) = ping_place(shard, target, vlan);
    let mut outcome = Err(EchoError::Unreachable);
    if let Some((node, _)) = place {
        let sent = shard.plane.borrow_mut().send_echo(&node, octets, wait, now());
        outcome = match sent {
            // Nobody tells when the data plane ends first.
            Ok(told) => Ok(told.await.unwrap_or(EchoOutcome::Lost)),
            Err(err) => Err(err),
        };
    }
    let nodes = Nodes::read(shard, now());
    let cables = shard.cables.statuses();
    Box::new(PingReading { target, place, octets, wait, outcome, nodes, cables })
}

fn ping_place(
    shard: &Shard,
    target: &str,
    vlan: Option<u16>,
) -> (Target, Option<(NodeKey, Option<VlanId>)>) {
    let now = now();
    let nodes = Nodes::read(shard, now);
    let Ok(mac) = target.parse() else {
        let place = match nodes.find(target)[..] {
            [node] => Some((node.key, None)),
            _ => None,
        };
        return (Target::Node(target.to_owned()), place);
    };
    let plane = shard.plane.borrow();
    let mut vlans = vlan.map_or(0..=VlanId::MAX.0, |vlan| vlan..=vlan).map(VlanId);
    let place = vlans.find_map(|vlan| {
        let nick = match plane.segment.bridge.locate(vlan, mac, now)? {
            Location::Port(_) => plane.mesh().nick().get(),
            Location::Remote(owner) => owner.0,
        };
        let node = nodes.known.iter().find(|node| node.nick.get() == nick)?;
        Some((node.key, Some(vlan)))
    });
    (Target::Station(mac), place)
}
