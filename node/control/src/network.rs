//! The views that a node gives of the whole network: its nodes, its cables, and the way to a node or
//! to a station. Units are as in [`crate::status`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::membership::MemberStatus;
use crate::status::CableStatus;

/// One node, as this one sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The name given with `trust`, else the one that it gives itself.
    pub name: String,
    /// Its public key in text form.
    pub key: String,
    /// Its short name in frames, in hexadecimal; new at each of its starts. None of a member that is
    /// not there.
    pub nick: Option<String>,
    /// Whether it is this node.
    pub own: bool,
    /// Whether there is a way to it.
    pub reachable: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Cables on the way; 0 to this node itself.
    pub hops: Option<u16>,
    /// Round trip: the sum of those of the cables on the way, as nodes advertise them, to 0.1 ms.
    pub rtt_ms: Option<f64>,
    /// What the way costs: 1 for each 0.1 ms of round trip, and 2 for each cable.
    pub cost: Option<u32>,
    /// The node that is next on the way.
    pub next: Option<String>,
    /// Cables that it says get frames through.
    pub cables: usize,
    /// Stations that it says are behind its ports.
    pub stations: usize,
    /// What it has of the gateway's role: its address when it is the gateway.
    #[serde(default)]
    pub gateway: Option<GatewayRole>,
    /// Time since it last told something new about its cables; none of a member that is not there.
    pub news_age_seconds: Option<f64>,
    /// What the mesh's roster says of it; none of a node whose key was trusted by hand.
    #[serde(default)]
    pub member: Option<MemberStatus>,
}

/// What a node has of the gateway's role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayRole {
    /// Whether it serves; otherwise it stands by.
    pub active: bool,
    /// Its address and the length of its subnet's prefix.
    pub address: String,
}

/// A cable, and what the mesh makes of it. All fields of [`CableStatus`] are beside these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CableDetail {
    /// The cable itself.
    #[serde(flatten)]
    pub cable: CableStatus,
    /// Whether frames take it: it is connected, and beats get through both ways.
    pub in_use: bool,
    /// For how long.
    pub in_use_seconds: Option<f64>,
    /// For how long it has been connected, but silent.
    pub silent_seconds: Option<f64>,
    /// Smoothed round trip of its beats.
    pub beat_rtt_ms: Option<f64>,
    /// Share of the other end's beats that do not arrive, 0 to 1.
    pub beat_loss: Option<f64>,
    /// What this end says it costs; see [`NodeStatus::cost`].
    pub cost: Option<u32>,
    /// Frames received by it.
    pub rx_frames: u64,
    /// Their octets.
    pub rx_bytes: u64,
    /// Frames sent by it.
    pub tx_frames: u64,
    /// Their octets.
    pub tx_bytes: u64,
    /// Frames lost at its port, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// Where a node or a station is, and the way there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The station, when the trace is for one.
    pub mac: Option<String>,
    /// Its VLAN; 0 is untagged.
    pub vlan: Option<u16>,
    /// The node, or the one that the station is behind.
    pub node: String,
    /// That node's key.
    pub key: String,
    /// The station's port, which only its own node knows.
    pub port: Option<u32>,
    /// What is plugged in at that port, in its own words.
    pub description: Option<String>,
    /// The nodes on the way, this one first.
    pub hops: Vec<Hop>,
}

/// A node on a way, and the cable that leads to it from the one before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hop {
    /// The node.
    pub node: String,
    /// Its key.
    pub key: String,
    /// Ids of the cables that lead there, when they are this node's own; each conversation keeps to
    /// one of them.
    pub via: Vec<String>,
    /// How many cables lead there side by side; 0 at this node itself.
    pub cables: usize,
    /// Round trip of the best of them, as their ends advertise it, to 0.1 ms.
    pub rtt_ms: Option<f64>,
    /// What it costs; see [`NodeStatus::cost`].
    pub cost: Option<u32>,
}

/// What came of one echo request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ping {
    /// The station, when one was named. It is not asked itself.
    pub mac: Option<String>,
    /// Its VLAN; 0 is untagged.
    pub vlan: Option<u16>,
    /// The node that was asked: the one named, or the one that the station is behind.
    pub node: String,
    /// That node's key.
    pub key: String,
    /// Octets sent, and wanted back.
    pub octets: usize,
    /// Time from the request to its answer, queues and nodes on the way included; none when no
    /// answer came.
    pub rtt_ms: Option<f64>,
    /// Cables that the request crossed.
    pub cables: Option<u8>,
    /// Cables that the answer crossed.
    pub cables_back: Option<u8>,
    /// Why there is no answer.
    pub lost: Option<String>,
}

/// What came of several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PingSummary {
    /// The node that was asked.
    pub node: String,
    /// That node's key.
    pub key: String,
    /// Requests sent.
    pub sent: usize,
    /// Answers received.
    pub answered: usize,
    /// Share of requests without an answer, 0 to 1.
    pub loss: f64,
    /// Shortest round trip.
    pub min_ms: Option<f64>,
    /// Mean of the round trips.
    pub avg_ms: Option<f64>,
    /// Longest round trip.
    pub max_ms: Option<f64>,
    /// Each of them, in order.
    pub echoes: Vec<Ping>,
}

impl PingSummary {
    /// Counts; `None` of no echoes.
    #[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^53 echoes")]
    pub fn of(echoes: Vec<Ping>) -> Option<Self> {
        let last = echoes.last()?;
        let times: Vec<f64> = echoes.iter().filter_map(|echo| echo.rtt_ms).collect();
        let (sent, answered) = (echoes.len(), times.len());
        let mean = times.iter().sum::<f64>() / answered as f64;
        Some(Self {
            node: last.node.clone(),
            key: last.key.clone(),
            sent,
            answered,
            loss: (sent - answered) as f64 / sent as f64,
            min_ms: times.iter().copied().min_by(f64::total_cmp),
            avg_ms: (answered > 0).then_some(mean),
            max_ms: times.iter().copied().max_by(f64::total_cmp),
            echoes,
        })
    }
}
