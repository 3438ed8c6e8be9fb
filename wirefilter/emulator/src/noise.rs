//! Flipped bits.

use crate::frame::Frame;
use crate::random::Stream;
use crate::spread::Draw;

/// The bits of 2^20 octets, of which a noise is a part.
const BITS: f64 = 8_388_608.0;

/// Independent bit errors, found by drawing how far the next one is and not by asking each bit.
#[derive(Debug)]
pub(crate) struct BitNoise {
    level: Draw,
    /// Bits from here to the next one that is flipped, across frames; drawn when first needed.
    gap: Option<u64>,
}

impl BitNoise {
    pub(crate) const fn new(level: Draw) -> Self {
        Self { level, gap: None }
    }

    /// Flips bits of a frame; returns how many.
    pub(crate) fn damage(&mut self, frame: &mut impl Frame, stream: &mut Stream) -> u64 {
        let probability = match self.level.constant() {
            Some(level) => level / BITS,
            None => {
                // Bit errors have no memory, so at another level the way to the next one is
                // simply drawn again.
                self.gap = None;
                self.level.draw(stream) / BITS
            }
        };
        if probability <= 0.0 {
            return 0;
        }
        let bits = frame.octet_count() as u64 * 8;
        let mut gap = self.gap.unwrap_or_else(|| stream.failures_before_success(probability));
        let mut flipped = 0;
        while gap < bits {
            flip(frame, gap);
            flipped += 1;
            let next = stream.failures_before_success(probability);
            gap = gap.saturating_add(1).saturating_add(next);
        }
        self.gap = Some(gap - bits);
        flipped
    }
}

/// Flips one bit, each as likely as any other.
pub(crate) fn corrupt(frame: &mut impl Frame, stream: &mut Stream) {
    let bits = frame.octet_count() as u64 * 8;
    if bits > 0 {
        flip(frame, stream.below(bits));
    }
}

fn flip(frame: &mut impl Frame, bit: u64) {
    let place = usize::try_from(bit / 8).expect("a frame fits in memory");
    frame.octets_mut()[place] ^= 1 << (bit % 8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Effect, Seed};
    use crate::spread::{Shape, Spread};
    use crate::units::Noise;

    const LEN: usize = 1500;

    /// Flipped bits found in frames of zeros, by place in the frame.
    fn flipped(level: Spread<Noise>, frames: usize) -> Vec<u64> {
        let mut noise = BitNoise::new(level.plan());
        let mut stream = Seed::new(31).stream(Effect::Noise);
        let mut places = vec![0; LEN * 8];
        let mut said = 0;
        for _ in 0..frames {
            let mut frame = vec![0u8; LEN];
            said += noise.damage(&mut frame, &mut stream);
            for (octet, value) in frame.iter().enumerate() {
                for bit in 0..8 {
                    places[octet * 8 + bit] += u64::from(value >> bit & 1);
                }
            }
        }
        assert_eq!(places.iter().sum::<u64>(), said);
        places
    }

    #[test]
    fn as_many_bits_are_flipped_as_asked_and_anywhere_alike() {
        // 2^20 octets are 699.05 frames.
        let shapes =
            [Spread::constant(400.0).unwrap(), Spread::new(400.0, 200.0, Shape::Uniform).unwrap()];
        for level in shapes {
            let places = flipped(level, 20_000);
            let count: u64 = places.iter().sum();
            let expected = 400.0 * 20_000.0 * LEN as f64 / f64::from(1 << 20);
            assert!((count as f64 - expected).abs() < 5.0 * expected.sqrt() * 1.1, "{count}");
            let half: u64 = places[..LEN * 4].iter().sum();
            assert!((half as f64 - expected / 2.0).abs() < 5.0 * (expected / 2.0).sqrt(), "{half}");
        }
    }

    #[test]
    fn at_full_noise_every_bit_is_flipped() {
        let places = flipped(Spread::constant(8_388_608.0).unwrap(), 3);
        assert!(places.iter().all(|count| *count == 3));
    }

    #[test]
    fn corruption_flips_exactly_one_bit() {
        let mut stream = Seed::new(32).stream(Effect::Corruption);
        for _ in 0..1000 {
            let mut frame = vec![0u8; 60];
            corrupt(&mut frame, &mut stream);
            assert_eq!(frame.iter().map(|octet| octet.count_ones()).sum::<u32>(), 1);
        }
        corrupt(&mut Vec::new(), &mut stream);
    }
}
