//! Whether a machine has the gateway's address before the gateway takes it (RFC 5227 2.1).
//!
//! Probes go out by the gateway's port as soon as that forwards, a fifth of a second apart, which is
//! twice a slow wide-area cable: the RFC's seconds are for networks of which nobody knows how slow they
//! are. Nobody is asked by a node that served a moment ago, because the guards of all nodes keep its
//! address for it; nor by one that is alone.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use ::gateway::dhcp::Source;
use ether::MacAddr;
use fabric::PortId;
use mesh::Nick;

use super::port::Inbox;
use super::{Gateway, send_from};
use crate::config::GatewayConfig;
use crate::driver::{Shard, now, wall_clock};
use crate::readings;

const PROBES: usize = 3;
const BETWEEN: Duration = Duration::from_millis(200);

/// How often is looked whether a port that listens for loops forwards, and for how long at most.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: usize = 60;

/// How long ago a node may have served, by its own word every half minute, to need no probes: guards
/// hold for a minute.
const MOMENT: Duration = Duration::from_secs(45);

/// A machine has the gateway's address.
#[derive(Debug, thiserror::Error)]
#[error(
    "a machine has the gateway's address {address} already: {station}, {place}; give it another address, or another one to --gateway"
)]
pub(super) struct AddressTaken {
    address: Ipv4Addr,
    station: MacAddr,
    place: String,
}

/// Takes note that this node serves now.
pub(super) fn note_service(state: &Path) {
    if let Err(err) = std::fs::write(stamp(state), "served when this was written\n") {
        tracing::debug!(%err, "the next start will ask whether the gateway's address is free");
    }
}

fn stamp(state: &Path) -> std::path::PathBuf {
    state.join("gateway-served")
}

fn has_just_served(state: &Path) -> bool {
    let written = std::fs::metadata(stamp(state)).and_then(|stamp| stamp.modified());
    let age = written.ok().and_then(|written| wall_clock().duration_since(written).ok());
    age.is_some_and(|age| age < MOMENT)
}

/// Whether there are other nodes as far as this one knows: it has a cable, up or not.
pub(super) fn may_hear_others(shard: &Shard) -> bool {
    !shard.cables.statuses().is_empty()
}

/// Asks everybody whether the gateway's address is free.
///
/// # Errors
/// Who has it.
pub(super) async fn check(
    shard: &Shard,
    config: &GatewayConfig,
    (port, mac): (PortId, MacAddr),
    inbox: &Inbox,
) -> Result<(), AddressTaken> {
    let is_alone =
        !may_hear_others(shard) && shard.plane.borrow().ports().all(|(other, _)| other == port);
    if is_alone || config.guards && has_just_served(&config.state) {
        return Ok(());
    }
    for _ in 0..LOOKS {
        if !shard.plane.borrow().segment.bridge.is_blocked(port) {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    for _ in 0..PROBES {
        let probe = ::gateway::probe(mac, config.address);
        send_from(shard, port, std::iter::once(probe));
        tokio::time::sleep(BETWEEN).await;
        if let Some((station, node)) = inbox.find_claim(config.address, mac) {
            let place = place_of(shard, station, node).await;
            return Err(AddressTaken { address: config.address, station, place });
        }
    }
    Ok(())
}

async fn place_of(shard: &Shard, station: MacAddr, node: Nick) -> String {
    let own = shard.plane.borrow().whereabouts(station, now());
    let port = match own {
        Some((_, Some(port))) => Some(port.0),
        _ => {
            let told = readings::stations_at(shard, node, station).await.unwrap_or_default();
            told.iter().find(|seen| seen.mac == station).map(|seen| seen.port)
        }
    };
    Gateway::place_name(shard, Source { node: node.get().into(), port: port.map(u64::from) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_served_a_moment_ago_needs_not_to_ask() {
        let state = tempfile::tempdir().unwrap();
        assert!(!has_just_served(state.path()));
        note_service(state.path());
        assert!(has_just_served(state.path()));
        for time in [wall_clock() - MOMENT, wall_clock() + MOMENT] {
            let file = std::fs::File::options().write(true).open(stamp(state.path())).unwrap();
            file.set_modified(time).unwrap();
            assert!(!has_just_served(state.path()), "{time:?}");
        }
    }
}
