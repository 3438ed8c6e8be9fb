//! When this node claims a station, leaves it to another, or takes no notice of it.
//!
//! The rules are those of RFC 7432 7.7 and 15: whoever hears a station that another node owns
//! claims it with a higher number, whoever hears a higher claim withdraws. Stations that move too
//! often stay where they are.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use ether::{MacAddr, VlanId};

use super::Mesh;
use super::budget::Budget;
use super::database::{Installed, NodeIndex};
use super::event::Event;
use super::stations::{FREEZE, MAX_MOVES, Station};
use crate::authority::{Authority, NodeKey};
use crate::nick::Nick;
use crate::record::{MAX_MOBILITY, Notice, PAGE_STATIONS, Record, Slot, StationPage};

/// What is new is told after what came before it in such a time, all together.
const FLUSH_INTERVAL: Duration = Duration::from_millis(20);

/// What is gone is in no hurry: whoever has the station now has told so.
const WITHDRAW_DELAY: Duration = Duration::from_secs(1);

/// Frames of a station that has just moved away are stragglers, for so long.
const STRAGGLERS: Duration = Duration::from_secs(1);

/// How long a loop outside may have been there before it is found, and how long it takes until one
/// end is blocked and what went around has arrived.
const LOOP_FOUND: Duration = Duration::from_secs(15);
const LOOP_CUT: Duration = Duration::from_secs(2);

/// Loops for which moves are forgiven: whoever makes others find loops all the time must not keep
/// them from seeing duplicates.
const FORGIVE_BURST: u32 = 20;
const FORGIVE_INTERVAL: Duration = Duration::from_secs(15);

pub(super) fn forgive_budget(now: Instant) -> Budget {
    Budget::new(FORGIVE_BURST, FORGIVE_INTERVAL, now)
}

/// As many as there are places in the pages.
const MAX_OWN: usize = PAGE_STATIONS * (Slot::LAST_PAGE.0 - Slot::FIRST_PAGE.0 + 1) as usize;

/// How this node's bridge came to know of a station at an access port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A frame came from it; it was not known, or known at another node. Ask for each such frame
    /// until the verdict is [`StationVerdict::Here`].
    Frame,
    /// The same, and the frame says that the station is here now: gratuitous ARP or RARP, as
    /// hypervisors send it after a migration.
    Announcement,
    /// It is configured here, and stays.
    Static,
    /// It has not been heard for long, or its port is gone.
    Gone,
}

/// What the bridge is to do with a station that it heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StationVerdict {
    /// Learn it at the port where it was heard; forget that it was at another node.
    Here,
    /// Relay the frame, and leave the station where it was: it has just moved away.
    Elsewhere,
    /// Drop the frame. The address belongs to a station at another node.
    Refused,
}

/// A station's owner has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StationChange {
    /// The VLAN.
    pub vlan: VlanId,
    /// The address.
    pub mac: MacAddr,
    /// The node that it is at now. None: at no other node; an entry that says so is to be
    /// forgotten, one of an own port is to be kept.
    pub owner: Option<Nick>,
}

/// A station as an operator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StationView {
    /// The VLAN.
    pub vlan: VlanId,
    /// The address.
    pub mac: MacAddr,
    /// The node that it is at.
    pub owner: NodeKey,
    /// How often it has moved.
    pub mobility: u32,
    /// Whether it never moves.
    pub sticky: bool,
    /// For how long this node still ignores it on its own ports; none when it does not.
    pub frozen_for: Option<Duration>,
}

impl<A: Authority> Mesh<A> {
    /// Takes note of a station at an access port of this node, or that it is there no more.
    pub fn handle_station(
        &mut self,
        vlan: VlanId,
        mac: MacAddr,
        heard: Heard,
        now: Instant,
    ) -> StationVerdict {
        let now = self.advance(now);
        let station = Station::new(vlan, mac);
        if heard == Heard::Gone {
            if self.stations.withdraw(station).is_some() {
                self.flush_by(now + WITHDRAW_DELAY, now);
            }
            return StationVerdict::Elsewhere;
        }
        if mac.is_group() || mac.is_zero() || vlan > VlanId::MAX {
            return StationVerdict::Refused;
        }
        let sticky = heard == Heard::Static;
        if let Some(own) = self.stations.own(station) {
            if sticky && !own.sticky {
                self.stations.claim(station, own.mobility, true);
                self.flush_by(now, now);
            }
            return StationVerdict::Here;
        }
        let best = self.stations.best(station, &self.database);
        if let Some(best) = best {
            if best.claim.sticky && !sticky {
                return self.freeze(station, best.key, true, now);
            }
            let moves = self.stations.moves(station, now);
            if let Some(moves) = moves
                && !sticky
            {
                if moves.frozen_until.is_some_and(|until| now < until) {
                    return StationVerdict::Refused;
                }
                let lost = moves.lost_at.is_some_and(|at| now < at + STRAGGLERS);
                if lost && heard != Heard::Announcement {
                    return StationVerdict::Elsewhere;
                }
                if moves.count + 1 >= MAX_MOVES {
                    return self.freeze(station, best.key, false, now);
                }
            }
        }
        if self.stations.own_len() >= self.config.max_own_stations.min(MAX_OWN) {
            self.counters.untold += 1;
            // While another node claims it, frames go there and not everywhere.
            if best.is_none() || !self.stations.withdraw_spare() {
                return StationVerdict::Here;
            }
        }
        if best.is_some() {
            self.stations.count_move(station, now).lost_at = None;
            self.loops.note_move(now);
        }
        let mobility = self.stations.highest_mobility(station).map_or(0, |highest| highest + 1);
        self.stations.claim(station, mobility.min(MAX_MOBILITY), sticky);
        self.flush_by(now, now);
        if best.is_some() || mobility > 0 {
            self.thaw(station, now);
        }
        StationVerdict::Here
    }

    /// Takes note that another node sent a frame for a station that is not at an access port of this
    /// one: if the others still think that it is, they are told at once that it is not. The frame
    /// goes nowhere: to flood it would be to feed a loop.
    ///
    /// Nothing happens to a station that stays ([`Heard::Static`]).
    pub fn handle_stray(&mut self, vlan: VlanId, mac: MacAddr, now: Instant) {
        let now = self.advance(now);
        let station = Station::new(vlan, mac);
        let own = self.stations.own(station);
        if own.is_some_and(|own| !own.sticky) {
            self.stations.withdraw(station);
        }
        if own.is_none_or(|own| !own.sticky) && self.stations.has_dirty() {
            self.flush_by(now, now);
        }
    }

    /// The other node that a station is at, as far as this one knows.
    pub fn owner(&self, vlan: VlanId, mac: MacAddr) -> Option<Nick> {
        self.stations.best(Station::new(vlan, mac), &self.database).map(|best| best.nick)
    }

    /// The next station whose owner has changed, for the bridge to follow.
    pub fn poll_station(&mut self) -> Option<StationChange> {
        let (station, owner) = self.stations.next_change(&self.database)?;
        Some(StationChange { vlan: station.vlan(), mac: station.mac(), owner })
    }

    /// All stations whose owner can be reached, by VLAN and address.
    pub fn stations(&self, now: Instant) -> Vec<StationView> {
        let frozen: std::collections::BTreeMap<_, _> = self.stations.frozen(now).collect();
        let view = |station: Station| {
            let own = self.stations.own(station);
            let (owner, mobility, sticky) = match own {
                Some(own) => (self.config.key, own.mobility, own.sticky),
                None => {
                    let best = self.stations.best(station, &self.database)?;
                    (best.key, best.claim.mobility, best.claim.sticky)
                }
            };
            let until = frozen.get(&station);
            Some(StationView {
                vlan: station.vlan(),
                mac: station.mac(),
                owner,
                mobility,
                sticky,
                frozen_for: until.map(|until| until.saturating_duration_since(now)),
            })
        };
        self.stations.iter().filter_map(view).collect()
    }

    /// Listens to a station no more while another node owns it.
    fn freeze(
        &mut self,
        station: Station,
        owner: NodeKey,
        sticky: bool,
        now: Instant,
    ) -> StationVerdict {
        let is_frozen = self
            .stations
            .moves(station, now)
            .is_some_and(|moves| moves.frozen_until.is_some_and(|until| now < until));
        if !is_frozen {
            self.stations.count_move(station, now).frozen_until = Some(now + FREEZE);
            let (vlan, mac, owner_key) = (station.vlan(), station.mac(), owner);
            let owner = self.who(owner_key);
            let event = if sticky {
                Event::StickyStation { vlan, mac, owner }
            } else {
                Event::DuplicateStation { vlan, mac, owner }
            };
            self.alarm(event, now);
            self.notify(duplicate(station, owner_key), now + FREEZE, now);
            self.loops.note_move(now);
        }
        StationVerdict::Refused
    }

    /// Ports are joined outside: stations seemed to move because their frames went around there.
    /// Nobody shall be taken for a duplicate for it, once the loop has been cut.
    pub(super) fn blame_loop(&mut self, now: Instant) {
        if self.forgive.is_none() && self.forgive_budget.take(now) {
            self.forgive = Some((now, now + LOOP_CUT));
        }
    }

    pub(super) fn forgive_what_is_due(&mut self, now: Instant) {
        let Some((blamed, _)) = self.forgive.filter(|(_, due)| now >= *due) else { return };
        self.forgive = None;
        let since = blamed.checked_sub(LOOP_FOUND).unwrap_or(blamed);
        for station in self.stations.forget_moves(since) {
            self.thaw(station, now);
        }
    }

    /// A station that was ignored is listened to again.
    fn thaw(&mut self, station: Station, now: Instant) {
        let vlan = station.vlan().0;
        let mac = station.mac().0;
        let is_it = |notice: &&Notice| {
            matches!(notice, Notice::DuplicateStation { vlan: v, mac: m, .. }
                if (*v, *m) == (vlan, mac))
        };
        if let Some(notice) = self.notices.find(is_it) {
            self.denounce(&notice, now);
        }
    }

    /// A page of another node was replaced.
    pub(super) fn page_installed(&mut self, slot: Slot, installed: &Installed, now: Instant) {
        let before = installed.replaced.as_ref().map(page_of).unwrap_or_default();
        let node = self.database.get(installed.index);
        let after = node.and_then(|node| node.records.get(&slot)).map(page_of).unwrap_or_default();
        self.page_replaced(installed.index, slot, &before, &after, now);
    }

    /// Pages went with an earlier run of their node.
    pub(super) fn pages_gone<'a>(
        &mut self,
        node: NodeIndex,
        records: impl IntoIterator<Item = &'a Record>,
        now: Instant,
    ) {
        for record in records.into_iter().filter(|record| record.slot.is_page()) {
            self.page_replaced(node, record.slot, &page_of(record), &StationPage::default(), now);
        }
    }

    fn page_replaced(
        &mut self,
        node: NodeIndex,
        slot: Slot,
        before: &StationPage,
        after: &StationPage,
        now: Instant,
    ) {
        for (station, highest) in self.stations.replace_page(node, slot, before, after) {
            if self.stations.own(station).is_some() {
                self.contest(station, now);
            } else if self.stations.highest_mobility(station) > Some(highest) {
                // It moved between two others.
                self.stations.count_move(station, now);
            }
        }
    }

    /// A node can be reached, or cannot any more, or has another nick.
    pub(super) fn owner_changed(&mut self, node: NodeIndex, now: Instant) {
        let Some(node) = self.database.get(node) else { return };
        let pages: Vec<StationPage> =
            node.records.values().filter(|record| record.slot.is_page()).map(page_of).collect();
        for page in pages {
            let stations: Vec<Station> = self.stations.touch(&page).collect();
            for station in stations {
                self.contest(station, now);
            }
        }
    }

    /// Withdraws this node's claim if another one is better.
    fn contest(&mut self, station: Station, now: Instant) {
        let Some(own) = self.stations.own(station) else { return };
        let Some(best) = self.stations.best(station, &self.database) else { return };
        if best.standing() > (own.sticky, own.mobility, Reverse(self.config.key)) {
            self.stations.withdraw(station);
            self.stations.count_move(station, now).lost_at = Some(now);
            self.loops.note_move(now);
            self.flush_by(now + WITHDRAW_DELAY, now);
        }
    }

    /// Sees to it that changes are told by then.
    fn flush_by(&mut self, at: Instant, now: Instant) {
        let at = at.max(self.flushed_at + FLUSH_INTERVAL).max(now);
        self.flush_at = Some(self.flush_at.map_or(at, |before| before.min(at)));
    }

    pub(super) fn flush_what_is_due(&mut self, now: Instant) {
        if self.flush_at.is_none_or(|at| now < at) {
            return;
        }
        self.flushed_at = now;
        while self.stations.has_dirty() && self.stations.page_budget.take(now) {
            if let Some((slot, page)) = self.stations.next_page() {
                self.issue(slot, &page, now);
            }
        }
        let ready = self.stations.page_budget.ready_at(now);
        self.flush_at = self.stations.has_dirty().then_some(ready);
    }

    /// All pages must be told again, in a new run.
    pub(super) fn flush_all(&mut self, now: Instant) {
        self.stations.soil_all();
        if self.stations.has_dirty() {
            self.flush_by(now, now);
        }
    }

    /// Looks through all pages for claims that found no room, if there is some now.
    pub(super) fn recover_claims(&mut self, now: Instant) {
        if !std::mem::take(&mut self.stations.has_overflowed) {
            return;
        }
        let indices = self.database.iter().map(|(index, _)| index);
        let others: Vec<NodeIndex> = indices.filter(|index| *index != self.own).collect();
        for index in others {
            let Some(node) = self.database.get(index) else { continue };
            let pages: Vec<(Slot, StationPage)> = node
                .records
                .values()
                .filter(|record| record.slot.is_page())
                .map(|record| (record.slot, page_of(record)))
                .collect();
            for (slot, page) in pages {
                self.page_replaced(index, slot, &page, &page, now);
            }
        }
    }
}

fn duplicate(station: Station, owner: NodeKey) -> Notice {
    Notice::DuplicateStation { vlan: station.vlan().0, mac: station.mac().0, owner }
}

fn page_of(record: &Record) -> StationPage {
    record.decode().unwrap_or_default()
}
