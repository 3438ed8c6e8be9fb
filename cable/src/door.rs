//! Who of those that knock is let in to a handshake, who must first prove its address, and whom
//! nobody answers. Pure: packets, addresses and time come in, verdicts go out.
//!
//! A handshake costs this node some hundred microseconds and some ten kilobytes, a datagram with a
//! forged address costs its sender nothing. So there are three sieves, each cheaper than what is
//! behind it:
//!
//! 1. [`Door::handle_first_packet`] sees the header of a stranger's packet before QUIC derives keys
//!    for it, and passes a bounded number a second.
//! 2. [`Door::handle_knock`] has who comes in a crowd prove its address by a Retry (RFC 9000 section
//!    8.1.2), which takes no memory here.
//! 3. The same keeps each network, and all strangers together, to a share of the handshakes.
//!
//! Hosts that have proved a trusted key before have a share of their own, so that a cable comes back
//! in the midst of a flood. Packets of cables that are up pass none of these.

mod packet;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limit::{Bucket, Limit};
pub use packet::{FirstPacket, classify};

/// First packets of strangers that are looked at. Deriving the keys of one takes some 10 µs; a
/// thousand a second are a hundredth of a processor.
const FIRST_PACKETS: Limit = Limit::per_second(1000, 256);

/// The same for those who answer a Retry or go on with a handshake: they have had a connection ID of
/// ours, so their address was real when they got it.
const FOLLOWING_PACKETS: Limit = Limit::per_second(2000, 512);

/// More first packets than this are a crowd, and whoever comes in a crowd proves its address first.
const CALM: Limit = Limit::per_second(100, 64);

/// How long a crowd is remembered after it was seen last.
const CROWD_MEMORY: Duration = Duration::from_secs(1);

/// Handshakes of one network: WireGuard's numbers. A network is what one customer of a provider
/// has: an IPv4 /24, an IPv6 /56.
const NETWORK: Limit = Limit::per_second(20, 5);

/// Handshakes of one host that has proved a trusted key before. It may have many cables, which all
/// come back at once.
const FRIEND: Limit = Limit::per_second(20, 32);

/// Handshakes of all strangers together: below a twentieth of a processor.
const STRANGERS: Limit = Limit::per_second(100, 32);

/// Handshakes under way at once: some ten kilobytes each.
pub const PLACES: usize = 128;

/// From so many on an address must be proved before it takes a place.
const CROWDED: usize = 64;

/// Hosts that are remembered as friends: more than a node has cables. Full: the one that proved its
/// key longest ago is forgotten.
const FRIENDS: usize = 1024;

/// Networks whose share is kept in mind. One is forgotten as soon as its share is whole again, a
/// quarter of a second after its last handshake, so few are there at a time.
const NETWORKS: usize = 1024;

/// How long after the last packet that nobody looked at a flood is said to be on.
const FLOOD_MEMORY: Duration = Duration::from_secs(5);

/// What to do about a first packet, before QUIC sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// QUIC may look at it.
    Pass,
    /// Nobody looks at it.
    Ignore,
}

/// What to do about somebody who knocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may shake hands.
    Accept,
    /// It must prove its address first.
    Retry,
    /// It gets no answer, as if its packet had been lost; who is honest sends another.
    Ignore,
}

/// Why a packet of a stranger got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ignored {
    /// More came than anybody looks at.
    Flood,
    /// It belongs to no handshake that could be under way.
    Stray,
    /// Its network had its share.
    Network,
    /// All strangers together had theirs.
    Strangers,
    /// Too many handshakes are under way.
    Full,
    /// QUIC's own code failed on it.
    Fault,
}

impl Ignored {
    /// A word for counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Stray => "stray",
            Self::Network => "network-limit",
            Self::Strangers => "total-limit",
            Self::Full => "too-many-at-once",
            Self::Fault => "fault",
        }
    }
}

/// What has become of those who knocked, since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handshakes begun.
    pub accepted: u64,
    /// Asked to prove their address.
    pub retried: u64,
    /// Left without an answer.
    pub ignored: BTreeMap<Ignored, u64>,
    /// Handshakes begun that failed, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// A flood that is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flood {
    /// How long it has been on.
    pub since: Duration,
    /// Packets that nobody looked at.
    pub ignored: u64,
    /// Packets that were answered by a Retry.
    pub retried: u64,
}

#[derive(Debug)]
struct Siege {
    since: Instant,
    latest: Instant,
    ignored: u64,
    retried: u64,
}

/// One bucket for each customer of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 3]),
    V6([u8; 7]),
}

impl Network {
    fn of(source: IpAddr) -> Self {
        match source.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g])
            }
        }
    }
}

/// The three sieves.
#[derive(Debug, Default)]
pub struct Door {
    first_packets: Bucket,
    following_packets: Bucket,
    calm: Bucket,
    crowd_until: Option<Instant>,
    strangers: Bucket,
    networks: HashMap<Network, Bucket>,
    friends: HashMap<IpAddr, Friend>,
    /// Friends, the one that proved its key longest ago first. Each is in `friends`, once.
    by_proof: VecDeque<IpAddr>,
    siege: Option<Siege>,
    counts: Counts,
}

/// What a friend has left of its share, before QUIC and behind it.
#[derive(Debug, Default)]
struct Friend {
    packets: Bucket,
    handshakes: Bucket,
}

impl Door {
    /// A packet has come that might be the first of a stranger, and QUIC has not seen it yet.
    pub fn handle_first_packet(
        &mut self,
        source: IpAddr,
        packet: FirstPacket,
        now: Instant,
    ) -> Passage {
        if packet == FirstPacket::Stray {
            return self.ignore_packet(Ignored::Stray, now);
        }
        // Four times its handshakes: each has several packets, and some come twice.
        const OF_FRIEND: Limit = Limit::per_second(80, 128);
        let friend = self.friends.get_mut(&source.to_canonical());
        if friend.is_some_and(|friend| friend.packets.take(OF_FRIEND, now)) {
            return Passage::Pass;
        }
        let passes = match packet {
            FirstPacket::New => {
                if !self.calm.take(CALM, now) {
                    self.crowd_until = Some(now + CROWD_MEMORY);
                }
                self.first_packets.take(FIRST_PACKETS, now)
            }
            FirstPacket::Following => self.following_packets.take(FOLLOWING_PACKETS, now),
            FirstPacket::Stray => false,
        };
        if passes { Passage::Pass } else { self.ignore_packet(Ignored::Flood, now) }
    }

    fn ignore_packet(&mut self, reason: Ignored, now: Instant) -> Passage {
        self.count_ignored(reason);
        if reason == Ignored::Flood {
            let siege = self.siege_at(now);
            siege.ignored += 1;
        }
        Passage::Ignore
    }

    /// QUIC could not cope with a packet, which was kept from doing harm.
    pub fn handle_fault(&mut self) {
        self.count_ignored(Ignored::Fault);
    }

    /// Somebody asks for a handshake. `validated` says whether its address is proved, `under_way` how
    /// many handshakes there are at the moment.
    pub fn handle_knock(
        &mut self,
        source: IpAddr,
        validated: bool,
        under_way: usize,
        now: Instant,
    ) -> Verdict {
        if under_way >= PLACES {
            return self.ignore_knock(Ignored::Full);
        }
        let friend = self.friends.get_mut(&source.to_canonical());
        let in_crowd = self.crowd_until.is_some_and(|until| now < until);
        // A friend's address can be forged as well.
        if !validated && (under_way >= CROWDED || in_crowd) {
            self.counts.retried += 1;
            if let Some(siege) = &mut self.siege {
                siege.retried += 1;
            }
            return Verdict::Retry;
        }
        if friend.is_some_and(|friend| friend.handshakes.take(FRIEND, now)) {
            self.counts.accepted += 1;
            return Verdict::Accept;
        }
        if self.networks.len() >= NETWORKS {
            self.networks.retain(|_, bucket| !bucket.is_whole(now));
        }
        let network = self.networks.entry(Network::of(source)).or_default();
        if !network.take(NETWORK, now) {
            return self.ignore_knock(Ignored::Network);
        }
        if !self.strangers.take(STRANGERS, now) {
            return self.ignore_knock(Ignored::Strangers);
        }
        self.counts.accepted += 1;
        Verdict::Accept
    }

    fn ignore_knock(&mut self, reason: Ignored) -> Verdict {
        self.count_ignored(reason);
        Verdict::Ignore
    }

    fn count_ignored(&mut self, reason: Ignored) {
        *self.counts.ignored.entry(reason).or_default() += 1;
    }

    /// A handshake that was let in has failed.
    pub fn handle_refusal(&mut self, reason: &'static str) {
        *self.counts.refused.entry(reason).or_default() += 1;
    }

    /// A host has proved a trusted key, or this node dials it.
    pub fn welcome(&mut self, source: IpAddr) {
        let source = source.to_canonical();
        if self.friends.contains_key(&source) {
            self.by_proof.retain(|known| *known != source);
        } else if self.by_proof.len() >= FRIENDS
            && let Some(oldest) = self.by_proof.pop_front()
        {
            self.friends.remove(&oldest);
        }
        self.friends.entry(source).or_default();
        self.by_proof.push_back(source);
    }

    /// What has become of those who knocked.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The flood that is on, if one is.
    pub fn flood(&self, now: Instant) -> Option<Flood> {
        let siege = self.siege.as_ref()?;
        (now.saturating_duration_since(siege.latest) < FLOOD_MEMORY).then(|| Flood {
            since: now.saturating_duration_since(siege.since),
            ignored: siege.ignored,
            retried: siege.retried,
        })
    }

    /// The siege that is on now; a new one begins when the last has been over for a while.
    fn siege_at(&mut self, now: Instant) -> &mut Siege {
        let is_over = |siege: &Siege| now.saturating_duration_since(siege.latest) >= FLOOD_MEMORY;
        if self.siege.as_ref().is_some_and(is_over) {
            self.siege = None;
        }
        let siege =
            self.siege.get_or_insert(Siege { since: now, latest: now, ignored: 0, retried: 0 });
        siege.latest = now;
        siege
    }
}

#[cfg(test)]
mod tests;
