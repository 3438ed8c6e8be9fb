//! The three clocks of a gateway, read by the shell and passed in together.
//!
//! Leases expire by the time since boot, which no one can set and which sees a suspended host.
//! Coordinated universal time and the boot's identity go to the log, so that a lease outlives a
//! reboot.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// One reading of all clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For `poll_timeout`, which answers in this clock.
    pub instant: Instant,
    /// Time since the host's boot, suspended time included (`CLOCK_BOOTTIME`). Never goes back.
    pub since_boot: Duration,
    /// What the host believes the date to be. May jump.
    pub utc: UtcTime,
}

/// Seconds since 1970-01-01 00:00:00 UTC, without leap seconds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct UtcTime(pub u64);

impl UtcTime {
    /// Before 2020 the date is not known: the host has no battery-backed clock and has not heard
    /// from a time server yet.
    pub const fn is_plausible(self) -> bool {
        const START_OF_2020: u64 = 1_577_836_800;
        self.0 >= START_OF_2020
    }
}

/// What tells one boot of the host from another (`/proc/sys/kernel/random/boot_id`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct BootId(pub [u8; 16]);

/// How long a lease lasts, in whole seconds: 1 to 2^32 - 2, or for ever (RFC 2131 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseTime(u32);

impl LeaseTime {
    /// Never expires; `0xffffffff` on the wire.
    pub const INFINITE: Self = Self(u32::MAX);

    /// Rounds to whole seconds, at least 1; what does not fit is infinite.
    pub fn new(time: Duration) -> Self {
        Self(u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1))
    }

    /// From seconds as they stand in a message.
    pub const fn from_secs(secs: u32) -> Self {
        Self(if secs == 0 { 1 } else { secs })
    }

    /// As it stands in a message.
    pub const fn as_secs(self) -> u32 {
        self.0
    }

    /// The duration, or `None` when infinite.
    pub fn finite(self) -> Option<Duration> {
        (self != Self::INFINITE).then(|| Duration::from_secs(self.0.into()))
    }
}

impl fmt::Display for LeaseTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.finite() {
            Some(_) => write!(f, "{} s", self.0),
            None => f.write_str("infinite"),
        }
    }
}
