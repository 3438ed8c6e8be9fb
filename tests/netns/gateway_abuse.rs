//! What a machine cannot do to the others and to the gateway: take every address, sit on the gateway's.

use anyhow::{Context as _, Result, ensure};
use lab::lan::{GATEWAY, Lan, SOON, Vm};
use lab::{Node, Scene, Suite, wait_until};

pub(crate) fn trials(suite: Suite) -> Suite {
    const PROGRAMS: &[&str] = &["udhcpc", "nft", "vde_plug2tap"];
    suite
        .trial("a_machine_that_asks_for_every_address_leaves_others_theirs", PROGRAMS, greedy)
        .trial("a_gateway_whose_address_a_machine_has_says_which_and_waits", PROGRAMS, squatter)
}

/// The port of a machine, as its node tells.
fn port_of(node: &Node, vm: &Vm) -> Result<u64> {
    let macs = node.macs()?;
    let known = macs.iter().find(|known| known["mac"] == vm.mac.as_str());
    known.and_then(|known| known["port"].as_u64()).context("its own node does not know it")
}

fn warns(node: &Node, of: &str) -> Result<bool> {
    Ok(node.status()?["warnings"].to_string().contains(of))
}

fn greedy(scene: &Scene) -> Result<()> {
    let lan = Lan::start(scene, &["--leases-per-port", "3"])?;
    let greedy = Vm::plug_in(scene, &lan.far, "greedy")?;
    let lease = |number: u8| {
        let identity = format!("0x3d:00{number:02x}");
        greedy.lease(scene, "greedy", &["-x", &identity, "-t", "3"], ":")
    };
    for number in 1..=3 {
        lease(number).with_context(|| format!("address {number}"))?;
    }
    ensure!(lease(4).is_err(), "it has four addresses");
    let port = port_of(&lan.far, &greedy)?;
    let words = format!("node far, port {port} has 3 addresses");
    ensure!(warns(&lan.gateway, &words)?, "the status does not say so: {words}");
    let ignored = lan.gateway.status()?["gateway"]["dhcp"]["ignored"]["port-full"].clone();
    ensure!(ignored.as_u64().is_some_and(|count| count > 0), "nothing was counted");

    Vm::plug_in(scene, &lan.far, "modest")?.lease_address(scene, "modest")?;
    lease(1).context("what it has is not its own any more")?;
    Ok(())
}

fn squatter(scene: &Scene) -> Result<()> {
    // While guards hold, nobody hears a machine that claims the address.
    let mut lan = Lan::start(scene, &["--no-guard"])?;
    let squatter = Vm::plug_in(scene, &lan.far, "squatter")?;
    squatter.lease_address(scene, "squatter")?;
    let port = port_of(&lan.far, &squatter)?;
    // So that there is a cable as soon as the gateway starts again.
    lan.gateway.connect("10.99.0.2")?;
    squatter.netns.add_address("eth0", &format!("{GATEWAY}/24"))?;
    // Whoever changes the host's routes makes the gateway look around.
    lan.host.netns().ip(&["route", "add", "198.51.100.0/24", "via", "192.0.2.2"])?;
    let told =
        format!("{} says that the gateway's address is its (node far, port {port})", squatter.mac);
    wait_until("the gateway to name who has its address, too", SOON, || {
        warns(&lan.gateway, &told)
    })?;

    lan.gateway.terminate()?;
    lan.gateway.start(scene)?;
    let told = format!(
        "has the gateway's address {GATEWAY} already: {}, node far, port {port}",
        squatter.mac
    );
    wait_until("the gateway to say why it does not serve", SOON, || warns(&lan.gateway, &told))?;
    ensure!(!lan.host.netns().has_interface("vdegw-gateway")?, "it took the address nevertheless");
    squatter.netns.ip(&["address", "delete", &format!("{GATEWAY}/24"), "dev", "eth0"])?;
    wait_until("the gateway to serve", SOON * 3, || Ok(lan.gateway.ask(&["leases"]).is_ok()))
}
