//! The gateway on a host with a firewall as people have it: ufw and firewalld, the real programs, with
//! files of their own. They see the network of the gateway's host in these trials, and no other.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::machine::Mount;
use lab::process::{output, run};
use lab::{Machine, Netns, Process, Scene, Suite, WebServer, wait_until};

use crate::gateway::World;
use crate::gateway_host::Lab;

/// How long firewalld may take to be ready: it is a program in Python that reads some hundred files.
const READY: Duration = Duration::from_secs(30);

const PAGE: &str = "the world";

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial(
            "ufw_is_named_and_the_commands_that_are_told_open_it",
            &["udhcpc", "curl", "dig", "ufw", "iptables", "nsenter"],
            ufw,
        )
        .trial(
            "firewalld_is_named_and_the_command_that_is_told_opens_it",
            &["udhcpc", "curl", "dig", "firewalld", "firewall-cmd", "dbus-daemon", "nsenter"],
            firewalld,
        )
}

/// A machine with copies of these directories in their places, and empty ones for what runs.
fn files(scene: &Scene, copied: &[&str]) -> Result<Machine> {
    let mut mounts = vec![Mount::empty(scene, "/run")?, Mount::empty(scene, "/var/log")?];
    for place in copied {
        let copy = scene.path(&format!("copy{}", place.replace('/', "-")));
        run(Command::new("cp").arg("-a").arg(place).arg(&copy))?;
        mounts.push(Mount::new(&copy, place));
    }
    Machine::new(scene, "files", &mounts)
}

fn shell(files: &Machine, network: &Netns, line: &str) -> Result<String> {
    run(files.guest_command(network, "sh").args(["-ec", line])).with_context(|| line.to_owned())
}

fn loads_page(machine: &Netns) -> Result<bool> {
    let mut curl = machine.command("curl");
    curl.args(["--silent", "--noproxy", "*", "--max-time", "1", "http://192.0.2.2/"]);
    Ok(output(&mut curl)?.stdout == PAGE.as_bytes())
}

fn resolves_name(machine: &Netns) -> bool {
    let words = ["@10.77.0.1", "+short", "+time=1", "+tries=1", "gateway.lab"];
    machine.exec("dig", &words).is_ok_and(|said| said.trim() == "10.77.0.1")
}

/// A firewall that lets the node's cables in and no more is named, in these words, with commands that
/// are then carried out.
fn is_named_and_opened(
    scene: &Scene,
    files: &Machine,
    world: World,
    words: [&str; 2],
) -> Result<()> {
    let _server = WebServer::start(&world.outside, PAGE.into())?;
    let mut lab = Lab::new(scene, world)?;
    for word in words {
        lab.wait_warning(word)?;
    }
    ensure!(!loads_page(&lab.world.machine)?, "nothing drops what machines send");
    ensure!(!resolves_name(&lab.world.machine), "nothing drops what machines ask");
    let mut fixes = Vec::new();
    for warning in lab.warnings()? {
        let fix =
            warning.split("run: ").nth(1).with_context(|| format!("no command: {warning}"))?;
        if !fixes.contains(&fix.to_owned()) {
            fixes.push(fix.to_owned());
        }
    }
    for fix in &fixes {
        shell(files, &lab.world.inside, fix)?;
    }
    ensure!(loads_page(&lab.world.machine)?, "{fixes:?} open no way out");
    ensure!(resolves_name(&lab.world.machine), "{fixes:?} let no questions in");
    lab.let_it_look()?;
    lab.wait_no_warning()?;
    lab.gateway.terminate().map(drop)
}

fn ufw(scene: &Scene) -> Result<()> {
    let world = World::new()?;
    let files = files(scene, &["/etc/ufw", "/etc/default"])?;
    shell(&files, &world.inside, "ufw allow 7667/udp; ufw --force enable")?;
    let words = [
        "ufw's chain FORWARD (table ip filter) drops what machines send through this host",
        "ufw's chain INPUT (table ip filter) drops what machines ask of this host",
    ];
    is_named_and_opened(scene, &files, world, words)
}

fn firewalld(scene: &Scene) -> Result<()> {
    let world = World::new()?;
    let files = files(scene, &["/etc/firewalld"])?;
    shell(&files, &world.inside, "mkdir /run/dbus")?;
    let spawn = |program: &str, words: &[&str]| {
        Process::spawn(scene, program, files.guest_command(&world.inside, program).args(words))
    };
    // Dropped behind those who need it.
    let mut bus = spawn("dbus-daemon", &["--system", "--nofork", "--nopidfile"])?;
    wait_until("the bus", READY, || {
        bus.check_running()?;
        Ok(shell(&files, &world.inside, "test -S /run/dbus/system_bus_socket").is_ok())
    })?;
    let mut firewall = spawn("firewalld", &["--nofork", "--nopid"])?;
    wait_until("firewalld", READY, || {
        firewall.check_running()?;
        Ok(shell(&files, &world.inside, "firewall-cmd --state").is_ok())
    })?;
    shell(&files, &world.inside, "firewall-cmd --add-port=7667/udp")?;
    let words = [
        "firewalld's chain filter_FORWARD (table inet firewalld) drops what machines send",
        "firewalld's chain filter_INPUT (table inet firewalld) drops what machines ask",
    ];
    is_named_and_opened(scene, &files, world, words)
}
