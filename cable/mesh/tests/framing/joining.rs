//! Pieces of records, in all places and orders.

use ether::limits::{MAX_FRAME, MAX_SUPER_FRAME};
use mesh::framing::MIN_DATAGRAM_SIZE;

use super::{Datagram, Receiver, Record, datagram, pack, record, record_len, stream};

/// Cuts a record stream at the given places and numbers the datagrams from 0.
fn cut(records: &[Record], cuts: &[usize]) -> Vec<Datagram> {
    let stream = stream(records);
    let mut starts = vec![0];
    for record in records {
        starts.push(starts[starts.len() - 1] + record_len(record));
    }
    assert_eq!(starts.pop(), Some(stream.len()));
    let mut ends = cuts.to_vec();
    ends.push(stream.len());
    let mut from = 0;
    (0..)
        .zip(ends)
        .map(|(sequence, end)| {
            let first = starts.iter().find(|start| (from..end).contains(start));
            let offset = first.map_or(0xffff, |start| u16::try_from(start - from).unwrap());
            let datagram = datagram(sequence, offset, &stream[from..end]);
            from = end;
            datagram
        })
        .collect()
}

#[test]
fn three_pieces_cut_anywhere_join_in_any_order() {
    // One record with a length of two octets between two with one: all header fields get cut.
    let records = [record(1, 14), record(2, 60), record(3, 14)];
    let len = stream(&records).len();
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for first in 1..len - 1 {
        for second in first + 1..len {
            let datagrams = cut(&records, &[first, second]);
            for order in orders {
                let mut receiver = Receiver::default();
                let mut received = receiver.take_all(order.map(|index| &datagrams[index]));
                if order == [0, 1, 2] {
                    assert_eq!(received, records, "cut at {first} and {second}");
                }
                received.sort_by_key(super::number);
                assert_eq!(received, records, "cut at {first} and {second}, order {order:?}");
                assert_eq!(receiver.reassembler.kept_octets(), 0);
                assert_eq!(receiver.reassembler.counters().broken_records, 0);
            }
        }
    }
}

#[test]
fn a_record_in_single_octets_joins() {
    let records = [record(1, 14), record(2, 60), record(3, 14)];
    let cuts: Vec<_> = (1..stream(&records).len()).collect();
    let datagrams = cut(&records, &cuts);
    assert_eq!(Receiver::default().take_all(&datagrams), records);
    let mut backwards = Receiver::default().take_all(datagrams.iter().rev());
    backwards.reverse();
    assert_eq!(backwards, records);
}

#[test]
fn a_record_that_is_complete_does_not_wait_for_the_next_datagram() {
    let records = [record(1, MAX_FRAME)];
    let datagrams = pack(&records, 1200);
    let (last, others) = datagrams.split_last().unwrap();
    assert_eq!(last[4..6], [0xff, 0xff], "no record starts in the last datagram");
    let mut receiver = Receiver::default();
    assert!(receiver.take_all(others).is_empty());
    assert_eq!(receiver.take(last), records);
    assert_eq!(receiver.reassembler.kept_octets(), 0);
}

#[test]
fn a_joined_record_comes_before_the_whole_ones_behind_it() {
    let records: Vec<_> = (0..4).map(|number| record(number, 400)).collect();
    let datagrams = pack(&records, 700);
    let mut receiver = Receiver::default();
    assert_eq!(receiver.take(&datagrams[0]), records[..1]);
    assert_eq!(receiver.take(&datagrams[1]), records[1..3]);
    assert_eq!(receiver.take(&datagrams[2]), records[3..]);
}

#[test]
fn a_late_datagram_completes_the_records_at_both_its_ends() {
    let records: Vec<_> = (0..4).map(|number| record(number, 400)).collect();
    let datagrams = pack(&records, 700);
    let mut receiver = Receiver::default();
    receiver.take(&datagrams[0]);
    assert!(receiver.take(&datagrams[2]).is_empty());
    assert_eq!(receiver.take(&datagrams[1]), records[1..]);
    assert_eq!(receiver.reassembler.counters().reordered_datagrams, 1);
    assert_eq!(receiver.reassembler.counters().lost_datagrams(), 0);
}

#[test]
fn the_longest_record_crosses_the_smallest_datagrams_in_either_direction() {
    let records = [record(1, 100), record(2, MAX_SUPER_FRAME), record(3, 100)];
    let datagrams = pack(&records, MIN_DATAGRAM_SIZE);
    assert!(datagrams.len() > 128);
    assert_eq!(Receiver::default().take_all(&datagrams), records);
    let mut backwards = Receiver::default().take_all(datagrams.iter().rev());
    backwards.sort_by_key(super::number);
    assert_eq!(backwards, records);
}

#[test]
fn whole_records_of_a_batch_share_the_datagram_and_are_not_copied() {
    let records: Vec<_> = (0..10).map(|number| record(number, 60)).collect();
    let datagrams = pack(&records, 1200);
    let mut receiver = Receiver::default();
    receiver.reassembler.handle_datagram(datagrams[0].clone(), &mut receiver.received).unwrap();
    let within = datagrams[0].as_ptr_range();
    assert_eq!(receiver.received.len(), 10);
    for (_, frame) in receiver.received.iter() {
        assert!(within.contains(&frame.as_ptr()));
    }
    receiver.received.clear();
    assert!(receiver.received.is_empty());
    assert_eq!(std::sync::Arc::strong_count(&datagrams[0]), 1, "the datagram is let go");
}
