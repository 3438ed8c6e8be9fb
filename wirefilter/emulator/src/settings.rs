//! All that one direction of a link can be told.

use std::sync::Arc;
use std::time::Duration;

use crate::loss::LossStates;
use crate::spread::Spread;
use crate::trace::Trace;
use crate::units::{BurstLength, Noise, Octets, Percent, Quantity as _, Rate};

/// What one direction of a link does to its frames. The default does nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// Longer frames are dropped. Counts the frame from its destination address to the end of its
    /// payload.
    pub mtu: Option<Octets>,
    /// The share of frames that are lost, in bursts if [`Self::burst`] says so.
    pub loss: Chance,
    /// The mean number of frames lost in a row (Gilbert's model). 0: each frame is lost or not
    /// whatever happened to the one before.
    ///
    /// Where share and burst exclude each other (90 % in bursts of 2) the share is kept and bursts
    /// get longer.
    pub burst: Spread<BurstLength>,
    /// A model of loss with more states, in place of [`Self::loss`] and [`Self::burst`].
    pub loss_states: Option<LossStates>,
    /// The share of frames, and of copies, that are followed by a copy.
    pub duplication: Chance,
    /// The share of frames in which one bit is flipped.
    pub corruption: Chance,
    /// How many bits are flipped, each by itself.
    pub noise: Spread<Noise>,
    /// The sender's interface: a frame occupies it for its own time, and meanwhile the sender is
    /// to wait; see [`Emulator::ready_at`](crate::Emulator::ready_at). `None` and 0: no limit.
    pub speed: Option<Spread<Rate>>,
    /// The rate of the bottleneck. Frames wait before it, nobody else does. `None` and 0: no limit.
    pub bandwidth: Option<Spread<Rate>>,
    /// A recorded bottleneck, in place of [`Self::bandwidth`].
    pub trace: Option<Arc<Trace>>,
    /// The queue before the bottleneck.
    pub queue: Queue,
    /// The most octets in the whole link, those on their way included (VDE's channel buffer). A
    /// frame beyond is dropped. `None` and 0: no limit but [`MAX_WAITING`](crate::MAX_WAITING).
    pub capacity: Option<Spread<Octets>>,
    /// How long a frame is on its way, apart from waiting and transmission.
    pub delay: Spread<Duration>,
    /// How much the variation of the delay depends on that of the frame before.
    pub delay_correlation: Percent,
    /// The share of frames that are not delayed and overtake others, even where order is kept.
    pub reorder: Chance,
    /// Whether frames may overtake one another when their delays differ.
    pub order: Order,
}

/// An event that happens to some frames.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chance {
    /// To how many.
    pub share: Spread<Percent>,
    /// How much it depends on whether it happened to the frame before: the correlation of two
    /// normal values of which the event is that the value is low. The share stays what it is.
    pub correlation: Percent,
}

impl From<Percent> for Chance {
    fn from(share: Percent) -> Self {
        Self { share: share.into(), correlation: Percent::ZERO }
    }
}

/// The queue before a bottleneck. Without a bottleneck nothing waits there.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Queue {
    /// The most octets that wait; the frame in transmission does not. `None`: no limit.
    pub octets: Option<Octets>,
    /// The most frames that wait. `None`: no limit.
    pub frames: Option<u32>,
    /// Which frame is dropped, and when.
    pub discipline: Discipline,
}

/// How a queue is kept short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Discipline {
    /// The frame that finds no room is dropped.
    #[default]
    TailDrop,
    /// Also frames that waited too long for too long (RFC 8289).
    CoDel {
        /// How long frames may wait in a good queue; 5 ms in RFC 8289 4.2.
        target: Duration,
        /// How long they may wait longer; 100 ms in RFC 8289 4.2.
        interval: Duration,
    },
}

impl Discipline {
    /// CoDel as RFC 8289 recommends it.
    pub const CODEL: Self =
        Self::CoDel { target: Duration::from_millis(5), interval: Duration::from_millis(100) };
}

/// Whether frames can overtake one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// A frame is never delivered before one that came earlier: it waits for it.
    #[default]
    Kept,
    /// Every frame is delivered when its own delay is over.
    Free,
}

/// A rate of 0 is no limit.
pub(crate) fn limit(rate: Option<&Spread<Rate>>) -> Option<&Spread<Rate>> {
    rate.filter(|rate| rate.centre.number() > 0.0)
}
