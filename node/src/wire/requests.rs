//! What the node does for `vdecable wire`.

use std::rc::Rc;
use std::sync::Arc;

use control::wire::{WireChange, WireSide, WireStatus, WireTarget};
use control::{Answer, Failure};
use emulator::Trace;
use ether::MacAddr;
use fabric::{DropReason, PortId, PortKind};

use super::edit::{Edit, Sides};
use super::pacer::Pacer;
use super::pairs::MAX_PAIRS;
use super::timeline::Timeline;
use super::view;
use super::{Kind, Plan, Wire};
use crate::driver::{Shard, now};
use crate::status::description_of;

/// What was not changed.
const WHAT: &str = "the wire is as it was";

/// Where a wire is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Port(PortId),
    Cable(String),
    Pair(MacAddr, MacAddr),
}

/// Shows every wire.
pub(crate) fn list(shard: &Shard) -> Answer {
    Answer::Wires { wires: view::wires(shard, now()) }
}

/// Shows every profile.
pub(crate) fn profiles() -> Answer {
    Answer::WireProfiles { profiles: view::profiles() }
}

/// Changes a wire, or shows it when nothing is to be changed.
pub(crate) async fn handle(
    shard: &Rc<Shard>,
    target: WireTarget,
    change: WireChange,
) -> Result<Answer, Failure> {
    if target == WireTarget::Pairs {
        return clear_pairs(shard, &change);
    }
    let shows = change == WireChange::default();
    // A trace may be megabytes, and the data plane has frames to carry meanwhile.
    let read = tokio::task::spawn_blocking(move || Read::new(change)).await;
    let read = read.map_err(|err| Failure::new(WHAT, err, ""))??;
    let place = place(shard, &target)?;
    if !shows {
        carry_out(shard, &place, &read.into_plan())?;
    }
    let name = place.to_string();
    let wires: Vec<WireStatus> =
        view::wires(shard, now()).into_iter().filter(|wire| wire.target == name).collect();
    if wires.is_empty() {
        let message = format!("no wire on {name}");
        return Ok(Answer::Done { message });
    }
    Ok(Answer::Wires { wires })
}

/// A change that was read on another thread.
#[derive(Debug)]
struct Read {
    change: WireChange,
    sides: Sides,
    edits: Vec<Edit>,
    timeline: Option<Timeline>,
}

impl Read {
    fn new(change: WireChange) -> Result<Self, Failure> {
        let wrong = |fix: &'static str| move |err: String| Failure::new(WHAT, err, fix);
        let sides = match change.side {
            None => Sides::Both,
            Some(WireSide::In) => Sides::In,
            Some(WireSide::Out) => Sides::Out,
        };
        let mut edits = Vec::new();
        if let Some(name) = &change.profile {
            let profile = Edit::profile(sides, name).map_err(|err| err.to_string());
            edits.push(profile.map_err(wrong("vdecable wire profiles shows them"))?);
        }
        for (name, value) in &change.set {
            let edit = Edit::set(sides, name, value).map_err(|err| err.to_string());
            edits.push(edit.map_err(wrong("vdecable wire --help shows how to write values"))?);
        }
        if let Some(text) = &change.trace {
            let trace = Trace::parse(text).map_err(|err| format!("the trace, {err}"));
            let fix = "give a file with one time in milliseconds a line, as mm-link takes it";
            edits.push(Edit::trace(sides, Arc::new(trace.map_err(wrong(fix))?)));
        }
        let timeline = change.timeline.as_deref().map(Timeline::parse).transpose();
        let timeline = timeline.map_err(|err| format!("the timeline, {err}"));
        let timeline = timeline.map_err(wrong("mend that line and give the file again"))?;
        if timeline.is_some() && sides != Sides::Both {
            let why = "a timeline is for both directions".to_owned();
            return Err(wrong("write in or out behind the times in the file")(why));
        }
        Ok(Self { change, sides, edits, timeline })
    }

    fn into_plan(self) -> Plan {
        let Self { change, sides, edits, timeline } = self;
        Plan {
            edits,
            profile: change.profile,
            timeline: timeline.map(Rc::new),
            seed: change.seed,
            frames_only: change.frames_only,
            clear: change.clear.then_some(sides),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Port(port) => port.fmt(f),
            Self::Cable(cable) => f.write_str(cable),
            Self::Pair(source, destination) => write!(f, "{source} {destination}"),
        }
    }
}

fn clear_pairs(shard: &Shard, change: &WireChange) -> Result<Answer, Failure> {
    if *change != (WireChange { clear: true, ..WireChange::default() }) {
        let why = "all pairs together can only be cleared";
        return Err(Failure::new(WHAT, why, "name two stations: vdecable wire pair MAC MAC …"));
    }
    shard.plane.borrow_mut().wires.pairs.clear();
    Ok(Answer::Done { message: "no wire between any two stations".to_owned() })
}

fn carry_out(shard: &Rc<Shard>, place: &Place, plan: &Plan) -> Result<(), Failure> {
    let now = now();
    let there = existing(shard, place);
    let is_new = there.is_none();
    let wire = match there {
        Some(wire) => wire,
        None => {
            let kind = if matches!(place, Place::Pair(..)) { Kind::Pair } else { Kind::Port };
            Rc::new(Wire::new(shard, &pacer(shard)?, kind, now))
        }
    };
    wire.change(plan, now);
    if wire.is_idle() && plan.clear.is_some() {
        remove(shard, place, &wire);
    } else if is_new {
        insert(shard, place, wire)?;
    }
    Ok(())
}

fn existing(shard: &Shard, place: &Place) -> Option<Rc<Wire>> {
    let plane = shard.plane.borrow();
    match place {
        Place::Port(port) => plane.port(*port)?.wire.clone(),
        Place::Cable(cable) => plane.wires.cables.get(cable).cloned(),
        Place::Pair(source, destination) => plane.wires.pairs.get(*source, *destination).cloned(),
    }
}

fn insert(shard: &Shard, place: &Place, wire: Rc<Wire>) -> Result<(), Failure> {
    let cables = shard.cables.statuses();
    let mut plane = shard.plane.borrow_mut();
    match place {
        Place::Port(port) => {
            wire.set_port(Some(*port));
            plane.set_wire(*port, Some(wire));
        }
        Place::Cable(cable) => {
            // Those of cables that were pulled out meanwhile.
            plane.wires.cables.retain(|id, _| cables.iter().any(|cable| cable.id == *id));
            plane.wires.cables.insert(cable.clone(), wire);
            if let Some(port) = cables.iter().find(|it| it.id == *cable).and_then(|it| it.port) {
                plane.attach_wire(cable, PortId(port));
            }
        }
        Place::Pair(source, destination) => {
            if plane.wires.pairs.is_full() {
                let why = format!("there are {MAX_PAIRS} pairs already");
                return Err(Failure::new(WHAT, why, "clear one first"));
            }
            plane.wires.pairs.insert(*source, *destination, wire);
        }
    }
    Ok(())
}

fn remove(shard: &Shard, place: &Place, wire: &Wire) {
    let mut plane = shard.plane.borrow_mut();
    let port = wire.lanes().find_map(|(_, lane)| lane.port());
    if let Some(port) = port {
        let lost = wire.waiting() + wire.lanes().map(|(_, lane)| lane.settle(now())).sum::<u64>();
        plane.record_drops(port, DropReason::Wire, lost);
        plane.take_wire(port, wire, now());
    }
    match place {
        Place::Port(_) => {}
        Place::Cable(cable) => drop(plane.wires.cables.remove(cable)),
        Place::Pair(source, destination) => {
            plane.wires.pairs.remove(*source, *destination);
        }
    }
}

/// A cable was pulled out.
pub(crate) fn forget_cable(shard: &Shard, cable: &str) {
    shard.plane.borrow_mut().wires.cables.remove(cable);
}

/// The one who wakes wires up.
fn pacer(shard: &Rc<Shard>) -> Result<Rc<Pacer>, Failure> {
    if let Some(pacer) = &shard.plane.borrow().wires.pacer {
        return Ok(pacer.clone());
    }
    let fix = "give the node more file descriptors";
    let pacer = Rc::new(Pacer::new().map_err(|err| Failure::new(WHAT, err, fix))?);
    let running = pacer.clone();
    tokio::task::spawn_local(async move {
        let err = running.run().await;
        tracing::error!(%err, "the timer of the wires failed; delays are not exact any more");
    });
    shard.plane.borrow_mut().wires.pacer = Some(pacer.clone());
    Ok(pacer)
}

/// Finds what a user means.
fn place(shard: &Shard, target: &WireTarget) -> Result<Place, Failure> {
    match target {
        WireTarget::At(text) => at(shard, text),
        WireTarget::Pair { source, destination } => {
            let mac = |text: &str| {
                let fix =
                    "write six octets, as 52:54:00:12:34:56; vdecable macs shows who is there";
                let mac = text.parse::<MacAddr>().map_err(|err| {
                    Failure::new(WHAT, format!("{text} is no MAC address: {err}"), fix)
                })?;
                if mac.is_group() {
                    return Err(Failure::new(WHAT, format!("{text} is no single station"), fix));
                }
                Ok(mac)
            };
            Ok(Place::Pair(mac(source)?, mac(destination)?))
        }
        WireTarget::Pairs => unreachable!("it was handled before"),
    }
}

/// One port or cable, and the words by which it is known.
struct Candidate {
    place: Place,
    names: Vec<String>,
}

fn at(shard: &Shard, text: &str) -> Result<Place, Failure> {
    let candidates = candidates(shard);
    let cable_ports: Vec<_> =
        shard.cables.statuses().into_iter().map(|cable| (cable.id, cable.port)).collect();
    // A cable's port is the cable: its wire stays when the cable comes back at another.
    if let Ok(number) = text.parse::<u32>()
        && let Some((id, _)) = cable_ports.iter().find(|(_, port)| *port == Some(number))
    {
        return Ok(Place::Cable(id.clone()));
    }
    let is = |name: &String| name.eq_ignore_ascii_case(text);
    let has = |name: &String| name.to_lowercase().contains(&text.to_lowercase());
    let found = |test: &dyn Fn(&String) -> bool| -> Vec<&Candidate> {
        candidates.iter().filter(|candidate| candidate.names.iter().any(test)).collect()
    };
    let exact = found(&|name| is(name));
    let chosen =
        if exact.is_empty() && !text.is_empty() { found(&|name| has(name)) } else { exact };
    if let [one] = chosen[..] {
        return Ok(one.place.clone());
    }
    let several = !chosen.is_empty();
    let shown = if several { chosen } else { candidates.iter().collect() };
    let shown: Vec<_> = shown.iter().map(|candidate| candidate.names.join(" ")).collect();
    let why = match (several, shown.is_empty()) {
        (true, _) => format!("{text:?} may be any of: {}", shown.join(", ")),
        (false, true) => "there is no port and no cable".to_owned(),
        (false, false) => format!("{text:?} is none of: {}", shown.join(", ")),
    };
    Err(Failure::new(WHAT, why, "give a port number or a cable id (c1), or more of the name"))
}

fn candidates(shard: &Shard) -> Vec<Candidate> {
    let plane = shard.plane.borrow();
    let ports = plane.ports().filter(|(_, port)| {
        port.endpoints.iter().all(|endpoint| endpoint.io.role() == PortKind::Access)
    });
    let mut candidates: Vec<_> = ports
        .map(|(id, port)| Candidate {
            place: Place::Port(id),
            names: vec![id.to_string(), description_of(port)],
        })
        .collect();
    candidates.extend(shard.cables.statuses().into_iter().map(|cable| {
        let mut names = vec![cable.id.clone()];
        names.extend(cable.peer);
        names.push(cable.address);
        Candidate { place: Place::Cable(cable.id), names }
    }));
    candidates
}
