//! The control stream, cut and broken in all ways.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use mesh::Nick;
use mesh::message::{
    Capabilities, CodecError, Decoder, Hello, MAX_MESSAGE_LEN, Message, Name, VersionRange, encode,
};
use proptest::prelude::*;

/// Feeds a stream in pieces of `size`, as a shell does, and returns what came out.
fn decode(decoder: &mut Decoder, stream: &[u8], size: usize) -> Result<Vec<Message>, CodecError> {
    let mut messages = Vec::new();
    for mut piece in stream.chunks(size) {
        while !piece.is_empty() {
            let taken = decoder.handle_bytes(piece);
            assert!(taken > 0, "a decoder that was polled dry took nothing");
            piece = &piece[taken..];
            while let Some(message) = decoder.poll_message()? {
                messages.push(message);
            }
        }
    }
    Ok(messages)
}

fn hello() -> Message {
    Message::Hello(Hello {
        versions: VersionRange { min: 1, max: 1 },
        node_name: Name::new("attic").unwrap(),
        nick: Nick::new(1).unwrap(),
        software: Name::default(),
        max_frame: 1514,
        capabilities: Capabilities::default(),
        cable: 0,
    })
}

#[test]
fn an_announced_length_beyond_the_limit_is_refused_at_once() {
    let mut decoder = Decoder::new();
    let len = u32::try_from(MAX_MESSAGE_LEN).unwrap() + 1;
    decoder.handle_bytes(&len.to_be_bytes());
    let error = Err(CodecError::TooLong { len });
    assert_eq!(decoder.poll_message(), error);
    assert_eq!(decoder.handle_bytes(&encode(&hello())), encode(&hello()).len());
    assert_eq!(decoder.poll_message(), error, "a stream that has failed stays failed");
}

#[test]
fn a_message_of_an_unknown_kind_is_skipped_and_counted() {
    let len = u32::try_from(MAX_MESSAGE_LEN).unwrap();
    let mut stream = len.to_be_bytes().to_vec();
    stream.resize(4 + MAX_MESSAGE_LEN, 0xee);
    stream.extend(encode(&hello()));
    stream.extend([0, 0, 0, 1, 0]);
    stream.extend(encode(&hello()));
    let mut decoder = Decoder::new();
    assert_eq!(decode(&mut decoder, &stream, 10_000), Ok(vec![hello(), hello()]));
    assert_eq!(decoder.skipped(), 2);
}

#[test]
fn octets_after_the_last_field_are_refused() {
    let mut stream = encode(&hello());
    stream[3] += 2;
    stream.extend([7, 7]);
    let error = decode(&mut Decoder::new(), &stream, 100);
    assert_eq!(error, Err(CodecError::Trailing { kind: 1, count: 2 }));
    assert_eq!(decode(&mut Decoder::new(), &[0; 4], 4), Err(CodecError::Empty));
}

#[test]
fn a_name_beyond_its_limit_is_refused() {
    // One octet more than a name may have, and one that acts on a terminal.
    for name in [&[b'x'; 65][..], b"\x1b[2J"] {
        let mut body = vec![1, 1, 1, u8::try_from(name.len()).unwrap()];
        body.extend(name);
        body.extend([1, 0, 1, 0, 0]);
        let mut stream = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        stream.extend(&body);
        let result = decode(&mut Decoder::new(), &stream, 1000);
        assert!(matches!(result, Err(CodecError::Malformed { kind: 1, .. })), "{result:?}");
    }
}

fn message() -> impl Strategy<Value = Message> {
    (any::<[u16; 2]>(), ".{0,40}", 1..u32::MAX, any::<[u32; 2]>()).prop_map(
        |([min, max], name, nick, [max_frame, capabilities])| {
            Message::Hello(Hello {
                versions: VersionRange { min, max },
                node_name: Name::lossy(&name),
                nick: Nick::new(nick).unwrap(),
                software: Name::lossy("test"),
                max_frame,
                capabilities: Capabilities(capabilities),
                cable: nick,
            })
        },
    )
}

proptest! {
    #[test]
    fn messages_come_out_as_they_went_in_however_the_stream_is_cut(
        messages in prop::collection::vec(message(), 0..10),
        size in 1..200usize,
    ) {
        let stream: Vec<u8> = messages.iter().flat_map(encode).collect();
        prop_assert_eq!(decode(&mut Decoder::new(), &stream, size), Ok(messages));
    }

    #[test]
    fn arbitrary_octets_do_no_harm(
        stream in prop::collection::vec(any::<u8>(), 0..2000),
        size in 1..500usize,
    ) {
        let _ = decode(&mut Decoder::new(), &stream, size);
    }

    #[test]
    fn arbitrary_fields_do_no_harm(
        bodies in prop::collection::vec(
            (0..4u8, prop::collection::vec(any::<u8>(), 0..40)), 0..5),
    ) {
        let mut stream = Vec::new();
        for (kind, fields) in bodies {
            stream.extend([0, 0, 0, u8::try_from(fields.len()).unwrap() + 1, kind]);
            stream.extend(fields);
        }
        let _ = decode(&mut Decoder::new(), &stream, 7);
    }
}
