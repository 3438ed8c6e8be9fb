//! What the administrator decides: the subnet, who gets which address, and what clients are told.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ether::MacAddr;

use super::message::code;
use super::options::MAX_OPTION;
use crate::client::ReservedFor;
use crate::hostname::{DomainName, Hostname};
use crate::subnet::Subnet;
use crate::time::LeaseTime;

/// How many addresses the pools may hold together, and how many may be reserved: 65,536 each.
///
/// A lease takes some 300 octets of memory and at least 128 of the log, so that a full pool
/// stays within tens of megabytes.
pub const MAX_POOL: usize = 65_536;

/// The shortest lease: 16 s, because BusyBox's udhcpc takes any shorter one for 16 s and would go on
/// using an address that is another's. Every renewal is a write to disk, too.
pub const MIN_LEASE_TIME: Duration = Duration::from_secs(16);

/// The shortest time for which a client may be told to do without IPv4 (RFC 8925 3.4).
pub const MIN_IPV6_ONLY_WAIT: Duration = Duration::from_secs(300);

/// An address kept for one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// In the subnet; inside a pool or outside.
    pub address: Ipv4Addr,
    /// Whom it is for.
    pub client: ReservedFor,
    /// The client's name, whatever it calls itself.
    pub hostname: Option<Hostname>,
}

/// A route that clients are told (RFC 3442).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub destination: Subnet,
    /// The next hop, in the subnet, or 0.0.0.0 for "on this wire".
    pub via: Ipv4Addr,
}

/// The configuration of a [`Server`](super::Server). [`Config::new`] has the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The subnet that is served; /8 to /30.
    pub subnet: Subnet,
    /// The gateway's address, from which the server speaks. Never given away.
    pub gateway: Ipv4Addr,
    /// The gateway's station on the wire.
    pub gateway_mac: MacAddr,
    /// The name under which no client may call itself. Default `gateway`.
    pub gateway_name: Hostname,
    /// Addresses to choose from. Default, when empty: the whole subnet, at most the first 65,536
    /// addresses. The gateway's own is left out by itself.
    pub pools: Vec<RangeInclusive<Ipv4Addr>>,
    /// How long a lease lasts; clients may ask for less. Default one hour: a deleted machine's
    /// address is free within the hour, clients survive half an hour without a gateway, and a
    /// thousand of them cause one write to disk in two seconds.
    pub lease_time: LeaseTime,
    /// When clients renew. Default half of the lease (RFC 2131 4.4.5).
    pub t1: Option<Duration>,
    /// When clients ask any server. Default 0.875 of the lease (RFC 2131 4.4.5).
    pub t2: Option<Duration>,
    /// Routers, best first. Default the gateway. With none, clients get no default route.
    pub routers: Vec<Ipv4Addr>,
    /// Resolvers, best first. Default the gateway.
    pub dns: Vec<Ipv4Addr>,
    /// The domain of the clients' names. Default none.
    pub domain: Option<DomainName>,
    /// Domains that clients try for a short name (RFC 3397). Default, when empty: not sent.
    pub search: Vec<DomainName>,
    /// Time servers.
    pub ntp: Vec<Ipv4Addr>,
    /// The MTU that clients set, 576 to 9216. Default none: they keep 1500.
    pub mtu: Option<u16>,
    /// Routes besides the default route, which is added to them by itself (RFC 3442).
    pub routes: Vec<Route>,
    /// Any other option, code and octets. Sent to who asks for it, or asks for nothing.
    pub options: Vec<(u8, Vec<u8>)>,
    /// Addresses kept for known clients.
    pub reservations: Vec<Reservation>,
    /// Whether an address is probed by ARP before it is offered (RFC 2131 2.2). Default yes.
    pub probe: bool,
    /// Whether a client that asks for it gets its address in two messages in place of four
    /// (RFC 4039). Default no: with two servers on a wire both would commit.
    pub rapid_commit: bool,
    /// How long clients that can do without IPv4 shall do without (RFC 8925), at least 300 s.
    /// Default none: IPv4 for everyone.
    pub ipv6_only: Option<Duration>,
    /// How long an address is out of use after a conflict. Default 10 min.
    pub quarantine: Duration,
    /// How many addresses one port may have, offered, leased and declined together; one that it would
    /// have beyond is not given. Default a quarter of the pool, and 8 in a small one: nobody who sits at
    /// a single port can take every address. Reserved ones are always given.
    pub leases_per_port: Option<usize>,
    /// Whether a client's `chaddr` must be the station that sent the frame. Default no: a bridge
    /// or a test tool speaks for others.
    pub check_station: bool,
}

/// Why a configuration cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Too small for a client, or too large to be meant.
    #[error("subnet {0} has no room for clients or is too wide; use /8 to /30")]
    Subnet(Subnet),
    /// An address that must be a host of the subnet is not.
    #[error("{what} {address} is not a host of {subnet}; choose an address inside")]
    Outside {
        /// Which setting names it.
        what: &'static str,
        /// The address.
        address: Ipv4Addr,
        /// The subnet.
        subnet: Subnet,
    },
    /// The gateway's station is a group address or zero.
    #[error("gateway MAC address {0} is not the address of one station")]
    Station(MacAddr),
    /// A range whose first address is above its last.
    #[error("pool {0}-{1} is empty; write the lower address first")]
    EmptyPool(Ipv4Addr, Ipv4Addr),
    /// More addresses than [`MAX_POOL`].
    #[error("the pools hold {0} addresses, more than {MAX_POOL}; make them smaller")]
    PoolTooLarge(usize),
    /// More reservations than [`MAX_POOL`].
    #[error("{0} reservations are more than {MAX_POOL}")]
    TooManyReservations(usize),
    /// A lease shorter than [`MIN_LEASE_TIME`].
    #[error("a lease of {0} is too short; use at least 16 s")]
    LeaseTime(LeaseTime),
    /// Not T1 < T2 < lease time.
    #[error("T1 {t1:?}, T2 {t2:?} and a lease of {lease}: each must be longer than the one before")]
    Timers {
        /// T1 as it would be used.
        t1: Duration,
        /// T2 as it would be used.
        t2: Duration,
        /// The lease time.
        lease: LeaseTime,
    },
    /// An MTU outside 576 to 9216.
    #[error("an MTU of {0} is outside 576 to 9216")]
    Mtu(u16),
    /// An IPv6-only wait below [`MIN_IPV6_ONLY_WAIT`].
    #[error("an IPv6-only wait of {} s is below 300 s (RFC 8925)", .0.as_secs())]
    Ipv6OnlyWait(Duration),
    /// An option that the server itself writes, or that another setting is for.
    #[error("option {0} cannot be set by number; the server or another setting decides it")]
    Option(u8),
    /// An option that is set twice.
    #[error("option {0} is set twice")]
    OptionTwice(u8),
    /// An option with more octets than fit a message.
    #[error("option {code} has {len} octets, more than {MAX_OPTION}")]
    OptionTooLong {
        /// The option.
        code: u8,
        /// Its length.
        len: usize,
    },
    /// A reservation that cannot be kept.
    #[error(transparent)]
    Reservation(#[from] ReservationError),
}

/// Why a reservation cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReservationError {
    /// Not a host of the subnet, or the gateway's own address.
    #[error("{address} cannot be reserved: it is not an address for clients of {subnet}")]
    Address {
        /// The address.
        address: Ipv4Addr,
        /// The subnet.
        subnet: Subnet,
    },
    /// The address is kept for another client.
    #[error("{address} is already reserved for {client}; remove that reservation first")]
    AddressTaken {
        /// The address.
        address: Ipv4Addr,
        /// Its client.
        client: ReservedFor,
    },
    /// The client has a reservation.
    #[error("{client} already has {address} reserved; remove that reservation first")]
    ClientTaken {
        /// The client.
        client: ReservedFor,
        /// Its address.
        address: Ipv4Addr,
    },
    /// The client is a group address, or an identifier of 0 or more than 255 octets.
    #[error("{0} cannot be a client; give a station's MAC address or 1 to 255 octets")]
    Client(ReservedFor),
    /// The configuration file has this reservation; it can be removed only there.
    #[error("the reservation of {0} stands in the configuration; remove it there")]
    Configured(Ipv4Addr),
    /// There is none to remove.
    #[error("{0} is not reserved")]
    Unknown(Ipv4Addr),
    /// More than [`MAX_POOL`].
    #[error("there are already {MAX_POOL} reservations")]
    TooMany,
}

impl Config {
    /// The defaults for a gateway at `gateway` in `subnet`.
    pub fn new(subnet: Subnet, gateway: Ipv4Addr, gateway_mac: MacAddr) -> Self {
        Self {
            subnet,
            gateway,
            gateway_mac,
            gateway_name: "gateway".parse().expect("it is a label"),
            pools: Vec::new(),
            lease_time: LeaseTime::from_secs(3600),
            t1: None,
            t2: None,
            routers: vec![gateway],
            dns: vec![gateway],
            domain: None,
            search: Vec::new(),
            ntp: Vec::new(),
            mtu: None,
            routes: Vec::new(),
            options: Vec::new(),
            reservations: Vec::new(),
            probe: true,
            rapid_commit: false,
            ipv6_only: None,
            quarantine: Duration::from_secs(600),
            leases_per_port: None,
            check_station: false,
        }
    }

    /// Whether a server can work with it. Reservations are checked against each other when they
    /// are added to the server.
    ///
    /// # Errors
    /// [`ConfigError`] with the first setting that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let subnet = self.subnet;
        if !(8..=30).contains(&subnet.prefix_len()) {
            return Err(ConfigError::Subnet(subnet));
        }
        let inside = |what, address| {
            let outside = ConfigError::Outside { what, address, subnet };
            if subnet.is_host(address) { Ok(()) } else { Err(outside) }
        };
        inside("gateway", self.gateway)?;
        if self.gateway_mac.is_group() || self.gateway_mac.is_zero() {
            return Err(ConfigError::Station(self.gateway_mac));
        }
        for pool in &self.pools {
            inside("pool address", *pool.start())?;
            inside("pool address", *pool.end())?;
            if pool.is_empty() {
                return Err(ConfigError::EmptyPool(*pool.start(), *pool.end()));
            }
        }
        let addresses = self.pools.iter().map(span).fold(0, usize::saturating_add);
        if addresses > MAX_POOL {
            return Err(ConfigError::PoolTooLarge(addresses));
        }
        for router in &self.routers {
            inside("router", *router)?;
        }
        for route in self.routes.iter().filter(|route| !route.via.is_unspecified()) {
            inside("next hop", route.via)?;
        }
        if self.reservations.len() > MAX_POOL {
            return Err(ConfigError::TooManyReservations(self.reservations.len()));
        }
        self.validate_times()?;
        self.validate_options()
    }

    fn validate_times(&self) -> Result<(), ConfigError> {
        let lease = self.lease_time;
        if lease.finite().is_some_and(|time| time < MIN_LEASE_TIME) {
            return Err(ConfigError::LeaseTime(lease));
        }
        if let Some((t1, t2)) = self.timers(lease)
            && let Some(time) = lease.finite()
            && !(t1 < t2 && t2 < time)
        {
            return Err(ConfigError::Timers { t1, t2, lease });
        }
        match self.ipv6_only {
            Some(wait) if wait < MIN_IPV6_ONLY_WAIT => Err(ConfigError::Ipv6OnlyWait(wait)),
            _ => Ok(()),
        }
    }

    fn validate_options(&self) -> Result<(), ConfigError> {
        if let Some(mtu) = self.mtu
            && !(576..=9216).contains(&mtu)
        {
            return Err(ConfigError::Mtu(mtu));
        }
        let mut seen = BTreeSet::new();
        for (code, value) in &self.options {
            if OWN_OPTIONS.contains(code) {
                return Err(ConfigError::Option(*code));
            }
            if !seen.insert(*code) {
                return Err(ConfigError::OptionTwice(*code));
            }
            if value.len() > MAX_OPTION {
                return Err(ConfigError::OptionTooLong { code: *code, len: value.len() });
            }
        }
        Ok(())
    }

    /// T1 and T2 of a lease, or `None` when it is infinite. Configured ones are scaled down for a
    /// client that asked for less.
    pub(super) fn timers(&self, granted: LeaseTime) -> Option<(Duration, Duration)> {
        let time = granted.finite()?;
        let whole = if granted == self.lease_time { Some(time) } else { self.lease_time.finite() };
        let scaled = |configured: Option<Duration>, part: f64| match (configured, whole) {
            (Some(timer), Some(whole)) => time.mul_f64(timer.as_secs_f64() / whole.as_secs_f64()),
            _ => time.mul_f64(part),
        };
        Some((scaled(self.t1, 0.5), scaled(self.t2, 0.875)))
    }

    /// Every address of the pools, without the gateway's.
    pub(super) fn pool(&self) -> BTreeSet<Ipv4Addr> {
        let whole = [self.subnet.network()..=self.subnet.broadcast()];
        let pools = if self.pools.is_empty() { &whole[..] } else { &self.pools };
        pools
            .iter()
            .flat_map(|pool| pool.start().to_bits()..=pool.end().to_bits())
            .map(Ipv4Addr::from_bits)
            .filter(|address| self.subnet.is_host(*address) && *address != self.gateway)
            .take(MAX_POOL)
            .collect()
    }
}

fn span(pool: &RangeInclusive<Ipv4Addr>) -> usize {
    let last = pool.end().to_bits().saturating_sub(pool.start().to_bits());
    usize::try_from(last).unwrap_or(usize::MAX).saturating_add(1)
}

/// What [`Config::options`] may not hold.
const OWN_OPTIONS: &[u8] = &[
    code::PAD,
    code::SUBNET_MASK,
    code::ROUTER,
    code::DNS,
    code::HOSTNAME,
    code::DOMAIN,
    code::MTU,
    code::BROADCAST,
    code::NTP,
    code::REQUESTED_ADDRESS,
    code::LEASE_TIME,
    code::OVERLOAD,
    code::MESSAGE_TYPE,
    code::SERVER_ID,
    code::PARAMETERS,
    code::MESSAGE,
    code::MAX_SIZE,
    code::T1,
    code::T2,
    code::CLIENT_ID,
    code::RAPID_COMMIT,
    code::FQDN,
    code::RELAY,
    code::IPV6_ONLY,
    code::SUBNET_SELECTION,
    code::SEARCH,
    code::ROUTES,
    code::ROUTES_MICROSOFT,
    code::END,
];
