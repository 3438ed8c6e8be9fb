//! Stations: what they say, and where they are.

use std::time::Duration;

use ether::MacAddr;

use crate::frame::{Words, build};
use crate::node::Node;
use crate::watch::mac;
use crate::world::{Event, World};

const BROADCAST: MacAddr = MacAddr([0xff; 6]);
const GROUP: MacAddr = MacAddr([0x01, 0x00, 0x5e, 0, 0, 7]);

#[derive(Debug)]
pub(crate) struct Station {
    /// Node, and place of the access port.
    pub(crate) at: (usize, usize),
    /// Another port that it is at, too.
    pub(crate) also: Option<(usize, usize)>,
    /// It was at two ports once, or moved so often that nodes may have given up on it.
    pub(crate) is_odd: bool,
    /// How often it has moved.
    pub(crate) moves: u32,
    /// When it last said something.
    pub(crate) spoke: Duration,
}

impl Station {
    pub(crate) fn new(at: (usize, usize)) -> Self {
        Self { at, also: None, is_odd: false, moves: 0, spoke: Duration::ZERO }
    }
}

impl World {
    /// The ports that hear what is said at one: those that are joined with it, too.
    pub(crate) fn segment_of(&self, (node, place): (usize, usize)) -> Vec<(usize, u32)> {
        let port = (node, Node::access(place));
        let joined = self.segments.iter().find(|segment| segment.contains(&port));
        joined.cloned().unwrap_or_else(|| vec![port])
    }

    /// A station says something; the number of its frame.
    pub(crate) fn speak(&mut self, station: usize, words: Words) -> u64 {
        let sent = self.fresh();
        self.stations[station].spoke = self.now;
        let Station { at, also, .. } = self.stations[station];
        for place in [Some(at), also].into_iter().flatten() {
            let frame = build(mac(station), words, sent);
            for (node, port) in self.segment_of(place) {
                self.handle(Event::Enter { node, port, frame: frame.as_slice().into() });
            }
        }
        sent
    }

    pub(crate) fn start_talking(&mut self) {
        self.is_talking = true;
        for station in 0..self.stations.len() {
            let later = self.dice.time(Duration::ZERO, Duration::from_millis(500));
            self.schedule(self.now + later, Event::Speak { station });
        }
    }

    /// Something now, and something later.
    pub(crate) fn speak_on(&mut self, station: usize) {
        if !self.is_talking {
            return;
        }
        let words = match self.dice.roll(10) {
            0..=2 => Words::To(BROADCAST),
            3 => Words::To(GROUP),
            4 => Words::To(MacAddr([2, 0xdd, 0, 0, 0, 1])),
            5 => Words::Announcement,
            _ => Words::To(mac(self.dice.roll(self.stations.len()))),
        };
        self.speak(station, words);
        let later = self.dice.time(Duration::from_millis(50), Duration::from_millis(900));
        self.schedule(self.now + later, Event::Speak { station });
    }
}
