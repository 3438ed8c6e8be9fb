//! The gateway: one node gives machines behind another one their addresses, names and a way out.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::netns::veth;
use lab::node::{CABLE_UP, Setup, trust_each_other};
use lab::process::{Signal, run};
use lab::{Netns, Node, Scene, Suite, wait_until};

/// How long what a machine would notice may take on a busy host.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// What `udhcpc` runs: the interface gets what was offered.
const LEASE_SCRIPT: &str = "#!/bin/sh
case $1 in bound|renew)
    ip address flush dev $interface
    ip address add $ip/$mask dev $interface
    ip route replace default via $router
    echo \"got $ip mask $mask router $router dns $dns domain $domain\" ;;
esac
";

pub(crate) fn trials(suite: Suite) -> Suite {
    suite.trial(
        "a_machine_behind_a_cable_gets_an_address_and_out_by_the_gateway",
        &["udhcpc", "nft"],
        whole_path,
    )
}

/// The gateway's host, with a way to the world; the machine's host; the world.
pub(crate) struct World {
    pub(crate) inside: Netns,
    pub(crate) machine: Netns,
    pub(crate) outside: Netns,
}

impl World {
    pub(crate) fn new() -> Result<Self> {
        let (inside, machine, outside) =
            (Netns::new("gateway")?, Netns::new("machine")?, Netns::new("world")?);
        veth(&inside, "wire", &machine, "wire")?;
        veth(&inside, "away", &outside, "net")?;
        inside.add_address("wire", "10.99.0.1/24")?;
        machine.add_address("wire", "10.99.0.2/24")?;
        inside.add_address("away", "192.0.2.1/24")?;
        outside.add_address("net", "192.0.2.2/24")?;
        inside.set_default_route("192.0.2.2")?;
        Ok(Self { inside, machine, outside })
    }

    pub(crate) fn tables(&self) -> Result<String> {
        self.inside.exec("nft", &["-j", "list", "ruleset"])
    }
}

pub(crate) fn gateway_node(scene: &Scene, world: &World) -> Result<Node> {
    Setup::inside("gateway", &world.inside)
        .argument("--gateway")
        .argument("10.77.0.1/24")
        .argument("--domain")
        .argument("lab")
        .start(scene)
}

pub(crate) fn lease(scene: &Scene, machine: &Netns) -> Result<String> {
    let script = scene.path("lease.sh");
    fs::write(&script, LEASE_SCRIPT)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let mut udhcpc = machine.command("udhcpc");
    udhcpc.args(["-i", "vm0", "-f", "-q", "-n", "-t", "10", "-T", "1", "-F", "vm1", "-s"]);
    run(udhcpc.arg(&script))
}

fn whole_path(scene: &Scene) -> Result<()> {
    let world = World::new()?;
    let before = world.tables()?;
    let mut gateway = gateway_node(scene, &world)?;
    let far = Setup::inside("far", &world.machine).tap("vm0").start(scene)?;
    trust_each_other(&gateway, &far)?;
    far.connect("10.99.0.1")?;
    far.wait_cable_up(CABLE_UP)?;
    world.machine.set_up("vm0")?;

    let got = lease(scene, &world.machine)?;
    ensure!(got.contains("mask 24 router 10.77.0.1 dns 10.77.0.1 domain lab"), "it got {got}");
    let address = got
        .lines()
        .find_map(|line| line.split("got ").nth(1)?.split_whitespace().next())
        .context("no address")?
        .to_owned();
    // To the gateway, and by masquerade to a host that knows no way back to 10.77.0.0/24.
    for to in ["10.77.0.1", "192.0.2.2"] {
        world.machine.exec("ping", &["-c", "3", "-i", "0.2", "-W", "5", to])?;
    }
    let leases = gateway.ask(&["leases"])?;
    ensure!(leases.contains(&address) && leases.contains("vm1"), "the leases are {leases}");
    let back = world.outside.exec("ping", &["-c", "1", "-W", "1", &address]);
    ensure!(back.is_err(), "the world reaches a machine that it must not know of");

    // Killed, it leaves nothing behind; started again, it has the same leases.
    gateway.process()?.signal(Signal::KILL)?;
    gateway.process()?.wait_end(SOON)?;
    wait_until("the rules to go with the gateway", SOON, || Ok(world.tables()? == before))?;
    gateway.start(scene)?;
    let leases = gateway.ask(&["leases"])?;
    ensure!(leases.contains(&address), "the lease of {address} is lost: {leases}");
    far.wait_cable_up(CABLE_UP)?;
    ensure!(lease(scene, &world.machine)?.contains(&address), "it got another address");

    gateway.process()?.terminate(SOON)?;
    ensure!(world.tables()? == before, "rules stay behind");
    Ok(())
}
