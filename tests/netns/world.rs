//! Any number of hosts, each with a node and a tap, and cables between them, each on a wire of its
//! own, so that one can be cut and no other notices.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::frames::{BROADCAST, frame};
use lab::netns::veth;
use lab::node::Setup;
use lab::{Netns, Node, Plug, Scene, wait_until};

use crate::hosts::TAP;

/// How long news takes through the largest of these worlds on a busy machine.
pub(crate) const NEWS: Duration = Duration::from_secs(30);

/// A host of a world.
#[derive(Debug)]
pub(crate) struct Host {
    // Before the namespace: a node ends before its devices are taken from it.
    pub(crate) node: Node,
    pub(crate) netns: Netns,
    /// The address of its tap.
    pub(crate) inner: String,
}

/// A cable of a world.
#[derive(Debug)]
struct Cable {
    /// The hosts at its ends; the first one dials.
    ends: [usize; 2],
    /// The name of its wire, the same at both ends.
    wire: String,
    /// The address of the second end on the wire.
    address: String,
}

/// Which way nothing gets through a cable any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Neither.
    BothWays,
    /// What the first named host sends is lost.
    There,
    /// What it should receive is lost.
    Back,
}

/// Hosts and cables.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) hosts: Vec<Host>,
    cables: Vec<Cable>,
}

impl World {
    /// Starts a node on each of so many hosts and joins them by these cables, of which several may
    /// lie between the same two. Returns when each node knows a way to every other one.
    pub(crate) fn build(scene: &Scene, hosts: usize, cables: &[[usize; 2]]) -> Result<Self> {
        let world = Self::start(scene, hosts, cables)?;
        for cable in &world.cables {
            world.hosts[cable.ends[0]].node.connect(&cable.address)?;
        }
        world.wait_whole()?;
        Ok(world)
    }

    fn start(scene: &Scene, count: usize, cables: &[[usize; 2]]) -> Result<Self> {
        let mut hosts = Vec::new();
        for number in 0..count {
            let name = format!("h{number}");
            let netns = Netns::new(&name)?;
            let node = Setup::inside(&name, &netns).tap(TAP).start(scene)?;
            let inner = format!("10.99.0.{}", number + 1);
            netns.add_address(TAP, &format!("{inner}/24"))?;
            netns.set_up(TAP)?;
            hosts.push(Host { node, netns, inner });
        }
        let mut world = Self { hosts, cables: Vec::new() };
        for (number, ends) in cables.iter().enumerate() {
            let wire = format!("w{number}");
            let [a, b] = ends.map(|end| &world.hosts[end]);
            veth(&a.netns, &wire, &b.netns, &wire)?;
            a.netns.add_address(&wire, &format!("10.80.{number}.1/30"))?;
            let address = format!("10.80.{number}.2");
            b.netns.add_address(&wire, &format!("{address}/30"))?;
            let known = world.cables.iter().any(|cable| cable.ends == *ends);
            if !known {
                lab::node::trust_each_other(&a.node, &b.node)?;
            }
            world.cables.push(Cable { ends: *ends, wire, address });
        }
        Ok(world)
    }

    /// Waits until each node has all its cables and a way to every other node.
    pub(crate) fn wait_whole(&self) -> Result<()> {
        let all: Vec<usize> = (0..self.hosts.len()).collect();
        self.wait_parts(&[&all])
    }

    /// Waits until nodes have a way to all others of their part, and to no other.
    pub(crate) fn wait_parts(&self, parts: &[&[usize]]) -> Result<()> {
        for part in parts {
            for at in *part {
                let node = &self.hosts[*at].node;
                let what = format!("node {} to have a way to all of {part:?} alone", node.name());
                wait_until(&what, NEWS, || {
                    let nodes = node.nodes()?;
                    let near = nodes.iter().filter(|node| node["reachable"] == true).count();
                    Ok(near == part.len() && (parts.len() > 1 || self.has_its_cables(*at, &nodes)))
                })
                .with_context(|| format!("it knows {:?}", node.nodes()))?;
            }
        }
        Ok(())
    }

    /// Whether a host sees all nodes with as many cables as they should have.
    fn has_its_cables(&self, at: usize, nodes: &[serde_json::Value]) -> bool {
        let wanted = |host: &usize| {
            self.cables.iter().filter(|cable| cable.ends.contains(host)).count() as u64
        };
        let own = self.hosts[at].node.name();
        nodes.iter().filter(|node| node["name"] == own).all(|node| node["cables"] == wanted(&at))
    }

    /// Lets nothing through the cables between two hosts.
    pub(crate) fn cut(&self, a: usize, b: usize, cut: Cut) -> Result<()> {
        for cable in self.between(a, b)? {
            match cut {
                Cut::BothWays => self.hosts[a].netns.black_hole(&cable.wire)?,
                Cut::There => self.hosts[b].netns.deafen(&cable.wire)?,
                Cut::Back => self.hosts[a].netns.deafen(&cable.wire)?,
            }
        }
        Ok(())
    }

    /// Undoes a cut.
    pub(crate) fn heal(&self, a: usize, b: usize, cut: Cut) -> Result<()> {
        let at = if cut == Cut::There { b } else { a };
        self.hosts[at].netns.mend_black_hole()
    }

    fn between(&self, a: usize, b: usize) -> Result<Vec<&Cable>> {
        let joins = |cable: &&Cable| cable.ends.contains(&a) && cable.ends.contains(&b);
        let found: Vec<_> = self.cables.iter().filter(joins).collect();
        ensure!(!found.is_empty(), "no cable lies between {a} and {b}");
        Ok(found)
    }

    /// The number of the host whose node has that name.
    pub(crate) fn number_of(&self, name: &str) -> Result<usize> {
        let found = self.hosts.iter().position(|host| host.node.name() == name);
        found.with_context(|| format!("no host is called {name}"))
    }

    /// The address of a host's tap.
    pub(crate) fn inner(&self, host: usize) -> &str {
        &self.hosts[host].inner
    }

    /// Each of the hosts sends broadcasts, and each other one gets each of them once.
    pub(crate) fn assert_each_broadcast_comes_once(
        &self,
        scene: &Scene,
        hosts: &[usize],
    ) -> Result<()> {
        let mut plugs = BTreeMap::new();
        for &host in hosts {
            let name = format!("plug-{host}-{}", plugs.len());
            plugs.insert(host, Plug::insert(scene, &name, self.hosts[host].node.socket())?);
        }
        let outcome = each_comes_once(&mut plugs);
        outcome.with_context(|| format!("broadcasts between {hosts:?}"))
    }
}

/// Payloads of broadcasts: a greeting, those that are counted, and the one that ends them.
const GREETING: u8 = 1;
const COUNTED: std::ops::Range<u8> = 100..130;
const LAST: u8 = 200;

/// An address that no other plug of these trials has.
fn station(host: usize) -> [u8; 6] {
    [0x02, 0xb0, 0, 0, 0, u8::try_from(host).expect("worlds are small")]
}

fn each_comes_once(plugs: &mut BTreeMap<usize, Plug>) -> Result<()> {
    let hosts: Vec<usize> = plugs.keys().copied().collect();
    // What a plug has heard: how often each number of each sender came.
    let mut heard: BTreeMap<usize, BTreeMap<(usize, u8), u32>> = BTreeMap::new();
    for &from in &hosts {
        // Greetings, until everybody is known to listen.
        wait_until("greetings to come", NEWS, || {
            send(plugs, from, GREETING)?;
            collect(plugs, &mut heard);
            Ok(others(&hosts, from).all(|to| count(&heard, to, from, GREETING) > 0))
        })?;
    }
    for &from in &hosts {
        for number in COUNTED.chain([LAST]) {
            send(plugs, from, number)?;
        }
    }
    for (&from, number) in
        hosts.iter().flat_map(|from| COUNTED.chain([LAST]).map(move |n| (from, n)))
    {
        for to in others(&hosts, from) {
            let what = format!("broadcast {number} of host {from} at host {to}");
            wait_until(&what, NEWS, || {
                collect(plugs, &mut heard);
                Ok(count(&heard, to, from, number) > 0)
            })?;
        }
    }
    for (to, heard) in &heard {
        let numbered = heard.iter().filter(|((_, number), _)| *number != GREETING);
        for ((from, number), count) in numbered {
            ensure!(*count == 1, "broadcast {number} of host {from} came {count} times at {to}");
            ensure!(from != to, "host {from} heard its own broadcast {number}");
        }
    }
    Ok(())
}

fn others(hosts: &[usize], than: usize) -> impl Iterator<Item = usize> {
    hosts.iter().copied().filter(move |host| *host != than)
}

fn send(plugs: &mut BTreeMap<usize, Plug>, from: usize, number: u8) -> Result<()> {
    let plug = plugs.get_mut(&from).context("the sender has a plug")?;
    plug.send(&frame(BROADCAST, station(from), 60, number))
}

fn collect(
    plugs: &mut BTreeMap<usize, Plug>,
    heard: &mut BTreeMap<usize, BTreeMap<(usize, u8), u32>>,
) {
    for (&at, plug) in plugs {
        for frame in plug.drain() {
            let is_ours =
                frame.len() > 14 && frame[..6] == BROADCAST && frame[6..8] == [0x02, 0xb0];
            if is_ours {
                let from = usize::from(frame[11]);
                *heard.entry(at).or_default().entry((from, frame[14])).or_default() += 1;
            }
        }
    }
}

fn count(
    heard: &BTreeMap<usize, BTreeMap<(usize, u8), u32>>,
    at: usize,
    from: usize,
    number: u8,
) -> u32 {
    heard.get(&at).and_then(|heard| heard.get(&(from, number))).copied().unwrap_or_default()
}
