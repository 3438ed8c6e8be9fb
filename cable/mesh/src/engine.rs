//! One node's part in the mesh: who is there, how to get to them, and who owns which station.
//!
//! Owns the protocol between nodes from the first message after `Hello` on. Leaves to the shell the
//! connections, the keys ([`Authority`]), the clock, and frames, of which it is asked where they go.
//! `PROTOCOL.md` beside this package is normative.
//!
//! Tell it what happens (`handle_*`, with the time), then poll what it wants until there is no
//! more: [`Mesh::poll_transmit`], [`Mesh::poll_station`], [`Mesh::poll_probe`],
//! [`Mesh::poll_block`], [`Mesh::poll_packet`], [`Mesh::poll_echo`],
//! [`Mesh::poll_inquiry`], [`Mesh::poll_stations`], [`Mesh::poll_event`]; and call [`Mesh::handle_timeout`] when
//! [`Mesh::poll_timeout`] says.

mod arrivals;
mod budget;
mod config;
mod database;
mod echo;
mod event;
mod forwarding;
mod gateways;
mod inquiry;
mod link;
mod liveness;
mod loops;
mod mobility;
mod notices;
mod origin;
mod packets;
mod receive;
mod routing;
mod stations;
mod topology;
mod transmit;
mod view;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::mem::Discriminant;
use std::time::{Duration, Instant};

use crate::authority::{Authority, NodeKey};
use crate::beat::Beat;
use crate::message::{Message, Name};
use crate::nick::Nick;
use crate::random::Random;
use crate::record::{MAX_LINKS, Slot};
use arrivals::Arrivals;
use budget::Budget;
use database::{Database, NodeIndex};
use echo::Echoes;
use forwarding::Forwarding;
use gateways::Gateways;
use inquiry::Inquiries;
use link::Link;
use liveness::Transition;
use loops::Loops;
use notices::OwnNotices;
use origin::Origin;
use packets::Packets;
use routing::Routing;
use stations::Stations;

pub use config::Config;
pub use echo::{EchoError, EchoId, EchoOutcome};
pub use event::{DownReason, Event, RefusalReason, Who};
pub use forwarding::{FloodDrop, FloodLinks, NextHop};
pub use gateways::GatewayView;
pub use inquiry::{Inquiry, InquiryId};
pub use liveness::Silence;
pub use loops::{PortState, ProbeVerdict};
pub use mobility::{Heard, StationChange, StationVerdict, StationView};
pub use packets::PacketOut;
pub use view::{CableView, Counters, LinkView, NodeView, RouteView, Sizes};

/// A cable of this node, by a number of the shell's choice that is not in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// An access port of this node, by the shell's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u32);

/// The node at the other end of a cable, as the handshake and its `Hello` tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Its proved key.
    pub key: NodeKey,
    /// What it calls itself.
    pub name: Name,
}

/// The cable cannot be part of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Both ends have one key.
    #[error("the cable leads to this node itself")]
    Own,
    /// The number is in use.
    #[error("there is a cable with this number already")]
    InUse,
    /// There are as many as there may be.
    #[error("there are {MAX_LINKS} cables already; take one away, or reach the node by others")]
    TooMany,
}

/// The other end broke the protocol: close the connection, and say this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolFault {
    /// No such cable; it was taken down meanwhile.
    #[error("message on a cable that is not there")]
    UnknownLink,
    /// A message that must come once came again.
    #[error("a second {0}")]
    Again(&'static str),
    /// A message that has no place in a mesh.
    #[error("a message about the roster")]
    Misplaced,
    /// A digest that is not in order.
    #[error("a digest that is not in ascending order of key")]
    Order,
}

/// Something to be sent over a cable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// By which.
    pub link: LinkId,
    /// What.
    pub payload: Payload,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// On the control stream, in this order.
    Message(Message),
    /// As a datagram. It may be lost, and should not wait behind frames.
    Beat(Beat),
}

/// Whether the shell has room for more messages on a cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Send more.
    Open,
    /// Hold messages back; what they would say is kept, and what is outdated by then is not sent.
    Full,
}

/// A node of the mesh. See the [module](self).
#[derive(Clone)]
pub struct Mesh<A> {
    authority: A,
    config: Config,
    now: Instant,
    random: Random,
    database: Database,
    /// Cached [`Database::digest`].
    digest: Option<u64>,
    own: NodeIndex,
    origin: Origin,
    links: BTreeMap<LinkId, Link>,
    arrivals: Arrivals,
    /// Where [`Mesh::poll_transmit`] looks first, so that no cable waits for another.
    turn: LinkId,
    beats: VecDeque<(LinkId, Beat)>,
    routing: Routing,
    forwarding: Forwarding,
    stations: Stations,
    /// When changes of this node's stations are to be told, and when they last were.
    flush_at: Option<Instant>,
    flushed_at: Instant,
    loops: Loops,
    packets: Packets,
    echoes: Echoes,
    /// When a loop was found, and when the moves that it caused are to be forgotten.
    forgive: Option<(Instant, Instant)>,
    forgive_budget: Budget,
    inquiries: Inquiries,
    notices: OwnNotices,
    gateways: Gateways,
    events: event::Events,
    counters: Counters,
    /// How many more alarms of each kind are told.
    alarms: HashMap<Discriminant<Event>, Budget, BuildHasherDefault<DefaultHasher>>,
}

impl<A> fmt::Debug for Mesh<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh")
            .field("key", &self.config.key)
            .field("nodes", &self.database.len())
            .field("links", &self.links.len())
            .finish_non_exhaustive()
    }
}

impl<A: Authority> Mesh<A> {
    /// A mesh of one node.
    pub fn new(config: Config, authority: A, now: Instant) -> Self {
        let mut random = Random::new(config.seed);
        let mut database = Database::new(config.max_nodes, config.max_record_octets);
        let mut origin = Origin::new(&config, now);
        let own = origin.begin(&config, &mut database, &authority, now);
        let mut forwarding = Forwarding::new(config.nick, random.next_u32());
        forwarding.add_nick(config.nick);
        Self {
            routing: Routing::new(config.key, now),
            stations: Stations::new(config.max_stations, now),
            flush_at: None,
            flushed_at: now,
            loops: Loops::new(random.next_u64(), now),
            packets: Packets::default(),
            echoes: Echoes::new(random.next_u64()),
            forgive: None,
            forgive_budget: mobility::forgive_budget(now),
            inquiries: Inquiries::new(random.next_u64(), now),
            notices: OwnNotices::new(now),
            gateways: Gateways::default(),
            authority,
            config,
            now,
            random,
            database,
            digest: None,
            own,
            origin,
            links: BTreeMap::new(),
            arrivals: Arrivals::default(),
            turn: LinkId(0),
            beats: VecDeque::new(),
            forwarding,
            events: event::Events::default(),
            counters: Counters::default(),
            alarms: HashMap::default(),
        }
    }

    /// What checks signatures here, for the shell to tell it of members.
    pub fn authority_mut(&mut self) -> &mut A {
        &mut self.authority
    }

    /// This node's key.
    pub fn key(&self) -> NodeKey {
        self.config.key
    }

    /// This node's nick; see [`Event::NickChanged`].
    pub fn nick(&self) -> Nick {
        self.forwarding.nick()
    }

    /// Takes a cable in whose two ends have said `Hello`.
    ///
    /// # Errors
    /// [`LinkError`]; the connection should be closed.
    pub fn handle_link_up(
        &mut self,
        id: LinkId,
        neighbour: Neighbour,
        now: Instant,
    ) -> Result<(), LinkError> {
        let now = self.advance(now);
        if neighbour.key == self.config.key {
            return Err(LinkError::Own);
        }
        if self.links.contains_key(&id) {
            return Err(LinkError::InUse);
        }
        let siblings = self
            .links
            .values()
            .filter(|link| link.neighbour.key == neighbour.key)
            .fold(0, |mask, link| mask | link.mask());
        let bit = self.forwarding.attach(id, siblings).ok_or(LinkError::TooMany)?;
        let numbers = (self.random.next_u32(), self.random.next_u32());
        let link = Link::new(id, neighbour, bit, numbers, &self.config, now);
        self.links.insert(id, link);
        self.tick_link(id, now);
        Ok(())
    }

    /// Takes out a cable whose connection has ended, however it did. Nothing happens if it is not
    /// there.
    pub fn handle_link_down(&mut self, id: LinkId, now: Instant) {
        let now = self.advance(now);
        let Some(link) = self.links.remove(&id) else { return };
        self.forwarding.detach(link.bit);
        self.routing.detach(link.bit);
        self.beats.retain(|(beat, _)| *beat != id);
        self.arrivals.forget(id);
        if link.is_up() {
            let peer = self.who_is(&link.neighbour);
            self.events.push(Event::LinkDown { link: id, peer, reason: DownReason::Closed });
        }
        self.own_links_changed(now);
    }

    /// Takes in a beat: a datagram of type [`TYPE_BEAT`](crate::beat::TYPE_BEAT).
    pub fn handle_beat(&mut self, id: LinkId, beat: &Beat, now: Instant) {
        let now = self.advance(now);
        let digest = self.current_digest();
        let Some(link) = self.links.get_mut(&id) else { return };
        link.live.handle_beat(beat, now);
        if link.is_up() {
            link.compare_digests(beat.digest == digest, now);
        }
        self.tick_link(id, now);
    }

    /// Takes note that the network says of a cable that nobody is at its other end any more (ICMP:
    /// port unreachable). Without an answer to that it is given up soon.
    pub fn handle_hint(&mut self, id: LinkId, now: Instant) {
        let now = self.advance(now);
        if let Some(link) = self.links.get_mut(&id) {
            link.live.handle_hint(now);
            self.tick_link(id, now);
        }
    }

    /// Says whether the shell has room for more messages on a cable. At first it has.
    pub fn handle_room(&mut self, id: LinkId, room: Room) {
        if let Some(link) = self.links.get_mut(&id) {
            link.is_blocked = room == Room::Full;
        }
    }

    /// Takes leave: the others are told that this node has no cables any more, and take other ways
    /// at once. Send what [`poll_transmit`](Self::poll_transmit) gives before closing connections.
    pub fn handle_leave(&mut self, now: Instant) {
        let now = self.advance(now);
        self.origin.is_leaving = true;
        self.own_links_changed(now);
        self.issue_link_state(now);
    }

    /// Does what is due. Early or needless calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.advance(now);
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for id in links {
            self.tick_link(id, now);
        }
        self.check_what_waits(now);
        self.issue_what_is_due(now);
        self.flush_what_is_due(now);
        self.route_what_is_due(now);
        self.probe_what_is_due(now);
        self.forgive_what_is_due(now);
        self.notify_what_is_due(now);
        self.echoes.expire(now);
        self.inquiries.expire(now);
        self.look_at_gateways_when_due(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let links = self.links.values().map(|link| link.live.next_timeout(self.now)).min();
        let timers = [
            links,
            self.has_unchecked().then_some(self.now),
            self.flush_at,
            self.origin.next_timeout(),
            self.routing.next_timeout(),
            self.loops.next_timeout(),
            self.forgive.map(|(_, due)| due),
            self.notices.next_timeout(),
            self.echoes.next_timeout(),
            self.inquiries.next_timeout(),
            self.next_gateway_look(),
        ];
        timers.into_iter().flatten().min()
    }

    /// What an operator should hear of, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Where a frame for one node goes.
    ///
    /// `from` is the cable that it came by, none if it came in here. Frames with the same `flow`, a
    /// hash of their addresses, take the same of several equally good cables.
    pub fn next_hop(&self, egress: Nick, from: Option<LinkId>, flow: u32) -> NextHop {
        let from = from.and_then(|from| self.links.get(&from)).map(|link| link.bit);
        self.forwarding.next_hop(egress, from, flow)
    }

    /// The hop count that a frame for one node begins with.
    pub fn initial_hops(&self, egress: Nick) -> u8 {
        self.forwarding.initial_hops(egress)
    }

    /// Judges a flooded frame that came by a cable, remembers it, and says where it goes on. If it
    /// is not dropped, it is for this node's own ports too. Whether its hops allow it to go on is
    /// for the caller to see.
    ///
    /// # Errors
    /// Why it is dropped.
    pub fn flood(
        &mut self,
        ingress: Nick,
        sequence: u32,
        from: LinkId,
    ) -> Result<FloodLinks<'_>, FloodDrop> {
        let from = self.links.get(&from).ok_or(FloodDrop::UnknownLink)?.bit;
        self.forwarding.flood(ingress, sequence, from)
    }

    /// A flood that begins here: its sequence, the hop count that it begins with, and the cables
    /// it takes.
    pub fn originate_flood(&mut self) -> (u32, u8, FloodLinks<'_>) {
        self.forwarding.originate_flood()
    }

    /// Time that runs backwards stands still.
    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn current_digest(&mut self) -> u64 {
        *self.digest.get_or_insert_with(|| self.database.digest())
    }

    /// Looks at the clock for one cable.
    fn tick_link(&mut self, id: LinkId, now: Instant) {
        let digest = self.current_digest();
        let Some(link) = self.links.get_mut(&id) else { return };
        let was_up = link.is_up();
        let transition = link.live.tick(now);
        if let Some(beat) = link.live.poll_beat(digest, now) {
            self.beats.push_back((id, beat));
        }
        let is_up = link.is_up();
        let cost_changed = is_up && link.update_cost(now);
        if is_up != was_up {
            let silence = match transition {
                Some(Transition::Down(silence)) => silence,
                _ => Silence::Inbound,
            };
            self.link_changed(id, silence, now);
        } else if cost_changed {
            self.own_links_changed(now);
        }
    }

    /// A cable has come into use or gone out of it.
    fn link_changed(&mut self, id: LinkId, silence: Silence, now: Instant) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let is_up = link.is_up();
        if is_up {
            link.open();
        }
        self.forwarding.set_up(link.mask(), is_up);
        let neighbour = link.neighbour.clone();
        let peer = self.who_is(&neighbour);
        self.events.push(if is_up {
            Event::LinkUp { link: id, peer }
        } else {
            Event::LinkDown { link: id, peer, reason: DownReason::Silent(silence) }
        });
        self.own_links_changed(now);
    }

    fn who_is(&self, neighbour: &Neighbour) -> Who {
        Who { key: neighbour.key, name: neighbour.name.clone() }
    }

    fn who(&self, key: NodeKey) -> Who {
        let name = self.database.by_key(&key).map(|node| node.state.name.clone());
        let name = name.or_else(|| {
            let link = self.links.values().find(|link| link.neighbour.key == key)?;
            Some(link.neighbour.name.clone())
        });
        Who { key, name: name.unwrap_or_default() }
    }

    /// All other ends get a record, but the one that it came from.
    fn spread(&mut self, slot: Slot, origin: NodeKey, from: Option<LinkId>) {
        self.digest = None;
        for link in self.links.values_mut().filter(|link| link.is_up()) {
            if Some(link.id) == from {
                link.pending.remove(&(slot, origin));
            } else {
                link.pending.insert((slot, origin));
            }
        }
    }
}

/// The earlier of a timer that may not be set and another time.
fn earlier(timer: Option<Instant>, other: Instant) -> Instant {
    timer.map_or(other, |timer| timer.min(other))
}

/// How long after a change other nodes may still go by what was before.
const CONVERGENCE: Duration = Duration::from_secs(2);
