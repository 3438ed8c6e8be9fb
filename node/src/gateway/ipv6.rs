//! IPv6 on the wire: the prefix of this gateway, its addresses, and what it advertises.

use std::net::Ipv6Addr;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use ether::MacAddr;
use gateway::ra::{Advertiser, Config, DefaultRoute, UlaPrefix};
use serde::{Deserialize, Serialize};

use super::interface::Routes;
use super::{GatewayConfig, OPENING};
use crate::cli::Ipv6Flag;

/// The gateway's place in its prefix.
const OWN_ID: u64 = 1;

/// What is kept on disk: a prefix must be random, and stay (RFC 4193 3.2).
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    prefix: String,
}

/// The gateway's IPv6, unless it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ipv6 {
    pub(super) prefix: UlaPrefix,
}

impl Ipv6 {
    /// The prefix of this node: the one that is given, or the one of its last start, or a new one.
    pub(super) fn new(config: &GatewayConfig) -> anyhow::Result<Option<Self>> {
        if config.ipv6 == Ipv6Flag::Off {
            return Ok(None);
        }
        let prefix = match config.ipv6_prefix {
            Some(prefix) => prefix,
            None => kept_prefix(&config.state)?,
        };
        Ok(Some(Self { prefix }))
    }

    /// What machines ask for names.
    pub(super) fn address(&self) -> Ipv6Addr {
        self.prefix.address(OWN_ID)
    }

    /// All addresses of the gateway with that station.
    pub(super) fn addresses(&self, mac: MacAddr) -> Vec<Ipv6Addr> {
        vec![link_local(mac), self.address()]
    }

    /// What tells machines of it.
    pub(super) fn advertiser(
        &self,
        config: &GatewayConfig,
        mac: MacAddr,
        routes: &Routes,
        now: Instant,
    ) -> Advertiser {
        let advertised = Config {
            gateway_mac: mac,
            link_local: link_local(mac),
            prefix: self.prefix,
            default_route: default_route(config, routes),
            dns: if config.offers_own_dns() { vec![self.address()] } else { Vec::new() },
            search: config.search_list(),
            mtu: (config.mtu != 1500).then_some(config.mtu.into()),
            seed: rand::random(),
        };
        Advertiser::new(advertised, now + OPENING)
    }
}

/// Whether machines have a way out by IPv6: without one they must not try it first.
pub(super) fn default_route(config: &GatewayConfig, routes: &Routes) -> DefaultRoute {
    let has_way = match &config.uplink {
        Some(uplink) => routes.uplinks_ipv6.contains(&uplink.to_string()),
        None => !routes.uplinks_ipv6.is_empty(),
    };
    match config.ipv6 {
        Ipv6Flag::Nat66 if has_way => DefaultRoute::Advertised,
        _ => DefaultRoute::None,
    }
}

fn kept_prefix(state: &Path) -> anyhow::Result<UlaPrefix> {
    let file = state.join("ipv6-prefix.json");
    if let Some(Kept { prefix }) = cable::store::load(&file)? {
        return prefix.parse().with_context(|| {
            format!("{} is damaged; delete it, and machines get another prefix", file.display())
        });
    }
    let prefix = UlaPrefix::new(rand::random(), 0);
    cable::store::save(&file, &Kept { prefix: prefix.to_string() })?;
    Ok(prefix)
}

/// The link-local address of a station (RFC 4291, appendix A).
fn link_local(MacAddr([a, b, c, d, e, f]): MacAddr) -> Ipv6Addr {
    let id = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_station_has_its_link_local_address() {
        let mac = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        assert_eq!(link_local(mac).to_string(), "fe80::5054:ff:fe12:3456");
    }

    #[test]
    fn a_prefix_is_drawn_once() {
        let state = tempfile::tempdir().unwrap();
        let first = kept_prefix(state.path()).unwrap();
        assert_eq!(kept_prefix(state.path()).unwrap(), first);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(kept_prefix(other.path()).unwrap(), first);
    }
}
