//! Recorded bottlenecks: when, in a real network, one packet could be delivered.
//!
//! The format is that of mahimahi's `mm-link`: each line is a time in whole milliseconds, not
//! before the line above, at which 1504 octets can be delivered. The last time is the trace's
//! length; then it begins again. What is not used at its time is lost.

/// What one opportunity delivers: a packet of 1500 octets and its header in mahimahi.
pub const OPPORTUNITY: u32 = 1504;

/// The most lines: 2^22, an hour at 14 Mbit/s.
pub const MAX_OPPORTUNITIES: usize = 1 << 22;

/// A recorded bottleneck.
#[derive(Debug, PartialEq, Eq)]
pub struct Trace {
    /// In nanoseconds, ascending.
    opportunities: Vec<u64>,
}

/// A text is no trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// A line is not a number of milliseconds.
    #[error("line {line}: {text:?} is no time in whole milliseconds up to 4294967295")]
    Number {
        /// From 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// A time is before the one above it.
    #[error("line {line}: {time} ms is before the {before} ms of the line above")]
    Backwards {
        /// From 1.
        line: usize,
        /// The time.
        time: u32,
        /// The one above.
        before: u32,
    },
    /// There is nothing, or everything is at time 0.
    #[error("a trace needs a line with a time after 0; it would never end")]
    NoLength,
    /// There are more than [`MAX_OPPORTUNITIES`] lines.
    #[error("a trace has at most {MAX_OPPORTUNITIES} lines")]
    TooLong,
}

impl Trace {
    /// Reads a trace.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut opportunities = Vec::new();
        let mut before = 0;
        for (index, text) in text.lines().enumerate() {
            let (line, text) = (index + 1, text.trim());
            if text.is_empty() {
                continue;
            }
            let time: u32 =
                text.parse().map_err(|_| TraceError::Number { line, text: text.to_owned() })?;
            if time < before {
                return Err(TraceError::Backwards { line, time, before });
            }
            if opportunities.len() == MAX_OPPORTUNITIES {
                return Err(TraceError::TooLong);
            }
            before = time;
            opportunities.push(u64::from(time) * 1_000_000);
        }
        if before == 0 {
            return Err(TraceError::NoLength);
        }
        Ok(Self { opportunities })
    }

    /// How long it takes until it begins again, in nanoseconds.
    fn period(&self) -> u64 {
        self.opportunities.last().copied().expect("a trace has a length")
    }
}

/// A trace being played.
#[derive(Debug)]
pub(crate) struct Player {
    /// When the trace began, for the present round.
    round: u64,
    /// The next opportunity that was not used.
    index: usize,
    /// The time of the opportunity in use, and the octets left of it.
    open: (u64, u64),
}

impl Player {
    pub(crate) const fn new(now: u64) -> Self {
        Self { round: now, index: 0, open: (now, 0) }
    }

    /// When `octets` that are ready at `start` have been delivered. Calls are in order of time.
    pub(crate) fn serve(&mut self, trace: &Trace, start: u64, octets: u64) -> u64 {
        let mut needed = octets;
        if self.open.0 != start {
            self.open = (start, 0);
            self.skip_to(trace, start);
        }
        while needed > self.open.1 {
            needed -= self.open.1;
            self.open = (self.advance(trace), u64::from(OPPORTUNITY));
        }
        self.open.1 -= needed;
        self.open.0.max(start)
    }

    /// Lets opportunities before `start` pass.
    fn skip_to(&mut self, trace: &Trace, start: u64) {
        let period = trace.period();
        let rounds = start.saturating_sub(self.round) / period;
        // The end of one round is the beginning of the next: an opportunity exactly there is the
        // last of the earlier one and may still be used.
        let within = start.saturating_sub(self.round) % period;
        let (rounds, within) =
            if rounds > 0 && within == 0 { (rounds - 1, period) } else { (rounds, within) };
        if rounds > 0 {
            self.round += rounds * period;
            self.index = 0;
        }
        let first = trace.opportunities.partition_point(|time| *time < within);
        self.index = self.index.max(first);
    }

    /// Takes the next opportunity; returns its time.
    fn advance(&mut self, trace: &Trace) -> u64 {
        if self.index == trace.opportunities.len() {
            self.index = 0;
            self.round += trace.period();
        }
        let time = self.round + trace.opportunities[self.index];
        self.index += 1;
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn frames_wait_for_opportunities_and_unused_ones_are_lost() {
        let trace = Trace::parse("2\n4\n4\n10\n").unwrap();
        let mut player = Player::new(0);
        assert_eq!(player.serve(&trace, 0, 1504), 2 * MS);
        // 3000 octets need two, and both are at 4.
        assert_eq!(player.serve(&trace, 2 * MS, 3000), 4 * MS);
        // 8 octets are left at 4, but this one is ready later.
        assert_eq!(player.serve(&trace, 5 * MS, 8), 10 * MS);
        // The rest of that opportunity, at the same instant.
        assert_eq!(player.serve(&trace, 10 * MS, 1000), 10 * MS);
        // The next round begins at 10.
        assert_eq!(player.serve(&trace, 10 * MS, 1000), 12 * MS);
        // Two rounds later, after a long silence.
        assert_eq!(player.serve(&trace, 33 * MS, 100), 34 * MS);
        assert_eq!(player.serve(&trace, 40 * MS, 100), 40 * MS);
    }

    #[test]
    fn small_frames_share_an_opportunity() {
        let trace = Trace::parse("1\n").unwrap();
        let mut player = Player::new(5 * MS);
        assert_eq!(player.serve(&trace, 5 * MS, 60), 6 * MS);
        for _ in 0..24 {
            assert_eq!(player.serve(&trace, 6 * MS, 60), 6 * MS);
        }
        assert_eq!(player.serve(&trace, 6 * MS, 60), 7 * MS, "25 × 60 = 1500; 4 are left over");
    }

    #[test]
    fn a_slip_is_told_with_its_line() {
        for (text, error) in [
            ("1\n2\nx\n", "line 3: \"x\" is no time in whole milliseconds up to 4294967295"),
            ("5\n\n3\n", "line 3: 3 ms is before the 5 ms of the line above"),
            ("0\n0\n", "a trace needs a line with a time after 0; it would never end"),
        ] {
            assert_eq!(Trace::parse(text).unwrap_err().to_string(), error);
        }
    }
}
