//! A stranger in the midst of a handshake, and the place that it takes.

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use super::Connected;
use crate::connection::Connection;
use crate::failure::{Failure, Phase};
use crate::tls::ShownKey;
use crate::transport;

/// A place among the handshakes under way.
#[derive(Debug)]
pub(super) struct Place(Rc<Cell<usize>>);

impl Place {
    pub(super) fn take(under_way: &Rc<Cell<usize>>) -> Self {
        under_way.set(under_way.get() + 1);
        Self(under_way.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A stranger who was let in to a handshake.
pub struct Knock {
    /// The connection, and what completes with its handshake; or why there is none.
    pub(super) handshake: Result<(Connection, quinn::ZeroRttAccepted), Failure>,
    pub(super) remote: SocketAddr,
    pub(super) shown: ShownKey,
    pub(super) _place: Place,
}

impl fmt::Debug for Knock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Knock").field("remote", &self.remote).finish_non_exhaustive()
    }
}

/// Waits until a stranger has shown and proved its key.
pub(super) async fn shake_hands(knock: Knock) -> Result<Connected, Failure> {
    let Knock { handshake, remote, shown, _place } = knock;
    let (connection, done) = handshake?;
    match tokio::time::timeout(transport::HANDSHAKE_TIMEOUT, connection.run(done)).await {
        Err(_elapsed) => return Err(Failure::NoAnswer(remote)),
        Ok(None) => return Err(Failure::Fault),
        Ok(Some(_)) => {}
    }
    match (connection.close_reason(), shown.get()) {
        (None, Some(&key)) => Ok(Connected { connection, key, purpose: shown.purpose() }),
        (None, None) => Err(Failure::Other("the peer showed no key".into())),
        (Some(err), _) => Err(Failure::of(&err, Phase::Handshake, remote, shown.get().copied())),
    }
}
