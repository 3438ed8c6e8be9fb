//! Whether a subnet is free on the gateway's host, and one that is.
//!
//! Pure: the caller reads the host's routes. A subnet that the host already reaches somewhere else
//! would cut the machines off from it, and the host from the machines.

use std::net::Ipv4Addr;

use crate::subnet::Subnet;

/// A route of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoute {
    /// Where it leads.
    pub destination: Subnet,
    /// Through which interface. Leave the gateway's own tap out.
    pub interface: String,
}

impl HostRoute {
    /// Shorter prefixes are ways out, not networks: the default route, or the halves and eighths
    /// into which VPN clients cut it.
    const SHORTEST: u8 = 8;

    fn clashes(&self, subnet: Subnet) -> bool {
        self.destination.prefix_len() >= Self::SHORTEST && self.destination.overlaps(subnet)
    }
}

/// The subnet is in use on this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{subnet} overlaps {}, which this host reaches through {}; choose another subnet{}",
    .route.destination,
    .route.interface,
    .free.map_or_else(String::new, |free| format!(", {free} is free"))
)]
pub struct Clash {
    /// What was asked for.
    pub subnet: Subnet,
    /// What is in its way: the most specific of several routes.
    pub route: HostRoute,
    /// One that would do.
    pub free: Option<Subnet>,
}

/// Whether no route of the host is in the way of a subnet.
///
/// # Errors
/// [`Clash`] with the route that is.
pub fn check(subnet: Subnet, routes: &[HostRoute]) -> Result<(), Clash> {
    let clashing = routes.iter().filter(|route| route.clashes(subnet));
    match clashing.max_by_key(|route| route.destination.prefix_len()) {
        None => Ok(()),
        Some(route) => {
            let seed = u64::from(subnet.network().to_bits());
            Err(Clash { subnet, route: route.clone(), free: choose(seed, routes) })
        }
    }
}

/// Private ranges (RFC 1918, RFC 6598), each tried only when the one before is full: the first is
/// large, container tools take theirs from the next two, VPNs from the last.
const RANGES: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
];

/// What so many others use that a laptop will meet it in the next café: 10.0, 10.1, 10.8, 10.10,
/// 192.168.0 to 192.168.2 and 192.168.122.
fn is_popular(subnet: Subnet) -> bool {
    match subnet.network().octets() {
        [10, second, _, _] => [0, 1, 8, 10].contains(&second),
        [192, 168, third, _] => [0, 1, 2, 122].contains(&third),
        _ => false,
    }
}

/// A private /24 that no route of the host is in the way of; the same seed and routes give the
/// same one. `None` when every private address is routed.
pub fn choose(seed: u64, routes: &[HostRoute]) -> Option<Subnet> {
    // Multiplication by an odd number spreads neighbouring seeds (Fibonacci hashing).
    let hash = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    RANGES.iter().find_map(|&(network, prefix_len)| {
        let count = 1_u32 << (24 - prefix_len);
        let start = u32::try_from(hash % u64::from(count)).expect("a remainder of 32 bits");
        free_between(network, start, count, routes)
            .or_else(|| free_between(network, 0, start, routes))
    })
}

/// The first free /24 of those numbered `from` to `to`, exclusive, from `network` on.
fn free_between(network: Ipv4Addr, from: u32, to: u32, routes: &[HostRoute]) -> Option<Subnet> {
    let mut number = from;
    while number < to {
        let address = Ipv4Addr::from_bits(network.to_bits() + (number << 8));
        let subnet = Subnet::containing(address, 24).expect("24 bits fit");
        let next = routes
            .iter()
            .filter(|route| route.clashes(subnet))
            .map(|route| route.destination.broadcast())
            .max();
        match next {
            None if !is_popular(subnet) => return Some(subnet),
            None => number += 1,
            // All that the route covers is taken: go on behind it.
            Some(end) => number = ((end.to_bits() - network.to_bits()) >> 8) + 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(destination: &str, interface: &str) -> HostRoute {
        HostRoute { destination: destination.parse().unwrap(), interface: interface.to_owned() }
    }

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn a_clash_is_named_with_its_interface_and_a_way_out() {
        let routes =
            [route("0.0.0.0/0", "eth0"), route("10.0.0.0/8", "wg0"), route("10.5.0.0/16", "eth0")];
        let clash = check(subnet("10.5.1.0/24"), &routes).unwrap_err();
        let text = clash.to_string();
        let start = "10.5.1.0/24 overlaps 10.5.0.0/16, which this host reaches through eth0; \
                     choose another subnet, 172.";
        assert!(text.starts_with(start), "{text}");
        assert_eq!(check(clash.free.unwrap(), &routes), Ok(()));
    }

    #[test]
    fn a_wider_and_a_narrower_route_clash_alike() {
        for taken in ["10.0.0.0/8", "10.5.1.0/24", "10.5.1.7/32"] {
            assert!(check(subnet("10.5.1.0/24"), &[route(taken, "eth0")]).is_err(), "{taken}");
        }
        assert_eq!(check(subnet("10.5.1.0/24"), &[route("10.5.2.0/24", "eth0")]), Ok(()));
    }

    #[test]
    fn the_ways_out_are_no_clash() {
        let routes = ["0.0.0.0/0", "0.0.0.0/1", "8.0.0.0/7"].map(|text| route(text, "tun0"));
        assert_eq!(check(subnet("10.5.1.0/24"), &routes), Ok(()));
    }

    #[test]
    fn a_choice_is_private_free_unpopular_and_repeatable() {
        let routes = [route("10.0.0.0/9", "eth0"), route("10.200.0.0/13", "wg0")];
        for seed in 0..2000 {
            let chosen = choose(seed, &routes).unwrap();
            assert_eq!(check(chosen, &routes), Ok(()));
            assert!(subnet("10.0.0.0/8").contains(chosen.network()) && !is_popular(chosen));
            assert_eq!(choose(seed, &routes), Some(chosen));
        }
        let distinct: std::collections::BTreeSet<_> = (0..2000).map(|s| choose(s, &[])).collect();
        assert!(distinct.len() > 1900);
    }

    #[test]
    fn when_one_range_is_full_the_next_serves() {
        let mut routes = vec![route("10.0.0.0/8", "a"), route("172.16.0.0/12", "b")];
        assert!(subnet("192.168.0.0/16").contains(choose(7, &routes).unwrap().network()));
        routes.push(route("192.168.0.0/16", "c"));
        assert!(subnet("100.64.0.0/10").contains(choose(7, &routes).unwrap().network()));
        routes.push(route("100.64.0.0/10", "d"));
        assert_eq!(choose(7, &routes), None);
    }

    #[test]
    fn the_last_free_subnet_is_found_from_anywhere() {
        let routes: Vec<_> = (0..256)
            .filter(|third| *third != 77)
            .map(|third| route(&format!("192.168.{third}.0/24"), "x"))
            .chain([route("10.0.0.0/8", "a"), route("172.16.0.0/12", "b")])
            .collect();
        for seed in 0..50 {
            assert_eq!(choose(seed, &routes), Some(subnet("192.168.77.0/24")));
        }
    }
}
