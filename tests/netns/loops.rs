//! Loops that somebody makes outside of the mesh: found, told everywhere, kept from melting
//! anything, and forgotten when they are gone.

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

/// Four hosts in a ring. Somebody's own switch joins the taps of two of them.
fn two_nodes(scene: &Scene) -> Result<()> {
    let world = World::build(scene, 4, &[[0, 1], [1, 2], [2, 3], [3, 0]])?;
    let outside = Netns::new("outside")?;
    for (host, end) in [(0, "to-h0"), (1, "to-h1")] {
        let netns = &world.hosts[host].netns;
        veth(netns, "ext", &outside, end)?;
        bridge(netns, "lan0", &[TAP, "ext"])?;
    }
    let mut ping = world.hosts[2].netns.command("ping");
    let mut ping = Process::spawn(scene, "ping", ping.args(["-n", "-i", "0.02", world.inner(3)]))?;
    ping.wait_log("bytes from", NEWS)?;

    bridge(&outside, "switch", &["to-h0", "to-h1"])?;
    let ends = [&world.hosts[0].node, &world.hosts[1].node];
    let blocked_ends = || anyhow::Ok([blocked(ends[0])?, blocked(ends[1])?]);
    wait_until("one end to be blocked", NEWS, || Ok(matches!(blocked_ends()?, [1, 0] | [0, 1])))?;
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
    let answers = |ping: &Process| ping.log().matches("bytes from").count();
    let before = answers(&ping);
    world.assert_each_broadcast_comes_once(scene, &[0, 1, 2, 3])?;
    wait_until("the ping to go on", NEWS, || Ok(answers(&ping) > before + 10))?;
    ping.check_running()?;
    ensure!(!ping.log().contains("DUP!"), "answers came twice");
    ensure!(matches!(blocked_ends()?, [1, 0] | [0, 1]), "it has not stayed so");

    outside.set_down("to-h1")?;
    wait_until("both ends to be open again", NEWS, || Ok(blocked_ends()? == [0, 0]))?;
    for host in &world.hosts {
        wait_until("every node to say that the loop is gone", NEWS, || {
            let told = host.node.told()?;
            Ok(told.contains("the loop at") || told.contains("says that this has passed: loop"))
        })
        .with_context(|| host.node.told().unwrap_or_default())?;
    }
    Ok(())
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
