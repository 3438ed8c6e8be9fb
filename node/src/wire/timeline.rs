//! Settings over time, from a text of one step a line:
//!
//! ```text
//! # Into a tunnel and out again.
//! 0      profile lte
//! 10s    rate=2mbit loss=1%
//! 12s    in delay=300ms
//! 14.5s  clear
//! 60s    repeat
//! ```
//!
//! A time counts from the beginning, in seconds unless `ms`, `s` or `min` follows, and is not before
//! that of the line above. `in` or `out` behind it restricts the line to one direction. Steps add up,
//! beginning with what was set when the timeline began; `repeat`, alone on the last line, begins
//! again with that. Pure.

use std::time::Duration;

use super::edit::{Edit, EditError, Sides};

/// The most steps. One every second of a day and a bit more.
const MAX_STEPS: usize = 100_000;

/// The shortest time after which it begins again: what the runtime's clock counts in.
const SHORTEST: Duration = Duration::from_millis(1);

/// The latest time: a week.
const LATEST: Duration = Duration::from_secs(7 * 86_400);

/// What is to be changed when.
#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    pub(crate) steps: Vec<Step>,
    /// When it begins again: [`SHORTEST`] or later.
    pub(crate) period: Option<Duration>,
}

/// Changes at one instant.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// From the beginning.
    pub(crate) at: Duration,
    pub(crate) edits: Vec<Edit>,
}

/// A text is no timeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TimelineError {
    #[error("line {line}: {problem}")]
    Line { line: usize, problem: Problem },
    #[error("a timeline has at least one step; see vdecable wire --help")]
    Empty,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error("'{0}' is no time from 0 to a week; write 10, 2.5s, 300ms or 1min")]
    Time(String),
    #[error("{}s is before the {}s of the step above", .0.as_secs_f64(), .1.as_secs_f64())]
    Backwards(Duration, Duration),
    #[error("nothing is to be changed at that time")]
    Nothing,
    #[error("'{0}' is neither NAME=VALUE nor profile NAME, clear or repeat")]
    Word(String),
    #[error("profile needs a name")]
    NoProfile,
    #[error("repeat stands alone on its line, which is the last")]
    Repeat,
    #[error("it cannot repeat at once; give repeat a time from 1ms on")]
    Endless,
    #[error("there are more than {MAX_STEPS} steps")]
    TooLong,
}

impl Timeline {
    pub(crate) fn parse(text: &str) -> Result<Self, TimelineError> {
        let mut timeline = Self { steps: Vec::new(), period: None };
        for (index, line) in text.lines().enumerate() {
            let wrong = |problem| TimelineError::Line { line: index + 1, problem };
            let line = line.split('#').next().unwrap_or_default();
            timeline.add(line).map_err(wrong)?;
        }
        if timeline.steps.is_empty() { Err(TimelineError::Empty) } else { Ok(timeline) }
    }

    fn add(&mut self, line: &str) -> Result<(), Problem> {
        let mut words = line.split_whitespace().peekable();
        let Some(first) = words.next() else {
            return Ok(());
        };
        if self.period.is_some() {
            return Err(Problem::Repeat);
        }
        let at = time(first).ok_or_else(|| Problem::Time(first.to_owned()))?;
        if let Some(before) = self.steps.last().map(|step| step.at)
            && at < before
        {
            return Err(Problem::Backwards(at, before));
        }
        let sides = match words.peek() {
            Some(&"in") => Sides::In,
            Some(&"out") => Sides::Out,
            _ => Sides::Both,
        };
        if sides != Sides::Both {
            words.next();
        }
        let mut edits = Vec::new();
        while let Some(word) = words.next() {
            edits.push(match word {
                "repeat" if edits.is_empty() && words.peek().is_none() && sides == Sides::Both => {
                    if at < SHORTEST {
                        return Err(Problem::Endless);
                    }
                    self.period = Some(at);
                    return Ok(());
                }
                "repeat" => return Err(Problem::Repeat),
                "clear" => Edit::clear(sides),
                "profile" => Edit::profile(sides, words.next().ok_or(Problem::NoProfile)?)?,
                word => {
                    let (name, value) =
                        word.split_once('=').ok_or_else(|| Problem::Word(word.to_owned()))?;
                    Edit::set(sides, name, value)?
                }
            });
        }
        if edits.is_empty() {
            return Err(Problem::Nothing);
        }
        if self.steps.len() == MAX_STEPS {
            return Err(Problem::TooLong);
        }
        self.steps.push(Step { at, edits });
        Ok(())
    }
}

fn time(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "min" => 60.0,
        _ => return None,
    };
    let time = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * factor).ok()?;
    (time <= LATEST).then_some(time)
}

#[cfg(test)]
mod tests {
    use emulator::Both;

    use super::*;
    use crate::wire::edit::{IN, OUT, apply};

    #[test]
    fn the_documented_timeline_is_what_is_read() {
        let text = "# Into a tunnel and out again.\n0      profile lte\n10s    rate=2mbit loss=1%\n\
                    12s    in delay=300ms\n14.5s  clear\n60s    repeat\n";
        let timeline = Timeline::parse(text).unwrap();
        let times: Vec<_> = timeline.steps.iter().map(|step| step.at.as_secs_f64()).collect();
        assert_eq!(times, [0.0, 10.0, 12.0, 14.5]);
        assert_eq!(timeline.period, Some(Duration::from_secs(60)));
        let mut settings = Both::default();
        for step in &timeline.steps[..3] {
            apply(&step.edits, &mut settings);
        }
        assert_eq!(settings[IN].delay, Duration::from_millis(300).into());
        assert_eq!(settings[OUT].delay.centre, Duration::from_millis(35));
        assert_eq!(settings[IN].bandwidth, settings[OUT].bandwidth);
        apply(&timeline.steps[3].edits, &mut settings);
        assert_eq!(settings, Both::default());
    }

    #[test]
    fn times_have_units() {
        for (text, millis) in
            [("0", 0), ("10", 10_000), ("2.5s", 2500), ("30ms", 30), ("1min", 60_000)]
        {
            assert_eq!(time(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1", "1h", "1e9", "1.2.3", "99999min"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn a_slip_is_told_with_its_line() {
        for (text, error) in [
            ("0 loss=1\n\n5 delya=10ms", "line 3: delya: there is no such setting"),
            ("# x\n0 loss=101%", "line 2: loss: 101 is no percentage"),
            ("0 loss=1\n10 rate=2parsec", "line 2: rate: 'parsec' means nothing here"),
            ("5 loss=1\n4 loss=2", "line 2: 4s is before the 5s of the step above"),
            ("soon loss=1", "line 1: 'soon' is no time"),
            ("0 in", "line 1: nothing is to be changed"),
            ("0 profile", "line 1: profile needs a name"),
            ("0 profile 5g", "line 1: profile: there is none called '5g'"),
            ("0 loss", "line 1: 'loss' is neither"),
            ("0 loss=1\n5 repeat\n6 loss=2", "line 3: repeat stands alone"),
            ("0 loss=1\n5 repeat clear", "line 2: repeat stands alone"),
            ("0 loss=1\n0 repeat", "line 2: it cannot repeat at once"),
            ("# nothing\n", "a timeline has at least one step"),
        ] {
            let err = Timeline::parse(text).unwrap_err().to_string();
            assert!(err.starts_with(error), "{text:?}: {err}");
        }
    }
}
