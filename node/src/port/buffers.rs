//! Buffers for what taps have to say. One serves all taps again and again, unless frames that wires
//! hold lie in it: then another does until those have gone.

use std::collections::VecDeque;
use std::rc::Rc;

/// Buffers with no frame in them that are kept for when wires hold frames: 2 MiB.
const SPARE: usize = 16;

/// See the [module](self). How many buffers there are is bounded by what wires hold.
#[derive(Debug)]
pub(super) struct Buffers {
    current: Rc<[u8]>,
    /// Those that were left to wires, the oldest first, which is about the order of their return.
    lent: VecDeque<Rc<[u8]>>,
}

impl Buffers {
    /// Buffers of so many octets.
    pub(super) fn new(len: usize) -> Self {
        Self { current: vec![0; len].into(), lent: VecDeque::new() }
    }

    /// The buffer that is filled now, and from which frames are lent.
    pub(super) fn current(&self) -> &Rc<[u8]> {
        &self.current
    }

    /// Room in which no frame lies any more.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if Rc::get_mut(&mut self.current).is_none() {
            let next = self.take_back().unwrap_or_else(|| vec![0; self.current.len()].into());
            self.lent.push_back(std::mem::replace(&mut self.current, next));
        }
        if self.lent.get_mut(SPARE).is_some_and(|spare| Rc::get_mut(spare).is_some()) {
            self.take_back();
        }
        Rc::get_mut(&mut self.current).expect("nobody has it")
    }

    /// The buffer that has been lent for longest, if it is back.
    fn take_back(&mut self) -> Option<Rc<[u8]>> {
        Rc::get_mut(self.lent.front_mut()?)?;
        self.lent.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_wires_one_buffer_does() {
        let mut buffers = Buffers::new(10);
        let first = buffers.room().as_ptr();
        for _ in 0..100 {
            drop(buffers.current().clone());
            assert_eq!(buffers.room().as_ptr(), first);
        }
    }

    #[test]
    fn what_a_wire_holds_is_not_overwritten() {
        let mut buffers = Buffers::new(1);
        let mut wire = VecDeque::new();
        for number in 0..200_u8 {
            buffers.room()[0] = number;
            wire.push_back((buffers.current().clone(), number));
            if wire.len() > 20 {
                let (buffer, number) = wire.pop_front().unwrap();
                assert_eq!(buffer[0], number);
            }
        }
        assert!(buffers.lent.len() < 30, "they are used again");
    }

    #[test]
    fn memory_goes_when_a_wire_has_emptied() {
        let mut buffers = Buffers::new(1);
        let held: Vec<_> = std::iter::repeat_with(|| {
            buffers.room();
            buffers.current().clone()
        })
        .take(1000)
        .collect();
        drop(held);
        for _ in 0..1000 {
            buffers.room();
        }
        assert!(buffers.lent.len() <= SPARE);
    }
}
