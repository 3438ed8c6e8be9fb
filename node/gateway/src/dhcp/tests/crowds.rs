//! Many clients at once, an exhausted pool, and octets that no client sends.

use proptest::prelude::*;

use super::*;

// D23
#[test]
fn an_exhausted_pool_is_silent_and_told_once_a_minute() {
    let mut lab = Lab::new(Config { pools: vec![ip(10)..=ip(11)], ..config() });
    lab.join(&Client::new(1));
    lab.join(&Client::new(2));
    lab.events();
    for _ in 0..10 {
        lab.unanswered(&Client::new(3).discover(), Ignored::Exhausted);
    }
    let exhausted = Event::PoolExhausted { station: Client::new(3).mac };
    assert_eq!(lab.events(), std::slice::from_ref(&exhausted));
    lab.pass(secs(60));
    lab.unanswered(&Client::new(3).discover(), Ignored::Exhausted);
    assert_eq!(lab.events(), [exhausted]);
}

#[test]
fn the_address_whose_lease_ended_first_is_given_again_first() {
    let mut lab = Lab::new(Config { pools: vec![ip(10)..=ip(13)], ..config() });
    let ended: Vec<_> = (0..4)
        .map(|number| {
            let address = lab.join(&Client::new(number));
            lab.pass(secs(10));
            address
        })
        .collect();
    lab.pass(secs(3600));
    let given: Vec<_> = (10..14).map(|number| lab.join(&Client::new(number))).collect();
    assert_eq!(given, ended);
}

#[test]
fn an_offer_that_nobody_takes_is_free_after_half_a_minute() {
    let mut lab = Lab::new(Config { pools: vec![ip(10)..=ip(10)], ..config() });
    lab.ask(&Client::new(1).discover());
    lab.unanswered(&Client::new(2).discover(), Ignored::Exhausted);
    lab.pass(secs(30));
    assert_eq!(lab.ask(&Client::new(2).discover()).yiaddr, ip(10));
}

#[test]
fn a_thousand_clients_at_once_get_a_thousand_addresses() {
    let subnet = "10.0.0.0/22".parse().unwrap();
    let mut lab = Lab::new(Config { subnet, probe: true, ..config() });
    let clients: Vec<_> = (0..1000).map(Client::new).collect();
    let mut offers: Vec<_> =
        clients.iter().flat_map(|client| lab.send(&client.discover().frame())).collect();
    offers.extend(lab.pass(Duration::from_millis(200)));
    assert_eq!(offers.len(), 1000);
    lab.storage = None;
    for offer in &offers {
        let client = clients.iter().find(|client| client.mac == offer.chaddr).unwrap();
        lab.send(&client.select(offer.yiaddr).frame());
    }
    lab.storage = Some(Ok(()));
    let acks = lab.settle();
    let addresses: std::collections::BTreeSet<_> = acks.iter().map(|ack| ack.yiaddr).collect();
    assert_eq!((acks.len(), addresses.len()), (1000, 1000));
}

/// Prints how many exchanges the core does in a second; asserts no time.
#[test]
fn the_core_is_not_what_limits_exchanges() {
    const EXCHANGES: u16 = 20_000;
    let subnet = "10.0.0.0/16".parse().unwrap();
    let mut lab = Lab::new(Config { subnet, ..config() });
    let clients: Vec<_> = (0..EXCHANGES).map(|n| Client::new(n).with(55, &[1, 3, 6, 15])).collect();
    let start = instant();
    for client in &clients {
        lab.server.handle_frame(&client.discover().frame(), HERE, lab.now);
        let offer = lab.server.poll_transmit().unwrap();
        let address = Ipv4Addr::from(*offer[58..].first_chunk::<4>().unwrap());
        lab.server.handle_frame(&client.select(address).frame(), HERE, lab.now);
        let store = lab.server.poll_store().unwrap();
        let log_len = lab.write(&store.write);
        lab.server.handle_stored(store.ticket, Ok(log_len), lab.now);
        assert!(lab.server.poll_transmit().is_some());
        while lab.server.poll_event().is_some() {}
    }
    let rate = f64::from(EXCHANGES) / instant().duration_since(start).as_secs_f64();
    println!("{rate:.0} exchanges a second, DISCOVER to ACK");
}

#[test]
fn what_nobody_fetches_is_bounded() {
    let mut lab = Lab::new(Config { pools: vec![ip(10)..=ip(10)], ..config() });
    let frame = Client::new(1).discover().frame();
    for _ in 0..10_000 {
        lab.server.handle_frame(&frame, HERE, lab.now);
    }
    assert_eq!(std::iter::from_fn(|| lab.server.poll_transmit()).count(), MAX_TRANSMIT);
    assert_eq!(lab.server.counters().overflows, 10_000 - 8192);
}

fn poke(lab: &mut Lab, frame: &[u8]) {
    lab.send(frame);
    lab.pass(Duration::from_millis(100));
    assert!(lab.server.snapshot().len() <= 254);
}

proptest! {
    #[test]
    fn any_frame_is_taken_without_harm(frame in proptest::collection::vec(any::<u8>(), 0..700)) {
        poke(&mut Lab::new(Config { probe: true, ..config() }), &frame);
    }

    #[test]
    fn any_options_are_taken_without_harm(
        kind in 0..10_u8,
        header in proptest::collection::vec(any::<u8>(), 32),
        options in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut lab = Lab::new(Config { rapid_commit: true, ..config() });
        let message = Client::new(1).message(kind);
        let mut octets = message.octets();
        octets[4..28].copy_from_slice(&header[..24]);
        octets.truncate(243);
        octets.extend(&options);
        poke(&mut lab, &message.frame_of(&octets));
    }

    #[test]
    fn any_sequence_of_messages_keeps_addresses_apart(
        messages in proptest::collection::vec(
            (0..6_u16, 0..10_u8, 0..5_u8, any::<bool>(), 0..500_u64), 1..80),
    ) {
        let mut lab = Lab::new(Config { pools: vec![ip(1)..=ip(4)], ..config() });
        for (number, kind, last, ours, time) in messages {
            let client = Client::new(number);
            let mut message = client.message(kind).address(50, ip(last));
            if ours {
                message = message.address(54, GATEWAY);
            } else if last % 2 == 0 {
                message.ciaddr = ip(last);
            }
            lab.send(&message.frame());
            lab.pass(secs(time));
            let bound = lab.server.snapshot().into_iter();
            let bound = bound.filter(|lease| lease.state == LeaseState::Bound);
            let mut clients: Vec<ClientKey> = bound.map(|lease| lease.client).collect();
            let all = clients.len();
            clients.sort();
            clients.dedup();
            prop_assert_eq!(clients.len(), all, "a client has two leases");
        }
    }
}
