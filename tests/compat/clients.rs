//! Clients with a dialogue of their own, each written after its source: User-Mode Linux
//! (`arch/um/drivers/daemon_user.c`), dynamips (`common/net_io.c`), and requests of version 1. Each
//! plugs into a node, into our switch and into Debian's, which vouches for the client.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use lab::client::{ANSWER, MAGIC, address_of, path_octets, request, request_v1};
use lab::frames::{BROADCAST, STATION_A, STATION_B, frame};
use lab::node::Setup;
use lab::{Client, Maker, Plug, Scene, Suite, Switch, wait_until};

/// The type of a request for the management port (`VDE_REQ_NEW_PORT0`).
const MANAGEMENT: u32 = 1;

pub(crate) fn trials(suite: Suite) -> Suite {
    const NEEDS: &[&str] = &["vde_plug", "vde_switch"];
    suite
        .trial("a_client_of_user_mode_linux_gets_a_plug", NEEDS, user_mode_linux)
        .trial("a_client_of_dynamips_gets_a_plug", NEEDS, dynamips)
        .trial("a_request_of_version_1_gets_a_plug", NEEDS, version_1)
        .trial("a_client_that_ends_gives_its_port_back", &[], port_given_back)
        .trial("the_management_port_hears_what_is_flooded", NEEDS, management_port)
        .trial("a_request_for_a_port_that_does_not_exist_is_refused", NEEDS, absent_port)
}

/// Runs `dialogue` with a node, our switch and Debian's.
fn with_each_switch(scene: &Scene, dialogue: impl Fn(&str, &Path) -> Result<()>) -> Result<()> {
    let node = Setup::local("node").start(scene)?;
    dialogue("node", node.socket()).context("at the node")?;
    for (name, maker) in [("ours", Maker::Project), ("theirs", Maker::Debian)] {
        let switch = Switch::start(scene, name, maker, &[])?;
        dialogue(name, switch.socket()).with_context(|| format!("at vde_switch, {name}"))?;
    }
    Ok(())
}

/// Frames pass between a client and a plug of libvdeplug, both ways.
fn talks(scene: &Scene, name: &str, switch: &Path, client: &Client) -> Result<()> {
    let mut plug = Plug::insert(scene, &format!("plug-{name}"), switch)?;
    let call = frame(BROADCAST, STATION_A, 1514, 1);
    wait_until("a frame of the client", ANSWER, || {
        client.send(&call)?;
        Ok(plug.drain().contains(&call))
    })?;
    let answer = frame(STATION_A, STATION_B, 1514, 2);
    plug.send(&answer)?;
    let received = client.receive()?;
    ensure!(received == answer, "another frame came: {:02x?}", &received[..received.len().min(20)]);
    Ok(())
}

/// Its abstract name is a NUL, three octets of padding, its process and the time, and then whatever
/// was in memory: the whole field counts. Two more octets of its own padding follow.
fn user_mode_linux(scene: &Scene) -> Result<()> {
    with_each_switch(scene, |name, switch| {
        let mut field = [0_u8; 108];
        for (place, octet) in (0..).zip(&mut field[1..]) {
            // Looks like memory: pointers, text, and runs of NULs, the last ones at the very end.
            *octet = if place % 8 < 3 || place > 100 { 0 } else { 0xa5_u8.wrapping_add(place) };
        }
        field[4..8].copy_from_slice(&std::process::id().to_ne_bytes());
        field[8..12].copy_from_slice(&123_456_u32.to_ne_bytes());
        let address = SocketAddr::from_abstract_name(&field[1..])?;
        let data = UnixDatagram::bind_addr(&address)?;
        let octets = request(&[MAGIC, 3, 0], &address_of(&field), &[0x11, 0x22]);
        let client = Client::plug_in(switch, data, &octets)?;
        talks(scene, name, switch, &client)
    })
}

/// Its socket lies where its user says, outside of the switch's directory; it describes itself by
/// nothing but two NULs of padding.
fn dynamips(scene: &Scene) -> Result<()> {
    with_each_switch(scene, |name, switch| {
        let path = scene.path(&format!("dynamips-{name}"));
        let data = UnixDatagram::bind(&path)?;
        let octets = request(&[MAGIC, 3, 0], &address_of(path_octets(&path)), &[0, 0]);
        let client = Client::plug_in(switch, data, &octets)?;
        talks(scene, name, switch, &client)
    })
}

fn version_1(scene: &Scene) -> Result<()> {
    with_each_switch(scene, |name, switch| {
        for description in [&b""[..], b"an old client"] {
            let path = scene.path(&format!("old-{name}-{}", description.len()));
            let data = UnixDatagram::bind(&path)?;
            let octets = request_v1(0, &address_of(path_octets(&path)), description);
            let client = Client::plug_in(switch, data, &octets)
                .with_context(|| format!("with {} octets of description", description.len()))?;
            talks(scene, &format!("{name}-{}", description.len()), switch, &client)?;
        }
        Ok(())
    })
}

fn port_given_back(scene: &Scene) -> Result<()> {
    let switch = Switch::ours(scene, "switch")?;
    let at_port_1 = || Ok(switch.ask("port/print 1")?.contains("endpoint ID"));
    for turn in 0..3 {
        let path = scene.path(&format!("client-{turn}"));
        let client = Client::plug_in_at(switch.socket(), &path, 0)?;
        wait_until("a plug at port 1", ANSWER, at_port_1)?;
        let socket = client.switch_socket().to_path_buf();
        ensure!(socket.exists(), "{} is announced and not there", socket.display());
        drop(client);
        wait_until("an empty port 1", ANSWER, || Ok(!at_port_1()?))?;
        ensure!(!socket.exists(), "{} is left behind", socket.display());
    }
    Ok(())
}

/// Port 0 is outside the pool, and one watches a switch there. In VDE's hub it hears nothing, since
/// flooding begins at port 1; ours lets it hear, because a watch that is deaf is of no use.
fn management_port(scene: &Scene) -> Result<()> {
    for (name, maker) in [("ours", Maker::Project), ("theirs", Maker::Debian)] {
        for (mode, flags) in [("switch", &[][..]), ("hub", &["--hub"])] {
            let label = format!("{name}-{mode}");
            let switch = Switch::start(scene, &label, maker, flags)?;
            let plug = |role: &str, kind| {
                Client::plug_in_at(switch.socket(), &scene.path(&format!("{role}-{label}")), kind)
            };
            let (watch, talker, witness) =
                (plug("watch", MANAGEMENT)?, plug("talker", 0)?, plug("witness", 0)?);
            let at_port_0 = switch.ask("port/print 0")?;
            ensure!(at_port_0.contains("endpoint ID"), "{label}: nobody is at port 0: {at_port_0}");
            for seed in [1, 2] {
                let call = frame(BROADCAST, STATION_A, 60, seed);
                talker.send(&call)?;
                ensure!(witness.receive()? == call, "{label}: the witness heard another frame");
            }
            // The witness has heard a later frame: what port 0 gets of the first one is there.
            let heard = watch.drain()?.contains(&frame(BROADCAST, STATION_A, 60, 1));
            let deaf = maker == Maker::Debian && mode == "hub";
            ensure!(heard != deaf, "{label}: port 0 heard the flood: {heard}");
        }
    }
    Ok(())
}

fn absent_port(scene: &Scene) -> Result<()> {
    for (name, maker) in [("ours", Maker::Project), ("theirs", Maker::Debian)] {
        let switch = Switch::start(scene, name, maker, &["-n", "8"])?;
        let ask = |port: u32| {
            let path = scene.path(&format!("{name}-{port}"));
            Client::plug_in_at(switch.socket(), &path, port << 8)
        };
        // Port 0 is one of the eight.
        let _last = ask(7).with_context(|| format!("{name}: the last port"))?;
        if maker == Maker::Debian {
            // It neither answers nor closes, and a client waits for ever.
            continue;
        }
        for port in [8, 9, 0x7f_ffff] {
            ensure!(ask(port).is_err(), "there is a port {port}");
        }
        ensure!(switch.plugs()? == 1, "a refused client holds a port");
    }
    Ok(())
}
