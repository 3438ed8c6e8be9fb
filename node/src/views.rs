//! Readings of the data plane as answers of the control protocol. Runs on the control plane, where
//! it holds up no frame.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use control::network::{CableDetail, GatewayRole, Hop, NodeStatus, Ping, Trace};
use control::status::{CableState, CableStatus, MacEntry, PortStatus};
use control::{Answer, Failure};
use ether::MacAddr;
use fabric::DropCounters;
use mesh::authority::NodeKey;
use mesh::engine::{EchoError, EchoOutcome, NodeView};

use crate::membership;
use crate::readings::{
    CableReading, MacsReading, Nodes, NodesReading, PingReading, Place, PortReading, Reading,
    Target, TraceReading,
};

/// What each cable costs beside its round trip, in steps of [`STEPS_PER_MS`] (`mesh`'s
/// `PROTOCOL.md`, link state).
const HOP_COST: u32 = 2;

/// Steps of cost in a millisecond of round trip.
const STEPS_PER_MS: f64 = 10.0;

impl Reading {
    /// The answer that it stands for.
    ///
    /// # Errors
    /// The [`Failure`] to be shown instead.
    pub(crate) fn answer(self) -> Result<Answer, Failure> {
        Ok(match self {
            Self::Ready(answer) => answer,
            Self::Ports(ports) => Answer::Ports { ports: ports.into_iter().map(port).collect() },
            Self::Macs(reading) => Answer::Macs { macs: macs(&reading)? },
            Self::Nodes(reading) => Answer::Nodes { nodes: nodes(&reading) },
            Self::Cables(cables) => {
                Answer::Cables { cables: cables.into_iter().map(cable).collect() }
            }
            Self::Trace(reading) => Answer::Trace { traces: traces(&reading)? },
            Self::Ping(reading) => Answer::Ping(ping(&reading)?),
        })
    }
}

fn port(reading: PortReading) -> PortStatus {
    let counters = &reading.counters;
    PortStatus {
        port: reading.port.0,
        kind: reading.kind.to_owned(),
        description: reading.description,
        blocked: reading.blocked,
        listening: reading.listening,
        pid: reading.peer.and_then(|peer| peer.pid),
        uid: reading.peer.map(|peer| peer.uid),
        max_frame: reading.max_frame,
        offload: reading.offload,
        rx_frames: counters.rx_frames,
        rx_bytes: counters.rx_bytes,
        tx_frames: counters.tx_frames,
        tx_bytes: counters.tx_bytes,
        drops: drops(&counters.drops),
    }
}

fn drops(counters: &DropCounters) -> BTreeMap<String, u64> {
    let moved = counters.iter().filter(|(_, count)| *count > 0);
    moved.map(|(reason, count)| (reason.as_str().to_owned(), count)).collect()
}

fn macs(reading: &MacsReading) -> Result<Vec<MacEntry>, Failure> {
    let nodes = &reading.nodes;
    let wanted: Option<Vec<NodeKey>> = match &reading.node {
        Some(which) => Some(vec![one(nodes, which, "no stations are shown")?.key]),
        None => None,
    };
    let is_wanted = |vlan: u16, node: Option<&NodeView>| {
        reading.vlan.is_none_or(|wanted| wanted == vlan)
            && wanted.as_ref().is_none_or(|keys| node.is_some_and(|node| keys.contains(&node.key)))
    };
    let by_nick: BTreeMap<u32, &NodeView> =
        nodes.known.iter().map(|node| (node.nick.get(), node)).collect();
    let ports: BTreeMap<_, _> = reading.ports.iter().map(|port| (port.port, port)).collect();
    let own = nodes.known.iter().find(|node| node.is_own);

    let here = reading.snapshot.entries.iter().filter(|entry| is_wanted(entry.vlan.0, own));
    let here = here.map(|entry| {
        let port = ports.get(&entry.port);
        MacEntry {
            mac: entry.mac.to_string(),
            vlan: entry.vlan.0,
            node: own.map(|own| nodes.name(own)),
            key: own.map(|own| own.key.to_string()),
            here: true,
            port: Some(entry.port.0),
            kind: port.map(|port| port.kind.to_owned()),
            description: port.map(|port| port.description.clone()),
            age_seconds: Some(entry.age.as_secs_f64()),
        }
    });
    let remote = reading.snapshot.remotes.iter().filter_map(|entry| {
        let node = by_nick.get(&entry.owner.0).copied();
        let seen = node.and_then(|node| reading.seen.get(&(node.key, entry.vlan, entry.mac)));
        is_wanted(entry.vlan.0, node).then(|| MacEntry {
            mac: entry.mac.to_string(),
            vlan: entry.vlan.0,
            node: node.map(|node| nodes.name(node)),
            key: node.map(|node| node.key.to_string()),
            here: false,
            port: seen.map(|(port, _)| *port),
            kind: None,
            description: None,
            age_seconds: seen.map(|(_, age)| age.as_secs_f64()),
        })
    });
    let mut macs: Vec<_> = here.chain(remote).collect();
    // Text form has the order of the addresses.
    macs.sort_unstable_by(|a, b| (a.vlan, &a.mac).cmp(&(b.vlan, &b.mac)));
    Ok(macs)
}

/// The node of that name or key.
fn one<'a>(nodes: &'a Nodes, which: &str, what: &str) -> Result<&'a NodeView, Failure> {
    match nodes.find(which)[..] {
        [node] => Ok(node),
        [] => Err(Failure::new(
            what,
            format!("no node called {which} is known"),
            "vdecable nodes lists those that are; give a name, or a key",
        )),
        _ => Err(Failure::new(
            what,
            format!("several nodes are called {which}"),
            "give the key of the one that is meant; vdecable --json nodes has the keys",
        )),
    }
}

fn nodes(reading: &NodesReading) -> Vec<NodeStatus> {
    let nodes = &reading.nodes;
    let by_key = by_key(nodes);
    let mut views: Vec<_> = nodes
        .known
        .iter()
        .map(|node| {
            let route = node.route.filter(|_| !node.is_own);
            let next = route.and_then(|route| by_key.get(&route.next));
            let reachable = node.is_own || route.is_some();
            let hops = if node.is_own { Some(0) } else { route.map(|route| route.hops) };
            let cost = if node.is_own { Some(0) } else { route.map(|route| route.cost) };
            NodeStatus {
                name: nodes.name(node),
                key: node.key.to_string(),
                nick: Some(node.nick.to_string()),
                own: node.is_own,
                reachable,
                reason: (!reachable).then(|| why_unreachable(node, nodes, &reading.cables)),
                hops,
                rtt_ms: cost.zip(hops).map(|(cost, hops)| round_trip(cost, hops)),
                cost,
                next: next.map(|next| nodes.name(next)),
                cables: node.links.len(),
                stations: node.stations,
                gateway: node.gateway.as_ref().map(|claim| GatewayRole {
                    active: claim.is_active,
                    address: format!("{}/{}", Ipv4Addr::from(claim.ipv4), claim.prefix_len),
                }),
                news_age_seconds: Some(node.age.as_secs_f64()),
                member: membership::status_of(&reading.members, &node.key, reading.wall),
            }
        })
        .collect();
    views.extend(membership::absent(reading));
    views.sort_by(|a, b| {
        let order = |node: &NodeStatus| (!node.own, node.hops.unwrap_or(u16::MAX));
        order(a).cmp(&order(b)).then_with(|| (&a.name, &a.key).cmp(&(&b.name, &b.key)))
    });
    views
}

fn by_key(nodes: &Nodes) -> BTreeMap<NodeKey, &NodeView> {
    nodes.known.iter().map(|node| (node.key, node)).collect()
}

/// The round trip that a cost stands for, in milliseconds.
fn round_trip(cost: u32, hops: u16) -> f64 {
    f64::from(cost.saturating_sub(HOP_COST * u32::from(hops))) / STEPS_PER_MS
}

/// Why no way leads to a node, as far as this one can tell.
fn why_unreachable(node: &NodeView, nodes: &Nodes, cables: &[CableStatus]) -> String {
    let key = node.key.to_string();
    let mut own = cables.iter().filter(|cable| cable.key.as_deref() == Some(key.as_str()));
    if let Some(cable) = own.next() {
        return match (&cable.reason, cable.state) {
            (Some(reason), _) => format!("cable {} is down: {reason}", cable.id),
            (None, CableState::Up) => format!("nothing gets through cable {}", cable.id),
            (None, _) => format!("cable {} is not up yet", cable.id),
        };
    }
    let by_key = by_key(nodes);
    let peers: Vec<_> =
        node.links.iter().filter_map(|link| by_key.get(&link.peer).copied()).collect();
    if peers.is_empty() {
        return "it says that no cable of its works; it may have been shut down".to_owned();
    }
    let name = |peer: &&NodeView| nodes.name(peer);
    let (lost, left): (Vec<&NodeView>, _) = peers.iter().partition(|peer| peer.route.is_some());
    let mut names: Vec<_> = if lost.is_empty() { &left } else { &lost }.iter().map(name).collect();
    names.sort_unstable();
    names.dedup();
    let names = names.join(", ");
    if lost.is_empty() {
        format!("its cables lead to {names}, and no way leads there either")
    } else {
        format!("its cables lead to {names}, where nothing gets through them any more")
    }
}

fn cable(reading: CableReading) -> CableDetail {
    let CableReading { status, mesh, silent, counters } = reading;
    let counters = counters.unwrap_or_default();
    let in_use_for = mesh.as_ref().and_then(|mesh| mesh.up_for);
    CableDetail {
        cable: status,
        in_use: in_use_for.is_some(),
        in_use_seconds: in_use_for.map(|span| span.as_secs_f64()),
        silent_seconds: silent.map(|span| span.as_secs_f64()).filter(|_| mesh.is_some()),
        beat_rtt_ms: mesh.as_ref().and_then(|mesh| Some(mesh.round_trip?.as_secs_f64() * 1e3)),
        beat_loss: mesh.as_ref().map(|mesh| mesh.loss.into()),
        cost: mesh.as_ref().map(|mesh| mesh.cost).filter(|_| in_use_for.is_some()),
        rx_frames: counters.rx_frames,
        rx_bytes: counters.rx_bytes,
        tx_frames: counters.tx_frames,
        tx_bytes: counters.tx_bytes,
        drops: drops(&counters.drops),
    }
}

fn traces(reading: &TraceReading) -> Result<Vec<Trace>, Failure> {
    let what = "there is no way to show";
    match &reading.target {
        Target::Node(which) => drop(one(&reading.nodes, which, what)?),
        Target::Station(mac) if reading.places.is_empty() => {
            return Err(unknown_station(what, *mac));
        }
        Target::Station(_) => {}
    }
    // A station may be known in several VLANs; a way to one of them is worth showing.
    let traces = reading.places.iter().map(|place| trace(reading, place));
    let (found, failed): (Vec<_>, Vec<_>) = traces.partition(Result::is_ok);
    match failed.into_iter().next() {
        Some(failure) if found.is_empty() => failure.map(|trace| vec![trace]),
        _ => found.into_iter().collect(),
    }
}

fn unknown_station(what: &str, mac: MacAddr) -> Failure {
    Failure::new(
        what,
        format!("no station {mac} is known"),
        "it must have sent a frame within the ageing time, 300 s by default; let it ping \
         something, and see vdecable nodes for whether its node is in reach",
    )
}

fn ping(reading: &PingReading) -> Result<Ping, Failure> {
    let what = "nobody was asked for an answer";
    let Some((key, vlan)) = reading.place else {
        return Err(match &reading.target {
            Target::Station(mac) => unknown_station(what, *mac),
            Target::Node(which) => match one(&reading.nodes, which, what) {
                Err(failure) => failure,
                Ok(_) => Failure::new(what, format!("{which} has just come"), "ask again"),
            },
        });
    };
    let node = reading.nodes.known.iter().find(|node| node.key == key);
    let name = node.map(|node| reading.nodes.name(node)).unwrap_or_default();
    let (mut rtt_ms, mut cables, mut cables_back, mut lost) = (None, None, None, None);
    match reading.outcome {
        Ok(EchoOutcome::Answered { round_trip, there, back }) => {
            rtt_ms = Some(round_trip.as_secs_f64() * 1e3);
            (cables, cables_back) = (Some(there), Some(back));
        }
        Ok(EchoOutcome::Lost) => {
            lost = Some(format!("none came within {:.3} s", reading.wait.as_secs_f64()));
        }
        Err(EchoError::Unreachable) => {
            let why = node.map_or_else(
                || "it is not known any more".to_owned(),
                |node| why_unreachable(node, &reading.nodes, &reading.cables),
            );
            let what = format!("no way leads to node {name}");
            return Err(Failure::new(what, why, "vdecable cables and nodes show what is up"));
        }
        Err(err @ (EchoError::Length | EchoError::TooMany)) => {
            return Err(Failure::new(what, err, ""));
        }
    }
    let mac = match reading.target {
        Target::Station(mac) => Some(mac.to_string()),
        Target::Node(_) => None,
    };
    Ok(Ping {
        mac,
        vlan: vlan.map(|vlan| vlan.0),
        node: name,
        key: key.to_string(),
        octets: reading.octets,
        rtt_ms,
        cables,
        cables_back,
        lost,
    })
}

fn trace(reading: &TraceReading, place: &Place) -> Result<Trace, Failure> {
    let nodes = &reading.nodes;
    let by_key = by_key(nodes);
    let name = |key: &NodeKey| by_key.get(key).map(|node| nodes.name(node)).unwrap_or_default();
    if place.path.is_empty() {
        let why = by_key.get(&place.node).map_or_else(
            || "it is not known any more".to_owned(),
            |node| why_unreachable(node, nodes, &reading.cables),
        );
        let what = format!("no way leads to node {}", name(&place.node));
        return Err(Failure::new(what, why, "vdecable cables and vdecable nodes show what is up"));
    }
    let before = std::iter::once(None).chain(place.path.iter().map(Some));
    let hops = before.zip(&place.path).map(|(before, key)| {
        let costs = before.map(|before| costs_between(&by_key, before, key)).unwrap_or_default();
        let cost = costs.iter().copied().min();
        let via = match before {
            Some(before) if by_key.get(before).is_some_and(|node| node.is_own) => {
                reading.own_cables.get(key).cloned().unwrap_or_default()
            }
            _ => Vec::new(),
        };
        Hop {
            node: name(key),
            key: key.to_string(),
            via,
            cables: costs.len(),
            rtt_ms: cost.map(|cost| round_trip(cost, 1)),
            cost,
        }
    });
    let station = match reading.target {
        Target::Station(mac) => Some(mac.to_string()),
        Target::Node(_) => None,
    };
    Ok(Trace {
        mac: station,
        vlan: place.vlan.map(|vlan| vlan.0),
        node: name(&place.node),
        key: place.node.to_string(),
        port: place.port.as_ref().map(|port| port.port.0),
        description: place.port.as_ref().map(|port| port.description.clone()),
        hops: hops.collect(),
    })
}

/// The costs of the cables between two nodes. Which end of one belongs to which of the other is not
/// in a view, so both ends' are put in order; the higher of the two counts, as in the mesh.
fn costs_between(by_key: &BTreeMap<NodeKey, &NodeView>, a: &NodeKey, b: &NodeKey) -> Vec<u32> {
    let told = |by: &NodeKey, of: &NodeKey| {
        let links = by_key.get(by).map(|node| &node.links[..]).unwrap_or_default();
        let mut costs: Vec<_> =
            links.iter().filter(|link| link.peer == *of).map(|link| link.cost).collect();
        costs.sort_unstable();
        costs
    };
    told(a, b).into_iter().zip(told(b, a)).map(|(a, b)| a.max(b)).collect()
}

#[cfg(test)]
mod tests;
