//! Leases and what may befall the gateway: it is killed at any moment, its disk is full, its disk
//! cannot be written.
//!
//! `VDE_KILLS` says how often it is killed; 20 where nothing is said, a thousand in `./bench dhcp`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::dhcp::{Kind, Message, Reply};
use lab::node::Setup;
use lab::{Machine, Netns, Node, Scene, StreamPlug, Suite, wait_for, wait_until};

use crate::dhcp_crowd::{Crowd, check};
use lab::lan::SOON;

/// Clients that come, renew, go and come again: many times the window, and few enough that each is
/// met often.
const CROWD: usize = 1500;

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("no_kill_loses_a_lease_or_gives_an_address_twice", &["nft"], killed)
        .trial("a_full_disk_stops_new_leases_and_no_renewal", &["nft", "mount"], full_disk)
        .trial("a_read_only_disk_stops_new_leases_and_no_renewal", &["nft", "mount"], read_only)
}

fn killed(scene: &Scene) -> Result<()> {
    let kills = std::env::var("VDE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let seed = std::env::var("VDE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    killed_from(scene, kills, seed).with_context(|| format!("VDE_SEED={seed} does it again"))
}

fn killed_from(scene: &Scene, kills: u32, seed: u64) -> Result<()> {
    let netns = Netns::new("gateway")?;
    let stream = scene.path("stream");
    let setup = Setup::inside("gateway", &netns).argument("--gateway").argument("10.77.0.1/20");
    let setup = setup.argument("--no-listen").argument("--stream");
    // All of the crowd is at one port, and the gateway's own shall be open at once.
    let setup = setup.argument(&stream.to_string_lossy()).argument("--no-storm-control");
    let setup = setup.argument("--no-probes").argument("--leases-per-port").argument("2000");
    let mut node = setup.start(scene)?;
    let mut crowd = Crowd::new(CROWD, seed);
    let mut most = 0;
    for _ in 0..kills {
        let mut plug = Crowd::plug_in(&stream)?;
        let answers = crowd.random(600);
        crowd.press(&mut plug, answers)?;
        node.kill()?;
        crowd.hear_the_last(&mut plug)?;
        node.start(scene)?;
        most = most.max(check(&crowd, &node)?);
    }
    ensure!(most > 50, "there were never more than {most} leases: nothing was tried");
    let mut plug = Crowd::plug_in(&stream)?;
    crowd.renew_all(&mut plug)?;
    println!(
        "{kills} kills, {} exchanges and {} renewals between them, up to {most} leases at a time",
        crowd.exchanges, crowd.renewals
    );
    Ok(())
}

/// A gateway whose state is on a disk of its own, and a plug in it.
struct Disk {
    node: Node,
    machine: Machine,
    state: PathBuf,
    plug: StreamPlug,
    xid: u32,
}

impl Disk {
    /// 64 KiB hold the node's own files and a few hundred leases.
    fn new(scene: &Scene) -> Result<Self> {
        let machine = Machine::new(scene, "host", &[])?;
        let (state, stream) = (scene.path("gateway.state"), scene.path("stream"));
        std::fs::create_dir(&state)?;
        machine.shell(&format!("mount -t tmpfs -o size=64k,mode=700 none {}", state.display()))?;
        let setup = Setup::on("gateway", &machine).argument("--gateway").argument("10.77.0.1/24");
        let setup = setup.argument("--no-listen").argument("--stream");
        let node = setup.argument(&stream.to_string_lossy()).start(scene)?;
        let plug = Crowd::plug_in(&stream)?;
        Ok(Self { node, machine, state, plug, xid: 0 })
    }

    fn shell(&self, line: &str) -> Result<String> {
        self.machine.shell(&line.replace("STATE", &self.state.to_string_lossy()))
    }

    /// Says something until it is answered, as clients do.
    fn ask(&mut self, make: impl Fn(u32) -> Message) -> Result<Reply> {
        self.xid += 1;
        let message = make(self.xid);
        wait_for(&format!("an answer to {message:?}"), SOON, || {
            self.plug.send(&message.frame())?;
            while let Some(frame) = self.plug.receive(Duration::from_millis(300))? {
                let reply = Reply::read(&frame).filter(|reply| reply.xid == message.xid);
                if reply.is_some() {
                    return Ok(reply);
                }
            }
            Ok(None)
        })
    }

    fn join(&mut self, number: u8) -> Result<Reply> {
        let station = station(number);
        let offer = self.ask(|xid| Message::discover(station, xid))?;
        let ack = self.ask(|xid| Message::select(station, xid, &offer))?;
        ensure!(ack.kind == Kind::Ack && ack.address == offer.address, "{offer:?}, then {ack:?}");
        Ok(ack)
    }

    fn renew(&mut self, number: u8, lease: &Reply) -> Result<()> {
        let ack = self.ask(|xid| Message::rebind(station(number), xid, lease.address))?;
        ensure!(
            ack.kind == Kind::Ack && ack.address == lease.address,
            "renewed {lease:?}: {ack:?}"
        );
        Ok(())
    }

    /// Whether the status says so, in JSON and in words.
    fn is_durable(&self, durable: bool) -> Result<bool> {
        let status = self.node.status()?;
        let told = self.node.ask(&["status"])?.contains("leases not durable");
        Ok(status["gateway"]["durable"] == durable && told != durable)
    }

    /// While the disk is broken: new clients get nothing, others go on. Then it is mended.
    fn breaks_and_is_mended(&mut self, scene: &Scene, breaks: &str, mends: &str) -> Result<()> {
        let first = self.join(1)?;
        let waits = self.join(2)?;
        self.shell(breaks)?;
        // A write finds it out, not the first one where the log's last page has room; the renewal
        // that caused it is answered all the same.
        wait_until("a word that leases are not durable", SOON, || {
            self.renew(1, &first)?;
            self.is_durable(false)
        })?;
        self.renew(2, &waits)?;
        self.renew(1, &first)?;
        let again = self.ask(|xid| Message::reboot(station(2), xid, waits.address))?;
        ensure!(again.kind == Kind::Ack, "a machine that starts again gets {again:?}");
        for xid in 9001..9006 {
            self.plug.send(&Message::discover(station(3), xid).frame())?;
            while let Some(frame) = self.plug.receive(Duration::from_millis(200))? {
                let reply = Reply::read(&frame);
                ensure!(
                    reply.is_none_or(|r| r.station != station(3)),
                    "a new client got {reply:?}"
                );
            }
        }

        self.shell(mends)?;
        wait_until("leases to be durable again", SOON, || self.is_durable(true))
            .with_context(|| format!("the status is {:?}", self.node.ask(&["status"])))?;
        let third = self.join(3)?;
        // And it is all on the disk.
        self.node.kill()?;
        self.node.start(scene)?;
        let leases = self.node.leases()?;
        for lease in [first, waits, third] {
            let address = lease.address.to_string();
            ensure!(
                leases.iter().any(|l| l["address"] == address.as_str() && l["state"] == "bound"),
                "{lease:?} is not among {leases:?}"
            );
        }
        Ok(())
    }
}

fn station(number: u8) -> [u8; 6] {
    [0x02, 0xd1, 0xc0, 0xff, 0, number]
}

fn full_disk(scene: &Scene) -> Result<()> {
    let mut disk = Disk::new(scene)?;
    let breaks = "dd if=/dev/zero of=STATE/ballast bs=4096 2>/dev/null || true";
    disk.breaks_and_is_mended(scene, breaks, "rm STATE/ballast")
}

fn read_only(scene: &Scene) -> Result<()> {
    let mut disk = Disk::new(scene)?;
    let breaks = "mount --bind STATE STATE && mount -o remount,bind,ro STATE";
    disk.breaks_and_is_mended(scene, breaks, "umount STATE")
}
