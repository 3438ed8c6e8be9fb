//! What finished segments must satisfy, checked with a checksum of their own.

use proptest::prelude::*;

use super::*;
use crate::limits::MAX_FRAME;
use crate::vnet::builder::{ACK, CWR, FIN, PSH, Packet, URG, any_packet, naive_sum, payload};
use crate::vnet::{Checksum, Gso, GsoKind};

fn split(header: VnetHeader, frame: &[u8]) -> Vec<Vec<u8>> {
    let mut out = SegmentBuffer::new();
    split_into(header, frame, &mut out).unwrap();
    assert_eq!(out.iter().len(), out.len());
    out.iter().map(<[u8]>::to_vec).collect()
}

/// Whether all checksums and lengths of a finished frame of `packet`'s form are right.
fn verify(packet: &Packet, frame: &[u8]) {
    let (network, transport) = (packet.network_at(), packet.transport_at());
    let be16 = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    let (addresses, end) = match packet.network {
        Network::V4 => {
            let header = frame[network..transport].iter().copied();
            assert_eq!(naive_sum(header), 0xffff, "IPv4 header checksum");
            (&frame[network + 12..network + 20], network + be16(network + 2))
        }
        Network::V6 => (&frame[network + 8..network + 40], transport + be16(network + 4)),
    };
    let (protocol, checksum) = match packet.transport {
        Transport::Tcp => (6, transport + 16),
        Transport::Udp => {
            assert_eq!(be16(transport + 4), end - transport, "UDP length");
            assert_ne!(be16(transport + 6), 0, "zero means no checksum");
            (17, transport + 6)
        }
    };
    let length = u32::try_from(end - transport).unwrap().to_be_bytes();
    let pseudo_header = addresses.iter().copied().chain(length).chain([0, 0, 0, protocol]);
    let covered = pseudo_header.chain(frame[transport..end].iter().copied());
    assert_eq!(naive_sum(covered), 0xffff, "transport checksum at {checksum}");
}

/// The super-frame that `segments` came from must have been `packet`.
fn reassemble(packet: &Packet, size: usize, segments: &[Vec<u8>]) {
    let whole = packet.frame();
    let headers = packet.payload_at();
    let mut payload: Vec<u8> = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        verify(packet, segment);
        assert!(segment.len() <= headers + size);
        assert!(last || segment.len() == headers + size, "only the last may be short");
        assert_eq!(segment[..packet.network_at()], whole[..packet.network_at()]);
        if packet.network == Network::V4 {
            let at = packet.network_at() + 4;
            let expected = packet.identification.wrapping_add(u16::try_from(index).unwrap());
            assert_eq!(segment[at..at + 2], expected.to_be_bytes(), "identification");
            assert_eq!(segment.len() - packet.network_at(), get(segment, at - 2).into());
        }
        if packet.transport == Transport::Tcp {
            let tcp = &segment[packet.transport_at()..];
            let done = u32::try_from(payload.len()).unwrap();
            assert_eq!(tcp[4..8], packet.sequence.wrapping_add(done).to_be_bytes(), "sequence");
            let kept =
                if last { 0xff } else { !(FIN | PSH) } & if index == 0 { 0xff } else { !CWR };
            assert_eq!(tcp[13] & !URG, packet.flags & kept & !URG, "flags");
            if packet.flags & URG != 0 {
                let ahead = u32::from(packet.urgent).saturating_sub(done);
                assert_eq!(u32::from(get(tcp, 18)), ahead, "urgent pointer");
                assert_eq!(tcp[13] & URG != 0, ahead > 0);
            }
        }
        payload.extend(&segment[headers..]);
    }
    assert_eq!(payload, packet.payload);
}

#[test]
fn a_finished_frame_passes_unchanged() {
    for checksum in [Checksum::Complete, Checksum::Valid] {
        let frame = payload(99);
        assert_eq!(split(VnetHeader { checksum, ..VnetHeader::PLAIN }, &frame), [frame]);
    }
}

#[test]
fn the_first_segment_keeps_cwr_and_the_last_keeps_fin_and_psh() {
    let mut packet = Packet::tcp_v4(300);
    packet.flags = ACK | FIN | PSH | CWR;
    let segments = split(packet.super_frame(100), &packet.frame());
    let flags: Vec<u8> = segments.iter().map(|segment| segment[47]).collect();
    assert_eq!(flags, [ACK | CWR, ACK, ACK | FIN | PSH]);
    reassemble(&packet, 100, &segments);
}

#[test]
fn the_urgent_pointer_stays_at_its_octet() {
    let mut packet = Packet::tcp_v4(300);
    packet.flags = ACK | URG;
    packet.urgent = 150;
    let segments = split(packet.super_frame(100), &packet.frame());
    let urgent: Vec<(u8, u16)> = segments.iter().map(|s| (s[47], get(s, 52))).collect();
    assert_eq!(urgent, [(ACK | URG, 150), (ACK | URG, 50), (ACK, 0)]);
}

#[test]
fn a_checksum_of_zero_is_written_as_its_complement() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut packet = Packet::new(Network::V6, transport, vec![0; 2]);
        let at = packet.transport_at() + if transport == Transport::Udp { 6 } else { 16 };
        for header in [packet.partial(), packet.super_frame(2)] {
            packet.payload = vec![0; 2];
            let sum = get(&split(header, &packet.frame())[0], at);
            packet.payload = sum.to_be_bytes().to_vec();
            let frame = &split(header, &packet.frame())[0];
            assert_eq!(get(frame, at), 0xffff);
            verify(&packet, frame);
        }
    }
}

#[test]
fn segments_are_summed_from_their_headers_whatever_the_sender_left() {
    let packet = Packet::tcp_v4(25);
    let right = split(packet.super_frame(10), &packet.frame());
    let mut frame = packet.frame();
    put(&mut frame, packet.transport_at() + 16, 0xdead);
    assert_eq!(split(packet.super_frame(10), &frame), right);
}

/// A header that asks for one sum.
fn open_at(start: usize, offset: u16) -> VnetHeader {
    VnetHeader {
        checksum: Checksum::Partial { start: u16::try_from(start).unwrap(), offset },
        ..VnetHeader::PLAIN
    }
}

#[test]
fn the_open_checksum_of_a_packet_in_a_tunnel_is_the_inner_one() {
    let inner = Packet::tcp_v4(99);
    // A VXLAN header (RFC 7348 section 5) in front of the inner frame.
    let vxlan = [8, 0, 0, 0, 0, 0, 7, 0];
    let outer = Packet {
        padding: 5,
        ..Packet::new(Network::V6, Transport::Udp, [&vxlan[..], &inner.frame()].concat())
    };
    let inner_at = outer.payload_at() + vxlan.len();
    let header = open_at(inner_at + inner.transport_at(), 16);
    let [finished] = &split(header, &outer.frame())[..] else { panic!("one frame") };
    let found = &finished[inner_at..finished.len() - outer.padding];
    let (ip, tcp) = (inner.network_at(), inner.transport_at());
    let length = u16::try_from(found.len() - tcp).unwrap().to_be_bytes();
    let pseudo_header = found[ip + 12..ip + 20].iter().copied();
    let covered = pseudo_header.chain(length).chain([0, 6]).chain(found[tcp..].iter().copied());
    assert_eq!(naive_sum(covered), 0xffff);
    assert_eq!(finished[..inner_at], outer.frame()[..inner_at], "the outer headers stay");
}

#[test]
fn an_open_checksum_of_icmpv6_is_completed() {
    let packet = Packet::new(Network::V6, Transport::Udp, payload(33));
    let mut frame = packet.frame();
    let at = packet.transport_at();
    frame[packet.network_at() + 6] = 58;
    // Type, code, and the sum of the pseudo header (RFC 4443 section 2.3).
    let addresses = frame[packet.network_at() + 8..at].to_vec();
    let length = u16::try_from(frame.len() - at).unwrap().to_be_bytes();
    let pseudo_header: Vec<u8> = addresses.into_iter().chain(length).chain([0, 58]).collect();
    frame[at..at + 2].copy_from_slice(&[128, 0]);
    put(&mut frame, at + 2, naive_sum(pseudo_header.iter().copied()));
    frame.extend([0x99; 4]);
    let [finished] = &split(open_at(at, 2), &frame)[..] else { panic!("one frame") };
    let message = finished[at..finished.len() - 4].iter().copied();
    assert_eq!(naive_sum(pseudo_header.into_iter().chain(message)), 0xffff);
    assert_eq!(finished[finished.len() - 4..], [0x99; 4], "padding stays");
}

#[test]
fn a_frame_that_is_no_ip_packet_is_summed_to_its_end() {
    let mut frame = payload(61);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    put(&mut frame, 20, 0);
    let [finished] = &split(open_at(14, 6), &frame)[..] else { panic!("one frame") };
    assert_eq!(naive_sum(finished[14..].iter().copied()), 0xffff);
}

#[test]
fn a_super_frame_of_one_segment_or_none_is_one_frame() {
    for len in [0, 1, 100] {
        let packet = Packet::udp_v6(len);
        let segments = split(packet.super_frame(100), &packet.frame());
        assert_eq!(segments.len(), 1);
        reassemble(&packet, 100, &segments);
    }
}

#[test]
fn the_largest_super_frame_stays_within_the_promised_memory() {
    let mut packet = Packet::tcp_v4(65_535 - 120);
    (packet.ip_options, packet.tcp_options) = (10, 10);
    let mut out = SegmentBuffer::new();
    split_into(packet.super_frame(28), &packet.frame(), &mut out).unwrap();
    assert!(out.bytes.len() < 400 * 1024, "{} octets", out.bytes.len());
    let capacity = out.bytes.capacity();
    out.clear();
    assert!(out.is_empty() && out.iter().next().is_none());
    split_into(packet.super_frame(28), &packet.frame(), &mut out).unwrap();
    assert_eq!(out.bytes.capacity(), capacity, "memory is used again");
}

#[test]
fn frames_are_appended_and_a_refusal_appends_none() {
    let packet = Packet::tcp_v4(25);
    let mut out = SegmentBuffer::new();
    split_into(VnetHeader::PLAIN, b"first", &mut out).unwrap();
    split_into(packet.super_frame(10), &packet.frame(), &mut out).unwrap();
    assert!(split_into(packet.super_frame(10), b"short", &mut out).is_err());
    let lengths: Vec<usize> = out.iter().map(<[u8]>::len).collect();
    assert_eq!(lengths, [5, 64, 64, 59]);
    assert_eq!(out.iter().next(), Some(&b"first"[..]));
}

proptest! {
    #[test]
    fn segments_reassemble_and_every_checksum_verifies(
        packet in any_packet(),
        size in 1..3000_u16,
    ) {
        let header = packet.super_frame(size);
        let count = packet.payload.len().div_ceil(size.into());
        prop_assume!(count <= crate::vnet::MAX_SEGMENTS);
        let segments = split(header, &packet.frame());
        prop_assert_eq!(segments.len(), count.max(1));
        reassemble(&packet, size.into(), &segments);
    }

    #[test]
    fn completing_a_checksum_changes_nothing_else(packet in any_packet()) {
        // The IPv4 header of a single frame is the sender's own, checksum included.
        let mut frame = packet.frame();
        if packet.network == Network::V4 {
            let (at, end) = (packet.network_at(), packet.transport_at());
            put(&mut frame, at + 10, 0);
            let sum = naive_sum(frame[at..end].iter().copied());
            put(&mut frame, at + 10, !sum);
        }
        let [finished] = &split(packet.partial(), &frame)[..] else { panic!("one frame") };
        verify(&packet, finished);
        let at = packet.transport_at() + if packet.transport == Transport::Tcp { 16 } else { 6 };
        let mut expected = frame;
        expected[at..at + 2].copy_from_slice(&finished[at..at + 2]);
        prop_assert_eq!(finished, &expected);
    }

    #[test]
    fn the_fast_sum_equals_the_naive_one(
        octets in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        let sum = naive_sum(octets.iter().copied());
        prop_assert_eq!(Sum::new().add(&octets).finish(), (!sum).to_be_bytes());
    }

    #[test]
    fn the_fast_sum_carries_all_the_way(len in 0..70_000_usize, number in any::<u16>()) {
        let octets = vec![0xff; len];
        let sum = naive_sum(number.to_be_bytes().into_iter().chain(octets.iter().copied()));
        prop_assert_eq!(Sum::new().add_number(number).add(&octets).finish(), (!sum).to_be_bytes());
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_cut_but_never_panic(
        header in any::<[u8; 10]>(),
        frame in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(header) = VnetHeader::parse(&header) {
            never_panics(header, &frame)?;
        }
    }

    #[test]
    fn a_mutated_super_frame_is_refused_or_cut_but_never_panics(
        packet in any_packet(),
        size in 1..3000_u16,
        header_damage in proptest::collection::vec((0..10_usize, any::<u8>()), 0..2),
        frame_damage in proptest::collection::vec((0..150_usize, any::<u8>()), 0..4),
        missing in prop_oneof![Just(0), 0..5200_usize],
    ) {
        let mut header = packet.super_frame(size).encode();
        for (at, octet) in header_damage {
            header[at] = octet;
        }
        let mut frame = packet.frame();
        for (at, octet) in frame_damage {
            if let Some(place) = frame.get_mut(at) {
                *place = octet;
            }
        }
        frame.truncate(frame.len().saturating_sub(missing));
        if let Ok(header) = VnetHeader::parse(&header) {
            never_panics(header, &frame)?;
        }
    }

    #[test]
    fn fields_that_were_never_parsed_do_not_panic_either(
        packet in any_packet(),
        segment_size in any::<u16>(),
        header_len in any::<u16>(),
        open in any::<bool>(),
    ) {
        let gso = Some(Gso { kind: GsoKind::Udp, ecn: true, segment_size });
        let checksum = if open { packet.partial().checksum } else { Checksum::Complete };
        never_panics(VnetHeader { checksum, gso, header_len }, &packet.frame())?;
    }
}

/// Cuts what may be malformed; whatever comes out keeps the promises of [`split_into`].
fn never_panics(header: VnetHeader, frame: &[u8]) -> Result<(), TestCaseError> {
    let mut out = SegmentBuffer::new();
    let result = split_into(header, frame, &mut out);
    prop_assert_eq!(header.validate(frame), result);
    prop_assert_eq!(result.is_ok(), !out.is_empty());
    prop_assert!(out.iter().all(|segment| segment.len() <= MAX_FRAME));
    Ok(())
}
