//! Frames that are held for a moment, as they may have gone around outside.
//!
//! Two ports of the mesh, which lead to networks that somebody has joined: what leaves by one comes in
//! by the other, and it may be there sooner than through the mesh. Were it believed, its station would
//! be taken from where it is, and all that others send to it would go astray until a second after it
//! spoke again. So a frame for all of a station of another node waits, where a network is. If it is
//! flooded through the mesh meanwhile, it had gone around.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ether::VnetHeader;
use fabric::PortId;

/// How much sooner than through the mesh a frame may come around outside. A station that really came
/// here is known here later by as much.
const PATIENCE: Duration = Duration::from_millis(50);

/// How many frames, of how many octets, wait. What is more or longer is believed at once.
const MAX_HELD: usize = 64;
const MAX_LEN: usize = 2048;

/// A frame that has waited, and came in at a port.
#[derive(Debug)]
pub struct Held {
    /// The port.
    pub port: PortId,
    /// The frame.
    pub bytes: Vec<u8>,
    /// What was still to be done to it.
    pub vnet: VnetHeader,
    hash: u64,
    until: Instant,
}

/// The frames that wait, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Waiting(VecDeque<Held>);

impl Waiting {
    /// Lets a frame wait; `false` if there is no room.
    pub(crate) fn push(
        &mut self,
        port: PortId,
        bytes: &[u8],
        vnet: VnetHeader,
        hash: u64,
        now: Instant,
    ) -> bool {
        let has_room = self.0.len() < MAX_HELD && bytes.len() <= MAX_LEN;
        if has_room {
            let until = now + PATIENCE;
            self.0.push_back(Held { port, bytes: bytes.to_vec(), vnet, hash, until });
        }
        has_room
    }

    /// The ports at which such a frame waited, and does not any more.
    pub(crate) fn remove(&mut self, hash: u64) -> Vec<PortId> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let gone = self.0.iter().filter(|held| held.hash == hash).map(|held| held.port).collect();
        self.0.retain(|held| held.hash != hash);
        gone
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.0.front().map(|held| held.until)
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Held> {
        let is_due = self.0.front().is_some_and(|held| now >= held.until);
        is_due.then(|| self.0.pop_front()).flatten()
    }
}
