//! A mesh has one gateway: what happens to the second.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::lan::{Vm, script};
use lab::node::{CABLE_UP, Setup, trust_each_other};
use lab::process::Signal;
use lab::{Node, Process, Scene, Suite, wait_until};

use crate::gateway::{SOON, World, gateway_node};

/// The interface that a gateway called `second` makes.
const SECOND: &str = "vdegw-second";

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial(
            "a_second_gateway_gives_way_to_the_first_and_both_names_are_told",
            &["nft"],
            second_gateway,
        )
        .trial("a_gateway_answers_while_it_listens_for_another_one", &["nft"], answers_early)
        .trial(
            "what_a_killed_gateway_switched_on_is_switched_off_when_it_stands_by",
            &["nft"],
            killed_then_second,
        )
        .trial(
            "machines_keep_their_addresses_when_the_second_gateway_takes_over",
            &["nft", "udhcpc", "vde_plug2tap"],
            takeover,
        )
}

/// `udhcpc` runs this for as long as it lives.
const LIFE_SCRIPT: &str = "#!/bin/sh
echo \"udhcpc says $1 ${ip:-}\"
case $1 in
bound|renew) ip address replace $ip/$mask dev $interface ;;
deconfig|leasefail|nak) ip address flush dev $interface ;;
esac
";

/// How long the second gateway takes at most: half a minute of silence, and to notice and to start.
const TAKEOVER: Duration = Duration::from_secs(60);

fn refused(node: &Node) -> Result<bool> {
    let warnings = node.status()?["warnings"].to_string();
    Ok(warnings.contains("node second is not the gateway, because node gateway is"))
}

fn second_gateway(scene: &Scene) -> Result<()> {
    let world = World::new()?;
    let mut first = gateway_node(scene, &world)?;
    let empty = world.machine.exec("nft", &["list", "ruleset"])?;
    let mut second = Setup::inside("second", &world.machine)
        .argument("--gateway")
        .argument("10.78.0.1/24")
        .start(scene)?;
    ensure!(world.machine.has_interface(SECOND)?, "alone, it is the gateway of its own mesh");

    trust_each_other(&first, &second)?;
    second.connect("10.99.0.1")?;
    second.wait_cable_up(CABLE_UP)?;
    wait_until("the second gateway to give way", SOON, || refused(&second))?;
    wait_until("its services to be gone", SOON, || {
        let rules = world.machine.exec("nft", &["list", "ruleset"])?;
        Ok(rules == empty && !world.machine.has_interface(SECOND)?)
    })?;
    ensure!(!refused(&first)?, "the first one gave way, too");
    ensure!(first.ask(&["leases"]).is_ok(), "the first one does not serve any more");
    ensure!(second.ask(&["leases"]).is_err(), "the second one still serves");
    for node in [&first, &second] {
        wait_until("everybody to see who is the gateway", SOON, || {
            let nodes = node.ask(&["nodes"])?;
            let line = |name: &str, role: &str| {
                nodes.lines().any(|line| line.starts_with(name) && line.contains(role))
            };
            Ok(line("gateway", "gateway 10.77.0.1/24") && line("second", "stands by as gateway"))
        })?;
    }

    // Started again, it sees before it serves that the place is taken.
    second.terminate()?;
    second.start(scene)?;
    wait_until("the second gateway to be refused", SOON, || refused(&second))?;
    ensure!(!world.machine.has_interface(SECOND)?, "it serves beside the first one");
    // And the first one does not lose its place by a restart.
    first.terminate()?;
    first.start(scene)?;
    ensure!(first.ask(&["leases"]).is_ok(), "a restart cost the first one its place");
    second.wait_cable_up(CABLE_UP)?;
    ensure!(!refused(&first)? && refused(&second)?, "the places were swapped");
    Ok(())
}

fn answers_early(scene: &Scene) -> Result<()> {
    let world = World::new()?;
    let mut gateway = gateway_node(scene, &world)?;
    let mut far = Setup::inside("far", &world.machine).start(scene)?;
    trust_each_other(&gateway, &far)?;
    gateway.connect("10.99.0.2")?;
    gateway.wait_cable_up(CABLE_UP)?;
    far.terminate()?;
    gateway.terminate()?;
    // It has a cable, by which it hears nothing for as long as it listens.
    gateway.start(scene)?;
    let log = gateway.process()?.log();
    let place = |words: &str| log.rfind(words).with_context(|| format!("no {words:?} in {log}"));
    let (answers, serves) = (place("control=")?, place("gateway ready")?);
    ensure!(answers < serves, "it answers only when it serves: {log}");
    ensure!(place("not the gateway yet: listening for 2 s at most")? < serves, "{log}");
    ensure!(gateway.status()?["warnings"] == serde_json::json!([]), "it still says so");
    Ok(())
}

fn killed_then_second(scene: &Scene) -> Result<()> {
    const FORWARDING: &str = "/proc/sys/net/ipv4/conf/away/forwarding";
    let world = World::new()?;
    // Whose place it is, since it was the first to be told so.
    let mut first = Setup::inside("first", &world.machine)
        .argument("--gateway")
        .argument("10.77.0.1/24")
        .start(scene)?;
    let mut second = gateway_node(scene, &world)?;
    trust_each_other(&first, &second)?;
    first.terminate()?;
    // It is dialled until it is there, and after a restart, too.
    let _not_yet = second.ask(&["connect", "10.99.0.2"]);
    let forwards = || Ok(world.inside.exec("cat", &[FORWARDING])?.trim() == "1");
    wait_until("forwarding", SOON, forwards)?;
    second.kill()?;
    ensure!(forwards()?, "nothing was left to be switched off");
    first.start(scene)?;
    second.start(scene)?;
    let stands_by = "node gateway is not the gateway, because node first is";
    wait_until("it to stand by", SOON, || {
        Ok(second.status()?["warnings"].to_string().contains(stands_by))
    })?;
    wait_until("the host to be as it was", SOON, || Ok(!forwards()?))
}

fn wait_known(gateway: &Node, vm: &Vm, address: &str) -> Result<()> {
    wait_until("the machine's lease to be known", SOON, || {
        let leases = gateway.leases()?;
        let lease = leases.iter().find(|lease| lease["mac"] == vm.mac.as_str());
        Ok(lease.is_some_and(|lease| lease["state"] == "bound" && lease["address"] == address))
    })
    .with_context(|| format!("{:?}", gateway.leases()))
}

fn takeover(scene: &Scene) -> Result<()> {
    let world = World::new()?;
    let mut first = gateway_node(scene, &world)?;
    let second = Setup::inside("second", &world.machine);
    let second = second.argument("--gateway").argument("10.77.0.1/24").start(scene)?;
    let far = Setup::inside("far", &world.machine).argument("--no-listen").start(scene)?;
    for (one, other) in [(&first, &second), (&first, &far), (&second, &far)] {
        trust_each_other(one, other)?;
    }
    far.connect("10.99.0.1")?;
    far.connect("10.99.0.2")?;
    wait_until("the second gateway to give way", SOON, || refused(&second))?;

    let old = Vm::plug_in(scene, &far, "old")?;
    let script = script(scene, "life.sh", LIFE_SCRIPT)?;
    let mut udhcpc = old.netns.command("udhcpc");
    udhcpc.args(["-i", "eth0", "-f", "-t", "10", "-T", "1", "-A", "1", "-s"]).arg(script);
    let mut udhcpc = Process::spawn(scene, "udhcpc", &mut udhcpc)?;
    let address = old.wait_address()?;
    let address = address.split('/').next().context("no address")?;

    first.kill()?;
    wait_until("the second gateway to take over", TAKEOVER, || {
        Ok(second.ask(&["leases"]).is_ok())
    })?;
    // The second gateway has never heard of it, and does not give it to somebody else.
    let new = Vm::plug_in(scene, &far, "new")?;
    new.lease(scene, "new", &["-r", address], ":")?;
    let other = new.address()?.context("no address")?;
    ensure!(!other.starts_with(&format!("{address}/")), "{address} was given to a second machine");

    udhcpc.signal(Signal::USR1)?;
    wait_known(&second, &old, address)?;
    let said = udhcpc.log();
    ensure!(said.matches("udhcpc says deconfig").count() == 1, "it lost its address: {said}");
    ensure!(old.address()?.is_some_and(|has| has.starts_with(&format!("{address}/"))), "{said}");

    // The first one takes its place again, and machines notice nothing of that either.
    first.start(scene)?;
    wait_until("the second gateway to give way again", SOON, || refused(&second))?;
    udhcpc.signal(Signal::USR1)?;
    wait_known(&first, &old, address)?;
    let (bare, _) = other.split_once('/').context("no prefix length")?;
    new.lease(scene, "new", &["-r", bare], ":")?;
    ensure!(new.address()?.as_ref() == Some(&other), "{other} became {:?}", new.address()?);
    let said = udhcpc.log();
    ensure!(said.matches("udhcpc says deconfig").count() == 1, "it lost its address: {said}");
    Ok(())
}
