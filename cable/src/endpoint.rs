//! The QUIC endpoint of a node: the socket on which it awaits cables and dials, and the handshake
//! up to the point where both keys are proved. Who gets as far as a handshake is decided in
//! [`crate::door`]; an endpoint in which QUIC's own code has panicked is replaced.

mod doorkeeper;
mod knock;
mod outlet;

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use quinn::EndpointConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::HashedConnectionIdGenerator;
use tokio::sync::{Notify, mpsc};

pub(crate) use doorkeeper::Doorkeeper;
pub use knock::Knock;

use crate::clock::now;
use crate::connection::Connection;
use crate::door::{Counts, Flood, Verdict};
use crate::failure::{self, CloseCode, Failure, Phase};
use crate::identity::{Identity, PublicKey};
use crate::refusals;
use crate::socket::MAX_UDP_PAYLOAD;
use crate::soundness::{Soundness, drop_quietly};
use crate::tls::{Purpose, SERVER_NAME, ShownKey, Tls};
use crate::transport;
use crate::trust::Trust;
use doorkeeper::Taster;
use knock::{Place, shake_hands};
use outlet::Outlet;

/// First packets of strangers that may wait for us to look at them, and the octets that may wait
/// with them, each and in all.
const INCOMING: usize = 256;
const INCOMING_OCTETS: u64 = 16 << 10;
const INCOMING_OCTETS_TOTAL: u64 = 1 << 20;

/// The least time between two replacements of an endpoint: a fault that comes again and again must
/// not take all of the processor.
const REPLACEMENT_PAUSE: Duration = Duration::from_millis(500);

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address cannot be bound.
    #[error("cannot await cables on {address}: {source}{}", hint(source))]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The TLS library refused its configuration.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

fn hint(err: &io::Error) -> &'static str {
    match err.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program (another vdenode?) has that UDP port: choose one with --listen, or --no-listen"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this host has that address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root",
        _ => "",
    }
}

/// A connection whose two keys are proved and, if it is for a cable, trusted.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub connection: Connection,
    /// The peer's key.
    pub key: PublicKey,
    /// What it is for.
    pub purpose: Purpose,
}

/// What became of strangers at the door.
#[derive(Debug, Clone)]
pub struct DoorView {
    /// Since the start.
    pub counts: Counts,
    /// Handshakes of strangers under way.
    pub under_way: usize,
    /// The flood that is on.
    pub flood: Option<Flood>,
    /// How often an endpoint was replaced.
    pub faults: u64,
}

/// A node's QUIC endpoint.
pub struct Endpoint {
    tls: Tls,
    reset_key: Arc<hmac::Key>,
    /// Marks the connection IDs of this node.
    id_key: u64,
    doorkeeper: Arc<Doorkeeper>,
    listener: Option<Outlet>,
    /// Made at the first dial when the listener's address cannot reach everywhere.
    dialler: OnceCell<Outlet>,
    /// Told to whom packets are refused.
    refused: mpsc::Sender<SocketAddr>,
    refusals: RefCell<Option<mpsc::Receiver<SocketAddr>>>,
    /// Handshakes of strangers under way.
    under_way: Rc<Cell<usize>>,
    faults: Cell<u64>,
    /// Told when an endpoint has failed.
    alarm: Arc<Notify>,
    /// Told when one has been replaced.
    replaced: Notify,
    is_closed: Cell<bool>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("listen", &self.local_addr()).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Binds. Without a `listen` address the node only dials.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn new(
        identity: &Identity,
        trust: Trust,
        listen: Option<SocketAddr>,
    ) -> Result<Self, EndpointError> {
        let tls = Tls::new(identity, trust).map_err(|err| EndpointError::Tls(err.to_string()))?;
        // The same at every start: a peer whose cable a restarted node no longer knows is told so
        // at once (RFC 9000 section 10.3) instead of after the idle timeout.
        let reset_key =
            Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &*identity.derive("stateless reset")));
        // A reset answers only connection IDs that this node may have given out.
        let id_key = identity.derive("connection id");
        let (id_key, _) = id_key.split_first_chunk().expect("a derived secret has 32 octets");
        let id_key = u64::from_le_bytes(*id_key);
        let (refused, refusals) = mpsc::channel(refusals::WAITING);
        let mut endpoint = Self {
            tls,
            reset_key,
            id_key,
            doorkeeper: Arc::new(Doorkeeper::new(id_key)),
            listener: None,
            dialler: OnceCell::new(),
            refused,
            refusals: RefCell::new(Some(refusals)),
            under_way: Rc::default(),
            faults: Cell::new(0),
            alarm: Arc::default(),
            replaced: Notify::new(),
            is_closed: Cell::new(false),
        };
        if let Some(address) = listen {
            let server = endpoint.server_config(Arc::default(), None)?;
            let bind_error = |source| EndpointError::Bind { address, source };
            let taster =
                Taster::new(endpoint.endpoint_config().map_err(bind_error)?, Some(server.clone()));
            endpoint.doorkeeper.employ(taster);
            endpoint.listener = Some(endpoint.bind(address, Some(server)).map_err(bind_error)?);
        }
        Ok(endpoint)
    }

    fn endpoint_config(&self) -> io::Result<EndpointConfig> {
        let mut config = EndpointConfig::new(self.reset_key.clone());
        let id_key = self.id_key;
        config
            .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)))
            .max_udp_payload_size(MAX_UDP_PAYLOAD)
            .map_err(|err| io::Error::other(err.to_string()))?;
        Ok(config)
    }

    fn bind(&self, address: SocketAddr, server: Option<quinn::ServerConfig>) -> io::Result<Outlet> {
        let config = self.endpoint_config()?;
        let (doorkeeper, alarm) = (self.doorkeeper.clone(), self.alarm.clone());
        Outlet::bind(address, config, server, doorkeeper, alarm, &self.refused)
    }

    /// The peers of which hosts say that nobody is there any more. Anybody may forge that. None when
    /// it was asked for before.
    pub(crate) fn refusals(&self) -> Option<mpsc::Receiver<SocketAddr>> {
        self.refusals.take()
    }

    /// Where cables are awaited.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.as_ref().map(Outlet::local_addr)
    }

    /// What an operator should know about the socket.
    pub fn warning(&self) -> Option<&str> {
        self.outlets().find_map(Outlet::warning)
    }

    fn outlets(&self) -> impl Iterator<Item = &Outlet> {
        self.listener.iter().chain(self.dialler.get())
    }

    /// What became of strangers.
    pub fn door(&self) -> DoorView {
        let door = self.doorkeeper.door();
        DoorView {
            counts: door.counts().clone(),
            under_way: self.under_way.get(),
            flood: door.flood(now()),
            faults: self.faults.get(),
        }
    }

    fn server_config(
        &self,
        shown: ShownKey,
        peer: Option<(SocketAddr, u16)>,
    ) -> Result<quinn::ServerConfig, EndpointError> {
        let refused = |err: String| EndpointError::Tls(err);
        let tls = self.tls.server(shown).map_err(|err| refused(err.to_string()))?;
        let crypto = QuicServerConfig::try_from(tls).map_err(|err| refused(err.to_string()))?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config
            .max_incoming(INCOMING)
            .incoming_buffer_size(INCOMING_OCTETS)
            .incoming_buffer_size_total(INCOMING_OCTETS_TOTAL);
        // What a stranger can have this node keep is the handshake itself, up to 16 KiB of it: streams
        // and datagrams are of no use before both keys are proved, because TLS has no keys for them.
        if let Some((peer, payload)) = peer {
            config.transport_config(Arc::new(transport::config(peer, payload)));
        }
        Ok(config)
    }

    fn client_config(
        &self,
        (shown, purpose): (ShownKey, Purpose),
        remote: SocketAddr,
        payload: u16,
    ) -> Result<quinn::ClientConfig, EndpointError> {
        let refused = |err: String| EndpointError::Tls(err);
        let tls = self.tls.client(shown, purpose).map_err(|err| refused(err.to_string()))?;
        let crypto = QuicClientConfig::try_from(tls).map_err(|err| refused(err.to_string()))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport::config(remote, payload)));
        Ok(config)
    }

    /// The socket from which a peer can be reached: the listener's, unless that is bound to one
    /// address only or to the other address family.
    fn outlet_towards(&self, remote: SocketAddr) -> io::Result<&Outlet> {
        if let Some(listener) = &self.listener {
            let local = listener.local_addr();
            if local.ip().is_unspecified() && (local.is_ipv6() || remote.is_ipv4()) {
                return Ok(listener);
            }
        }
        if self.dialler.get().is_none() {
            let dialler = self
                .bind((Ipv6Addr::UNSPECIFIED, 0).into(), None)
                .or_else(|_no_ipv6| self.bind((Ipv4Addr::UNSPECIFIED, 0).into(), None))?;
            let _ = self.dialler.set(dialler);
        }
        Ok(self.dialler.get().expect("it was set above"))
    }

    /// Dials a peer and proves both keys.
    ///
    /// # Errors
    /// [`Failure`]: no answer, not trusted, another version, …
    pub async fn dial(&self, remote: SocketAddr) -> Result<Connected, Failure> {
        self.dial_for(Purpose::Cable, remote).await
    }

    /// Dials a node whose key need not be known, to ask to be let in to its mesh.
    ///
    /// # Errors
    /// [`Failure`]: no answer, another version, …
    pub async fn dial_as_stranger(&self, remote: SocketAddr) -> Result<Connected, Failure> {
        self.dial_for(Purpose::Join, remote).await
    }

    async fn dial_for(&self, purpose: Purpose, remote: SocketAddr) -> Result<Connected, Failure> {
        let cannot_send = |err: &dyn fmt::Display| Failure::Unreachable(remote, err.to_string());
        let shown = ShownKey::default();
        let payload = transport::payload_limit(remote);
        let config = self
            .client_config((shown.clone(), purpose), remote, payload)
            .map_err(|err| Failure::Other(err.to_string()))?;
        let outlet = self.outlet_towards(remote).map_err(|err| cannot_send(&err))?;
        outlet.raise_payload(payload);
        self.doorkeeper.door().welcome(remote.ip());
        let generation = outlet.generation();
        let connecting = generation
            .call(|endpoint| endpoint.connect_with(config, remote, SERVER_NAME))
            .ok_or(Failure::Fault)?
            .map_err(|err| cannot_send(&err))?;
        let soundness = generation.soundness().clone();
        drop(generation);
        self.finish(connecting, remote, &shown, soundness).await
    }

    /// The next stranger who is let in to a handshake; none when the node only dials or the endpoint
    /// is closed.
    pub async fn accept(&self) -> Option<Knock> {
        let listener = self.listener.as_ref()?;
        loop {
            let generation = listener.generation();
            let incoming = tokio::select! {
                biased;
                () = generation.soundness().broken() => None,
                incoming = generation.accept() => incoming,
            };
            if self.is_closed.get() {
                return None;
            }
            if let Some(incoming) = incoming {
                let knock = generation.call(|_| self.open(incoming, generation.soundness()));
                if let Some(Some(knock)) = knock {
                    return Some(knock);
                }
                continue;
            }
            // Without a word of its own: reading from the socket has failed.
            generation.soundness().give_up("its task has ended");
            drop(generation);
            self.replacement(listener).await;
        }
    }

    async fn replacement(&self, outlet: &Outlet) {
        loop {
            let replaced = self.replaced.notified();
            if !outlet.generation().soundness().is_broken() {
                return;
            }
            replaced.await;
        }
    }

    /// Decides about somebody who knocks.
    fn open(&self, incoming: quinn::Incoming, soundness: &Arc<Soundness>) -> Option<Knock> {
        let remote = incoming.remote_address();
        let validated = incoming.remote_address_validated();
        let under_way = self.under_way.get();
        let verdict = self.doorkeeper.door().handle_knock(remote.ip(), validated, under_way, now());
        match verdict {
            Verdict::Accept => {}
            Verdict::Retry => {
                // It fails only for one whose address is proved, who is not asked.
                let _ = incoming.retry();
                return None;
            }
            Verdict::Ignore => {
                incoming.ignore();
                return None;
            }
        }
        let shown = ShownKey::default();
        let payload = transport::payload_limit(remote);
        if let Some(listener) = &self.listener {
            listener.raise_payload(payload);
        }
        let connecting = self
            .server_config(shown.clone(), Some((remote, payload)))
            .map_err(|err| Failure::Other(err.to_string()))
            .and_then(|config| {
                let accepted = incoming.accept_with(Arc::new(config));
                accepted.map_err(|err| Failure::of(&err, Phase::Handshake, remote, None))
            });
        // A server has the connection before its handshake is done. Nothing is sent on it until then:
        // it is wanted for a panic in the midst of the handshake, see `Connection`.
        let connecting = connecting.and_then(|connecting| {
            connecting.into_0rtt().map_err(|_| Failure::Other("the handshake has no end".into()))
        });
        let handshake = connecting
            .map(|(connection, done)| (Connection::new(connection, soundness.clone()), done));
        Some(Knock { handshake, remote, shown, _place: Place::take(&self.under_way) })
    }

    /// Lets a stranger show and prove its key.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn answer(&self, knock: Knock) -> Result<Connected, (SocketAddr, Failure)> {
        let remote = knock.remote;
        let connected = shake_hands(knock).await;
        match &connected {
            // Who asks to be let in has proved a key, and nothing of it.
            Ok(connected) if connected.purpose == Purpose::Join => {}
            Ok(_) => self.doorkeeper.door().welcome(remote.ip()),
            Err(failure) => self.doorkeeper.door().handle_refusal(failure.word()),
        }
        connected.map_err(|failure| (remote, failure))
    }

    async fn finish(
        &self,
        connecting: quinn::Connecting,
        remote: SocketAddr,
        shown: &ShownKey,
        soundness: Arc<Soundness>,
    ) -> Result<Connected, Failure> {
        let mut handshake =
            Box::pin(tokio::time::timeout(transport::HANDSHAKE_TIMEOUT, connecting));
        let result = tokio::select! {
            biased;
            () = soundness.broken() => {
                drop_quietly(handshake);
                return Err(Failure::Fault);
            }
            result = &mut handshake => result,
        };
        match result {
            Err(_elapsed) => Err(Failure::NoAnswer(remote)),
            Ok(Err(err)) => Err(Failure::of(&err, Phase::Handshake, remote, shown.get().copied())),
            Ok(Ok(connection)) => {
                let connection = Connection::new(connection, soundness);
                match shown.get() {
                    Some(&key) => Ok(Connected { connection, key, purpose: shown.purpose() }),
                    None => Err(Failure::Other("the peer showed no key".into())),
                }
            }
        }
    }

    /// Replaces endpoints that have failed, until they are closed.
    pub async fn supervise(&self) {
        let mut last = None;
        loop {
            self.alarm.notified().await;
            if self.is_closed.get() {
                return;
            }
            // Who notices the end of a connection gets its turn first.
            tokio::task::yield_now().await;
            if let Some(last) = last {
                tokio::time::sleep_until(last + REPLACEMENT_PAUSE).await;
            }
            last = Some(tokio::time::Instant::now());
            for outlet in self.outlets().filter(|outlet| outlet.is_broken()) {
                self.faults.set(self.faults.get() + 1);
                let replaced = self.endpoint_config().and_then(|config| outlet.replace(config));
                if let Err(err) = replaced {
                    tracing::error!(%err, "the endpoint of cables cannot be started anew; it is tried again");
                    self.alarm.notify_one();
                }
            }
            self.replaced.notify_waiters();
        }
    }

    /// Closes every connection and waits, briefly, until the peers have been told.
    pub async fn close(&self, code: CloseCode) {
        self.is_closed.set(true);
        self.alarm.notify_one();
        for outlet in self.outlets() {
            let generation = outlet.generation();
            let closed = generation.call(|endpoint| endpoint.close(failure::to_varint(code), b""));
            if closed.is_some() {
                let told = tokio::time::timeout(Duration::from_millis(300), generation.wait_idle());
                let _ = told.await;
            }
        }
    }
}
