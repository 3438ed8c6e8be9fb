//! A world: nodes, cables, stations, one clock, and what is due. Nothing in it knows the time of
//! the machine that it runs on, or any randomness but its own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ether::VnetHeader;
use fabric::{DropReason, PortId};
use mesh::NodeKey;
use mesh::engine::{Event as MeshEvent, LinkId, Payload};
use mesh::framing::RecordHeader;
use mesh::probe::Probe;
use segment::Route;

use crate::cables::{Cable, Cargo};
use crate::dice::Dice;
use crate::frame::{number_of, passage_of, ticket, wear};
use crate::node::{Node, Use};
use crate::plan::Plan;
use crate::share::Share;
use crate::stations::Station;
use crate::watch::Watch;

/// How often a node may be woken in a second: it builds its trees one at a time, and no more.
const MOST_WAKES: u32 = 2000;

/// How soon a node goes on with work that it says is due.
const NEXT_TURN: Duration = Duration::from_micros(50);

/// How often a bridge forgets what is old, as in `node/src/driver.rs`.
const SWEEP: Duration = Duration::from_secs(10);

/// Something that is due.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A node wanted to be called.
    Wake { node: usize },
    /// A node looks at what came of what it was told.
    Turn { node: usize, boot: u64 },
    /// A bridge forgets what is old.
    Sweep { node: usize, boot: u64 },
    /// Something comes out of a cable.
    Arrive { cable: usize, end: usize, session: u64, cargo: Cargo },
    /// An end of a cable may have heard nothing for too long.
    Idle { cable: usize, end: usize, session: u64 },
    /// A cable is to be dialled.
    Dial { cable: usize },
    /// A connection is there at one end.
    Open { cable: usize, end: usize, session: u64 },
    /// The control stream of an end takes more.
    Room { cable: usize, end: usize, session: u64 },
    /// A frame comes in at an access port.
    Enter { node: usize, port: u32, frame: Rc<[u8]> },
    /// A station wants to say something.
    Speak { station: usize },
}

#[derive(Debug)]
struct Due(Duration, u64, Event);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: Duration,
    base: Instant,
    queue: BinaryHeap<Reverse<Due>>,
    counter: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) cables: Vec<Cable>,
    pub(crate) stations: Vec<Station>,
    /// Access ports that are joined outside: nodes and numbers.
    pub(crate) segments: Vec<Vec<(usize, u32)>>,
    pub(crate) is_talking: bool,
    pub(crate) dice: Dice,
    pub(crate) watch: Watch,
    /// What was said to whom so far, for rogues to play back.
    pub(crate) overheard: Vec<mesh::record::Record>,
    has_trace: bool,
    /// Alarms that only clones may cause.
    pub(crate) may_clone: bool,
}

impl World {
    pub(crate) fn new(plan: Plan, has_trace: bool) -> Self {
        #[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
        let base = Instant::now();
        let mut dice = Dice::new(plan.seed);
        let mut key = || {
            let mut octets = [0; 32];
            octets.chunks_mut(8).for_each(|part| part.copy_from_slice(&dice.next().to_be_bytes()));
            // Those of strangers begin so.
            octets[0] &= 0x7f;
            NodeKey(octets)
        };
        let keys: Vec<NodeKey> = (0..plan.nodes).map(|_| key()).collect();
        let nodes = keys.into_iter().zip(&plan.ports);
        let nodes = nodes
            .map(|(key, vlans)| Node::new(key, vlans.clone(), plan.is_cramped, &mut dice))
            .collect();
        let mut world = Self {
            now: Duration::ZERO,
            base,
            queue: BinaryHeap::new(),
            counter: 0,
            nodes,
            cables: plan.cables.iter().map(Cable::new).collect(),
            stations: plan.stations.iter().map(|place| Station::new(*place)).collect(),
            segments: Vec::new(),
            is_talking: false,
            dice,
            watch: Watch::default(),
            overheard: Vec::new(),
            has_trace,
            may_clone: false,
            plan,
        };
        for node in 0..world.nodes.len() {
            world.boot(node);
        }
        for cable in 0..world.cables.len() {
            world.call(cable);
        }
        world
    }

    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if self.has_trace {
            println!("{:12.6} {}", self.now.as_secs_f64(), what());
        }
    }

    pub(crate) fn schedule(&mut self, at: Duration, event: Event) {
        self.counter += 1;
        self.queue.push(Reverse(Due(at.max(self.now), self.counter, event)));
    }

    /// A number that was not used yet.
    pub(crate) fn fresh(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Goes on until a moment, unless that is past, or until a rule is broken.
    pub(crate) fn run_until(&mut self, end: Duration) -> Result<(), String> {
        while let Some(Reverse(due)) = self.queue.peek()
            && due.0 <= end
        {
            let Some(Reverse(Due(at, _, event))) = self.queue.pop() else { break };
            assert!(at >= self.now, "time went back to {at:?}");
            self.now = at;
            self.watch.events += 1;
            self.handle(event);
            if let Some(broken) = self.watch.broken.take() {
                return Err(broken);
            }
        }
        self.now = self.now.max(end);
        Ok(())
    }

    pub(crate) fn run_for(&mut self, duration: Duration) -> Result<(), String> {
        self.run_until(self.now + duration)
    }

    pub(crate) fn handle(&mut self, event: Event) {
        if let Some(node) = self.place_of(&event)
            && self.nodes[node].stop.is_some()
        {
            self.nodes[node].held.push_back(event);
            return;
        }
        match event {
            Event::Wake { node } => self.wake(node),
            Event::Turn { node, boot } if self.nodes[node].boots == boot => self.turn(node),
            Event::Sweep { node, boot } if self.nodes[node].boots == boot => {
                let clock = self.clock(node);
                if let Some(switch) = &mut self.nodes[node].switch {
                    switch.bridge.handle_timeout(clock);
                    switch.follow(&mut Share::default(), clock);
                    self.schedule(self.now + SWEEP, Event::Sweep { node, boot });
                    self.rouse(node);
                }
            }
            Event::Turn { .. } | Event::Sweep { .. } => {}
            Event::Arrive { cable, end, session, cargo } => {
                self.arrive(cable, end, session, &cargo);
            }
            Event::Idle { cable, end, session } => self.check_idle(cable, end, session),
            Event::Dial { cable } => self.dial(cable),
            Event::Open { cable, end, session } => self.open(cable, end, session),
            Event::Room { cable, end, session } => self.make_room(cable, end, session),
            Event::Enter { node, port, frame } => self.enter(node, port, &frame),
            Event::Speak { station } => self.speak_on(station),
        }
    }

    /// The node that an event happens to.
    fn place_of(&self, event: &Event) -> Option<usize> {
        match event {
            Event::Wake { node }
            | Event::Turn { node, .. }
            | Event::Sweep { node, .. }
            | Event::Enter { node, .. } => Some(*node),
            Event::Arrive { cable, end, .. }
            | Event::Idle { cable, end, .. }
            | Event::Room { cable, end, .. } => Some(self.cables[*cable].ends[*end].node),
            Event::Dial { .. } | Event::Open { .. } | Event::Speak { .. } => None,
        }
    }

    pub(crate) fn clock(&self, node: usize) -> Instant {
        self.nodes[node].clock(self.base, self.now)
    }

    pub(crate) fn boot(&mut self, node: usize) {
        let (base, now, ageing) = (self.base, self.now, self.plan.ageing);
        self.nodes[node].boot(&format!("n{node}"), ageing, base, now, &mut self.dice);
        let boot = self.nodes[node].boots;
        self.watch.begin_run(node);
        self.schedule(now + SWEEP, Event::Sweep { node, boot });
        self.turn(node);
    }

    fn wake(&mut self, node: usize) {
        if self.nodes[node].wake_at.is_none_or(|at| at > self.now) {
            return;
        }
        self.nodes[node].wake_at = None;
        let (second, count) = &mut self.nodes[node].wakes;
        if *second != self.now.as_secs() {
            (*second, *count) = (self.now.as_secs(), 0);
        }
        *count += 1;
        if *count > MOST_WAKES {
            self.watch.fail("I10", || format!("node {node} does not come to rest"));
        }
        self.turn(node);
    }

    /// A node was told something: it looks at what follows now or, in a lazy world, a little later.
    pub(crate) fn rouse(&mut self, node: usize) {
        if self.plan.is_lazy && self.dice.chance(300) {
            let boot = self.nodes[node].boots;
            let later = self.dice.time(Duration::ZERO, Duration::from_millis(3));
            self.schedule(self.now + later, Event::Turn { node, boot });
        } else {
            self.turn(node);
        }
    }

    /// As `Plane::turn_mesh`, and `follow_mesh` around it.
    fn turn(&mut self, node: usize) {
        let clock = self.clock(node);
        let Some(switch) = &mut self.nodes[node].switch else { return };
        if switch.mesh.poll_timeout().is_some_and(|due| due <= clock) {
            switch.mesh.handle_timeout(clock);
        }
        while let Some(switch) = &mut self.nodes[node].switch
            && let Some(transmit) = switch.mesh.poll_transmit()
        {
            self.post(node, transmit.link, transmit.payload);
        }
        let Some(switch) = &mut self.nodes[node].switch else { return };
        switch.follow(&mut Share::default(), clock);
        let probes: Vec<_> = std::iter::from_fn(|| switch.poll_probe()).collect();
        for (port, frame) in probes {
            self.leave(node, port.0, None, &frame);
        }
        self.relay_held(node, clock);
        self.hear_events(node);
        let nodes = self.nodes.len();
        self.watch.check_bounds(node, &self.nodes[node], nodes);
        self.set_timer(node);
    }

    /// Frames that may have gone around outside have waited for long enough.
    fn relay_held(&mut self, node: usize, clock: Instant) {
        while let Some(switch) = &mut self.nodes[node].switch
            && let Some(held) = switch.poll_held(clock)
        {
            let mut share = Share::default();
            let blocked = switch.bridge.is_blocked(held.port);
            let route = switch.handle_held(&held, &mut share, clock);
            let number = number_of(&held.bytes).expect("the world made it");
            let Use::Access(place) = self.nodes[node].used_as(held.port.0) else { continue };
            let vlan = self.nodes[node].vlans[place];
            let passage = self.watch.enter(number, (node, held.port.0), vlan, blocked);
            self.trace(|| {
                format!("n{node} held frame {number} as {passage}: {}", outcome(&route, &share))
            });
            if let Ok(route) = route {
                self.watch.begin(passage, route.reach, route.hops, self.cables.len(), self.now);
                self.hand_out(node, Some(passage), &held.bytes, route, &share);
            }
        }
    }

    fn set_timer(&mut self, node: usize) {
        let Some(switch) = &self.nodes[node].switch else { return };
        let dues = [switch.mesh.poll_timeout(), switch.poll_timeout()];
        let Some(due) = dues.into_iter().flatten().min() else { return };
        // What is due already is done in the next turn, and others have theirs before.
        let due = self.nodes[node].moment(self.base, due).max(self.now + NEXT_TURN);
        if self.nodes[node].wake_at.is_none_or(|at| due < at || at <= self.now) {
            self.nodes[node].wake_at = Some(due);
            self.schedule(due, Event::Wake { node });
        }
    }

    /// What an operator hears.
    fn hear_events(&mut self, node: usize) {
        while let Some(switch) = &mut self.nodes[node].switch
            && let Some(event) = switch.mesh.poll_event()
        {
            self.trace(|| format!("n{node} tells {event:?}"));
            match event {
                MeshEvent::LinkUp { .. } | MeshEvent::LinkDown { .. } => {
                    self.watch.link_changed = self.now;
                }
                MeshEvent::EpochRaised(epoch) => self.nodes[node].disk = Some(epoch),
                MeshEvent::KeyCloned(who) if !self.may_clone => {
                    self.watch.fail("false alarm", || format!("n{node} takes {who} for cloned"));
                }
                _ => {}
            }
        }
    }

    fn post(&mut self, node: usize, link: LinkId, payload: Payload) {
        let Use::Cable(cable, end) = self.nodes[node].used_as(link.0) else { return };
        match payload {
            Payload::Message(message) => {
                self.trace(|| format!("n{node} says on cable {cable}: {}", in_short(&message)));
                let boot = self.nodes[node].boots;
                let mesh = self.nodes[node].switch.as_ref().map(|switch| &switch.mesh);
                let kept = |origin: &NodeKey| mesh?.incarnation(origin);
                self.watch.say((node, boot), &message, kept, self.now);
                self.overhear(&message);
                self.send_message(cable, end, &message);
            }
            Payload::Beat(beat) => self.send_datagram(cable, end, beat.encode().as_slice().into()),
        }
    }

    /// A frame comes in at an access port.
    pub(crate) fn enter(&mut self, node: usize, port: u32, frame: &[u8]) {
        let clock = self.clock(node);
        let Use::Access(place) = self.nodes[node].used_as(port) else { return };
        let vlan = self.nodes[node].vlans[place];
        let Some(switch) = &mut self.nodes[node].switch else { return };
        let blocked = switch.bridge.is_blocked(PortId(port));
        let mut share = Share::default();
        if Probe::is_probe(frame) {
            if let Ok(route) =
                switch.handle_own(PortId(port), (frame, &VnetHeader::PLAIN), &mut share, clock)
            {
                self.hand_out(node, None, frame, route, &share);
            }
            self.rouse(node);
            return;
        }
        let number = number_of(frame).expect("the world made it");
        let passage = self.watch.enter(number, (node, port), vlan, blocked);
        let route = switch.handle_own(PortId(port), (frame, &VnetHeader::PLAIN), &mut share, clock);
        self.trace(|| {
            let header = ether::FrameHeader::parse(frame).expect("the world made it");
            let (from, to) = (header.source, header.destination);
            let what = format!("frame {number} as {passage}, {from} to {to}");
            format!("n{node} port {port}: {what}: {}", outcome(&route, &share))
        });
        if route == Err(DropReason::Returned) {
            self.watch.returned += 1;
        }
        if let Ok(route) = route {
            self.watch.begin(passage, route.reach, route.hops, self.cables.len(), self.now);
            self.hand_out(node, Some(passage), frame, route, &share);
        }
        self.rouse(node);
    }

    /// A frame comes out of a cable.
    pub(crate) fn carry_on(&mut self, node: usize, port: u32, header: &RecordHeader, frame: &[u8]) {
        let clock = self.clock(node);
        let Some(switch) = &mut self.nodes[node].switch else { return };
        let mut share = Share::default();
        let RecordHeader { ingress, hops, reach, vnet } = *header;
        let passage = vnet.as_ref().map(passage_of);
        let origin = Route { ingress, hops, reach };
        let route = switch.handle_from_cable(PortId(port), origin, frame, &mut share, clock);
        self.trace(|| format!("n{node} link {port}: {passage:?}: {}", outcome(&route, &share)));
        if let Ok(route) = route {
            self.hand_out(node, passage, frame, route, &share);
        }
    }

    /// Lets a frame leave. A probe has no passage.
    fn hand_out(
        &mut self,
        node: usize,
        passage: Option<u64>,
        frame: &[u8],
        route: Route,
        share: &Share,
    ) {
        for (port, tag) in &share.0 {
            let mut out = Vec::with_capacity(frame.len() + 4);
            if tag.apply(VnetHeader::PLAIN, frame, &mut out).is_err() {
                continue;
            }
            match self.nodes[node].used_as(*port) {
                Use::Access(_) => self.leave(node, *port, passage, &out),
                Use::Cable(cable, end) => {
                    if let Some(passage) = passage {
                        self.watch.copy(passage);
                    }
                    let Route { ingress, hops, reach } = route;
                    let vnet = passage.map(ticket);
                    let header = RecordHeader { ingress, hops, reach, vnet };
                    self.send_frame(cable, end, &header, &out);
                }
                Use::Free => {}
            }
        }
    }

    /// A frame leaves by an access port.
    fn leave(&mut self, node: usize, port: u32, passage: Option<u64>, frame: &[u8]) {
        if let Some(passage) = passage {
            let Use::Access(place) = self.nodes[node].used_as(port) else { return };
            let vlan = self.nodes[node].vlans[place];
            let Some(switch) = &self.nodes[node].switch else { return };
            let blocked = switch.bridge.is_blocked(PortId(port));
            self.watch.deliver(passage, (node, port), vlan, blocked);
        }
        let joined: Vec<(usize, u32)> = self
            .segments
            .iter()
            .filter(|segment| segment.contains(&(node, port)))
            .flatten()
            .copied()
            .filter(|other| *other != (node, port))
            .collect();
        for (node, port) in joined {
            let takes = Duration::from_micros(200);
            let later = self.dice.time(takes, takes * 8);
            let mut frame = frame.to_vec();
            if passage.is_some() {
                wear(&mut frame, &mut self.dice);
            }
            let frame = frame.into();
            self.schedule(self.now + later, Event::Enter { node, port, frame });
        }
    }
}

fn outcome(route: &Result<Route, DropReason>, share: &Share) -> String {
    let ports: Vec<u32> = share.0.iter().map(|(port, _)| *port).collect();
    match route {
        Ok(route) => format!("to {ports:?} {:?} hops {}", route.reach, route.hops),
        Err(reason) => format!("dropped, {reason:?}"),
    }
}

fn in_short(message: &mesh::message::Message) -> String {
    use mesh::message::Message;
    match message {
        Message::Records(records) => {
            let short = |record: &mesh::record::Record| {
                let (origin, slot) = (record.origin, record.slot.0);
                let run = record.version.incarnation;
                format!(
                    "{origin:?}/{slot}@{}.{:x}.{}",
                    run.epoch, run.instance, record.version.sequence
                )
            };
            format!("records {:?}", records.records.iter().map(short).collect::<Vec<_>>())
        }
        Message::Digest(digest) => {
            format!("digest of {}, answer {}", digest.entries.len(), digest.answer)
        }
        Message::Slots(slots) => format!("slots of {:?}", slots.origin),
        Message::Hello(_)
        | Message::Cable(_)
        | Message::RosterDigest(_)
        | Message::Roster(_)
        | Message::Join(_)
        | Message::Welcome(_)
        | Message::Unwelcome(_) => format!("{message:?}"),
    }
}
