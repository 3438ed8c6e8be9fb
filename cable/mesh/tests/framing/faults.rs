//! Loss, repetition and nonsense.

use mesh::framing::{
    FramingError, MAX_DATAGRAM_SIZE, MAX_KEPT_OCTETS, Reassembler, Received, WINDOW,
};

use super::{Datagram, Receiver, datagram, pack, record, stream};

#[track_caller]
fn refusal(octets: &[u8]) -> FramingError {
    let mut reassembler = Reassembler::new();
    let mut received = Received::new();
    let error = reassembler.handle_datagram(octets, &mut received).unwrap_err();
    assert_eq!(reassembler.counters().malformed_datagrams, 1);
    assert!(received.is_empty());
    error
}

#[test]
fn a_lost_datagram_costs_only_the_records_in_it() {
    let records: Vec<_> = (0..12).map(|number| record(number, 500)).collect();
    let datagrams = pack(&records, 1200);
    // 12 records of 512 octets in payloads of 1194: the second datagram holds octets 1194 to 2388,
    // parts of records 2 and 4 and all of 3.
    let mut receiver = Receiver::default();
    let rest = datagrams.iter().enumerate().filter(|(index, _)| *index != 1);
    let received = receiver.take_all(rest.map(|(_, datagram)| datagram));
    let expected: Vec<_> = records
        .iter()
        .filter(|record| !(2..=4).contains(&super::number(record)))
        .cloned()
        .collect();
    assert_eq!(received, expected);
    let counters = *receiver.reassembler.counters();
    assert_eq!(counters.lost_datagrams(), 1);
    assert_eq!(counters.records, 9);

    // The pieces of records 2 and 4 are given up when the window has passed.
    let later = datagram(WINDOW as u32 + 10, 0, &stream(&[record(99, 60)]));
    assert_eq!(receiver.take(&later), [record(99, 60)]);
    assert_eq!(receiver.reassembler.counters().broken_records, 2);
    assert_eq!(receiver.reassembler.kept_octets(), 0);
}

#[test]
fn a_repeated_datagram_gives_nothing() {
    let records: Vec<_> = (0..12).map(|number| record(number, 500)).collect();
    let datagrams = pack(&records, 1200);
    let mut receiver = Receiver::default();
    assert_eq!(receiver.take_all(&datagrams), records);
    assert!(receiver.take_all(&datagrams).is_empty());
    assert!(receiver.take_all(datagrams.iter().rev()).is_empty());
    let counters = *receiver.reassembler.counters();
    assert_eq!(counters.repeated_datagrams, 2 * datagrams.len() as u64);
    assert_eq!(counters.datagrams, datagrams.len() as u64);
    assert_eq!(counters.records, 12);
}

#[test]
fn a_datagram_behind_the_window_is_dropped() {
    let whole = |sequence: u32| datagram(sequence, 0, &stream(&[record(sequence, 60)]));
    let window = u32::try_from(WINDOW).unwrap();
    let mut receiver = Receiver::default();
    receiver.take(&whole(10));
    receiver.take(&whole(10 + window));
    assert_eq!(receiver.take(&whole(11)).len(), 1, "the last in reach");
    assert!(receiver.take(&whole(9)).is_empty(), "out of reach");
    let counters = *receiver.reassembler.counters();
    assert_eq!(counters.repeated_datagrams, 1);
    assert_eq!(counters.skipped_datagrams, WINDOW - 1);
    assert_eq!(counters.reordered_datagrams, 1);
}

#[test]
fn the_sequence_wraps_within_a_record() {
    let records = [record(1, 3000)];
    let stream = stream(&records);
    let pieces = [
        datagram(0xff_fffe, 0, &stream[..1000]),
        datagram(0xff_ffff, 0xffff, &stream[1000..2000]),
        datagram(0, 0xffff, &stream[2000..]),
    ];
    let mut receiver = Receiver::default();
    assert_eq!(receiver.take_all(&pieces), records);
    assert_eq!(receiver.reassembler.counters().lost_datagrams(), 0);
    assert!(receiver.take_all(&pieces).is_empty());
}

#[test]
fn a_sender_that_begins_anew_far_away_is_followed() {
    let records: Vec<_> = (0..12).map(|number| record(number, 500)).collect();
    let datagrams = pack(&records, 1200);
    let mut receiver = Receiver::default();
    receiver.take(&datagram(0x7f_0000, 0, &stream(&[record(99, 60)])[..20]));
    assert_eq!(receiver.take_all(&datagrams), records);
    let counters = *receiver.reassembler.counters();
    assert_eq!(counters.restarts, 1);
    assert_eq!(counters.lost_datagrams(), 0, "what was not awaited is not lost");
    assert_eq!(counters.broken_records, 1);
}

#[test]
fn a_piece_that_does_not_end_where_the_header_says_breaks_its_record_alone() {
    let octets = stream(&[record(1, 60), record(2, 60), record(3, 60)]);
    let len = octets.len() / 3;
    // The second datagram claims that its first record starts one record later than it does.
    let first = datagram(0, 0, &octets[..40]);
    let second = datagram(1, u16::try_from(2 * len - 40).unwrap(), &octets[40..]);
    let mut receiver = Receiver::default();
    assert!(receiver.take(&first).is_empty());
    assert_eq!(receiver.take(&second), [record(3, 60)]);
    assert_eq!(receiver.reassembler.counters().broken_records, 1);
    assert_eq!(receiver.reassembler.kept_octets(), 0);
}

#[test]
fn a_record_that_lacks_octets_is_given_up_as_soon_as_the_next_one_starts() {
    let octets = stream(&[record(1, 60), record(2, 60)]);
    let (one, two) = octets.split_at(octets.len() / 2);
    let mut receiver = Receiver::default();
    receiver.take(&datagram(0, 0, &one[..40]));
    let second = datagram(1, 20, &[&one[40..60], two].concat());
    assert_eq!(receiver.take(&second), [record(2, 60)]);
    assert_eq!(receiver.reassembler.counters().broken_records, 1);
    assert_eq!(receiver.reassembler.kept_octets(), 0);
}

#[test]
fn an_end_without_a_beginning_is_dropped_at_once_when_the_neighbour_has_none() {
    let octets = stream(&[record(1, 60)]);
    let mut receiver = Receiver::default();
    receiver.take(&datagram(0, 0, &octets));
    assert!(receiver.take(&datagram(1, 0xffff, &octets[20..])).is_empty());
    let mut both = octets[20..].to_vec();
    both.extend(&octets);
    let first = u16::try_from(octets.len() - 20).unwrap();
    assert_eq!(receiver.take(&datagram(2, first, &both)), [record(1, 60)]);
    assert_eq!(receiver.reassembler.counters().broken_records, 1);
    assert_eq!(receiver.reassembler.kept_octets(), 0);
}

#[test]
fn kept_pieces_are_bounded_in_octets() {
    let octets = stream(&[record(1, 60), record(2, 9000)]);
    let mut long = vec![0; 60_000 - octets.len()];
    long.extend(&octets[..1000]);
    let first = u16::try_from(60_000 - octets.len()).unwrap();
    let mut receiver = Receiver::default();
    // Every other datagram is missing: no piece ever finds its neighbour.
    for sequence in (0..400).step_by(2) {
        assert_eq!(receiver.take(&datagram(sequence, first, &long)), [record(1, 60)]);
        assert!(receiver.reassembler.kept_octets() <= MAX_KEPT_OCTETS);
    }
    assert!(receiver.reassembler.kept_octets() > MAX_KEPT_OCTETS / 2);
    assert!(receiver.reassembler.counters().broken_records > 300);
}

#[test]
fn malformed_datagrams_are_refused_by_name() {
    assert_eq!(refusal(&[]), FramingError::Short(0));
    assert_eq!(refusal(&[2]), FramingError::UnknownType(2));
    assert_eq!(refusal(&[1, 0, 0, 0, 0, 0]), FramingError::Short(6));
    assert_eq!(refusal(&[1, 0, 0, 0, 0, 1, 9]), FramingError::BadOffset { offset: 1, payload: 1 });
    let long = MAX_DATAGRAM_SIZE + 1;
    assert_eq!(refusal(&vec![1; long]), FramingError::LongDatagram { len: long });
}

#[test]
fn malformed_records_are_refused_by_name() {
    let good = stream(&[record(1, 60)]);
    let refusal = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut octets = good.clone();
        change(&mut octets);
        refusal(&datagram(0, 0, &octets))
    };
    assert_eq!(refusal(&|o| o[2] = 0b110), FramingError::BadFlags(0b110));
    assert_eq!(refusal(&|o| o[4..8].fill(0)), FramingError::NoIngress);
    // Shorter than its fields and an Ethernet header; not the shortest form.
    assert_eq!(refusal(&|o| o[..1].fill(23)), FramingError::BadLength(23));
    assert_eq!(refusal(&|o| o[..2].copy_from_slice(&[0x40, 24])), FramingError::BadLength(24));
    // With a virtio-net header it would be as short.
    let mut short = vec![33, 0b01, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    short.resize(34, 0);
    assert_eq!(super::faults::refusal(&datagram(0, 0, &short)), FramingError::BadLength(33));
    assert_eq!(
        refusal(&|o| o[..4].copy_from_slice(&[0x80, 1, 0x00, 0x26])),
        FramingError::TooLong { len: 65_574, limit: 65_573 }
    );
    assert_eq!(
        refusal(&|o| {
            o.splice(..2, [0xc0, 0, 0, 1, 0, 0, 0, 0]);
        }),
        FramingError::TooLong { len: 1 << 32, limit: 65_573 }
    );
    // A long frame without the header that makes it a super-frame.
    let mut jumbo = vec![0x64, 0x1d, 0b00, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    jumbo.resize(2 + 9245, 0);
    assert_eq!(
        super::faults::refusal(&datagram(0, 0, &jumbo)),
        FramingError::TooLong { len: 9245, limit: 9244 }
    );
}

#[test]
fn a_malformed_record_spoils_the_rest_of_its_datagram_only() {
    let records = [record(1, 60), record(2, 60), record(3, 60)];
    let octets = stream(&records);
    let len = octets.len() / 3;
    let mut spoiled = octets.clone();
    spoiled[len + 2] = 0xff;
    // The datagram before ends within record 1, the one after goes on with record 3.
    let datagrams: [Datagram; 3] = [
        datagram(0, 0, &octets[..10]),
        datagram(1, u16::try_from(len - 10).unwrap(), &spoiled[10..3 * len - 5]),
        datagram(2, 5, &[&octets[3 * len - 5..], &octets[..len]].concat()),
    ];
    let mut receiver = Receiver::default();
    receiver.take(&datagrams[0]);
    let error = receiver.reassembler.handle_datagram(datagrams[1].clone(), &mut receiver.received);
    assert_eq!(error, Err(FramingError::BadFlags(0xff)));
    assert_eq!(receiver.drain(), records[..1]);
    assert_eq!(receiver.take(&datagrams[2]), records[..1]);
    let counters = *receiver.reassembler.counters();
    assert_eq!((counters.malformed_datagrams, counters.broken_records), (1, 1));
    assert_eq!(receiver.reassembler.kept_octets(), 0);
}
