//! The indexes agree with the rows, whatever is done to them.

use proptest::prelude::*;

use super::*;

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn check(table: &Table) {
    for (client, address) in &table.by_client {
        assert_eq!(table.bindings[address].client, *client);
    }
    for (name, address) in &table.by_name {
        assert_eq!(table.bindings[address].hostname.as_ref(), Some(name));
        assert!(table.bindings[address].term().is_some());
    }
    let mut deadlines = BTreeSet::new();
    let mut lapsed = BTreeSet::new();
    for (address, binding) in &table.bindings {
        deadlines.extend(binding.deadline().map(|deadline| (deadline, *address)));
        if let State::Lapsed { since } = binding.state {
            lapsed.insert((since, *address));
        }
    }
    assert_eq!((deadlines, lapsed), (table.deadlines.clone(), table.lapsed.clone()));
    let mut holdings = BTreeMap::<Source, usize>::new();
    for holder in table.bindings.values().filter_map(Binding::holder) {
        *holdings.entry(holder).or_default() += 1;
    }
    let mut claims = BTreeMap::<Source, usize>::new();
    for claimant in table.bindings.values().filter_map(Binding::claimed_at) {
        *claims.entry(claimant).or_default() += 1;
    }
    let counted = |count: fn(&Holding) -> usize| {
        let counted = table.holdings.iter().map(|(source, holding)| (*source, count(holding)));
        counted.filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(holdings, counted(|holding| holding.addresses));
    assert_eq!(claims, counted(|holding| holding.claims));
    assert!(table.holdings.values().all(|holding| !holding.is_empty()));
    let taken = |at: &Ipv4Addr| table.bindings.contains_key(at) || table.kept.contains_key(at);
    let free: BTreeSet<_> = table.pool.iter().filter(|at| !taken(at)).copied().collect();
    assert_eq!(free, table.free);
    for (client, address) in &table.kept_for {
        assert_eq!(table.kept[address].reservation.client, *client);
    }
    assert_eq!(table.kept.len(), table.kept_for.len());
}

proptest! {
    #[test]
    fn indexes_follow_the_rows(
        steps in proptest::collection::vec((0..6_u8, 0..8_u8, 0..4_u8, 0..100_u64), 0..100)
    ) {
        let mut table = Table::new((0..6).map(address).collect(), None);
        for (what, last, client, time) in steps {
            let at = Duration::from_secs(time);
            let station = MacAddr([2, 0, 0, 0, 0, client]);
            let term = Term { time: LeaseTime::from_secs(9), expires: Some(at), committed: true };
            let state = match what {
                0 => State::Offered { until: at, lapsed: None },
                1 => State::Bound(term),
                2 => State::Lapsed { since: at },
                3 => State::Quarantined { until: at, is_declined: time % 2 == 0 },
                4 => {
                    table.remove(address(last));
                    check(&table);
                    continue;
                }
                _ => {
                    let client = ReservedFor::Mac(station);
                    let reservation = Reservation { address: address(last), client, hostname: None };
                    if table.keep(Kept { reservation, configured: false }).is_err() {
                        let _ = table.unkeep(address(last));
                    }
                    check(&table);
                    continue;
                }
            };
            table.put(address(last), Binding {
                client: ClientKey::Hardware(station.0),
                station,
                hostname: (time % 2 == 0).then(|| "vm".parse().unwrap()),
                source: Some(Source { node: 1, port: (time % 3 > 0).then_some(time % 3) }),
                state,
                verified_until: Duration::ZERO,
            });
            check(&table);
            let chosen = table.choose(&ClientKey::Hardware(station.0), station, None);
            if let Some(chosen) = chosen {
                let client = ClientKey::Hardware(station.0);
                prop_assert!(table.is_usable(chosen, &client, station));
                prop_assert!(table.is_assignable(chosen, &client, station));
            }
        }
    }
}
