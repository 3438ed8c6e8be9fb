//! Settings in words that can be typed again. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use emulator::settings::Chance;
use emulator::{Discipline, LossStates, Order, Percent, Quantity, Settings, Shape, Spread};

/// What is not as it would be without a wire, by the names of [`super::edit`].
pub(super) fn asked(settings: &Settings) -> BTreeMap<String, String> {
    let mut words = BTreeMap::new();
    let mut say = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            words.insert(name.to_owned(), value);
        }
    };
    say("loss", chance(&settings.loss));
    say("loss-corr", correlation(&settings.loss));
    say("burst", spread(&settings.burst, |frames| format!("{frames}")));
    match settings.loss_states {
        None => {}
        Some(LossStates::GilbertElliott { worsening, recovery, loss_in_bad, loss_in_good }) => {
            say("gemodel", Some(list(&[worsening, recovery, loss_in_bad, loss_in_good])));
        }
        Some(LossStates::Four(steps)) => say("fourstates", Some(list(&steps.steps()))),
    }
    say("dup", chance(&settings.duplication));
    say("dup-corr", correlation(&settings.duplication));
    say("corrupt", chance(&settings.corruption));
    say("corrupt-corr", correlation(&settings.corruption));
    say("reorder", chance(&settings.reorder));
    say("reorder-corr", correlation(&settings.reorder));
    say("noise", spread(&settings.noise, |bits| format!("{bits}")));
    say("delay", spread(&settings.delay, time));
    say("delay-corr", percent(settings.delay_correlation));
    say("trace", settings.trace.as_ref().map(|_| "playing".to_owned()));
    if settings.trace.is_none() {
        say("rate", settings.bandwidth.as_ref().and_then(|it| spread(it, rate)));
    }
    say("queue", settings.queue.octets.map(|octets| octets.to_string()));
    say("queue-len", settings.queue.frames.map(|frames| frames.to_string()));
    if let Discipline::CoDel { target, interval } = settings.queue.discipline {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        say("codel", Some(format!("{},{}", millis(target), millis(interval))));
    }
    say("chanbufsize", settings.capacity.as_ref().and_then(|it| spread(it, |n| format!("{n}"))));
    say("mtu", settings.mtu.map(|mtu| mtu.to_string()));
    say("fifo", (settings.order == Order::Free).then(|| "0".to_owned()));
    words
}

fn spread<Q: Quantity>(spread: &Spread<Q>, write: impl Fn(f64) -> String) -> Option<String> {
    if spread.is_zero() {
        return None;
    }
    let centre = write(spread.centre.number());
    let shape = match spread.shape {
        Shape::Uniform => "",
        Shape::Normal => "N",
        Shape::Pareto => "P",
        Shape::Table(_) => "T",
    };
    let variation = spread.variation.number();
    if variation > 0.0 {
        Some(format!("{centre}+{}{shape}", write(variation)))
    } else {
        Some(centre)
    }
}

fn chance(chance: &Chance) -> Option<String> {
    spread(&chance.share, |share| format!("{share}%"))
}

fn correlation(chance: &Chance) -> Option<String> {
    percent(chance.correlation)
}

fn percent(share: Percent) -> Option<String> {
    (share.number() > 0.0).then(|| format!("{share}%"))
}

fn list(shares: &[Percent]) -> String {
    shares.iter().map(|share| format!("{share}%")).collect::<Vec<_>>().join(",")
}

/// In milliseconds, or in microseconds when it is shorter than one.
fn time(nanoseconds: f64) -> String {
    if nanoseconds >= 1e6 || nanoseconds <= 0.0 {
        format!("{}ms", nanoseconds / 1e6)
    } else {
        format!("{}us", nanoseconds / 1e3)
    }
}

/// In the largest unit of bits a second of which it is more than one.
fn rate(octets: f64) -> String {
    let bits = octets * 8.0;
    let unit = [(1e9, "gbit"), (1e6, "mbit"), (1e3, "kbit")].into_iter().find(|it| bits >= it.0);
    let (factor, unit) = unit.unwrap_or((1.0, "bit"));
    format!("{}{unit}", bits / factor)
}

#[cfg(test)]
mod tests {
    use emulator::Both;

    use super::*;
    use crate::wire::edit::{Edit, IN, Sides, apply};

    #[test]
    fn what_is_shown_can_be_typed_again_and_means_the_same() {
        let typed = [
            ("loss", "1%"),
            ("loss-corr", "25%"),
            ("burst", "3"),
            ("gemodel", "1%,20%,100%,0.5%"),
            ("dup", "0.5%+0.1%N"),
            ("corrupt", "0.1%"),
            ("reorder", "2%"),
            ("noise", "5"),
            ("delay", "10ms+2msN"),
            ("delay-corr", "30%"),
            ("rate", "20mbit"),
            ("queue", "9000"),
            ("queue-len", "20"),
            ("codel", "5,100"),
            ("chanbufsize", "100000"),
            ("mtu", "1400"),
            ("fifo", "0"),
        ];
        let read = |name: &str, value: &str| Edit::set(Sides::Both, name, value).unwrap();
        let edits: Vec<_> = typed.iter().map(|(name, value)| read(name, value)).collect();
        let mut settings = Both::default();
        apply(&edits, &mut settings);
        let shown = asked(&settings[IN]);
        for (name, value) in typed {
            let same = match name {
                "delay" => "10ms+2msN",
                _ => value,
            };
            assert_eq!(shown.get(name).map(String::as_str), Some(same), "{name}");
        }
        assert_eq!(shown.len(), typed.len());
        let again: Vec<_> = shown.iter().map(|(name, value)| read(name, value)).collect();
        let mut same = Both::default();
        apply(&again, &mut same);
        assert_eq!(same, settings);
        assert!(asked(&Settings::default()).is_empty());
    }

    #[test]
    fn numbers_are_in_units_of_their_size() {
        assert_eq!(time(250e3), "250us");
        assert_eq!(time(1.5e9), "1500ms");
        assert_eq!(rate(2.5e6), "20mbit");
        assert_eq!(rate(125e6), "1gbit");
        assert_eq!(rate(100.0), "800bit");
    }
}
