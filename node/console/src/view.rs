//! The plain structs a switch fills, and the text VDE shows for each.
//!
//! `Display` gives the lines without the last line feed; [`Reply::data`](crate::Reply::data) takes
//! them as they are. Texts that a client or the user database chose are shown with `?` for control
//! characters.

use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use ether::{MacAddr, VlanId};

/// The answer to `ds/showinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSocketView {
    /// The control directory, absolute.
    pub directory: PathBuf,
    /// The permissions of the sockets in it.
    pub mode: u32,
}

impl fmt::Display for DataSocketView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ctl dir {}", Printable(self.directory.to_string_lossy()))?;
        write!(f, "std mode 0{:03o}", self.mode)
    }
}

/// The answer to `showinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchView {
    /// The version, without a `V.` before it.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// The switch's own address.
    pub mac: MacAddr,
    /// Since the start; shown in whole seconds.
    pub uptime: Duration,
    /// The management socket as it was given, with its permissions, if there is one.
    pub management: Option<(PathBuf, u32)>,
}

impl fmt::Display for SwitchView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pid, mac, uptime) = (self.pid, self.mac, self.uptime.as_secs());
        writeln!(f, "{}", banner(&self.version))?;
        write!(f, "pid {pid} MAC {mac} uptime {uptime}")?;
        if let Some((path, mode)) = &self.management {
            let path = Printable(path.to_string_lossy());
            write!(f, "\nmgmt {path} perm 0{mode:03o}")?;
        }
        Ok(())
    }
}

/// The two lines with which a management session opens, the second one ended.
///
/// The first begins as VDE's does, for a client may look for it.
pub fn banner(version: &str) -> String {
    format!(
        "VDE switch V.{version}\n\
         (the console of VDE 2 on vdenode)\n"
    )
}

/// The answer to `hash/showinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashView {
    /// The size of the table, in entries.
    pub size: u32,
    /// How often old entries are looked for.
    pub collection_interval: Duration,
    /// How long an entry lives after the last frame of its station.
    pub expiry: Duration,
    /// How long a station must be silent before it may move to another port.
    pub minimum_persistence: Duration,
}

impl fmt::Display for HashView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Hash size {}", self.size)?;
        writeln!(f, "GC interval {} secs", self.collection_interval.as_secs())?;
        writeln!(f, "GC expire {} secs", self.expiry.as_secs())?;
        let persistence = self.minimum_persistence.as_secs();
        write!(f, "Min persistence {persistence} secs")
    }
}

/// One line of `hash/print`, and the answer to `hash/find`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashEntryView {
    /// Where the entry lies in the table; 0 for a table without such places. VDE prints lines in
    /// the order of it.
    pub bucket: u32,
    /// The station.
    pub mac: MacAddr,
    /// Its VLAN.
    pub vlan: VlanId,
    /// The port behind which it was seen. VDE's `hash/find` shows one more than its `hash/print`;
    /// this number is shown as it is by both.
    pub port: u32,
    /// Since its last frame; shown in whole seconds.
    pub age: Duration,
}

impl fmt::Display for HashEntryView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bucket, mac, vlan, port) = (self.bucket, self.mac, self.vlan.0, self.port);
        let age = self.age.as_secs();
        write!(f, "Hash: {bucket:04} Addr: {mac} VLAN {vlan:04} to port: {port:03}  age {age} secs")
    }
}

/// The answer to `fstp/showinfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FstpView {
    /// The switch's own address.
    pub mac: MacAddr,
    /// The bridge priority of the command line, 32768 by default.
    pub priority: u16,
}

/// Why `fstp/setfstp 1` is refused, and the third line of `fstp/showinfo`.
pub const NO_SPANNING_TREE: &str = "no spanning tree is spoken, and none is needed: cables never form a loop, whatever their shape";

impl fmt::Display for FstpView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mac, priority) = (self.mac, self.priority);
        writeln!(f, "MAC {mac} Priority {priority} (0x{priority:x})")?;
        write!(f, "FSTP=false\n{NO_SPANNING_TREE}")
    }
}

/// One VLAN of `fstp/print`: a tree whose root is this switch, for there is no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FstpVlanView {
    /// The VLAN.
    pub vlan: VlanId,
    /// The switch's own address.
    pub mac: MacAddr,
    /// The bridge priority of the command line.
    pub priority: u16,
    /// The active ports of the VLAN: first the untagged ones, then the tagged ones, each by number.
    pub ports: Vec<VlanPortView>,
}

impl fmt::Display for FstpVlanView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [high, low] = self.priority.to_be_bytes();
        let (vlan, mac) = (self.vlan.0, self.mac);
        writeln!(f, "FST DATA VLAN {vlan:04} ROOTSWITCH FSTP IS DISABLED")?;
        writeln!(f, " ++ root {high:02x}:{low:02x}:{mac}")?;
        writeln!(f, " ++ designated ff:ff:ff:ff:ff:ff:ff:ff")?;
        write!(f, " ++ rootport 0000 cost 0 age 0 bonusport 0000 bonuscost 0")?;
        for port in &self.ports {
            let (number, tagged) = (port.port, u8::from(port.tagged));
            // The cost that VDE gives every port, whatever its speed.
            write!(f, "\n -- Port {number:04} tagged={tagged} portcost=20000000 role=Designated")?;
        }
        Ok(())
    }
}

/// The answer to `port/showinfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortsView {
    /// How many ports there may be.
    pub numports: u32,
    /// Whether every frame is flooded.
    pub hub: bool,
}

impl fmt::Display for PortsView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { numports, hub } = self;
        write!(f, "Numports={numports}\nHUB={hub}\ncounters=true")
    }
}

/// The answer to `port/createauto`: the port that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreatedPort(pub u32);

impl fmt::Display for CreatedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port {:04}", self.0)
    }
}

/// One port of `port/print` and `port/allprint`. Active when it has an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortView {
    /// Its number.
    pub port: u32,
    /// The VLAN of frames without a tag; `None` takes and sends none, and shows as 4095.
    pub untagged_vlan: Option<VlanId>,
    /// Whether a plug that names no port may get it.
    pub allocatable: bool,
    /// Whose plugs are on it: name, or number where there is no name. `None` shows as `NONE`.
    pub current_user: Option<String>,
    /// Who may plug in, by user. `None`: anyone.
    pub user: Option<String>,
    /// Who may plug in, by group. `None`: anyone.
    pub group: Option<String>,
    /// From the plugs into the switch.
    pub ingress: Traffic,
    /// Out of the switch to the plugs.
    pub egress: Traffic,
    /// Its plugs, the newest first.
    pub endpoints: Vec<EndpointView>,
}

/// Frames and octets, without check sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Frames.
    pub frames: u64,
    /// Octets.
    pub octets: u64,
}

impl fmt::Display for PortView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vlan = self.untagged_vlan.map_or(4095, |vlan| vlan.0);
        let active = if self.endpoints.is_empty() { "IN" } else { "" };
        let not = if self.allocatable { "" } else { "NOT " };
        writeln!(
            f,
            "Port {:04} untagged_vlan={vlan:04} {active}ACTIVE - {not}Unnamed Allocatable",
            self.port
        )?;
        writeln!(
            f,
            " Current User: {} Access Control: (User: {} - Group: {})",
            name(self.current_user.as_ref()),
            name(self.user.as_ref()),
            name(self.group.as_ref()),
        )?;
        writeln!(f, " IN:  {}", self.ingress)?;
        write!(f, " OUT: {}", self.egress)?;
        for endpoint in &self.endpoints {
            write!(f, "\n{endpoint}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, octets } = self;
        write!(f, "pkts {frames:10}          bytes {octets:20}")
    }
}

/// One plug on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointView {
    /// Names it to `port/epclose`; unique among all endpoints of the switch.
    pub id: u32,
    /// What kind of plug it is.
    pub module: Module,
    /// What the client said about itself, or the name of the tap.
    pub description: Option<String>,
}

/// The kinds of plug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Module {
    /// A program on a VDE socket: `unix prog`.
    UnixProgram,
    /// A tap interface: `tuntap`.
    Tap,
    /// What VDE does not have, by a word of its own of at most 12 characters.
    Other(&'static str),
}

impl fmt::Display for EndpointView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let module = match self.module {
            Module::UnixProgram => "unix prog",
            Module::Tap => "tuntap",
            Module::Other(word) => word,
        };
        let description = self.description.as_deref();
        let description = Printable(description.unwrap_or("no endpoint description"));
        write!(f, "  -- endpoint ID {:04} module {module:<12}: {description}", self.id)
    }
}

/// One VLAN of `vlan/print` (active ports alone) and `vlan/allprint` (every port).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlanView {
    /// The VLAN.
    pub vlan: VlanId,
    /// Its ports, by number.
    pub ports: Vec<VlanPortView>,
}

/// A port as a member of a VLAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VlanPortView {
    /// Its number.
    pub port: u32,
    /// Whether the VLAN's frames carry a tag on it.
    pub tagged: bool,
    /// Whether it has an endpoint.
    pub active: bool,
    /// Whether its frames are kept back, for it would close a loop.
    pub blocked: bool,
}

impl fmt::Display for VlanView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VLAN {:04}", self.vlan.0)?;
        for member in &self.ports {
            let (port, tagged) = (member.port, u8::from(member.tagged));
            let active = u8::from(member.active);
            let status = match (member.blocked, member.active) {
                (true, _) => "Discarding",
                (false, true) => "Forwarding",
                (false, false) => "Learning",
            };
            write!(f, "\n -- Port {port:04} tagged={tagged} active={active} status={status}")?;
        }
        Ok(())
    }
}

fn name(name: Option<&String>) -> Printable<&str> {
    Printable(name.map_or("NONE", String::as_str))
}

/// Text that someone else chose, with `?` for each control character.
pub(crate) struct Printable<T>(pub(crate) T);

impl<T: AsRef<str>> fmt::Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.as_ref().chars() {
            f.write_char(if character.is_control() { '?' } else { character })?;
        }
        Ok(())
    }
}
