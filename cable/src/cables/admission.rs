//! Which connection may serve a peer.
//!
//! Both ends must come to the same answer: of two connections that different ends opened, the one
//! opened by the node with the lower key stays. Of two opened by the same end the newer one stays:
//! only that end knows whether it still has the older one, so it asks here before it introduces
//! itself, and goes no further while it has.

use std::rc::Rc;

use super::Shared;
use super::entry::Entry;
use crate::failure::CloseCode;
use crate::identity::PublicKey;

/// A dialled connection's turn to introduce itself to its peer. One for each peer at a time; given
/// back when dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    shared: &'a Shared,
    key: PublicKey,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.shared.turns.borrow_mut().remove(&self.key);
        // It may have come to nothing.
        self.shared.wake_standby();
    }
}

impl Shared {
    /// Asks for the turn of a connection that `entry` dialled and whose keys are proved.
    ///
    /// # Errors
    /// The code to close it with.
    pub(super) fn take_turn(&self, entry: &Entry, key: PublicKey) -> Result<Turn<'_>, CloseCode> {
        self.admit(key, true)?;
        let mut turns = self.turns.borrow_mut();
        if turns.contains_key(&key) {
            return Err(CloseCode::Duplicate);
        }
        turns.insert(key, entry.id);
        Ok(Turn { shared: self, key })
    }

    /// Decides between a new connection and the one that serves the same peer already, which is
    /// returned when the new one takes its place.
    ///
    /// # Errors
    /// The code to close the new connection with.
    pub(super) fn admit(
        &self,
        key: PublicKey,
        opened_here: bool,
    ) -> Result<Option<Rc<Entry>>, CloseCode> {
        if key == self.own {
            return Err(CloseCode::OwnKey);
        }
        // It was trusted when it was proved, but that is some round trips ago.
        if !self.trust.contains(key) {
            return Err(CloseCode::Untrusted);
        }
        let Some(current) = self.serving.borrow().get(&key).cloned() else {
            return Ok(None);
        };
        let new_stays = match (current.target().is_some(), opened_here) {
            (false, false) => true,
            (true, true) => false,
            (false, true) => self.own < key,
            (true, false) => key < self.own,
        };
        if new_stays { Ok(Some(current)) } else { Err(CloseCode::Duplicate) }
    }

    /// Whether the peer that this cable last led to is served by another cable now, or about to be.
    pub(super) fn is_served_otherwise(&self, entry: &Rc<Entry>) -> bool {
        let Some(key) = entry.peer_key() else {
            return false;
        };
        let other = |current: &Rc<Entry>| !Rc::ptr_eq(current, entry);
        self.serving.borrow().get(&key).is_some_and(other)
            || self.turns.borrow().get(&key).is_some_and(|id| *id != entry.id)
    }

    /// A cable that served is gone: those that stood by for it dial again.
    pub(super) fn wake_standby(&self) {
        for entry in self.entries.borrow().values() {
            if entry.is_standing_by() {
                entry.wake.notify_one();
            }
        }
    }
}
