//! What hosts say of packets for which nobody is there any more: a node that was killed says nothing
//! itself, but its kernel answers for it.
//!
//! Owns the error queue of a socket. What follows from a word in it is for others: anybody who can
//! send to this host can forge one.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};

use rustix::net::{RecvAncillaryBuffer, RecvFlags, recvmsg};
use tokio::io::Interest;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::sys;

/// Addresses that wait to be looked at. Full: the newest is forgotten; there will be another word.
pub(crate) const WAITING: usize = 64;

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
pub(crate) fn watch(socket: &UdpSocket, tell: mpsc::Sender<SocketAddr>) -> Option<Watch> {
    let copy = sys::keep_errors(socket).and_then(|()| socket.try_clone());
    let copy = copy.and_then(tokio::net::UdpSocket::from_std);
    match copy {
        Ok(copy) => Some(Watch(tokio::spawn(follow(copy, tell)).abort_handle())),
        Err(err) => {
            tracing::info!(%err, "peers that are killed will be missed by their silence alone");
            None
        }
    }
}

async fn follow(socket: tokio::net::UdpSocket, tell: mpsc::Sender<SocketAddr>) {
    // The runtime ends the wait when it shuts down.
    while socket.ready(Interest::ERROR).await.is_ok() {
        // An empty queue is what ends the readiness.
        while let Ok(refused) = socket.try_io(Interest::ERROR, || next(&socket)) {
            if let Some(refused) = refused {
                let _ = tell.try_send(refused);
            }
        }
    }
}

/// To whom the next packet of the error queue was addressed, when the system says so.
fn next(socket: &tokio::net::UdpSocket) -> io::Result<Option<SocketAddr>> {
    // What was sent comes back, and is of no interest.
    let mut sent = [0; 1];
    let flags = RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT;
    let mut nothing = RecvAncillaryBuffer::default();
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut sent)], &mut nothing, flags)?;
    Ok(received.address.and_then(|address| SocketAddr::try_from(address).ok()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_port_that_nobody_has_open_is_told_of() {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for from in ["127.0.0.1:0", "[::]:0"] {
            let socket = crate::socket::bind(from.parse().unwrap()).unwrap().socket;
            let (tell, mut told) = mpsc::channel(WAITING);
            let _watch = watch(&socket, tell).unwrap();
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
}
