//! While a mesh has a gateway, no port but the gateway's is a DHCP server or a router, and everybody
//! is told of the one that tries.

use anyhow::{Context as _, Result, ensure};
use lab::client::Client;
use lab::frames::{BROADCAST, EXPERIMENTAL, STATION_A};
use lab::node::{CABLE_UP, Setup, trust_each_other};
use lab::{Node, Scene, Suite, wait_until};

use crate::gateway::{SOON, World};

/// VDE's request for a new port.
const NEW_PORT: u32 = 0;

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial(
            "nobody_hears_a_rogue_dhcp_server_or_router_and_all_nodes_name_its_port",
            &["nft"],
            rogues,
        )
        .trial("without_guards_a_lab_has_servers_of_its_own", &["nft"], unguarded)
}

/// A frame of the rogue station to all.
fn to_all(ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = [&BROADCAST[..], &STATION_A, &ethertype.to_be_bytes(), packet].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

fn dhcp_offer() -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend([10, 77, 0, 66, 255, 255, 255, 255]);
    packet.extend([0, 67, 0, 68, 0, 20, 0, 0, 2, 1, 6, 0]);
    to_all(0x0800, &packet)
}

fn router_advertisement() -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 16, 58, 255, 0xfe, 0x80];
    packet.extend([0; 13]);
    packet.extend([9, 0xff, 2]);
    packet.extend([0; 13]);
    packet.extend([1, 134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0]);
    to_all(0x86dd, &packet)
}

/// An ARP reply to all: `address` is at the rogue station.
fn arp(address: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 2];
    packet.extend(STATION_A);
    packet.extend(address);
    packet.extend(BROADCAST);
    packet.extend(address);
    to_all(0x0806, &packet)
}

fn from_the_gateways_station(mac: [u8; 6]) -> Vec<u8> {
    let mut frame = to_all(EXPERIMENTAL, b"I am the gateway");
    frame[6..12].copy_from_slice(&mac);
    frame
}

struct Lab {
    _world: World,
    gateway: Node,
    far: Node,
    rogue: Client,
    /// Beside the rogue, and at the gateway's node.
    listeners: [Client; 2],
    gateway_mac: [u8; 6],
}

impl Lab {
    fn new(scene: &Scene, flags: &[&str]) -> Result<Self> {
        let world = World::new()?;
        let setup = Setup::inside("gateway", &world.inside);
        let setup = setup.argument("--gateway").argument("10.77.0.1/24");
        let gateway = flags.iter().fold(setup, |setup, flag| setup.argument(flag)).start(scene)?;
        let far = Setup::inside("far", &world.machine).start(scene)?;
        let plug = |name: &str, node: &Node| {
            Client::plug_in_at(node.socket(), &scene.path(name), NEW_PORT)
        };
        let (rogue, beside) = (plug("rogue", &far)?, plug("beside", &far)?);
        let listeners = [beside, plug("there", &gateway)?];
        let text = world.inside.exec("cat", &["/sys/class/net/vdegw-gateway/address"])?;
        let octets: Vec<u8> = text
            .trim()
            .split(':')
            .map(|octet| u8::from_str_radix(octet, 16))
            .collect::<Result<_, _>>()?;
        let gateway_mac = *octets.first_chunk().context("no address")?;
        Ok(Self { _world: world, gateway, far, rogue, listeners, gateway_mac })
    }

    fn join(&self) -> Result<()> {
        trust_each_other(&self.gateway, &self.far)?;
        self.far.connect("10.99.0.1")?;
        self.far.wait_cable_up(CABLE_UP)?;
        wait_until("the far node to know the gateway", SOON, || {
            Ok(self.far.ask(&["nodes"])?.contains("gateway 10.77.0.1/24"))
        })?;
        // Everybody is heard by everybody.
        wait_until("frames to get across", SOON, || {
            let hello = to_all(EXPERIMENTAL, b"hello");
            self.rogue.send(&hello)?;
            Ok(self.listeners[1].drain()?.contains(&hello))
        })
    }

    /// Which of some frames each listener hears, when the rogue sends them and then a harmless one.
    fn heard(&self, frames: &[Vec<u8>], last: &[u8]) -> Result<Vec<Vec<usize>>> {
        self.heard_by(&self.listeners, frames, last)
    }

    fn heard_by(
        &self,
        listeners: &[Client],
        frames: &[Vec<u8>],
        last: &[u8],
    ) -> Result<Vec<Vec<usize>>> {
        let harmless = to_all(EXPERIMENTAL, last);
        for frame in frames.iter().chain([&harmless]) {
            self.rogue.send(frame)?;
        }
        let heard = |listener: &Client| {
            let mut heard = Vec::new();
            loop {
                let frame = listener.receive()?;
                if frame == harmless {
                    return anyhow::Ok(heard);
                }
                heard.extend(frames.iter().position(|known| *known == frame));
            }
        };
        listeners.iter().map(heard).collect()
    }

    fn crimes(&self) -> Vec<Vec<u8>> {
        vec![
            dhcp_offer(),
            router_advertisement(),
            arp([10, 77, 0, 1]),
            from_the_gateways_station(self.gateway_mac),
        ]
    }
}

fn rogues(scene: &Scene) -> Result<()> {
    let mut lab = Lab::new(scene, &[])?;
    // A node without a gateway in its mesh guards nothing.
    lab.rogue.send(&dhcp_offer())?;
    ensure!(lab.listeners[0].receive()? == dhcp_offer(), "another frame came");

    lab.join()?;
    let heard = lab.heard(&lab.crimes(), b"after the crimes")?;
    ensure!(heard.iter().all(Vec::is_empty), "they were heard: {heard:?}");
    // What only looks like them passes.
    let innocent = [arp([10, 77, 0, 66])];
    ensure!(lab.heard(&innocent, b"after that")? == [[0], [0]], "the innocent were not heard");

    let ports = lab.far.ports()?;
    let rogue = ports.iter().find(|port| port["drops"]["rogue-dhcp"] == 1);
    let rogue = rogue.with_context(|| format!("no port counts it: {ports:?}"))?;
    ensure!(rogue["drops"]["rogue-ra"] == 1 && rogue["drops"]["gateway-claim"] == 2, "{rogue}");
    let number = &rogue["port"];
    for node in [&lab.gateway, &lab.far] {
        for what in ["answers of a DHCP server", "router advertisements", "claims to the gateway"] {
            wait_until(&format!("a warning of {what} at {}", node.name()), SOON, || {
                let warnings = node.status()?["warnings"].clone();
                let warnings = warnings.as_array().cloned().unwrap_or_default();
                Ok(warnings.iter().filter_map(|warning| warning.as_str()).any(|warning| {
                    warning.contains("node far")
                        && warning.contains(what)
                        && warning.contains(&format!("port {number}"))
                }))
            })?;
        }
    }
    let events = lab.far.ask(&["events", "--last", "100", "--no-follow"])?;
    ensure!(events.contains("answers of a DHCP server come in at port"), "no event: {events}");

    // Who waits for the gateway to be away for a moment waits in vain.
    lab.gateway.kill()?;
    wait_until("the far node to miss the gateway", SOON, || {
        Ok(!lab.far.ask(&["nodes"])?.contains("gateway 10.77.0.1/24"))
    })?;
    let heard = lab.heard_by(&lab.listeners[..1], &lab.crimes(), b"while it is away")?;
    ensure!(heard == [[0_usize; 0]], "they were heard while the gateway is away: {heard:?}");
    Ok(())
}

fn unguarded(scene: &Scene) -> Result<()> {
    let lab = Lab::new(scene, &["--no-guard"])?;
    lab.join()?;
    let frames = [dhcp_offer(), router_advertisement()];
    let heard = lab.heard(&frames, b"after the servers")?;
    ensure!(heard == [[0, 1], [0, 1]], "a server of the lab's own is not heard: {heard:?}");
    Ok(())
}
