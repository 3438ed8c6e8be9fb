//! A node of a world: what is on its disk, what its clocks say, and its switch while it runs.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ether::VlanId;
use fabric::{Bridge, PortId, PortKind, StormControl, VlanPolicy};
use mesh::engine::Config;
use mesh::message::Name;
use mesh::probe::PortClass;
use mesh::record::Incarnation;
use mesh::{Mesh, Nick, NodeKey};
use segment::Segment;

use crate::dice::Dice;
use crate::notary::Notary;
use crate::share::Share;
use crate::world::Event;

/// What calendars show when a world begins.
const BEGINNING: i64 = 1_700_000_000;

/// What a cramped node holds: fewer than a world has.
pub(crate) const FEW_STATIONS: usize = 5;
pub(crate) const FEW_OWN_STATIONS: usize = 2;

/// What a port number stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Free,
    /// An access port, by its place among the node's.
    Access(usize),
    /// An end of a cable.
    Cable(usize, usize),
}

/// A node that does nothing for a while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop {
    pub(crate) since: Duration,
    pub(crate) clock_runs: bool,
}

pub(crate) struct Node {
    pub(crate) key: NodeKey,
    /// What lives on its disk: the epoch.
    pub(crate) disk: Option<u64>,
    /// Seconds by which its calendar is wrong.
    pub(crate) calendar: i64,
    /// Nanoseconds by which its clock is ahead of the world's.
    ahead: i64,
    pub(crate) switch: Option<Segment<Notary>>,
    /// How often it was started.
    pub(crate) boots: u64,
    pub(crate) stop: Option<Stop>,
    /// What came while it was stopped.
    pub(crate) held: VecDeque<Event>,
    /// When it asked to be woken.
    pub(crate) wake_at: Option<Duration>,
    /// By number.
    pub(crate) ports: Vec<Use>,
    /// The VLAN of each access port.
    pub(crate) vlans: Vec<u16>,
    pub(crate) is_cramped: bool,
    /// How often it was woken in which second.
    pub(crate) wakes: (u64, u32),
}

impl Node {
    pub(crate) fn new(key: NodeKey, vlans: Vec<u16>, is_cramped: bool, dice: &mut Dice) -> Self {
        Self {
            key,
            disk: Some(1 + dice.next() % 1000),
            calendar: 0,
            // No two clocks were started at the same time.
            ahead: i64::try_from(dice.next() % 1_000_000_000_000).expect("a thousand seconds fit"),
            switch: None,
            boots: 0,
            stop: None,
            held: VecDeque::new(),
            wake_at: None,
            ports: Vec::new(),
            vlans,
            is_cramped,
            wakes: (0, 0),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.switch.is_some() && self.stop.is_none()
    }

    /// What its clock shows at a moment of the world.
    pub(crate) fn clock(&self, base: Instant, now: Duration) -> Instant {
        let ahead = Duration::from_nanos(self.ahead.unsigned_abs());
        if self.ahead < 0 { base + now - ahead } else { base + now + ahead }
    }

    /// The moment of the world at which its clock shows something.
    pub(crate) fn moment(&self, base: Instant, shown: Instant) -> Duration {
        let shown = shown.saturating_duration_since(base);
        let ahead = Duration::from_nanos(self.ahead.unsigned_abs());
        if self.ahead < 0 { shown + ahead } else { shown.saturating_sub(ahead) }
    }

    pub(crate) fn leap(&mut self, nanos: i64) {
        self.ahead += nanos;
    }

    /// What its calendar shows, in seconds since 1970.
    fn seconds(&self, now: Duration) -> u64 {
        let seconds = BEGINNING + self.calendar + i64::try_from(now.as_secs()).unwrap_or(0);
        u64::try_from(seconds).unwrap_or(0)
    }

    /// The access port at one of its places: its number.
    pub(crate) fn access(place: usize) -> u32 {
        u32::try_from(place).expect("there are few") + 1
    }

    /// What leads to a port of that number.
    pub(crate) fn used_as(&self, port: u32) -> Use {
        self.ports.get(port as usize).copied().unwrap_or(Use::Free)
    }

    /// The lowest number that is free.
    pub(crate) fn free_port(&mut self, used: Use) -> u32 {
        let at = self.ports.iter().skip(1).position(|used| *used == Use::Free);
        let at = at.map_or(self.ports.len(), |at| at + 1);
        if at == self.ports.len() {
            self.ports.push(Use::Free);
        }
        self.ports[at] = used;
        u32::try_from(at).expect("there are few")
    }

    /// The class of an access port.
    pub(crate) fn class(place: usize) -> PortClass {
        if place == 0 { PortClass::Guest } else { PortClass::Tap }
    }

    /// Starts it, as `node/src/driver.rs` does.
    pub(crate) fn boot(
        &mut self,
        name: &str,
        ageing: Duration,
        base: Instant,
        now: Duration,
        dice: &mut Dice,
    ) {
        let seconds = self.seconds(now);
        let epoch = self.disk.map_or(seconds, |epoch| epoch + 1);
        self.disk = Some(epoch);
        let instance = seconds << 32 | dice.next() & 0xffff_ffff;
        let nick = std::iter::repeat_with(|| u32::try_from(dice.next() >> 32).unwrap_or(0))
            .find_map(Nick::new)
            .expect("not all numbers are 0");
        let incarnation = Incarnation { epoch, instance };
        let mut config = Config::new(self.key, Name::lossy(name), nick, incarnation, dice.next());
        if self.is_cramped {
            config.max_stations = FEW_STATIONS;
            config.max_own_stations = FEW_OWN_STATIONS;
        }
        let clock = self.clock(base, now);
        let mesh = Mesh::new(config, Notary(self.key), clock);
        let storm_control = StormControl {
            broadcast: fabric::FrameRate(200),
            multicast: fabric::FrameRate(200),
            unknown_unicast: fabric::FrameRate(200),
            ..StormControl::STANDARD
        };
        let config =
            fabric::Config { ageing_time: ageing, storm_control, ..fabric::Config::default() };
        let mut bridge = Bridge::new(config);
        for vlan in [10, 20] {
            bridge.create_vlan(VlanId(vlan)).expect("a new bridge has none");
        }
        let config = segment::Config { probes: true, guards: true, seed: instance };
        self.switch = Some(Segment::new(bridge, mesh, config));
        self.boots += 1;
        self.stop = None;
        self.held.clear();
        self.wake_at = None;
        self.ports = vec![Use::Free];
        for place in 0..self.vlans.len() {
            self.ports.push(Use::Access(place));
            self.plug(place, clock);
        }
    }

    /// Something is plugged in at an access port.
    pub(crate) fn plug(&mut self, place: usize, clock: Instant) {
        let Some(switch) = &mut self.switch else { return };
        let (port, vlan) = (Self::access(place), VlanId(self.vlans[place]));
        let number = PortId(port);
        switch.bridge.add_port(number, PortKind::Access);
        let policy = VlanPolicy::Aware { untagged: Some(vlan), tagged: Default::default() };
        switch.bridge.set_vlan_policy(number, &policy).expect("the VLANs were made at the start");
        let class = Self::class(place);
        switch.port_up(number, class, &format!("port{port}"), &mut Share::default(), clock);
    }

    /// It is unplugged.
    pub(crate) fn unplug(&mut self, place: usize, clock: Instant) {
        let Some(switch) = &mut self.switch else { return };
        let port = PortId(Self::access(place));
        switch.forget_port(port, clock);
        switch.bridge.remove_port(port);
        switch.follow(&mut Share::default(), clock);
    }
}
