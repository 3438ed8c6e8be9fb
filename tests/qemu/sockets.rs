//! A guest on each kind of socket at once, and what a guest that stops reading costs the others.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use lab::frames::{STATION_A, frame};
use lab::node::Setup;
use lab::process::Signal;
use lab::qemu::Wire;
use lab::{Guest, Node, Plug, Scene, Suite, wait_until};

use crate::guests::{COMMAND, boot, ping};

/// Full frames for a frozen guest: more than the queues on the way to it hold.
const LOAD: usize = 3000;

/// The kinds of the guests' ports, in the guests' order.
const KINDS: [&str; 3] = ["vde", "stream", "dgram"];

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial(
            "guests_on_all_sockets_ping_and_a_frozen_one_loses_only_its_own_frames",
            &["vde_plug"],
            all_sockets,
        )
        .trial(
            "guests_on_the_stream_socket_come_back_when_the_switch_was_killed",
            &[],
            killed_switch,
        )
}

fn all_sockets(scene: &Scene) -> Result<()> {
    let (stream, dgram) = (scene.path("stream"), scene.path("dgram"));
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let node = Setup::local("alone")
        .argument("--stream")
        .argument(&text(&stream))
        .argument("--dgram")
        .argument(&text(&dgram))
        .start(scene)?;
    let wires = [
        Wire::Vde(node.socket().to_path_buf()),
        Wire::Stream(stream),
        Wire::Dgram { own: scene.path("guest-3.dgram"), switch: dgram },
    ];
    let mut guests = boot(scene, wires)?;
    for from in 0..guests.len() {
        for to in (0..guests.len()).filter(|to| *to != from) {
            ping_from(&mut guests, from, to)?;
        }
    }
    let mut plug = Plug::insert(scene, "plug", node.socket())?;
    for (frozen, kind) in KINDS.into_iter().enumerate() {
        freeze_one(&node, &mut plug, &mut guests, frozen)
            .with_context(|| format!("with the guest on {kind} frozen"))?;
    }
    Ok(())
}

fn ping_from(guests: &mut [Guest], from: usize, to: usize) -> Result<()> {
    ping(&mut guests[from], &format!("10.0.0.{}", to + 1))
        .with_context(|| format!("from {} to {}", KINDS[from], KINDS[to]))
}

/// Freezes a guest, sends it more than can wait for it, and lets the two others talk meanwhile.
fn freeze_one(node: &Node, plug: &mut Plug, guests: &mut [Guest], frozen: usize) -> Result<()> {
    let others_before = lost(node, frozen)?.1;
    guests[frozen].signal(Signal::STOP)?;
    let mac = [0x52, 0x54, 0x00, 0x12, 0x34, u8::try_from(frozen + 1)?];
    for seed in (0..=u8::MAX).cycle().take(LOAD) {
        plug.send(&frame(mac, STATION_A, 1514, seed))?;
    }
    wait_until("frames of the frozen guest to be lost", COMMAND, || {
        Ok(lost(node, frozen)?.0 > 100)
    })?;
    let (a, b) = ((frozen + 1) % 3, (frozen + 2) % 3);
    ping_from(guests, a, b)?;
    ping_from(guests, b, a)?;
    let others = lost(node, frozen)?.1;
    ensure!(others == others_before, "others have lost {} frames", others - others_before);
    guests[frozen].signal(Signal::CONT)?;
    ping_from(guests, a, frozen)
}

/// How many frames were lost at the port of a guest, and at all other ports.
fn lost(node: &Node, guest: usize) -> Result<(u64, u64)> {
    let (mut own, mut others) = (0, 0);
    for port in node.ports()? {
        let drops = port["drops"].as_object().context("a port without drops")?;
        let drops: u64 = drops.values().filter_map(serde_json::Value::as_u64).sum();
        let is_plug = port["description"].as_str().is_some_and(|text| text.starts_with("plug"));
        if port["kind"] == KINDS[guest] && !is_plug {
            own += drops;
        } else {
            others += drops;
        }
    }
    Ok((own, others))
}

/// QEMU's own `reconnect` for stream netdevs came after 7.2, which Debian 12 has; a cord between the
/// guest and the switch dials in its place.
struct Cord {
    pulled: Arc<AtomicBool>,
}

impl Cord {
    fn plug_in(guest: PathBuf, switch: PathBuf) -> Self {
        let pulled = Arc::<AtomicBool>::default();
        let own = pulled.clone();
        // It ends with its guest or with the cord.
        std::thread::spawn(move || {
            while let Some([a, b]) = dial_both(&switch, &guest, &own) {
                std::thread::scope(|scope| {
                    for (mut from, mut to) in [(&a, &b), (&b, &a)] {
                        let (a, b) = (&a, &b);
                        scope.spawn(move || {
                            // Whatever ends one direction ends both.
                            let _ = std::io::copy(&mut from, &mut to);
                            let _ = (a.shutdown(Shutdown::Both), b.shutdown(Shutdown::Both));
                        });
                    }
                });
            }
        });
        Self { pulled }
    }
}

impl Drop for Cord {
    fn drop(&mut self) {
        self.pulled.store(true, Ordering::Relaxed);
    }
}

fn dial_both(one: &Path, other: &Path, pulled: &AtomicBool) -> Option<[UnixStream; 2]> {
    let mut both = None;
    wait_until("both ends of a cord", COMMAND, || {
        if !pulled.load(Ordering::Relaxed) {
            both = UnixStream::connect(one).ok().zip(UnixStream::connect(other).ok());
        }
        Ok(both.is_some() || pulled.load(Ordering::Relaxed))
    })
    .ok()?;
    both.map(|(one, other)| [one, other])
}

fn killed_switch(scene: &Scene) -> Result<()> {
    let switch = scene.path("stream");
    let listen = switch.to_string_lossy().into_owned();
    let mut node = Setup::local("node").argument("--stream").argument(&listen).start(scene)?;
    let own = [scene.path("guest-1.stream"), scene.path("guest-2.stream")];
    let _cords = own.clone().map(|guest| Cord::plug_in(guest, switch.clone()));
    let [mut a, mut b] = boot(scene, own.map(Wire::Awaited))?;
    ping(&mut a, "10.0.0.2")?;
    node.kill()?;
    node.start(scene)?;
    wait_until("both guests to be plugged in again", COMMAND, || {
        let ports = node.ports()?;
        Ok(ports.iter().filter(|port| port["kind"] == "stream").count() == 2)
    })?;
    ping(&mut b, "10.0.0.1")?;
    ping(&mut a, "10.0.0.2")
}
