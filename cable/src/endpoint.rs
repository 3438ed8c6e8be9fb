//! The QUIC endpoint of a node: the socket on which it awaits cables and dials, and the handshake
//! up to the point where both keys are proved.

use std::cell::OnceCell;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use aws_lc_rs::hmac;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, EndpointConfig, TokioRuntime};
use quinn_proto::HashedConnectionIdGenerator;
use tokio::sync::Semaphore;

use crate::failure::{self, CloseCode, Failure, Phase};
use crate::identity::{Identity, PublicKey};
use crate::socket::{self, Bound, CableSocket, LargestPayload, MAX_UDP_PAYLOAD};
use crate::tls::{SERVER_NAME, ShownKey, Tls};
use crate::transport;
use crate::trust::Trust;

/// Handshakes under way at once. From half of it on, an address must prove to be real before it
/// takes a place; what comes when all are taken is refused, and an honest peer dials again.
const HANDSHAKES: usize = 64;

/// First packets of strangers that may wait for us to look at them, and the octets that may wait
/// with them, each and in all.
const INCOMING: usize = 256;
const INCOMING_OCTETS: u64 = 16 << 10;
const INCOMING_OCTETS_TOTAL: u64 = 1 << 20;

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

/// A connection whose two keys are proved and trusted.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub connection: Connection,
    /// The peer's key.
    pub key: PublicKey,
}

/// One socket with its endpoint.
struct Socketed {
    endpoint: quinn::Endpoint,
    largest: LargestPayload,
    warning: Option<String>,
}

/// A node's QUIC endpoint.
pub struct Endpoint {
    tls: Tls,
    reset_key: Arc<hmac::Key>,
    /// Marks the connection IDs of this node.
    id_key: u64,
    listener: Option<Socketed>,
    /// Made at the first dial when the listener's address cannot reach everywhere.
    dialler: OnceCell<Socketed>,
    handshakes: Semaphore,
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
        let mut endpoint = Self {
            tls,
            reset_key,
            id_key: u64::from_le_bytes(*id_key),
            listener: None,
            dialler: OnceCell::new(),
            handshakes: Semaphore::new(HANDSHAKES),
        };
        if let Some(address) = listen {
            let server = endpoint.server_config(Arc::default(), None)?;
            endpoint.listener = Some(
                endpoint
                    .bind(address, Some(server))
                    .map_err(|source| EndpointError::Bind { address, source })?,
            );
        }
        Ok(endpoint)
    }

    fn bind(
        &self,
        address: SocketAddr,
        server: Option<quinn::ServerConfig>,
    ) -> io::Result<Socketed> {
        let Bound { socket, warning } = socket::bind(address)?;
        let (socket, largest) = CableSocket::new(&TokioRuntime, socket)?;
        let mut config = EndpointConfig::new(self.reset_key.clone());
        let id_key = self.id_key;
        config
            .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)))
            .max_udp_payload_size(MAX_UDP_PAYLOAD)
            .map_err(|err| io::Error::other(err.to_string()))?;
        let endpoint = quinn::Endpoint::new_with_abstract_socket(
            config,
            server,
            socket,
            Arc::new(TokioRuntime),
        )?;
        Ok(Socketed { endpoint, largest, warning })
    }

    /// Where cables are awaited.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.as_ref()?.endpoint.local_addr().ok()
    }

    /// What an operator should know about the socket.
    pub fn warning(&self) -> Option<&str> {
        let sockets = self.listener.iter().chain(self.dialler.get());
        sockets.filter_map(|socket| socket.warning.as_deref()).next()
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
        if let Some((peer, payload)) = peer {
            config.transport_config(Arc::new(transport::config(peer, payload)));
        }
        Ok(config)
    }

    fn client_config(
        &self,
        shown: ShownKey,
        remote: SocketAddr,
        payload: u16,
    ) -> Result<quinn::ClientConfig, EndpointError> {
        let refused = |err: String| EndpointError::Tls(err);
        let tls = self.tls.client(shown).map_err(|err| refused(err.to_string()))?;
        let crypto = QuicClientConfig::try_from(tls).map_err(|err| refused(err.to_string()))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport::config(remote, payload)));
        Ok(config)
    }

    /// The socket from which a peer can be reached: the listener's, unless that is bound to one
    /// address only or to the other address family.
    fn socket_towards(&self, remote: SocketAddr) -> io::Result<&Socketed> {
        if let Some(listener) = &self.listener {
            let local = listener.endpoint.local_addr()?;
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
        let cannot_send = |err: &dyn fmt::Display| Failure::Unreachable(remote, err.to_string());
        let shown = ShownKey::default();
        let payload = transport::payload_limit(remote);
        let config = self
            .client_config(shown.clone(), remote, payload)
            .map_err(|err| Failure::Other(err.to_string()))?;
        let socket = self.socket_towards(remote).map_err(|err| cannot_send(&err))?;
        socket.largest.raise(payload);
        let connecting = socket
            .endpoint
            .connect_with(config, remote, SERVER_NAME)
            .map_err(|err| cannot_send(&err))?;
        self.finish(connecting, remote, &shown).await
    }

    /// The next stranger who knocks; none when the node only dials or the endpoint is closed.
    pub async fn accept(&self) -> Option<Knock> {
        let incoming = self.listener.as_ref()?.endpoint.accept().await?;
        Some(Knock { incoming })
    }

    /// Lets a stranger show and prove its key. None when too many are at it already.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn answer(&self, knock: Knock) -> Result<Option<Connected>, (SocketAddr, Failure)> {
        let remote = knock.incoming.remote_address();
        if self.handshakes.available_permits() < HANDSHAKES / 2 && knock.incoming.may_retry() {
            // Whoever answers this has not forged its address, and only then takes a place.
            let _ = knock.incoming.retry();
            return Ok(None);
        }
        let Ok(_permit) = self.handshakes.try_acquire() else {
            knock.incoming.refuse();
            return Ok(None);
        };
        let shown = ShownKey::default();
        let payload = transport::payload_limit(remote);
        let failed = |failure| (remote, failure);
        let config = self
            .server_config(shown.clone(), Some((remote, payload)))
            .map_err(|err| failed(Failure::Other(err.to_string())))?;
        if let Some(listener) = &self.listener {
            listener.largest.raise(payload);
        }
        let connecting = knock
            .incoming
            .accept_with(Arc::new(config))
            .map_err(|err| failed(Failure::of(&err, Phase::Handshake, remote, None)))?;
        self.finish(connecting, remote, &shown).await.map(Some).map_err(failed)
    }

    async fn finish(
        &self,
        connecting: quinn::Connecting,
        remote: SocketAddr,
        shown: &Arc<OnceLock<PublicKey>>,
    ) -> Result<Connected, Failure> {
        match tokio::time::timeout(transport::HANDSHAKE_TIMEOUT, connecting).await {
            Err(_elapsed) => Err(Failure::NoAnswer(remote)),
            Ok(Err(err)) => Err(Failure::of(&err, Phase::Handshake, remote, shown.get().copied())),
            Ok(Ok(connection)) => match shown.get() {
                Some(&key) => Ok(Connected { connection, key }),
                None => Err(Failure::Other("the peer showed no key".into())),
            },
        }
    }

    /// Closes every connection and waits, briefly, until the peers have been told.
    pub async fn close(&self, code: CloseCode) {
        for socket in self.listener.iter().chain(self.dialler.get()) {
            socket.endpoint.close(failure::to_varint(code), b"");
            let told = socket.endpoint.wait_idle();
            let _ = tokio::time::timeout(std::time::Duration::from_millis(300), told).await;
        }
    }
}

/// A stranger at the door.
#[derive(Debug)]
pub struct Knock {
    incoming: quinn::Incoming,
}
