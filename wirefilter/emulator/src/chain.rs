//! A Markov chain of named states: a link that is good for a while and bad for a while.

use std::time::{Duration, Instant};

use crate::random::{Effect, Seed, Stream};
use crate::units::{Percent, Quantity as _};

/// The most states: 256. Their edges take half a megabyte then.
pub const MAX_STATES: usize = 256;

/// The longest name of a state, in octets.
pub const MAX_NAME: usize = 64;

/// How often a step is drawn unless told otherwise: every 100 ms, as in VDE.
pub const DEFAULT_PERIOD: Duration = Duration::from_millis(100);

/// How many steps are made up for when nobody asked for a long time.
const MAX_CATCH_UP: u32 = 10_000;

/// A chain cannot be changed so.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ChainError {
    /// There is no such state.
    #[error("there is no state {state}; the last one is {last}")]
    NoState {
        /// The number that was given.
        state: usize,
        /// The highest number.
        last: usize,
    },
    /// No chain has so many states.
    #[error("a chain has 1 to {MAX_STATES} states, not {0}")]
    Length(usize),
    /// What leads out of a state would be more than 100 %.
    #[error("the edges out of state {state} would be {sum} % together; at most 100 % are possible")]
    Row {
        /// The state.
        state: usize,
        /// Its edges together.
        sum: f64,
    },
    /// What a state keeps to itself follows from the other edges.
    #[error("state {0} leads to itself with what its other edges leave of 100 %; set those")]
    Loop(usize),
    /// A step cannot be drawn so often, or so seldom.
    #[error("a period of {0:?} is not between a microsecond and a day")]
    Period(Duration),
    /// A name is too long or cannot be shown.
    #[error("{0:?} is no name; it must have at most {MAX_NAME} octets and no control characters")]
    Name(String),
}

/// A change of the current state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The state before.
    pub from: usize,
    /// The state now.
    pub to: usize,
    /// Since when.
    pub at: Instant,
}

#[derive(Debug)]
struct State<T> {
    name: String,
    value: T,
    /// Percent, to every state. That to itself is not used: it is what the others leave.
    edges: Vec<f64>,
}

/// States with their values, one of which is current. Never empty.
#[derive(Debug)]
pub struct Chain<T> {
    states: Vec<State<T>>,
    current: usize,
    period: Duration,
    /// When the next step is drawn, while any state leads to another.
    next: Option<Instant>,
    stream: Stream,
}

impl<T> Chain<T> {
    /// One state, 0, without a name.
    pub fn new(value: T, seed: Seed) -> Self {
        Self {
            states: vec![State { name: String::new(), value, edges: vec![0.0] }],
            current: 0,
            period: DEFAULT_PERIOD,
            next: None,
            stream: seed.stream(Effect::Chain),
        }
    }

    /// The number of states, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub const fn len(&self) -> usize {
        self.states.len()
    }

    /// The current state.
    pub const fn current(&self) -> usize {
        self.current
    }

    /// How often a step is drawn.
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// A state's name; empty when it has none.
    ///
    /// # Errors
    /// [`ChainError::NoState`].
    pub fn name(&self, state: usize) -> Result<&str, ChainError> {
        Ok(&self.states[self.check(state)?].name)
    }

    /// A state's value.
    ///
    /// # Errors
    /// [`ChainError::NoState`].
    pub fn value(&self, state: usize) -> Result<&T, ChainError> {
        Ok(&self.states[self.check(state)?].value)
    }

    /// A state's value, to be changed.
    ///
    /// # Errors
    /// [`ChainError::NoState`].
    pub fn value_mut(&mut self, state: usize) -> Result<&mut T, ChainError> {
        let state = self.check(state)?;
        Ok(&mut self.states[state].value)
    }

    /// The value of the current state.
    pub fn current_value(&self) -> &T {
        &self.states[self.current].value
    }

    /// Where a state leads, itself included, without what leads nowhere.
    ///
    /// # Errors
    /// [`ChainError::NoState`].
    pub fn edges(&self, state: usize) -> Result<Vec<(usize, Percent)>, ChainError> {
        let edges = &self.states[self.check(state)?].edges;
        let others: f64 = leading_out(edges, state).map(|(_, weight)| weight).sum();
        let weight = |to, weight| if to == state { (100.0 - others).max(0.0) } else { weight };
        let edges = edges.iter().enumerate().map(|(to, edge)| (to, weight(to, *edge)));
        let percent = |weight| Percent::new(weight).expect("edges are checked when they are set");
        Ok(edges.filter(|(_, edge)| *edge > 0.0).map(|(to, edge)| (to, percent(edge))).collect())
    }

    /// Names a state.
    ///
    /// # Errors
    /// [`ChainError::NoState`], [`ChainError::Name`].
    pub fn set_name(&mut self, state: usize, name: &str) -> Result<(), ChainError> {
        let state = self.check(state)?;
        if name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(ChainError::Name(name.to_owned()));
        }
        name.clone_into(&mut self.states[state].name);
        Ok(())
    }

    /// Sets how often a step is drawn.
    ///
    /// # Errors
    /// [`ChainError::Period`].
    pub fn set_period(&mut self, period: Duration, now: Instant) -> Result<(), ChainError> {
        if !(Duration::from_micros(1)..=Duration::from_secs(86_400)).contains(&period) {
            return Err(ChainError::Period(period));
        }
        self.period = period;
        self.next = None;
        self.wind(now);
        Ok(())
    }

    /// Sets how probable a step from one state to another is, each time one is drawn.
    ///
    /// # Errors
    /// [`ChainError::NoState`], [`ChainError::Loop`], [`ChainError::Row`].
    pub fn set_edge(
        &mut self,
        from: usize,
        to: usize,
        weight: Percent,
        now: Instant,
    ) -> Result<(), ChainError> {
        let (from, to) = (self.check(from)?, self.check(to)?);
        if from == to {
            return Err(ChainError::Loop(from));
        }
        let edges = &mut self.states[from].edges;
        let before = std::mem::replace(&mut edges[to], weight.number());
        let sum: f64 = leading_out(edges, from).map(|(_, weight)| weight).sum();
        // Ten edges of 10 % may be a little more than 100 % in binary.
        if sum > 100.0 + 1e-9 {
            edges[to] = before;
            return Err(ChainError::Row { state: from, sum });
        }
        self.wind(now);
        Ok(())
    }

    /// Makes a state the current one.
    ///
    /// # Errors
    /// [`ChainError::NoState`].
    pub fn set_current(&mut self, state: usize, now: Instant) -> Result<Step, ChainError> {
        let to = self.check(state)?;
        let from = std::mem::replace(&mut self.current, to);
        Ok(Step { from, to, at: now })
    }

    /// The steps drawn until `now`, one at a time, each with its own instant. A step from a state
    /// to itself is none.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Step> {
        let mut drawn = 0;
        while let Some(at) = self.next.filter(|at| *at <= now) {
            drawn += 1;
            self.next = if drawn > MAX_CATCH_UP {
                Some(now + self.period)
            } else {
                at.checked_add(self.period)
            };
            let to = self.draw();
            if to != self.current {
                let from = std::mem::replace(&mut self.current, to);
                return Some(Step { from, to, at });
            }
        }
        None
    }

    /// When to call [`Self::handle_timeout`]. `None` while no state leads to another.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    fn check(&self, state: usize) -> Result<usize, ChainError> {
        let last = self.states.len() - 1;
        if state > last { Err(ChainError::NoState { state, last }) } else { Ok(state) }
    }

    fn draw(&mut self) -> usize {
        let mut left = self.stream.unit() * 100.0;
        for (to, weight) in leading_out(&self.states[self.current].edges, self.current) {
            if left < weight {
                return to;
            }
            left -= weight;
        }
        self.current
    }

    /// Starts the clock when it is needed, stops it when not.
    fn wind(&mut self, now: Instant) {
        let leads = |(from, state): (usize, &State<T>)| {
            leading_out(&state.edges, from).any(|(_, weight)| weight > 0.0)
        };
        if !self.states.iter().enumerate().any(leads) {
            self.next = None;
        } else if self.next.is_none() {
            self.next = now.checked_add(self.period);
        }
    }
}

impl<T: Default> Chain<T> {
    /// Sets the number of states. New ones have no names and lead nowhere; what led to a state
    /// that is gone is kept by where it came from. If the current one is gone, state 0 is current
    /// again: that is the returned step.
    ///
    /// # Errors
    /// [`ChainError::Length`].
    pub fn set_len(&mut self, len: usize, now: Instant) -> Result<Option<Step>, ChainError> {
        if !(1..=MAX_STATES).contains(&len) {
            return Err(ChainError::Length(len));
        }
        self.states.resize_with(len, || State {
            name: String::new(),
            value: T::default(),
            edges: Vec::new(),
        });
        for state in &mut self.states {
            state.edges.resize(len, 0.0);
        }
        self.wind(now);
        if self.current < len {
            return Ok(None);
        }
        self.set_current(0, now).map(Some)
    }
}

/// The edges of a row but that to itself.
fn leading_out(edges: &[f64], from: usize) -> impl Iterator<Item = (usize, f64)> {
    edges.iter().copied().enumerate().filter(move |(to, _)| *to != from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "fake time counts from a real instant")]
    fn start() -> Instant {
        Instant::now()
    }

    fn percent(value: f64) -> Percent {
        Percent::new(value).unwrap()
    }

    fn chain(states: usize, start: Instant) -> Chain<u32> {
        let mut chain = Chain::new(0, Seed::new(5));
        chain.set_len(states, start).unwrap();
        chain
    }

    #[test]
    fn states_are_visited_as_often_as_their_edges_say() {
        let start = start();
        let mut chain = chain(3, start);
        for (from, to, weight) in [(0, 1, 10.0), (1, 2, 50.0), (2, 0, 20.0), (1, 0, 25.0)] {
            chain.set_edge(from, to, percent(weight), start).unwrap();
        }
        let mut time = [0.0; 3];
        let mut since = start;
        let end = start + DEFAULT_PERIOD * 1_000_000;
        while let Some(step) = chain.handle_timeout(end) {
            assert_eq!((step.at - start).as_millis() % 100, 0);
            time[step.from] += (step.at - since).as_secs_f64();
            since = step.at;
        }
        // 10 p0 = 50 p1 + 25 p1, 50 p1 = 20 p2.
        let all = 7.5 + 1.0 + 2.5;
        let total: f64 = time.iter().sum();
        for (found, expected) in time.iter().zip([7.5, 1.0, 2.5]) {
            assert!((found / total - expected / all).abs() < 0.01, "{time:?}");
        }
    }

    #[test]
    fn a_row_never_exceeds_100_percent_and_a_refused_edge_changes_nothing() {
        let start = start();
        let mut chain = chain(3, start);
        chain.set_edge(0, 1, percent(60.0), start).unwrap();
        let err = chain.set_edge(0, 2, percent(50.0), start).unwrap_err();
        assert_eq!(err, ChainError::Row { state: 0, sum: 110.0 });
        assert_eq!(chain.edges(0).unwrap(), [(0, percent(40.0)), (1, percent(60.0))]);
        assert_eq!(chain.set_edge(1, 1, percent(5.0), start), Err(ChainError::Loop(1)));
        let far = ChainError::NoState { state: 7, last: 2 };
        assert_eq!(chain.set_edge(0, 7, percent(5.0), start), Err(far));
    }

    #[test]
    fn a_chain_that_shrinks_keeps_what_led_to_the_lost_states() {
        let start = start();
        let mut chain = chain(3, start);
        chain.set_edge(0, 2, percent(30.0), start).unwrap();
        chain.set_current(2, start).unwrap();
        assert!(chain.poll_timeout().is_some());
        let step = chain.set_len(2, start).unwrap();
        assert_eq!(step, Some(Step { from: 2, to: 0, at: start }));
        assert_eq!(chain.edges(0).unwrap(), [(0, Percent::ALL)]);
        assert_eq!(chain.poll_timeout(), None, "nothing leads anywhere");
        assert_eq!(chain.set_len(0, start), Err(ChainError::Length(0)));
        assert_eq!(chain.set_len(257, start), Err(ChainError::Length(257)));
    }

    #[test]
    fn steps_come_at_their_own_instants_however_late_they_are_asked_for() {
        let start = start();
        let edges = |chain: &mut Chain<u32>| {
            chain.set_edge(0, 1, percent(40.0), start).unwrap();
            chain.set_edge(1, 0, percent(30.0), start).unwrap();
        };
        let (mut prompt, mut late) = (chain(2, start), chain(2, start));
        edges(&mut prompt);
        edges(&mut late);
        let end = start + Duration::from_secs(100);
        let mut steps = Vec::new();
        while let Some(next) = prompt.poll_timeout().filter(|next| *next <= end) {
            steps.extend(std::iter::from_fn(|| prompt.handle_timeout(next)));
        }
        let all: Vec<Step> = std::iter::from_fn(|| late.handle_timeout(end)).collect();
        assert!(steps.len() > 100);
        assert_eq!(steps, all);
    }

    #[test]
    fn a_long_sleep_does_not_take_as_long_to_catch_up() {
        let start = start();
        let mut chain = chain(2, start);
        chain.set_edge(0, 1, percent(0.000_001), start).unwrap();
        chain.set_period(Duration::from_micros(1), start).unwrap();
        let end = start + Duration::from_secs(1_000_000);
        while chain.handle_timeout(end).is_some() {}
        assert_eq!(chain.poll_timeout(), Some(end + Duration::from_micros(1)));
    }
}
