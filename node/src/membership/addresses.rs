//! The addresses of this host at which others may reach its node.

use std::net::{IpAddr, SocketAddr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// Where a socket that listens at `listen` is reached from outside. Not by the interfaces `inner`,
/// which are in the virtual network themselves: a cable must not run within itself.
pub(super) fn of_host(listen: SocketAddr, inner: &[String]) -> Vec<SocketAddr> {
    if !listen.ip().is_unspecified() {
        return vec![listen];
    }
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let mut addresses = Vec::new();
    for interface in interfaces {
        let usable = interface.flags.contains(InterfaceFlags::IFF_UP)
            && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
            && !inner.contains(&interface.interface_name);
        let Some(address) = interface.address.filter(|_| usable) else { continue };
        let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::from(v4.ip()),
            (_, Some(v6)) if listen.is_ipv6() => IpAddr::from(v6.ip()),
            _ => continue,
        };
        if is_reachable_from_outside(ip) && !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    // IPv4 first: where both work, either will do; where one does not, it is IPv6.
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.into_iter().map(|ip| SocketAddr::new(ip, listen.port())).collect()
}

fn is_reachable_from_outside(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || is_link_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_listens_at_one_address_is_reached_there_alone() {
        let listen = "127.0.0.1:7".parse().unwrap();
        assert_eq!(of_host(listen, &[]), [listen]);
        let all = of_host("[::]:7667".parse().unwrap(), &[]);
        assert!(all.iter().all(|at| at.port() == 7667 && is_reachable_from_outside(at.ip())));
        let ipv4 = of_host("0.0.0.0:7667".parse().unwrap(), &[]);
        assert!(ipv4.iter().all(SocketAddr::is_ipv4));
    }
}
