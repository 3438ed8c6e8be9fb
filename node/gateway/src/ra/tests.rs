//! The advertiser as machines hear it; its frames are read by another implementation.

use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire as judge;

use super::*;

const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const MACHINE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

fn config() -> Config {
    let prefix: UlaPrefix = "fd12:3456:789a:1::/64".parse().unwrap();
    Config {
        gateway_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        link_local: LINK_LOCAL,
        prefix,
        default_route: DefaultRoute::Advertised,
        dns: vec![prefix.address(1)],
        search: vec!["mesh.internal".parse().unwrap()],
        mtu: Some(1400),
        seed: 7,
    }
}

/// The one clock reading from which the tests count.
#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
fn start() -> Instant {
    Instant::now()
}

#[derive(Debug, PartialEq, Eq)]
struct Heard {
    to_mac: MacAddr,
    to: Ipv6Addr,
    router_lifetime: u64,
    /// Kind and octets after kind and length.
    options: Vec<(u8, Vec<u8>)>,
}

fn hear(frame: &[u8]) -> Heard {
    let frame = judge::EthernetFrame::new_checked(frame).unwrap();
    assert_eq!(frame.src_addr().0, [2, 0, 0, 0, 0, 1]);
    let packet = judge::Ipv6Packet::new_checked(frame.payload()).unwrap();
    assert_eq!((packet.hop_limit(), packet.src_addr()), (255, LINK_LOCAL));
    let icmp = judge::Icmpv6Packet::new_checked(packet.payload()).unwrap();
    let read = judge::Icmpv6Repr::parse(
        &packet.src_addr(),
        &packet.dst_addr(),
        &icmp,
        &ChecksumCapabilities::default(),
    );
    let judge::Icmpv6Repr::Ndisc(judge::NdiscRepr::RouterAdvert { flags, hop_limit, .. }) =
        read.unwrap()
    else {
        panic!("not an advertisement");
    };
    assert_eq!((flags.bits(), hop_limit), (0, 64), "nothing from DHCPv6");
    let mut rest = &packet.payload()[16..];
    let mut options = Vec::new();
    while let [kind, units, ..] = *rest {
        let (option, after) = rest.split_at(usize::from(units) * 8);
        options.push((kind, option[2..].to_vec()));
        rest = after;
    }
    Heard {
        to_mac: MacAddr(frame.dst_addr().0),
        to: packet.dst_addr(),
        router_lifetime: icmp.router_lifetime().secs(),
        options,
    }
}

fn heard(advertiser: &mut Advertiser) -> Vec<Heard> {
    std::iter::from_fn(|| advertiser.poll_transmit()).map(|frame| hear(&frame)).collect()
}

fn solicitation(source: Ipv6Addr) -> Vec<u8> {
    let all_routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    let to = (MacAddr([0x33, 0x33, 0, 0, 0, 2]), all_routers);
    icmpv6_frame((STATION, source), to, vec![133, 0, 0, 0, 0, 0, 0, 0])
}

/// An advertiser that has sent its first advertisement.
fn running(config: Config) -> (Advertiser, Instant) {
    let now = start();
    let mut advertiser = Advertiser::new(config, now);
    assert_eq!(advertiser.poll_timeout(), Some(now));
    advertiser.handle_timeout(now);
    assert_eq!(heard(&mut advertiser).len(), 1);
    (advertiser, now)
}

#[test]
fn an_advertisement_says_all_that_machines_need() {
    let now = start();
    let mut advertiser = Advertiser::new(config(), now);
    advertiser.handle_timeout(now);
    let heard = heard(&mut advertiser).remove(0);
    assert_eq!((heard.to_mac, heard.to), (MacAddr([0x33, 0x33, 0, 0, 0, 1]), ALL_NODES));
    assert_eq!(heard.router_lifetime, 1800);
    let kinds: Vec<_> = heard.options.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [1, 5, 3, 25, 31]);
    let prefix = &heard.options[2].1;
    assert_eq!((prefix[0], prefix[1]), (64, 0xc0));
    assert_eq!(prefix[14..], config().prefix.address(0).octets());
    let dns = &heard.options[3].1;
    assert_eq!(dns[2..6], 1800_u32.to_be_bytes());
    assert_eq!(dns[6..], config().prefix.address(1).octets());
    assert_eq!(heard.options[4].1[6..], *b"\x04mesh\x08internal\0\0");
}

#[test]
fn without_a_way_out_there_is_no_default_route() {
    let default_route = DefaultRoute::None;
    let (mut advertiser, now) = running(Config { default_route, ..config() });
    advertiser.handle_frame(&solicitation(MACHINE), now);
    assert_eq!(heard(&mut advertiser)[0].router_lifetime, 0);
}

#[test]
fn a_solicitation_is_answered_to_its_sender_at_once() {
    let (mut advertiser, now) = running(config());
    advertiser.handle_frame(&solicitation(MACHINE), now);
    let heard = heard(&mut advertiser);
    assert_eq!((heard.len(), heard[0].to_mac, heard[0].to), (1, STATION, MACHINE));
}

#[test]
fn a_solicitation_from_nowhere_is_answered_to_all_but_not_too_often() {
    let (mut advertiser, now) = running(config());
    let nowhere = solicitation(Ipv6Addr::UNSPECIFIED);
    for _ in 0..10 {
        advertiser.handle_frame(&nowhere, now + Duration::from_secs(1));
    }
    assert_eq!(heard(&mut advertiser), []);
    assert_eq!(advertiser.poll_timeout(), Some(now + MIN_DELAY));
    advertiser.handle_timeout(now + MIN_DELAY);
    assert_eq!(heard(&mut advertiser)[0].to, ALL_NODES);
    advertiser.handle_frame(&nowhere, now + MIN_DELAY * 2);
    assert_eq!(heard(&mut advertiser).len(), 1);
}

#[test]
fn advertisements_begin_fast_and_then_vary_between_200_and_600_seconds() {
    let mut now = start();
    let mut advertiser = Advertiser::new(config(), now);
    let mut waits = Vec::new();
    for _ in 0..50 {
        advertiser.handle_timeout(now);
        let next = advertiser.poll_timeout().unwrap();
        waits.push(next.duration_since(now).as_secs());
        now = next;
    }
    assert_eq!(waits[..2], [16, 16]);
    assert!(waits[2..].iter().all(|wait| (200..=600).contains(wait)), "{waits:?}");
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 30);
}

#[test]
fn machines_hear_at_once_when_the_way_out_goes_or_comes() {
    let (mut advertiser, now) = running(config());
    advertiser.set_default_route(DefaultRoute::None, now);
    assert_eq!(heard(&mut advertiser)[0].router_lifetime, 0);
    advertiser.set_default_route(DefaultRoute::None, now);
    assert_eq!(heard(&mut advertiser), []);
    advertiser.set_default_route(DefaultRoute::Advertised, now);
    assert_eq!(heard(&mut advertiser)[0].router_lifetime, 1800);
}

#[test]
fn the_last_three_say_goodbye() {
    let (mut advertiser, now) = running(config());
    advertiser.stop();
    advertiser.stop();
    let last = heard(&mut advertiser);
    assert_eq!(last.len(), 3);
    for heard in last {
        assert_eq!(heard.router_lifetime, 0);
        assert_eq!(heard.options[3].1[2..6], [0; 4]);
        assert_eq!(heard.options[2].1[2..6], VALID.to_be_bytes(), "addresses stay");
    }
    assert_eq!(advertiser.poll_timeout(), None);
    advertiser.handle_frame(&solicitation(MACHINE), now);
    assert_eq!(heard(&mut advertiser), []);
}

#[test]
fn what_is_no_solicitation_is_passed_over() {
    let (mut advertiser, now) = running(config());
    let good = solicitation(MACHINE);
    let damaged = |at: usize| {
        let mut frame = good.clone();
        frame[at] ^= 0x01;
        frame
    };
    let mut far = good.clone();
    far[21] = 64;
    let with = |source, octets: &[u8]| {
        let message = [&[133, 0, 0, 0, 0, 0, 0, 0], octets].concat();
        icmpv6_frame((STATION, source), (STATION, ALL_NODES), message)
    };
    for (what, frame) in [
        ("checksum", damaged(56)),
        ("next header", damaged(20)),
        ("ethertype", damaged(13)),
        ("hop limit", far),
        ("option without length", with(MACHINE, &[1, 0, 0, 0, 0, 0, 0, 0])),
        ("option too long", with(MACHINE, &[1, 2, 0, 0, 0, 0, 0, 0])),
        ("station of nobody", with(Ipv6Addr::UNSPECIFIED, &[1, 1, 2, 0, 0, 0, 0, 9])),
        ("short", good[..50].to_vec()),
    ] {
        advertiser.handle_frame(&frame, now + Duration::from_secs(9));
        assert_eq!(heard(&mut advertiser), [], "{what}");
    }
    let own_station = with(MACHINE, &[1, 1, 2, 0, 0, 0, 0, 9]);
    advertiser.handle_frame(&own_station, now);
    assert_eq!(heard(&mut advertiser).len(), 1);
}

#[test]
fn many_solicitations_leave_bounded_answers() {
    let (mut advertiser, now) = running(config());
    for _ in 0..1000 {
        advertiser.handle_frame(&solicitation(MACHINE), now);
    }
    assert_eq!(heard(&mut advertiser).len(), MAX_TRANSMIT);
}

#[test]
fn a_prefix_is_a_unique_local_64() {
    let prefix = UlaPrefix::new([0x12, 0x34, 0x56, 0x78, 0x9a], 1);
    assert_eq!(prefix.to_string(), "fd12:3456:789a:1::/64");
    assert_eq!("fd12:3456:789a:1::/64".parse(), Ok(prefix));
    for text in ["fd12::", "fd12::/48", "fc12::/64", "2001:db8::/64", "fd12::1/64", "", "/64"] {
        assert!(text.parse::<UlaPrefix>().is_err(), "{text:?} was accepted");
    }
}

proptest! {
    #[test]
    fn any_frame_is_taken_without_harm(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (mut advertiser, now) = running(config());
        advertiser.handle_frame(&tail, now);
        let frame = icmpv6_frame((STATION, MACHINE), (STATION, ALL_NODES), [&[133, 0, 0, 0][..], &tail].concat());
        advertiser.handle_frame(&frame, now);
        prop_assert!(heard(&mut advertiser).len() <= 1);
    }

    #[test]
    fn any_configuration_makes_a_frame_within_an_mtu(
        dns in proptest::collection::vec(any::<u128>(), 0..40),
        labels in proptest::collection::vec("[a-z]{1,60}(\\.[a-z]{1,60}){0,3}", 0..20),
    ) {
        let dns = dns.into_iter().map(Ipv6Addr::from_bits).collect();
        let search = labels.iter().map(|name| name.parse().unwrap()).collect();
        let now = start();
        let mut advertiser = Advertiser::new(Config { dns, search, ..config() }, now);
        advertiser.handle_timeout(now);
        let frame = advertiser.poll_transmit().unwrap();
        prop_assert!(frame.len() <= 1294);
        hear(&frame);
    }
}
