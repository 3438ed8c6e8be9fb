//! Both directions of a link and the chain of states that they share.

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::chain::{Chain, ChainError, Step};
use crate::emulator::{Emulator, Verdict};
use crate::frame::Frame;
use crate::lane::Lane;
use crate::pairs::{Pair, PairTable};
use crate::random::Seed;
use crate::settings::Settings;
use crate::timeline::{Timeline, TimelinePlayer};
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
/// [`Chain`], which a [`Timeline`] may change; and others for pairs of stations that have a row in
/// a [`PairTable`]. The directions have nothing else in common.
#[derive(Debug)]
pub struct Link<F> {
    chain: Chain<Both<Settings>>,
    timeline: Option<TimelinePlayer>,
    lanes: Both<Lane<F>>,
    steps: VecDeque<Step>,
}

impl<F: Frame> Link<F> {
    /// A link with one state.
    pub fn new(settings: Both<Settings>, seed: Seed, now: Instant) -> Self {
        let lane = |direction: Direction, child| {
            Lane::new(direction, settings[direction].clone(), seed.child(child), now)
        };
        Self {
            lanes: Both {
                left_to_right: lane(Direction::LeftToRight, 1),
                right_to_left: lane(Direction::RightToLeft, 2),
            },
            chain: Chain::new(settings, seed),
            timeline: None,
            steps: VecDeque::new(),
        }
    }

    /// As [`Emulator::handle_frame`].
    pub fn handle_frame(&mut self, direction: Direction, frame: F, now: Instant) -> Verdict {
        self.advance(now);
        self.lanes[direction].handle_frame(frame, now)
    }

    /// As [`Emulator::poll_delivery`].
    pub fn poll_delivery(&mut self, direction: Direction, now: Instant) -> Option<F> {
        self.advance(now);
        self.lanes[direction].poll_delivery(now)
    }

    /// When to call [`Self::poll_delivery`] again, for either direction.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deliveries = Direction::ALL.map(|direction| self.lanes[direction].poll_timeout());
        deliveries.into_iter().chain([self.poll_change()]).flatten().min()
    }

    /// When the next delivery of one direction is due.
    pub fn poll_lane(&self, direction: Direction) -> Option<Instant> {
        self.lanes[direction].poll_timeout()
    }

    /// When the settings change by themselves: a step of the chain or of the timeline.
    pub fn poll_change(&self) -> Option<Instant> {
        let timeline = self.timeline.as_ref().and_then(TimelinePlayer::poll_timeout);
        self.chain.poll_timeout().into_iter().chain(timeline).min()
    }

    /// One direction, to look at: what has no row in the table of pairs.
    pub fn direction(&self, direction: Direction) -> &Emulator<F> {
        self.lanes[direction].own()
    }

    /// The pairs that have a row.
    pub fn pairs(&self) -> &PairTable {
        self.lanes[Direction::LeftToRight].pairs()
    }

    /// One direction of a pair that has a row, to look at.
    pub fn pair(&self, direction: Direction, pair: Pair) -> Option<&Emulator<F>> {
        self.lanes[direction].pair(pair)
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

    /// Plays a timeline from `now` on, in place of the one before; `None` ends that. Steps for
    /// states that do not exist are left out.
    pub fn set_timeline(&mut self, timeline: Option<Arc<Timeline>>, now: Instant) {
        self.advance(now);
        self.timeline = timeline.map(|timeline| TimelinePlayer::new(timeline, now));
        self.advance(now);
    }

    /// Gives pairs of stations settings of their own. Frames that are on their way arrive.
    pub fn set_pairs(&mut self, pairs: Arc<PairTable>, now: Instant) {
        self.advance(now);
        for direction in Direction::ALL {
            self.lanes[direction].set_pairs(pairs.clone(), now);
        }
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

    /// Lets chain and timeline step until `now`, in the order of their instants, and has the
    /// settings follow at each step's own.
    fn advance(&mut self, now: Instant) {
        while let Some(next) = self.poll_change().filter(|next| *next <= now) {
            let timeline = self.timeline.as_ref().and_then(TimelinePlayer::poll_timeout);
            if timeline == Some(next) {
                self.play(now);
            } else if let Some(step) = self.chain.handle_timeout(next) {
                self.follow(step);
            }
        }
    }

    /// Takes the next steps of the timeline.
    fn play(&mut self, now: Instant) {
        let Some(player) = &mut self.timeline else { return };
        let Some((at, actions)) = player.handle_timeout(now) else {
            // Nothing is due any more, or ever.
            if player.poll_timeout().is_none_or(|next| next <= now) {
                self.timeline = None;
            }
            return;
        };
        for action in actions {
            if let Ok(settings) = self.chain.value_mut(action.state().unwrap_or(0)) {
                // What can be wrong was found when the timeline was read.
                let _ = action.apply(settings);
            }
        }
        self.apply(at);
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
            if self.lanes[direction].own().settings() != settings {
                self.lanes[direction].set_own(settings.clone(), at);
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
mod tests;
