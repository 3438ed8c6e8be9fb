//! Views as text for a terminal: pure functions from a view to a string.

mod gateway;
mod membership;
mod network;
mod wire;

use std::collections::BTreeMap;
use std::fmt::Write as _;

pub use gateway::{forwards, leases};
pub use membership::{invitation, invites};

pub use self::wire::{wire_profiles, wires};
use crate::status::{CableState, CableStatus, MacEntry, PortStatus, RefusedBy, Status, Strangers};

pub use network::{cable_table, event, nodes, ping, ping_summary, skipped, traces};

/// The answer to `vdecable status`.
pub fn status(status: &Status) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:<9} {value}");
    };
    line(
        "node",
        &format!(
            "{}  (pid {}, version {}, up {})",
            status.name,
            status.pid,
            status.version,
            duration(status.uptime_seconds)
        ),
    );
    line("key", &status.key);
    if let Some(mesh) = &status.mesh {
        line("mesh", &membership::own(mesh, &status.key));
        if let Some(next) = &mesh.next_key {
            line("next key", &format!("{next}  (from the next start of this node on)"));
        }
    }
    line("vde", &status.vde_socket);
    line("listen", status.listen.as_deref().unwrap_or("no (--no-listen)"));
    let ports = match status.ports.is_empty() {
        true => "none".to_owned(),
        false => {
            let kinds: Vec<_> =
                status.ports.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
            kinds.join(", ")
        }
    };
    let addresses = if status.macs == 1 { "address" } else { "addresses" };
    line("ports", &format!("{ports};  {} MAC {addresses} known", status.macs));
    for trusted in &status.trusted {
        let name = trusted.name.as_deref().unwrap_or("-");
        line("trusted", &format!("{}  {name}", trusted.key));
    }
    for wire in &status.wires {
        line("wire", &wire::wire_line(wire));
    }
    for warning in &status.warnings {
        line("warning", warning);
    }
    if let Some(status) = &status.gateway {
        out.push_str(&gateway::gateway(status));
    }
    strangers(&mut out, &status.strangers);
    if !status.refused_plugs.is_empty() {
        let plugs = counts(&status.refused_plugs);
        let _ = writeln!(out, "{:<9} local plugs: {plugs}", "refused");
    }
    out.push('\n');
    out.push_str(&cables(&status.cables));
    for refused in &status.refused {
        let times =
            if refused.count == 1 { String::new() } else { format!(", {} times", refused.count) };
        let ago = format!("{} ago{times}", duration(refused.age_seconds));
        let _ = match refused.by {
            RefusedBy::Us => writeln!(
                out,
                "refused   {} presented a key that is not trusted here ({ago}):\n          {}\n          to let it in: vdecable invite here, vdecable join there; without a mesh: vdecable trust {}",
                refused.address, refused.key, refused.key
            ),
            RefusedBy::Peer => writeln!(
                out,
                "refused   {} does not trust this node's key ({ago}):\n          {}\n          to be let in: vdecable invite there, vdecable join here; without a mesh, there: vdecable trust {} --name {}",
                refused.address, refused.key, refused.key, status.name
            ),
        };
    }
    out
}

/// What became of those who knocked, when there is anything that an operator might wonder about.
fn strangers(out: &mut String, strangers: &Strangers) {
    if !strangers.refused.is_empty() {
        let _ = writeln!(out, "{:<9} handshakes: {}", "refused", counts(&strangers.refused));
    }
    // What strays here on the internet is nobody's concern.
    let ignored = strangers.ignored.iter().filter(|(reason, _)| *reason != "stray");
    let ignored: BTreeMap<_, _> = ignored.map(|(reason, n)| (reason.clone(), *n)).collect();
    if !ignored.is_empty() {
        let _ = writeln!(out, "{:<9} strangers' packets: {}", "ignored", counts(&ignored));
    }
    if strangers.retried > 0 {
        let asked = strangers.retried;
        let _ = writeln!(out, "{:<9} {asked} strangers asked to prove their address", "retried");
    }
}

/// The cables, one paragraph each.
pub fn cables(cables: &[CableStatus]) -> String {
    if cables.is_empty() {
        return "no cables; plug one in with: vdecable connect HOST\n".to_owned();
    }
    let mut out = String::new();
    for cable in cables {
        let peer = cable.peer.as_deref().unwrap_or("?");
        let _ = write!(out, "cable {:<3} {:<13} {}", cable.id, state(cable.state), cable.address);
        if let (CableState::Up, Some(remote)) = (cable.state, &cable.remote) {
            let _ = write!(out, "  → {peer}");
            if *remote != cable.address {
                let _ = write!(out, " ({remote})");
            }
            let _ = write!(out, "\n          up {}", duration(cable.up_seconds.unwrap_or(0.0)));
            if let Some(rtt) = cable.rtt_ms {
                let _ = write!(out, ", rtt {rtt:.2} ms");
            }
            if let Some(loss) = cable.loss {
                let _ = write!(out, ", loss {:.2} %", loss * 100.0);
            }
            if let Some(lost) = cable.rx_lost_datagrams.filter(|&lost| lost > 0) {
                let _ = write!(out, ", {lost} datagrams lost on the way here");
            }
            if let Some(mtu) = cable.path_mtu {
                let _ = write!(out, ", path mtu {mtu}");
            }
            if let Some(profile) = &cable.profile {
                let _ = write!(out, ", {profile}");
            }
            if let Some(port) = cable.port {
                let _ = write!(out, ", port {port}");
            }
        }
        out.push('\n');
        if let Some(reason) = &cable.reason {
            let _ = write!(out, "          {reason}");
            if let Some(seconds) = cable.retry_in_seconds {
                let _ = write!(out, "; next try in {seconds:.1} s");
            }
            out.push('\n');
        }
        if let Some(fix) = &cable.fix {
            let _ = writeln!(out, "          → {fix}");
        }
    }
    out
}

fn state(state: CableState) -> &'static str {
    match state {
        CableState::Up => "up",
        CableState::Connecting => "connecting",
        CableState::Retrying => "down",
        CableState::AwaitingPeer => "awaiting peer",
        CableState::Standby => "standby",
    }
}

/// The answer to `vdecable ports`.
pub fn ports(ports: &[PortStatus]) -> String {
    if ports.is_empty() {
        return "no ports; plug a VM into the VDE socket (vdecable status shows it)\n".to_owned();
    }
    let mut table = Table::new(&[
        "PORT",
        "KIND",
        "RX FRAMES",
        "RX BYTES",
        "TX FRAMES",
        "TX BYTES",
        "DROPS",
        "WHO",
    ]);
    for port in ports {
        let mut who = port.description.clone();
        if let Some(pid) = port.pid {
            let _ = write!(who, " (pid {pid}, uid {})", port.uid.unwrap_or_default());
        }
        if port.blocked {
            who.push_str("; blocked: it is part of a loop outside");
        }
        if port.listening {
            who.push_str("; not yet: its interface is down or has just come up");
        }
        table.row([
            port.port.to_string(),
            port.kind.clone(),
            port.rx_frames.to_string(),
            bytes(port.rx_bytes),
            port.tx_frames.to_string(),
            bytes(port.tx_bytes),
            if port.drops.is_empty() { "-".to_owned() } else { counts(&port.drops) },
            who,
        ]);
    }
    table.finish()
}

/// The answer to `vdecable macs`.
pub fn macs(macs: &[MacEntry]) -> String {
    if macs.is_empty() {
        return "no MAC addresses known: no station has sent a frame\n".to_owned();
    }
    let mut table = Table::new(&["MAC", "VLAN", "NODE", "PORT", "KIND", "AGE", "WHERE"]);
    for entry in macs {
        table.row([
            entry.mac.clone(),
            if entry.vlan == 0 { "-".to_owned() } else { entry.vlan.to_string() },
            or_dash(entry.node.clone()),
            or_dash(entry.port.map(|port| port.to_string())),
            or_dash(entry.kind.clone()),
            or_dash(entry.age_seconds.map(duration)),
            or_dash(entry.description.clone()),
        ]);
    }
    table.finish()
}

fn or_dash(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "-".to_owned())
}

fn counts(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(reason, n)| format!("{n} {reason}")).collect::<Vec<_>>().join(", ")
}

/// A span of time to the precision that a person wants: `0.4 s`, `12 s`, `3 min`, `2 h`, `5 d`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

/// A number of octets in decimal units, as interface counters are read.
pub fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let value = count as f64;
    match count {
        0..1000 => format!("{count} B"),
        1000..1_000_000 => format!("{:.1} kB", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", value / 1e6),
        _ => format!("{:.1} GB", value / 1e9),
    }
}

/// Columns as wide as their widest cell; the last one is not padded.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    fn finish(self) -> String {
        let columns = self.rows[0].len();
        let widths: Vec<usize> = (0..columns)
            .map(|i| self.rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0))
            .collect();
        let mut out = String::new();
        for row in &self.rows {
            for (i, cell) in row.iter().enumerate() {
                if i + 1 == columns {
                    out.push_str(cell);
                } else {
                    let _ = write!(out, "{cell:<width$}  ", width = widths[i]);
                }
            }
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests;
