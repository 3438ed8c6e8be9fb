//! A table of pairs of stations, each with settings of its own: one cable that is many links, as
//! in a radio cell where everyone hears everyone differently.
//!
//! ```text
//! # source          destination        settings
//! 52:54:00:00:00:01 52:54:00:00:00:02  profile wifi-bad; loss 10
//! 52:54:00:00:00:02 *                  delay 20+5N
//! *                 33:33:00:00:00:01  loss 50
//! ```
//!
//! `*` is any station. Of the rows that fit a frame, the one with both addresses counts, then that
//! of the source, then that of the destination, then the one with neither; without a row it is the
//! link's own settings.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use ether::MacAddr;

use crate::action::{Action, ActionError};
use crate::link::Both;
use crate::settings::Settings;
use crate::spread::DelayTable;

/// The most rows: 4096, every pair of 64 stations.
pub const MAX_PAIRS: usize = 4096;

/// Whom a row is for; `None` is any station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// Who sends.
    pub source: Option<MacAddr>,
    /// Who receives.
    pub destination: Option<MacAddr>,
}

/// Pairs and their settings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PairTable {
    rows: Vec<(Pair, Both<Settings>)>,
    places: HashMap<Pair, usize, BuildHasherDefault<DefaultHasher>>,
}

/// A text is no table of pairs: which line, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PairError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub problem: PairProblem,
}

/// What can be wrong with a row.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PairProblem {
    /// Not an address.
    #[error("'{0}' is no MAC address and not *")]
    Address(String),
    /// The pair has a row above.
    #[error("this pair has a row above")]
    Repeated,
    /// Its settings.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// A row has one state.
    #[error("'[{0}]' means nothing here; pairs have one state")]
    State(usize),
    /// Too many rows.
    #[error("a table has at most {MAX_PAIRS} pairs")]
    TooLong,
}

impl PairTable {
    /// Reads a table. `table` is what shape `T` refers to.
    ///
    /// # Errors
    /// [`PairError`], for the first line that is wrong.
    pub fn parse(text: &str, table: Option<&Arc<DelayTable>>) -> Result<Self, PairError> {
        let mut pairs = Self::default();
        for (index, text) in text.lines().enumerate() {
            let text = text.split('#').next().unwrap_or_default().trim();
            if !text.is_empty() {
                let add = pairs.add(text, table);
                add.map_err(|problem| PairError { line: index + 1, problem })?;
            }
        }
        Ok(pairs)
    }

    fn add(&mut self, text: &str, table: Option<&Arc<DelayTable>>) -> Result<(), PairProblem> {
        let (source, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim_start();
        let (destination, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let pair = Pair { source: address(source)?, destination: address(destination)? };
        let mut settings = Both::default();
        for action in Action::parse_all(rest, table)? {
            if let Some(state) = action.state() {
                return Err(PairProblem::State(state));
            }
            action.apply(&mut settings).map_err(ActionError::Field)?;
        }
        self.insert(pair, settings)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`PairProblem::Repeated`], [`PairProblem::TooLong`].
    pub fn insert(&mut self, pair: Pair, settings: Both<Settings>) -> Result<(), PairProblem> {
        if self.rows.len() == MAX_PAIRS {
            return Err(PairProblem::TooLong);
        }
        if self.places.contains_key(&pair) {
            return Err(PairProblem::Repeated);
        }
        self.places.insert(pair, self.rows.len());
        self.rows.push((pair, settings));
        Ok(())
    }

    /// The rows in their order.
    pub fn rows(&self) -> &[(Pair, Both<Settings>)] {
        &self.rows
    }

    /// The place of the row for a frame.
    pub(crate) fn place(&self, source: MacAddr, destination: MacAddr) -> Option<usize> {
        if self.rows.is_empty() {
            return None;
        }
        let (source, destination) = (Some(source), Some(destination));
        [(source, destination), (source, None), (None, destination), (None, None)]
            .into_iter()
            .find_map(|(source, destination)| self.places.get(&Pair { source, destination }))
            .copied()
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |address: Option<MacAddr>| match address {
            Some(address) => address.to_string(),
            None => "*".to_owned(),
        };
        write!(f, "{} {}", shown(self.source), shown(self.destination))
    }
}

impl Pair {
    /// A number for each pair, from which its chance comes.
    pub(crate) fn numbers(self) -> [u64; 2] {
        let number = |address: Option<MacAddr>| match address {
            Some(MacAddr([a, b, c, d, e, f])) => u64::from_be_bytes([0, 1, a, b, c, d, e, f]),
            None => 0,
        };
        [number(self.source), number(self.destination)]
    }
}

fn address(word: &str) -> Result<Option<MacAddr>, PairProblem> {
    if word == "*" {
        return Ok(None);
    }
    word.parse().map(Some).map_err(|_| PairProblem::Address(word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    const C: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);
    const D: MacAddr = MacAddr([2, 0, 0, 0, 0, 4]);

    #[test]
    fn the_row_that_says_most_counts() {
        let text = "02:00:00:00:00:01 02:00:00:00:00:02 profile dsl\n\
                    02:00:00:00:00:01 * loss 1\n\
                    * 02:00:00:00:00:02 loss 2 # to B\n\
                    02:00:00:00:00:04 * loss 3\n";
        let table = PairTable::parse(text, None).unwrap();
        for (source, destination, place) in
            [(A, B, Some(0)), (A, C, Some(1)), (C, B, Some(2)), (D, B, Some(3)), (B, A, None)]
        {
            assert_eq!(table.place(source, destination), place);
        }
        assert_eq!(table.rows()[0].1, Profile::Dsl.settings());
        let all = PairTable::parse("* * clear", None).unwrap();
        assert_eq!(all.place(B, A), Some(0));
    }

    #[test]
    fn a_slip_is_told_with_its_line() {
        for (text, error) in [
            ("* * clear\nx * clear", "line 2: 'x' is no MAC address and not *"),
            ("*", "line 1: '' is no MAC address and not *"),
            ("* *", "line 1: a setting is missing, such as loss 5, profile lte or clear"),
            ("* * loss 5[1]", "line 1: '[1]' means nothing here; pairs have one state"),
            ("* * clear\n\n* * clear", "line 3: this pair has a row above"),
        ] {
            assert_eq!(PairTable::parse(text, None).unwrap_err().to_string(), error);
        }
    }
}
