//! Random frames, sizes, losses, repetitions and orders.

use std::collections::HashSet;

use ether::limits::{MAX_FRAME, MAX_SUPER_FRAME};
use mesh::framing::{DATAGRAM_HEADER_LEN, MAX_KEPT_OCTETS, MIN_DATAGRAM_SIZE, Packer};
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Datagram, Receiver, Record, number, payload, record, record_len};

/// A record, and whether a flush follows it.
type Push = (usize, bool);

fn frame_len() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 14..200usize,
        6 => 1400..1519usize,
        2 => 14..=MAX_FRAME,
        1 => MAX_FRAME + 1..=MAX_SUPER_FRAME,
    ]
}

fn pushes() -> impl Strategy<Value = Vec<Push>> {
    prop::collection::vec((frame_len(), prop::bool::weighted(0.2)), 1..60)
}

/// Packs, and moves the sequence so that it starts anywhere.
fn pack(pushes: &[Push], sizes: &[usize], start: u32) -> (Vec<Record>, Vec<Datagram>) {
    let mut packer = Packer::new();
    let mut records = Vec::new();
    let mut datagrams: Vec<Datagram> = Vec::new();
    for (index, (len, flush)) in (0..).zip(pushes) {
        let record = record(index, *len);
        packer.set_datagram_size(sizes[index as usize % sizes.len()]);
        packer.push(&record.0, &record.1).unwrap();
        records.push(record);
        if *flush || records.len() == pushes.len() {
            packer.flush();
        }
        if let Some(packed) = packer.take() {
            datagrams.extend(packed.ranges().map(|range| Datagram::from(&packed.octets()[range])));
        }
    }
    for (index, datagram) in (0..).zip(&mut datagrams) {
        let sequence: u32 = start.wrapping_add(index);
        let mut octets = datagram.to_vec();
        octets[1..4].copy_from_slice(&sequence.to_be_bytes()[1..]);
        *datagram = octets.into();
    }
    (records, datagrams)
}

/// The records of which no octet lies in a lost datagram.
fn untouched(records: &[Record], datagrams: &[Datagram], lost: &HashSet<usize>) -> Vec<Record> {
    let mut at = 0;
    let mut holes = Vec::new();
    for (index, datagram) in datagrams.iter().enumerate() {
        let end = at + payload(datagram).len();
        if lost.contains(&index) {
            holes.push(at..end);
        }
        at = end;
    }
    let mut at = 0;
    let mut whole = Vec::new();
    for record in records {
        let end = at + record_len(record);
        if holes.iter().all(|hole| hole.end <= at || end <= hole.start) {
            whole.push(record.clone());
        }
        at = end;
    }
    whole
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn without_loss_and_in_order_all_frames_arrive_in_order(
        pushes in pushes(),
        sizes in prop::collection::vec(
            prop_oneof![MIN_DATAGRAM_SIZE..1500usize, MIN_DATAGRAM_SIZE..66_000], 1..4),
        start in prop_oneof![Just(0), 0xff_ff00..0x100_0000u32, any::<u32>()],
    ) {
        let (records, datagrams) = pack(&pushes, &sizes, start);
        let mut receiver = Receiver::default();
        prop_assert_eq!(receiver.take_all(&datagrams), records);
        prop_assert_eq!(receiver.reassembler.kept_octets(), 0);
        let counters = *receiver.reassembler.counters();
        prop_assert_eq!(counters.datagrams, datagrams.len() as u64);
        prop_assert_eq!(counters.records, pushes.len() as u64);
        prop_assert_eq!(counters.lost_datagrams() + counters.broken_records, 0);
    }

    /// The size of datagrams is so bounded here that the window's octets never run out, and the
    /// reordering so that the window's length does not.
    #[test]
    fn exactly_the_frames_that_no_loss_touches_arrive_once(
        pushes in pushes(),
        sizes in prop::collection::vec(MIN_DATAGRAM_SIZE..4000usize, 1..4),
        start in prop_oneof![Just(0), 0xff_ff00..0x100_0000u32, any::<u32>()],
        loss in prop_oneof![Just(0.0), 0.0..0.3f64],
        fates in prop::collection::vec((0.0..1.0f64, 0..100usize, 0..8usize, 0..100usize), 200),
    ) {
        let (records, datagrams) = pack(&pushes, &sizes, start);
        let mut lost = HashSet::new();
        let mut arrivals = Vec::new();
        for index in 0..datagrams.len() {
            let (luck, delay, copies, later) = fates[index % fates.len()];
            if luck < loss {
                lost.insert(index);
                continue;
            }
            arrivals.push((index + delay, index));
            if copies == 0 {
                arrivals.push((index + later * 5, index));
            }
        }
        arrivals.sort_by_key(|(at, _)| *at);
        let mut receiver = Receiver::default();
        let mut received = receiver.take_all(arrivals.iter().map(|(_, index)| &datagrams[*index]));
        received.sort_by_key(number);
        // Frames are compared by eye only if they are few.
        let expected = untouched(&records, &datagrams, &lost);
        let numbers = |records: &[Record]| records.iter().map(number).collect::<Vec<_>>();
        prop_assert_eq!(numbers(&received), numbers(&expected));
        prop_assert!(received == expected, "a frame was changed");
        if lost.is_empty() {
            prop_assert_eq!(receiver.reassembler.kept_octets(), 0);
            prop_assert_eq!(receiver.reassembler.counters().lost_datagrams(), 0);
        }
    }

    /// Any order, however far: frames may be missing, but none is changed or comes twice.
    #[test]
    fn no_frame_arrives_changed_or_twice_in_any_order(
        pushes in pushes(),
        size in prop_oneof![MIN_DATAGRAM_SIZE..1500usize, MIN_DATAGRAM_SIZE..66_000],
        start in any::<u32>(),
        order in prop::collection::vec(any::<Index>(), 0..600),
    ) {
        let (records, datagrams) = pack(&pushes, &[size], start);
        let mut receiver = Receiver::default();
        let mut seen = HashSet::new();
        for index in order {
            for record in receiver.take(index.get(&datagrams)) {
                prop_assert!(seen.insert(number(&record)), "record {} came twice", number(&record));
                prop_assert!(record == records[number(&record) as usize], "a frame was changed");
            }
            prop_assert!(receiver.reassembler.kept_octets() <= MAX_KEPT_OCTETS);
        }
    }

    #[test]
    fn arbitrary_datagrams_do_no_harm(
        datagrams in prop::collection::vec(
            (0..300u32, prop_oneof![Just(0xffffu16), 0..300u16],
             prop::collection::vec(prop_oneof![Just(0u8), Just(24), Just(1), any::<u8>()], 0..300)),
            0..100),
    ) {
        let mut receiver = Receiver::default();
        for (sequence, first, payload) in datagrams {
            let datagram = super::datagram(sequence, first, &payload);
            let _ = receiver.reassembler.handle_datagram(datagram, &mut receiver.received);
            receiver.drain();
            prop_assert!(receiver.reassembler.kept_octets() <= MAX_KEPT_OCTETS);
        }
    }

    #[test]
    fn datagrams_with_octets_changed_do_no_harm(
        pushes in pushes(),
        size in MIN_DATAGRAM_SIZE..3000usize,
        changes in prop::collection::vec((any::<Index>(), any::<Index>(), any::<u8>()), 1..200),
    ) {
        let (_, mut datagrams) = pack(&pushes, &[size], 0);
        for (which, place, value) in changes {
            let datagram = which.get(&datagrams);
            let mut octets = datagram.to_vec();
            // Mostly in the header and the first record, where octets have a meaning.
            let reach = octets.len().min(DATAGRAM_HEADER_LEN + 24);
            octets[place.index(reach)] = value;
            let index = which.index(datagrams.len());
            datagrams[index] = octets.into();
        }
        let mut receiver = Receiver::default();
        for datagram in datagrams {
            let _ = receiver.reassembler.handle_datagram(datagram, &mut receiver.received);
            prop_assert!(receiver.reassembler.kept_octets() <= MAX_KEPT_OCTETS);
        }
        receiver.drain();
    }
}
