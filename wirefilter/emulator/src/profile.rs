//! Links that many people have to live with, each as a list of settings.
//!
//! The left side is the user's: `LR` is the way up, `RL` the way down. Rates, latencies and queues
//! are round values within what the named sources report; none is a measurement of one network.

use std::fmt;

use crate::field::Field;
use crate::link::Both;
use crate::settings::Settings;

/// A link with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// A phone in a cell that is not empty: 12 Mbit/s both ways and 70 ms there and back, as
    /// WebPageTest's "LTE"; delays vary with the scheduler, and the base station's queue is deep.
    Lte,
    /// The third generation: 1.6 Mbit/s down, 768 kbit/s up and 300 ms there and back, as
    /// WebPageTest's "3G"; the queue holds seconds.
    ThreeG,
    /// A geostationary satellite: 25 Mbit/s down, 3 up. Up and down are 72 000 km, 240 ms at the
    /// speed of light, and the terminals add some; rain comes in bursts.
    Satellite,
    /// A telephone line: 16 Mbit/s down, 1 up, interleaved (ITU-T G.992.5), and a modem with the
    /// bufferbloat of its kind.
    Dsl,
    /// Two walls too many: 6 Mbit/s, the lowest rate of IEEE 802.11a, with repetitions that take
    /// their time and losses that come together.
    WifiBad,
    /// Frankfurt to Singapore on a good day: 90 ms each way, hardly any variation, hardly any
    /// loss, 1 Gbit/s.
    Intercontinental,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Lte,
        Self::ThreeG,
        Self::Satellite,
        Self::Dsl,
        Self::WifiBad,
        Self::Intercontinental,
    ];

    /// Its name on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lte => "lte",
            Self::ThreeG => "3g",
            Self::Satellite => "satellite",
            Self::Dsl => "dsl",
            Self::WifiBad => "wifi-bad",
            Self::Intercontinental => "intercontinental",
        }
    }

    /// The names of all, in a row.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// What kind of link it is.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Lte => "a phone in a cell that is not empty",
            Self::ThreeG => "a telephone network of the third generation",
            Self::Satellite => "a geostationary satellite: 36 000 km up and down again",
            Self::Dsl => "a telephone line, with a modem that queues for long",
            Self::WifiBad => "a radio channel two walls away",
            Self::Intercontinental => "a good line around half of the world",
        }
    }

    /// The profile of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// What it is made of, as a user would write it.
    pub const fn values(self) -> &'static [(Field, &'static str)] {
        match self {
            Self::Lte => &[
                (Field::Bandwidth, "12Mbit"),
                (Field::Delay, "35+15P"),
                (Field::DelayCorrelation, "50"),
                (Field::Loss, "0.1"),
                (Field::Queue, "500K"),
            ],
            Self::ThreeG => &[
                (Field::Bandwidth, "LR768Kbit"),
                (Field::Bandwidth, "RL1600Kbit"),
                (Field::Delay, "150+60P"),
                (Field::DelayCorrelation, "50"),
                (Field::Loss, "0.5"),
                (Field::Queue, "256K"),
            ],
            Self::Satellite => &[
                (Field::Bandwidth, "LR3Mbit"),
                (Field::Bandwidth, "RL25Mbit"),
                (Field::Delay, "280+15N"),
                (Field::Loss, "0.5"),
                (Field::LostBurst, "10"),
                (Field::Queue, "1M"),
            ],
            Self::Dsl => &[
                (Field::Bandwidth, "LR1Mbit"),
                (Field::Bandwidth, "RL16Mbit"),
                (Field::Delay, "12+2N"),
                (Field::Loss, "0.01"),
                (Field::Queue, "128K"),
            ],
            Self::WifiBad => &[
                (Field::Bandwidth, "6+3MbitN"),
                (Field::Delay, "8+20P"),
                (Field::DelayCorrelation, "30"),
                (Field::Loss, "3"),
                (Field::LostBurst, "4"),
                (Field::Dup, "0.1"),
                (Field::QueueLen, "300"),
            ],
            Self::Intercontinental => &[
                (Field::Bandwidth, "1Gbit"),
                (Field::Delay, "90+0.6N"),
                (Field::Loss, "0.01"),
                (Field::Queue, "4M"),
            ],
        }
    }

    /// Its settings, for the user on the left.
    pub fn settings(self) -> Both<Settings> {
        let mut settings = Both::default();
        for (field, value) in self.values() {
            field
                .parse(value, None)
                .and_then(|change| change.apply(&mut settings))
                .expect("the values are right");
        }
        settings
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_can_be_made_and_impairs_both_ways() {
        for profile in Profile::ALL {
            assert_eq!(Profile::named(profile.name()), Some(profile));
            let settings = profile.settings();
            for settings in [settings.left_to_right, settings.right_to_left] {
                assert!(settings.bandwidth.is_some() && !settings.delay.is_zero(), "{profile}");
            }
        }
        assert_eq!(Profile::named("5g"), None);
    }
}
