//! Clients of stream sockets as bridge ports: QEMU's `-netdev stream` and all who speak like it.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use ether::limits::MAX_FRAME;
use fabric::PortId;
use tokio::net::TcpListener;
use vdeplug::SendError;
use vdeplug::stream::{Decoder, Framing, RecvError, StreamConfig, StreamPort};

use super::turn::after_others;
use super::{Peer, PortIo, relay_plain};
use crate::config::{SocketAccess, StreamAddress};
use crate::driver::Shard;
use crate::local_socket::LocalSocket;
use crate::plane::{Denied, Newcomer, Place};
use crate::pressure::{Congested, wait_for_room};

/// How long a listener is left alone when the system has no descriptor for a client.
const PAUSE: Duration = Duration::from_millis(100);

/// Clients whose port is remembered for when they come back. Full: one is forgotten.
const KNOWN: usize = 1024;

/// Who a stream client is, as far as it can be told when it comes back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// A process of this host.
    Process(u32),
    /// A host.
    Host(IpAddr),
}

/// The port that each stream client had, so that a guest whose link was down is itself again.
pub(crate) type KnownStreams = BTreeMap<Who, PortId>;

/// A socket that awaits stream clients.
#[derive(Debug)]
pub(crate) enum StreamListener {
    Unix(LocalSocket),
    Tcp(TcpListener),
}

impl StreamListener {
    /// Binds; `access` is that of a unix socket.
    pub(crate) fn bind(at: &StreamAddress, access: SocketAccess) -> anyhow::Result<Self> {
        match at {
            StreamAddress::Unix(path) => {
                Ok(Self::Unix(LocalSocket::bind(path, access, "--stream")?))
            }
            StreamAddress::Tcp(address) => {
                let bind = || {
                    let listener = std::net::TcpListener::bind(address)?;
                    listener.set_nonblocking(true)?;
                    TcpListener::from_std(listener)
                };
                let listener = bind().with_context(|| {
                    format!("cannot await streams on {address}; choose another with --stream")
                })?;
                Ok(Self::Tcp(listener))
            }
        }
    }

    /// Takes clients in for as long as the shard lives.
    pub(crate) fn spawn(self, shard: &Rc<Shard>) {
        let shard = shard.clone();
        tokio::task::spawn_local(async move {
            loop {
                match self.accept().await {
                    Ok(client) => {
                        let shard = shard.clone();
                        tokio::task::spawn_local(async move { serve(&shard, client).await });
                    }
                    Err(err) => {
                        tracing::debug!(%err, "no stream accepted");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        });
    }

    async fn accept(&self) -> io::Result<Client> {
        match self {
            Self::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                let credentials = stream.peer_cred()?;
                let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
                Ok(Client {
                    stream: stream.into_std()?.into(),
                    description: socket.path().display().to_string(),
                    peer: Some(Peer { pid, uid: credentials.uid() }),
                    who: pid.map(Who::Process),
                })
            }
            Self::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                Ok(Client {
                    stream: stream.into_std()?.into(),
                    description: remote.to_string(),
                    peer: None,
                    who: Some(Who::Host(remote.ip())),
                })
            }
        }
    }
}

/// Who has connected.
struct Client {
    stream: OwnedFd,
    description: String,
    peer: Option<Peer>,
    who: Option<Who>,
}

async fn serve(shard: &Shard, client: Client) {
    let Client { stream, description, peer, who } = client;
    let port = match StreamPort::new(stream, StreamConfig::new(Framing::Length32)) {
        Ok(port) => Rc::new(port),
        Err(err) => {
            tracing::debug!(%err, "stream refused");
            shard.refused_plugs.borrow_mut().count("stream-not-usable");
            return;
        }
    };
    let newcomer = Newcomer {
        io: PortIo::Stream(port.clone()),
        description: description.clone(),
        max_frame: MAX_FRAME,
        peer,
    };
    let place = match plug_in(shard, newcomer, who) {
        Ok(place) => place,
        Err(err) => {
            tracing::debug!(%err, "stream refused");
            shard.refused_plugs.borrow_mut().count("denied");
            return;
        }
    };
    tracing::debug!(port = %place.port, who = description, "stream connected");
    let reason = pump(shard, place.port, &port).await;
    shard.plane.borrow_mut().unplug(place);
    tracing::debug!(port = %place.port, reason, "stream ended");
}

/// Plugs a client in, at its old port unless somebody else has it by now.
fn plug_in(shard: &Shard, newcomer: Newcomer, who: Option<Who>) -> Result<Place, Denied> {
    let mut known = shard.known_streams.borrow_mut();
    let mut plane = shard.plane.borrow_mut();
    let is_free = |id: &PortId| plane.port(*id).is_none_or(|port| port.endpoints.is_empty());
    let wish = who.as_ref().and_then(|who| known.get(who).copied()).filter(is_free);
    let place = plane.plug_in(wish, newcomer)?;
    if let Some(who) = who {
        known.insert(who, place.port);
        if known.len() > KNOWN {
            // The lowest process number: likely the oldest, and gone.
            known.pop_first();
        }
    }
    Ok(place)
}

/// Carries frames until the stream ends; says why it did.
async fn pump(shard: &Shard, id: PortId, port: &StreamPort) -> String {
    tokio::select! {
        err = port.keep_flushing() => match err {
            SendError::PeerGone => "the other end is gone".to_owned(),
            err => err.to_string(),
        },
        err = read_on(shard, id, port) => err.to_string(),
    }
}

async fn read_on(shard: &Shard, id: PortId, port: &StreamPort) -> RecvError {
    let mut decoder = port.decoder();
    loop {
        if let Err(err) = after_others(port.readable(&decoder)).await {
            return RecvError::Failed(err);
        }
        let congested = match port.try_recv_batch(&mut decoder) {
            Ok(_) => relay(shard, id, &decoder).await,
            Err(RecvError::WouldBlock) => None,
            Err(err) => {
                if let RecvError::OutOfStep(_) = err {
                    shard.refused_plugs.borrow_mut().count("stream-out-of-step");
                }
                return err;
            }
        };
        wait_for_room(congested).await;
    }
}

/// Relays a batch, in as many turns as it needs; the turn after the last is given before the next batch.
async fn relay(shard: &Shard, id: PortId, decoder: &Decoder) -> Option<Congested> {
    let (mut from, mut congested) = (0, None);
    loop {
        let fitting = |bytes: &&[u8]| bytes.len() <= MAX_FRAME;
        let frames = decoder.frames().map(|bytes| Some(bytes).filter(fitting));
        let relayed = relay_plain(shard, id, frames, from);
        congested = relayed.congested.or(congested);
        match relayed.next {
            None => return congested,
            Some(next) => from = next,
        }
        // The other ports have their turns.
        tokio::task::yield_now().await;
    }
}
