//! What a machine behind a cable reaches by the gateway: the internet, by address and by name; what
//! reaches it: other machines by its name, the internet by a forwarded port.

use anyhow::{Context as _, Result, ensure};
use lab::process::{both, built_program, output, run};
use lab::traffic::Ping;
use lab::{Netns, Process, Scene, Suite, Switch, WebServer, wait_until};
use serde_json::Value;

use lab::lan::{GATEWAY, Lan, SERVER, SOON, UPLINK, Vm};

/// What web servers show here: more than fits a few packets.
const PAGE: usize = 300_000;

pub(crate) fn trials(suite: Suite) -> Suite {
    const PROGRAMS: &[&str] = &["udhcpc", "curl", "dnsmasq", "dig", "nft", "vde_plug2tap"];
    suite
        .trial("a_machine_behind_a_cable_loads_a_page_from_the_internet_by_its_name", PROGRAMS, out)
        .trial("machines_find_each_other_by_name_and_by_address", PROGRAMS, names)
        .trial("an_address_in_use_is_not_kept_for_another_machine", PROGRAMS, in_use)
        .trial(
            "names_are_answered_again_when_the_interface_was_deleted_amid_questions",
            PROGRAMS,
            deleted_amid_questions,
        )
        .trial("a_forwarded_port_leads_from_the_internet_to_a_machine", PROGRAMS, forwarded)
        .trial(
            "leases_say_behind_which_port_of_which_node_machines_are",
            &["udhcpc", "nft", "vde_plug2tap"],
            places,
        )
        .trial(
            "the_old_recipe_and_the_gateway_live_on_one_host",
            &["udhcpc", "dnsmasq", "iptables", "nft", "vde_plug2tap"],
            beside_the_recipe,
        )
}

/// A machine of that name with a lease, and its address.
fn leased(scene: &Scene, lan: &Lan, name: &str) -> Result<(Vm, String)> {
    let vm = Vm::plug_in(scene, &lan.far, name)?;
    let address = vm.lease_address(scene, name)?;
    Ok((vm, address))
}

/// A web server with one page, whose text is its own.
fn web_server(netns: &Netns, name: &str) -> Result<(WebServer, Vec<u8>)> {
    let page: Vec<u8> = name.bytes().cycle().take(PAGE).collect();
    Ok((WebServer::start(netns, page.clone())?, page))
}

/// Loads a page; what came, or what went wrong.
fn load(from: &Netns, url: &str) -> Result<Vec<u8>> {
    let mut curl = from.command("curl");
    curl.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "5", url]);
    let output = output(&mut curl)?;
    ensure!(output.status.success(), "curl {url}: {}", both(&output));
    Ok(output.stdout)
}

/// Waits until a page loads; servers need a moment to listen.
fn wait_page(from: &Netns, url: &str, page: &[u8]) -> Result<()> {
    let mut last = String::new();
    wait_until(&format!("the page at {url}"), SOON, || match load(from, url) {
        Ok(loaded) => {
            ensure!(loaded == page, "{} octets came that are not the page", loaded.len());
            Ok(true)
        }
        Err(err) => {
            last = format!("{err:#}");
            Ok(false)
        }
    })
    .with_context(|| last.clone())
}

/// What the gateway's resolver says to a question.
fn ask(from: &Netns, words: &[&str]) -> Result<String> {
    let mut dig = from.command("dig");
    dig.args([&format!("@{GATEWAY}"), "+short", "+time=5", "+tries=2"]).args(words);
    Ok(run(&mut dig)?.trim().to_owned())
}

/// A resolver in the internet that knows the server by name, and a name with long texts.
fn resolver(scene: &Scene, internet: &Netns) -> Result<Process> {
    let mut dnsmasq = internet.command("dnsmasq");
    dnsmasq.args(["--keep-in-foreground", "--no-hosts", "--no-resolv", "--log-facility=-"]);
    dnsmasq.args(["--log-queries", "--user=root", "--pid-file=", "--conf-file=/dev/null"]);
    dnsmasq.arg(format!("--host-record=www.example.test,{SERVER}"));
    for number in 0..20 {
        dnsmasq.arg(format!("--txt-record=long.example.test,{number:0>200}"));
    }
    Process::spawn(scene, "resolver", &mut dnsmasq)
}

fn out(scene: &Scene) -> Result<()> {
    let lan = Lan::start(scene, &[])?;
    let _resolver = resolver(scene, &lan.internet)?;
    let (_server, page) = web_server(&lan.internet, "server")?;
    let (vm, _) = leased(scene, &lan, "vm1")?;
    wait_page(&vm.netns, &format!("http://{SERVER}/page"), &page)?;
    Ping::to(SERVER).size(1472).all_answered(&vm.netns)?;

    wait_until("the name of a server in the internet", SOON, || {
        Ok(ask(&vm.netns, &["www.example.test"])? == SERVER)
    })?;
    let reverse = ask(&vm.netns, &["-x", SERVER])?;
    ensure!(reverse == "www.example.test.", "the reverse of {SERVER} is {reverse}");
    // More than UDP carries: `dig` asks again by TCP.
    let long = ask(&vm.netns, &["+noedns", "long.example.test", "TXT"])?;
    ensure!(long.lines().count() == 20, "20 long texts came as {long}");
    let nowhere = ask(&vm.netns, &["nowhere.example.test", "A"])?;
    ensure!(nowhere.is_empty(), "a name that nobody has is {nowhere}");
    Ok(())
}

fn names(scene: &Scene) -> Result<()> {
    let lan = Lan::start(scene, &[])?;
    let ((one, address_1), (two, address_2)) =
        (leased(scene, &lan, "vm1")?, leased(scene, &lan, "vm2")?);
    let (_server, page) = web_server(&two.netns, "vm2")?;
    for (words, answer) in [
        (&["vm2.lab"][..], address_2.as_str()),
        (&["vm2"], &address_2),
        (&["VM2.Lab"], &address_2),
        (&["+tcp", "vm1.lab"], &address_1),
        (&["-x", &address_2], "vm2.lab."),
        (&["gateway.lab"], GATEWAY),
        // Nobody's name in our own domain, and IPv6 of who has none: the answer is empty.
        (&["vm9.lab"], ""),
        (&["vm2.lab", "AAAA"], ""),
    ] {
        let said = ask(&one.netns, words)?;
        ensure!(said == answer, "{words:?} is {said:?} and not {answer:?}");
    }
    wait_page(&one.netns, &format!("http://{address_2}/page"), &page)?;
    // Who gave its address back has no name any more.
    lan.gateway.ask(&["lease", "remove", &address_2])?;
    wait_until(
        "a name to go with its lease",
        SOON,
        || Ok(ask(&one.netns, &["vm2.lab"])?.is_empty()),
    )
}

fn in_use(scene: &Scene) -> Result<()> {
    let lan = Lan::start(scene, &[])?;
    let (vm, address) = leased(scene, &lan, "vm1")?;
    let (other, name) = ("02:00:00:00:77:01", "other");
    let add = |mac: &str| lan.gateway.ask(&["lease", "add", &address, mac, "--name", name]);
    let refused = add(other).unwrap_or_else(|err| format!("{err:#}"));
    for words in [&format!("{} (vm1) has {address} for", vm.mac), "vdecable lease remove"] {
        ensure!(refused.contains(words), "{words:?} is not in {refused}");
    }
    ensure!(ask(&vm.netns, &["vm1.lab"])? == address, "the machine lost its name");
    lan.gateway.ask(&["lease", "remove", &address])?;
    add(other).context("after what was told to do")?;
    lan.gateway.ask(&["lease", "remove", &address])?;
    add(&vm.mac).context("for the machine that has it")?;
    Ok(())
}

fn deleted_amid_questions(scene: &Scene) -> Result<()> {
    let lan = Lan::start(scene, &[])?;
    let (vm, _) = leased(scene, &lan, "vm1")?;
    lan.internet.nft(
        "table ip deaf {
            chain c { type filter hook input priority 0; udp dport 53 drop; }
        }\n",
    )?;
    // The resolver in the internet says nothing: for two seconds this is waited for.
    let mut dig = vm.netns.command("dig");
    dig.args([&format!("@{GATEWAY}"), "+time=1", "+tries=3", "www.example.test"]);
    let _asking = Process::spawn(scene, "dig", &mut dig)?;
    wait_until("the question to be passed on", SOON, || {
        Ok(lan.internet.exec("nft", &["list", "ruleset"])?.contains("deaf")
            && lan.host.shell("ss -Hun dst 192.0.2.2")?.contains(SERVER))
    })?;
    lan.host.netns().ip(&["link", "delete", "vdegw-gateway"])?;
    wait_until("names to be answered again", SOON, || {
        Ok(ask(&vm.netns, &["gateway.lab"]).is_ok_and(|said| said == GATEWAY))
    })
}

fn forwarded(scene: &Scene) -> Result<()> {
    let lan = Lan::start(scene, &[])?;
    // Before there is such a machine.
    lan.gateway.ask(&["forward", "tcp", "8080", "vm1:80"])?;
    let (vm, _) = leased(scene, &lan, "vm1")?;
    let (_server, page) = web_server(&vm.netns, "vm1")?;
    let url = format!("http://{UPLINK}:8080/page");
    wait_page(&lan.internet, &url, &page)?;
    // From the gateway's own host, too; but nothing else of the machine is open.
    wait_page(lan.host.netns(), &url, &page)?;
    ensure!(load(&lan.internet, &format!("http://{UPLINK}/page")).is_err(), "port 80 is open, too");
    lan.gateway.ask(&["forward", "--remove", "tcp", "8080"])?;
    wait_until("a forwarded port to be closed", SOON, || Ok(load(&lan.internet, &url).is_err()))
}

fn places(scene: &Scene) -> Result<()> {
    let lan = Lan::start(scene, &[])?;
    let far = [Vm::plug_in(scene, &lan.far, "far1")?, Vm::plug_in(scene, &lan.far, "far2")?];
    let near = Vm::plug_in(scene, &lan.gateway, "near")?;
    for (name, vm) in [("far1", &far[0]), ("far2", &far[1]), ("near", &near)] {
        vm.lease_address(scene, name)?;
    }
    let leases = lan.gateway.leases()?;
    for (vm, node) in [(&far[0], &lan.far), (&far[1], &lan.far), (&near, &lan.gateway)] {
        let place = |of: &Value| (of["node"].clone(), of["port"].clone());
        let macs = node.macs()?;
        let known = macs.iter().find(|known| known["mac"] == vm.mac.as_str());
        let known = known.context("its own node does not know it")?;
        ensure!(known["here"] == true && known["port"].is_u64(), "{known}");
        let lease = leases.iter().find(|lease| lease["mac"] == vm.mac.as_str());
        let lease = lease.context("no lease")?;
        ensure!(place(lease) == place(known), "the lease is {lease}, the station {known}");
    }
    Ok(())
}

fn beside_the_recipe(scene: &Scene) -> Result<()> {
    let mut lan = Lan::start(scene, &[])?;
    let program = built_program("vde_switch")?;
    let by = lan.host.command(&program.to_string_lossy());
    let switch = Switch::start_by(scene, "switch", by, &["-t", "vm"])?;
    lan.host.netns().add_address("vm", "10.66.0.1/24")?;
    lan.host.netns().set_up("vm")?;
    let mut dnsmasq = lan.host.command("dnsmasq");
    dnsmasq.args(["--keep-in-foreground", "--no-hosts", "--port", "0", "--user=root"]);
    dnsmasq.args(["--listen-address", "10.66.0.1", "--bind-interfaces", "--interface", "vm"]);
    dnsmasq.args(["--dhcp-range", "10.66.0.100,10.66.0.150,12h", "--dhcp-authoritative"]);
    dnsmasq.args(["--conf-file=/dev/null", "--pid-file=", "--dhcp-leasefile=/dev/null"]);
    let _dnsmasq = Process::spawn(scene, "dnsmasq", &mut dnsmasq)?;
    lan.host.shell("echo 1 > /proc/sys/net/ipv4/ip_forward")?;
    lan.host.shell("iptables -t nat -A POSTROUTING -o away -j MASQUERADE")?;
    let rules = "iptables-save | grep -v '^#'";
    let before = lan.host.shell(rules)?;

    let old = Vm::plug_into(scene, switch.socket(), "old")?;
    let address = old.lease_address(scene, "old")?;
    ensure!(address.starts_with("10.66.0.1"), "the recipe's guest has {address}");
    let (new, address) = leased(scene, &lan, "new")?;
    ensure!(address.starts_with("10.77.0."), "the gateway's machine has {address}");
    for vm in [&old, &new] {
        Ping::to(SERVER).size(1472).all_answered(&vm.netns)?;
    }
    // The recipe outlives the gateway, whose end changes nothing of it.
    lan.gateway.terminate()?;
    ensure!(lan.host.shell(rules)? == before, "iptables' rules are other ones");
    Ping::to(SERVER).size(1472).all_answered(&old.netns).context("after the gateway's end")
}
