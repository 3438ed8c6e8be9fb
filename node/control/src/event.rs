//! What happens in and around a node, as data and in a sentence.
//!
//! Every kind of event and its words are here and nowhere else: the log, `vdecable events` and the
//! control socket tell the same.

mod notice;

use std::fmt::Write as _;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

pub use notice::{Notice, Offence};
use notice::{cloned, guarded, noticed, station};

/// A node as views name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The name given with `trust`, else the one that it gives itself; may be empty.
    pub name: String,
    /// Its public key in text form.
    pub key: String,
}

impl Named {
    fn shown(&self) -> &str {
        if self.name.is_empty() { self.key.get(..8).unwrap_or(&self.key) } else { &self.name }
    }
}

/// A port as events name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedPort {
    /// Its number.
    pub port: u32,
    /// What is plugged in there, in its own words; may be empty.
    pub description: String,
}

impl NamedPort {
    fn shown(&self) -> String {
        with_words(self.port, &self.description)
    }
}

fn with_words(port: impl std::fmt::Display, words: &str) -> String {
    if words.is_empty() { format!("port {port}") } else { format!("port {port} ({words})") }
}

/// Which way frames stopped to get through a cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkLoss {
    /// Its connection has ended; `cable-down` says why.
    Closed,
    /// Nothing comes from the other end.
    Inbound,
    /// The other end hears nothing.
    Outbound,
}

/// Something that has happened. In JSON `kind` is the kebab-case word of the variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// A cable is connected.
    CableUp {
        /// Its id.
        cable: String,
        /// The other end.
        peer: Named,
        /// The other end's address.
        address: Option<String>,
    },
    /// A cable's connection has ended.
    CableDown {
        /// Its id.
        cable: String,
        /// The other end.
        peer: Named,
        /// Why.
        reason: String,
        /// What to do, when something can be done.
        fix: Option<String>,
    },
    /// Frames get through a cable, both ways, and take it.
    LinkUp {
        /// Its id.
        cable: String,
        /// The other end.
        peer: Named,
    },
    /// Frames take a cable no more.
    LinkDown {
        /// Its id.
        cable: String,
        /// The other end.
        peer: Named,
        /// Why.
        loss: LinkLoss,
    },
    /// A node can be reached.
    NodeJoined {
        /// Which.
        node: Named,
    },
    /// A node cannot be reached any more.
    NodeLeft {
        /// Which.
        node: Named,
    },
    /// Others remember a later run of this node than its disk does.
    EpochRaised {
        /// The epoch from now on.
        epoch: u64,
    },
    /// Another node keeps this one's short name on the wire.
    NickChanged {
        /// The new one, in hexadecimal.
        nick: String,
        /// Who keeps the old one.
        keeper: Named,
    },
    /// Two other nodes have one short name on the wire.
    NickClash {
        /// It, in hexadecimal.
        nick: String,
        /// Who keeps it.
        keeper: Named,
        /// Who must draw a new one.
        loser: Named,
    },
    /// A record of the mesh was not taken.
    RecordRefused {
        /// By which cable it came.
        cable: String,
        /// Who is said to have made it.
        origin: Named,
        /// Why.
        reason: String,
    },
    /// Two nodes run with one key.
    KeyCloned {
        /// The key's node.
        node: Named,
    },
    /// A station speaks here and at another node in turn, and is left to the other.
    DuplicateStation {
        /// Its VLAN; 0 is untagged.
        vlan: u16,
        /// The station.
        mac: String,
        /// Who keeps it.
        owner: Named,
    },
    /// A station here uses an address that is fixed at another node.
    StickyStation {
        /// Its VLAN; 0 is untagged.
        vlan: u16,
        /// The station.
        mac: String,
        /// Where it is fixed.
        owner: Named,
    },
    /// Another node serves as the gateway.
    GatewayServes {
        /// Which.
        node: Named,
    },
    /// It does no more, or cannot be reached.
    GatewayGone {
        /// Which.
        node: Named,
    },
    /// This node was told to be the gateway, and another one is.
    GatewayRefused {
        /// This node.
        node: Named,
        /// The other one.
        by: Named,
    },
    /// A port of this node sends what only the gateway may.
    Guarded {
        /// The port.
        port: NamedPort,
        /// What it sends.
        offence: Offence,
        /// The first station that did.
        mac: String,
    },
    /// Two access ports are joined outside of the mesh.
    LoopFound {
        /// The port of this node.
        port: NamedPort,
        /// The node of the other port.
        other: Named,
        /// What is plugged in at the other port, in its own words; may be empty.
        other_port: String,
        /// Whether this node's port is the one that is blocked.
        blocked_here: bool,
    },
    /// They are joined no more.
    LoopCleared {
        /// The port of this node.
        port: NamedPort,
    },
    /// Another node wants something known.
    NoticeRaised {
        /// Which node.
        from: Named,
        /// What.
        notice: Notice,
    },
    /// It has passed.
    NoticeCleared {
        /// Which node.
        from: Named,
        /// What.
        notice: Notice,
    },
}

/// How much an event concerns an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Of use to whoever looks for a fault; anybody on the network may cause many of them.
    Debug,
    /// Good to know.
    Info,
    /// Something is wrong, and a person can mend it.
    Warning,
}

impl Event {
    /// How much it concerns an operator.
    pub fn level(&self) -> Level {
        match self {
            Self::RecordRefused { .. } => Level::Debug,
            Self::CableUp { .. }
            | Self::CableDown { .. }
            | Self::LinkUp { .. }
            | Self::NodeJoined { .. }
            | Self::NodeLeft { .. }
            | Self::NickChanged { .. }
            | Self::LoopCleared { .. }
            | Self::NoticeCleared { .. }
            | Self::GatewayServes { .. }
            | Self::GatewayGone { .. }
            | Self::LinkDown { loss: LinkLoss::Closed, .. } => Level::Info,
            Self::LinkDown { .. }
            | Self::EpochRaised { .. }
            | Self::NickClash { .. }
            | Self::KeyCloned { .. }
            | Self::DuplicateStation { .. }
            | Self::StickyStation { .. }
            | Self::LoopFound { .. }
            | Self::GatewayRefused { .. }
            | Self::Guarded { .. }
            | Self::NoticeRaised { .. } => Level::Warning,
        }
    }

    /// What happened, where, and what to do about it when there is something.
    pub fn sentence(&self) -> String {
        match self {
            Self::CableUp { cable, peer, address } => {
                let mut text = format!("cable {cable} to {} is connected", peer.shown());
                if let Some(address) = address {
                    let _ = write!(text, " ({address})");
                }
                text
            }
            Self::CableDown { cable, peer, reason, fix } => {
                let mut text = format!("cable {cable} to {} has ended: {reason}", peer.shown());
                if let Some(fix) = fix {
                    let _ = write!(text, "; {fix}");
                }
                text
            }
            Self::LinkUp { cable, peer } => {
                format!("frames get through cable {cable} to {}, both ways", peer.shown())
            }
            Self::LinkDown { cable, peer, loss } => link_down(cable, peer.shown(), *loss),
            Self::NodeJoined { node } => {
                format!("node {} has joined: there is a way to it", node.shown())
            }
            Self::NodeLeft { node } => format!(
                "node {} has left: no way leads to it any more; vdecable nodes says why",
                node.shown()
            ),
            Self::EpochRaised { epoch } => format!(
                "other nodes remember a later run of this node than its disk does, and it goes on \
                 as run {epoch}; if its state directory was put back from a copy, that is all, \
                 else look for a second node with the same state"
            ),
            Self::NickChanged { nick, keeper } => format!(
                "node {} drew the same short name and keeps it; this node is {nick} on the wire \
                 from now on, and nothing needs to be done",
                keeper.shown()
            ),
            Self::NickClash { nick, keeper, loser } => format!(
                "nodes {} and {} have the same short name {nick}, and no frame finds {1} until it \
                 draws a new one; if it does not within a minute, start it again",
                keeper.shown(),
                loser.shown()
            ),
            Self::RecordRefused { cable, origin, reason } => format!(
                "a record of node {} that came by cable {cable} was not taken: {reason}",
                origin.shown()
            ),
            Self::KeyCloned { node } => cloned(node),
            Self::DuplicateStation { vlan, mac, owner } => format!(
                "{} speaks here and at node {} in turn, and frames for it go to {1} for half an \
                 hour; give one of the two stations another address, or look for a loop",
                station(mac, *vlan),
                owner.shown()
            ),
            Self::StickyStation { vlan, mac, owner } => format!(
                "{} speaks here, but its address is fixed at node {}, and frames for it go there; \
                 give the station here another address",
                station(mac, *vlan),
                owner.shown()
            ),
            Self::LoopFound { port, other, other_port, blocked_here } => {
                let (port, other) = (port.shown(), other.shown());
                let other_port = match other_port.as_str() {
                    "" => "a port".to_owned(),
                    words => format!("the port {words:?}"),
                };
                let blocked = if *blocked_here {
                    format!("{port} is blocked")
                } else {
                    format!("node {other} blocks its port")
                };
                format!(
                    "loop: {port} here and {other_port} of node {other} are joined outside of the \
                     mesh; {blocked} until they are taken apart"
                )
            }
            Self::GatewayServes { node } => format!("node {} is the gateway", node.shown()),
            Self::GatewayGone { node } => format!(
                "node {} is the gateway no more, or no way leads to it; machines keep their \
                 addresses until their leases end",
                node.shown()
            ),
            Self::GatewayRefused { node, by } => format!(
                "node {0} is not the gateway, because node {1} is and was first; {0} stands by, and \
                 takes over when {1} has been out of reach for half a minute; if that is not meant, \
                 start one of them without --gateway",
                node.shown(),
                by.shown()
            ),
            Self::Guarded { port, offence, mac } => guarded("", port, *offence, mac),
            Self::LoopCleared { port } => {
                format!("the loop at {} is gone, and nothing blocks it any more", port.shown())
            }
            Self::NoticeRaised { from, notice } => {
                format!("node {} says: {}", from.shown(), noticed(notice))
            }
            Self::NoticeCleared { from, notice } => {
                format!("node {} says that this has passed: {}", from.shown(), noticed(notice))
            }
        }
    }
}

/// What to do about a cable that is connected and lets nothing through.
pub const SILENT_CABLE_FIX: &str = "look at the path between the two hosts";

fn link_down(cable: &str, peer: &str, loss: LinkLoss) -> String {
    match loss {
        LinkLoss::Closed => {
            format!("frames take cable {cable} to {peer} no more: its connection has ended")
        }
        LinkLoss::Inbound => format!(
            "cable {cable} is silent: nothing comes from {peer}, and frames take other ways until \
             it does; {SILENT_CABLE_FIX}"
        ),
        LinkLoss::Outbound => format!(
            "cable {cable} is silent: {peer} hears nothing from here, and frames take other ways \
             until it does; {SILENT_CABLE_FIX}"
        ),
    }
}

/// An event as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When, by the clock of the node's host: RFC 3339 in UTC, to the millisecond.
    pub at: String,
    /// How much it concerns an operator.
    pub level: Level,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// The same in words: what happened, where, what to do.
    pub text: String,
}

impl Told {
    /// An event of that moment.
    pub fn new(at: SystemTime, event: Event) -> Self {
        Self { at: in_utc(at), level: event.level(), text: event.sentence(), event }
    }
}

/// RFC 3339, in UTC, to the millisecond.
fn in_utc(at: SystemTime) -> String {
    let at = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{at:.3}")
}

/// A moment as [`Told::at`] has it, in the time zone of whoever reads it.
pub(crate) fn in_local_time(at: &str) -> String {
    in_zone(at, TimeZone::system())
}

fn in_zone(at: &str, zone: TimeZone) -> String {
    at.parse::<Timestamp>().map_or_else(
        |_| at.to_owned(),
        |at| at.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string(),
    )
}

#[cfg(test)]
mod tests;
