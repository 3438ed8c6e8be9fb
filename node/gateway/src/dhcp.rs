//! The DHCPv4 server (RFC 2131): answers on the virtual wire, remembers on disk.
//!
//! Pure. The caller shows every untagged frame that reaches the gateway's port: those to the
//! gateway's MAC address (answers to ARP probes and unicast renewals) and those to all. What the
//! caller fetches after each call:
//!
//! | from | and then |
//! |---|---|
//! | [`Server::poll_transmit`] | sends the frame from the gateway's port |
//! | [`Server::poll_store`] | makes it durable, then [`Server::handle_stored`] |
//! | [`Server::poll_event`] | tells the operator |
//! | [`Server::poll_timeout`] | calls [`Server::handle_timeout`] at that moment |
//!
//! An ACK leaves only after its lease is on disk. While the log cannot be written there is no new
//! lease, but clients keep the addresses that they have: their renewals are in memory alone, and a
//! crash before [`Event::Durable`] takes them back. Such an address goes to another client last of
//! all, and not without a probe.
//!
//! The server is authoritative: the wire is its own, so it refuses addresses that cannot be right
//! (NAK) and rebuilds leases that it lost where no other client is in the way.

mod admin;
mod answer;
mod config;
mod conflict;
mod event;
mod message;
mod options;
mod reply;
mod store;
mod table;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ether::MacAddr;

pub use admin::NoSuchLease;
pub use config::{
    Config, ConfigError, MAX_POOL, MIN_IPV6_ONLY_WAIT, MIN_LEASE_TIME, Reservation,
    ReservationError, Route,
};
pub use event::{Counters, Event, Ignored, Lease, LeaseState, Source};
pub use store::{Store, StoreError, Ticket, Write};

use crate::hostname::Hostname;
use crate::lease_log::Loaded;
use crate::time::{BootId, Now};
use crate::wire::{Arp, Datagram, NoDatagram};
use conflict::Probes;
use message::{Kind, Malformed, Request};
use options::Standard;
use store::{Due, Manner, Pending};
use table::{State, Table};

/// IANA, Service Names: `bootps` and `bootpc`.
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// How long an address is known to be good for the client that it was probed for.
const VERIFIED: Duration = Duration::from_secs(60);

/// How often the operator hears of the same trouble.
const ALARM_INTERVAL: Duration = Duration::from_secs(60);

/// Frames and events that wait for the caller. The oldest event, the newest frame gives way.
const MAX_TRANSMIT: usize = 8192;
const MAX_EVENTS: usize = 1024;

/// The server.
#[derive(Debug)]
pub struct Server {
    config: Config,
    standard: Standard,
    boot: BootId,
    now: Now,
    table: Table,
    probes: Probes,
    store: Pending,
    transmit: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    counters: Counters,
    exhausted_alarm: Option<Duration>,
    rogue_alarm: Option<Duration>,
    /// The last claim to our own address.
    claim: Option<(Duration, MacAddr, Source)>,
}

/// A client's message and where it came from.
#[derive(Debug, Clone)]
struct Inbound<'a> {
    request: Request<'a>,
    source: Source,
    /// Who sent the frame: the client or a relay agent.
    station: MacAddr,
    /// The IPv4 source.
    from: Ipv4Addr,
}

impl Server {
    /// A server that continues where the log left off.
    ///
    /// Leases outside what the configuration can give are forgotten, reservations in the log that
    /// contradict it are ignored with an [`Event::ReservationIgnored`].
    ///
    /// # Errors
    /// [`ConfigError`] when the configuration cannot work.
    pub fn new(config: Config, log: Loaded, boot: BootId, now: Now) -> Result<Self, ConfigError> {
        config.validate()?;
        let sound = if log.damage.is_serious() { 0 } else { log.valid_len };
        let mut server = Self {
            standard: Standard::new(&config),
            table: Table::new(config.pool(), config.leases_per_port),
            config,
            boot,
            now,
            probes: Probes::default(),
            store: Pending::new(sound),
            transmit: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            exhausted_alarm: None,
            rogue_alarm: None,
            claim: None,
        };
        for reservation in server.config.reservations.clone() {
            server.keep(reservation, true)?;
        }
        server.restore(log.leases);
        if log.damage.is_serious() {
            server.expect_unknown_leases(now);
        }
        Ok(server)
    }

    /// There may be leases that the log does not tell of: another server had this wire meanwhile, or
    /// part of the log is lost. For as long as a lease lasts no address is given to a client that did
    /// not have it without a probe, whatever crowd is waiting.
    pub fn expect_unknown_leases(&mut self, now: Now) {
        self.advance(now);
        let time = self.config.lease_time.finite().unwrap_or(Duration::MAX);
        self.probes.be_careful_until(self.now.since_boot.saturating_add(time));
    }

    /// Takes a frame from the wire.
    ///
    /// What is no DHCP message for this server and no ARP message about a probed address is
    /// passed over without a trace; what is malformed is counted.
    pub fn handle_frame(&mut self, frame: &[u8], source: Source, now: Now) {
        self.advance(now);
        // What is flooded to find another station is not ours, whatever its IP address says.
        let to = frame.first_chunk().map(|to| MacAddr(*to));
        if !to.is_some_and(|to| to.is_group() || to == self.config.gateway_mac) {
            return;
        }
        if let Some(arp) = Arp::parse(frame) {
            return self.handle_arp(arp, source);
        }
        let datagram = match Datagram::parse(frame) {
            Ok(datagram) => datagram,
            Err(NoDatagram::Other) => return,
            Err(NoDatagram::Malformed) => return self.ignore(Ignored::BadPacket),
            Err(NoDatagram::Checksum) => return self.ignore(Ignored::BadChecksum),
        };
        if datagram.station == self.config.gateway_mac {
            return;
        }
        match (datagram.source_port, datagram.destination_port) {
            (SERVER_PORT, CLIENT_PORT) => self.handle_rogue(&datagram, source),
            (_, SERVER_PORT) if self.is_for_us(datagram.destination) => {
                self.handle_message(&datagram, source);
            }
            _ => {}
        }
    }

    /// Does what is due: offers after a silent probe, ends leases.
    pub fn handle_timeout(&mut self, now: Now) {
        self.advance(now);
        let now = self.now.since_boot;
        self.end_probes();
        while let Some(address) = self.table.due(now) {
            self.end(address);
        }
        if self.store.becomes_slow(now) {
            self.emit(Event::NotDurable(StoreError::Slow));
            self.release_renewals();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines =
            [self.probes.next_deadline(), self.table.next_deadline(), self.store.next_deadline()];
        let next = deadlines.into_iter().flatten().min()?;
        let wait = next.saturating_sub(self.now.since_boot);
        // A century is as good as never, where the clock ends before a lease.
        self.now.instant.checked_add(wait)
    }

    /// The next frame to send from the gateway's port.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.pop_front()
    }

    /// The next thing to tell the operator.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next write to make durable; `None` while one is under way.
    pub fn poll_store(&mut self) -> Option<Store> {
        let now = self.now.since_boot;
        let (manner, bytes) = match self.store.due(now, self.table.len())? {
            Due::Append(dirty) => (Manner::Append, self.encode(dirty)),
            Due::Compact(dirty) => (Manner::Compact, self.encode(dirty)),
            Due::Replace => (Manner::Replace, self.encode_all()),
        };
        Some(self.store.begin(now, manner, bytes))
    }

    /// Takes the report of a write, with the length that the log has now. Another ticket than that of
    /// the write under way is ignored.
    pub fn handle_stored(&mut self, ticket: Ticket, result: Result<u64, StoreError>, now: Now) {
        self.advance(now);
        match result {
            Ok(log_len) => {
                let Some((held, healed)) = self.store.succeeded(ticket, log_len) else { return };
                if healed {
                    self.emit(Event::Durable);
                }
                held.into_iter().for_each(|held| self.acknowledge(held));
            }
            Err(error) => {
                let now = self.now.since_boot;
                let Some((held, news)) = self.store.failed(ticket, error, now) else { return };
                if news {
                    self.emit(Event::NotDurable(error));
                }
                held.into_iter().for_each(|held| self.give_up(held));
            }
        }
    }

    /// Counters since the start.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Why the log cannot be written, if so.
    pub const fn not_durable(&self) -> Option<StoreError> {
        self.store.trouble()
    }

    /// The configuration, with the reservations that it came with.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The ports that have as many addresses as one may and asked for more within the last minute,
    /// and how many that is.
    pub fn full_sources(&self) -> (usize, Vec<Source>) {
        let since = self.now.since_boot.saturating_sub(ALARM_INTERVAL);
        (self.table.limit(), self.table.refused_since(since))
    }

    /// Who said within the last minute that the gateway's own address is its.
    pub fn claimant(&self) -> Option<(MacAddr, Source)> {
        let (since, station, source) = self.claim?;
        (!self.alarm_is_due(Some(since))).then_some((station, source))
    }

    /// Who has this name now.
    pub fn address_of(&self, name: &Hostname) -> Option<Ipv4Addr> {
        let (address, binding) = self.table.of_name(name)?;
        binding.is_live().then_some(address)
    }

    /// The name of whoever has this address now.
    pub fn name_of(&self, address: Ipv4Addr) -> Option<&Hostname> {
        let binding = self.table.get(address)?;
        binding.hostname.as_ref().filter(|_| binding.is_live())
    }

    fn advance(&mut self, now: Now) {
        let since_boot = now.since_boot.max(self.now.since_boot);
        self.now = Now { since_boot, ..now };
    }

    fn is_for_us(&self, destination: Ipv4Addr) -> bool {
        destination == Ipv4Addr::BROADCAST
            || destination == self.config.gateway
            || destination == self.config.subnet.broadcast()
    }

    fn handle_message(&mut self, datagram: &Datagram<'_>, source: Source) {
        let request = match Request::parse(datagram.payload) {
            Ok(request) => request,
            Err(Malformed::Header) => return self.ignore(Ignored::BadHeader),
            Err(Malformed::Option) => return self.ignore(Ignored::BadOption),
            Err(Malformed::Kind) => return self.ignore(Ignored::BadType),
        };
        let Datagram { station, source: from, .. } = *datagram;
        let relayed = !request.giaddr.is_unspecified();
        if relayed && !self.config.subnet.is_host(request.giaddr) {
            return self.ignore(Ignored::OtherSubnet);
        }
        if self.config.check_station && !relayed && request.chaddr != station {
            return self.ignore(Ignored::StationMismatch);
        }
        let inbound = Inbound { request, source, station, from };
        match inbound.request.kind {
            Kind::Discover => self.handle_discover(inbound),
            Kind::Request => self.handle_request(&inbound),
            Kind::Decline => self.handle_decline(&inbound),
            Kind::Release => self.handle_release(&inbound),
            Kind::Inform => self.handle_inform(&inbound),
            Kind::Offer | Kind::Ack | Kind::Nak => self.ignore(Ignored::BadType),
        }
    }

    fn handle_rogue(&mut self, datagram: &Datagram<'_>, source: Source) {
        self.counters.rogue_answers += 1;
        if self.alarm_is_due(self.rogue_alarm) {
            self.rogue_alarm = Some(self.now.since_boot);
            let Datagram { station, source: server, .. } = *datagram;
            self.emit(Event::RogueServer { station, server, source });
        }
    }

    fn alarm_is_due(&self, last: Option<Duration>) -> bool {
        last.is_none_or(|last| self.now.since_boot >= last + ALARM_INTERVAL)
    }

    /// Ends what the row of an address says.
    fn end(&mut self, address: Ipv4Addr) {
        let Some(mut binding) = self.table.remove(address) else { return };
        match binding.state {
            State::Offered { lapsed: None, .. } => {
                self.probes.cancel(address);
            }
            State::Offered { lapsed: Some(since), .. } => {
                self.probes.cancel(address);
                binding.state = State::Lapsed { since };
                self.table.put(address, binding);
            }
            State::Bound(term) => {
                // Timers may be late; the order in which leases ended is kept.
                let since = term.expires.unwrap_or(self.now.since_boot);
                binding.state = State::Lapsed { since };
                let event = Event::Expired(self.lease(address, &binding));
                self.table.put(address, binding);
                if term.committed {
                    self.emit(event);
                }
            }
            // The log needs no word: it says when the quarantine ends.
            State::Quarantined { .. } | State::Lapsed { .. } => {}
        }
    }

    const fn ignore(&mut self, reason: Ignored) {
        self.counters.ignore(reason);
    }

    fn emit(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
            self.counters.overflows += 1;
        }
        self.events.push_back(event);
    }

    fn send(&mut self, frame: Vec<u8>) {
        if self.transmit.len() >= MAX_TRANSMIT {
            self.counters.overflows += 1;
        } else {
            self.transmit.push_back(frame);
        }
    }
}

#[cfg(test)]
mod tests;
