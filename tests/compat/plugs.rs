//! Debian's VDE clients, plugged into nodes: what they send must come out as it was.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::client::Client;
use lab::frames::{BROADCAST, STATION_A, STATION_B, frame};
use lab::node::Setup;
use lab::plug::meet;
use lab::process::{Signal, command};
use lab::{Node, Plug, Process, Scene, Suite, wait_until};

/// How long plugs may take until frames pass between them.
const MEETING: Duration = Duration::from_secs(20);

const STATION_C: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0c];

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("frames_of_every_length_cross_a_node_unchanged", &["vde_plug"], every_length)
        .trial("a_jumbo_frame_crosses_a_node_unchanged", &["vde_plug"], jumbo)
        .trial("a_frame_never_returns_to_its_sender", &["vde_plug"], no_echo)
        .trial("a_frame_for_a_known_station_reaches_no_other_plug", &["vde_plug"], no_flood)
        .trial("a_plug_that_reads_nothing_delays_nobody", &["vde_plug"], stalled_plug)
        .trial("a_port_that_floods_is_limited_and_the_rest_is_counted", &["vde_plug"], storm)
        .trial("broadcasts_at_once_reach_a_hundred_plugs_once_and_in_order", &[], many_plugs)
        .trial("a_station_is_shown_at_the_port_of_its_plug", &["vde_plug"], known_station)
        .trial("dpipe_joins_two_nodes", &["vde_plug", "dpipe"], dpipe)
        .trial("debians_wirefilter_joins_two_nodes", &["vde_plug", "wirefilter"], wirefilter)
}

/// A node and two plugs that have met, for stations A and B.
fn node_with_two_plugs(scene: &Scene) -> Result<(Node, Plug, Plug)> {
    two_plugs(scene, Setup::local("node"))
}

fn two_plugs(scene: &Scene, setup: Setup) -> Result<(Node, Plug, Plug)> {
    let node = setup.start(scene)?;
    let mut a = Plug::insert(scene, "plug-a", node.socket())?;
    let mut b = Plug::insert(scene, "plug-b", node.socket())?;
    meet((&mut a, STATION_A), (&mut b, STATION_B), MEETING)?;
    Ok((node, a, b))
}

/// Sends frames of many lengths from each plug to the other.
fn exchange(a: &mut Plug, b: &mut Plug) -> Result<()> {
    // The shortest that has a header, the shortest of a real wire with its neighbours, an odd
    // one, and the longest with the usual MTU without and with a tag.
    for (seed, len) in (1..).zip([14, 42, 59, 60, 61, 777, 1513, 1514, 1518]) {
        let there = frame(STATION_B, STATION_A, len, seed);
        a.send(&there)?;
        b.expect(&there).with_context(|| format!("{len} octets from A to B"))?;
        let back = frame(STATION_A, STATION_B, len, seed.wrapping_neg());
        b.send(&back)?;
        a.expect(&back).with_context(|| format!("{len} octets from B to A"))?;
    }
    Ok(())
}

fn every_length(scene: &Scene) -> Result<()> {
    let (_node, mut a, mut b) = node_with_two_plugs(scene)?;
    exchange(&mut a, &mut b)
}

fn jumbo(scene: &Scene) -> Result<()> {
    let (_node, mut a, mut b) = node_with_two_plugs(scene)?;
    for len in [4096, 9014, 9230] {
        let sent = frame(STATION_B, STATION_A, len, 3);
        a.send(&sent)?;
        b.expect(&sent).with_context(|| format!("{len} octets"))?;
    }
    Ok(())
}

fn no_echo(scene: &Scene) -> Result<()> {
    let (_node, mut a, mut b) = node_with_two_plugs(scene)?;
    for seed in 0..50 {
        let call = frame(BROADCAST, STATION_A, 60, seed);
        a.send(&call)?;
        b.expect(&call)?;
        // Had the call come back to its sender, it would stand before the answer.
        let answer = frame(STATION_A, STATION_B, 60, seed);
        b.send(&answer)?;
        a.expect(&answer)?;
    }
    Ok(())
}

fn no_flood(scene: &Scene) -> Result<()> {
    let (node, mut a, mut b) = node_with_two_plugs(scene)?;
    let mut c = Plug::insert(scene, "plug-c", node.socket())?;
    meet((&mut a, STATION_A), (&mut c, STATION_C), MEETING)?;
    drop(b.drain());
    let call = frame(BROADCAST, STATION_A, 60, 99);
    for seed in 0..50 {
        let secret = frame(STATION_B, STATION_A, 100, seed);
        a.send(&secret)?;
        while b.receive()? != secret {}
    }
    a.send(&call)?;
    c.expect(&call)
}

fn stalled_plug(scene: &Scene) -> Result<()> {
    let (node, mut a, mut b) =
        two_plugs(scene, Setup::local("node").argument("--no-storm-control"))?;
    let mut stalled = Plug::insert(scene, "stalled", node.socket())?;
    meet((&mut a, STATION_A), (&mut stalled, STATION_C), MEETING)?;
    stalled.signal(Signal::STOP)?;
    drop(b.drain());
    // Several megabytes for everybody: more than any queue on the way may hold.
    for seed in (0..=u8::MAX).cycle().take(4000) {
        let call = frame(BROADCAST, STATION_A, 1514, seed);
        a.send(&call)?;
        while b.receive()? != call {}
    }
    let ports = node.ports()?;
    let port = ports
        .iter()
        .find(|port| port["description"].as_str().is_some_and(|text| text.contains("stalled")))
        .with_context(|| format!("the stalled plug is none of {ports:?}"))?;
    let drops = port["drops"].as_object().map(|drops| drops.values().filter_map(|n| n.as_u64()));
    ensure!(drops.is_some_and(|drops| drops.sum::<u64>() > 0), "no frame is counted lost: {port}");
    stalled.signal(Signal::CONT)
}

fn storm(scene: &Scene) -> Result<()> {
    let (node, mut a, mut b) = node_with_two_plugs(scene)?;
    // More than a second's worth, faster than any guest has reason to.
    for seed in (0..=u8::MAX).cycle().take(5000) {
        a.send(&frame(BROADCAST, STATION_A, 60, seed))?;
    }
    let dropped = || {
        let ports = node.ports()?;
        let drops = ports.iter().filter_map(|port| port["drops"]["broadcast-storm"].as_u64());
        Ok::<u64, anyhow::Error>(drops.sum())
    };
    wait_until("broadcasts to be dropped", MEETING, || Ok(dropped()? > 1000))?;
    // Known unicast is nobody's business.
    for seed in 0..50 {
        let sent = frame(STATION_B, STATION_A, 60, seed);
        a.send(&sent)?;
        while b.receive()? != sent {}
    }
    Ok(())
}

/// What came in together goes out in several turns, so that the copies hold nobody up.
fn many_plugs(scene: &Scene) -> Result<()> {
    let mut node = Setup::local("node").start(scene)?;
    let plug = |name: &str| -> Result<Client> {
        let client = Client::plug_in_at(node.socket(), &scene.path(name), 0)?;
        client.connect()?;
        Ok(client)
    };
    let talker = plug("talker")?;
    let listeners =
        (0..100).map(|number| plug(&format!("listener-{number}"))).collect::<Result<Vec<_>>>()?;
    let calls: Vec<_> = (0..64).map(|seed| frame(BROADCAST, STATION_A, 60, seed)).collect();
    node.signal(Signal::STOP)?;
    for call in &calls {
        talker.send(call)?;
    }
    node.signal(Signal::CONT)?;
    for (number, listener) in listeners.iter().enumerate() {
        for call in &calls {
            ensure!(listener.receive()? == *call, "listener {number} heard another frame");
        }
    }
    // A frame from somebody else comes behind all copies that there are.
    let end = frame(BROADCAST, STATION_B, 60, 0);
    listeners[0].send(&end)?;
    for (number, listener) in listeners.iter().enumerate().skip(1) {
        ensure!(listener.receive()? == end, "listener {number} heard a frame twice");
    }
    Ok(())
}

fn known_station(scene: &Scene) -> Result<()> {
    let (node, a, _b) = node_with_two_plugs(scene)?;
    let macs = node.macs()?;
    for (mac, plug) in [("02:00:00:00:00:0a", "plug-a"), ("02:00:00:00:00:0b", "plug-b")] {
        let entry = macs
            .iter()
            .find(|entry| entry["mac"] == mac)
            .with_context(|| format!("{mac} is none of {macs:?}"))?;
        let description = entry["description"].as_str().unwrap_or_default();
        ensure!(description.contains(plug), "{mac} is shown at another port: {entry}");
    }
    drop(a);
    wait_until("the port of a pulled plug to go", MEETING, || {
        let left = |list: Vec<serde_json::Value>| {
            list.iter().any(|entry| entry["description"].to_string().contains("plug-a"))
        };
        Ok(!left(node.ports()?) && !left(node.macs()?))
    })
}

/// Two nodes, a program between them, and a plug in each.
fn joined(scene: &Scene, join: fn(&Node, &Node) -> std::process::Command) -> Result<()> {
    let left = Setup::local("left").start(scene)?;
    let right = Setup::local("right").start(scene)?;
    // These programs end when their input does.
    let (_joint, _input, _output) = Process::spawn_piped(scene, "joint", &mut join(&left, &right))?;
    let mut a = Plug::insert(scene, "plug-a", left.socket())?;
    let mut b = Plug::insert(scene, "plug-b", right.socket())?;
    meet((&mut a, STATION_A), (&mut b, STATION_B), MEETING)?;
    exchange(&mut a, &mut b)
}

fn dpipe(scene: &Scene) -> Result<()> {
    joined(scene, |left, right| {
        let mut joint = command("dpipe", None);
        joint.arg("vde_plug").arg(left.socket()).args(["=", "vde_plug"]).arg(right.socket());
        joint
    })
}

fn wirefilter(scene: &Scene) -> Result<()> {
    joined(scene, |left, right| {
        let mut joint = command("wirefilter", None);
        joint.arg("-v").arg(format!("{}:{}", left.socket().display(), right.socket().display()));
        joint
    })
}
