//! What happened to the frames of one direction: what there is to compare with what was asked.

use std::fmt;
use std::time::Duration;

/// Why a frame was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Longer than [`Settings::mtu`](crate::Settings::mtu).
    TooLong,
    /// Lost, singly or in a burst.
    Lost,
    /// No room in the link; see [`Settings::capacity`](crate::Settings::capacity).
    Capacity,
    /// No room in the queue before the bottleneck.
    QueueFull,
    /// Waited too long in that queue; see [`Discipline::CoDel`](crate::Discipline::CoDel).
    Waited,
    /// No memory for it; see [`MAX_WAITING`](crate::MAX_WAITING).
    Memory,
}

impl DropReason {
    /// Every reason, in the order of the effects.
    pub const ALL: [Self; 6] =
        [Self::TooLong, Self::Lost, Self::Memory, Self::Capacity, Self::QueueFull, Self::Waited];
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "too long",
            Self::Lost => "lost",
            Self::Capacity => "capacity",
            Self::QueueFull => "queue full",
            Self::Waited => "waited",
            Self::Memory => "memory",
        })
    }
}

/// Counts of one direction since it was made. `received` and `copies` together are `delivered`,
/// all drops, and what waits.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Counters {
    /// Frames that came, whatever became of them.
    pub received: u64,
    /// Their octets.
    pub received_octets: u64,
    /// Copies made of frames that came.
    pub copies: u64,
    /// [`DropReason::TooLong`].
    pub too_long: u64,
    /// [`DropReason::Lost`].
    pub lost: u64,
    /// Runs of losses without a frame between them that was not lost.
    pub loss_runs: u64,
    /// [`DropReason::Memory`].
    pub memory: u64,
    /// [`DropReason::Capacity`].
    pub capacity: u64,
    /// [`DropReason::QueueFull`].
    pub queue_full: u64,
    /// [`DropReason::Waited`].
    pub waited: u64,
    /// Frames in which corruption flipped a bit.
    pub corrupted: u64,
    /// Frames in which noise flipped bits.
    pub noisy: u64,
    /// Bits that noise flipped.
    pub flipped_bits: u64,
    /// Frames that were chosen to overtake.
    pub hurried: u64,
    /// Frames handed out.
    pub delivered: u64,
    /// Their octets.
    pub delivered_octets: u64,
    /// Frames handed out after one that had come later (RFC 4737 3).
    pub reordered: u64,
    /// How long frames were in the link, by the link's own reckoning.
    pub delay: Statistic,
    /// How much later than that they were handed out: what the caller adds.
    pub lateness: Statistic,
}

impl Counters {
    /// How many frames were dropped for a reason.
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        match reason {
            DropReason::TooLong => self.too_long,
            DropReason::Lost => self.lost,
            DropReason::Capacity => self.capacity,
            DropReason::QueueFull => self.queue_full,
            DropReason::Waited => self.waited,
            DropReason::Memory => self.memory,
        }
    }

    /// Counts a drop.
    pub(crate) const fn drop(&mut self, reason: DropReason) {
        let counter = match reason {
            DropReason::TooLong => &mut self.too_long,
            DropReason::Lost => &mut self.lost,
            DropReason::Capacity => &mut self.capacity,
            DropReason::QueueFull => &mut self.queue_full,
            DropReason::Waited => &mut self.waited,
            DropReason::Memory => &mut self.memory,
        };
        *counter += 1;
    }

    /// The share of frames that were lost, in percent, of those that were not too long.
    pub fn loss_percent(&self) -> Option<f64> {
        ratio(self.lost, self.received - self.too_long).map(|share| share * 100.0)
    }

    /// The mean number of frames lost in a row.
    pub fn mean_burst(&self) -> Option<f64> {
        ratio(self.lost, self.loss_runs)
    }

    /// Copies for each hundred frames that were not lost.
    pub fn duplication_percent(&self) -> Option<f64> {
        let passed = self.received - self.too_long - self.lost;
        ratio(self.copies, passed).map(|share| share * 100.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 53 bits")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Mean, deviation and extremes of times.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Statistic {
    count: u64,
    sum: f64,
    squares: f64,
    min: u64,
    max: u64,
}

#[expect(clippy::cast_precision_loss, reason = "statistics need no more than 53 bits")]
impl Statistic {
    pub(crate) const fn add(&mut self, nanoseconds: u64) {
        let value = nanoseconds as f64;
        if self.count == 0 || nanoseconds < self.min {
            self.min = nanoseconds;
        }
        if nanoseconds > self.max {
            self.max = nanoseconds;
        }
        self.count += 1;
        self.sum += value;
        self.squares += value * value;
    }

    /// The arithmetic mean; `None` before the first value, as all of them.
    pub fn mean(&self) -> Option<Duration> {
        (self.count > 0).then(|| duration(self.sum / self.count as f64))
    }

    /// The standard deviation.
    pub fn deviation(&self) -> Option<Duration> {
        (self.count > 0).then(|| {
            let mean = self.sum / self.count as f64;
            let variance = self.squares / self.count as f64 - mean * mean;
            duration(libm::sqrt(variance.max(0.0)))
        })
    }

    /// The least.
    pub fn min(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.min))
    }

    /// The greatest.
    pub fn max(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.max))
    }
}

fn duration(nanoseconds: f64) -> Duration {
    Duration::from_nanos(crate::units::whole(nanoseconds))
}
