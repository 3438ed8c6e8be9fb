//! Cables in any shape: every frame comes once, wherever it is sent, and finds its way.

use anyhow::{Result, ensure};
use lab::traffic::Ping;
use lab::{Scene, Suite, wait_until};

use crate::world::{NEWS, World};

/// Payload of an echo request that fills an IPv4 packet of 1500 octets.
const FULL_PACKET: u32 = 1500 - 28;

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("in_a_ring_of_three_each_host_gets_each_broadcast_once", &["vde_plug"], ring)
        .trial("over_two_parallel_cables_each_broadcast_comes_once", &["vde_plug"], parallel)
        .trial("a_chain_of_five_carries_frames_and_echoes_end_to_end", &["vde_plug"], chain)
        .trial("in_a_full_mesh_of_eight_each_host_gets_each_broadcast_once", &["vde_plug"], full)
}

fn ring(scene: &Scene) -> Result<()> {
    let world = World::build(scene, 3, &[[0, 1], [1, 2], [2, 0]])?;
    world.assert_each_broadcast_comes_once(scene, &[0, 1, 2])?;
    all_ping(&world)
}

fn all_ping(world: &World) -> Result<()> {
    for from in &world.hosts {
        for to in world.hosts.iter().filter(|to| to.inner != from.inner) {
            Ping::to(&to.inner).size(FULL_PACKET).all_answered(&from.netns)?;
        }
    }
    Ok(())
}

fn parallel(scene: &Scene) -> Result<()> {
    let world = World::build(scene, 2, &[[0, 1], [0, 1]])?;
    world.assert_each_broadcast_comes_once(scene, &[0, 1])?;
    all_ping(&world)?;
    // An operator pulls one out: the other one carries on.
    world.hosts[0].node.ask(&["disconnect", "c1"])?;
    wait_until("one cable to be left", NEWS, || Ok(world.hosts[1].node.cables_up()? == 1))?;
    all_ping(&world)?;
    world.assert_each_broadcast_comes_once(scene, &[0, 1])
}

fn chain(scene: &Scene) -> Result<()> {
    let world = World::build(scene, 5, &[[0, 1], [1, 2], [2, 3], [3, 4]])?;
    Ping::to(world.inner(4)).size(FULL_PACKET).all_answered(&world.hosts[0].netns)?;
    world.assert_each_broadcast_comes_once(scene, &[0, 1, 2, 3, 4])?;
    let first = &world.hosts[0].node;
    ensure!(first.way("h4")? == ["h0", "h1", "h2", "h3", "h4"], "{:?}", first.way("h4"));
    let echoes = first.json(&["ping", "h4", "--count", "3", "--interval", "0.05"])?;
    ensure!(echoes["answered"] == 3 && echoes["echoes"][0]["cables"] == 4, "{echoes}");
    Ok(())
}

fn full(scene: &Scene) -> Result<()> {
    const HOSTS: usize = 8;
    let pairs = (0..HOSTS).flat_map(|a| (a + 1..HOSTS).map(move |b| [a, b]));
    let world = World::build(scene, HOSTS, &pairs.collect::<Vec<_>>())?;
    let all: Vec<usize> = (0..HOSTS).collect();
    world.assert_each_broadcast_comes_once(scene, &all)?;
    Ping::to(world.inner(7)).size(FULL_PACKET).all_answered(&world.hosts[0].netns)
}
