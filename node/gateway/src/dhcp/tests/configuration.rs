//! What a configuration may say.

use super::*;
use crate::LeaseTime;

fn refusal(config: Config) -> ConfigError {
    let now = Lab::new(super::config()).now;
    Server::new(config, Loaded::default(), BOOT, now).unwrap_err()
}

#[test]
fn the_defaults_work() {
    let server = Lab::new(Config::new("10.0.0.0/24".parse().unwrap(), GATEWAY, GATEWAY_MAC)).server;
    assert_eq!(server.config().lease_time.as_secs(), 3600);
}

#[test]
fn impossible_settings_are_refused_with_their_value() {
    type Change = fn(&mut Config);
    let cases: &[(Change, &str)] = &[
        (|c| c.subnet = "10.0.0.0/31".parse().unwrap(), "10.0.0.0/31"),
        (|c| c.subnet = "0.0.0.0/0".parse().unwrap(), "0.0.0.0/0"),
        (|c| c.gateway = Ipv4Addr::new(192, 168, 1, 1), "192.168.1.1"),
        (|c| c.gateway = ip(255), "10.0.0.255"),
        (|c| c.gateway_mac = MacAddr::BROADCAST, "ff:ff:ff:ff:ff:ff"),
        (|c| c.pools = vec![ip(20)..=ip(10)], "10.0.0.20-10.0.0.10"),
        (|c| c.pools = vec![ip(20)..=Ipv4Addr::new(10, 0, 1, 0)], "10.0.1.0"),
        (|c| c.lease_time = LeaseTime::from_secs(9), "9 s"),
        (|c| c.t1 = Some(secs(3600)), "3600s"),
        (|c| c.t2 = Some(secs(1)), "1s"),
        (|c| c.routers = vec![Ipv4Addr::new(192, 168, 1, 1)], "router 192.168.1.1"),
        (
            |c| {
                let destination = "10.1.0.0/16".parse().unwrap();
                c.routes = vec![Route { destination, via: Ipv4Addr::new(192, 168, 1, 1) }];
            },
            "next hop 192.168.1.1",
        ),
        (|c| c.mtu = Some(68), "68"),
        (|c| c.ipv6_only = Some(secs(299)), "299 s"),
        (|c| c.options = vec![(53, vec![1])], "option 53"),
        (|c| c.options = vec![(121, vec![1])], "option 121"),
        (|c| c.options = vec![(66, vec![]), (66, vec![])], "option 66"),
        (|c| c.options = vec![(66, vec![0; 2000])], "2000 octets"),
        (
            |c| {
                let client = crate::ReservedFor::Mac(MacAddr([2; 6]));
                let address = Ipv4Addr::new(192, 168, 1, 5);
                c.reservations = vec![Reservation { address, client, hostname: None }];
            },
            "192.168.1.5",
        ),
    ];
    for (change, named) in cases {
        let mut config = config();
        change(&mut config);
        let error = refusal(config).to_string();
        assert!(error.contains(named), "{error:?} does not name {named}");
    }
}

#[test]
fn a_pool_is_at_most_65536_addresses() {
    let subnet = "10.0.0.0/8".parse().unwrap();
    let wide = Config { subnet, ..config() };
    let last = Ipv4Addr::new(10, 1, 0, 1);
    let too_large = Config { pools: vec![ip(1)..=last], ..wide.clone() };
    assert_eq!(refusal(too_large), ConfigError::PoolTooLarge(65_537));
    assert_eq!(wide.pool().len(), MAX_POOL, "the default takes the first");
}

#[test]
fn pools_may_have_gaps_and_overlap() {
    let pools = vec![ip(10)..=ip(12), ip(12)..=ip(13), ip(250)..=ip(251)];
    let mut lab = Lab::new(Config { pools, ..config() });
    let mut given: Vec<_> = (0..6).map(|n| lab.join(&Client::new(n))).collect();
    given.sort();
    assert_eq!(given, [10, 11, 12, 13, 250, 251].map(ip));
}

#[test]
fn empty_lists_are_not_sent() {
    let config = Config { routers: Vec::new(), dns: Vec::new(), ..config() };
    let offer = Lab::new(config).ask(&Client::new(1).with(55, &[3, 6, 42, 119, 121]).discover());
    assert_eq!(offer.codes(), [53, 54, 51, 58, 59, 1]);
}
