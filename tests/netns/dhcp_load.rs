//! The gateway's DHCP server under Kea's `perfdhcp`, from behind a cable: nothing lost, no address
//! given twice. The short form; `./bench dhcp` has the long one, and rates.

use anyhow::{Context as _, Result, ensure};
use lab::process::{both, output};
use lab::{Scene, Suite};

use lab::lan::{GATEWAY, Lan, Vm};

pub(crate) fn trials(suite: Suite) -> Suite {
    const PROGRAMS: &[&str] = &["perfdhcp", "vde_plug2tap", "nft"];
    suite.trial("perfdhcp_loses_nothing_and_gets_no_address_twice", PROGRAMS, exchanges).trial(
        "perfdhcp_sees_a_crowd_served_at_once",
        PROGRAMS,
        avalanche,
    )
}

/// A network whose subnet holds a crowd, and `perfdhcp`'s place in it.
struct Bench {
    lan: Lan,
    vm: Vm,
}

impl Bench {
    fn new(scene: &Scene) -> Result<Self> {
        // A relay agent, which `perfdhcp` is, has an address; nobody is given that one.
        let words = ["--leases-per-port", "4000"];
        let lan = Lan::start_with(scene, "10.77.0.1/20", &words)?;
        let vm = Vm::plug_in(scene, &lan.far, "perfdhcp")?;
        lan.gateway.ask(&["lease", "add", "10.77.15.254", &vm.mac])?;
        vm.netns.add_address("eth0", "10.77.15.254/20")?;
        lab::traffic::Ping::to(GATEWAY).all_answered(&vm.netns)?;
        Ok(Self { lan, vm })
    }

    /// Runs it and returns its report.
    fn run(&self, words: &[&str]) -> Result<String> {
        let mut perfdhcp = self.vm.netns.command("perfdhcp");
        perfdhcp.args(["-4", "-l", "eth0", "-W", "2000000"]).args(words).arg(GATEWAY);
        let output = output(&mut perfdhcp)?;
        let report = both(&output);
        // 3 says that exchanges were not completed, as a RELEASE never is: nobody answers it.
        ensure!(
            matches!(output.status.code(), Some(0 | 3)),
            "perfdhcp {words:?} ended with {}: {report}",
            output.status
        );
        Ok(report)
    }
}

/// The numbers after a label, one for each kind of exchange.
fn numbers(report: &str, label: &str) -> Result<Vec<u64>> {
    let lines = report.lines().filter_map(|line| line.strip_prefix(label));
    lines.map(|text| text.trim().parse().with_context(|| format!("{label}{text}"))).collect()
}

/// What was sent was answered, and no address was two clients' at a time. Releases are sent only.
fn ensure_whole(report: &str, kinds: usize) -> Result<()> {
    let sent = numbers(report, "sent packets: ")?;
    ensure!(
        sent.len() >= kinds && sent.iter().all(|count| *count > 0),
        "not all was tried: {report}"
    );
    let received = numbers(report, "received packets: ")?;
    ensure!(sent[..kinds] == received[..kinds], "exchanges were lost: {report}");
    for label in ["drops: ", "non unique addresses: ", "rejected leases: "] {
        let counts = numbers(report, label)?;
        ensure!(counts[..kinds].iter().all(|count| *count == 0), "{label}: {report}");
    }
    Ok(())
}

fn exchanges(scene: &Scene) -> Result<()> {
    let bench = Bench::new(scene)?;
    // New clients only, each once: no address twice. It may send a few more than it is told to.
    ensure_whole(&bench.run(&["-r", "200", "-R", "1000", "-n", "600", "-u"])?, 2)?;
    // The same clients again and again, who renew.
    let clients = |base, range| ["-b", base, "-r", "200", "-R", range, "-p", "2"];
    let again = clients("mac=00:0c:01:12:03:04", "200");
    ensure_whole(&bench.run(&[&again[..], &["-f", "60"]].concat())?, 3)?;
    // Clients who give back: hardly one of them twice. perfdhcp draws whom to take, and nobody owes an ACK
    // to a client that has given its address back before the ACK could be durable.
    let once = clients("mac=00:0c:02:12:03:04", "1000000");
    ensure_whole(&bench.run(&[&once[..], &["-F", "60"]].concat())?, 2)
}

fn avalanche(scene: &Scene) -> Result<()> {
    let bench = Bench::new(scene)?;
    let report = bench.run(&["--scenario", "avalanche", "-R", "1000"])?;
    ensure!(report.contains("to provision 1000 clients"), "not all were served: {report}");
    let leases = bench.lan.gateway.leases()?;
    let mut bound: Vec<_> = leases
        .iter()
        .filter(|lease| lease["state"] == "bound")
        .filter_map(|lease| lease["address"].as_str())
        .collect();
    bound.sort_unstable();
    bound.dedup();
    ensure!(bound.len() == 1000, "{} addresses are leased to 1000 clients", bound.len());
    Ok(())
}
