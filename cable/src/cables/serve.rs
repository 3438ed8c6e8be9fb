//! From a proved connection to a link that the data plane uses, and its end; and the cables that
//! peers open.

use std::rc::Rc;
use std::time::Duration;

use quinn::Connection;

use super::entry::{Entry, State, canonical, now};
use super::{Admission, CableEvent, Shared};
use crate::endpoint::{Connected, Knock};
use crate::failure::{CloseCode, Failure, Phase};
use crate::hello::{self, ControlStream};
use crate::identity::PublicKey;
use crate::link::{Link, Peer};
use crate::trust::Refuser;

/// How often a link's loss is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// How a served link ended.
pub(super) struct Ended {
    pub(super) failure: Failure,
    pub(super) was_up: Duration,
}

/// Takes in whoever knocks, for ever.
pub(super) async fn accept_all(shared: Rc<Shared>) {
    while let Some(knock) = shared.endpoint.accept().await {
        tokio::task::spawn_local(answer(shared.clone(), knock));
    }
}

async fn answer(shared: Rc<Shared>, knock: Knock) {
    let connected = match shared.endpoint.answer(knock).await {
        Ok(Some(connected)) => connected,
        Ok(None) => return,
        Err((remote, failure)) => {
            shared.note(&failure);
            tracing::debug!(%remote, reason = failure.reason(), "handshake failed");
            return;
        }
    };
    let remote = connected.connection.remote_address();
    let key = connected.key;
    let (control, peer) = match introduce(&shared, &connected, false).await {
        Ok(introduced) => introduced,
        Err(failure) => {
            shared.note(&failure);
            tracing::debug!(%remote, reason = failure.reason(), "introduction failed");
            return;
        }
    };
    let replaced = match shared.admit(key, false) {
        Admission::Serves { replaced } => replaced,
        Admission::Closed(code) => {
            connected.connection.close(code.to_varint(), b"");
            return;
        }
    };
    let entry = shared.entry_of_peer(key);
    let ended = serve(
        &shared,
        &entry,
        replaced,
        connected.connection,
        control,
        peer,
    )
    .await;
    if !matches!(ended.failure, Failure::Local(CloseCode::Replaced)) {
        entry.set_awaiting_peer(ended.failure);
    }
    shared.bound_remembered();
}

/// Exchanges Hello within the time of a handshake.
pub(super) async fn introduce(
    shared: &Shared,
    connected: &Connected,
    opened_here: bool,
) -> Result<(ControlStream, Peer), Failure> {
    let Connected { connection, key } = connected;
    let remote = canonical(connection.remote_address());
    let exchange = hello::exchange(connection, *key, &shared.introduction, opened_here);
    match tokio::time::timeout(crate::transport::HANDSHAKE_TIMEOUT, exchange).await {
        Err(_elapsed) => Err(Failure::NoAnswer(remote)),
        Ok(result) => result.map_err(|err| {
            if let Some(code) = err.close_code() {
                connection.close(code.to_varint(), err.to_string().as_bytes());
                return match code {
                    CloseCode::Version => Failure::Version(remote),
                    code => Failure::Local(code),
                };
            }
            // A peer that does not trust us says so only after our side of the handshake is done.
            match connection.close_reason() {
                Some(reason) => Failure::of(&reason, Phase::Handshake, remote, None),
                None => Failure::Other(err.to_string()),
            }
        }),
    }
}

/// Runs a link until it ends.
pub(super) async fn serve(
    shared: &Shared,
    entry: &Rc<Entry>,
    replaced: Option<Rc<Entry>>,
    connection: Connection,
    control: ControlStream,
    peer: Peer,
) -> Ended {
    let (key, name) = (peer.key, peer.name.clone());
    let remote = canonical(connection.remote_address());
    let link = Rc::new(Link::new(connection.clone(), peer));
    if let Some(replaced) = replaced {
        replaced.close(CloseCode::Replaced);
        // The same entry may serve again: its old link must be gone from the data plane first.
        let _ = shared
            .events
            .send(CableEvent::Down { cable: replaced.id })
            .await;
    }
    shared.serving.borrow_mut().insert(key, entry.clone());
    shared.trust.forget_refusals_by(remote);
    entry.set_up(link.clone());
    let since = now();
    tracing::info!(cable = %entry.id, peer = name, %remote, "cable up");
    let _ = shared
        .events
        .send(CableEvent::Up {
            cable: entry.id,
            link: link.clone(),
        })
        .await;

    let failure = tokio::select! {
        err = connection.closed() => Failure::of(&err, Phase::Established, remote, None),
        failure = until_end(&connection, control) => failure,
        () = link.drain() => Failure::of(&connection.closed().await, Phase::Established, remote, None),
        never = watch(&link) => match never {},
    };

    let replaced = !shared
        .serving
        .borrow()
        .get(&key)
        .is_some_and(|current| current.has(&link));
    let closed = if entry.has(&link) {
        entry.take_down()
    } else {
        None
    };
    let failure = if replaced {
        Failure::Local(CloseCode::Replaced)
    } else {
        shared.serving.borrow_mut().remove(&key);
        let _ = shared
            .events
            .send(CableEvent::Down { cable: entry.id })
            .await;
        shared.wake_standby();
        closed.map_or(failure, Failure::Local)
    };
    tracing::info!(cable = %entry.id, peer = name, reason = failure.reason(), "cable down");
    Ended {
        failure,
        was_up: now().saturating_duration_since(since),
    }
}

/// Listens on the control stream. When it breaks because the connection is ending, the connection
/// tells why.
async fn until_end(connection: &Connection, mut control: ControlStream) -> Failure {
    let err = control.until_end().await;
    if let Some(code) = err.close_code() {
        connection.close(code.to_varint(), err.to_string().as_bytes());
        return Failure::Local(code);
    }
    let remote = canonical(connection.remote_address());
    Failure::of(&connection.closed().await, Phase::Established, remote, None)
}

impl Shared {
    /// Remembers a failure that is for want of trust.
    pub(super) fn note(&self, failure: &Failure) {
        match *failure {
            Failure::PeerUntrusted(remote, key) => {
                self.trust
                    .record_refusal(key, Refuser::Us, canonical(remote), now());
            }
            Failure::Refused(remote) => {
                self.trust
                    .record_refusal(self.own, Refuser::Peer, canonical(remote), now());
            }
            _ => {}
        }
    }

    /// The record of the cables that a peer opens.
    fn entry_of_peer(&self, key: PublicKey) -> Rc<Entry> {
        let known = self.find(|entry| entry.target().is_none() && entry.peer_key() == Some(key));
        known.unwrap_or_else(|| {
            let entry = Rc::new(Entry::opened_by_peer(self.new_id()));
            self.entries.borrow_mut().insert(entry.id, entry.clone());
            entry
        })
    }

    /// A cable that served is gone: those that stood by for it dial again.
    fn wake_standby(&self) {
        for entry in self
            .entries
            .borrow()
            .values()
            .filter(|entry| entry.state() == State::Standby)
        {
            entry.wake.notify_one();
        }
    }
}

/// Looks after a link; never completes.
async fn watch(link: &Link) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(INTERVAL).await;
        link.handle_interval();
    }
}
