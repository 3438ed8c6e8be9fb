//! Chance from a seed: the same seed gives the same numbers in every build, on every machine and
//! in every release.
//!
//! The generator is ChaCha with eight rounds (D. J. Bernstein, 2008): its octets are fixed by its
//! definition and not by a library's version, and it has 2^64 independent streams for one key.
//! Every effect draws from a stream of its own, so that changing the loss does not change the
//! delays. What is made of the octets is written out here, with `libm` for the functions, because
//! a library of distributions may change its algorithms and a system its logarithm.

use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};

/// What all chance comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// The seed of a number, such as a user gives.
    pub fn new(number: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        Self(key)
    }

    /// The seed of a part: of one direction, of one pair of stations. Parts with different numbers
    /// have nothing in common.
    #[must_use]
    pub fn child(&self, number: u64) -> Self {
        let mut rng = ChaCha8Rng::from_seed(self.0);
        // Effects use the low streams.
        rng.set_stream(!number);
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        Self(key)
    }

    pub(crate) fn stream(&self, effect: Effect) -> Stream {
        let mut rng = ChaCha8Rng::from_seed(self.0);
        rng.set_stream(effect as u64);
        Stream(rng)
    }
}

/// Who draws. The numbers are part of what a seed means: never change one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Loss = 0,
    Duplication = 1,
    Capacity = 2,
    Speed = 3,
    Bandwidth = 4,
    Delay = 5,
    Reorder = 6,
    Corruption = 7,
    Noise = 8,
    Chain = 9,
}

/// One stream of numbers.
#[derive(Debug)]
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    /// 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// From 0, inclusive, to 1, exclusive, in steps of 2^-53.
    pub(crate) fn unit(&mut self) -> f64 {
        unit(self.bits())
    }

    /// As [`Self::unit`], but never 0.
    pub(crate) fn positive(&mut self) -> f64 {
        1.0 - self.unit()
    }

    /// Below `limit`, which is not 0. The bias is below 2^-32 for limits of 32 bits.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        let wide = u128::from(self.bits()) * u128::from(limit);
        u64::try_from(wide >> 64).expect("less than limit")
    }

    /// From the normal distribution with mean 0 and deviation 1, by Marsaglia's polar method.
    pub(crate) fn normal(&mut self) -> f64 {
        loop {
            let x = 2.0 * self.unit() - 1.0;
            let y = 2.0 * self.unit() - 1.0;
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * libm::sqrt(-2.0 * libm::log(square) / square);
            }
        }
    }

    /// How many trials fail before the first success, each succeeding with `probability`.
    pub(crate) fn failures_before_success(&mut self, probability: f64) -> u64 {
        if probability >= 1.0 {
            return 0;
        }
        let failures = libm::log(self.positive()) / libm::log1p(-probability);
        // Saturates; a `probability` of 0 gives infinity.
        crate::units::whole(libm::floor(failures))
    }
}

#[expect(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// A value of the normal distribution that depends on the one before it: correlation without a
/// change of the distribution (an autoregressive process of first order).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Correlated {
    last: f64,
}

impl Correlated {
    pub(crate) const fn new() -> Self {
        Self { last: 0.0 }
    }

    /// The next value, with the given correlation, 0 to 1, to the one before.
    pub(crate) fn normal(&mut self, correlation: f64, stream: &mut Stream) -> f64 {
        let fresh = stream.normal();
        self.last = correlation * self.last + libm::sqrt(1.0 - correlation * correlation) * fresh;
        self.last
    }
}

/// The share of the normal distribution below `z`, from 0 to 1.
pub(crate) fn normal_share(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ChaCha8 with a key of zeros, first octets of stream 0 (the eSTREAM vectors).
    #[test]
    fn the_generator_is_chacha8() {
        let mut stream = Seed::new(0).stream(Effect::Loss);
        assert_eq!(stream.bits().to_le_bytes(), [0x3e, 0x00, 0xef, 0x2f, 0x89, 0x5f, 0x40, 0xd6]);
    }

    /// These numbers are what a seed means to users. They must never change.
    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut stream = Seed::new(42).child(1).stream(Effect::Delay);
        let drawn: Vec<String> = (0..3).map(|_| format!("{:.17}", stream.normal())).collect();
        assert_eq!(drawn, ["-0.27764229690288711", "0.92097045256173504", "-0.45321126543096940"]);
        assert_eq!(stream.bits(), 15_379_032_181_905_305_060);
    }

    #[test]
    fn streams_and_children_have_nothing_in_common() {
        let seed = Seed::new(7);
        let mut firsts: Vec<u64> = [Effect::Loss, Effect::Delay, Effect::Noise]
            .map(|effect| seed.stream(effect).bits())
            .to_vec();
        firsts.extend((0..3).map(|child| seed.child(child).stream(Effect::Loss).bits()));
        firsts.push(Seed::new(8).stream(Effect::Loss).bits());
        let count = firsts.len();
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), count);
    }

    #[test]
    fn normal_values_have_mean_0_and_deviation_1() {
        let mut stream = Seed::new(1).stream(Effect::Delay);
        let values: Vec<f64> = (0..1_000_000).map(|_| stream.normal()).collect();
        let mean = values.iter().sum::<f64>() / 1e6;
        let square = values.iter().map(|value| value * value).sum::<f64>() / 1e6;
        // Five standard errors: 1/1000 and sqrt(2)/1000.
        assert!(mean.abs() < 0.005, "{mean}");
        assert!((square - 1.0).abs() < 0.0071, "{square}");
        let inside = values.iter().filter(|value| value.abs() < 3.0).count();
        assert!((99_730 - inside.div_ceil(10).cast_signed()).abs() < 40, "{inside}");
    }

    #[test]
    fn the_first_success_comes_after_the_expected_number_of_failures() {
        let mut stream = Seed::new(2).stream(Effect::Noise);
        for probability in [0.5, 0.1, 0.001] {
            let sum: u64 = (0..100_000).map(|_| stream.failures_before_success(probability)).sum();
            let mean = f64::from(u32::try_from(sum).unwrap()) / 1e5;
            let expected = (1.0 - probability) / probability;
            assert!((mean / expected - 1.0).abs() < 0.03, "{probability}: {mean}");
        }
        assert_eq!(stream.failures_before_success(1.0), 0);
        assert_eq!(stream.failures_before_success(0.0), u64::MAX);
    }

    #[test]
    fn the_share_below_a_value_is_that_of_the_normal_distribution() {
        for (z, share) in [(0.0, 0.5), (1.0, 0.841_344_746), (-3.0, 0.001_349_898)] {
            assert!((normal_share(z) - share).abs() < 1e-8, "{z}");
        }
    }
}
