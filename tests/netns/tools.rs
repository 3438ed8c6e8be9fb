//! Debian's tools that need an interface: `vde_plug2tap`, `vde_pcapplug` and `vdens`, plugged into
//! our switch, whose own tap is the host that they reach.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::netns::veth;
use lab::process::{built_program, command, output};
use lab::traffic::Ping;
use lab::{Netns, Process, Scene, Suite, Switch, wait_until};

const SOON: Duration = Duration::from_secs(10);

/// The host's tap, and its address.
const TAP: &str = "vde";
const HOST: &str = "10.88.0.1";

/// Payload of an echo request that fills an IPv4 packet of 1500 octets.
const FULL_PACKET: u32 = 1500 - 28;

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("vde_plug2tap_makes_a_station_of_an_interface", &["vde_plug2tap"], plug2tap)
        .trial("vde_pcapplug_bridges_an_interface", &["vde_pcapplug"], pcapplug)
        .trial("vdens_gives_a_namespace_to_a_command", &["vdens"], vdens)
}

/// A host with a switch and a tap that has an address.
fn host(scene: &Scene) -> Result<(Switch, Netns)> {
    let netns = Netns::new("host")?;
    let program = built_program("vde_switch")?;
    let by = command(program, Some(netns.name()));
    let switch = Switch::start_by(scene, "switch", by, &["-t", TAP])?;
    netns.add_address(TAP, &format!("{HOST}/24"))?;
    netns.set_up(TAP)?;
    Ok((switch, netns))
}

fn plug2tap(scene: &Scene) -> Result<()> {
    let (mut switch, host) = host(scene)?;
    let guest = Netns::new("guest")?;
    let mut plug2tap = guest.command("vde_plug2tap");
    plug2tap.args(["-p", "9", "-s"]).arg(switch.socket()).arg("tap9");
    let mut plug2tap = Process::spawn(scene, "plug2tap", &mut plug2tap)?;
    wait_until("vde_plug2tap's interface", SOON, || {
        plug2tap.check_running()?;
        guest.has_interface("tap9")
    })?;
    guest.add_address("tap9", "10.88.0.2/24")?;
    guest.set_up("tap9")?;
    Ping::to(HOST).size(FULL_PACKET).all_answered(&guest)?;
    Ping::to("10.88.0.2").size(FULL_PACKET).all_answered(&host)?;
    ensure!(switch.ask("port/print 9")?.contains("vde_plug2tap"), "it is not at port 9");
    switch.process().terminate(SOON)?;
    plug2tap.wait_end(SOON).context("vde_plug2tap outlives its switch")?;
    Ok(())
}

fn pcapplug(scene: &Scene) -> Result<()> {
    let (switch, host) = host(scene)?;
    let peer = Netns::new("peer")?;
    veth(&host, "card", &peer, "wire")?;
    peer.add_address("wire", "10.88.0.3/24")?;
    let mut pcapplug = host.command("vde_pcapplug");
    let _pcapplug =
        Process::spawn(scene, "pcapplug", pcapplug.arg("-s").arg(switch.socket()).arg("card"))?;
    switch.wait_plugs(2)?;
    // Its libpcap hands out what it captured a block of 256 KiB at a time, however long that takes,
    // so a single request is never answered, and nobody's address is ever asked for in time.
    let address_of = |netns: &Netns, interface: &str| -> Result<String> {
        let path = format!("/sys/class/net/{interface}/address");
        Ok(netns.exec("cat", &[&path])?.trim().to_owned())
    };
    let (host_mac, peer_mac) = (address_of(&host, TAP)?, address_of(&peer, "wire")?);
    peer.ip(&["neighbour", "add", HOST, "lladdr", &host_mac, "dev", "wire"])?;
    host.ip(&["neighbour", "add", "10.88.0.3", "lladdr", &peer_mac, "dev", TAP])?;
    let mut flood = peer.command("ping");
    flood.args(["-q", "-n", "-s", "1400", "-l", "1000", "-c", "1000", "-W", "1", HOST]);
    let report = String::from_utf8_lossy(&output(&mut flood)?.stdout).into_owned();
    ensure!(!report.contains(" 0 received"), "no echo request was answered: {report}");
    let stations = switch.ask("hash/print")?;
    ensure!(stations.contains(&peer_mac), "{peer_mac} is none of {stations}");
    Ok(())
}

fn vdens(scene: &Scene) -> Result<()> {
    let (switch, _host) = host(scene)?;
    let script = format!(
        "ip address add 10.88.0.4/24 dev vde0 && ip link set vde0 up &&
         ping -q -n -c 5 -i 0.05 -W 2 -s {FULL_PACKET} -M do {HOST}"
    );
    let mut vdens = command("vdens", None);
    vdens.arg(switch.socket()).args(["sh", "-c", &script]);
    let output = output(&mut vdens)?;
    let said = lab::process::both(&output);
    ensure!(output.status.success(), "vdens ended with {}: {said}", output.status);
    ensure!(said.contains(" 5 received"), "echo requests were lost: {said}");
    switch.wait_plugs(1).context("vdens has ended and its plug has not")
}
