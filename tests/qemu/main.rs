//! Ring 5: guests that boot a real kernel and plug into the switch as users' guests do.

mod gateway;
mod guests;
mod nixos;
mod sockets;
mod wire;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use lab::node::{CABLE_UP, Setup, trust_each_other};
use lab::qemu::{self, Wire};
use lab::{Ring, Scene, Suite};

use guests::{boot, move_file, ping};

fn main() -> ExitCode {
    let suite = Suite::new(Ring::Qemu)
        .needs(qemu::PROGRAMS)
        .trial("guests_on_the_vde_and_the_stream_socket_ping_and_move_a_file", &[], one_node)
        .trial("two_guests_on_two_nodes_ping_and_move_a_file_over_the_cable", &[], two_nodes);
    wire::trials(gateway::trials(nixos::trials(sockets::trials(suite)))).run()
}

fn one_node(scene: &Scene) -> Result<()> {
    let stream = scene.path("stream");
    let listen = stream.to_str().context("a path of a scene is text")?;
    let node = Setup::local("alone").argument("--stream").argument(listen).start(scene)?;
    let wires = [Wire::Vde(node.socket().to_path_buf()), Wire::Stream(stream.clone())];
    let [mut a, mut b] = boot(scene, wires)?;
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
    let [mut a, mut b] = boot(scene, wires)?;
    ping(&mut a, "10.0.0.2")?;
    ping(&mut b, "10.0.0.1")?;
    move_file(&mut a, &mut b)?;
    move_file(&mut b, &mut a)
}

/// A UDP port of the loopback that nobody uses at this moment.
fn free_port() -> Result<u16> {
    Ok(std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}
