//! How much loss is no sign of a full path.
//!
//! Who takes every loss for a full queue is slow: over 50 ms, one packet in a thousand keeps Cubic below
//! a tenth of 100 Mbit/s. The stations inside have controllers of their own, which see the same losses and
//! judge them as they see fit; the cable must only not go on where the path has no room at all.

/// Above this share of lost octets the path is full.
const MOST_LOST: f64 = 0.02;

/// Octets over which the share is taken, about; older ones count less and less.
const MEMORY: u64 = 4 << 20;

/// The share is taken of so many octets at least: one of the first packets is not yet a share.
const LEAST: u64 = 256 << 10;

/// What became of the octets that were sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Tolerance {
    arrived: u64,
    lost: u64,
}

impl Tolerance {
    /// Takes note of octets that have arrived.
    pub(super) fn handle_ack(&mut self, octets: u64) {
        self.arrived += octets;
        if self.arrived + self.lost > MEMORY {
            self.arrived /= 2;
            self.lost /= 2;
        }
    }

    /// Takes note of lost octets. Whether too many were lost.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
    pub(super) fn handle_loss(&mut self, octets: u64) -> bool {
        self.lost += octets;
        self.lost as f64 > MOST_LOST * (self.arrived + self.lost).max(LEAST) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_in_a_hundred_is_tolerated_for_ever() {
        let mut path = Tolerance::default();
        for _ in 0..10_000 {
            path.handle_ack(99 * 1400);
            assert!(!path.handle_loss(1400));
        }
    }

    #[test]
    fn the_loss_of_one_of_the_first_packets_is_tolerated() {
        let mut path = Tolerance::default();
        path.handle_ack(5 * 1400);
        assert!(!path.handle_loss(1400));
    }

    #[test]
    fn a_path_that_drops_what_exceeds_its_rate_is_full_and_has_room_again_later() {
        let mut path = Tolerance::default();
        path.handle_ack(1_000_000);
        assert!(path.handle_loss(50_000));
        for _ in 0..20 {
            path.handle_ack(1_000_000);
        }
        assert!(!path.handle_loss(1400));
    }
}
