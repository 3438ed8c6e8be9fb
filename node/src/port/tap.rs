//! A tap interface of this host as a bridge port.

use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::time::Duration;

use arrayvec::ArrayVec;
use ether::VnetHeader;
use ether::limits::MAX_SUPER_FRAME;
use fabric::{DropReason, PortId};
use mesh::Nick;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::buffers::Buffers;
use super::turn::after_others;
use super::{Counters, Part, PortIo};
use crate::config::{Offload, TapAddress};
use crate::driver::{Shard, now};
use crate::gateway::{Course, Inbox};
use crate::plane::{BATCH, Frame, Frames, Newcomer, Place};
use crate::pressure::{Congested, wait_for_room};
use crate::sys::tap::Device;
use crate::wire::octets::Held;

/// Octets read from a tap in one turn: one super-frame and what fits beside it. More would only
/// lengthen the queue of a cable, where the other ports' frames wait, too.
const READ: usize = 64 << 10;

/// How long a tap that fails to read is left alone, so that it cannot spin.
const PAUSE: Duration = Duration::from_millis(100);

/// A tap.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) device: Device,
    /// Who sees some of its frames before the host, when it is the gateway's.
    inbox: Option<Rc<Inbox>>,
    /// Whether the interface was up when it was last tried.
    is_up: Cell<bool>,
    /// Told when it is found down.
    went_down: Notify,
}

/// Opens an interface and plugs it in for as long as it is there.
pub(crate) fn plug_in(shard: &Rc<Shard>, at: &TapAddress, offload: Offload) -> anyhow::Result<()> {
    let device = match at {
        TapAddress::Name(name) => Device::open(name, shard.identity.interface_mac(name), offload)?,
        TapAddress::Descriptor(number) => Device::inherit(*number, offload)?,
    };
    let (_, _task) = plug_in_device(shard, Tap::new(device, None), || {})?;
    Ok(())
}

/// The gateway's interface, which goes when this does.
#[derive(Debug)]
pub(crate) struct GatewayPlug {
    shard: Weak<Shard>,
    place: Place,
    task: JoinHandle<()>,
}

impl GatewayPlug {
    pub(crate) fn port(&self) -> PortId {
        self.place.port
    }
}

impl Drop for GatewayPlug {
    fn drop(&mut self) {
        // Its task unplugs it when the interface is deleted by somebody else.
        if let Some(shard) = self.shard.upgrade()
            && !self.task.is_finished()
        {
            self.task.abort();
            shard.plane.borrow_mut().unplug(self.place);
        }
    }
}

/// Makes the gateway's interface and plugs it in. `gone` is told when somebody deletes it.
pub(crate) fn plug_in_gateway(
    shard: &Rc<Shard>,
    name: &str,
    inbox: Rc<Inbox>,
    gone: Rc<Notify>,
) -> anyhow::Result<GatewayPlug> {
    let mac = shard.identity.interface_mac(name);
    let device = Device::open(name, mac, Offload::WherePossible)?;
    let tap = Tap::new(device, Some(inbox));
    let (place, task) = plug_in_device(shard, tap, move || gone.notify_one())?;
    Ok(GatewayPlug { shard: Rc::downgrade(shard), place, task })
}

fn plug_in_device(
    shard: &Rc<Shard>,
    tap: Tap,
    gone: impl FnOnce() + 'static,
) -> anyhow::Result<(Place, JoinHandle<()>)> {
    let tap = Rc::new(tap);
    let newcomer = Newcomer {
        io: PortIo::Tap(tap.clone()),
        description: tap.device.name().to_owned(),
        max_frame: ether::limits::MAX_FRAME,
        peer: None,
    };
    let place = shard.plane.borrow_mut().plug_in(None, newcomer)?;
    let shard = shard.clone();
    let task = tokio::task::spawn_local(async move {
        let name = tap.device.name().to_owned();
        let err = tokio::select! {
            biased;
            err = pump(&shard, place.port, &tap) => err,
            err = follow_state(&shard, place.port, &tap) => err,
        };
        shard.plane.borrow_mut().unplug(place);
        tracing::warn!(tap = name, %err, "the interface is gone; its port is closed");
        gone();
    });
    Ok((place, task))
}

/// Tells the data plane when the interface is up, and when it is not.
async fn follow_state(shard: &Shard, id: PortId, tap: &Tap) -> io::Error {
    loop {
        if let Err(err) = tap.device.up().await {
            return err;
        }
        tap.is_up.set(true);
        shard.plane.borrow_mut().tap_up(id, tap, now());
        tap.went_down.notified().await;
        shard.plane.borrow_mut().tap_down(id, now());
    }
}

impl Tap {
    fn new(device: Device, inbox: Option<Rc<Inbox>>) -> Self {
        Self { device, inbox, is_up: Cell::new(false), went_down: Notify::new() }
    }

    /// Whether it is the way out of the mesh.
    pub(crate) fn is_gateway(&self) -> bool {
        self.inbox.is_some()
    }

    /// Writes one frame. A tap has a queue of its own in the kernel and never makes us wait.
    pub(super) fn send(&self, part: &Part<'_>, ingress: Nick, counters: &mut Counters) {
        if let Some(inbox) = &self.inbox {
            let (course, kept) = inbox.offer(part.vnet, part.bytes, ingress);
            if let Err(reason) = kept {
                counters.drops.record(reason);
            } else if course == Course::Services {
                counters.tx_frames += 1;
                counters.tx_bytes += part.bytes.len() as u64;
            }
            if course == Course::Services {
                return;
            }
        }
        match self.device.send(&part.vnet, part.bytes) {
            Ok(()) => {
                counters.tx_frames += 1;
                counters.tx_bytes += part.bytes.len() as u64;
            }
            Err(err) => {
                // What the driver says of an interface that is down.
                if err.raw_os_error() == Some(libc::EIO) && self.is_up.replace(false) {
                    self.went_down.notify_one();
                }
                counters.drops.record(match err.kind() {
                    io::ErrorKind::WouldBlock => DropReason::QueueFull,
                    io::ErrorKind::InvalidInput => DropReason::BadVnetHeader,
                    _ => DropReason::SendFailed,
                });
            }
        }
    }
}

/// What one tap had to say; all taps of a shard share it.
#[derive(Debug)]
pub(crate) struct TapBatch {
    buffers: Buffers,
    frames: ArrayVec<(Range<usize>, Result<VnetHeader, ()>), BATCH>,
}

/// What a batch holds of what a tap has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    WithAll,
    /// There may be more.
    WithSome,
}

impl TapBatch {
    pub(crate) fn new() -> Self {
        Self { buffers: Buffers::new(READ + MAX_SUPER_FRAME), frames: ArrayVec::new() }
    }

    /// Reads until the tap has no more or one turn's worth is there.
    fn fill(&mut self, device: &Device) -> io::Result<Filled> {
        self.frames.clear();
        let octets = self.buffers.room();
        let mut filled = 0;
        let mut header = [0; VnetHeader::LEN];
        while filled < READ && !self.frames.is_full() {
            let room = &mut octets[filled..filled + MAX_SUPER_FRAME];
            match device.receive(&mut header, room) {
                Ok(len) => {
                    let vnet = if device.has_vnet() {
                        VnetHeader::parse(&header).map_err(drop)
                    } else {
                        Ok(VnetHeader::PLAIN)
                    };
                    self.frames.push((filled..filled + len, vnet));
                    filled += len;
                }
                Err(err) if self.frames.is_empty() => return Err(err),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(Filled::WithAll),
                // It is said again at the next turn.
                Err(_) => break,
            }
        }
        Ok(Filled::WithSome)
    }
}

/// Reads from a tap as long as the node runs, or until the interface is deleted.
async fn pump(shard: &Shard, id: PortId, tap: &Tap) -> io::Error {
    loop {
        let mut ready = match after_others(tap.device.readable()).await {
            Ok(ready) => ready,
            Err(err) => return err,
        };
        // An error condition means that the interface is gone. Reading may say so only a moment
        // later, and the condition is told once.
        if ready.ready().is_error() {
            return io::Error::from_raw_os_error(libc::EBADFD);
        }
        let congested = match service(shard, id, tap) {
            Ok((filled, congested)) => {
                if filled == Filled::WithAll {
                    ready.clear_ready();
                }
                congested
            }
            Err(err) => {
                match err.kind() {
                    io::ErrorKind::WouldBlock => ready.clear_ready(),
                    io::ErrorKind::Interrupted => {}
                    _ if err.raw_os_error() == Some(libc::EBADFD) => return err,
                    _ => tokio::time::sleep(PAUSE).await,
                }
                None
            }
        };
        // A cable's queue gives each flow its turn. Behind frames that wait in the tap instead, all
        // would wait.
        wait_for_room(congested.filter(|congested| !congested.is_cable())).await;
    }
}

fn service(shard: &Shard, id: PortId, tap: &Tap) -> io::Result<(Filled, Option<Congested>)> {
    let mut batch = shard.tap_batch.borrow_mut();
    let filled = batch.fill(&tap.device)?;
    Ok((filled, relay(shard, id, &batch)))
}

fn relay(shard: &Shard, id: PortId, batch: &TapBatch) -> Option<Congested> {
    let buffer = batch.buffers.current();
    let held: ArrayVec<_, BATCH> =
        batch.frames.iter().map(|(place, _)| Held::new(buffer, place)).collect();
    let mut frames: Frames<'_> = ArrayVec::new();
    let mut bad = 0;
    for ((place, vnet), held) in batch.frames.iter().zip(&held) {
        let (bytes, held) = (&buffer[place.clone()], held.as_ref());
        match *vnet {
            Ok(vnet) => frames.push(Frame { bytes, held, vnet, origin: None }),
            Err(()) => bad += 1,
        }
    }
    let mut plane = shard.plane.borrow_mut();
    if bad > 0 {
        plane.record_drops(id, DropReason::BadVnetHeader, bad);
    }
    // The buffer is for all taps; what they bring are few and big frames.
    plane.relay_all(id, &frames, now())
}
