//! One direction of a link: its own emulator, and one for each pair of stations that has settings
//! of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use ether::FrameHeader;

use crate::emulator::{Emulator, Verdict};
use crate::frame::Frame;
use crate::link::Direction;
use crate::pairs::{Pair, PairTable};
use crate::random::Seed;
use crate::settings::Settings;

/// The place of the link's own emulator.
const OWN: usize = 0;

/// One direction of a link.
#[derive(Debug)]
pub(crate) struct Lane<F> {
    direction: Direction,
    seed: Seed,
    /// The link's own first.
    members: Vec<Member<F>>,
    pairs: Arc<PairTable>,
    /// Of each row of the table, the place of its member.
    places: Vec<usize>,
    /// When each member other than the link's own is to be polled.
    due: BTreeSet<(Instant, usize)>,
}

#[derive(Debug)]
struct Member<F> {
    emulator: Emulator<F>,
    pair: Option<Pair>,
    /// What stands for it in `due`.
    due: Option<Instant>,
}

impl<F: Frame> Lane<F> {
    pub(crate) fn new(direction: Direction, settings: Settings, seed: Seed, now: Instant) -> Self {
        let own = Member { emulator: Emulator::new(settings, seed, now), pair: None, due: None };
        Self {
            direction,
            seed,
            members: vec![own],
            pairs: Arc::default(),
            places: Vec::new(),
            due: BTreeSet::new(),
        }
    }

    /// The link's own emulator.
    pub(crate) fn own(&self) -> &Emulator<F> {
        &self.members[OWN].emulator
    }

    pub(crate) fn set_own(&mut self, settings: Settings, now: Instant) {
        self.members[OWN].emulator.set(settings, now);
    }

    pub(crate) fn pairs(&self) -> &PairTable {
        &self.pairs
    }

    /// The emulator of a pair that has a row.
    pub(crate) fn pair(&self, pair: Pair) -> Option<&Emulator<F>> {
        let row = self.pairs.rows().iter().position(|(other, _)| *other == pair)?;
        Some(&self.members[self.places[row]].emulator)
    }

    /// Takes another table. Pairs that stay keep what they have; what is on its way for others
    /// still arrives.
    pub(crate) fn set_pairs(&mut self, pairs: Arc<PairTable>, now: Instant) {
        self.places.clear();
        for (pair, settings) in pairs.rows() {
            let settings = settings[self.direction].clone();
            let known = self.members.iter().position(|member| member.pair == Some(*pair));
            let place = match known {
                Some(place) => {
                    self.members[place].emulator.set(settings, now);
                    place
                }
                None => self.admit(*pair, settings, now),
            };
            self.places.push(place);
            self.schedule(place);
        }
        for place in OWN + 1..self.members.len() {
            let retired = !self.places.contains(&place);
            // Without frames its place can be used again; with some it keeps its chance.
            if retired && self.members[place].emulator.poll_timeout().is_none() {
                self.members[place].pair = None;
            }
        }
        self.pairs = pairs;
    }

    fn admit(&mut self, pair: Pair, settings: Settings, now: Instant) -> usize {
        let [source, destination] = pair.numbers();
        let seed = self.seed.child(source).child(destination);
        let emulator = Emulator::new(settings, seed, now);
        let member = Member { emulator, pair: Some(pair), due: None };
        let free = self.members.iter().skip(OWN + 1).position(|member| member.pair.is_none());
        match free {
            Some(index) => {
                self.members[OWN + 1 + index] = member;
                OWN + 1 + index
            }
            None => {
                self.members.push(member);
                self.members.len() - 1
            }
        }
    }

    pub(crate) fn handle_frame(&mut self, frame: F, now: Instant) -> Verdict {
        let place = self.place(&frame);
        let verdict = self.members[place].emulator.handle_frame(frame, now);
        self.schedule(place);
        verdict
    }

    fn place(&self, frame: &F) -> usize {
        if self.places.is_empty() {
            return OWN;
        }
        let header = FrameHeader::parse(frame.octets()).ok();
        let row = header.and_then(|header| self.pairs.place(header.source, header.destination));
        row.map_or(OWN, |row| self.places[row])
    }

    pub(crate) fn poll_delivery(&mut self, now: Instant) -> Option<F> {
        loop {
            let own = self.own().poll_timeout();
            let first = self.due.first().copied().filter(|(due, _)| *due <= now);
            let Some((due, place)) = first else {
                return self.members[OWN].emulator.poll_delivery(now);
            };
            if own.is_some_and(|own| own <= due)
                && let Some(frame) = self.members[OWN].emulator.poll_delivery(now)
            {
                return Some(frame);
            }
            let frame = self.members[place].emulator.poll_delivery(now);
            self.schedule(place);
            if frame.is_some() {
                return frame;
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let pairs = self.due.first().map(|(due, _)| *due);
        self.own().poll_timeout().into_iter().chain(pairs).min()
    }

    /// Puts a member where its next delivery belongs.
    fn schedule(&mut self, place: usize) {
        if place == OWN {
            return;
        }
        let member = &mut self.members[place];
        let due = member.emulator.poll_timeout();
        if due != member.due {
            if let Some(before) = member.due {
                self.due.remove(&(before, place));
            }
            if let Some(due) = due {
                self.due.insert((due, place));
            }
            member.due = due;
        }
    }
}
