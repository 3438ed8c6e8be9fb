//! Addresses that somebody else uses: probes, DECLINE, quarantine, other servers.

use super::*;

pub(super) const STRANGER: MacAddr = MacAddr([2, 9, 9, 9, 9, 9]);
pub(super) const PROBE_TIME: Duration = Duration::from_millis(200);

pub(super) fn probing() -> Lab {
    Lab::new(Config { probe: true, ..config() })
}

// D21
#[test]
fn an_address_is_probed_by_arp_before_it_is_offered() {
    let mut lab = probing();
    let client = Client::new(1);
    assert_eq!(lab.send(&client.discover().frame()), []);
    assert_eq!(lab.probes.len(), 1);
    assert_eq!(lab.pass(PROBE_TIME - Duration::from_millis(1)), []);
    assert_eq!(lab.server.poll_timeout(), Some(lab.now.instant + Duration::from_millis(1)));
    let offers = lab.pass(Duration::from_millis(1));
    assert_eq!(offers[0].yiaddr, lab.probes[0]);
    assert_eq!(lab.ask(&client.select(offers[0].yiaddr)).kind, ACK);
}

#[test]
fn an_address_that_answers_is_quarantined_and_another_is_offered() {
    let mut lab = probing();
    lab.send(&Client::new(1).discover().frame());
    let used = lab.probes[0];
    assert_eq!(lab.send(&claim(STRANGER, used)), []);
    assert_eq!(lab.probes.len(), 2, "the next address is probed at once");
    let offers = lab.pass(PROBE_TIME);
    assert_eq!(offers[0].yiaddr, lab.probes[1]);
    assert_ne!(offers[0].yiaddr, used);
    assert_eq!(lab.state(used), Some(LeaseState::Quarantined));
    let conflict = Event::Conflict { address: used, station: STRANGER };
    assert_eq!(lab.events(), [conflict]);
    assert_eq!(lab.ask(&Client::new(2).reboot(used)).kind, NAK);
    lab.pass(secs(600));
    assert_eq!(lab.state(used), None);
}

#[test]
fn a_client_that_has_its_address_already_is_no_conflict() {
    let mut lab = probing();
    let client = Client::new(1);
    lab.send(&client.discover().frame());
    lab.send(&claim(client.mac, lab.probes[0]));
    assert_eq!(lab.pass(PROBE_TIME).len(), 1);
}

#[test]
fn a_client_whose_every_address_is_taken_waits_for_its_next_message() {
    let mut lab = probing();
    lab.send(&Client::new(1).discover().frame());
    for number in 0..3 {
        lab.send(&claim(STRANGER, lab.probes[number]));
    }
    assert_eq!(lab.probes.len(), 3);
    assert_eq!(lab.pass(PROBE_TIME), []);
    lab.send(&Client::new(1).discover().frame());
    assert_eq!(lab.probes.len(), 4);
}

#[test]
fn the_same_client_is_not_probed_for_again_within_a_minute() {
    let mut lab = probing();
    let client = Client::new(1);
    lab.send(&client.discover().frame());
    let address = lab.pass(PROBE_TIME)[0].yiaddr;
    assert_eq!(lab.ask(&client.discover()).yiaddr, address);
    assert_eq!(lab.ask(&client.select(address)).kind, ACK);
    lab.pass(secs(61));
    assert_eq!(lab.ask(&client.discover()).yiaddr, address, "a live lease needs no probe");
    lab.send(&client.release(address).frame());
    assert_eq!(lab.ask(&client.discover()).yiaddr, address);
    lab.pass(secs(61));
    assert_eq!(lab.probes.len(), 1);
    assert_eq!(lab.send(&client.discover().frame()), []);
    assert_eq!(lab.probes.len(), 2, "a minute later it is");
}

#[test]
fn a_crowd_is_offered_addresses_without_probes() {
    let mut lab = probing();
    let offers: usize = (0..100).map(|n| lab.send(&Client::new(n).discover().frame()).len()).sum();
    assert_eq!((lab.probes.len(), offers), (64, 36));
    assert_eq!(lab.pass(PROBE_TIME).len(), 64);
}

// D22
#[test]
fn a_repeated_discover_waits_for_the_same_probe_and_gets_one_offer() {
    let mut lab = probing();
    let client = Client::new(1);
    lab.send(&client.discover().frame());
    lab.pass(PROBE_TIME / 2);
    lab.unanswered(&client.discover(), Ignored::Repeated);
    let offers = lab.pass(PROBE_TIME / 2);
    assert_eq!((lab.probes.len(), offers.len()), (1, 1));
}

#[test]
fn a_repeated_message_gets_the_same_answer() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let offer = lab.ask(&client.discover());
    assert_eq!(lab.ask(&client.discover()), offer);
    let ack = lab.ask(&client.select(offer.yiaddr));
    lab.pass(secs(4));
    assert_eq!(lab.ask(&client.select(offer.yiaddr)), ack);
}

// D7
#[test]
fn a_declined_address_is_quarantined_for_ten_minutes() {
    let mut lab = Lab::new(Config { pools: vec![ip(10)..=ip(11)], ..config() });
    let client = Client::new(1);
    let address = lab.join(&client);
    lab.events();
    assert_eq!(lab.send(&client.decline(address).frame()), []);
    assert!(matches!(&lab.events()[..], [Event::Declined(lease)] if lease.address == address));
    let other = lab.join(&client);
    assert_ne!(other, address);
    lab.unanswered(&Client::new(2).discover(), Ignored::Exhausted);
    lab.crash();
    assert_eq!(lab.state(address), Some(LeaseState::Quarantined), "a restart does not end it");
    lab.pass(secs(602));
    assert_eq!(lab.join(&Client::new(2)), address);
}

#[test]
fn a_decline_counts_only_from_the_client_and_to_us() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let address = lab.join(&client);
    lab.unanswered(&Client::new(2).decline(address), Ignored::NotTheirs);
    lab.unanswered(&client.decline(ip(200)), Ignored::NotTheirs);
    lab.unanswered(&client.message(DECLINE).address(54, GATEWAY), Ignored::Inconsistent);
    lab.unanswered(&client.message(DECLINE).address(50, address), Ignored::OtherServer);
    let elsewhere = client.message(DECLINE).address(54, ip(2)).address(50, address);
    lab.unanswered(&elsewhere, Ignored::OtherServer);
    assert_eq!(lab.state(address), Some(LeaseState::Bound));
}

#[test]
fn a_declined_reservation_does_not_leave_its_client_without_address() {
    let client = Client::new(1);
    let reservations = vec![Reservation {
        address: ip(15),
        client: crate::ReservedFor::Mac(client.mac),
        hostname: None,
    }];
    let mut lab = Lab::new(Config { reservations, ..config() });
    assert_eq!(lab.join(&client), ip(15));
    lab.send(&client.decline(ip(15)).frame());
    assert_ne!(lab.join(&client), ip(15));
}

#[test]
fn another_server_on_the_wire_is_reported_once_a_minute() {
    let mut lab = Lab::new(config());
    let answer = Datagram {
        station: STRANGER,
        source: ip(66),
        destination: Ipv4Addr::BROADCAST,
        source_port: 67,
        destination_port: 68,
        payload: &[2; 300],
    };
    let frame = answer.encode(MacAddr::BROADCAST);
    for _ in 0..10 {
        lab.send(&frame);
    }
    let rogue = Event::RogueServer { station: STRANGER, server: ip(66), source: HERE };
    assert_eq!(lab.events(), std::slice::from_ref(&rogue));
    assert_eq!(lab.server.counters().rogue_answers, 10);
    lab.pass(secs(60));
    lab.send(&frame);
    assert_eq!(lab.events(), [rogue]);
    let own = Datagram { station: GATEWAY_MAC, ..answer };
    lab.send(&own.encode(MacAddr::BROADCAST));
    assert_eq!(lab.server.counters().rogue_answers, 11, "our own answers are not another's");
}
