//! Wires: links that an operator makes worse than they are. Delays in milliseconds, rates in bits a
//! second, shares in percent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a wire is put on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum WireTarget {
    /// A port number, a cable id (`c1`), or a description of one of them, or part of it, that no
    /// other has.
    At(String),
    /// Frames from one station to another, where they leave this node.
    Pair {
        /// From this MAC address.
        source: String,
        /// To this one.
        destination: String,
    },
    /// All pairs; only to clear them.
    Pairs,
}

/// Directions of a wire. In is from the guest or the other node into this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WireSide {
    /// Into the node.
    In,
    /// Out of it.
    Out,
}

/// What is to be changed. What is not said stays as it is; but a timeline that is playing ends.
/// Parts are carried out in the order of the fields here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct WireChange {
    /// In one direction only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<WireSide>,
    /// As without a wire. What is under way is lost.
    #[serde(skip_serializing_if = "is_false")]
    pub clear: bool,
    /// All settings of a kind of link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Settings by name, such as `loss` and `delay`, with values as `1%` and `10ms+2ms`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// The text of a delivery trace of mahimahi's, in place of a rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The text of a timeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<String>,
    /// What all chance comes from; without one, it is itself left to chance and shown. What is
    /// under way is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Whether the beats of a cable pass by the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames_only: Option<bool>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// A wire.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WireStatus {
    /// What to call it in requests: a port number, a cable id, or two addresses with a blank between.
    pub target: String,
    /// `port`, `cable` or `pair`.
    pub kind: String,
    /// Who is there.
    pub description: String,
    /// The bridge port; none for a pair, and for a cable that is down.
    pub port: Option<u32>,
    /// The profile that was asked for last.
    pub profile: Option<String>,
    /// Whether a timeline is playing.
    pub timeline: bool,
    /// Whether beats pass by.
    pub frames_only: bool,
    /// What all chance comes from.
    pub seed: u64,
    /// In, then out; a pair has the one direction `to`.
    pub directions: Vec<WireDirection>,
}

/// One direction of a wire: what is asked of it, and what it did since that was last changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WireDirection {
    /// `in`, `out` or `to`.
    pub direction: String,
    /// Settings by name, in words that can be typed again; empty when nothing is asked.
    pub asked: BTreeMap<String, String>,
    /// What was done.
    pub achieved: WireAchieved,
}

/// What one direction of a wire did since its settings were last changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WireAchieved {
    /// For how long the settings have been what they are.
    pub seconds: f64,
    /// Frames that came, whatever became of them. A super-frame that goes whole counts once.
    pub received: u64,
    /// Frames that left.
    pub delivered: u64,
    /// Their octets.
    pub delivered_bytes: u64,
    /// Frames that were lost on purpose, of those that came.
    pub loss_percent: Option<f64>,
    /// Half of the frames took no longer from coming to leaving.
    pub delay_p50_ms: Option<f64>,
    /// 99 of 100 frames took no longer.
    pub delay_p99_ms: Option<f64>,
    /// The mean.
    pub delay_mean_ms: Option<f64>,
    /// How much the delays of neighbours differ (RFC 3550 6.4.1).
    pub jitter_ms: Option<f64>,
    /// Of the last second.
    pub rate_bps: f64,
    /// Of the second in which it was highest.
    pub peak_rate_bps: f64,
    /// Copies made of frames.
    pub copies: u64,
    /// Frames in which bits were flipped.
    pub damaged: u64,
    /// Frames that were overtaken.
    pub reordered: u64,
    /// Frames under way.
    pub waiting_frames: u64,
    /// Their octets.
    pub waiting_bytes: u64,
    /// Frames dropped, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// A kind of link that can be asked for by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireProfile {
    /// Its name.
    pub name: String,
    /// What kind of link.
    pub about: String,
    /// Settings of the way into the node.
    pub inward: BTreeMap<String, String>,
    /// Settings of the way out of it.
    pub outward: BTreeMap<String, String>,
}
