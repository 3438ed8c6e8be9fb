//! The graph of the mesh, and the shortest paths in it.
//!
//! Owns what counts as a cable and which of two paths is shorter. All nodes that know the same
//! records come to the same paths, read from either end: the weight of a cable is the same both
//! ways, and equal costs are told apart by numbers drawn from the cables themselves, so that there
//! is one shortest path between two nodes and it is its own reverse.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::database::{Database, NodeIndex};
use crate::authority::NodeKey;
use crate::random::mix;
use crate::record::{LinkEntry, LinkState};

/// Sums of cost in the upper half, sums of the tie-breaking numbers below. Neither overflows: a path
/// has at most 65 535 cables, of at most 16 bits of cost and 40 bits of tie-breaker each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Weight(u128);

impl Weight {
    const TIE_BITS: u32 = 64;

    fn of_link(cost: u32, numbers: (u32, u32)) -> Self {
        let tie = mix(u64::from(numbers.0) << 32 | u64::from(numbers.1)) >> 24;
        Self(u128::from(cost) << Self::TIE_BITS | u128::from(tie))
    }

    fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    pub(super) fn cost(self) -> u32 {
        u32::try_from(self.0 >> Self::TIE_BITS).unwrap_or(u32::MAX)
    }
}

/// A place in the graph: nodes in ascending order of key.
pub(super) type Vertex = u16;

/// Where one end of a cable leads.
#[derive(Debug, Clone, Copy)]
struct Edge {
    to: Vertex,
    weight: Weight,
}

/// A cable of this node's own that both ends name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnLink {
    /// What this node calls it.
    pub(super) number: u32,
    /// Where it leads.
    pub(super) to: Vertex,
    pub(super) weight: Weight,
}

/// What is known of the way from a root to a vertex.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    pub(super) weight: Weight,
    /// The neighbour of the root by which the way begins; the root itself for the root.
    pub(super) first: Vertex,
    /// Cables on the way.
    pub(super) hops: u16,
    /// The vertex before this one.
    pub(super) parent: Vertex,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Topology {
    keys: Vec<NodeKey>,
    indices: Vec<NodeIndex>,
    /// The edges of a vertex are those from its start to the next one's.
    starts: Vec<usize>,
    edges: Vec<Edge>,
    own: Vertex,
    own_links: Vec<OwnLink>,
}

impl Topology {
    /// The graph of all cables that both ends name. `own` is this node's present view of its own
    /// cables, which may be newer than what it has told the others.
    pub(super) fn new(database: &Database, own_key: NodeKey, own: &LinkState) -> Self {
        let mut this = Self::default();
        let mut states: Vec<&LinkState> = Vec::new();
        for (index, node) in database.iter() {
            if node.key == own_key {
                this.own = vertex(states.len());
            }
            states.push(if node.key == own_key { own } else { &node.state });
            this.keys.push(node.key);
            this.indices.push(index);
        }
        for (from, state) in states.iter().enumerate() {
            this.starts.push(this.edges.len());
            for link in state.links.iter() {
                let Ok(to) = this.keys.binary_search(&link.peer) else { continue };
                let from_key = this.keys[from];
                let Some(cost) = agreed_cost(from_key, link, states[to]) else { continue };
                let numbers = if from < to {
                    (link.number, link.peer_number)
                } else {
                    (link.peer_number, link.number)
                };
                let edge = Edge { to: vertex(to), weight: Weight::of_link(cost, numbers) };
                if vertex(from) == this.own {
                    let number = link.number;
                    this.own_links.push(OwnLink { number, to: edge.to, weight: edge.weight });
                }
                // Links are in order of peer: of several cables to one node the lightest counts.
                match this.edges[this.starts[from]..].last_mut() {
                    Some(last) if last.to == edge.to => {
                        last.weight = last.weight.min(edge.weight);
                    }
                    _ => this.edges.push(edge),
                }
            }
        }
        this.starts.push(this.edges.len());
        this
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn own(&self) -> Vertex {
        self.own
    }

    /// This node's cables, in order of peer and number.
    pub(super) fn own_links(&self) -> &[OwnLink] {
        &self.own_links
    }

    pub(super) fn key(&self, vertex: Vertex) -> NodeKey {
        self.keys[usize::from(vertex)]
    }

    pub(super) fn index(&self, vertex: Vertex) -> NodeIndex {
        self.indices[usize::from(vertex)]
    }

    /// The neighbours of a vertex, ascending.
    pub(super) fn neighbours(&self, vertex: Vertex) -> impl Iterator<Item = Vertex> {
        self.edges_of(vertex).iter().map(|edge| edge.to)
    }

    fn edges_of(&self, vertex: Vertex) -> &[Edge] {
        let at = usize::from(vertex);
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(&start), Some(&end)) => &self.edges[start..end],
            _ => &[],
        }
    }

    /// The shortest ways from a root to every vertex that it reaches (Dijkstra 1959).
    pub(super) fn shortest_paths(&self, root: Vertex) -> Vec<Option<Reach>> {
        let mut reached: Vec<Option<Reach>> = vec![None; self.len()];
        let mut done = vec![false; self.len()];
        let mut queue = BinaryHeap::new();
        if let Some(place) = reached.get_mut(usize::from(root)) {
            *place = Some(Reach { weight: Weight::default(), first: root, hops: 0, parent: root });
            queue.push(Reverse((Weight::default(), root)));
        }
        while let Some(Reverse((weight, at))) = queue.pop() {
            if std::mem::replace(&mut done[usize::from(at)], true) {
                continue;
            }
            let here = reached[usize::from(at)].expect("what is queued was reached");
            for edge in self.edges_of(at) {
                let weight = weight.plus(edge.weight);
                let place = &mut reached[usize::from(edge.to)];
                if place.is_some_and(|before| before.weight <= weight) {
                    continue;
                }
                let first = if at == root { edge.to } else { here.first };
                let hops = here.hops.saturating_add(1);
                *place = Some(Reach { weight, first, hops, parent: at });
                queue.push(Reverse((weight, edge.to)));
            }
        }
        reached
    }

    /// The vertices by key, for tests and views.
    pub(super) fn find(&self, key: &NodeKey) -> Option<Vertex> {
        self.keys.binary_search(key).ok().map(vertex)
    }
}

fn vertex(place: usize) -> Vertex {
    Vertex::try_from(place).expect("the database holds fewer nodes")
}

/// What a cable costs if its other end names it too.
fn agreed_cost(from: NodeKey, link: &LinkEntry, other: &LinkState) -> Option<u32> {
    let at = other
        .links
        .binary_search_by(|back| (back.peer, back.number).cmp(&(from, link.peer_number)))
        .ok()?;
    let back = &other.links[at];
    (back.peer_number == link.number).then(|| back.cost.max(link.cost))
}
