//! The flags of `vdenode` that make it the gateway.

use std::time::Duration;

use clap::{Args, ValueEnum};

/// The way out of the mesh.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Gateway, the way out of the mesh")]
pub(crate) struct GatewayFlags {
    /// Be the gateway: an interface of this host with this address, DHCP, names, and masquerade (root)
    ///
    /// For every machine on every node. For example 10.77.0.1/24.
    #[arg(long, value_name = "ADDRESS/LENGTH")]
    pub(crate) gateway: Option<String>,

    /// Name of the gateway's interface [default: vdegw0; of a node with a name: vdegw-NAME]
    #[arg(long, hide_short_help = true, value_name = "IF", requires = "gateway")]
    pub(crate) gateway_if: Option<String>,

    /// MTU of the gateway's interface, told to machines when it is not 1500
    #[arg(long, hide_short_help = true, value_name = "OCTETS", default_value = "1500", requires = "gateway",
          value_parser = clap::value_parser!(u16).range(576..=9216))]
    pub(crate) gateway_mtu: u16,

    /// The only interface by which machines get out [default: whatever the host's routes say]
    #[arg(long, hide_short_help = true, value_name = "IF", requires = "gateway")]
    pub(crate) uplink: Option<String>,

    /// Domain of the machines' names
    #[arg(
        long,
        hide_short_help = true,
        value_name = "NAME",
        default_value = "vde.internal",
        requires = "gateway"
    )]
    pub(crate) domain: String,

    /// How long an address is a machine's before it has to be renewed: 90s, 30m, 12h, 7d
    #[arg(long, hide_short_help = true, value_name = "TIME", default_value = "1h", value_parser = span, requires = "gateway")]
    pub(crate) lease_time: Duration,

    /// Addresses to give out: FIRST-LAST; repeatable [default: the whole subnet]
    #[arg(long, hide_short_help = true, value_name = "FIRST-LAST", requires = "gateway")]
    pub(crate) pool: Vec<String>,

    /// Addresses that one port may have [default: a quarter of all, and 8 at least]
    ///
    /// Of any node. Who has more machines behind one port, as on another switch, or few addresses for
    /// many ports, says so here. Those kept by `vdecable lease add` are always given.
    #[arg(long, hide_short_help = true, value_name = "NUMBER", requires = "gateway",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) leases_per_port: Option<u32>,

    /// Default router of machines, or `none`; repeatable, best first [default: the gateway]
    #[arg(long, hide_short_help = true, value_name = "ADDRESS|none", requires = "gateway")]
    pub(crate) router: Vec<String>,

    /// Name server of machines, or `none`; repeatable, best first [default: the gateway]
    #[arg(long, hide_short_help = true, value_name = "ADDRESS|none", requires = "gateway")]
    pub(crate) dns: Vec<String>,

    /// Domain that machines try for a short name; repeatable [default: --domain]
    #[arg(long, hide_short_help = true, value_name = "NAME", requires = "gateway")]
    pub(crate) search: Vec<String>,

    /// Time server of machines; repeatable [default: none]
    #[arg(long, hide_short_help = true, value_name = "ADDRESS", requires = "gateway")]
    pub(crate) ntp: Vec<std::net::Ipv4Addr>,

    /// Route that machines get beside the default one; repeatable
    ///
    /// For example 10.9.0.0/16=10.77.0.5, by way of a machine.
    #[arg(long, hide_short_help = true, value_name = "SUBNET=ADDRESS", requires = "gateway")]
    pub(crate) route: Vec<String>,

    /// Any other DHCP option, by number; repeatable
    ///
    /// The value is text, or `ip:` with addresses, `u8:`, `u16:` or `u32:` with a number, `hex:` with
    /// octets. For example 66=boot.lab, 150=ip:10.77.0.5 or 252=hex:0a.
    #[arg(long, hide_short_help = true, value_name = "CODE=VALUE", requires = "gateway")]
    pub(crate) dhcp_option: Vec<String>,

    /// Leave the way out to the host's own rules: no nftables table, no forwarding
    #[arg(long, hide_short_help = true, requires = "gateway", conflicts_with_all = ["uplink", "lan"])]
    pub(crate) no_masquerade: bool,

    /// Whether machines reach the networks that this host is on, and other private ones
    #[arg(
        long,
        hide_short_help = true,
        value_name = "POLICY",
        value_enum,
        default_value = "allow",
        requires = "gateway"
    )]
    pub(crate) lan: LanFlag,

    /// IPv6 for machines
    #[arg(
        long,
        hide_short_help = true,
        value_name = "MODE",
        value_enum,
        default_value = "off",
        requires = "gateway"
    )]
    pub(crate) ipv6: Ipv6Flag,

    /// IPv6 prefix of machines [default: a random one in fd00::/8, kept]
    #[arg(long, hide_short_help = true, value_name = "PREFIX/64", requires = "gateway")]
    pub(crate) ipv6_prefix: Option<String>,

    /// Let every port send what otherwise only the gateway's may; on the gateway, on all nodes
    ///
    /// While there is a gateway, answers of DHCP servers, router advertisements and claims to the
    /// gateway's addresses are dropped at all other ports, and told. For labs with a DHCP server or a
    /// router of their own.
    #[arg(long, hide_short_help = true)]
    pub(crate) no_guard: bool,
}

/// What `--lan` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LanFlag {
    /// They do, as the host itself does
    #[default]
    Allow,
    /// They reach the internet alone
    Deny,
}

/// What `--ipv6` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Ipv6Flag {
    /// Only what machines make of it themselves
    #[default]
    Off,
    /// Addresses and the resolver, between machines
    Local,
    /// The same, and out from behind this host's address
    Nat66,
}

/// A number and a unit.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; write for example 90s, 30m, 12h or 7d");
    let (number, seconds) = match text.char_indices().next_back() {
        Some((end, 's')) => (&text[..end], 1),
        Some((end, 'm')) => (&text[..end], 60),
        Some((end, 'h')) => (&text[..end], 3600),
        Some((end, 'd')) => (&text[..end], 86_400),
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("2h"), Ok(Duration::from_secs(7200)));
        for text in ["", "s", "90", "-1s", "1.5h", "5 m", "1w", "9999999999d"] {
            assert!(span(text).is_err(), "{text:?} was accepted");
        }
    }
}
