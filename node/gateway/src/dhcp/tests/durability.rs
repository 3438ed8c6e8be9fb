//! The disk: what waits for it, what a crash may cost, what happens when it refuses.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

// D25
#[test]
fn an_ack_waits_for_the_disk() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let address = lab.ask(&client.discover()).yiaddr;
    lab.storage = None;
    assert_eq!(lab.send(&client.select(address).frame()), []);
    lab.unanswered(&client.select(address), Ignored::Repeated);
    lab.unanswered(&client.discover(), Ignored::Repeated);
    assert_eq!(lab.state(address), Some(LeaseState::Offered));
    assert_eq!(lab.events(), []);
    lab.storage = Some(Ok(()));
    let replies = lab.settle();
    assert_eq!((replies.len(), replies[0].kind), (1, ACK));
    assert_eq!(lab.state(address), Some(LeaseState::Bound));
}

#[test]
fn while_one_write_is_under_way_the_next_collects() {
    let mut lab = Lab::new(config());
    let clients: Vec<_> = (0..50).map(Client::new).collect();
    let offers: Vec<_> = clients.iter().map(|c| lab.ask(&c.discover()).yiaddr).collect();
    lab.storage = None;
    for (client, address) in clients.iter().zip(&offers) {
        lab.send(&client.select(*address).frame());
    }
    let before = lab.disk.len();
    lab.storage = Some(Ok(()));
    let first = lab.server.poll_store();
    assert_eq!(first, None, "one at a time");
    assert_eq!(lab.settle().len(), 50);
    assert_eq!(lab.disk.len(), before + 50 * lease_log::CHUNK);
}

#[test]
fn a_report_for_another_write_is_ignored() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let address = lab.ask(&client.discover()).yiaddr;
    lab.storage = None;
    lab.send(&client.select(address).frame());
    let old = lab.server.add_reservation(Reservation {
        address: ip(200),
        client: crate::ReservedFor::Mac(client.mac),
        hostname: None,
    });
    lab.server.handle_stored(old.unwrap(), Ok(0), lab.now);
    assert_eq!(lab.server.poll_transmit(), None, "that write has not begun");
}

#[test]
fn a_full_disk_stops_new_leases_and_lets_renewals_go_on() {
    for error in [StoreError::NoSpace, StoreError::ReadOnly, StoreError::Failed] {
        let mut lab = Lab::new(config());
        let (old, new) = (Client::new(1), Client::new(2));
        let address = lab.join(&old);
        let offered = lab.ask(&new.discover()).yiaddr;
        lab.events();
        lab.storage = Some(Err(error));
        lab.pass(secs(1));
        lab.unanswered(&new.select(offered), Ignored::NotDurable);
        assert_eq!(lab.events(), [Event::NotDurable(error)]);
        assert_eq!(lab.server.not_durable(), Some(error));
        lab.unanswered(&new.select(offered), Ignored::NotDurable);
        lab.unanswered(&Client::new(3).discover(), Ignored::NotDurable);
        lab.pass(secs(1000));
        assert_eq!(lab.ask(&old.renew(address)).kind, ACK);
        assert_eq!(lab.lease(address).unwrap().remaining, Some(secs(3600)));
        assert!(!lab.lease(address).unwrap().durable);
        assert_eq!(lab.ask(&old.discover()).yiaddr, address);
        // Space again: within seconds, without a restart, all that was not written is.
        lab.storage = Some(Ok(()));
        lab.events();
        lab.pass(secs(5));
        assert_eq!(lab.events(), [Event::Durable], "{error}");
        assert!(lab.lease(address).unwrap().durable);
        let there = lab.join(&new);
        lab.crash();
        assert_eq!(lab.state(there), Some(LeaseState::Bound));
        assert_eq!(lab.lease(address).unwrap().remaining, Some(secs(3596)));
    }
}

#[test]
fn a_renewal_that_meets_the_failure_is_answered() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let address = lab.join(&client);
    lab.storage = Some(Err(StoreError::NoSpace));
    assert_eq!(lab.ask(&client.renew(address)).kind, ACK);
}

#[test]
fn a_machine_whose_return_meets_the_failure_is_still_remembered() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let address = lab.join(&client);
    lab.send(&client.release(address).frame());
    lab.ask(&client.discover());
    lab.storage = Some(Err(StoreError::NoSpace));
    lab.unanswered(&client.select(address), Ignored::NotDurable);
    lab.pass(secs(60));
    assert_eq!(lab.state(address), Some(LeaseState::Lapsed));
    lab.storage = Some(Ok(()));
    lab.pass(secs(5));
    lab.crash();
    assert_eq!(lab.state(address), Some(LeaseState::Lapsed), "the disk has forgotten it");
}

#[test]
fn a_failing_disk_is_tried_every_five_seconds_and_told_once() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let address = lab.join(&client);
    lab.events();
    lab.storage = Some(Err(StoreError::NoSpace));
    lab.ask(&client.renew(address));
    for _ in 0..10 {
        assert_eq!(lab.server.poll_timeout(), Some(lab.now.instant + secs(5)));
        lab.pass(secs(5));
    }
    let told: Vec<_> =
        lab.events().into_iter().filter(|event| matches!(event, Event::NotDurable(_))).collect();
    assert_eq!(told, [Event::NotDurable(StoreError::NoSpace)]);
}

#[test]
fn after_an_unexplained_failure_the_whole_log_is_written_anew() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let address = lab.join(&client);
    lab.storage = Some(Err(StoreError::Failed));
    lab.ask(&client.renew(address));
    lab.disk.truncate(lab.disk.len() - 5);
    lab.storage = Some(Ok(()));
    lab.pass(secs(5));
    let log = lease_log::load(&lab.disk).unwrap();
    assert_eq!(log.damage, lease_log::Damage::default());
    assert!(log.leases.leases.contains_key(&address));
}

#[test]
fn a_slow_disk_is_told_and_renewals_stop_waiting_for_it() {
    let mut lab = Lab::new(config());
    let (old, new) = (Client::new(1), Client::new(2));
    let address = lab.join(&old);
    let offered = lab.ask(&new.discover()).yiaddr;
    lab.events();
    lab.storage = None;
    assert_eq!(lab.send(&old.renew(address).frame()), []);
    assert_eq!(lab.send(&new.select(offered).frame()), []);
    assert_eq!(lab.server.poll_timeout(), Some(lab.now.instant + secs(1)));
    let replies = lab.pass(secs(1));
    assert_eq!((replies.len(), replies[0].yiaddr), (1, address));
    let slow = Event::NotDurable(StoreError::Slow);
    assert_eq!(lab.events()[0], slow);
    lab.storage = Some(Ok(()));
    let replies = lab.settle();
    assert_eq!((replies.len(), replies[0].yiaddr), (1, offered), "the new one waited");
    assert!(lab.events().contains(&Event::Durable));
}

#[test]
fn a_damaged_log_is_replaced_at_once() {
    let mut lab = Lab::new(config());
    let addresses: Vec<_> = (0..4).map(|n| lab.join(&Client::new(n))).collect();
    // The header, then the four leases: the second is hit.
    lab.disk[2 * lease_log::CHUNK + 20] ^= 1;
    lab.crash();
    assert_eq!(lease_log::load(&lab.disk).unwrap().damage, lease_log::Damage::default());
    let left = addresses.iter().filter(|address| lab.state(**address).is_some()).count();
    assert_eq!(left, 3);
}

#[test]
fn a_long_log_is_compacted() {
    let mut lab = Lab::new(config());
    let clients: Vec<_> = (0..10).map(Client::new).collect();
    let addresses: Vec<_> = clients.iter().map(|client| lab.join(client)).collect();
    let mut longest = 0;
    for _ in 0..500 {
        for (client, address) in clients.iter().zip(&addresses) {
            assert_eq!(lab.ask(&client.renew(*address)).kind, ACK);
        }
        longest = longest.max(lab.disk.len());
    }
    assert!((200_000..300_000).contains(&longest), "{longest}");
    assert!(lab.disk.len() < longest);
    lab.crash();
    assert!(addresses.iter().all(|address| lab.state(*address) == Some(LeaseState::Bound)));
}

#[test]
fn a_log_that_compaction_cannot_shorten_is_compacted_again_when_it_has_doubled() {
    let mut lab = Lab::new(Config { subnet: "10.0.0.0/16".parse().unwrap(), ..config() });
    for number in 0..2200 {
        lab.join(&Client::new(number));
    }
    // All but one are no business of this server any more, and the log still tells of them.
    let client = Client::new(0);
    let address = lab.ask(&client.discover()).yiaddr;
    lab.restart(Config { pools: vec![address..=address], ..lab.server.config().clone() });
    let mut compactions = 0;
    for _ in 0..1500 {
        let before = lab.disk.len();
        assert_eq!(lab.ask(&client.renew(address)).kind, ACK);
        compactions += usize::from(lab.disk.len() < before + lease_log::CHUNK);
    }
    assert_eq!(compactions, 1);
}

#[test]
fn a_log_that_is_harmed_meanwhile_is_written_anew_from_memory() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let address = lab.join(&client);
    while lab.disk.len() < 256 * 1024 {
        assert_eq!(lab.ask(&client.renew(address)).kind, ACK);
    }
    lab.storage = None;
    assert_eq!(lab.send(&client.renew(address).frame()), []);
    assert!(matches!(lab.waiting.as_ref().unwrap().write, Write::Compact { .. }));
    lab.disk[lease_log::CHUNK + 20] ^= 1;
    assert_eq!(lease_log::compacted(&lab.disk, &[]), None);
    lab.storage = Some(Err(StoreError::Failed));
    assert_eq!(lab.settle().len(), 1, "who renews does not suffer for it");
    lab.storage = Some(Ok(()));
    lab.pass(secs(5));
    assert_eq!(lease_log::load(&lab.disk).unwrap().damage, lease_log::Damage::default());
    lab.crash();
    assert_eq!(lab.state(address), Some(LeaseState::Bound));
}

// D26
#[test]
fn a_jump_of_the_date_neither_frees_nor_stretches_a_lease() {
    for jump in [0, 1_800_000_000 - 3600, 1_800_000_000 + 3600, 2_200_000_000, u64::MAX / 2] {
        let mut lab = Lab::new(config());
        let address = lab.join(&Client::new(1));
        lab.now.utc = UtcTime(jump);
        lab.pass(secs(1800));
        lab.crash();
        assert_eq!(lab.state(address), Some(LeaseState::Bound), "{jump}");
        lab.pass(secs(1802));
        assert_eq!(lab.state(address), Some(LeaseState::Lapsed), "{jump}");
    }
}

#[test]
fn a_reboot_counts_by_the_date() {
    let mut lab = Lab::new(config());
    let address = lab.join(&Client::new(1));
    lab.now.utc.0 += 600;
    lab.reboot();
    let left = lab.lease(address).unwrap().remaining.unwrap();
    assert!((3000..=3002).contains(&left.as_secs()), "{left:?}");
    lab.now.utc.0 += 4000;
    lab.reboot();
    assert_eq!(lab.state(address), Some(LeaseState::Lapsed));
}

#[test]
fn a_date_that_cannot_be_right_never_frees_a_lease_across_a_reboot() {
    let mut lab = Lab::new(config());
    let address = lab.join(&Client::new(1));
    let date = lab.now.utc;
    // Back to 1970, then set right, then an hour back.
    for utc in [UtcTime(5), date, UtcTime(date.0 - 3600)] {
        lab.now.utc = utc;
        lab.reboot();
        let left = lab.lease(address).unwrap().remaining.unwrap();
        assert!(left <= secs(3600), "{left:?}");
        assert_eq!(lab.state(address), Some(LeaseState::Bound), "{utc:?}");
    }
}

#[test]
fn a_suspended_host_finds_its_leases_ended() {
    let mut lab = Lab::new(config());
    let address = lab.join(&Client::new(1));
    // The clock of timers stood still.
    lab.now.since_boot += secs(7200);
    lab.server.handle_timeout(lab.now);
    assert_eq!(lab.state(address), Some(LeaseState::Lapsed));
}

#[test]
fn leases_outside_a_new_configuration_are_forgotten() {
    let mut lab = Lab::new(config());
    let address = lab.join(&Client::new(1));
    let pools = vec![if address == ip(10) { ip(11)..=ip(20) } else { ip(10)..=ip(10) }];
    lab.restart(Config { pools, ..config() });
    assert_eq!(lab.server.snapshot(), []);
    assert_eq!(lab.ask(&Client::new(1).renew(address)).kind, NAK);
}

#[derive(Debug, Clone)]
enum Step {
    Join(u16),
    Renew(u16),
    Release(u16),
    Pass(u64),
    Fail(bool),
    /// The power goes while these many octets of the next write are on disk.
    Crash(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..12_u16).prop_map(Step::Join),
        4 => (0..12_u16).prop_map(Step::Renew),
        1 => (0..12_u16).prop_map(Step::Release),
        2 => (0..2000_u64).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Fail),
        3 => (0..400_usize).prop_map(Step::Crash),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What clients believe: an address, and when their lease ends.
type Beliefs = BTreeMap<u16, (Ipv4Addr, Duration)>;

fn crash_in_a_write(lab: &mut Lab, client: &Client, address: Ipv4Addr, octets: usize) {
    lab.storage = None;
    lab.send(&client.reboot(address).frame());
    if let Some(Store { write, .. }) = lab.waiting.take() {
        match write {
            Write::Append { bytes, .. } => lab.disk.extend(&bytes[..octets.min(bytes.len())]),
            // The new file was not renamed yet.
            Write::Replace(_) | Write::Compact { .. } => {}
        }
    }
    lab.storage = Some(Ok(()));
    lab.crash();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Clients come, renew, go; writes fail; the power fails inside writes. No address that a
    /// client believes in goes to another, and who has a durable lease keeps it.
    #[test]
    fn no_crash_loses_a_lease_or_gives_an_address_twice(steps in steps()) {
        let mut lab = Lab::new(Config { pools: vec![ip(10)..=ip(17)], ..config() });
        let mut beliefs = Beliefs::new();
        for step in steps {
            let now = lab.now.since_boot;
            beliefs.retain(|_, (_, ends)| *ends > now);
            match step {
                Step::Join(number) => {
                    let client = Client::new(number);
                    let Some(offer) = lab.send(&client.discover().frame()).pop() else { continue };
                    let reply = lab.send(&client.select(offer.yiaddr).frame()).pop();
                    let ack = reply.filter(|reply| reply.kind == ACK);
                    if let Some(ack) = ack.filter(|ack| lab.lease(ack.yiaddr).unwrap().durable) {
                        beliefs.insert(number, (ack.yiaddr, now + secs(3600)));
                    }
                }
                Step::Renew(number) => {
                    let Some(&(address, _)) = beliefs.get(&number) else { continue };
                    let reply = lab.send(&Client::new(number).renew(address).frame()).pop();
                    let reply = reply.expect("a client that renews is answered");
                    prop_assert_eq!(reply.kind, ACK, "a lease was lost");
                    // Not durable: a crash may take this renewal back.
                    if lab.lease(address).unwrap().durable {
                        beliefs.insert(number, (address, now + secs(3600)));
                    }
                }
                Step::Release(number) => {
                    if let Some((address, _)) = beliefs.remove(&number) {
                        lab.send(&Client::new(number).release(address).frame());
                    }
                }
                Step::Pass(time) => drop(lab.pass(secs(time))),
                Step::Fail(fails) => {
                    lab.storage = Some(if fails { Err(StoreError::NoSpace) } else { Ok(()) });
                }
                Step::Crash(octets) => {
                    let client = Client::new(100);
                    crash_in_a_write(&mut lab, &client, ip(17), octets);
                }
            }
            let mut addresses: Vec<_> = beliefs.values().map(|(address, _)| *address).collect();
            addresses.sort();
            let all = addresses.len();
            addresses.dedup();
            prop_assert_eq!(addresses.len(), all, "an address was given twice");
        }
    }
}
