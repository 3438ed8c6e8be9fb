//! Text that came from elsewhere: bounded, and fit to be printed.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The name of a node or of a program: at most 64 octets of UTF-8, as long as a Linux host name
/// may be.
pub type Name = Text<64>;

/// A string of at most `MAX` octets without control characters.
///
/// Both hold for what is received too: the length is checked before anything is allocated, and
/// no peer moves the cursor of a terminal by its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Text<const MAX: usize>(String);

/// The text cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// More octets than there may be.
    #[error("text of {len} octets exceeds the limit of {limit}; shorten it")]
    TooLong {
        /// Octets of the text.
        len: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A control character: it would act on the terminal that shows it.
    #[error("text contains the control character {0:?}; leave it out")]
    Control(char),
}

impl<const MAX: usize> Text<MAX> {
    /// The text, if it is acceptable as it is.
    ///
    /// # Errors
    /// [`TextError`] when it is too long or contains a control character.
    pub fn new(text: &str) -> Result<Self, TextError> {
        if text.len() > MAX {
            return Err(TextError::TooLong { len: text.len(), limit: MAX });
        }
        match text.chars().find(|c| c.is_control()) {
            Some(control) => Err(TextError::Control(control)),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// As much of the text as fits, with a space for each control character.
    pub fn lossy(text: &str) -> Self {
        let mut end = MAX.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        // A space is as short as a character can be, so that the result still fits.
        Self(text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> FromStr for Text<MAX> {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded<const MAX: usize>;

        impl<const MAX: usize> Visitor<'_> for Bounded<MAX> {
            type Value = Text<MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} octets of printable text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Text::new(text).map_err(E::custom)
            }
        }

        // Not `deserialize_string`, which may build the string before anyone has seen its length.
        deserializer.deserialize_str(Bounded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_too_long_or_acts_on_a_terminal_is_refused() {
        assert_eq!(Text::<4>::new("abcd").unwrap().as_str(), "abcd");
        assert_eq!(Text::<4>::new("abcde"), Err(TextError::TooLong { len: 5, limit: 4 }));
        assert_eq!(Name::new("a\x1b[2J"), Err(TextError::Control('\x1b')));
        assert_eq!(Name::new("a\u{9b}2J"), Err(TextError::Control('\u{9b}')));
    }

    #[test]
    fn lossy_text_is_cut_between_characters() {
        assert_eq!(Text::<4>::lossy("aäöü").as_str(), "aä");
        assert_eq!(Text::<8>::lossy("two\nlines").as_str(), "two line");
        assert_eq!(Text::<8>::lossy("").as_str(), "");
    }
}
