//! What two nodes tell each other first: one Hello each way on the one control stream, which the
//! end that dialled opens; and the messages after it. Why a connection ends is told by its close code alone.

use bytes::{Buf as _, Bytes};
use mesh::Nick;
use mesh::message::{
    Capabilities, CodecError, Decoder, Hello, Message, Name, NoCommonVersion, SUPPORTED_VERSIONS,
    encode, negotiate,
};
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, WriteError};

use crate::connection::Connection;
use crate::failure::CloseCode;
use crate::identity::PublicKey;
use crate::link::Peer;

/// Octets read from the control stream at once.
const READ: usize = 4096;

/// What this node says of itself.
#[derive(Debug, Clone)]
pub struct Introduction {
    /// Its name.
    pub name: String,
    /// Its short name in frames.
    pub nick: Nick,
    /// The longest frame without a virtio-net header that it takes, in octets.
    pub max_frame: u32,
}

/// Why the control stream ended or never began.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The connection is gone.
    #[error("connection lost: {0}")]
    Connection(#[from] ConnectionError),
    /// Reading failed.
    #[error("reading: {0}")]
    Read(#[from] ReadError),
    /// Writing failed.
    #[error("writing: {0}")]
    Write(#[from] WriteError),
    /// The stream ended between or within messages.
    #[error("the control stream ended")]
    Ended,
    /// What came is no message.
    #[error("malformed control message: {0}")]
    Codec(#[from] CodecError),
    /// The peer did not introduce itself first.
    #[error("a message before Hello")]
    NoHello,
    /// The peer introduced itself again.
    #[error("a second Hello")]
    SecondHello,
    /// A message that has no place here.
    #[error("a message that has no place here")]
    Misplaced,
    /// What the peer says of the roster is not honest.
    #[error(transparent)]
    Forged(#[from] mesh::roster::Forged),
    /// No version in common.
    #[error(transparent)]
    Version(#[from] NoCommonVersion),
}

impl ControlError {
    /// How the connection ended, if it is for that.
    pub(crate) fn ended(&self) -> Option<&ConnectionError> {
        match self {
            Self::Connection(end)
            | Self::Read(ReadError::ConnectionLost(end))
            | Self::Write(WriteError::ConnectionLost(end)) => Some(end),
            _ => None,
        }
    }

    /// The code to close the connection with when this end must do it.
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Codec(_)
            | Self::NoHello
            | Self::SecondHello
            | Self::Misplaced
            | Self::Forged(_)
            | Self::Ended => Some(CloseCode::Protocol),
            Self::Version(_) => Some(CloseCode::Version),
            Self::Connection(_) | Self::Read(_) | Self::Write(_) => None,
        }
    }
}

/// The control stream of an introduced connection.
#[derive(Debug)]
pub struct ControlStream {
    /// Where this end's messages go. To be held open: its end would be a message of its own.
    pub(crate) send: SendStream,
    /// Where the peer's messages come from.
    pub(crate) messages: Messages,
}

/// The peer's messages.
#[derive(Debug)]
pub struct Messages {
    recv: RecvStream,
    /// Octets read that the decoder had no room for.
    unread: Bytes,
    decoder: Decoder,
}

impl Messages {
    /// Those of a stream.
    pub(crate) fn new(recv: RecvStream) -> Self {
        Self { recv, unread: Bytes::new(), decoder: Decoder::new() }
    }

    /// The next message of a kind that this version knows.
    ///
    /// # Errors
    /// [`ControlError`]; the connection is of no use any more.
    pub async fn next(&mut self) -> Result<Message, ControlError> {
        loop {
            if let Some(message) = self.decoder.poll_message()? {
                return Ok(message);
            }
            if self.unread.is_empty() {
                let chunk = self.recv.read_chunk(READ, true).await?;
                self.unread = chunk.ok_or(ControlError::Ended)?.bytes;
            }
            let taken = self.decoder.handle_bytes(&self.unread);
            self.unread.advance(taken);
        }
    }
}

/// Introduces both ends. `dialled` is this end's number of the cable, when it dialled it;
/// `has_roster` whether it compares rosters.
///
/// # Errors
/// [`ControlError`].
pub async fn exchange(
    connection: &Connection,
    key: PublicKey,
    introduction: &Introduction,
    dialled: Option<u32>,
    has_roster: bool,
) -> Result<(ControlStream, Peer), ControlError> {
    let roster = if has_roster { Capabilities::ROSTER } else { Capabilities::default() };
    let hello = encode(&Message::Hello(Hello {
        versions: SUPPORTED_VERSIONS,
        node_name: Name::lossy(&introduction.name),
        nick: introduction.nick,
        software: Name::lossy(concat!("vdenode ", env!("CARGO_PKG_VERSION"))),
        max_frame: introduction.max_frame,
        capabilities: Capabilities::VNET.union(roster),
        cable: dialled.unwrap_or(0),
    }));
    // The stream exists for the peer once something is written to it, so both ends may write first.
    let (mut send, recv) = if dialled.is_some() {
        connection.open_bi().await?
    } else {
        connection.accept_bi().await?
    };
    send.write_all(&hello).await?;
    let mut control = ControlStream { send, messages: Messages::new(recv) };
    let Message::Hello(theirs) = control.messages.next().await? else {
        return Err(ControlError::NoHello);
    };
    negotiate(SUPPORTED_VERSIONS, theirs.versions)?;
    let peer = Peer {
        key,
        name: theirs.node_name.as_str().to_owned(),
        nick: theirs.nick,
        cable: theirs.cable,
        max_frame: usize::try_from(theirs.max_frame).unwrap_or(usize::MAX),
        takes_vnet: theirs.capabilities.contains(Capabilities::VNET),
        has_roster: has_roster && theirs.capabilities.contains(Capabilities::ROSTER),
    };
    Ok((control, peer))
}
