//! IPv6 behind the gateway: addresses by router advertisements, a way out by NAT66, and a host that
//! keeps its own.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use lab::node::{CABLE_UP, Setup, trust_each_other};
use lab::{Netns, Scene, Suite, wait_for, wait_until};

use crate::gateway::{SOON, World};

pub(crate) fn trials(suite: Suite) -> Suite {
    suite.trial(
        "a_machine_behind_a_cable_gets_an_ipv6_address_and_out_while_the_host_keeps_its_own",
        &["nft"],
        nat66,
    )
}

fn setting(netns: &Netns, name: &str) -> Result<String> {
    Ok(netns.exec("cat", &[&format!("/proc/sys/net/ipv6/conf/{name}")])?.trim().to_owned())
}

/// What a host that forwards must change to keep its own IPv6.
fn settings(netns: &Netns) -> Result<[String; 3]> {
    Ok([
        setting(netns, "all/forwarding")?,
        setting(netns, "away/accept_ra")?,
        setting(netns, "away/forwarding")?,
    ])
}

fn nat66(scene: &Scene) -> Result<()> {
    let world = World::new()?;
    world.inside.add_address("away", "2001:db8:1::1/64")?;
    world.outside.add_address("net", "2001:db8:1::2/64")?;
    world.inside.ip(&["-6", "route", "add", "default", "via", "2001:db8:1::2"])?;
    let before = settings(&world.inside)?;
    ensure!(before == ["0", "1", "0"], "a host as it comes has {before:?}");
    let setup = || {
        let setup = Setup::inside("gateway", &world.inside);
        ["--gateway", "10.77.0.1/24", "--ipv6", "nat66"]
            .iter()
            .fold(setup, |setup, flag| setup.argument(flag))
    };
    let mut gateway = setup().start(scene)?;
    let far = Setup::inside("far", &world.machine).tap("vm0").start(scene)?;
    trust_each_other(&gateway, &far)?;
    far.connect("10.99.0.1")?;
    far.wait_cable_up(CABLE_UP)?;
    world.machine.set_up("vm0")?;

    let prefix = gateway.status()?["gateway"]["ipv6_prefix"].as_str().unwrap_or("").to_owned();
    let start = prefix.strip_suffix("::/64").context("no prefix")?.to_owned();
    ensure!(start.starts_with("fd"), "the prefix is {prefix}");
    wait_for("an address of the prefix", SOON, || {
        let addresses = world.machine.ip(&["-6", "address", "show", "dev", "vm0"])?;
        Ok(addresses.contains(&start).then_some(()))
    })?;
    wait_until("a default route", SOON, || {
        Ok(world.machine.ip(&["-6", "route", "show", "default"])?.contains("dev vm0"))
    })?;
    // The world knows no way back to the prefix.
    wait_until("an answer from the world", SOON, || {
        let ping = ["-6", "-c", "1", "-W", "1", "2001:db8:1::2"];
        Ok(world.machine.exec("ping", &ping).is_ok())
    })?;
    ensure!(settings(&world.inside)? == ["1", "2", "1"], "{:?}", settings(&world.inside)?);

    // Ended, it leaves the host as it was, and machines without a way that leads nowhere.
    gateway.terminate()?;
    ensure!(settings(&world.inside)? == before, "{:?} stays", settings(&world.inside)?);

    // Killed, the next start puts it right, even if it is no gateway any more.
    gateway.start(scene)?;
    ensure!(settings(&world.inside)? != before, "nothing was switched on");
    let same = gateway.status()?["gateway"]["ipv6_prefix"].as_str() == Some(&prefix);
    ensure!(same, "a restart changed the prefix");
    let state = gateway.state().to_owned();
    gateway.kill()?;
    ensure!(settings(&world.inside)? != before, "somebody else has put it right");
    ensure!(fs::exists(state.join("sysctls.json"))?, "it is written down nowhere");
    let plain = Setup::inside("gateway", &world.inside).start(scene)?;
    ensure!(settings(&world.inside)? == before, "{:?} stays", settings(&world.inside)?);
    drop(plain);
    Ok(())
}
