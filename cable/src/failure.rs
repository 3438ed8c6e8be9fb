//! What a failed or ended connection means, in words that an operator can act upon.

use std::net::SocketAddr;

pub use mesh::message::CloseCode;
use mesh::message::Redial;
use quinn::{ConnectionError, VarInt};

use crate::connection::Connection;
use crate::identity::PublicKey;

/// A close code as quinn takes it.
pub(crate) fn to_varint(code: CloseCode) -> VarInt {
    VarInt::from_u32(code.to_wire())
}

/// The code with which a peer closed, when it is one of ours.
pub fn code_of(err: &ConnectionError) -> Option<CloseCode> {
    match err {
        ConnectionError::ApplicationClosed(close) => {
            CloseCode::from_wire(close.error_code.into_inner())
        }
        _ => None,
    }
}

/// Closes a connection and tells the peer why.
pub(crate) fn close(connection: &Connection, code: CloseCode, detail: &str) {
    connection.close(to_varint(code), detail.as_bytes());
}

/// What a peer says of its reasons, as it can be shown.
fn words_of(reason: &[u8]) -> String {
    const LONGEST: usize = 120;
    let text = String::from_utf8_lossy(reason);
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

/// TLS alert `access_denied` (RFC 8446 section 6.2) as a QUIC error (RFC 9001 section 4.8): what
/// either end says to a key that it does not trust.
const ACCESS_DENIED: u64 = 0x100 + 49;

/// TLS alert `certificate_revoked`: the key was put out of the mesh.
const KEY_REVOKED: u64 = 0x100 + 44;

/// TLS alert `certificate_expired`: the membership has ended.
const KEY_EXPIRED: u64 = 0x100 + 45;

/// TLS alert `no_application_protocol`: the two ends speak no common version.
const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;

/// What is wrong with a proof, by the TLS alert that says so (RFC 8446 section 6.2).
fn flaw_of(code: u64) -> Option<Flaw> {
    match code.checked_sub(0x100)? {
        // handshake_failure, bad_certificate, unsupported_certificate
        40 | 42 | 43 => Some(Flaw::NotEd25519),
        // decrypt_error
        51 => Some(Flaw::WrongSignature),
        // certificate_required
        116 => Some(Flaw::NoKey),
        _ => None,
    }
}

/// What is wrong with the proof of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// There is none.
    NoKey,
    /// What was shown is no raw Ed25519 key.
    NotEd25519,
    /// The handshake was not signed with the key that was shown.
    WrongSignature,
}

const SELF: &str = "this address leads to this node itself, or to one with a copy of its key";

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
    /// The peer did not prove a key.
    Unproved(SocketAddr, Flaw),
    /// The peer finds that this node did not prove its key.
    Unconvinced(SocketAddr, Flaw),
    /// The peer's key was put out of the mesh.
    PeerRevoked(SocketAddr, PublicKey),
    /// The peer's membership has ended.
    PeerExpired(SocketAddr, PublicKey),
    /// The peer knows that this node's key was put out of the mesh.
    RefusedRevoked(SocketAddr),
    /// The peer knows that this node's membership has ended.
    RefusedExpired(SocketAddr),
    /// The address leads to another member than the one that is meant, which is named.
    AnotherMember(SocketAddr, String),
    /// The two nodes have no protocol version in common.
    Version(SocketAddr),
    /// The peer closed with a reason of its own.
    Closed(CloseCode),
    /// The peer closed because of something that this node sent, in its words.
    Blamed(String),
    /// This end closed it because of something that the peer sent.
    Broken(String),
    /// The established cable went silent.
    Silent,
    /// The peer restarted and no longer knows the cable.
    PeerRestarted,
    /// This end closed it.
    Local(CloseCode),
    /// QUIC's own code failed here.
    Fault,
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
    /// What a connection error means. `shown` is the key that the peer showed in the handshake, if
    /// it came so far.
    pub fn of(
        err: &ConnectionError,
        phase: Phase,
        remote: SocketAddr,
        shown: Option<PublicKey>,
    ) -> Self {
        match (code_of(err), err) {
            (Some(CloseCode::Protocol), ConnectionError::ApplicationClosed(close)) => {
                return Self::Blamed(words_of(&close.reason));
            }
            (Some(code), _) => return Self::Closed(code),
            (None, _) => {}
        }
        match err {
            ConnectionError::TimedOut if phase == Phase::Handshake => Self::NoAnswer(remote),
            ConnectionError::TimedOut => Self::Silent,
            ConnectionError::Reset => Self::PeerRestarted,
            ConnectionError::TransportError(ours) => match u64::from(ours.code) {
                ACCESS_DENIED => match shown {
                    Some(key) => Self::PeerUntrusted(remote, key),
                    None => Self::Other(ours.to_string()),
                },
                KEY_REVOKED if shown.is_some() => {
                    Self::PeerRevoked(remote, shown.expect("it was looked at"))
                }
                KEY_EXPIRED if shown.is_some() => {
                    Self::PeerExpired(remote, shown.expect("it was looked at"))
                }
                NO_APPLICATION_PROTOCOL => Self::Version(remote),
                code => match flaw_of(code) {
                    Some(flaw) => Self::Unproved(remote, flaw),
                    None => Self::Other(ours.to_string()),
                },
            },
            ConnectionError::ConnectionClosed(theirs) => match u64::from(theirs.error_code) {
                ACCESS_DENIED => Self::Refused(remote),
                KEY_REVOKED => Self::RefusedRevoked(remote),
                KEY_EXPIRED => Self::RefusedExpired(remote),
                NO_APPLICATION_PROTOCOL => Self::Version(remote),
                code => match flaw_of(code) {
                    Some(flaw) => Self::Unconvinced(remote, flaw),
                    None => Self::Other(theirs.to_string()),
                },
            },
            ConnectionError::VersionMismatch => Self::Version(remote),
            other => Self::Other(other.to_string()),
        }
    }

    /// Why this end closes with a code, and what it says of it.
    pub(crate) fn local(code: CloseCode, words: &str) -> Self {
        match code {
            CloseCode::Protocol => Self::Broken(words.to_owned()),
            code => Self::Local(code),
        }
    }

    /// A word for the counter of handshakes that were let in and failed.
    pub fn word(&self) -> &'static str {
        match self {
            Self::PeerUntrusted(..) => "untrusted",
            Self::PeerRevoked(..) => "revoked",
            Self::PeerExpired(..) => "expired",
            Self::Refused(_)
            | Self::RefusedRevoked(_)
            | Self::RefusedExpired(_)
            | Self::Unconvinced(..) => "refused-us",
            Self::Unproved(_, Flaw::NoKey) => "no-key",
            Self::Unproved(_, Flaw::NotEd25519) => "not-ed25519",
            Self::Unproved(_, Flaw::WrongSignature) => "wrong-signature",
            Self::NoAnswer(_) | Self::Silent => "timeout",
            Self::Version(_) => "version",
            Self::Fault => "fault",
            _ => "broken-off",
        }
    }

    /// Whether the cable is to be dialled again after this.
    pub fn redial(&self) -> Redial {
        match self {
            Self::Closed(code) | Self::Local(code) => code.redial(),
            _ => Redial::Always,
        }
    }

    /// Whether one of the two ends does not let the other in, which only people change.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::PeerUntrusted(..)
                | Self::PeerRevoked(..)
                | Self::PeerExpired(..)
                | Self::Refused(_)
                | Self::RefusedRevoked(_)
                | Self::RefusedExpired(_)
                | Self::Version(_)
                | Self::Closed(CloseCode::OwnKey | CloseCode::Untrusted | CloseCode::Version)
                | Self::Local(CloseCode::OwnKey | CloseCode::Untrusted | CloseCode::Version)
        )
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
            Self::Unproved(remote, flaw) => match flaw {
                Flaw::NoKey => format!("{remote} showed no key"),
                Flaw::NotEd25519 => format!("{remote} showed something else than an Ed25519 key"),
                Flaw::WrongSignature => {
                    format!("{remote} did not sign with the key that it showed")
                }
            },
            Self::Unconvinced(remote, flaw) => match flaw {
                Flaw::NoKey => format!("{remote} says that this node showed no key"),
                Flaw::NotEd25519 => {
                    format!("{remote} takes no Ed25519 key, or found this node's malformed")
                }
                Flaw::WrongSignature => {
                    format!("{remote} says that this node did not sign with its key")
                }
            },
            Self::PeerRevoked(remote, key) => {
                format!("{remote} presented a key that was revoked: {key}")
            }
            Self::PeerExpired(remote, key) => {
                format!("{remote} presented the key of a member whose time is over: {key}")
            }
            Self::RefusedRevoked(remote) => {
                format!("{remote} refuses this node: its key was revoked")
            }
            Self::RefusedExpired(remote) => {
                format!("{remote} refuses this node: its membership has ended")
            }
            Self::AnotherMember(remote, name) => format!("{remote} leads to {name} now"),
            Self::Version(remote) => {
                format!("{remote} speaks another version of the cable protocol")
            }
            Self::Blamed(how) if how.is_empty() => {
                "the peer says that this node broke the protocol".into()
            }
            Self::Blamed(how) => format!("the peer says that this node broke the protocol: {how}"),
            Self::Broken(how) => format!("the peer broke the protocol: {how}"),
            Self::Closed(code) => match code {
                CloseCode::ShuttingDown => "the peer was shut down".into(),
                CloseCode::Disconnected => "the peer's operator pulled the cable out".into(),
                CloseCode::Replaced => "the peer took a newer cable from this node".into(),
                CloseCode::Duplicate => "the peer keeps the cable that it opened itself".into(),
                CloseCode::OwnKey => SELF.into(),
                CloseCode::Untrusted => "the peer trusts this node's key no more".into(),
                CloseCode::Protocol => "the peer says that this node broke the protocol".into(),
                CloseCode::Stalled => {
                    "the peer waited in vain for this node to read or answer its messages".into()
                }
                CloseCode::AnotherMeant => "the peer wants to reach another node".into(),
                CloseCode::TooMany => {
                    "the peer has as many cables from this node as it takes".into()
                }
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
                CloseCode::Duplicate => "another cable links the same two nodes".into(),
                CloseCode::OwnKey => SELF.into(),
                CloseCode::Untrusted => "the peer's key is trusted no more".into(),
                CloseCode::Protocol => "the peer broke the protocol".into(),
                CloseCode::Stalled => "the peer reads none of this node's messages".into(),
                CloseCode::AnotherMeant => "another node is meant".into(),
                CloseCode::TooMany => {
                    "there are as many cables from the peer as this node takes".into()
                }
                CloseCode::Version => {
                    "the peer speaks another version of the cable protocol".into()
                }
            },
            Self::Fault => "the QUIC library failed in this node and was started anew".into(),
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
            Self::PeerUntrusted(_, key) => Some(format!(
                "let one of the two join the other's mesh: vdecable invite on one host, vdecable join \
                 on the other; or by ssh, all from here: vdecable connect USER@HOST; or, without a \
                 mesh: vdecable trust {key}"
            )),
            Self::Refused(_) => Some(format!(
                "let one of the two join the other's mesh: vdecable invite on one host, vdecable join \
                 on the other; or by ssh, all from here: vdecable connect USER@HOST; or, without a \
                 mesh, on that host: vdecable trust {own}"
            )),
            Self::RefusedRevoked(_) | Self::RefusedExpired(_) => Some(
                "to let it in again: vdecable invite on a host of that mesh, vdecable join here"
                    .into(),
            ),
            Self::PeerRevoked(..) | Self::PeerExpired(..) => Some(
                "to let it in again: vdecable invite on a host of this mesh, vdecable join there"
                    .into(),
            ),
            Self::Unproved(remote, _) | Self::Unconvinced(remote, _) => Some(format!(
                "check that {remote} is a vdenode, and that nothing between alters packets"
            )),
            Self::Blamed(_) | Self::Broken(_) => Some(
                "upgrade the older of the two nodes; if both are of one version, report it".into(),
            ),
            Self::Version(_) | Self::Closed(CloseCode::Version) => {
                Some("upgrade the older of the two nodes".into())
            }
            Self::Closed(CloseCode::OwnKey) | Self::Local(CloseCode::OwnKey) => {
                Some("connect to another host; a node needs a state directory of its own".into())
            }
            _ => None,
        }
    }
}
