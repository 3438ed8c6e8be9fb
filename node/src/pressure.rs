//! Back-pressure: an ingress whose frames all go to one egress waits a moment when that one's queue
//! fills, instead of bringing frames only to be dropped there.
//!
//! Ethernet drops, and a slow port never delays another. So the wait is short, it is only for an
//! egress that a whole batch went to, and only for one that keeps up: a guest that lets us wait in
//! vain is not waited for again until its queue has drained. What remains is the case where both
//! guests and this program share too few processors, and there the wait lets the receiver run.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::port::PortIo;

/// How long an ingress waits. An egress that needs longer to drain its queue is slow, not merely
/// short of processor time: 200 frames of full size in 2 ms are 1.2 Gbit/s. Nobody else's frames
/// wait longer than this.
const WAIT: Duration = Duration::from_millis(2);

/// From so many frames in a batch on the fill of a queue is looked at, which is a system call. A
/// port with fewer to send is not the one that fills it.
const MANY: usize = 16;

/// Whether an egress is worth waiting for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patience(Rc<Cell<bool>>);

/// An egress that an ingress should wait for.
#[derive(Debug, Clone)]
pub(crate) struct Congested {
    io: PortIo,
    patience: Patience,
}

impl Congested {
    /// Looks at an egress after it got `frames` frames of a batch.
    pub(crate) fn look(io: &PortIo, patience: &Patience, frames: usize) -> Option<Self> {
        let is_crowded = match io {
            // The queue is our own: looking costs nothing.
            PortIo::Cable(link) => link.is_congested(),
            PortIo::Stream(port) => port.queued() > 0,
            PortIo::Vde(plug) => frames >= MANY && plug.is_crowded(),
            PortIo::Dgram(port) => frames >= MANY && port.is_crowded(),
            // Its queue drops at once or never.
            PortIo::Tap(_) => false,
        };
        if !is_crowded {
            if frames >= MANY {
                patience.0.set(false);
            }
            return None;
        }
        let is_slow = match io {
            // A path that is slow is no matter of this machine: the cable's queue drops.
            PortIo::Cable(link) => !link.is_open(),
            _ => patience.0.get(),
        };
        (!is_slow).then(|| Self { io: io.clone(), patience: patience.clone() })
    }

    /// Whether it is worth waiting for although frames of the batch went elsewhere, too: a cable's
    /// queue is ours and short.
    pub(crate) fn is_cable(&self) -> bool {
        matches!(self.io, PortIo::Cable(_))
    }

    async fn room(&self) {
        match &self.io {
            PortIo::Cable(link) => link.room().await,
            PortIo::Stream(port) => port.room().await,
            // An error shows at the next frame that is sent there.
            PortIo::Vde(plug) => drop(plug.writable().await),
            PortIo::Dgram(port) => drop(port.writable().await),
            PortIo::Tap(_) => {}
        }
    }
}

/// Waits a moment for a congested egress.
pub(crate) async fn wait_for_room(congested: Option<Congested>) {
    if let Some(congested) = congested
        && tokio::time::timeout(WAIT, congested.room()).await.is_err()
    {
        congested.patience.0.set(true);
    }
}
