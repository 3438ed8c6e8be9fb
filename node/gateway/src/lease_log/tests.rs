//! What a crash, a failing disk or another program may do to a log, and what must remain.

use proptest::prelude::*;

use super::*;

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn lease(last: u8, id: Vec<u8>, name: Option<&str>) -> LeaseRecord {
    LeaseRecord {
        address: address(last),
        state: RecordState::Bound,
        client: if id.is_empty() { ClientKey::Hardware([2; 6]) } else { ClientKey::Id(id) },
        mac: [2, 0, 0, 0, 0, last],
        hostname: name.map(|name| name.parse().unwrap()),
        time: LeaseTime::from_secs(3600),
        boot: BootId([7; 16]),
        until_since_boot: Some(4000),
        until: UtcTime(1_800_000_000),
    }
}

fn log_of(records: &[Record]) -> (Vec<u8>, Vec<usize>) {
    let mut log = header().to_vec();
    let mut ends = vec![log.len()];
    for record in records {
        encode(record, &mut log);
        ends.push(log.len());
    }
    (log, ends)
}

fn leases_of(records: &[Record]) -> Leases {
    let mut leases = Leases::default();
    records.iter().cloned().for_each(|record| leases.apply(record));
    leases
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let id = prop_oneof![
        Just(Vec::new()),
        proptest::collection::vec(any::<u8>(), 1..20),
        // What looks like chunks of ours inside an identifier.
        proptest::collection::vec(prop_oneof![Just(FIRST), Just(OTHER), Just(0)], 100..=255),
    ];
    let name = proptest::option::of("[a-z]([a-z0-9-]{0,40}[a-z])?");
    let record = prop_oneof![
        8 => (0..20_u8, id, name, 0..4_u8).prop_map(|(last, id, name, state)| {
            let mut lease = lease(last, id, name.as_deref());
            use RecordState::{Bound, Quarantined, Released, Used};
            lease.state = [Bound, Released, Quarantined, Used][usize::from(state)];
            Record::Lease(lease)
        }),
        2 => (0..20_u8).prop_map(|last| Record::Free(address(last))),
        1 => (0..20_u8).prop_map(|last| Record::Reserved(ReservationRecord {
            address: address(last),
            client: ReservedFor::Mac(MacAddr([2, 1, 0, 0, 0, last])),
            hostname: None,
        })),
        1 => (0..20_u8).prop_map(|last| Record::Unreserved(address(last))),
    ];
    proptest::collection::vec(record, 0..12)
}

#[test]
fn the_octets_of_version_1_do_not_change() {
    let (log, _) = log_of(&[Record::Lease(lease(5, Vec::new(), Some("vm1")))]);
    let hex = |octets: &[u8]| octets.iter().map(|o| format!("{o:02x}")).collect::<String>();
    assert_eq!(log.len(), 2 * CHUNK);
    assert_eq!(hex(&log[..14]), "7664656c6561736501005f8bd3f0");
    assert_eq!(
        hex(log[CHUNK..].trim_ascii_end()).trim_end_matches("00"),
        "523200def5753b000a00000500010202020202020200000000050103766d31901c0707070707070707070707070707070701a01f80a4a7da06"
    );
}

#[test]
fn a_usual_lease_takes_one_chunk() {
    let id = [&[255][..], &[0x5a; 18]].concat();
    let (log, _) = log_of(&[Record::Lease(lease(5, id, Some("build-server-17")))]);
    assert_eq!(log.len(), 2 * CHUNK);
}

#[test]
fn the_longest_lease_fits() {
    let name = "a".repeat(63);
    let records = [Record::Lease(lease(5, vec![0xff; 255], Some(&name)))];
    let (log, _) = log_of(&records);
    assert_eq!(load(&log).unwrap().leases, leases_of(&records));
}

#[test]
fn an_empty_file_a_zeroed_one_and_a_cut_header_are_empty_logs() {
    for len in 0..CHUNK {
        let loaded = load(&header()[..len]).unwrap();
        assert_eq!((loaded.valid_len, loaded.damage.is_serious()), (0, false), "{len}");
    }
    assert_eq!(load(&[0; 4096]).unwrap().leases, Leases::default());
    assert_eq!(load(&header()).unwrap().valid_len, CHUNK);
}

#[test]
fn a_later_version_is_left_alone() {
    let (mut log, _) = log_of(&[Record::Lease(lease(5, Vec::new(), None))]);
    log[8] = 2;
    let sum = CRC.checksum(&log[..10]).to_le_bytes();
    log[10..14].copy_from_slice(&sum);
    assert_eq!(load(&log), Err(LoadError::Version(2)));
}

#[test]
fn another_file_is_left_alone() {
    assert_eq!(load(b"1700000000 52:54:00:12:34:56 10.0.0.5 vm1 *\n"), Err(LoadError::NotALog));
    assert_eq!(load(&[b'R'; 1000]), Err(LoadError::NotALog));
}

proptest! {
    #[test]
    fn what_was_written_is_read(records in records()) {
        let (log, _) = log_of(&records);
        let loaded = load(&log).unwrap();
        prop_assert_eq!(loaded.damage, Damage::default());
        prop_assert_eq!(loaded.valid_len, log.len());
        prop_assert_eq!(loaded.leases, leases_of(&records));
    }

    #[test]
    fn compaction_changes_nothing_that_is_read(records in records()) {
        let leases = leases_of(&records);
        prop_assert_eq!(load(&compact(&leases)).unwrap().leases, leases);
    }

    #[test]
    fn any_octets_are_read_without_harm(log in proptest::collection::vec(any::<u8>(), 0..4096)) {
        if let Ok(loaded) = load(&log) {
            prop_assert!(loaded.valid_len <= log.len());
        }
    }

    #[test]
    fn overwritten_octets_invent_no_lease(
        records in records(),
        noise in proptest::collection::vec(any::<u8>(), 1..300),
        place in any::<prop::sample::Index>(),
    ) {
        let (mut log, _) = log_of(&records);
        let at = place.index(log.len());
        let len = noise.len().min(log.len() - at);
        log[at..at + len].copy_from_slice(&noise[..len]);
        if let Ok(loaded) = load(&log) {
            for lease in loaded.leases.leases.into_values() {
                prop_assert!(records.contains(&Record::Lease(lease)));
            }
        }
    }
}

proptest! {
    // Each case tries every octet.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Every cut: no record that was complete is lost, none is invented, and what is appended
    /// after truncation is read too.
    #[test]
    fn a_log_cut_anywhere_keeps_all_complete_records(records in records()) {
        let (log, ends) = log_of(&records);
        for cut in 0..=log.len() {
            let loaded = load(&log[..cut]).unwrap();
            let complete = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
            prop_assert_eq!(&loaded.leases, &leases_of(&records[..complete]), "cut at {}", cut);
            prop_assert!(!loaded.damage.is_serious());
            prop_assert_eq!(loaded.valid_len + loaded.damage.torn_tail, cut);
            if loaded.valid_len > 0 {
                prop_assert_eq!(loaded.valid_len, ends[complete]);
            }
        }
    }

    /// One changed bit anywhere costs at most the record that it is in.
    #[test]
    fn a_flipped_bit_costs_at_most_its_record(records in records(), bit in 0..8_u8) {
        let (log, ends) = log_of(&records);
        let mut damaged = log.clone();
        for at in 0..log.len() {
            damaged[at] ^= 1 << bit;
            let hit = ends.iter().position(|end| at < *end).unwrap();
            match load(&damaged) {
                Err(LoadError::NotALog) => prop_assert!(records.len() <= 1),
                Err(other) => prop_assert!(false, "{other}"),
                Ok(loaded) => {
                    let mut without = records.clone();
                    if hit > 0 {
                        without.remove(hit - 1);
                    }
                    // Padding and the header may change without harm.
                    let all = loaded.leases == leases_of(&records);
                    prop_assert!(all || loaded.leases == leases_of(&without), "octet {}", at);
                    prop_assert!(all || hit > 0);
                }
            }
            damaged[at] ^= 1 << bit;
        }
    }
}
