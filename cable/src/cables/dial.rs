//! The life of a cable that this node keeps: dial, serve, wait, for ever.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use mesh::message;
use tokio::task::JoinSet;

use super::Shared;
use super::admission::Candidate;
use super::entry::{Entry, canonical};
use super::serve::{Ended, introduce, serve};
use crate::address::Target;
use crate::endpoint::Connected;
use crate::failure::{self, CloseCode, Failure};
use crate::hello::ControlStream;
use crate::link::Peer;
use crate::redial::Redial;

/// A dialled connection whose ends know each other.
struct Dialled {
    connected: Connected,
    control: ControlStream,
    peer: Peer,
}

/// Dials until the cable is pulled out.
pub(super) async fn keep_up(shared: Rc<Shared>, entry: Rc<Entry>, target: Target) {
    let mut redial = Redial::new(shared.seed ^ u64::from(entry.id.0));
    while !entry.is_pulled() {
        if shared.is_served_otherwise(&entry) {
            entry.set_standby();
            entry.wake.notified().await;
            redial.reset();
            continue;
        }
        entry.set_connecting();
        let dialled = tokio::select! {
            dialled = dial(&shared, &entry, &target) => dialled,
            () = entry.pulled() => return,
        };
        let outcome = match dialled {
            Ok(dialled) => {
                let Dialled { connected, control, peer } = dialled;
                serve(&shared, Some(&entry), connected, control, peer).await
            }
            Err(failure) => Err(failure),
        };
        let (failure, was_up) = match outcome {
            Ok(Ended { failure, was_up }) => (failure, Some(was_up)),
            Err(failure) => {
                shared.note(&failure);
                tracing::debug!(cable = %entry.id, %target, reason = failure.reason(), "dial failed");
                (failure, None)
            }
        };
        match failure.redial() {
            message::Redial::Never => {
                // Either end may pull a cable out, as with one of copper.
                if matches!(failure, Failure::Closed(_)) {
                    tracing::info!(cable = %entry.id, %target, "removed: the peer's operator pulled it out");
                    if let Err(err) = shared.forget(&entry) {
                        tracing::warn!(%err, "the cable will be dialled again after a restart");
                    }
                }
                return;
            }
            message::Redial::WhenOtherEnds if shared.is_served_otherwise(&entry) => continue,
            // The other connection may be known at that end only, for now.
            message::Redial::WhenOtherEnds | message::Redial::Always => {}
        }
        let wait = match was_up {
            Some(was_up) => redial.handle_loss(was_up),
            None => redial.handle_failure(),
        };
        entry.set_retrying(failure, wait);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = entry.wake.notified() => redial.reset(),
        }
    }
}

/// Between the dials of two addresses of one target. The better one has a start, and a dead one
/// holds up nobody (RFC 8305 recommends 250 ms).
const STAGGER: Duration = Duration::from_millis(250);

async fn dial(shared: &Rc<Shared>, entry: &Entry, target: &Target) -> Result<Dialled, Failure> {
    let addresses =
        shared.resolve(target).await.map_err(|err| Failure::Unresolved(err.to_string()))?;
    let mut attempts = JoinSet::new();
    for (turn, remote) in (0..).zip(addresses) {
        let (shared, remote) = (shared.clone(), canonical(remote));
        attempts.spawn_local(async move {
            tokio::time::sleep(STAGGER * turn).await;
            (remote, shared.endpoint.dial(remote).await)
        });
    }
    // When all addresses fail, the first failure that says more than silence is the one to show.
    let mut shown = None;
    while let Some(attempt) = attempts.join_next().await {
        let Ok((remote, connected)) = attempt else { continue };
        let dialled = match connected {
            Ok(connected) => greet(shared, entry, target, remote, connected).await,
            Err(failure) => Err(failure),
        };
        match dialled {
            Ok(dialled) => return Ok(dialled),
            Err(failure @ Failure::Local(CloseCode::Duplicate)) => return Err(failure),
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

async fn greet(
    shared: &Shared,
    entry: &Entry,
    target: &Target,
    remote: SocketAddr,
    connected: Connected,
) -> Result<Dialled, Failure> {
    if let Some(wanted) = target.member_key()
        && !shared.trust.is_key_of(connected.key, wanted)
        && connected.key != shared.own
    {
        failure::close(&connected.connection, CloseCode::AnotherMeant, "");
        let name = shared.trust.name_of(connected.key);
        let name = name.unwrap_or_else(|| connected.key.to_string());
        return Err(Failure::AnotherMember(remote, name));
    }
    entry.remember_peer(connected.key, remote);
    let candidate = Candidate { key: connected.key, remote: remote.ip(), dialled_by_peer: None };
    // TLS has asked whether it is trusted; if it is to follow another key, its first words are that it
    // does.
    shared
        .find_place(&candidate)
        .inspect_err(|code| failure::close(&connected.connection, *code, ""))
        .map_err(Failure::Local)?;
    let (control, peer) = introduce(shared, &connected, Some(entry.id)).await?;
    Ok(Dialled { connected, control, peer })
}
