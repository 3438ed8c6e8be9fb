//! The text that nftables is given; `tests/nft.rs` shows it to the real one.

use super::*;

fn config() -> Config {
    let (table, tap) = ("vde_default".parse().unwrap(), "vde0".parse().unwrap());
    Config::new(table, tap, "10.0.0.0/24".parse().unwrap())
}

fn rules() -> Rules {
    Rules::new(config())
}

fn forward(port: u16, last: u8) -> Forward {
    let to = Ipv4Addr::new(10, 0, 0, last);
    Forward { protocol: Protocol::Tcp, listen: None, port, to, to_port: 80 }
}

#[test]
fn the_whole_table_is_as_expected() {
    let denied = ["192.168.1.0/24", "169.254.0.0/16"].map(|subnet| subnet.parse().unwrap());
    let mut rules = Rules::new(Config {
        uplink: Some("eth0".parse().unwrap()),
        lan: Lan::Deny(denied.to_vec()),
        ipv6: Ipv6::Nat66("fd12:3456:789a:1::/64".parse().unwrap()),
        ..config()
    });
    rules.add_forward(forward(8080, 5)).unwrap();
    assert_eq!(rules.script(Life::Owned), include_str!("golden.nft"));
}

#[test]
fn a_plain_table_replaces_what_was_left() {
    let script = rules().script(Life::Plain);
    let expected = "add table inet vde_default\ndelete table inet vde_default\n\
                    add table inet vde_default\nadd chain";
    assert!(script.starts_with(expected), "{script}");
    assert!(!script.contains("owner"));
}

#[test]
fn the_line_is_one_line_with_the_same_commands() {
    let rules = rules();
    let line = rules.line(Life::Owned);
    assert_eq!(line.matches('\n').count(), 1);
    assert_eq!(line.replace(" ; add ", "\nadd "), rules.script(Life::Owned));
}

#[test]
fn the_policies_leave_their_marks() {
    let open = rules();
    let text = open.script(Life::Owned);
    assert!(!text.contains("ip daddr {"), "everything may be reached");
    assert!(text.contains("meta nfproto ipv6 reject"));
    assert!(text.contains("input iifname \"vde0\" reject"));
    let all = Rules::new(Config { host: HostAccess::All, ..config() });
    assert!(!all.script(Life::Owned).contains("rule inet vde_default input"));
    let nested = ["10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8", "172.16.0.0/12"];
    let lan = Lan::Deny(nested.map(|subnet| subnet.parse().unwrap()).to_vec());
    let denied = Rules::new(Config { lan, ..config() }).script(Life::Owned);
    assert!(denied.contains("ip daddr { 10.0.0.0/8, 172.16.0.0/12 }"), "{denied}");
}

#[test]
fn a_port_leads_to_one_machine_of_ours() {
    let mut rules = rules();
    rules.add_forward(forward(8080, 5)).unwrap();
    let taken = rules.add_forward(forward(8080, 6)).unwrap_err();
    assert_eq!(
        taken.to_string(),
        "tcp port 8080 is already forwarded to 10.0.0.5; remove that first"
    );
    let udp = Forward { protocol: Protocol::Udp, ..forward(8080, 6) };
    rules.add_forward(udp).unwrap();
    assert_eq!(rules.add_forward(forward(0, 5)), Err(ForwardError::Port));
    let outside = Forward { to: Ipv4Addr::new(10, 0, 1, 5), ..forward(81, 5) };
    assert!(matches!(rules.add_forward(outside), Err(ForwardError::Outside { .. })));
    let one = Forward { listen: Some(Ipv4Addr::new(192, 0, 2, 1)), ..forward(90, 5) };
    let other = Forward { listen: Some(Ipv4Addr::new(192, 0, 2, 2)), ..forward(90, 6) };
    rules.add_forward(one).unwrap();
    rules.add_forward(other).unwrap();
    assert!(rules.add_forward(forward(90, 7)).is_err(), "everywhere is there too");
    assert!(rules.remove_forward(Protocol::Tcp, 8080));
    assert!(!rules.remove_forward(Protocol::Tcp, 8080));
    assert_eq!(rules.forwards().count(), 3);
}

#[test]
fn names_that_would_mean_something_else_are_refused() {
    for text in ["", "a b", "-x", "eth0\"", "x*", "a/b", "sixteen-letters1", "..", "x;y", "ä"] {
        assert!(text.parse::<InterfaceName>().is_err(), "{text:?} was accepted");
    }
    assert!("br-0.7@a".parse::<InterfaceName>().is_ok());
    for text in ["", "1a", "A", "a-b", "a b", "_a"] {
        assert!(text.parse::<TableName>().is_err(), "{text:?} was accepted");
    }
}

fn found(ruleset: &str) -> Vec<String> {
    let (own, tap) = ("vde_default".parse().unwrap(), "vde0".parse().unwrap());
    obstacles(ruleset, &own, &tap, Hook::Forward, false)
        .unwrap()
        .iter()
        .map(Obstacle::to_string)
        .collect()
}

fn ruleset(objects: &str) -> String {
    format!("{{\"nftables\": [{{\"metainfo\": {{\"json_schema_version\": 1}}}}, {objects}]}}")
}

fn chain(family: &str, table: &str, name: &str, more: &str) -> String {
    format!(
        "{{\"chain\": {{\"family\": \"{family}\", \"table\": \"{table}\", \"name\": \"{name}\", \
         \"handle\": 1{more}}}}}"
    )
}

const DROP: &str =
    ", \"type\": \"filter\", \"hook\": \"forward\", \"prio\": 0, \"policy\": \"drop\"";
const ACCEPT: &str =
    ", \"type\": \"filter\", \"hook\": \"forward\", \"prio\": 0, \"policy\": \"accept\"";

#[test]
fn each_firewall_is_named_with_its_remedy() {
    let drop = |table, name| chain("ip", table, name, DROP);
    let docker = [drop("filter", "FORWARD"), chain("ip", "filter", "DOCKER-USER", "")].join(",");
    assert_eq!(
        found(&ruleset(&docker)),
        ["Docker's chain FORWARD (table ip filter) drops what machines send through this host; \
          run: iptables -I DOCKER-USER -i vde0 -j ACCEPT && \
          iptables -I DOCKER-USER -o vde0 -j ACCEPT"]
    );
    let ufw = [drop("filter", "FORWARD"), chain("ip", "filter", "ufw-user-forward", "")].join(",");
    assert!(
        found(&ruleset(&ufw))[0]
            .ends_with("run: ufw route allow in on vde0 && ufw route allow out on vde0")
    );
    let somebody = drop("mine", "fw");
    assert!(found(&ruleset(&somebody))[0].ends_with(
        "run: nft insert rule ip mine fw iifname vde0 accept && \
         nft insert rule ip mine fw oifname vde0 accept"
    ));
}

#[test]
fn what_keeps_machines_from_the_host_itself_has_another_remedy() {
    let drop = DROP.replace("forward", "input");
    let found = |table: &str, name: &str, other: &str| {
        let chains = [chain("ip", table, name, &drop), chain("ip", table, other, "")].join(",");
        let (own, tap) = ("vde_default".parse().unwrap(), "vde0".parse().unwrap());
        obstacles(&ruleset(&chains), &own, &tap, Hook::Input, false).unwrap()[0].to_string()
    };
    assert_eq!(
        found("filter", "INPUT", "ufw-user-input"),
        "ufw's chain INPUT (table ip filter) drops what machines ask of this host, names among it; \
         run: ufw allow in on vde0"
    );
    assert!(
        found("mine", "fw", "x").ends_with("run: nft insert rule ip mine fw iifname vde0 accept")
    );
}

#[test]
fn a_last_rule_that_rejects_all_is_an_obstacle_too() {
    let rule = |expr: &str| {
        format!(
            "{{\"rule\": {{\"family\": \"inet\", \"table\": \"firewalld\", \
             \"chain\": \"filter_FORWARD\", \"handle\": 2, \"expr\": [{expr}]}}}}"
        )
    };
    let chain = chain("inet", "firewalld", "filter_FORWARD", ACCEPT);
    let reject =
        rule("{\"counter\": {\"packets\": 0, \"bytes\": 0}}, {\"reject\": {\"type\": \"icmpx\"}}");
    let jump = rule("{\"jump\": {\"target\": \"x\"}}");
    let all = found(&ruleset(&[chain.clone(), jump.clone(), reject.clone()].join(",")));
    let remedy = "run: firewall-cmd --zone=trusted --add-interface=vde0 && \
                  firewall-cmd --permanent --zone=trusted --add-interface=vde0";
    assert!(all[0].ends_with(remedy), "{all:?}");
    assert!(found(&ruleset(&[chain.clone(), reject.clone(), jump].join(","))).is_empty());
    let trusts = rule(
        "{\"match\": {\"op\": \"==\", \"left\": {\"meta\": {\"key\": \"iifname\"}}, \
         \"right\": \"vde0\"}}, {\"goto\": {\"target\": \"filter_FWD_trusted\"}}",
    );
    assert!(found(&ruleset(&[chain, trusts, reject].join(","))).is_empty());
}

#[test]
fn an_obstacle_that_was_removed_is_none() {
    let rule = |key: &str, verdict: &str| {
        format!(
            "{{\"rule\": {{\"family\": \"ip\", \"table\": \"filter\", \"chain\": \"DOCKER-USER\", \
             \"handle\": 2, \"expr\": [{{\"match\": {{\"op\": \"==\", \
             \"left\": {{\"meta\": {{\"key\": \"{key}\"}}}}, \"right\": \"vde0\"}}}}, \
             {{\"counter\": {{\"packets\": 0, \"bytes\": 0}}}}, {{\"{verdict}\": null}}]}}}}"
        )
    };
    let with = |rules: &[String]| {
        let chain = chain("ip", "filter", "FORWARD", DROP);
        found(&ruleset(&[&[chain], rules].concat().join(","))).len()
    };
    assert_eq!(with(&[rule("iifname", "accept"), rule("oifname", "accept")]), 0);
    assert_eq!(with(&[rule("iifname", "accept")]), 1, "replies are dropped");
    assert_eq!(with(&[rule("iifname", "drop"), rule("oifname", "accept")]), 1);
}

#[test]
fn what_does_not_concern_us_is_no_obstacle() {
    for harmless in [
        chain("ip", "filter", "FORWARD", ACCEPT),
        chain("ip6", "filter", "FORWARD", DROP),
        chain("bridge", "filter", "FORWARD", DROP),
        chain("inet", "vde_default", "forward", DROP),
        chain("ip", "filter", "INPUT", &DROP.replace("forward", "input")),
    ] {
        assert!(found(&ruleset(&harmless)).is_empty(), "{harmless}");
    }
    let (own, tap) = ("vde_default".parse().unwrap(), "vde0".parse().unwrap());
    let six = ruleset(&chain("ip6", "filter", "FORWARD", DROP));
    assert_eq!(obstacles(&six, &own, &tap, Hook::Forward, true).unwrap().len(), 1);
    assert!(matches!(obstacles("x", &own, &tap, Hook::Forward, true), Err(RulesetError::Json(_))));
    assert!(matches!(obstacles("[]", &own, &tap, Hook::Forward, true), Err(RulesetError::NoList)));
}
