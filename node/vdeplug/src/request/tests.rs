//! Requests, octet by octet.

use std::path::Path;

use proptest::prelude::*;

use super::*;

const PATH: &str = "/run/vde.ctl/.00042-00000";

fn v3(kind: u32, description: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    for word in [0xfeed_face, 3, kind] {
        octets.extend_from_slice(&u32::to_ne_bytes(word));
    }
    octets.extend_from_slice(&[1u16.to_ne_bytes()[0], 1u16.to_ne_bytes()[1]]);
    octets.extend_from_slice(PATH.as_bytes());
    octets.resize(122, 0);
    octets.extend_from_slice(description);
    octets
}

fn v1(kind: u32, description: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    octets.extend_from_slice(&0xfeed_faceu32.to_ne_bytes());
    octets.extend_from_slice(&kind.to_ne_bytes());
    octets.extend_from_slice(&[0xff; 6]);
    octets.extend_from_slice(&v3(0, b"")[12..]);
    octets.extend_from_slice(description);
    octets
}

#[test]
fn version_3_is_read_at_the_offsets_of_the_protocol() {
    let request = Request::parse(&v3(7 << 8, b"QEMU user=root PID=42")).unwrap();
    assert_eq!(request.kind, Kind::Plug);
    assert_eq!(request.port, Some(7));
    assert_eq!(request.address.path(), Some(Path::new(PATH)));
    assert_eq!(request.description.to_string(), "QEMU user=root PID=42");
}

#[test]
fn version_1_is_told_by_its_second_word_and_its_mac_is_ignored() {
    for (kind, expected) in [(0, Kind::Plug), (1, Kind::Management)] {
        let request = Request::parse(&v1(kind, b"old")).unwrap();
        assert_eq!((request.kind, request.port), (expected, None));
        assert_eq!(request.address.path(), Some(Path::new(PATH)));
        assert_eq!(request.description.as_bytes(), b"old");
    }
}

#[test]
fn a_description_may_be_absent_full_or_two_stray_octets() {
    assert_eq!(Request::parse(&v3(0, b"")).unwrap().description.to_string(), "");
    let stray = Request::parse(&v3(0, &[0, 0x7f])).unwrap();
    assert_eq!(stray.description.as_bytes(), [0, 0x7f]);
    assert_eq!(stray.description.to_string(), "");
    let full = Request::parse(&v3(0, &[b'd'; 128])).unwrap();
    assert_eq!(full.description.to_string(), "d".repeat(128));
    let rude = Request::parse(&v3(0, b"\x1b[2J\xff")).unwrap();
    assert_eq!(rude.description.to_string(), "\u{fffd}[2J\u{fffd}");
}

#[test]
fn the_management_port_is_asked_for_by_type_1_or_port_minus_1() {
    for kind in [1, 0xffff_ff00, 5 << 8 | 1] {
        let request = Request::parse(&v3(kind, b"")).unwrap();
        assert_eq!((request.kind, request.port), (Kind::Management, None), "type {kind:#x}");
    }
}

#[test]
fn each_malformed_request_is_refused_with_its_reason() {
    let mut stranger = v3(0, b"");
    stranger[0] ^= 1;
    let refused = |octets: &[u8]| Request::parse(octets).unwrap_err();
    assert!(matches!(refused(&stranger), RequestError::Magic(_)));
    // A stranger is recognised by four octets already.
    assert!(matches!(refused(&stranger[..4]), RequestError::Magic(_)));
    let mut newer = v3(0, b"");
    newer[4..8].copy_from_slice(&4u32.to_ne_bytes());
    assert_eq!(refused(&newer), RequestError::Version(4));
    assert_eq!(refused(&v3(2, b"")), RequestError::Kind(2));
    assert_eq!(refused(&v3(0xffff_fe00, b"")), RequestError::Port(-2));
    assert_eq!(refused(&[]), RequestError::TooShort { len: 0, expected: 8 });
    assert_eq!(refused(&v3(0, b"")[..121]), RequestError::TooShort { len: 121, expected: 122 });
    assert_eq!(refused(&v1(0, b"")[..123]), RequestError::TooShort { len: 123, expected: 124 });
    assert_eq!(refused(&v3(0, &[0; 129])), RequestError::TooLong { len: 251, limit: 250 });
    assert_eq!(refused(&v1(0, &[0; 129])), RequestError::TooLong { len: 253, limit: 252 });
    let mut inet = v3(0, b"");
    inet[12..14].copy_from_slice(&2u16.to_ne_bytes());
    assert_eq!(refused(&inet), RequestError::Address(AddressError::Family(2)));
    let mut endless = v3(0, b"x");
    endless[14..122].fill(b'/');
    assert_eq!(refused(&endless), RequestError::Address(AddressError::Unterminated));
}

#[test]
fn what_the_client_encodes_are_the_octets_of_version_3() {
    let request = Request {
        kind: Kind::Plug,
        port: Some(3),
        address: UnixAddress::from_path(Path::new(PATH)).unwrap(),
        description: Description::new("station"),
    };
    assert_eq!(request.encode(), v3(3 << 8, b"station"));
    assert_eq!(Request::parse(&request.encode()), Ok(request));
}

#[test]
fn a_long_description_is_cut_between_characters() {
    let description = Description::new(&"é".repeat(100));
    assert_eq!(description.as_bytes().len(), 128);
    let odd = Description::new(&format!("x{}", "é".repeat(100)));
    assert_eq!(odd.to_string(), format!("x{}", "é".repeat(63)));
}

proptest! {
    #[test]
    fn no_octets_make_the_parser_panic(tail in prop::collection::vec(any::<u8>(), 0..260), version in 0u32..5) {
        let _ = Request::parse(&tail);
        let begin = [MAGIC.to_ne_bytes(), version.to_ne_bytes()].concat();
        if let Ok(request) = Request::parse(&[begin, tail].concat()) {
            prop_assert!(request.port.is_none_or(|port| (1..=MAX_PORT).contains(&port)));
            let _ = (request.description.to_string(), request.address.to_string());
            prop_assert_eq!(Request::parse(&request.encode()), Ok(request));
        }
    }
}
