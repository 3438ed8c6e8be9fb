//! Joining a mesh as people do it, from the first command to the first ping; and being put out.

mod revocation;
mod ssh;

use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::netns::veth;
use lab::node::{CABLE_UP, Setup};
use lab::traffic::Ping;
use lab::wait::wait_until;
use lab::{Netns, Node, Scene, Suite};
use serde_json::Value;

use crate::hosts::{TAP, WIRE};

/// How long news of the mesh may take in a network that is whole.
const NEWS: Duration = Duration::from_secs(10);

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("two_commands_join_two_hosts", &[], two_commands)
        .trial("a_member_connects_to_another_that_it_never_met", &[], never_met)
        .trial("a_revoked_member_is_cut_off_by_all", &[], revoked)
        .trial("frames_of_a_revoked_member_stop_everywhere", &["tcpdump"], revocation::trial)
        .trial("a_node_that_was_away_knows_who_is_out_before_frames_flow", &[], away)
        .trial("a_membership_ends_by_time", &[], expiry)
        .trial("a_token_that_is_no_good_says_why", &[], refused)
        .trial("hosts_that_race_for_one_token_do_not_share_it", &[], race)
        .trial("a_host_is_renamed_and_invited_again", &[], invited_again)
        .trial("a_node_takes_a_new_key_and_stays_in_the_mesh", &[], new_key)
        .trial("ssh_joins_another_host_from_here", &["ssh", "sshd", "ssh-keygen"], ssh::trial)
}

/// Hosts on one network, each with a node and a tap, and nothing between the nodes.
struct Hosts {
    nodes: Vec<Node>,
    netns: Vec<Netns>,
    // After the hosts: it holds their wires.
    _bridge: Netns,
}

fn outer(number: usize) -> String {
    format!("10.77.0.{}", number + 1)
}

fn inner(number: usize) -> String {
    format!("10.99.0.{}", number + 1)
}

impl Hosts {
    fn start(scene: &Scene, names: &[&str]) -> Result<Self> {
        let bridge = Netns::new("wire")?;
        bridge.ip(&["link", "add", "br0", "type", "bridge"])?;
        bridge.set_up("br0")?;
        let (mut nodes, mut all) = (Vec::new(), Vec::new());
        for (number, name) in names.iter().enumerate() {
            let netns = Netns::new(name)?;
            let port = format!("p{number}");
            veth(&netns, WIRE, &bridge, &port)?;
            bridge.ip(&["link", "set", &port, "master", "br0"])?;
            netns.add_address(WIRE, &format!("{}/24", outer(number)))?;
            nodes.push(Setup::inside(name, &netns).tap(TAP).start(scene)?);
            netns.add_address(TAP, &format!("{}/24", inner(number)))?;
            netns.set_up(TAP)?;
            all.push(netns);
        }
        Ok(Self { nodes, netns: all, _bridge: bridge })
    }

    /// Every host but the first joins by an invitation of the host of that number.
    fn join(&self, number: usize, by: usize, options: &[&str]) -> Result<()> {
        let token = invite(&self.nodes[by], options)?;
        self.nodes[number].ask(&["join", &token]).map(drop)
    }

    fn reaches(&self, from: usize, to: usize) -> Result<()> {
        Ping::to(&inner(to)).wait_answer(&self.netns[from], NEWS)?;
        Ping::to(&inner(to)).count(3).all_answered(&self.netns[from])
    }

    /// Whether a ping gets no answer.
    fn is_cut(&self, from: usize, to: usize) -> Result<bool> {
        Ok(Ping::to(&inner(to)).count(1).run(&self.netns[from])?.received == 0)
    }
}

/// The line that an invitation prints.
fn invite(at: &Node, options: &[&str]) -> Result<String> {
    let token = at.ask(&[&["invite"], options].concat())?;
    ensure!(token.starts_with("vde1") && token.lines().count() == 1, "no line: {token:?}");
    Ok(token.trim().to_owned())
}

/// What a command that must fail says.
fn failing(node: &Node, arguments: &[&str]) -> Result<String> {
    let Output { status, stderr, .. } = node.vdecable(arguments)?;
    let words = String::from_utf8_lossy(&stderr).into_owned();
    ensure!(status.code() == Some(1), "vdecable {arguments:?} ended with {status}: {words}");
    Ok(words)
}

fn json(node: &Node, what: &[&str]) -> Result<Value> {
    let text = node.ask(&[&["--json"], what].concat())?;
    serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))
}

/// The member of that name, as a node lists it.
fn member(node: &Node, name: &str) -> Result<Option<Value>> {
    let nodes = json(node, &["nodes"])?;
    let nodes = nodes["nodes"].as_array().context("no list of nodes")?;
    Ok(nodes.iter().find(|node| node["name"] == name).cloned())
}

fn is_member(node: &Node, name: &str) -> Result<bool> {
    let found = member(node, name)?;
    Ok(found.is_some_and(|found| found["member"]["state"] == "member"))
}

#[expect(clippy::disallowed_methods, reason = "the time that a person waits is reported")]
fn two_commands(scene: &Scene) -> Result<()> {
    let hosts = Hosts::start(scene, &["a", "b"])?;
    ensure!(hosts.is_cut(0, 1)?, "the hosts are joined before anybody was invited");
    let begun = Instant::now();
    let token = invite(&hosts.nodes[0], &[])?;
    hosts.nodes[1].ask(&["join", &token])?;
    let joined = begun.elapsed();
    Ping::to(&inner(0)).wait_answer(&hosts.netns[1], NEWS)?;
    let reached = begun.elapsed();
    println!("from invite: joined after {joined:?}, first ping answered after {reached:?}");
    hosts.reaches(0, 1)?;
    for node in &hosts.nodes {
        ensure!(is_member(node, "a")? && is_member(node, "b")?, "{:?}", node.ask(&["nodes"])?);
    }
    // It lasts.
    let mut hosts = hosts;
    hosts.nodes[0].terminate()?;
    hosts.nodes[0].start(scene)?;
    hosts.netns[0].add_address(TAP, &format!("{}/24", inner(0)))?;
    hosts.netns[0].set_up(TAP)?;
    hosts.nodes[1].wait_cable_up(CABLE_UP)?;
    hosts.reaches(1, 0)
}

fn never_met(scene: &Scene) -> Result<()> {
    let mut hosts = Hosts::start(scene, &["a", "b", "c"])?;
    hosts.join(1, 0, &["--role", "admin"])?;
    hosts.join(2, 1, &[])?;
    hosts.reaches(2, 0)?;
    let known = || is_member(&hosts.nodes[0], "c");
    wait_until("a to hear of c", NEWS, known)?;
    hosts.nodes[1].terminate()?;
    // Neither does c need it to run since before.
    hosts.nodes[2].terminate()?;
    hosts.nodes[2].start(scene)?;
    hosts.netns[2].add_address(TAP, &format!("{}/24", inner(2)))?;
    hosts.netns[2].set_up(TAP)?;
    ensure!(hosts.is_cut(2, 0)?, "there is a way although b is gone");
    hosts.nodes[2].ask(&["connect", "a"])?;
    hosts.reaches(2, 0)
}

fn revoked(scene: &Scene) -> Result<()> {
    let hosts = Hosts::start(scene, &["a", "b", "c"])?;
    hosts.join(1, 0, &[])?;
    hosts.join(2, 0, &[])?;
    hosts.nodes[2].ask(&["connect", "b"])?;
    hosts.reaches(2, 1)?;
    let words = failing(&hosts.nodes[1], &["revoke", "c"])?;
    ensure!(words.contains("not an administrator"), "{words}");
    hosts.nodes[0].ask(&["revoke", "c"])?;
    let is_out = || Ok(hosts.nodes[2].cables_up()? == 0);
    wait_until("c to have no cable", NEWS, is_out)?;
    ensure!(hosts.is_cut(2, 1)? && hosts.is_cut(2, 0)?, "c still gets through");
    let words = failing(&hosts.nodes[2], &["connect", &outer(1), "--wait", "3"])?;
    ensure!(words.contains("its key was revoked"), "{words}");
    ensure!(!is_member(&hosts.nodes[1], "c")?, "b still lists it");
    hosts.reaches(0, 1)
}

fn away(scene: &Scene) -> Result<()> {
    let hosts = Hosts::start(scene, &["a", "b", "c"])?;
    hosts.join(1, 0, &[])?;
    hosts.join(2, 0, &[])?;
    hosts.nodes[2].ask(&["connect", "b"])?;
    let known = || is_member(&hosts.nodes[1], "c");
    wait_until("b to hear of c", NEWS, known)?;
    // The founder's host is cut off; b and c stay together.
    hosts.netns[0].black_hole(WIRE)?;
    let alone = || Ok(hosts.nodes[0].cables_up()? == 0);
    wait_until("a to be alone", Duration::from_secs(20), alone)?;
    hosts.nodes[0].ask(&["revoke", "c"])?;
    hosts.reaches(1, 2)?;
    hosts.netns[0].mend_black_hole()?;
    // No frame of c's reaches a, at no time: what a's tap hears is counted.
    let heard = || hosts.netns[0].exec("sh", &["-c", "ip neigh show dev tap0"]);
    let is_out = || Ok(hosts.nodes[2].cables_up()? == 0 && hosts.nodes[1].cables_up()? == 1);
    wait_until("b to have cut c, and to be linked with a", Duration::from_secs(40), is_out)?;
    ensure!(hosts.is_cut(2, 0)?, "c gets through to a");
    ensure!(!heard()?.contains(&format!("{} lladdr", inner(2))), "a has heard c: {}", heard()?);
    hosts.reaches(1, 0)
}

fn expiry(scene: &Scene) -> Result<()> {
    let hosts = Hosts::start(scene, &["a", "b"])?;
    hosts.join(1, 0, &["--lasts", "4s"])?;
    let is_out = || Ok(hosts.nodes[0].cables_up()? == 0 && hosts.nodes[1].cables_up()? == 0);
    wait_until("the membership to end", NEWS, is_out)?;
    ensure!(hosts.is_cut(1, 0)?, "b still gets through");
    let end = member(&hosts.nodes[0], "b")?.context("b is not listed")?;
    ensure!(end["member"]["state"] == "expired", "{end}");
    let words = failing(&hosts.nodes[1], &["connect", &outer(0), "--wait", "3"])?;
    ensure!(words.contains("its membership has ended"), "{words}");
    // A longer one mends it.
    hosts.join(1, 0, &[])?;
    hosts.reaches(1, 0)
}

fn refused(scene: &Scene) -> Result<()> {
    let hosts = Hosts::start(scene, &["a", "b", "other"])?;
    let (a, b) = (&hosts.nodes[0], &hosts.nodes[1]);
    let words = failing(b, &["connect", &outer(0), "--wait", "3"]);
    let both = b.connect_in_vain(&outer(0)).or(words)?;
    for word in ["vdecable invite", "vdecable join", "USER@HOST"] {
        ensure!(both.contains(word), "the way to join is not shown: {both}");
    }
    b.ask(&["disconnect", &outer(0)])?;

    let good = invite(a, &[])?;
    let mistyped = format!("{}{}", &good[..40], &good[41..]);
    for (token, reason) in
        [(mistyped.as_str(), "mistyped"), ("hello", "begins with vde1"), ("vde9x", "newer version")]
    {
        let words = failing(b, &["join", token])?;
        ensure!(words.contains(reason), "{token}: {words}");
    }
    let used = invite(a, &[])?;
    hosts.nodes[2].ask(&["join", &used])?;
    let words = failing(b, &["join", &used])?;
    ensure!(words.contains("was used already"), "{words}");
    let shown = a.ask(&["invites"])?;
    ensure!(shown.contains("refused") && shown.contains("was used already"), "{shown}");

    let words = failing(&hosts.nodes[2], &["invite"])?;
    ensure!(words.contains("not an administrator"), "{words}");
    let id = json(a, &["invites"])?["invites"][0]["id"].as_str().context("no id")?.to_owned();
    a.ask(&["uninvite", &id])?;
    let words = failing(b, &["join", &good])?;
    ensure!(words.contains("was taken back"), "{words}");

    // One of a mesh that ended, whose address another has now.
    let word_file = scene.path("old.token");
    std::fs::write(&word_file, invite(a, &[])?)?;
    let words = failing(a, &["leave"])?;
    ensure!(words.contains("the only administrator"), "{words}");
    hosts.nodes[2].ask(&["leave"])?;
    ensure!(!is_member(&hosts.nodes[2], "a")?, "it has left and still lists a");
    let left = json(&hosts.nodes[2], &["status"])?;
    ensure!(left["cables"].as_array().is_some_and(Vec::is_empty), "cables are left: {left}");
    let foreign = invite(&hosts.nodes[2], &[])?;
    let words = failing(a, &["join", &foreign])?;
    ensure!(words.contains("a mesh of its own with"), "a would leave others behind: {words}");
    // No log and no file but the token's owner's holds a secret.
    let secret = &good[40..60];
    for node in &hosts.nodes {
        for file in std::fs::read_dir(node.state())? {
            let content = std::fs::read(file?.path())?;
            let text = String::from_utf8_lossy(&content);
            ensure!(!text.contains(secret), "a secret is on disk");
        }
    }
    Ok(())
}

fn race(scene: &Scene) -> Result<()> {
    let (first, second) = (Netns::new("a")?, Netns::new("many")?);
    veth(&first, WIRE, &second, WIRE)?;
    first.add_address(WIRE, "10.77.0.1/24")?;
    second.add_address(WIRE, "10.77.0.2/24")?;
    let a = Setup::inside("a", &first).start(scene)?;
    let token = invite(&a, &[])?;
    let mut nodes = Vec::new();
    for number in 0..8 {
        let name = format!("n{number}");
        nodes.push(Setup::inside(&name, &second).argument("--no-listen").start(scene)?);
    }
    let outcomes: Vec<Result<bool>> = std::thread::scope(|scope| {
        // Each asks four times at once: thirty-two in all.
        let ask = |node| {
            let token = token.as_str();
            scope.spawn(move || -> Result<bool> {
                let node: &Node = node;
                Ok(node.vdecable(&["join", token, "--wait", "0"])?.status.success())
            })
        };
        let asking: Vec<_> =
            nodes.iter().flat_map(|node| (0..4).map(move |_| node)).map(ask).collect();
        asking.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    let outcomes: Result<Vec<bool>> = outcomes.into_iter().collect();
    outcomes?;
    let listed = json(&a, &["nodes"])?;
    let members = listed["nodes"].as_array().context("no list")?;
    let members = members.iter().filter(|node| node["member"]["state"] == "member").count();
    ensure!(members == 2, "{members} members from one invitation: {listed}");
    Ok(())
}

fn invited_again(scene: &Scene) -> Result<()> {
    let mut hosts = Hosts::start(scene, &["a", "b"])?;
    hosts.join(1, 0, &[])?;
    hosts.reaches(1, 0)?;
    hosts.nodes[0].ask(&["revoke", "b"])?;
    let is_out = || Ok(hosts.nodes[1].cables_up()? == 0);
    wait_until("b to be out", NEWS, is_out)?;
    // With the same key, under another name.
    hosts.join(1, 0, &["--name", "bee"])?;
    hosts.reaches(1, 0)?;
    ensure!(is_member(&hosts.nodes[0], "bee")?, "{}", hosts.nodes[0].ask(&["nodes"])?);
    // And as a new machine: its disk is lost, the old key with it.
    hosts.nodes[0].ask(&["revoke", "bee"])?;
    hosts.nodes[1].terminate()?;
    std::fs::remove_dir_all(hosts.nodes[1].state())?;
    hosts.nodes[1].start(scene)?;
    hosts.netns[1].flush_addresses(TAP)?;
    hosts.netns[1].add_address(TAP, &format!("{}/24", inner(1)))?;
    hosts.netns[1].set_up(TAP)?;
    hosts.join(1, 0, &["--name", "bee"])?;
    hosts.reaches(1, 0)
}

fn new_key(scene: &Scene) -> Result<()> {
    let mut hosts = Hosts::start(scene, &["a", "b"])?;
    hosts.join(1, 0, &[])?;
    hosts.reaches(1, 0)?;
    // The founder first, on whose word all rests.
    for number in [0, 1] {
        let before = hosts.nodes[number].id()?;
        hosts.nodes[number].ask(&["rotate-key"])?;
        let state = hosts.nodes[number].state().to_owned();
        let copy = scene.path(&format!("old-{number}"));
        std::fs::create_dir(&copy)?;
        std::fs::copy(state.join("identity.key"), copy.join("identity.key"))?;
        let next = std::fs::read(state.join("identity.next"))?;
        ensure!(!next.is_empty(), "no key waits");
        hosts.reaches(1, 0)?;
        hosts.nodes[number].terminate()?;
        hosts.nodes[number].start(scene)?;
        ensure!(hosts.nodes[number].id()? != before, "the key is the old one");
        hosts.netns[number].flush_addresses(TAP)?;
        hosts.netns[number].add_address(TAP, &format!("{}/24", inner(number)))?;
        hosts.netns[number].set_up(TAP)?;
        hosts.nodes[1].wait_cable_up(CABLE_UP)?;
        hosts.reaches(1, 0)?;
        ensure!(!state.join("identity.next").exists(), "the new key is still waiting");
    }
    // It still invites.
    invite(&hosts.nodes[0], &[]).map(drop)
}
