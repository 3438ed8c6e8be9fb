//! Two ends of one cable in fake time, with loss and delay.

#![expect(clippy::disallowed_methods, reason = "fake time begins somewhere")]

use super::*;
use crate::random::Random;

const PACE: Duration = Duration::from_millis(300);

/// A cable that loses and delays.
struct Lab {
    now: Instant,
    ends: [Liveness; 2],
    /// What is under way: when it arrives, and at which end.
    flying: Vec<(Instant, usize, Beat)>,
    delay: Duration,
    /// Lost datagrams of 1000, by direction.
    loss: [u64; 2],
    /// Until when an end is stopped; what arrives waits for it.
    stopped: [Option<Instant>; 2],
    /// How far an end's clock is ahead.
    ahead: [Duration; 2],
    random: Random,
    changes: Vec<(Duration, usize, Transition)>,
    start: Instant,
    sent: usize,
}

impl Lab {
    fn new(delay: Duration) -> Self {
        let now = Instant::now();
        let end = |sequence| Liveness::new(PACE, 3, sequence, now);
        Self {
            now,
            ends: [end(u32::MAX - 3), end(7)],
            flying: Vec::new(),
            delay,
            loss: [0, 0],
            stopped: [None, None],
            ahead: [Duration::ZERO; 2],
            random: Random::new(1),
            changes: Vec::new(),
            start: now,
            sent: 0,
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            for at in 0..2 {
                if self.stopped[at].is_some() {
                    continue;
                }
                let local = self.now + self.ahead[at];
                if let Some(change) = self.ends[at].tick(local) {
                    self.changes.push((self.now - self.start, at, change));
                }
                self.send(at, local);
            }
            let next = self.next().max(self.now);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            let now = self.now;
            self.stopped = self.stopped.map(|until| until.filter(|until| now < *until));
            let stopped = self.stopped;
            let is_read =
                |(at, to, _): &(Instant, usize, Beat)| *at <= now && stopped[*to].is_none();
            let arrived: Vec<_> = self.flying.extract_if(.., |it| is_read(it)).collect();
            for (_, at, beat) in arrived {
                let local = now + self.ahead[at];
                self.ends[at].handle_beat(&beat, local);
                // As the engine does after each.
                if let Some(change) = self.ends[at].tick(local) {
                    self.changes.push((now - self.start, at, change));
                }
                self.send(at, local);
            }
        }
    }

    /// When something happens.
    fn next(&self) -> Instant {
        let timers = (0..2).map(|at| {
            let due = self.ends[at].next_timeout(self.now + self.ahead[at]) - self.ahead[at];
            self.stopped[at].unwrap_or(due)
        });
        let arrivals = self
            .flying
            .iter()
            .map(|(at, to, _)| self.stopped[*to].map_or(*at, |until| until.max(*at)));
        timers.chain(arrivals).min().unwrap()
    }

    fn send(&mut self, at: usize, local: Instant) {
        while let Some(beat) = self.ends[at].poll_beat(0, local) {
            self.sent += 1;
            if self.random.next_u64() % 1000 >= self.loss[at] {
                self.flying.push((self.now + self.delay, 1 - at, beat));
            }
        }
    }

    /// The states that the ends changed to since the last call.
    fn changes(&mut self) -> Vec<(Duration, usize, Transition)> {
        std::mem::take(&mut self.changes)
    }
}

#[test]
fn a_cable_is_used_after_one_round_trip() {
    let mut lab = Lab::new(Duration::from_millis(20));
    lab.run(Duration::from_secs(1));
    let changes = lab.changes();
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert!(changes.iter().all(|(at, _, _)| *at <= Duration::from_millis(60)), "{changes:?}");
    let round_trip = lab.ends[0].round_trip().unwrap();
    assert_eq!(round_trip, Duration::from_millis(40));
}

#[test]
fn silence_is_seen_within_900_ms_and_beats_are_few_while_all_is_well() {
    let mut lab = Lab::new(Duration::from_millis(1));
    lab.run(Duration::from_secs(30));
    assert!(lab.sent <= 2 * 30 * 4, "{} beats in 30 s", lab.sent);
    lab.changes();
    let cut = lab.now - lab.start;
    lab.loss = [1000, 1000];
    lab.run(Duration::from_secs(2));
    let changes = lab.changes();
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert!(changes.iter().all(|(at, _, _)| *at - cut <= 3 * PACE), "{changes:?}");
    // It works again, and is used after the hold.
    lab.loss = [0, 0];
    lab.run(Duration::from_secs(5));
    assert_eq!(lab.changes().len(), 2);
}

#[test]
fn a_cut_in_one_direction_is_seen_by_both_ends() {
    for direction in 0..2 {
        let mut lab = Lab::new(Duration::from_millis(1));
        lab.run(Duration::from_secs(5));
        lab.changes();
        let cut = lab.now - lab.start;
        lab.loss[direction] = 1000;
        lab.run(Duration::from_secs(2));
        let mut changes = lab.changes();
        changes.sort_by_key(|(_, end, _)| *end == direction);
        let [(deaf_at, _, deaf), (unheard_at, _, unheard)] = changes[..] else {
            panic!("{changes:?}");
        };
        assert_eq!(deaf, Transition::Down(Silence::Inbound));
        assert_eq!(unheard, Transition::Down(Silence::Outbound));
        assert!(deaf_at - cut <= 3 * PACE && unheard_at - cut <= 3 * PACE, "{changes:?}");
        lab.run(Duration::from_secs(20));
        assert_eq!(lab.changes(), [], "it stays unused");
    }
}

#[test]
fn a_loss_of_one_in_four_is_not_taken_for_death() {
    let mut lab = Lab::new(Duration::from_millis(10));
    lab.run(Duration::from_secs(1));
    lab.changes();
    lab.loss = [250, 250];
    lab.run(Duration::from_secs(1200));
    assert_eq!(lab.changes(), []);
    let loss = lab.ends[0].loss();
    assert!((0.1..0.5).contains(&loss), "{loss}");
}

#[test]
fn a_long_round_trip_slows_the_beats_and_not_the_cable() {
    let mut lab = Lab::new(Duration::from_millis(400));
    lab.run(Duration::from_secs(600));
    assert_eq!(lab.changes().len(), 2, "it came up and stays");
    assert!(lab.sent < 2 * 600, "{} beats", lab.sent);
}

#[test]
fn a_node_that_was_stopped_reads_what_came_before_it_judges() {
    let mut lab = Lab::new(Duration::from_millis(1));
    lab.run(Duration::from_secs(5));
    lab.changes();
    // One end sleeps for 2 s; the other one's beats wait for it.
    let asleep = lab.now;
    let late = asleep + Duration::from_secs(2);
    assert_eq!(lab.ends[0].tick(late), None);
    let beat = lab.ends[1].poll_beat(0, late).unwrap();
    lab.ends[0].handle_beat(&beat, late);
    assert!(lab.ends[0].hears(late));
}

/// Both ends beat as before, or soon do.
#[track_caller]
fn assert_undisturbed(lab: &mut Lab) {
    lab.run(Duration::from_secs(10));
    let round_trips = [0, 1].map(|end: usize| lab.ends[end].round_trip().unwrap());
    assert!(round_trips.iter().all(|it| *it < PACE_ROUND_TRIP), "{round_trips:?}");
    assert!(lab.ends.iter().all(Liveness::is_alive));
}

#[test]
fn a_pause_is_not_taken_for_a_round_trip() {
    for (phase, seconds) in (0..15).zip([1, 2, 5, 9, 30].into_iter().cycle()) {
        let mut lab = Lab::new(Duration::from_millis(5));
        lab.run(Duration::from_secs(5) + phase * PACE / 15);
        let pause = Duration::from_secs(seconds);
        lab.stopped[0] = Some(lab.now + pause);
        lab.run(pause);
        assert_undisturbed(&mut lab);
    }
}

#[test]
fn a_clock_that_leaps_is_not_taken_for_a_round_trip() {
    for (phase, seconds) in (0..15).zip([1, 60, 3600].into_iter().cycle()) {
        let mut lab = Lab::new(Duration::from_millis(40));
        lab.run(Duration::from_secs(5) + phase * PACE / 15);
        lab.ahead[0] = Duration::from_secs(seconds);
        assert_undisturbed(&mut lab);
    }
}

#[test]
fn a_clock_that_leaps_before_the_first_answer_slows_the_beats_no_longer_than_for_a_few() {
    for phase in 0..15 {
        let mut lab = Lab::new(Duration::from_millis(60));
        lab.run(phase * PACE / 15);
        lab.ahead[1] = Duration::from_secs(1280);
        assert_undisturbed(&mut lab);
    }
}

#[test]
fn a_cable_whose_peer_is_said_to_be_gone_is_left_in_a_pace_unless_the_peer_answers() {
    for phase in 0..10 {
        let mut lab = Lab::new(Duration::from_millis(20));
        lab.run(Duration::from_secs(5) + phase * PACE / 10);
        lab.changes();
        // Somebody forges such a word, again and again.
        let sent = lab.sent;
        for _ in 0..100 {
            let now = lab.now;
            lab.ends[0].handle_hint(now);
            lab.run(Duration::from_millis(100));
        }
        assert_eq!(lab.changes(), []);
        let more = lab.sent - sent;
        assert!(more < 2 * 10 * 4 + 40, "{more} beats in 10 s");
        // And then it is so.
        lab.run(Duration::from_secs(2));
        lab.stopped[1] = Some(lab.now + Duration::from_secs(600));
        let now = lab.now;
        lab.ends[0].handle_hint(now);
        lab.run(PACE + Duration::from_millis(50));
        let changes = lab.changes();
        let [(_, 0, Transition::Down(Silence::Inbound))] = changes[..] else {
            panic!("{changes:?}");
        };
    }
}
