//! Whether somebody uses an address before it is given to a client: ARP probes on the wire (RFC 2131
//! 2.2, RFC 5227 2.1.1), what they find, and quarantine.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use ether::MacAddr;

use super::event::{Event, Ignored, Source};
use super::message::Kind;
use super::reply::Refusal;
use super::table::{Binding, State};
use super::{Inbound, Server, VERIFIED};
use crate::client::ClientKey;
use crate::wire::Arp;

/// How long an answer to a probe may take; twice a slow wide-area cable.
const PROBE_TIME: Duration = Duration::from_millis(200);

/// How many probes may run at once. Beyond, which is 320 new clients a second, addresses are given
/// unprobed: a storm of clients must be served, and a conflict is found by their own probes. Where
/// there may be leases that nobody here knows of, clients wait for their turn instead.
const MAX_PROBES: usize = 64;

/// How many clients may wait for a probe. Full: the newest is ignored, and asks again.
const MAX_QUEUE: usize = 1024;

/// How many addresses are tried for one DISCOVER; then the client's next one goes on.
const MAX_TRIES: u8 = 3;

/// A message whose answer waits for silence.
#[derive(Debug)]
struct Probe {
    until: Duration,
    tries: u8,
    inbound: Inbound<'static>,
}

/// The probes that run, and who waits for one.
#[derive(Debug, Default)]
pub(super) struct Probes {
    running: BTreeMap<Ipv4Addr, Probe>,
    queue: VecDeque<Inbound<'static>>,
    /// Until when nothing is given unprobed.
    careful_until: Duration,
}

/// Whether an address may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clearance {
    /// At once.
    Given,
    /// When a probe has met silence; then it is answered without more.
    Awaited,
}

impl Probes {
    pub(super) fn be_careful_until(&mut self, until: Duration) {
        self.careful_until = self.careful_until.max(until);
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.running.values().map(|probe| probe.until).min()
    }

    pub(super) fn is_running(&self, address: Ipv4Addr) -> bool {
        self.running.contains_key(&address)
    }

    /// Gives up the probe of an address, if there is one.
    pub(super) fn cancel(&mut self, address: Ipv4Addr) {
        self.running.remove(&address);
    }

    /// Lets a repeated message take the place of the one that waits for the probe of an address;
    /// `false` when there is none.
    pub(super) fn repeat(&mut self, address: Ipv4Addr, inbound: &Inbound<'_>) -> bool {
        let Some(probe) = self.running.get_mut(&address) else { return false };
        probe.inbound = inbound.clone().into_owned();
        true
    }

    /// Whether there is room for one more, or none is needed.
    fn is_open(&self, now: Duration) -> bool {
        self.running.len() < MAX_PROBES || now >= self.careful_until
    }

    /// Keeps a message until there is room. `false` when too many wait.
    fn queue(&mut self, inbound: &Inbound<'_>) -> bool {
        let client = inbound.client();
        let place = self.queue.iter().position(|waiting| waiting.client() == client);
        let inbound = inbound.clone().into_owned();
        match place {
            Some(place) => self.queue[place] = inbound,
            None if self.queue.len() < MAX_QUEUE => self.queue.push_back(inbound),
            None => return false,
        }
        true
    }
}

impl Server {
    /// Whether a message about an address that is new to its client must wait for its turn. If so, it
    /// is kept or ignored.
    pub(super) fn must_queue(&mut self, inbound: &Inbound<'_>) -> bool {
        if !self.config.probe || self.probes.is_open(self.now.since_boot) {
            return false;
        }
        let is_kept = self.probes.queue(inbound);
        self.ignore(if is_kept { Ignored::Repeated } else { Ignored::Busy });
        true
    }

    /// Probes an address that is set aside for a client, where that is needed.
    pub(super) fn clear(
        &mut self,
        address: Ipv4Addr,
        verified_until: Duration,
        tries: u8,
        inbound: &Inbound<'_>,
    ) -> Clearance {
        let now = self.now.since_boot;
        let is_verified = verified_until >= now;
        if !self.config.probe || is_verified || self.probes.running.len() >= MAX_PROBES {
            return Clearance::Given;
        }
        let inbound = inbound.clone().into_owned();
        self.probes.running.insert(address, Probe { until: now + PROBE_TIME, tries, inbound });
        self.counters.probes += 1;
        self.send(Arp::probe(self.config.gateway_mac, address));
        Clearance::Awaited
    }

    /// Answers those whose probes met silence, and lets others have theirs.
    pub(super) fn end_probes(&mut self) {
        let now = self.now.since_boot;
        let silent = self.probes.running.extract_if(.., |_, probe| probe.until <= now);
        for (address, Probe { inbound, .. }) in silent.collect::<Vec<_>>() {
            if let Some(binding) = self.table.get(address) {
                let verified_until = now + VERIFIED;
                self.table.put(address, Binding { verified_until, ..binding.clone() });
            }
            match inbound.request.kind {
                Kind::Discover => self.answer_discover(address, &inbound),
                _ => self.grant(address, &inbound),
            }
        }
        while self.probes.is_open(now)
            && let Some(inbound) = self.probes.queue.pop_front()
        {
            match inbound.request.kind {
                Kind::Discover => self.offer_some(inbound, 1),
                _ => self.take_request(&inbound),
            }
        }
    }

    /// Somebody claims an address. If it is being probed, somebody has it, unless it is the client
    /// for which it was probed.
    pub(super) fn handle_arp(&mut self, arp: Arp, source: Source) {
        let (station, address) = arp.sender;
        if station == self.config.gateway_mac {
            return;
        }
        if address == self.config.gateway {
            self.counters.address_claims += 1;
            let is_news = self.claimant().is_none();
            self.claim = Some((self.now.since_boot, station, source));
            if is_news {
                self.emit(Event::AddressClaimed { station, source });
            }
            return;
        }
        self.handle_claim(address, station, source);
    }

    /// A station behind a port uses an address. Whether that ended a probe.
    pub(super) fn handle_claim(
        &mut self,
        address: Ipv4Addr,
        station: MacAddr,
        source: Source,
    ) -> bool {
        let conflict = |probe: &Probe| probe.inbound.request.chaddr != station;
        if !self.probes.running.get(&address).is_some_and(conflict) {
            return false;
        }
        if self.table.claims_enough(source) {
            self.tell_full(source, station);
            return false;
        }
        let probe = self.probes.running.remove(&address).expect("it was found just now");
        self.quarantine(address, station, source, false);
        self.emit(Event::Conflict { address, station });
        match probe.inbound.request.kind {
            Kind::Discover if probe.tries < MAX_TRIES => {
                self.offer_some(probe.inbound, probe.tries + 1);
            }
            Kind::Discover => {}
            _ => self.refuse(&probe.inbound, Refusal::InUse),
        }
        true
    }

    /// Takes an address out of use, because of what was heard from a port: declined by a client that
    /// found it in use, or else used by `station`, which may go on with it.
    pub(super) fn quarantine(
        &mut self,
        address: Ipv4Addr,
        station: MacAddr,
        source: Source,
        is_declined: bool,
    ) {
        let until = self.now.since_boot + self.config.quarantine;
        let binding = Binding {
            client: ClientKey::Hardware(station.0),
            station,
            hostname: None,
            source: Some(source),
            state: State::Quarantined { until, is_declined },
            verified_until: Duration::ZERO,
        };
        self.table.put(address, binding);
        self.store.note_lease(address);
    }
}
