//! The window of recent datagrams, and the pieces of records in them that wait for a neighbour.

use std::collections::VecDeque;

use super::DATAGRAM_HEADER_LEN;

/// How many datagrams behind the newest one may still arrive and be joined.
///
/// The longest record covers about 135 datagrams of the smallest size; as much again is left for
/// reordering.
pub const WINDOW: u64 = 256;

/// How many octets of datagrams may be kept while pieces wait, on one cable: 1 MiB.
///
/// Reached only with large datagrams and loss; then the oldest pieces are given up. What is
/// counted are the datagrams' own octets. A shell whose datagrams are slices of larger receive
/// buffers keeps those alive with them.
pub const MAX_KEPT_OCTETS: usize = 1 << 20;

/// What a datagram means to its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A record starts in it, or nothing of it is waited for any more.
    Edge {
        /// Octets at its front that end a record and still wait for its beginning.
        head: usize,
        /// Octets at its end that begin a record and still wait for the rest.
        tail: usize,
    },
    /// No record starts in it: it is a piece of one record from end to end.
    ///
    /// Neighbouring middles make a run. Only the values at the two ends of a run are right; all
    /// questions come from there.
    Middle {
        /// The sequence of the run's other end.
        far: u64,
        /// Octets of record in the whole run.
        octets: usize,
    },
}

#[derive(Debug)]
struct Slot<D> {
    role: Role,
    /// Kept while a piece of it waits.
    datagram: Option<D>,
}

/// Recent datagrams by sequence number. The numbers here have 64 bits and do not wrap.
#[derive(Debug)]
pub(super) struct Ring<D> {
    /// Slot `i` is that of sequence `oldest + i`; the last is the newest. Empty until the first
    /// datagram, and never longer than [`WINDOW`].
    slots: VecDeque<Option<Slot<D>>>,
    oldest: u64,
    kept_octets: usize,
    /// Pieces that left while they waited.
    given_up: u64,
}

impl<D: AsRef<[u8]>> Ring<D> {
    pub(super) fn new() -> Self {
        Self { slots: VecDeque::new(), oldest: 0, kept_octets: 0, given_up: 0 }
    }

    /// The newest sequence that was reached.
    pub(super) fn newest(&self) -> Option<u64> {
        (self.slots.len() as u64).checked_sub(1).map(|last| self.oldest + last)
    }

    /// Lets go of everything and moves the window to end at `newest`.
    pub(super) fn restart(&mut self, newest: u64) {
        self.give_up_before(u64::MAX);
        self.oldest = newest + 1 - WINDOW;
        self.advance(newest);
    }

    /// Moves the window so that it ends at `newest`, which is ahead of it.
    pub(super) fn advance(&mut self, newest: u64) {
        self.give_up_before((newest + 1).saturating_sub(WINDOW));
        let len = newest + 1 - self.oldest;
        self.slots.resize_with(usize::try_from(len).expect("at most WINDOW"), || None);
    }

    /// Whether the datagram is in reach of the window and did not come yet.
    pub(super) fn is_awaited(&self, sequence: u64) -> bool {
        self.index(sequence).and_then(|index| self.slots.get(index)).is_some_and(Option::is_none)
    }

    /// Takes in an awaited datagram.
    pub(super) fn insert(&mut self, sequence: u64, role: Role, datagram: D) {
        let len = datagram.as_ref().len();
        if let Some(index) = self.index(sequence)
            && let Some(slot @ None) = self.slots.get_mut(index)
        {
            *slot = Some(Slot { role, datagram: Some(datagram) });
            self.kept_octets += len;
        }
    }

    pub(super) fn role(&self, sequence: u64) -> Option<Role> {
        Some(self.slot(sequence)?.role)
    }

    /// The run of middles that ends just before `sequence`, as its first sequence and octets;
    /// `sequence` itself and 0 when there is none.
    pub(super) fn run_before(&self, sequence: u64) -> (u64, usize) {
        match self.role(sequence - 1) {
            Some(Role::Middle { far, octets }) => (far, octets),
            _ => (sequence, 0),
        }
    }

    /// The run of middles that starts just after `sequence`, as its last sequence and octets.
    pub(super) fn run_after(&self, sequence: u64) -> (u64, usize) {
        match self.role(sequence + 1) {
            Some(Role::Middle { far, octets }) => (far, octets),
            _ => (sequence, 0),
        }
    }

    /// Notes at both ends of a run how far it goes.
    pub(super) fn set_run(&mut self, first: u64, last: u64, octets: usize) {
        // The first end may have left the window already. Nobody will ask it.
        for (end, far) in [(first, last), (last, first)] {
            if let Some(slot) = self.slot_mut(end) {
                slot.role = Role::Middle { far, octets };
            }
        }
    }

    pub(super) fn set_tail(&mut self, sequence: u64, octets: usize) {
        if let Some(slot) = self.slot_mut(sequence)
            && let Role::Edge { tail, .. } = &mut slot.role
        {
            *tail = octets;
        }
    }

    /// The octets with which a datagram begins a record.
    pub(super) fn tail(&self, sequence: u64) -> &[u8] {
        match self.slot(sequence) {
            Some(Slot { role: Role::Edge { tail, .. }, datagram: Some(datagram) }) => {
                let octets = datagram.as_ref();
                octets.len().checked_sub(*tail).map_or(&[], |start| &octets[start..])
            }
            _ => &[],
        }
    }

    /// The octets with which a datagram goes on with a record of the datagram before.
    pub(super) fn front(&self, sequence: u64) -> &[u8] {
        let Some(Slot { role, datagram: Some(datagram) }) = self.slot(sequence) else {
            return &[];
        };
        let payload = datagram.as_ref().get(DATAGRAM_HEADER_LEN..).unwrap_or(&[]);
        match role {
            Role::Edge { head, .. } => payload.get(..*head).unwrap_or(&[]),
            Role::Middle { .. } => payload,
        }
    }

    /// Marks the pieces between two edges as done with: the tail of `left`, the head of `right`
    /// and all middles.
    pub(super) fn close(&mut self, left: u64, right: u64) {
        for sequence in left..=right {
            let Some(slot) = self.slot_mut(sequence) else {
                continue;
            };
            match &mut slot.role {
                Role::Edge { tail, .. } if sequence == left => *tail = 0,
                Role::Edge { head, .. } => *head = 0,
                middle @ Role::Middle { .. } => {
                    *middle = Role::Edge { head: 0, tail: 0 };
                    self.release(sequence);
                }
            }
        }
    }

    /// Lets go of a datagram of which nothing is waited for.
    pub(super) fn release(&mut self, sequence: u64) {
        if let Some(slot) = self.slot_mut(sequence)
            && slot.role == (Role::Edge { head: 0, tail: 0 })
            && let Some(datagram) = slot.datagram.take()
        {
            self.kept_octets -= datagram.as_ref().len();
        }
    }

    /// Gives up the oldest datagrams until at most [`MAX_KEPT_OCTETS`] are kept.
    pub(super) fn bound(&mut self) {
        while self.kept_octets > MAX_KEPT_OCTETS && self.slots.len() > 1 {
            self.give_up_before(self.oldest + 1);
        }
    }

    pub(super) fn kept_octets(&self) -> usize {
        self.kept_octets
    }

    /// How many pieces were given up since the last call.
    pub(super) fn take_given_up(&mut self) -> u64 {
        std::mem::take(&mut self.given_up)
    }

    /// Moves the old end of the window up to `oldest`, and each slot out of it at most once.
    fn give_up_before(&mut self, oldest: u64) {
        while self.oldest < oldest {
            let Some(slot) = self.slots.pop_front() else {
                self.oldest = oldest;
                return;
            };
            self.oldest += 1;
            let Some(slot) = slot else { continue };
            if let Role::Edge { head, tail } = slot.role {
                self.given_up += u64::from(head > 0) + u64::from(tail > 0);
            }
            self.kept_octets -= slot.datagram.map_or(0, |datagram| datagram.as_ref().len());
        }
    }

    fn index(&self, sequence: u64) -> Option<usize> {
        usize::try_from(sequence.checked_sub(self.oldest)?).ok()
    }

    fn slot(&self, sequence: u64) -> Option<&Slot<D>> {
        self.slots.get(self.index(sequence)?)?.as_ref()
    }

    fn slot_mut(&mut self, sequence: u64) -> Option<&mut Slot<D>> {
        let index = self.index(sequence)?;
        self.slots.get_mut(index)?.as_mut()
    }
}
