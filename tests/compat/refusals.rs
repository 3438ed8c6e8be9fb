//! What a user gets wrong: each time a clear sentence (what, why, what to do), an exit code of 1,
//! and nothing left behind.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::frames::{BROADCAST, STATION_A, frame};
use lab::node::Setup;
use lab::process::{both, built_program, command, output};
use lab::{Plug, Scene, Suite};

/// The exit code of a program that could not do what it was asked.
const FAILED: i32 = 1;

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("a_udp_port_in_use_is_named", &[], udp_port_in_use)
        .trial("a_socket_path_that_is_too_long_is_refused_whole", &[], path_too_long)
        .trial("a_directory_that_cannot_be_made_is_named", &[], unusable_directory)
        .trial("a_key_that_others_can_read_is_refused", &[], exposed_key)
        .trial("two_nodes_cannot_share_their_state", &[], shared_state)
        .trial("a_name_that_no_interface_can_have_is_refused", &[], bad_tap_name)
        .trial("a_host_that_does_not_exist_makes_no_cable", &[], unknown_host)
        .trial("a_refused_cable_is_told_of_when_it_is_refused", &[], refused_cable)
        .trial("a_node_that_does_not_run_is_told_with_those_that_do", &[], other_nodes)
        .trial("a_cable_that_is_dialled_again_is_told_of_when_it_is_pulled_out", &[], dialled_again)
        .trial("what_commands_print_as_json_says_what_it_is", &[], kinds)
        .trial("two_plugs_of_one_user_share_a_numbered_port", &["vde_plug"], shared_port)
}

/// Starts a node that must not come up, and checks what it says.
fn expect_refusal(scene: &Scene, arguments: &[&str], words: &[&str]) -> Result<()> {
    let mut node = command("timeout", None);
    node.arg("20").arg(built_program("vdenode")?);
    node.args(["--name", "refused", "--control"]).arg(scene.path("refused.ctl"));
    if !arguments.contains(&"--state") {
        node.arg("--state").arg(scene.path("refused.state"));
    }
    if !arguments.contains(&"--sock") {
        node.arg("--sock").arg(scene.path("refused"));
    }
    node.args(arguments);
    let output = output(&mut node)?;
    let said = both(&output);
    ensure!(output.status.code() == Some(FAILED), "it ended with {}: {said}", output.status);
    for word in words {
        ensure!(said.contains(word), "{word:?} is not in: {said}");
    }
    ensure!(!said.contains("panicked"), "it panicked: {said}");
    ensure!(!scene.path("refused.ctl").exists(), "a control socket is left");
    ensure!(!scene.path("refused").join("ctl").exists(), "a VDE socket is left");
    Ok(())
}

fn udp_port_in_use(scene: &Scene) -> Result<()> {
    let holder = UdpSocket::bind("127.0.0.1:0")?;
    let address = holder.local_addr()?.to_string();
    expect_refusal(scene, &["--listen", &address], &[&address, "in use", "--listen"])
}

fn path_too_long(scene: &Scene) -> Result<()> {
    let long = scene.path(&"x".repeat(120));
    let words = ["leave room for", "shorter path"];
    expect_refusal(scene, &["--no-listen", "--sock", text(&long)], &words)?;
    ensure!(!long.exists(), "a directory is left");
    Ok(())
}

fn unusable_directory(scene: &Scene) -> Result<()> {
    let file = scene.path("file");
    fs::write(&file, "")?;
    expect_refusal(scene, &["--no-listen", "--sock", text(&file)], &["not a directory"])?;
    let orphan = scene.path("missing/vde");
    expect_refusal(scene, &["--no-listen", "--sock", text(&orphan)], &["does not exist"])?;
    let below_file = file.join("state");
    expect_refusal(scene, &["--no-listen", "--state", text(&below_file)], &["--state"])
}

fn exposed_key(scene: &Scene) -> Result<()> {
    let mut node = Setup::local("node").start(scene)?;
    node.terminate()?;
    let key = node.state().join("identity.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
    let arguments = ["--no-listen", "--state", text(node.state())];
    expect_refusal(scene, &arguments, &["identity.key", "read by others", "600"])
}

fn shared_state(scene: &Scene) -> Result<()> {
    let mut first = Setup::local("first").start(scene)?;
    let pid = first.process()?.id().to_string();
    let arguments = ["--no-listen", "--state", text(first.state())];
    expect_refusal(scene, &arguments, &["in use", &pid, "--state"])?;
    first.status().map(drop)
}

fn bad_tap_name(scene: &Scene) -> Result<()> {
    expect_refusal(scene, &["--no-listen", "--tap", "not/a/name"], &["cannot name an interface"])
}

fn unknown_host(scene: &Scene) -> Result<()> {
    let node = Setup::local("node").start(scene)?;
    let output = node.vdecable(&["connect", "no-such-host.invalid"])?;
    let said = both(&output);
    ensure!(output.status.code() == Some(FAILED), "it ended with {}: {said}", output.status);
    ensure!(said.contains("no-such-host.invalid"), "the host is not named: {said}");
    ensure!(said.contains("spelling"), "nothing to do about it: {said}");
    ensure!(node.cables()?.is_empty(), "a cable was kept");
    Ok(())
}

fn refused_cable(scene: &Scene) -> Result<()> {
    let udp = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let node = Setup::local("node").start(scene)?;
    let _other = Setup::listening("other", &udp).start(scene)?;
    let mut connect = command("timeout", None);
    connect.arg("60").arg(built_program("vdecable")?).arg("--control").arg(node.control());
    let output = output(connect.args(["connect", &udp, "--wait", "600"]))?;
    let said = both(&output);
    ensure!(output.status.code() == Some(FAILED), "it ended with {}: {said}", output.status);
    ensure!(said.contains("not trust") && said.contains("keeps trying"), "{said}");
    Ok(())
}

fn other_nodes(scene: &Scene) -> Result<()> {
    let node = Setup::local("node").start(scene)?;
    let mut ask = command(built_program("vdecable")?, None);
    let nobody = node.control().with_file_name("nobody.ctl");
    let answer = output(ask.arg("--control").arg(nobody).arg("status"))?;
    let said = both(&answer);
    ensure!(answer.status.code() == Some(3), "it ended with {}: {said}", answer.status);
    ensure!(said.contains(&format!("--control {}", text(node.control()))), "{said}");
    let both_ways = node.vdecable(&["--node", "node", "status"])?;
    ensure!(both_ways.status.code() == Some(2), "two nodes are named: {}", both(&both_ways));
    Ok(())
}

fn dialled_again(scene: &Scene) -> Result<()> {
    let free =
        || -> Result<String> { Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.to_string()) };
    let a = Setup::listening("a", &free()?).start(scene)?;
    let at_b = free()?;
    let b = Setup::listening("b", &at_b).start(scene)?;
    let token = a.ask(&["invite"])?;
    b.ask(&["join", token.trim()])?;
    // Each keeps one to the other, of which one stands by.
    a.ask(&["connect", &at_b])?;
    let serving = || -> Result<Option<String>> {
        let cables = a.cables()?;
        let mut up = cables.iter().filter(|cable| cable["state"] == "up");
        let up = up.next().filter(|_| up.next().is_none());
        Ok(up.and_then(|cable| Some(cable["id"].as_str()?.to_owned())))
    };
    let only = || Ok(serving()?.is_some());
    lab::wait_until("one cable to serve", Duration::from_secs(10), only)?;
    let said = a.ask(&["disconnect", &serving()?.unwrap_or_default()])?;
    ensure!(said.contains("all the same") && said.contains("vdecable disconnect"), "{said}");
    // That was the last one.
    lab::wait_until("the other one to serve", Duration::from_secs(10), only)?;
    let said = a.ask(&["disconnect", &serving()?.unwrap_or_default()])?;
    ensure!(!said.contains("all the same") && a.cables_up()? == 0, "{said}");
    Ok(())
}

fn kinds(scene: &Scene) -> Result<()> {
    let node = Setup::local("node").start(scene)?;
    let kind = |arguments: &[&str]| -> Result<serde_json::Value> {
        let output = node.vdecable(&[&["--json"], arguments].concat())?;
        let object: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        Ok(object["kind"].clone())
    };
    ensure!(kind(&["ping", "node", "-c", "1"])? == "ping", "ping");
    ensure!(kind(&["connect", "127.0.0.1:9", "--wait", "0"])? == "cable", "connect");
    ensure!(kind(&["status"])? == "status", "status");
    Ok(())
}

fn shared_port(scene: &Scene) -> Result<()> {
    let node = Setup::local("node").start(scene)?;
    // `vde_plug` takes the number in brackets behind the directory.
    let address = format!("{}[7]", node.socket().display());
    let mut one = Plug::insert(scene, "one", Path::new(&address))?;
    let mut two = Plug::insert(scene, "two", Path::new(&address))?;
    let mut other = Plug::insert(scene, "other", node.socket())?;
    let sent = frame(BROADCAST, STATION_A, 60, 1);
    let second = frame(BROADCAST, STATION_A, 60, 2);
    lab::wait_until("three plugs on two ports", Duration::from_secs(10), || {
        let ports = node.ports()?;
        let names = |port: &serde_json::Value| port["description"].to_string();
        let shared = ports.iter().find(|port| port["port"] == 7).map(names).unwrap_or_default();
        Ok(ports.len() == 2 && shared.contains("one") && shared.contains("two"))
    })?;
    // Both hear what the other port says, …
    other.send(&sent)?;
    one.expect(&sent)?;
    two.expect(&sent)?;
    // … and neither hears the other.
    one.send(&second)?;
    other.expect(&second)?;
    ensure!(two.drain().is_empty(), "a plug heard the one that shares its port");
    Ok(())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
