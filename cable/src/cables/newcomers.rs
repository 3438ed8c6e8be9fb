//! Newcomers who ask to be let in. Where this node is the stranger: [`join`](super::join).
//!
//! A stranger has proved its key in TLS and nothing else. It has one of a few places, a few seconds,
//! and one message; what it is told before it has proved an invitation is why not.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh::message::{JoinRefusal, Message, Unwelcome, encode};
use tokio::sync::Semaphore;

use super::entry::{canonical, now};
use super::{Cables, Shared};
use crate::endpoint::Connected;
use crate::failure::{self, CloseCode};
use crate::hello::{ControlError, Messages};
use crate::identity::PublicKey;
use crate::trust::Honoured;
use crate::trust::enrolment::SESSION_LABEL;

/// Newcomers served at once, and those that may wait for a place. More are turned away: they are an
/// attack, or will come again.
const PLACES: usize = 4;
const WAITING: usize = 64;

/// For how long a stranger is borne with, from its handshake to its goodbye.
const DEADLINE: Duration = Duration::from_secs(5);

/// Wrong proofs from one source in a minute. The secret has 128 bits, so this is for the logs'
/// sake and the processor's.
const TRIES: u32 = 5;
const TRIES_IN: Duration = Duration::from_secs(60);

/// Sources whose tries are counted. Full: the one that began first is forgotten.
const SOURCES: usize = 256;

/// Attempts that an operator can look at afterwards.
const NOTES: usize = 16;

/// A stranger was let in, or not.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// When.
    pub at: Instant,
    /// Where it came from.
    pub remote: SocketAddr,
    /// The key that it proved.
    pub key: PublicKey,
    /// What it is called as a member, or why it is none.
    pub outcome: Result<String, JoinRefusal>,
}

/// What is kept of strangers.
#[derive(Debug)]
pub(super) struct Newcomers {
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Wrong proofs of each source, and since when they are counted.
    tries: BTreeMap<IpAddr, (u32, Instant)>,
    notes: VecDeque<Attempt>,
}

impl Default for Newcomers {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(PLACES)),
            waiting: Arc::new(Semaphore::new(PLACES + WAITING)),
            tries: BTreeMap::new(),
            notes: VecDeque::new(),
        }
    }
}

/// One customer of a provider: an IPv4 address, an IPv6 /64.
fn source_of(remote: IpAddr) -> IpAddr {
    match remote.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// How often sources were wrong. Pure.
fn may_try(tries: &BTreeMap<IpAddr, (u32, Instant)>, source: IpAddr, now: Instant) -> bool {
    tries.get(&source).is_none_or(|(count, since)| {
        *count < TRIES || now.saturating_duration_since(*since) >= TRIES_IN
    })
}

fn count_wrong(tries: &mut BTreeMap<IpAddr, (u32, Instant)>, source: IpAddr, now: Instant) {
    if !tries.contains_key(&source)
        && tries.len() >= SOURCES
        && let Some(oldest) = tries.iter().min_by_key(|(_, (_, since))| *since).map(|(s, _)| *s)
    {
        tries.remove(&oldest);
    }
    let entry = tries.entry(source).or_insert((0, now));
    if now.saturating_duration_since(entry.1) >= TRIES_IN {
        *entry = (0, now);
    }
    entry.0 += 1;
}

/// Serves a stranger to its end.
pub(super) async fn receive(shared: &Rc<Shared>, connected: &Connected) {
    let connection = &connected.connection;
    let serve = async {
        let strangers = &shared.newcomers;
        let (waiting, places) = {
            let strangers = strangers.borrow();
            (strangers.waiting.clone(), strangers.places.clone())
        };
        let Ok(_waiting) = waiting.try_acquire_owned() else {
            failure::close(connection, CloseCode::Protocol, "too many ask to be let in");
            return Ok(());
        };
        let Ok(place) = places.acquire_owned().await else { return Ok(()) };
        let (mut send, recv) = connection.accept_bi().await?;
        let Message::Join(join) = Messages::new(recv).next().await? else {
            return Err(ControlError::Misplaced);
        };
        let answer = shared.judge(connected, &join);
        let messages = match answer {
            Ok(Honoured { welcome, roster }) => {
                let mut messages = vec![Message::Welcome(welcome)];
                messages.extend(roster);
                messages
            }
            Err(refusal) => vec![Message::Unwelcome(Unwelcome { reason: refusal.to_wire() })],
        };
        drop(place);
        for message in &messages {
            send.write_all(&encode(message)).await?;
        }
        let _ = send.finish();
        // The stranger says when it has heard.
        connection.closed().await;
        Ok(())
    };
    tokio::select! {
        result = tokio::time::timeout(DEADLINE, connection.run(serve)) => match result {
            Ok(Some(Ok(())) | None) => {}
            Ok(Some(Err(err))) => failure::close(connection, CloseCode::Protocol, &err.to_string()),
            Err(_elapsed) => failure::close(connection, CloseCode::Protocol, "too slow"),
        },
        // Newcomers have no use for datagrams; they are not to fill a queue with them.
        Ok(_) = connection.read_datagram() => {
            failure::close(connection, CloseCode::Protocol, "a datagram from a stranger");
        }
    }
}

impl Shared {
    fn judge(
        self: &Rc<Self>,
        connected: &Connected,
        join: &mesh::message::Join,
    ) -> Result<Honoured, JoinRefusal> {
        let remote = canonical(connected.connection.remote_address());
        let source = source_of(remote.ip());
        if !may_try(&self.newcomers.borrow().tries, source, now()) {
            return Err(JoinRefusal::Busy);
        }
        let honoured = match connected.connection.export(SESSION_LABEL) {
            Some(session) => self.trust.honour(join, &session, connected.key),
            None => Err(JoinRefusal::Busy),
        };
        let mut strangers = self.newcomers.borrow_mut();
        if honoured.as_ref().is_err_and(|refusal| *refusal == JoinRefusal::Unknown) {
            count_wrong(&mut strangers.tries, source, now());
        }
        let outcome = match &honoured {
            Ok(honoured) => Ok(honoured.welcome.name.as_str().to_owned()),
            Err(refusal) => Err(*refusal),
        };
        match &outcome {
            Ok(name) => tracing::info!(%remote, key = %connected.key, name, "a new member"),
            Err(refusal) => tracing::debug!(%remote, ?refusal, "a stranger was not let in"),
        }
        strangers.notes.truncate(NOTES - 1);
        strangers.notes.push_front(Attempt { at: now(), remote, key: connected.key, outcome });
        drop(strangers);
        if honoured.is_ok() {
            self.roster_changed();
        }
        honoured
    }
}

impl Cables {
    /// The latest strangers, newest first.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.shared.newcomers.borrow().notes.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_was_wrong_five_times_waits_a_minute() {
        let (mut tries, start) = (BTreeMap::new(), now());
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|ip| source_of(ip.parse().unwrap()));
        for _ in 0..TRIES {
            assert!(may_try(&tries, one, start));
            count_wrong(&mut tries, one, start);
        }
        assert!(!may_try(&tries, one, start + TRIES_IN / 2));
        assert!(may_try(&tries, other, start));
        assert!(may_try(&tries, one, start + TRIES_IN));
        count_wrong(&mut tries, one, start + TRIES_IN);
        assert!(may_try(&tries, one, start + TRIES_IN), "it is counted anew");
        for host in 0..1000_u32 {
            count_wrong(&mut tries, std::net::Ipv4Addr::from_bits(host).into(), start);
        }
        assert_eq!(tries.len(), SOURCES);
        let same = |ip: &str| source_of(ip.parse().unwrap());
        assert_eq!(same("2001:db8::1"), same("2001:db8::ffff"));
        assert_eq!(same("::ffff:192.0.2.1"), one);
    }
}
