//! A UDP socket and the QUIC endpoint upon it, which is replaced when it has failed.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use quinn::{EndpointConfig, ServerConfig};
use tokio::sync::{Notify, mpsc};

use super::Doorkeeper;
use crate::refusals;
use crate::socket::{self, Bound, CableSocket, LargestPayload};
use crate::soundness::{Soundness, WatchedRuntime, drop_quietly};

/// A socket and what serves it at the moment.
#[derive(Debug)]
pub(super) struct Outlet {
    socket: Arc<CableSocket>,
    largest: LargestPayload,
    local: SocketAddr,
    warning: Option<String>,
    server: Option<ServerConfig>,
    alarm: Arc<Notify>,
    generation: RefCell<Rc<Generation>>,
    _refusals: Option<refusals::Watch>,
}

impl Outlet {
    /// Binds a socket and starts an endpoint upon it. `refused` is told to whom packets are refused.
    pub(super) fn bind(
        address: SocketAddr,
        config: EndpointConfig,
        server: Option<ServerConfig>,
        doorkeeper: Arc<Doorkeeper>,
        alarm: Arc<Notify>,
        refused: &mpsc::Sender<SocketAddr>,
    ) -> io::Result<Self> {
        let Bound { socket, warning } = socket::bind(address)?;
        let local = socket.local_addr()?;
        let (socket, largest) = CableSocket::new(socket, doorkeeper)?;
        let watch = refusals::watch(socket.watched(), refused.clone());
        let generation = Generation::start(socket.clone(), config, server.clone(), alarm.clone())?;
        let generation = RefCell::new(Rc::new(generation));
        Ok(Self { socket, largest, local, warning, server, alarm, generation, _refusals: watch })
    }

    /// Starts another endpoint in the place of the present one.
    pub(super) fn replace(&self, config: EndpointConfig) -> io::Result<()> {
        let (socket, server) = (self.socket.clone(), self.server.clone());
        // The old one goes first: two must not read from one socket.
        self.generation.borrow().retire();
        let generation = Generation::start(socket, config, server, self.alarm.clone())?;
        self.generation.replace(Rc::new(generation));
        Ok(())
    }

    pub(super) fn generation(&self) -> Rc<Generation> {
        self.generation.borrow().clone()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.generation.borrow().soundness.is_broken()
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// A connection with this limit is about to start.
    pub(super) fn raise_payload(&self, payload: u16) {
        self.largest.raise(payload);
    }
}

/// One endpoint, from its start to its failure.
#[derive(Debug)]
pub(super) struct Generation {
    /// There until it has failed, and so is another reference: the endpoint's own task, dropped after
    /// a panic, takes the poisoned lock unless more than one reference besides its own is left.
    endpoint: RefCell<Option<quinn::Endpoint>>,
    spare: RefCell<Option<quinn::Endpoint>>,
    soundness: Arc<Soundness>,
}

impl Generation {
    fn start(
        socket: Arc<CableSocket>,
        config: EndpointConfig,
        server: Option<ServerConfig>,
        alarm: Arc<Notify>,
    ) -> io::Result<Self> {
        let soundness = Arc::new(Soundness::new(alarm));
        let runtime = Arc::new(WatchedRuntime(soundness.clone()));
        let endpoint = quinn::Endpoint::new_with_abstract_socket(config, server, socket, runtime)?;
        let spare = RefCell::new(Some(endpoint.clone()));
        Ok(Self { endpoint: RefCell::new(Some(endpoint)), spare, soundness })
    }

    pub(super) fn soundness(&self) -> &Arc<Soundness> {
        &self.soundness
    }

    /// Calls into quinn; none when that panicked, now or before.
    pub(super) fn call<T>(&self, call: impl FnOnce(&quinn::Endpoint) -> T) -> Option<T> {
        let endpoint = self.endpoint.borrow();
        let endpoint = endpoint.as_ref()?;
        self.soundness.call(|| call(endpoint))
    }

    /// The next first packet; none when the endpoint has ended.
    pub(super) async fn accept(&self) -> Option<quinn::Incoming> {
        let endpoint = self.call(quinn::Endpoint::clone)?;
        endpoint.accept().await
    }

    /// Completes when no connection is left.
    pub(super) async fn wait_idle(&self) {
        if let Some(endpoint) = self.call(quinn::Endpoint::clone) {
            endpoint.wait_idle().await;
        }
    }

    fn retire(&self) {
        self.soundness.drop_driver();
        drop_quietly(self.spare.take());
        drop_quietly(self.endpoint.take());
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if self.soundness.is_broken() {
            self.retire();
        }
    }
}
