//! What a failed or ended connection means, in words that an operator can act upon.

use std::net::SocketAddr;

use quinn::{ConnectionError, VarInt};

use crate::identity::PublicKey;

/// Application close codes of the cable protocol (RFC 9000 section 20.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum CloseCode {
    /// The node ends.
    ShuttingDown = 1,
    /// An operator pulled the cable out.
    Disconnected = 2,
    /// The same peer has opened a newer cable.
    Replaced = 3,
    /// The other end's cable between the same two nodes stays.
    Duplicate = 4,
    /// A node dialled itself.
    OwnKey = 5,
    /// The key is no longer trusted.
    Untrusted = 6,
    /// What came on the control stream breaks the protocol.
    Protocol = 7,
    /// No common version of the cable protocol.
    Version = 8,
}

impl CloseCode {
    /// All codes.
    const ALL: [Self; 8] = [
        Self::ShuttingDown,
        Self::Disconnected,
        Self::Replaced,
        Self::Duplicate,
        Self::OwnKey,
        Self::Untrusted,
        Self::Protocol,
        Self::Version,
    ];

    /// The code on the wire.
    pub fn to_varint(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }

    /// The code that a peer closed with.
    pub fn of(err: &ConnectionError) -> Option<Self> {
        match err {
            ConnectionError::ApplicationClosed(close) => Self::ALL
                .into_iter()
                .find(|code| code.to_varint() == close.error_code),
            _ => None,
        }
    }
}

/// TLS alert `access_denied` (RFC 8446 section 6.2) as a QUIC error (RFC 9001 section 4.8): what
/// either end says to a key that it does not trust.
const ACCESS_DENIED: u64 = 0x100 + 49;

/// TLS alert `no_application_protocol`: the two ends speak no common version.
const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;

/// Why a cable is not up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The host name has no address, or the resolver failed.
    Unresolved(String),
    /// Nothing answered in time.
    NoAnswer(SocketAddr),
    /// The system refused to send.
    Unreachable(SocketAddr, String),
    /// The peer showed a key that this node does not trust.
    PeerUntrusted(SocketAddr, PublicKey),
    /// The peer does not trust this node's key.
    Refused(SocketAddr),
    /// The two nodes have no protocol version in common.
    Version(SocketAddr),
    /// The peer closed with a reason of its own.
    Closed(CloseCode),
    /// The established cable went silent.
    Silent,
    /// The peer restarted and no longer knows the cable.
    PeerRestarted,
    /// This end closed it.
    Local(CloseCode),
    /// Anything else, in QUIC's words.
    Other(String),
}

/// Which phase a connection was in when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the cable was up.
    Handshake,
    /// Afterwards.
    Established,
}

impl Failure {
    /// What a connection error means. `shown` is the key that the peer showed in the handshake, and
    /// `trusted` whether it is trusted.
    pub fn of(
        err: &ConnectionError,
        phase: Phase,
        remote: SocketAddr,
        untrusted: Option<PublicKey>,
    ) -> Self {
        if let Some(code) = CloseCode::of(err) {
            return Self::Closed(code);
        }
        match err {
            ConnectionError::TimedOut if phase == Phase::Handshake => Self::NoAnswer(remote),
            ConnectionError::TimedOut => Self::Silent,
            ConnectionError::Reset => Self::PeerRestarted,
            ConnectionError::TransportError(ours) => match u64::from(ours.code) {
                ACCESS_DENIED => match untrusted {
                    Some(key) => Self::PeerUntrusted(remote, key),
                    None => Self::Other(ours.to_string()),
                },
                NO_APPLICATION_PROTOCOL => Self::Version(remote),
                _ => Self::Other(ours.to_string()),
            },
            ConnectionError::ConnectionClosed(theirs) => match u64::from(theirs.error_code) {
                ACCESS_DENIED => Self::Refused(remote),
                NO_APPLICATION_PROTOCOL => Self::Version(remote),
                _ => Self::Other(theirs.to_string()),
            },
            ConnectionError::VersionMismatch => Self::Version(remote),
            other => Self::Other(other.to_string()),
        }
    }

    /// One sentence: why.
    pub fn reason(&self) -> String {
        match self {
            Self::Unresolved(why) => format!("the host name cannot be resolved: {why}"),
            Self::NoAnswer(remote) => format!("no answer from {remote}"),
            Self::Unreachable(remote, why) => format!("cannot send to {remote}: {why}"),
            Self::PeerUntrusted(remote, key) => {
                format!("{remote} presented a key that is not trusted here: {key}")
            }
            Self::Refused(remote) => format!("{remote} does not trust this node's key"),
            Self::Version(remote) => {
                format!("{remote} speaks another version of the cable protocol")
            }
            Self::Closed(code) => match code {
                CloseCode::ShuttingDown => "the peer was shut down".into(),
                CloseCode::Disconnected => "the peer's operator pulled the cable out".into(),
                CloseCode::Replaced => "the peer took a newer cable from this node".into(),
                CloseCode::Duplicate => "the peer keeps the cable that it opened itself".into(),
                CloseCode::OwnKey => "this address leads to this node itself".into(),
                CloseCode::Untrusted => "the peer trusts this node's key no more".into(),
                CloseCode::Protocol => "the peer found our control messages malformed".into(),
                CloseCode::Version => {
                    "the peer speaks another version of the cable protocol".into()
                }
            },
            Self::Silent => "the peer went silent".into(),
            Self::PeerRestarted => "the peer was restarted".into(),
            Self::Local(code) => match code {
                CloseCode::ShuttingDown => "this node shuts down".into(),
                CloseCode::Disconnected => "pulled out".into(),
                CloseCode::Replaced => "the peer opened a newer cable".into(),
                CloseCode::Duplicate => "the cable that this node opened stays".into(),
                CloseCode::OwnKey => "this address leads to this node itself".into(),
                CloseCode::Untrusted => "the peer's key is trusted no more".into(),
                CloseCode::Protocol => "the peer's control messages are malformed".into(),
                CloseCode::Version => {
                    "the peer speaks another version of the cable protocol".into()
                }
            },
            Self::Other(what) => what.clone(),
        }
    }

    /// One sentence: what to do, when there is something.
    pub fn fix(&self, own: PublicKey) -> Option<String> {
        match self {
            Self::Unresolved(_) => Some("check the spelling and the resolver".into()),
            Self::NoAnswer(remote) => Some(format!(
                "check that vdenode runs there and that UDP port {} is open",
                remote.port()
            )),
            Self::Unreachable(..) => Some("check the route to that address".into()),
            Self::PeerUntrusted(_, key) => {
                Some(format!("if that is the right node: vdecable trust {key}"))
            }
            Self::Refused(_) => Some(format!("run on that host: vdecable trust {own}")),
            Self::Version(_) | Self::Closed(CloseCode::Version) => {
                Some("upgrade the older of the two nodes".into())
            }
            Self::Closed(CloseCode::OwnKey) | Self::Local(CloseCode::OwnKey) => {
                Some("connect to the other host's address".into())
            }
            _ => None,
        }
    }
}
