//! The network's nodes, cables, ways and events as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::membership::span;
use super::{Table, bytes, counts, duration, or_dash, state};
use crate::event::in_local_time;
use crate::message::Heard;
use crate::network::{CableDetail, NodeStatus, Ping, PingSummary, Trace};
use crate::status::CableState;

/// The answer to `vdecable nodes`.
pub fn nodes(nodes: &[NodeStatus]) -> String {
    let mut called = BTreeMap::<&str, usize>::new();
    for node in nodes {
        *called.entry(&node.name).or_default() += 1;
    }
    let mut table =
        Table::new(&["NODE", "ROLE", "HOPS", "RTT", "NEXT", "CABLES", "STATIONS", "NEWS", ""]);
    for node in nodes {
        let key = node.key.get(..8).unwrap_or(&node.key);
        table.row([
            match called.get(node.name.as_str()) {
                Some(1) if !node.name.is_empty() => node.name.clone(),
                _ => format!("{} ({key})", node.name),
            },
            or_dash(node.member.as_ref().map(|member| member.roles.join(", "))),
            or_dash(node.hops.map(|hops| hops.to_string())),
            or_dash(node.rtt_ms.filter(|_| !node.own).map(tenths)),
            or_dash(node.next.clone()),
            node.cables.to_string(),
            node.stations.to_string(),
            or_dash(node.news_age_seconds.map(|seconds| format!("{} ago", duration(seconds)))),
            remarks(node),
        ]);
    }
    table.finish()
}

fn remarks(node: &NodeStatus) -> String {
    let place = match (&node.reason, node.own) {
        (_, true) => Some("this node".to_owned()),
        (Some(reason), false) => Some(format!("unreachable: {reason}")),
        (None, false) => None,
    };
    let role = node.gateway.as_ref().filter(|_| node.reachable).map(|role| match role.active {
        true => format!("gateway {}", role.address),
        false => "stands by as gateway".to_owned(),
    });
    let end = node.member.as_ref().and_then(|member| {
        match (member.state.as_str(), member.expires_in_seconds) {
            ("member", Some(seconds)) => Some(format!("membership ends in {}", span(seconds))),
            ("expired", _) => Some("its membership has ended".to_owned()),
            ("revoked", _) => Some("it was revoked".to_owned()),
            _ => None,
        }
    });
    place.into_iter().chain(role).chain(end).collect::<Vec<_>>().join(", ")
}

/// The answer to `vdecable cables`: a table, and below it what is to be said of those that are down.
pub fn cable_table(cables: &[CableDetail]) -> String {
    if cables.is_empty() {
        return super::cables(&[]);
    }
    let mut table = Table::new(&[
        "CABLE", "STATE", "PEER", "ADDRESS", "RTT", "LOSS", "MTU", "RX", "TX", "DROPS", "FRAMES",
    ]);
    let mut below = String::new();
    for detail in cables {
        let cable = &detail.cable;
        table.row([
            cable.id.clone(),
            state(cable.state).to_owned(),
            or_dash(cable.peer.clone()),
            cable.address.clone(),
            or_dash(cable.rtt_ms.map(|rtt| format!("{rtt:.2} ms"))),
            or_dash(cable.loss.map(|loss| format!("{:.2} %", loss * 100.0))),
            or_dash(cable.path_mtu.map(|mtu| mtu.to_string())),
            bytes(detail.rx_bytes),
            bytes(detail.tx_bytes),
            if detail.drops.is_empty() { "-".to_owned() } else { counts(&detail.drops) },
            usage(detail),
        ]);
        if let Some(reason) = &cable.reason {
            let _ = write!(below, "{}: {reason}", cable.id);
            if let Some(seconds) = cable.retry_in_seconds {
                let _ = write!(below, "; next try in {seconds:.1} s");
            }
            below.push('\n');
        }
        if let Some(fix) = &cable.fix {
            let _ = writeln!(below, "    → {fix}");
        }
    }
    let gap = if below.is_empty() { "" } else { "\n" };
    format!("{}{gap}{below}", table.finish())
}

/// Whether frames take a cable.
fn usage(detail: &CableDetail) -> String {
    match (detail.in_use_seconds, detail.silent_seconds) {
        (Some(seconds), _) => format!("flow for {}", duration(seconds)),
        (None, Some(seconds)) => format!("none: silent for {}", duration(seconds)),
        (None, None) if detail.cable.state == CableState::Up => "none: on trial".to_owned(),
        (None, None) => "-".to_owned(),
    }
}

/// The answer to `vdecable trace`.
pub fn traces(traces: &[Trace]) -> String {
    let mut out = String::new();
    for trace in traces {
        if let Some(mac) = &trace.mac {
            let _ = write!(out, "{mac}");
            if let Some(vlan) = trace.vlan.filter(|&vlan| vlan != 0) {
                let _ = write!(out, " in VLAN {vlan}");
            }
            let _ = write!(out, " is behind node {}", trace.node);
            match (trace.port, trace.description.as_deref().filter(|words| !words.is_empty())) {
                (Some(port), Some(words)) => {
                    let _ = writeln!(out, ", port {port} ({words})");
                }
                (Some(port), None) => {
                    let _ = writeln!(out, ", port {port}");
                }
                (None, _) => {
                    let _ = writeln!(out, "; at which port, vdecable macs says on that host");
                }
            }
        }
        let mut table = Table::new(&["HOP", "NODE", "RTT", "BY"]);
        for (index, hop) in trace.hops.iter().enumerate() {
            table.row([
                index.to_string(),
                hop.node.clone(),
                or_dash(hop.rtt_ms.map(tenths)),
                match (&hop.via[..], hop.cables) {
                    ([], 0) => "this node".to_owned(),
                    ([], 1) => "1 cable".to_owned(),
                    ([], cables) => format!("{cables} cables"),
                    ([id], _) => format!("cable {id}"),
                    (ids, _) => format!("cables {}", ids.join(", ")),
                },
            ]);
        }
        out.push_str(&table.finish());
    }
    out
}

/// One line of `vdecable ping`; `number` counts from 1.
pub fn ping(number: usize, ping: &Ping) -> String {
    let node = &ping.node;
    let mut out = String::new();
    if let (1, Some(mac)) = (number, &ping.mac) {
        let _ = writeln!(out, "{mac} is behind node {node}, which is asked in its place");
    }
    match (ping.rtt_ms, &ping.lost) {
        (Some(rtt), _) => {
            let (there, back) = (ping.cables.unwrap_or(0), ping.cables_back.unwrap_or(0));
            let way = match there {
                0 => "this node itself".to_owned(),
                1 => "1 cable".to_owned(),
                cables => format!("{cables} cables"),
            };
            let return_way =
                if back == there { String::new() } else { format!(" there and {back} back") };
            let octets = ping.octets;
            let _ = writeln!(
                out,
                "answer {number} from {node}: {octets} octets, {way}{return_way}, {rtt:.3} ms"
            );
        }
        (None, lost) => {
            let why = lost.as_deref().unwrap_or("no answer");
            let _ = writeln!(out, "no answer {number} from {node}: {why}");
        }
    }
    out
}

/// The last lines of `vdecable ping`.
pub fn ping_summary(summary: &PingSummary) -> String {
    let PingSummary { node, sent, answered, .. } = summary;
    let mut out =
        format!("{node}: {sent} sent, {answered} answered, {:.1} % lost\n", summary.loss * 100.0);
    if let (Some(min), Some(avg), Some(max)) = (summary.min_ms, summary.avg_ms, summary.max_ms) {
        let _ = writeln!(out, "round trip {min:.3} / {avg:.3} / {max:.3} ms (min / avg / max)");
    }
    out
}

/// One line of `vdecable events`.
pub fn event(heard: &Heard) -> String {
    let at = in_local_time(&heard.at);
    let level = match heard.level.as_str() {
        "warning" => "warning: ",
        _ => "",
    };
    format!("{at}  {level}{}\n", heard.text)
}

/// The line for events that this reader was too slow for.
pub fn skipped(count: u64) -> String {
    format!("({count} events are missing here: they came faster than they were read)\n")
}

/// A round trip as nodes advertise it.
fn tenths(milliseconds: f64) -> String {
    if milliseconds < 0.1 { "< 0.1 ms".to_owned() } else { format!("{milliseconds:.1} ms") }
}
