//! Header octets, and which headers fit which frames.

use proptest::prelude::*;

use super::builder::{ACK, Packet};
use super::*;

/// What `parse` gives: bytes in, bytes out.
fn parse(bytes: [u8; 10]) -> Result<VnetHeader, VnetError> {
    VnetHeader::parse(&bytes)
}

#[test]
fn the_fields_stand_where_the_standard_has_them() {
    let bytes = [1, 0x81, 0x42, 0x01, 0xb4, 0x05, 34, 0, 16, 0];
    let header = VnetHeader {
        checksum: Checksum::Partial { start: 34, offset: 16 },
        gso: Some(Gso { kind: GsoKind::TcpV4, ecn: true, segment_size: 1460 }),
        header_len: 0x142,
    };
    assert_eq!(parse(bytes), Ok(header));
    assert_eq!(header.encode(), bytes);
    assert!(header.is_super_frame() && !header.is_plain());
    assert_eq!(VnetHeader::PLAIN.encode(), [0; 10]);
    assert!(VnetHeader::PLAIN.is_plain());
}

#[test]
fn unknown_flags_and_meaningless_numbers_are_forgotten() {
    let header = parse([0xfe, 0, 0, 0, 9, 9, 9, 9, 9, 9]).unwrap();
    assert_eq!(header, VnetHeader { checksum: Checksum::Valid, ..VnetHeader::PLAIN });
    assert_eq!(header.encode(), [2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn only_tcp_and_udp_segmentation_are_known() {
    for gso_type in (0..=u8::MAX).filter(|t| ![0, 1, 4, 5, 0x81, 0x84].contains(t)) {
        let refused = match gso_type {
            0x80 | 0x85 => VnetError::Ecn(gso_type),
            _ => VnetError::GsoType(gso_type),
        };
        assert_eq!(parse([1, gso_type, 0, 0, 1, 0, 0, 0, 0, 0]), Err(refused));
    }
}

#[test]
fn a_super_frame_needs_an_open_checksum_and_a_segment_size() {
    assert_eq!(parse([2, 1, 0, 0, 1, 0, 0, 0, 0, 0]), Err(VnetError::ChecksumNotPartial));
    assert_eq!(parse([1, 1, 0, 0, 0, 0, 0, 0, 0, 0]), Err(VnetError::SegmentSize));
    let packet = Packet::tcp_v4(100);
    let complete = VnetHeader { checksum: Checksum::Valid, ..packet.super_frame(10) };
    assert_eq!(complete.validate(&packet.frame()), Err(VnetError::ChecksumNotPartial));
    assert_eq!(packet.super_frame(0).validate(&packet.frame()), Err(VnetError::SegmentSize));
}

#[test]
fn a_plain_header_fits_any_frame_of_legal_length() {
    assert_eq!(VnetHeader::PLAIN.validate(&[]), Ok(()));
    assert_eq!(VnetHeader::PLAIN.validate(&[0; MAX_FRAME]), Ok(()));
    let len = MAX_FRAME + 1;
    let too_long = Err(VnetError::TooLong { len, limit: MAX_FRAME });
    assert_eq!(VnetHeader::PLAIN.validate(&vec![0; len]), too_long);
}

#[test]
fn the_largest_ip_packet_passes_as_a_super_frame() {
    let mut packet = Packet::tcp_v4(65_535 - 40);
    packet.tags = vec![0x8100];
    assert_eq!(packet.frame().len(), MAX_SUPER_FRAME);
    assert_eq!(packet.super_frame(1460).validate(&packet.frame()), Ok(()));
    packet.padding = 1;
    let too_long = VnetError::TooLong { len: MAX_SUPER_FRAME + 1, limit: MAX_SUPER_FRAME };
    assert_eq!(packet.super_frame(1460).validate(&packet.frame()), Err(too_long));
}

#[test]
fn a_super_frame_becomes_neither_a_flood_nor_frames_that_no_port_takes() {
    let packet = Packet::tcp_v4(65_535 - 40);
    assert_eq!(packet.super_frame(28).validate(&packet.frame()), Ok(()));
    let segments = VnetError::Segments((65_535 - 40_usize).div_ceil(27));
    assert_eq!(packet.super_frame(27).validate(&packet.frame()), Err(segments));
    let longest = u16::try_from(MAX_FRAME - 54).unwrap();
    assert_eq!(packet.super_frame(longest).validate(&packet.frame()), Ok(()));
    let too_long = VnetError::TooLong { len: MAX_FRAME + 1, limit: MAX_FRAME };
    assert_eq!(packet.super_frame(longest + 1).validate(&packet.frame()), Err(too_long));
}

#[test]
fn the_header_length_lies_within_the_frame() {
    let packet = Packet::udp_v6(10);
    let len = packet.frame().len();
    let header_len = u16::try_from(len).unwrap();
    let header = VnetHeader { header_len, ..packet.partial() };
    assert_eq!(header.validate(&packet.frame()), Ok(()));
    let header = VnetHeader { header_len: header_len + 1, ..header };
    let refused = VnetError::HeaderLen { header_len: header_len + 1, len };
    assert_eq!(header.validate(&packet.frame()), Err(refused));
}

#[test]
fn the_checksum_of_a_super_frame_is_where_its_own_headers_have_it() {
    let packet = Packet::tcp_v4(10);
    let frame = packet.frame();
    for (start, offset) in [(33, 16), (34, 6), (35, 16), (0, 0), (0, 50), (u16::MAX, u16::MAX)] {
        let checksum = Checksum::Partial { start, offset };
        let header = VnetHeader { checksum, ..packet.super_frame(10) };
        assert_eq!(header.validate(&frame), Err(VnetError::ChecksumPlace { start, offset }));
    }
    assert_eq!(packet.super_frame(10).validate(&frame), Ok(()));
}

#[test]
fn the_checksum_of_a_single_frame_lies_in_it_behind_the_ethernet_header() {
    let packet = Packet::tcp_v4(10);
    let frame = packet.frame();
    let len = u16::try_from(frame.len()).unwrap();
    let validate = |start, offset| {
        let checksum = Checksum::Partial { start, offset };
        let header = VnetHeader { checksum, ..VnetHeader::PLAIN };
        header.validate(&frame)
    };
    for (start, offset) in [(14, 0), (35, 6), (len - 2, 0), (14, len - 16)] {
        assert_eq!(validate(start, offset), Ok(()), "{start}+{offset}");
    }
    for (start, offset) in
        [(0, 50), (13, 16), (len - 1, 0), (len, 0), (14, len - 15), (u16::MAX, u16::MAX)]
    {
        let refused = Err(VnetError::ChecksumPlace { start, offset });
        assert_eq!(validate(start, offset), refused);
    }
}

#[test]
fn the_frame_is_what_its_gso_type_says() {
    for packet in [Packet::tcp_v4(100), Packet::udp_v6(100)] {
        let right = packet.super_frame(10);
        for kind in [GsoKind::TcpV4, GsoKind::TcpV6, GsoKind::Udp] {
            let gso = right.gso.map(|gso| Gso { kind, ..gso });
            let header = VnetHeader { gso, ..right };
            let expected = if gso == right.gso { Ok(()) } else { Err(VnetError::Kind(kind)) };
            assert_eq!(header.validate(&packet.frame()), expected);
        }
    }
}

/// The refusal of a packet after one octet of its frame was changed.
fn refusal(packet: &Packet, at: usize, octet: u8) -> VnetError {
    let mut frame = packet.frame();
    frame[at] = octet;
    packet.super_frame(10).validate(&frame).unwrap_err()
}

#[test]
fn frames_whose_headers_lie_are_refused() {
    let tcp = Packet::tcp_v4(100);
    let udp = Packet::udp_v6(100);
    assert_eq!(refusal(&tcp, 12, 0x09), VnetError::NotIp(0x0900));
    assert_eq!(refusal(&tcp, 14, 0x65), VnetError::IpHeader);
    assert_eq!(refusal(&tcp, 14, 0x44), VnetError::IpHeader);
    assert_eq!(refusal(&tcp, 17, 19), VnetError::IpHeader);
    assert_eq!(refusal(&tcp, 16, 1), VnetError::Truncated(154));
    assert_eq!(refusal(&tcp, 20, 0x20), VnetError::Fragment);
    assert_eq!(refusal(&tcp, 21, 0x01), VnetError::Fragment);
    assert_eq!(refusal(&tcp, 23, 1), VnetError::Protocol(1));
    assert_eq!(refusal(&tcp, 46, 0x40), VnetError::TransportHeader);
    let short = Packet::tcp_v4(39);
    assert_eq!(refusal(&short, 46, 0xf0), VnetError::TransportHeader);
    assert_eq!(refusal(&tcp, 47, ACK | 0x02), VnetError::TcpFlags(ACK | 0x02));
    assert_eq!(refusal(&tcp, 47, 0x04), VnetError::TcpFlags(0x04));
    assert_eq!(refusal(&udp, 14, 0x40), VnetError::IpHeader);
    assert_eq!(refusal(&udp, 20, 0), VnetError::Protocol(0), "hop-by-hop options");
    assert_eq!(refusal(&udp, 59, 107), VnetError::TransportHeader);
}

#[test]
fn a_third_tag_is_not_looked_behind() {
    let mut packet = Packet::tcp_v4(100);
    packet.tags = vec![0x88a8, 0x8100];
    assert_eq!(packet.super_frame(10).validate(&packet.frame()), Ok(()));
    packet.tags.push(0x8100);
    let refused = packet.super_frame(10).validate(&packet.frame());
    assert_eq!(refused, Err(VnetError::NotIp(0x8100)));
}

#[test]
fn every_frame_that_ends_inside_its_headers_is_refused() {
    let packet = Packet::udp_v6(1);
    let frame = packet.frame();
    for len in 0..frame.len() {
        let header = VnetHeader { header_len: 0, ..packet.super_frame(1) };
        let refused = header.validate(&frame[..len]);
        assert_eq!(refused, Err(VnetError::Truncated(len)));
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(bytes in any::<[u8; 10]>(), kind in 0..6_usize) {
        let mut bytes = bytes;
        bytes[1] = [0, 1, 4, 5, 0x81, 0x84][kind];
        if let Ok(header) = parse(bytes) {
            prop_assert_eq!(parse(header.encode()), Ok(header));
            prop_assert_eq!(&header.encode()[2..4], &bytes[2..4]);
        }
    }
}
