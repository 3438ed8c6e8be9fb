//! How long frames of a member pass that has just been put out.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use lab::Scene;
use lab::process::Process;
use lab::wait::wait_until;

use super::{Hosts, NEWS, inner};
use crate::hosts::TAP;

/// The names of the hosts; the last one is put out by the first.
const HOSTS: [&str; 4] = ["a", "b", "c", "d"];

/// A mesh in which the one that is put out has a cable to each of the others: none of them hears of it
/// by losing its way to that one.
pub(super) fn trial(scene: &Scene) -> Result<()> {
    let hosts = Hosts::start(scene, &HOSTS)?;
    let (last, others) = (HOSTS.len() - 1, 0..HOSTS.len() - 1);
    for number in 1..HOSTS.len() {
        hosts.join(number, 0, &[])?;
    }
    for name in ["b", "c"] {
        hosts.nodes[last].ask(&["connect", name])?;
    }
    for to in others.clone() {
        hosts.reaches(last, to)?;
    }
    let mut captures = Vec::new();
    for to in others.clone() {
        let filter = format!("src host {}", inner(last));
        let mut command = hosts.netns[to].command("tcpdump");
        command.args(["-Z", "root", "-i", TAP, "-Q", "in", "-l", "-n", "-tt", &filter]);
        let mut capture = Process::spawn(scene, &format!("tcpdump-{}", HOSTS[to]), &mut command)?;
        capture.wait_log("listening on", NEWS)?;
        captures.push(capture);
    }
    let mut pings = Vec::new();
    for to in others.clone() {
        let mut command = hosts.netns[last].command("ping");
        // A hundred a second, also when no answer comes, until it is killed.
        command.args(["-n", "-q", "-i", "0.01", "-W", "1", &inner(to)]);
        pings.push(Process::spawn(scene, &format!("ping-{}", HOSTS[to]), &mut command)?);
    }
    for (to, capture) in others.clone().zip(&captures) {
        let flows = || Ok(capture.log().matches("ICMP echo request").count() > 100);
        wait_until(&format!("frames to {}", HOSTS[to]), NEWS, flows)?;
    }

    hosts.nodes[0].ask(&["revoke", "d"])?;
    let returned = unix_now();

    let is_out = || Ok(hosts.nodes[last].cables_up()? == 0);
    wait_until("d to have no cable", NEWS, is_out)?;
    // What comes later would be seen: the flows go on.
    let is_quiet =
        |capture: &Process| last_frame(&capture.log()).is_some_and(|last| unix_now() - last > 1.0);
    wait_until("no frame for a second", NEWS, || Ok(captures.iter().all(is_quiet)))?;
    for mut ping in pings {
        ensure!(ping.ended()?.is_none(), "ping has ended: {}", ping.log());
    }
    for (to, capture) in others.zip(&captures) {
        let last = last_frame(&capture.log()).context("no frame was seen")?;
        let after = last - returned;
        println!(
            "the last frame of d reached {} {:+.3} s after the command had returned",
            HOSTS[to], after
        );
    }
    hosts.reaches(1, 2)
}

#[expect(clippy::disallowed_methods, reason = "the time is compared with that of tcpdump")]
fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// When the latest packet came that tcpdump has printed.
fn last_frame(log: &str) -> Option<f64> {
    let times = log.lines().filter(|line| line.contains(" IP ") || line.contains(" ARP"));
    times.filter_map(|line| line.split_whitespace().next()?.parse().ok()).next_back()
}
