//! What must be so once it has been quiet for a while: everything that can be reached is known and
//! reached, each frame arrives once, and nothing but beats is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ether::{MacAddr, VlanId};
use fabric::Location;
use mesh::NodeKey;

use crate::frame::Words;
use crate::node::{Node, Use};
use crate::plan::{Round, Theme};
use crate::stations::Station;
use crate::watch::mac;
use crate::world::World;

/// How long it takes at most for a cable that works to be used: until an end gives up a dead
/// connection, a try to dial, and the longest time that it must work before it is trusted.
const CABLES: Duration = Duration::from_secs(25);

/// And then for everything to follow.
const FOLLOWS: Duration = Duration::from_secs(5);

/// What is under way has arrived when nothing was said for so long.
const LULL: Duration = Duration::from_millis(700);

/// For so long after a change nodes may still go by what was before, and send a copy too many.
const CONVERGENCE: Duration = Duration::from_secs(3);

/// A changed cost is told 10 s after the one before (PROTOCOL.md 7.1), and is on its way then.
const COST_HOLD: Duration = Duration::from_secs(12);

/// With this ageing time nothing ages out before a look.
const LONG_AGEING: Duration = Duration::from_secs(300);

/// A node sweeps out what has aged every 10 s, and withdraws it a second later.
const WITHDRAWN: Duration = Duration::from_secs(12);

/// A loop outside is found within two rounds of probes, and its end seen after two were missed.
const LOOPS: Duration = Duration::from_secs(18);

const BROADCAST: Words = Words::To(MacAddr([0xff; 6]));

/// What ports join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    /// Nodes that reach each other by cables, and one of their VLANs.
    Group(usize, u16),
    /// What is outside, by the first port there.
    Network((usize, u32)),
}

/// Which things are joined, by any number of others.
#[derive(Debug, Default)]
struct Joined {
    above: BTreeMap<Thing, Thing>,
    edges: BTreeSet<(Thing, Thing)>,
}

impl Joined {
    fn root(&self, mut thing: Thing) -> Thing {
        while let Some(above) = self.above.get(&thing) {
            thing = *above;
        }
        thing
    }

    /// Joins two things; false if they were joined before.
    fn join(&mut self, a: Thing, b: Thing) -> bool {
        self.edges.insert((a, b));
        let (from, to) = (self.root(a), self.root(b));
        if from != to {
            self.above.insert(from, to);
        }
        from != to
    }
}

impl World {
    /// Waits for quiet, and looks.
    pub(crate) fn check_quiet(&mut self, round: &Round) -> Result<(), String> {
        let mended = self.now;
        let groups = self.groups();
        loop {
            self.run_for(Duration::from_millis(500))?;
            match self.cables_not_used() {
                None => break,
                Some(cable) if self.now > mended + CABLES => {
                    return Err(format!("I12: cable {cable} works and is not used"));
                }
                Some(_) => {}
            }
        }
        let settled = self.watch.link_changed.max(mended);
        self.run_until(self.now.max(settled + FOLLOWS))?;
        if self.watch.link_changed > settled {
            // One that came up last of all.
            self.run_until(self.watch.link_changed + FOLLOWS)?;
        }
        self.wait_for_lull()?;
        self.check_knowledge(&groups, round)?;
        if !self.segments.is_empty() || self.plan.theme == Theme::Loops {
            self.run_until(mended + LOOPS)?;
        }
        self.check_loops(&groups)?;
        // Every station says where it is, and once more for those that have just moved.
        for _ in 0..2 {
            for station in 0..self.stations.len() {
                self.speak(station, BROADCAST);
                self.run_for(Duration::from_millis(20))?;
            }
            self.run_for(Duration::from_millis(1200))?;
        }
        self.run_for(Duration::from_secs(1))?;
        if self.plan.ageing < LONG_AGEING && self.check_stations(&groups).is_err() {
            self.run_for(WITHDRAWN)?;
        }
        self.check_stations(&groups)?;
        self.check_floods(&groups)?;
        self.check_unicast(&groups)?;
        self.check_silence(round)
    }

    /// What is under way arrives.
    fn wait_for_lull(&mut self) -> Result<(), String> {
        let patience = self.now + FOLLOWS;
        while self.now < self.watch.said + LULL {
            if self.now > patience {
                return Err("I5: the nodes do not stop talking".to_owned());
            }
            self.run_for(Duration::from_millis(100))?;
        }
        Ok(())
    }

    /// Nodes that are joined by cables that work.
    pub(crate) fn groups(&self) -> Vec<Vec<usize>> {
        let mut left: BTreeSet<usize> =
            (0..self.plan.nodes).filter(|node| self.nodes[*node].is_running()).collect();
        let mut groups = Vec::new();
        while let Some(first) = left.pop_first() {
            let mut group = vec![first];
            let mut at = 0;
            while let Some(&node) = group.get(at) {
                for cable in self.cables.iter().filter(|cable| cable.works()) {
                    let [a, b] = [&cable.ends[0], &cable.ends[1]].map(|end| end.node);
                    for (from, to) in [(a, b), (b, a)] {
                        if from == node && left.remove(&to) {
                            group.push(to);
                        }
                    }
                }
                at += 1;
            }
            groups.push(group);
        }
        groups
    }

    /// A cable that should be in use at both ends and is not.
    fn cables_not_used(&self) -> Option<usize> {
        (0..self.plan.cables.len()).find(|cable| {
            let ends = &self.cables[*cable].ends;
            let should = self.cables[*cable].works()
                && ends.iter().all(|end| self.nodes[end.node].is_running());
            should && (0..2).any(|end| !self.is_used(*cable, end))
        })
    }

    fn is_used(&self, cable: usize, end: usize) -> bool {
        let Some(port) = self.link_of(cable, end) else { return false };
        let node = self.cables[cable].ends[end].node;
        let clock = self.clock(node);
        let Some(switch) = &self.nodes[node].switch else { return false };
        let mut cables = switch.mesh.cables(clock).into_iter();
        cables.any(|view| view.link.0 == port && view.up_for.is_some())
    }

    fn key(&self, node: usize) -> NodeKey {
        self.nodes[node].key
    }

    /// I6: all of a group know the same, and each other. I11: and nobody else.
    fn check_knowledge(&self, groups: &[Vec<usize>], round: &Round) -> Result<(), String> {
        for group in groups {
            let members: BTreeSet<NodeKey> = group.iter().map(|node| self.key(*node)).collect();
            let first = self.nodes[group[0]].switch.as_ref().map(|switch| switch.mesh.digest());
            for &node in group {
                let Some(switch) = &self.nodes[node].switch else { continue };
                let known = switch.mesh.nodes(self.clock(node)).into_iter();
                let reached: BTreeSet<NodeKey> =
                    known.filter(|view| view.route.is_some()).map(|view| view.key).collect();
                if reached != members {
                    let strange: Vec<usize> = (0..self.nodes.len())
                        .filter(|other| {
                            let key = self.key(*other);
                            reached.contains(&key) != members.contains(&key)
                        })
                        .collect();
                    return Err(format!("I6: n{node} is wrong about nodes {strange:?}"));
                }
                if Some(switch.mesh.digest()) != first {
                    return Err(format!("I6: n{node} knows something else than n{}", group[0]));
                }
            }
            self.check_paths(group, round)?;
        }
        Ok(())
    }

    /// The way there is the way back, and no detour. (Where nodes answer beats late, a cost is wrong
    /// until it has been measured some times.)
    fn check_paths(&self, group: &[usize], round: &Round) -> Result<(), String> {
        // All pairs of a small group, some of a large one.
        let stride = 1 + group.len() / 12;
        for &a in group.iter().step_by(stride) {
            let best = self.least_delays(a);
            for &b in group.iter().step_by(stride).filter(|b| **b != a) {
                let (Some(from), Some(to)) = (&self.nodes[a].switch, &self.nodes[b].switch) else {
                    continue;
                };
                let there = from.mesh.path(&self.key(b));
                let mut back = to.mesh.path(&self.key(a));
                back.reverse();
                if there != back || there.is_empty() {
                    return Err(format!("I4: n{a} to n{b} by {there:?}, back by {back:?}"));
                }
                let takes = self.delay_along(&there);
                let hop = Duration::from_millis(1) * u32::try_from(there.len()).unwrap_or(0);
                if takes > best[&b] * 2 + hop && !round.moves_costs() && !self.plan.is_lazy {
                    let best = best[&b];
                    return Err(format!("I4: n{a} to n{b} takes {takes:?}, could take {best:?}"));
                }
            }
        }
        Ok(())
    }

    fn delay_between(&self, a: usize, b: usize) -> Option<Duration> {
        let joins = |cable: &&crate::cables::Cable| {
            let ends = [cable.ends[0].node, cable.ends[1].node];
            cable.works() && (ends == [a, b] || ends == [b, a])
        };
        self.cables.iter().filter(joins).map(crate::cables::Cable::round_trip).min()
    }

    fn delay_along(&self, path: &[NodeKey]) -> Duration {
        let node = |key: &NodeKey| {
            (0..self.plan.nodes).find(|node| self.key(*node) == *key).unwrap_or(usize::MAX)
        };
        let pairs = path.windows(2).map(|pair| self.delay_between(node(&pair[0]), node(&pair[1])));
        pairs.map(|delay| delay.unwrap_or(Duration::MAX / 1000)).sum()
    }

    /// The least round trip to each node (Bellman 1958).
    fn least_delays(&self, from: usize) -> BTreeMap<usize, Duration> {
        let mut least = BTreeMap::from([(from, Duration::ZERO)]);
        loop {
            let mut has_changed = false;
            for cable in self.cables.iter().filter(|cable| cable.works()) {
                let [a, b] = [cable.ends[0].node, cable.ends[1].node];
                for (a, b) in [(a, b), (b, a)] {
                    let Some(here) = least.get(&a).copied() else { continue };
                    let there = here + cable.round_trip();
                    if self.nodes[b].is_running() && least.get(&b).is_none_or(|now| there < *now) {
                        least.insert(b, there);
                        has_changed = true;
                    }
                }
            }
            if !has_changed {
                return least;
            }
        }
    }

    fn is_blocked(&self, (node, port): (usize, u32)) -> bool {
        let switch = self.nodes[node].switch.as_ref();
        switch.is_none_or(|switch| switch.bridge.is_blocked(fabric::PortId(port)))
    }

    /// I14: groups, and networks outside where their ports are, are joined by open ports in one way
    /// at most, and by all open ports in as many as by all ports.
    fn check_loops(&self, groups: &[Vec<usize>]) -> Result<(), String> {
        let mut by_all = Joined::default();
        let mut by_open = Joined::default();
        // A group relays within a VLAN only.
        let mut by_vlan = Joined::default();
        let mut open = BTreeSet::new();
        for (number, group) in groups.iter().enumerate() {
            for &node in group {
                for place in 0..self.nodes[node].vlans.len() {
                    let port = (node, Node::access(place));
                    let network = Thing::Network(self.segment_of((node, place))[0]);
                    by_all.join(Thing::Group(number, 0), network);
                    if self.is_blocked(port) {
                        continue;
                    }
                    by_open.join(Thing::Group(number, 0), network);
                    let vlan = self.vlan_of(port);
                    let is_second = !open.insert((number, network));
                    if !by_vlan.join(Thing::Group(number, vlan), network) || is_second {
                        return Err(format!("I14: {port:?} is open and part of a loop outside"));
                    }
                }
            }
        }
        let is_cut = |(a, b): &(Thing, Thing)| by_open.root(*a) != by_open.root(*b);
        match by_all.edges.iter().find(|edge| is_cut(edge)) {
            Some((group, Thing::Network((node, port)))) => Err(format!(
                "I14: no open port leads from {group:?} to the network of n{node} port {port}"
            )),
            _ => Ok(()),
        }
    }

    /// The open port at which the mesh hears a station.
    fn heard_at(&self, station: &Station, group: &[usize]) -> Option<(usize, u32)> {
        let mut ports = self.segment_of(station.at);
        ports.retain(|port| group.contains(&port.0) && !self.is_blocked(*port));
        match ports[..] {
            [port] => Some(port),
            _ => None,
        }
    }

    fn vlan_of(&self, (node, port): (usize, u32)) -> u16 {
        match self.nodes[node].used_as(port) {
            Use::Access(place) => self.nodes[node].vlans[place],
            Use::Free | Use::Cable(..) => u16::MAX,
        }
    }

    /// I8: each station is where it spoke last, for all nodes.
    fn check_stations(&self, groups: &[Vec<usize>]) -> Result<(), String> {
        for (number, station) in self.stations.iter().enumerate() {
            for group in groups {
                let home = self.heard_at(station, group);
                let usual = (station.at.0, Node::access(station.at.1));
                let vlan = self.vlan_of(home.unwrap_or(usual));
                let mut owners = BTreeMap::new();
                for &node in group {
                    let clock = self.clock(node);
                    let Some(switch) = &self.nodes[node].switch else { continue };
                    let owner = match switch.bridge.locate(VlanId(vlan), mac(number), clock) {
                        Some(Location::Port(_)) => Some(switch.mesh.nick().get()),
                        Some(Location::Remote(owner)) => Some(owner.0),
                        None => None,
                    };
                    owners.insert(node, owner);
                }
                let values: BTreeSet<_> = owners.values().collect();
                if values.len() > 1 && !self.plan.is_cramped {
                    let address = mac(number);
                    return Err(format!("I8: {address} in VLAN {vlan} is at {owners:x?}"));
                }
                let is_sure = !station.is_odd && !self.plan.is_cramped;
                if let Some((node, port)) = home.filter(|_| is_sure) {
                    let clock = self.clock(node);
                    let Some(switch) = &self.nodes[node].switch else { continue };
                    let found = switch.bridge.locate(VlanId(vlan), mac(number), clock);
                    if found != Some(Location::Port(fabric::PortId(port))) {
                        let address = mac(number);
                        return Err(format!(
                            "I8: {address} spoke last at n{node} port {port}, which has it at \
                             {found:?}; the others {owners:x?}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// How long a frame may be under way.
    fn crossing(&self, group: &[usize]) -> Duration {
        let slowest = self.cables.iter().map(|cable| cable.round_trip()).max().unwrap_or_default();
        let cables = u32::try_from(group.len().min(25)).unwrap_or(25);
        Duration::from_millis(500) + slowest * cables
    }

    /// I4: a flood comes out of every open port of its VLAN once.
    fn check_floods(&mut self, groups: &[Vec<usize>]) -> Result<(), String> {
        for number in 0..self.stations.len().min(6) {
            let Some((group, home)) = groups
                .iter()
                .find_map(|group| Some((group, self.heard_at(&self.stations[number], group)?)))
            else {
                continue;
            };
            if self.stations[number].is_odd {
                continue;
            }
            let is_calm = self.now > self.watch.said + CONVERGENCE;
            let sent = self.speak(number, BROADCAST);
            self.run_for(self.crossing(group))?;
            let vlan = self.vlan_of(home);
            let mut expected = BTreeSet::new();
            for &node in group {
                let ports =
                    (0..self.nodes[node].vlans.len()).map(|place| (node, Node::access(place)));
                expected.extend(ports.filter(|port| {
                    *port != home && self.vlan_of(*port) == vlan && !self.is_blocked(*port)
                }));
            }
            let passages = self.watch.passages_of(sent).filter(|passage| passage.at == home);
            let mut got: Vec<(usize, u32)> = Vec::new();
            let mut copies = 0;
            for passage in passages {
                got.extend(&passage.delivered);
                copies += passage.copies;
            }
            got.sort_unstable();
            let expected: Vec<_> = expected.into_iter().collect();
            if got != expected {
                return Err(format!(
                    "I4: flood {sent} from {home:?} in VLAN {vlan} came out at {got:?} instead of \
                     {expected:?}"
                ));
            }
            if is_calm && copies != group.len() - 1 {
                return Err(format!(
                    "I4: {copies} copies of flood {sent} for {} nodes",
                    group.len()
                ));
            }
        }
        Ok(())
    }

    /// I4: a frame to a station that is known comes out where that is, once, and by a shortest way.
    fn check_unicast(&mut self, groups: &[Vec<usize>]) -> Result<(), String> {
        // A node that has no room for a station that moved goes by where it was, until that is old.
        let count = if self.plan.is_cramped { 0 } else { self.stations.len() };
        for _ in 0..count.min(8) {
            let (from, to) = (self.dice.roll(count), self.dice.roll(count));
            let Some((home, target)) = groups.iter().find_map(|group| {
                let home = self.heard_at(&self.stations[from], group)?;
                Some((home, self.heard_at(&self.stations[to], group)?))
            }) else {
                continue;
            };
            let is_odd = self.stations[from].is_odd || self.stations[to].is_odd;
            if is_odd || self.vlan_of(home) != self.vlan_of(target) || home == target {
                continue;
            }
            // Where tests take long, a station that was silent meanwhile is not known any more.
            if self.now > self.stations[to].spoke + self.plan.ageing / 2 {
                self.speak(to, BROADCAST);
                self.run_for(self.crossing(&groups[0]))?;
            }
            let sent = self.speak(from, Words::To(mac(to)));
            self.run_for(self.crossing(&groups[0]))?;
            let passages = self.watch.passages_of(sent);
            let mut got = Vec::<(usize, u32)>::new();
            let mut copies = 0;
            for passage in passages.filter(|passage| passage.at == home) {
                got.extend(&passage.delivered);
                copies += passage.copies;
            }
            let hops = match &self.nodes[home.0].switch {
                Some(switch) => switch.mesh.path(&self.key(target.0)).len().saturating_sub(1),
                None => 0,
            };
            let is_right = got == [target] && copies <= hops;
            if !is_right {
                return Err(format!(
                    "I4: frame {sent} from {home:?} to {} at {target:?} came out at {got:?} with \
                     {copies} copies for {hops} cables",
                    mac(to)
                ));
            }
        }
        Ok(())
    }

    /// I5: nothing but beats is sent when nothing happens.
    fn check_silence(&mut self, round: &Round) -> Result<(), String> {
        // Stations that are silent are taken back, and alarms end.
        if round.moves_costs()
            || self.plan.ageing < LONG_AGEING
            || matches!(self.plan.theme, Theme::Loops | Theme::Rogues)
        {
            return Ok(());
        }
        if self.plan.is_lazy {
            // Beats that were answered late made cables seem longer than they are, and the cost that was
            // told first holds for a while.
            self.run_until(self.watch.link_changed + COST_HOLD)?;
        }
        let (messages, frames) = (self.watch.messages, self.watch.frames);
        self.run_for(Duration::from_secs(2))?;
        let said = self.watch.messages - messages;
        let sent = self.watch.frames - frames;
        if (said, sent) != (0, 0) {
            return Err(format!("I5: {said} messages and {sent} frames when nothing happens"));
        }
        Ok(())
    }
}
