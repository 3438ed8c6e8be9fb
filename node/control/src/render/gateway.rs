//! The gateway's views as text.

use std::fmt::Write as _;

use super::{Table, duration};
use crate::gateway::{ForwardView, GatewayStatus, LeaseView};

/// The paragraph of `vdecable status` about the gateway.
pub(super) fn gateway(gateway: &GatewayStatus) -> String {
    let GatewayStatus { address, interface, leases, pool, domain, .. } = gateway;
    let mut out =
        format!("gateway   {address} on {interface}; {leases} of {pool} addresses leased");
    let out_by = match (gateway.masquerade, gateway.uplinks.is_empty()) {
        (false, _) => "ways out: the host's own".to_owned(),
        (true, true) => "no way out".to_owned(),
        (true, false) => format!("out by {}", gateway.uplinks.join(", ")),
    };
    let resolvers = match gateway.resolvers.is_empty() {
        true => "no resolver".to_owned(),
        false => format!("resolvers {}", gateway.resolvers.join(", ")),
    };
    let _ = writeln!(out, "\n          {out_by}; domain {domain}; {resolvers}");
    if !gateway.dhcp.ignored.is_empty() {
        let ignored = gateway.dhcp.ignored.iter();
        let ignored: Vec<_> = ignored.map(|(reason, count)| format!("{count} {reason}")).collect();
        let _ = writeln!(out, "          DHCP messages without an answer: {}", ignored.join(", "));
    }
    if let Some(prefix) = &gateway.ipv6_prefix {
        let _ = writeln!(out, "          IPv6 {prefix} ({})", gateway.ipv6);
    }
    if !gateway.forwarding.is_empty() {
        let interfaces = gateway.forwarding.join(", ");
        let _ = writeln!(out, "          forwarding switched on until the end: {interfaces}");
    }
    out
}

/// The answer to `vdecable leases`.
pub fn leases(leases: &[LeaseView]) -> String {
    if leases.is_empty() {
        return "no leases yet: no machine has asked for an address\n".to_owned();
    }
    let mut table =
        Table::new(&["ADDRESS", "MAC", "NAME", "STATE", "EXPIRES IN", "RESERVED", "WHERE"]);
    for lease in leases {
        let mut state = lease.state.as_str().to_owned();
        if !lease.durable {
            state.push_str(", not on disk");
        }
        let place = match (&lease.node, lease.port) {
            (Some(node), Some(port)) => format!("{node}, port {port}"),
            (Some(node), None) => node.clone(),
            (None, _) => "?".to_owned(),
        };
        #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
        let remaining = lease.remaining_seconds.map(|seconds| duration(seconds as f64));
        table.row([
            lease.address.clone(),
            lease.mac.clone(),
            lease.name.clone().unwrap_or_else(|| "-".to_owned()),
            state,
            remaining.unwrap_or_else(|| "-".to_owned()),
            if lease.reserved { "yes" } else { "-" }.to_owned(),
            place,
        ]);
    }
    table.finish()
}

/// The answer to `vdecable forward`.
pub fn forwards(forwards: &[ForwardView]) -> String {
    if forwards.is_empty() {
        return "no forwarded ports; for example: vdecable forward tcp 8080 vm1:80\n".to_owned();
    }
    let mut table = Table::new(&["PROTOCOL", "PORT", "TO", "NOW"]);
    for forward in forwards {
        let listen = forward.listen.as_ref().map(|listen| format!("{listen}:"));
        table.row([
            forward.protocol.clone(),
            format!("{}{}", listen.unwrap_or_default(), forward.port),
            format!("{}:{}", forward.to, forward.to_port),
            forward.address.clone().unwrap_or_else(|| "no machine has that name".to_owned()),
        ]);
    }
    table.finish()
}
