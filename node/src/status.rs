//! Snapshots of the data plane as the views of the control protocol.

use std::collections::BTreeMap;
use std::time::Duration;

use cable::trust::Refuser;
use control::status::{MacEntry, PortStatus, RefusedBy, RefusedKey, Status, TrustedKey};
use fabric::PortId;

use crate::driver::{Shard, now};
use crate::port::{Endpoint, Port};
use crate::wire;

/// The node as a whole.
pub(crate) fn node(shard: &Shard) -> Status {
    let now = now();
    let plane = shard.plane.borrow();
    let mut ports = BTreeMap::new();
    for (_, port) in plane.ports() {
        for endpoint in &port.endpoints {
            *ports.entry(endpoint.io.kind().to_owned()).or_default() += 1;
        }
    }
    let refused = shard.trust.refusals().into_iter().map(|refusal| RefusedKey {
        key: refusal.key.to_string(),
        by: match refusal.by {
            Refuser::Us => RefusedBy::Us,
            Refuser::Peer => RefusedBy::Peer,
        },
        address: refusal.address.to_string(),
        count: refusal.count,
        age_seconds: now.saturating_duration_since(refusal.last).as_secs_f64(),
    });
    let trusted = shard.trust.list().into_iter();
    Status {
        name: shard.name.clone(),
        key: shard.identity.public().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_seconds: now.saturating_duration_since(shard.started).as_secs_f64(),
        vde_socket: shard.server.directory().display().to_string(),
        listen: shard.cables.local_addr().map(|address| address.to_string()),
        ports,
        macs: plane.bridge.entries() + plane.bridge.remote_entries(),
        trusted: trusted.map(|t| TrustedKey { key: t.key.to_string(), name: t.name }).collect(),
        cables: shard.cables.statuses(),
        refused: refused.collect(),
        refused_plugs: shard.refused_plugs.borrow().counts(),
        warnings: shard.cables.warnings(),
        wires: wire::view::wires(shard, now),
    }
}

/// Every port.
pub(crate) fn ports(shard: &Shard) -> Vec<PortStatus> {
    shard.plane.borrow().ports().map(|(id, port)| port_view(id, port)).collect()
}

fn port_view(id: PortId, port: &Port) -> PortStatus {
    let peer = port.endpoints.first().and_then(|endpoint| endpoint.peer);
    let counters = &port.counters;
    let drops = counters.drops.iter().filter(|(_, count)| *count > 0);
    PortStatus {
        port: id.0,
        kind: kind_of(port),
        description: description_of(port),
        pid: peer.and_then(|peer| peer.pid),
        uid: peer.map(|peer| peer.uid),
        max_frame: port.endpoints.iter().map(|e| e.max_frame).min().unwrap_or(0),
        offload: port.endpoints.iter().all(Endpoint::has_offload),
        rx_frames: counters.rx_frames,
        rx_bytes: counters.rx_bytes,
        tx_frames: counters.tx_frames,
        tx_bytes: counters.tx_bytes,
        drops: drops.map(|(reason, count)| (reason.as_str().to_owned(), count)).collect(),
    }
}

fn kind_of(port: &Port) -> String {
    port.endpoints.first().map(|endpoint| endpoint.io.kind().to_owned()).unwrap_or_default()
}

/// What its endpoints call themselves; usually there is one.
fn description_of(port: &Port) -> String {
    let words: Vec<_> = port.endpoints.iter().map(|e| e.description.as_str()).collect();
    words.join(" + ")
}

/// The filtering database.
pub(crate) fn macs(shard: &Shard) -> Vec<MacEntry> {
    let plane = shard.plane.borrow();
    let snapshot = plane.bridge.snapshot(now());
    let here = snapshot.entries.into_iter();
    let here = here.map(|entry| (entry.vlan, entry.mac, entry.port, entry.age));
    let remote = snapshot.remotes.into_iter();
    let remote = remote.map(|entry| (entry.vlan, entry.mac, PortId(entry.owner.0), Duration::ZERO));
    let mut entries: Vec<_> = here.chain(remote).collect();
    entries.sort_unstable();
    let entries = entries.into_iter().map(|(vlan, mac, id, age)| {
        let port = plane.port(id);
        MacEntry {
            mac: mac.to_string(),
            vlan: vlan.0,
            port: id.0,
            kind: port.map(kind_of).unwrap_or_default(),
            description: port.map(description_of).unwrap_or_default(),
            age_seconds: age.as_secs_f64(),
        }
    });
    entries.collect()
}
