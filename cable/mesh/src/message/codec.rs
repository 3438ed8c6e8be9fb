//! Messages into octets and back: a length, a kind, and the fields in postcard.

use serde::{Deserialize, Serialize};

use super::v1::Message;

/// The longest message, its kind included and its length field not: 64 KiB.
///
/// Also the memory that a peer may fill with a message it never completes.
pub const MAX_MESSAGE_LEN: usize = 64 * 1024;

const LENGTH_LEN: usize = 4;

const KIND_HELLO: u8 = 1;
const KIND_CABLE: u8 = 2;
const KIND_RECORDS: u8 = 3;
const KIND_DIGEST: u8 = 4;
const KIND_SLOTS: u8 = 5;
const KIND_ROSTER_DIGEST: u8 = 16;
const KIND_ROSTER: u8 = 17;
const KIND_JOIN: u8 = 18;
const KIND_WELCOME: u8 = 19;
const KIND_UNWELCOME: u8 = 20;

/// The control stream cannot be understood any more: close the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// More octets announced than a message may have. Nothing was allocated for them.
    #[error("message of {len} octets exceeds the limit of {MAX_MESSAGE_LEN}")]
    TooLong {
        /// What the length field says.
        len: u32,
    },
    /// A message without even its kind.
    #[error("message of no octets")]
    Empty,
    /// The fields are cut short, or exceed a limit of their own.
    #[error("malformed message of kind {kind}: {reason}")]
    Malformed {
        /// The kind of the message.
        kind: u8,
        /// What the decoder says.
        reason: String,
    },
    /// Octets after the last field.
    #[error("message of kind {kind} with {count} octets too many")]
    Trailing {
        /// The kind of the message.
        kind: u8,
        /// How many octets are left.
        count: usize,
    },
}

/// The octets of one message, ready for the stream.
pub fn encode(message: &Message) -> Vec<u8> {
    match message {
        Message::Hello(hello) => encode_fields(KIND_HELLO, hello),
        Message::Cable(cable) => encode_fields(KIND_CABLE, cable),
        Message::Records(records) => encode_fields(KIND_RECORDS, records),
        Message::Digest(digest) => encode_fields(KIND_DIGEST, digest),
        Message::Slots(slots) => encode_fields(KIND_SLOTS, slots),
        Message::RosterDigest(digest) => encode_fields(KIND_ROSTER_DIGEST, digest),
        Message::Roster(entries) => encode_fields(KIND_ROSTER, entries),
        Message::Join(join) => encode_fields(KIND_JOIN, join),
        Message::Welcome(welcome) => encode_fields(KIND_WELCOME, welcome),
        Message::Unwelcome(unwelcome) => encode_fields(KIND_UNWELCOME, unwelcome),
    }
}

fn encode_fields(kind: u8, fields: &impl Serialize) -> Vec<u8> {
    let mut octets = vec![0; LENGTH_LEN];
    octets.push(kind);
    let mut octets = postcard::to_extend(fields, octets)
        .expect("a vector takes everything, and the fields have known lengths");
    let len = octets.len() - LENGTH_LEN;
    assert!(len <= MAX_MESSAGE_LEN, "the bounds of the fields of kind {kind} are too wide");
    let len = u32::try_from(len).expect("the limit fits");
    octets[..LENGTH_LEN].copy_from_slice(&len.to_be_bytes());
    octets
}

/// Cuts messages out of the octets of a stream.
///
/// Feed it what was read, and poll until it gives nothing, before feeding more:
///
/// ```
/// # use mesh::message::{CodecError, Decoder};
/// # fn read(mut octets: &[u8]) -> Result<(), CodecError> {
/// # let mut decoder = Decoder::new();
/// while !octets.is_empty() {
///     let taken = decoder.handle_bytes(octets);
///     octets = &octets[taken..];
///     while let Some(message) = decoder.poll_message()? {
///         // ...
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Octets at the front of the buffer that were polled already.
    done: usize,
    failed: Option<CodecError>,
    skipped: u64,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in octets of the stream, and says how many of them.
    ///
    /// No more than one longest message is held at a time, so that fewer than all may be taken.
    /// After a poll that gave nothing, at least one is. A stream that has failed takes all and
    /// keeps none.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> usize {
        if self.failed.is_some() {
            return bytes.len();
        }
        self.buffer.drain(..self.done);
        self.done = 0;
        let room = (LENGTH_LEN + MAX_MESSAGE_LEN).saturating_sub(self.buffer.len());
        let taken = room.min(bytes.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// The next message; `None` when more octets are needed.
    ///
    /// A kind of message that this node does not know comes from a newer one. It is skipped by
    /// its length, and counted.
    ///
    /// # Errors
    /// [`CodecError`] when the stream is malformed; the same again at each later poll.
    pub fn poll_message(&mut self) -> Result<Option<Message>, CodecError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.next_message().inspect_err(|error| {
            self.failed = Some(error.clone());
            self.buffer = Vec::new();
            self.done = 0;
        })
    }

    /// How many messages of unknown kind were skipped.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn next_message(&mut self) -> Result<Option<Message>, CodecError> {
        loop {
            let rest = &self.buffer[self.done..];
            let Some((length, rest)) = rest.split_first_chunk::<LENGTH_LEN>() else {
                return Ok(None);
            };
            let announced = u32::from_be_bytes(*length);
            let too_long = CodecError::TooLong { len: announced };
            let len = usize::try_from(announced).map_err(|_| too_long.clone())?;
            if len > MAX_MESSAGE_LEN {
                return Err(too_long);
            }
            if len == 0 {
                return Err(CodecError::Empty);
            }
            let Some((&kind, fields)) = rest.get(..len).and_then(<[u8]>::split_first) else {
                return Ok(None);
            };
            self.done += LENGTH_LEN + len;
            let message = match kind {
                KIND_HELLO => decode_fields(kind, fields).map(Message::Hello),
                KIND_CABLE => decode_fields(kind, fields).map(Message::Cable),
                KIND_RECORDS => decode_fields(kind, fields).map(Message::Records),
                KIND_DIGEST => decode_fields(kind, fields).map(Message::Digest),
                KIND_SLOTS => decode_fields(kind, fields).map(Message::Slots),
                KIND_ROSTER_DIGEST => decode_fields(kind, fields).map(Message::RosterDigest),
                KIND_ROSTER => decode_fields(kind, fields).map(Message::Roster),
                KIND_JOIN => decode_fields(kind, fields).map(Message::Join),
                KIND_WELCOME => decode_fields(kind, fields).map(Message::Welcome),
                KIND_UNWELCOME => decode_fields(kind, fields).map(Message::Unwelcome),
                _ => {
                    self.skipped += 1;
                    continue;
                }
            };
            return message.map(Some);
        }
    }
}

fn decode_fields<'a, T: Deserialize<'a>>(kind: u8, fields: &'a [u8]) -> Result<T, CodecError> {
    let (message, rest) = postcard::take_from_bytes(fields)
        .map_err(|error| CodecError::Malformed { kind, reason: error.to_string() })?;
    match rest.len() {
        0 => Ok(message),
        count => Err(CodecError::Trailing { kind, count }),
    }
}
