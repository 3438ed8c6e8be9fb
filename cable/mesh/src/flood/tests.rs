//! The window against a plain model that remembers everything.

use std::collections::HashSet;

use proptest::prelude::*;

use super::FloodVerdict::{New, Repeated, TooOld};
use super::*;

fn nick(value: u32) -> Nick {
    Nick::new(value).unwrap()
}

#[test]
fn a_flooded_frame_passes_once() {
    let mut window = FloodWindow::new();
    assert_eq!(window.handle_flood(nick(1), 7), New);
    assert_eq!(window.handle_flood(nick(1), 7), Repeated);
    assert_eq!(window.handle_flood(nick(1), 8), New);
    assert_eq!(window.handle_flood(nick(1), 7), Repeated);
}

#[test]
fn each_node_has_its_own_sequence() {
    let mut window = FloodWindow::new();
    assert_eq!(window.handle_flood(nick(1), 7), New);
    assert_eq!(window.handle_flood(nick(2), 7), New);
    assert_eq!(window.handle_flood(nick(1), 7), Repeated);
    assert_eq!(window.handle_flood(nick(2), 7), Repeated);
}

#[test]
fn a_late_frame_passes_while_the_window_reaches_it() {
    let mut window = FloodWindow::new();
    assert_eq!(window.handle_flood(nick(1), 10_000), New);
    assert_eq!(window.handle_flood(nick(1), 10_000 - (WINDOW - 1)), New);
    assert_eq!(window.handle_flood(nick(1), 10_000 - WINDOW), TooOld);
}

#[test]
fn the_sequence_wraps() {
    let mut window = FloodWindow::new();
    assert_eq!(window.handle_flood(nick(1), u32::MAX), New);
    assert_eq!(window.handle_flood(nick(1), 0), New);
    assert_eq!(window.handle_flood(nick(1), u32::MAX), Repeated);
    assert_eq!(window.handle_flood(nick(1), u32::MAX - 1), New);
    assert_eq!(window.handle_flood(nick(1), 1 << 31), TooOld);
}

#[test]
fn a_full_memory_forgets_the_node_heard_least_recently() {
    let mut window = FloodWindow::new();
    let full = u32::try_from(MAX_NICKS).unwrap();
    for value in 1..=full {
        assert_eq!(window.handle_flood(nick(value), 0), New);
    }
    assert_eq!(window.handle_flood(nick(1), 0), Repeated);
    assert_eq!(window.handle_flood(nick(full + 1), 0), New);
    assert_eq!(window.len(), MAX_NICKS);
    assert_eq!(window.handle_flood(nick(1), 0), Repeated);
    assert_eq!(window.handle_flood(nick(3), 0), Repeated);
    assert_eq!(window.handle_flood(nick(2), 0), New, "2 was the oldest and is forgotten");
    assert_eq!(window.handle_flood(nick(3), 0), Repeated);
}

/// What a step adds to the sequence of the step before.
fn step() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -70..70i64,
        2 => -3000..3000i64,
        1 => -100_000..100_000i64,
    ]
}

proptest! {
    #[test]
    fn the_window_agrees_with_a_memory_of_everything(
        start in any::<u32>(),
        steps in prop::collection::vec((1..4u32, step()), 1..400),
    ) {
        let mut window = FloodWindow::new();
        let mut seen = HashSet::new();
        let mut highest = [None::<i64>; 4];
        let mut current = i64::from(start);
        for (value, step) in steps {
            current += step;
            let top = &mut highest[value as usize];
            let behind = top.map_or(0, |top| top - current);
            let expected = if behind >= i64::from(WINDOW) {
                TooOld
            } else if seen.insert((value, current)) {
                New
            } else {
                Repeated
            };
            *top = Some(top.map_or(current, |top| top.max(current)));
            let sequence = u32::try_from(current.rem_euclid(1 << 32)).unwrap();
            prop_assert_eq!(window.handle_flood(nick(value), sequence), expected);
        }
    }
}
