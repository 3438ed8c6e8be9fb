//! What a gateway says when its host lacks something: one sentence, with what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use lab::process::{both, built_program, output};
use lab::{Netns, Scene, Suite};

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("without_nft_a_gateway_says_how_to_get_it", &["unshare"], without_nft)
        .trial("without_root_a_gateway_says_so", &["setpriv"], without_root)
        .trial("without_the_tun_device_a_gateway_says_how_to_get_it", &["unshare"], without_tun)
        .trial("a_subnet_that_the_host_uses_is_refused_by_name", &["nft"], overlap)
}

/// Starts a gateway that cannot be, and gives its last words.
fn last_words(mut command: Command, program: &Path, scene: &Scene) -> Result<String> {
    let place = scene.path("place");
    fs::create_dir(&place)?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o777))?;
    command.arg(program).args(["--name", "gateway", "--gateway", "10.77.0.1/24", "--sock"]);
    command.arg(place.join("sock")).arg("--state").arg(place.join("state"));
    command.arg("--control").arg(place.join("ctl")).arg("--no-listen");
    let output = output(&mut command)?;
    let words = both(&output);
    ensure!(output.status.code() == Some(1), "it ended with {}: {words}", output.status);
    let errors: Vec<&str> = words.lines().filter(|line| line.contains("ERROR")).collect();
    ensure!(errors.len() == 1, "one sentence was expected: {words}");
    Ok(errors[0].to_owned())
}

/// In a mount namespace where an empty directory hides what is in one.
fn hiding(netns: &Netns, directory: &str) -> Command {
    let mut command = netns.command("unshare");
    let script = "mount -t tmpfs none \"$0\" && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, directory]);
    command
}

fn without_nft(scene: &Scene) -> Result<()> {
    let netns = Netns::new("gateway")?;
    let mut command = hiding(&netns, "/usr/sbin");
    command.env("PATH", "/usr/bin:/bin");
    let words = last_words(command, &built_program("vdenode")?, scene)?;
    ensure!(words.contains("apt-get install nftables"), "it said {words}");
    Ok(())
}

fn without_root(scene: &Scene) -> Result<()> {
    scene.admit_everyone()?;
    let program = scene.path("vdenode");
    fs::copy(built_program("vdenode")?, &program)?;
    let netns = Netns::new("gateway")?;
    let mut command = netns.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    let words = last_words(command, &program, scene)?;
    ensure!(words.contains("--gateway needs root (CAP_NET_ADMIN)"), "it said {words}");
    Ok(())
}

fn without_tun(scene: &Scene) -> Result<()> {
    let netns = Netns::new("gateway")?;
    let words = last_words(hiding(&netns, "/dev/net"), &built_program("vdenode")?, scene)?;
    ensure!(words.contains("/dev/net/tun is missing; load the module"), "it said {words}");
    Ok(())
}

fn overlap(scene: &Scene) -> Result<()> {
    let netns = Netns::new("gateway")?;
    netns.ip(&["link", "add", "lan", "type", "veth", "peer", "name", "other"])?;
    netns.set_up("lan")?;
    netns.add_address("lan", "10.77.0.9/16")?;
    let words = last_words(netns.command("env"), &built_program("vdenode")?, scene)?;
    let clash = "10.77.0.0/24 overlaps 10.77.0.0/16, which this host reaches through lan";
    ensure!(words.contains(clash) && words.contains("is free"), "it said {words}");
    let rules = netns.exec("nft", &["list", "ruleset"])?;
    ensure!(rules.is_empty(), "rules are left: {rules}");
    Ok(())
}
