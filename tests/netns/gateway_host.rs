//! The gateway beside everything else on its host: other firewalls, changes of routes, and people who
//! take parts of it away.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use lab::node::{CABLE_UP, Setup, trust_each_other};
use lab::traffic::Ping;
use lab::{Node, Scene, Suite, wait_for, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use crate::gateway::{SOON, World, gateway_node, lease};

/// The gateway's interface, and a host of the world that knows no way back to machines.
const TAP: &str = "vdegw-gateway";
const WORLD: &str = "192.0.2.2";

pub(crate) fn trials(suite: Suite) -> Suite {
    const NEEDS: &[&str] = &["udhcpc", "nft"];
    suite
        .trial(
            "dockers_firewall_is_found_and_the_command_that_is_told_opens_it",
            &["udhcpc", "nft", "iptables"],
            docker,
        )
        .trial("a_rule_that_drops_in_hiding_is_found_by_a_packet", NEEDS, hidden_rule)
        .trial(
            "a_firewall_that_keeps_machines_from_the_resolver_is_found_and_opened",
            &["udhcpc", "nft", "dig"],
            deaf_host,
        )
        .trial("masquerade_survives_a_flush_and_the_end_of_its_holder", NEEDS, table_survives)
        .trial("an_interface_that_was_deleted_is_made_again", NEEDS, interface_again)
        .trial("a_clash_and_a_lost_route_are_told_when_they_happen", NEEDS, routes_change)
}

/// A gateway, and a machine behind another node that has its address.
pub(crate) struct Lab {
    pub(crate) gateway: Node,
    _far: Node,
    pub(crate) world: World,
}

impl Lab {
    pub(crate) fn new(scene: &Scene, world: World) -> Result<Self> {
        let gateway = gateway_node(scene, &world)?;
        let far = Setup::inside("far", &world.machine).tap("vm0").start(scene)?;
        trust_each_other(&gateway, &far)?;
        far.connect("10.99.0.1")?;
        far.wait_cable_up(CABLE_UP)?;
        world.machine.set_up("vm0")?;
        lease(scene, &world.machine)?;
        Ok(Self { gateway, _far: far, world })
    }

    pub(crate) fn warnings(&self) -> Result<Vec<String>> {
        let status = self.gateway.status()?;
        let warnings = status["warnings"].as_array().cloned().unwrap_or_default();
        Ok(warnings.iter().filter_map(|warning| Some(warning.as_str()?.to_owned())).collect())
    }

    pub(crate) fn wait_warning(&self, words: &str) -> Result<String> {
        wait_for(&format!("the warning {words:?}"), SOON, || {
            Ok(self.warnings()?.into_iter().find(|warning| warning.contains(words)))
        })
        .with_context(|| format!("its warnings are {:?}", self.warnings()))
    }

    pub(crate) fn wait_no_warning(&self) -> Result<()> {
        wait_until("no warning", SOON, || Ok(self.warnings()?.is_empty()))
            .with_context(|| format!("its warnings are {:?}", self.warnings()))
    }

    /// The gateway looks at its host when a route changes, and else every half minute.
    pub(crate) fn let_it_look(&self) -> Result<()> {
        let route = ["route", "replace", "unreachable", "198.51.100.0/24"];
        self.world.inside.ip(&route)?;
        self.world.inside.ip(&["route", "delete", "unreachable", "198.51.100.0/24"]).map(drop)
    }

    fn has_masquerade(&self) -> Result<bool> {
        Ok(self.world.inside.exec("nft", &["list", "ruleset"])?.contains("masquerade"))
    }

    fn wait_way_out(&self) -> Result<()> {
        wait_until("a way out", SOON, || {
            Ok(Ping::to(WORLD).count(1).run(&self.world.machine)?.received > 0)
        })
    }
}

fn docker(scene: &Scene) -> Result<()> {
    let world = World::new()?;
    // As Docker does when it was the one that switched forwarding on.
    let rules = "iptables -P FORWARD DROP; iptables -N DOCKER-USER;
                 iptables -A FORWARD -j DOCKER-USER";
    world.inside.exec("sh", &["-ec", rules])?;
    let before = world.tables()?;
    let mut lab = Lab::new(scene, world)?;
    let warning = lab.wait_warning("Docker's chain FORWARD")?;
    ensure!(Ping::to(WORLD).count(1).run(&lab.world.machine)?.received == 0, "nothing drops");
    let fix = warning.split("run: ").nth(1).context("no command is told")?;
    lab.world.inside.exec("sh", &["-ec", fix])?;
    lab.wait_way_out()?;
    lab.let_it_look()?;
    lab.wait_no_warning()?;

    let theirs = "iptables -F DOCKER-USER";
    lab.world.inside.exec("sh", &["-ec", theirs])?;
    lab.gateway.terminate()?;
    wait_until("the rules to be as they were", SOON, || {
        Ok(without_numbers(&lab.world.tables()?) == without_numbers(&before))
    })
}

fn hidden_rule(scene: &Scene) -> Result<()> {
    let world = World::new()?;
    world.outside.nft(
        "table ip watch {
            chain c { type filter hook prerouting priority 0; ip daddr 203.0.113.0/24 counter; }
        }\n",
    )?;
    let lab = Lab::new(scene, world)?;
    lab.wait_way_out()?;
    ensure!(lab.warnings()?.is_empty(), "{:?}", lab.warnings()?);
    lab.world.inside.nft(
        "table ip other {
            chain hidden { ip saddr 10.0.0.0/8 drop; }
            chain f { type filter hook forward priority 5; jump hidden; accept; }
        }\n",
    )?;
    lab.let_it_look()?;
    lab.wait_warning("a rule on this host drops what machines send")?;
    lab.world.inside.nft("delete table ip other\n")?;
    lab.let_it_look()?;
    lab.wait_no_warning()?;
    // Nobody outside sees what it is tried with.
    let seen = lab.world.outside.exec("nft", &["list", "table", "ip", "watch"])?;
    ensure!(seen.contains("counter packets 0 "), "it left the host: {seen}");
    Ok(())
}

fn deaf_host(scene: &Scene) -> Result<()> {
    let lab = Lab::new(scene, World::new()?)?;
    let asks = || {
        let words = ["@10.77.0.1", "+short", "+time=1", "+tries=1", "gateway.lab"];
        lab.world.machine.exec("dig", &words).unwrap_or_default()
    };
    ensure!(asks().trim() == "10.77.0.1", "the resolver does not answer");
    ensure!(lab.warnings()?.is_empty(), "{:?}", lab.warnings()?);
    lab.world.inside.nft(
        "table ip fw {
            chain in { type filter hook input priority 5; policy drop; iifname wire accept; }
        }\n",
    )?;
    lab.let_it_look()?;
    let warning =
        lab.wait_warning("chain in (table ip fw) drops what machines ask of this host")?;
    ensure!(asks().trim() != "10.77.0.1", "nothing drops");
    let fix = warning.split("run: ").nth(1).context("no command is told")?;
    lab.world.inside.exec("sh", &["-ec", fix])?;
    ensure!(asks().trim() == "10.77.0.1", "{fix} does not help");
    lab.let_it_look()?;
    lab.wait_no_warning()
}

/// What counts, and the numbers of rules, which go up with every change, are nobody's doing.
fn without_numbers(rules: &str) -> String {
    let mut parts = Vec::new();
    for part in rules.split(": ") {
        let counts = ["\"handle\"", "\"packets\"", "\"bytes\""];
        let is_number = parts
            .last()
            .is_some_and(|before: &&str| counts.iter().any(|name| before.ends_with(name)));
        parts.push(if is_number {
            part.trim_start_matches(|c: char| c.is_ascii_digit())
        } else {
            part
        });
    }
    parts.join(": ")
}

/// The processes that a process has started.
fn children(id: u32) -> Result<Vec<i32>> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{id}/task"))? {
        let text = fs::read_to_string(task?.path().join("children"))?;
        children.extend(text.split_whitespace().filter_map(|id| id.parse::<i32>().ok()));
    }
    Ok(children)
}

fn table_survives(scene: &Scene) -> Result<()> {
    let world = World::new()?;
    let before = world.tables()?;
    let mut lab = Lab::new(scene, world)?;
    lab.wait_way_out()?;

    lab.world.inside.exec("nft", &["flush", "ruleset"])?;
    lab.wait_way_out()?;
    ensure!(lab.has_masquerade()?, "the rules went with the others'");

    let id = lab.gateway.process()?.id();
    let holder = wait_for("the holder", SOON, || Ok(children(id)?.into_iter().min()))?;
    let pid = Pid::from_raw(holder).context("no process")?;
    kill_process(pid, Signal::KILL)?;
    wait_until("another holder", SOON, || {
        let alive = children(id)?.iter().any(|child| *child != holder);
        Ok(alive && lab.has_masquerade()?)
    })?;
    lab.wait_way_out()?;

    lab.gateway.kill()?;
    wait_until("the rules to go", SOON, || Ok(lab.world.tables()? == before))?;
    ensure!(!lab.world.inside.has_interface(TAP)?, "the interface is left");
    Ok(())
}

fn interface_again(scene: &Scene) -> Result<()> {
    let lab = Lab::new(scene, World::new()?)?;
    lab.wait_way_out()?;
    let index = || lab.world.inside.exec("cat", &[&format!("/sys/class/net/{TAP}/ifindex")]);
    let first = index()?;
    lab.world.inside.ip(&["link", "delete", TAP])?;
    wait_until("another interface", SOON, || {
        Ok(lab.world.inside.has_interface(TAP)? && index().is_ok_and(|index| index != first))
    })?;
    lab.wait_way_out()?;
    wait_until("the lease", SOON, || {
        Ok(lab.gateway.ask(&["leases"]).is_ok_and(|leases| leases.contains("vm1")))
    })?;
    Ok(())
}

fn routes_change(scene: &Scene) -> Result<()> {
    let lab = Lab::new(scene, World::new()?)?;
    let inside = &lab.world.inside;
    inside.add_address("away", "10.77.0.77/25")?;
    lab.wait_warning("10.77.0.0/24 overlaps 10.77.0.0/25, which this host reaches through away")?;
    inside.ip(&["address", "delete", "10.77.0.77/25", "dev", "away"])?;
    lab.wait_no_warning()?;
    inside.ip(&["route", "delete", "default"])?;
    lab.wait_warning("this host has no default route")?;
    inside.set_default_route(WORLD)?;
    lab.wait_no_warning()?;
    lab.wait_way_out()
}
