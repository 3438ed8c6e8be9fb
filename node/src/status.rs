//! The node as a whole, as a view of the control protocol.

use std::collections::BTreeMap;
use std::time::Instant;

use cable::trust::Refuser;
use control::status::{CableState, CableStatus, RefusedBy, RefusedKey, Status, TrustedKey};
use fabric::PortId;

use crate::driver::{Shard, now};
use crate::port::Port;
use crate::{membership, wire};

/// The node as a whole.
pub(crate) fn node(shard: &Shard) -> Status {
    let now = now();
    let notices = shard.reporter.notices(shard);
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
    let mut warnings = shard.cables.warnings();
    let gateway = shard.role.gateway();
    warnings.extend(notices);
    warnings.extend(shard.role.obstacle());
    warnings.extend(shard.role.ignored(shard));
    warnings.extend(gateway.iter().flat_map(|gateway| gateway.warnings(shard)));
    Status {
        name: shard.name.clone(),
        key: shard.identity.public().to_string(),
        mesh: membership::own(shard),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_seconds: now.saturating_duration_since(shard.started).as_secs_f64(),
        vde_socket: shard.server.directory().display().to_string(),
        listen: shard.cables.local_addr().map(|address| address.to_string()),
        ports,
        macs: plane.segment.bridge.entries() + plane.segment.bridge.remote_entries(),
        trusted: trusted.map(|t| TrustedKey { key: t.key.to_string(), name: t.name }).collect(),
        cables: cables(shard, now),
        refused: refused.collect(),
        strangers: shard.cables.strangers(),
        refused_plugs: shard.refused_plugs.borrow().counts(),
        warnings,
        gateway: gateway.map(|gateway| Box::new(gateway.status())),
        wires: wire::view::wires(shard, now),
    }
}

/// The cables. One that is connected, but lets nothing through, is not as well as it seems.
fn cables(shard: &Shard, now: Instant) -> Vec<CableStatus> {
    let mut cables = shard.cables.statuses();
    for cable in &mut cables {
        let port = cable.port.map(PortId).filter(|_| cable.state == CableState::Up);
        if let Some(silent) = port.and_then(|port| shard.reporter.silent_for(port, now)) {
            let silent = control::render::duration(silent.as_secs_f64());
            cable.reason = Some(format!(
                "silent for {silent}: nothing gets through, and frames take other ways"
            ));
            cable.fix = Some(control::event::SILENT_CABLE_FIX.to_owned());
        }
    }
    cables
}

/// What its endpoints call themselves; usually there is one.
pub(crate) fn description_of(port: &Port) -> String {
    let words: Vec<_> = port.endpoints.iter().map(|e| e.description.as_str()).collect();
    words.join(" + ")
}
