//! Storm control: how much of what costs everybody a port, or another node, may send.
//!
//! Known unicast is not limited: it costs its receiver alone. The limits are token buckets in the
//! form of the generic cell rate algorithm (ITU-T I.371 Annex A): one word of state, one addition
//! and two comparisons a frame.

use foldhash::quality::FixedState;
use hashbrown::HashMap;

use crate::drop_reason::DropReason;
use crate::location::RemoteId;
use crate::time::Nanos;

#[cfg(test)]
mod tests;

/// How many nodes have a budget of their own; as many as the mesh may have.
const MAX_NODES: usize = 1024;

/// How often budgets that are not used are looked for, in nanoseconds: looking costs one look at
/// each of [`MAX_NODES`].
const SWEEP_INTERVAL: u64 = 1_000_000_000;

/// Frames, or stations, a second; 0 stands for no limit.
///
/// Exact to a nanosecond between two of them: a rate of a million may in truth be 0.1 % higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameRate(pub u32);

impl FrameRate {
    /// No limit.
    pub const UNLIMITED: Self = Self(0);
}

/// What may enter the node. Frames beyond are dropped, each with a reason of its own.
///
/// Limits of frames allow a burst of a tenth of a second, that of stations one of two seconds: a
/// guest that is itself a bridge brings all of its stations at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StormControl {
    /// Broadcast frames from each access port: [`DropReason::BroadcastStorm`].
    pub broadcast: FrameRate,
    /// Other group frames from each access port: [`DropReason::MulticastStorm`].
    pub multicast: FrameRate,
    /// Frames to unknown stations from each access port: [`DropReason::UnknownUnicastStorm`].
    pub unknown_unicast: FrameRate,
    /// Stations that were not known on that port, from each access port. A frame from one more is
    /// dropped, for it would have the whole mesh learn: [`DropReason::StationStorm`].
    pub new_stations: FrameRate,
    /// Flooded frames that come by cables, for each node where they entered the mesh:
    /// [`DropReason::FloodBudget`].
    pub cable_floods: FrameRate,
}

impl StormControl {
    /// No limits.
    pub const OFF: Self = Self {
        broadcast: FrameRate::UNLIMITED,
        multicast: FrameRate::UNLIMITED,
        unknown_unicast: FrameRate::UNLIMITED,
        new_stations: FrameRate::UNLIMITED,
        cable_floods: FrameRate::UNLIMITED,
    };

    /// What no well-behaved guest needs: 1000 broadcast, 2000 multicast and 1000 unknown unicast
    /// frames and 100 new stations a second from each port, and 10 000 floods from each other node,
    /// which has several ports.
    pub const STANDARD: Self = Self {
        broadcast: FrameRate(1000),
        multicast: FrameRate(2000),
        unknown_unicast: FrameRate(1000),
        new_stations: FrameRate(100),
        cable_floods: FrameRate(10_000),
    };
}

/// What an access port is limited in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Broadcast = 0,
    Multicast = 1,
    UnknownUnicast = 2,
    NewStation = 3,
}

impl Kind {
    const ALL: [Self; 4] =
        [Self::Broadcast, Self::Multicast, Self::UnknownUnicast, Self::NewStation];

    pub(crate) const fn reason(self) -> DropReason {
        match self {
            Self::Broadcast => DropReason::BroadcastStorm,
            Self::Multicast => DropReason::MulticastStorm,
            Self::UnknownUnicast => DropReason::UnknownUnicastStorm,
            Self::NewStation => DropReason::StationStorm,
        }
    }
}

/// How fast a bucket fills and how much it holds, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Limit {
    /// Between two frames. 0 when there is no limit: then the bucket is always full.
    interval: u64,
    /// How far ahead of its time a frame may be.
    tolerance: u64,
}

impl Limit {
    fn new(rate: FrameRate, burst: u32) -> Self {
        let interval = 1_000_000_000_u64.checked_div(u64::from(rate.0)).unwrap_or(0);
        Self { interval, tolerance: interval * u64::from(burst.saturating_sub(1)) }
    }
}

/// A bucket, as the time at which it will be full again.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket(Nanos);

impl Bucket {
    #[inline]
    fn take(&mut self, limit: &Limit, now: Nanos) -> bool {
        if self.0.since(now) > limit.tolerance {
            return false;
        }
        self.0 = Nanos(self.0.max(now).0.saturating_add(limit.interval));
        true
    }
}

/// The buckets of an access port.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PortBuckets([Bucket; Kind::ALL.len()]);

/// The limits of all access ports.
#[derive(Debug)]
pub(crate) struct PortLimits([Limit; Kind::ALL.len()]);

impl PortLimits {
    pub(crate) fn new(config: &StormControl) -> Self {
        Self(Kind::ALL.map(|kind| match kind {
            Kind::Broadcast => Limit::new(config.broadcast, config.broadcast.0 / 10),
            Kind::Multicast => Limit::new(config.multicast, config.multicast.0 / 10),
            Kind::UnknownUnicast => {
                Limit::new(config.unknown_unicast, config.unknown_unicast.0 / 10)
            }
            Kind::NewStation => {
                Limit::new(config.new_stations, config.new_stations.0.saturating_mul(2))
            }
        }))
    }

    /// Whether a port may send one more of this kind; if so, it has.
    #[inline]
    pub(crate) fn take(&self, buckets: &mut PortBuckets, kind: Kind, now: Nanos) -> bool {
        buckets.0[kind as usize].take(&self.0[kind as usize], now)
    }
}

/// The budgets of other nodes.
///
/// At most [`MAX_NODES`] have one of their own. Those who come then share one, until others fall
/// silent: a node that invents ingress nodes gains nothing by it and takes nothing from those who
/// are known.
#[derive(Debug)]
pub(crate) struct FloodBudgets {
    limit: Limit,
    buckets: HashMap<RemoteId, Bucket, FixedState>,
    shared: Bucket,
    swept: Nanos,
}

impl FloodBudgets {
    pub(crate) fn new(config: &StormControl, seed: u64) -> Self {
        Self {
            limit: Limit::new(config.cable_floods, config.cable_floods.0 / 10),
            buckets: HashMap::with_hasher(FixedState::with_seed(seed)),
            shared: Bucket::default(),
            swept: Nanos::default(),
        }
    }

    /// Whether a node may flood one more frame; if so, it has.
    #[inline]
    pub(crate) fn take(&mut self, node: RemoteId, now: Nanos) -> bool {
        if self.limit.interval == 0 {
            return true;
        }
        match self.buckets.get_mut(&node) {
            Some(bucket) => bucket.take(&self.limit, now),
            None => self.take_first(node, now),
        }
    }

    #[cold]
    fn take_first(&mut self, node: RemoteId, now: Nanos) -> bool {
        if self.buckets.len() >= MAX_NODES && now.since(self.swept) >= SWEEP_INTERVAL {
            self.swept = now;
            // A bucket that is full again is as good as a new one.
            self.buckets.retain(|_, bucket| bucket.0 > now);
        }
        if self.buckets.len() >= MAX_NODES {
            return self.shared.take(&self.limit, now);
        }
        self.buckets.entry(node).or_default().take(&self.limit, now)
    }
}
