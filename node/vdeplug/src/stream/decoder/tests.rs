//! Any stream, cut anywhere, against the frames that went into it.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

pub(crate) const FRAMINGS: [Framing; 2] = [Framing::Vde, Framing::Length32];

/// What a peer would send.
fn encode(framing: Framing, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut octets = Vec::new();
    for frame in frames {
        match framing {
            Framing::Vde => {
                octets.extend(u16::try_from(frame.len()).unwrap().to_be_bytes());
            }
            Framing::Length32 => {
                octets.extend(u32::try_from(frame.len()).unwrap().to_be_bytes());
            }
        }
        octets.extend(frame);
    }
    octets
}

/// Feeds one read and takes every frame that can be had.
fn feed(decoder: &mut Decoder, mut read: &[u8], frames: &mut Vec<Vec<u8>>) {
    while !read.is_empty() {
        let space = decoder.space();
        assert_eq!(space.len(), READ, "an emptied decoder has room for a read");
        let len = space.len().min(read.len());
        space[..len].copy_from_slice(&read[..len]);
        decoder.filled(len);
        read = &read[len..];
        take(decoder, frames);
    }
}

fn take(decoder: &mut Decoder, frames: &mut Vec<Vec<u8>>) {
    loop {
        let ready = decoder.is_ready();
        let count = decoder.next_batch().unwrap();
        assert_eq!(decoder.frames().len(), count);
        assert_eq!(ready, count > 0);
        if count == 0 {
            return;
        }
        frames.extend(decoder.frames().map(<[u8]>::to_vec));
    }
}

fn without_empty(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut frames = frames.to_vec();
    frames.retain(|frame| !frame.is_empty());
    frames
}

fn any_framing() -> impl Strategy<Value = Framing> {
    prop_oneof![Just(Framing::Vde), Just(Framing::Length32)]
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![
        8 => 0..100usize,
        4 => 1400..1530usize,
        1 => 9000..=9236usize,
    ];
    (len, any::<u8>()).prop_map(|(len, fill)| vec![fill; len])
}

proptest! {
    #[test]
    fn any_frames_in_any_reads_come_out_as_they_went_in(
        framing in any_framing(),
        frames in vec(any_frame(), 0..200),
        cuts in vec(prop_oneof![1..4usize, 1..2000usize, Just(READ)], 1..50),
    ) {
        let stream = encode(framing, &frames);
        let mut decoder = Decoder::new(framing);
        let mut got = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.iter().cycle() {
            let (read, later) = rest.split_at(rest.len().min(*cut));
            feed(&mut decoder, read, &mut got);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(got, without_empty(&frames));
    }
}

#[test]
fn a_stream_may_be_cut_at_every_two_places() {
    let frames = [vec![1; 3], vec![], vec![2; 1], vec![3; 14]];
    for framing in FRAMINGS {
        let stream = encode(framing, &frames);
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let mut decoder = Decoder::new(framing);
                let mut got = Vec::new();
                for read in [&stream[..first], &stream[first..second], &stream[second..]] {
                    feed(&mut decoder, read, &mut got);
                }
                assert_eq!(got, without_empty(&frames), "cut at {first} and {second}");
            }
        }
    }
}

#[test]
fn the_longest_frame_passes_and_one_octet_more_ends_the_stream() {
    for framing in FRAMINGS {
        let limit = framing.max_received();
        let mut decoder = Decoder::new(framing);
        let mut got = Vec::new();
        let longest = [vec![7; limit], vec![8; limit]];
        feed(&mut decoder, &encode(framing, &longest), &mut got);
        assert_eq!(got, longest);

        // The fault waits for the frames before it, then it stays.
        let stream = encode(framing, &[vec![9; 60], vec![10; limit + 1]]);
        decoder.space()[..100].copy_from_slice(&stream[..100]);
        decoder.filled(100);
        assert_eq!(decoder.next_batch(), Ok(1));
        assert_eq!(decoder.frames().next(), Some(&[9; 60][..]));
        for _ in 0..2 {
            let fault = StreamError::TooLong { len: limit + 1, limit };
            assert!(decoder.is_ready(), "whoever waits learns of it");
            assert_eq!(decoder.next_batch(), Err(fault));
            assert_eq!(decoder.frames().len(), 0);
        }
        // Someone who goes on feeding it gains nothing.
        for _ in 0..10 {
            let len = decoder.space().len();
            decoder.filled(len);
            assert!(decoder.next_batch().is_err());
        }
        assert!(decoder.space().is_empty());
    }
}

#[test]
fn a_flood_of_empty_frames_takes_no_memory() {
    for framing in FRAMINGS {
        let mut decoder = Decoder::new(framing);
        let mut got = Vec::new();
        for _ in 0..8 {
            feed(&mut decoder, &[0; READ - 1], &mut got);
        }
        assert!(got.is_empty());
    }
}

#[test]
fn a_batch_holds_64_frames_and_the_rest_waits() {
    let frames: Vec<_> = (0..150u8).map(|n| vec![n; 20]).collect();
    let stream = encode(Framing::Vde, &frames);
    let mut decoder = Decoder::new(Framing::Vde);
    decoder.space()[..stream.len()].copy_from_slice(&stream);
    decoder.filled(stream.len());
    for (count, first) in [(64, 0u8), (64, 64), (22, 128)] {
        assert!(decoder.is_ready());
        assert_eq!(decoder.next_batch(), Ok(count));
        assert_eq!(decoder.frames().next(), Some(&[first; 20][..]));
    }
    assert!(!decoder.is_ready());
    assert_eq!(decoder.next_batch(), Ok(0));
}
