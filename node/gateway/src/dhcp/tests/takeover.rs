//! A server that comes after another one, whose leases it does not know.

use super::conflicts::{PROBE_TIME, STRANGER, probing};
use super::*;

fn successor() -> Lab {
    let mut lab = probing();
    lab.server.expect_unknown_leases(lab.now);
    lab
}

#[test]
fn a_machine_keeps_the_address_that_it_has_from_elsewhere() {
    for message in [Client::renew, Client::rebind, Client::reboot] {
        let mut lab = successor();
        let client = Client::new(1);
        assert_eq!(lab.send(&message(&client, ip(77)).frame()), []);
        assert_eq!(lab.probes, [ip(77)], "others are asked first");
        let replies = lab.pass(PROBE_TIME);
        assert_eq!((replies.len(), replies[0].kind, replies[0].yiaddr), (1, ACK, ip(77)));
        assert_eq!(lab.state(ip(77)), Some(LeaseState::Bound));
        lab.crash();
        assert_eq!(lab.state(ip(77)), Some(LeaseState::Bound));
    }
}

#[test]
fn a_machine_whose_address_is_anothers_by_now_is_told_to_look_for_one() {
    let mut lab = successor();
    let client = Client::new(1);
    lab.send(&client.reboot(ip(77)).frame());
    lab.unanswered(&client.reboot(ip(77)), Ignored::Repeated);
    let replies = lab.send(&claim(STRANGER, ip(77)));
    assert_eq!((replies.len(), replies[0].kind), (1, NAK));
    assert_eq!(lab.pass(PROBE_TIME), []);
    assert_eq!(lab.state(ip(77)), Some(LeaseState::Quarantined));
}

#[test]
fn who_was_found_to_use_an_address_renews_it() {
    let mut lab = successor();
    let (newcomer, owner) = (Client::new(1), Client::new(2));
    lab.send(&newcomer.discover().address(50, ip(77)).frame());
    lab.send(&claim(owner.mac, ip(77)));
    let offered = lab.pass(PROBE_TIME)[0].yiaddr;
    assert_ne!(offered, ip(77), "it is in use");
    assert_eq!(lab.ask(&newcomer.reboot(ip(77))).kind, NAK);
    lab.crash();
    lab.send(&owner.renew(ip(77)).frame());
    let replies = lab.pass(PROBE_TIME);
    assert_eq!((replies[0].kind, replies[0].yiaddr), (ACK, ip(77)));
}

#[test]
fn a_renewal_goes_before_an_offer_to_somebody_else() {
    for is_offered in [false, true] {
        let mut lab = successor();
        let (newcomer, owner) = (Client::new(1), Client::new(2).with(61, b"owner"));
        lab.send(&newcomer.discover().address(50, ip(77)).frame());
        if is_offered {
            assert_eq!(lab.pass(PROBE_TIME)[0].yiaddr, ip(77));
        }
        lab.send(&owner.renew(ip(77)).frame());
        let replies = lab.pass(PROBE_TIME);
        let ack = replies.iter().find(|reply| reply.kind == ACK).expect("it keeps its address");
        assert_eq!((ack.to_mac, ack.yiaddr), (owner.mac, ip(77)));
        if is_offered {
            assert_eq!(lab.ask(&newcomer.select(ip(77))).kind, NAK);
        }
    }
}

#[test]
fn a_crowd_waits_for_its_turn_to_be_probed_for() {
    let mut lab = successor();
    let clients: Vec<_> = (0..200).map(Client::new).collect();
    for _ in 0..2 {
        // Those who wait repeat themselves.
        for client in &clients {
            assert_eq!(lab.send(&client.discover().frame()), []);
        }
    }
    let mut offers = 0;
    for _ in 0..4 {
        assert!(lab.probes.len() <= offers + 64);
        offers += lab.pass(PROBE_TIME).len();
    }
    assert_eq!((offers, lab.probes.len()), (200, 200), "each was probed for, and once");
}

#[test]
fn a_lease_later_a_crowd_is_served_at_once_again() {
    let mut lab = successor();
    lab.pass(secs(3601));
    let offers: usize = (0..100).map(|n| lab.send(&Client::new(n).discover().frame()).len()).sum();
    assert_eq!(offers, 36);
}

#[test]
fn a_server_that_lost_part_of_its_log_probes_for_everybody() {
    let mut lab = probing();
    for number in 0..3 {
        lab.send(&Client::new(number).discover().frame());
        let address = lab.pass(PROBE_TIME)[0].yiaddr;
        lab.ask(&Client::new(number).select(address));
    }
    lab.disk[2 * lease_log::CHUNK + 20] ^= 1;
    lab.crash();
    let offers: usize =
        (0..100).map(|n| lab.send(&Client::new(100 + n).discover().frame()).len()).sum();
    assert_eq!(offers, 0);
}

#[test]
fn a_claim_to_the_gateways_own_address_is_told_once() {
    let mut lab = successor();
    for _ in 0..10 {
        lab.send(&claim(STRANGER, GATEWAY));
    }
    let claimed = Event::AddressClaimed { station: STRANGER, source: HERE };
    assert_eq!(lab.events(), std::slice::from_ref(&claimed));
    assert_eq!(lab.server.counters().address_claims, 10);
    assert_eq!(lab.server.claimant(), Some((STRANGER, HERE)));
    lab.pass(secs(60));
    assert_eq!(lab.server.claimant(), None);
    lab.send(&claim(GATEWAY_MAC, GATEWAY));
    assert_eq!(lab.events(), [], "it is the gateway's own");
    lab.send(&claim(STRANGER, GATEWAY));
    assert_eq!(lab.events(), [claimed]);
}
