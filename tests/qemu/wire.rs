//! The wire of a guest's port: what it does to that guest, it does to no other.

use anyhow::{Context as _, Result, ensure};
use lab::node::Setup;
use lab::qemu::Wire;
use lab::{Guest, Node, Scene, Suite, wait_until};

use crate::guests::{COMMAND, boot, ping};

/// The guest on the bad link, one that is plugged in as it is, and the one that pings both.
const BAD: &str = "10.0.0.1";
const GOOD: &str = "10.0.0.2";

const BAD_MAC: &str = "52:54:00:12:34:01";

/// A delay each way, in milliseconds, that no emulated guest needs by itself.
const DELAY: f64 = 150.0;

pub(crate) fn trials(suite: Suite) -> Suite {
    suite.trial("a_guest_on_a_bad_link_is_alone_with_it", &[], bad_link)
}

fn bad_link(scene: &Scene) -> Result<()> {
    let stream = scene.path("stream");
    let listen = stream.to_str().context("a path of a scene is text")?;
    let node = Setup::local("alone").argument("--stream").argument(listen).start(scene)?;
    let vde = || Wire::Vde(node.socket().to_path_buf());
    let [_bad, _good, mut observer] = boot(scene, [vde(), vde(), Wire::Stream(stream.clone())])?;
    ping(&mut observer, BAD)?;
    ping(&mut observer, GOOD)?;
    let port = port_of(&node, BAD_MAC)?;

    node.ask(&["wire", &port, "--delay", &format!("{DELAY}ms")])?;
    let (shortest, lost) = echoes(&mut observer, BAD)?;
    ensure!(shortest >= 2.0 * DELAY, "the guest answers after {shortest} ms");
    ensure!(lost == 0, "{lost} % were lost of frames that are only late");
    is_unimpaired(&mut observer, GOOD)?;

    node.ask(&["wire", &port, "--clear"])?;
    is_unimpaired(&mut observer, BAD)?;

    node.ask(&["wire", &port, "--loss", "40%", "--seed", "1"])?;
    let (_, lost) = echoes(&mut observer, BAD)?;
    ensure!((20..100).contains(&lost), "{lost} % were lost of what has to get through twice");
    is_unimpaired(&mut observer, GOOD)?;

    node.ask(&["wire", &port, "--clear"])?;
    is_unimpaired(&mut observer, BAD)
}

/// The number of the port where a station is.
fn port_of(node: &Node, mac: &str) -> Result<String> {
    let macs = node.macs()?;
    let station = macs.iter().find(|station| station["mac"] == mac);
    Ok(station.with_context(|| format!("{mac} is not in {macs:?}"))?["port"].to_string())
}

/// Nothing is lost on the way to a guest, and in a calm moment of the machine nothing is late.
fn is_unimpaired(from: &mut Guest, to: &str) -> Result<()> {
    let mut last = (0.0, 0);
    wait_until("answers without loss or delay", COMMAND, || {
        last = echoes(from, to)?;
        Ok(last.0 < DELAY && last.1 == 0)
    })
    .with_context(|| format!("{to} answers after {} ms, and {} % are lost", last.0, last.1))
}

/// The shortest round trip of 30, in milliseconds, and how many percent of them were lost.
fn echoes(from: &mut Guest, to: &str) -> Result<(f64, u32)> {
    let report = from.run(&format!("ping -q -c 30 -i 0.1 -W 5 {to} || true"), COMMAND)?;
    let part = |before: &str, after: &str| {
        let rest = &report[..report.find(after)?];
        rest.rsplit_once(before).map(|(_, part)| part.to_owned())
    };
    let lost = part(", ", "% packet loss").with_context(|| format!("no loss in {report}"))?;
    let times = report.split_once("min/avg/max = ").map_or("inf", |(_, times)| times);
    let shortest = times.split('/').next().unwrap_or_default().trim();
    Ok((shortest.parse()?, lost.parse()?))
}
