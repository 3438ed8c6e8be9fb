//! Both directions, states, timelines and pairs in fake time.

use std::convert::Infallible;

use super::*;
use crate::counters::DropReason;
use crate::spread::Spread;

#[expect(clippy::disallowed_methods, reason = "fake time counts from a real instant")]
fn start() -> Instant {
    Instant::now()
}

const MS: Duration = Duration::from_millis(1);

fn delayed(delay: Duration) -> Settings {
    Settings { delay: Spread::from(delay), ..Settings::default() }
}

#[test]
fn a_long_delay_one_way_does_not_hold_back_the_other() {
    let start = start();
    let settings = Both { left_to_right: delayed(MS * 1000), right_to_left: delayed(MS) };
    let mut link = Link::<Vec<u8>>::new(settings, Seed::new(1), start);
    link.handle_frame(Direction::LeftToRight, vec![1], start);
    link.handle_frame(Direction::RightToLeft, vec![2], start);
    assert_eq!(link.poll_timeout(), Some(start + MS));
    assert_eq!(link.poll_delivery(Direction::RightToLeft, start + MS), Some(vec![2]));
    assert_eq!(link.poll_timeout(), Some(start + MS * 1000));
}

#[test]
fn the_directions_have_chances_of_their_own() {
    let start = start();
    let settings = Settings { loss: Percent::new(50.0).unwrap().into(), ..Settings::default() };
    let mut link = Link::<Vec<u8>>::new(Both::alike(settings), Seed::new(1), start);
    let fate = |link: &mut Link<Vec<u8>>, direction| -> Vec<Verdict> {
        (0..100).map(|_| link.handle_frame(direction, vec![0], start)).collect()
    };
    let there = fate(&mut link, Direction::LeftToRight);
    assert_ne!(there, fate(&mut link, Direction::RightToLeft));
}

#[test]
fn a_step_of_the_chain_changes_the_settings_at_its_own_instant() {
    let start = start();
    let mut link = Link::<Vec<u8>>::new(Both::default(), Seed::new(1), start);
    link.set_len(2, start).unwrap();
    let edit = |both: &mut Both<Settings>| {
        *both = Both::alike(delayed(MS * 7));
        Ok::<_, Infallible>(())
    };
    link.edit(1, start, edit).unwrap();
    link.set_edge(0, 1, Percent::ALL, start).unwrap();
    assert_eq!(link.poll_timeout(), Some(start + MS * 100));
    let before = link.handle_frame(Direction::LeftToRight, vec![1], start + MS * 99);
    assert_eq!(before, Verdict::Accepted { copies: 1 });
    assert!(link.poll_delivery(Direction::LeftToRight, start + MS * 99).is_some());
    link.handle_frame(Direction::LeftToRight, vec![2], start + MS * 300);
    assert_eq!(link.direction(Direction::LeftToRight).poll_timeout(), Some(start + MS * 307));
    assert_eq!(link.poll_step(), Some(Step { from: 0, to: 1, at: start + MS * 100 }));
    assert_eq!(link.poll_step(), None);
}

#[test]
fn an_edit_that_fails_changes_nothing() {
    let start = start();
    let mut link = Link::<Vec<u8>>::new(Both::alike(delayed(MS)), Seed::new(1), start);
    let result = link.edit(0, start, |both| {
        both.left_to_right = delayed(MS * 2);
        Err("too bad")
    });
    assert_eq!(result, Err(EditError::Edit("too bad")));
    assert_eq!(*link.direction(Direction::LeftToRight).settings(), delayed(MS));
}

#[test]
fn a_timeline_changes_the_settings_at_its_own_instants() {
    let start = start();
    let mut link = Link::<Vec<u8>>::new(Both::default(), Seed::new(1), start);
    let text = "1 delay 7\n2 delay LR3; loss RL100\n3 clear\n4 repeat";
    let timeline = Arc::new(Timeline::parse(text, None).unwrap());
    link.set_timeline(Some(timeline), start);
    assert_eq!(link.poll_timeout(), Some(start + MS * 1000));
    let mut delay = |at: u32| {
        let now = start + MS * at;
        link.handle_frame(Direction::LeftToRight, vec![0], now);
        let due = link.poll_lane(Direction::LeftToRight).unwrap();
        assert!(link.poll_delivery(Direction::LeftToRight, due).is_some());
        due - now
    };
    assert_eq!(delay(999), Duration::ZERO);
    assert_eq!(delay(1000), MS * 7);
    assert_eq!(delay(2500), MS * 3);
    assert_eq!(delay(3900), Duration::ZERO);
    assert_eq!(delay(5001), MS * 7, "it has begun again");
    let lost = link.handle_frame(Direction::RightToLeft, vec![0], start + MS * 6500);
    assert_eq!(lost, Verdict::Dropped(DropReason::Lost));
    link.set_timeline(None, start + MS * 6500);
    assert_eq!(link.poll_change(), None);
}

#[test]
fn a_timeline_without_repeat_ends_and_its_last_settings_stay() {
    let start = start();
    let mut link = Link::<Vec<u8>>::new(Both::default(), Seed::new(1), start);
    let timeline = Timeline::parse("0 delay 5\n1 delay 6[3]\n2 delay 7", None).unwrap();
    link.set_timeline(Some(Arc::new(timeline)), start);
    assert_eq!(*link.direction(Direction::LeftToRight).settings(), delayed(MS * 5));
    link.poll_delivery(Direction::LeftToRight, start + MS * 10_000);
    assert_eq!(link.poll_timeout(), None);
    assert_eq!(*link.direction(Direction::LeftToRight).settings(), delayed(MS * 7));
}

/// A frame between two stations.
fn frame(source: u8, destination: u8, number: u8) -> Vec<u8> {
    let mut frame = vec![0; 60];
    (frame[0], frame[5]) = (2, destination);
    (frame[6], frame[11]) = (2, source);
    frame[20] = number;
    frame
}

const LR: Direction = Direction::LeftToRight;

#[test]
fn pairs_have_links_of_their_own() {
    let start = start();
    let mut link = Link::<Vec<u8>>::new(Both::alike(delayed(MS * 5)), Seed::new(1), start);
    let text = "02:00:00:00:00:01 02:00:00:00:00:02 delay 20\n02:00:00:00:00:03 * loss 100\n";
    let pairs = |text: &str| Arc::new(PairTable::parse(text, None).unwrap());
    link.set_pairs(pairs(text), start);
    link.handle_frame(LR, frame(1, 2, 0), start);
    link.handle_frame(LR, frame(2, 1, 1), start);
    let lost = link.handle_frame(LR, frame(3, 1, 2), start);
    assert_eq!(lost, Verdict::Dropped(DropReason::Lost));
    link.handle_frame(LR, frame(1, 2, 3), start + MS);
    // What is no frame has the link's own settings.
    link.handle_frame(LR, vec![9; 3], start);

    // The first pair goes, and the second: what they have on its way still comes.
    link.set_pairs(pairs("02:00:00:00:00:04 * delay 1\n"), start + MS * 2);
    link.handle_frame(LR, frame(4, 1, 4), start + MS * 2);
    let mut got = Vec::new();
    while let Some(next) = link.poll_timeout() {
        while let Some(frame) = link.poll_delivery(LR, next) {
            got.push((frame.get(20).copied(), (next - start).as_millis()));
        }
    }
    assert_eq!(got, [(Some(4), 3), (Some(1), 5), (None, 5), (Some(0), 20), (Some(3), 21)]);
    let pair = Pair { source: Some(ether::MacAddr([2, 0, 0, 0, 0, 4])), destination: None };
    assert_eq!(link.pair(LR, pair).unwrap().counters().delivered, 1);
}

#[test]
fn the_chance_of_a_pair_does_not_depend_on_other_rows() {
    let start = start();
    let fate = |text: &str| {
        let mut link = Link::<Vec<u8>>::new(Both::default(), Seed::new(1), start);
        link.set_pairs(Arc::new(PairTable::parse(text, None).unwrap()), start);
        let verdicts = (0..200).map(|_| link.handle_frame(LR, frame(1, 2, 0), start));
        verdicts.collect::<Vec<_>>()
    };
    let alone = fate("02:00:00:00:00:01 * loss 50");
    assert_eq!(alone, fate("* * loss 3\n02:00:00:00:00:01 * loss 50"));
    assert_ne!(alone, fate("* * loss 50"));
}

#[test]
fn a_step_of_a_timeline_counts_from_its_own_instant_however_late_it_is_noticed() {
    let start = start();
    let mut link = Link::<Vec<u8>>::new(Both::default(), Seed::new(1), start);
    let text = "0 bandwidth 1000\n500ms bandwidth 10000";
    link.set_timeline(Some(Arc::new(Timeline::parse(text, None).unwrap())), start);
    link.handle_frame(LR, vec![0; 1000], start);
    assert!(link.poll_delivery(LR, start + MS * 2000).is_some());
    assert_eq!(link.direction(LR).counters().delay.max(), Some(MS * 550));
}
