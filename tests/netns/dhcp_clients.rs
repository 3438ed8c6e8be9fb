//! The gateway's DHCP server as the DHCP clients of three makes see it: a lease's whole life, an
//! address that is taken, a machine that comes from elsewhere.
//!
//! Leases last sixteen seconds, the shortest that all clients believe in, so that their life is short
//! enough to watch; with `VDE_LONG=1` they last sixty.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::process::{Signal, both, output};
use lab::traffic::Ping;
use lab::{Process, Scene, Suite, wait_until};

use lab::lan::{GATEWAY, Lan, Lease, SOON, Vm, script};

/// `udhcpc` runs this; it sees to the interface.
const UDHCPC_SCRIPT: &str = "#!/bin/sh
echo \"udhcpc says $1 ${ip:-}\"
case $1 in
bound|renew)
    ip address replace $ip/$mask broadcast ${broadcast:-+} dev $interface
    ip route replace default via $router dev $interface ;;
deconfig|leasefail|nak) ip address flush dev $interface ;;
esac
exit 0
";

/// `dhclient` runs this. It refuses an address that a file names, which makes `dhclient` decline it:
/// a script of a distribution does so when somebody answers for the address.
const DHCLIENT_SCRIPT: &str = "#!/bin/sh
echo \"dhclient says $reason ${new_ip_address:-}\"
case $reason in
BOUND|RENEW|REBIND|REBOOT)
    [ \"$(cat TAKEN 2>/dev/null)\" = \"$new_ip_address\" ] && exit 1
    ip address replace $new_ip_address/$new_subnet_mask broadcast $new_broadcast_address dev $interface
    ip route replace default via $new_routers dev $interface ;;
EXPIRE|FAIL|RELEASE|STOP) ip address flush dev $interface ;;
esac
exit 0
";

const DHCLIENT_CONFIGURATION: &str = "
timeout 10; retry 1; initial-interval 1; backoff-cutoff 2; reboot 5;
send host-name \"dhclient-vm\";
request subnet-mask, broadcast-address, routers, domain-name, domain-name-servers;
";

/// `systemd-networkd`, where no `PATH` leads, drops root, so that what it writes must be its user's; it waits for udev unless `/sys` is
/// read-only, as in a container.
const NETWORKD_START: &str = "
mount -t tmpfs none /run && mount -o remount,ro /sys || exit
mkdir -p /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
chown -R systemd-network /run/systemd/netif
cat >/run/systemd/network/10-eth0.network <<END
[Match]
Name=eth0
[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no
[DHCPv4]
Hostname=networkd-vm
END
SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console exec /lib/systemd/systemd-networkd
";

pub(crate) fn trials(suite: Suite) -> Suite {
    const CLIENTS: &[&str] = &["udhcpc", "dhclient", "networkctl", "vde_plug2tap", "nft"];
    suite
        .trial("clients_of_three_makes_live_through_a_whole_lease", CLIENTS, whole_life)
        .trial("clients_of_two_makes_decline_an_address_that_is_taken", CLIENTS, declined)
        .trial(
            "a_machine_from_elsewhere_is_sent_to_fetch_an_address",
            &["dhclient", "vde_plug2tap"],
            from_elsewhere,
        )
        .trial("dhcping_gets_an_answer", &["dhcping", "vde_plug2tap"], dhcping)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Make {
    Udhcpc,
    Dhclient,
    Networkd,
}

/// A machine with its DHCP client.
struct Client {
    make: Make,
    process: Option<Process>,
    vm: Vm,
    files: PathBuf,
}

impl Client {
    fn plug_in(scene: &Scene, lan: &Lan, make: Make) -> Result<Self> {
        let name = match make {
            Make::Udhcpc => "udhcpc",
            Make::Dhclient => "dhclient",
            Make::Networkd => "networkd",
        };
        let files = scene.path(name);
        fs::create_dir(&files)?;
        let vm = Vm::plug_in(scene, &lan.far, name)?;
        Ok(Self { make, process: None, vm, files })
    }

    fn each(scene: &Scene, lan: &Lan, makes: &[Make]) -> Result<Vec<Self>> {
        makes.iter().map(|make| Self::plug_in(scene, lan, *make)).collect()
    }

    fn name(&self) -> &'static str {
        match self.make {
            Make::Udhcpc => "udhcpc-vm",
            Make::Dhclient => "dhclient-vm",
            Make::Networkd => "networkd-vm",
        }
    }

    /// Starts the client. It looks whether its address is taken when it shall be `careful`.
    fn start(&mut self, scene: &Scene, careful: bool) -> Result<()> {
        let netns = &self.vm.netns;
        let command = match self.make {
            Make::Udhcpc => {
                let script = script(scene, "udhcpc.sh", UDHCPC_SCRIPT)?;
                let mut command = netns.command("udhcpc");
                command.args(["-i", "eth0", "-f", "-t", "10", "-T", "1", "-A", "1"]);
                command.args(["-x", "hostname:udhcpc-vm", "-s"]).arg(script);
                if careful {
                    command.arg("-a");
                }
                command
            }
            Make::Dhclient => {
                let mut command = self.dhclient(scene)?;
                command.args(["-d", "eth0"]);
                command
            }
            Make::Networkd => {
                let mut command = netns.command("sh");
                command.args(["-c", NETWORKD_START]);
                command
            }
        };
        let mut command = command;
        self.process = Some(Process::spawn(scene, self.name(), &mut command)?);
        Ok(())
    }

    fn dhclient(&self, scene: &Scene) -> Result<std::process::Command> {
        let taken = self.files.join("taken");
        let text = DHCLIENT_SCRIPT.replace("TAKEN", &taken.to_string_lossy());
        let script = script(scene, "dhclient.sh", &text)?;
        let configuration = self.files.join("conf");
        fs::write(&configuration, DHCLIENT_CONFIGURATION)?;
        let mut command = self.vm.netns.command("dhclient");
        command.arg("-4").arg("-sf").arg(script).arg("-cf").arg(configuration);
        command.arg("-lf").arg(self.files.join("leases")).arg("-pf").arg(self.files.join("pid"));
        Ok(command)
    }

    /// Ends it as a power cut does, and takes the address away.
    fn cut_power(&mut self) -> Result<()> {
        self.process.take().context("no client runs")?.kill()?;
        self.vm.netns.flush_addresses("eth0")
    }

    /// Lets it give its address back, and ends it.
    fn release(&mut self, scene: &Scene) -> Result<()> {
        let mut process = self.process.take().context("no client runs")?;
        match self.make {
            Make::Udhcpc => {
                process.signal(Signal::USR2)?;
                process.wait_log("entering released state", SOON)?;
            }
            Make::Dhclient => {
                let mut release = self.dhclient(scene)?;
                let output = output(release.args(["-r", "eth0"]))?;
                ensure!(output.status.success(), "dhclient -r: {}", both(&output));
            }
            // It does so at its end.
            Make::Networkd => drop(process.terminate(SOON)?),
        }
        Ok(())
    }

    fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }
}

fn lease_seconds() -> u64 {
    if std::env::var("VDE_LONG").is_ok_and(|value| value == "1") { 60 } else { 16 }
}

fn whole_life(scene: &Scene) -> Result<()> {
    let seconds = lease_seconds();
    // On a busy machine a client may come late, but not later than its lease.
    let within = Duration::from_secs(seconds) + SOON;
    let lan = Lan::start(scene, &["--lease-time", &format!("{seconds}s")])?;
    let makes = [Make::Udhcpc, Make::Dhclient, Make::Networkd];
    let mut clients = Client::each(scene, &lan, &makes)?;

    for client in &mut clients {
        client.start(scene, false)?;
    }
    let mut addresses = Vec::new();
    for client in &clients {
        let address = client.vm.wait_address().context(client.name())?;
        let bare = address.strip_suffix("/24").context("not the subnet's prefix length")?;
        let lease = lan.wait_lease("a lease", &client.vm.mac, SOON, |l| l.state == "bound")?;
        ensure!(
            lease.address == bare,
            "{} has {bare} and the gateway says {lease:?}",
            client.name()
        );
        ensure!(lease.name.as_deref() == Some(client.name()), "{lease:?} has not its name");
        let routes = client.vm.netns.ip(&["route", "show", "default"])?;
        ensure!(routes.contains(&format!("via {GATEWAY}")), "{}: {routes:?}", client.name());
        ensure!(!addresses.contains(&lease.address), "{bare} was given twice");
        addresses.push(lease.address);
    }
    let extended = |what: &str| -> Result<()> {
        let ends: Vec<u64> = clients
            .iter()
            .map(|client| Ok(lan.lease_of(&client.vm.mac)?.context("no lease")?.expires))
            .collect::<Result<_>>()?;
        for ((client, before), address) in clients.iter().zip(ends).zip(&addresses) {
            let what = format!("{} {what}", client.name());
            // The date is rounded up to seconds, at each look.
            let longer = |lease: &Lease| lease.expires > before + 2;
            let lease = lan.wait_lease(&what, &client.vm.mac, within, longer)?;
            ensure!(lease.state == "bound" && lease.address == *address, "{what}: {lease:?}");
            ensure!(
                client.vm.address()?.is_some_and(|a| a.starts_with(address)),
                "{what}: no address"
            );
        }
        Ok(())
    };
    extended("to renew its lease")?;
    // The gateway is not to be reached by its own station any more: only asking everybody helps.
    for client in &clients {
        let nowhere = ["lladdr", "02:00:00:00:00:77", "dev", "eth0", "nud", "permanent"];
        client.vm.netns.ip(&[&["neighbour", "replace", GATEWAY], &nowhere[..]].concat())?;
    }
    extended("to rebind its lease")?;
    for client in &clients {
        client.vm.netns.ip(&["neighbour", "delete", GATEWAY, "dev", "eth0"])?;
    }

    for client in &mut clients {
        client.cut_power()?;
        client.start(scene, false)?;
    }
    for (client, address) in clients.iter().zip(&addresses) {
        let again = client.vm.wait_address().context(client.name())?;
        ensure!(again.starts_with(address), "{} had {address}, now {again}", client.name());
    }
    let dhclient = clients.iter().find(|client| client.make == Make::Dhclient);
    let log = dhclient.map(Client::log).unwrap_or_default();
    ensure!(log.contains("dhclient says REBOOT"), "dhclient did not ask for what it had: {log}");

    for client in &mut clients {
        // Who takes its address away at once must know the gateway's station by then.
        Ping::to(GATEWAY).all_answered(&client.vm.netns).with_context(|| client.name())?;
        client.release(scene).with_context(|| client.name())?;
        lan.wait_lease("an address given back", &client.vm.mac, SOON, |l| l.state == "lapsed")
            .with_context(|| client.name())?;
    }
    Ok(())
}

fn declined(scene: &Scene) -> Result<()> {
    let lan = Lan::start(scene, &[])?;
    // networkd (252) looks, too, and its DECLINE never leaves: "Network is unreachable".
    let mut clients = Client::each(scene, &lan, &[Make::Udhcpc, Make::Dhclient])?;
    let squatter = Vm::plug_in(scene, &lan.far, "squatter")?;
    let mut taken = Vec::new();
    for client in &mut clients {
        client.start(scene, false)?;
    }
    for client in &mut clients {
        let address = client.vm.wait_address().context(client.name())?;
        // Who takes its address away at once must know the gateway's station by then.
        Ping::to(GATEWAY).all_answered(&client.vm.netns)?;
        client.release(scene)?;
        lan.wait_lease("an address given back", &client.vm.mac, SOON, |l| l.state == "lapsed")?;
        client.vm.netns.flush_addresses("eth0")?;
        // Within a minute the gateway does not look itself whether somebody has the address.
        squatter.netns.add_address("eth0", &address)?;
        let bare = address.trim_end_matches("/24").to_owned();
        fs::write(client.files.join("taken"), &bare)?;
        taken.push(bare);
        client.process = None;
    }
    for client in &mut clients {
        client.start(scene, true)?;
    }
    for (client, taken) in clients.iter().zip(&taken) {
        wait_until(&format!("another address than {taken} for {}", client.name()), SOON, || {
            let bound = lan.gateway.leases()?.into_iter().any(|lease| {
                lease["mac"] == client.vm.mac.as_str()
                    && lease["state"] == "bound"
                    && lease["address"] != taken.as_str()
            });
            let address = client.vm.address()?;
            Ok(bound && address.is_some_and(|address| !address.starts_with(&format!("{taken}/"))))
        })
        .with_context(|| format!("{:?}", lan.gateway.leases()))?;
        let leases = lan.gateway.leases()?;
        let lease = leases.iter().find(|lease| lease["address"] == taken.as_str());
        ensure!(
            lease.is_some_and(|lease| lease["state"] == "quarantined"),
            "{taken} was declined by {} and is {lease:?}",
            client.name()
        );
    }
    Ok(())
}

fn from_elsewhere(scene: &Scene) -> Result<()> {
    let lan = Lan::start(scene, &[])?;
    let mut client = Client::plug_in(scene, &lan, Make::Dhclient)?;
    let lease = "lease { interface \"eth0\"; fixed-address 192.168.5.20;
        option subnet-mask 255.255.255.0; option routers 192.168.5.1;
        option dhcp-server-identifier 192.168.5.1; option dhcp-message-type 5;
        option dhcp-lease-time 864000; renew never; rebind never; expire never; }\n";
    fs::write(client.files.join("leases"), lease)?;
    client.start(scene, false)?;
    let address = client.vm.wait_address()?;
    let log = client.log();
    ensure!(log.contains("DHCPREQUEST for 192.168.5.20"), "it did not ask for what it had: {log}");
    ensure!(log.contains("DHCPNAK from 10.77.0.1"), "it was not told to look again: {log}");
    ensure!(address.starts_with("10.77.0."), "it has {address}");
    Ok(())
}

fn dhcping(scene: &Scene) -> Result<()> {
    let lan = Lan::start(scene, &[])?;
    let vm = Vm::plug_in(scene, &lan.far, "pinger")?;
    // It asks from the address that it wants, so it must have it.
    vm.netns.add_address("eth0", "10.77.0.77/24")?;
    for words in [&[][..], &["-i"]] {
        let mut command = vm.netns.command("dhcping");
        command.args(["-v", "-s", GATEWAY, "-c", "10.77.0.77", "-h", &vm.mac, "-t", "10"]);
        let output = output(command.args(words))?;
        let said = both(&output);
        ensure!(said.contains(&format!("Got answer from: {GATEWAY}")), "{words:?}: {said}");
    }
    Ok(())
}
