//! How many addresses one port may have.

use super::conflicts::{PROBE_TIME, STRANGER};
use super::*;

const THERE: Source = Source { node: 2, port: Some(7) };

/// 10.0.0.0/24 with at most `limit` addresses for a port.
fn limited(limit: usize) -> Lab {
    Lab::new(Config { leases_per_port: Some(limit), ..config() })
}

/// A client at another port asks for an address; none when it gets no answer.
fn join_at(lab: &mut Lab, source: Source, client: &Client) -> Option<Ipv4Addr> {
    lab.server.handle_frame(&client.discover().frame(), source, lab.now);
    let offer = lab.settle().pop()?;
    lab.server.handle_frame(&client.select(offer.yiaddr).frame(), source, lab.now);
    lab.settle().pop().map(|ack| ack.yiaddr)
}

#[test]
fn a_port_that_asks_for_everything_leaves_the_others_theirs() {
    let mut lab = limited(8);
    for number in 0..100_000_u32 {
        let [_, a, b, c] = number.to_be_bytes();
        let mut client = Client::new(0);
        client.mac = MacAddr([0x02, 0xba, 0xd0, a, b, c]);
        lab.send(&client.discover().frame());
    }
    assert_eq!(lab.server.snapshot().len(), 8);
    assert_eq!(lab.server.counters().ignored(Ignored::PortFull), 100_000 - 8);
    let told: Vec<_> = lab.events();
    assert!(matches!(told[..], [Event::PortFull { source: HERE, limit: 8, .. }]), "{told:?}");
    assert_eq!(lab.server.full_sources(), (8, vec![HERE]));
    for number in 0..8 {
        assert!(join_at(&mut lab, THERE, &Client::new(number)).is_some(), "{number}");
    }
    lab.pass(secs(61));
    assert_eq!(lab.server.full_sources().1, [], "it has not asked for more for a minute");
}

#[test]
fn a_full_port_keeps_what_it_has_and_gets_what_becomes_free() {
    let mut lab = limited(2);
    let [one, two, three] = [1, 2, 3].map(Client::new);
    let (first, second) = (lab.join(&one), lab.join(&two));
    lab.unanswered(&three.discover(), Ignored::PortFull);
    lab.unanswered(&three.reboot(ip(99)), Ignored::PortFull);
    for (client, address) in [(&one, first), (&two, second)] {
        assert_eq!(lab.ask(&client.renew(address)).kind, ACK);
        assert_eq!(lab.ask(&client.discover()).yiaddr, address);
    }
    lab.send(&one.release(first).frame());
    assert_ne!(lab.join(&three), second);
    lab.unanswered(&one.discover(), Ignored::PortFull);
    lab.pass(secs(3601));
    lab.join(&one);
}

#[test]
fn a_machine_that_moves_takes_its_address_with_it() {
    let mut lab = limited(1);
    let (one, two) = (Client::new(1), Client::new(2));
    let first = lab.join(&one);
    let second = join_at(&mut lab, THERE, &two).unwrap();
    lab.server.handle_frame(&one.renew(first).frame(), THERE, lab.now);
    assert_eq!(lab.settle()[0].kind, ACK, "who has an address keeps it");
    lab.join(&Client::new(3));
    lab.server.handle_frame(&two.release(second).frame(), THERE, lab.now);
    assert_eq!(join_at(&mut lab, THERE, &Client::new(4)), None, "the one that moved counts there");
}

#[test]
fn declined_addresses_are_the_ports_that_declined_them() {
    let mut lab = limited(3);
    let client = Client::new(1);
    for _ in 0..3 {
        let address = lab.join(&client);
        lab.send(&client.decline(address).frame());
    }
    lab.unanswered(&client.discover(), Ignored::PortFull);
    assert!(join_at(&mut lab, THERE, &client).is_some());
    lab.pass(secs(601));
    lab.join(&Client::new(2));
}

#[test]
fn a_reserved_address_is_given_at_a_full_port() {
    let mut lab = limited(1);
    let kept = Client::new(9);
    let client = crate::ReservedFor::Mac(kept.mac);
    let reservation = Reservation { address: ip(15), client, hostname: None };
    lab.server.add_reservation(reservation).unwrap();
    lab.join(&Client::new(1));
    assert_eq!(lab.join(&kept), ip(15));
}

#[test]
fn by_default_a_port_may_have_a_quarter_of_the_addresses_and_eight_at_least() {
    for (subnet, limit) in [("10.0.0.0/24", 63), ("10.0.0.0/27", 8), ("10.0.0.0/29", 8)] {
        let subnet: Subnet = subnet.parse().unwrap();
        let lab = Lab::new(Config { subnet, leases_per_port: None, ..config() });
        assert_eq!(lab.server.full_sources().0, limit, "{subnet}");
    }
}

#[test]
fn ports_that_are_not_known_are_one_for_each_node() {
    let mut lab = limited(1);
    let unknown = |node| Source { node, port: None };
    assert!(join_at(&mut lab, unknown(2), &Client::new(1)).is_some());
    assert!(join_at(&mut lab, unknown(2), &Client::new(2)).is_none());
    assert!(join_at(&mut lab, unknown(3), &Client::new(2)).is_some());
}

#[test]
fn who_answers_every_probe_does_not_take_all_addresses() {
    let mut lab = Lab::new(Config { probe: true, leases_per_port: Some(8), ..config() });
    let mut offered = Vec::new();
    for number in 0..20 {
        lab.send(&Client::new(number).discover().frame());
        // Whatever is probed for this client, a machine elsewhere says that it has it.
        while let Some(probed) = lab.probes.pop() {
            lab.server.handle_frame(&claim(STRANGER, probed), THERE, lab.now);
            offered.extend(lab.settle());
        }
        offered.extend(lab.pass(PROBE_TIME));
    }
    let used = |lease: &Lease| lease.state == LeaseState::Quarantined;
    assert_eq!(lab.server.snapshot().into_iter().filter(used).count(), 8);
    assert_eq!(offered.len(), 8, "as many as the clients' own port may have");
    assert_eq!(lab.server.full_sources(), (8, vec![HERE, THERE]));
    let told = |event: &Event| matches!(event, Event::PortFull { source: THERE, limit: 8, .. });
    assert_eq!(lab.events().iter().filter(|event| told(event)).count(), 1, "once a minute");
    let is_believed = |lab: &mut Lab, source: Source, number: u16| {
        lab.probes.clear();
        let asks = Client::new(number).discover().frame();
        lab.server.handle_frame(&asks, Source { node: 3, port: None }, lab.now);
        lab.settle();
        let probed = lab.probes[0];
        lab.server.handle_frame(&claim(STRANGER, probed), source, lab.now);
        lab.state(probed) == Some(LeaseState::Quarantined)
    };
    assert!(!is_believed(&mut lab, THERE, 100) && is_believed(&mut lab, HERE, 101));
    lab.pass(secs(601));
    assert!(is_believed(&mut lab, THERE, 102), "those addresses are nobody's any more");
}

#[test]
fn a_full_port_takes_no_address_from_whom_it_was_offered_to() {
    let mut lab = limited(1);
    let (newcomer, thief) = (Client::new(1), Client::new(2));
    join_at(&mut lab, THERE, &Client::new(3)).unwrap();
    let offered = lab.ask(&newcomer.discover()).yiaddr;
    lab.server.handle_frame(&thief.renew(offered).frame(), THERE, lab.now);
    assert_eq!(lab.settle().pop().map(|reply| reply.kind), Some(NAK));
    assert_eq!(lab.state(offered), Some(LeaseState::Offered));
    assert_eq!(lab.ask(&newcomer.select(offered)).kind, ACK);
}
