//! How often a node has started, kept on disk: what it says after a start supersedes what it said
//! before.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::store::{self, StoreError};

/// The epoch of this run, and where the highest is kept.
#[derive(Debug)]
pub struct Epoch {
    file: Option<PathBuf>,
    current: u64,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    epoch: u64,
}

impl Epoch {
    /// One more than that of the last run, on disk before it is used. Without one on disk it is
    /// `seconds`, those since 1970: higher than after a few starts of a disk that was lost.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin(state: Option<&Path>, seconds: u64) -> Result<Self, StoreError> {
        let file = state.map(|state| state.join("epoch.json"));
        let kept: Option<Kept> = file.as_deref().map_or(Ok(None), store::load)?;
        let mut epoch = Self { file, current: 0 };
        epoch.raise(kept.map_or(seconds, |kept| kept.epoch.saturating_add(1)))?;
        Ok(epoch)
    }

    /// That of this run.
    pub fn current(&self) -> u64 {
        self.current
    }

    /// Goes on above what others remember.
    ///
    /// # Errors
    /// [`StoreError`]; the epoch counts all the same.
    pub fn raise(&mut self, epoch: u64) -> Result<(), StoreError> {
        self.current = epoch;
        self.file.as_deref().map_or(Ok(()), |file| store::save(file, &Kept { epoch }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_is_later_than_the_one_before_also_when_the_clock_is_not() {
        let state = tempfile::tempdir().unwrap();
        let begin = |seconds| Epoch::begin(Some(state.path()), seconds).unwrap().current();
        assert_eq!(begin(1_700_000_000), 1_700_000_000);
        assert_eq!(begin(3), 1_700_000_001);
        Epoch::begin(Some(state.path()), 0).unwrap().raise(1_800_000_000).unwrap();
        assert_eq!(begin(0), 1_800_000_001);
    }
}
