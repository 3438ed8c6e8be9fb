//! Behind which port of which node a machine is that asks for an address: the bridge knows those of this
//! node, and other nodes are asked. Until they answer, the machine's message waits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ::gateway::dhcp::Source;
use ether::{MacAddr, VlanId};
use mesh::Nick;
use mesh::packet::SeenStation;
use tokio::task::JoinSet;

use super::port::Arrival;
use super::{Course, Gateway};
use crate::driver::{Shard, now};
use crate::readings;

/// How long a place is believed without being asked for again: a few messages of one client.
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// Places that are known at most: those of a crowd, in a megabyte.
const MAX_KNOWN: usize = 16_384;

/// Messages that may wait, in all and of the stations of one node, and for how long. The next one, and
/// then each, goes on without a port. A crowd at one node leaves room for those at others.
const MAX_WAITING: usize = 8192;
const MAX_WAITING_OF_NODE: usize = 1024;
const PATIENCE: Duration = Duration::from_secs(1);

/// Questions to one node that may wait for an answer at once, and how soon the next one follows: each
/// tells of up to 512 stations. A guest that has a new station every hundredth of a second makes this
/// node ask no more often, so that what the other answers, a hundred questions a second, is there for
/// others, too.
const MAX_QUESTIONS: usize = 4;
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(40);

/// How long a node that did not answer is not asked again.
const MUTE_FOR: Duration = Duration::from_secs(30);

/// A message that waits.
#[derive(Debug)]
struct Waiting {
    since: Instant,
    station: MacAddr,
    frame: Vec<u8>,
}

#[derive(Debug, Default)]
struct Questions {
    asked: BTreeSet<MacAddr>,
    waiting: VecDeque<Waiting>,
}

impl Questions {
    /// The station that the next question is about: the one that waits for longest.
    fn next(&self) -> Option<MacAddr> {
        if self.asked.len() >= MAX_QUESTIONS {
            return None;
        }
        let mut stations = self.waiting.iter().map(|waiting| waiting.station);
        stations.find(|station| !self.asked.contains(station))
    }
}

/// What is known of other nodes' stations, and what waits for more.
#[derive(Debug, Default)]
pub(super) struct Places {
    known: BTreeMap<(Nick, MacAddr), (u32, Instant)>,
    questions: BTreeMap<Nick, Questions>,
    waiting: usize,
    /// When a node that was just asked may be asked again.
    rested: BTreeMap<Nick, Instant>,
    mute: BTreeMap<Nick, Instant>,
    ready: VecDeque<(Nick, Option<u32>, Vec<u8>)>,
}

impl Places {
    fn known(&self, node: Nick, station: MacAddr, now: Instant) -> Option<u32> {
        let (port, since) = self.known.get(&(node, station))?;
        (now.saturating_duration_since(*since) < KNOWN_FOR).then_some(*port)
    }

    /// Takes a message of another node's station. Gives it back where nothing needs to be waited for,
    /// with the port as far as known.
    fn sort(
        &mut self,
        node: Nick,
        station: MacAddr,
        frame: Vec<u8>,
        now: Instant,
    ) -> Option<(Option<u32>, Vec<u8>)> {
        let port = self.known(node, station, now);
        let is_mute = self.mute.get(&node).is_some_and(|until| now < *until);
        let of_node = self.questions.get(&node).map_or(0, |questions| questions.waiting.len());
        let is_full = self.waiting >= MAX_WAITING || of_node >= MAX_WAITING_OF_NODE;
        if port.is_some() || is_mute || is_full {
            return Some((port, frame));
        }
        self.waiting += 1;
        let questions = self.questions.entry(node).or_default();
        questions.waiting.push_back(Waiting { since: now, station, frame });
        None
    }

    /// The next node to be asked, and from which station on.
    fn poll_question(&mut self, now: Instant) -> Option<(Nick, MacAddr)> {
        self.rested.retain(|_, until| now < *until);
        let mut open =
            self.questions.iter_mut().filter(|(node, _)| !self.rested.contains_key(node));
        let (node, station, questions) =
            open.find_map(|(node, questions)| Some((*node, questions.next()?, questions)))?;
        questions.asked.insert(station);
        self.rested.insert(node, now + BETWEEN_QUESTIONS);
        Some((node, station))
    }

    /// When to ask again, where a node has to be left alone before.
    fn poll_timeout(&self) -> Option<Instant> {
        let next =
            |(node, until): (&Nick, &Instant)| self.questions.get(node)?.next().map(|_| *until);
        self.rested.iter().filter_map(next).min()
    }

    /// Takes a node's answer to a question; none when it gave none.
    fn handle_answer(
        &mut self,
        node: Nick,
        asked: MacAddr,
        answer: Option<&[SeenStation]>,
        now: Instant,
    ) {
        if self.known.len() >= MAX_KNOWN {
            let is_fresh = |since: Instant| now.saturating_duration_since(since) < KNOWN_FOR;
            self.known.retain(|_, (_, since)| is_fresh(*since));
        }
        for seen in answer.unwrap_or_default().iter().filter(|seen| seen.vlan == VlanId::ZERO) {
            if self.known.len() < MAX_KNOWN {
                self.known.insert((node, seen.mac), (seen.port, now));
            }
        }
        self.mute.retain(|_, until| now < *until);
        if answer.is_none() {
            self.mute.insert(node, now + MUTE_FOR);
        }
        let Some(mut questions) = self.questions.remove(&node) else { return };
        questions.asked.remove(&asked);
        for waiting in std::mem::take(&mut questions.waiting) {
            let port = self.known(node, waiting.station, now);
            let is_late = now.saturating_duration_since(waiting.since) >= PATIENCE;
            if port.is_some() || answer.is_none() || waiting.station == asked || is_late {
                self.waiting -= 1;
                self.ready.push_back((node, port, waiting.frame));
            } else {
                questions.waiting.push_back(waiting);
            }
        }
        if !questions.waiting.is_empty() || !questions.asked.is_empty() {
            self.questions.insert(node, questions);
        }
    }

    /// The next message that waits for nothing any more.
    fn poll_ready(&mut self) -> Option<(Nick, Option<u32>, Vec<u8>)> {
        self.ready.pop_front()
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}

impl Gateway {
    /// The next frame for the services, and where it came from.
    pub(super) fn next_frame(&self, shard: &Shard) -> Option<(Vec<u8>, Source)> {
        let source = |node: Nick, port: Option<u32>| Source {
            node: node.get().into(),
            port: port.map(u64::from),
        };
        let mut places = self.places.borrow_mut();
        if let Some((node, port, frame)) = places.poll_ready() {
            return Some((frame, source(node, port)));
        }
        while let Some(Arrival { course, node, frame }) = self.inbox.take() {
            let station = frame.get(6..).and_then(|rest| rest.first_chunk()).copied();
            let station = MacAddr(station.unwrap_or_default());
            let plane = shard.plane.borrow();
            if node == plane.mesh().nick() {
                let place = plane.whereabouts(station, now());
                let port = place.and_then(|(at, port)| port.filter(|_| at == node));
                return Some((frame, source(node, port.map(|port| port.0))));
            }
            if course != Course::Services {
                // What answers a probe comes in time or is of no use.
                let port = places.known(node, station, now());
                return Some((frame, source(node, port)));
            }
            match places.sort(node, station, frame, now()) {
                Some((port, frame)) => return Some((frame, source(node, port))),
                None => self.unplaced.notify_one(),
            }
        }
        None
    }

    /// Where a frame came from, in words.
    pub(super) fn place_name(shard: &Shard, source: Source) -> String {
        let nodes = readings::Nodes::read(shard, now());
        let node = nodes.known.iter().find(|node| u64::from(node.nick.get()) == source.node);
        let name = node.map_or_else(|| "?".to_owned(), |node| nodes.name(node));
        match source.port {
            Some(port) => format!("node {name}, port {port}"),
            None => format!("node {name}"),
        }
    }
}

/// Asks other nodes for as long as the gateway serves.
pub(super) async fn ask(shard: Rc<Shard>, gateway: Rc<Gateway>) {
    let mut asked = JoinSet::new();
    loop {
        while let Some((node, station)) = gateway.places.borrow_mut().poll_question(now()) {
            let shard = shard.clone();
            asked.spawn_local(async move {
                (node, station, readings::stations_at(&shard, node, station).await)
            });
        }
        let due = gateway.places.borrow().poll_timeout();
        let timeout = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = gateway.unplaced.notified() => {}
            () = timeout => {}
            Some(Ok((node, station, answer))) = asked.join_next() => {
                let mut places = gateway.places.borrow_mut();
                places.handle_answer(node, station, answer.as_deref(), now());
                gateway.wake.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u32) -> Nick = |nick| Nick::new(nick).unwrap();

    fn station(last: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, last])
    }

    fn seen(last: u8, port: u32) -> SeenStation {
        SeenStation { vlan: VlanId::ZERO, mac: station(last), port, age: 0 }
    }

    fn ready(places: &mut Places) -> Vec<(Option<u32>, Vec<u8>)> {
        std::iter::from_fn(|| places.poll_ready()).map(|(_, port, frame)| (port, frame)).collect()
    }

    #[test]
    fn one_answer_tells_where_several_machines_are() {
        let (mut places, start) = (Places::default(), now());
        for last in 1..=3 {
            assert_eq!(places.sort(AT(7), station(last), vec![last], start), None);
        }
        assert_eq!(places.poll_question(start), Some((AT(7), station(1))));
        places.handle_answer(AT(7), station(1), Some(&[seen(1, 4), seen(3, 5)]), start);
        assert_eq!(ready(&mut places), [(Some(4), vec![1]), (Some(5), vec![3])]);
        assert_eq!(places.poll_question(start), None, "it was asked just now");
        let start = start + BETWEEN_QUESTIONS;
        assert_eq!(places.poll_timeout(), Some(start));
        assert_eq!(places.poll_question(start), Some((AT(7), station(2))));
        places.handle_answer(AT(7), station(2), Some(&[seen(3, 5)]), start);
        assert_eq!(ready(&mut places), [(None, vec![2])], "it has gone");
        assert_eq!((places.poll_question(start + PATIENCE), places.waiting), (None, 0));
    }

    #[test]
    fn a_place_is_asked_for_again_after_a_while() {
        let (mut places, start) = (Places::default(), now());
        assert_eq!(places.sort(AT(7), station(1), vec![1], start), None);
        places.poll_question(start);
        places.handle_answer(AT(7), station(1), Some(&[seen(1, 4)]), start);
        assert_eq!(places.sort(AT(7), station(1), vec![2], start), Some((Some(4), vec![2])));
        assert_eq!(places.sort(AT(8), station(1), vec![2], start), None, "another node's");
        assert_eq!(places.sort(AT(7), station(1), vec![2], start + KNOWN_FOR), None);
    }

    #[test]
    fn a_node_that_does_not_answer_holds_nobody_up() {
        let (mut places, start) = (Places::default(), now());
        for last in 1..=2 {
            assert_eq!(places.sort(AT(7), station(last), vec![last], start), None);
        }
        places.poll_question(start);
        places.handle_answer(AT(7), station(1), None, start);
        assert_eq!(ready(&mut places), [(None, vec![1]), (None, vec![2])]);
        assert_eq!(places.sort(AT(7), station(3), vec![3], start), Some((None, vec![3])));
        assert_eq!(places.sort(AT(7), station(3), vec![3], start + MUTE_FOR), None);
    }

    #[test]
    fn neither_messages_nor_questions_nor_places_grow_without_bound() {
        let (mut places, start) = (Places::default(), now());
        let many = |number: u32| {
            let [a, b, c, d] = number.to_be_bytes();
            MacAddr([2, 1, a, b, c, d])
        };
        let kept = |places: &mut Places, node| {
            (0..5000).filter(|n| places.sort(AT(node), many(*n), vec![], start).is_none()).count()
        };
        assert_eq!(kept(&mut places, 7), MAX_WAITING_OF_NODE);
        assert_eq!(kept(&mut places, 8), MAX_WAITING_OF_NODE, "others have room");
        assert_eq!((9..20).map(|node| kept(&mut places, node)).sum::<usize>(), 6 * 1024);
        assert_eq!(places.waiting, MAX_WAITING);
        let seen = |n| SeenStation { vlan: VlanId::ZERO, mac: many(n), port: 1, age: 0 };
        let crowd: Vec<SeenStation> = (10_000..40_000).map(seen).collect();
        places.handle_answer(AT(7), many(0), Some(&crowd), start);
        assert_eq!(places.known.len(), MAX_KNOWN);
        places.handle_answer(AT(7), many(1), Some(&crowd[..1]), start + PATIENCE);
        let left = MAX_WAITING - MAX_WAITING_OF_NODE;
        assert_eq!(
            (places.ready.len(), places.waiting),
            (MAX_WAITING_OF_NODE, left),
            "all were late"
        );
    }

    #[test]
    fn a_node_is_asked_seldom_whatever_a_crowd_of_its_stations_does() {
        let (mut places, start) = (Places::default(), now());
        let mut asked = 0;
        for hundredth in 0..100_u8 {
            let now = start + Duration::from_millis(10) * u32::from(hundredth);
            assert_eq!(places.sort(AT(7), station(hundredth), vec![], now), None);
            while let Some((node, station)) = places.poll_question(now) {
                asked += 1;
                // It has gone meanwhile: the answer tells of nobody.
                places.handle_answer(node, station, Some(&[]), now);
            }
        }
        assert_eq!(asked, 25, "in a second");
        assert_eq!(places.sort(AT(8), station(1), vec![], start), None);
        assert!(places.poll_question(start).is_some_and(|(node, _)| node == AT(8)), "at once");
    }
}
