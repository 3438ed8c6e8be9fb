//! A client of the VDE socket as a bridge port.

use std::rc::Rc;

use ether::limits::MAX_FRAME;
use fabric::PortId;
use tokio::sync::{Notify, Semaphore};
use vdeplug::{Handshake, Kind, Plug, Refusal, Unplugged};

use super::turn::after_others;
use super::{Peer, PortIo, relay_datagrams};
use crate::driver::Shard;
use crate::plane::Newcomer;

/// Clients that may be at their request at once.
const HANDSHAKES: usize = 256;

/// QEMU's VDE client reads into a buffer of this many octets; the kernel would cut what is longer,
/// and neither side would know.
const QEMU_MAX_FRAME: usize = 4096;

/// Lets clients in for as long as the shard lives.
pub(crate) async fn accept(shard: &Rc<Shard>) {
    let places = Rc::new(Semaphore::new(HANDSHAKES));
    loop {
        let place = places.clone();
        match shard.server.accept().await {
            Ok(handshake) => {
                let shard = shard.clone();
                tokio::task::spawn_local(async move {
                    if let Err(refusal) = serve(&shard, handshake, &place).await {
                        tracing::debug!(reason = %refusal, "plug refused");
                        shard.refused_plugs.borrow_mut().record(&refusal);
                    }
                });
                // With all places taken the next client waits in the kernel's queue.
                drop(places.acquire().await);
            }
            Err(err) => tracing::debug!(%err, "no plug accepted"),
        }
    }
}

/// One client, from its request to its end.
async fn serve(shard: &Shard, handshake: Handshake, places: &Semaphore) -> Result<(), Refusal> {
    let place = places.acquire().await;
    let pending = handshake.read_request().await?;
    let wish = match pending.request().kind {
        Kind::Management => Some(PortId(0)),
        Kind::Plug => pending.request().port.map(PortId),
    };
    // VDE has no word for no: the request is not answered.
    let admitted = shard.plane.borrow().admit(wish, Some(pending.peer().uid));
    if let Err(err) = admitted {
        let refusal = Refusal::Denied(err.to_string().into());
        pending.refuse(&refusal);
        return Err(refusal);
    }
    let plug = Rc::new(pending.accept().await?);
    drop(place);
    let description = plug.description().to_string();
    let newcomer = Newcomer {
        io: PortIo::Vde(plug.clone()),
        max_frame: max_frame(&description),
        description,
        peer: Some(Peer::from(plug.peer())),
    };
    let place = shard
        .plane
        .borrow_mut()
        .plug_in(wish, newcomer)
        .map_err(|err| Refusal::Denied(err.to_string().into()))?;
    let (who, uid) = (plug.description().to_string(), plug.peer().uid);
    tracing::debug!(port = %place.port, who, uid, "plugged in");
    let cut = shard.plane.borrow().cut(place).unwrap_or_default();
    let end = pump(shard, place.port, plug, &cut).await;
    shard.plane.borrow_mut().unplug(place);
    tracing::debug!(port = %place.port, reason = ?end, "unplugged");
    Ok(())
}

/// The longest frame that a client takes, as far as it can be known.
fn max_frame(description: &str) -> usize {
    if description.starts_with("QEMU") { QEMU_MAX_FRAME } else { MAX_FRAME }
}

/// Reads from a client until it unplugs or is cut off.
async fn pump(shard: &Shard, id: PortId, plug: Rc<Plug>, cut: &Notify) -> Unplugged {
    tokio::select! {
        end = plug.hung_up() => end,
        () = cut.notified() => Unplugged::Closed,
        err = read_on(shard, id, &plug) => Unplugged::Failed(err),
    }
}

async fn read_on(shard: &Shard, id: PortId, plug: &Plug) -> std::io::Error {
    loop {
        if let Err(err) = after_others(plug.readable()).await {
            return err;
        }
        // What is wrong with a plug its control stream says.
        let _ = relay_datagrams(shard, id, |batch| plug.try_recv_batch(batch)).await;
    }
}
