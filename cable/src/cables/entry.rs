//! One cable's record: what it is doing and why.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use control::status::{CableState, CableStatus};
use tokio::sync::Notify;

use super::admission::DialledByPeer;
use super::{CableId, Keep};
use crate::address::Target;
pub(super) use crate::clock::now;
use crate::congestion;
use crate::failure::{self, CloseCode, Failure};
use crate::identity::PublicKey;
use crate::link::Link;
use crate::trust::Trust;

/// What a cable is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// A handshake is under way.
    Connecting,
    /// Frames flow since then.
    Up(Instant),
    /// The next attempt is due then.
    Retrying(Instant),
    /// The peer must dial again.
    AwaitingPeer,
    /// Another cable serves the same peer.
    Standby,
}

/// One cable.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: CableId,
    target: Option<Target>,
    keep: Keep,
    state: Cell<State>,
    failure: RefCell<Option<Failure>>,
    /// Key of the peer to which this last led, and its own name once it came up.
    peer: RefCell<Option<(PublicKey, Option<String>)>>,
    remote: Cell<Option<SocketAddr>>,
    /// How the peer identifies it, when the peer dials it.
    dialled_by_peer: Cell<Option<DialledByPeer>>,
    link: RefCell<Option<Rc<Link>>>,
    /// Why this end closed the link, for the task that notices that it is closed.
    closed: RefCell<Option<Failure>>,
    pub(super) port: Cell<Option<u32>>,
    times_up: Cell<u64>,
    /// Set for ever when an operator here pulls the cable out.
    pulled: Cell<bool>,
    /// Told when that happens.
    pull: Notify,
    /// Told when an attempt has a fair chance again, or is not wanted any more.
    pub(super) wake: Notify,
}

impl Entry {
    /// A cable that this node dials.
    pub(super) fn dialled(id: CableId, target: Target, keep: Keep) -> Self {
        Self { keep, ..Self::new(id, Some(target), State::Connecting) }
    }

    /// A cable that a peer opened.
    pub(super) fn opened_by_peer(id: CableId) -> Self {
        Self::new(id, None, State::AwaitingPeer)
    }

    /// How the peer identifies it, when the peer dials it.
    pub(super) fn dialled_by_peer(&self) -> Option<DialledByPeer> {
        self.dialled_by_peer.get()
    }

    pub(super) fn set_dialled_by_peer(&self, as_known: DialledByPeer) {
        self.dialled_by_peer.set(Some(as_known));
    }

    /// Whether frames flow to the holder of that key.
    pub(super) fn serves(&self, key: PublicKey) -> bool {
        self.link.borrow().as_ref().is_some_and(|link| link.peer().key == key)
    }

    /// Whether its packets go to that address now.
    pub(super) fn leads_to(&self, address: SocketAddr) -> bool {
        self.link
            .borrow()
            .as_ref()
            .is_some_and(|link| canonical(link.connection().remote_address()) == canonical(address))
    }

    /// The host to which this last led.
    pub(super) fn remote_host(&self) -> Option<IpAddr> {
        self.remote.get().map(|remote| remote.ip())
    }

    fn new(id: CableId, target: Option<Target>, state: State) -> Self {
        Self {
            id,
            target,
            keep: Keep::Once,
            state: Cell::new(state),
            failure: RefCell::default(),
            peer: RefCell::default(),
            remote: Cell::default(),
            dialled_by_peer: Cell::default(),
            link: RefCell::default(),
            closed: RefCell::default(),
            port: Cell::default(),
            times_up: Cell::default(),
            pulled: Cell::default(),
            pull: Notify::new(),
            wake: Notify::new(),
        }
    }

    pub(super) fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// For how long it is wanted.
    pub(super) fn keep(&self) -> Keep {
        self.keep
    }

    /// The link that serves.
    pub(super) fn link(&self) -> Option<Rc<Link>> {
        self.link.borrow().clone()
    }

    pub(super) fn state(&self) -> State {
        self.state.get()
    }

    pub(super) fn peer_key(&self) -> Option<PublicKey> {
        self.peer.borrow().as_ref().map(|(key, _)| *key)
    }

    /// Whether the peer goes by that name or key.
    pub(super) fn is_with(&self, which: &str, trust: &Trust) -> bool {
        self.peer.borrow().as_ref().is_some_and(|(key, name)| {
            name.as_deref() == Some(which)
                || which == key.to_string()
                || trust.name_of(*key).is_some_and(|given| given == which)
        })
    }

    /// Whether an operator here has pulled the cable out.
    pub(super) fn is_pulled(&self) -> bool {
        self.pulled.get()
    }

    /// Completes when an operator here pulls the cable out.
    pub(super) async fn pulled(&self) {
        while !self.pulled.get() {
            self.pull.notified().await;
        }
    }

    /// Whether another cable is awaited to end.
    pub(super) fn is_standing_by(&self) -> bool {
        self.state.get() == State::Standby
    }

    pub(super) fn set_connecting(&self) {
        self.state.set(State::Connecting);
    }

    /// An operator wants it now: what it last failed of is not to be taken for news.
    pub(super) fn begin_anew(&self) {
        if matches!(self.state.get(), State::Retrying(_)) {
            self.set_connecting();
            *self.failure.borrow_mut() = None;
        }
        self.wake.notify_one();
    }

    pub(super) fn set_standby(&self) {
        self.state.set(State::Standby);
        *self.failure.borrow_mut() = Some(Failure::Local(CloseCode::Duplicate));
    }

    pub(super) fn set_retrying(&self, failure: Failure, wait: Duration) {
        self.state.set(State::Retrying(now() + wait));
        *self.failure.borrow_mut() = Some(failure);
    }

    pub(super) fn set_awaiting_peer(&self, failure: Failure) {
        self.state.set(State::AwaitingPeer);
        *self.failure.borrow_mut() = Some(failure);
    }

    pub(super) fn set_up(&self, link: Rc<Link>) {
        self.state.set(State::Up(now()));
        *self.failure.borrow_mut() = None;
        *self.peer.borrow_mut() = Some((link.peer().key, Some(link.peer().name.clone())));
        self.remote.set(Some(canonical(link.connection().remote_address())));
        self.times_up.set(self.times_up.get() + 1);
        *self.closed.borrow_mut() = None;
        *self.link.borrow_mut() = Some(link);
    }

    /// Whom the target leads to, though the connection went no further.
    pub(super) fn remember_peer(&self, key: PublicKey, remote: SocketAddr) {
        self.remote.set(Some(remote));
        let mut peer = self.peer.borrow_mut();
        if peer.as_ref().is_none_or(|(known, _)| *known != key) {
            *peer = Some((key, None));
        }
    }

    /// Whether this very link is the one in use.
    pub(super) fn has(&self, link: &Rc<Link>) -> bool {
        self.link.borrow().as_ref().is_some_and(|current| Rc::ptr_eq(current, link))
    }

    /// The link has ended; gives why this end closed it, if it did.
    pub(super) fn take_down(&self) -> Option<Failure> {
        self.link.borrow_mut().take();
        self.port.set(None);
        self.closed.take()
    }

    /// Closes the link, if there is one, and remembers why. A cable that is pulled out also stops
    /// dialling, whatever it is at.
    pub(super) fn close(&self, code: CloseCode) {
        self.close_saying(code, "");
    }

    /// [`close`](Self::close), with words for both ends.
    pub(super) fn close_saying(&self, code: CloseCode, words: &str) {
        if let Some(link) = &*self.link.borrow() {
            *self.closed.borrow_mut() = Some(Failure::local(code, words));
            failure::close(link.connection(), code, words);
        }
        if code == CloseCode::Disconnected {
            self.pulled.set(true);
            self.pull.notify_one();
            self.wake.notify_one();
        }
    }

    pub(super) fn status(&self, trust: &Trust, own: PublicKey) -> CableStatus {
        let failure = self.failure.borrow();
        let link = self.link.borrow();
        let connection = link.as_ref().map(|link| link.connection());
        let state = self.state.get();
        // The path may have changed since the cable came up.
        let remote = connection.map(|c| c.remote_address()).or_else(|| self.remote.get());
        let remote_text = remote.map(|remote| canonical(remote).to_string());
        let peer = self.peer.borrow();
        CableStatus {
            id: self.id.to_string(),
            state: match state {
                State::Connecting => CableState::Connecting,
                State::Up(_) => CableState::Up,
                State::Retrying(_) => CableState::Retrying,
                State::AwaitingPeer => CableState::AwaitingPeer,
                State::Standby => CableState::Standby,
            },
            reason: failure.as_ref().map(Failure::reason),
            fix: failure.as_ref().and_then(|failure| failure.fix(own)),
            refused: failure.as_ref().is_some_and(Failure::is_refusal),
            retry_in_seconds: match state {
                State::Retrying(due) => Some(due.saturating_duration_since(now()).as_secs_f64()),
                _ => None,
            },
            dialled_here: self.target.is_some(),
            address: match &self.target {
                Some(target) => target.to_string(),
                None => remote_text.clone().unwrap_or_default(),
            },
            remote: remote_text,
            peer: peer
                .as_ref()
                .and_then(|(key, name)| trust.name_of(*key).or_else(|| name.clone())),
            key: peer.as_ref().map(|(key, _)| key.to_string()),
            up_seconds: match state {
                State::Up(since) => Some(now().saturating_duration_since(since).as_secs_f64()),
                _ => None,
            },
            rtt_ms: connection.map(|c| c.rtt().as_secs_f64() * 1e3),
            loss: link.as_ref().map(|link| link.loss()),
            rx_lost_datagrams: link.as_ref().map(|link| link.counters().lost_datagrams()),
            rx_broken_frames: link.as_ref().map(|link| link.counters().broken_records),
            path_mtu: connection.map(|c| c.stats().path.current_mtu),
            profile: connection.map(|c| congestion::profile_of(c.window()).to_owned()),
            port: self.port.get().filter(|_| link.is_some()),
            times_up: self.times_up.get(),
        }
    }
}

/// An address as people write it: IPv4 without its IPv6 wrapping.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
