//! The life of a cable that this node keeps: dial, serve, wait, for ever.

use std::net::SocketAddr;
use std::rc::Rc;

use super::entry::{Entry, canonical};
use super::serve::{introduce, serve};
use super::{Admission, Shared};
use crate::address::Target;
use crate::endpoint::Connected;
use crate::failure::{CloseCode, Failure};
use crate::hello::ControlStream;
use crate::link::Peer;
use crate::redial::Redial;

/// Dials until the cable is pulled out.
pub(super) async fn keep_up(shared: Rc<Shared>, entry: Rc<Entry>) {
    let target = entry
        .target()
        .expect("only dialled cables are kept up")
        .clone();
    let mut redial = Redial::new(shared.seed ^ u64::from(entry.id.0));
    loop {
        if shared.is_served_otherwise(&entry) {
            entry.set_standby();
            entry.wake.notified().await;
            redial.reset();
            continue;
        }
        entry.set_connecting();
        let (failure, wait) = match attempt(&shared, &entry, &target).await {
            Ok(ended) => (ended.failure, redial.handle_loss(ended.was_up)),
            Err(failure) => {
                shared.note(&failure);
                tracing::debug!(cable = %entry.id, %target, reason = failure.reason(), "dial failed");
                (failure, redial.handle_failure())
            }
        };
        match failure {
            // Either end may pull a cable out, as with one of copper.
            Failure::Closed(CloseCode::Disconnected) => {
                tracing::info!(cable = %entry.id, %target, "removed: the peer's operator pulled it out");
                if let Err(err) = shared.forget(&entry) {
                    tracing::warn!(%err, "the cable will be dialled again after a restart");
                }
                return;
            }
            Failure::Local(CloseCode::Disconnected) => return,
            failure => entry.set_retrying(failure, wait),
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = entry.wake.notified() => redial.reset(),
        }
    }
}

async fn attempt(
    shared: &Shared,
    entry: &Rc<Entry>,
    target: &Target,
) -> Result<super::serve::Ended, Failure> {
    let addresses = target
        .resolve()
        .await
        .map_err(|err| Failure::Unresolved(err.to_string()))?;
    let (connected, control, peer) = dial_any(shared, &addresses).await?;
    match shared.admit(connected.key, true) {
        Admission::Serves { replaced } => {
            Ok(serve(shared, entry, replaced, connected.connection, control, peer).await)
        }
        Admission::Closed(code) => {
            entry.remember_peer(connected.key, &peer.name);
            connected.connection.close(code.to_varint(), b"");
            Err(Failure::Local(code))
        }
    }
}

/// Tries the addresses in turn. When all fail, the first failure that says more than silence is the
/// one to show.
async fn dial_any(
    shared: &Shared,
    addresses: &[SocketAddr],
) -> Result<(Connected, ControlStream, Peer), Failure> {
    let mut shown = None;
    for &remote in addresses {
        let dialled = async {
            let connected = shared.endpoint.dial(canonical(remote)).await?;
            let (control, peer) = introduce(shared, &connected, true).await?;
            Ok((connected, control, peer))
        };
        match dialled.await {
            Ok(dialled) => return Ok(dialled),
            Err(failure) => {
                let silence = matches!(failure, Failure::NoAnswer(_) | Failure::Unreachable(..));
                if shown.is_none() || !silence {
                    shown = Some(failure);
                }
            }
        }
    }
    Err(shown.unwrap_or_else(|| Failure::Unresolved("the name has no address".into())))
}

impl Shared {
    /// Whether the peer that this cable last led to is served by another cable now.
    fn is_served_otherwise(&self, entry: &Rc<Entry>) -> bool {
        let serving = self.serving.borrow();
        let current = entry.peer_key().and_then(|key| serving.get(&key));
        current.is_some_and(|current| !Rc::ptr_eq(current, entry))
    }
}
