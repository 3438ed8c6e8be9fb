//! What hosts say of packets for which nobody is there any more: a node that was killed says nothing
//! itself, but its kernel answers for it.
//!
//! Owns the error queue of a socket. What follows from a word in it is for others: anybody who can
//! send to this host can forge one.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::sys;

/// Addresses that wait to be looked at. Full: the newest is forgotten; there will be another word.
pub(crate) const WAITING: usize = 64;

/// Entries of the error queue that are looked at in one turn. Anybody may fill it, and the data
/// plane has other things to do.
const TURN: usize = 64;

/// Watches for as long as it lives.
#[derive(Debug)]
pub(crate) struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells to whom packets of a socket are refused. None where the system does not let us know: then
/// silence has to be enough.
pub(crate) fn watch(
    socket: &Arc<AsyncFd<UdpSocket>>,
    tell: mpsc::Sender<SocketAddr>,
) -> Option<Watch> {
    match sys::keep_errors(socket.get_ref()) {
        Ok(()) => Some(Watch(tokio::spawn(follow(socket.clone(), tell)).abort_handle())),
        Err(err) => {
            tracing::info!(%err, "peers that are killed will be missed by their silence alone");
            None
        }
    }
}

async fn follow(socket: Arc<AsyncFd<UdpSocket>>, tell: mpsc::Sender<SocketAddr>) {
    // The runtime ends the wait when it shuts down.
    while let Ok(mut ready) = socket.ready(Interest::ERROR).await {
        for _ in 0..TURN {
            let entry = ready.try_io(|socket| sys::next_error(socket.get_ref().as_fd()));
            // An empty queue is what ends the readiness.
            let Ok(Ok(undelivered)) = entry else { break };
            // A packet too long for the path, or a host that cannot be reached now, is no word of a
            // peer that has ended.
            if let Some(peer) = undelivered.to.filter(|_| undelivered.is_refused) {
                let _ = tell.try_send(peer);
            }
        }
        drop(ready);
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bound(address: &str) -> Arc<AsyncFd<UdpSocket>> {
        let socket = crate::socket::bind(address.parse().unwrap()).unwrap().socket;
        Arc::new(sys::watch(socket, Interest::READABLE.add(Interest::ERROR)).unwrap())
    }

    #[tokio::test]
    async fn a_port_that_nobody_has_open_is_told_of() {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for from in ["127.0.0.1:0", "[::]:0"] {
            let socket = bound(from);
            let (tell, mut told) = mpsc::channel(WAITING);
            let _watch = watch(&socket, tell).unwrap();
            let socket = socket.get_ref();
            let to = match (socket.local_addr().unwrap(), gone) {
                (SocketAddr::V6(_), SocketAddr::V4(gone)) => {
                    (gone.ip().to_ipv6_mapped(), gone.port()).into()
                }
                _ => gone,
            };
            socket.send_to(b"anybody there?", to).unwrap();
            let refused = tokio::time::timeout(Duration::from_secs(10), told.recv()).await;
            assert_eq!(refused, Ok(Some(to)), "from {from}");
        }
    }

    #[tokio::test]
    async fn a_packet_that_is_too_long_refuses_nobody() {
        let there = UdpSocket::bind("127.0.0.1:0").unwrap();
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let socket = bound("127.0.0.1:0");
        let (tell, mut told) = mpsc::channel(WAITING);
        let _watch = watch(&socket, tell).unwrap();
        let socket = socket.get_ref();
        socket.send_to(&[0; 65_508], there.local_addr().unwrap()).unwrap_err();
        socket.send_to(b"anybody there?", gone).unwrap();
        let refused = tokio::time::timeout(Duration::from_secs(10), told.recv()).await;
        assert_eq!(refused, Ok(Some(gone)), "of the port that nobody has open, and first");
    }
}
