//! The queue in fake time.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

#[expect(clippy::disallowed_methods, reason = "an arbitrary instant to start from")]
fn start() -> Instant {
    Instant::now()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_frame_of_another_flow_does_not_wait_behind_a_bulk_transfer() {
    let now = start();
    let mut queue = FlowQueue::new(Limits::default());
    for number in 0..500 {
        queue.handle_frame(1, 1514, number, now);
    }
    assert_eq!(queue.poll_frame(now), Some(0));
    queue.handle_frame(2, 98, 9999, now);
    let next: Vec<_> = std::iter::from_fn(|| queue.poll_frame(now)).take(2).collect();
    assert!(next.contains(&9999), "{next:?}");
}

#[test]
fn two_bulk_flows_get_the_same_share_whatever_the_size_of_their_frames() {
    let now = start();
    let mut queue = FlowQueue::new(Limits::default());
    for _ in 0..700 {
        queue.handle_frame(1, 1514, 1514_u32, now);
        queue.handle_frame(2, 500, 500, now);
    }
    let mut shares = [0; 2];
    for _ in 0..400 {
        let len = queue.poll_frame(now).unwrap();
        shares[usize::from(len == 500)] += len;
    }
    let [a, b] = shares;
    assert!(a.abs_diff(b) <= 2 * 1514, "{a} and {b} octets");
}

#[test]
fn frames_of_a_flow_keep_their_order() {
    let now = start();
    let mut queue = FlowQueue::new(Limits::default());
    for number in 0..300_u32 {
        queue.handle_frame(number % 3, 64 + number as usize, number, now);
    }
    let mut last = [None; 3];
    for number in std::iter::from_fn(|| queue.poll_frame(now)) {
        let last = &mut last[number as usize % 3];
        assert!(last.is_none_or(|last| last < number));
        *last = Some(number);
    }
    assert_eq!(last, [Some(297), Some(298), Some(299)]);
}

#[test]
fn a_full_queue_loses_the_oldest_of_the_longest_flow_and_nobody_elses() {
    let now = start();
    let mut queue = FlowQueue::new(Limits { octets: 100_000, ..Limits::default() });
    queue.handle_frame(2, 100, 7777, now);
    for number in 0..200 {
        queue.handle_frame(1, 1000, number, now);
    }
    assert!(queue.octets() <= 100_000);
    assert_eq!(queue.drops(), Drops { codel: 0, full: 101 });
    let rest: Vec<_> = std::iter::from_fn(|| queue.poll_frame(now)).collect();
    assert!(rest.contains(&7777));
    assert_eq!(rest.iter().filter(|number| **number != 7777).min(), Some(&101));
}

#[test]
fn a_flow_that_has_become_the_longest_gives_up_in_the_place_of_the_one_before() {
    let now = start();
    let mut queue = FlowQueue::new(Limits { octets: 100_000, ..Limits::default() });
    for _ in 0..90 {
        queue.handle_frame(1, 1000, 1, now);
    }
    for _ in 0..500 {
        queue.handle_frame(2, 1000, 2, now);
    }
    let rest: Vec<_> = std::iter::from_fn(|| queue.poll_frame(now)).collect();
    assert_eq!(rest.len(), 100);
    // Half of what it had, which is then less than the other's.
    assert_eq!(rest.iter().filter(|flow| **flow == 1).count(), 45);
}

#[test]
fn a_burst_that_is_gone_soon_loses_nothing() {
    let mut now = start();
    let mut queue = FlowQueue::new(Limits::default());
    for _ in 0..20 {
        for number in 0..100 {
            queue.handle_frame(1, 1514, number, now);
        }
        // 80 ms to send it: longer than the target, but empty before the interval is over.
        while queue.poll_frame(now).is_some() {
            now += Duration::from_micros(800);
        }
    }
    assert_eq!(queue.drops(), Drops::default());
}

#[test]
fn a_queue_that_stays_long_loses_frames_ever_faster() {
    let mut now = start();
    let mut queue = FlowQueue::new(Limits::default());
    let mut lost_by_second = Vec::new();
    for _second in 0..4 {
        let before = queue.drops().codel;
        for _ in 0..1000 {
            // 20 ms of frames are always there.
            while queue.len() < 20 {
                queue.handle_frame(1, 1514, (), now);
            }
            assert!(queue.poll_frame(now).is_some());
            now += ms(1);
        }
        lost_by_second.push(queue.drops().codel - before);
    }
    assert!(lost_by_second[0] > 5, "{lost_by_second:?}");
    assert!(lost_by_second.is_sorted(), "{lost_by_second:?}");
    // RFC 8289: the n-th drop comes 100 ms / sqrt(n) after the one before.
    assert!((300..500).contains(&lost_by_second.iter().sum::<u64>()), "{lost_by_second:?}");
}

#[test]
fn a_flow_of_one_frame_at_a_time_never_loses_it_to_codel() {
    let mut now = start();
    let mut queue = FlowQueue::new(Limits::default());
    for _ in 0..100 {
        queue.handle_frame(1, 65_000, (), now);
        now += ms(50);
        assert_eq!(queue.poll_frame(now), Some(()));
    }
}

#[test]
fn what_is_left_when_a_cable_ends_is_counted_by_the_caller() {
    let now = start();
    let mut queue = FlowQueue::new(Limits::default());
    for number in 0..5 {
        queue.handle_frame(number, 100, (), now);
    }
    assert_eq!(queue.clear(), 5);
    assert!(queue.is_empty() && queue.octets() == 0 && queue.poll_frame(now).is_none());
}

fn tcp(tag: bool, source_port: u16, fragment: u16) -> Vec<u8> {
    let mut frame = vec![2; 12];
    if tag {
        frame.extend([0x81, 0x00, 0x00, 0x07]);
    }
    frame.extend([0x08, 0x00, 0x45, 0, 0, 60, 0, 1]);
    frame.extend(fragment.to_be_bytes());
    frame.extend([64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(source_port.to_be_bytes());
    frame.extend([0, 80, 1, 2, 3, 4]);
    frame
}

#[test]
fn connections_are_told_by_their_ports_and_fragments_by_their_addresses_alone() {
    assert_eq!(flow_of(&tcp(false, 1000, 0x4000)), flow_of(&tcp(false, 1000, 0)));
    assert_ne!(flow_of(&tcp(false, 1000, 0)), flow_of(&tcp(false, 1001, 0)));
    assert_eq!(flow_of(&tcp(true, 1000, 0)), flow_of(&tcp(false, 1000, 0)));
    assert_eq!(flow_of(&tcp(false, 1000, 0x2000)), flow_of(&tcp(false, 1001, 0x0080)));
    let arp = |last| [&[0xff; 6][..], &[2, 0, 0, 0, 0, last, 0x08, 0x06, 0, 1]].concat();
    assert_eq!(flow_of(&arp(1)), flow_of(&arp(1)));
    assert_ne!(flow_of(&arp(1)), flow_of(&arp(2)));
}

proptest! {
    #[test]
    fn any_octets_have_a_flow(frame in prop::collection::vec(any::<u8>(), 0..200)) {
        flow_of(&frame);
    }

    #[test]
    fn no_frame_vanishes(steps in prop::collection::vec((0..6_u32, 1..70_000_usize, 0..30_u64), 1..400)) {
        let mut now = start();
        let mut queue = FlowQueue::new(Limits { octets: 300_000, ..Limits::default() });
        let (mut given, mut taken) = (0, 0);
        for (flow, len, wait) in steps {
            queue.handle_frame(flow, len, len, now);
            given += 1;
            prop_assert!(queue.octets() <= 300_000);
            if wait > 10 {
                now += ms(wait);
                taken += u64::from(queue.poll_frame(now).is_some());
            }
        }
        let Drops { codel, full } = queue.drops();
        prop_assert_eq!(given, taken + codel + full + queue.len() as u64);
        while queue.poll_frame(now).is_some() { taken += 1; }
        let Drops { codel, full } = queue.drops();
        prop_assert_eq!(given, taken + codel + full);
        prop_assert_eq!(queue.octets(), 0);
    }
}
