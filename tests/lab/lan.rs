//! A whole network for trials of the gateway: the gateway's host with a way to the internet, another
//! host with a node behind a cable, and machines plugged in there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::machine::{Machine, Mount};
use crate::netns::{Netns, veth};
use crate::node::{CABLE_UP, Node, Setup, trust_each_other};
use crate::process::{Process, run};
use crate::suite::Scene;
use crate::wait::{wait_for, wait_until};

/// How long what a person would notice may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// The gateway's own address.
pub const GATEWAY: &str = "10.77.0.1";

/// The gateway's host as the internet sees it.
pub const UPLINK: &str = "192.0.2.1";

/// The only server in the internet.
pub const SERVER: &str = "192.0.2.2";

/// `udhcpc` runs this: the interface gets what was offered.
const LEASE_SCRIPT: &str = "#!/bin/sh
case $1 in bound|renew)
    ip address replace $ip/$mask dev $interface
    ip route replace default via $router dev $interface
    TOLD ;;
esac
";

/// The network. Parts end in this order: nodes before the hosts that they run on.
#[derive(Debug)]
pub struct Lan {
    /// The node with `--gateway`.
    pub gateway: Node,
    /// The other one, into which machines plug.
    pub far: Node,
    /// The gateway's host. Its resolver is the server in the internet.
    pub host: Machine,
    /// Where the far node runs.
    _far_host: Netns,
    /// What is beyond the gateway's host. It knows no way back to the machines.
    pub internet: Netns,
}

impl Lan {
    /// Starts both nodes, the gateway with more words on its command line, and plugs the cable.
    ///
    /// # Errors
    ///
    /// When anything does not come up.
    pub fn start(scene: &Scene, words: &[&str]) -> Result<Self> {
        Self::start_with(scene, "10.77.0.1/24", words)
    }

    /// The same with another subnet for the gateway's address.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn start_with(scene: &Scene, cidr: &str, words: &[&str]) -> Result<Self> {
        let resolv = scene.path("resolv.conf");
        fs::write(&resolv, format!("nameserver {SERVER}\n"))?;
        let host = Machine::new(scene, "host", &[Mount::new(&resolv, "/etc/resolv.conf")])?;
        let (far_host, internet) = (Netns::new("far")?, Netns::new("internet")?);
        veth(host.netns(), "wire", &far_host, "wire")?;
        veth(host.netns(), "away", &internet, "net")?;
        host.netns().add_address("wire", "10.99.0.1/24")?;
        far_host.add_address("wire", "10.99.0.2/24")?;
        host.netns().add_address("away", &format!("{UPLINK}/24"))?;
        internet.add_address("net", &format!("{SERVER}/24"))?;
        host.netns().set_default_route(SERVER)?;

        let setup = Setup::on("gateway", &host).argument("--gateway").argument(cidr);
        let setup = setup.argument("--domain").argument("lab");
        let gateway = words.iter().fold(setup, |setup, word| setup.argument(word)).start(scene)?;
        let far = Setup::inside("far", &far_host).start(scene)?;
        trust_each_other(&gateway, &far)?;
        far.connect("10.99.0.1")?;
        far.wait_cable_up(CABLE_UP)?;
        Ok(Self { gateway, far, host, _far_host: far_host, internet })
    }

    /// What the gateway knows of a station's lease.
    ///
    /// # Errors
    ///
    /// When the gateway does not answer.
    pub fn lease_of(&self, mac: &str) -> Result<Option<Lease>> {
        let leases = self.gateway.leases()?;
        let lease = leases.iter().find(|lease| lease["mac"] == mac);
        lease.map(Lease::read).transpose()
    }

    /// Waits until the gateway says that a station's lease is as `holds` wants it.
    ///
    /// # Errors
    ///
    /// When it does not within `within`; the leases are in the error.
    pub fn wait_lease(
        &self,
        what: &str,
        mac: &str,
        within: Duration,
        holds: impl Fn(&Lease) -> bool,
    ) -> Result<Lease> {
        wait_for(what, within, || Ok(self.lease_of(mac)?.filter(|lease| holds(lease))))
            .with_context(|| format!("the leases are {:?}", self.gateway.leases()))
    }
}

/// A lease as `vdecable leases` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Without a prefix length.
    pub address: String,
    /// The machine's name.
    pub name: Option<String>,
    /// `bound`, `lapsed` and so on.
    pub state: String,
    /// In seconds since 1970, rounded up at each look.
    pub expires: u64,
}

impl Lease {
    fn read(value: &Value) -> Result<Self> {
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        Ok(Self {
            address: text("address").context("a lease without address")?,
            name: text("name"),
            state: text("state").context("a lease without state")?,
            expires: value["expires"].as_u64().unwrap_or_default(),
        })
    }
}

/// A machine: a namespace whose only interface, `eth0`, is plugged into the far node.
#[derive(Debug)]
pub struct Vm {
    _plug: Process,
    /// Its network.
    pub netns: Netns,
    /// The MAC address of `eth0`.
    pub mac: String,
}

impl Vm {
    /// Plugs a machine in; `eth0` is up and has no address.
    ///
    /// # Errors
    ///
    /// When its interface does not appear.
    pub fn plug_in(scene: &Scene, node: &Node, name: &str) -> Result<Self> {
        Self::plug_into(scene, node.socket(), name)
    }

    /// The same with any switch, by its socket directory.
    ///
    /// # Errors
    ///
    /// As [`Self::plug_in`].
    pub fn plug_into(scene: &Scene, switch: &Path, name: &str) -> Result<Self> {
        let netns = Netns::new(name)?;
        let mut plug = netns.command("vde_plug2tap");
        plug.arg("-s").arg(switch).arg("eth0");
        let mut plug = Process::spawn(scene, &format!("{name}-plug"), &mut plug)?;
        wait_until("a machine's interface", SOON, || {
            plug.check_running()?;
            netns.has_interface("eth0")
        })?;
        netns.set_up("eth0")?;
        let mac = netns.exec("cat", &["/sys/class/net/eth0/address"])?.trim().to_owned();
        Ok(Self { _plug: plug, netns, mac })
    }

    /// Lets the machine fetch a lease by `udhcpc`, as one of that name and with more words on its
    /// command line. Gives what `udhcpc` printed, and with it what the shell's words `told` print, to
    /// which the options are variables.
    ///
    /// # Errors
    ///
    /// When it gets none.
    pub fn lease(&self, scene: &Scene, name: &str, words: &[&str], told: &str) -> Result<String> {
        let script = script(scene, &format!("{name}.sh"), &LEASE_SCRIPT.replace("TOLD", told))?;
        let mut udhcpc = self.netns.command("udhcpc");
        udhcpc.args(["-i", "eth0", "-f", "-q", "-n", "-t", "10", "-T", "1"]);
        udhcpc.args(["-x", &format!("hostname:{name}")]).args(words);
        run(udhcpc.arg("-s").arg(script))
    }

    /// The same; gives the address.
    ///
    /// # Errors
    ///
    /// As [`Self::lease`].
    pub fn lease_address(&self, scene: &Scene, name: &str) -> Result<String> {
        self.lease(scene, name, &[], ":")?;
        let address = self.address()?.context("udhcpc ended and there is no address")?;
        Ok(address.split('/').next().unwrap_or_default().to_owned())
    }

    /// The address of `eth0` with its prefix length, if it has one.
    ///
    /// # Errors
    ///
    /// When the machine has no `eth0`.
    pub fn address(&self) -> Result<Option<String>> {
        let shown = self.netns.ip(&["-4", "-oneline", "address", "show", "dev", "eth0"])?;
        let mut words = shown.split_whitespace().skip_while(|word| *word != "inet");
        Ok(words.nth(1).map(str::to_owned))
    }

    /// Waits until it has an address.
    ///
    /// # Errors
    ///
    /// When it gets none.
    pub fn wait_address(&self) -> Result<String> {
        wait_for("a machine to have an address", SOON, || self.address())
    }
}

/// Writes a script that a DHCP client is to run.
///
/// # Errors
///
/// When it cannot be written.
pub fn script(scene: &Scene, name: &str, text: &str) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = scene.path(name);
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}
