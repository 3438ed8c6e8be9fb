//! What nftables is told for a gateway, as text, and who else on the host drops our packets.
//!
//! Pure: running `nft` is the caller's. One table of the family `inet` holds everything, so that
//! removing it leaves no trace. It never accepts what another table drops, because every table is
//! asked: what others drop is found by [`obstacles`] and said with its remedy.
//!
//! Two ways to hold the table. [`Life::Owned`]: the kernel removes it when the process that made it
//! ends, however it ends; feed [`Rules::line`] to an `nft -i` whose standard input stays open
//! (Linux 5.12). [`Life::Plain`], for older kernels: replaces what a run before has left, and stays
//! until [`Rules::removal`].

mod obstacle;
mod passage;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

pub use obstacle::{
    Dropper, Family, ForeignTable, Hook, Obstacle, RulesetError, foreign_tables, obstacles,
};
pub use passage::{Passages, passages, probe, question};

use crate::ra::UlaPrefix;
use crate::subnet::Subnet;

/// The name of a network interface: 1 to 15 letters, digits, `_`, `.`, `@` and inner `-`.
///
/// The kernel allows more; what is left out would need quoting in a shell or mean something to
/// `nft`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(String);

/// The name of a table: 1 to 32 lower-case letters, digits and `_`, a letter first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName(String);

/// The text cannot be a name here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NftNameError {
    /// Not an [`InterfaceName`].
    #[error("{0:?} cannot be an interface here; use 1 to 15 letters, digits, '_', '.', '@', '-'")]
    Interface(String),
    /// Not a [`TableName`].
    #[error("{0:?} cannot be a table here; use 1 to 32 lower-case letters, digits and '_'")]
    Table(String),
}

impl FromStr for InterfaceName {
    type Err = NftNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let right = (1..=15).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.@-".contains(&b))
            && !text.starts_with(['-', '.']);
        if right {
            Ok(Self(text.to_owned()))
        } else {
            Err(NftNameError::Interface(text.chars().take(40).collect()))
        }
    }
}

impl FromStr for TableName {
    type Err = NftNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let right = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            && text.starts_with(|c: char| c.is_ascii_lowercase());
        if right {
            Ok(Self(text.to_owned()))
        } else {
            Err(NftNameError::Table(text.chars().take(40).collect()))
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Who removes the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// The kernel, when the process that made it ends (`flags owner`).
    Owned,
    /// Whoever runs [`Rules::removal`], or the next start.
    Plain,
}

/// Which of the networks that are not ours machines may reach besides the internet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lan {
    /// All of them.
    Allow,
    /// None of these: the host's own networks, the private ranges, as the caller finds right.
    /// Replies to who came in through a port forward still go there.
    Deny(Vec<Subnet>),
}

/// An IPv6 network of the host. Its text form is `2001:db8::/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv6Network {
    /// Its lowest address.
    pub address: Ipv6Addr,
    /// How many leading bits all addresses share, 0 to 128.
    pub prefix_len: u8,
}

impl fmt::Display for Ipv6Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// Unique local addresses: the private ones of IPv6 (RFC 4193).
const UNIQUE_LOCAL: Ipv6Network =
    Ipv6Network { address: Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), prefix_len: 7 };

/// What of the gateway's host machines may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostAccess {
    /// DNS, DHCP and ping.
    Services,
    /// Whatever listens.
    All,
}

/// What machines can do with IPv6 beyond their own wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv6 {
    /// Nothing.
    Local,
    /// Reach the internet from behind the host's address (NAT66).
    Nat66(UlaPrefix),
}

/// A transport protocol whose ports can be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl FromStr for Protocol {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(ForwardError::Protocol(text.chars().take(20).collect())),
        }
    }
}

/// A port of the host that leads to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Forward {
    /// Of which protocol.
    pub protocol: Protocol,
    /// The host's address that is meant; `None` for each that it has.
    pub listen: Option<Ipv4Addr>,
    /// The host's port.
    pub port: u16,
    /// The machine.
    pub to: Ipv4Addr,
    /// Its port.
    pub to_port: u16,
}

/// Why a port cannot be forwarded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// Neither TCP nor UDP.
    #[error("{0:?} has no ports to forward; use tcp or udp")]
    Protocol(String),
    /// Port 0.
    #[error("port 0 cannot be forwarded; use 1 to 65535")]
    Port,
    /// Not a machine of ours.
    #[error("{to} is not a host of {subnet}; forward to a machine on the wire")]
    Outside {
        /// The target.
        to: Ipv4Addr,
        /// The machines' subnet.
        subnet: Subnet,
    },
    /// The port leads elsewhere already.
    #[error("{protocol} port {port} is already forwarded to {to}; remove that first")]
    Taken {
        /// Of which protocol.
        protocol: Protocol,
        /// The port.
        port: u16,
        /// Where it leads.
        to: Ipv4Addr,
    },
}

/// What the administrator decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The table's name; nobody else may use it.
    pub table: TableName,
    /// The gateway's tap.
    pub tap: InterfaceName,
    /// The only way out; `None` for each that the host has.
    pub uplink: Option<InterfaceName>,
    /// The machines' subnet.
    pub subnet: Subnet,
    /// Which other networks they may reach.
    pub lan: Lan,
    /// With [`Lan::Deny`], the IPv6 networks that they do not reach either, beside unique local ones.
    pub lan_ipv6: Vec<Ipv6Network>,
    /// What of the host they may reach.
    pub host: HostAccess,
    /// IPv6 beyond the wire.
    pub ipv6: Ipv6,
}

impl Config {
    /// A gateway that lets its machines reach everything but the host's own services
    /// besides DNS, DHCP and ping; IPv6 stays on the wire; no port is forwarded.
    pub const fn new(table: TableName, tap: InterfaceName, subnet: Subnet) -> Self {
        Self {
            table,
            tap,
            uplink: None,
            subnet,
            lan: Lan::Allow,
            lan_ipv6: Vec::new(),
            host: HostAccess::Services,
            ipv6: Ipv6::Local,
        }
    }
}

/// The table of one gateway: its configuration and the ports that are forwarded now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    config: Config,
    forwards: BTreeSet<Forward>,
}

impl Rules {
    /// Rules without a forwarded port.
    pub const fn new(config: Config) -> Self {
        Self { config, forwards: BTreeSet::new() }
    }

    /// What they were made of.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The forwarded ports.
    pub fn forwards(&self) -> impl Iterator<Item = &Forward> {
        self.forwards.iter()
    }

    /// Forwards a port. The kernel learns of it by [`forwards_line`](Self::forwards_line).
    ///
    /// # Errors
    /// [`ForwardError`] when it is impossible or taken; nothing is changed then.
    pub fn add_forward(&mut self, forward: Forward) -> Result<(), ForwardError> {
        let Forward { protocol, listen, port, to, to_port } = forward;
        if port == 0 || to_port == 0 {
            return Err(ForwardError::Port);
        }
        if !self.config.subnet.is_host(to) {
            return Err(ForwardError::Outside { to, subnet: self.config.subnet });
        }
        let same = |other: &&Forward| {
            let everywhere = listen.is_none() || other.listen.is_none();
            (other.protocol, other.port) == (protocol, port)
                && (everywhere || other.listen == listen)
        };
        if let Some(other) = self.forwards.iter().find(same) {
            return Err(ForwardError::Taken { protocol, port, to: other.to });
        }
        self.forwards.insert(forward);
        Ok(())
    }

    /// Forgets a forwarded port. Whether there was one.
    pub fn remove_forward(&mut self, protocol: Protocol, port: u16) -> bool {
        let before = self.forwards.len();
        self.forwards.retain(|forward| (forward.protocol, forward.port) != (protocol, port));
        self.forwards.len() < before
    }

    /// The whole table for `nft -f`: one transaction, one command a line.
    pub fn script(&self, life: Life) -> String {
        self.commands(life).join("\n") + "\n"
    }

    /// The same for `nft -i`, which takes a line as one transaction. Ends with a newline.
    pub fn line(&self, life: Life) -> String {
        self.commands(life).join(" ; ") + "\n"
    }

    /// The forwarded ports anew, in one transaction, for the process that holds the table.
    pub fn forwards_line(&self) -> String {
        let table = &self.config.table;
        let mut commands = vec![
            format!("flush chain inet {table} prerouting"),
            format!("flush chain inet {table} output"),
        ];
        commands.extend(self.forward_rules());
        commands.join(" ; ") + "\n"
    }

    /// Removes a [`Life::Plain`] table, or does nothing where there is none.
    pub fn removal(&self) -> String {
        let table = &self.config.table;
        format!("add table inet {table}\ndelete table inet {table}\n")
    }

    fn commands(&self, life: Life) -> Vec<String> {
        let table = &self.config.table;
        let mut commands = match life {
            Life::Owned => vec![format!("add table inet {table} {{ flags owner ; }}")],
            Life::Plain => vec![
                format!("add table inet {table}"),
                format!("delete table inet {table}"),
                format!("add table inet {table}"),
            ],
        };
        for (chain, kind, priority) in [
            ("prerouting", "nat", -100),
            ("output", "nat", -100),
            ("postrouting", "nat", 100),
            ("input", "filter", 0),
            ("forward", "filter", 0),
        ] {
            commands.push(format!(
                "add chain inet {table} {chain} \
                 {{ type {kind} hook {chain} priority {priority} ; policy accept ; }}"
            ));
        }
        commands.extend(self.forward_rules());
        commands.extend(self.postrouting());
        commands.extend(self.input());
        commands.extend(self.forward());
        commands.extend(passage::commands(table, &self.config.tap));
        commands
    }

    fn rule(&self, chain: &str, rule: &str) -> String {
        format!("add rule inet {} {chain} {rule}", self.config.table)
    }

    /// Both for who comes from outside or from the wire and for the host itself. The host's
    /// loopback addresses are left alone: replies could not come back to them.
    fn forward_rules(&self) -> impl Iterator<Item = String> {
        ["prerouting", "output"].into_iter().flat_map(move |chain| {
            self.forwards.iter().map(move |forward| {
                let Forward { protocol, listen, port, to, to_port } = forward;
                let local = listen.map_or_else(
                    || "fib daddr type local ip daddr != 127.0.0.0/8".to_owned(),
                    |listen| format!("ip daddr {listen}"),
                );
                self.rule(
                    chain,
                    &format!("{local} {protocol} dport {port} dnat ip to {to}:{to_port}"),
                )
            })
        })
    }

    fn out(&self) -> String {
        match &self.config.uplink {
            Some(uplink) => format!("oifname \"{uplink}\""),
            None => format!("oifname != \"{}\"", self.config.tap),
        }
    }

    fn postrouting(&self) -> Vec<String> {
        let (subnet, tap, out) = (self.config.subnet, &self.config.tap, self.out());
        let mut rules = vec![
            format!("ip saddr {subnet} {out} masquerade"),
            // A machine that reaches its neighbour through the host's port: the reply must come
            // back through the host.
            format!("ip saddr {subnet} oifname \"{tap}\" ct status dnat masquerade"),
        ];
        if let Ipv6::Nat66(prefix) = self.config.ipv6 {
            rules.push(format!("ip6 saddr {prefix} {out} masquerade"));
        }
        rules.iter().map(|rule| self.rule("postrouting", rule)).collect()
    }

    fn input(&self) -> Vec<String> {
        if self.config.host == HostAccess::All {
            return Vec::new();
        }
        let tap = &self.config.tap;
        [
            "ct state established,related accept",
            "meta l4proto { icmp, ipv6-icmp } accept",
            "udp dport { 53, 67 } accept",
            "tcp dport 53 accept",
            "reject with icmpx type admin-prohibited",
        ]
        .iter()
        .map(|rule| self.rule("input", &format!("iifname \"{tap}\" {rule}")))
        .collect()
    }

    fn forward(&self) -> Vec<String> {
        let (from, to) = (
            format!("iifname \"{}\"", self.config.tap),
            format!("oifname \"{}\"", self.config.tap),
        );
        let clamp = "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu";
        let reject = "reject with icmpx type admin-prohibited";
        let mut rules = vec![
            format!("{from} {clamp}"),
            format!("{to} {clamp}"),
            // Nobody speaks from an address that is not the wire's.
            format!("{from} ip saddr != {} drop", self.config.subnet),
            match self.config.ipv6 {
                Ipv6::Local => format!("{from} meta nfproto ipv6 {reject}"),
                Ipv6::Nat66(prefix) => format!("{from} ip6 saddr != {prefix} drop"),
            },
            format!("{from} ct state established,related accept"),
            format!("{from} {to} accept"),
        ];
        if let Some(uplink) = &self.config.uplink {
            rules.push(format!("{from} oifname != \"{uplink}\" {reject}"));
        }
        if let Lan::Deny(subnets) = &self.config.lan
            && !subnets.is_empty()
        {
            // Disjoint, because a set refuses overlaps.
            let outer = subnets.iter().filter(|subnet| {
                let wider = |other: &&Subnet| {
                    other.prefix_len() < subnet.prefix_len() && other.overlaps(**subnet)
                };
                !subnets.iter().any(|other| wider(&other))
            });
            let set: BTreeSet<String> = outer.map(Subnet::to_string).collect();
            let set = Vec::from_iter(set).join(", ");
            rules.push(format!("{from} ip daddr {{ {set} }} {reject}"));
            if let Ipv6::Nat66(_) = self.config.ipv6 {
                let denied = [UNIQUE_LOCAL].into_iter().chain(self.config.lan_ipv6.iter().copied());
                let denied: BTreeSet<Ipv6Network> = denied.collect();
                rules.extend(denied.iter().map(|net| format!("{from} ip6 daddr {net} {reject}")));
            }
        }
        rules.extend([
            format!("{from} accept"),
            format!("{to} ct state established,related accept"),
            format!("{to} ct status dnat accept"),
            format!("{to} {reject}"),
        ]);
        rules.iter().map(|rule| self.rule("forward", rule)).collect()
    }
}

#[cfg(test)]
mod tests;
