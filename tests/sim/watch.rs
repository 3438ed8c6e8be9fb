//! What must hold after everything that happens, whatever it is. The names of the rules are those
//! of `tests/README.md`.

use std::collections::BTreeMap;
use std::time::Duration;

use ether::MacAddr;
use mesh::NodeKey;
use mesh::authority::Authority as _;
use mesh::framing::Reach;
use mesh::message::Message;
use mesh::record::{Incarnation, Record, Slot, Version};

use crate::node::Node;
use crate::notary::Notary;

/// A frame that comes in where it came in before is taken for the same only so soon (PROTOCOL.md 9.1); where
/// the way around takes longer it goes around until the loop is found.
const AT_ONCE: Duration = Duration::from_millis(40);

/// How often a frame of a station is flooded through the mesh at most within that time, where all ports by
/// which it came in lead to networks: once for each of two by which it came in first, before either knew of the other's
/// flood, and as often again by those who had not heard of it yet when it had gone around.
const FLOODS: u32 = 4;

/// One entry of a frame into the mesh.
#[derive(Debug, Clone)]
pub(crate) struct Passage {
    pub(crate) sent: u64,
    /// The access port where it came in: node and number.
    pub(crate) at: (usize, u32),
    pub(crate) vlan: u16,
    /// Whether it came in at a blocked port.
    was_blocked: bool,
    /// Copies on cables so far, and the most there may be.
    pub(crate) copies: usize,
    most: usize,
    /// Where it came out, of nodes as they run now.
    pub(crate) delivered: Vec<(usize, u32)>,
}

/// What has been seen.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) passages: Vec<Passage>,
    /// The latest record that each run of a node has sent, by origin and slot.
    told: BTreeMap<(usize, u64, NodeKey, Slot), Version>,
    /// When a cable was last taken into use or left.
    pub(crate) link_changed: Duration,
    /// When a node last said something to another.
    pub(crate) said: Duration,
    pub(crate) messages: u64,
    pub(crate) frames: u64,
    /// Frames that nodes found to have gone around outside.
    pub(crate) returned: u64,
    /// How often each frame was flooded since when, of those that came in by ports of networks alone.
    flooded: BTreeMap<u64, Option<(Duration, u32)>>,
    pub(crate) events: u64,
    pub(crate) broken: Option<String>,
}

impl Watch {
    /// A rule was broken. The first one counts.
    pub(crate) fn fail(&mut self, rule: &str, what: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some(format!("{rule}: {}", what()));
        }
    }

    /// A frame comes in at an access port; its number from now on.
    pub(crate) fn enter(&mut self, sent: u64, at: (usize, u32), vlan: u16, blocked: bool) -> u64 {
        if at.1 == Node::access(0) {
            // What a guest repeats it may have said elsewhere before it moved.
            self.flooded.insert(sent, None);
        }
        self.passages.push(Passage {
            sent,
            at,
            vlan,
            was_blocked: blocked,
            copies: 0,
            most: 0,
            delivered: Vec::new(),
        });
        self.passages.len() as u64 - 1
    }

    fn passage_mut(&mut self, number: u64) -> Option<&mut Passage> {
        self.passages.get_mut(usize::try_from(number).ok()?)
    }

    /// It was said where it goes. `cables` is how many there are.
    pub(crate) fn begin(
        &mut self,
        number: u64,
        reach: Reach,
        hops: u8,
        cables: usize,
        now: Duration,
    ) {
        let most = match reach {
            Reach::Flood { .. } => 2 * cables,
            Reach::Unicast { .. } | Reach::Node { .. } => usize::from(hops) + 1,
        };
        let Some(passage) = self.passage_mut(number) else { return };
        passage.most = most;
        let (sent, at) = (passage.sent, passage.at);
        if let (Reach::Flood { .. }, Some((since, count))) =
            (reach, self.flooded.entry(sent).or_insert(Some((now, 0))))
        {
            if now >= *since + AT_ONCE {
                (*since, *count) = (now, 0);
            }
            *count += 1;
            if *count > FLOODS {
                self.fail("I15", || format!("frame {sent} is flooded again and again by {at:?}"));
            }
        }
    }

    /// A node starts: it cannot know what came to it before.
    pub(crate) fn begin_run(&mut self, node: usize) {
        for passage in &mut self.passages {
            passage.delivered.retain(|(at, _)| *at != node);
        }
    }

    /// It goes out on a cable.
    pub(crate) fn copy(&mut self, number: u64) {
        self.frames += 1;
        let Some(passage) = self.passage_mut(number) else { return };
        passage.copies += 1;
        if passage.copies > passage.most || passage.was_blocked {
            let passage = passage.clone();
            self.fail("I3", || format!("too many copies: {passage:?}"));
        }
    }

    /// It leaves by an access port.
    pub(crate) fn deliver(&mut self, number: u64, to: (usize, u32), vlan: u16, blocked: bool) {
        let Some(passage) = self.passage_mut(number) else {
            return self.fail("I9", || format!("delivered at {to:?}: a frame of nobody"));
        };
        let again = passage.delivered.contains(&to);
        passage.delivered.push(to);
        let rule = if again {
            "I1"
        } else if passage.at == to {
            "I2"
        } else if passage.vlan != vlan || blocked || passage.was_blocked {
            "I9"
        } else {
            return;
        };
        let passage = passage.clone();
        self.fail(rule, || format!("delivered at {to:?}, VLAN {vlan}, {blocked}: {passage:?}"));
    }

    /// A node says something to another.
    pub(crate) fn say(
        &mut self,
        (node, boot): (usize, u64),
        message: &Message,
        kept: impl Fn(&NodeKey) -> Option<Incarnation>,
        now: Duration,
    ) {
        self.messages += 1;
        self.said = now;
        let Message::Records(records) = message else { return };
        for record in records.records.iter() {
            self.check_origin(node, record);
            // It only passes on to its origin what it has refused as a clone's.
            if kept(&record.origin).is_some_and(|kept| kept < record.version.incarnation) {
                continue;
            }
            let key = (node, boot, record.origin, record.slot);
            match self.told.get(&key) {
                Some(before) if *before > record.version => {
                    let before = *before;
                    self.fail("I7", || {
                        format!("node {node} goes back from {before:?}: {record:?}")
                    });
                }
                _ => {
                    self.told.insert(key, record.version);
                }
            }
        }
    }

    /// What a node passes on it has taken for true.
    fn check_origin(&mut self, node: usize, record: &Record) {
        // Any node's notary can check, and none can sign for another.
        let fields = (record.origin, record.version, record.slot, &record.body);
        let mut octets = b"vdecable record 1\0".to_vec();
        octets.extend(postcard::to_allocvec(&fields).expect("a vector takes everything"));
        if !Notary(record.origin).verify(&record.origin, &octets, &record.signature) {
            self.fail("I13", || format!("node {node} passes on a forgery: {record:?}"));
        }
    }

    /// A node's tables are within their bounds.
    pub(crate) fn check_bounds(&mut self, number: usize, node: &Node, nodes: usize) {
        let Some(switch) = &node.switch else { return };
        let sizes = switch.mesh.sizes();
        let rules = [
            (sizes.nodes <= nodes, "nodes"),
            (sizes.claims <= sizes.max_claims, "claims of others"),
            (sizes.own_stations <= sizes.max_own_stations, "own stations"),
            (sizes.moving <= 4096, "stations that move"),
            (sizes.notices <= 16, "notices"),
            (sizes.events <= 1024, "events"),
            (sizes.beats <= 2 * 64, "beats"),
            // Each record once for each cable, and one name for each node.
            (sizes.pending <= 64 * nodes * 81, "records to be sent"),
            (switch.bridge.entries() <= 65_536, "the bridge's own"),
            (switch.bridge.remote_entries() <= 65_536, "the bridge's others"),
        ];
        for (holds, what) in rules {
            if !holds {
                self.fail("I10", || format!("node {number} has too many {what}: {sizes:?}"));
            }
        }
    }

    /// All that came of a frame that a station sent, whichever way it came in.
    pub(crate) fn passages_of(&self, sent: u64) -> impl Iterator<Item = &Passage> {
        self.passages.iter().filter(move |passage| passage.sent == sent)
    }
}

/// A station's address.
pub(crate) fn mac(station: usize) -> MacAddr {
    let [.., high, low] = station.to_be_bytes();
    MacAddr([0x02, 0x51, 0, 0, high, low])
}
