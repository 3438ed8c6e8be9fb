//! The rules as the real nftables understands them, in a network namespace of their own. Without
//! root, `nft` or `unshare` the tests count as ignored.
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use gateway::nft::{
    Config, Family, ForeignTable, Forward, Hook, HostAccess, Ipv6, Lan, Life, Obstacle, Protocol,
    Rules, foreign_tables, obstacles,
};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let namespaces = Command::new("unshare").args(["--net", "nft", "list", "ruleset"]).output();
    let ready = namespaces.is_ok_and(|output| output.status.success());
    if !ready {
        eprintln!("ignored: unshare and nft need to be installed and run as root");
    }
    let trial = |name: &str, test: fn()| {
        let run = move || -> Result<(), Failed> {
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(!ready)
    };
    let trials = vec![
        trial("every_variant_is_accepted", every_variant),
        trial("an_owned_table_goes_with_its_process", owned),
        trial("a_plain_table_replaces_itself_and_goes_when_told", plain),
        trial("forwarded_ports_change_in_place", forwarded_ports),
        trial("obstacles_are_found_in_what_nft_prints", printed),
        trial("the_tables_of_others_are_found_beside_one_that_has_an_owner", beside_owned),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Runs a shell script in a new network namespace and returns what it prints.
fn in_namespace(script: &str, input: &str) -> String {
    let mut child = Command::new("unshare")
        .args(["--net", "sh", "-ec", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}\n{input}");
    String::from_utf8(output.stdout).unwrap()
}

fn config() -> Config {
    let (table, tap) = ("vde_default".parse().unwrap(), "vde0".parse().unwrap());
    Config::new(table, tap, "10.0.0.0/24".parse().unwrap())
}

fn rules() -> Rules {
    Rules::new(config())
}

fn forward(protocol: Protocol, port: u16, listen: Option<Ipv4Addr>) -> Forward {
    Forward { protocol, listen, port, to: Ipv4Addr::new(10, 0, 0, 5), to_port: 80 }
}

fn every_variant() {
    let nested = ["10.0.0.0/8", "10.1.0.0/16", "192.168.1.0/24"];
    let lans = [Lan::Allow, Lan::Deny(nested.map(|subnet| subnet.parse().unwrap()).to_vec())];
    let ipv6 = [Ipv6::Local, Ipv6::Nat66("fd12:3456:789a:1::/64".parse().unwrap())];
    for lan in &lans {
        for ipv6 in ipv6 {
            for uplink in [None, Some("eth0".parse().unwrap())] {
                for host in [HostAccess::Services, HostAccess::All] {
                    let (lan, uplink) = (lan.clone(), uplink.clone());
                    let mut rules = Rules::new(Config { lan, ipv6, uplink, host, ..config() });
                    rules.add_forward(forward(Protocol::Tcp, 8080, None)).unwrap();
                    let listen = Some(Ipv4Addr::new(192, 0, 2, 1));
                    rules.add_forward(forward(Protocol::Udp, 53, listen)).unwrap();
                    for life in [Life::Owned, Life::Plain] {
                        in_namespace("nft -c -f -", &rules.script(life));
                    }
                }
            }
        }
    }
}

fn owned() {
    let line = rules().line(Life::Owned);
    let during = in_namespace("nft -i", &format!("{line}list ruleset\n"));
    assert!(during.contains("flags owner") && during.contains("masquerade"), "{during}");
    let after = in_namespace("nft -i; echo --; nft list ruleset", &line);
    assert_eq!(after.trim(), "--");
}

fn plain() {
    let (rules, script) = (rules(), rules().script(Life::Plain));
    let once = in_namespace("nft -f -; nft list ruleset", &script);
    assert!(once.contains("table inet vde_default"));
    let twice = in_namespace("nft -f -; nft list ruleset", &script.repeat(2));
    assert_eq!(once, twice);
    let gone = in_namespace("nft -f -; nft list ruleset", &(script + &rules.removal()));
    assert_eq!(gone, "");
    assert_eq!(in_namespace("nft -f -; nft list ruleset", &rules.removal()), "");
}

fn forwarded_ports() {
    let mut rules = rules();
    rules.add_forward(forward(Protocol::Tcp, 8080, None)).unwrap();
    let mut input = rules.line(Life::Owned);
    rules.remove_forward(Protocol::Tcp, 8080);
    rules.add_forward(forward(Protocol::Udp, 5353, None)).unwrap();
    input += &rules.forwards_line();
    let ruleset = in_namespace("nft -i", &(input + "list ruleset\n"));
    assert!(!ruleset.contains("8080"), "{ruleset}");
    assert_eq!(ruleset.matches("udp dport 5353 dnat ip to 10.0.0.5:80").count(), 2, "{ruleset}");
}

fn printed() {
    let found = |ruleset: &str| -> Vec<Obstacle> {
        let json = in_namespace("nft -f -; nft -j list ruleset", ruleset);
        let (own, tap) = ("vde_default".parse().unwrap(), "vde0".parse().unwrap());
        obstacles(&json, &own, &tap, Hook::Forward, true).unwrap()
    };
    assert_eq!(found(&rules().script(Life::Plain)), [], "our own table is none");
    let chain = "add table ip filter\n\
                 add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }\n\
                 add chain ip filter DOCKER-USER\n\
                 add rule ip filter FORWARD counter jump DOCKER-USER\n";
    assert_eq!(found(chain).len(), 1);
    let fixed = "add rule ip filter DOCKER-USER iifname \"vde0\" counter accept\n\
                 add rule ip filter DOCKER-USER oifname \"vde0\" counter accept\n";
    assert_eq!(found(&format!("{chain}{fixed}")), []);
    let rejects = "add table inet fw\n\
                   add chain inet fw f { type filter hook forward priority 0; policy accept; }\n\
                   add rule inet fw f counter reject with icmpx type admin-prohibited\n";
    let obstacle = found(rejects).remove(0);
    let helped = format!("{rejects}{}\n", obstacle.fix.replace("nft ", "").replace(" && ", "\n"));
    assert_eq!(found(&helped), [], "the fix is what helps");
}

fn beside_owned() {
    let line = rules().line(Life::Owned);
    let other = "add table ip filter ; \
                 add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }\n";
    let script = "exec 3>&1
        { cat; until nft list table ip filter; do :; done >/dev/null 2>&1
          nft -j list chains >&3; } | nft -i >/dev/null";
    let chains = in_namespace(script, &format!("{line}{other}"));
    let found = foreign_tables(&chains, &config().table, Hook::Forward, true).unwrap();
    assert_eq!(found, [ForeignTable { family: Family::Ip, name: "filter".to_owned() }]);
}
