//! What an operator sees of the mesh.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::database::Node;
use super::event::RefusalReason;
use super::{LinkId, Mesh};
use crate::authority::{Authority, NodeKey};
use crate::message::Name;
use crate::nick::Nick;
use crate::record::{Contact, Contacts, GatewayClaim, Incarnation, Slot};

/// What has happened since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Signatures checked.
    pub verified: u64,
    /// Records of other nodes taken.
    pub accepted: u64,
    /// Records that were older than what is known.
    pub outdated: u64,
    /// Digests that were not looked at: a neighbour compares more often than it reads the answers.
    pub digests_dropped: u64,
    /// Records not taken, by reason.
    pub refused: BTreeMap<RefusalReason, u64>,
    /// Records made by this node.
    pub issued: u64,
    /// Times that this node went above records of its own key that it had not made.
    pub overtaken: u64,
    /// Stations of this node that the others are not told of, as there are too many.
    pub untold: u64,
    /// Probes that were stale, not of this mesh, or too many.
    pub probes_ignored: u64,
    /// Packets for this node that it does not know, did not ask for, or has no room for.
    pub packets_ignored: u64,
    /// Times that paths were worked out.
    pub runs: u64,
    /// Alarms not told because there were too many.
    pub alarms_dropped: u64,
    /// Events not polled in time.
    pub events_lost: u64,
    /// Octets of records held now.
    pub record_octets: usize,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// Its key.
    pub key: NodeKey,
    /// Its name.
    pub name: Name,
    /// Its nick.
    pub nick: Nick,
    /// Its epoch.
    pub epoch: u64,
    /// Whether it is this node.
    pub is_own: bool,
    /// The way to it; `None` when there is none.
    pub route: Option<RouteView>,
    /// Its cables, as it says.
    pub links: Vec<LinkView>,
    /// How many stations it claims.
    pub stations: usize,
    /// What it says of the gateway's role.
    pub gateway: Option<GatewayClaim>,
    /// How long ago its link state was replaced.
    pub age: Duration,
}

/// The way to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteView {
    /// Cables on the way.
    pub hops: u16,
    /// Sum of their costs: shortest round trips of late in steps of 100 µs, and two steps for each.
    pub cost: u32,
    /// The first node on it.
    pub next: NodeKey,
}

/// A cable as one end says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkView {
    /// The other end.
    pub peer: NodeKey,
    /// What this end says it costs.
    pub cost: u32,
}

/// One of this node's own cables.
#[derive(Debug, Clone, PartialEq)]
pub struct CableView {
    /// Which.
    pub link: LinkId,
    /// The node at the other end.
    pub peer: NodeKey,
    /// Its name.
    pub peer_name: Name,
    /// For how long it has been in use; `None` while it is not.
    pub up_for: Option<Duration>,
    /// The smoothed round trip of its beats.
    pub round_trip: Option<Duration>,
    /// The share of the other end's beats that do not arrive, 0 to 1.
    pub loss: f32,
    /// What this end says it costs.
    pub cost: u32,
    /// Records that wait to be sent.
    pub pending: usize,
}

/// How full a node's tables are, for whoever watches that they are bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Nodes that are known, this one included; at most [`Config::max_nodes`](super::Config).
    pub nodes: usize,
    /// Octets of records; at most [`Config::max_record_octets`](super::Config).
    pub record_octets: usize,
    /// Claims of other nodes to stations, and the most there may be.
    pub claims: usize,
    /// See above.
    pub max_claims: usize,
    /// This node's own claims, and the most there may be.
    pub own_stations: usize,
    /// See above.
    pub max_own_stations: usize,
    /// Stations whose moves are counted; at most 4096.
    pub moving: usize,
    /// This node's notices; at most [`MAX_NOTICES`](crate::record::MAX_NOTICES).
    pub notices: usize,
    /// Events that wait to be polled; at most 1024.
    pub events: usize,
    /// Beats that wait to be polled: a few for each cable.
    pub beats: usize,
    /// Records and messages that wait for a cable, by name.
    pub pending: usize,
}

impl<A: Authority> Mesh<A> {
    /// How full the tables are. Costs a look at each cable.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            nodes: self.database.len(),
            record_octets: self.database.octets(),
            claims: self.stations.claims_len(),
            max_claims: self.config.max_stations,
            own_stations: self.stations.own_len(),
            max_own_stations: self.config.max_own_stations,
            moving: self.stations.moving_len(),
            notices: self.notices.len(),
            events: self.events.len(),
            beats: self.beats.len(),
            pending: self
                .links
                .values()
                .map(|link| link.pending.len() + link.slots_due.len())
                .sum(),
        }
    }

    /// All nodes that are known, by key.
    pub fn nodes(&self, now: Instant) -> Vec<NodeView> {
        self.database
            .iter()
            .map(|(index, node)| NodeView {
                key: node.key,
                name: node.state.name.clone(),
                nick: node.state.nick,
                epoch: node.incarnation.epoch,
                is_own: node.key == self.config.key,
                route: self.route_to(&node.key),
                links: node
                    .state
                    .links
                    .iter()
                    .map(|link| LinkView { peer: link.peer, cost: link.cost })
                    .collect(),
                stations: if node.key == self.config.key {
                    self.stations.own_len()
                } else {
                    self.stations.count_of(index) as usize
                },
                gateway: self.gateway_claim(node),
                age: now.saturating_duration_since(node.updated),
            })
            .collect()
    }

    /// Where nodes can be reached, as they say, by key.
    pub fn contacts(&self) -> Vec<(NodeKey, Vec<Contact>)> {
        let of = |(_, node): (_, &Node)| {
            let told: Contacts = node.records.get(&Slot::CONTACTS)?.decode()?;
            Some((node.key, told.addresses.into_vec()))
        };
        self.database.iter().filter_map(of).collect()
    }

    /// This node's cables, by number.
    pub fn cables(&self, now: Instant) -> Vec<CableView> {
        self.links
            .values()
            .map(|link| CableView {
                link: link.id,
                peer: link.neighbour.key,
                peer_name: link.neighbour.name.clone(),
                up_for: link
                    .live
                    .alive_since()
                    .filter(|_| link.is_up())
                    .map(|since| now.saturating_duration_since(since)),
                round_trip: link.live.round_trip(),
                loss: link.live.loss(),
                cost: link.cost(),
                pending: link.pending.len(),
            })
            .collect()
    }

    /// The run of a node whose records are kept.
    pub fn incarnation(&self, node: &NodeKey) -> Option<Incarnation> {
        self.database.by_key(node).map(|node| node.incarnation)
    }

    /// The nodes on the way to a node, this one and that one included; empty if there is none.
    pub fn path(&self, to: &NodeKey) -> Vec<NodeKey> {
        let topology = &self.routing.topology;
        let mut path = Vec::new();
        let Some(mut at) = topology.find(to) else { return path };
        while let Some(Some(reach)) = self.routing.reach.get(usize::from(at)) {
            path.push(topology.key(at));
            if reach.parent == at {
                break;
            }
            at = reach.parent;
        }
        path.reverse();
        path
    }

    /// What has happened.
    pub fn counters(&self) -> Counters {
        Counters {
            events_lost: self.events.lost(),
            record_octets: self.database.octets(),
            ..self.counters.clone()
        }
    }

    /// Stands for all that this node knows of the nodes it can reach: equal at two nodes that know
    /// the same.
    pub fn digest(&self) -> u64 {
        self.database.digest()
    }

    fn route_to(&self, key: &NodeKey) -> Option<RouteView> {
        let topology = &self.routing.topology;
        let reach = (*self.routing.reach.get(usize::from(topology.find(key)?))?)?;
        Some(RouteView {
            hops: reach.hops,
            cost: reach.weight.cost(),
            next: topology.key(reach.first),
        })
    }
}
