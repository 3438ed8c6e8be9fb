//! What an administrator does to the leases, and how they come from and go to the log.

use std::net::Ipv4Addr;
use std::time::Duration;

use ether::MacAddr;

use super::Server;
use super::config::{Reservation, ReservationError};
use super::event::{Event, Lease, LeaseState};
use super::store::{Dirty, Ticket};
use super::table::{Binding, Kept, State, Term};
use crate::lease_log::{
    LeaseRecord, Leases, Record, RecordState, ReservationRecord, compact, encode,
};
use crate::time::{LeaseTime, UtcTime};

/// There is no lease to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not leased; `vdecable leases` shows which addresses are")]
pub struct NoSuchLease(pub Ipv4Addr);

impl Server {
    /// Every address that is known, in ascending order, quarantined and lapsed ones included.
    pub fn snapshot(&self) -> Vec<Lease> {
        self.table.iter().map(|(address, binding)| self.lease(address, binding)).collect()
    }

    /// Who has an address, or was seen to use it without a lease.
    pub fn holder_of(&self, address: Ipv4Addr) -> Option<Lease> {
        let binding = self.table.get(address)?;
        (binding.is_live() || binding.is_in_use()).then(|| self.lease(address, binding))
    }

    /// How many leases are in force.
    pub fn leases_in_force(&self) -> usize {
        self.table.iter().filter(|(_, binding)| binding.is_live()).count()
    }

    /// Every reservation, in the order of addresses.
    pub fn reservations(&self) -> impl Iterator<Item = &Reservation> {
        self.table.all_kept().map(|kept| &kept.reservation)
    }

    /// Keeps an address for a client. It is durable when the write of the ticket is.
    ///
    /// A live lease of another client is not cut off: it is not renewed any more, and until then
    /// the reservation's client gets an address from the pool.
    ///
    /// # Errors
    /// [`ReservationError`] when it cannot be kept; nothing is changed then.
    pub fn add_reservation(
        &mut self,
        reservation: Reservation,
    ) -> Result<Ticket, ReservationError> {
        let address = reservation.address;
        self.keep(reservation, false)?;
        self.store.note_reservation(address);
        Ok(self.store.ticket())
    }

    /// Removes a reservation that [`add_reservation`](Self::add_reservation) made. A live lease
    /// goes on.
    ///
    /// # Errors
    /// [`ReservationError::Configured`] and [`ReservationError::Unknown`].
    pub fn remove_reservation(&mut self, address: Ipv4Addr) -> Result<Ticket, ReservationError> {
        self.table.unkeep(address)?;
        self.store.note_reservation(address);
        Ok(self.store.ticket())
    }

    /// Forgets who has or had an address, or that it is in quarantine. The client is not told: it
    /// uses the address until it renews and then gets it again if nobody else did.
    ///
    /// # Errors
    /// [`NoSuchLease`] when nobody has it.
    pub fn remove_lease(&mut self, address: Ipv4Addr) -> Result<Ticket, NoSuchLease> {
        let binding = self.table.remove(address).ok_or(NoSuchLease(address))?;
        self.probes.cancel(address);
        self.store.note_lease(address);
        if binding.is_live() {
            self.emit(Event::Released(self.lease(address, &binding)));
        }
        Ok(self.store.ticket())
    }

    pub(super) fn keep(
        &mut self,
        reservation: Reservation,
        configured: bool,
    ) -> Result<(), ReservationError> {
        let (address, subnet) = (reservation.address, self.config.subnet);
        if !subnet.is_host(address) || address == self.config.gateway {
            return Err(ReservationError::Address { address, subnet });
        }
        self.table.keep(Kept { reservation, configured })
    }

    pub(super) fn lease(&self, address: Ipv4Addr, binding: &Binding) -> Lease {
        let now = self.now.since_boot;
        let (state, until) = match binding.state {
            State::Offered { until, .. } => (LeaseState::Offered, Some(until)),
            State::Bound(term) if term.committed => (LeaseState::Bound, term.expires),
            State::Bound(term) => (LeaseState::Offered, term.expires),
            State::Lapsed { since } => (LeaseState::Lapsed, Some(since)),
            State::Quarantined { until, .. } => (LeaseState::Quarantined, Some(until)),
        };
        Lease {
            address,
            station: binding.station,
            client: binding.client.clone(),
            hostname: binding.hostname.clone(),
            source: binding.source,
            state,
            remaining: until.map(|until| until.saturating_sub(now)),
            expires: until.map(|until| self.utc_of(until)),
            reserved: self.table.kept(address).is_some(),
            durable: self.store.is_durable(address),
        }
    }

    /// Takes over what the log says.
    pub(super) fn restore(&mut self, leases: Leases) {
        for ReservationRecord { address, client, hostname } in leases.reservations.into_values() {
            let reservation = Reservation { address, client, hostname };
            if let Err(reason) = self.keep(reservation, false) {
                self.emit(Event::ReservationIgnored { address, reason });
            }
        }
        for record in leases.leases.into_values() {
            let station = MacAddr(record.mac);
            let state = self.state_of(&record);
            let quarantined = matches!(state, State::Quarantined { .. });
            let assignable = self.table.is_assignable(record.address, &record.client, station);
            // A lease that the administrator has reserved for another client since is live until
            // it ends.
            let known = assignable || self.table.kept(record.address).is_some();
            if self.config.subnet.is_host(record.address) && (known || quarantined) {
                let binding = Binding {
                    client: record.client,
                    station,
                    hostname: record.hostname,
                    source: None,
                    state,
                    verified_until: Duration::ZERO,
                };
                self.table.put(record.address, binding);
            }
        }
    }

    /// What a record means now. Within one boot the clock that nobody can set decides; across
    /// boots the date does, and where it cannot be right the lease has its full time again.
    fn state_of(&self, record: &LeaseRecord) -> State {
        let now = self.now.since_boot;
        let time = record.time.finite().unwrap_or(Duration::MAX);
        let end = if record.boot == self.boot {
            record.until_since_boot.map(Duration::from_secs)
        } else if record.until_since_boot.is_none() {
            None
        } else if !self.now.utc.is_plausible() || !record.until.is_plausible() {
            Some(now.saturating_add(time))
        } else {
            let left = record.until.0.saturating_sub(self.now.utc.0);
            let ago = self.now.utc.0.saturating_sub(record.until.0);
            // A date set back does not make a lease longer than it was.
            let left = Duration::from_secs(left).min(time);
            Some((now + left).saturating_sub(Duration::from_secs(ago)))
        };
        let over = end.is_some_and(|end| end <= now);
        let since = end.unwrap_or(now).min(now);
        match record.state {
            RecordState::Bound if !over => {
                State::Bound(Term { time: record.time, expires: end, committed: true })
            }
            RecordState::Quarantined | RecordState::Used => State::Quarantined {
                until: end.unwrap_or(now),
                is_declined: record.state == RecordState::Quarantined,
            },
            RecordState::Bound | RecordState::Released => State::Lapsed { since },
        }
    }

    /// The records of what the log does not say yet.
    pub(super) fn encode(&self, dirty: &Dirty) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &address in &dirty.reservations {
            let kept = self.table.kept(address).filter(|kept| !kept.configured);
            let record = match kept {
                Some(kept) => Record::Reserved(reservation_record(&kept.reservation)),
                None => Record::Unreserved(address),
            };
            encode(&record, &mut bytes);
        }
        for &address in &dirty.leases {
            let binding = self.table.get(address);
            let record = binding.and_then(|binding| self.record(address, binding));
            encode(&record.map_or(Record::Free(address), Record::Lease), &mut bytes);
        }
        bytes
    }

    /// The whole log.
    pub(super) fn encode_all(&self) -> Vec<u8> {
        let records = self.table.iter();
        let records = records.filter_map(|(address, binding)| self.record(address, binding));
        let kept = self.table.all_kept().filter(|kept| !kept.configured);
        let kept = kept.map(|kept| reservation_record(&kept.reservation));
        compact(&Leases {
            leases: records.map(|record| (record.address, record)).collect(),
            reservations: kept.map(|record| (record.address, record)).collect(),
        })
    }

    /// The record of a row; an offer has none, but what was before it may.
    fn record(&self, address: Ipv4Addr, binding: &Binding) -> Option<LeaseRecord> {
        let (state, until, time) = match binding.state {
            State::Bound(term) => (RecordState::Bound, term.expires, term.time),
            State::Quarantined { until, is_declined } => {
                let state = if is_declined { RecordState::Quarantined } else { RecordState::Used };
                (state, Some(until), LeaseTime::new(self.config.quarantine))
            }
            State::Lapsed { .. } | State::Offered { .. } => {
                (RecordState::Released, Some(binding.lapsed()?), self.config.lease_time)
            }
        };
        Some(LeaseRecord {
            address,
            state,
            client: binding.client.clone(),
            mac: binding.station.0,
            hostname: binding.hostname.clone(),
            time,
            boot: self.boot,
            until_since_boot: until.map(|until| until.as_secs() + 1),
            until: until.map_or_else(UtcTime::default, |until| self.utc_of(until)),
        })
    }

    /// The date of a moment, by the host's present clock, rounded up.
    fn utc_of(&self, moment: Duration) -> UtcTime {
        let now = self.now.since_boot;
        let ahead = moment.saturating_sub(now).as_secs();
        let ago = now.saturating_sub(moment).as_secs();
        UtcTime((self.now.utc.0 + ahead + 1).saturating_sub(ago))
    }
}

fn reservation_record(reservation: &Reservation) -> ReservationRecord {
    let Reservation { address, client, hostname } = reservation.clone();
    ReservationRecord { address, client, hostname }
}
