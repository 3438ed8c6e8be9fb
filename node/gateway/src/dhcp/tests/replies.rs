//! What a reply holds and where it goes: options, sizes, addresses, names, refusals of nonsense.

use super::*;
use crate::LeaseTime;

fn hosted(name: &[u8]) -> Client {
    Client::new(1).with(12, name).with(55, &[12])
}

// D5
#[test]
fn a_refusal_goes_to_all_and_says_nothing_else() {
    let mut lab = Lab::new(config());
    let client = Client::new(1).with(61, b"id").with(82, b"\x01\x04port").with(55, &[1, 3, 6]);
    let message = Message { ciaddr: Ipv4Addr::new(192, 168, 9, 9), ..client.message(REQUEST) };
    let nak = lab.ask(&message);
    assert_eq!(nak.kind, NAK);
    assert_eq!((nak.to_mac, nak.to), (MacAddr::BROADCAST, Ipv4Addr::BROADCAST));
    assert_eq!((nak.xid, nak.chaddr), (message.xid, client.mac));
    let none = Ipv4Addr::UNSPECIFIED;
    assert_eq!((nak.ciaddr, nak.yiaddr, nak.siaddr, nak.giaddr), (none, none, none, none));
    assert_eq!(nak.codes(), [53, 54, 56, 61, 82]);
    assert_eq!(nak.option(54).unwrap(), GATEWAY.octets());
}

#[test]
fn a_refusal_through_a_relay_asks_it_to_broadcast() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let relayed = Message { giaddr: ip(3), ..client.reboot(Ipv4Addr::new(192, 168, 9, 9)) };
    let nak = lab.ask(&relayed);
    assert_eq!((nak.kind, nak.to, nak.to_port, nak.broadcast), (NAK, ip(3), 67, true));
}

// D6
#[test]
fn inform_is_answered_without_a_lease_and_never_refused() {
    let mut lab = Lab::new(Config { domain: Some("example".parse().unwrap()), ..config() });
    let client = Client::new(1).with(55, &[15, 252, 1]);
    let ack = lab.ask(&client.inform(ip(9)));
    assert_eq!(ack.kind, ACK);
    assert_eq!((ack.to, ack.to_mac, ack.ciaddr), (ip(9), client.mac, ip(9)));
    assert_eq!(ack.yiaddr, Ipv4Addr::UNSPECIFIED);
    assert_eq!(ack.codes(), [53, 54, 1, 15]);
    assert_eq!(lab.server.snapshot(), [], "nothing is leased");
    let taken = lab.join(&Client::new(2));
    assert_eq!(lab.ask(&client.inform(taken)).kind, ACK, "even with another's address");
    let elsewhere = client.inform(Ipv4Addr::new(192, 168, 1, 1));
    lab.unanswered(&elsewhere, Ignored::OtherSubnet);
    lab.unanswered(&client.message(INFORM), Ignored::Inconsistent);
}

// D10
#[test]
fn the_client_identifier_is_returned_verbatim() {
    let mut lab = Lab::new(config());
    for id in [&b"\0"[..], b"\x01\x52\x54\0\0\0\x01", &[0xff; 255]] {
        let client = Client::new(1).with(61, id);
        let offer = lab.ask(&client.discover());
        let ack = lab.ask(&client.select(offer.yiaddr));
        let nak = lab.ask(&client.reboot(GATEWAY));
        for reply in [offer, ack, nak] {
            assert_eq!(reply.option(61).unwrap(), id);
        }
    }
    let offer = lab.ask(&Client::new(2).discover());
    assert_eq!(offer.option(61), None);
}

// D11
#[test]
fn a_relay_agent_gets_its_option_back_last_and_the_reply_to_pass_on() {
    let mut lab = Lab::new(config());
    let agent = b"\x01\x06\0\x04\0\x01\x02\x03\x02\x08\0\x06relay!";
    let client = Client::new(1).with(82, agent).with(61, b"id");
    let relay = MacAddr([2, 3, 3, 3, 3, 3]);
    let message = client.discover();
    let offer = lab.ask(&Message { giaddr: ip(3), station: relay, ..message });
    assert_eq!((offer.to, offer.to_port, offer.to_mac), (ip(3), 67, relay));
    assert_eq!((offer.giaddr, offer.chaddr), (ip(3), client.mac));
    assert_eq!(offer.options.last().unwrap(), &(82, agent.to_vec()));
    let elsewhere = Message { giaddr: Ipv4Addr::new(10, 9, 0, 1), ..client.discover() };
    lab.unanswered(&elsewhere, Ignored::OtherSubnet);
}

// D12
#[test]
fn classless_routes_include_the_default_route() {
    let routes = vec![
        Route { destination: "192.168.5.0/24".parse().unwrap(), via: ip(7) },
        Route { destination: "172.16.0.0/12".parse().unwrap(), via: ip(8) },
    ];
    let mut lab = Lab::new(Config { routes, ..config() });
    let offer = lab.ask(&Client::new(1).with(55, &[121, 249, 3]).discover());
    let expected: &[u8] = b"\x18\xc0\xa8\x05\x0a\0\0\x07\x0c\xac\x10\x0a\0\0\x08\0\x0a\0\0\x01";
    assert_eq!(offer.option(121).unwrap(), expected);
    assert_eq!(offer.option(249).unwrap(), expected);
    assert_eq!(offer.option(3).unwrap(), GATEWAY.octets());
    let offer = lab.ask(&Client::new(2).discover());
    assert_eq!((offer.option(121).is_some(), offer.option(249)), (true, None));
}

#[test]
fn a_configured_default_route_replaces_ours() {
    let routes = vec![Route { destination: "0.0.0.0/0".parse().unwrap(), via: ip(7) }];
    let mut lab = Lab::new(Config { routes, ..config() });
    let offer = lab.ask(&Client::new(1).with(55, &[121]).discover());
    assert_eq!(offer.option(121).unwrap(), b"\0\x0a\0\0\x07");
}

// D13
#[test]
fn an_offer_goes_to_the_station_or_to_all_as_the_client_wishes() {
    let mut lab = Lab::new(config());
    let client = Client::new(1);
    let unicast = lab.ask(&client.discover());
    assert_eq!((unicast.to_mac, unicast.to), (client.mac, unicast.yiaddr));
    assert_eq!((unicast.to_port, unicast.broadcast), (68, false));
    let all = lab.ask(&Message { flags: 0x8000, ..client.discover() });
    assert_eq!((all.to_mac, all.to), (MacAddr::BROADCAST, Ipv4Addr::BROADCAST));
    assert!(all.broadcast);
}

// D14
#[test]
fn options_follow_the_clients_order_after_the_mask() {
    let mut lab = Lab::new(Config {
        domain: Some("example".parse().unwrap()),
        ntp: vec![ip(4)],
        mtu: Some(1400),
        options: vec![(66, b"boot".to_vec())],
        ..config()
    });
    let client = Client::new(1).with(55, &[66, 26, 3, 6, 1, 3, 200]);
    let offer = lab.ask(&client.discover());
    assert_eq!(offer.codes(), [53, 54, 51, 58, 59, 1, 66, 26, 3, 6]);
    let all = lab.ask(&Client::new(2).discover());
    assert_eq!(all.codes(), [53, 54, 51, 58, 59, 1, 3, 6, 28, 42, 15, 26, 66]);
    assert_eq!(all.option(26).unwrap(), 1400_u16.to_be_bytes());
}

#[test]
fn a_reply_has_300_octets_at_least_and_what_the_client_takes_at_most() {
    let long = |code| (code, vec![code; 300]);
    let options = vec![long(200), long(201), long(202), long(203)];
    let mut lab = Lab::new(Config { options, ..config() });
    let sizes = [
        (None, 548, 0),
        (Some(100_u16), 548, 0),
        (Some(576), 548, 0),
        (Some(1000), 972, 2),
        (Some(1500), 1472, 3),
        (Some(9000), 1472, 3),
    ];
    for (asked, most, whole) in sizes {
        let mut client = Client::new(1).with(55, &[200, 201, 202, 203]);
        if let Some(asked) = asked {
            client = client.with(57, &asked.to_be_bytes());
        }
        let offer = lab.ask(&client.discover());
        assert!((300..=most).contains(&offer.len), "{asked:?}: {}", offer.len);
        let sent: Vec<_> =
            [200, 201, 202, 203].into_iter().filter_map(|c| offer.option(c)).collect();
        assert_eq!(sent.len(), whole, "{asked:?}");
        assert!(sent.iter().all(|value| value.len() == 300), "never a part of an option");
    }
    assert!(lab.server.counters().options_left_out > 0);
    assert_eq!(lab.ask(&Client::new(1).with(55, &[1]).discover()).len, 300);
}

#[test]
fn a_long_option_is_split_into_pieces_of_255() {
    let mut lab = Lab::new(Config { options: vec![(200, vec![7; 300])], ..config() });
    let client = Client::new(1).with(57, &1500_u16.to_be_bytes()).with(55, &[200]);
    let offer = lab.ask(&client.discover());
    let lens: Vec<_> =
        offer.options.iter().filter(|(code, _)| *code == 200).map(|(_, v)| v.len()).collect();
    assert_eq!(lens, [255, 45]);
}

#[test]
fn a_split_option_is_joined() {
    let mut lab = Lab::new(config());
    let client = Client::new(1).with(61, b"split-").with(61, b"identifier");
    assert_eq!(lab.ask(&client.discover()).option(61).unwrap(), b"split-identifier");
}

#[test]
fn options_are_read_from_overloaded_fields() {
    let mut lab = Lab::new(config());
    let message = Client::new(1).discover().option(52, &[3]);
    let mut octets = message.octets();
    octets[108..120].copy_from_slice(b"\x32\x04\x0a\0\0\x63\x3d\x02ab\xff\0");
    octets[44..50].copy_from_slice(b"\x3d\x02cd\xff\0");
    let replies = lab.send(&message.frame_of(&octets));
    assert_eq!(replies[0].yiaddr, ip(99));
    assert_eq!(replies[0].option(61).unwrap(), b"abcd");
}

// D15
#[test]
fn a_lease_says_when_to_renew_and_to_rebind() {
    let mut lab = Lab::new(config());
    let times = |reply: &Reply| [51, 58, 59].map(|code| reply.number(code));
    let client = Client::new(1);
    assert_eq!(times(&lab.ask(&client.discover())), [Some(3600), Some(1800), Some(3150)]);
    let less = client.with(51, &1000_u32.to_be_bytes());
    assert_eq!(times(&lab.ask(&less.discover())), [Some(1000), Some(500), Some(875)]);
    let more = client.with(51, &[0xff; 4]);
    assert_eq!(lab.ask(&more.discover()).number(51), Some(3600));
    let nothing = client.with(51, &[0; 4]);
    assert_eq!(lab.ask(&nothing.discover()).number(51), Some(60));
    let (t1, t2) = (Some(secs(60)), Some(secs(120)));
    let mut lab = Lab::new(Config { t1, t2, ..config() });
    assert_eq!(times(&lab.ask(&client.discover())), [Some(3600), Some(60), Some(120)]);
    assert_eq!(times(&lab.ask(&less.discover())), [Some(1000), Some(16), Some(33)]);
}

#[test]
fn an_infinite_lease_never_ends() {
    let mut lab = Lab::new(Config { lease_time: LeaseTime::INFINITE, ..config() });
    let client = Client::new(1);
    let address = lab.join(&client);
    let ack = lab.ask(&client.reboot(address));
    assert_eq!((ack.number(51), ack.number(58)), (Some(u32::MAX), None));
    lab.pass(secs(100 * 365 * 86_400));
    assert_eq!(lab.state(address), Some(LeaseState::Bound));
    lab.reboot();
    assert_eq!(lab.lease(address).unwrap().remaining, None);
}

// D16
#[test]
fn rapid_commit_is_off_unless_configured() {
    let client = Client::new(1).with(80, &[]);
    assert_eq!(Lab::new(config()).ask(&client.discover()).kind, OFFER);
    let mut lab = Lab::new(Config { rapid_commit: true, ..config() });
    let ack = lab.ask(&client.discover());
    assert_eq!((ack.kind, ack.option(80)), (ACK, Some(Vec::new())));
    assert_eq!(lab.state(ack.yiaddr), Some(LeaseState::Bound));
    assert_eq!(lab.ask(&Client::new(2).discover()).kind, OFFER, "only for who asks");
}

// D17
#[test]
fn a_client_that_can_do_without_ipv4_takes_no_address() {
    let mut lab = Lab::new(Config { ipv6_only: Some(secs(1800)), ..config() });
    let client = Client::new(1).with(55, &[108, 1]);
    let offer = lab.ask(&client.discover());
    assert_eq!((offer.kind, offer.yiaddr), (OFFER, Ipv4Addr::UNSPECIFIED));
    assert_eq!(offer.number(108), Some(1800));
    assert_eq!(lab.server.snapshot(), []);
    let ack = lab.ask(&client.reboot(ip(9)));
    assert_eq!((ack.kind, ack.number(108)), (ACK, Some(1800)));
    let other = lab.ask(&Client::new(2).with(55, &[1]).discover());
    assert_eq!(other.number(108), None, "only for who asks");
    let off = Lab::new(config()).ask(&client.discover());
    assert_eq!((off.number(108), off.yiaddr.is_unspecified()), (None, false));
}

// D18
#[test]
fn a_name_is_cleaned_checked_and_made_unique() {
    let mut lab = Lab::new(config());
    let named = |number: u16, name: &[u8]| Client::new(number).with(12, name);
    let mut name_of = |client: Client| {
        let address = lab.join(&client);
        lab.server.name_of(address).map(|name| name.as_str().to_owned())
    };
    assert_eq!(name_of(named(1, b"VM1\0")).as_deref(), Some("vm1"));
    assert_eq!(name_of(named(2, b"vm1")).as_deref(), Some("vm1-2"));
    assert_eq!(name_of(named(3, b"vm1.example.org")).as_deref(), Some("vm1-3"));
    assert_eq!(name_of(named(1, b"vm1")).as_deref(), Some("vm1"), "its own name is not taken");
    for bad in [&b"-vm"[..], b"v m", b"\xff", b"", b"12", b"gateway", b"localhost", b"wpad"] {
        assert_eq!(name_of(named(4, bad)), None, "{bad:?}");
    }
    assert_eq!(lab.server.address_of(&"vm1-2".parse().unwrap()), {
        let two = lab.server.snapshot();
        two.iter().find(|lease| lease.station == Client::new(2).mac).map(|lease| lease.address)
    });
}

#[test]
fn a_name_is_free_again_when_its_lease_ends() {
    let mut lab = Lab::new(config());
    let first = lab.join(&hosted(b"vm"));
    assert_eq!(lab.ask(&hosted(b"vm").reboot(first)).option(12).unwrap(), b"vm");
    lab.send(&hosted(b"vm").release(first).frame());
    assert_eq!(lab.server.address_of(&"vm".parse().unwrap()), None);
    let second = lab.join(&Client::new(2).with(12, b"vm"));
    assert_eq!(lab.server.address_of(&"vm".parse().unwrap()), Some(second));
}

#[test]
fn a_full_name_is_answered_in_kind() {
    let domain = Some("mesh.internal".parse().unwrap());
    let mut lab = Lab::new(Config { domain, ..config() });
    let mut answer = |flags: u8, name: &[u8]| {
        let client = Client::new(1).with(81, &[&[flags, 0, 0], name].concat());
        let address = lab.join(&client);
        lab.ask(&client.reboot(address)).option(81).unwrap()
    };
    // As text; the server overrides a client that would answer for its name itself.
    assert_eq!(answer(1, b"vm1"), b"\x01\xff\xffvm1.mesh.internal");
    assert_eq!(answer(0, b"VM1.other.org"), b"\x03\xff\xffvm1.mesh.internal");
    // As in DNS.
    assert_eq!(answer(5, b"\x03vm1\0"), b"\x05\xff\xff\x03vm1\x04mesh\x08internal\0");
    // Nobody shall answer.
    assert_eq!(answer(12, b"\x03vm1\0"), b"\x0c\xff\xff\x03vm1\x04mesh\x08internal\0");
}

// D19
#[test]
fn the_search_list_is_compressed() {
    let search = ["eng.example.org", "example.org"].map(|name| name.parse().unwrap()).to_vec();
    let mut lab = Lab::new(Config { search, ..config() });
    let offer = lab.ask(&Client::new(1).with(55, &[119]).discover());
    assert_eq!(offer.option(119).unwrap(), b"\x03eng\x07example\x03org\0\xc0\x04");
}

// D20
#[test]
fn nonsense_is_dropped_in_silence_and_counted() {
    let good = Client::new(1).discover();
    let octets = good.octets();
    let with = |at: usize, value: u8| {
        let mut octets = octets.clone();
        octets[at] = value;
        octets
    };
    let option = |option: &[u8]| [&octets[..240], &[53, 1, 1], option].concat();
    let cases: &[(&str, Vec<u8>, Ignored)] = &[
        ("empty", Vec::new(), Ignored::BadHeader),
        ("short", octets[..239].to_vec(), Ignored::BadHeader),
        ("a reply", with(0, 2), Ignored::BadHeader),
        ("token ring", with(1, 6), Ignored::BadHeader),
        ("hlen 17", with(2, 17), Ignored::BadHeader),
        ("hlen 0", with(2, 0), Ignored::BadHeader),
        ("bad cookie", with(236, 0), Ignored::BadHeader),
        ("group chaddr", with(28, 0xff), Ignored::BadHeader),
        ("no options", octets[..240].to_vec(), Ignored::BadType),
        ("type 0", option(&[53, 1, 0]), Ignored::BadOption),
        ("type 2", with(242, 2), Ignored::BadType),
        ("type 99", with(242, 99), Ignored::BadType),
        ("truncated option", option(&[12, 9, b'v']), Ignored::BadOption),
        ("option without length", option(&[12]), Ignored::BadOption),
        ("empty client id", option(&[61, 0, 255]), Ignored::BadOption),
        ("empty parameters", option(&[55, 0, 255]), Ignored::BadOption),
        ("short address", option(&[50, 3, 10, 0, 0, 255]), Ignored::BadOption),
        ("long server id", option(&[54, 5, 10, 0, 0, 1, 1, 255]), Ignored::BadOption),
        ("overload 0", option(&[52, 1, 0, 255]), Ignored::BadOption),
        ("overload 4", option(&[52, 1, 4, 255]), Ignored::BadOption),
        ("long overload", option(&[52, 2, 1, 1, 255]), Ignored::BadOption),
    ];
    let mut lab = Lab::new(config());
    for (what, octets, reason) in cases {
        let before = lab.server.counters().ignored(*reason);
        assert_eq!(lab.send(&good.frame_of(octets)), [], "{what}");
        assert_eq!(lab.server.counters().ignored(*reason), before + 1, "{what}");
    }
    assert_eq!(lab.server.snapshot(), []);
    // The end option may be missing, and subnet selection is another server's affair.
    assert_eq!(lab.send(&good.frame_of(&option(&[118, 4, 10, 9, 0, 0]))).len(), 1);
}

#[test]
fn damaged_packets_are_counted() {
    let mut lab = Lab::new(config());
    let mut frame = Client::new(1).discover().frame();
    let last = frame.len() - 1;
    frame[last] ^= 1;
    lab.send(&frame);
    assert_eq!(lab.server.counters().ignored(Ignored::BadChecksum), 1);
    lab.send(&frame[..100]);
    assert_eq!(lab.server.counters().ignored(Ignored::BadPacket), 1);
}

#[test]
fn what_is_for_another_host_is_passed_over() {
    let mut lab = Lab::new(config());
    for destination in [ip(2), Ipv4Addr::new(192, 168, 1, 1)] {
        let message = Message { destination, ..Client::new(1).discover() };
        assert_eq!(lab.send(&message.frame()), []);
    }
    // Flooded, because nobody knows where that station is.
    let mut flooded = Message { destination: GATEWAY, ..Client::new(1).discover() }.frame();
    flooded[..6].copy_from_slice(&[2, 0, 0, 0, 0, 0x77]);
    assert_eq!(lab.send(&flooded), []);
    let directed = Message { destination: ip(255), ..Client::new(1).discover() };
    assert_eq!(lab.send(&directed.frame()).len(), 1);
}

#[test]
fn a_client_may_have_to_speak_from_its_own_station() {
    let mut lab = Lab::new(Config { check_station: true, ..config() });
    let forged = Message { station: MacAddr([2; 6]), ..Client::new(1).discover() };
    lab.unanswered(&forged, Ignored::StationMismatch);
    assert_eq!(lab.send(&Message { giaddr: ip(3), ..forged }.frame()).len(), 1, "relays may");
}
