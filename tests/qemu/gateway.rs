//! A guest behind a cable, and the boot ROM of its card, as clients of the gateway.

use anyhow::{Context as _, Result, ensure};
use lab::lan::{Lan, SERVER, SOON};
use lab::qemu::{GuestSetup, Wire};
use lab::{Process, Scene, Suite, WebServer, wait_until};

use crate::guests::COMMAND;

/// The file that the guest loads: 3 MB that do not repeat within a packet.
const FILE: usize = 3_000_001;

/// What the guest's `udhcpc` runs. One line, because a command of the console is one.
const LEASE_SCRIPT: &str = "case $1 in bound|renew) \
    ip address add $ip/$mask dev $interface; ip route add default via $router; \
    echo nameserver $dns >/etc/resolv.conf; echo search $domain >>/etc/resolv.conf ;; esac";

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .as_root()
        .trial(
            "a_guest_behind_a_cable_gets_an_address_and_loads_a_file_from_the_internet",
            &["ip", "nft", "dnsmasq"],
            guest,
        )
        .trial("the_boot_rom_of_a_card_gets_an_address", &["ip", "nft"], boot_rom)
}

fn guest(scene: &Scene) -> Result<()> {
    let lan = Lan::start(scene, &[])?;
    let file: Vec<u8> = (0..FILE).map(|at| (at / 251 + at).to_le_bytes()[0]).collect();
    let _server = WebServer::start(&lan.internet, file.clone())?;
    let mut dnsmasq = lan.internet.command("dnsmasq");
    dnsmasq.args(["--keep-in-foreground", "--no-hosts", "--no-resolv", "--log-facility=-"]);
    dnsmasq.args(["--user=root", "--pid-file=", "--conf-file=/dev/null"]);
    dnsmasq.arg(format!("--host-record=files.example.test,{SERVER}"));
    let _resolver = Process::spawn(scene, "resolver", &mut dnsmasq)?;

    let wire = Wire::Vde(lan.far.socket().to_path_buf());
    let mut guest = GuestSetup::new("guest", 1, wire).start(scene)?;
    guest.wait_ready()?;
    let script = LEASE_SCRIPT.replace("\\\n", "");
    guest.run(
        &format!("mkdir -p /etc; echo '#!/bin/sh' >/tmp/lease; echo '{script}' >>/tmp/lease"),
        COMMAND,
    )?;
    guest.run("chmod +x /tmp/lease", COMMAND)?;
    guest.run("udhcpc -i eth0 -f -q -n -t 10 -T 2 -x hostname:guest1 -s /tmp/lease", COMMAND)?;
    let mac = "52:54:00:12:34:01";
    let lease = lan.wait_lease("the guest's lease", mac, SOON, |lease| lease.state == "bound")?;
    ensure!(lease.name.as_deref() == Some("guest1"), "its name is {:?}", lease.name);

    let own = guest.run("nslookup guest1.lab", COMMAND)?;
    ensure!(own.contains(&lease.address), "guest1.lab is {own}");
    guest.run("wget -q -O /tmp/got http://files.example.test/file", COMMAND)?;
    let got = guest.run("wc -c </tmp/got; sha256sum </tmp/got", COMMAND)?;
    let path = scene.path("file");
    std::fs::write(&path, &file)?;
    let sum = lab::process::run(std::process::Command::new("sha256sum").arg(&path))?;
    let sum = sum.split_whitespace().next().context("sha256sum prints a sum")?;
    ensure!(got.contains(sum) && got.contains(&FILE.to_string()), "{sum} became {got}");
    Ok(())
}

fn boot_rom(scene: &Scene) -> Result<()> {
    let lan = Lan::start(scene, &[])?;
    let wire = Wire::Vde(lan.far.socket().to_path_buf());
    let mut guest = GuestSetup::new("ipxe", 2, wire).start_from_network(scene)?;
    guest.expect("iPXE", COMMAND)?;
    let mac = "52:54:00:12:34:02";
    let lease = lan.wait_lease("a lease of iPXE", mac, COMMAND, |lease| lease.state == "bound")?;
    // It says which address it has taken.
    guest.expect(&lease.address, COMMAND)?;
    wait_until("its lease to stay", SOON, || {
        Ok(lan.lease_of(mac)?.is_some_and(|now| now.address == lease.address))
    })
}
