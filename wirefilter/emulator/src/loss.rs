//! Which frames are lost.
//!
//! Sources: E. N. Gilbert, "Capacity of a burst-noise channel" (1960); E. O. Elliott (1963); the
//! four states of S. Salsano and others, as in tc-netem(8).

use crate::chance::ChancePlan;
use crate::random::Stream;
use crate::settings::Settings;
use crate::spread::Draw;
use crate::units::{Percent, Quantity as _};

/// A model of loss with states. One step is taken before each frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LossStates {
    /// Two states, in each of which some frames are lost.
    GilbertElliott {
        /// From good to bad, before each frame.
        worsening: Percent,
        /// From bad to good.
        recovery: Percent,
        /// Of the frames in the bad state. All in Gilbert's own model.
        loss_in_bad: Percent,
        /// Of the frames in the good state. None in Gilbert's own model.
        loss_in_good: Percent,
    },
    /// Four states: 1 all is well, 3 a burst of losses, 2 a frame that arrives within a burst,
    /// 4 a single loss, after which all is well.
    Four(FourStates),
}

/// The steps of the model with four states, named from where to where.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FourStates {
    p13: Percent,
    p31: Percent,
    p32: Percent,
    p23: Percent,
    p14: Percent,
}

/// The ways out of one state are more than 100 % together.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the steps out of state {state} are {sum} % together; at most 100 % are possible")]
pub struct RowError {
    /// The state.
    pub state: u32,
    /// Its ways out.
    pub sum: f64,
}

impl FourStates {
    /// A model from its five steps, in the order of tc-netem(8); the others follow from them.
    ///
    /// # Errors
    /// [`RowError`] when `p13` and `p14`, or `p31` and `p32`, are more than 100 %.
    pub fn new(
        p13: Percent,
        p31: Percent,
        p32: Percent,
        p23: Percent,
        p14: Percent,
    ) -> Result<Self, RowError> {
        for (state, one, other) in [(1, p13, p14), (3, p31, p32)] {
            let sum = one.number() + other.number();
            if sum > 100.0 {
                return Err(RowError { state, sum });
            }
        }
        Ok(Self { p13, p31, p32, p23, p14 })
    }

    /// The five steps in the order of [`Self::new`].
    pub const fn steps(&self) -> [Percent; 5] {
        [self.p13, self.p31, self.p32, self.p23, self.p14]
    }
}

/// The settings of loss made ready.
#[derive(Debug)]
pub(crate) enum LossPlan {
    Independent(ChancePlan),
    Gilbert { share: Draw, burst: Draw },
    States(LossStates),
}

impl LossPlan {
    pub(crate) fn new(settings: &Settings) -> Self {
        if let Some(states) = settings.loss_states {
            Self::States(states)
        } else if settings.burst.is_zero() {
            Self::Independent(ChancePlan::new(&settings.loss))
        } else {
            Self::Gilbert { share: settings.loss.share.plan(), burst: settings.burst.plan() }
        }
    }
}

/// Where a model of loss stands. It outlives a change of settings.
#[derive(Debug)]
pub(crate) struct LossState {
    /// From 1, as in [`FourStates`]; 3 is bad in the models with two states.
    state: u8,
}

impl LossState {
    pub(crate) const fn new() -> Self {
        Self { state: 1 }
    }

    /// Whether the next frame is lost.
    pub(crate) fn next(&mut self, plan: &mut LossPlan, stream: &mut Stream) -> bool {
        match plan {
            LossPlan::Independent(chance) => chance.happens(stream),
            LossPlan::Gilbert { share, burst } => {
                let share = share.draw(stream) / 100.0;
                let burst = burst.draw(stream);
                self.gilbert(share, burst, stream)
            }
            LossPlan::States(LossStates::GilbertElliott {
                worsening,
                recovery,
                loss_in_bad,
                loss_in_good,
            }) => {
                let leave = if self.bad() { *recovery } else { *worsening };
                if stream.unit() < leave.probability() {
                    self.toggle();
                }
                let loss = if self.bad() { *loss_in_bad } else { *loss_in_good };
                stream.unit() < loss.probability()
            }
            LossPlan::States(LossStates::Four(steps)) => self.four(steps, stream),
        }
    }

    /// The bad state loses everything, so the long-run share of it is the loss, and the mean stay
    /// in it is the burst.
    fn gilbert(&mut self, share: f64, burst: f64, stream: &mut Stream) -> bool {
        if share <= 0.0 || share >= 1.0 {
            return share >= 1.0;
        }
        // A burst below 1 frame there is none; one shorter than share / (1 - share) would have to
        // begin again before it ended.
        let burst = burst.max(1.0).max(share / (1.0 - share));
        let leave = if self.bad() { 1.0 / burst } else { share / (burst * (1.0 - share)) };
        if stream.unit() < leave {
            self.toggle();
        }
        self.bad()
    }

    fn four(&mut self, steps: &FourStates, stream: &mut Stream) -> bool {
        let random = stream.unit();
        // From each state, up to two ways out, in the order in which the random number is cut.
        let ways = match self.state {
            1 => [(4, steps.p14), (3, steps.p13)],
            2 => [(3, steps.p23), (2, Percent::ZERO)],
            3 => [(2, steps.p32), (1, steps.p31)],
            _ => [(1, Percent::ALL), (1, Percent::ZERO)],
        };
        let mut limit = 0.0;
        for (state, step) in ways {
            limit += step.probability();
            if random < limit {
                self.state = state;
                break;
            }
        }
        self.state >= 3
    }

    const fn bad(&self) -> bool {
        self.state >= 3
    }

    const fn toggle(&mut self) {
        self.state = if self.bad() { 1 } else { 3 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Effect, Seed};
    use crate::spread::Spread;

    const COUNT: u32 = 1_000_000;

    /// The share that was lost, and the mean length of a run of losses.
    fn observed(settings: &Settings) -> (f64, f64) {
        let mut plan = LossPlan::new(settings);
        let mut stream = Seed::new(11).stream(Effect::Loss);
        let mut state = LossState::new();
        let (mut lost, mut runs, mut last) = (0u32, 0u32, false);
        for _ in 0..COUNT {
            let now = state.next(&mut plan, &mut stream);
            lost += u32::from(now);
            runs += u32::from(now && !last);
            last = now;
        }
        (f64::from(lost) / f64::from(COUNT), f64::from(lost) / f64::from(runs))
    }

    fn percent(value: f64) -> Percent {
        Percent::new(value).unwrap()
    }

    #[test]
    fn gilbert_loses_the_asked_share_in_bursts_of_the_asked_length() {
        for (share, burst) in [(10.0, 3.0), (1.0, 20.0), (50.0, 1.0), (40.0, 1.5)] {
            let settings = Settings {
                loss: percent(share).into(),
                burst: Spread::constant(burst).unwrap(),
                ..Settings::default()
            };
            let (lost, run) = observed(&settings);
            // Bursts make the losses depend on one another: the error grows with their length.
            let error = 5.0 * (share / 100.0 * 2.0 * burst / f64::from(COUNT)).sqrt();
            assert!((lost - share / 100.0).abs() < error, "{share} {burst}: {lost}");
            let runs = lost * f64::from(COUNT) / burst;
            assert!((run / burst - 1.0).abs() < 5.0 / runs.sqrt(), "{share} {burst}: {run}");
        }
    }

    #[test]
    fn a_share_that_short_bursts_cannot_reach_makes_them_longer() {
        let settings = Settings {
            loss: percent(90.0).into(),
            burst: Spread::constant(2.0).unwrap(),
            ..Settings::default()
        };
        let (lost, run) = observed(&settings);
        assert!((lost - 0.9).abs() < 0.002, "{lost}");
        assert!((run - 9.0).abs() < 0.1, "{run}");
    }

    #[test]
    fn gilbert_elliott_loses_in_both_states() {
        let states = LossStates::GilbertElliott {
            worsening: percent(2.0),
            recovery: percent(8.0),
            loss_in_bad: percent(50.0),
            loss_in_good: percent(1.0),
        };
        let settings = Settings { loss_states: Some(states), ..Settings::default() };
        let (lost, _) = observed(&settings);
        // A fifth of the time is bad.
        let expected = 0.2 * 0.5 + 0.8 * 0.01;
        assert!((lost - expected).abs() < 0.004, "{lost}");
    }

    #[test]
    fn four_states_lose_singly_and_in_bursts() {
        let steps = FourStates::new(
            percent(1.0),
            percent(20.0),
            percent(10.0),
            percent(30.0),
            percent(2.0),
        )
        .unwrap();
        let states = LossStates::Four(steps);
        let settings = Settings { loss_states: Some(states), ..Settings::default() };
        let (lost, _) = observed(&settings);
        // Balance: what enters a state leaves it. pi4 = 0.02 pi1, 0.3 pi2 = 0.1 pi3,
        // 0.01 pi1 = 0.2 pi3.
        let (p1, p3) = (1.0, 0.01 / 0.2);
        let (p2, p4) = (p3 * 0.1 / 0.3, 0.02 * p1);
        let expected = (p3 + p4) / (p1 + p2 + p3 + p4);
        assert!((lost - expected).abs() < 0.002, "{lost} {expected}");
    }

    #[test]
    fn four_states_whose_row_exceeds_all_are_refused() {
        let err =
            FourStates::new(percent(1.0), percent(70.0), percent(40.0), percent(1.0), percent(1.0))
                .unwrap_err();
        assert_eq!(
            err.to_string(),
            "the steps out of state 3 are 110 % together; at most 100 % are possible"
        );
    }

    #[test]
    fn the_whole_is_lost_and_nothing_is_lost_at_the_ends() {
        for burst in [0.0, 5.0] {
            for share in [0.0, 100.0] {
                let settings = Settings {
                    loss: percent(share).into(),
                    burst: Spread::constant(burst).unwrap(),
                    ..Settings::default()
                };
                assert_eq!(observed(&settings).0, share / 100.0, "{share} {burst}");
            }
        }
    }
}
