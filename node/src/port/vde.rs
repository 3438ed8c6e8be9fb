//! A client of the VDE socket as a bridge port.

use std::cell::RefCell;
use std::rc::Rc;

use ether::limits::MAX_FRAME;
use fabric::PortId;
use tokio::sync::Notify;
use vdeplug::mmsg::RecvBatch;
use vdeplug::{Plug, Unplugged};

use super::relay_plain;
use crate::driver::{Shard, wait_for_room};

/// QEMU's VDE client reads into a buffer of this many octets; the kernel would cut what is longer,
/// and neither side would know.
const QEMU_MAX_FRAME: usize = 4096;

/// The longest frame that a client takes, as far as it can be known.
pub(crate) fn max_frame(description: &str) -> usize {
    if description.starts_with("QEMU") { QEMU_MAX_FRAME } else { MAX_FRAME }
}

/// A buffer for what one readable port has to say; all VDE ports of a shard share it.
pub(crate) fn new_batch() -> RefCell<RecvBatch> {
    RefCell::new(RecvBatch::new(MAX_FRAME))
}

/// Reads from a client until it unplugs or is cut off.
pub(crate) async fn pump(shard: &Shard, id: PortId, plug: Rc<Plug>, cut: &Notify) -> Unplugged {
    tokio::select! {
        end = plug.hung_up() => end,
        () = cut.notified() => Unplugged::Closed,
        err = read_on(shard, id, &plug) => Unplugged::Failed(err),
    }
}

async fn read_on(shard: &Shard, id: PortId, plug: &Plug) -> std::io::Error {
    loop {
        if let Err(err) = plug.readable().await {
            return err;
        }
        let congested = {
            let mut batch = shard.vde_batch.borrow_mut();
            match plug.try_recv_batch(&mut batch) {
                Ok(_) => relay(shard, id, &batch),
                Err(_) => None,
            }
        };
        wait_for_room(congested).await;
        // One batch a turn: the other ports and the cables come next.
        tokio::task::yield_now().await;
    }
}

fn relay(shard: &Shard, id: PortId, batch: &RecvBatch) -> Option<Rc<cable::Link>> {
    let frames = batch.iter().map(|datagram| (!datagram.truncated).then_some(datagram.bytes));
    relay_plain(shard, id, frames)
}
