//! The octets of protocol version 1, written out. A test that fails here means that old nodes no
//! longer understand this one: do not change the octets, make a new version.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::time::Duration;

use ether::{MacAddr, VlanId};
use mesh::authority::Signature;
use mesh::beat::{Beat, BeatError, Heard};
use mesh::framing::{FramingError, Packer, Reach, Reassembler, Received, RecordHeader};
use mesh::message::{
    ALPN, Bounded, Cable, Capabilities, CloseCode, CodecError, Decoder, Digest, DigestEntry, Hello,
    Message, Name, Octets, Records, Redial, SlotVersion, Slots, VersionRange, encode,
};
use mesh::packet::{Echo, EchoKind, SeenStation, Stations, StationsAsked};
use mesh::probe::{PortClass, Probe};
use mesh::record::{
    GatewayClaim, GatewayRecord, Incarnation, LinkEntry, LinkState, Notice, Notices, Offence,
    PortName, Record, Slot, StationEntry, StationPage, Version,
};
use mesh::{Nick, NodeKey};

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
fn a_packet_for_a_node() {
    let header = RecordHeader {
        hops: 9,
        ingress: nick(1),
        reach: Reach::Node { egress: nick(0x0a0b_0c0d) },
        vnet: None,
    };
    let echo = Echo {
        kind: EchoKind::Answer,
        hops: 9,
        crossed: 2,
        turn: 0x0102_0304,
        token: 0x1112_1314_1516_1718,
        len: 18,
    };
    let fields = [2, 9, 2, 0, 1, 2, 3, 4, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0, 0];
    assert_eq!(echo.encode(), fields);
    assert_eq!(Echo::parse(&fields), Some(echo));
    let request = Echo { kind: EchoKind::Request, crossed: 0, len: 16, ..echo };
    assert_eq!(request.encode()[..4], [1, 9, 0, 0]);
    let octets =
        [&[0x01, 0, 0, 0, 0, 0][..], &[28, 0b100, 9, 0, 0, 0, 1, 0x0a, 0x0b, 0x0c, 0x0d], &fields]
            .concat();
    assert_datagram(&[(header, &fields)], &octets);
    // To no node, flooded, or with a virtio-net header it makes no sense.
    let mut to_nobody = octets.clone();
    to_nobody[13..17].fill(0);
    assert_eq!(unpack(&to_nobody), Err(FramingError::NoEgress));
    for flags in [0b110, 0b101, 0b111, 0b1000] {
        let mut bad = octets.clone();
        bad[7] = flags;
        assert_eq!(unpack(&bad), Err(FramingError::BadFlags(flags)));
    }
}

#[test]
fn a_question_for_stations_and_its_answer() {
    let mac = MacAddr([2, 3, 4, 5, 6, 7]);
    let asked = StationsAsked { turn: 9, token: 0x0102, from: (VlanId(0x0102), mac) };
    let fields = [3, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 1, 2, 1, 2, 2, 3, 4, 5, 6, 7];
    assert_eq!(asked.encode(), fields);
    assert_eq!(StationsAsked::parse(&fields), Some(asked));
    let seen = SeenStation { vlan: VlanId(0x0102), mac, port: 0x0a0b, age: 0x0c0d_0e0f };
    let answer = Stations { turn: 9, token: 0x0102, stations: vec![seen], more: true };
    let fields = [
        4, 1, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 1, 2, // fields
        1, 2, 2, 3, 4, 5, 6, 7, 0, 0, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, // station
    ];
    assert_eq!(answer.encode(), fields);
    assert_eq!(Stations::parse(&fields), Some(answer));
    assert_eq!(Stations::parse(&fields[..31]), None);
    assert_eq!(Stations::parse(&[4; 16 + 16 * 513]), None);
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

const RUN: Incarnation = Incarnation { epoch: 300, instance: 1 };

fn list<T, const MAX: usize>(items: Vec<T>) -> Bounded<T, MAX> {
    Bounded::truncated(items)
}

#[test]
fn the_number_of_a_cable() {
    let octets = [0, 0, 0, 3, 2, 0x80, 0x01];
    assert_message(&Message::Cable(Cable { number: 128 }), &octets);
}

#[test]
fn records() {
    let record = Record {
        origin: NodeKey([0xaa; 32]),
        version: Version { incarnation: RUN, sequence: 5 },
        slot: Slot(1),
        body: Octets::new(vec![7, 8, 9]).unwrap(),
        signature: Signature([0xbb; 64]),
    };
    let octets = [
        &[0, 0, 0, 107][..],
        &[3, 1],
        &[0xaa; 32],
        &[0xac, 0x02, 1, 5],
        &[1],
        &[3, 7, 8, 9],
        &[0xbb; 64],
    ]
    .concat();
    assert_message(&Message::Records(Records { records: list(vec![record]) }), &octets);
}

#[test]
fn a_digest_and_the_slots_of_a_node() {
    let entry =
        DigestEntry { origin: NodeKey([0xaa; 32]), incarnation: RUN, sequence: 5, fingerprint: 6 };
    let digest = Digest {
        first: NodeKey::MIN,
        last: NodeKey::MAX,
        answer: true,
        entries: list(vec![entry]),
    };
    let octets = [
        &[0, 0, 0, 104][..],
        &[4],
        &[0; 32],
        &[0xff; 32],
        &[1, 1],
        &[0xaa; 32],
        &[0xac, 0x02, 1, 5, 6],
    ]
    .concat();
    assert_message(&Message::Digest(digest), &octets);
    let slots = Slots {
        origin: NodeKey([0xaa; 32]),
        incarnation: RUN,
        slots: list(vec![SlotVersion { slot: Slot(65), sequence: 5, fingerprint: 6 }]),
    };
    let octets = [&[0, 0, 0, 40][..], &[5], &[0xaa; 32], &[0xac, 0x02, 1], &[1, 65, 5, 6]].concat();
    assert_message(&Message::Slots(slots), &octets);
}

/// Signs by showing what is signed: its length and its first octets.
struct Mirror;

impl mesh::authority::Authority for Mirror {
    fn sign(&self, octets: &[u8]) -> Signature {
        let mut signature = [0; 64];
        signature[0] = u8::try_from(octets.len()).unwrap();
        let shown = octets.len().min(63);
        signature[1..=shown].copy_from_slice(&octets[..shown]);
        Signature(signature)
    }

    fn verify(&self, _: &NodeKey, octets: &[u8], signature: &Signature) -> bool {
        self.sign(octets) == *signature
    }

    fn may_be_gateway(&self, _: &NodeKey) -> bool {
        true
    }
}

#[track_caller]
fn assert_body(slot: Slot, body: &impl serde::Serialize, octets: &[u8]) {
    let version = Version { incarnation: RUN, sequence: 5 };
    let record = Record::sign(NodeKey([0xaa; 32]), version, slot, body, &Mirror);
    assert_eq!(&record.body[..], octets);
    let len = u8::try_from(octets.len()).unwrap();
    let signed =
        [&b"vdecable record 1\0"[..], &[0xaa; 32], &[0xac, 0x02, 1, 5], &[slot.0], &[len], octets]
            .concat();
    assert_eq!(record.signature, mesh::authority::Authority::sign(&Mirror, &signed));
    assert!(record.is_authentic(&Mirror));
}

#[test]
fn bodies_and_what_is_signed() {
    let link = LinkEntry { peer: NodeKey([0xcc; 32]), number: 1, peer_number: 2, cost: 300 };
    let state = LinkState {
        nick: nick(9),
        name: Name::new("attic").unwrap(),
        capabilities: 0,
        links: list(vec![link]),
    };
    let octets = [&[9][..], b"\x05attic", &[0, 1], &[0xcc; 32], &[1, 2, 0xac, 0x02]].concat();
    assert_body(Slot::LINK_STATE, &state, &octets);
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    let page: StationPage = list(vec![StationEntry::new(VlanId(200), mac, 3, true)]);
    assert_body(Slot::FIRST_PAGE, &page, &[1, 0xc8, 0x01, 2, 0, 0, 0, 0, 1, 3, 1]);
    let port = |name| PortName::new(name).unwrap();
    let notices: Notices = list(vec![
        Notice::Loop {
            port: port("a"),
            number: 1,
            class: 2,
            sender: NodeKey([0xdd; 32]),
            sender_number: 3,
            nonce: 4,
        },
        Notice::DuplicateStation { vlan: 0, mac: mac.0, owner: NodeKey([0xee; 32]) },
        Notice::ClonedKey { key: NodeKey([0xff; 32]) },
        Notice::Guarded { port: port("b"), number: 5, offence: Offence::Router, mac: mac.0 },
    ]);
    let octets = [
        &[4][..],
        &[0, 1, b'a', 1, 2],
        &[0xdd; 32],
        &[3, 4],
        &[1, 0, 2, 0, 0, 0, 0, 1],
        &[0xee; 32],
        &[2],
        &[0xff; 32],
        &[3, 1, b'b', 5, 1, 2, 0, 0, 0, 0, 1],
    ]
    .concat();
    assert_body(Slot::NOTICES, &notices, &octets);
    let claim = GatewayClaim {
        is_active: true,
        since: 300,
        is_guarded: false,
        mac: mac.0,
        ipv4: [10, 77, 0, 1],
        prefix_len: 24,
        ipv6: list(vec![[0xfe; 16]]),
    };
    let octets = [&[1, 1, 0xac, 0x02, 0][..], &mac.0, &[10, 77, 0, 1, 24, 1], &[0xfe; 16]].concat();
    let claims: GatewayRecord = list(vec![claim]);
    assert_body(Slot::GATEWAY, &claims, &octets);
    assert_body(Slot::GATEWAY, &GatewayRecord::default(), &[0]);
}

#[test]
fn beats() {
    let beat = Beat {
        sequence: 0x0102_0304,
        answer: true,
        deaf: false,
        heard: Some(Heard { sequence: 0x0506_0708, held: Duration::from_micros(0x090a_0b0c) }),
        digest: 0x1112_1314_1516_1718,
    };
    let octets = [
        2, 0b101, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
        0x18,
    ];
    assert_eq!(beat.encode(), octets);
    assert_eq!(Beat::parse(&octets), Ok(beat));
    let first = Beat { answer: false, deaf: true, heard: None, ..beat };
    assert_eq!(Beat::parse(&first.encode()), Ok(first));
    assert_eq!(first.encode()[1..14], [0b10, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Beat::parse(&octets[..21]), Err(BeatError::Length(21)));
    let mut bad = octets;
    bad[1] = 0b1000;
    assert_eq!(Beat::parse(&bad), Err(BeatError::Flags(0b1000)));
}

#[test]
fn a_probe() {
    let probe = Probe {
        sender: NodeKey([0xaa; 32]),
        group: NodeKey([0x77; 32]),
        port: 0x0102_0304,
        class: PortClass::Tap,
        nonce: 0x1112_1314_1516_1718,
        name: PortName::new("tap0").unwrap(),
    };
    let frame = probe.encode(&Mirror);
    let said = [
        &[0xaa; 32][..],
        &[0x77; 32],
        &[1, 2, 3, 4],
        &[1],
        &[0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18],
        b"\x04tap0",
    ]
    .concat();
    let signature =
        mesh::authority::Authority::sign(&Mirror, &[b"vdecable probe 1\0", &said[..]].concat());
    assert_eq!(frame[..6], [0x03, 0x56, 0x44, 0x45, 0x4c, 0x50]);
    assert_eq!(frame[6], 0x02);
    let rest = [&[0x88, 0xb5][..], b"vdeloop\x01", &said, &signature.0].concat();
    assert_eq!(frame[12..], rest);
    assert_eq!(Probe::parse(&frame), Some(probe.clone()));
    let padded = [&frame[..], &[0; 20]].concat();
    assert_eq!(Probe::parse(&padded), Some(probe));
    for len in 0..frame.len() {
        assert_eq!(Probe::parse(&frame[..len]), None, "{len} octets");
    }
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
        (9, Stalled, Redial::Always),
        (10, AnotherMeant, Redial::Always),
        (11, TooMany, Redial::Always),
    ];
    assert_eq!(table.map(|(_, code, _)| code), CloseCode::ALL);
    for (number, code, redial) in table {
        assert_eq!(code.to_wire(), number);
        assert_eq!(CloseCode::from_wire(number.into()), Some(code));
        assert_eq!(code.redial(), redial, "{code:?}");
    }
    for number in [0, 12, 1 << 32 | 1, u64::MAX] {
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
