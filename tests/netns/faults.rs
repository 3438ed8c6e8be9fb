//! What a cable survives, and what a node leaves behind.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::node::{CABLE_UP, trust_each_other};
use lab::process::Signal;
use lab::traffic::{Iperf, Ping};
use lab::{Scene, Suite, wait_until};

use crate::hosts::{Host, INNER, Pair, TAP, WIRE};

/// How long a cable may take to come back: a dead peer has to be noticed, and the pause between
/// two attempts grows to 15 s.
const RECOVERY: Duration = Duration::from_secs(60);

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("a_cable_comes_back_after_its_dialler_was_killed", &["iperf3"], |scene| {
            killed_under_traffic(scene, |pair| &mut pair.a)
        })
        .trial("a_cable_comes_back_after_its_listener_was_killed", &["iperf3"], |scene| {
            killed_under_traffic(scene, |pair| &mut pair.b)
        })
        .trial("a_cable_comes_back_after_a_silent_cut", &[], silent_cut)
        .trial("a_cable_comes_back_after_its_peer_was_frozen", &[], frozen_peer)
        .trial("a_cable_finds_a_peer_that_starts_late", &[], late_peer)
        .trial("a_node_that_is_restarted_keeps_its_cables", &[], restart)
        .trial("an_untrusted_key_is_named_at_both_ends", &[], untrusted)
        .trial("a_disconnected_cable_stays_away", &[], disconnected)
        .trial("a_clean_exit_leaves_no_tap_and_no_socket", &[], clean_exit)
        .trial("a_deleted_tap_closes_its_port", &[], deleted_tap)
}

fn ping_comes_back(pair: &Pair) -> Result<()> {
    Ping::to(INNER[1]).wait_answer(&pair.a.netns, RECOVERY)?;
    Ping::to(INNER[0]).wait_answer(&pair.b.netns, RECOVERY)
}

fn killed_under_traffic(scene: &Scene, victim: fn(&mut Pair) -> &mut Host) -> Result<()> {
    let mut pair = Pair::on_a_wire(scene)?;
    pair.plug_cable()?;
    pair.ping_both_ways(56)?;
    let traffic = Iperf { seconds: 60, ..Iperf::to(INNER[1]) };
    let traffic = traffic.start(scene, &pair.b.netns, &pair.a.netns)?;
    wait_until("traffic on the cable", CABLE_UP, || moved_frames(&pair.a))?;
    let victim = victim(&mut pair);
    victim.node.kill()?;
    ensure!(!victim.netns.has_interface(TAP)?, "the tap of a killed node is left");
    victim.start_again(scene)?;
    ping_comes_back(&pair)?;
    drop(traffic);
    pair.wait_cable_up()?;
    pair.ping_both_ways(56)
}

/// Whether the node's cable port has sent thousands of frames.
fn moved_frames(host: &Host) -> Result<bool> {
    let ports = host.node.ports()?;
    Ok(ports.iter().any(|port| {
        let sent = port["tx_frames"].as_u64().or_else(|| port["tx_bytes"].as_u64());
        port["kind"] == "cable" && sent > Some(1000)
    }))
}

/// Nothing arrives any more and no carrier tells of it, long enough to be called dead.
fn silent_cut(scene: &Scene) -> Result<()> {
    let pair = Pair::on_a_wire(scene)?;
    pair.plug_cable()?;
    pair.ping_both_ways(56)?;
    pair.b.netns.black_hole(WIRE)?;
    for host in [&pair.a, &pair.b] {
        wait_until("a cut cable to be called down", RECOVERY, || Ok(host.node.cables_up()? == 0))?;
    }
    pair.b.netns.mend_black_hole()?;
    ping_comes_back(&pair)?;
    pair.wait_cable_up()
}

fn frozen_peer(scene: &Scene) -> Result<()> {
    let mut pair = Pair::on_a_wire(scene)?;
    pair.plug_cable()?;
    pair.ping_both_ways(56)?;
    pair.b.node.signal(Signal::STOP)?;
    wait_until("a cable to a frozen peer to be called down", RECOVERY, || {
        Ok(pair.a.node.cables_up()? == 0)
    })?;
    pair.b.node.signal(Signal::CONT)?;
    ping_comes_back(&pair)
}

fn late_peer(scene: &Scene) -> Result<()> {
    let mut pair = Pair::on_a_wire(scene)?;
    trust_each_other(&pair.a.node, &pair.b.node)?;
    ensure!(pair.b.node.terminate()?.success(), "SIGTERM failed");
    pair.a.node.connect_in_vain(pair.address_of_b)?;
    wait_until("a cable that says why it is down", CABLE_UP, || {
        let cables = pair.a.node.cables()?;
        Ok(cables.iter().any(|cable| cable["reason"].as_str().is_some_and(|why| !why.is_empty())))
    })?;
    pair.b.start_again(scene)?;
    ping_comes_back(&pair)?;
    pair.wait_cable_up()
}

fn restart(scene: &Scene) -> Result<()> {
    let mut pair = Pair::on_a_wire(scene)?;
    pair.plug_cable()?;
    // First the end that dialled, which remembers the cable; then the other, which remembers
    // whom it trusts; then both.
    for (end_a, end_b) in [(true, false), (false, true), (true, true)] {
        if end_a {
            ensure!(pair.a.node.terminate()?.success(), "SIGTERM failed");
        }
        if end_b {
            ensure!(pair.b.node.terminate()?.success(), "SIGTERM failed");
        }
        if end_b {
            pair.b.start_again(scene)?;
        }
        if end_a {
            pair.a.start_again(scene)?;
        }
        ping_comes_back(&pair).with_context(|| format!("restarted: a {end_a}, b {end_b}"))?;
        pair.wait_cable_up()?;
        let cables = pair.a.node.cables()?.len();
        ensure!(cables == 1, "there are {cables} cables after a restart");
    }
    Ok(())
}

fn untrusted(scene: &Scene) -> Result<()> {
    let pair = Pair::on_a_wire(scene)?;
    let (a, b) = (&pair.a.node, &pair.b.node);
    let (key_a, key_b) = (a.id()?, b.id()?);
    // The dialler does not trust the listener.
    let words = a.connect_in_vain(pair.address_of_b)?;
    ensure!(words.contains(&key_b), "the listener's key is not named: {words}");
    a.wait_refused(&key_b, "us", RECOVERY)?;
    ensure!(a.cables_up()? == 0, "a cable to an untrusted key is up");
    // The listener does not trust the dialler.
    a.trust(b)?;
    b.wait_refused(&key_a, "us", RECOVERY)?;
    a.wait_refused(&key_a, "peer", RECOVERY)?;
    ensure!(a.cables_up()? == 0 && b.cables_up()? == 0, "a cable of an untrusted key is up");
    let answers = Ping::to(INNER[1]).run(&pair.a.netns)?;
    ensure!(answers.received == 0, "frames pass without trust");
    // And as soon as both do, the cable is up without another word.
    b.trust(a)?;
    a.wait_cable_up(RECOVERY)?;
    pair.ping_both_ways(56)
}

fn disconnected(scene: &Scene) -> Result<()> {
    let mut pair = Pair::on_a_wire(scene)?;
    pair.plug_cable()?;
    let cables = pair.a.node.cables()?;
    let id = cables[0]["id"].as_str().with_context(|| format!("no id in {cables:?}"))?.to_owned();
    pair.a.node.ask(&["disconnect", &id])?;
    wait_until("the other end to notice", CABLE_UP, || Ok(pair.b.node.cables_up()? == 0))?;
    ensure!(pair.a.node.cables()?.is_empty(), "the cable is still listed");
    ensure!(pair.a.node.terminate()?.success(), "SIGTERM failed");
    pair.a.start_again(scene)?;
    ensure!(pair.a.node.cables()?.is_empty(), "the cable is back after a restart");
    let answers = Ping::to(INNER[1]).run(&pair.a.netns)?;
    ensure!(answers.received == 0, "frames pass without a cable");
    Ok(())
}

fn deleted_tap(scene: &Scene) -> Result<()> {
    let pair = Pair::on_a_wire(scene)?;
    let has_tap = || Ok(pair.a.node.ports()?.iter().any(|port| port["kind"] == "tap"));
    ensure!(has_tap()?, "the tap has no port to begin with");
    pair.a.netns.exec("ip", &["link", "delete", TAP])?;
    wait_until("the port to be closed", CABLE_UP, || has_tap().map(|has_tap| !has_tap))?;
    pair.a.node.status().map(drop)
}

fn clean_exit(scene: &Scene) -> Result<()> {
    let mut pair = Pair::on_a_wire(scene)?;
    pair.plug_cable()?;
    pair.ping_both_ways(56)?;
    for host in [&mut pair.a, &mut pair.b] {
        let status = host.node.terminate()?;
        ensure!(status.success(), "SIGTERM ended the node with {status}");
        ensure!(!host.netns.has_interface(TAP)?, "the tap is left");
        ensure!(!host.node.socket().exists(), "the directory of sockets is left");
        ensure!(!host.node.control().exists(), "the control socket is left");
        ensure!(host.node.state().exists(), "the key is gone with the node");
        let sockets = host.netns.exec("ss", &["-Huan"])?;
        ensure!(sockets.trim().is_empty(), "sockets are left: {sockets}");
    }
    Ok(())
}
