//! How people write values: `LR100+20N[2]`, `128+64K`, `10Mbit`, `2.5ms`.
//!
//! `[LR|RL] value[+variation][unit][shape][\[state\]]`, as in VDE's wirefilter, with units and
//! shapes added. Blanks may stand between the parts. What is not understood is an error that names
//! the word, where VDE ignores it.
//!
//! | Part | Written | Means |
//! |---|---|---|
//! | direction | `LR`, `RL`, nothing | left to right, right to left, both |
//! | unit | `K` `M` `G` | 2^10, 2^20, 2^30, of value and variation |
//! | | `bit` `Kbit` `Mbit` `Gbit` | bits a second, with 10^3, 10^6, 10^9; rates only |
//! | | `ns` `us` `ms` `s` | times only; without one, milliseconds |
//! | shape | `U` `N` `P` `T` | uniform (also nothing), normal, Pareto, from a table |
//! | state | `[2]` | of the Markov chain; without one, state 0 |

use std::sync::Arc;

use crate::link::Direction;
use crate::spread::{DelayTable, Shape};

/// A text is no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotationError {
    /// Nothing where a number was expected.
    #[error("a number is missing")]
    Missing,
    /// Something else where a number was expected.
    #[error("'{0}' is not a number")]
    Number(String),
    /// Something behind the number that means nothing there.
    #[error("'{word}' means nothing here; {allowed}")]
    Unit {
        /// What was written.
        word: String,
        /// What could have been.
        allowed: &'static str,
    },
    /// Not the number of a state in brackets.
    #[error("'{0}' is no state; write its number in brackets, as in [2]")]
    State(String),
    /// Shape `T` without a table.
    #[error("no distribution was loaded for 'T'; load one first")]
    NoTable,
    /// A list has too few or too many numbers.
    #[error("{found} numbers instead of {wanted}, separated by commas")]
    Count {
        /// How many there are.
        found: usize,
        /// How many there can be.
        wanted: &'static str,
    },
    /// Something with one value was given a variation.
    #[error("'+{0}' means nothing here; this value does not vary")]
    Variation(String),
}

/// What a number counts, and so which units it can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Percent, bits, frames: no unit, but K, M and G.
    Plain,
    /// Milliseconds unless told otherwise; read as nanoseconds.
    Time,
    /// Octets a second unless told otherwise.
    Rate,
}

/// Where a value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Target {
    /// `None`: both directions.
    pub direction: Option<Direction>,
    /// `None`: not said.
    pub state: Option<usize>,
}

/// A value as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Notated {
    pub(crate) centre: f64,
    pub(crate) variation: f64,
    pub(crate) shape: Shape,
}

/// Splits a text into where its value goes and the value itself.
///
/// # Errors
/// [`NotationError::State`].
pub(crate) fn target(text: &str) -> Result<(Target, &str), NotationError> {
    let text = text.trim();
    let (direction, text) = match text.split_at_checked(2) {
        Some((word, rest)) if word.eq_ignore_ascii_case("LR") => {
            (Some(Direction::LeftToRight), rest)
        }
        Some((word, rest)) if word.eq_ignore_ascii_case("RL") => {
            (Some(Direction::RightToLeft), rest)
        }
        _ => (None, text),
    };
    let (state, text) = match text.split_once('[') {
        None => (None, text),
        Some((text, state)) => {
            let number = state.strip_suffix(']').and_then(|state| state.trim().parse().ok());
            let number = number.ok_or_else(|| NotationError::State(format!("[{state}")))?;
            (Some(number), text)
        }
    };
    Ok((Target { direction, state }, text.trim()))
}

/// Reads a value without its target.
pub(crate) fn value(
    text: &str,
    unit: Unit,
    table: Option<&Arc<DelayTable>>,
) -> Result<Notated, NotationError> {
    let (centre, rest) = number(text)?;
    let (variation, rest) = match rest.trim_start().strip_prefix('+') {
        Some(rest) => number(rest)?,
        None => (0.0, rest),
    };
    let (factor, shape) = suffix(rest.trim(), unit, table)?;
    Ok(Notated { centre: centre * factor, variation: variation * factor, shape })
}

/// Reads numbers between commas, each without a unit.
pub(crate) fn list(text: &str) -> Result<Vec<f64>, NotationError> {
    text.split(',')
        .map(|part| match number(part)? {
            (number, rest) if rest.trim().is_empty() => Ok(number),
            (_, rest) => {
                let allowed = "only numbers and commas may stand here";
                Err(NotationError::Unit { word: rest.trim().to_owned(), allowed })
            }
        })
        .collect()
}

/// A number at the beginning of a text, and the rest.
pub(crate) fn number(text: &str) -> Result<(f64, &str), NotationError> {
    let text = text.trim_start();
    let octets = text.as_bytes();
    let digits = |from: usize| {
        octets[from.min(octets.len())..].iter().take_while(|octet| octet.is_ascii_digit()).count()
    };
    let mut end = usize::from(matches!(octets.first(), Some(b'-' | b'+')));
    end += digits(end);
    if octets.get(end) == Some(&b'.') {
        end += 1 + digits(end + 1);
    }
    if let Some(b'e' | b'E') = octets.get(end) {
        let sign = usize::from(matches!(octets.get(end + 1), Some(b'-' | b'+')));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    match text[..end].parse() {
        Ok(number) => Ok((number, &text[end..])),
        Err(_) if text.is_empty() => Err(NotationError::Missing),
        Err(_) => Err(NotationError::Number(first_word(text))),
    }
}

fn suffix(
    text: &str,
    unit: Unit,
    table: Option<&Arc<DelayTable>>,
) -> Result<(f64, Shape), NotationError> {
    let wrong = || {
        let allowed = match unit {
            Unit::Plain => "K, M or G and then U, N, P or T may follow the number",
            Unit::Time => "ns, us, ms or s and then U, N, P or T may follow the number",
            Unit::Rate => "K, M, G, bit, Kbit, Mbit or Gbit and then U, N, P or T may follow",
        };
        NotationError::Unit { word: first_word(text), allowed }
    };
    // The unit is the longest there is: in "10ns" the n is no shape.
    let (factor, rest) = units(unit)
        .iter()
        .filter_map(|(name, factor)| {
            let head = text.get(..name.len())?;
            head.eq_ignore_ascii_case(name).then(|| (*factor, &text[name.len()..]))
        })
        .min_by_key(|(_, rest)| rest.len())
        .unwrap_or_else(|| (default_factor(unit), text));
    let shape = match rest.trim_start() {
        "" | "U" | "u" => Shape::Uniform,
        "N" | "n" => Shape::Normal,
        "P" | "p" => Shape::Pareto,
        "T" | "t" => Shape::Table(table.ok_or(NotationError::NoTable)?.clone()),
        _ => return Err(wrong()),
    };
    Ok((factor, shape))
}

const fn default_factor(unit: Unit) -> f64 {
    match unit {
        Unit::Time => 1e6,
        Unit::Plain | Unit::Rate => 1.0,
    }
}

/// Names of units and what they multiply by.
const fn units(unit: Unit) -> &'static [(&'static str, f64)] {
    const K: f64 = 1024.0;
    match unit {
        Unit::Plain => &[("K", K), ("M", K * K), ("G", K * K * K)],
        // VDE multiplies milliseconds too; a delay in binary kiloseconds is nobody's wish, but
        // scripts may have it.
        Unit::Time => &[
            ("ns", 1.0),
            ("us", 1e3),
            ("ms", 1e6),
            ("s", 1e9),
            ("K", K * 1e6),
            ("M", K * K * 1e6),
            ("G", K * K * K * 1e6),
        ],
        Unit::Rate => &[
            ("K", K),
            ("M", K * K),
            ("G", K * K * K),
            ("bit", 0.125),
            ("Kbit", 125.0),
            ("Mbit", 125e3),
            ("Gbit", 125e6),
        ],
    }
}

fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, unit: Unit) -> Result<(f64, f64, Shape), NotationError> {
        value(text, unit, None).map(|it| (it.centre, it.variation, it.shape))
    }

    #[test]
    fn values_are_read_as_vde_writes_them() {
        use Shape::{Normal, Pareto, Uniform};
        for (text, unit, value) in [
            ("10", Unit::Plain, (10.0, 0.0, Uniform)),
            ("20.5", Unit::Plain, (20.5, 0.0, Uniform)),
            (".5", Unit::Plain, (0.5, 0.0, Uniform)),
            ("100+20N", Unit::Time, (100e6, 20e6, Normal)),
            ("1000 + 500 U", Unit::Time, (1e9, 5e8, Uniform)),
            ("128+64K", Unit::Rate, (131_072.0, 65_536.0, Uniform)),
            ("128+64KN", Unit::Rate, (131_072.0, 65_536.0, Normal)),
            ("1m", Unit::Rate, (1_048_576.0, 0.0, Uniform)),
            ("2G", Unit::Plain, (2_147_483_648.0, 0.0, Uniform)),
            ("1e3", Unit::Plain, (1000.0, 0.0, Uniform)),
            ("10Mbit", Unit::Rate, (1.25e6, 0.0, Uniform)),
            ("10+1 kbit P", Unit::Rate, (1250.0, 125.0, Pareto)),
            ("800bit", Unit::Rate, (100.0, 0.0, Uniform)),
            ("250us", Unit::Time, (250e3, 0.0, Uniform)),
            ("10ns", Unit::Time, (10.0, 0.0, Uniform)),
            ("10n", Unit::Time, (10e6, 0.0, Normal)),
            ("1.5s", Unit::Time, (1.5e9, 0.0, Uniform)),
        ] {
            assert_eq!(read(text, unit), Ok(value), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, unit, error) in [
            ("", Unit::Plain, "a number is missing"),
            ("abc", Unit::Plain, "'abc' is not a number"),
            ("10+", Unit::Plain, "a number is missing"),
            ("10+x5", Unit::Plain, "'x5' is not a number"),
            (
                "10Q",
                Unit::Plain,
                "'Q' means nothing here; K, M or G and then U, N, P or T may follow the number",
            ),
            (
                "10Mbit",
                Unit::Time,
                "'Mbit' means nothing here; ns, us, ms or s and then U, N, P or T may follow the \
                 number",
            ),
            (
                "10 NK",
                Unit::Rate,
                "'NK' means nothing here; K, M, G, bit, Kbit, Mbit or Gbit and then U, N, P or T \
                 may follow",
            ),
            ("10T", Unit::Time, "no distribution was loaded for 'T'; load one first"),
        ] {
            assert_eq!(read(text, unit).unwrap_err().to_string(), error, "{text:?}");
        }
    }

    #[test]
    fn targets_stand_around_the_value() {
        use Direction::{LeftToRight, RightToLeft};
        for (text, direction, state, rest) in [
            ("10", None, None, "10"),
            ("LR10", Some(LeftToRight), None, "10"),
            (" RL 3.5N ", Some(RightToLeft), None, "3.5N"),
            ("LR100+20N[2]", Some(LeftToRight), Some(2), "100+20N"),
            ("5 [ 1 ]", None, Some(1), "5"),
        ] {
            assert_eq!(target(text), Ok((Target { direction, state }, rest)), "{text:?}");
        }
        for text in ["10[", "10[x]", "10[1]N", "10[-1]", "10[]"] {
            assert!(matches!(target(text), Err(NotationError::State(_))), "{text:?}");
        }
    }

    #[test]
    fn lists_have_numbers_and_commas_only() {
        assert_eq!(list("1, 2.5,3"), Ok(vec![1.0, 2.5, 3.0]));
        assert_eq!(list("1,,3"), Err(NotationError::Missing));
        assert!(list("1,2%").is_err());
    }
}
