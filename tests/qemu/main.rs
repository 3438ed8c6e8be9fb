//! Ring 5: guests that boot a real kernel and plug into the switch as users' guests do.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::node::{CABLE_UP, Setup, trust_each_other};
use lab::qemu::{self, GuestSetup, Wire};
use lab::{Guest, Ring, Scene, Suite};

/// How long a short command may take in an emulated guest beside another one.
const COMMAND: Duration = Duration::from_secs(30);

/// How long 4 MiB may take to make, move or sum up there.
const BIG_FILE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    Suite::new(Ring::Qemu)
        .needs(qemu::PROGRAMS)
        .trial("guests_on_the_vde_and_the_stream_socket_ping_and_move_a_file", &[], one_node)
        .trial("two_guests_on_two_nodes_ping_and_move_a_file_over_the_cable", &[], two_nodes)
        .run()
}

fn one_node(scene: &Scene) -> Result<()> {
    let stream = scene.path("stream");
    let listen = stream.to_str().context("a path of a scene is text")?;
    let node = Setup::local("alone").argument("--stream").argument(listen).start(scene)?;
    let wires = [Wire::Vde(node.socket().to_path_buf()), Wire::Stream(stream.clone())];
    let [mut a, mut b] = boot_two(scene, wires)?;
    ping(&mut a, "10.0.0.2")?;
    ping(&mut b, "10.0.0.1")?;
    move_file(&mut a, &mut b)?;
    move_file(&mut b, &mut a)
}

fn two_nodes(scene: &Scene) -> Result<()> {
    let port = free_port()?;
    let near = Setup::local("near").start(scene)?;
    let far = Setup::listening("far", &format!("127.0.0.1:{port}")).start(scene)?;
    trust_each_other(&near, &far)?;
    near.connect(&format!("127.0.0.1:{port}"))?;
    near.wait_cable_up(CABLE_UP)?;
    far.wait_cable_up(CABLE_UP)?;

    let wires = [&near, &far].map(|node| Wire::Vde(node.socket().to_path_buf()));
    let [mut a, mut b] = boot_two(scene, wires)?;
    ping(&mut a, "10.0.0.2")?;
    ping(&mut b, "10.0.0.1")?;
    move_file(&mut a, &mut b)?;
    move_file(&mut b, &mut a)
}

/// Guests `10.0.0.1` and `10.0.0.2`, each on its wire.
fn boot_two(scene: &Scene, [a, b]: [Wire; 2]) -> Result<[Guest; 2]> {
    let setup = |name, number, wire| {
        GuestSetup::new(name, number, wire).address(&format!("10.0.0.{number}/24")).start(scene)
    };
    let mut guests = [setup("guest-a", 1, a)?, setup("guest-b", 2, b)?];
    for guest in &mut guests {
        guest.wait_ready()?;
    }
    Ok(guests)
}

fn ping(from: &mut Guest, to: &str) -> Result<()> {
    // The first request teaches the switches and both guests where everybody is.
    from.run(&format!("ping -c 1 -w 20 {to}"), COMMAND)?;
    let report = from.run(&format!("ping -c 5 -i 0.2 -w 20 -s 1472 {to}"), COMMAND)?;
    ensure!(report.contains(" 0% packet loss"), "echo requests were lost: {report}");
    Ok(())
}

/// Moves 4 MiB that nobody can guess from one guest to the other and compares their sums.
fn move_file(from: &mut Guest, to: &mut Guest) -> Result<()> {
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

/// A UDP port of the loopback that nobody uses at this moment.
fn free_port() -> Result<u16> {
    Ok(std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}
