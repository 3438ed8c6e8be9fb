//! From the gateway's flags to a configuration that holds together.

mod offered;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use ether::MacAddr;
use gateway::nft::InterfaceName;
use gateway::ra::UlaPrefix;
use gateway::{DomainName, LeaseTime, Subnet, dhcp};

use crate::cli::{GatewayFlags, Ipv6Flag, LanFlag};
use offered::Offered;

/// What an operator asks for with `--gateway`.
#[derive(Debug, Clone)]
pub(crate) struct GatewayConfig {
    /// The gateway's own address.
    pub(crate) address: Ipv4Addr,
    pub(crate) subnet: Subnet,
    /// The tap's name.
    pub(crate) interface: InterfaceName,
    pub(crate) mtu: u16,
    /// The only way out; none for whatever the host's routes say.
    pub(crate) uplink: Option<InterfaceName>,
    /// The domain of the machines' names.
    pub(crate) domain: DomainName,
    pub(crate) lease_time: LeaseTime,
    /// How many addresses one port may have; none for the server's own default.
    pub(crate) leases_per_port: Option<usize>,
    /// What machines are told beside their addresses.
    offered: Offered,
    /// Whether machines get out at all.
    pub(crate) masquerade: bool,
    pub(crate) lan: LanFlag,
    pub(crate) ipv6: Ipv6Flag,
    /// None for one that is drawn and kept.
    pub(crate) ipv6_prefix: Option<UlaPrefix>,
    /// Whether other ports are kept from doing the gateway's work.
    pub(crate) guards: bool,
    /// Where leases and forwarded ports are kept.
    pub(crate) state: PathBuf,
}

/// The interface of a node: the same at every start, and each node of a host has its own.
fn interface_of(node: &str) -> String {
    match node {
        "default" => "vdegw0".to_owned(),
        // An interface's name has at most 15 octets; a node's is ASCII.
        name => format!("vdegw-{}", &name[..name.len().min(9)]),
    }
}

impl GatewayConfig {
    /// Nothing without `--gateway`.
    pub(super) fn new(
        flags: GatewayFlags,
        node: &str,
        state: PathBuf,
    ) -> anyhow::Result<Option<Self>> {
        let Some(text) = flags.gateway.clone() else { return Ok(None) };
        if text.split('/').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()) {
            bail!(
                "--gateway {text}: the gateway has an IPv4 address; write for example --gateway 10.77.0.1/24 --ipv6 nat66, and machines have IPv6, too (--ipv6-prefix fd00:1:2:3::/64 chooses the addresses)"
            );
        }
        let (address, subnet) = Subnet::parse_interface(&text).context("--gateway")?;
        if !subnet.is_host(address) || !(8..=30).contains(&subnet.prefix_len()) {
            bail!(
                "--gateway {text}: that is not the address of one host in a subnet of /8 to /30; write for example 10.77.0.1/24"
            );
        }
        if flags.no_masquerade && flags.ipv6 == Ipv6Flag::Nat66 {
            bail!("--ipv6 nat66 is masquerade; leave --no-masquerade out, or take --ipv6 local");
        }
        let offered = Offered::new(&flags)?;
        let interface = flags.gateway_if.unwrap_or_else(|| interface_of(node));
        let config = Self {
            address,
            subnet,
            interface: interface.parse().context("--gateway-if")?,
            mtu: flags.gateway_mtu,
            uplink: flags.uplink.as_deref().map(str::parse).transpose().context("--uplink")?,
            domain: flags.domain.parse().context("--domain")?,
            lease_time: LeaseTime::new(flags.lease_time),
            leases_per_port: {
                let given = flags.leases_per_port;
                given.map(|number| usize::try_from(number).unwrap_or(usize::MAX))
            },
            offered,
            masquerade: !flags.no_masquerade,
            lan: flags.lan,
            ipv6: flags.ipv6,
            ipv6_prefix: {
                let given = flags.ipv6_prefix.as_deref();
                given.map(str::parse).transpose().context("--ipv6-prefix")?
            },
            guards: !flags.no_guard,
            state,
        };
        // Any station will do to see whether the rest holds together.
        config.dhcp(MacAddr([2, 0, 0, 0, 0, 1])).validate().context("--gateway")?;
        Ok(Some(config))
    }

    /// What the DHCP server of a gateway with that station goes by.
    pub(crate) fn dhcp(&self, mac: MacAddr) -> dhcp::Config {
        let mut dhcp = dhcp::Config::new(self.subnet, self.address, mac);
        dhcp.lease_time = self.lease_time;
        dhcp.leases_per_port = self.leases_per_port;
        dhcp.domain = Some(self.domain.clone());
        dhcp.mtu = (self.mtu != 1500).then_some(self.mtu);
        self.offered.fill_in(&mut dhcp);
        dhcp
    }

    /// Whether machines ask the gateway for names.
    pub(crate) fn offers_own_dns(&self) -> bool {
        self.offered.dns.is_none()
    }

    /// The domains that machines try for a short name.
    pub(crate) fn search_list(&self) -> Vec<DomainName> {
        match &self.offered.search[..] {
            [] => vec![self.domain.clone()],
            search => search.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(arguments: &[&str]) -> anyhow::Result<Option<GatewayConfig>> {
        use clap::Parser as _;
        let arguments = ["vdenode"].iter().chain(arguments);
        let cli = crate::cli::Cli::try_parse_from(arguments)?;
        GatewayConfig::new(cli.gateway, "default", "/state".into())
    }

    #[test]
    fn one_flag_is_enough_and_the_others_need_it() {
        let config_of = config(&["--gateway", "10.77.0.1/24"]).unwrap().unwrap();
        assert_eq!(config_of.subnet.to_string(), "10.77.0.0/24");
        assert_eq!(config_of.interface.to_string(), "vdegw0");
        assert_eq!(config_of.domain.as_str(), "vde.internal");
        assert!(config_of.masquerade && config_of.uplink.is_none());
        assert!(config(&[]).unwrap().is_none());
        assert!(config(&["--uplink", "eth0"]).is_err());
        assert!(config(&["--lan", "deny"]).is_err());
    }

    #[test]
    fn what_is_no_address_of_a_host_is_refused() {
        for text in ["10.77.0.0/24", "10.77.0.255/24", "10.77.0.1", "10.77.0.1/31", "x/24"] {
            assert!(config(&["--gateway", text]).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn who_wants_ipv6_alone_is_told_how_it_is_had() {
        for text in ["fd00::1/64", "fd00::1", "2001:db8::1/48"] {
            let refused = config(&["--gateway", text]).unwrap_err().to_string();
            let told = ["--gateway 10.77.0.1/24 --ipv6 nat66", "IPv4 address", text];
            assert!(told.iter().all(|words| refused.contains(words)), "{refused}");
        }
        let advised = ["--gateway", "10.77.0.1/24", "--ipv6", "nat66"];
        let prefix = ["--ipv6-prefix", "fd00:1:2:3::/64"];
        assert!(config(&[&advised[..], &prefix].concat()).is_ok(), "the advice is of no use");
    }

    #[test]
    fn every_node_of_a_host_has_an_interface_name_of_its_own_that_is_not_too_long() {
        assert_eq!(interface_of("lab"), "vdegw-lab");
        assert_eq!(interface_of("a-very-long-name").len(), 15);
        assert!(interface_of("a-very-long-name").parse::<InterfaceName>().is_ok());
    }
}
