//! Whether frames get through a cable, both ways, and how long they take.
//!
//! Owns the beats of one cable: when to send one, what the other end's say, when silence is death.
//! A cable is usable while this end hears the other and hears from it that it is heard. Once in
//! doubt it beats six times as fast and asks for answers, so that a cable that merely loses one
//! datagram in four is not taken for dead.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::beat::{Beat, Heard};

/// Beats whose time of sending is remembered; at the fastest pace they are 3 s.
const REMEMBERED: usize = 64;

/// Round trips of which the shortest stands for the path itself: about 10 s. The others waited in
/// queues, and a route that follows queues swings.
const SAMPLES: usize = 32;

/// Measurements of which the one in the middle is the round trip: two that are wrong count for nothing,
/// and a path that has become slower is known to be after three.
const MEASUREMENTS: usize = 5;

/// Up to this round trip the pace is that of the settings; above, beats are as many to a round
/// trip as here.
const PACE_ROUND_TRIP: Duration = Duration::from_millis(150);

/// The slowest pace.
const MAX_INTERVAL: Duration = Duration::from_secs(3);

/// How much faster beats are in doubt.
const DOUBT_PACE: u32 = 6;

/// How long a cable that was silent must work before it is used again, and how far that doubles
/// when it keeps failing.
const FIRST_HOLD: Duration = Duration::from_secs(3);
const LAST_HOLD: Duration = Duration::from_secs(12);

/// After so long without a failure the hold is short again.
const FORGIVE: Duration = Duration::from_secs(60);

/// A node that was stopped or starved for so long reads what has arrived before it judges.
const STALL: Duration = Duration::from_millis(450);
const GRACE: Duration = Duration::from_millis(150);

/// A hint that the other end is gone is followed up once in such a time: anybody may forge one.
const HINT_INTERVAL: Duration = Duration::from_secs(1);

/// In which direction a cable is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// Nothing comes from the other end.
    Inbound,
    /// The other end does not hear this one.
    Outbound,
}

/// What a look at the clock found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transition {
    Up,
    Down(Silence),
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Not used; since when it has worked again, if it does.
    Proving { works_since: Option<Instant> },
    /// Used since.
    Alive { since: Instant },
}

#[derive(Debug, Clone)]
pub(super) struct Liveness {
    interval: Duration,
    missed: u32,
    state: State,
    /// How long it must work before it is used.
    hold: Duration,
    sequence: u32,
    sent: VecDeque<(u32, Instant)>,
    last_sent: Option<Instant>,
    answer_due: bool,
    /// The newest beat of the other end, and when it came.
    heard: Option<(u32, Instant)>,
    /// When the newest of this end's beats was sent that the other end has heard.
    acked: Option<(u32, Instant)>,
    peer_deaf: bool,
    /// When the network said that nobody is at the other end any more; `None` when no word came, or
    /// it was wrong.
    hint: Option<Instant>,
    last_hint: Option<Instant>,
    round_trip: Option<Duration>,
    /// The last of what it is the middle of.
    measured: VecDeque<Duration>,
    /// The least round trip that was measured since some time.
    sample: Option<(Instant, Duration)>,
    samples: VecDeque<Duration>,
    last_look: Instant,
    grace_until: Instant,
    /// A moving average of the share of lost beats, in parts of 65 536.
    loss: u32,
}

impl Liveness {
    pub(super) fn new(interval: Duration, missed: u32, sequence: u32, now: Instant) -> Self {
        Self {
            interval,
            missed,
            state: State::Proving { works_since: None },
            hold: Duration::ZERO,
            sequence,
            sent: VecDeque::new(),
            last_sent: None,
            answer_due: false,
            heard: None,
            acked: None,
            peer_deaf: false,
            hint: None,
            last_hint: None,
            round_trip: None,
            measured: VecDeque::new(),
            sample: None,
            samples: VecDeque::new(),
            last_look: now,
            grace_until: now,
            loss: 0,
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        matches!(self.state, State::Alive { .. })
    }

    /// Since when the cable is in use; `None` while it is not.
    pub(super) fn alive_since(&self) -> Option<Instant> {
        match self.state {
            State::Alive { since } => Some(since),
            State::Proving { .. } => None,
        }
    }

    /// The middle one of five measurements, each the least of every two or more answers; `None`
    /// before the first.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The shortest of the last 32; `None` before the first answer.
    pub(super) fn shortest_round_trip(&self) -> Option<Duration> {
        self.samples.iter().min().copied()
    }

    /// The share of the other end's beats that do not arrive, 0 to 1.
    pub(super) fn loss(&self) -> f32 {
        self.loss as f32 / 65_536.0
    }

    /// Takes in a beat. One that is older than the newest is of no use any more.
    pub(super) fn handle_beat(&mut self, beat: &Beat, now: Instant) {
        if let Some((newest, _)) = self.heard {
            let ahead = beat.sequence.wrapping_sub(newest);
            if ahead == 0 || ahead >= 1 << 31 {
                return;
            }
            for _ in 1..ahead.min(64) {
                self.loss += (65_536 - self.loss) / 16;
            }
            self.loss -= self.loss / 16;
        }
        self.heard = Some((beat.sequence, now));
        self.peer_deaf = beat.deaf;
        self.answer_due |= beat.answer;
        if let Some(heard) = beat.heard {
            self.handle_echo(heard, now);
        }
    }

    fn handle_echo(&mut self, heard: Heard, now: Instant) {
        if self.acked.is_some_and(|(acked, _)| heard.sequence == acked) {
            return;
        }
        // What was never sent, or too long ago to remember, proves nothing.
        let Some(&(_, sent)) = self.sent.iter().find(|(sequence, _)| *sequence == heard.sequence)
        else {
            return;
        };
        if self.acked.is_some_and(|(_, acked)| acked > sent) {
            return;
        }
        self.acked = Some((heard.sequence, sent));
        // Somebody is there who has heard what was sent since.
        self.hint.take_if(|hint| sent >= *hint);
        let sample = now.saturating_duration_since(sent).saturating_sub(heard.held);
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        self.measure(sample, now);
    }

    /// Of several answers the least counts, and of several such the one in the middle: a node that
    /// was stopped answers what came meanwhile as if it had just come, and one whose clock leapt
    /// measures the leap. Taken for round trips, these seconds would slow the beats until the other
    /// end gives the cable up.
    fn measure(&mut self, sample: Duration, now: Instant) {
        let (since, least) =
            self.sample.map_or((now, sample), |(at, least)| (at, least.min(sample)));
        if self.round_trip.is_some() && now < since + self.pace() / 2 {
            self.sample = Some((since, least));
            return;
        }
        self.sample = None;
        if self.measured.len() == MEASUREMENTS {
            self.measured.pop_front();
        }
        self.measured.push_back(least);
        let mut ordered: Vec<Duration> = self.measured.iter().copied().collect();
        ordered.sort_unstable();
        self.round_trip = Some(ordered[(ordered.len() - 1) / 2]);
    }

    /// The network says that nobody is at the other end any more. That may be forged, and is
    /// followed up: the other end is asked, and has one pace to answer.
    pub(super) fn handle_hint(&mut self, now: Instant) {
        let is_due = self.last_hint.is_none_or(|last| now >= last + HINT_INTERVAL);
        if self.is_alive() && is_due {
            (self.hint, self.last_hint) = (Some(now), Some(now));
            self.answer_due = true;
        }
    }

    /// A beat if one is due.
    pub(super) fn poll_beat(&mut self, digest: u64, now: Instant) -> Option<Beat> {
        if now < self.next_beat(now) {
            return None;
        }
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((sequence, now));
        self.last_sent = Some(now);
        self.answer_due = false;
        let heard = self
            .heard
            .map(|(sequence, at)| Heard { sequence, held: now.saturating_duration_since(at) });
        Some(Beat {
            sequence,
            answer: self.acked.is_none() || self.in_doubt(now),
            deaf: !self.hears(now),
            heard,
            digest,
        })
    }

    /// Looks at the clock.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Transition> {
        if now.saturating_duration_since(self.last_look) > STALL.max(self.pace() * 3 / 2) {
            self.grace_until = now + GRACE;
        }
        self.last_look = now;
        let silence = self.silence(now);
        match (self.state, silence) {
            (State::Proving { works_since: Some(_) }, Some(_)) => {
                self.state = State::Proving { works_since: None };
                None
            }
            (State::Proving { works_since }, None) => {
                let since = works_since.unwrap_or(now);
                self.state = State::Proving { works_since: Some(since) };
                (now >= since + self.hold).then(|| {
                    self.state = State::Alive { since: now };
                    Transition::Up
                })
            }
            (State::Alive { since }, Some(silence)) if now >= self.grace_until => {
                let forgiven = now.saturating_duration_since(since) >= FORGIVE;
                self.hold = if forgiven || self.hold.is_zero() {
                    FIRST_HOLD
                } else {
                    (self.hold * 2).min(LAST_HOLD)
                };
                self.state = State::Proving { works_since: None };
                self.hint = None;
                // The other end shall know at once that it is not heard.
                self.answer_due = true;
                Some(Transition::Down(silence))
            }
            _ => None,
        }
    }

    /// When to look at the clock again, for beats and for judgement.
    pub(super) fn next_timeout(&self, now: Instant) -> Instant {
        let mut next = self.next_beat(now);
        match self.state {
            State::Proving { works_since: Some(since) } => {
                next = next.min(self.silent_at()).min(since + self.hold);
            }
            State::Proving { works_since: None } => {}
            State::Alive { .. } => next = next.min(self.silent_at().max(self.grace_until)),
        }
        next
    }

    fn next_beat(&self, now: Instant) -> Instant {
        match self.last_sent {
            None => now,
            Some(_) if self.answer_due => now,
            Some(last) if self.in_doubt(now) => last + self.pace() / DOUBT_PACE,
            Some(last) if self.is_alive() => (last + self.pace()).min(self.doubt_at()),
            Some(last) => last + self.pace(),
        }
    }

    fn pace(&self) -> Duration {
        let round_trip = self.round_trip.unwrap_or_default();
        let factor = round_trip.as_secs_f64() / PACE_ROUND_TRIP.as_secs_f64();
        self.interval.mul_f64(factor.max(1.0)).min(MAX_INTERVAL.max(self.interval))
    }

    fn patience(&self) -> Duration {
        self.pace() * self.missed
    }

    /// By when the next echo of a beat must have come: it may have waited for the other end's beat.
    fn echo_patience(&self) -> Duration {
        self.patience() + self.pace() + self.round_trip.unwrap_or_default()
    }

    fn hears(&self, now: Instant) -> bool {
        self.heard.is_some_and(|(_, at)| now < at + self.patience())
    }

    fn silence(&self, now: Instant) -> Option<Silence> {
        if !self.hears(now) || self.hint.is_some_and(|hint| now >= hint + self.pace()) {
            return Some(Silence::Inbound);
        }
        let acked = self.acked.is_some_and(|(_, sent)| now < sent + self.echo_patience());
        (self.peer_deaf || !acked).then_some(Silence::Outbound)
    }

    /// When silence is declared if nothing more comes.
    fn silent_at(&self) -> Instant {
        let heard = self.heard.map(|(_, at)| at + self.patience());
        let acked = self.acked.map(|(_, sent)| sent + self.echo_patience());
        let hint = self.hint.map(|hint| hint + self.pace());
        heard.into_iter().chain(acked).chain(hint).min().unwrap_or(self.last_look)
    }

    /// When the next beat of the other end is overdue, or the next echo.
    fn doubt_at(&self) -> Instant {
        let pace = self.pace();
        let round_trip = self.round_trip.unwrap_or_default();
        let heard = self.heard.map(|(_, at)| at + pace * 4 / 3);
        let acked = self.acked.map(|(_, sent)| sent + pace * 7 / 3 + round_trip);
        let sent = self.last_sent.unwrap_or(self.last_look) + pace;
        heard.into_iter().chain(acked).min().unwrap_or(sent)
    }

    /// Only a cable in use is worth the haste.
    fn in_doubt(&self, now: Instant) -> bool {
        self.is_alive() && (self.hint.is_some() || now >= self.doubt_at())
    }
}

#[cfg(test)]
mod tests;
