//! Frames that have left, whose memory the next ones of their length get: most are of one length, and
//! asking the allocator for each is a tenth of what a frame costs.

use crate::filter::Octets;

/// So many are kept: what a side receives before as many are sent.
const KEPT: usize = 256;

/// The memory of frames that have left.
#[derive(Debug, Default)]
pub(crate) struct Spares(Vec<Octets>);

impl Spares {
    /// A copy of a frame, of exactly its length: a link may hold it for long.
    pub(crate) fn copy(&mut self, frame: &[u8]) -> Octets {
        match self.0.pop() {
            Some(mut spare) if spare.len() == frame.len() => {
                spare.copy_from_slice(frame);
                spare
            }
            _ => frame.into(),
        }
    }

    /// Takes back what has left.
    pub(crate) fn keep(&mut self, frame: Octets) {
        if self.0.len() < KEPT {
            self.0.push(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_frame_whatever_was_there_before() {
        let mut spares = Spares::default();
        for frame in [&[1; 60][..], &[2; 60], &[3; 1514], &[4; 60], &[5; 14]] {
            let copy = spares.copy(frame);
            assert_eq!(*copy, *frame);
            spares.keep(copy);
        }
    }

    #[test]
    fn no_more_is_kept_than_a_batch_or_two() {
        let mut spares = Spares::default();
        for _ in 0..2 * KEPT {
            spares.keep([0; 60].into());
        }
        assert_eq!(spares.0.len(), KEPT);
    }
}
