//! Settings over time: a file of instants and what changes at each, played as often as wanted.
//!
//! ```text
//! # a train
//! 0      profile lte
//! 20s    bandwidth 1Mbit; loss 2
//! 25s    loss 100
//! 27.5s  profile lte
//! 60s    repeat
//! ```
//!
//! Each line has a time since the beginning (`ms`, `s`, `m`, `h`; seconds without), not before the
//! line above, and steps between semicolons: settings as on consoles, `profile NAME`, `clear`.
//! `repeat`, alone and last, begins again. `#` begins a comment. Where no state is named, state 0
//! is meant.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::action::{Action, ActionError};
use crate::notation::number;
use crate::spread::DelayTable;
use crate::units::Quantity as _;

/// The most lines of a timeline.
pub const MAX_LINES: usize = 1 << 16;

/// Settings over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    entries: Vec<(Duration, Vec<Action>)>,
    /// When it begins again.
    repeat: Option<Duration>,
}

/// A text is no timeline: which line, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TimelineError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub problem: TimelineProblem,
}

/// What can be wrong with a line.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TimelineProblem {
    /// The first word is no time.
    #[error("'{0}' is no time; write 10s, 250ms, 1.5m or 2h")]
    Time(String),
    /// A time is before that of the line above.
    #[error("{time:?} is before the {before:?} of the line above")]
    Backwards {
        /// The time.
        time: Duration,
        /// The one above.
        before: Duration,
    },
    /// What is to happen.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// Something stands behind `repeat`, on its line or below.
    #[error("nothing can follow a repeat")]
    AfterRepeat,
    /// `repeat` at the very beginning.
    #[error("a repeat at 0 would repeat without end; give it a later time")]
    Endless,
    /// Too many lines.
    #[error("a timeline has at most {MAX_LINES} lines")]
    TooLong,
}

impl Timeline {
    /// Reads a timeline. `table` is what shape `T` refers to.
    ///
    /// # Errors
    /// [`TimelineError`], for the first line that is wrong.
    pub fn parse(text: &str, table: Option<&Arc<DelayTable>>) -> Result<Self, TimelineError> {
        let mut timeline = Self { entries: Vec::new(), repeat: None };
        for (index, text) in text.lines().enumerate() {
            let text = text.split('#').next().unwrap_or_default().trim();
            if !text.is_empty() {
                let add = timeline.add(text, table);
                add.map_err(|problem| TimelineError { line: index + 1, problem })?;
            }
        }
        Ok(timeline)
    }

    fn add(&mut self, text: &str, table: Option<&Arc<DelayTable>>) -> Result<(), TimelineProblem> {
        if self.repeat.is_some() {
            return Err(TimelineProblem::AfterRepeat);
        }
        if self.entries.len() == MAX_LINES {
            return Err(TimelineProblem::TooLong);
        }
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let time = time(word).ok_or_else(|| TimelineProblem::Time(word.to_owned()))?;
        if let Some((before, _)) = self.entries.last()
            && time < *before
        {
            return Err(TimelineProblem::Backwards { time, before: *before });
        }
        match rest.trim() {
            "repeat" if time.is_zero() => return Err(TimelineProblem::Endless),
            "repeat" => self.repeat = Some(time),
            steps if steps.split_whitespace().next() == Some("repeat") => {
                return Err(TimelineProblem::AfterRepeat);
            }
            steps => self.entries.push((time, Action::parse_all(steps, table)?)),
        }
        Ok(())
    }

    /// The highest state that it names.
    pub fn highest_state(&self) -> usize {
        let actions = self.entries.iter().flat_map(|(_, actions)| actions);
        actions.filter_map(Action::state).max().unwrap_or(0)
    }
}

fn time(word: &str) -> Option<Duration> {
    let (number, unit) = number(word).ok()?;
    let seconds = match unit {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::from_number(number * seconds * 1e9).ok()
}

/// A timeline being played.
#[derive(Debug)]
pub struct TimelinePlayer {
    timeline: Arc<Timeline>,
    /// When the present round began.
    round: Instant,
    /// The next entry.
    index: usize,
}

/// How many rounds are made up for when nobody asked for a long time.
const MAX_CATCH_UP: u32 = 100;

impl TimelinePlayer {
    /// Begins now.
    pub const fn new(timeline: Arc<Timeline>, now: Instant) -> Self {
        Self { timeline, round: now, index: 0 }
    }

    /// When to call [`Self::handle_timeout`]. `None`: it is over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let entry = self.timeline.entries.get(self.index).map(|(time, _)| *time);
        self.round.checked_add(entry.or(self.timeline.repeat)?)
    }

    /// The next steps that are due at `now`, with their own instant.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<(Instant, &[Action])> {
        let mut rounds = 0;
        while self.index == self.timeline.entries.len() {
            let repeat = self.timeline.repeat.filter(|_| self.index > 0)?;
            let next = self.round.checked_add(repeat).filter(|next| *next <= now)?;
            rounds += 1;
            self.round = if rounds > MAX_CATCH_UP { now } else { next };
            self.index = 0;
        }
        let (time, actions) = &self.timeline.entries[self.index];
        let at = self.round.checked_add(*time).filter(|at| *at <= now)?;
        self.index += 1;
        Some((at, actions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "fake time counts from a real instant")]
    fn start() -> Instant {
        Instant::now()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn steps_come_at_their_times_and_again() {
        let text =
            "# a train\n0 profile lte\n20s loss 2; delay LR5 # tunnel\n\n1m clear\n1.5m repeat";
        let timeline = Arc::new(Timeline::parse(text, None).unwrap());
        let start = start();
        let mut player = TimelinePlayer::new(timeline, start);
        let mut seen = Vec::new();
        while let Some(next) = player.poll_timeout().filter(|next| *next <= start + 200 * SECOND) {
            while let Some((at, actions)) = player.handle_timeout(next) {
                seen.push(((at - start).as_secs(), actions.len()));
            }
        }
        let round = [(0, 1), (20, 2), (60, 1)];
        let expected: Vec<_> =
            (0..3).flat_map(|n| round.map(|(at, steps)| (at + 90 * n, steps))).collect();
        assert_eq!(seen, expected[..8]);
    }

    #[test]
    fn late_steps_have_their_own_instants() {
        let timeline = Timeline::parse("1 loss 1\n2 loss 2\n3 repeat", None).unwrap();
        let start = start();
        let mut player = TimelinePlayer::new(Arc::new(timeline), start);
        let mut seen = Vec::new();
        while let Some((at, _)) = player.handle_timeout(start + 8 * SECOND) {
            seen.push((at - start).as_secs());
        }
        assert_eq!(seen, [1, 2, 4, 5, 7, 8]);
    }

    #[test]
    fn a_slip_is_told_with_its_line() {
        let good = "0 clear\n1 loss 1\n2 loss 2\n3 loss 3\n4 loss 4\n\n";
        for (line, error) in [
            ("5 los 5", "line 7: there is no setting 'los'"),
            (
                "5 loss 5%",
                "line 7: loss: '%' means nothing here; K, M or G and then U, N, P or T may follow the number",
            ),
            ("5 loss 5;", "line 7: a setting is missing, such as loss 5, profile lte or clear"),
            ("5", "line 7: a setting is missing, such as loss 5, profile lte or clear"),
            ("5x loss 5", "line 7: '5x' is no time; write 10s, 250ms, 1.5m or 2h"),
            ("-5 loss 5", "line 7: '-5' is no time; write 10s, 250ms, 1.5m or 2h"),
            ("3 loss 5", "line 7: 3s is before the 4s of the line above"),
            (
                "5 profile 5g",
                "line 7: there is no profile '5g'; there are lte, 3g, satellite, dsl, wifi-bad, intercontinental",
            ),
            ("5 clear all", "line 7: 'all' means nothing behind clear"),
            ("5 repeat 3", "line 7: nothing can follow a repeat"),
            ("5 repeat\n6 clear", "line 8: nothing can follow a repeat"),
        ] {
            let err = Timeline::parse(&format!("{good}{line}\n"), None).unwrap_err();
            assert_eq!(err.to_string(), error);
        }
        let err = Timeline::parse("0 repeat", None).unwrap_err();
        assert_eq!(err.problem, TimelineProblem::Endless);
    }

    #[test]
    fn an_empty_timeline_is_over_at_once() {
        for text in ["", "# nothing", "5 repeat"] {
            let timeline = Arc::new(Timeline::parse(text, None).unwrap());
            let start = start();
            let mut player = TimelinePlayer::new(timeline, start);
            assert_eq!(player.handle_timeout(start + 100 * SECOND), None);
        }
    }
}
