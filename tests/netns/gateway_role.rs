//! A mesh has one gateway: what happens to the second.

use anyhow::{Result, ensure};
use lab::node::{CABLE_UP, Setup, trust_each_other};
use lab::{Node, Scene, Suite, wait_until};

use crate::gateway::{SOON, World, gateway_node};

/// The interface that a gateway called `second` makes.
const SECOND: &str = "vdegw-second";

pub(crate) fn trials(suite: Suite) -> Suite {
    suite.trial(
        "a_second_gateway_gives_way_to_the_first_and_both_names_are_told",
        &["nft"],
        second_gateway,
    )
}

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
