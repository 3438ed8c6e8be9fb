//! Which node each station is at: the claims of all nodes, and which of them counts.
//!
//! Owns the tables. When this node claims, withdraws or refuses is in [`super::mobility`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use ether::{MacAddr, VlanId};

use super::budget::Budget;
use super::database::{Database, NodeIndex};
use crate::authority::NodeKey;
use crate::message::Bounded;
use crate::nick::Nick;
use crate::record::{PAGE_STATIONS, Slot, StationEntry, StationPage};

/// So many moves in such a time are too many (RFC 7432 15.1), and then the station stays with its
/// present owner for half an hour (FRR's auto-recovery).
pub(super) const MAX_MOVES: u8 = 5;
pub(super) const MOVE_WINDOW: Duration = Duration::from_secs(180);
pub(super) const FREEZE: Duration = Duration::from_secs(1800);

/// The most stations whose moves are counted; the one whose count began first is forgotten.
const MAX_MOVING: usize = 4096;

/// Pages this node tells in a row, and in the long run: half of what the others take.
const PAGE_BURST: u32 = 128;
const PAGE_INTERVAL: Duration = Duration::from_millis(40);

/// A VLAN and an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Station(u64);

impl Station {
    pub(super) fn new(vlan: VlanId, mac: MacAddr) -> Self {
        let [a, b, c, d, e, f] = mac.0;
        Self(u64::from(vlan.0) << 48 | u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    fn of(entry: &StationEntry) -> Self {
        Self::new(entry.vlan(), entry.mac())
    }

    pub(super) fn vlan(self) -> VlanId {
        let [high, low, ..] = self.0.to_be_bytes();
        VlanId(u16::from_be_bytes([high, low]))
    }

    pub(super) fn mac(self) -> MacAddr {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        MacAddr([a, b, c, d, e, f])
    }
}

/// What a claim weighs: of two, the greater counts.
pub(super) type Standing = (bool, u32, Reverse<NodeKey>);

/// What another node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) mobility: u32,
    pub(super) sticky: bool,
    page: Slot,
}

/// What this node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnClaim {
    pub(super) mobility: u32,
    pub(super) sticky: bool,
    page: Slot,
}

/// How a station has moved of late.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moves {
    pub(super) since: Instant,
    /// The latest of them.
    last: Instant,
    pub(super) count: u8,
    /// When another node took it from this one.
    pub(super) lost_at: Option<Instant>,
    pub(super) frozen_until: Option<Instant>,
}

/// The claim that counts among those of other nodes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Best {
    pub(super) key: NodeKey,
    pub(super) nick: Nick,
    pub(super) claim: Claim,
}

impl Best {
    pub(super) fn standing(&self) -> Standing {
        (self.claim.sticky, self.claim.mobility, Reverse(self.key))
    }
}

#[derive(Debug, Clone)]
pub(super) struct Stations {
    max_claims: usize,
    /// Of other nodes. A node claims a station once; if two of its pages name it, the later one
    /// counts.
    claims: BTreeMap<(Station, NodeIndex), Claim>,
    /// How many claims of each node there are.
    counts: BTreeMap<NodeIndex, u32>,
    /// A claim found no room since all pages were last looked through.
    pub(super) has_overflowed: bool,
    own: BTreeMap<Station, OwnClaim>,
    /// What each page of this node's holds, from the first slot on.
    pages: Vec<BTreeSet<Station>>,
    /// Pages to be told, those that wait for longest first.
    dirty: VecDeque<Slot>,
    pub(super) page_budget: Budget,
    moves: BTreeMap<Station, Moves>,
    /// In order of [`Moves::since`]; some are outdated.
    moves_order: VecDeque<(Instant, Station)>,
    /// Stations whose owner may have changed.
    changed: BTreeSet<Station>,
    /// What the shell was told.
    mirrored: BTreeMap<Station, Nick>,
}

impl Stations {
    pub(super) fn new(max_claims: usize, now: Instant) -> Self {
        Self {
            max_claims,
            claims: BTreeMap::new(),
            counts: BTreeMap::new(),
            has_overflowed: false,
            own: BTreeMap::new(),
            pages: Vec::new(),
            dirty: VecDeque::new(),
            page_budget: Budget::new(PAGE_BURST, PAGE_INTERVAL, now),
            moves: BTreeMap::new(),
            moves_order: VecDeque::new(),
            changed: BTreeSet::new(),
            mirrored: BTreeMap::new(),
        }
    }

    /// Replaces what one page of another node says. Calls `contest` for each claim that is new or
    /// different, with the highest mobility known before.
    pub(super) fn replace_page(
        &mut self,
        node: NodeIndex,
        slot: Slot,
        before: &StationPage,
        after: &StationPage,
    ) -> Vec<(Station, u32)> {
        let mut news = Vec::new();
        let kept: BTreeSet<Station> = after.iter().map(Station::of).collect();
        for station in before.iter().map(Station::of).filter(|station| !kept.contains(station)) {
            if self.claims.get(&(station, node)).is_some_and(|claim| claim.page == slot) {
                self.claims.remove(&(station, node));
                self.count(node, -1);
                self.changed.insert(station);
            }
        }
        for entry in after.iter() {
            let station = Station::of(entry);
            let claim = Claim { mobility: entry.mobility, sticky: entry.is_sticky(), page: slot };
            let known = self.claims.get(&(station, node)).copied();
            if known == Some(claim) {
                continue;
            }
            if known.is_none() {
                if self.claims.len() >= self.max_claims && !self.make_room_for(station) {
                    continue;
                }
                self.count(node, 1);
            }
            if let Some(highest) = self.highest_mobility(station) {
                news.push((station, highest));
            }
            self.claims.insert((station, node), claim);
            self.changed.insert(station);
        }
        news
    }

    /// Makes room for one more claim to a station when there is none, if it must have some. A
    /// station that nobody claims is flooded to, and that is well. One that has another claim would
    /// be sent to where it was.
    fn make_room_for(&mut self, station: Station) -> bool {
        self.has_overflowed = true;
        if self.highest_mobility(station).is_none() {
            return false;
        }
        let victim = self.claims.keys().rev().find(|(other, _)| *other != station).copied();
        let Some(victim) = victim else { return false };
        self.claims.remove(&victim);
        self.count(victim.1, -1);
        self.changed.insert(victim.0);
        true
    }

    /// Takes back a claim of this node's that need not be: frames to the station are flooded then.
    /// `false` when there is none.
    pub(super) fn withdraw_spare(&mut self) -> bool {
        let spare = self.own.iter().find(|(_, own)| !own.sticky).map(|(station, _)| *station);
        spare.is_some_and(|station| self.withdraw(station).is_some())
    }

    fn count(&mut self, node: NodeIndex, by: i32) {
        let count = self.counts.entry(node).or_default();
        *count = count.saturating_add_signed(by);
        if *count == 0 {
            self.counts.remove(&node);
        }
    }

    /// How many stations another node has.
    pub(super) fn count_of(&self, node: NodeIndex) -> u32 {
        self.counts.get(&node).copied().unwrap_or_default()
    }

    /// The owner of these stations may have become reachable, or unreachable, or have a new nick.
    pub(super) fn touch(&mut self, page: &StationPage) -> impl Iterator<Item = Station> {
        self.changed.extend(page.iter().map(Station::of));
        page.iter().map(Station::of)
    }

    fn claims_of(&self, station: Station) -> impl Iterator<Item = (NodeIndex, &Claim)> {
        let range = (station, NodeIndex(0))..=(station, NodeIndex(u16::MAX));
        self.claims.range(range).map(|((_, node), claim)| (*node, claim))
    }

    /// The best claim of another node that can be reached.
    pub(super) fn best(&self, station: Station, database: &Database) -> Option<Best> {
        self.claims_of(station)
            .filter_map(|(node, claim)| {
                let node = database.get(node).filter(|node| node.is_reachable())?;
                Some(Best { key: node.key, nick: node.state.nick, claim: *claim })
            })
            .max_by_key(Best::standing)
    }

    /// The highest mobility that anyone claims, reachable or not.
    pub(super) fn highest_mobility(&self, station: Station) -> Option<u32> {
        let own = self.own.get(&station).map(|own| own.mobility);
        self.claims_of(station).map(|(_, claim)| claim.mobility).chain(own).max()
    }

    pub(super) fn own(&self, station: Station) -> Option<OwnClaim> {
        self.own.get(&station).copied()
    }

    /// How many claims of other nodes there are.
    pub(super) fn claims_len(&self) -> usize {
        self.claims.len()
    }

    /// How many stations have their moves counted.
    pub(super) fn moving_len(&self) -> usize {
        self.moves.len()
    }

    pub(super) fn own_len(&self) -> usize {
        self.own.len()
    }

    /// Claims a station for this node, or claims it anew.
    pub(super) fn claim(&mut self, station: Station, mobility: u32, sticky: bool) {
        let page = match self.own.get(&station) {
            Some(own) => own.page,
            None => self.free_page(),
        };
        self.own.insert(station, OwnClaim { mobility, sticky, page });
        let place = usize::from(page.0 - Slot::FIRST_PAGE.0);
        self.pages[place].insert(station);
        self.soil(page);
        self.changed.insert(station);
    }

    /// Takes a claim of this node's back.
    pub(super) fn withdraw(&mut self, station: Station) -> Option<OwnClaim> {
        let own = self.own.remove(&station)?;
        let place = usize::from(own.page.0 - Slot::FIRST_PAGE.0);
        self.pages[place].remove(&station);
        self.soil(own.page);
        self.changed.insert(station);
        Some(own)
    }

    /// A page with room: one that is to be told anyway, if possible. The caller has checked that
    /// there are fewer stations than all pages hold.
    fn free_page(&mut self) -> Slot {
        let has_room = |slot: &Slot| {
            self.pages[usize::from(slot.0 - Slot::FIRST_PAGE.0)].len() < PAGE_STATIONS
        };
        if let Some(slot) = self.dirty.iter().rev().copied().find(has_room) {
            return slot;
        }
        let place = self.pages.iter().position(|page| page.len() < PAGE_STATIONS);
        let place = place.unwrap_or_else(|| {
            self.pages.push(BTreeSet::new());
            self.pages.len() - 1
        });
        Slot(Slot::FIRST_PAGE.0 + u8::try_from(place).expect("there are 64 pages at most"))
    }

    fn soil(&mut self, slot: Slot) {
        if !self.dirty.contains(&slot) {
            self.dirty.push_back(slot);
        }
    }

    /// All pages are to be told again.
    pub(super) fn soil_all(&mut self) {
        for place in 0..self.pages.len() {
            let place = u8::try_from(place).expect("there are 64 pages at most");
            self.soil(Slot(Slot::FIRST_PAGE.0 + place));
        }
    }

    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The page that waits for longest to be told.
    pub(super) fn next_page(&mut self) -> Option<(Slot, StationPage)> {
        let slot = self.dirty.pop_front()?;
        let stations = &self.pages[usize::from(slot.0 - Slot::FIRST_PAGE.0)];
        let entries = stations.iter().filter_map(|station| {
            let own = self.own.get(station)?;
            Some(StationEntry::new(station.vlan(), station.mac(), own.mobility, own.sticky))
        });
        Some((slot, Bounded::truncated(entries.collect())))
    }

    /// How a station has moved within the window.
    pub(super) fn moves(&self, station: Station, now: Instant) -> Option<&Moves> {
        self.moves.get(&station).filter(|moves| {
            now < moves.since + MOVE_WINDOW || moves.frozen_until.is_some_and(|until| now < until)
        })
    }

    /// Counts a move, and returns the count for more to be noted.
    pub(super) fn count_move(&mut self, station: Station, now: Instant) -> &mut Moves {
        if self.moves(station, now).is_none() {
            self.moves.remove(&station);
            while self.moves.len() >= MAX_MOVING
                && let Some((since, oldest)) = self.moves_order.pop_front()
            {
                if self.moves.get(&oldest).is_some_and(|moves| moves.since == since) {
                    self.moves.remove(&oldest);
                }
            }
            self.moves_order.push_back((now, station));
            // What was replaced leaves its place in the order behind.
            while self.moves_order.len() > 2 * MAX_MOVING {
                self.moves_order.pop_front();
            }
        }
        let moves = self.moves.entry(station).or_insert(Moves {
            since: now,
            last: now,
            count: 0,
            lost_at: None,
            frozen_until: None,
        });
        moves.count = moves.count.saturating_add(1);
        moves.last = now;
        moves
    }

    /// Forgets the moves of stations that moved since a time, and what followed from it; gives those
    /// that this node had given up on.
    pub(super) fn forget_moves(&mut self, since: Instant) -> Vec<Station> {
        let mut thawed = Vec::new();
        self.moves.retain(|station, moves| match moves.frozen_until {
            Some(until) if until >= since + FREEZE => {
                thawed.push(*station);
                false
            }
            Some(_) => true,
            None => moves.last < since,
        });
        thawed
    }

    /// The stations that this node has given up on, and until when.
    pub(super) fn frozen(&self, now: Instant) -> impl Iterator<Item = (Station, Instant)> {
        self.moves.iter().filter_map(move |(station, moves)| {
            let until = moves.frozen_until.filter(|until| now < *until)?;
            Some((*station, until))
        })
    }

    /// A station whose owner is another than the shell was last told: the owner's nick, none when
    /// it is not at another node any more.
    pub(super) fn next_change(&mut self, database: &Database) -> Option<(Station, Option<Nick>)> {
        while let Some(station) = self.changed.pop_first() {
            let best = match self.own.get(&station) {
                Some(_) => None,
                None => self.best(station, database).map(|best| best.nick),
            };
            let told = match best {
                Some(nick) => self.mirrored.insert(station, nick),
                None => self.mirrored.remove(&station),
            };
            if told != best {
                return Some((station, best));
            }
        }
        None
    }

    /// All stations that somebody claims.
    pub(super) fn iter(&self) -> impl Iterator<Item = Station> {
        let others = self.claims.keys().map(|(station, _)| *station);
        let all: BTreeSet<Station> = others.chain(self.own.keys().copied()).collect();
        all.into_iter()
    }
}
