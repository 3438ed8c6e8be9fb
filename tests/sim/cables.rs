//! Cables: connections that come up and end as those of `vdecable` do, a stream that loses nothing
//! and keeps its order, and datagrams that may be lost, late, and come twice.

use std::rc::Rc;
use std::time::Duration;

use mesh::beat::{Beat, TYPE_BEAT};
use mesh::engine::{LinkId, Neighbour, Room};
use mesh::framing::{Packer, Reassembler, Received, RecordHeader};
use mesh::message::{Decoder, Message, Name, encode};

use crate::node::Use;
use crate::shapes::Run;
use crate::world::{Event, World};

/// After so long without a word an end gives the connection up, as in `cable/src/transport.rs`.
const IDLE: Duration = Duration::from_secs(5);

/// What may wait for a slow stream before the mesh is told that there is no room, by the time it
/// takes.
const OUTBOX: Duration = Duration::from_millis(400);

/// The same for one through which nothing gets: 128 KiB, as in `cable/src/link.rs`.
const OUTBOX_OCTETS: usize = 128 << 10;

/// What a cable carries.
#[derive(Debug, Clone)]
pub(crate) enum Cargo {
    /// On the control stream.
    Message(Rc<[u8]>),
    Datagram(Rc<[u8]>),
    /// The other end does not know this connection.
    Reset,
}

#[derive(Debug)]
pub(crate) struct Cable {
    pub(crate) ends: [End; 2],
    delay: [Duration; 2],
    /// Nothing gets through from this end.
    pub(crate) cut: [bool; 2],
    pub(crate) is_plugged: bool,
    /// Somebody is about to dial, or does.
    is_dialling: bool,
    /// Of a thousand datagrams.
    pub(crate) loss: usize,
    pub(crate) twice: usize,
    pub(crate) jitter: Duration,
    /// Octets a second of the control stream.
    pub(crate) rate: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) link: Option<Link>,
}

/// A connection as one end sees it.
#[derive(Debug)]
pub(crate) struct Link {
    session: u64,
    /// The port that it has at its node.
    pub(crate) port: u32,
    heard: Duration,
    packer: Packer,
    reassembler: Reassembler<Rc<[u8]>>,
    decoder: Decoder,
    /// When the last message that was sent arrives.
    arrives: Duration,
    /// When the stream has sent what was posted.
    sent: Duration,
    /// What waits while nothing gets through.
    held: Vec<Rc<[u8]>>,
    is_full: bool,
}

impl Cable {
    pub(crate) fn new(run: &Run) -> Self {
        Self {
            ends: run.ends.map(|node| End { node, link: None }),
            delay: run.delay,
            cut: [false; 2],
            is_plugged: true,
            is_dialling: false,
            loss: 0,
            twice: 0,
            jitter: Duration::ZERO,
            rate: None,
        }
    }

    /// Whether it can be used, as far as it is the cable's.
    pub(crate) fn works(&self) -> bool {
        self.is_plugged && self.cut == [false; 2]
    }

    /// What a frame takes there and back.
    pub(crate) fn round_trip(&self) -> Duration {
        self.delay[0] + self.delay[1]
    }
}

impl World {
    /// The end that dials, which is the first, will do so.
    pub(crate) fn call(&mut self, cable: usize) {
        let line = &mut self.cables[cable];
        if line.is_plugged && line.ends[0].link.is_none() && !line.is_dialling {
            line.is_dialling = true;
            self.call_later(cable);
        }
    }

    fn call_later(&mut self, cable: usize) {
        let wait = self.dice.time(Duration::from_millis(100), Duration::from_millis(1000));
        self.schedule(self.now + wait, Event::Dial { cable });
    }

    /// It tries.
    pub(crate) fn dial(&mut self, cable: usize) {
        let Cable { ends, is_plugged, .. } = &self.cables[cable];
        if !is_plugged || ends[0].link.is_some() {
            self.cables[cable].is_dialling = false;
            return;
        }
        let can_meet =
            self.cables[cable].works() && ends.iter().all(|end| self.nodes[end.node].is_running());
        if !can_meet {
            self.call_later(cable);
            return;
        }
        let session = self.fresh();
        let takes = self.cables[cable].round_trip() * 2;
        for end in [1, 0] {
            self.schedule(self.now + takes, Event::Open { cable, end, session });
        }
    }

    pub(crate) fn open(&mut self, cable: usize, end: usize, session: u64) {
        let at = self.cables[cable].ends[end].node;
        let other = self.cables[cable].ends[1 - end].node;
        if end == 0 {
            self.cables[cable].is_dialling = false;
        }
        if !self.cables[cable].is_plugged || !self.nodes[at].is_running() {
            self.call(cable);
            return;
        }
        // A newer connection takes the place of an older one.
        self.end_link(cable, end);
        let port = self.nodes[at].free_port(Use::Cable(cable, end));
        let neighbour =
            Neighbour { key: self.nodes[other].key, name: Name::lossy(&format!("n{other}")) };
        let clock = self.clock(at);
        let Some(switch) = &mut self.nodes[at].switch else { return };
        switch.bridge.add_port(fabric::PortId(port), fabric::PortKind::Cable);
        if switch.mesh.handle_link_up(LinkId(port), neighbour, clock).is_err() {
            // A cable that leads to the same key; it stays useless.
            switch.bridge.remove_port(fabric::PortId(port));
            self.nodes[at].ports[port as usize] = Use::Free;
            return;
        }
        self.trace(|| format!("n{at} has cable {cable} as link {port}"));
        self.cables[cable].ends[end].link = Some(Link {
            session,
            port,
            heard: self.now,
            packer: Packer::new(),
            reassembler: Reassembler::new(),
            decoder: Decoder::new(),
            arrives: self.now,
            sent: self.now,
            held: Vec::new(),
            is_full: false,
        });
        self.schedule(self.now + IDLE, Event::Idle { cable, end, session });
        self.rouse(at);
    }

    /// An end has no connection any more, and says so to nobody.
    pub(crate) fn end_link(&mut self, cable: usize, end: usize) {
        let Some(link) = self.cables[cable].ends[end].link.take() else { return };
        let at = self.cables[cable].ends[end].node;
        let clock = self.clock(at);
        self.trace(|| format!("n{at} has lost cable {cable}, link {}", link.port));
        if let Some(switch) = &mut self.nodes[at].switch {
            switch.mesh.handle_link_down(LinkId(link.port), clock);
            switch.bridge.remove_port(fabric::PortId(link.port));
            self.nodes[at].ports[link.port as usize] = Use::Free;
            self.rouse(at);
        }
        self.call(cable);
    }

    pub(crate) fn check_idle(&mut self, cable: usize, end: usize, session: u64) {
        let Some(link) = &self.cables[cable].ends[end].link else { return };
        if link.session != session {
            return;
        }
        if self.now >= link.heard + IDLE {
            self.end_link(cable, end);
        } else {
            let at = link.heard + IDLE;
            self.schedule(at, Event::Idle { cable, end, session });
        }
    }

    pub(crate) fn make_room(&mut self, cable: usize, end: usize, session: u64) {
        let at = self.cables[cable].ends[end].node;
        let now = self.now;
        let Some(link) = &mut self.cables[cable].ends[end].link else { return };
        if link.session != session || !link.is_full || link.sent > now || !link.held.is_empty() {
            return;
        }
        link.is_full = false;
        let id = LinkId(link.port);
        if let Some(switch) = &mut self.nodes[at].switch {
            switch.mesh.handle_room(id, Room::Open);
            self.rouse(at);
        }
    }

    pub(crate) fn send_message(&mut self, cable: usize, end: usize, message: &Message) {
        self.send_octets(cable, end, encode(message).into());
        let at = self.cables[cable].ends[end].node;
        let now = self.now;
        let Some(link) = &mut self.cables[cable].ends[end].link else { return };
        let held: usize = link.held.iter().map(|octets| octets.len()).sum();
        if !link.is_full && (link.sent > now + OUTBOX || held > OUTBOX_OCTETS) {
            link.is_full = true;
            let (id, sent, session) = (LinkId(link.port), link.sent, link.session);
            if let Some(switch) = &mut self.nodes[at].switch {
                switch.mesh.handle_room(id, Room::Full);
            }
            self.schedule(sent, Event::Room { cable, end, session });
        }
    }

    fn send_octets(&mut self, cable: usize, end: usize, octets: Rc<[u8]>) {
        let late = self.lateness(cable);
        let line = &mut self.cables[cable];
        let Some(link) = &mut line.ends[end].link else { return };
        if line.cut[end] {
            link.held.push(octets);
            return;
        }
        let takes = line.rate.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(octets.len() as f64 / rate as f64)
        });
        link.sent = link.sent.max(self.now) + takes;
        link.arrives = link.arrives.max(link.sent + line.delay[end] + late);
        let (at, session) = (link.arrives, link.session);
        let cargo = Cargo::Message(octets);
        self.schedule(at, Event::Arrive { cable, end: 1 - end, session, cargo });
    }

    /// How much later than usual something arrives on a stream: lost packets are sent again.
    fn lateness(&mut self, cable: usize) -> Duration {
        let Cable { jitter, loss, .. } = self.cables[cable];
        let again = self.cables[cable].round_trip() + Duration::from_millis(20);
        let mut late = self.dice.time(Duration::ZERO, jitter);
        while self.dice.chance(loss.min(500)) {
            late += again;
        }
        late
    }

    /// What waited for a cable to carry again.
    pub(crate) fn release(&mut self, cable: usize) {
        for end in 0..2 {
            if self.cables[cable].cut[end] {
                continue;
            }
            let Some(link) = &mut self.cables[cable].ends[end].link else { continue };
            let held = std::mem::take(&mut link.held);
            let session = link.session;
            for octets in held {
                self.send_octets(cable, end, octets);
            }
            let sent = self.cables[cable].ends[end].link.as_ref().map(|link| link.sent);
            self.schedule(sent.unwrap_or(self.now), Event::Room { cable, end, session });
        }
    }

    pub(crate) fn send_datagram(&mut self, cable: usize, end: usize, octets: Rc<[u8]>) {
        let line = &self.cables[cable];
        let Some(link) = &line.ends[end].link else { return };
        let (session, delay, jitter) = (link.session, line.delay[end], line.jitter);
        if line.cut[end] || self.dice.chance(self.cables[cable].loss) {
            return;
        }
        let copies = 1 + usize::from(self.dice.chance(self.cables[cable].twice));
        for _ in 0..copies {
            let at = self.now + delay + self.dice.time(Duration::ZERO, jitter);
            let cargo = Cargo::Datagram(octets.clone());
            self.schedule(at, Event::Arrive { cable, end: 1 - end, session, cargo });
        }
    }

    pub(crate) fn send_frame(
        &mut self,
        cable: usize,
        end: usize,
        header: &RecordHeader,
        frame: &[u8],
    ) {
        let Some(link) = &mut self.cables[cable].ends[end].link else { return };
        link.packer.push(header, frame).expect("a world's frames are short");
        link.packer.flush();
        let Some(packed) = link.packer.take() else { return };
        let datagrams: Vec<Rc<[u8]>> =
            packed.ranges().map(|range| packed.octets()[range].into()).collect();
        for datagram in datagrams {
            self.send_datagram(cable, end, datagram);
        }
    }

    pub(crate) fn arrive(&mut self, cable: usize, end: usize, session: u64, cargo: &Cargo) {
        let at = self.cables[cable].ends[end].node;
        if self.nodes[at].switch.is_none() {
            return;
        }
        let now = self.now;
        let link = self.cables[cable].ends[end].link.as_mut();
        let Some(link) = link.filter(|link| link.session == session) else {
            let is_reset = matches!(cargo, Cargo::Reset);
            if !is_reset && !self.cables[cable].cut[end] {
                let at = now + self.cables[cable].delay[end];
                let cargo = Cargo::Reset;
                self.schedule(at, Event::Arrive { cable, end: 1 - end, session, cargo });
            }
            return;
        };
        link.heard = now;
        match cargo {
            Cargo::Reset => self.end_link(cable, end),
            Cargo::Message(octets) => {
                link.decoder.handle_bytes(octets);
                while let Some(link) = &mut self.cables[cable].ends[end].link
                    && let Some(message) = link.decoder.poll_message().expect("it was encoded")
                {
                    let id = LinkId(link.port);
                    self.hear(cable, end, id, message);
                }
            }
            Cargo::Datagram(octets) if octets[0] == TYPE_BEAT => {
                let id = LinkId(link.port);
                let beat = Beat::parse(octets).expect("it was encoded");
                let clock = self.clock(at);
                if let Some(switch) = &mut self.nodes[at].switch {
                    switch.mesh.handle_beat(id, &beat, clock);
                }
                self.rouse(at);
            }
            Cargo::Datagram(octets) => {
                let mut received = Received::new();
                let port = link.port;
                let result = link.reassembler.handle_datagram(octets.clone(), &mut received);
                if let Err(fault) = result {
                    self.watch.fail("framing", || fault.to_string());
                }
                for (header, frame) in received.iter() {
                    self.carry_on(at, port, header, frame);
                }
            }
        }
    }

    /// A rogue at the other end of a cable says something.
    pub(crate) fn hear_from_rogue(&mut self, cable: usize, end: usize, message: Message) {
        if let Some(port) = self.link_of(cable, end) {
            self.hear(cable, end, LinkId(port), message);
        }
    }

    /// A message comes out of a cable.
    fn hear(&mut self, cable: usize, end: usize, id: LinkId, message: Message) {
        let at = self.cables[cable].ends[end].node;
        let clock = self.clock(at);
        let Some(switch) = &mut self.nodes[at].switch else { return };
        if let Err(fault) = switch.mesh.handle_message(id, message, clock) {
            self.watch.fail("fault", || format!("n{at} on cable {cable}: {fault}"));
        }
        self.rouse(at);
    }
}
