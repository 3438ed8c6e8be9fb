//! What settings are made of: quantities that cannot be out of range.

use std::fmt;
use std::time::Duration;

/// A number is outside what its quantity allows.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{value} is no {quantity}; it must be {range}")]
pub struct ValueError {
    /// What the number was to be.
    pub quantity: &'static str,
    /// The number.
    pub value: f64,
    /// What is allowed.
    pub range: &'static str,
}

/// A quantity with a range, as the one number that is calculated with.
pub trait Quantity: Copy + fmt::Debug + PartialEq + private::Sealed {
    /// Its name in messages.
    const NAME: &'static str;
    /// Its range in messages.
    const RANGE: &'static str;
    /// The largest number; the smallest is 0.
    const MAX: f64;

    /// The number: percent, octets, octets a second, nanoseconds.
    fn number(self) -> f64;

    /// The quantity of a number.
    ///
    /// # Errors
    /// When it is negative, too large or not finite.
    fn from_number(number: f64) -> Result<Self, ValueError>;
}

mod private {
    pub trait Sealed {}
}

fn checked<Q: Quantity>(value: f64) -> Result<f64, ValueError> {
    if (0.0..=Q::MAX).contains(&value) {
        Ok(value)
    } else {
        Err(ValueError { quantity: Q::NAME, value, range: Q::RANGE })
    }
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $text:literal, $range:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
        pub struct $name(f64);

        impl $name {
            /// None of it.
            pub const ZERO: Self = Self(0.0);

            /// Checks a number.
            ///
            /// # Errors
            /// When it is negative, too large or not finite.
            pub fn new(number: f64) -> Result<Self, ValueError> {
                checked::<Self>(number).map(Self)
            }
        }

        impl private::Sealed for $name {}

        impl Quantity for $name {
            const NAME: &'static str = $text;
            const RANGE: &'static str = $range;
            const MAX: f64 = $max;

            fn number(self) -> f64 {
                self.0
            }

            fn from_number(number: f64) -> Result<Self, ValueError> {
                Self::new(number)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

quantity! {
    /// A share of all frames, 0 to 100.
    Percent, "percentage", "from 0 to 100", 100.0
}

quantity! {
    /// Octets a second, up to 10^15. What limits a link to 0 would stop it, so 0 is no limit.
    Rate, "rate", "from 0 to 10^15 octets a second", 1e15
}

quantity! {
    /// A number of octets, up to 2^40.
    Octets, "size", "from 0 to 2^40 octets", 1_099_511_627_776.0
}

quantity! {
    /// Damaged bits in 2^20 octets, up to all 2^23 of them.
    Noise, "noise", "from 0 to 8388608 bits in 2^20 octets", 8_388_608.0
}

quantity! {
    /// The mean length of a burst of losses, in frames, up to 10^9. 0: losses do not come in
    /// bursts.
    BurstLength, "burst length", "from 0 to 10^9 frames", 1e9
}

impl private::Sealed for Duration {}

/// As nanoseconds, up to a day: longer than any link, short enough for exact numbers.
impl Quantity for Duration {
    const NAME: &'static str = "delay";
    const RANGE: &'static str = "from 0 to 86400 seconds";
    const MAX: f64 = 86_400e9;

    fn number(self) -> f64 {
        self.as_secs_f64() * 1e9
    }

    fn from_number(number: f64) -> Result<Self, ValueError> {
        let number = checked::<Self>(number).map_err(|err| ValueError {
            value: err.value / 1e9,
            quantity: "delay in seconds",
            ..err
        })?;
        Ok(Self::from_nanos(whole(number)))
    }
}

impl Percent {
    /// All of it.
    pub const ALL: Self = Self(100.0);

    /// The same as a probability from 0 to 1.
    pub fn probability(self) -> f64 {
        self.0 / 100.0
    }
}

impl Rate {
    /// From bits a second.
    ///
    /// # Errors
    /// As [`Rate::new`].
    pub fn from_bits(bits: f64) -> Result<Self, ValueError> {
        Self::new(bits / 8.0)
    }

    /// Octets a second.
    pub fn octets_per_second(self) -> f64 {
        self.0
    }
}

impl Octets {
    /// The number, rounded down.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 2^40 by construction"
    )]
    pub const fn count(self) -> u64 {
        self.0 as u64
    }
}

/// To the nearest whole number; what is negative counts as 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the conversion saturates, which is what is wanted"
)]
pub(crate) fn whole(number: f64) -> u64 {
    libm::round(number) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused_with_what_is_allowed() {
        for (wrong, text) in [
            (Percent::new(100.5).unwrap_err(), "100.5 is no percentage; it must be from 0 to 100"),
            (Percent::new(-1.0).unwrap_err(), "-1 is no percentage; it must be from 0 to 100"),
            (
                Duration::from_number(-2e9).unwrap_err(),
                "-2 is no delay in seconds; it must be from 0 to 86400 seconds",
            ),
        ] {
            assert_eq!(wrong.to_string(), text);
        }
        assert!(Rate::new(f64::NAN).is_err());
        assert!(Noise::new(f64::INFINITY).is_err());
    }

    #[test]
    fn bits_are_an_eighth_of_octets() {
        assert_eq!(Rate::from_bits(8e6), Rate::new(1e6));
    }
}
