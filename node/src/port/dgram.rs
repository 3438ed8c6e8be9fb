//! Datagram and sequenced-packet sockets as bridge ports: QEMU's `-netdev dgram`, vfkit's and
//! libkrun's `unixgram`, User-Mode Linux's `bess`.

use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use ether::limits::MAX_FRAME;
use fabric::PortId;
use rustix::net::{SocketAddrUnix, SocketType};
use tokio::sync::Notify;
use vdeplug::dgram::{DgramOpenError, DgramPort};
use vdeplug::path::SocketFile;
use vdeplug::stream::RecvError;

use super::turn::after_others;
use super::{Peer, PortIo, relay_datagrams};
use crate::config::{DgramAddress, SocketAccess};
use crate::driver::Shard;
use crate::local_socket::{self, LocalSocket};
use crate::plane::Newcomer;

/// How long until a socket or a peer that is not there is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// How often a unix datagram socket's peer is looked for: the kernel does not tell of its end.
const LOOK: Duration = Duration::from_secs(1);

/// Binds a socket and serves one peer after the other there, for as long as the shard lives.
pub(crate) fn exchange(
    shard: &Rc<Shard>,
    at: &DgramAddress,
    access: SocketAccess,
) -> anyhow::Result<()> {
    let first = bind(at, access)?;
    let (shard, at) = (shard.clone(), at.clone());
    tokio::task::spawn_local(async move {
        let mut bound = Some(first);
        let mut last = None;
        loop {
            if let Some((socket, path)) = bound.take() {
                match meet(socket, &at).await {
                    Ok(port) => last = serve(&shard, port, at.to_string(), None, last).await,
                    Err(err) => tracing::debug!(%at, %err, "no peer"),
                }
                // The file goes before its name is used again.
                drop(path);
            }
            // Before the pause: a guest that starts anew finds the socket, and what it sends waits there.
            match bind(&at, access) {
                Ok(again) => bound = Some(again),
                Err(err) => tracing::debug!(%at, %err, "not bound again"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    Ok(())
}

fn bind(at: &DgramAddress, access: SocketAccess) -> anyhow::Result<(OwnedFd, Option<SocketFile>)> {
    const FLAG: &str = "--dgram";
    match at {
        DgramAddress::Unix { local, .. } => {
            let (socket, path) = local_socket::bind(local, SocketType::DGRAM, access, FLAG)?;
            Ok((socket, Some(path)))
        }
        DgramAddress::Udp { local, .. } => {
            let socket = UdpSocket::bind(local).with_context(|| {
                format!("cannot exchange frames on {local}; choose another with {FLAG}")
            })?;
            Ok((socket.into(), None))
        }
    }
}

/// Waits for the peer.
async fn meet(socket: OwnedFd, at: &DgramAddress) -> Result<DgramPort, DgramOpenError> {
    let connect = || match at {
        DgramAddress::Unix { remote: Some(remote), .. } => {
            SocketAddrUnix::new(remote).and_then(|to| rustix::net::connect(&socket, &to)).map(Some)
        }
        DgramAddress::Udp { remote: Some(remote), .. } => {
            rustix::net::connect(&socket, remote).map(Some)
        }
        _ => Ok(None),
    };
    loop {
        match connect() {
            Ok(Some(())) => return DgramPort::new(socket),
            Ok(None) => return DgramPort::await_peer(socket).await,
            Err(err) => tracing::debug!(%at, %err, "the peer is not there yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Binds a listening socket and lets clients in.
pub(crate) fn accept(shard: &Rc<Shard>, path: &Path, access: SocketAccess) -> anyhow::Result<()> {
    let socket = LocalSocket::bind_kind(path, SocketType::SEQPACKET, access, "--seqpacket")?;
    let shard = shard.clone();
    tokio::task::spawn_local(async move {
        loop {
            match next_client(&socket).await {
                Ok((client, peer)) => {
                    let description = socket.path().display().to_string();
                    let shard = shard.clone();
                    tokio::task::spawn_local(async move {
                        match DgramPort::new(client) {
                            Ok(port) => {
                                serve(&shard, port, description, Some(peer), None).await;
                            }
                            Err(err) => {
                                tracing::debug!(%err, "client refused");
                                shard.refused_plugs.borrow_mut().count("seqpacket-not-usable");
                            }
                        }
                    });
                }
                Err(err) => {
                    tracing::debug!(%err, "no client accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    });
    Ok(())
}

async fn next_client(socket: &LocalSocket) -> io::Result<(OwnedFd, Peer)> {
    let (stream, _) = socket.listener.accept().await?;
    let credentials = stream.peer_cred()?;
    let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
    let peer = Peer { pid, uid: credentials.uid() };
    Ok((stream.into_std()?.into(), peer))
}

/// Plugs a peer in, at its last port if that is free, and carries its frames until it is gone.
async fn serve(
    shard: &Shard,
    port: DgramPort,
    description: String,
    peer: Option<Peer>,
    last: Option<PortId>,
) -> Option<PortId> {
    let port = Rc::new(port);
    let newcomer = Newcomer {
        io: PortIo::Dgram(port.clone()),
        description: description.clone(),
        max_frame: MAX_FRAME,
        peer,
    };
    let place = {
        let mut plane = shard.plane.borrow_mut();
        let is_free = |id: &PortId| plane.port(*id).is_none_or(|port| port.endpoints.is_empty());
        let wish = last.filter(is_free);
        plane.plug_in(wish, newcomer)
    };
    let place = match place {
        Ok(place) => place,
        Err(err) => {
            tracing::debug!(%err, "peer refused");
            shard.refused_plugs.borrow_mut().count("denied");
            tokio::time::sleep(PAUSE).await;
            return last;
        }
    };
    tracing::debug!(port = %place.port, who = description, "peer met");
    let cut = shard.plane.borrow().cut(place).unwrap_or_default();
    let reason = until_gone(shard, place.port, &port, &cut).await;
    shard.plane.borrow_mut().unplug(place);
    tracing::debug!(port = %place.port, reason, "peer gone");
    Some(place.port)
}

async fn until_gone(shard: &Shard, id: PortId, port: &DgramPort, cut: &Notify) -> String {
    let unattended = async {
        while port.is_attended() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = unattended => "nobody answers at its path".to_owned(),
        () = cut.notified() => "cut off".to_owned(),
        err = read_on(shard, id, port) => err.to_string(),
    }
}

async fn read_on(shard: &Shard, id: PortId, port: &DgramPort) -> RecvError {
    loop {
        if let Err(err) = after_others(port.readable()).await {
            return RecvError::Failed(err);
        }
        match relay_datagrams(shard, id, |batch| port.try_recv_batch(batch)).await {
            Ok(()) | Err(RecvError::WouldBlock) => {}
            Err(err) => return err,
        }
    }
}
