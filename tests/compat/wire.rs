//! Wires on the ports of Debian's plugs: what is asked happens, what cannot be asked changes nothing.

use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::frames::{BROADCAST, STATION_A, STATION_B, frame};
use lab::node::{Setup, trust_each_other};
use lab::plug::meet;
use lab::process::both;
use lab::{Node, Plug, Scene, Suite, wait_until};
use serde_json::Value;

const MEETING: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_secs(10);

/// News that is lost half of the time is told again after ever longer pauses.
const NEWS: Duration = Duration::from_secs(60);

const STATION_C: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0c];

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("bad_input_for_a_wire_is_named_and_changes_nothing", &["vde_plug"], bad_input)
        .trial("a_wire_ends_with_its_plug", &["vde_plug"], end_of_plug)
        .trial("a_seed_loses_the_same_frames_again", &["vde_plug"], same_seed)
        .trial("a_timeline_changes_settings_and_begins_again", &["vde_plug"], timeline)
        .trial("a_trace_takes_the_place_of_a_rate", &["vde_plug"], trace)
        .trial("what_nodes_tell_each_other_is_late_on_a_late_cable", &["vde_plug"], late_news)
        .trial("a_pair_of_stations_has_a_wire_of_its_own", &["vde_plug"], pair)
}

fn node_with_two_plugs(scene: &Scene) -> Result<(Node, Plug, Plug)> {
    let node = Setup::local("node").start(scene)?;
    let mut a = Plug::insert(scene, "plug-a", node.socket())?;
    let mut b = Plug::insert(scene, "plug-b", node.socket())?;
    meet((&mut a, STATION_A), (&mut b, STATION_B), MEETING)?;
    Ok((node, a, b))
}

/// What is asked in the directions of every wire.
fn asked(node: &Node) -> Result<Vec<Value>> {
    let wires = node.wires()?;
    let directions = wires.iter().filter_map(|wire| wire["directions"].as_array()).flatten();
    Ok(directions.map(|direction| direction["asked"].clone()).collect())
}

fn bad_input(scene: &Scene) -> Result<()> {
    let (node, _a, _b) = node_with_two_plugs(scene)?;
    node.ask(&["wire", "plug-a", "--delay", "7ms", "--loss", "3%", "--seed", "5"])?;
    let before = asked(&node)?;
    ensure!(before[0]["delay"] == "7ms" && before[1]["loss"] == "3%", "{before:?}");
    let file = |name: &str, text: &str| -> Result<String> {
        let path = scene.path(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let typo =
        "0 loss=1\n1 loss=2\n2 loss=3\n3 loss=4\n4 loss=5\n5 loss=6\n6 delya=10ms\n7 clear\n";
    let timeline = file("timeline", typo)?;
    let trace = file("trace", "1\n2\nthree\n")?;
    for (words, part) in [
        (&["--loss", "150%"][..], "150 is no percentage; it must be from 0 to 100"),
        (&["--loss", "-1"], "-1 is no percentage"),
        (&["--delay", "-5ms"], "is no delay"),
        (&["--delay", "10parsec"], "'parsec' means nothing here"),
        (&["--rate", "20"], "'20' has no unit"),
        (&["--rate", "20mph"], "means nothing here"),
        (&["--loss", "1%", "--delay", "soon"], "delay: 'soon' is not a number"),
        (&["--set", "delya=1"], "delya: there is no such setting"),
        (&["--profile", "5g"], "there are lte, 3g,"),
        (&["--timeline", &timeline], "the timeline, line 7: delya: there is no such setting"),
        (&["--trace", &trace], "the trace, line 3: \"three\" is no time"),
    ] {
        let arguments = [&["wire", "plug-a"], words].concat();
        let output = node.vdecable(&arguments)?;
        let said = both(&output);
        ensure!(output.status.code() == Some(1), "{words:?} ended with {}: {said}", output.status);
        ensure!(said.contains(part), "{words:?}: {said}");
        ensure!(asked(&node)? == before, "{words:?} changed {:?}", asked(&node)?);
    }
    for (target, part) in [("plug", "may be any of: 1 plug-"), ("elsewhere", "is none of: 1 plug-")]
    {
        let output = node.vdecable(&["wire", target, "--loss", "1%"])?;
        let said = both(&output);
        ensure!(output.status.code() == Some(1) && said.contains(part), "{target}: {said}");
    }
    ensure!(asked(&node)? == before, "{:?}", asked(&node)?);
    Ok(())
}

fn end_of_plug(scene: &Scene) -> Result<()> {
    let (node, a, _b) = node_with_two_plugs(scene)?;
    node.ask(&["wire", "plug-a", "--profile", "lte"])?;
    ensure!(node.wires()?.len() == 1, "{:?}", node.wires()?);
    ensure!(node.ask(&["status"])?.contains("rate 12mbit"), "status does not show the wire");
    drop(a);
    wait_until("the wire to end with its plug", SOON, || Ok(node.wires()?.is_empty()))?;
    let _again = Plug::insert(scene, "plug-a", node.socket())?;
    wait_until("the plug to be back", SOON, || Ok(node.ports()?.len() == 2))?;
    ensure!(node.wires()?.is_empty(), "{:?}", node.wires()?);
    Ok(())
}

fn same_seed(scene: &Scene) -> Result<()> {
    let (node, mut a, mut b) = node_with_two_plugs(scene)?;
    let mut arrive = || -> Result<Vec<u8>> {
        node.ask(&["wire", "plug-a", "--in", "--loss", "30%", "--seed", "1234"])?;
        for number in 0..200 {
            a.send(&frame(STATION_B, STATION_A, 100, number))?;
        }
        wait_until("all frames to come to the wire", SOON, || {
            Ok(node.wires()?[0]["directions"][0]["achieved"]["received"] == 200)
        })?;
        node.ask(&["wire", "plug-a", "--clear"])?;
        let mut arrived = Vec::new();
        let last = frame(STATION_B, STATION_A, 60, 255);
        a.send(&last)?;
        loop {
            let received = b.receive()?;
            if received.len() == last.len() {
                return Ok(arrived);
            }
            arrived.push(received[14]);
        }
    };
    let once = arrive()?;
    ensure!((100..180).contains(&once.len()), "{} of 200 frames arrived", once.len());
    ensure!(arrive()? == once, "the same seed did not lose the same frames");
    Ok(())
}

fn timeline(scene: &Scene) -> Result<()> {
    let (node, _a, _b) = node_with_two_plugs(scene)?;
    let path = scene.path("timeline");
    fs::write(&path, "0 in delay=5ms\n300ms delay=9ms loss=2%\n600ms clear\n900ms repeat\n")?;
    let path = path.display().to_string();
    node.ask(&["wire", "2", "--timeline", &path])?;
    for round in 0..2 {
        for wanted in ["5ms", "9ms"] {
            let what = format!("a delay of {wanted} in round {round}");
            wait_until(&what, SOON, || Ok(asked(&node)?[0]["delay"] == wanted))?;
        }
        wait_until("nothing to be asked", SOON, || Ok(asked(&node)?[0] == serde_json::json!({})))?;
    }
    ensure!(node.wires()?[0]["timeline"] == true, "the timeline is not shown");
    node.ask(&["wire", "2", "--out", "--delay", "1ms"])?;
    ensure!(node.wires()?[0]["timeline"] == false, "the timeline goes on after another change");
    Ok(())
}

fn trace(scene: &Scene) -> Result<()> {
    let (node, mut a, mut b) = node_with_two_plugs(scene)?;
    let path = scene.path("trace");
    // One opportunity every 20 ms: frames of full size come out one by one.
    fs::write(&path, "20\n40\n60\n")?;
    let path = path.display().to_string();
    node.ask(&["wire", "plug-a", "--in", "--trace", &path])?;
    ensure!(asked(&node)?[0]["trace"] == "playing", "{:?}", asked(&node)?);
    for number in 0..20 {
        a.send(&frame(STATION_B, STATION_A, 1500, number))?;
    }
    for number in 0..20 {
        b.expect(&frame(STATION_B, STATION_A, 1500, number))?;
    }
    let wires = node.wires()?;
    let achieved = &wires[0]["directions"][0]["achieved"];
    let p50 = achieved["delay_p50_ms"].as_f64().context("no delay")?;
    ensure!(achieved["delivered"] == 20 && p50 > 100.0, "{achieved}");
    Ok(())
}

/// News of a station goes by the cable's reliable stream: a delay holds it up, losses hold it up longer,
/// and it arrives all the same.
fn late_news(scene: &Scene) -> Result<()> {
    let address = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let far = Setup::listening("far", &address).start(scene)?;
    let near = Setup::local("near").start(scene)?;
    trust_each_other(&near, &far)?;
    near.connect(&address)?;
    near.wait_cable_up(SOON)?;
    let knows = |station: &str| {
        wait_until(&format!("news of station {station}"), NEWS, || {
            Ok(near.macs()?.iter().any(|entry| entry["mac"] == station))
        })
    };
    let mut plug = Plug::insert(scene, "plug", far.socket())?;
    plug.send(&frame(BROADCAST, STATION_A, 60, 1))?;
    knows("02:00:00:00:00:0a")?;
    const DELAY: Duration = Duration::from_millis(700);
    for (settings, station, least) in [
        (&["--delay", "700ms"][..], STATION_B, DELAY),
        (&["--delay", "700ms", "--loss", "50%", "--seed", "1"], STATION_C, DELAY),
        (&["--frames-only"], [2, 0, 0, 0, 0, 0xd], Duration::ZERO),
    ] {
        near.ask(&[&["wire", "c1", "--in"], settings].concat())?;
        let sent = now();
        plug.send(&frame(BROADCAST, station, 60, 2))?;
        knows(&format!("02:00:00:00:00:{:02x}", station[5]))?;
        let took = now() - sent;
        ensure!(took >= least, "{settings:?}: it took {took:?}");
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the test looks at the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Waits for a frame; gives those before it, some of which are greetings.
fn until(plug: &mut Plug, wanted: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut before = Vec::new();
    loop {
        let received = plug.receive()?;
        if received == wanted {
            return Ok(before);
        }
        before.push(received);
    }
}

fn pair(scene: &Scene) -> Result<()> {
    let (node, mut a, mut b) = node_with_two_plugs(scene)?;
    let mut c = Plug::insert(scene, "plug-c", node.socket())?;
    meet((&mut a, STATION_A), (&mut c, STATION_C), MEETING)?;
    let to = ["02:00:00:00:00:0a", "02:00:00:00:00:0b"];
    node.ask(&["wire", "pair", to[0], to[1], "--loss", "100%"])?;
    let wires = node.wires()?;
    ensure!(wires[0]["kind"] == "pair" && wires[0]["target"] == to.join(" "), "{wires:?}");
    // Neither what is for B nor what is for all gets from A to B; C hears both, and B hears C.
    for (destination, heard) in [(STATION_B, false), (BROADCAST, true)] {
        let sent = frame(destination, STATION_A, 100, 1);
        a.send(&sent)?;
        if heard {
            until(&mut c, &sent)?;
        }
        let end = frame(STATION_B, STATION_C, 100, 2);
        c.send(&end)?;
        let before = until(&mut b, &end)?;
        ensure!(!before.contains(&sent), "B hears A");
    }
    let back = frame(STATION_A, STATION_B, 100, 3);
    b.send(&back)?;
    until(&mut a, &back)?;
    let wires = node.wires()?;
    let achieved = &wires[0]["directions"][0]["achieved"];
    ensure!(achieved["received"] == 2 && achieved["drops"]["lost"] == 2, "{achieved}");
    let output = node.vdecable(&["wire", "pair", to[0], "nobody", "--loss", "1%"])?;
    ensure!(both(&output).contains("nobody is no MAC address"), "{}", both(&output));
    node.ask(&["wire", "pair", "--clear"])?;
    ensure!(node.wires()?.is_empty(), "a pair is left");
    let sent = frame(STATION_B, STATION_A, 100, 4);
    a.send(&sent)?;
    b.expect(&sent)
}
