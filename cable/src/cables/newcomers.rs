//! Newcomers who ask to be let in. Where this node is the stranger: [`join`](super::join).
//!
//! A stranger has proved its key in TLS and nothing else. It has one message, and a few seconds for it;
//! what it is told before it has proved an invitation is why not. Whoever is silent waits in nobody's
//! way: a place is had by asking, and who has waited longest gives way.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh::message::{Join, JoinRefusal, Message, Unwelcome, encode};
use quinn::SendStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::entry::{canonical, now};
use super::{Cables, Shared};
use crate::endpoint::Connected;
use crate::failure::{self, CloseCode};
use crate::hello::{ControlError, Messages};
use crate::identity::PublicKey;
use crate::trust::enrolment::SESSION_LABEL;
use crate::trust::{Honoured, Trust};

/// Strangers that have proved nothing, all of them and those of one source. Full: the one that has been
/// there longest gives way, for an honest one says what it has to say within a round trip.
const WAITING: usize = 64;
const WAITING_OF_SOURCE: usize = 4;

/// For how long a stranger is borne with before it has asked, and when it was refused.
const TIME_TO_ASK: Duration = Duration::from_secs(3);
const TIME_TO_LEAVE: Duration = Duration::from_secs(1);

/// The same for one that has proved the secret: a roster of the greatest length may be on its way.
const TIME_TO_READ: Duration = Duration::from_secs(30);

/// Newcomers that are told the roster at once. More are told to come again: whoever has the secret may
/// ask as often as it likes.
const READERS: usize = 8;

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
    /// Those that have proved nothing, by how long they are there.
    waiting: VecDeque<Waiting>,
    readers: Arc<Semaphore>,
    /// Wrong proofs of each source, and since when they are counted.
    tries: BTreeMap<IpAddr, (u32, Instant)>,
    notes: VecDeque<Attempt>,
}

#[derive(Debug)]
struct Waiting {
    source: IpAddr,
    /// Told when it must give way.
    gives_way: Rc<Notify>,
}

impl Default for Newcomers {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            readers: Arc::new(Semaphore::new(READERS)),
            tries: BTreeMap::new(),
            notes: VecDeque::new(),
        }
    }
}

impl Newcomers {
    /// Lets a stranger wait, and has another one give way if there are too many.
    fn begin_waiting(&mut self, source: IpAddr) -> Rc<Notify> {
        let of_source = self.waiting.iter().filter(|other| other.source == source).count();
        let longest = if of_source >= WAITING_OF_SOURCE {
            self.waiting.iter().position(|other| other.source == source)
        } else {
            (self.waiting.len() >= WAITING).then_some(0)
        };
        if let Some(other) = longest.and_then(|at| self.waiting.remove(at)) {
            other.gives_way.notify_one();
        }
        let gives_way = Rc::new(Notify::new());
        self.waiting.push_back(Waiting { source, gives_way: gives_way.clone() });
        gives_way
    }

    fn end_waiting(&mut self, gives_way: &Rc<Notify>) {
        self.waiting.retain(|other| !Rc::ptr_eq(&other.gives_way, gives_way));
    }
}

/// A stranger's place among those that have proved nothing.
struct Place<'a> {
    shared: &'a Shared,
    gives_way: Rc<Notify>,
}

impl<'a> Place<'a> {
    fn take(shared: &'a Shared, source: IpAddr) -> Self {
        let gives_way = shared.newcomers.borrow_mut().begin_waiting(source);
        Self { shared, gives_way }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.newcomers.borrow_mut().end_waiting(&self.gives_way);
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
    let place = Place::take(shared, source_of(connection.remote_address().ip()));
    let ending = tokio::select! {
        ending = serve(shared, connected, &place) => ending,
        // Newcomers have no use for datagrams; they are not to fill a queue with them.
        Ok(_) = connection.read_datagram() => {
            Err((CloseCode::Protocol, "a datagram from a stranger".to_owned()))
        }
    };
    match ending {
        Ok(()) => {}
        Err((code, why)) => failure::close(connection, code, &why),
    }
}

/// Why this end must end it.
type Ending = Result<(), (CloseCode, String)>;

async fn serve(shared: &Rc<Shared>, connected: &Connected, place: &Place<'_>) -> Ending {
    let crowd = || Err((CloseCode::TooMany, String::new()));
    let broken = |why: &str| Err((CloseCode::Protocol, why.to_owned()));
    let connection = &connected.connection;
    let listen = async {
        let (send, recv) = connection.accept_bi().await?;
        match Messages::new(recv).next().await? {
            Message::Join(join) => Ok((send, join)),
            _ => Err(ControlError::Misplaced),
        }
    };
    let asked = tokio::select! {
        // What has come is read, whoever else has come meanwhile.
        biased;
        asked = tokio::time::timeout(TIME_TO_ASK, connection.run(listen)) => asked,
        () = place.gives_way.notified() => return crowd(),
    };
    let (send, join) = match asked {
        Ok(Some(Ok(asked))) => asked,
        Ok(Some(Err(err))) => return broken(&err.to_string()),
        Ok(None) => return Ok(()),
        Err(_elapsed) => return broken("nothing was asked in time"),
    };
    match shared.judge(connected, join).await {
        Ok((honoured, _reader)) => {
            shared.newcomers.borrow_mut().end_waiting(&place.gives_way);
            let Honoured { welcome, roster } = honoured;
            let messages = std::iter::once(Message::Welcome(welcome)).chain(roster);
            tell(connected, send, messages, TIME_TO_READ).await
        }
        Err(refusal) => {
            let reason = refusal.to_wire();
            let answer = std::iter::once(Message::Unwelcome(Unwelcome { reason }));
            tokio::select! {
                ending = tell(connected, send, answer, TIME_TO_LEAVE) => ending,
                () = place.gives_way.notified() => crowd(),
            }
        }
    }
}

/// Answers, and waits until the stranger says that it has heard.
async fn tell(
    connected: &Connected,
    mut send: SendStream,
    messages: impl Iterator<Item = Message>,
    limit: Duration,
) -> Ending {
    let connection = &connected.connection;
    let tell = async {
        for message in messages {
            send.write_all(&encode(&message)).await?;
        }
        let _ = send.finish();
        connection.closed().await;
        Ok::<_, ControlError>(())
    };
    match tokio::time::timeout(limit, connection.run(tell)).await {
        Ok(Some(Err(err))) => Err((CloseCode::Protocol, err.to_string())),
        Ok(_) => Ok(()),
        Err(_elapsed) => Err((CloseCode::Stalled, String::new())),
    }
}

impl Shared {
    /// What is begun is finished, also if the stranger leaves meanwhile.
    async fn judge(
        self: &Rc<Self>,
        connected: &Connected,
        join: Join,
    ) -> Result<(Honoured, OwnedSemaphorePermit), JoinRefusal> {
        let remote = canonical(connected.connection.remote_address());
        let source = source_of(remote.ip());
        let readers = self.newcomers.borrow().readers.clone();
        let reader = readers.try_acquire_owned().map_err(|_| JoinRefusal::Busy)?;
        if !may_try(&self.newcomers.borrow().tries, source, now()) {
            return Err(JoinRefusal::Busy);
        }
        let session = connected.connection.export(SESSION_LABEL).ok_or(JoinRefusal::Busy)?;
        let (shared, key) = (self.clone(), connected.key);
        let judging = tokio::task::spawn_local(async move {
            let honour = move |trust: &Trust| trust.honour(&join, &session, key);
            let honoured = shared.trust.aside(honour).await;
            shared.note_attempt(remote, key, &honoured);
            // Whoever leaves and comes again has the place of the one before until that is done.
            honoured.map(|honoured| (honoured, reader))
        });
        judging.await.unwrap_or(Err(JoinRefusal::Busy))
    }

    /// Somebody was let in, or not.
    fn note_attempt(
        &self,
        remote: SocketAddr,
        key: PublicKey,
        honoured: &Result<Honoured, JoinRefusal>,
    ) {
        let source = source_of(remote.ip());
        let mut strangers = self.newcomers.borrow_mut();
        if honoured.as_ref().is_err_and(|refusal| *refusal == JoinRefusal::Unknown) {
            count_wrong(&mut strangers.tries, source, now());
        }
        let outcome = match honoured {
            Ok(honoured) => Ok(honoured.welcome.name.as_str().to_owned()),
            Err(refusal) => Err(*refusal),
        };
        match &outcome {
            Ok(name) => tracing::info!(%remote, %key, name, "a new member"),
            Err(refusal) => tracing::debug!(%remote, ?refusal, "a stranger was not let in"),
        }
        strangers.notes.truncate(NOTES - 1);
        strangers.notes.push_front(Attempt { at: now(), remote, key, outcome });
        drop(strangers);
        if honoured.is_ok() {
            self.roster_changed();
        }
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

    #[test]
    fn who_is_silent_longest_gives_way_and_of_one_source_four_wait() {
        let mut strangers = Newcomers::default();
        let has_given_way = |who: &Rc<Notify>, all: &Newcomers| {
            all.waiting.iter().all(|other| !Rc::ptr_eq(&other.gives_way, who))
        };
        let source = |host: u32| source_of(std::net::Ipv4Addr::from_bits(host).into());
        let first = strangers.begin_waiting(source(1));
        let crowd: Vec<_> = (0..9).map(|_| strangers.begin_waiting(source(2))).collect();
        assert_eq!(strangers.waiting.len(), 1 + WAITING_OF_SOURCE);
        assert!(has_given_way(&crowd[0], &strangers) && !has_given_way(&first, &strangers));
        strangers.end_waiting(&crowd[8]);
        assert_eq!(strangers.waiting.len(), WAITING_OF_SOURCE);

        for host in 3..1000 {
            strangers.begin_waiting(source(host));
        }
        assert_eq!(strangers.waiting.len(), WAITING);
        assert!(has_given_way(&first, &strangers));
        let newest = strangers.waiting.back().unwrap();
        assert_eq!(newest.source, source(999));
    }
}
