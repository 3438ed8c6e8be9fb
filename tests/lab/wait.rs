//! Waiting for a condition with a deadline: the only place of the lab that reads the clock or
//! sleeps. A trial never waits for time to pass, it waits for something to become true.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Pause between two looks at a condition: short beside anything a person would notice, long
/// enough to leave the processor to the programs under test.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// Asks `poll` until it returns a value.
///
/// # Errors
///
/// When `within` has passed, naming `what`; or at once with the error that `poll` returns, which
/// is for conditions that can no longer become true.
pub fn wait_for<T>(
    what: &str,
    within: Duration,
    mut poll: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = now() + within;
    loop {
        if let Some(value) = poll().with_context(|| format!("while waiting for {what}"))? {
            return Ok(value);
        }
        if now() >= deadline {
            bail!("waited {within:?} in vain for {what}");
        }
        pause();
    }
}

/// Asks `condition` until it holds.
///
/// # Errors
///
/// As [`wait_for`].
pub fn wait_until(
    what: &str,
    within: Duration,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    wait_for(what, within, || Ok(condition()?.then_some(())))
}

#[expect(clippy::disallowed_methods, reason = "a deadline of real time for real programs")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the pause between two looks at a condition")]
fn pause() {
    std::thread::sleep(POLL_INTERVAL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_never_holds_is_named_in_the_error() {
        let error = wait_until("a miracle", Duration::ZERO, || Ok(false)).unwrap_err();
        assert!(error.to_string().contains("a miracle"), "{error}");
    }

    #[test]
    fn a_condition_that_cannot_hold_any_more_ends_the_wait() {
        let error = wait_for("a reply", Duration::from_secs(600), || -> Result<Option<()>> {
            bail!("the program has ended")
        })
        .unwrap_err();
        assert!(format!("{error:#}").contains("the program has ended"), "{error:#}");
    }
}
