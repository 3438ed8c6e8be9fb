//! The octets of a frame that is in a wire: a copy of its own, or left where they were received.

use std::ops::{Deref, Range};
use std::rc::Rc;

/// A frame that long stays in the buffer where it was received, which holds two of the longest at
/// most: what is kept is never more than four times what is counted.
const LONG: usize = 32 << 10;

/// Where a frame was received. The buffer is not used again before the last who holds it has gone.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    buffer: Rc<[u8]>,
    place: Range<usize>,
}

impl Held {
    /// `place` must lie in the buffer. Nothing for a short frame, which had better be copied.
    pub(crate) fn new(buffer: &Rc<[u8]>, place: &Range<usize>) -> Option<Self> {
        (place.len() >= LONG).then(|| Self { buffer: buffer.clone(), place: place.clone() })
    }
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.place.clone()]
    }
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub(crate) enum Octets {
    Own(Box<[u8]>),
    Held(Held),
}

impl Octets {
    /// Keeps `bytes`, which are those of `held` if there is one.
    pub(crate) fn keep(bytes: &[u8], held: Option<&Held>) -> Self {
        match held {
            Some(held) => Self::Held(held.clone()),
            None => Self::Own(bytes.into()),
        }
    }

    /// What a wire behind this one can hold on to.
    pub(crate) fn held(&self) -> Option<&Held> {
        match self {
            Self::Own(_) => None,
            Self::Held(held) => Some(held),
        }
    }

    /// The octets, to change them: a copy of its own first.
    pub(crate) fn make_mut(&mut self) -> &mut [u8] {
        if let Self::Held(held) = self {
            *self = Self::Own((**held).into());
        }
        match self {
            Self::Own(octets) => octets,
            Self::Held(_) => unreachable!("it was copied just now"),
        }
    }
}

impl Deref for Octets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(octets) => octets,
            Self::Held(held) => held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_frame_is_left_where_it_is_and_damaged_for_itself_alone() {
        let buffer: Rc<[u8]> = vec![7; 2 * LONG].into();
        let held = Held::new(&buffer, &(LONG..2 * LONG)).unwrap();
        let mut octets = Octets::keep(&held, Some(&held));
        assert_eq!(octets.as_ptr(), buffer[LONG..].as_ptr());
        octets.make_mut()[0] = 8;
        assert_eq!((octets[0], buffer[LONG]), (8, 7));
        drop((octets, held));
        assert_eq!(Rc::strong_count(&buffer), 1);
    }

    #[test]
    fn a_short_frame_does_not_keep_the_buffer() {
        let buffer: Rc<[u8]> = vec![7; 2 * LONG].into();
        assert!(Held::new(&buffer, &(0..LONG - 1)).is_none());
        assert_eq!(Rc::strong_count(&buffer), 1);
    }
}
