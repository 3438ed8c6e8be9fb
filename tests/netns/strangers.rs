//! What strangers on the internet can do to nodes whose cables are up: nothing that those who use the
//! cables would notice, and nothing to others by way of the node.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::netns::veth;
use lab::process::{Process, built_program};
use lab::traffic::Ping;
use lab::wait::wait_until;
use lab::{Netns, Scene, Suite};
use serde_json::Value;

use crate::hosts::{INNER, Pair};

/// How long strangers try.
const SECONDS: &str = "3";

/// How much more memory they may cost.
const GROWTH: u64 = 50 << 20;

/// How much may be logged about them in all: ten lines a second.
const LOG_LINES: usize = 60;

pub(crate) fn trials(suite: Suite) -> Suite {
    suite.trial("a_flood_of_forged_first_packets_harms_no_cable", &[], forged).trial(
        "a_flood_of_handshakes_with_strange_keys_harms_no_cable",
        &[],
        handshakes,
    )
}

/// Two hosts with a cable, and a stranger with a wire of its own to the second.
struct Siege {
    pair: Pair,
    stranger: Netns,
    ups: u64,
    resident: u64,
    log_lines: usize,
}

/// The second host's interface towards the stranger.
const OUTSIDE: &str = "outside";

impl Siege {
    fn lay(scene: &Scene) -> Result<Self> {
        let mut pair = Pair::on_a_wire(scene)?;
        pair.plug_cable()?;
        pair.ping_both_ways(56)?;
        let stranger = Netns::new("stranger")?;
        veth(&pair.b.netns, OUTSIDE, &stranger, OUTSIDE)?;
        pair.b.netns.add_address(OUTSIDE, "10.66.0.1/24")?;
        stranger.add_address(OUTSIDE, "10.66.0.2/24")?;
        // Answers to forged addresses leave by this wire, and the stranger swallows them.
        pair.b.netns.ip(&["route", "add", "10.128.0.0/9", "via", "10.66.0.2"])?;
        for filter in ["all", OUTSIDE] {
            let rule = format!("echo 0 > /proc/sys/net/ipv4/conf/{filter}/rp_filter");
            pair.b.netns.exec("sh", &["-c", &rule])?;
        }
        let ups = times_up(&pair)?;
        let process = pair.b.node.process()?;
        let (resident, log_lines) = (process.resident_bytes()?, process.log().lines().count());
        Ok(Self { pair, stranger, ups, resident, log_lines })
    }

    fn command(&self, kind: &str, rate: &str, rest: &[&str]) -> Result<Command> {
        let mut command = self.stranger.command("env");
        command.arg(built_program("strangers")?);
        command.args([kind, "10.66.0.1:7667", rate, SECONDS]).args(rest);
        Ok(command)
    }

    /// Runs strangers while somebody uses the cable, and returns what they say came of it.
    fn suffer(&self, scene: &Scene, mut command: Command) -> Result<Value> {
        let mut strangers = Process::spawn(scene, "strangers", &mut command)?;
        let mut answered = 0;
        while strangers.check_running().is_ok() {
            let answers = Ping::to(INNER[1]).count(5).run(&self.pair.a.netns)?;
            ensure!(answers.received > 0, "nobody answers over the cable");
            answered += answers.received;
        }
        ensure!(answered > 0, "the strangers were gone before anybody used the cable");
        let log = strangers.log();
        let line = log.lines().find(|line| line.starts_with('{')).context("they said nothing")?;
        Ok(serde_json::from_str(line)?)
    }

    /// Nobody noticed.
    fn check(mut self) -> Result<()> {
        ensure!(times_up(&self.pair)? == self.ups, "a cable went down");
        self.pair.ping_both_ways(1000)?;
        let process = self.pair.b.node.process()?;
        let grown = process.resident_bytes()?.saturating_sub(self.resident);
        ensure!(grown < GROWTH, "it has grown by {} KiB", grown >> 10);
        let lines = process.log().lines().count() - self.log_lines;
        ensure!(lines < LOG_LINES, "{lines} lines were logged");
        // Who is trusted still gets in from a new place.
        self.pair.a.node.ask(&["disconnect", "c1"])?;
        self.pair.plug_cable()
    }

    /// Octets that the stranger's wire brought to the node, and that went back.
    fn octets(&self) -> Result<[u64; 2]> {
        let read = |what: &str| -> Result<u64> {
            let file = format!("/sys/class/net/{OUTSIDE}/statistics/{what}_bytes");
            Ok(self.pair.b.netns.exec("cat", &[&file])?.trim().parse()?)
        };
        Ok([read("rx")?, read("tx")?])
    }

    fn strangers(&self) -> Result<Value> {
        Ok(self.pair.b.node.status()?["strangers"].clone())
    }
}

/// How often the cables came up at the second host.
fn times_up(pair: &Pair) -> Result<u64> {
    let cables = pair.b.node.cables()?;
    Ok(cables.iter().filter_map(|cable| cable["times_up"].as_u64()).sum())
}

fn forged(scene: &Scene) -> Result<()> {
    let siege = Siege::lay(scene)?;
    let command = siege.command("forged", "20000", &[])?;
    let said = siege.suffer(scene, command)?;
    let sent = said["sent"].as_u64().context("how many were sent")?;
    ensure!(sent > 5_000, "only {sent} packets were sent");
    let strangers = siege.strangers()?;
    let ignored = strangers["ignored"]["flood"].as_u64().unwrap_or(0);
    ensure!(ignored > sent / 2, "of {sent} packets {ignored} were ignored: {strangers}");
    let accepted = strangers["accepted"].as_u64().unwrap_or(u64::MAX);
    ensure!(accepted < 200, "{accepted} handshakes with nobody");
    let status = siege.pair.b.node.ask(&["status"])?;
    let warnings: Vec<_> = status.lines().filter(|l| l.contains("strangers flood")).collect();
    ensure!(warnings.len() == 1, "the flood is told in one line: {status}");
    let [received, sent] = siege.octets()?;
    ensure!(sent <= received, "{sent} octets were sent to forged addresses for {received}");
    siege.check()
}

fn handshakes(scene: &Scene) -> Result<()> {
    let siege = Siege::lay(scene)?;
    // Many networks, as of a botnet.
    let sources: Vec<_> = (0..32).map(|network| format!("10.200.{network}.1")).collect();
    for source in &sources {
        siege.stranger.add_address("lo", &format!("{source}/32"))?;
    }
    let key = siege.pair.b.node.id()?;
    let mut rest = vec![key.as_str()];
    rest.extend(sources.iter().map(String::as_str));
    let command = siege.command("handshakes", "500", &rest)?;
    let said = siege.suffer(scene, command)?;
    let refused = said["refused"].as_u64().unwrap_or(0);
    ensure!(refused > 0, "no stranger was refused: {said}");
    let what = "each handshake to have come to its end";
    wait_until(what, Duration::from_secs(20), || Ok(siege.strangers()?["under_way"] == 0))?;
    let strangers = siege.strangers()?;
    let untrusted = strangers["refused"]["untrusted"].as_u64().unwrap_or(0);
    ensure!(untrusted > 0, "the node does not say why: {strangers}");
    let accepted = strangers["accepted"].as_u64().unwrap_or(u64::MAX);
    ensure!(accepted < 1500, "{accepted} handshakes with strangers");
    let [received, sent] = siege.octets()?;
    ensure!(sent <= 3 * received, "{sent} octets were sent for {received}");
    siege.check()
}
