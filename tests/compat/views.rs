//! What `vdecable` shows of the whole network: nodes, cables, stations, ways, events; and that
//! programs can rely on its JSON.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::frames::{BROADCAST, STATION_A, frame};
use lab::node::{CABLE_UP, Setup, trust_each_other};
use lab::process::{both, built_program, command};
use lab::{Node, Plug, Process, Scene, Suite, wait_for, wait_until};
use serde_json::Value;

/// How long news takes through a network of three nodes on one busy machine.
const NEWS: Duration = Duration::from_secs(20);

/// `vdecable`'s exit codes, which are part of its interface.
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const NODE_NOT_RUNNING: i32 = 3;

/// One octet of a frame that nobody looks at.
const ANYTHING: u8 = 1;

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("nodes_in_a_ring_know_one_another", &[], ring)
        .trial("a_node_that_dies_is_shown_as_out_of_reach_and_told_of", &[], death)
        .trial("a_way_through_a_chain_names_every_node_and_cable", &[], way)
        .trial("a_ping_measures_the_way_that_frames_go", &["vde_plug"], ping)
        .trial("events_end_with_the_node", &[], end_of_events)
        .trial("json_has_the_fields_that_are_documented", &["vde_plug"], fields)
        .trial("a_wrong_command_line_is_told_in_json", &[], usage)
}

/// Nodes with these names, of which each trusts all others.
fn start(scene: &Scene, names: &[&str]) -> Result<Vec<(Node, String)>> {
    let mut nodes: Vec<(Node, String)> = Vec::new();
    for name in names {
        // A port that nobody uses at this moment.
        let address = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let node = Setup::listening(name, &address).start(scene)?;
        for (other, _) in &nodes {
            trust_each_other(&node, other)?;
        }
        nodes.push((node, address));
    }
    Ok(nodes)
}

/// Three of them in a row; the outer ones see each other.
fn chain(scene: &Scene) -> Result<[Node; 3]> {
    let nodes = start(scene, &["one", "two", "three"])?;
    for (from, to) in [(0, 1), (1, 2)] {
        nodes[from].0.connect(&nodes[to].1)?;
    }
    let nodes = <[(Node, String); 3]>::try_from(nodes).ok().context("three were started")?;
    let nodes = nodes.map(|(node, _)| node);
    wait_until("the ends of the chain to know each other", NEWS, || {
        Ok(hops(&nodes[0])? == [("one", 0), ("two", 1), ("three", 2)].map(some)
            && hops(&nodes[2])? == [("three", 0), ("two", 1), ("one", 2)].map(some))
    })?;
    Ok(nodes)
}

fn some((name, hops): (&str, u64)) -> (String, Option<u64>) {
    (name.to_owned(), Some(hops))
}

fn json(node: &Node, arguments: &[&str]) -> Result<Value> {
    let words = [&["--json"], arguments].concat();
    let text = node.ask(&words)?;
    serde_json::from_str(&text).with_context(|| format!("vdecable {words:?} gave no JSON: {text}"))
}

fn list(node: &Node, arguments: &[&str], of: &str) -> Result<Vec<Value>> {
    let answer = json(node, arguments)?;
    let list = answer.get(of).and_then(Value::as_array);
    list.cloned().with_context(|| format!("no list of {of} in {answer}"))
}

/// The nodes that a node lists, in its order, and how far they are.
fn hops(node: &Node) -> Result<Vec<(String, Option<u64>)>> {
    let nodes = list(node, &["nodes"], "nodes")?;
    Ok(nodes.iter().map(|node| (words(&node["name"]), node["hops"].as_u64())).collect())
}

fn words(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn ring(scene: &Scene) -> Result<()> {
    let nodes = start(scene, &["one", "two", "three"])?;
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        nodes[from].0.connect(&nodes[to].1)?;
    }
    for (node, _) in &nodes {
        // The way over two cables may be the faster one on a busy machine.
        let is_near = |(name, hops): &(String, Option<u64>)| match hops {
            Some(0) => name == node.name(),
            Some(hops) => *hops <= 2,
            None => false,
        };
        let what = format!("node {} to know both others", node.name());
        wait_until(&what, NEWS, || {
            let hops = hops(node)?;
            Ok(hops.len() == 3 && hops.iter().all(is_near))
        })?;
        let shown = node.ask(&["nodes"])?;
        ensure!(shown.contains("this node") && !shown.contains("unreachable"), "{shown}");
    }
    Ok(())
}

/// `vdecable events` at work.
struct Follower {
    process: Process,
}

impl Follower {
    fn start(scene: &Scene, node: &Node) -> Result<Self> {
        let mut vdecable = command(built_program("vdecable")?, None);
        vdecable.arg("--control").arg(node.control());
        vdecable.args(["--json", "events", "--last", "100"]);
        let name = format!("events-{}", node.name());
        Ok(Self { process: Process::spawn(scene, &name, &mut vdecable)? })
    }

    /// Whole lines only: the last one may be under way.
    fn heard(&self) -> Vec<Value> {
        let log = self.process.log();
        let whole = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for the event of that kind, about that node, that comes as the `nth` of its like.
    fn wait(&self, kind: &str, node: &str, nth: usize) -> Result<Value> {
        wait_for(&format!("{kind} of {node}"), NEWS, || {
            let is_it = |event: &Value| {
                let about = ["node", "peer"].map(|field| words(&event[field]["name"]));
                event["kind"] == kind && about.iter().any(|name| name == node)
            };
            Ok(self.heard().into_iter().filter(is_it).nth(nth))
        })
        .with_context(|| format!("it has heard {:?}", self.heard()))
    }
}

fn death(scene: &Scene) -> Result<()> {
    let [one, two, mut three] = chain(scene)?;
    let far = Follower::start(scene, &one)?;
    let near = Follower::start(scene, &two)?;
    far.wait("node-joined", "three", 0)?;
    near.wait("cable-up", "three", 0)?;
    near.wait("link-up", "three", 0)?;

    three.kill()?;
    let lost = near.wait("link-down", "three", 0)?;
    ensure!(words(&lost["text"]).contains("cable c2"), "which cable is not said: {lost}");
    near.wait("node-left", "three", 0)?;
    let left = far.wait("node-left", "three", 0)?;
    ensure!(words(&left["at"]).ends_with('Z'), "no time: {left}");
    let shown = one.ask(&["nodes"])?;
    ensure!(shown.contains("unreachable"), "{shown}");
    let nodes = list(&one, &["nodes"], "nodes")?;
    let dead = nodes.last().context("no nodes")?;
    ensure!(
        dead["name"] == "three" && dead["reachable"] == false && !words(&dead["reason"]).is_empty(),
        "{dead}"
    );
    let failed = one.vdecable(&["trace", "three"])?;
    ensure!(failed.status.code() == Some(FAILED), "a way to a dead node: {}", both(&failed));
    ensure!(both(&failed).contains("two"), "who has lost it is not said: {}", both(&failed));

    three.start(scene)?;
    near.wait("cable-down", "three", 0)?;
    near.wait("link-up", "three", 1)?;
    far.wait("node-joined", "three", 1)?;
    wait_until("three to be in reach again", NEWS, || {
        Ok(hops(&one)?.last().is_some_and(|last| *last == some(("three", 2))))
    })
}

fn way(scene: &Scene) -> Result<()> {
    let [one, _two, three] = chain(scene)?;
    let traces = list(&one, &["trace", "three"], "traces")?;
    let hops = traces[0]["hops"].as_array().context("no hops")?;
    let names: Vec<_> = hops.iter().map(|hop| words(&hop["node"])).collect();
    ensure!(names == ["one", "two", "three"], "{names:?}");
    ensure!(hops[1]["via"][0] == "c1", "the first cable is not named: {}", hops[1]);
    ensure!(hops[1..].iter().all(|hop| hop["rtt_ms"].is_f64()), "no round trips: {hops:?}");
    ensure!(hops[0]["rtt_ms"].is_null() && hops[0]["cables"] == 0, "{}", hops[0]);
    let shown = one.ask(&["trace", "three"])?;
    ensure!(shown.lines().count() == 4 && shown.contains("cable c1"), "{shown}");
    // By key as well; and the way back is as long.
    let back = list(&three, &["trace", &one.id()?], "traces")?;
    ensure!(back[0]["hops"].as_array().is_some_and(|hops| hops.len() == 3), "{back:?}");
    let nobody = one.vdecable(&["trace", "nobody"])?;
    ensure!(nobody.status.code() == Some(FAILED), "a way to nobody: {}", both(&nobody));
    Ok(())
}

fn ping(scene: &Scene) -> Result<()> {
    let [one, two, mut three] = chain(scene)?;
    let quick = ["--count", "4", "--interval", "0.02"];
    let echoes = one.json(&[&["ping", "three"], &quick[..]].concat())?;
    has(&echoes, "node key sent answered loss min_ms avg_ms max_ms echoes")?;
    ensure!(echoes["sent"] == 4 && echoes["answered"] == 4 && echoes["loss"] == 0.0, "{echoes}");
    ensure!(echoes["node"] == "three" && echoes["key"] == three.id()?, "{echoes}");
    let first = &echoes["echoes"][0];
    has(first, "mac vlan node key octets rtt_ms cables cables_back lost")?;
    ensure!(first["cables"] == 2 && first["cables_back"] == 2, "{first}");
    // What an operator does to a cable's frames, and not to its beats, is measured.
    one.ask(&["wire", "c1", "--delay", "40ms"])?;
    let slow = one.json(&[&["ping", "three"], &quick[..]].concat())?;
    ensure!(slow["min_ms"].as_f64() > Some(40.0), "{slow}");
    one.ask(&["wire", "c1", "--clear"])?;
    // A station stands for its node; the largest echoes get through; a node reaches itself.
    let mut plug = Plug::insert(scene, "plug", three.socket())?;
    wait_until("a station", NEWS, || {
        plug.send(&frame(BROADCAST, STATION_A, 60, ANYTHING))?;
        Ok(one.macs()?.len() == 1)
    })?;
    let station = words(&one.macs()?[0]["mac"]);
    let shown = one.ask(&["ping", &station, "--count", "1", "--size", "9234"])?;
    let wanted = format!("{station} is behind node three, which is asked in its place");
    ensure!(shown.contains(&wanted) && shown.contains("9234 octets, 2 cables"), "{shown}");
    ensure!(shown.contains("1 sent, 1 answered, 0.0 % lost"), "{shown}");
    ensure!(one.ask(&["ping", "one", "--count", "1"])?.contains("this node itself"), "itself");

    let refused = |target: &str, wanted: &str| {
        let output = one.vdecable(&["ping", target])?;
        let said = both(&output);
        ensure!(output.status.code() == Some(FAILED) && said.contains(wanted), "{target}: {said}");
        anyhow::Ok(())
    };
    refused("nobody", "no node called nobody")?;
    refused("02:00:00:00:00:77", "no station 02:00:00:00:00:77")?;
    three.kill()?;
    wait_until("three to be out of reach", NEWS, || {
        Ok(list(&one, &["nodes"], "nodes")?.iter().any(|node| node["reachable"] == false))
    })?;
    refused("three", "no way leads to node three")?;
    refused(&station, "no station")?;
    ensure!(two.vdecable(&["ping", "three", "--size", "1"])?.status.code() == Some(USAGE), "size");
    Ok(())
}

fn end_of_events(scene: &Scene) -> Result<()> {
    let mut nodes = start(scene, &["one", "two"])?;
    let (mut two, _) = nodes.pop().context("two were started")?;
    let (one, address) = nodes.pop().context("two were started")?;
    two.connect(&address)?;
    wait_until("a neighbour", NEWS, || Ok(hops(&two)?.len() == 2))?;
    let mut follower = Follower::start(scene, &two)?;
    follower.wait("node-joined", "one", 0)?;
    // What is asked for alone ends by itself.
    let past = two.ask(&["events", "--last", "1", "--no-follow"])?;
    ensure!(past.lines().count() == 1, "one line was asked for: {past}");
    let none = two.ask(&["events", "--no-follow"])?;
    ensure!(none.is_empty(), "nothing was asked for: {none}");
    two.terminate()?;
    let status = follower.process.wait_end(NEWS)?;
    ensure!(status.code() == Some(NODE_NOT_RUNNING), "it ended with {status}");
    let shut_down = Follower::start(scene, &one)?.wait("cable-down", "two", 0)?;
    ensure!(words(&shut_down["reason"]).contains("shut down"), "{shut_down}");
    Ok(())
}

fn fields(scene: &Scene) -> Result<()> {
    let nodes = start(scene, &["one", "two"])?;
    let (one, two) = (&nodes[0].0, &nodes[1].0);
    one.connect(&nodes[1].1)?;
    wait_until("a cable that frames take", CABLE_UP, || {
        Ok(list(one, &["cables"], "cables")?.iter().any(|cable| cable["in_use"] == true))
    })?;
    wait_until("a neighbour", NEWS, || Ok(hops(one)?.len() == 2))?;
    let mut plug = Plug::insert(scene, "plug", one.socket())?;
    wait_until("a station", NEWS, || {
        plug.send(&frame(BROADCAST, STATION_A, 60, ANYTHING))?;
        Ok(!one.macs()?.is_empty())
    })?;

    let cables = list(one, &["cables"], "cables")?;
    has(
        &cables[0],
        "id state reason fix retry_in_seconds dialled_here address remote peer key up_seconds \
         rtt_ms loss path_mtu profile port times_up in_use in_use_seconds silent_seconds \
         beat_rtt_ms beat_loss cost rx_frames rx_bytes tx_frames tx_bytes drops",
    )?;
    ensure!(cables[0]["beat_rtt_ms"].is_f64() && cables[0]["peer"] == "two", "{}", cables[0]);
    let views = list(one, &["nodes"], "nodes")?;
    has(
        &views[1],
        "name key nick own reachable reason hops rtt_ms cost next cables stations \
         gateway news_age_seconds",
    )?;
    ensure!(views[0]["own"] == true && views[1]["key"] == two.id()?, "{views:?}");

    let station = one.macs()?.remove(0);
    has(&station, "mac vlan node key here port kind description age_seconds")?;
    ensure!(
        station["here"] == true && station["node"] == "one" && station["kind"] == "vde",
        "{station}"
    );
    ensure!(list(one, &["macs", "--at", "one", "--vlan", "0"], "macs")?.len() == 1, "not found");
    ensure!(list(one, &["macs", "--at", "two"], "macs")?.is_empty(), "found at two");
    ensure!(list(one, &["macs", "--vlan", "7"], "macs")?.is_empty(), "found in VLAN 7");

    let traces = list(one, &["trace", &words(&station["mac"])], "traces")?;
    has(&traces[0], "mac vlan node key port description hops")?;
    has(&traces[0]["hops"][0], "node key via cables rtt_ms cost")?;
    ensure!(traces[0]["port"] == station["port"], "{traces:?} {station}");
    wait_until("the station to be known at the other node", NEWS, || {
        Ok(list(two, &["macs", "--at", "one"], "macs")?.len() == 1)
    })?;
    let remote = two.macs()?.remove(0);
    has(&remote, "mac vlan node key here port kind description age_seconds")?;
    ensure!(
        remote["mac"] == station["mac"]
            && remote["here"] == false
            && remote["port"] == station["port"]
            && remote["age_seconds"].is_f64(),
        "{remote}"
    );
    let traces = list(two, &["trace", &words(&station["mac"])], "traces")?;
    let names: Vec<_> = traces[0]["hops"].as_array().into_iter().flatten().collect();
    ensure!(names.len() == 2 && traces[0]["node"] == "one", "{traces:?}");
    let shown = two.ask(&["trace", &words(&station["mac"])])?;
    ensure!(shown.contains("is behind node one"), "{shown}");
    has(
        &one.ports()?[0],
        "port kind description blocked pid uid max_frame offload rx_frames rx_bytes tx_frames tx_bytes \
         drops",
    )?;

    let events = one.ask(&["--json", "events", "--last", "100", "--no-follow"])?;
    let events: Result<Vec<Value>, _> = events.lines().map(serde_json::from_str).collect();
    let events = events.context("an event is no JSON")?;
    ensure!(events.iter().any(|event| event["kind"] == "link-up"), "{events:?}");
    events.iter().try_for_each(|event| has(event, "at level kind text"))
}

/// Whether an object has all of these fields, be they null.
fn has(object: &Value, fields: &str) -> Result<()> {
    let missing: Vec<_> =
        fields.split_whitespace().filter(|field| object.get(field).is_none()).collect();
    ensure!(missing.is_empty(), "{missing:?} are missing in {object}");
    Ok(())
}

fn usage(scene: &Scene) -> Result<()> {
    let node = Setup::local("node").start(scene)?;
    for wrong in [&["--json", "no-such-command"][..], &["macs", "--vlan", "5000", "--json"]] {
        let output = node.vdecable(wrong)?;
        ensure!(output.status.code() == Some(USAGE), "{wrong:?} ended with {}", output.status);
        let answer: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{wrong:?} gave no JSON: {}", both(&output)))?;
        has(&answer["error"], "what why fix")?;
    }
    let plain = node.vdecable(&["no-such-command"])?;
    ensure!(plain.stdout.is_empty(), "what was not asked for: {}", both(&plain));
    Ok(())
}
