//! What a cable carries, over which paths.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::process::Process;
use lab::traffic::{Direction, Iperf, Ping};
use lab::{Scene, Suite};

use crate::hosts::{Host, INNER, Pair, TAP, WIRE};

/// Payload of an echo request that fills an IPv4 packet of 1500 octets.
const FULL_PACKET: u32 = 1500 - 28;

/// The same for jumbo frames.
const FULL_JUMBO_PACKET: u32 = 9000 - 28;

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("two_hosts_ping_each_other_over_a_cable", &[], ping)
        .trial("a_cable_carries_tcp_in_both_directions", &["iperf3"], tcp)
        .trial("super_frames_reach_a_plain_tap_in_finished_pieces", &["iperf3"], plain_tap)
        .trial(
            "no_unfinished_checksum_and_no_super_frame_leaves_by_a_plain_tap",
            &["iperf3", "tcpdump"],
            finished_on_the_far_side,
        )
        .trial("a_cable_runs_over_ipv6", &[], ipv6)
        .trial("full_frames_cross_a_path_of_1280_without_icmp", &["iperf3"], silent_router)
        .trial("full_frames_cross_a_wire_of_1280_without_icmp", &["iperf3"], small_wire)
        .trial("jumbo_frames_cross_a_cable", &["iperf3"], jumbo)
}

fn ping(scene: &Scene) -> Result<()> {
    let pair = Pair::on_a_wire(scene)?;
    let before = Ping::to(INNER[1]).count(1).run(&pair.a.netns)?;
    ensure!(before.received == 0, "the hosts are joined before the cable is plugged");
    pair.plug_cable()?;
    pair.ping_both_ways(56)?;
    pair.ping_both_ways(FULL_PACKET)
}

fn tcp(scene: &Scene) -> Result<()> {
    let pair = Pair::on_a_wire(scene)?;
    pair.plug_cable()?;
    pair.ping_both_ways(56)?;
    for streams in [1, 4] {
        for direction in [Direction::ToServer, Direction::ToClient] {
            let rate = pair.transfer(scene, |iperf| Iperf { streams, direction, ..iperf })?;
            ensure!(rate > 0.0, "{streams} streams moved nothing {direction:?}");
        }
    }
    pair.ping_both_ways(56)
}

fn plain_tap(scene: &Scene) -> Result<()> {
    let pair = Pair::with_a_plain_tap(scene)?;
    pair.plug_cable()?;
    carries_full_frames(scene, &pair)?;
    let offload = |host: &Host| -> Result<bool> {
        let ports = host.node.ports()?;
        Ok(ports.iter().any(|port| port["kind"] == "tap" && port["offload"] == true))
    };
    ensure!(offload(&pair.a)? && !offload(&pair.b)?, "the taps are not what they should be");
    Ok(())
}

/// What tcpdump sees of a host whose tap has offloads, at the other whose tap has none.
fn finished_on_the_far_side(scene: &Scene) -> Result<()> {
    const PACKETS: usize = 400;
    const PATIENCE: Duration = Duration::from_secs(30);
    let pair = Pair::with_a_plain_tap(scene)?;
    pair.plug_cable()?;
    pair.ping_both_ways(56)?;
    let path = scene.path("seen.pcap");
    let file = path.to_str().context("a path that is text")?;
    let count = PACKETS.to_string();
    let mut capture = pair.b.netns.command("tcpdump");
    capture.args(["-Z", "root", "-i", TAP, "-Q", "in", "-c", &count, "-w", file, "tcp"]);
    let mut capture = Process::spawn(scene, "tcpdump", &mut capture)?;
    capture.wait_log("listening on", PATIENCE)?;
    pair.transfer(scene, |iperf| iperf)?;
    ensure!(capture.wait_end(PATIENCE)?.success(), "tcpdump: {}", capture.log());

    let seen = pair.b.netns.exec("tcpdump", &["-r", file, "-n", "-v"])?;
    let (right, wrong) = (seen.matches("(correct)").count(), seen.matches("incorrect").count());
    ensure!(
        right == PACKETS && wrong == 0,
        "{right} checksums are right, {wrong} are not:\n{seen}"
    );
    // 1514 octets are the longest frame at this MTU.
    let long = pair.b.netns.exec("tcpdump", &["-r", file, "-n", "greater 1515"])?;
    ensure!(long.is_empty(), "longer than the interface's frames:\n{long}");
    Ok(())
}

fn ipv6(scene: &Scene) -> Result<()> {
    let pair = Pair::on_an_ipv6_wire(scene)?;
    pair.plug_cable()?;
    pair.ping_both_ways(FULL_PACKET)
}

fn silent_router(scene: &Scene) -> Result<()> {
    let pair = Pair::behind_a_silent_router(scene, 1280)?;
    pair.plug_cable()?;
    carries_full_frames(scene, &pair)
}

/// Here the hosts know the MTU, and their kernels refuse longer packets.
fn small_wire(scene: &Scene) -> Result<()> {
    let pair = Pair::on_a_wire(scene)?;
    for host in [&pair.a, &pair.b] {
        host.netns.set_mtu(WIRE, 1280)?;
    }
    pair.plug_cable()?;
    carries_full_frames(scene, &pair)
}

fn carries_full_frames(scene: &Scene, pair: &Pair) -> Result<()> {
    pair.ping_both_ways(FULL_PACKET)?;
    for direction in [Direction::ToServer, Direction::ToClient] {
        let rate = pair.transfer(scene, |iperf| Iperf { direction, ..iperf })?;
        ensure!(rate > 0.0, "TCP moved nothing {direction:?}");
    }
    pair.ping_both_ways(FULL_PACKET)
}

fn jumbo(scene: &Scene) -> Result<()> {
    let mut pair = Pair::on_a_wire(scene)?;
    for host in [&mut pair.a, &mut pair.b] {
        host.set_tap_mtu(9000)?;
    }
    pair.plug_cable()?;
    pair.ping_both_ways(FULL_JUMBO_PACKET)?;
    let rate = pair.transfer(scene, |iperf| iperf)?;
    ensure!(rate > 0.0, "TCP with jumbo frames moved nothing");
    Ok(())
}
