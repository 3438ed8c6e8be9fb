//! Who gets which address: choice, selection, reboot, renewal, release, reservations.

use super::*;
use crate::ReservedFor;

fn reservation(address: Ipv4Addr, client: &Client) -> Reservation {
    Reservation { address, client: ReservedFor::Mac(client.mac), hostname: None }
}

#[test]
fn a_client_gets_an_address_in_four_messages() {
    let mut lab = Lab::new(config());
    let address = lab.join(&Client::new(1));
    let lease = lab.lease(address).unwrap();
    assert_eq!((lease.state, lease.durable), (LeaseState::Bound, true));
    assert_eq!(lease.remaining, Some(secs(3600)));
    assert_eq!(lease.source, Some(HERE));
    assert!(matches!(&lab.events()[..], [Event::Given(given)] if *given == lease));
}

#[test]
fn offers_and_addresses_given_back_are_no_leases_in_force() {
    let mut lab = Lab::new(config());
    let (client, gone) = (Client::new(1), Client::new(2));
    lab.join(&client);
    let address = lab.join(&gone);
    lab.send(&gone.release(address).frame());
    lab.ask(&Client::new(3).discover());
    assert_eq!(lab.server.leases_in_force(), 1);
}

// D1
#[test]
fn a_live_lease_is_offered_before_the_address_asked_for() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let address = lab.join(&client);
    let other = ip(if address == ip(99) { 98 } else { 99 });
    assert_eq!(lab.ask(&client.discover().address(50, other)).yiaddr, address);
    assert_eq!(lab.state(address), Some(LeaseState::Bound), "an offer does not end the lease");
}

#[test]
fn the_last_lease_is_offered_before_the_address_asked_for() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let address = lab.join(&client);
    lab.pass(secs(3601));
    assert_eq!(lab.state(address), Some(LeaseState::Lapsed));
    assert_eq!(lab.ask(&client.discover().address(50, ip(99))).yiaddr, address);
    lab.pass(secs(60));
    assert_eq!(lab.ask(&client.discover()).yiaddr, address, "an offer not taken changes nothing");
}

#[test]
fn a_free_address_is_given_to_who_asks_for_it() {
    let mut lab = Lab::new(config());
    assert_eq!(lab.ask(&Client::new(1).discover().address(50, ip(99))).yiaddr, ip(99));
    assert_ne!(lab.ask(&Client::new(2).discover().address(50, ip(99))).yiaddr, ip(99));
    for impossible in [GATEWAY, ip(0), ip(255), Ipv4Addr::new(10, 0, 1, 5)] {
        let offered = lab.ask(&Client::new(3).discover().address(50, impossible)).yiaddr;
        assert_ne!(offered, impossible);
    }
}

#[test]
fn a_new_client_gets_the_same_address_on_another_empty_server() {
    let first: Vec<_> = (0..20).map(|n| Lab::new(config()).join(&Client::new(n))).collect();
    let again: Vec<_> = (0..20).map(|n| Lab::new(config()).join(&Client::new(n))).collect();
    assert_eq!(first, again);
}

// D2
#[test]
fn a_client_that_chooses_another_server_leaves_its_offer() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let address = lab.ask(&client.discover()).yiaddr;
    let other = client.message(REQUEST).address(54, ip(2)).address(50, ip(77));
    lab.unanswered(&other, Ignored::OtherServer);
    assert_eq!(lab.state(address), None);
}

#[test]
fn a_client_that_chooses_another_server_keeps_its_lease_until_it_ends() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let address = lab.join(&client);
    let other = client.message(REQUEST).address(54, ip(2)).address(50, ip(77));
    lab.unanswered(&other, Ignored::OtherServer);
    assert_eq!(lab.state(address), Some(LeaseState::Bound));
}

#[test]
fn a_selection_after_a_restart_is_granted_although_the_offer_is_forgotten() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let address = lab.ask(&client.discover()).yiaddr;
    lab.crash();
    let ack = lab.ask(&client.select(address));
    assert_eq!((ack.kind, ack.yiaddr), (ACK, address));
}

#[test]
fn selecting_the_address_of_another_client_is_refused() {
    let mut lab = Lab::new(config());
    let address = lab.join(&Client::new(1));
    let offered = lab.ask(&Client::new(2).discover()).yiaddr;
    assert_ne!(offered, address);
    assert_eq!(lab.ask(&Client::new(2).select(address)).kind, NAK);
    assert_eq!(lab.ask(&Client::new(3).select(offered)).kind, NAK, "offered to another");
}

#[test]
fn a_request_without_an_address_is_ignored() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    lab.unanswered(&client.message(REQUEST), Ignored::Inconsistent);
    lab.unanswered(&client.message(REQUEST).address(54, GATEWAY), Ignored::Inconsistent);
    let contradiction = Message { ciaddr: ip(9), ..client.select(ip(10)) };
    lab.unanswered(&contradiction, Ignored::Inconsistent);
}

// D3
#[test]
fn a_machine_that_starts_again_keeps_its_address() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let address = lab.join(&client);
    lab.pass(secs(1000));
    let ack = lab.ask(&client.reboot(address));
    assert_eq!((ack.kind, ack.yiaddr), (ACK, address));
    assert_eq!(lab.lease(address).unwrap().remaining, Some(secs(3600)));
}

#[test]
fn a_machine_from_elsewhere_is_told_so() {
    let mut lab = Lab::new(config());
    let (one, two) = (Client::new(1), Client::new(2));
    let taken = lab.join(&one);
    for (address, why) in [
        (Ipv4Addr::new(192, 168, 1, 5), "another subnet"),
        (taken, "another client's"),
        (GATEWAY, "the gateway's"),
        (ip(255), "the broadcast address"),
    ] {
        assert_eq!(lab.ask(&two.reboot(address)).kind, NAK, "{why}");
    }
    assert_eq!(lab.state(taken), Some(LeaseState::Bound));
}

#[test]
fn a_lease_that_the_server_lost_is_rebuilt() {
    let mut lab = Lab::new(config());
    for message in [Client::new(1).reboot(ip(50)), Client::new(2).rebind(ip(51))] {
        assert_eq!(lab.ask(&message).kind, ACK);
    }
    assert_eq!(lab.state(ip(50)), Some(LeaseState::Bound));
    assert_eq!(lab.state(ip(51)), Some(LeaseState::Bound));
}

// D4
#[test]
fn renewing_and_rebinding_extend_the_lease_and_keep_the_address() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let address = lab.join(&client);
    lab.pass(secs(1800));
    let ack = lab.ask(&client.renew(address));
    assert_eq!((ack.kind, ack.yiaddr, ack.ciaddr), (ACK, address, address));
    assert_eq!((ack.to, ack.to_mac), (address, client.mac));
    assert_eq!(lab.lease(address).unwrap().remaining, Some(secs(3600)));
    lab.pass(secs(3200));
    assert_eq!(lab.ask(&client.rebind(address)).kind, ACK);
    lab.pass(secs(3599));
    assert_eq!(lab.state(address), Some(LeaseState::Bound));
    lab.pass(secs(1));
    assert_eq!(lab.state(address), Some(LeaseState::Lapsed));
    let kinds: Vec<_> = lab.events().iter().map(std::mem::discriminant).collect();
    assert_eq!(kinds.len(), 4, "given, twice renewed, expired");
}

#[test]
fn nobody_renews_the_address_of_another() {
    let mut lab = Lab::new(config());
    let address = lab.join(&Client::new(1));
    assert_eq!(lab.ask(&Client::new(2).rebind(address)).kind, NAK);
}

// D8
#[test]
fn a_released_address_is_remembered_for_its_client() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let address = lab.join(&client);
    assert_eq!(lab.send(&client.release(address).frame()), []);
    assert_eq!(lab.state(address), Some(LeaseState::Lapsed));
    lab.crash();
    assert_eq!(lab.join(&client), address);
}

#[test]
fn only_the_owner_can_release() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let address = lab.join(&client);
    lab.unanswered(&Client::new(2).release(address), Ignored::NotTheirs);
    lab.unanswered(&client.release(ip(200)), Ignored::NotTheirs);
    lab.unanswered(&client.with(61, b"other").release(address), Ignored::NotTheirs);
    let mut elsewhere = client.release(address);
    elsewhere.options[1].1 = ip(2).octets().to_vec();
    lab.unanswered(&elsewhere, Ignored::OtherServer);
    assert_eq!(lab.state(address), Some(LeaseState::Bound));
}

// D9
#[test]
fn one_machine_with_two_identifiers_has_two_leases() {
    let mut lab = Lab::new(config());
    let machine = Client::new(1);
    let loader = lab.join(&machine);
    let duid = [&[255, 0, 0, 0, 1, 0, 2][..], &[9; 12]].concat();
    let system = lab.join(&machine.with(61, &duid));
    assert_ne!(loader, system);
    assert_eq!(lab.ask(&machine.discover()).yiaddr, loader);
    assert_eq!(lab.ask(&machine.with(61, &duid).discover()).yiaddr, system);
}

#[test]
fn an_identifier_outlives_a_change_of_hardware() {
    let mut lab = Lab::new(config());
    let address = lab.join(&Client::new(1).with(61, b"machine"));
    let moved = Client::new(2).with(61, b"machine");
    assert_eq!(lab.join(&moved), address);
    assert_eq!(lab.lease(address).unwrap().station, moved.mac);
}

#[test]
fn an_identifier_that_spells_a_mac_address_is_not_one() {
    let mut lab = Lab::new(config());
    let plain = Client::new(1);
    let spelled = Client::new(2).with(61, &plain.mac.0);
    assert_ne!(lab.join(&plain), lab.join(&spelled));
}

// D24
#[test]
fn a_reserved_address_goes_to_its_client_and_to_no_other() {
    let (by_mac, by_id) = (Client::new(1), Client::new(2).with(61, b"printer"));
    let pools = vec![ip(10)..=ip(20)];
    let reservations = vec![
        reservation(ip(15), &by_mac),
        Reservation {
            address: ip(200),
            client: ReservedFor::ClientId(b"printer".to_vec()),
            hostname: Some("printer".parse().unwrap()),
        },
    ];
    let mut lab = Lab::new(Config { pools, reservations, ..config() });
    let others: Vec<_> = (10..20).map(|n| lab.join(&Client::new(n))).collect();
    assert!(!others.contains(&ip(15)));
    lab.unanswered(&Client::new(99).discover(), Ignored::Exhausted);
    assert_eq!(lab.ask(&Client::new(99).reboot(ip(15))).kind, NAK);
    assert_eq!(lab.join(&by_mac), ip(15));
    assert_eq!(lab.join(&by_id), ip(200));
    assert_eq!(lab.lease(ip(200)).unwrap().hostname.unwrap().as_str(), "printer");
}

#[test]
fn a_reservation_by_mac_follows_the_machine_through_its_identifiers() {
    let machine = Client::new(1);
    let reservations = vec![reservation(ip(15), &machine)];
    let mut lab = Lab::new(Config { reservations, ..config() });
    assert_eq!(lab.join(&machine), ip(15));
    assert_eq!(lab.join(&machine.with(61, b"system")), ip(15));
    assert_eq!(lab.join(&machine), ip(15));
    assert_eq!(lab.server.snapshot().len(), 1);
}

#[test]
fn a_reservation_waits_for_the_live_lease_that_is_in_its_way() {
    let mut lab = Lab::new(config());
    let (owner, guest) = (Client::new(1), Client::new(2));
    let address = lab.join(&guest);
    lab.server.add_reservation(reservation(address, &owner)).unwrap();
    let meanwhile = lab.join(&owner);
    assert_ne!(meanwhile, address);
    assert_eq!(lab.ask(&owner.renew(meanwhile)).kind, ACK, "not yet");
    assert_eq!(lab.state(address), Some(LeaseState::Bound), "the guest is not cut off");
    assert_eq!(lab.ask(&guest.renew(address)).kind, NAK, "but does not stay either");
    lab.pass(secs(3000));
    assert_eq!(lab.ask(&owner.renew(meanwhile)).kind, ACK);
    lab.pass(secs(700));
    assert_eq!(lab.ask(&owner.renew(meanwhile)).kind, NAK, "sent to fetch its own");
    assert_eq!(lab.join(&owner), address);
    assert_eq!(lab.state(meanwhile), None, "a client has one address");
    lab.crash();
    assert_eq!(lab.state(meanwhile), None, "on disk too");
}

#[test]
fn reservations_are_added_and_removed_while_the_server_runs_and_survive_it() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    lab.server.add_reservation(reservation(ip(42), &client)).unwrap();
    lab.settle();
    lab.crash();
    assert_eq!(lab.server.reservations().count(), 1);
    assert_eq!(lab.join(&client), ip(42));
    lab.server.remove_reservation(ip(42)).unwrap();
    lab.settle();
    lab.crash();
    assert_eq!(lab.server.reservations().count(), 0);
    assert_eq!(lab.ask(&client.renew(ip(42))).kind, ACK, "the lease goes on");
}

#[test]
fn reservations_that_contradict_each_other_are_refused() {
    let (one, two) = (Client::new(1), Client::new(2));
    let reservations = vec![reservation(ip(42), &one)];
    let mut lab = Lab::new(Config { reservations, ..config() });
    let mut add = |address, client| lab.server.add_reservation(reservation(address, client));
    assert!(matches!(add(ip(42), &two), Err(ReservationError::AddressTaken { .. })));
    assert!(matches!(add(ip(43), &one), Err(ReservationError::ClientTaken { .. })));
    assert!(matches!(add(GATEWAY, &two), Err(ReservationError::Address { .. })));
    assert!(matches!(add(ip(255), &two), Err(ReservationError::Address { .. })));
    let all = Client { mac: MacAddr::BROADCAST, options: Vec::new() };
    assert!(matches!(add(ip(44), &all), Err(ReservationError::Client(_))));
    let configured = lab.server.remove_reservation(ip(42));
    assert_eq!(configured, Err(ReservationError::Configured(ip(42))));
    let unknown = lab.server.remove_reservation(ip(43));
    assert_eq!(unknown, Err(ReservationError::Unknown(ip(43))));
}

#[test]
fn a_stored_reservation_that_the_configuration_contradicts_is_ignored_and_told() {
    let mut lab = Lab::new(config());
    lab.server.add_reservation(reservation(ip(42), &Client::new(1))).unwrap();
    lab.settle();
    lab.restart(Config { reservations: vec![reservation(ip(42), &Client::new(2))], ..config() });
    assert!(matches!(&lab.events()[..], [Event::ReservationIgnored { .. }]));
    assert_eq!(lab.join(&Client::new(2)), ip(42));
}

#[test]
fn a_removed_lease_is_free_for_others() {
    let mut lab = Lab::new(Config { pools: vec![ip(10)..=ip(10)], ..config() });
    lab.join(&Client::new(1));
    lab.server.remove_lease(ip(10)).unwrap();
    lab.settle();
    assert_eq!(lab.join(&Client::new(2)), ip(10));
    assert!(lab.server.remove_lease(ip(11)).is_err());
}
