//! Whether the host's kernel passes packets on: switched on where it must be, told, and switched off
//! again.
//!
//! Linux decides by the interface that an IPv4 packet comes in by (`ip-sysctl.rst`,
//! `conf/interface/forwarding`), so only the gateway's interface and the ways out are switched on,
//! and the host is no router between its other networks. For IPv6 there is one switch for all. A
//! host that forwards IPv6 takes no router advertisements any more, and loses its own IPv6, unless
//! `accept_ra` is 2: so that comes first, wherever it was 1, and for interfaces to come.

use std::collections::BTreeSet;
use std::fs;

use super::sysctl::{self, Sysctls};

/// Where IPv6 has its settings for each interface.
const IPV6_CONFIGURATION: &str = "/proc/sys/net/ipv6/conf";

const IPV6_FORWARDING: &str = "ipv6/conf/all/forwarding";

/// Switches on what must be, and off what need not be any more. `interfaces` forward IPv4.
pub(super) fn follow(
    sysctls: &mut Sysctls,
    interfaces: &BTreeSet<String>,
    ipv6: bool,
) -> anyhow::Result<()> {
    let wanted: BTreeSet<String> = interfaces.iter().map(|name| ipv4(name)).collect();
    sysctls.retain(|name| if name.starts_with("ipv6/") { ipv6 } else { wanted.contains(name) })?;
    for name in &wanted {
        if sysctls.set(name, "1")? == Some(true) {
            tracing::info!(setting = %name, "IPv4 forwarding switched on until this node ends");
        }
    }
    if ipv6 { forward_ipv6(sysctls) } else { Ok(()) }
}

fn forward_ipv6(sysctls: &mut Sysctls) -> anyhow::Result<()> {
    if !sysctls.is_ours(IPV6_FORWARDING) && sysctl::read(IPV6_FORWARDING).as_deref() == Some("0") {
        for interface in ipv6_interfaces() {
            let accept = format!("ipv6/conf/{interface}/accept_ra");
            if sysctl::read(&accept).as_deref() == Some("1") {
                sysctls.set(&accept, "2")?;
            }
        }
        // Switching it off for all will switch off those that are on already.
        let before: Vec<String> = ipv6_interfaces()
            .iter()
            .map(|interface| format!("ipv6/conf/{interface}/forwarding"))
            .filter(|name| sysctl::read(name).as_deref() == Some("1"))
            .collect();
        sysctls.set(IPV6_FORWARDING, "1")?;
        for name in before {
            sysctls.keep(&name)?;
        }
        tracing::info!("IPv6 forwarding switched on until this node ends");
    }
    Ok(())
}

/// The interfaces that forward IPv4 because this node wants it.
pub(super) fn switched_on(sysctls: &Sysctls) -> impl Iterator<Item = &str> {
    sysctls.names().filter_map(|name| name.strip_prefix("ipv4/conf/")?.strip_suffix("/forwarding"))
}

fn ipv4(interface: &str) -> String {
    format!("ipv4/conf/{interface}/forwarding")
}

/// All that have a setting, those to come (`default`) included; `all` is a setting of its own kind.
fn ipv6_interfaces() -> Vec<String> {
    let entries = fs::read_dir(IPV6_CONFIGURATION).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name != "all").collect()
}
