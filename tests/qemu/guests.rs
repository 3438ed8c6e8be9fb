//! Guests and what they are asked to do: boot side by side, ping, move a file.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::qemu::{GuestSetup, Wire};
use lab::{Guest, Scene};

/// How long a short command may take in an emulated guest beside others.
pub(crate) const COMMAND: Duration = Duration::from_secs(30);

/// How long 4 MiB may take to make, move or sum up there.
const BIG_FILE: Duration = Duration::from_secs(120);

/// Guests `10.0.0.1`, `10.0.0.2` and so on, each on its wire.
pub(crate) fn boot<const N: usize>(scene: &Scene, wires: [Wire; N]) -> Result<[Guest; N]> {
    let mut guests = Vec::with_capacity(N);
    for (number, wire) in (1_u8..).zip(wires) {
        let setup = GuestSetup::new(&format!("guest-{number}"), number, wire);
        guests.push(setup.address(&format!("10.0.0.{number}/24")).start(scene)?);
    }
    for guest in &mut guests {
        guest.wait_ready()?;
    }
    Ok(guests.try_into().expect("a guest for each wire"))
}

pub(crate) fn ping(from: &mut Guest, to: &str) -> Result<()> {
    // The first request teaches the switches and both guests where everybody is.
    from.run(&format!("ping -c 1 -w 20 {to}"), COMMAND)?;
    let report = from.run(&format!("ping -c 5 -i 0.2 -w 20 -s 1472 {to}"), COMMAND)?;
    ensure!(report.contains(" 0% packet loss"), "echo requests were lost: {report}");
    Ok(())
}

/// Moves 4 MiB that nobody can guess from one guest to the other and compares their sums.
pub(crate) fn move_file(from: &mut Guest, to: &mut Guest) -> Result<()> {
    from.run("mkdir -p /tmp/files", COMMAND)?;
    from.run("dd if=/dev/urandom of=/tmp/files/big bs=64k count=64", BIG_FILE)?;
    from.run("netstat -lt | grep -q :8000 || httpd -p 8000 -h /tmp/files", COMMAND)?;
    let addresses = from.run("ip -4 address show eth0", COMMAND)?;
    let address = addresses.split_whitespace().find_map(|word| word.strip_suffix("/24"));
    let address = address.with_context(|| format!("no address in {addresses}"))?;
    let sent = from.run("sha256sum </tmp/files/big", BIG_FILE)?;
    to.run(&format!("wget -q -O /tmp/got http://{address}:8000/big"), BIG_FILE)?;
    let received = to.run("sha256sum </tmp/got", BIG_FILE)?;
    ensure!(sent == received, "the file's sum was {sent} and became {received}");
    ensure!(sent.trim().len() > 60, "there is no sum in {sent:?}");
    to.run("rm /tmp/got", COMMAND).map(drop)
}
