//! The views that a node gives of itself. Times are seconds, round-trip times milliseconds, sizes
//! octets, rates and counters per their names; counters start at zero with the node or the port.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::gateway::GatewayStatus;
use crate::membership::OwnMembership;
use crate::wire::WireStatus;

/// The node as a whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Status {
    /// The node's name (`--name`).
    pub name: String,
    /// Its public key in text form.
    pub key: String,
    /// What it is in its mesh.
    #[serde(default)]
    pub mesh: Option<OwnMembership>,
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Time since start.
    pub uptime_seconds: f64,
    /// The directory with which VMs plug in.
    pub vde_socket: String,
    /// Where cables are awaited; none with `--no-listen`.
    pub listen: Option<String>,
    /// Bridge ports by kind.
    pub ports: BTreeMap<String, usize>,
    /// MAC addresses known.
    pub macs: usize,
    /// Keys trusted.
    pub trusted: Vec<TrustedKey>,
    /// Every cable.
    pub cables: Vec<CableStatus>,
    /// Handshakes that failed for want of trust, newest first.
    pub refused: Vec<RefusedKey>,
    /// What became of those who knocked and had no cable.
    #[serde(default)]
    pub strangers: Strangers,
    /// Local sockets closed before they became a port, by reason.
    pub refused_plugs: BTreeMap<String, u64>,
    /// What an operator should know and can change.
    pub warnings: Vec<String>,
    /// The way out of the mesh, when it is this node.
    #[serde(default)]
    pub gateway: Option<Box<GatewayStatus>>,
    /// Links that are worse than they are.
    #[serde(default)]
    pub wires: Vec<WireStatus>,
}

/// A key of the trust list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedKey {
    /// Text form.
    pub key: String,
    /// The name given with `trust`.
    pub name: Option<String>,
}

/// A key with which a handshake failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefusedKey {
    /// The key that was not trusted.
    pub key: String,
    /// Who refused it.
    pub by: RefusedBy,
    /// The peer's address.
    pub address: String,
    /// How often.
    pub count: u64,
    /// Time since the last attempt.
    pub age_seconds: f64,
}

/// Those who sent packets to the cables' port and had no cable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Strangers {
    /// Handshakes begun with them.
    pub accepted: u64,
    /// Packets answered by a Retry: prove your address first.
    pub retried: u64,
    /// Packets left without an answer, by reason.
    pub ignored: BTreeMap<String, u64>,
    /// Handshakes begun that failed, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Handshakes under way.
    pub under_way: usize,
    /// How often QUIC's own code failed and its endpoint was started anew.
    pub faults: u64,
}

/// Which end of a failed handshake did not trust the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusedBy {
    /// This node does not trust the peer's key.
    Us,
    /// The peer does not trust this node's key.
    Peer,
}

/// What a cable is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CableState {
    /// Frames flow.
    Up,
    /// A handshake is under way.
    Connecting,
    /// Down; this node dials again at the time given.
    Retrying,
    /// Down; the other end opened it and must dial again.
    AwaitingPeer,
    /// Not needed: the same two nodes are linked by the cable that the other end opened.
    Standby,
}

/// One cable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CableStatus {
    /// Short name for `disconnect`. Of a cable that is kept it stays the same; one that a peer dials
    /// gets another at each start of this node.
    pub id: String,
    /// State.
    pub state: CableState,
    /// Why it is in that state, when it is not up.
    pub reason: Option<String>,
    /// What to do about that reason, when something can be done.
    pub fix: Option<String>,
    /// Whether one of the two ends does not let the other in, which only people change.
    #[serde(default)]
    pub refused: bool,
    /// Time until the next attempt.
    pub retry_in_seconds: Option<f64>,
    /// Whether this node dials (and keeps) it, as `connect` asks.
    pub dialled_here: bool,
    /// As given to `connect`, or where the peer dialled from.
    pub address: String,
    /// The address in use.
    pub remote: Option<String>,
    /// The peer's name.
    pub peer: Option<String>,
    /// The peer's key.
    pub key: Option<String>,
    /// Time since it came up.
    pub up_seconds: Option<f64>,
    /// Smoothed round-trip time of the path.
    pub rtt_ms: Option<f64>,
    /// Share of packets lost on the way out since it came up, 0 to 1.
    pub loss: Option<f64>,
    /// Datagrams from the peer that never arrived, since it came up.
    #[serde(default)]
    pub rx_lost_datagrams: Option<u64>,
    /// Frames from the peer of which a piece was lost or malformed, since it came up.
    #[serde(default)]
    pub rx_broken_frames: Option<u64>,
    /// UDP payload that the path carries.
    pub path_mtu: Option<u16>,
    /// Congestion profile in force: `open` or `measured`.
    pub profile: Option<String>,
    /// The bridge port.
    pub port: Option<u32>,
    /// How often it came up.
    pub times_up: u64,
}

/// One bridge port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PortStatus {
    /// Its number.
    pub port: u32,
    /// `vde`, `tap` or `cable`.
    pub kind: String,
    /// What the client called itself, the interface, or the peer.
    pub description: String,
    /// Whether it is kept out of the network, because somebody joined it to another port outside.
    #[serde(default)]
    pub blocked: bool,
    /// Whether it takes part in the network only later: its interface is down, or came up less than a
    /// second ago and loops are looked for first.
    #[serde(default)]
    pub listening: bool,
    /// Who plugged in: process id.
    pub pid: Option<u32>,
    /// Who plugged in: user id.
    pub uid: Option<u32>,
    /// The longest frame that it takes.
    pub max_frame: usize,
    /// Whether super-frames with a virtio-net header cross it whole.
    pub offload: bool,
    /// Frames received from it.
    pub rx_frames: u64,
    /// Octets received from it.
    pub rx_bytes: u64,
    /// Frames sent to it.
    pub tx_frames: u64,
    /// Octets sent to it.
    pub tx_bytes: u64,
    /// Frames lost at this port, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// A station that is known, wherever in the network it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MacEntry {
    /// The station.
    pub mac: String,
    /// Its VLAN; 0 is untagged.
    pub vlan: u16,
    /// The node that it is behind; none for a moment after that node has left.
    pub node: Option<String>,
    /// That node's key.
    pub key: Option<String>,
    /// Whether that is this node.
    pub here: bool,
    /// Its port, by its own node's number; none when that node does not answer.
    pub port: Option<u32>,
    /// That port's kind, when it is this node's.
    pub kind: Option<String>,
    /// That port's description, when it is this node's.
    pub description: Option<String>,
    /// Time since its last frame, to the second; none when its node does not answer.
    pub age_seconds: Option<f64>,
}
