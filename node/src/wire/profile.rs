//! Links as they are met, ready to be asked for by name.
//!
//! The values are round numbers within what measurement reports of such links give. `in` is the way
//! up, from what is behind the port; `out` the way down to it. Delays are one way; with `N` and `P`
//! the variation is three standard deviations.

use emulator::{Both, Settings};

use super::edit::{Edit, Sides, apply};

/// A named set of settings.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    /// What kind of link.
    pub(crate) about: &'static str,
    /// Names and values of the direction into the node.
    pub(crate) inward: &'static [(&'static str, &'static str)],
    /// Of the direction out of it.
    pub(crate) outward: &'static [(&'static str, &'static str)],
}

/// Every profile.
pub(crate) const PROFILES: [Profile; 6] = [
    Profile {
        name: "lte",
        about: "a telephone network of the fourth generation, in use by others, too",
        inward: &[
            ("rate", "10mbit"),
            ("delay", "25ms+15msN"),
            ("loss", "0.1%"),
            ("queue", "250000"),
        ],
        outward: &[
            ("rate", "30mbit"),
            ("delay", "25ms+15msN"),
            ("loss", "0.1%"),
            ("queue", "750000"),
        ],
    },
    Profile {
        name: "3g",
        about: "a telephone network of the third generation",
        inward: &[("rate", "1mbit"), ("delay", "60ms+30msN"), ("loss", "0.5%"), ("queue", "64000")],
        outward: &[
            ("rate", "4mbit"),
            ("delay", "60ms+30msN"),
            ("loss", "0.5%"),
            ("queue", "250000"),
        ],
    },
    Profile {
        name: "satellite",
        about: "a geostationary satellite: 36 000 km up and down again",
        inward: &[
            ("rate", "5mbit"),
            ("delay", "290ms+15msN"),
            ("gemodel", "0.05%,20%"),
            ("queue", "375000"),
        ],
        outward: &[
            ("rate", "50mbit"),
            ("delay", "290ms+15msN"),
            ("gemodel", "0.05%,20%"),
            ("queue", "3750000"),
        ],
    },
    Profile {
        name: "dsl",
        about: "a telephone line with a router that queues a quarter of a second",
        inward: &[("rate", "2mbit"), ("delay", "8ms+1ms"), ("queue", "64000")],
        outward: &[("rate", "16mbit"), ("delay", "8ms+1ms"), ("queue", "500000")],
    },
    Profile {
        name: "wifi-bad",
        about: "a crowded radio channel two walls away",
        inward: &[
            ("rate", "8mbit+4mbit"),
            ("delay", "8ms+30msP"),
            ("gemodel", "1%,25%"),
            ("queue", "128000"),
        ],
        outward: &[
            ("rate", "8mbit+4mbit"),
            ("delay", "8ms+30msP"),
            ("gemodel", "1%,25%"),
            ("queue", "128000"),
        ],
    },
    Profile {
        name: "intercontinental",
        about: "a good line around half of the world",
        inward: &[("rate", "1gbit"), ("delay", "90ms+3msP"), ("loss", "0.01%")],
        outward: &[("rate", "1gbit"), ("delay", "90ms+3msP"), ("loss", "0.01%")],
    },
];

impl Profile {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        PROFILES.iter().find(|profile| profile.name == name)
    }

    /// All names in a row.
    pub(crate) fn names() -> String {
        PROFILES.map(|profile| profile.name).join(", ")
    }

    pub(crate) fn settings(&self) -> Both<Settings> {
        let mut settings = Both::default();
        for (sides, values) in [(Sides::In, self.inward), (Sides::Out, self.outward)] {
            let edits = values.iter().map(|(name, value)| {
                Edit::set(sides, name, value).expect("a test reads every profile")
            });
            apply(&edits.collect::<Vec<_>>(), &mut settings);
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::edit::{IN, OUT};

    #[test]
    fn every_profile_can_be_read_and_does_something_both_ways() {
        for profile in &PROFILES {
            let settings = profile.settings();
            for direction in [IN, OUT] {
                assert_ne!(settings[direction], Settings::default(), "{}", profile.name);
                assert!(!settings[direction].delay.is_zero(), "{}", profile.name);
                assert!(settings[direction].queue != Default::default(), "{}", profile.name);
            }
        }
    }
}
