//! Against a model of a stream that takes as few octets as it likes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::stream::Decoder;

/// A stream that has room for `room` octets.
#[derive(Default)]
struct Model {
    octets: Vec<u8>,
    room: usize,
}

impl Model {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        assert!(slices.len() <= MAX_SLICES);
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        assert!(!all.is_empty(), "a write of nothing");
        let len = all.len().min(self.room);
        if len == 0 {
            // As a runtime says it: without a number.
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room -= len;
        self.octets.extend(&all[..len]);
        Ok(len)
    }

    fn frames(&self, framing: Framing) -> Vec<Vec<u8>> {
        let mut decoder = Decoder::new(framing);
        let mut frames = Vec::new();
        for read in self.octets.chunks(1000) {
            decoder.space()[..read.len()].copy_from_slice(read);
            decoder.filled(read.len());
            while decoder.next_batch().unwrap() > 0 {
                frames.extend(decoder.frames().map(<[u8]>::to_vec));
            }
        }
        frames
    }
}

fn send(encoder: &mut Encoder, model: &mut Model, frames: &[&[u8]]) -> SendOutcome {
    encoder.send(frames, |slices| model.write(slices))
}

fn flush(encoder: &mut Encoder, model: &mut Model) -> Result<(), SendError> {
    encoder.flush(|slices| model.write(slices))
}

/// One thing that happens to an encoder.
#[derive(Debug, Clone)]
enum Step {
    Room(usize),
    Send(Vec<usize>),
    Flush,
}

fn any_step() -> impl Strategy<Value = Step> {
    let room = prop_oneof![0..8usize, 0..4000usize, 0..200_000usize];
    prop_oneof![
        room.prop_map(Step::Room),
        vec(prop_oneof![0..100usize, 1400..1530usize], 0..150).prop_map(Step::Send),
        Just(Step::Flush),
    ]
}

fn run(framing: Framing, queue: usize, steps: &[Step]) -> Result<(), TestCaseError> {
    let config = StreamConfig { queue, ..StreamConfig::new(framing) };
    let max_sent = framing.max_sent();
    let mut encoder = Encoder::new(config);
    let mut model = Model::default();
    let mut taken = Vec::new();
    let mut number = 0u8;
    for step in steps {
        match step {
            Step::Room(room) => model.room = *room,
            Step::Flush => match flush(&mut encoder, &mut model) {
                Ok(()) => prop_assert_eq!(encoder.queued(), 0),
                Err(error) => prop_assert!(matches!(error, SendError::WouldBlock)),
            },
            Step::Send(lens) => {
                let frames: Vec<_> = lens
                    .iter()
                    .map(|&len| {
                        number = number.wrapping_add(1);
                        vec![number; len]
                    })
                    .collect();
                let frames: Vec<_> = frames.iter().map(Vec::as_slice).collect();
                let outcome = send(&mut encoder, &mut model, &frames);
                let (sent, unsent) = frames.split_at(outcome.sent);
                taken.extend(sent.iter().map(|frame| frame.to_vec()));
                match outcome.stopped {
                    None => prop_assert!(unsent.is_empty()),
                    Some(SendError::WouldBlock) => {
                        let len = framing.header_len() + unsent[0].len();
                        prop_assert_eq!(model.room, 0);
                        prop_assert!(encoder.queued() + len > queue, "dropped for nothing");
                    }
                    Some(SendError::TooLong) => prop_assert!(unsent[0].len() > max_sent),
                    Some(SendError::Other(_)) => prop_assert!(unsent[0].len() < MIN_FRAME),
                    Some(SendError::PeerGone) => prop_assert!(false),
                }
            }
        }
        prop_assert!(encoder.queued() <= queue + framing.header_len() + max_sent);
    }
    model.room = usize::MAX;
    prop_assert!(flush(&mut encoder, &mut model).is_ok());
    prop_assert_eq!(model.frames(framing), taken);
    Ok(())
}

proptest! {
    #[test]
    fn whatever_room_there_is_the_peer_reads_exactly_the_frames_that_were_taken(
        framing in prop_oneof![Just(Framing::Vde), Just(Framing::Length32)],
        queue in prop_oneof![Just(0usize), 0..3000usize, 0..100_000usize],
        steps in vec(any_step(), 0..30),
    ) {
        run(framing, queue, &steps)?;
    }
}

#[test]
fn a_frame_may_be_cut_at_every_octet() {
    for framing in [Framing::Vde, Framing::Length32] {
        for room in 0..=2 * (framing.header_len() + 20) {
            for queue in [0, 20, 100] {
                let steps = [
                    Step::Room(room),
                    Step::Send(vec![20, 20]),
                    Step::Room(1),
                    Step::Send(vec![20]),
                    Step::Flush,
                ];
                run(framing, queue, &steps).unwrap();
            }
        }
    }
}

#[test]
fn the_octets_are_those_of_the_two_protocols() {
    for (framing, expected) in [
        (Framing::Vde, [&[0x01, 0x00][..], &[5; 0x100]].concat()),
        (Framing::Length32, [&[0x00, 0x00, 0x01, 0x00][..], &[5; 0x100]].concat()),
    ] {
        let mut encoder = Encoder::new(StreamConfig::new(framing));
        let mut model = Model { room: 1000, ..Model::default() };
        let outcome = send(&mut encoder, &mut model, &[&[5; 0x100]]);
        assert!(outcome.sent == 1 && outcome.stopped.is_none());
        assert_eq!(model.octets, expected);
    }
}

#[test]
fn without_a_queue_only_a_frame_that_was_begun_is_kept() {
    let config = StreamConfig { queue: 0, ..StreamConfig::new(Framing::Vde) };
    let mut encoder = Encoder::new(config);
    let mut model = Model { room: 62 + 1, ..Model::default() };
    let outcome = send(&mut encoder, &mut model, &[&[1; 60], &[2; 60], &[3; 60]]);
    assert_eq!(outcome.sent, 2);
    assert!(matches!(outcome.stopped, Some(SendError::WouldBlock)));
    assert_eq!(encoder.queued(), 61);
    model.room = 1000;
    assert!(flush(&mut encoder, &mut model).is_ok());
    assert_eq!(model.frames(Framing::Vde), [[1; 60], [2; 60]]);
}

#[test]
fn a_stream_that_failed_takes_nothing_and_forgets_nothing() {
    let mut encoder = Encoder::new(StreamConfig::new(Framing::Length32));
    let mut model = Model { room: 10, ..Model::default() };
    assert_eq!(send(&mut encoder, &mut model, &[&[1; 60]]).sent, 1);
    let gone = |_: &[IoSlice<'_>]| Err(io::Error::from_raw_os_error(libc::EPIPE));
    let outcome = encoder.send(&[&[2; 60]], gone);
    assert_eq!(outcome.sent, 0);
    assert!(matches!(outcome.stopped, Some(SendError::PeerGone)));
    assert!(matches!(encoder.flush(gone), Err(SendError::PeerGone)));
    assert_eq!(encoder.queued(), 54);
}

#[test]
fn a_known_peer_may_be_sent_longer_frames() {
    let config = StreamConfig { max_sent: usize::MAX, ..StreamConfig::new(Framing::Vde) };
    let mut encoder = Encoder::new(config);
    let mut model = Model { room: usize::MAX, ..Model::default() };
    let outcome = send(&mut encoder, &mut model, &[&[1; 9236], &[1; 9237]]);
    assert_eq!(outcome.sent, 1);
    assert!(matches!(outcome.stopped, Some(SendError::TooLong)));
}
