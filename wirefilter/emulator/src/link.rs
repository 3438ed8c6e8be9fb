//! Both directions of a link and the chain of states that they share.

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Index, IndexMut};
use std::time::{Duration, Instant};

use crate::chain::{Chain, ChainError, Step};
use crate::emulator::{Emulator, Verdict};
use crate::frame::Frame;
use crate::random::Seed;
use crate::settings::Settings;
use crate::units::Percent;

/// A direction of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// VDE's LR: from the side that was named first.
    LeftToRight,
    /// VDE's RL.
    RightToLeft,
}

impl Direction {
    /// Both, left to right first.
    pub const ALL: [Self; 2] = [Self::LeftToRight, Self::RightToLeft];
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeftToRight => "LR",
            Self::RightToLeft => "RL",
        })
    }
}

/// One for each direction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Both<T> {
    /// [`Direction::LeftToRight`].
    pub left_to_right: T,
    /// [`Direction::RightToLeft`].
    pub right_to_left: T,
}

impl<T: Clone> Both<T> {
    /// The same for both directions.
    pub fn alike(value: T) -> Self {
        Self { left_to_right: value.clone(), right_to_left: value }
    }
}

impl<T> Index<Direction> for Both<T> {
    type Output = T;

    fn index(&self, direction: Direction) -> &T {
        match direction {
            Direction::LeftToRight => &self.left_to_right,
            Direction::RightToLeft => &self.right_to_left,
        }
    }
}

impl<T> IndexMut<Direction> for Both<T> {
    fn index_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::LeftToRight => &mut self.left_to_right,
            Direction::RightToLeft => &mut self.right_to_left,
        }
    }
}

/// Steps that are remembered for whoever wants to be told; the oldest make room.
const MAX_STEPS: usize = 1024;

/// A link: an [`Emulator`] for each direction, whose settings are those of the current state of a
/// [`Chain`]. The directions have nothing else in common.
#[derive(Debug)]
pub struct Link<F> {
    chain: Chain<Both<Settings>>,
    emulators: Both<Emulator<F>>,
    steps: VecDeque<Step>,
}

impl<F: Frame> Link<F> {
    /// A link with one state.
    pub fn new(settings: Both<Settings>, seed: Seed, now: Instant) -> Self {
        let emulator = |direction: Direction, child| {
            Emulator::new(settings[direction].clone(), seed.child(child), now)
        };
        Self {
            emulators: Both {
                left_to_right: emulator(Direction::LeftToRight, 1),
                right_to_left: emulator(Direction::RightToLeft, 2),
            },
            chain: Chain::new(settings, seed),
            steps: VecDeque::new(),
        }
    }

    /// As [`Emulator::handle_frame`].
    pub fn handle_frame(&mut self, direction: Direction, frame: F, now: Instant) -> Verdict {
        self.advance(now);
        self.emulators[direction].handle_frame(frame, now)
    }

    /// As [`Emulator::poll_delivery`].
    pub fn poll_delivery(&mut self, direction: Direction, now: Instant) -> Option<F> {
        self.advance(now);
        self.emulators[direction].poll_delivery(now)
    }

    /// When to call [`Self::poll_delivery`] again, for either direction.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deliveries = Direction::ALL.map(|direction| self.emulators[direction].poll_timeout());
        deliveries.into_iter().chain([self.chain.poll_timeout()]).flatten().min()
    }

    /// One direction, to look at.
    pub fn direction(&self, direction: Direction) -> &Emulator<F> {
        &self.emulators[direction]
    }

    /// The chain, to look at.
    pub const fn chain(&self) -> &Chain<Both<Settings>> {
        &self.chain
    }

    /// The oldest change of state that was not told yet; the last 1024 are remembered.
    pub fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Changes the settings of a state, from `now` on if it is the current one. When `edit` fails
    /// nothing is changed.
    ///
    /// # Errors
    /// [`EditError::Chain`] when there is no such state, otherwise what `edit` returns.
    pub fn edit<E>(
        &mut self,
        state: usize,
        now: Instant,
        edit: impl FnOnce(&mut Both<Settings>) -> Result<(), E>,
    ) -> Result<(), EditError<E>> {
        self.advance(now);
        let value = self.chain.value_mut(state).map_err(EditError::Chain)?;
        let mut changed = value.clone();
        edit(&mut changed).map_err(EditError::Edit)?;
        *value = changed;
        if state == self.chain.current() {
            self.apply(now);
        }
        Ok(())
    }

    /// As [`Chain::set_len`].
    ///
    /// # Errors
    /// [`ChainError::Length`].
    pub fn set_len(&mut self, len: usize, now: Instant) -> Result<(), ChainError> {
        self.advance(now);
        if let Some(step) = self.chain.set_len(len, now)? {
            self.follow(step);
        }
        Ok(())
    }

    /// As [`Chain::set_current`].
    ///
    /// # Errors
    /// [`ChainError::NoState`].
    pub fn set_current(&mut self, state: usize, now: Instant) -> Result<(), ChainError> {
        self.advance(now);
        let step = self.chain.set_current(state, now)?;
        self.follow(step);
        Ok(())
    }

    /// As [`Chain::set_name`].
    ///
    /// # Errors
    /// [`ChainError::NoState`], [`ChainError::Name`].
    pub fn set_name(&mut self, state: usize, name: &str) -> Result<(), ChainError> {
        self.chain.set_name(state, name)
    }

    /// As [`Chain::set_period`].
    ///
    /// # Errors
    /// [`ChainError::Period`].
    pub fn set_period(&mut self, period: Duration, now: Instant) -> Result<(), ChainError> {
        self.advance(now);
        self.chain.set_period(period, now)
    }

    /// As [`Chain::set_edge`].
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
        self.advance(now);
        self.chain.set_edge(from, to, weight, now)
    }

    /// Lets the chain step until `now`, and has the settings follow at each step's own instant.
    fn advance(&mut self, now: Instant) {
        if self.chain.poll_timeout().is_none_or(|next| next > now) {
            return;
        }
        while let Some(step) = self.chain.handle_timeout(now) {
            self.follow(step);
        }
    }

    fn follow(&mut self, step: Step) {
        if step.from == step.to {
            return;
        }
        if self.steps.len() == MAX_STEPS {
            self.steps.pop_front();
        }
        self.steps.push_back(step);
        self.apply(step.at);
    }

    fn apply(&mut self, at: Instant) {
        for direction in Direction::ALL {
            let settings = &self.chain.current_value()[direction];
            if self.emulators[direction].settings() != settings {
                self.emulators[direction].set(settings.clone(), at);
            }
        }
    }
}

/// The settings of a state were not changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EditError<E> {
    /// There is no such state.
    #[error(transparent)]
    Chain(ChainError),
    /// The change is not possible.
    #[error("{0}")]
    Edit(E),
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
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
}
