//! Loops that somebody makes outside of the mesh: found, told everywhere, kept from melting
//! anything, and forgotten when they are gone.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::frames::{BROADCAST, STATION_A, STATION_B, frame};
use lab::netns::veth;
use lab::node::Setup;
use lab::plug::meet;
use lab::{Netns, Node, Plug, Process, Scene, Suite, wait_until};

use crate::hosts::TAP;
use crate::world::{NEWS, World};

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("a_bridge_between_two_nodes_blocks_one_of_its_ends", &["vde_plug"], two_nodes)
        .trial(
            "a_loop_amid_broadcasts_is_found_in_seconds_and_others_lose_nothing",
            &["ping"],
            amid,
        )
        .trial("a_bridge_between_two_taps_of_a_node_blocks_one_of_them", &["vde_plug"], one_node)
}

/// Makes a bridge of these interfaces, all up. It knows no spanning tree.
fn bridge(netns: &Netns, name: &str, interfaces: &[&str]) -> Result<()> {
    netns.ip(&["link", "add", "name", name, "type", "bridge"])?;
    netns.set_up(name)?;
    for interface in interfaces {
        netns.ip(&["link", "set", interface, "master", name])?;
        netns.set_up(interface)?;
    }
    Ok(())
}

fn blocked(node: &Node) -> Result<usize> {
    Ok(node.ports()?.iter().filter(|port| port["blocked"] == true).count())
}

/// Four hosts in a ring. The taps of the first two lead to a network each, and somebody's own switch may
/// join these.
struct Ring {
    world: World,
    outside: Netns,
}

impl Ring {
    fn build(scene: &Scene) -> Result<Self> {
        let world = World::build(scene, 4, &[[0, 1], [1, 2], [2, 3], [3, 0]])?;
        let outside = Netns::new("outside")?;
        for (host, end) in [(0, "to-h0"), (1, "to-h1")] {
            let netns = &world.hosts[host].netns;
            veth(netns, "ext", &outside, end)?;
            bridge(netns, "lan0", &[TAP, "ext"])?;
        }
        Ok(Self { world, outside })
    }

    /// How many ports of the first two nodes are blocked.
    fn blocked(&self) -> Result<[usize; 2]> {
        let ends = [&self.world.hosts[0].node, &self.world.hosts[1].node];
        Ok([blocked(ends[0])?, blocked(ends[1])?])
    }

    /// Frames that the third and the fourth host have received so far.
    fn received(&self) -> Result<[u64; 2]> {
        let read = |host: usize| -> Result<u64> {
            let file = format!("/sys/class/net/{TAP}/statistics/rx_packets");
            Ok(self.world.hosts[host].netns.exec("cat", &[&file])?.trim().parse()?)
        };
        Ok([read(2)?, read(3)?])
    }

    /// How many they receive for each answer that a ping has, which has one every 20 ms.
    fn rates(&self, ping: &Process) -> Result<[f64; 2]> {
        let (before, first) = (self.received()?, answers(ping));
        wait_until("answers to count by", NEWS, || Ok(answers(ping) >= first + COUNTED))?;
        let (after, had) = (self.received()?, answers(ping) - first);
        Ok([0, 1].map(|host| (after[host] - before[host]) as f64 / had as f64))
    }
}

fn answers(ping: &Process) -> usize {
    ping.log().matches("bytes from").count()
}

/// A loop is blocked within this time of having been made.
const FOUND: Duration = Duration::from_secs(3);

/// For so many answers hosts are watched that hear what is sent to all.
const COUNTED: usize = 100;

/// How many frames may have gone around until a loop is found.
const LOOPED: f64 = 5000.0;

fn two_nodes(scene: &Scene) -> Result<()> {
    let ring = Ring::build(scene)?;
    let Ring { world, outside } = &ring;
    let mut ping = world.hosts[2].netns.command("ping");
    let mut ping = Process::spawn(scene, "ping", ping.args(["-n", "-i", "0.02", world.inner(3)]))?;
    ping.wait_log("bytes from", NEWS)?;

    bridge(outside, "switch", &["to-h0", "to-h1"])?;
    wait_until("one end to be blocked", NEWS, || Ok(matches!(ring.blocked()?, [1, 0] | [0, 1])))?;
    for host in &world.hosts {
        wait_until("every node to say what is joined with what", NEWS, || {
            let told = host.node.told()?;
            let is_said = |line: &str| {
                line.contains("loop: ") && (line.contains("node h0") || line.contains("node h1"))
            };
            Ok(told.lines().any(|line| is_said(line) && line.contains("joined outside")))
        })
        .with_context(|| host.node.told().unwrap_or_default())?;
    }
    // Others do not notice: neither who talks to whom, nor who talks to all.
    let before = answers(&ping);
    world.assert_each_broadcast_comes_once(scene, &[0, 1, 2, 3])?;
    wait_until("the ping to go on", NEWS, || Ok(answers(&ping) > before + 10))?;
    ping.check_running()?;
    ensure!(!ping.log().contains("DUP!"), "answers came twice");
    ensure!(matches!(ring.blocked()?, [1, 0] | [0, 1]), "it has not stayed so");

    outside.set_down("to-h1")?;
    wait_until("both ends to be open again", NEWS, || Ok(ring.blocked()? == [0, 0]))?;
    for host in &world.hosts {
        wait_until("every node to say that the loop is gone", NEWS, || {
            let told = host.node.told()?;
            Ok(told.contains("the loop at") || told.contains("says that this has passed: loop"))
        })
        .with_context(|| host.node.told().unwrap_or_default())?;
    }
    Ok(())
}

/// The same while two that are at the two networks, and one elsewhere, speak to all without a pause. Two
/// others talk to each other all the time.
fn amid(scene: &Scene) -> Result<()> {
    let ring = Ring::build(scene)?;
    let Ring { world, outside } = &ring;
    outside.ip(&["link", "add", "name", "switch", "type", "bridge"])?;
    outside.add_address("switch", "10.99.0.200/24")?;
    outside.set_up("switch")?;
    outside.ip(&["link", "set", "to-h0", "master", "switch"])?;
    outside.set_up("to-h0")?;
    world.hosts[0].netns.add_address("lan0", "10.99.0.201/24")?;
    let mut talkers = Vec::new();
    for (name, netns) in [
        ("all-outside", outside),
        ("all-h0", &world.hosts[0].netns),
        ("all-h2", &world.hosts[2].netns),
    ] {
        let mut ping = netns.command("ping");
        ping.args(["-n", "-q", "-b", "-i", "0.01", "10.99.0.255"]);
        talkers.push(Process::spawn(scene, name, &mut ping)?);
    }
    let mut ping = world.hosts[2].netns.command("ping");
    let mut ping = Process::spawn(scene, "ping", ping.args(["-n", "-i", "0.02", world.inner(3)]))?;
    ping.wait_log("bytes from", NEWS)?;
    let usual = ring.rates(&ping)?;
    ensure!(usual[1] > 2.0, "the fourth host hears too little of what is sent to all: {usual:?}");

    let (before, first) = (ring.received()?, answers(&ping));
    outside.ip(&["link", "set", "to-h1", "master", "switch"])?;
    outside.set_up("to-h1")?;
    wait_until("one end to be blocked", FOUND, || Ok(matches!(ring.blocked()?, [1, 0] | [0, 1])))?;
    let (after, had) = (ring.received()?, answers(&ping) - first);
    for host in [0, 1] {
        let looped = (after[host] - before[host]) as f64 - usual[host] * had as f64;
        ensure!(looped <= LOOPED, "{looped} frames too many until the loop was found");
    }
    // What was under way is gone by now, or it goes around for ever.
    let now = ring.rates(&ping)?;
    for host in [0, 1] {
        ensure!(
            now[host] <= usual[host] * 1.5,
            "a storm lasts: {now:?} frames for an answer, not {usual:?}"
        );
        ensure!(
            now[host] >= usual[host] * 0.5,
            "not all is heard: {now:?} frames for an answer of {usual:?}"
        );
    }
    ensure!(matches!(ring.blocked()?, [1, 0] | [0, 1]), "it has not stayed so");

    outside.set_down("to-h1")?;
    wait_until("both ends to be open again", NEWS, || Ok(ring.blocked()? == [0, 0]))?;
    let then = ring.rates(&ping)?;
    ensure!(
        then[1] >= usual[1] * 0.5,
        "not all is heard again: {then:?} frames for an answer of {usual:?}"
    );
    for talker in &mut talkers {
        talker.check_running()?;
    }
    ping.check_running()?;
    drop(talkers);
    let log = ping.log();
    let had = answers(&ping);
    let asked = log
        .lines()
        .rev()
        .find_map(|line| line.split_once("icmp_seq=")?.1.split(' ').next()?.parse::<usize>().ok());
    let asked = asked.context("no answer has a number")?;
    ensure!(had * 100 >= asked * 99, "{had} of {asked} requests were answered");
    ensure!(!log.contains("DUP!"), "answers came twice");
    world.assert_each_broadcast_comes_once(scene, &[0, 1, 2, 3])
}

/// The interfaces are joined before they are up: not one frame goes round.
fn one_node(scene: &Scene) -> Result<()> {
    let netns = Netns::new("host")?;
    let node = Setup::inside("node", &netns).tap("t0").tap("t1").start(scene)?;
    ensure!(
        node.ports()?.iter().filter(|port| port["listening"] == true).count() == 2,
        "taps that are down take part: {:?}",
        node.ports()?
    );
    bridge(&netns, "lan0", &["t0", "t1"])?;
    wait_until("one tap to be blocked and the other one open", NEWS, || {
        let ports = node.ports()?;
        let shut = ports.iter().filter(|port| port["listening"] == true).count();
        Ok(blocked(&node)? == 1 && shut == 0)
    })
    .with_context(|| format!("{:?}", node.ports()))?;
    let mut a = Plug::insert(scene, "a", node.socket())?;
    let mut b = Plug::insert(scene, "b", node.socket())?;
    meet((&mut a, STATION_A), (&mut b, STATION_B), NEWS)?;
    for number in 100..150 {
        let sent = frame(BROADCAST, STATION_A, 60, number);
        a.send(&sent)?;
        // Neighbour discovery of the host is in between.
        while b.receive()? != sent {}
    }
    let again = |frame: &Vec<u8>| frame[6..12] == STATION_A;
    ensure!(!b.drain().iter().any(again), "a broadcast came twice");
    ensure!(!a.drain().iter().any(again), "a broadcast came back");
    Ok(())
}
