//! The Internet checksum (RFC 1071), eight octets at a time.
//!
//! The sum is made of words in the machine's own byte order: one's complement addition does not
//! care (RFC 1071, 2(B)), and the two octets of the result come out in the order of the frame.

/// A sum in progress. The parts added must each begin at an even offset of what is summed, so only
/// the last may have an odd length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum(u64);

impl Sum {
    pub(super) const fn new() -> Self {
        Self(0)
    }

    /// Adds octets. A frame's worth cannot overflow: each eight octets add less than 2^33.
    #[inline]
    pub(super) fn add(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        // Two halves in place of carries: the loop has no dependency but the sum, and vectorises.
        let halves = |word: [u8; 8]| {
            let word = u64::from_ne_bytes(word);
            (word >> 32) + (word & 0xffff_ffff)
        };
        Self(words.iter().fold(self.0 + halves(last), |sum, word| sum + halves(*word)))
    }

    /// Adds a number that the frame would have in network order.
    pub(super) fn add_number(self, number: u16) -> Self {
        Self(self.0 + u64::from(number.to_be()))
    }

    /// The checksum: the complement of the sum, as its two octets stand in the frame.
    pub(super) fn finish(self) -> [u8; 2] {
        let mut sum = self.0;
        while let high @ 1.. = sum >> 16 {
            sum = high + (sum & 0xffff);
        }
        let sum = u16::try_from(sum).expect("carries were added until none was left");
        (!sum).to_ne_bytes()
    }
}
