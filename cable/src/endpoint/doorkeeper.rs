//! The door as the socket and the endpoint use it: both ask, one after the other, about the same
//! strangers.

use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::BytesMut;
use quinn::udp::RecvMeta;
use quinn::{EndpointConfig, ServerConfig};
use quinn_proto::{
    ConnectionId, ConnectionIdGenerator as _, DatagramEvent, HashedConnectionIdGenerator,
};

use crate::clock::now;
use crate::door::{Door, FirstPacket, Passage, classify};
#[cfg(test)]
use crate::soundness::tests::{Place, trip_over};

/// Length of the connection IDs of this node, which [`HashedConnectionIdGenerator`] makes.
const ID_LEN: usize = 8;

/// Decides about strangers. Shared by an endpoint and its socket.
pub(crate) struct Doorkeeper {
    door: Mutex<Door>,
    ids: HashedConnectionIdGenerator,
    taster: Mutex<Option<Taster>>,
}

impl std::fmt::Debug for Doorkeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Doorkeeper").field(&self.door).finish_non_exhaustive()
    }
}

impl Doorkeeper {
    /// One that knows the connection IDs of this node by their key.
    pub(crate) fn new(id_key: u64) -> Self {
        let ids = HashedConnectionIdGenerator::from_key(id_key);
        Self { door: Mutex::default(), ids, taster: Mutex::default() }
    }

    /// Has strangers' packets tried before the endpoint gets them.
    pub(crate) fn employ(&self, taster: Taster) {
        *self.taster.lock().unwrap_or_else(PoisonError::into_inner) = Some(taster);
    }

    /// The door itself.
    pub(crate) fn door(&self) -> MutexGuard<'_, Door> {
        // Counters and budgets: none is ever half written in a way that matters.
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out of a received buffer what QUIC shall not see. The buffer may hold several datagrams
    /// of one sender, all but the last of `meta.stride` octets.
    pub(crate) fn sift(&self, buffer: &mut [u8], meta: &mut RecvMeta) {
        let stride = meta.stride.max(1);
        let may_be_first =
            |datagram: &[u8]| datagram.first().is_some_and(|first| first & 0x80 != 0);
        if !buffer[..meta.len].chunks(stride).any(may_be_first) {
            return;
        }
        let now = now();
        let (mut kept, mut at) = (0, 0);
        while at < meta.len {
            let end = (at + stride).min(meta.len);
            if self.passes(&buffer[at..end], meta.addr, now) {
                buffer.copy_within(at..end, kept);
                kept += end - at;
            }
            at = end;
        }
        meta.len = kept;
    }

    fn passes(&self, datagram: &[u8], source: SocketAddr, now: Instant) -> bool {
        let Some(packet) = classify(datagram, |id| self.is_ours(id)) else { return true };
        self.pass(packet, source.ip(), now) == Passage::Pass
            && self.is_digestible(datagram, source, now)
    }

    fn pass(&self, packet: FirstPacket, source: IpAddr, now: Instant) -> Passage {
        self.door().handle_first_packet(source, packet, now)
    }

    fn is_ours(&self, id: &[u8]) -> bool {
        id.len() == ID_LEN && self.ids.validate(&ConnectionId::new(id)).is_ok()
    }

    fn is_digestible(&self, datagram: &[u8], source: SocketAddr, now: Instant) -> bool {
        let mut taster = self.taster.lock().unwrap_or_else(PoisonError::into_inner);
        let digestible = taster.as_mut().is_none_or(|taster| taster.taste(datagram, source, now));
        if !digestible {
            self.door().handle_fault();
        }
        digestible
    }
}

/// Tries the packets of strangers on an endpoint that nobody needs.
///
/// Should the endpoint's own code panic on a packet, it would do so while it holds its lock, and the
/// library's clean-up would then end the process. So each packet that a stranger may send is tried
/// here first, where a panic costs nothing. At most some thousands a second come this far.
pub(crate) struct Taster {
    config: Arc<EndpointConfig>,
    server: Option<Arc<ServerConfig>>,
    endpoint: quinn_proto::Endpoint,
}

impl Taster {
    /// One that eats what an endpoint of this configuration is given.
    pub(crate) fn new(config: EndpointConfig, server: Option<ServerConfig>) -> Self {
        let (config, server) = (Arc::new(config), server.map(Arc::new));
        let endpoint = quinn_proto::Endpoint::new(config.clone(), server.clone(), false, None);
        Self { config, server, endpoint }
    }

    fn taste(&mut self, datagram: &[u8], source: SocketAddr, now: Instant) -> bool {
        let endpoint = &mut self.endpoint;
        let tasted = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(test)]
            trip_over(Place::Tasted, datagram);
            let octets = BytesMut::from(datagram);
            let event = endpoint.handle(now, source, None, None, octets, &mut Vec::new());
            if let Some(DatagramEvent::NewConnection(incoming)) = event {
                endpoint.ignore(incoming);
            }
        }));
        if tasted.is_err() {
            let (config, server) = (self.config.clone(), self.server.clone());
            self.endpoint = quinn_proto::Endpoint::new(config, server, false, None);
        }
        tasted.is_ok()
    }
}
