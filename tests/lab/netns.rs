//! Hosts for tests: network namespaces, wires between them, addresses and packet filters, all by
//! `ip` and `nft`. What flows through them is `traffic`'s. Nothing here touches the namespace of
//! the machine itself.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::{command, output, run};

/// What the names of our namespaces begin with; the id of the test's process follows.
const PREFIX: &str = "vdelab";

/// A network namespace. Dropping it ends every process in it and removes its devices.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes an empty namespace with its loopback up. `label` only helps a reader of `ip netns`.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, usually for want of root.
    pub fn new(label: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        remove_orphans();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{count}-{label}", std::process::id());
        ip(&["netns", "add", &name])?;
        let netns = Self { name };
        netns.ip(&["link", "set", "lo", "up"])?;
        Ok(netns)
    }

    /// The name, as `ip netns` shows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The words before a program that let it run in here.
    pub(crate) fn entrance(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.name].map(str::to_owned).into()
    }

    /// A command that runs in here.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        command(program, Some(&self.name))
    }

    /// Runs a program in here to its end and returns what it printed.
    ///
    /// # Errors
    ///
    /// When it fails.
    pub fn exec(&self, program: &str, arguments: &[&str]) -> Result<String> {
        run(self.command(program).args(arguments))
    }

    /// `ip` with these arguments, in here.
    ///
    /// # Errors
    ///
    /// When it fails.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        run(Command::new("ip").args(["-n", &self.name]).args(arguments))
    }

    /// Gives an interface an address such as `10.0.0.1/24` or `fd00::1/64`. An IPv6 address is
    /// usable at once, without a search for duplicates.
    ///
    /// # Errors
    ///
    /// When there is no such interface.
    pub fn add_address(&self, interface: &str, address: &str) -> Result<()> {
        let mut arguments = vec!["address", "add", address, "dev", interface];
        if address.contains(':') {
            arguments.push("nodad");
        }
        self.ip(&arguments).map(drop)
    }

    /// Takes all addresses from an interface.
    ///
    /// # Errors
    ///
    /// When there is no such interface.
    pub fn flush_addresses(&self, interface: &str) -> Result<()> {
        self.ip(&["address", "flush", "dev", interface]).map(drop)
    }

    /// Brings an interface up.
    ///
    /// # Errors
    ///
    /// When there is no such interface.
    pub fn set_up(&self, interface: &str) -> Result<()> {
        self.ip(&["link", "set", interface, "up"]).map(drop)
    }

    /// Takes an interface down; on a wire, the other end loses its carrier.
    ///
    /// # Errors
    ///
    /// When there is no such interface.
    pub fn set_down(&self, interface: &str) -> Result<()> {
        self.ip(&["link", "set", interface, "down"]).map(drop)
    }

    /// Sets an interface's MTU in octets.
    ///
    /// # Errors
    ///
    /// When there is no such interface or it cannot take that MTU.
    pub fn set_mtu(&self, interface: &str, mtu: u16) -> Result<()> {
        self.ip(&["link", "set", interface, "mtu", &mtu.to_string()]).map(drop)
    }

    /// Whether there is an interface of that name.
    ///
    /// # Errors
    ///
    /// When `ip` cannot be started.
    pub fn has_interface(&self, interface: &str) -> Result<bool> {
        let arguments = ["-n", &self.name, "link", "show", "dev", interface];
        Ok(output(Command::new("ip").args(arguments))?.status.success())
    }

    /// Adds a default route.
    ///
    /// # Errors
    ///
    /// When the gateway is not on a wire of this namespace.
    pub fn set_default_route(&self, gateway: &str) -> Result<()> {
        self.ip(&["route", "add", "default", "via", gateway]).map(drop)
    }

    /// Makes this namespace a router for IPv4.
    ///
    /// # Errors
    ///
    /// When the setting cannot be written.
    pub fn enable_forwarding(&self) -> Result<()> {
        self.exec("sh", &["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]).map(drop)
    }

    /// Loads rules written in nft's own language.
    ///
    /// # Errors
    ///
    /// When nft rejects them; its words are in the error.
    pub fn nft(&self, rules: &str) -> Result<()> {
        let mut child = self
            .command("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start nft")?;
        let mut input = child.stdin.take().expect("stdin was asked for as a pipe");
        input.write_all(rules.as_bytes()).context("nft takes no rules")?;
        drop(input);
        let output = child.wait_with_output().context("cannot wait for nft")?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "nft rejects the rules: {words}");
        Ok(())
    }

    /// Drops all ICMP and ICMPv6 that this namespace sends, receives or forwards, except
    /// neighbour discovery: path MTU discovery by the kernel is blind from here on.
    ///
    /// # Errors
    ///
    /// When nft fails.
    pub fn drop_icmp(&self) -> Result<()> {
        let verdict = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; \
                       meta l4proto { icmp, ipv6-icmp } drop;";
        let chains: String = ["input", "forward", "output"]
            .iter()
            .map(|hook| {
                format!("chain {hook} {{ type filter hook {hook} priority 0; {verdict} }}\n")
            })
            .collect();
        self.nft(&format!("table inet vdelab_icmp {{\n{chains}}}\n"))
    }

    /// Drops everything that arrives through an interface or leaves by it, without a word to
    /// anybody: a cut that no carrier tells of.
    ///
    /// # Errors
    ///
    /// When nft fails.
    pub fn black_hole(&self, interface: &str) -> Result<()> {
        self.nft(&format!(
            "table inet vdelab_hole {{
                chain input {{ type filter hook input priority -10; iifname {interface} drop; }}
                chain forward {{ type filter hook forward priority -10;
                    iifname {interface} drop; oifname {interface} drop; }}
                chain output {{ type filter hook output priority -10;
                    oifname {interface} drop; }}
            }}\n"
        ))
    }

    /// Drops everything that arrives through an interface, without a word to anybody; what leaves by
    /// it still does.
    ///
    /// # Errors
    ///
    /// When nft fails.
    pub fn deafen(&self, interface: &str) -> Result<()> {
        self.nft(&format!(
            "table inet vdelab_hole {{
                chain input {{ type filter hook input priority -10; iifname {interface} drop; }}
                chain forward {{ type filter hook forward priority -10;
                    iifname {interface} drop; }}
            }}\n"
        ))
    }

    /// Undoes [`Self::black_hole`] and [`Self::deafen`].
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn mend_black_hole(&self) -> Result<()> {
        self.nft("delete table inet vdelab_hole\n")
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Joins two namespaces by a wire, both ends up. It goes when either namespace goes.
///
/// # Errors
///
/// When an interface of that name exists.
pub fn veth(a: &Netns, interface_a: &str, b: &Netns, interface_b: &str) -> Result<()> {
    ip(&[
        "link",
        "add",
        interface_a,
        "netns",
        &a.name,
        "type",
        "veth",
        "peer",
        "name",
        interface_b,
        "netns",
        &b.name,
    ])?;
    a.set_up(interface_a)?;
    b.set_up(interface_b)
}

fn ip(arguments: &[&str]) -> Result<String> {
    run(Command::new("ip").args(arguments))
}

/// Ends what runs in a namespace and removes it. Failures leave something behind that the next
/// run removes, and must not hide a trial's own result.
fn remove(name: &str) {
    for pid in ip(&["netns", "pids", name]).unwrap_or_default().split_whitespace() {
        if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = ip(&["netns", "delete", name]);
}

/// Removes the namespaces of tests that were killed before they could, once in this process.
fn remove_orphans() {
    static DONE: Mutex<bool> = Mutex::new(false);
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    if std::mem::replace(&mut done, true) {
        return;
    }
    let list = ip(&["netns", "list"]).unwrap_or_default();
    let names: BTreeSet<&str> =
        list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for name in names {
        let mut parts = name.split('-');
        let ours = parts.next() == Some(PREFIX);
        let owner = parts.next().and_then(|pid| pid.parse::<u32>().ok());
        if let (true, Some(owner)) = (ours, owner)
            && !Path::new(&format!("/proc/{owner}")).exists()
        {
            remove(name);
        }
    }
}
