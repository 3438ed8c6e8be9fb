//! Whether something happens to a frame: a share of all frames, drawn or correlated.

use crate::random::{Correlated, Stream, normal_share};
use crate::settings::Chance;
use crate::spread::Draw;

/// A [`Chance`] made ready, and the memory that its correlation needs.
#[derive(Debug)]
pub(crate) enum ChancePlan {
    Never,
    Always,
    /// The share of 2^64.
    Fixed(u64),
    Varied(Draw),
    Correlated {
        share: Draw,
        correlation: f64,
        state: Correlated,
    },
}

impl ChancePlan {
    pub(crate) fn new(chance: &Chance) -> Self {
        let share = chance.share.plan();
        let correlation = chance.correlation.probability();
        match share.constant() {
            Some(percent) if percent <= 0.0 => Self::Never,
            Some(percent) if percent >= 100.0 => Self::Always,
            _ if correlation > 0.0 => {
                Self::Correlated { share, correlation, state: Correlated::new() }
            }
            Some(percent) => Self::Fixed(threshold(percent / 100.0)),
            None => Self::Varied(share),
        }
    }

    /// Whether it happens to the next frame.
    pub(crate) fn happens(&mut self, stream: &mut Stream) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Fixed(threshold) => stream.bits() < *threshold,
            Self::Varied(share) => {
                let share = share.draw(stream) / 100.0;
                stream.unit() < share
            }
            Self::Correlated { share, correlation, state } => {
                let share = share.draw(stream) / 100.0;
                normal_share(state.normal(*correlation, stream)) < share
            }
        }
    }
}

/// A probability below 1 as a share of 2^64.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 2^64 by construction, and the conversion saturates"
)]
fn threshold(probability: f64) -> u64 {
    (probability * 18_446_744_073_709_551_616.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Effect, Seed};
    use crate::spread::{Shape, Spread};
    use crate::units::Percent;

    const COUNT: usize = 1_000_000;

    fn outcomes(chance: &Chance) -> Vec<bool> {
        let mut plan = ChancePlan::new(chance);
        let mut stream = Seed::new(21).stream(Effect::Loss);
        (0..COUNT).map(|_| plan.happens(&mut stream)).collect()
    }

    fn share(outcomes: &[bool]) -> f64 {
        outcomes.iter().filter(|happened| **happened).count() as f64 / outcomes.len() as f64
    }

    #[test]
    fn it_happens_as_often_as_asked() {
        for percent in [0.01, 1.0, 20.5, 99.0] {
            let share = share(&outcomes(&Percent::new(percent).unwrap().into()));
            let p = percent / 100.0;
            let error = 5.0 * (p * (1.0 - p) / COUNT as f64).sqrt();
            assert!((share - p).abs() < error, "{percent}: {share}");
        }
    }

    #[test]
    fn a_share_that_varies_has_its_mean() {
        let share_of = Spread::new(10.0, 5.0, Shape::Uniform).unwrap();
        let share = share(&outcomes(&Chance { share: share_of, correlation: Percent::ZERO }));
        assert!((share - 0.1).abs() < 0.0015, "{share}");
    }

    #[test]
    fn correlation_makes_it_come_in_heaps_and_not_more_often() {
        let chance = Chance {
            share: Spread::constant(10.0).unwrap(),
            correlation: Percent::new(80.0).unwrap(),
        };
        let outcomes = outcomes(&chance);
        let all = share(&outcomes);
        assert!((all - 0.1).abs() < 0.005, "{all}");
        let after: Vec<bool> =
            outcomes.windows(2).filter(|pair| pair[0]).map(|pair| pair[1]).collect();
        // Two normal values correlated by 0.8, both in the lowest tenth: 5.64 % of all pairs.
        let after = share(&after);
        assert!((after - 0.564).abs() < 0.01, "{after}");
    }
}
