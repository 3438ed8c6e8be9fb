//! Whether what machines send gets through the host, and whether what they ask of it gets in: packets
//! of our own, counted where the kernel begins to forward or to deliver them and where it would be
//! done. There they end, so that nobody outside ever sees them, nor the resolver. Rules of whatever kind
//! that drop packets in between, also those of the old iptables that nftables does not list, are found
//! in this way.

use std::net::Ipv4Addr;

use ether::MacAddr;
use serde_json::Value;

use super::{InterfaceName, RulesetError, TableName};
use crate::subnet::Subnet;
use crate::wire::Datagram;

/// For documentation (RFC 5737): nobody is there.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// `discard` (RFC 863).
const DISCARD: u16 = 9;
const DNS: u16 = 53;

/// Before any other chain, and behind source translation.
const EARLY: i32 = -400;
const LATE: i32 = 400;

const ARRIVED: &str = "probe_arrived";
const DEPARTED: &str = "probe_departed";
const ASKED: &str = "probe_asked";
const HEARD: &str = "probe_heard";

/// The commands that count probes.
pub(super) fn commands(table: &TableName, tap: &InterfaceName) -> Vec<String> {
    let through = format!("ip daddr {NOWHERE} udp dport {DISCARD} ip dscp 0x3f");
    let question = format!("iifname \"{tap}\" udp sport {DISCARD} udp dport {DNS} ip dscp 0x3f");
    let mut commands = Vec::new();
    for (chain, hook, priority, probe, counter, verdict) in [
        ("arrivals", "forward", EARLY, &through, ARRIVED, ""),
        ("departures", "postrouting", LATE, &through, DEPARTED, " drop"),
        ("questions", "input", EARLY, &question, ASKED, ""),
        ("answers", "input", LATE, &question, HEARD, " drop"),
    ] {
        commands.push(format!("add counter inet {table} {counter}"));
        commands.push(format!(
            "add chain inet {table} {chain} \
             {{ type filter hook {hook} priority {priority} ; policy accept ; }}"
        ));
        commands
            .push(format!("add rule inet {table} {chain} {probe} counter name {counter}{verdict}"));
    }
    commands
}

/// A frame that a machine might send through the host, for the gateway's interface.
pub fn probe(subnet: Subnet, gateway: Ipv4Addr, gateway_mac: MacAddr) -> Vec<u8> {
    marked(subnet, gateway, gateway_mac, (NOWHERE, DISCARD))
}

/// A frame with which a machine might ask for a name.
pub fn question(subnet: Subnet, gateway: Ipv4Addr, gateway_mac: MacAddr) -> Vec<u8> {
    marked(subnet, gateway, gateway_mac, (gateway, DNS))
}

fn marked(
    subnet: Subnet,
    gateway: Ipv4Addr,
    gateway_mac: MacAddr,
    (destination, destination_port): (Ipv4Addr, u16),
) -> Vec<u8> {
    // The highest address of a host; the lowest if that is the gateway's.
    let highest = Ipv4Addr::from_bits(subnet.broadcast().to_bits() - 1);
    let lowest = Ipv4Addr::from_bits(subnet.network().to_bits() + 1);
    let datagram = Datagram {
        station: MacAddr([0x02, 0, 0, 0, 0, 0x09]),
        source: if highest == gateway { lowest } else { highest },
        destination,
        source_port: DISCARD,
        destination_port,
        payload: b"vdenode: does this get through?",
    };
    let mut frame = datagram.encode(gateway_mac);
    mark(&mut frame);
    frame
}

/// Sets the DSCP that the rules look for, which nobody uses for anything, and mends the checksum of
/// the header (RFC 1624).
fn mark(frame: &mut [u8]) {
    const TOS: usize = 15;
    const CHECKSUM: usize = 24;
    let old = u16::from_be_bytes([frame[TOS - 1], frame[TOS]]);
    frame[TOS] = 0x3f << 2;
    let new = u16::from_be_bytes([frame[TOS - 1], frame[TOS]]);
    let sum = u16::from_be_bytes([frame[CHECKSUM], frame[CHECKSUM + 1]]);
    let mut total = u32::from(!sum) + u32::from(!old) + u32::from(new);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    let [.., high, low] = (!total).to_be_bytes();
    frame[CHECKSUM] = high;
    frame[CHECKSUM + 1] = low;
}

/// How many probes were counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passages {
    /// Where the kernel begins to forward.
    pub arrived: u64,
    /// Where packets leave.
    pub departed: u64,
    /// Where the kernel begins to deliver.
    pub asked: u64,
    /// Where the resolver would get them.
    pub heard: u64,
}

/// Reads what `nft -j list counters table inet TABLE` prints.
///
/// # Errors
/// [`RulesetError`] when the text is something else.
pub fn passages(counters: &str) -> Result<Passages, RulesetError> {
    let list: Value =
        serde_json::from_str(counters).map_err(|error| RulesetError::Json(error.into()))?;
    let objects = list["nftables"].as_array().ok_or(RulesetError::NoList)?;
    let count = |name: &str| {
        let counters = objects.iter().filter_map(|object| object.get("counter"));
        let mut named = counters.filter(|counter| counter["name"] == name);
        named.next().and_then(|counter| counter["packets"].as_u64()).unwrap_or_default()
    };
    Ok(Passages {
        arrived: count(ARRIVED),
        departed: count(DEPARTED),
        asked: count(ASKED),
        heard: count(HEARD),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_a_whole_datagram_with_its_mark() {
        let (subnet, mac) = ("10.0.0.0/24".parse().unwrap(), MacAddr([2, 0, 0, 0, 0, 1]));
        let frame = probe(subnet, Ipv4Addr::new(10, 0, 0, 1), mac);
        let datagram = Datagram::parse(&frame).unwrap();
        assert_eq!(datagram.source, Ipv4Addr::new(10, 0, 0, 254));
        assert_eq!((datagram.destination, datagram.destination_port), (NOWHERE, 9));
        assert_eq!(frame[15], 0xfc);
        let frame = probe(subnet, Ipv4Addr::new(10, 0, 0, 254), mac);
        assert_eq!(Datagram::parse(&frame).unwrap().source, Ipv4Addr::new(10, 0, 0, 1));
        let gateway = Ipv4Addr::new(10, 0, 0, 1);
        let frame = question(subnet, gateway, mac);
        let datagram = Datagram::parse(&frame).unwrap();
        assert_eq!((datagram.destination, datagram.destination_port), (gateway, 53));
        assert_eq!(frame[15], 0xfc);
    }

    #[test]
    fn counters_are_read_by_name() {
        let text = r#"{"nftables": [{"metainfo": {}},
            {"counter": {"name": "probe_arrived", "packets": 3, "bytes": 9}},
            {"counter": {"name": "probe_departed", "packets": 2, "bytes": 6}},
            {"counter": {"name": "probe_asked", "packets": 5, "bytes": 6}},
            {"counter": {"name": "probe_heard", "packets": 4, "bytes": 6}}]}"#;
        let expected = Passages { arrived: 3, departed: 2, asked: 5, heard: 4 };
        assert_eq!(passages(text).unwrap(), expected);
        assert_eq!(passages(r#"{"nftables": []}"#).unwrap(), Passages::default());
        assert!(passages("{}").is_err() && passages("x").is_err());
    }
}
