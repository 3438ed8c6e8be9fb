//! Requests, answers and failures, and their JSON form.

mod right;

use serde::{Deserialize, Serialize};

use crate::event::Told;
use crate::gateway::{ForwardView, LeaseView};
use crate::membership::{AttemptStatus, InviteStatus, NewInvitation, TokenText};
use crate::network::{CableDetail, NodeStatus, Ping, Trace};
use crate::status::{MacEntry, PortStatus, Status};
use crate::wire::{WireChange, WireProfile, WireStatus, WireTarget};

pub use right::Right;

/// The version of the control protocol. A node refuses any other and says which it speaks.
pub const VERSION: u32 = 1;

/// How many of the latest events a node keeps, but for those of [`Level::Debug`], which anybody on
/// the network could cause until the others are forgotten.
///
/// [`Level::Debug`]: crate::event::Level::Debug
pub const MAX_PAST: usize = 100;

/// How long a ping may wait: less than a client waits for an answer.
pub const MAX_PING_WAIT_MS: u64 = 8_000;

fn ping_octets() -> usize {
    64
}

fn ping_wait_ms() -> u64 {
    1_000
}

/// What a client asks of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// This node's public key.
    Id,
    /// The node, its cables, and the keys that were refused.
    Status,
    /// Every bridge port with its counters.
    Ports,
    /// Every station known in the whole network, and where it is.
    Macs {
        /// Only those behind this node, by name or key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<String>,
        /// Only those in this VLAN; 0 is untagged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<u16>,
    },
    /// Every node known, and the way to it.
    Nodes,
    /// Every cable, and what the mesh makes of it.
    Cables,
    /// Where a node or a station is, and the way there.
    Trace {
        /// A MAC address, or the name or key of a node.
        target: String,
        /// Only in this VLAN, when the target is a station.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<u16>,
    },
    /// Measures the way to a node once, the way that frames go.
    Ping {
        /// The name or key of a node, or a MAC address, which stands for the node that it is behind.
        target: String,
        /// Only in this VLAN, when the target is a station.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<u16>,
        /// Octets to send and to get back.
        #[serde(default = "ping_octets")]
        octets: usize,
        /// How long to wait for the answer, at most [`MAX_PING_WAIT_MS`].
        #[serde(default = "ping_wait_ms")]
        wait_ms: u64,
    },
    /// What happens, as it happens. The connection carries nothing else from then on.
    Events {
        /// How many of the latest events come first; the node keeps [`MAX_PAST`].
        #[serde(default)]
        last: usize,
        /// Whether to go on after those, which is so unless it is said otherwise.
        #[serde(default = "yes")]
        follow: bool,
    },
    /// Accept cables from and to the holder of a key.
    Trust {
        /// Text form of the public key.
        key: String,
        /// What to call its holder in views; by default the name that it gives itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Stop accepting a key and cut its cables.
    Untrust {
        /// Text form of the public key, or the name given with `trust`.
        key: String,
    },
    /// Make a cable and keep it: it is redialled for ever and after every restart.
    Connect {
        /// The name or key of a member; or `HOST`, `HOST:PORT`, `[IPV6]:PORT`.
        address: String,
        /// Whether it is forgotten when this node ends.
        #[serde(default)]
        once: bool,
        /// Whether it is made although a cable that the member has dialled serves already.
        #[serde(default)]
        parallel: bool,
    },
    /// Invite another node into this one's mesh.
    Invite {
        /// What it will be called; by default as it calls itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// What it will be allowed to do: any of `switch`, `gateway`, `admin`.
        #[serde(default)]
        roles: Vec<String>,
        /// For how long the invitation can be used; by default for a day.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_seconds: Option<u64>,
        /// For how long the membership lasts; by default for ever.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lasts_seconds: Option<u64>,
    },
    /// Every invitation that is remembered, and who came to this node with one.
    Invites,
    /// Take an invitation back.
    Uninvite {
        /// As `invites` shows it.
        id: String,
    },
    /// Join the mesh of an invitation, and keep a cable to the node that lets this one in.
    Join {
        /// The line that `invite` gave.
        token: TokenText,
        /// What to be called there; by default the node's name, or its host's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Put a member out of the mesh.
    Revoke {
        /// Its name or key.
        member: String,
        /// Whether those go with it whom it let in, and whom they did.
        #[serde(default)]
        with_admitted: bool,
    },
    /// Leave the mesh: this node is alone in one of its own again, and its cables to members are pulled
    /// out.
    Leave {
        /// Also if it is the only administrator, and the others can let nobody in or out any more.
        #[serde(default)]
        force: bool,
    },
    /// Make a new key for this node, which takes effect at its next start.
    RotateKey,
    /// Pull a cable out and forget it.
    Disconnect {
        /// Cable id (`c1`), address as given to `connect`, peer name or peer key.
        cable: String,
    },
    /// Every address that the gateway's machines have, had, or have reserved.
    Leases,
    /// Keep an address for a machine.
    LeaseAdd {
        /// The address.
        address: String,
        /// The machine's MAC address.
        mac: String,
        /// Its name, whatever it calls itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Keep an address no more; of one that is not kept, forget the lease.
    LeaseRemove {
        /// The address.
        address: String,
    },
    /// The ports of the gateway's host that lead to machines.
    Forwards,
    /// Let a port of the gateway's host lead to a machine, now and after every restart.
    ForwardAdd {
        /// `tcp` or `udp`.
        protocol: String,
        /// `PORT`, or `ADDRESS:PORT` for one of the host's addresses.
        port: String,
        /// `MACHINE:PORT`, the machine by name or address.
        to: String,
    },
    /// Let it lead there no more.
    ForwardRemove {
        /// `tcp` or `udp`.
        protocol: String,
        /// The host's port.
        port: String,
    },
    /// Every wire: what is asked of it and what it achieved.
    Wires,
    /// Make a link worse, or better again, or show it when nothing is to be changed.
    Wire {
        /// Which one.
        target: WireTarget,
        /// How.
        #[serde(default)]
        change: WireChange,
    },
    /// The kinds of link that can be asked for by name.
    WireProfiles,
}

/// What a node answers when it did what was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Answer {
    /// Answer to [`Request::Id`].
    Id {
        /// The node's name.
        name: String,
        /// Its public key in text form.
        key: String,
    },
    /// Answer to [`Request::Status`].
    Status(Box<Status>),
    /// Answer to [`Request::Ports`].
    Ports {
        /// Every port, by number.
        ports: Vec<PortStatus>,
    },
    /// Answer to [`Request::Macs`].
    Macs {
        /// Those asked for, by VLAN and address.
        macs: Vec<MacEntry>,
    },
    /// Answer to [`Request::Leases`].
    Leases {
        /// By address.
        leases: Vec<LeaseView>,
    },
    /// Answer to [`Request::Forwards`].
    Forwards {
        /// By protocol and port.
        forwards: Vec<ForwardView>,
    },
    /// Answer to [`Request::Nodes`].
    Nodes {
        /// This node, then the others by distance and name; those out of reach are last.
        nodes: Vec<NodeStatus>,
    },
    /// Answer to [`Request::Cables`].
    Cables {
        /// Every cable, by id.
        cables: Vec<CableDetail>,
    },
    /// Answer to [`Request::Trace`].
    Trace {
        /// One for a node; for a station one for each VLAN in which it is known.
        traces: Vec<Trace>,
    },
    /// Answer to [`Request::Ping`], after the node's or when there was none.
    Ping(Ping),
    /// Answer to [`Request::Events`]: they follow.
    Events,
    /// A cable was made, or was there already, perhaps one that the member has dialled.
    Cable {
        /// Its id, for `disconnect`.
        cable: String,
        /// False when it was there before.
        created: bool,
    },
    /// Answer to [`Request::Invite`].
    Invitation(NewInvitation),
    /// Answer to [`Request::Invites`].
    Invites {
        /// Open ones first.
        invites: Vec<InviteStatus>,
        /// The latest first.
        attempts: Vec<AttemptStatus>,
    },
    /// Answer to [`Request::Join`].
    Joined {
        /// What this node is called now.
        name: String,
        /// Who let it in.
        by: String,
        /// The cable to that node.
        cable: String,
        /// Where it leads.
        address: String,
    },
    /// Answer to [`Request::Wires`], and to [`Request::Wire`] with that one.
    Wires {
        /// Ports by number, then cables, then pairs.
        wires: Vec<WireStatus>,
    },
    /// Answer to [`Request::WireProfiles`].
    WireProfiles {
        /// Every profile.
        profiles: Vec<WireProfile>,
    },
    /// Nothing to show but that it is done.
    Done {
        /// One sentence.
        message: String,
    },
}

/// Why a request was not carried out, for people: what failed, why, what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Failure {
    /// What failed.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do about it; empty when there is nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

impl Failure {
    /// A failure from its three parts.
    pub fn new(what: impl Into<String>, why: impl ToString, fix: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.to_string(), fix: fix.into() }
    }
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u32,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Ok(Answer),
    Error(Failure),
}

/// The line (without its newline) that carries a request.
pub fn encode_request(request: &Request) -> String {
    to_line(request)
}

/// The line (without its newline) that carries what came of a request.
pub fn encode_answer(outcome: Result<Answer, Failure>) -> String {
    to_line(match outcome {
        Ok(answer) => Outcome::Ok(answer),
        Err(failure) => Outcome::Error(failure),
    })
}

/// The line (without its newline) that carries an event.
pub fn encode_told(told: &Told) -> String {
    to_line(StreamLine::Event(told))
}

/// The line (without its newline) that says how many events a slow reader has missed.
pub fn encode_skipped(skipped: u64) -> String {
    to_line(StreamLine::<&Told>::Skipped(skipped))
}

/// A line of a stream of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamLine<E> {
    /// Something has happened.
    Event(E),
    /// So many events were not told, because this reader is too slow.
    Skipped(u64),
}

/// An event as a client reads it, which may be older than the node and not know its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// As [`Told::at`].
    pub at: String,
    /// As [`Told::level`].
    pub level: String,
    /// As [`Told::text`].
    pub text: String,
    /// Everything else.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, serde_json::Value>,
}

/// Reads a line of a stream of events.
///
/// # Errors
/// A [`Failure`] that says that it was none.
pub fn decode_stream_line(line: &[u8]) -> Result<StreamLine<Heard>, Failure> {
    let line: Versioned<StreamLine<Heard>> =
        serde_json::from_slice(line).map_err(not_understood)?;
    Ok(line.body)
}

fn not_understood(err: serde_json::Error) -> Failure {
    Failure::new(
        "the node's answer was not understood",
        err,
        "use the vdecable that came with the node",
    )
}

fn yes() -> bool {
    true
}

fn to_line(body: impl Serialize) -> String {
    serde_json::to_string(&Versioned { v: VERSION, body })
        .expect("plain data with string keys always has a JSON form")
}

/// Reads a request line.
///
/// # Errors
/// A [`Failure`] ready to be sent back: not JSON, another version, an unknown command or field.
pub fn decode_request(line: &[u8]) -> Result<Request, Failure> {
    let refused = |why: String| {
        Failure::new(
            "the request was not understood",
            why,
            "send one JSON object a line, for example {\"v\":1,\"command\":\"status\"}",
        )
    };
    let mut object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(line).map_err(|err| refused(err.to_string()))?;
    match object.remove("v") {
        Some(version) if version == VERSION => {}
        Some(other) => {
            return Err(Failure::new(
                "the request was not understood",
                format!("it is of version {other}; this node speaks version {VERSION}"),
                "use the vdecable that came with this node",
            ));
        }
        None => return Err(refused("it has no field \"v\"".into())),
    }
    // The version is taken out by hand: `flatten` and `deny_unknown_fields` do not go together.
    serde_json::from_value(object.into()).map_err(|err| refused(err.to_string()))
}

/// Reads an answer line.
///
/// # Errors
/// The node's own [`Failure`], or one that says that the line was not an answer.
pub fn decode_answer(line: &[u8]) -> Result<Answer, Failure> {
    let answer: Versioned<Outcome> = serde_json::from_slice(line).map_err(not_understood)?;
    match answer.body {
        Outcome::Ok(answer) => Ok(answer),
        Outcome::Error(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests;
