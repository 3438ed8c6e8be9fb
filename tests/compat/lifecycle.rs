//! How a node starts and ends, what it leaves behind, and what `vdecable` says when there is
//! none.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::frames::{BROADCAST, STATION_A, frame};
use lab::node::Setup;
use lab::process::{both, built_program, command, output};
use lab::{Node, Plug, Scene, Suite};

/// `vdecable`'s exit codes, which are part of its interface.
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const NODE_NOT_RUNNING: i32 = 3;

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("a_clean_exit_leaves_no_socket", &["vde_plug"], clean_exit)
        .trial("a_node_that_was_killed_starts_again_in_its_directory", &[], start_after_kill)
        .trial("a_second_node_on_the_same_socket_names_the_first", &[], second_node)
        .trial("a_node_keeps_its_key", &[], same_key)
        .trial("the_exit_code_of_vdecable_says_what_happened", &[], exit_codes)
}

fn clean_exit(scene: &Scene) -> Result<()> {
    let mut node = Setup::local("node").start(scene)?;
    let mut plug = Plug::insert(scene, "plug", node.socket())?;
    // A frame that has arrived says that the plug is in: until then, its own socket may lie in
    // the directory.
    lab::wait_until("a frame of the plug", Duration::from_secs(10), || {
        plug.send(&frame(BROADCAST, STATION_A, 60, 1))?;
        Ok(!node.macs()?.is_empty())
    })?;
    let status = node.terminate()?;
    ensure!(status.success(), "SIGTERM ended the node with {status}");
    plug.wait_end().context("a plug must notice that its switch has gone")?;
    ensure!(!node.control().exists(), "the control socket is left");
    ensure!(!node.socket().exists(), "left in its directory: {:?}", names_in(node.socket()));
    Ok(())
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn start_after_kill(scene: &Scene) -> Result<()> {
    let mut node = Setup::local("node").start(scene)?;
    node.kill()?;
    ensure!(node.socket().join("ctl").exists(), "a killed node cannot have cleaned up");
    node.start(scene)?;
    UnixStream::connect(node.socket().join("ctl")).context("the new node does not listen")?;
    ensure!(node.terminate()?.success(), "SIGTERM failed");
    ensure!(!node.socket().exists(), "left in its directory: {:?}", names_in(node.socket()));
    Ok(())
}

fn second_node(scene: &Scene) -> Result<()> {
    let mut first = Setup::local("first").start(scene)?;
    let pid = first.process()?.id().to_string();
    let mut second = command("timeout", None);
    second.arg("20").arg(built_program("vdenode")?);
    second.args(["--name", "second", "--no-listen", "--sock"]).arg(first.socket());
    second.arg("--state").arg(scene.path("second.state"));
    second.arg("--control").arg(scene.path("second.ctl"));
    let output = output(&mut second)?;
    let words = both(&output);
    ensure!(output.status.code() == Some(FAILED), "it ended with {}: {words}", output.status);
    ensure!(words.contains(&pid), "process {pid} is not named in: {words}");
    ensure!(!scene.path("second.ctl").exists(), "the second node left its control socket");
    // The first one has lost nothing.
    UnixStream::connect(first.socket().join("ctl")).context("the first node was disturbed")?;
    first.status().map(drop)
}

fn same_key(scene: &Scene) -> Result<()> {
    let mut node = Setup::local("node").start(scene)?;
    let key = node.id()?;
    ensure!(!key.is_empty() && !key.contains(char::is_whitespace), "no key alone: {key:?}");
    node.kill()?;
    node.start(scene)?;
    ensure!(node.id()? == key, "the key changed with a restart");
    let other = Setup::local("other").start(scene)?;
    ensure!(other.id()? != key, "two nodes have one key");
    Ok(())
}

fn exit_codes(scene: &Scene) -> Result<()> {
    let mut node = Setup::local("node").start(scene)?;
    expect_code(&node, &["status"], 0)?;
    expect_code(&node, &["disconnect", "no-such-cable"], FAILED)?;
    expect_code(&node, &["trust", "no-key"], FAILED).or_else(|_| {
        // A key that cannot be one is a mistake in the command line as well.
        expect_code(&node, &["trust", "no-key"], USAGE)
    })?;
    expect_code(&node, &["no-such-command"], USAGE)?;
    expect_code(&node, &[], USAGE)?;
    node.terminate()?;
    expect_code(&node, &["status"], NODE_NOT_RUNNING)
}

fn expect_code(node: &Node, arguments: &[&str], code: i32) -> Result<()> {
    let output = node.vdecable(arguments)?;
    let words = both(&output);
    ensure!(
        output.status.code() == Some(code),
        "vdecable {arguments:?} ended with {}, not {code}: {words}",
        output.status
    );
    ensure!(code == 0 || !output.stderr.is_empty(), "vdecable {arguments:?} failed silently");
    Ok(())
}
