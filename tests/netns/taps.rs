//! Taps that somebody else opened: a node gets their descriptors and needs no right of its own.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::netns::Netns;
use lab::node::Setup;
use lab::process::{both, built_program, command, output};
use lab::{Scene, Suite, wait_until};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tun_tap::{Iface, Mode};

const SOON: Duration = Duration::from_secs(20);

pub(crate) fn trials(suite: Suite) -> Suite {
    suite.trial("taps_by_descriptor_join_hosts", &[], joined).trial(
        "a_descriptor_of_something_else_is_named",
        &[],
        not_a_tap,
    )
}

/// A host, and the descriptor of a tap in it, which programs that are started now inherit.
fn host(number: usize) -> Result<(Netns, OwnedFd)> {
    let host = Netns::new("host")?;
    let path = format!("/run/netns/{}", host.name());
    let opened = std::thread::spawn(move || -> Result<OwnedFd> {
        let space = File::open(&path).with_context(|| path.clone())?;
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
        let tap = Iface::without_packet_info("tap0", Mode::Tap)?;
        // The crate has only the number; this gives another descriptor of the same open tap.
        let own = pidfd_open(getpid(), PidfdFlags::empty())?;
        let tap = pidfd_getfd(own, tap.as_raw_fd(), PidfdGetfdFlags::empty())?;
        fcntl_setfd(&tap, FdFlags::empty())?;
        Ok(tap)
    });
    let tap = opened.join().ok().context("the thread panicked")??;
    host.add_address("tap0", &format!("10.97.0.{number}/24"))?;
    host.set_up("tap0")?;
    Ok((host, tap))
}

fn joined(scene: &Scene) -> Result<()> {
    let hosts = [host(1)?, host(2)?];
    let mut setup = Setup::local("node");
    for (_, tap) in &hosts {
        setup = setup.argument("--tap-fd").argument(&tap.as_raw_fd().to_string());
    }
    let node = setup.start(scene)?;
    let ports = node.ports()?;
    ensure!(ports.len() == 2 && ports.iter().all(|port| port["kind"] == "tap"), "{ports:?}");
    wait_until("the hosts to hear each other", SOON, || {
        let mut ping = hosts[0].0.command("ping");
        ping.args(["-n", "-c", "1", "-s", "1400", "-W", "1", "10.97.0.2"]);
        Ok(output(&mut ping)?.status.success())
    })
}

fn not_a_tap(scene: &Scene) -> Result<()> {
    let file = File::create(scene.path("file"))?;
    fcntl_setfd(&file, FdFlags::empty())?;
    for number in [file.as_raw_fd(), 999] {
        let mut node = command(built_program("vdenode")?, None);
        node.args(["--no-listen", "--tap-fd", &number.to_string()]);
        for (flag, name) in [("--sock", "vde"), ("--state", "state"), ("--control", "ctl")] {
            node.arg(flag).arg(scene.path(name));
        }
        let said = output(&mut node)?;
        let text = both(&said);
        let words = format!("descriptor {number} is not open on a tap");
        ensure!(!said.status.success() && text.contains(&words), "{text}");
    }
    Ok(())
}
