//! From a proved connection to a link that the data plane uses, and its end; and the cables that
//! peers open.
//!
//! What is on record of a cable and what the data plane is told change together, without waiting in
//! between: room for the events is reserved before. So the data plane hears of the ups and downs of
//! all cables in the order in which they came about.

use std::rc::Rc;
use std::time::{Duration, Instant};

use mesh::message::{Message, Redial};

use super::admission::{Candidate, DialledByPeer, PARALLEL};
use super::entry::{Entry, canonical, now};
use super::gossip::{self, COMPARE_EVERY, Told};
use super::{CableEvent, CableId, Shared, newcomers};
use crate::connection::Connection;
use crate::endpoint::{Connected, Knock};
use crate::failure::{self, CloseCode, Failure, Phase};
use crate::hello::{self, ControlError, ControlStream, Messages};
use crate::identity::PublicKey;
use crate::link::{Link, Peer};
use crate::tls::Purpose;
use crate::trust::Refuser;

/// How often a link's loss is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// How a served link ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) failure: Failure,
    pub(super) was_up: Duration,
}

/// A connection that serves its peer now.
struct Begun {
    entry: Rc<Entry>,
    link: Rc<Link>,
    since: Instant,
    /// The cables whose place it has taken.
    replaced: Vec<CableId>,
}

/// Takes in whoever knocks, and keeps the roster, for ever.
pub(super) async fn accept_all(shared: Rc<Shared>) {
    let take_in = async {
        while let Some(knock) = shared.endpoint.accept().await {
            tokio::task::spawn_local(answer(shared.clone(), knock));
        }
        if shared.endpoint.local_addr().is_none() {
            // It only dials, and has a roster to keep all the same.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = take_in => {}
        never = gossip::keep(&shared.trust) => match never {},
    }
}

async fn answer(shared: Rc<Shared>, knock: Knock) {
    let connected = match shared.endpoint.answer(knock).await {
        Ok(connected) => connected,
        Err((remote, failure)) => {
            shared.note(&failure);
            tracing::debug!(%remote, reason = failure.reason(), "handshake failed");
            return;
        }
    };
    if connected.purpose == Purpose::Join {
        return newcomers::receive(&shared, &connected).await;
    }
    let remote = canonical(connected.connection.remote_address());
    let (control, peer) = match introduce(&shared, &connected, None).await {
        Ok(introduced) => introduced,
        Err(failure) => {
            shared.note(&failure);
            tracing::debug!(%remote, reason = failure.reason(), "introduction failed");
            return;
        }
    };
    if let Err(failure) = serve(&shared, None, connected, control, peer).await {
        tracing::debug!(%remote, reason = failure.reason(), "cable not taken");
    }
    shared.bound_remembered();
}

/// How long two nodes may take to compare a roster of the greatest length.
const AGREE_TIMEOUT: Duration = Duration::from_secs(10);

/// Exchanges Hello within the time of a handshake, and then what each knows of the mesh's members.
pub(super) async fn introduce(
    shared: &Shared,
    connected: &Connected,
    dialled: Option<CableId>,
) -> Result<(ControlStream, Peer), Failure> {
    let Connected { connection, key, .. } = connected;
    let remote = canonical(connection.remote_address());
    let number = dialled.map(|id| id.0);
    let has_roster = shared.trust.mesh_id().is_some();
    let exchange = async {
        let hello = hello::exchange(connection, *key, &shared.introduction, number, has_roster);
        let in_time = tokio::time::timeout(crate::transport::HANDSHAKE_TIMEOUT, hello);
        let Ok(introduced) = in_time.await else { return Err(None::<ControlError>) };
        let (mut control, peer) = introduced.map_err(Some)?;
        if peer.has_roster {
            let agree = gossip::agree(shared, *key, &mut control);
            let Ok(agreed) = tokio::time::timeout(AGREE_TIMEOUT, agree).await else {
                return Err(None);
            };
            agreed.map_err(Some)?;
        }
        Ok((control, peer))
    };
    match connection.run(exchange).await.unwrap_or(Err(None)) {
        Err(None) if connection.soundness().is_broken() => Err(Failure::Fault),
        Err(None) => {
            failure::close(connection, CloseCode::Stalled, "no introduction in time");
            Err(Failure::NoAnswer(remote))
        }
        Ok(introduced) => Ok(introduced),
        Err(Some(err)) => Err({
            if let Some(code) = err.close_code() {
                failure::close(connection, code, &err.to_string());
                match code {
                    CloseCode::Version => Failure::Version(remote),
                    code => Failure::local(code, &err.to_string()),
                }
            } else {
                // A peer that does not trust us says so only after our side of the handshake is done.
                match connection.close_reason() {
                    Some(reason) => Failure::of(&reason, Phase::Handshake, remote, None),
                    None => Failure::Other(err.to_string()),
                }
            }
        }),
    }
}

/// Runs a connection until it ends, as the cable that dialled it or as that of the peer.
///
/// # Errors
/// Why it may not serve; it is closed then.
pub(super) async fn serve(
    shared: &Shared,
    dialled: Option<&Rc<Entry>>,
    connected: Connected,
    control: ControlStream,
    peer: Peer,
) -> Result<Ended, Failure> {
    let connection = connected.connection;
    let remote = canonical(connection.remote_address());
    let name = peer.name.clone();

    // Without a data plane there is nobody left to tell.
    let mut room = shared.events.reserve_many(1 + PARALLEL).await.ok();
    let begun = shared.begin(dialled, connection.clone(), peer);
    let Begun { entry, link, since, replaced } =
        begun.inspect_err(|code| failure::close(&connection, *code, "")).map_err(Failure::Local)?;
    let mut tell = |event| {
        if let Some(room) = room.as_mut().and_then(Iterator::next) {
            room.send(event);
        }
    };
    for cable in replaced {
        tell(CableEvent::Down { cable, failure: Failure::Local(CloseCode::Replaced) });
    }
    tell(CableEvent::Up { cable: entry.id, link: link.clone() });
    drop(room);
    tracing::info!(cable = %entry.id, peer = name, %remote, "cable up");
    // What came between the comparison and now was not told to this one.
    shared.compare_rosters(&link);
    if let Some(target) = dialled.and_then(|entry| entry.target()) {
        let address = match target.member_key() {
            Some(_) => remote.into(),
            None => target.clone(),
        };
        shared.contacts.prove(link.peer().key, &address);
    }

    let session = async {
        tokio::select! {
        err = connection.closed() => Failure::of(&err, Phase::Established, remote, None),
        failure = listen(shared, &connection, (entry.id, &link), control.messages) => failure,
        never = link.deliver(control.send, || shared.tell(CableEvent::Room { cable: entry.id })) => {
            match never {}
        }
        () = link.drain() => Failure::of(&connection.closed().await, Phase::Established, remote, None),
        never = watch(shared, &entry, &link) => match never {},
        }
    };
    let failure = connection.run(session).await.unwrap_or(Failure::Fault);
    let failure = link.given_up().map_or(failure, Failure::Local);

    let room = shared.events.reserve().await.ok();
    let (failure, served) = shared.end(&entry, &link, failure);
    if served && let Some(room) = room {
        room.send(CableEvent::Down { cable: entry.id, failure: failure.clone() });
    }
    tracing::info!(cable = %entry.id, peer = name, reason = failure.reason(), "cable down");
    Ok(Ended { failure, was_up: now().saturating_duration_since(since) })
}

/// Passes on what comes on the control stream. When that breaks because the connection is ending,
/// the connection tells why.
async fn listen(
    shared: &Shared,
    connection: &Connection,
    (cable, link): (CableId, &Rc<Link>),
    mut messages: Messages,
) -> Failure {
    let mut told = Told::default();
    let err = loop {
        match messages.next().await {
            Ok(Message::Hello(_)) => break ControlError::SecondHello,
            Ok(Message::Join(_) | Message::Welcome(_) | Message::Unwelcome(_)) => {
                break ControlError::Misplaced;
            }
            Ok(Message::RosterDigest(theirs)) => told.handle_digest(shared, link, &theirs),
            Ok(Message::Roster(entries)) => {
                match shared.take_roster(link.peer().key, entries, Some(link)) {
                    Ok(wait) => tokio::time::sleep(wait).await,
                    Err(forged) => break forged.into(),
                }
            }
            // A data plane that has much to do makes the peer wait.
            Ok(message) => shared.tell(CableEvent::Message { cable, message }).await,
            Err(err) => break err,
        }
    };
    if let Some(code) = err.close_code() {
        failure::close(connection, code, &err.to_string());
        return Failure::local(code, &err.to_string());
    }
    let remote = canonical(connection.remote_address());
    Failure::of(&connection.closed().await, Phase::Established, remote, None)
}

impl Shared {
    /// Puts a connection on record as the one that serves its peer, if it may.
    fn begin(
        &self,
        dialled: Option<&Rc<Entry>>,
        connection: Connection,
        peer: Peer,
    ) -> Result<Begun, CloseCode> {
        let key = peer.key;
        if dialled.is_some_and(|entry| entry.is_pulled()) {
            return Err(CloseCode::Disconnected);
        }
        let remote = canonical(connection.remote_address()).ip();
        let by_peer = DialledByPeer { nick: peer.nick, number: peer.cable };
        let dialled_by_peer = dialled.is_none().then_some(by_peer);
        let replaced = self.admit(&Candidate { key, remote, dialled_by_peer })?;
        let entry = dialled.cloned().unwrap_or_else(|| self.entry_of_peer(key, by_peer));
        for old in &replaced {
            old.close(CloseCode::Replaced);
            old.take_down();
            if old.target().is_none() && !Rc::ptr_eq(old, &entry) {
                // It is the peer's, which stands by with it or has started again without it.
                self.entries.borrow_mut().remove(&old.id);
            }
        }
        self.trust.forget_refusals_by(canonical(connection.remote_address()));
        let link = Rc::new(Link::new(connection, peer, self.queue));
        entry.set_up(link.clone());
        let replaced = replaced.iter().map(|entry| entry.id).collect();
        Ok(Begun { entry, link, since: now(), replaced })
    }

    /// Takes an ended link off the record. Returns why it ended, and whether it still served: one
    /// that was replaced has been reported by what took its place.
    fn end(&self, entry: &Rc<Entry>, link: &Rc<Link>, failure: Failure) -> (Failure, bool) {
        // The connection that took its place may be under the same entry, which is then not to be
        // touched.
        let served = entry.has(link);
        if !served {
            return (Failure::Local(CloseCode::Replaced), false);
        }
        let failure = entry.take_down().unwrap_or(failure);
        self.wake_standby();
        if entry.target().is_none() {
            if failure.redial() == Redial::Always {
                entry.set_awaiting_peer(failure.clone());
            } else {
                // It is the peer's, which stands by with it or has forgotten it.
                self.entries.borrow_mut().remove(&entry.id);
            }
        }
        (failure, true)
    }

    async fn tell(&self, event: CableEvent) {
        // Without a data plane there is nobody left to tell.
        let _ = self.events.send(event).await;
    }

    /// Remembers a failure that is for want of trust.
    pub(super) fn note(&self, failure: &Failure) {
        match *failure {
            Failure::PeerUntrusted(remote, key)
            | Failure::PeerRevoked(remote, key)
            | Failure::PeerExpired(remote, key) => {
                self.trust.record_refusal(key, Refuser::Us, canonical(remote), now());
            }
            Failure::Refused(remote)
            | Failure::RefusedRevoked(remote)
            | Failure::RefusedExpired(remote) => {
                self.trust.record_refusal(self.own, Refuser::Peer, canonical(remote), now());
            }
            _ => {}
        }
    }

    /// The record of a cable that a peer dials.
    fn entry_of_peer(&self, key: PublicKey, by_peer: DialledByPeer) -> Rc<Entry> {
        let same = |old: DialledByPeer| old.number == by_peer.number;
        let known = self.find(|entry| {
            entry.peer_key() == Some(key) && entry.dialled_by_peer().is_some_and(same)
        });
        let entry = known.unwrap_or_else(|| {
            let entry = Rc::new(Entry::opened_by_peer(self.new_id()));
            self.entries.borrow_mut().insert(entry.id, entry.clone());
            entry
        });
        entry.set_dialled_by_peer(by_peer);
        entry
    }
}

/// Looks after a link; never completes.
async fn watch(shared: &Shared, entry: &Entry, link: &Link) -> std::convert::Infallible {
    let mut looks = 0_u32;
    loop {
        tokio::time::sleep(INTERVAL).await;
        link.handle_interval();
        // Memberships end by time, too.
        if entry.serves(link.peer().key) && !shared.trust.contains(link.peer().key) {
            entry.close(CloseCode::Untrusted);
        }
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(COMPARE_EVERY) {
            shared.compare_rosters(link);
        }
    }
}
