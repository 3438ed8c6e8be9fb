//! The one place where this package reads the clock.

use std::time::Instant;

/// The present moment, which is the tests' own where they have stopped time.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
