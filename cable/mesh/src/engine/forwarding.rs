//! Where frames go: what is asked for each of them.
//!
//! Owns the tables that the paths were boiled down to, and the three barriers against loops: the
//! at-most-once window, the reverse-path check, the hop count. Cables are bits in a word. Leaves
//! working the paths out to [`super::routing`].

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use super::LinkId;
use crate::flood::{FloodVerdict, FloodWindow};
use crate::nick::Nick;
use crate::random::mix;
use crate::record::MAX_LINKS;

/// Spare hops for detours while nodes disagree.
const SPARE_HOPS: u16 = 8;

/// The most hops.
const MAX_HOPS: u16 = 63;

/// Keyed by what other nodes chose; bounded by the number of nodes, never iterated for its order.
pub(super) type ByNick<T> = HashMap<Nick, T, BuildHasherDefault<DefaultHasher>>;

/// Where a frame for one node goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextHop {
    /// To this node's own ports.
    Here,
    /// Over this cable.
    Link(LinkId),
    /// Back where it came from: two nodes disagree for a moment. Drop it.
    Back,
    /// No node that can be reached has that nick. Drop it.
    Unreachable,
}

/// Why a flooded frame goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloodDrop {
    /// It came before, by another way.
    Repeated,
    /// It is so old that nobody knows.
    TooOld,
    /// It did not come by the way that leads to its ingress; its twin will.
    ReversePath,
    /// It came in at this node.
    Own,
    /// No node is known by that nick.
    UnknownIngress,
    /// No such cable.
    UnknownLink,
}

/// Cables to forward a frame to, in no particular order.
#[derive(Debug, Clone)]
pub struct FloodLinks<'a> {
    links: &'a [Option<LinkId>; MAX_LINKS],
    left: u64,
}

impl Iterator for FloodLinks<'_> {
    type Item = LinkId;

    fn next(&mut self) -> Option<LinkId> {
        while self.left != 0 {
            let bit = self.left.trailing_zeros();
            self.left &= self.left - 1;
            if let Some(link) = self.links[bit as usize] {
                return Some(link);
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left.count_ones() as usize))
    }
}

/// The way to one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    /// The cables to the next node on the way; several are equally good, and may lead to several
    /// nodes.
    pub(super) links: u64,
    pub(super) hops: u16,
}

/// The part of one node's broadcast tree that this node sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tree {
    /// The cables by which its floods may come.
    pub(super) accept: u64,
    /// Those over which they go on.
    pub(super) forward: u64,
}

impl Tree {
    fn union(self, other: Self) -> Self {
        Self { accept: self.accept | other.accept, forward: self.forward | other.forward }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Forwarding {
    nick: Nick,
    sequence: u32,
    window: FloodWindow,
    /// The cables by their bits.
    links: [Option<LinkId>; MAX_LINKS],
    /// For each cable, those that lead to the same node, itself included.
    siblings: [u64; MAX_LINKS],
    /// The cables that are up.
    up: u64,
    routes: ByNick<Route>,
    /// To the farthest node.
    max_hops: u16,
    trees: ByNick<Tree>,
    /// The trees before these, which other nodes may still go by.
    old_trees: Option<ByNick<Tree>>,
    /// Nicks in the database, with the number of nodes that claim each.
    known: ByNick<u32>,
    /// The reverse-path check is off.
    pub(super) is_open: bool,
}

impl Forwarding {
    pub(super) fn new(nick: Nick, sequence: u32) -> Self {
        Self {
            nick,
            sequence,
            window: FloodWindow::new(),
            links: [None; MAX_LINKS],
            siblings: [0; MAX_LINKS],
            up: 0,
            routes: ByNick::default(),
            max_hops: 0,
            trees: ByNick::default(),
            old_trees: None,
            known: ByNick::default(),
            is_open: false,
        }
    }

    pub(super) fn nick(&self) -> Nick {
        self.nick
    }

    pub(super) fn set_nick(&mut self, nick: Nick) {
        self.nick = nick;
    }

    /// A free bit; `None` when there are [`MAX_LINKS`] cables.
    pub(super) fn attach(&mut self, id: LinkId, siblings: u64) -> Option<u8> {
        let bit = self.links.iter().position(Option::is_none)?;
        self.links[bit] = Some(id);
        let mask = siblings | 1 << bit;
        for (at, siblings) in self.siblings.iter_mut().enumerate() {
            if mask & 1 << at != 0 {
                *siblings = mask;
            }
        }
        u8::try_from(bit).ok()
    }

    pub(super) fn detach(&mut self, bit: u8) {
        let mask = !(1_u64 << bit);
        self.links[usize::from(bit)] = None;
        self.up &= mask;
        self.siblings[usize::from(bit)] = 0;
        self.siblings.iter_mut().for_each(|siblings| *siblings &= mask);
        self.routes.values_mut().for_each(|route| route.links &= mask);
        for tree in
            self.trees.values_mut().chain(self.old_trees.iter_mut().flat_map(ByNick::values_mut))
        {
            tree.accept &= mask;
            tree.forward &= mask;
        }
    }

    pub(super) fn set_up(&mut self, mask: u64, up: bool) {
        self.up = if up { self.up | mask } else { self.up & !mask };
    }

    pub(super) fn add_nick(&mut self, nick: Nick) {
        *self.known.entry(nick).or_default() += 1;
    }

    pub(super) fn remove_nick(&mut self, nick: Nick) {
        if let Some(count) = self.known.get_mut(&nick) {
            *count -= 1;
            if *count == 0 {
                self.known.remove(&nick);
            }
        }
    }

    /// How many nodes have a nick.
    pub(super) fn claims_of(&self, nick: Nick) -> u32 {
        self.known.get(&nick).copied().unwrap_or_default()
    }

    pub(super) fn knows(&self, nick: Nick) -> bool {
        self.known.contains_key(&nick)
    }

    pub(super) fn set_routes(&mut self, routes: ByNick<Route>) {
        self.max_hops = routes.values().map(|route| route.hops).max().unwrap_or_default();
        self.routes = routes;
    }

    /// More cables that are as good on the way to a node.
    pub(super) fn add_ways(&mut self, nick: Nick, links: u64) {
        if let Some(route) = self.routes.get_mut(&nick) {
            route.links |= links;
        }
    }

    /// Goes over to new trees; says whether they differ, and the old ones count too for now.
    pub(super) fn set_trees(&mut self, trees: ByNick<Tree>) -> bool {
        if trees == self.trees {
            return false;
        }
        let mut old = std::mem::replace(&mut self.trees, trees);
        for (nick, tree) in self.old_trees.take().into_iter().flatten() {
            let both = old.get(&nick).copied().unwrap_or_default().union(tree);
            old.insert(nick, both);
        }
        self.old_trees = Some(old);
        true
    }

    /// The old trees do not count any more.
    pub(super) fn forget_old_trees(&mut self) {
        self.old_trees = None;
    }

    pub(super) fn next_hop(&self, egress: Nick, from: Option<u8>, flow: u32) -> NextHop {
        if egress == self.nick {
            return NextHop::Here;
        }
        let Some(route) = self.routes.get(&egress) else {
            return NextHop::Unreachable;
        };
        let links = route.links & self.up;
        let back = from.map_or(0, |from| self.siblings[usize::from(from)]);
        match self.pick(links & !back, flow) {
            Some(link) => NextHop::Link(link),
            None if links != 0 => NextHop::Back,
            None => NextHop::Unreachable,
        }
    }

    /// The same one of several for the same flow: a node first, then a cable to it.
    fn pick(&self, links: u64, flow: u32) -> Option<LinkId> {
        let mut links = self.pick_node(links, flow);
        let count = links.count_ones();
        if count > 1 {
            for _ in 0..flow % count {
                links &= links - 1;
            }
        }
        *self.links.get(links.trailing_zeros() as usize)?
    }

    /// Those of several cables that lead to one node. Each node draws by itself: if all drew alike,
    /// those who get the flows of one draw would use one of their own ways.
    fn pick_node(&self, links: u64, flow: u32) -> u64 {
        let first = |left: u64| {
            let bit = left.trailing_zeros();
            left & (self.siblings[bit as usize] | 1 << bit)
        };
        if links == 0 || first(links) == links {
            return links;
        }
        let (mut count, mut left) = (0, links);
        while left != 0 {
            left &= !first(left);
            count += 1;
        }
        let drawn = mix(u64::from(flow) << 32 | u64::from(self.nick.get())) >> 32;
        left = links;
        for _ in 0..drawn % count {
            left &= !first(left);
        }
        first(left)
    }

    pub(super) fn initial_hops(&self, egress: Nick) -> u8 {
        let hops = self.routes.get(&egress).map_or(0, |route| route.hops);
        spare(hops)
    }

    pub(super) fn flood(
        &mut self,
        ingress: Nick,
        sequence: u32,
        from: u8,
    ) -> Result<FloodLinks<'_>, FloodDrop> {
        if ingress == self.nick {
            return Err(FloodDrop::Own);
        }
        // A nick that nobody has must not displace one that somebody has from the window.
        if !self.knows(ingress) {
            return Err(FloodDrop::UnknownIngress);
        }
        let from = 1_u64 << from;
        let tree = self.tree(ingress);
        // Before the window: a frame that came the wrong way must not shut out its twin.
        if tree.accept & from == 0 {
            return Err(FloodDrop::ReversePath);
        }
        match self.window.handle_flood(ingress, sequence) {
            FloodVerdict::New => Ok(self.flood_links(tree.forward & !from)),
            FloodVerdict::Repeated => Err(FloodDrop::Repeated),
            FloodVerdict::TooOld => Err(FloodDrop::TooOld),
        }
    }

    /// The sequence of a flood that begins here, the hops it starts with, and the cables it takes.
    pub(super) fn originate_flood(&mut self) -> (u32, u8, FloodLinks<'_>) {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let tree = self.tree(self.nick);
        (sequence, spare(self.max_hops), self.flood_links(tree.forward))
    }

    fn tree(&self, ingress: Nick) -> Tree {
        if self.is_open {
            return Tree { accept: u64::MAX, forward: u64::MAX };
        }
        let tree = self.trees.get(&ingress).copied().unwrap_or_default();
        match &self.old_trees {
            None => tree,
            Some(old) => tree.union(old.get(&ingress).copied().unwrap_or_default()),
        }
    }

    fn flood_links(&self, links: u64) -> FloodLinks<'_> {
        FloodLinks { links: &self.links, left: links & self.up }
    }
}

fn spare(hops: u16) -> u8 {
    u8::try_from(hops.saturating_add(SPARE_HOPS).min(MAX_HOPS)).expect("the limit fits")
}
