//! The model on paths in fake time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::*;

const PACKET: u64 = 1400;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A path with one bottleneck, and a sender that always has something to send.
struct Path {
    model: Model,
    now: Instant,
    /// Octets a second.
    rate: f64,
    /// Its round trip when nobody queues.
    base: Duration,
    /// What may wait at the bottleneck.
    buffer: Duration,
    /// One packet in so many is lost at random; 0: none.
    lost_of: u64,
    /// Acknowledgements come together so often.
    bunches: Duration,
    /// When the bottleneck has sent what it has.
    free_at: Instant,
    in_flight: VecDeque<Packet>,
    sent: u64,
    delivered: u64,
    lost: u64,
    /// The longest that a packet waited.
    longest_wait: Duration,
}

struct Packet {
    sent: Instant,
    told: Instant,
    arrives: bool,
}

impl Path {
    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to start from")]
    fn new(mbits: f64, base: Duration) -> Self {
        let now = Instant::now();
        Self {
            model: Model::new(64 * 1200, 1200),
            now,
            rate: mbits * 125_000.0,
            base,
            buffer: ms(100),
            lost_of: 0,
            bunches: ms(1),
            free_at: now,
            in_flight: VecDeque::new(),
            sent: 0,
            delivered: 0,
            lost: 0,
            longest_wait: Duration::ZERO,
        }
    }

    /// Runs for a while, and says at which share of its rate the path delivered.
    fn run(&mut self, time: Duration) -> f64 {
        let (from, before) = (self.now, self.delivered);
        (self.longest_wait, self.lost) = (Duration::ZERO, 0);
        let (mut next_bunch, mut credit) = (self.now, 0);
        while self.now < from + time {
            self.now += ms(1);
            if self.now >= next_bunch {
                next_bunch = self.now + self.bunches;
                self.tell();
            }
            // QUIC spreads a window over four fifths of a round trip.
            let window = self.model.window();
            let a_millisecond = window * 5 / 4 / u64::try_from(self.base.as_millis()).unwrap();
            credit = (credit + a_millisecond).min(a_millisecond.max(10 * PACKET));
            let in_flight = |path: &Self| u64::try_from(path.in_flight.len()).unwrap() * PACKET;
            while in_flight(self) + PACKET < window && credit >= PACKET {
                credit -= PACKET;
                self.send();
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
        let octets = (self.delivered - before) as f64;
        octets / time.as_secs_f64() / self.rate
    }

    fn send(&mut self) {
        self.sent += 1;
        let at_bottleneck = self.now + self.base / 2;
        let wait = self.free_at.saturating_duration_since(at_bottleneck);
        let by_chance = self.lost_of > 0 && self.sent.is_multiple_of(self.lost_of);
        let arrives = wait <= self.buffer && !by_chance;
        if arrives {
            self.longest_wait = self.longest_wait.max(wait);
            #[expect(clippy::cast_precision_loss, reason = "1400")]
            let takes = Duration::from_secs_f64(PACKET as f64 / self.rate);
            self.free_at = at_bottleneck + wait + takes;
        }
        let told = at_bottleneck + wait.min(self.buffer) + self.base / 2;
        self.in_flight.push_back(Packet { sent: self.now, told, arrives });
    }

    fn tell(&mut self) {
        let mut any = false;
        while let Some(packet) = self.in_flight.pop_front_if(|packet| packet.told <= self.now) {
            if packet.arrives {
                self.delivered += PACKET;
                any = true;
                self.model.handle_ack(self.now, packet.sent, PACKET);
            } else {
                self.lost += 1;
                self.model.handle_loss(self.now, packet.sent, PACKET, false);
            }
        }
        if any {
            self.model.handle_batch(Batch { now: self.now, is_idle: false });
        }
    }
}

#[test]
fn a_path_is_filled_and_hardly_anything_waits_in_it() {
    for (mbits, base) in [(100.0, 50), (20.0, 20), (500.0, 10), (1000.0, 100), (10.0, 200)] {
        let mut path = Path::new(mbits, ms(base));
        path.run(ms(5000));
        let share = path.run(ms(10_000));
        assert!(share > 0.95, "{share} of {mbits} Mbit/s, {base} ms");
        assert!(path.longest_wait < ms(12.max(base / 5)), "{:?}, {base} ms", path.longest_wait);
        assert_eq!(path.lost, 0);
    }
}

#[test]
fn packets_lost_by_chance_slow_nothing_down() {
    let mut path = Path::new(100.0, ms(50));
    path.lost_of = 200;
    path.run(ms(3000));
    let share = path.run(ms(10_000));
    assert!(share > 0.95, "{share}");
    assert!(path.longest_wait < ms(10), "{:?}", path.longest_wait);
}

#[test]
fn busy_hosts_that_tell_of_packets_in_bunches_slow_nothing_down() {
    let mut path = Path::new(100.0, ms(50));
    path.bunches = ms(10);
    path.run(ms(3000));
    let share = path.run(ms(10_000));
    assert!(share > 0.9, "{share}");
}

#[test]
fn a_path_that_becomes_faster_is_found_out() {
    let mut path = Path::new(50.0, ms(50));
    path.run(ms(5000));
    path.rate *= 4.0;
    path.run(ms(4000));
    let share = path.run(ms(5000));
    assert!(share > 0.95, "{share}");
}

#[test]
fn a_path_that_becomes_slower_is_found_out() {
    let mut path = Path::new(100.0, ms(50));
    path.run(ms(5000));
    path.rate /= 4.0;
    path.run(ms(5000));
    let share = path.run(ms(5000));
    assert!(share > 0.95, "{share}");
    assert!(path.longest_wait < ms(10), "{:?}", path.longest_wait);
}

#[test]
fn a_path_that_becomes_longer_is_filled_again() {
    let mut path = Path::new(100.0, ms(20));
    path.run(ms(5000));
    path.base = ms(100);
    path.run(ms(10_000));
    let share = path.run(ms(5000));
    assert!(share > 0.9, "{share}");
}

#[test]
fn a_path_without_a_buffer_loses_little() {
    let mut path = Path::new(100.0, ms(50));
    path.buffer = ms(2);
    path.run(ms(5000));
    let share = path.run(ms(10_000));
    assert!(share > 0.75, "{share}");
    let all = path.delivered / PACKET;
    assert!(path.lost * 20 < all, "{} of {all}", path.lost);
}

#[test]
fn a_pause_says_nothing_against_the_path() {
    let mut path = Path::new(100.0, ms(50));
    path.run(ms(5000));
    let before = path.model.window();
    path.in_flight.clear();
    for _ in 0..60 {
        path.now += ms(1000);
        path.model.handle_ack(path.now, path.now - ms(54), 60);
        path.model.handle_batch(Batch { now: path.now, is_idle: true });
    }
    let after = path.model.window();
    assert!(after > before * 8 / 10, "{before}, then {after}");
}

#[test]
fn when_nothing_got_through_for_a_while_it_begins_anew() {
    let mut path = Path::new(100.0, ms(50));
    path.run(ms(5000));
    path.model.handle_loss(path.now, path.now, PACKET, true);
    assert_eq!(path.model.window(), LEAST_PACKETS * 1200);
    path.in_flight.clear();
    path.run(ms(3000));
    let share = path.run(ms(5000));
    assert!(share > 0.95, "{share}");
}
