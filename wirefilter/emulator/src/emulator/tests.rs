//! One direction in fake time: what is asked against what comes out, over many frames.
//!
//! Bounds are five standard errors or more: a right emulator fails none of them, and the seeds are
//! fixed.

use std::mem::size_of;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::line::OnWay;
use crate::settings::{Chance, Discipline, Queue};
use crate::spread::{Shape, Spread};
use crate::trace::Trace;
use crate::units::{Noise, Octets, Percent, Quantity, Rate};

type Frames = Emulator<Vec<u8>>;

const COUNT: u32 = 1_000_000;
const SEED: u64 = 2024;

#[expect(clippy::disallowed_methods, reason = "fake time needs one real instant to count from")]
fn start() -> Instant {
    Instant::now()
}

fn percent(value: f64) -> Percent {
    Percent::new(value).unwrap()
}

fn micros(value: u64) -> Duration {
    Duration::from_micros(value)
}

fn rate(octets: f64) -> Option<Spread<Rate>> {
    Some(Spread::constant(octets).unwrap())
}

/// What came out: instants since the start and frames.
fn drain(link: &mut Frames, start: Instant) -> Vec<(Duration, Vec<u8>)> {
    let mut got = Vec::new();
    while let Some(next) = link.poll_timeout() {
        while let Some(frame) = link.poll_delivery(next) {
            got.push((next - start, frame));
        }
    }
    got
}

/// Hands in numbered frames of `octets`, one every `gap`, and notes when each number came out.
fn run(
    settings: Settings,
    count: u32,
    octets: usize,
    gap: Duration,
) -> (Frames, Vec<(u32, Duration, Duration)>) {
    let start = start();
    let mut link = Frames::new(settings, Seed::new(SEED), start);
    let mut got = Vec::new();
    let mut collect = |link: &mut Frames, until: Instant| {
        while let Some(next) = link.poll_timeout().filter(|next| *next <= until) {
            while let Some(frame) = link.poll_delivery(next) {
                let number = u32::from_be_bytes(*frame.first_chunk().unwrap());
                got.push((number, gap * number, next - start));
            }
        }
    };
    for number in 0..count {
        let now = start + gap * number;
        collect(&mut link, now);
        let mut frame = vec![0; octets];
        frame[..4].copy_from_slice(&number.to_be_bytes());
        link.handle_frame(frame, now);
    }
    collect(&mut link, start + Duration::from_secs(1_000_000));
    (link, got)
}

fn seconds(delays: &[f64]) -> (f64, f64) {
    let count = delays.len() as f64;
    let mean = delays.iter().sum::<f64>() / count;
    let variance = delays.iter().map(|delay| (delay - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

fn delays(got: &[(u32, Duration, Duration)]) -> Vec<f64> {
    got.iter().map(|(_, sent, came)| (*came - *sent).as_secs_f64()).collect()
}

#[test]
fn a_link_that_is_told_nothing_changes_nothing() {
    let start = start();
    let mut link = Frames::new(Settings::default(), Seed::new(SEED), start);
    for number in 0..100u8 {
        let now = start + micros(u64::from(number));
        assert_eq!(link.handle_frame(vec![number; 60], now), Verdict::Accepted { copies: 1 });
        assert_eq!(link.poll_timeout(), Some(now));
        assert_eq!(link.poll_delivery(now), Some(vec![number; 60]));
        assert_eq!(link.poll_delivery(now), None);
        assert_eq!(link.poll_timeout(), None);
    }
    assert!(!link.is_blocked(start));
}

#[test]
fn the_asked_share_is_lost_and_counted() {
    let settings = Settings { loss: percent(3.0).into(), ..Settings::default() };
    let (link, got) = run(settings, COUNT, 60, micros(1));
    let lost = f64::from(COUNT) - got.len() as f64;
    let error = 5.0 * (f64::from(COUNT) * 0.03 * 0.97).sqrt();
    assert!((lost - 30_000.0).abs() < error, "{lost}");
    let counters = link.counters();
    assert_eq!(counters.lost as f64, lost);
    assert!((counters.loss_percent().unwrap() - lost / f64::from(COUNT) * 100.0).abs() < 1e-9);
    assert!((counters.mean_burst().unwrap() - 1.0 / 0.97).abs() < 0.01);
}

#[test]
fn copies_follow_copies_with_the_asked_probability() {
    let settings = Settings { duplication: percent(20.0).into(), ..Settings::default() };
    let (link, got) = run(settings, COUNT, 60, micros(1));
    // Geometric: 0.25 copies for each frame, with variance 0.2 / 0.64.
    let copies = got.len() as f64 - f64::from(COUNT);
    let error = 5.0 * (f64::from(COUNT) * 0.2 / 0.64).sqrt();
    assert!((copies - 250_000.0).abs() < error, "{copies}");
    assert_eq!(link.counters().copies as f64, copies);
    let total = Settings { duplication: percent(100.0).into(), ..Settings::default() };
    let (_, got) = run(total, 1, 60, micros(1));
    assert_eq!(got.len(), MAX_COPIES as usize + 1, "it has an end");
}

#[test]
fn delays_have_the_asked_distribution() {
    for (shape, deviation) in
        [(Shape::Uniform, 0.006 / 3.0f64.sqrt()), (Shape::Normal, 0.002), (Shape::Pareto, 0.002)]
    {
        let settings = Settings {
            delay: Spread::new(20e6, 6e6, shape.clone()).unwrap(),
            order: Order::Free,
            ..Settings::default()
        };
        let (link, got) = run(settings, COUNT, 60, micros(1));
        let (mean, found) = seconds(&delays(&got));
        assert!(
            (mean - 0.02).abs() < 5.0 * deviation / f64::from(COUNT).sqrt(),
            "{shape:?} {mean}"
        );
        let tolerance = if shape == Shape::Pareto { 0.2 } else { 0.005 };
        assert!((found / deviation - 1.0).abs() < tolerance, "{shape:?} {found}");
        let counted = link.counters().delay;
        assert!((counted.mean().unwrap().as_secs_f64() - mean).abs() < 1e-8);
        assert!((counted.deviation().unwrap().as_secs_f64() - found).abs() < 1e-8);
        assert_eq!(link.counters().lateness.max(), Some(Duration::ZERO));
    }
}

#[test]
fn a_constant_delay_is_exact_to_the_nanosecond() {
    let settings =
        Settings { delay: Spread::from(Duration::from_nanos(1_234_567)), ..Settings::default() };
    let (_, got) = run(settings, 10_000, 60, Duration::from_nanos(777));
    assert!(got.iter().all(|(_, sent, came)| *came - *sent == Duration::from_nanos(1_234_567)));
}

#[test]
fn jitter_reorders_only_where_order_is_free() {
    for (order, reordered) in [(Order::Kept, false), (Order::Free, true)] {
        let settings = Settings {
            delay: Spread::new(10e6, 10e6, Shape::Normal).unwrap(),
            order,
            ..Settings::default()
        };
        let (link, got) = run(settings, COUNT / 10, 60, micros(10));
        let sorted = got.is_sorted_by_key(|(number, ..)| *number);
        assert_eq!(sorted, !reordered);
        assert_eq!(link.counters().reordered > 0, reordered);
        assert_eq!(got.len(), COUNT as usize / 10);
    }
}

#[test]
fn the_asked_share_overtakes() {
    let settings = Settings {
        delay: Spread::from(Duration::from_millis(1)),
        reorder: percent(5.0).into(),
        ..Settings::default()
    };
    let (link, got) = run(settings, COUNT, 60, micros(10));
    let hurried = delays(&got).iter().filter(|delay| **delay == 0.0).count() as f64;
    assert!(
        (hurried - 50_000.0).abs() < 5.0 * (f64::from(COUNT) * 0.05 * 0.95).sqrt(),
        "{hurried}"
    );
    assert_eq!(link.counters().hurried as f64, hurried);
}

#[test]
fn a_bottleneck_delivers_exactly_its_rate() {
    // 1514 octets at 12.5 MB/s take 121.12 µs; they come every 100.
    let settings = Settings { bandwidth: rate(12.5e6), ..Settings::default() };
    let (link, got) = run(settings, 100_000, 1514, micros(100));
    let last = got.last().unwrap().2;
    assert_eq!(last, Duration::from_nanos(121_120 * 100_000));
    assert!(got.windows(2).all(|pair| pair[1].2 - pair[0].2 == Duration::from_nanos(121_120)));
    assert_eq!(link.waiting(), Waiting::default());
    // A rate that does not divide: 60 octets at 7 MB/s are 8571.43 ns.
    let settings = Settings { bandwidth: rate(7e6), ..Settings::default() };
    let (_, got) = run(settings, COUNT, 60, micros(1));
    let exact = 60.0 * f64::from(COUNT) / 7e6;
    assert!((got.last().unwrap().2.as_secs_f64() - exact).abs() < 2e-9);
}

#[test]
fn a_rate_that_varies_has_its_mean_time() {
    let settings = Settings {
        bandwidth: Some(Spread::new(1e6, 0.5e6, Shape::Uniform).unwrap()),
        ..Settings::default()
    };
    let (_, got) = run(settings, 200_000, 1000, micros(100));
    // The mean of 1/x over 0.5..1.5 is ln 3.
    let expected = 200.0 * 3.0f64.ln();
    let found = got.last().unwrap().2.as_secs_f64();
    assert!((found / expected - 1.0).abs() < 0.005, "{found} {expected}");
}

#[test]
fn the_interface_holds_its_sender_back() {
    let start = start();
    let settings = Settings { speed: rate(1e6), ..Settings::default() };
    let mut link = Frames::new(settings, Seed::new(SEED), start);
    let mut now = start;
    for _ in 0..1000 {
        link.handle_frame(vec![0; 1000], now);
        // Woken 300 µs late each time.
        if let Some(ready) = link.ready_at() {
            assert!(link.is_blocked(ready - micros(1)));
            assert!(!link.is_blocked(ready));
            now = ready + micros(300);
        }
    }
    let got = drain(&mut link, start);
    assert_eq!(got.len(), 1000);
    assert_eq!(got.last().unwrap().0, Duration::from_secs(1), "the rate is kept all the same");
}

#[test]
fn full_queues_drop_the_frame_that_comes() {
    let limited = |queue, capacity: Option<f64>| Settings {
        bandwidth: rate(1e6),
        delay: Spread::from(Duration::from_millis(500)),
        queue,
        capacity: capacity.map(|octets| Spread::constant(octets).unwrap()),
        ..Settings::default()
    };
    let queue = |octets: Option<f64>, frames| Queue {
        octets: octets.map(|octets| Octets::new(octets).unwrap()),
        frames,
        discipline: Discipline::TailDrop,
    };
    for (settings, delivered, reason) in [
        (limited(queue(Some(5000.0), None), None), 6, DropReason::QueueFull),
        (limited(queue(None, Some(3)), None), 4, DropReason::QueueFull),
        (limited(Queue::default(), Some(5000.0)), 5, DropReason::Capacity),
        (limited(Queue::default(), Some(4999.0)), 4, DropReason::Capacity),
    ] {
        let (link, got) = run(settings.clone(), 10, 1000, Duration::ZERO);
        let numbers: Vec<u32> = got.iter().map(|(number, ..)| *number).collect();
        assert_eq!(numbers, (0..delivered).collect::<Vec<_>>(), "{settings:?}");
        assert_eq!(link.counters().dropped(reason), u64::from(10 - delivered));
    }
}

#[test]
fn frames_longer_than_the_mtu_are_dropped() {
    let mtu = Some(Octets::new(100.0).unwrap());
    let settings = Settings { mtu, ..Settings::default() };
    let mut link = Frames::new(settings, Seed::new(SEED), start());
    let now = start();
    assert_eq!(link.handle_frame(vec![0; 100], now), Verdict::Accepted { copies: 1 });
    assert_eq!(link.handle_frame(vec![0; 101], now), Verdict::Dropped(DropReason::TooLong));
}

#[test]
fn codel_keeps_the_wait_short_where_tail_drop_does_not() {
    let mean_wait = |discipline| {
        let settings = Settings {
            bandwidth: rate(1.25e6),
            queue: Queue { octets: None, frames: Some(1000), discipline },
            ..Settings::default()
        };
        // 10 % more than the bottleneck takes.
        let (link, got) = run(settings, 50_000, 1250, micros(909));
        let steady = delays(&got[got.len() / 2..]);
        assert_eq!(
            link.counters().received,
            link.counters().delivered
                + match discipline {
                    Discipline::TailDrop => link.counters().queue_full,
                    Discipline::CoDel { .. } => link.counters().waited,
                }
        );
        seconds(&steady).0
    };
    let tail_drop = mean_wait(Discipline::TailDrop);
    let codel = mean_wait(Discipline::CODEL);
    assert!((0.9..1.01).contains(&tail_drop), "{tail_drop}");
    assert!(codel < 0.06, "{codel}");
}

#[test]
fn a_trace_delivers_what_it_has_opportunities_for() {
    let trace = Trace::parse("1\n2\n2\n10\n").unwrap();
    let settings = Settings { trace: Some(Arc::new(trace)), ..Settings::default() };
    let (_, got) = run(settings, 4000, 1504, micros(10));
    // Four packets every 10 ms.
    assert_eq!(got.last().unwrap().2, Duration::from_secs(10));
    assert_eq!(got.iter().filter(|it| it.2 <= Duration::from_secs(1)).count(), 400);
}

#[test]
fn noise_and_corruption_damage_what_they_say() {
    let settings = Settings {
        corruption: percent(10.0).into(),
        noise: Spread::<Noise>::constant(100.0).unwrap(),
        ..Settings::default()
    };
    let start = start();
    let mut link = Frames::new(settings, Seed::new(SEED), start);
    let mut flipped = 0u64;
    for _ in 0..100_000 {
        link.handle_frame(vec![0; 1000], start);
        let frame = link.poll_delivery(start).unwrap();
        flipped += frame.iter().map(|octet| u64::from(octet.count_ones())).sum::<u64>();
    }
    let counters = link.counters();
    // A bit flipped by both is whole again: rare, but possible.
    assert!(counters.flipped_bits + counters.corrupted - flipped < 20);
    assert!((counters.corrupted as f64 - 10_000.0).abs() < 5.0 * 95.0);
    let expected = 100.0 * 1e8 / f64::from(1 << 20);
    assert!((counters.flipped_bits as f64 - expected).abs() < 5.0 * expected.sqrt());
}

#[test]
fn one_effect_does_not_disturb_the_chance_of_another() {
    let plain = Settings {
        delay: Spread::new(10e6, 5e6, Shape::Normal).unwrap(),
        order: Order::Free,
        ..Settings::default()
    };
    let damaging = Settings {
        noise: Spread::constant(5000.0).unwrap(),
        corruption: percent(30.0).into(),
        bandwidth: Some(Spread::new(1e15, 1e14, Shape::Uniform).unwrap()),
        ..plain.clone()
    };
    let mut times = [plain, damaging].map(|settings| {
        let (_, got) = run(settings, 1000, 4, micros(1));
        got.into_iter().map(|(_, _, came)| came).collect::<Vec<_>>()
    });
    times.iter_mut().for_each(|times| times.sort_unstable());
    assert_eq!(times[0], times[1]);
}

#[test]
fn a_frame_on_its_way_takes_no_more_than_it_may() {
    // Vectors double when they grow.
    assert!(2 * size_of::<OnWay<Box<[u8]>>>() as u64 <= FRAME_OVERHEAD);
}

#[test]
fn a_new_rate_holds_for_what_waits_and_for_the_rest_of_what_is_in_transmission() {
    let start = start();
    let slow = Settings { bandwidth: rate(1000.0), ..Settings::default() };
    let fast = Settings { bandwidth: rate(10_000.0), ..Settings::default() };
    let mut link = Frames::new(slow.clone(), Seed::new(SEED), start);
    for _ in 0..3 {
        link.handle_frame(vec![0; 1000], start);
    }
    // Half of the first is through after half a second; the rest takes 50 ms.
    link.set(fast, start + Duration::from_millis(500));
    assert_eq!(link.poll_timeout(), Some(start + Duration::from_millis(550)));
    assert!(link.poll_delivery(start + Duration::from_millis(550)).is_some());
    assert_eq!(link.poll_timeout(), Some(start + Duration::from_millis(650)));
    // Without a limit all are through at once.
    link.set(Settings::default(), start + Duration::from_millis(600));
    let got = drain(&mut link, start);
    assert_eq!(got.len(), 2);
    assert!(got.iter().all(|(at, _)| *at == Duration::from_millis(600)));
}

fn any_spread<Q: Quantity>(max: f64) -> impl Strategy<Value = Spread<Q>> {
    (0.0..max, 0.0..max, 0usize..3).prop_map(|(centre, variation, shape)| {
        let shape = [Shape::Uniform, Shape::Normal, Shape::Pareto][shape].clone();
        Spread::new(centre, variation, shape).unwrap()
    })
}

fn any_chance() -> impl Strategy<Value = Chance> {
    (any_spread(60.0), prop_oneof![Just(0.0), 0.0..99.0])
        .prop_map(|(share, correlation)| Chance { share, correlation: percent(correlation) })
}

prop_compose! {
    fn any_settings()(
        chances in [any_chance(), any_chance(), any_chance(), any_chance()],
        on in any::<[bool; 12]>(),
        delay in any_spread::<Duration>(3e6),
        rates in [any_spread::<Rate>(2e6), any_spread::<Rate>(2e6)],
        noise in any_spread::<Noise>(3000.0),
        burst in any_spread(5.0),
        capacity in any_spread::<Octets>(9000.0),
        frames in 0u32..9,
    ) -> Settings {
        let [loss, duplication, corruption, reorder] = chances;
        let [speed, bandwidth] = rates;
        Settings {
            mtu: on[0].then(|| Octets::new(900.0).unwrap()),
            loss: if on[1] { loss } else { Chance::default() },
            burst: if on[2] { burst } else { Spread::default() },
            loss_states: None,
            duplication: if on[3] { duplication } else { Chance::default() },
            corruption,
            noise,
            speed: on[4].then_some(speed),
            bandwidth: on[5].then_some(bandwidth),
            trace: on[6].then(|| Arc::new(Trace::parse("1\n1\n3\n").unwrap())),
            queue: Queue {
                octets: None,
                frames: on[7].then_some(frames),
                discipline: if on[8] { Discipline::CODEL } else { Discipline::TailDrop },
            },
            capacity: on[9].then_some(capacity),
            delay,
            delay_correlation: if on[10] { percent(30.0) } else { Percent::ZERO },
            reorder: if on[11] { reorder } else { Chance::default() },
            order: if on[0] { Order::Kept } else { Order::Free },
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Frame(usize),
    Wait(u64),
    Set(Box<Settings>),
    Poll,
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (14usize..1000).prop_map(Step::Frame),
        4 => (0u64..2_000_000).prop_map(Step::Wait),
        1 => any_settings().prop_map(|settings| Step::Set(Box::new(settings))),
        3 => Just(Step::Poll),
    ];
    proptest::collection::vec(step, 0..80)
}

/// Plays steps. `eager`: polls at every instant that the link names; otherwise only at the end.
fn play(steps: &[Step], eager: bool) -> (Frames, Vec<Vec<u8>>) {
    let start = start();
    let mut now = start;
    let mut link = Frames::new(Settings::default(), Seed::new(SEED), start);
    let mut got = Vec::new();
    let mut number = 0u8;
    for step in steps {
        match step {
            Step::Frame(octets) => {
                number = number.wrapping_add(1);
                link.handle_frame(vec![number; *octets], now);
            }
            Step::Wait(nanoseconds) => {
                let until = now + Duration::from_nanos(*nanoseconds);
                while let Some(next) = link.poll_timeout().filter(|next| eager && *next <= until) {
                    now = now.max(next);
                    got.extend(std::iter::from_fn(|| link.poll_delivery(now)));
                }
                now = until;
            }
            Step::Set(settings) => link.set(settings.as_ref().clone(), now),
            Step::Poll if eager => got.extend(std::iter::from_fn(|| link.poll_delivery(now))),
            Step::Poll => {}
        }
    }
    let waiting = link.waiting();
    got.extend(drain(&mut link, start).into_iter().map(|(_, frame)| frame));
    assert!(
        waiting.frames <= got.len() as u64 + link.counters().waited + link.counters().queue_full
    );
    (link, got)
}

proptest! {
    #[test]
    fn the_same_seed_gives_the_same_octets_whenever_deliveries_are_polled(steps in any_steps()) {
        let (eager_link, eager) = play(&steps, true);
        let (lazy_link, lazy) = play(&steps, false);
        prop_assert_eq!(eager, lazy);
        let (eager, lazy) = (eager_link.counters(), lazy_link.counters());
        prop_assert_eq!(eager.delay, lazy.delay);
        prop_assert_eq!(eager.flipped_bits, lazy.flipped_bits);
        // Whoever polls when told is never late.
        prop_assert!(eager.lateness.max().is_none_or(|max| max.is_zero()));
    }

    #[test]
    fn every_frame_is_delivered_or_counted_however_settings_change(steps in any_steps()) {
        let (link, got) = play(&steps, true);
        let counters = link.counters();
        let dropped: u64 = DropReason::ALL.map(|reason| counters.dropped(reason)).iter().sum();
        prop_assert_eq!(counters.received + counters.copies, counters.delivered + dropped);
        prop_assert_eq!(counters.delivered, got.len() as u64);
        prop_assert_eq!(link.waiting(), Waiting::default());
        prop_assert_eq!(link.poll_timeout(), None);
    }
}
