//! Which address belongs to whom, and which one a client gets next.
//!
//! One row an address, and indexes that follow the rows. Knows no message and no disk. All times
//! are since boot.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;
use std::time::Duration;

use ether::MacAddr;

use super::config::{MAX_POOL, Reservation, ReservationError};
use super::event::Source;
use crate::client::{ClientKey, ReservedFor};
use crate::hostname::Hostname;
use crate::time::LeaseTime;

/// An address that is or was in use.
#[derive(Debug, Clone)]
pub(super) struct Binding {
    pub(super) client: ClientKey,
    pub(super) station: MacAddr,
    pub(super) hostname: Option<Hostname>,
    pub(super) source: Option<Source>,
    pub(super) state: State,
    /// Until when it needs no probe before it is offered to the same client.
    pub(super) verified_until: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Told to a client. `lapsed` is when the client's last lease of it ended, if it had one.
    Offered {
        until: Duration,
        lapsed: Option<Duration>,
    },
    Bound(Term),
    Lapsed {
        since: Duration,
    },
    /// `is_declined`: a client found it in use. Else the row's station was seen to use it.
    Quarantined {
        until: Duration,
        is_declined: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) time: LeaseTime,
    /// `None` for never.
    pub(super) expires: Option<Duration>,
    /// Whether the client was told: the log has the lease.
    pub(super) committed: bool,
}

impl Binding {
    pub(super) const fn term(&self) -> Option<Term> {
        match self.state {
            State::Bound(term) => Some(term),
            _ => None,
        }
    }

    /// Whether its client may use the address now.
    pub(super) fn is_live(&self) -> bool {
        self.term().is_some_and(|term| term.committed)
    }

    /// When the client's last lease ended, for an address that it does not have now.
    pub(super) const fn lapsed(&self) -> Option<Duration> {
        match self.state {
            State::Lapsed { since } => Some(since),
            State::Offered { lapsed, .. } => lapsed,
            State::Bound(_) | State::Quarantined { .. } => None,
        }
    }

    const fn deadline(&self) -> Option<Duration> {
        match self.state {
            State::Offered { until, .. } | State::Quarantined { until, .. } => Some(until),
            State::Bound(term) => term.expires,
            State::Lapsed { .. } => None,
        }
    }

    const fn is_quarantined(&self) -> bool {
        matches!(self.state, State::Quarantined { .. })
    }

    pub(super) const fn is_offered(&self) -> bool {
        matches!(self.state, State::Offered { .. })
    }

    /// The port that keeps others from having the address.
    pub(super) const fn holder(&self) -> Option<Source> {
        match self.state {
            State::Lapsed { .. } | State::Quarantined { is_declined: false, .. } => None,
            State::Offered { .. } | State::Bound(_) | State::Quarantined { .. } => self.source,
        }
    }

    /// The port whose station was seen to use the address without a lease.
    const fn claimed_at(&self) -> Option<Source> {
        match self.state {
            State::Quarantined { is_declined: false, .. } => self.source,
            _ => None,
        }
    }

    /// Whether this station was seen to use the address without a lease.
    fn is_used_by(&self, station: MacAddr) -> bool {
        self.is_in_use() && self.station == station
    }

    /// Whether its station was seen to use the address without a lease.
    pub(super) const fn is_in_use(&self) -> bool {
        matches!(self.state, State::Quarantined { is_declined: false, .. })
    }
}

/// A reservation and where it came from.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) reservation: Reservation,
    /// From the configuration, so that it is neither stored nor removed at run time.
    pub(super) configured: bool,
}

/// What a port has.
#[derive(Debug, Default)]
struct Holding {
    /// Addresses that others cannot have because of it.
    addresses: usize,
    /// Addresses of which it says that they are in use there, without a lease.
    claims: usize,
    /// When it was last refused one more.
    refused: Option<Duration>,
}

impl Holding {
    const fn is_empty(&self) -> bool {
        self.addresses == 0 && self.claims == 0
    }
}

#[derive(Debug)]
pub(super) struct Table {
    /// How many addresses one port may hold, and how many it may claim.
    limit: usize,
    /// Only ports that hold some.
    holdings: BTreeMap<Source, Holding>,
    pool: BTreeSet<Ipv4Addr>,
    bindings: BTreeMap<Ipv4Addr, Binding>,
    /// The address that a client finds again. A client that is about to move to its reservation
    /// has a second row, which is not here.
    by_client: BTreeMap<ClientKey, Ipv4Addr>,
    by_name: BTreeMap<Hostname, Ipv4Addr>,
    /// In the pool, without a row and not reserved.
    free: BTreeSet<Ipv4Addr>,
    /// Rows that may be given to another client, the one that ended first in front.
    lapsed: BTreeSet<(Duration, Ipv4Addr)>,
    deadlines: BTreeSet<(Duration, Ipv4Addr)>,
    kept: BTreeMap<Ipv4Addr, Kept>,
    kept_for: BTreeMap<ReservedFor, Ipv4Addr>,
}

impl Table {
    /// Without a limit for a port it is [`default_limit`].
    pub(super) fn new(pool: BTreeSet<Ipv4Addr>, limit: Option<usize>) -> Self {
        Self {
            limit: limit.unwrap_or_else(|| default_limit(pool.len())),
            holdings: BTreeMap::new(),
            free: pool.clone(),
            pool,
            bindings: BTreeMap::new(),
            by_client: BTreeMap::new(),
            by_name: BTreeMap::new(),
            lapsed: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            kept: BTreeMap::new(),
            kept_for: BTreeMap::new(),
        }
    }

    pub(super) fn get(&self, address: Ipv4Addr) -> Option<&Binding> {
        self.bindings.get(&address)
    }

    pub(super) fn of_client(&self, client: &ClientKey) -> Option<(Ipv4Addr, &Binding)> {
        let address = *self.by_client.get(client)?;
        Some((address, &self.bindings[&address]))
    }

    pub(super) fn of_name(&self, name: &Hostname) -> Option<(Ipv4Addr, &Binding)> {
        let address = *self.by_name.get(name)?;
        Some((address, &self.bindings[&address]))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Ipv4Addr, &Binding)> {
        self.bindings.iter().map(|(address, binding)| (*address, binding))
    }

    pub(super) fn len(&self) -> usize {
        self.bindings.len() + self.kept.len()
    }

    /// Writes a row, in place of the one that the address had.
    pub(super) fn put(&mut self, address: Ipv4Addr, binding: Binding) {
        self.take_out(address);
        self.free.remove(&address);
        if let Some(deadline) = binding.deadline() {
            self.deadlines.insert((deadline, address));
        }
        if let State::Lapsed { since } = binding.state {
            self.lapsed.insert((since, address));
        }
        if let Some(holder) = binding.holder() {
            self.holdings.entry(holder).or_default().addresses += 1;
        }
        if let Some(claimant) = binding.claimed_at() {
            self.holdings.entry(claimant).or_default().claims += 1;
        }
        if !binding.is_quarantined() {
            self.by_client.entry(binding.client.clone()).or_insert(address);
        }
        if let (Some(name), Some(_)) = (&binding.hostname, binding.term()) {
            self.by_name.entry(name.clone()).or_insert(address);
        }
        self.bindings.insert(address, binding);
    }

    /// Forgets who had the address.
    pub(super) fn remove(&mut self, address: Ipv4Addr) -> Option<Binding> {
        let binding = self.take_out(address)?;
        if self.pool.contains(&address) && !self.kept.contains_key(&address) {
            self.free.insert(address);
        }
        Some(binding)
    }

    fn take_out(&mut self, address: Ipv4Addr) -> Option<Binding> {
        let binding = self.bindings.remove(&address)?;
        if let Some(deadline) = binding.deadline() {
            self.deadlines.remove(&(deadline, address));
        }
        if let State::Lapsed { since } = binding.state {
            self.lapsed.remove(&(since, address));
        }
        if let Some(holder) = binding.holder() {
            self.count_out(holder, |holding| holding.addresses -= 1);
        }
        if let Some(claimant) = binding.claimed_at() {
            self.count_out(claimant, |holding| holding.claims -= 1);
        }
        if self.by_client.get(&binding.client) == Some(&address) {
            self.by_client.remove(&binding.client);
        }
        if let Some(name) = &binding.hostname
            && self.by_name.get(name) == Some(&address)
        {
            self.by_name.remove(name);
        }
        Some(binding)
    }

    fn count_out(&mut self, source: Source, one: impl FnOnce(&mut Holding)) {
        if let Some(holding) = self.holdings.get_mut(&source) {
            one(holding);
            if holding.is_empty() {
                self.holdings.remove(&source);
            }
        }
    }

    /// How many addresses one port may hold.
    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// Whether a port holds as many addresses as it may.
    pub(super) fn is_full(&self, source: Source) -> bool {
        self.holdings.get(&source).is_some_and(|holding| holding.addresses >= self.limit)
    }

    /// Whether a port claims as many addresses as it may: else a machine that answers every probe would
    /// take all addresses from all others.
    pub(super) fn claims_enough(&self, source: Source) -> bool {
        self.holdings.get(&source).is_some_and(|holding| holding.claims >= self.limit)
    }

    /// Takes note that a full port was refused one more. Gives when it was before.
    pub(super) fn note_refused(&mut self, source: Source, now: Duration) -> Option<Duration> {
        self.holdings.get_mut(&source)?.refused.replace(now)
    }

    /// The ports that were refused an address since then.
    pub(super) fn refused_since(&self, then: Duration) -> Vec<Source> {
        let since = |holding: &Holding| holding.refused.is_some_and(|refused| refused >= then);
        let refused = self.holdings.iter().filter(|(_, holding)| since(holding));
        refused.map(|(source, _)| *source).collect()
    }

    /// The earliest moment at which a row ends.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// An address whose row has ended by `now`. The caller writes another row or removes it.
    pub(super) fn due(&self, now: Duration) -> Option<Ipv4Addr> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, address)| *address)
    }

    /// The address for a client: its reservation, its live lease, its last one, the one it asks
    /// for, one that nobody had, the one whose lease ended first (RFC 2131 4.3.1).
    ///
    /// Addresses that nobody had are tried from a point that the client's key decides, so that a
    /// client finds its own again even when the log is lost.
    pub(super) fn choose(
        &self,
        client: &ClientKey,
        station: MacAddr,
        requested: Option<Ipv4Addr>,
    ) -> Option<Ipv4Addr> {
        let reserved = self.reservation(client, station).map(|kept| kept.reservation.address);
        let own = self.by_client.get(client).copied();
        reserved
            .into_iter()
            .chain(own)
            .find(|address| {
                self.is_assignable(*address, client, station)
                    && self.is_usable(*address, client, station)
            })
            .or_else(|| requested.filter(|address| self.is_open_to(*address, station)))
            .or_else(|| self.free_near(client))
            .or_else(|| {
                let mut lapsed = self.lapsed.iter().map(|(_, address)| *address);
                lapsed.find(|address| self.is_assignable(*address, client, station))
            })
    }

    /// Whether nobody has the address, or this station was seen to use it.
    fn is_open_to(&self, address: Ipv4Addr, station: MacAddr) -> bool {
        let row = self.bindings.get(&address);
        let is_used = row.is_some_and(|binding| binding.is_used_by(station));
        self.free.contains(&address) || is_used && !self.kept.contains_key(&address)
    }

    fn free_near(&self, client: &ClientKey) -> Option<Ipv4Addr> {
        let (first, last) = (self.pool.first()?.to_bits(), self.pool.last()?.to_bits());
        let mut hasher = DefaultHasher::new();
        client.hash(&mut hasher);
        let span = u64::from(last - first) + 1;
        let offset = u32::try_from(hasher.finish() % span).expect("the span is of 32-bit numbers");
        let start = Ipv4Addr::from_bits(first + offset);
        self.free.range(start..).next().or_else(|| self.free.first()).copied()
    }

    /// Whether the client may have the address at all: from the pool and not another's
    /// reservation, or its own reservation.
    pub(super) fn is_assignable(
        &self,
        address: Ipv4Addr,
        client: &ClientKey,
        station: MacAddr,
    ) -> bool {
        match self.kept.get(&address) {
            None => self.pool.contains(&address),
            Some(_) => self.is_reserved_for(address, client, station),
        }
    }

    /// Whether no other client is in the way.
    pub(super) fn is_usable(
        &self,
        address: Ipv4Addr,
        client: &ClientKey,
        station: MacAddr,
    ) -> bool {
        let Some(binding) = self.bindings.get(&address) else { return true };
        match binding.state {
            State::Quarantined { .. } => binding.is_used_by(station),
            _ if binding.client == *client => true,
            State::Lapsed { .. } => true,
            State::Offered { .. } => self.is_reserved_for(address, client, station),
            // One machine with two identifiers, as a boot loader and its system.
            State::Bound(_) => {
                binding.station == station && self.is_reserved_for(address, client, station)
            }
        }
    }

    pub(super) fn is_reserved_for(
        &self,
        address: Ipv4Addr,
        client: &ClientKey,
        station: MacAddr,
    ) -> bool {
        let kept = self.reservation(client, station);
        kept.is_some_and(|kept| kept.reservation.address == address)
    }

    /// The client's reservation; that of its identifier before that of its station.
    pub(super) fn reservation(&self, client: &ClientKey, station: MacAddr) -> Option<&Kept> {
        let by_id = client.id().map(|id| ReservedFor::ClientId(id.to_vec()));
        let address = by_id
            .and_then(|id| self.kept_for.get(&id))
            .or_else(|| self.kept_for.get(&ReservedFor::Mac(station)))?;
        self.kept.get(address)
    }

    pub(super) fn kept(&self, address: Ipv4Addr) -> Option<&Kept> {
        self.kept.get(&address)
    }

    pub(super) fn all_kept(&self) -> impl Iterator<Item = &Kept> {
        self.kept.values()
    }

    pub(super) fn keep(&mut self, kept: Kept) -> Result<(), ReservationError> {
        let Reservation { address, client, .. } = &kept.reservation;
        let possible = match client {
            ReservedFor::ClientId(id) => (1..=255).contains(&id.len()),
            ReservedFor::Mac(mac) => !mac.is_group() && !mac.is_zero(),
        };
        if !possible {
            return Err(ReservationError::Client(client.clone()));
        }
        if let Some(other) = self.kept.get(address) {
            let client = other.reservation.client.clone();
            return Err(ReservationError::AddressTaken { address: *address, client });
        }
        if let Some(&address) = self.kept_for.get(client) {
            return Err(ReservationError::ClientTaken { client: client.clone(), address });
        }
        if self.kept.len() >= MAX_POOL {
            return Err(ReservationError::TooMany);
        }
        self.free.remove(address);
        self.kept_for.insert(client.clone(), *address);
        self.kept.insert(*address, kept);
        Ok(())
    }

    pub(super) fn unkeep(&mut self, address: Ipv4Addr) -> Result<Reservation, ReservationError> {
        match self.kept.get(&address) {
            None => return Err(ReservationError::Unknown(address)),
            Some(kept) if kept.configured => return Err(ReservationError::Configured(address)),
            Some(_) => {}
        }
        let kept = self.kept.remove(&address).expect("it was found just now");
        self.kept_for.remove(&kept.reservation.client);
        if self.pool.contains(&address) && !self.bindings.contains_key(&address) {
            self.free.insert(address);
        }
        Ok(kept.reservation)
    }

    /// The name that the client at `address` gets: the wanted one, or that with a number behind it
    /// where another has it.
    pub(super) fn free_name(&self, wanted: &Hostname, address: Ipv4Addr) -> Option<Hostname> {
        let is_free = |name: &Hostname| self.by_name.get(name).is_none_or(|at| *at == address);
        let numbered = (2..100).map(|number| wanted.numbered(number));
        std::iter::once(wanted.clone()).chain(numbered).find(is_free)
    }
}

/// A quarter of the pool, so that no port can take it all from the others; and eight, which a machine
/// with a boot loader, a system and a few guests of its own may need.
const fn default_limit(pool: usize) -> usize {
    if pool < 32 { 8 } else { pool / 4 }
}

#[cfg(test)]
mod tests;
