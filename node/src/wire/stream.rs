//! What two nodes tell each other over a cable's reliable stream, on a cable with a wire: it crosses
//! the wire in segments, as it crosses a network in packets. A segment that is lost or damaged is sent
//! again, and nothing overtakes. Pure.
//!
//! This stands for what the connection does underneath the node, where no wire reaches: not its
//! algorithms, but what a bad link makes of a reliable stream, which is lateness.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Octets of a segment: what passes where IPv4 does (RFC 791 has every host take 576), so that few
/// MTUs that somebody asks for stop the stream for good.
const SEGMENT: usize = 512;

/// Segments that are under way together. More would fill the queue of a slow link with repetitions
/// of themselves.
const WINDOW: usize = 16;

/// How long a segment is waited for at first; as long as RFC 9002 6.2.2 assumes for a round trip of
/// which nothing is known. Doubled with each repetition.
const PATIENCE: Duration = Duration::from_millis(333);

/// The longest that it is waited for, so that a link that becomes well again is noticed.
const MAX_PATIENCE: Duration = Duration::from_secs(4);

/// A stream of messages; `M` is one.
#[derive(Debug)]
pub(super) struct Stream<M> {
    /// From the oldest that has not arrived, or waits behind one.
    segments: VecDeque<Segment<M>>,
    /// The number of the first of them.
    first: u64,
    octets: usize,
}

#[derive(Debug)]
struct Segment<M> {
    octets: Box<[u8]>,
    /// With the last segment of a message.
    message: Option<M>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unsent,
    UnderWay { again: Instant, patience: Duration },
    Arrived,
}

impl<M> Default for Stream<M> {
    fn default() -> Self {
        Self { segments: VecDeque::new(), first: 0, octets: 0 }
    }
}

impl<M> Stream<M> {
    /// Takes a message as it is encoded.
    pub(super) fn push(&mut self, message: M, octets: &[u8]) {
        self.octets += octets.len();
        let mut message = Some(message);
        let count = octets.len().div_ceil(SEGMENT);
        for (index, chunk) in octets.chunks(SEGMENT).enumerate() {
            let message = if index + 1 == count { message.take() } else { None };
            self.segments.push_back(Segment {
                octets: chunk.into(),
                message,
                state: State::Unsent,
            });
        }
    }

    /// The next segment that is to be sent, or sent again, and its number.
    pub(super) fn poll_segment(&mut self, now: Instant) -> Option<(u64, &[u8])> {
        let window = self.segments.iter_mut().take(WINDOW);
        let (index, segment) = window.enumerate().find(|(_, segment)| segment.is_due(now))?;
        let patience = match segment.state {
            State::UnderWay { patience, .. } => (patience * 2).min(MAX_PATIENCE),
            State::Unsent | State::Arrived => PATIENCE,
        };
        segment.state = State::UnderWay { again: now + patience, patience };
        Some((self.first + index as u64, &segment.octets))
    }

    /// When [`Self::poll_segment`] may have one.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let window = self.segments.iter().take(WINDOW);
        window
            .filter_map(|segment| match segment.state {
                State::Unsent => Some(now),
                State::UnderWay { again, .. } => Some(again),
                State::Arrived => None,
            })
            .min()
    }

    /// A segment has crossed the wire. A damaged one counts as none.
    pub(super) fn handle_segment(&mut self, number: u64, octets: &[u8]) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(segment) = index.and_then(|index| self.segments.get_mut(index))
            && *segment.octets == *octets
        {
            segment.state = State::Arrived;
        }
    }

    /// The next message that has arrived whole, and all before it.
    pub(super) fn poll_message(&mut self) -> Option<M> {
        while self.segments.front()?.state == State::Arrived {
            let segment = self.segments.pop_front().expect("it has a front");
            self.first += 1;
            self.octets -= segment.octets.len();
            if segment.message.is_some() {
                return segment.message;
            }
        }
        None
    }

    /// What is under way is lost, but is sent again at once.
    pub(super) fn restart(&mut self) {
        for segment in &mut self.segments {
            if segment.state != State::Arrived {
                segment.state = State::Unsent;
            }
        }
    }

    /// Takes out all messages, arrived or not, in order: nothing is in their way any more.
    pub(super) fn take_all(&mut self) -> Vec<M> {
        let messages = self.segments.iter_mut().filter_map(|segment| segment.message.take());
        let messages = messages.collect();
        self.clear();
        messages
    }

    /// Forgets everything: the stream is another one from here on.
    pub(super) fn clear(&mut self) {
        self.first += self.segments.len() as u64;
        self.segments.clear();
        self.octets = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Octets that have not arrived, or wait behind some that have not.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }
}

impl<M> Segment<M> {
    fn is_due(&self, now: Instant) -> bool {
        match self.state {
            State::Unsent => true,
            State::UnderWay { again, .. } => again <= now,
            State::Arrived => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Carries segments until nothing is left, losing those that `is_lost` says by their number and
    /// turn; gives the messages and how long it took.
    fn carry(stream: &mut Stream<u32>, is_lost: impl Fn(u64, u32) -> bool) -> (Vec<u32>, Duration) {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let start = Instant::now();
        let (mut now, mut turn, mut messages) = (start, 0, Vec::new());
        while let Some(next) = stream.poll_timeout(now) {
            now = now.max(next);
            while let Some((number, octets)) = stream.poll_segment(now) {
                let octets = octets.to_vec();
                if !is_lost(number, turn) {
                    stream.handle_segment(number, &octets);
                }
            }
            messages.extend(std::iter::from_fn(|| stream.poll_message()));
            turn += 1;
        }
        (messages, now - start)
    }

    fn stream(messages: u32, octets: usize) -> Stream<u32> {
        let mut stream = Stream::default();
        for message in 0..messages {
            stream.push(message, &vec![u8::try_from(message % 251).unwrap(); octets]);
        }
        stream
    }

    #[test]
    fn messages_arrive_in_order_whatever_is_lost() {
        for octets in [1, SEGMENT, SEGMENT + 1, 5000] {
            let mut stream = stream(50, octets);
            let (messages, _) =
                carry(&mut stream, |number, turn| (number + u64::from(turn)) % 3 == 0);
            assert!(messages.iter().copied().eq(0..50), "{octets}: {messages:?}");
            assert!(stream.is_empty() && stream.octets() == 0);
        }
    }

    #[test]
    fn without_loss_nothing_waits() {
        let (messages, took) = carry(&mut stream(50, 5000), |_, _| false);
        assert_eq!((messages.len(), took), (50, Duration::ZERO));
    }

    #[test]
    fn what_is_lost_again_and_again_is_waited_for_longer_and_longer() {
        let (messages, took) = carry(&mut stream(1, 1), |_, turn| turn < 3);
        assert_eq!((messages.len(), took), (1, PATIENCE * 7));
    }

    #[test]
    fn what_is_under_way_when_the_wire_goes_is_handed_on_whole_and_in_order() {
        let mut stream = stream(5, SEGMENT + 1);
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let now = Instant::now();
        while let Some((number, octets)) = stream.poll_segment(now) {
            let octets: Box<[u8]> = octets.into();
            // The first message has arrived in part, the second wholly.
            if (1..4).contains(&number) {
                stream.handle_segment(number, &octets);
            }
        }
        assert_eq!(stream.poll_message(), None);
        assert_eq!(stream.take_all(), [0, 1, 2, 3, 4]);
        assert!(stream.is_empty() && stream.octets() == 0);
    }

    #[test]
    fn a_damaged_segment_is_sent_again() {
        let mut stream = stream(1, 10);
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let now = Instant::now();
        let (number, octets) = stream.poll_segment(now).unwrap();
        let mut damaged = octets.to_vec();
        damaged[3] ^= 1;
        stream.handle_segment(number, &damaged);
        assert_eq!(stream.poll_message(), None);
        assert_eq!(stream.poll_segment(now), None);
        assert!(stream.poll_segment(now + PATIENCE).is_some());
    }

    #[test]
    fn a_late_segment_of_the_stream_before_is_no_part_of_this_one() {
        let mut stream = stream(1, 10);
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let now = Instant::now();
        let (number, octets) = stream.poll_segment(now).unwrap();
        let octets = octets.to_vec();
        stream.clear();
        stream.push(7, &octets);
        stream.handle_segment(number, &octets);
        assert_eq!(stream.poll_message(), None);
    }
}
