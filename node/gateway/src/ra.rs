//! Router advertisements: what machines on the wire learn of IPv6 (RFC 4861, 8106).
//!
//! Pure: frames in, frames out. Advertises one unique local /64 (RFC 4193), resolvers and domains,
//! and a default route only while there is one, so that no machine waits for an IPv6 that leads
//! nowhere. The gateway's own addresses, neighbour discovery and forwarding are the kernel's.

use std::collections::VecDeque;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::time::{Duration, Instant};

use ether::MacAddr;

use crate::hostname::DomainName;
use crate::wire::{Icmpv6, icmpv6_frame};

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The default MaxRtrAdvInterval (RFC 4861 6.2.1); the least is a third of it.
const INTERVAL: Duration = Duration::from_secs(600);

/// The first advertisements come faster (RFC 4861 10).
const INITIAL_INTERVAL: Duration = Duration::from_secs(16);
const INITIAL_COUNT: u8 = 3;

/// Between two advertisements to all (RFC 4861 10).
const MIN_DELAY: Duration = Duration::from_secs(3);

/// Three intervals (RFC 4861 6.2.1, RFC 8106 5.1).
const ROUTER_LIFETIME: u16 = 1800;

/// Of addresses in the prefix: short, so that machines drop a prefix that is gone (RFC 9096 3.1).
const PREFERRED: u32 = 2700;
const VALID: u32 = 5400;

/// How many advertisements say goodbye (RFC 4861 10).
const FINAL_COUNT: usize = 3;

/// Answers that wait for the caller; more solicitations than that are one host's noise.
const MAX_TRANSMIT: usize = 64;

/// A unique local /64 (RFC 4193): `fd`, a random global identifier of 40 bits, a subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UlaPrefix([u8; 8]);

/// The text is not a unique local /64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a unique local prefix; write for example fd12:3456:789a:1::/64")]
pub struct ParsePrefixError(String);

impl UlaPrefix {
    /// The prefix of a global identifier, which must be random and kept (RFC 4193 3.2).
    pub const fn new(global_id: [u8; 5], subnet: u16) -> Self {
        let [a, b, c, d, e] = global_id;
        let [high, low] = subnet.to_be_bytes();
        Self([0xfd, a, b, c, d, e, high, low])
    }

    /// The address with this interface identifier.
    pub fn address(self, interface_id: u64) -> Ipv6Addr {
        let prefix = u128::from(u64::from_be_bytes(self.0)) << 64;
        Ipv6Addr::from_bits(prefix | u128::from(interface_id))
    }

    /// Whether an address lies in it.
    pub fn contains(self, address: Ipv6Addr) -> bool {
        address.octets().starts_with(&self.0)
    }
}

impl fmt::Display for UlaPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/64", self.address(0))
    }
}

impl FromStr for UlaPrefix {
    type Err = ParsePrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParsePrefixError(text.chars().take(60).collect());
        let address: Ipv6Addr =
            text.strip_suffix("/64").ok_or_else(refused)?.parse().map_err(|_| refused())?;
        let [0xfd, a, b, c, d, e, high, low, 0, 0, 0, 0, 0, 0, 0, 0] = address.octets() else {
            return Err(refused());
        };
        Ok(Self::new([a, b, c, d, e], u16::from_be_bytes([high, low])))
    }
}

/// Whether machines shall send what is not for the wire to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultRoute {
    /// No: IPv6 ends at the wire.
    None,
    /// Yes: the host has a way out.
    Advertised,
}

/// What is advertised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The gateway's station on the wire.
    pub gateway_mac: MacAddr,
    /// The link-local address of the tap; machines send to it.
    pub link_local: Ipv6Addr,
    /// The prefix from which machines make their addresses.
    pub prefix: UlaPrefix,
    /// Whether there is a way out at the start.
    pub default_route: DefaultRoute,
    /// Resolvers; at most the first 16 are sent.
    pub dns: Vec<Ipv6Addr>,
    /// Domains for short names; as many as fit 255 octets are sent.
    pub search: Vec<DomainName>,
    /// The MTU of the wire, if not 1500.
    pub mtu: Option<u32>,
    /// Decides how the intervals vary.
    pub seed: u64,
}

/// Advertises.
#[derive(Debug)]
pub struct Advertiser {
    config: Config,
    transmit: VecDeque<Vec<u8>>,
    /// When the next advertisement to all is due; `None` after [`stop`](Self::stop).
    next: Option<Instant>,
    last: Option<Instant>,
    /// How many of the first, faster ones are left.
    initial: u8,
    random: u64,
}

impl Advertiser {
    /// An advertiser whose first advertisement is due now.
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            random: config.seed,
            config,
            transmit: VecDeque::new(),
            next: Some(now),
            last: None,
            initial: INITIAL_COUNT,
        }
    }

    /// Takes a frame from the wire; only router solicitations matter.
    pub fn handle_frame(&mut self, frame: &[u8], now: Instant) {
        let Some(message) = Icmpv6::parse(frame) else { return };
        if self.next.is_none() || !is_solicitation(&message) {
            return;
        }
        if message.source.is_unspecified() {
            // To all, but not more often than every three seconds (RFC 4861 6.2.6).
            let due = self.last.map_or(now, |last| (last + MIN_DELAY).max(now));
            self.next = self.next.map(|next| next.min(due));
            self.handle_timeout(now);
        } else if self.transmit.len() < MAX_TRANSMIT {
            let (station, source) = (message.station, message.source);
            self.transmit.push_back(self.advertisement(station, source, false));
        }
    }

    /// Advertises to all, if that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        self.advertise(false);
        self.last = Some(now);
        let wait = self.interval();
        self.next = Some(now + wait);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// The next frame to send from the gateway's port.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.pop_front()
    }

    /// The host's way out came or went: machines hear of it at once.
    pub fn set_default_route(&mut self, default_route: DefaultRoute, now: Instant) {
        if self.config.default_route != default_route && self.next.is_some() {
            self.config.default_route = default_route;
            self.initial = INITIAL_COUNT;
            self.next = Some(now);
            self.handle_timeout(now);
        }
    }

    /// Says goodbye three times: no router, no resolver. Machines keep their addresses, with which
    /// they still reach each other. Nothing is advertised any more.
    pub fn stop(&mut self) {
        if self.next.take().is_some() {
            for _ in 0..FINAL_COUNT {
                self.advertise(true);
            }
        }
    }

    fn advertise(&mut self, last: bool) {
        let frame = self.advertisement(MacAddr([0x33, 0x33, 0, 0, 0, 1]), ALL_NODES, last);
        self.transmit.push_back(frame);
    }

    /// Between a third of the interval and all of it, evenly (RFC 4861 6.2.4).
    fn interval(&mut self) -> Duration {
        // SplitMix64: enough for routers not to fall into step.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let spread = INTERVAL - INTERVAL / 3;
        let [.., high, low] = (mixed ^ (mixed >> 31)).to_be_bytes();
        let wait = INTERVAL / 3 + spread * u32::from(u16::from_be_bytes([high, low])) / (1 << 16);
        self.initial = self.initial.saturating_sub(1);
        if self.initial > 0 { wait.min(INITIAL_INTERVAL) } else { wait }
    }

    /// The frame; the last ones have no lifetimes.
    fn advertisement(&self, station: MacAddr, destination: Ipv6Addr, last: bool) -> Vec<u8> {
        let Config { gateway_mac, link_local, .. } = self.config;
        let route = self.config.default_route == DefaultRoute::Advertised && !last;
        let router_lifetime = if route { ROUTER_LIFETIME } else { 0 };
        let lifetime = if last { 0 } else { u32::from(ROUTER_LIFETIME) };
        // Hop limit 64; neither addresses nor anything else from DHCPv6.
        let mut message = vec![ROUTER_ADVERTISEMENT, 0, 0, 0, 64, 0];
        message.extend(router_lifetime.to_be_bytes());
        message.extend([0; 8]);
        message.extend([1, 1]);
        message.extend(gateway_mac.0);
        if let Some(mtu) = self.config.mtu {
            message.extend([5, 1, 0, 0]);
            message.extend(mtu.to_be_bytes());
        }
        // On the link, and to make addresses of.
        message.extend([3, 4, 64, 0xc0]);
        message.extend(VALID.to_be_bytes());
        message.extend(PREFERRED.to_be_bytes());
        message.extend([0; 4]);
        message.extend(self.config.prefix.address(0).octets());
        self.push_dns(&mut message, lifetime);
        let source = (gateway_mac, link_local);
        icmpv6_frame(source, (station, destination), message)
    }

    /// RFC 8106 5.1 and 5.2.
    fn push_dns(&self, message: &mut Vec<u8>, lifetime: u32) {
        let dns = &self.config.dns[..self.config.dns.len().min(16)];
        if !dns.is_empty() {
            let units = u8::try_from(1 + 2 * dns.len()).expect("at most 16 resolvers");
            message.extend([25, units, 0, 0]);
            message.extend(lifetime.to_be_bytes());
            dns.iter().for_each(|address| message.extend(address.octets()));
        }
        let mut names = Vec::new();
        for domain in &self.config.search {
            if names.len() + domain.as_str().len() + 2 > 255 {
                break;
            }
            for label in domain.labels() {
                names.push(u8::try_from(label.len()).expect("a label has at most 63 octets"));
                names.extend(label.as_bytes());
            }
            names.push(0);
        }
        if !names.is_empty() {
            names.resize(names.len().next_multiple_of(8), 0);
            let units = u8::try_from(1 + names.len() / 8).expect("at most 256 octets of names");
            message.extend([31, units, 0, 0]);
            message.extend(lifetime.to_be_bytes());
            message.extend(names);
        }
    }
}

/// RFC 4861 6.1.1.
fn is_solicitation(message: &Icmpv6<'_>) -> bool {
    let [ROUTER_SOLICITATION, 0, _, _, _, _, _, _, options @ ..] = message.octets else {
        return false;
    };
    let mut options = options;
    while let [kind, units, ..] = *options {
        let len = usize::from(units) * 8;
        let from_nowhere = message.source.is_unspecified();
        if len == 0 || len > options.len() || (kind == 1 && from_nowhere) {
            return false;
        }
        options = &options[len..];
    }
    message.hop_limit == 255 && options.is_empty()
}

#[cfg(test)]
mod tests;
