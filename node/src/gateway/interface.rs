//! The gateway's interface and the host's routes, by rtnetlink.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use anyhow::{Context as _, bail};
use ether::MacAddr;
use futures_util::{StreamExt as _, TryStreamExt as _};
use gateway::Subnet;
use gateway::nft::Ipv6Network;
use gateway::overlap::{self, HostRoute};
use rtnetlink::packet_route::address::AddressHeaderFlags;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::{Handle, LinkUnspec, MulticastGroup, RouteMessageBuilder};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{GatewayConfig, sysctl};

/// A connection to the kernel's network configuration.
#[derive(Debug, Clone)]
pub(super) struct Netlink {
    handle: Handle,
}

/// Where the host's IPv4 routes lead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Routes {
    pub(super) networks: Vec<HostRoute>,
    /// The interfaces of the default routes.
    pub(super) uplinks: BTreeSet<String>,
    /// Those of IPv6.
    pub(super) uplinks_ipv6: BTreeSet<String>,
    /// The IPv6 networks that the host is on.
    pub(super) networks_ipv6: Vec<Ipv6Network>,
}

impl Netlink {
    /// Connects. `changed` is told whenever routes or interfaces may have changed.
    pub(super) fn connect(changed: Rc<Notify>, tasks: &mut JoinSet<()>) -> anyhow::Result<Self> {
        let groups = [MulticastGroup::Ipv4Route, MulticastGroup::Ipv6Route, MulticastGroup::Link];
        let (connection, handle, mut messages) = rtnetlink::new_multicast_connection(&groups)
            .context("cannot ask the kernel for its network configuration")?;
        tasks.spawn_local(connection);
        tasks.spawn_local(async move {
            // What they say is not read: how things are is asked for when it matters.
            while messages.next().await.is_some() {
                changed.notify_one();
            }
        });
        Ok(Self { handle })
    }

    /// Refuses a gateway that would be in somebody's way.
    pub(super) async fn check_free(&self, config: &GatewayConfig) -> anyhow::Result<()> {
        let interface = config.interface.to_string();
        let names = self.interfaces().await?;
        if names.values().any(|name| *name == interface) {
            bail!(
                "cannot make the gateway's interface: there is an interface {interface} already; choose another name with --gateway-if"
            );
        }
        if let Some(uplink) = &config.uplink {
            let uplink = uplink.to_string();
            if !names.values().any(|name| *name == uplink) {
                bail!(
                    "--uplink {uplink}: there is no such interface; ip link shows which there are"
                );
            }
        }
        overlap::check(config.subnet, &self.routes(&interface).await?.networks).context("--gateway")
    }

    /// Gives the interface its MTU and brings it up, without an address. Gives its MAC address.
    pub(super) async fn bring_up(
        &self,
        config: &GatewayConfig,
        has_ipv6: bool,
    ) -> anyhow::Result<MacAddr> {
        let name = config.interface.to_string();
        let failed = || format!("cannot configure interface {name}");
        let link = self.link(&name).await?;
        let index = link.header.index;
        let mac = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(octets) => octets.first_chunk::<6>().copied().map(MacAddr),
            _ => None,
        });
        let mac = mac.with_context(failed)?;
        // Machines are no routers for this host. Without IPv6 in the kernel there is no setting.
        let _ = sysctl::write(&format!("ipv6/conf/{name}/accept_ra"), "0");
        if has_ipv6 {
            // The kernel makes no link-local address beside ours.
            let _ = sysctl::write(&format!("ipv6/conf/{name}/addr_gen_mode"), "1");
        }
        let up = LinkUnspec::new_with_index(index).mtu(config.mtu.into()).up().build();
        self.handle.link().set(up).execute().await.with_context(failed)?;
        Ok(mac)
    }

    /// Gives the interface its addresses.
    pub(super) async fn assign(
        &self,
        config: &GatewayConfig,
        ipv6: Vec<Ipv6Addr>,
    ) -> anyhow::Result<()> {
        let name = config.interface.to_string();
        let failed = || format!("cannot give interface {name} its address");
        let index = self.link(&name).await?.header.index;
        let (address, length) = (IpAddr::V4(config.address), config.subnet.prefix_len());
        self.handle.address().add(index, address, length).execute().await.with_context(failed)?;
        // Without a search for duplicates: the mesh keeps others from using them, and who listens there
        // need not wait.
        for address in ipv6 {
            let mut add = self.handle.address().add(index, address.into(), 64);
            add.message_mut().header.flags |= AddressHeaderFlags::Nodad;
            add.execute().await.with_context(|| {
                format!("cannot give {name} the IPv6 address {address}; is IPv6 switched off on this host? sysctl net.ipv6.conf.all.disable_ipv6 says so, and --ipv6 off does without")
            })?;
        }
        Ok(())
    }

    async fn link(&self, name: &str) -> anyhow::Result<LinkMessage> {
        let mut links = self.handle.link().get().match_name(name.to_owned()).execute();
        let failed = || format!("cannot find interface {name}");
        links.try_next().await.with_context(failed)?.with_context(failed)
    }

    /// The host's IPv4 routes, without those of the gateway's own interface.
    pub(super) async fn routes(&self, own: &str) -> anyhow::Result<Routes> {
        let names = self.interfaces().await?;
        let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let mut messages = self.handle.route().get(all).execute();
        let mut routes = Routes::default();
        while let Some(route) = messages.try_next().await.context("cannot read the routes")? {
            let length = route.header.destination_prefix_length;
            let wanted = match route.header.kind {
                RouteType::Unicast => true,
                // The addresses of the host itself lie in networks that are listed, too; what is
                // left is 127.0.0.0/8.
                RouteType::Local => length < 32,
                _ => false,
            };
            let Some(destination) = wanted.then(|| destination_of(&route)).flatten() else {
                continue;
            };
            for index in interfaces_of(&route) {
                let interface = names.get(&index).cloned().unwrap_or_else(|| format!("#{index}"));
                if interface == own {
                    continue;
                }
                if length == 0 {
                    routes.uplinks.insert(interface.clone());
                }
                routes.networks.push(HostRoute { destination, interface });
            }
        }
        self.read_ipv6(own, &names, &mut routes).await?;
        Ok(routes)
    }

    async fn read_ipv6(
        &self,
        own: &str,
        names: &BTreeMap<u32, String>,
        routes: &mut Routes,
    ) -> anyhow::Result<()> {
        let all = RouteMessageBuilder::<Ipv6Addr>::new().build();
        let mut messages = self.handle.route().get(all).execute();
        while let Some(route) = messages.try_next().await.context("cannot read the IPv6 routes")? {
            if route.header.kind != RouteType::Unicast {
                continue;
            }
            let interfaces = interfaces_of(&route).into_iter();
            let others: BTreeSet<String> = interfaces
                .filter_map(|index| names.get(&index).cloned())
                .filter(|name| name != own)
                .collect();
            let prefix_len = route.header.destination_prefix_length;
            let address = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(*address),
                _ => None,
            });
            match address {
                _ if prefix_len == 0 => routes.uplinks_ipv6.extend(others),
                Some(address) if !others.is_empty() && !address.is_unicast_link_local() => {
                    routes.networks_ipv6.push(Ipv6Network { address, prefix_len });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The names of all interfaces, by index.
    async fn interfaces(&self) -> anyhow::Result<BTreeMap<u32, String>> {
        let mut links = self.handle.link().get().execute();
        let mut names = BTreeMap::new();
        while let Some(link) = links.try_next().await.context("cannot read the interfaces")? {
            let name = link.attributes.into_iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name),
                _ => None,
            });
            names.extend(name.map(|name| (link.header.index, name)));
        }
        Ok(names)
    }
}

fn destination_of(route: &RouteMessage) -> Option<Subnet> {
    let address = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
        _ => None,
    });
    // A default route names no destination.
    let address = address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    Subnet::containing(address, route.header.destination_prefix_length).ok()
}

/// The interfaces by which a route leaves: several when it has several next hops.
fn interfaces_of(route: &RouteMessage) -> Vec<u32> {
    let each = route.attributes.iter().flat_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => vec![*index],
        RouteAttribute::MultiPath(hops) => hops.iter().map(|hop| hop.interface_index).collect(),
        _ => Vec::new(),
    });
    each.collect()
}
