//! When paths are worked out, and what follows from them.
//!
//! A change is answered after 10 ms, so that what belongs together is answered once; ten times in a
//! row, then twice a second, so that a cable that comes and goes does not keep the node busy.
//! (RFC 8405 waits for two seconds when changes do not end; traffic would then stay on a dead cable
//! for as long.)

use std::collections::hash_map;
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::database::{FORGET, NodeIndex};
use super::event::Event;
use super::forwarding::{ByNick, Route, Tree};
use super::topology::{OwnLink, Reach, Topology, Vertex};
use super::{CONVERGENCE, Mesh, earlier};
use crate::authority::{Authority, NodeKey};
use crate::record::{LinkState, Slot};

const RUN_DELAY: Duration = Duration::from_millis(10);
const RUN_BURST: u32 = 10;
const RUN_INTERVAL: Duration = Duration::from_millis(500);

/// How often nodes that may be forgotten are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Of several cables to one node, and of several ways to one, those up to a quarter and half a
/// millisecond worse than the best are as good, and share the flows. Cables to the same node cannot
/// make a loop; ways by other neighbours are taken under the condition of [`is_downstream`].
const SHARE_STEPS: u32 = 5;

#[derive(Debug, Clone)]
pub(super) struct Routing {
    /// When paths are to be worked out.
    run_at: Option<Instant>,
    budget: Budget,
    pub(super) topology: Topology,
    /// From this node, by vertex.
    pub(super) reach: Vec<Option<Reach>>,
    /// The lowest key of the nodes in reach, this one included: what they have in common.
    pub(super) group: NodeKey,
    /// The trees that are being worked out, one neighbour at a time.
    building: Option<Building>,
    /// Until when the reverse-path check is off, at least.
    open_until: Option<Instant>,
    /// Until when the trees before the present ones count too.
    old_until: Option<Instant>,
    sweep_at: Instant,
}

#[derive(Debug, Clone)]
struct Building {
    /// By vertex.
    trees: Vec<Tree>,
    /// The cables of other ways that are as good, by vertex.
    ways: Vec<u64>,
    left: Vec<Vertex>,
}

impl Routing {
    pub(super) fn new(own: NodeKey, now: Instant) -> Self {
        Self {
            // A node reaches itself.
            run_at: Some(now),
            budget: Budget::new(RUN_BURST, RUN_INTERVAL, now),
            topology: Topology::default(),
            reach: Vec::new(),
            group: own,
            building: None,
            open_until: None,
            old_until: None,
            sweep_at: now + SWEEP_INTERVAL,
        }
    }

    /// A cable is gone; another one may get its bit.
    pub(super) fn detach(&mut self, bit: u8) {
        let mask = !(1_u64 << bit);
        if let Some(building) = &mut self.building {
            building.ways.iter_mut().for_each(|ways| *ways &= mask);
            for tree in &mut building.trees {
                tree.accept &= mask;
                tree.forward &= mask;
            }
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        // Trees that wait to be finished are due at any time.
        let building = self.building.is_some().then_some(self.sweep_at - SWEEP_INTERVAL);
        let open = self.open_until.filter(|_| self.building.is_none() && self.run_at.is_none());
        let others = [building, self.run_at, open, self.old_until];
        Some(earlier(others.into_iter().flatten().min(), self.sweep_at))
    }
}

impl<A: Authority> Mesh<A> {
    /// A node's link state was replaced.
    pub(super) fn topology_changed(&mut self, before: &LinkState, after: &LinkState, now: Instant) {
        if before.links == after.links && before.nick == after.nick {
            return;
        }
        let has = |state: &LinkState, peer, number, peer_number| {
            state.links.iter().any(|link| {
                (link.peer, link.number, link.peer_number) == (peer, number, peer_number)
            })
        };
        let lost =
            before.links.iter().any(|link| !has(after, link.peer, link.number, link.peer_number));
        if lost {
            // Trees that used that cable are broken. Floods go everywhere, once, until all nodes
            // have new ones.
            self.routing.open_until = Some(now + CONVERGENCE);
            self.forwarding.is_open = true;
        }
        self.topology_grew(now);
    }

    /// A node or a cable has come, or costs something else: what was in use still works.
    pub(super) fn topology_grew(&mut self, now: Instant) {
        self.digest = None;
        if self.routing.run_at.is_none() {
            let ready = self.routing.budget.ready_at(now);
            self.routing.run_at = Some(ready.max(now + RUN_DELAY));
        }
    }

    pub(super) fn route_what_is_due(&mut self, now: Instant) {
        if self.routing.run_at.is_some_and(|at| now >= at) {
            self.routing.budget.take(now);
            self.run(now);
        } else if self.routing.building.is_some() {
            self.build_on(now);
        }
        let is_settled = self.routing.building.is_none() && self.routing.run_at.is_none();
        if is_settled && self.routing.open_until.is_some_and(|until| now >= until) {
            self.routing.open_until = None;
            self.forwarding.is_open = false;
        }
        if self.routing.old_until.is_some_and(|until| now >= until) {
            self.routing.old_until = None;
            self.forwarding.forget_old_trees();
        }
        if now >= self.routing.sweep_at {
            self.routing.sweep_at = now + SWEEP_INTERVAL;
            self.sweep(now);
        }
    }

    /// Works out the paths from this node, and begins with those from its neighbours.
    fn run(&mut self, now: Instant) {
        self.counters.runs += 1;
        let topology = Topology::new(&self.database, self.config.key, &self.origin.state);
        let reach = topology.shortest_paths(topology.own());
        let mut routes = ByNick::default();
        for (vertex, reach) in (0..).zip(&reach) {
            self.set_reachable(topology.index(vertex), reach.is_some(), now);
            let node = self.database.get(topology.index(vertex));
            if let (Some(reach), Some(node)) = (reach, node)
                && vertex != topology.own()
            {
                let links = self.shared_links(topology.own_links(), reach.first);
                // Of two nodes with one nick the one with the lower key is found.
                routes.entry(node.state.nick).or_insert(Route { links, hops: reach.hops });
            }
        }
        self.forwarding.set_routes(routes);
        self.digest = None;
        self.routing.building = Some(Building {
            trees: self.first_trees(&topology, &reach),
            ways: vec![0; reach.len()],
            left: topology.neighbours(topology.own()).collect(),
        });
        // Vertices are in order of key.
        if let Some(first) = (0..).zip(&reach).find_map(|(vertex, reach)| reach.map(|_| vertex)) {
            self.routing.group = topology.key(first);
        }
        self.routing.topology = topology;
        self.routing.reach = reach;
        self.routing.run_at = None;
        self.loops_changed(now);
    }

    /// The cables by which a flood of each node may come: those that lead towards it.
    fn first_trees(&self, topology: &Topology, reach: &[Option<Reach>]) -> Vec<Tree> {
        let tree = |reach: &Option<Reach>| {
            let accept = reach.map_or(0, |reach| self.all_links(topology.own_links(), reach.first));
            Tree { accept, forward: 0 }
        };
        reach.iter().map(tree).collect()
    }

    /// Works out which floods one more neighbour gets from this node: those of the nodes that it
    /// reaches by this node; and which frames it may get, as it is as near to their egress as the
    /// neighbour on the shortest path.
    fn build_on(&mut self, now: Instant) {
        let Some(mut building) = self.routing.building.take() else { return };
        let topology = &self.routing.topology;
        if let Some(neighbour) = building.left.pop() {
            let link = self.best_link(topology.own_links(), neighbour);
            let paths = topology.shortest_paths(neighbour);
            for (tree, path) in building.trees.iter_mut().zip(&paths) {
                if path.is_some_and(|path| path.first == topology.own()) {
                    tree.forward |= link;
                }
            }
            let cables = self.links_to(topology.own_links(), neighbour);
            let least = cables.map(|(_, own)| own.weight.cost()).min().unwrap_or(u32::MAX);
            let shared = self.shared_links(topology.own_links(), neighbour);
            for ((ways, own), path) in building.ways.iter_mut().zip(&self.routing.reach).zip(&paths)
            {
                if let (Some(own), Some(path)) = (own, path)
                    && is_downstream(path, own)
                    && is_as_good(least.saturating_add(path.weight.cost()), own.weight.cost())
                {
                    *ways |= shared;
                }
            }
        }
        if !building.left.is_empty() {
            self.routing.building = Some(building);
            return;
        }
        let mut trees = ByNick::default();
        for ((vertex, tree), ways) in (0..).zip(building.trees).zip(building.ways) {
            if self.routing.reach.get(usize::from(vertex)).is_some_and(Option::is_some)
                && let Some(node) = self.database.by_key(&topology.key(vertex))
            {
                let nick =
                    if vertex == topology.own() { self.forwarding.nick() } else { node.state.nick };
                if let hash_map::Entry::Vacant(place) = trees.entry(nick) {
                    place.insert(tree);
                    self.forwarding.add_ways(nick, ways);
                }
            }
        }
        if self.forwarding.set_trees(trees) {
            self.routing.old_until = Some(now + CONVERGENCE);
        }
    }

    /// The own cables of the graph that lead to a neighbour, as cables in use.
    fn links_to<'a>(
        &'a self,
        own_links: &'a [OwnLink],
        neighbour: Vertex,
    ) -> impl Iterator<Item = (u64, OwnLink)> {
        own_links.iter().filter(move |own| own.to == neighbour).filter_map(|own| {
            let link = self.links.values().find(|link| link.number == own.number)?;
            Some((link.mask(), *own))
        })
    }

    fn all_links(&self, own_links: &[OwnLink], neighbour: Vertex) -> u64 {
        self.links_to(own_links, neighbour).fold(0, |mask, (link, _)| mask | link)
    }

    fn best_link(&self, own_links: &[OwnLink], neighbour: Vertex) -> u64 {
        let best = self.links_to(own_links, neighbour).min_by_key(|(_, own)| own.weight);
        best.map_or(0, |(mask, _)| mask)
    }

    fn shared_links(&self, own_links: &[OwnLink], neighbour: Vertex) -> u64 {
        let costs = self.links_to(own_links, neighbour).map(|(_, own)| own.weight.cost());
        let Some(best) = costs.min() else { return 0 };
        self.links_to(own_links, neighbour)
            .filter(|(_, own)| is_as_good(own.weight.cost(), best))
            .fold(0, |mask, (link, _)| mask | link)
    }

    fn set_reachable(&mut self, index: NodeIndex, reachable: bool, now: Instant) {
        let Some(node) = self.database.get(index) else { return };
        if node.is_reachable() == reachable {
            return;
        }
        let key = node.key;
        let who = self.who(key);
        self.events.push(if reachable { Event::NodeJoined(who) } else { Event::NodeLeft(who) });
        let is_gateway = node.records.contains_key(&Slot::GATEWAY);
        self.database.set_reachable(index, reachable, now);
        if is_gateway {
            self.gateways_changed(now);
        }
        for slot in self.database.take_untold(index) {
            self.spread(slot, key, None);
        }
        self.owner_changed(index, now);
    }

    /// Forgets the nodes that have been out of reach for long.
    fn sweep(&mut self, now: Instant) {
        let due: Vec<NodeIndex> = self
            .database
            .iter()
            .filter(|(_, node)| node.unreachable_since.is_some_and(|since| now >= since + FORGET))
            .map(|(index, _)| index)
            .collect();
        for index in due {
            self.forget(index, now);
        }
        self.recover_claims(now);
    }

    pub(super) fn forget(&mut self, index: NodeIndex, now: Instant) {
        if let Some(node) = self.database.remove(index) {
            self.forwarding.remove_nick(node.state.nick);
            self.pages_gone(index, node.records.values(), now);
            self.loops.forget_node(&node.key);
            self.topology_grew(now);
        }
    }
}

/// Whether a cost is so near to the best one that both may be used.
fn is_as_good(cost: u32, best: u32) -> bool {
    cost <= best.saturating_add((best / 4).max(SHARE_STEPS))
}

/// Whether a neighbour is nearer to a node than this one is, in cost and in cables. (RFC 5286 calls
/// it a downstream path.) Both fall with every step, whichever of its ways each node takes, so that
/// no frame goes round, and none crosses more cables than the shortest path has.
fn is_downstream(of_neighbour: &Reach, own: &Reach) -> bool {
    of_neighbour.weight.cost() < own.weight.cost() && of_neighbour.hops < own.hops
}
