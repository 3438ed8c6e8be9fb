//! Which stations have a wire between them, each direction for itself: laboratories of wireless
//! stations in one segment, where who hears whom differs by pair.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use emulator::Direction;
use ether::{FrameHeader, MacAddr};
use fabric::{Bridge, Location, PortId};

use super::Wire;
use super::lane::Lane;

/// The most pairs: all of 32 stations. One more is refused.
pub(crate) const MAX_PAIRS: usize = 1024;

/// The table of pairs.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    /// By source, then by destination.
    by_source: BTreeMap<MacAddr, BTreeMap<MacAddr, Rc<Wire>>>,
}

impl Pairs {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_source.is_empty()
    }

    pub(crate) fn get(&self, source: MacAddr, destination: MacAddr) -> Option<&Rc<Wire>> {
        self.by_source.get(&source)?.get(&destination)
    }

    /// Whether one more pair can be told.
    pub(crate) fn is_full(&self) -> bool {
        self.by_source.values().map(BTreeMap::len).sum::<usize>() >= MAX_PAIRS
    }

    pub(crate) fn insert(&mut self, source: MacAddr, destination: MacAddr, wire: Rc<Wire>) {
        self.by_source.entry(source).or_default().insert(destination, wire);
    }

    /// Whether there was one.
    pub(crate) fn remove(&mut self, source: MacAddr, destination: MacAddr) -> bool {
        let Some(destinations) = self.by_source.get_mut(&source) else {
            return false;
        };
        let there_was = destinations.remove(&destination).is_some();
        if destinations.is_empty() {
            self.by_source.remove(&source);
        }
        there_was
    }

    pub(crate) fn clear(&mut self) {
        self.by_source.clear();
    }

    /// By source, then by destination.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (MacAddr, MacAddr, &Rc<Wire>)> {
        self.by_source.iter().flat_map(|(source, destinations)| {
            destinations.iter().map(|(destination, wire)| (*source, *destination, wire))
        })
    }

    /// The lane through which a frame leaves by a port. A frame to one station has that of its
    /// addresses; a frame to all has that of the station that was heard behind the port, the one
    /// with the lowest address if there are several.
    pub(crate) fn lane(
        &self,
        frame: &[u8],
        egress: PortId,
        bridge: &Bridge,
        now: Instant,
    ) -> Option<Rc<Lane>> {
        let header = FrameHeader::parse(frame).ok()?;
        let destinations = self.by_source.get(&header.source)?;
        let is_behind =
            |mac: MacAddr| bridge.locate(header.vlan, mac, now) == Some(Location::Port(egress));
        let wire = if header.destination.is_group() {
            destinations.iter().find(|(mac, _)| is_behind(**mac)).map(|(_, wire)| wire)
        } else {
            destinations.get(&header.destination)
        };
        wire?.active(Direction::LeftToRight).cloned()
    }
}
