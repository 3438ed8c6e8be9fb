//! Every kind of socket.

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};

use rustix::net::SocketFlags;

use super::*;
use crate::plug::SendError;

async fn recv(port: &DgramPort) -> Result<Vec<Vec<u8>>, RecvError> {
    let mut batch = RecvBatch::new(1518);
    loop {
        port.readable().await.unwrap();
        match port.try_recv_batch(&mut batch) {
            Ok(count) => {
                assert_eq!(batch.len(), count);
                return Ok(batch.iter().map(|datagram| datagram.bytes.to_vec()).collect());
            }
            Err(RecvError::WouldBlock) => {}
            Err(error) => return Err(error),
        }
    }
}

async fn exchange(a: &DgramPort, b: &DgramPort) {
    for (from, to) in [(a, b), (b, a)] {
        let frames: Vec<_> = (0..70u8).map(|n| vec![n; 60]).collect();
        let slices: Vec<_> = frames.iter().map(Vec::as_slice).collect();
        let outcome = from.try_send_batch(&slices);
        assert!(outcome.sent == 70 && outcome.stopped.is_none(), "{outcome:?}");
        let mut got = Vec::new();
        while got.len() < frames.len() {
            got.extend(recv(to).await.unwrap());
        }
        assert_eq!(got, frames);
        let empty = to.try_recv_batch(&mut RecvBatch::new(60)).unwrap_err();
        assert!(matches!(empty, RecvError::WouldBlock), "{empty:?}");
    }
}

#[tokio::test]
async fn a_pair_of_datagram_sockets_carries_frames_both_ways() {
    let (a, b) = UnixDatagram::pair().unwrap();
    let (a, b) = (DgramPort::new(a).unwrap(), DgramPort::new(b).unwrap());
    exchange(&a, &b).await;
    drop(b);
    let outcome = a.try_send_batch(&[&[1; 60]]);
    assert!(matches!(outcome.stopped, Some(SendError::PeerGone)), "{outcome:?}");
}

#[tokio::test]
async fn udp_sockets_carry_frames_both_ways() {
    let a = UdpSocket::bind("127.0.0.1:0").unwrap();
    let b = UdpSocket::bind("127.0.0.1:0").unwrap();
    a.connect(b.local_addr().unwrap()).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    let (a, b) = (DgramPort::new(a).unwrap(), DgramPort::new(b).unwrap());
    exchange(&a, &b).await;
    // That nobody listened for a moment is no reason to give up.
    let [a_address, b_address] = [&a, &b].map(|port| {
        let name = rustix::net::getsockname(&port.socket).unwrap();
        SocketAddr::try_from(name).unwrap()
    });
    drop(b);
    assert_eq!(a.try_send_batch(&[&[1; 60]]).sent, 1);
    let b = UdpSocket::bind(b_address).unwrap();
    b.send_to(&[2; 60], a_address).unwrap();
    assert_eq!(recv(&a).await.unwrap(), [[2; 60]]);
}

#[tokio::test]
async fn sequenced_packets_carry_frames_and_tell_their_end() {
    let (a, b) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    let (a, b) = (DgramPort::new(a).unwrap(), DgramPort::new(b).unwrap());
    exchange(&a, &b).await;
    a.try_send_batch(&[&[1; 60], &[2; 61]]);
    drop(a);
    assert_eq!(recv(&b).await.unwrap(), [vec![1; 60], vec![2; 61]]);
    assert!(matches!(recv(&b).await, Err(RecvError::Closed)));
}

#[tokio::test]
async fn the_first_sender_with_a_name_is_the_peer_and_its_hello_is_no_frame() {
    for hello in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let path = |name| directory.path().join(name);
        let ours = UnixDatagram::bind(path("ours")).unwrap();
        // Neither can be answered.
        UnixDatagram::unbound().unwrap().send_to(b"VFKT", path("ours")).unwrap();
        UnixDatagram::bind(path("gone")).unwrap().send_to(b"VFKT", path("ours")).unwrap();
        let theirs = UnixDatagram::bind(path("theirs")).unwrap();
        theirs.connect(path("ours")).unwrap();
        if hello {
            theirs.send(&HELLO).unwrap();
        }
        theirs.send(&[1; 60]).unwrap();
        let port = DgramPort::await_peer(ours).await.unwrap();
        assert_eq!(recv(&port).await.unwrap(), [[1; 60]]);
        exchange(&port, &DgramPort::new(theirs).unwrap()).await;
    }
}

#[tokio::test]
async fn what_has_no_datagrams_or_no_peer_is_refused() {
    let (stream, _other) = UnixStream::pair().unwrap();
    let error = DgramPort::new(stream).unwrap_err();
    assert!(matches!(error, DgramOpenError::NoDatagrams), "{error:?}");
    let error = DgramPort::new(tempfile::tempfile().unwrap()).unwrap_err();
    assert!(matches!(error, DgramOpenError::NoDatagrams), "{error:?}");
    let error = DgramPort::new(UnixDatagram::unbound().unwrap()).unwrap_err();
    assert!(matches!(error, DgramOpenError::NotConnected), "{error:?}");
}

#[tokio::test]
async fn a_peer_that_ended_is_missed_also_after_a_frame_was_sent_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    let socket = UnixDatagram::bind(&ours).unwrap();
    let peer = UnixDatagram::bind(&theirs).unwrap();
    socket.connect(&theirs).unwrap();
    let port = DgramPort::new(socket).unwrap();
    assert!(port.is_attended());
    drop(peer);
    assert!(matches!(port.try_send_batch(&[&[0; 60]]).stopped, Some(SendError::PeerGone)));
    assert!(!port.is_attended());
}
