//! The octets of protocol version 1, written out. A test that fails here means that old nodes no
//! longer understand this one: do not change the octets, make a new version.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use mesh::Nick;
use mesh::framing::{FramingError, Packer, Reach, Reassembler, Received, RecordHeader};
use mesh::message::{
    ALPN, Capabilities, CloseCode, CodecError, Decoder, Hello, Message, Name, Redial, VersionRange,
    encode,
};

fn nick(value: u32) -> Nick {
    Nick::new(value).unwrap()
}

/// A frame of 14 octets: no payload.
const FRAME: [u8; 14] = *b"DDDDDDSSSSSS\x08\x00";

fn pack(records: &[(RecordHeader, &[u8])]) -> Vec<u8> {
    let mut packer = Packer::new();
    for (header, frame) in records {
        packer.push(header, frame).unwrap();
    }
    packer.flush();
    packer.take().unwrap().octets().to_vec()
}

fn unpack(datagram: &[u8]) -> Result<Vec<(RecordHeader, Vec<u8>)>, FramingError> {
    let mut received = Received::new();
    Reassembler::new().handle_datagram(datagram, &mut received)?;
    Ok(received.iter().map(|(header, frame)| (*header, frame.to_vec())).collect())
}

#[track_caller]
fn assert_datagram(records: &[(RecordHeader, &[u8])], octets: &[u8]) {
    assert_eq!(pack(records), octets);
    let owned: Vec<_> = records.iter().map(|(h, f)| (*h, f.to_vec())).collect();
    assert_eq!(unpack(octets), Ok(owned));
}

#[test]
fn a_flooded_frame() {
    let header = RecordHeader {
        hops: 12,
        ingress: nick(0x0102_0304),
        reach: Reach::Flood { sequence: 0xa0b0_c0d0 },
        vnet: None,
    };
    let octets = [
        &[0x01, 0, 0, 0, 0, 0][..], // type, sequence, first-record offset
        &[24],                      // length
        &[0b10, 12],                // flags, hops
        &[1, 2, 3, 4],              // ingress
        &[0xa0, 0xb0, 0xc0, 0xd0],  // flood sequence
        &FRAME,
    ]
    .concat();
    assert_datagram(&[(header, &FRAME)], &octets);
}

#[test]
fn a_frame_for_one_node_and_one_for_a_node_not_known() {
    let known = RecordHeader {
        hops: 0,
        ingress: nick(1),
        reach: Reach::Unicast { egress: Some(nick(0xfedc_ba98)) },
        vnet: None,
    };
    let unknown = RecordHeader { reach: Reach::Unicast { egress: None }, ..known };
    let octets = [
        &[0x01, 0, 0, 0, 0, 0][..],
        &[24, 0, 0, 0, 0, 0, 1, 0xfe, 0xdc, 0xba, 0x98],
        &FRAME,
        &[24, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
        &FRAME,
    ]
    .concat();
    assert_datagram(&[(known, &FRAME), (unknown, &FRAME)], &octets);
}

#[test]
fn a_frame_with_a_virtio_net_header_and_a_length_of_two_octets() {
    let header = RecordHeader {
        hops: 63,
        ingress: nick(1),
        reach: Reach::Flood { sequence: 0 },
        vnet: Some([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    };
    let frame = [0x55; 100];
    let octets = [
        &[0x01, 0, 0, 0, 0, 0][..],
        &[0x40, 120],
        &[0b11, 63, 0, 0, 0, 1, 0, 0, 0, 0],
        &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        &frame,
    ]
    .concat();
    assert_datagram(&[(header, &frame)], &octets);
}

#[test]
fn a_record_over_three_datagrams_has_a_length_of_four_octets() {
    let header = RecordHeader {
        hops: 1,
        ingress: nick(1),
        reach: Reach::Unicast { egress: None },
        vnet: Some([0; 10]),
    };
    let mut packer = Packer::new();
    packer.set_datagram_size(8000);
    packer.push(&header, &[0x77; 20_000]).unwrap();
    packer.push(&header, &FRAME).unwrap();
    packer.flush();
    let packed = packer.take().unwrap();
    let starts: Vec<_> =
        packed.ranges().map(|range| packed.octets()[range][..6].to_vec()).collect();
    assert_eq!(
        starts,
        [
            [1, 0, 0, 0, 0x00, 0x00],
            [1, 0, 0, 1, 0xff, 0xff],
            // 20 024 octets of record, less two payloads of 7 994.
            [1, 0, 0, 2, 0x0f, 0xc4],
        ]
    );
    assert_eq!(packed.octets()[6..10], [0x80, 0x00, 0x4e, 0x34]);
}

#[track_caller]
fn assert_message(message: &Message, octets: &[u8]) {
    assert_eq!(encode(message), octets);
    let mut decoder = Decoder::new();
    assert_eq!(decoder.handle_bytes(octets), octets.len());
    assert_eq!(decoder.poll_message(), Ok(Some(message.clone())));
    assert_eq!(decoder.poll_message(), Ok(None));
}

#[test]
fn hello() {
    let hello = Hello {
        versions: VersionRange { min: 1, max: 300 },
        node_name: Name::new("attic").unwrap(),
        nick: nick(0x0102_0304),
        software: Name::new("vdenode 0.1.0").unwrap(),
        max_frame: 9234,
        capabilities: Capabilities::VNET,
        cable: 300,
    };
    let octets = [
        &[0, 0, 0, 33][..],
        &[1],
        &[1, 0xac, 0x02],
        b"\x05attic",
        &[0x84, 0x86, 0x88, 0x08],
        b"\x0dvdenode 0.1.0",
        &[0x92, 0x48],
        &[1],
        &[0xac, 0x02],
    ]
    .concat();
    assert_message(&Message::Hello(hello), &octets);
}

#[test]
fn close_codes() {
    use CloseCode::*;
    let table = [
        (1, ShuttingDown, Redial::Always),
        (2, Disconnected, Redial::Never),
        (3, Replaced, Redial::WhenOtherEnds),
        (4, Duplicate, Redial::WhenOtherEnds),
        (5, OwnKey, Redial::Always),
        (6, Untrusted, Redial::Always),
        (7, Protocol, Redial::Always),
        (8, Version, Redial::Always),
    ];
    assert_eq!(table.map(|(_, code, _)| code), CloseCode::ALL);
    for (number, code, redial) in table {
        assert_eq!(code.to_wire(), number);
        assert_eq!(CloseCode::from_wire(number.into()), Some(code));
        assert_eq!(code.redial(), redial, "{code:?}");
    }
    for number in [0, 9, 1 << 32 | 1, u64::MAX] {
        assert_eq!(CloseCode::from_wire(number), None);
    }
}

#[test]
fn a_hello_with_nick_0_is_refused() {
    let mut decoder = Decoder::new();
    decoder.handle_bytes(&[0, 0, 0, 8, 1, 1, 1, 0, 0, 0, 0, 0]);
    assert!(matches!(decoder.poll_message(), Err(CodecError::Malformed { kind: 1, .. })));
}

#[test]
fn the_alpn_name() {
    assert_eq!(ALPN, b"vdecable/1");
}
