//! IPv6 behind the gateway: addresses by router advertisements, a way out by NAT66, and a host that
//! keeps its own.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use lab::client::Client;
use lab::node::{CABLE_UP, Setup, trust_each_other};
use lab::{Netns, Scene, Suite, wait_for, wait_until};

use crate::gateway::{SOON, World};

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial(
            "a_machine_behind_a_cable_gets_an_ipv6_address_and_out_while_the_host_keeps_its_own",
            &["nft"],
            nat66,
        )
        .trial(
            "machines_without_a_way_out_by_ipv6_are_told_of_prefix_resolver_and_domain_alone",
            &["nft"],
            local,
        )
}

/// A router solicitation from a station that has no address yet, to all routers.
const SOLICITATION: [u8; 62] = [
    0x33, 0x33, 0, 0, 0, 2, 2, 0, 0, 0, 0, 0x0a, 0x86, 0xdd, // Ethernet
    0x60, 0, 0, 0, 0, 8, 58, 255, // IPv6
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // from nowhere
    0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, // to all routers
    133, 0, 0x7b, 0xb8, 0, 0, 0, 0, // ICMPv6
];

/// The ICMPv6 message of a frame, if it is a router advertisement.
fn advertisement(frame: &[u8]) -> Option<&[u8]> {
    let message = frame.get(14 + 40..)?;
    let is_ipv6 = frame[12..14] == [0x86, 0xdd] && frame[14 + 6] == 58;
    (is_ipv6 && message.first() == Some(&134)).then_some(message)
}

fn local(scene: &Scene) -> Result<()> {
    let host = Netns::new("gateway")?;
    let setup = Setup::inside("gateway", &host).argument("--no-listen");
    let words = ["--gateway", "10.77.0.1/24", "--domain", "lab", "--ipv6", "local"];
    let words = words.iter().chain(&["--ipv6-prefix", "fd12:3456:789a:7::/64"]);
    let gateway = words.fold(setup, |setup, word| setup.argument(word)).start(scene)?;
    let station = Client::plug_in_at(gateway.socket(), &scene.path("station"), 0)?;
    let told = wait_for("a router advertisement", SOON, || {
        station.send(&SOLICITATION)?;
        let frames = station.drain()?;
        Ok(frames.iter().find_map(|frame| advertisement(frame)).map(<[u8]>::to_vec))
    })?;
    ensure!(told[6..8] == [0, 0], "it says that there is a way out: {told:02x?}");
    let prefix = [0xfd, 0x12, 0x34, 0x56, 0x78, 0x9a, 0, 7];
    let holds = |part: &[u8]| told.windows(part.len()).any(|window| window == part);
    // Prefix information with its flags; the resolver in it; the domain.
    ensure!(holds(&[3, 4, 64, 0xc0]) && holds(&prefix), "no prefix in {told:02x?}");
    let resolver = [&prefix[..], &[0, 0, 0, 0, 0, 0, 0, 1]].concat();
    ensure!(holds(&[25, 3]) && holds(&resolver), "no resolver in {told:02x?}");
    ensure!(holds(&[31, 2]) && holds(b"\x03lab\0"), "no domain in {told:02x?}");
    ensure!(setting(&host, "all/forwarding")? == "0", "IPv6 is forwarded, and there is nowhere to");
    Ok(())
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
