//! What a client's message does: RFC 2131 section 4.3, one function a message.

use std::net::Ipv4Addr;
use std::time::Duration;

use ether::MacAddr;

use super::conflict::Clearance;
use super::event::{Event, Ignored, Source};
use super::message::{Kind, code};
use super::options::hostname;
use super::store::Held;
use super::table::{Binding, State, Term};
use super::{Inbound, Server, VERIFIED, reply::Refusal};
use crate::client::ClientKey;
use crate::hostname::Hostname;
use crate::time::LeaseTime;

/// How long an offer keeps its address; a client that chooses takes seconds.
const OFFER_TIME: Duration = Duration::from_secs(30);

/// The shortest lease that a client may ask for, where the configured one is longer.
const MIN_ASKED: LeaseTime = LeaseTime::from_secs(60);

impl Inbound<'_> {
    pub(super) fn client(&self) -> ClientKey {
        match self.request.option(code::CLIENT_ID) {
            Some(id) => ClientKey::Id(id.to_vec()),
            None => ClientKey::Hardware(self.request.chaddr.0),
        }
    }

    pub(super) fn into_owned(self) -> Inbound<'static> {
        let Self { request, source, station, from } = self;
        Inbound { request: request.into_owned(), source, station, from }
    }
}

impl Server {
    /// RFC 2131 4.3.1.
    pub(super) fn handle_discover(&mut self, inbound: Inbound<'_>) {
        self.counters.discovers += 1;
        if self.wants_no_ipv4(&inbound) {
            // No address is set aside: the client will not ask for it (RFC 8925 3.3).
            return self.send_offer(&inbound, Ipv4Addr::UNSPECIFIED);
        }
        self.offer_some(inbound, 1);
    }

    /// Chooses an address and offers it, after a probe where one is needed.
    pub(super) fn offer_some(&mut self, inbound: Inbound<'_>, tries: u8) {
        let request = &inbound.request;
        let (client, station) = (inbound.client(), request.chaddr);
        let requested = request.address(code::REQUESTED_ADDRESS);
        let Some(address) = self.table.choose(&client, station, requested) else {
            return self.exhausted(&inbound);
        };
        let own = self.table.get(address).filter(|binding| binding.client == client);
        let live = own.is_some_and(Binding::is_live);
        if live {
            return self.answer_discover(address, &inbound);
        }
        if self.store.trouble().is_some() {
            return self.ignore(Ignored::NotDurable);
        }
        if own.is_some_and(|binding| binding.term().is_some()) {
            // Its ACK waits for the disk.
            return self.ignore(Ignored::Repeated);
        }
        match self.set_aside(address, &inbound, tries) {
            Some(Clearance::Given) => self.answer_discover(address, &inbound),
            Some(Clearance::Awaited) | None => {}
        }
    }

    /// Keeps an address for a client that may have it if nobody is found to use it. `None`: the message
    /// waits for its turn, or is ignored.
    fn set_aside(
        &mut self,
        address: Ipv4Addr,
        inbound: &Inbound<'_>,
        tries: u8,
    ) -> Option<Clearance> {
        let client = inbound.client();
        let own = self.table.get(address).filter(|binding| binding.client == client).cloned();
        let own = own.as_ref();
        if own.is_some() && self.probes.repeat(address, inbound) {
            self.ignore(Ignored::Repeated);
            return None;
        }
        if !self.has_room(address, inbound) {
            self.refuse_full(inbound);
            return None;
        }
        let is_new = own.is_none_or(|binding| !binding.is_offered());
        if is_new && self.must_queue(inbound) {
            return None;
        }
        let (until, lapsed) = (self.now.since_boot + OFFER_TIME, own.and_then(Binding::lapsed));
        let verified_until = own.map_or(Duration::ZERO, |binding| binding.verified_until);
        let binding = Binding {
            hostname: own.and_then(|binding| binding.hostname.clone()),
            source: Some(inbound.source),
            client,
            station: inbound.request.chaddr,
            state: State::Offered { until, lapsed },
            verified_until,
        };
        // An offer to another client for an address that is reserved for this one ends here.
        self.probes.cancel(address);
        self.table.put(address, binding);
        Some(self.clear(address, verified_until, tries, inbound))
    }

    /// Whether the client's port may have this address beside those that it has.
    fn has_room(&self, address: Ipv4Addr, inbound: &Inbound<'_>) -> bool {
        let (client, station) = (inbound.client(), inbound.request.chaddr);
        let own = self.table.get(address).filter(|binding| binding.client == client);
        let is_counted = own.is_some_and(|binding| binding.holder() == Some(inbound.source));
        is_counted
            || self.table.is_reserved_for(address, &client, station)
            || !self.table.is_full(inbound.source)
    }

    fn refuse_full(&mut self, inbound: &Inbound<'_>) {
        self.ignore(Ignored::PortFull);
        self.tell_full(inbound.source, inbound.request.chaddr);
    }

    /// Tells the operator that a port wants more than one may have.
    pub(super) fn tell_full(&mut self, source: Source, station: MacAddr) {
        let before = self.table.note_refused(source, self.now.since_boot);
        if self.alarm_is_due(before) {
            let limit = self.table.limit();
            self.emit(Event::PortFull { source, station, limit });
        }
    }

    /// Nobody claimed the address, or nobody had to be asked.
    pub(super) fn answer_discover(&mut self, address: Ipv4Addr, inbound: &Inbound<'_>) {
        let rapid = inbound.request.option(code::RAPID_COMMIT).is_some();
        if self.config.rapid_commit && rapid {
            return self.grant(address, inbound);
        }
        self.send_offer(inbound, address);
    }

    fn exhausted(&mut self, inbound: &Inbound<'_>) {
        self.ignore(Ignored::Exhausted);
        if self.alarm_is_due(self.exhausted_alarm) {
            self.exhausted_alarm = Some(self.now.since_boot);
            self.emit(Event::PoolExhausted { station: inbound.request.chaddr });
        }
    }

    pub(super) fn handle_request(&mut self, inbound: &Inbound<'_>) {
        self.counters.requests += 1;
        self.take_request(inbound);
    }

    /// RFC 2131 4.3.2: which of the four kinds of REQUEST it is.
    pub(super) fn take_request(&mut self, inbound: &Inbound<'_>) {
        let request = &inbound.request;
        let requested = request.address(code::REQUESTED_ADDRESS);
        let renewing = !request.ciaddr.is_unspecified();
        match (request.address(code::SERVER_ID), requested) {
            (Some(server), _) if server != self.config.gateway => self.withdraw_offer(inbound),
            // SELECTING. Some clients repeat the address in ciaddr.
            (Some(_), Some(address)) if !renewing || request.ciaddr == address => {
                self.judge(address, inbound);
            }
            // RENEWING and REBINDING.
            (None, _) if renewing => self.judge(request.ciaddr, inbound),
            // INIT-REBOOT.
            (None, Some(address)) => self.judge(address, inbound),
            _ => self.ignore(Ignored::Inconsistent),
        }
    }

    /// The client chose another server.
    fn withdraw_offer(&mut self, inbound: &Inbound<'_>) {
        self.ignore(Ignored::OtherServer);
        let offered = self.table.of_client(&inbound.client());
        if let Some((address, binding)) = offered
            && matches!(binding.state, State::Offered { .. })
        {
            self.end(address);
        }
    }

    /// Grants or refuses the address that a client says it has or wants.
    fn judge(&mut self, address: Ipv4Addr, inbound: &Inbound<'_>) {
        let (client, station) = (inbound.client(), inbound.request.chaddr);
        if !self.config.subnet.contains(address) {
            return self.refuse(inbound, Refusal::OtherSubnet);
        }
        if !self.table.is_assignable(address, &client, station) {
            return self.refuse(inbound, Refusal::NotAssignable);
        }
        let offered = self.table.get(address).filter(|binding| binding.is_offered());
        let is_anothers = offered.is_some_and(|binding| binding.client != client);
        if inbound.request.ciaddr == address && is_anothers && self.has_room(address, inbound) {
            // Whom it is offered to does not use it, and this client does.
            if !self.handle_claim(address, station, inbound.source) {
                self.end(address);
            }
        }
        if !self.table.is_usable(address, &client, station) {
            return self.refuse(inbound, Refusal::InUse);
        }
        // A reservation that was made since: the client is sent to fetch it.
        let reserved = self.table.reservation(&client, station);
        let reserved = reserved.map(|kept| kept.reservation.address);
        if let Some(reserved) = reserved.filter(|reserved| *reserved != address)
            && self.table.is_usable(reserved, &client, station)
        {
            return self.refuse(inbound, Refusal::Reserved);
        }
        self.grant_known(address, inbound);
    }

    /// Grants an address at once to who was offered it or has it. Of any other client there is only its
    /// word: somebody else may have the address since.
    fn grant_known(&mut self, address: Ipv4Addr, inbound: &Inbound<'_>) {
        let client = inbound.client();
        let own = self.table.get(address).filter(|binding| binding.client == client);
        let is_known = own.is_some_and(|own| own.is_offered() || own.term().is_some());
        let is_probed = self.probes.is_running(address);
        if !self.config.probe || is_known && !is_probed {
            return self.grant(address, inbound);
        }
        if self.store.trouble().is_some() {
            return self.ignore(Ignored::NotDurable);
        }
        match self.set_aside(address, inbound, 1) {
            Some(Clearance::Given) => self.grant(address, inbound),
            Some(Clearance::Awaited) | None => {}
        }
    }

    /// Binds the address. The ACK waits for the disk.
    pub(super) fn grant(&mut self, address: Ipv4Addr, inbound: &Inbound<'_>) {
        let request = &inbound.request;
        let (client, xid) = (inbound.client(), request.xid);
        if self.store.holds(address, xid) {
            return self.ignore(Ignored::Repeated);
        }
        let before = self.table.get(address).filter(|binding| binding.client == client);
        let live = before.is_some_and(Binding::is_live);
        let lapsed = before.and_then(Binding::lapsed);
        if !live && self.store.trouble().is_some() {
            return self.ignore(Ignored::NotDurable);
        }
        if self.store.is_full() {
            return self.ignore(Ignored::Busy);
        }
        if !live && !self.has_room(address, inbound) {
            return self.refuse_full(inbound);
        }
        let now = self.now.since_boot;
        let old_name = before.and_then(|binding| binding.hostname.clone());
        let hostname = self.name_for(address, inbound).or(old_name);
        let time = self.granted_time(inbound);
        let Some(frame) = self.ack(inbound, address, time, hostname.as_ref()) else {
            return self.ignore(Ignored::ReplyTooLong);
        };
        self.leave_other_address(&client, address);
        self.probes.cancel(address);
        let expires = time.finite().map(|time| now + time);
        let binding = Binding {
            client: client.clone(),
            station: request.chaddr,
            hostname,
            source: Some(inbound.source),
            state: State::Bound(Term { time, expires, committed: live }),
            verified_until: now + VERIFIED,
        };
        self.table.put(address, binding);
        self.store.note_lease(address);
        let held = Held { address, client, lapsed, xid, frame };
        if live && self.store.trouble().is_some() {
            self.acknowledge(held);
        } else {
            self.store.hold(held);
        }
    }

    /// A client has one address: it moved.
    fn leave_other_address(&mut self, client: &ClientKey, address: Ipv4Addr) {
        let Some((other, _)) = self.table.of_client(client) else { return };
        if other == address {
            return;
        }
        self.probes.cancel(other);
        if let Some(binding) = self.table.remove(other) {
            self.store.note_lease(other);
            if binding.is_live() {
                self.emit(Event::Released(self.lease(other, &binding)));
            }
        }
    }

    pub(super) fn granted_time(&self, inbound: &Inbound<'_>) -> LeaseTime {
        let most = self.config.lease_time;
        match inbound.request.option(code::LEASE_TIME) {
            Some(&[a, b, c, d]) => {
                LeaseTime::from_secs(u32::from_be_bytes([a, b, c, d])).max(MIN_ASKED).min(most)
            }
            _ => most,
        }
    }

    /// The name that the administrator or the client wants, made unique.
    fn name_for(&self, address: Ipv4Addr, inbound: &Inbound<'_>) -> Option<Hostname> {
        let kept = self.table.kept(address);
        let reserved = kept.and_then(|kept| kept.reservation.hostname.clone());
        let wanted = reserved.or_else(|| {
            hostname(&inbound.request).filter(|name| {
                // Names by which browsers and resolvers look for something else.
                let taken = ["localhost", "wpad", "isatap"].contains(&name.as_str());
                !taken && *name != self.config.gateway_name
            })
        })?;
        self.table.free_name(&wanted, address)
    }

    /// The lease is durable, or need not be: the client may know.
    pub(super) fn acknowledge(&mut self, held: Held) {
        let Some(binding) = self.table.get(held.address) else { return };
        let Some(mut term) = binding.term().filter(|_| binding.client == held.client) else {
            return;
        };
        let mut binding = binding.clone();
        let new = !std::mem::replace(&mut term.committed, true);
        binding.state = State::Bound(term);
        let lease = self.lease(held.address, &binding);
        self.table.put(held.address, binding);
        self.emit(if new { Event::Given(lease) } else { Event::Renewed(lease) });
        self.counters.acks += 1;
        self.send(held.frame);
    }

    /// The lease is not durable: a renewal goes on, a new client gets silence and asks again.
    pub(super) fn give_up(&mut self, held: Held) {
        let Some(binding) = self.table.get(held.address) else { return };
        if binding.client != held.client {
            return;
        }
        if binding.is_live() {
            return self.acknowledge(held);
        }
        if binding.term().is_some() {
            let mut binding = binding.clone();
            let until = self.now.since_boot + OFFER_TIME;
            binding.state = State::Offered { until, lapsed: held.lapsed };
            self.table.put(held.address, binding);
        }
        self.ignore(Ignored::NotDurable);
    }

    /// The disk is slow: clients that renew get their answer without it.
    pub(super) fn release_renewals(&mut self) {
        let table = &self.table;
        let renewals = self.store.release(|held| {
            let binding = table.get(held.address);
            binding.is_some_and(|binding| binding.client == held.client && binding.is_live())
        });
        renewals.into_iter().for_each(|held| self.acknowledge(held));
    }

    /// RFC 2131 4.3.3.
    pub(super) fn handle_decline(&mut self, inbound: &Inbound<'_>) {
        self.counters.declines += 1;
        let request = &inbound.request;
        if request.address(code::SERVER_ID) != Some(self.config.gateway) {
            return self.ignore(Ignored::OtherServer);
        }
        let Some(address) = request.address(code::REQUESTED_ADDRESS) else {
            return self.ignore(Ignored::Inconsistent);
        };
        let Some(lease) = self.theirs(address, inbound).map(|binding| self.lease(address, binding))
        else {
            return self.ignore(Ignored::NotTheirs);
        };
        self.probes.cancel(address);
        self.quarantine(address, request.chaddr, inbound.source, true);
        self.emit(Event::Declined(lease));
    }

    /// RFC 2131 4.3.4.
    pub(super) fn handle_release(&mut self, inbound: &Inbound<'_>) {
        self.counters.releases += 1;
        let request = &inbound.request;
        if request.address(code::SERVER_ID).is_some_and(|server| server != self.config.gateway) {
            return self.ignore(Ignored::OtherServer);
        }
        let address = request.ciaddr;
        let bound = self.theirs(address, inbound).filter(|binding| binding.term().is_some());
        let Some(mut binding) = bound.cloned() else {
            return self.ignore(Ignored::NotTheirs);
        };
        binding.state = State::Lapsed { since: self.now.since_boot };
        binding.verified_until = self.now.since_boot + VERIFIED;
        let event = Event::Released(self.lease(address, &binding));
        self.table.put(address, binding);
        self.store.note_lease(address);
        self.emit(event);
    }

    /// RFC 2131 4.3.5. Never refused: clients dropped their address over it.
    pub(super) fn handle_inform(&mut self, inbound: &Inbound<'_>) {
        self.counters.informs += 1;
        let known = [inbound.request.ciaddr, inbound.from];
        let Some(client) = known.into_iter().find(|address| !address.is_unspecified()) else {
            return self.ignore(Ignored::Inconsistent);
        };
        if !self.config.subnet.is_host(client) {
            return self.ignore(Ignored::OtherSubnet);
        }
        self.inform(inbound, client);
    }

    /// The row of an address that this client was offered or given.
    fn theirs(&self, address: Ipv4Addr, inbound: &Inbound<'_>) -> Option<&Binding> {
        let binding = self.table.get(address)?;
        let had = matches!(binding.state, State::Offered { .. } | State::Bound(_));
        (had && binding.client == inbound.client()).then_some(binding)
    }

    /// Whether the client would rather do without IPv4, and shall (RFC 8925).
    pub(super) fn wants_no_ipv4(&self, inbound: &Inbound<'_>) -> bool {
        let asked = inbound.request.parameters().contains(&code::IPV6_ONLY);
        asked && self.config.ipv6_only.is_some()
    }

    pub(super) fn send_counted(&mut self, kind: Kind, frame: Option<Vec<u8>>) {
        let Some(frame) = frame else { return self.ignore(Ignored::ReplyTooLong) };
        match kind {
            Kind::Offer => self.counters.offers += 1,
            Kind::Nak => self.counters.naks += 1,
            _ => self.counters.acks += 1,
        }
        self.send(frame);
    }
}
