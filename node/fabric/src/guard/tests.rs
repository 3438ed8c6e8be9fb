//! Packets that must not pass, in all the wrappings that they come in, and those that must.

use proptest::prelude::*;

use super::*;

const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const GATEWAY_IP: [u8; 4] = [10, 0, 0, 1];
const GATEWAY_IPV6: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const GUEST: [u8; 6] = [2, 0, 0, 0, 0, 9];
const GUEST_IP: [u8; 4] = [10, 0, 0, 9];

const DHCP: Option<DropReason> = Some(DropReason::RogueDhcp);
const RA: Option<DropReason> = Some(DropReason::RogueRa);
const CLAIM: Option<DropReason> = Some(DropReason::GatewayClaim);

fn gateway() -> GatewayAddress {
    GatewayAddress { mac: MacAddr(GATEWAY_MAC), ipv4: GATEWAY_IP, ipv6: vec![GATEWAY_IPV6] }
}

fn guard() -> Guard {
    Guard::new(GuardConfig { servers: true, gateways: vec![gateway()] })
}

fn inspect(frame: &[u8]) -> Option<DropReason> {
    guard().inspect(PortTrust::Untrusted, frame)
}

/// A frame of a guest; `ethertype` may be followed by what stands before the packet.
fn frame(ethertype: &[u8], packet: &[u8]) -> Vec<u8> {
    [&[0xff; 6][..], &GUEST, ethertype, packet].concat()
}

/// Everything that may stand between the addresses and a packet of this type.
fn wrappings(ethertype: [u8; 2]) -> Vec<Vec<u8>> {
    let snap = |organisation: u8| [&[0xaa, 0xaa, 3, 0, 0, organisation][..], &ethertype].concat();
    let prefixes: [&[u8]; 8] = [
        &[],
        &[0x81, 0, 0, 5],
        &[0x81, 0, 0xe0, 0],
        &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6],
        &[0x81, 0, 0, 0, 0x81, 0, 0, 0, 0x81, 0, 0, 0],
        &[0x91, 0, 0, 5],
        &[0x92, 0, 0, 5],
        &[0x93, 0, 0, 5, 0x88, 0xa8, 0, 5],
    ];
    let ends = [
        ethertype.to_vec(),
        [&[0, 60][..], &snap(0)].concat(),
        [&[0, 0][..], &snap(0xf8)].concat(),
    ];
    let pairs = prefixes.iter().flat_map(|prefix| ends.iter().map(move |end| (prefix, end)));
    let mut all: Vec<_> = pairs.map(|(prefix, end)| [prefix, &end[..]].concat()).collect();
    // A tag behind an LLC header.
    all.push([&[0, 60, 0xaa, 0xaa, 3, 0, 0, 0, 0x81, 0, 0, 5][..], &ethertype].concat());
    all
}

fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    [&source.to_be_bytes()[..], &destination.to_be_bytes(), &[0; 4], payload].concat()
}

fn ipv4(protocol: u8, options: usize, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let ihl = 0x45 + u8::try_from(options / 4).unwrap();
    let fragment = fragment.to_be_bytes();
    let head = [ihl, 0, 0, 0, 0, 0, fragment[0], fragment[1], 64, protocol, 0, 0];
    [&head[..], &GUEST_IP, &[255; 4], &vec![1; options], payload].concat()
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [l0, l1] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0x60, 0, 0, 0, l0, l1, next, 255][..], &[0xfe; 32], payload].concat()
}

fn arp(operation: u8, mac: [u8; 6], ip: [u8; 4]) -> Vec<u8> {
    [&[0, 1, 8, 0, 6, 4, 0, operation][..], &mac, &ip, &[0; 6], &GATEWAY_IP].concat()
}

#[test]
fn messages_of_dhcp_servers_are_dropped_in_every_wrapping() {
    for wrapping in wrappings([8, 0]) {
        let is_dropped = |packet: &[u8]| inspect(&frame(&wrapping, packet)) == DHCP;
        assert!(is_dropped(&ipv4(UDP, 0, 0, &udp(67, 68, &[2]))), "{wrapping:x?}");
        assert!(is_dropped(&ipv4(UDP, 40, 0, &udp(67, 68, &[2]))), "with options");
        assert!(is_dropped(&ipv4(UDP, 0, 0, &udp(67, 67, &[2]))), "to a relay");
        assert!(is_dropped(&ipv4(UDP, 0, 0, &udp(9999, 68, &[2]))), "from another port");
        assert!(is_dropped(&ipv4(UDP, 0, 0x2000, &udp(67, 68, &[]))), "in fragments");
        assert!(is_dropped(&ipv4(UDP, 0, 0x2000, &udp(67, 68, &[1]))), "and padded");
    }
}

#[test]
fn clients_relays_and_others_pass() {
    for packet in [
        ipv4(UDP, 0, 0, &udp(68, 67, &[1])),
        ipv4(UDP, 0, 0, &udp(67, 67, &[1])),
        ipv4(UDP, 0, 0, &udp(53, 6768, &[2])),
        ipv4(6, 0, 0, &udp(67, 68, &[2])),
        // Not the first fragment: these are no ports.
        ipv4(UDP, 0, 0x0001, &udp(67, 68, &[2])),
        ipv4(UDP, 0, 0, &[]),
        ipv4(UDP, 0, 0, &[0, 67, 0]),
        vec![0x45; 5],
    ] {
        assert_eq!(inspect(&frame(&[8, 0], &packet)), None, "{packet:x?}");
    }
}

#[test]
fn router_advertisements_are_dropped_in_every_wrapping() {
    for wrapping in wrappings([0x86, 0xdd]) {
        for icmpv6 in [ROUTER_ADVERTISEMENT, REDIRECT] {
            assert_eq!(inspect(&frame(&wrapping, &ipv6(ICMPV6, &[icmpv6, 0]))), RA);
        }
        let reply = udp(547, 546, &[2]);
        assert_eq!(inspect(&frame(&wrapping, &ipv6(UDP, &reply))), DHCP);
    }
}

/// Extension headers of each kind, without their first octet, which says what follows.
fn extensions() -> Vec<(u8, Vec<u8>)> {
    vec![
        (HOP_BY_HOP, vec![0; 7]),
        (DESTINATION_OPTIONS, [&[2][..], &[0; 22]].concat()),
        (ROUTING, vec![0; 7]),
        (MOBILITY, vec![0; 7]),
        (HOST_IDENTITY, vec![0; 7]),
        (SHIM6, vec![0; 7]),
        (AUTHENTICATION, [&[1][..], &[0; 10]].concat()),
        // A first fragment; more follow.
        (FRAGMENT, vec![0, 0, 1, 0, 0, 0, 9]),
    ]
}

/// A packet with these extension headers, in this order, and then this.
fn chain(headers: &[(u8, Vec<u8>)], last: u8, payload: &[u8]) -> Vec<u8> {
    let mut kinds = headers.iter().map(|(kind, _)| *kind).chain([last]);
    let first = kinds.next().expect("there is at least the last");
    let mut packet = Vec::new();
    for ((_, rest), next) in headers.iter().zip(kinds) {
        packet.push(next);
        packet.extend_from_slice(rest);
    }
    packet.extend_from_slice(payload);
    ipv6(first, &packet)
}

#[test]
fn a_first_fragment_that_hides_what_it_is_is_dropped() {
    let is = |packet: &[u8]| inspect(&frame(&[0x86, 0xdd], packet));
    let all = extensions();
    let fragment = [all[7].clone()];
    assert_eq!(is(&chain(&fragment, ICMPV6, &[])), RA);
    assert_eq!(is(&chain(&fragment, UDP, &[0, 1])), RA);
    assert_eq!(is(&chain(&fragment, DESTINATION_OPTIONS, &[ICMPV6])), RA);
    assert_eq!(is(&chain(&fragment, DESTINATION_OPTIONS, &[ICMPV6, 9, 0, 0, 0, 0, 0, 0])), RA);
    // Padding that looks like a harmless message.
    let short = chain(&fragment, DESTINATION_OPTIONS, &[ICMPV6, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(is(&[&short[..], &[128; 20]].concat()), RA);
    // Fragments that show what they are, others than the first, and what is just short.
    assert_eq!(is(&chain(&fragment, ICMPV6, &[128])), None);
    assert_eq!(is(&chain(&fragment, 6, &[])), None);
    let later = [(FRAGMENT, vec![0, 0, 9, 0, 0, 0, 9])];
    assert_eq!(is(&chain(&later, ICMPV6, &[ROUTER_ADVERTISEMENT])), None);
    assert_eq!(is(&chain(&[], ICMPV6, &[])), None);
    assert_eq!(is(&chain(&[], HOP_BY_HOP, &[ICMPV6])), None);
}

#[test]
fn neighbours_and_router_solicitations_pass() {
    for icmpv6 in [128, 133, 135, 136] {
        assert_eq!(inspect(&frame(&[0x86, 0xdd], &ipv6(ICMPV6, &[icmpv6, 0]))), None);
    }
    assert_eq!(inspect(&frame(&[0x86, 0xdd], &ipv6(UDP, &udp(546, 547, &[1])))), None);
    assert_eq!(inspect(&frame(&[0x86, 0xdd], &ipv6(59, &[ROUTER_ADVERTISEMENT]))), None);
}

#[test]
fn nobody_else_claims_the_gateways_addresses() {
    for ethertype in [[8, 6], [0x80, 0x35]] {
        for wrapping in wrappings(ethertype) {
            for operation in [1, 2, 3] {
                let claims = |mac, ip| inspect(&frame(&wrapping, &arp(operation, mac, ip)));
                assert_eq!(claims(GUEST, GATEWAY_IP), CLAIM);
                assert_eq!(claims(GATEWAY_MAC, GUEST_IP), CLAIM);
                assert_eq!(claims(GUEST, GUEST_IP), None);
            }
        }
    }
    let from_gateway = [&[0xff; 6][..], &GATEWAY_MAC, &[8, 0, 0x45]].concat();
    assert_eq!(inspect(&from_gateway), CLAIM);
    let to_gateway = [&GATEWAY_MAC[..], &GUEST, &[8, 0, 0x45]].concat();
    assert_eq!(inspect(&to_gateway), None);
}

#[test]
fn nobody_else_claims_the_gateways_ipv6_addresses() {
    const SOLICITATION: u8 = 135;
    let from = |source: [u8; 16], message: &[u8]| {
        let mut packet = ipv6(ICMPV6, message);
        packet[IPV6_SOURCE..IPV6_SOURCE + 16].copy_from_slice(&source);
        packet
    };
    let about = |kind: u8, target: [u8; 16]| [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &target].concat();
    let guest = [0xfe; 16];
    for wrapping in wrappings([0x86, 0xdd]) {
        let is = |packet: &[u8]| inspect(&frame(&wrapping, packet));
        assert_eq!(is(&from(guest, &about(NEIGHBOUR_ADVERTISEMENT, GATEWAY_IPV6))), CLAIM);
        assert_eq!(is(&from(GATEWAY_IPV6, &about(SOLICITATION, guest))), CLAIM);
        assert_eq!(is(&from(GATEWAY_IPV6, &[ROUTER_SOLICITATION, 0, 0, 0])), CLAIM);
        // Who asks for the gateway claims nothing, nor who answers for itself, nor an echo.
        assert_eq!(is(&from(guest, &about(SOLICITATION, GATEWAY_IPV6))), None);
        assert_eq!(is(&from(guest, &about(NEIGHBOUR_ADVERTISEMENT, guest))), None);
        assert_eq!(is(&from(GATEWAY_IPV6, &[128, 0, 0, 0])), None);
    }
}

#[test]
fn trusted_ports_and_a_guard_that_is_off_let_everything_pass() {
    let offer = frame(&[8, 0], &ipv4(UDP, 0, 0, &udp(67, 68, &[2])));
    let claim = frame(&[8, 6], &arp(2, GUEST, GATEWAY_IP));
    for bad in [&offer, &claim] {
        assert_eq!(guard().inspect(PortTrust::Trusted, bad), None);
        assert_eq!(Guard::default().inspect(PortTrust::Untrusted, bad), None);
    }
    let only = |servers, gateways| Guard::new(GuardConfig { servers, gateways });
    let (servers, claims) = (only(true, vec![]), only(false, vec![gateway()]));
    assert_eq!(servers.inspect(PortTrust::Untrusted, &offer), DHCP);
    assert_eq!(servers.inspect(PortTrust::Untrusted, &claim), None);
    assert_eq!(claims.inspect(PortTrust::Untrusted, &offer), None);
    assert_eq!(claims.inspect(PortTrust::Untrusted, &claim), CLAIM);
}

proptest! {
    #[test]
    fn no_chain_of_headers_hides_a_router_advertisement(
        chosen in proptest::collection::vec(proptest::sample::select(extensions()), 0..6),
        wrapping in proptest::sample::select(wrappings([0x86, 0xdd])),
        harmless in 0..ROUTER_ADVERTISEMENT,
    ) {
        let packet = chain(&chosen, ICMPV6, &[ROUTER_ADVERTISEMENT, 0, 0, 0]);
        prop_assert_eq!(inspect(&frame(&wrapping, &packet)), RA);
        let packet = chain(&chosen, ICMPV6, &[harmless, 0, 0, 0]);
        prop_assert_eq!(inspect(&frame(&wrapping, &packet)), None);
    }

    #[test]
    fn whatever_octets_come_there_is_an_answer(
        start in proptest::sample::select(
            [wrappings([8, 0]), wrappings([8, 6]), wrappings([0x86, 0xdd]), vec![vec![]]].concat(),
        ),
        rest in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let octets = frame(&start, &rest);
        for len in 0..=octets.len() {
            inspect(&octets[..len]);
        }
    }
}
