//! Wires as the views of the control protocol.

use std::rc::Rc;
use std::time::Instant;

use control::wire::{WireAchieved, WireDirection, WireProfile, WireStatus};
use emulator::{Direction, Profile};

use super::Wire;
use super::asked::asked;
use super::edit::{IN, OUT};
use super::lane::Lane;
use crate::driver::Shard;
use crate::plane::Plane;
use crate::status::description_of;

/// Every wire: ports by number, cables by id, pairs by address.
pub(crate) fn wires(shard: &Shard, now: Instant) -> Vec<WireStatus> {
    let plane = shard.plane.borrow();
    let ports = plane.ports().filter_map(|(id, port)| {
        let wire = port.wire.as_ref()?;
        let is_cable = plane.wires.cables.values().any(|cable| Rc::ptr_eq(cable, wire));
        (!is_cable).then(|| {
            let kind = "port".to_owned();
            WireStatus {
                kind,
                description: description_of(port),
                ..view(wire, id.to_string(), now)
            }
        })
    });
    let cables = plane.wires.cables.iter().map(|(id, wire)| {
        let view = view(wire, id.clone(), now);
        let description = view.port.and_then(|port| description(&plane, port)).unwrap_or_default();
        WireStatus { kind: "cable".to_owned(), description, ..view }
    });
    let pairs = plane.wires.pairs.iter().map(|(source, destination, wire)| {
        let target = format!("{source} {destination}");
        WireStatus { kind: "pair".to_owned(), ..view(wire, target, now) }
    });
    ports.chain(cables).chain(pairs).collect()
}

fn description(plane: &Plane, port: u32) -> Option<String> {
    plane.port(fabric::PortId(port)).map(description_of)
}

fn view(wire: &Wire, target: String, now: Instant) -> WireStatus {
    let asked = wire.asked.borrow();
    let is_pair = wire.lanes().count() == 1;
    let directions = wire.lanes().map(|(direction, lane)| WireDirection {
        direction: match direction {
            _ if is_pair => "to",
            Direction::LeftToRight => "in",
            Direction::RightToLeft => "out",
        }
        .to_owned(),
        asked: lane.asked(),
        achieved: achieved(lane, now),
    });
    WireStatus {
        target,
        kind: String::new(),
        description: String::new(),
        port: wire.lanes().find_map(|(_, lane)| lane.port()).map(|port| port.0),
        profile: asked.profile.clone(),
        timeline: wire.timeline.borrow().as_ref().is_some_and(|task| !task.0.is_finished()),
        frames_only: wire.frames_only.get(),
        seed: asked.seed,
        directions: directions.collect(),
    }
}

fn achieved(lane: &Lane, now: Instant) -> WireAchieved {
    let achieved = lane.achieved(now);
    let (waiting_frames, waiting_bytes) = lane.waiting();
    let drops = achieved.drops.iter();
    WireAchieved {
        seconds: achieved.seconds,
        received: achieved.received,
        delivered: achieved.delivered,
        delivered_bytes: achieved.delivered_octets,
        loss_percent: achieved.loss_percent,
        delay_p50_ms: achieved.delay_p50,
        delay_p99_ms: achieved.delay_p99,
        delay_mean_ms: achieved.delay_mean,
        jitter_ms: achieved.jitter,
        rate_bps: achieved.rate,
        peak_rate_bps: achieved.peak_rate,
        copies: achieved.copies,
        damaged: achieved.damaged,
        reordered: achieved.reordered,
        waiting_frames,
        waiting_bytes,
        drops: drops
            .map(|(reason, count)| (reason.to_string().replace(' ', "-"), *count))
            .collect(),
    }
}

/// Every profile.
pub(crate) fn profiles() -> Vec<WireProfile> {
    let view = |profile: Profile| {
        let settings = profile.settings();
        WireProfile {
            name: profile.name().to_owned(),
            about: profile.about().to_owned(),
            inward: asked(&settings[IN]),
            outward: asked(&settings[OUT]),
        }
    };
    Profile::ALL.map(view).into()
}
