//! The shape of a batch.

use ether::limits::{MAX_FRAME, MAX_SUPER_FRAME};
use mesh::framing::{
    MAX_BATCH_OCTETS, MAX_DATAGRAM_SIZE, MIN_DATAGRAM_SIZE, PackError, Packer, STREAM_ROOM_INTERVAL,
};

use super::{Receiver, record};

#[test]
fn datagrams_are_equally_long_but_for_the_last_and_one_in_32() {
    let mut packer = Packer::new();
    packer.set_datagram_size(1200);
    for number in 0..100 {
        let (header, frame) = record(number, 1514);
        packer.push(&header, &frame).unwrap();
    }
    packer.flush();
    let packed = packer.take().unwrap();
    let lens: Vec<_> = packed.ranges().map(|range| range.len()).collect();
    assert_eq!(lens.len(), packed.len());
    assert_eq!(lens.iter().sum::<usize>(), packed.octets().len());
    let (last, full) = lens.split_last().unwrap();
    assert!(*last <= 1200);
    assert!(full.len() > 100);
    for (sequence, len) in (0..).zip(full) {
        let makes_room = sequence % STREAM_ROOM_INTERVAL == STREAM_ROOM_INTERVAL - 1;
        assert_eq!(*len, if makes_room { 600 } else { 1200 }, "datagram {sequence}");
    }
}

#[test]
fn room_for_streams_comes_in_turn_even_when_every_batch_is_short() {
    let mut packer = Packer::new();
    packer.set_datagram_size(1000);
    let (header, frame) = record(0, 900);
    let mut lens = Vec::new();
    let interval = STREAM_ROOM_INTERVAL as usize;
    for _ in 0..2 * interval {
        packer.push(&header, &frame).unwrap();
        packer.flush();
        lens.extend(packer.take().unwrap().ranges().map(|range| range.len()));
    }
    assert_eq!(lens[interval - 1], 500);
    assert_eq!(lens[2 * interval - 1], 500);
    assert_eq!(lens.iter().filter(|len| **len == 500).count(), lens.len() / interval);
}

#[test]
fn nothing_is_held_back_by_a_flush() {
    let mut packer = Packer::new();
    let (header, frame) = record(1, 60);
    assert!(packer.take().is_none());
    packer.flush();
    assert!(packer.take().is_none(), "there was nothing to flush");
    packer.push(&header, &frame).unwrap();
    assert!(packer.take().is_none(), "the datagram is open");
    packer.flush();
    assert_eq!(packer.take().unwrap().len(), 1);
    assert_eq!(packer.pending_octets(), 0);
}

#[test]
fn a_batch_can_be_taken_while_a_datagram_is_open() {
    let records: Vec<_> = (0..50).map(|number| record(number, 700)).collect();
    let mut packer = Packer::new();
    let mut receiver = Receiver::default();
    let mut received = Vec::new();
    for (header, frame) in &records {
        packer.push(header, frame).unwrap();
        if packer.pending_octets() > 3000
            && let Some(packed) = packer.take()
        {
            assert!(packer.pending_octets() < 1162);
            let (octets, ranges) = packed.into_parts();
            received.extend(
                receiver
                    .take_all(ranges.map(|range| octets[range].into()).collect::<Vec<_>>().iter()),
            );
        }
    }
    packer.flush();
    let packed = packer.take().unwrap();
    for range in packed.ranges() {
        received.extend(receiver.take(&packed.octets()[range].into()));
    }
    assert_eq!(received, records);
}

#[test]
fn a_new_size_holds_from_the_next_datagram_on() {
    let mut packer = Packer::new();
    packer.set_datagram_size(600);
    let (header, frame) = record(1, 1100);
    packer.push(&header, &frame).unwrap();
    packer.set_datagram_size(900);
    packer.push(&header, &frame).unwrap();
    packer.flush();
    let lens: Vec<_> = packer.take().unwrap().ranges().map(|range| range.len()).collect();
    assert_eq!(lens[..3], [600, 600, 900]);
}

#[test]
fn sizes_out_of_range_are_taken_into_it() {
    for (size, len) in [(0, MIN_DATAGRAM_SIZE), (usize::MAX, MAX_DATAGRAM_SIZE)] {
        let mut packer = Packer::new();
        packer.set_datagram_size(size);
        let (header, frame) = record(1, MAX_SUPER_FRAME);
        packer.push(&header, &frame).unwrap();
        packer.flush();
        assert_eq!(packer.take().unwrap().ranges().next(), Some(0..len));
    }
}

#[test]
fn a_frame_that_nobody_could_relay_is_refused() {
    let mut packer = Packer::new();
    let (header, frame) = record(1, MAX_FRAME);
    packer.push(&header, &frame).unwrap();
    assert_eq!(packer.push(&header, &[0; 13]), Err(PackError::Runt(13)));
    assert_eq!(
        packer.push(&header, &[0; MAX_FRAME + 1]),
        Err(PackError::TooLong { len: MAX_FRAME + 1, limit: MAX_FRAME })
    );
    let (header, frame) = record(2, MAX_SUPER_FRAME);
    packer.push(&header, &frame).unwrap();
    assert_eq!(
        packer.push(&header, &[0; MAX_SUPER_FRAME + 1]),
        Err(PackError::TooLong { len: MAX_SUPER_FRAME + 1, limit: MAX_SUPER_FRAME })
    );
}

#[test]
fn a_batch_that_nobody_takes_is_bounded() {
    let mut packer = Packer::new();
    let (header, frame) = record(1, MAX_SUPER_FRAME);
    let refused = loop {
        if let Err(error) = packer.push(&header, &frame) {
            break error;
        }
        assert!(packer.pending_octets() < MAX_BATCH_OCTETS + 80_000);
    };
    assert_eq!(refused, PackError::BatchFull(packer.pending_octets()));
    packer.take().unwrap();
    packer.push(&header, &frame).unwrap();
}
