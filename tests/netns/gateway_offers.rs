//! What the gateway's flags tell machines, what is kept over restarts, and what follows the host: its
//! resolver and its way out.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use lab::lan::{GATEWAY, Lan, SERVER, SOON, Vm};
use lab::netns::veth;
use lab::process::run;
use lab::traffic::Ping;
use lab::{Netns, Process, Scene, Suite, wait_until};

/// What `udhcpc` prints when it has a lease.
const TOLD: &str = r#"
    echo "told ip=$ip router=$router dns=$dns domain=$domain search=$search ntp=$ntpsrv"
    echo "told mtu=$mtu routes=$staticroutes tftp=$tftp other=$opt150 lease=$lease""#;

pub(crate) fn trials(suite: Suite) -> Suite {
    const PROGRAMS: &[&str] = &["udhcpc", "nft", "vde_plug2tap"];
    suite
        .trial("machines_are_told_what_the_flags_say", PROGRAMS, flags)
        .trial("forwarded_ports_outlive_the_node", PROGRAMS, forwards)
        .trial(
            "names_follow_the_hosts_resolver_and_a_stub_on_loopback_will_do",
            &["udhcpc", "nft", "vde_plug2tap", "dnsmasq", "dig"],
            resolver,
        )
        .trial("the_way_out_follows_the_hosts_default_route", PROGRAMS, uplink)
        .trial("the_hosts_networks_are_out_of_reach_when_that_is_wanted", PROGRAMS, lan_denied)
}

fn told(scene: &Scene, vm: &Vm) -> Result<String> {
    let asked = ["search", "ntpsrv", "mtu", "staticroutes", "tftp", "150"];
    let words: Vec<&str> = asked.iter().flat_map(|option| ["-O", option]).collect();
    vm.lease(scene, "vm1", &words, TOLD)
}

fn flags(scene: &Scene) -> Result<()> {
    let words = [
        ["--pool", "10.77.0.100-10.77.0.100"],
        ["--dns", "198.51.100.1"],
        ["--dns", "198.51.100.2"],
        ["--search", "lab"],
        ["--search", "example.test"],
        ["--ntp", "198.51.100.3"],
        ["--gateway-mtu", "1400"],
        ["--route", "10.9.0.0/16=10.77.0.5"],
        ["--dhcp-option", "66=boot.lab"],
        ["--dhcp-option", "150=ip:10.77.0.5"],
        ["--lease-time", "5m"],
    ];
    let lan = Lan::start(scene, words.as_flattened())?;
    let vm = Vm::plug_in(scene, &lan.far, "vm1")?;
    let told = told(scene, &vm)?;
    for expected in [
        "ip=10.77.0.100 ",
        "router=10.77.0.1 ",
        "dns=198.51.100.1 198.51.100.2 ",
        "domain=lab ",
        "search=lab example.test ",
        "ntp=198.51.100.3\n",
        "mtu=1400 ",
        "10.9.0.0/16 10.77.0.5",
        "0.0.0.0/0 10.77.0.1",
        "tftp=boot.lab ",
        "other=0a4d0005 ",
        "lease=300\n",
    ] {
        ensure!(told.contains(expected), "{expected:?} is not in {told}");
    }
    let mtu = lan.host.netns().exec("cat", &["/sys/class/net/vdegw-gateway/mtu"])?;
    ensure!(mtu.trim() == "1400", "the gateway's interface has an MTU of {mtu}");
    Ping::to(GATEWAY).size(1400 - 28).all_answered(&vm.netns)
}

fn forwards(scene: &Scene) -> Result<()> {
    let mut lan = Lan::start(scene, &[])?;
    let vm = Vm::plug_in(scene, &lan.far, "vm1")?;
    told(scene, &vm)?;
    lan.gateway.ask(&["forward", "tcp", "8080", "vm1:80"])?;
    lan.gateway.ask(&["forward", "udp", "5353", "10.77.0.9:53"])?;
    let rules = |lan: &Lan| lan.host.netns().exec("nft", &["list", "ruleset"]);
    lan.gateway.kill()?;
    lan.gateway.start(scene)?;
    let list = lan.gateway.ask(&["forward"])?;
    ensure!(list.contains("8080") && list.contains("vm1:80") && list.contains("5353"), "{list}");
    ensure!(rules(&lan)?.contains("tcp dport 8080 dnat ip to 10.77.0."), "no rule for it");

    lan.gateway.ask(&["forward", "--remove", "tcp", "8080"])?;
    lan.gateway.kill()?;
    lan.gateway.start(scene)?;
    let list = lan.gateway.ask(&["forward"])?;
    ensure!(!list.contains("8080") && list.contains("5353"), "{list}");
    ensure!(!rules(&lan)?.contains("8080"), "it came back");
    let twice = lan.gateway.ask(&["forward", "udp", "5353", "10.77.0.10:53"]);
    ensure!(twice.is_err(), "a port leads to two machines");
    Ok(())
}

/// A resolver on an address of the host, for which `who.test` is that address.
fn stub(scene: &Scene, host: &Netns, address: &str) -> Result<Process> {
    let mut dnsmasq = host.command("dnsmasq");
    dnsmasq.args(["--keep-in-foreground", "--no-hosts", "--no-resolv", "--log-facility=-"]);
    dnsmasq.args(["--user=root", "--pid-file=", "--conf-file=/dev/null", "--bind-interfaces"]);
    dnsmasq.arg(format!("--listen-address={address}"));
    dnsmasq.arg(format!("--host-record=who.test,{address}"));
    Process::spawn(scene, &format!("stub-{address}"), &mut dnsmasq)
}

fn resolver(scene: &Scene) -> Result<()> {
    let lan = Lan::start(scene, &[])?;
    let vm = Vm::plug_in(scene, &lan.far, "vm1")?;
    told(scene, &vm)?;
    let resolv = scene.path("resolv.conf");
    for address in ["127.0.0.53", "127.0.0.54"] {
        let _stub = stub(scene, lan.host.netns(), address)?;
        fs::write(&resolv, format!("nameserver {address}\noptions edns0 trust-ad\n"))?;
        for words in [&["who.test"][..], &["+tcp", "who.test"]] {
            wait_until("an answer of the resolver of now", SOON, || {
                let mut dig = vm.netns.command("dig");
                dig.args([&format!("@{GATEWAY}"), "+short", "+time=2", "+tries=1"]).args(words);
                Ok(run(&mut dig).is_ok_and(|said| said.trim() == address))
            })?;
        }
    }
    let status = lan.gateway.status()?["gateway"]["resolvers"].to_string();
    ensure!(status.contains("127.0.0.54:53"), "the status shows {status}");
    Ok(())
}

fn uplink(scene: &Scene) -> Result<()> {
    let lan = Lan::start(scene, &[])?;
    let vm = Vm::plug_in(scene, &lan.far, "vm1")?;
    told(scene, &vm)?;
    Ping::to(SERVER).all_answered(&vm.netns)?;

    let host = lan.host.netns();
    let other = Netns::new("other")?;
    veth(host, "away2", &other, "net")?;
    host.add_address("away2", "198.51.100.1/24")?;
    other.add_address("net", "198.51.100.2/24")?;
    other.ip(&["address", "add", "203.0.113.1/32", "dev", "lo"])?;
    host.ip(&["route", "replace", "default", "via", "198.51.100.2"])?;
    // Nobody there knows a way back to machines: they are behind the host's address.
    wait_until("an answer by the other way", SOON, || {
        Ok(Ping::to("203.0.113.1").count(1).run(&vm.netns)?.received > 0)
    })?;
    wait_until("the status to show it", SOON, || {
        Ok(lan.gateway.status()?["gateway"]["uplinks"] == serde_json::json!(["away2"]))
    })?;
    let forwarding = |interface: &str| -> Result<String> {
        let name = format!("/proc/sys/net/ipv4/conf/{interface}/forwarding");
        Ok(host.exec("cat", &[&name])?.trim().to_owned())
    };
    wait_until("forwarding to follow", SOON, || {
        Ok(forwarding("away2")? == "1" && forwarding("away")? == "0")
    })
    .context("what was switched on for the old way out stays on")
}

fn lan_denied(scene: &Scene) -> Result<()> {
    let lan = Lan::start(scene, &["--lan", "deny"])?;
    lan.internet.ip(&["address", "add", "203.0.113.1/32", "dev", "lo"])?;
    let vm = Vm::plug_in(scene, &lan.far, "vm1")?;
    told(scene, &vm)?;
    // Beyond the network that the host is on, and not on it.
    Ping::to("203.0.113.1").all_answered(&vm.netns)?;
    let answers = Ping::to(SERVER).run(&vm.netns)?;
    ensure!(answers.received == 0, "the host's own network answers");
    Ping::to(GATEWAY).all_answered(&vm.netns)
}
