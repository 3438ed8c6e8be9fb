//! The tasks between cables and the data plane: what comes by them and goes with them, and the turns
//! of the mesh.

use std::collections::BTreeMap;
use std::rc::Rc;

use cable::{CableEvent, CableId, Link};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::driver::{Shard, now};
use crate::plane::{Newcomer, Place};
use crate::port::{self, PortIo};
use crate::wire;

/// Cables that have a port.
type Plugged = BTreeMap<CableId, PluggedIn>;

struct PluggedIn {
    place: Place,
    link: Rc<Link>,
    pump: JoinHandle<()>,
}

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
                let Some(PluggedIn { place, .. }) = plugged.get(&cable) else {
                    continue;
                };
                let taken = shard.plane.borrow_mut().handle_message(place.port, message, now());
                if let Err(fault) = taken {
                    tracing::warn!(%cable, %fault, "the peer broke the protocol");
                    shard.cables.close_faulty(cable, &fault.to_string());
                }
                wire::close_faulty(shard);
            }
            CableEvent::Room { cable } => {
                if let Some(PluggedIn { place, .. }) = plugged.get(&cable) {
                    shard.plane.borrow_mut().handle_room(place.port);
                }
            }
            CableEvent::Doubted { cable } => {
                if let Some(PluggedIn { place, .. }) = plugged.get(&cable) {
                    shard.plane.borrow_mut().handle_hint(place.port, now());
                }
            }
            CableEvent::Down { cable, failure } => {
                if let Some(PluggedIn { place, link, pump }) = plugged.remove(&cable) {
                    pump.abort();
                    shard.reporter.cable_down(shard, cable, link.peer(), &failure);
                    shard.plane.borrow_mut().link_down(place.port, now());
                    // Before another cable can get the same port.
                    let events = shard.plane.borrow_mut().mesh_events();
                    shard.reporter.report(shard, events);
                    shard.plane.borrow_mut().unplug(place);
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
    shard.reporter.cable_up(shard, cable, place.port, link.peer());
    plane.attach_wire(&cable.to_string(), place.port);
    shard.cables.set_port(cable, Some(place.port.0));
    let (pumped, pumped_link) = (shard.clone(), link.clone());
    let pump = tokio::task::spawn_local(async move {
        port::cable::pump(&pumped, place.port, pumped_link).await;
    });
    plugged.insert(cable, PluggedIn { place, link, pump });
    Ok(())
}

/// Gives the mesh its turns, for as long as the shard lives.
pub(crate) async fn follow_mesh(shard: &Shard) {
    let wake = shard.plane.borrow().mesh_wake.clone();
    loop {
        let due = shard.plane.borrow_mut().turn_mesh(now());
        let events = shard.plane.borrow_mut().mesh_events();
        shard.reporter.report(shard, events);
        match due {
            Some(due) => tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep_until(due.into()) => {}
            },
            None => wake.notified().await,
        }
    }
}
