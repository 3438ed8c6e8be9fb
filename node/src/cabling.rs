//! The tasks between cables and the data plane: what comes by them and goes with them, and the turns
//! of the mesh.

use std::collections::BTreeMap;
use std::rc::Rc;

use cable::{CableEvent, CableId, Epoch, Link};
use mesh::engine::Event;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::driver::{Shard, now};
use crate::plane::{Newcomer, Place};
use crate::port::{self, PortIo};

/// Cables that have a port.
type Plugged = BTreeMap<CableId, (Place, JoinHandle<()>)>;

/// Plugs cables in and out as they come and go, and passes on what comes by them.
pub(crate) async fn follow_cables(shard: &Rc<Shard>, mut events: mpsc::Receiver<CableEvent>) {
    let mut plugged = Plugged::new();
    while let Some(event) = events.recv().await {
        match event {
            CableEvent::Up { cable, link } => {
                if let Err(err) = plug_in(shard, &mut plugged, cable, link) {
                    tracing::warn!(%cable, %err, "the cable cannot be used");
                    shard.cables.close_faulty(cable, &err.to_string());
                }
            }
            CableEvent::Message { cable, message } => {
                let Some((place, _)) = plugged.get(&cable) else {
                    continue;
                };
                let taken = shard.plane.borrow_mut().handle_message(place.port, message, now());
                if let Err(fault) = taken {
                    tracing::warn!(%cable, %fault, "the peer broke the protocol");
                    shard.cables.close_faulty(cable, &fault.to_string());
                }
            }
            CableEvent::Room { cable } => {
                if let Some((place, _)) = plugged.get(&cable) {
                    shard.plane.borrow_mut().handle_room(place.port);
                }
            }
            CableEvent::Down { cable } => {
                if let Some((place, pump)) = plugged.remove(&cable) {
                    pump.abort();
                    let mut plane = shard.plane.borrow_mut();
                    plane.link_down(place.port, now());
                    plane.unplug(place);
                }
            }
        }
    }
}

fn plug_in(
    shard: &Rc<Shard>,
    plugged: &mut Plugged,
    cable: CableId,
    link: Rc<Link>,
) -> anyhow::Result<()> {
    let newcomer = Newcomer {
        io: PortIo::Cable(link.clone()),
        description: link.peer().name.clone(),
        max_frame: link.peer().max_frame,
        peer: None,
    };
    let mut plane = shard.plane.borrow_mut();
    let place = plane.plug_in(None, newcomer)?;
    if let Err(err) = plane.link_up(place.port, link.peer(), now()) {
        plane.unplug(place);
        return Err(err.into());
    }
    plane.attach_wire(&cable.to_string(), place.port);
    shard.cables.set_port(cable, Some(place.port.0));
    let pumped = shard.clone();
    let pump = tokio::task::spawn_local(async move {
        port::cable::pump(&pumped, place.port, link).await;
    });
    plugged.insert(cable, (place, pump));
    Ok(())
}

/// Gives the mesh its turns, for as long as the shard lives.
pub(crate) async fn follow_mesh(shard: &Shard, mut epoch: Epoch) {
    let wake = shard.plane.borrow().mesh_wake.clone();
    loop {
        let (events, due) = shard.plane.borrow_mut().turn_mesh(now());
        for event in events {
            if let Event::EpochRaised(above) = event
                && let Err(err) = epoch.raise(above)
            {
                tracing::warn!(%err, "after the next start other nodes take longer to listen");
            }
            tracing::info!(?event, "mesh");
        }
        match due {
            Some(due) => tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep_until(due.into()) => {}
            },
            None => wake.notified().await,
        }
    }
}
