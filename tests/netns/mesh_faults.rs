//! What becomes of traffic through the mesh when cables and nodes die, however they do.

use anyhow::{Context as _, Result, ensure};
use lab::netns::veth;
use lab::node::Setup;
use lab::process::command;
use lab::traffic::Ping;
use lab::{Netns, Process, Scene, Suite, wait_for, wait_until};

use crate::world::{Cut, NEWS, World};

/// Set to `1`, the network stays apart for a minute, longer than any timer of a transport.
const LONG: &str = "VDE_LONG";

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("traffic_goes_on_however_a_cable_or_a_node_on_its_way_dies", &["iperf3"], deaths)
        .trial("a_network_that_was_apart_is_one_again", &["vde_plug"], partition)
        .trial("a_copied_node_is_named_and_disturbs_no_other", &["cp"], copied)
}

/// A ping and a TCP transfer that go on and on.
struct Traffic {
    ping: Process,
    server: Process,
    _client: Process,
}

impl Traffic {
    fn start(scene: &Scene, world: &World, from: usize, to: usize) -> Result<Self> {
        let (source, sink) = (&world.hosts[from].netns, &world.hosts[to].netns);
        let address = world.inner(to);
        let mut server = sink.command("iperf3");
        server.args(["--server", "--forceflush", "--interval", "0.2", "--bind", address]);
        let mut server = Process::spawn(scene, "tcp-server", &mut server)?;
        server.wait_log("Server listening", NEWS)?;
        let mut client = source.command("iperf3");
        // As little as shows that it goes on: the machine has other things to do.
        client.args(["--client", address, "--bitrate", "2M", "--time", "600"]);
        let client = Process::spawn(scene, "tcp-client", &mut client)?;
        let mut ping = source.command("ping");
        ping.args(["-n", "-i", "0.02", address]);
        let ping = Process::spawn(scene, "ping", &mut ping)?;
        let traffic = Self { ping, server, _client: client };
        traffic.goes_on().context("before anything has died")?;
        Ok(traffic)
    }

    /// How many answers have come, and in how many spans of time TCP has delivered something.
    fn progress(&self) -> (usize, usize) {
        let answers = self.ping.log().matches("bytes from").count();
        let moved = |line: &&str| line.contains("bits/sec") && !line.contains(" 0.00 bits/sec");
        (answers, self.server.log().lines().filter(moved).count())
    }

    /// Both come further than they are.
    fn goes_on(&self) -> Result<()> {
        let before = self.progress();
        wait_until("answers and octets to come", NEWS, || {
            let now = self.progress();
            Ok(now.0 > before.0 + 5 && now.1 > before.1 + 1)
        })
        .with_context(|| format!("answers and intervals: {before:?}, then {:?}", self.progress()))
    }

    fn finish(mut self) -> Result<()> {
        self.ping.check_running()?;
        let log = self.ping.log();
        ensure!(!log.contains("DUP!"), "answers came twice");
        Ok(())
    }
}

/// The host in the middle of the way from the first host to the second one.
fn transit(world: &World) -> Result<usize> {
    let way = world.hosts[0].node.way("h1")?;
    let middle = way.get(1).filter(|_| way.len() == 3);
    world.number_of(middle.with_context(|| format!("the way is {way:?}"))?)
}

/// Waits until the way leads elsewhere.
fn wait_detour(world: &World, dead: usize) -> Result<usize> {
    wait_for("another way", NEWS, || {
        // In between there may be none.
        Ok(transit(world).ok().filter(|now| *now != dead))
    })
}

/// Two hosts, and four others each of which is a way between them.
fn deaths(scene: &Scene) -> Result<()> {
    let cables: Vec<_> = (2..6).flat_map(|middle| [[0, middle], [1, middle]]).collect();
    let mut world = World::build(scene, 6, &cables)?;
    Ping::to(world.inner(1)).wait_answer(&world.hosts[0].netns, NEWS)?;
    let traffic = Traffic::start(scene, &world, 0, 1)?;

    let first = transit(&world)?;
    world.cut(0, first, Cut::BothWays)?;
    wait_detour(&world, first)?;
    traffic.goes_on().context("a cable is silent both ways")?;
    world.heal(0, first, Cut::BothWays)?;

    let second = transit(&world)?;
    world.cut(1, second, Cut::Back)?;
    wait_detour(&world, second)?;
    traffic.goes_on().context("a cable is silent one way")?;

    let third = transit(&world)?;
    world.cut(0, third, Cut::Back)?;
    wait_detour(&world, third)?;
    traffic.goes_on().context("a cable is silent the other way")?;
    let silent = world.hosts[0].node.told()?;
    ensure!(silent.contains("is silent"), "nobody was told: {silent}");

    // What was healed is used again, or the last way would die with its node.
    wait_until("a cable that works again to be used again", NEWS, || {
        let name = world.hosts[first].node.name();
        let cables = world.hosts[0].node.json(&["cables"])?;
        let cables = cables["cables"].as_array().cloned().unwrap_or_default();
        Ok(cables.iter().any(|cable| cable["peer"] == name && cable["in_use"] == true))
    })?;
    let fourth = transit(&world)?;
    world.hosts[fourth].node.kill()?;
    wait_detour(&world, fourth)?;
    traffic.goes_on().context("a node was killed")?;
    traffic.finish()
}

/// Two pairs of hosts with one cable between the pairs.
fn partition(scene: &Scene) -> Result<()> {
    let world = World::build(scene, 4, &[[0, 1], [1, 2], [2, 3]])?;
    Ping::to(world.inner(3)).all_answered(&world.hosts[0].netns)?;
    world.cut(1, 2, Cut::BothWays)?;
    world.wait_parts(&[&[0, 1], &[2, 3]])?;
    for (from, to) in [(0, 1), (2, 3)] {
        Ping::to(world.inner(to)).all_answered(&world.hosts[from].netns)?;
    }
    world.assert_each_broadcast_comes_once(scene, &[0, 1])?;
    world.assert_each_broadcast_comes_once(scene, &[2, 3])?;
    let lost = world.hosts[0].node.vdecable(&["ping", "h3"])?;
    ensure!(lost.status.code() == Some(1), "a ping to a node out of reach: {lost:?}");
    if std::env::var(LONG).is_ok_and(|value| value == "1") {
        stay_apart(&world)?;
    }
    world.heal(1, 2, Cut::BothWays)?;
    world.wait_whole()?;
    Ping::to(world.inner(3)).all_answered(&world.hosts[0].netns)?;
    world.assert_each_broadcast_comes_once(scene, &[0, 1, 2, 3])?;
    let told = world.hosts[0].node.told()?;
    ensure!(told.contains("node h3 has left") && told.contains("node h3 has joined"), "{told}");
    Ok(())
}

/// A minute of pings within one part.
fn stay_apart(world: &World) -> Result<()> {
    for _ in 0..60 {
        Ping::to(world.inner(1)).count(20).all_answered(&world.hosts[0].netns)?;
    }
    world.wait_parts(&[&[0, 1], &[2, 3]])
}

/// Three hosts in a row; a fourth one, behind the last, has the first one's disk.
fn copied(scene: &Scene) -> Result<()> {
    let world = World::build(scene, 3, &[[0, 1], [1, 2]])?;
    let original = &world.hosts[0].node;
    let netns = Netns::new("copy")?;
    veth(&netns, "outer", &world.hosts[2].netns, "copy")?;
    netns.add_address("outer", "10.81.0.1/30")?;
    world.hosts[2].netns.add_address("copy", "10.81.0.2/30")?;
    let mut cp = command("cp", None);
    lab::process::run(cp.arg("-r").arg(original.state()).arg(scene.path("copy.state")))?;
    let copy = Setup::inside("copy", &netns).start(scene)?;
    ensure!(copy.id()? == original.id()?, "the copy has another key");
    copy.trust(&world.hosts[2].node)?;
    world.hosts[2].node.trust(original)?;
    let between = (&world.hosts[1], &world.hosts[2]);
    Ping::to(&between.1.inner).all_answered(&between.0.netns)?;
    copy.connect("10.81.0.2")?;
    for host in &world.hosts[1..] {
        wait_until("a node to say that there are two of one key", NEWS, || {
            Ok(host.node.told()?.contains("two nodes run with the key of h0"))
        })
        .with_context(|| host.node.told().unwrap_or_default())?;
    }
    Ping::to(&between.1.inner).count(20).all_answered(&between.0.netns)?;
    // When the copy has gone, all is as it was.
    drop(copy);
    Ping::to(world.inner(2)).wait_answer(&world.hosts[0].netns, NEWS)?;
    world.wait_whole()
}
