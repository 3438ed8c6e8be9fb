//! Which connections may serve, when several link the same two nodes.
//!
//! Cables that one end dials are all wanted: an operator asked for each, and they serve side by
//! side. Two rules take one away, and both ends come to the same answer:
//!
//! * Of two cables that the two ends dialled to each other between the same two hosts' addresses,
//!   that of the node with the lower key stays.
//! * A peer that dials one of its cables again, or has started again, has lost the connections
//!   before, although this end may not have noticed: the newer one stays.

use std::net::IpAddr;
use std::rc::Rc;

use mesh::Nick;

use super::Shared;
use super::entry::Entry;
use crate::failure::CloseCode;
use crate::identity::PublicKey;

/// Cables that one peer may have open to this node. More would be a fault, or an attempt to use up
/// its ports.
pub(super) const PARALLEL: usize = 16;

/// A connection whose peer has proved its key.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) key: PublicKey,
    /// The peer's address.
    pub(super) remote: IpAddr,
    /// What the peer says of it; none when this end dialled.
    pub(super) dialled_by_peer: Option<DialledByPeer>,
}

/// How a peer identifies a cable of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DialledByPeer {
    /// Its nick, new at each of its starts.
    pub(super) nick: Nick,
    /// Its number for the cable.
    pub(super) number: u32,
}

impl Shared {
    /// Decides about a new connection. Gives the cables whose place it takes.
    ///
    /// # Errors
    /// The code to close the new connection with.
    pub(super) fn admit(&self, candidate: &Candidate) -> Result<Vec<Rc<Entry>>, CloseCode> {
        // It was trusted when it was proved, but that is some round trips ago.
        if candidate.key != self.own && !self.trust.contains(candidate.key) {
            return Err(CloseCode::Untrusted);
        }
        self.find_place(candidate)
    }

    /// The same, whoever is trusted.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub(super) fn find_place(&self, candidate: &Candidate) -> Result<Vec<Rc<Entry>>, CloseCode> {
        let Candidate { key, remote, dialled_by_peer } = *candidate;
        if key == self.own {
            return Err(CloseCode::OwnKey);
        }
        let serving = self.find_all(|entry| entry.serves(key));
        // Dialled by the other end than the candidate, between the same hosts.
        let crossing = |entry: &Rc<Entry>| {
            entry.target().is_some() == dialled_by_peer.is_some()
                && entry.remote_host() == Some(remote)
        };
        let peer_stays = key < self.own;
        if serving.iter().any(crossing) && peer_stays != dialled_by_peer.is_some() {
            return Err(CloseCode::Duplicate);
        }
        let Some(new) = dialled_by_peer else {
            return Ok(serving.into_iter().filter(crossing).collect());
        };
        let outdated = |entry: &Rc<Entry>| {
            entry
                .dialled_by_peer()
                .is_some_and(|old| old.nick != new.nick || old.number == new.number)
        };
        let (replaced, stay): (Vec<_>, Vec<_>) =
            serving.into_iter().partition(|entry| crossing(entry) || outdated(entry));
        let by_peer = stay.iter().filter(|entry| entry.target().is_none()).count();
        if by_peer < PARALLEL { Ok(replaced) } else { Err(CloseCode::TooMany) }
    }

    /// Whether this cable would not be admitted now, because the peer's own serves in its place.
    pub(super) fn is_served_otherwise(&self, entry: &Entry) -> bool {
        let (Some(key), Some(remote)) = (entry.peer_key(), entry.remote_host()) else {
            return false;
        };
        let candidate = Candidate { key, remote, dialled_by_peer: None };
        self.find_place(&candidate).is_err_and(|code| code == CloseCode::Duplicate)
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
