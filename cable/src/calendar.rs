//! The time of day, for what ends at a certain time. The one place where this package reads it.
//!
//! A clock that is set back must not bring back what had ended. So a node goes by the latest time that
//! it has seen, and remembers that over its starts, in coarse steps. What a clock that was wrong by
//! years has done stays until the file is removed; `status` says so.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::store::{self, StoreError};

/// How far the time on disk is behind, in seconds.
const STEP: u64 = 600;

/// How far a clock may be behind before people are told: it is set right by less all the time.
const TOLD_FROM: Duration = Duration::from_secs(120);

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "memberships and invitations end by the calendar")]
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Calendar {
    path: Option<PathBuf>,
    latest: AtomicU64,
    kept: AtomicU64,
    /// Held while the file is written: two that write at once would put half a file in its place.
    writing: Mutex<()>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    latest: u64,
}

impl Calendar {
    /// That of a state directory (`calendar.json`).
    pub(crate) fn load(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join("calendar.json");
        let latest = store::load::<Kept>(&path)?.map_or(0, |kept| kept.latest);
        let (path, latest, kept) = (Some(path), latest.into(), latest.into());
        Ok(Self { path, latest, kept, writing: Mutex::default() })
    }

    /// Seconds since 1970, never less than before.
    pub(crate) fn now(&self) -> u64 {
        self.see(unix_seconds())
    }

    /// The clock says so; gives what counts.
    pub(crate) fn see(&self, clock: u64) -> u64 {
        self.latest.fetch_max(clock, Ordering::Relaxed).max(clock)
    }

    /// Whether it is to be written.
    pub(crate) fn is_due(&self) -> bool {
        self.path.is_some() && self.now() >= self.kept.load(Ordering::Relaxed).saturating_add(STEP)
    }

    /// Writes it.
    pub(crate) fn keep(&self) -> Result<(), StoreError> {
        let Some(path) = &self.path else { return Ok(()) };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = self.now();
        store::save(path, &Kept { latest })?;
        self.kept.store(latest, Ordering::Relaxed);
        Ok(())
    }

    /// What an operator is told of a clock that was set back.
    pub(crate) fn warning(&self) -> Option<String> {
        self.warning_at(unix_seconds())
    }

    fn warning_at(&self, clock: u64) -> Option<String> {
        let behind = Duration::from_secs(self.see(clock) - clock);
        let mend = match &self.path {
            Some(path) => format!("stop the node, remove {}, and start it", path.display()),
            None => "start the node again".to_owned(),
        };
        (behind >= TOLD_FROM).then(|| {
            format!(
                "the clock is {} s behind the latest time that this node has seen, and memberships and invitations end by that; if it was wrong then: {mend}",
                behind.as_secs()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_is_not_believed_and_told_of() {
        let directory = tempfile::tempdir().unwrap();
        let calendar = Calendar::load(directory.path()).unwrap();
        let ahead = unix_seconds() + 86_400;
        assert_eq!(calendar.see(ahead), ahead);
        assert_eq!(calendar.now(), ahead);
        assert!(calendar.warning_at(ahead - 60).is_none());
        assert!(calendar.warning().unwrap().contains("calendar.json"));
        assert!(calendar.is_due());
        calendar.keep().unwrap();
        assert!(!calendar.is_due(), "not at every look");
        // Nor after a restart.
        let again = Calendar::load(directory.path()).unwrap();
        assert_eq!(again.now(), ahead);
    }
}
