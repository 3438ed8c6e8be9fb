//! Real streams: sockets, pipes, and what is neither.

use std::os::unix::net::{UnixDatagram, UnixStream};

use rustix::fs::{OFlags, fcntl_getfl};

use super::*;

fn ports(config: StreamConfig) -> (StreamPort, StreamPort) {
    let (a, b) = UnixStream::pair().unwrap();
    (StreamPort::new(a, config).unwrap(), StreamPort::new(b, config).unwrap())
}

/// Waits for the next batch.
async fn recv(port: &StreamPort, decoder: &mut Decoder) -> Result<Vec<Vec<u8>>, RecvError> {
    loop {
        port.readable(decoder).await.unwrap();
        match port.try_recv_batch(decoder) {
            Ok(_) => return Ok(decoder.frames().map(<[u8]>::to_vec).collect()),
            Err(RecvError::WouldBlock) => {}
            Err(error) => return Err(error),
        }
    }
}

#[tokio::test]
async fn frames_cross_a_socket_both_ways_until_one_end_is_dropped() {
    for framing in [Framing::Vde, Framing::Length32] {
        let (a, b) = ports(StreamConfig::new(framing));
        for (from, to) in [(&a, &b), (&b, &a)] {
            let mut decoder = to.decoder();
            let empty = to.try_recv_batch(&mut decoder).unwrap_err();
            assert!(matches!(empty, RecvError::WouldBlock));
            // More than a batch, so that the second comes from the buffer alone.
            let frames: Vec<_> = (0..100u8).map(|n| vec![n; 60]).collect();
            let slices: Vec<_> = frames.iter().map(Vec::as_slice).collect();
            let outcome = from.try_send_batch(&slices);
            assert!(outcome.sent == 100 && outcome.stopped.is_none());
            assert_eq!(recv(to, &mut decoder).await.unwrap(), frames[..64]);
            assert_eq!(recv(to, &mut decoder).await.unwrap(), frames[64..]);
            let empty = to.try_recv_batch(&mut decoder).unwrap_err();
            assert!(matches!(empty, RecvError::WouldBlock));
        }
        let mut decoder = b.decoder();
        a.try_send_batch(&[&[9; 60]]);
        drop(a);
        assert_eq!(recv(&b, &mut decoder).await.unwrap(), [[9; 60]]);
        let end = recv(&b, &mut decoder).await.unwrap_err();
        assert!(matches!(end, RecvError::Closed));
        let outcome = b.try_send_batch(&[&[9; 60]]);
        assert!(matches!(outcome.stopped, Some(SendError::PeerGone)));
    }
}

#[tokio::test]
async fn a_slow_reader_loses_whole_frames_only_and_nothing_that_was_taken() {
    for framing in [Framing::Vde, Framing::Length32] {
        let config = StreamConfig { queue: 10_000, ..StreamConfig::new(framing) };
        let (a, b) = ports(config);
        let mut taken = Vec::new();
        let mut lost = 0;
        // Far more than the socket holds.
        for round in 0..60u8 {
            let frames: Vec<_> = (0..64u8).map(|n| vec![round ^ n; 1500]).collect();
            let slices: Vec<_> = frames.iter().map(Vec::as_slice).collect();
            let outcome = a.try_send_batch(&slices);
            lost += frames.len() - outcome.sent;
            taken.extend_from_slice(&frames[..outcome.sent]);
        }
        assert!(lost > 0, "the socket held everything");
        assert!(a.queued() > 0);
        assert!(matches!(a.flush_queued(), Err(SendError::WouldBlock)));

        let mut got = Vec::new();
        let mut decoder = b.decoder();
        let read = async {
            while got.len() < taken.len() {
                got.extend(recv(&b, &mut decoder).await.unwrap());
            }
        };
        tokio::select! {
            biased;
            error = a.keep_flushing() => panic!("{error}"),
            () = read => {}
        }
        assert_eq!(got, taken);
        assert_eq!(a.queued(), 0);
    }
}

#[tokio::test]
async fn flushing_that_waits_is_woken_by_what_is_queued() {
    let (a, b) = ports(StreamConfig::new(Framing::Vde));
    let fill_and_read = async {
        let mut taken = 0;
        while a.queued() == 0 {
            taken += a.try_send_batch(&[&[1; 1500][..]; 64]).sent;
        }
        let mut decoder = b.decoder();
        while taken > 0 {
            taken -= recv(&b, &mut decoder).await.unwrap().len();
        }
    };
    tokio::select! {
        biased;
        error = a.keep_flushing() => panic!("{error}"),
        () = fill_and_read => {}
    }
}

#[tokio::test]
async fn flushing_ends_with_the_peer() {
    let (a, b) = ports(StreamConfig::new(Framing::Vde));
    while a.queued() == 0 {
        a.try_send_batch(&[&[1; 1500][..]; 64]);
    }
    drop(b);
    assert!(matches!(a.keep_flushing().await, SendError::PeerGone));
}

#[tokio::test]
async fn pipes_are_streams_too_and_blocking_again_afterwards() {
    let (theirs, ours) = io::pipe().unwrap();
    let (input, output) = io::pipe().unwrap();
    let kept = input.try_clone().unwrap();
    let config = StreamConfig::new(Framing::Vde);
    let a = StreamPort::pair(input, ours, config).unwrap();
    let b = StreamPort::pair(theirs, output, config).unwrap();
    for (from, to) in [(&a, &b), (&b, &a)] {
        from.try_send_batch(&[&[1; 60], &[2; 1514]]);
        let got = recv(to, &mut to.decoder()).await.unwrap();
        assert_eq!(got, [vec![1; 60], vec![2; 1514]]);
    }
    assert!(fcntl_getfl(&kept).unwrap().contains(OFlags::NONBLOCK));
    drop(b);
    assert!(matches!(recv(&a, &mut a.decoder()).await, Err(RecvError::Closed)));
    let outcome = a.try_send_batch(&[&[1; 60]]);
    assert!(matches!(outcome.stopped, Some(SendError::PeerGone)));
    drop(a);
    assert!(!fcntl_getfl(&kept).unwrap().contains(OFlags::NONBLOCK));
}

#[tokio::test]
async fn files_and_datagrams_are_refused_in_words() {
    let config = StreamConfig::new(Framing::Vde);
    let error = StreamPort::new(tempfile::tempfile().unwrap(), config).unwrap_err();
    assert!(matches!(error, OpenError::File(End::Input)), "{error:?}");
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let null = std::fs::File::create("/dev/null").unwrap();
    let error = StreamPort::pair(ours, null, config).unwrap_err();
    assert!(matches!(error, OpenError::File(End::Output)), "{error:?}");
    assert!(error.to_string().contains("output is a file"), "{error}");
    let (socket, _other) = UnixDatagram::pair().unwrap();
    let error = StreamPort::new(socket, config).unwrap_err();
    assert!(matches!(error, OpenError::Datagrams(_)), "{error:?}");
}

#[tokio::test]
async fn a_peer_with_another_framing_is_found_out() {
    let (a, b) = UnixStream::pair().unwrap();
    let a = StreamPort::new(a, StreamConfig::new(Framing::Vde)).unwrap();
    let b = StreamPort::new(b, StreamConfig::new(Framing::Length32)).unwrap();
    // Two octets of length and the first two of the address make a monstrous length.
    a.try_send_batch(&[&[0xff; 60]]);
    let error = recv(&b, &mut b.decoder()).await.unwrap_err();
    assert!(matches!(error, RecvError::OutOfStep(_)), "{error:?}");
}
