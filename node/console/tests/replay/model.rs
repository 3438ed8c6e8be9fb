//! The least switch that can stand behind the console: tables without traffic.
//!
//! Also an example of the program that the console is made for: it fills views and picks errors,
//! and knows nothing of text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use console::view::{
    CreatedPort, DataSocketView, EndpointView, FstpView, FstpVlanView, HashEntryView, HashView,
    Module, PortView, PortsView, SwitchView, Traffic, VlanPortView, VlanView,
};
use console::{Account, Errno, Reply, SwitchCommand};
use ether::{MacAddr, VlanId};

pub(crate) const MAC: MacAddr = MacAddr([0, 0xff, 0, 0, 0, 1]);
pub(crate) const DIRECTORY: &str = "/run/vde";

pub(crate) struct Model {
    numports: u32,
    hub: bool,
    ports: BTreeMap<u32, PortView>,
    /// Members, tagged and untagged.
    vlans: BTreeMap<VlanId, BTreeSet<u32>>,
    stations: Vec<HashEntryView>,
    hash: HashView,
}

type Outcome = Result<Reply, Errno>;

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            numports: 32,
            hub: false,
            ports: BTreeMap::new(),
            vlans: BTreeMap::from([(VlanId(0), BTreeSet::new())]),
            stations: Vec::new(),
            hash: HashView {
                size: 128,
                collection_interval: Duration::from_secs(2),
                expiry: Duration::from_secs(100),
                minimum_persistence: Duration::from_secs(3),
            },
        }
    }

    pub(crate) fn with_one_plug(description: &str) -> Self {
        let mut model = Self::new();
        model.plug(1, 3, description, 1, 0);
        model.station(9, 0x0a, 1);
        model
    }

    pub(crate) fn with_plugs() -> Self {
        let mut model = Self::new();
        model.plug(0, 13, "monitor", 0, 3);
        model.plug(1, 3, "alpha user=root PID=1", 2, 2);
        model.plug(2, 7, "", 1, 3);
        model.plug(7, 9, "seven", 1, 2);
        model.plug(7, 11, "also seven", 1, 2);
        model.station(9, 0x0a, 1);
        model.station(26, 0x0b, 2);
        model.station(31, 0x0c, 7);
        model
    }

    fn plug(&mut self, port: u32, id: u32, description: &str, frames_in: u64, frames_out: u64) {
        let traffic = |frames| Traffic { frames, octets: frames * 64 };
        self.members(0).insert(port);
        let view = self.ports.entry(port).or_default();
        view.port = port;
        view.untagged_vlan = Some(VlanId(0));
        view.allocatable = true;
        view.current_user = Some("root".to_owned());
        view.ingress = traffic(frames_in);
        view.egress = traffic(frames_out);
        let endpoint = EndpointView {
            id,
            module: Module::UnixProgram,
            description: Some(description.to_owned()),
        };
        view.endpoints.insert(0, endpoint);
    }

    fn station(&mut self, bucket: u32, last: u8, port: u32) {
        self.stations.push(HashEntryView {
            bucket,
            mac: MacAddr([2, 0, 0, 0, 0, last]),
            vlan: VlanId(0),
            port,
            age: Duration::ZERO,
        });
    }

    pub(crate) fn execute(&mut self, command: &SwitchCommand) -> Reply {
        self.try_execute(command).unwrap_or_else(|errno| command.failure(errno))
    }

    fn try_execute(&mut self, command: &SwitchCommand) -> Outcome {
        let view = match command {
            SwitchCommand::DsShowinfo => Reply::data([DataSocketView {
                directory: PathBuf::from(DIRECTORY).join("ctl"),
                mode: 0o600,
            }]),
            SwitchCommand::Showinfo => Reply::data([SwitchView {
                version: "2.3.2".to_owned(),
                pid: 1,
                mac: MAC,
                uptime: Duration::ZERO,
                management: Some((PathBuf::from(DIRECTORY).join("m"), 0o600)),
            }]),
            SwitchCommand::FstpShowinfo => Reply::data([FstpView { mac: MAC, priority: 0x8000 }]),
            SwitchCommand::PortShowinfo => {
                Reply::data([PortsView { numports: self.numports, hub: self.hub }])
            }
            SwitchCommand::PortSethub { hub } => {
                self.hub = *hub;
                Reply::success()
            }
            SwitchCommand::FstpSetfstp { .. } => {
                command.fstp_reply().expect("it is one of the three")
            }
            SwitchCommand::FstpSetedge { vlan, port, .. }
            | SwitchCommand::FstpBonus { vlan, port, .. } => {
                self.in_range(*port)?;
                self.known(*vlan)?;
                command.fstp_reply().expect("it is one of the three")
            }
            SwitchCommand::FstpPrint(vlan) => {
                Reply::data(self.chosen(*vlan)?.into_iter().map(|vlan| FstpVlanView {
                    vlan,
                    mac: MAC,
                    priority: 0x8000,
                    ports: self.vlan_view(vlan, false).ports,
                }))
            }
            SwitchCommand::VlanPrint(vlan) => self.print_vlans(*vlan, false)?,
            SwitchCommand::VlanAllprint(vlan) => self.print_vlans(*vlan, true)?,
            SwitchCommand::PortPrint(port) => self.print_ports(*port, false)?,
            SwitchCommand::PortAllprint(port) => self.print_ports(*port, true)?,
            _ => return self.hash(command).unwrap_or_else(|| self.change(command)),
        };
        Ok(view)
    }

    fn hash(&mut self, command: &SwitchCommand) -> Option<Outcome> {
        match command {
            SwitchCommand::HashShowinfo => return Some(Ok(Reply::data([&self.hash]))),
            SwitchCommand::HashPrint => return Some(Ok(Reply::data(&self.stations))),
            SwitchCommand::HashFind { mac, vlan } => {
                let mut stations = self.stations.iter();
                let found = stations.find(|it| it.mac == *mac && it.vlan == *vlan);
                let reply = found.map(|entry| Reply::data([entry]));
                return Some(reply.ok_or(Errno::ENODEV));
            }
            SwitchCommand::HashSetsize(size) => self.hash.size = size.get().next_power_of_two(),
            SwitchCommand::HashSetgcint(time) => self.hash.collection_interval = *time,
            SwitchCommand::HashSetexpire(time) => self.hash.expiry = *time,
            SwitchCommand::HashSetminper(time) => self.hash.minimum_persistence = *time,
            _ => return None,
        }
        Some(Ok(Reply::success()))
    }

    fn change(&mut self, command: &SwitchCommand) -> Outcome {
        match command {
            SwitchCommand::PortSetnumports(number) => {
                if self.ports.keys().any(|port| *port >= number.get()) {
                    return Err(Errno::EADDRINUSE);
                }
                self.numports = number.get();
            }
            SwitchCommand::PortCreateauto => {
                return self.create(None).map(|port| Reply::data([CreatedPort(port)]));
            }
            SwitchCommand::PortCreate(port) => {
                self.create(port.map(u32::from))?;
            }
            SwitchCommand::PortRemove(port) => {
                if !self.port(*port)?.endpoints.is_empty() {
                    return Err(Errno::EADDRINUSE);
                }
                self.ports.remove(port);
                for members in self.vlans.values_mut() {
                    members.remove(port);
                }
            }
            SwitchCommand::PortAllocatable { port, allocatable } => {
                self.port(*port)?.allocatable = *allocatable;
            }
            SwitchCommand::PortSetuser { port, user } => {
                self.port(*port)?.user = resolve(user)?;
            }
            SwitchCommand::PortSetgroup { port, group } => {
                self.port(*port)?.group = resolve(group)?;
            }
            SwitchCommand::PortSetvlan { port, vlan } => self.set_vlan(*port, *vlan)?,
            SwitchCommand::PortEpclose { port, endpoint } => {
                let view = self.port(*port)?;
                let position = view.endpoints.iter().position(|it| it.id == *endpoint);
                view.endpoints.remove(position.ok_or(Errno::ENXIO)?);
                if view.endpoints.is_empty() {
                    view.current_user = None;
                }
            }
            SwitchCommand::PortResetcounter(port) => {
                if let Some(port) = port {
                    self.in_range(*port)?;
                }
                for view in self.ports.values_mut() {
                    if port.is_none_or(|port| view.port == port) {
                        view.ingress = Traffic::default();
                        view.egress = Traffic::default();
                    }
                }
            }
            SwitchCommand::VlanCreate(vlan) => {
                if self.vlans.contains_key(vlan) {
                    return Err(Errno::EEXIST);
                }
                self.vlans.insert(*vlan, BTreeSet::new());
            }
            SwitchCommand::VlanRemove(vlan) => {
                self.known(*vlan)?;
                if !self.members(vlan.0).is_empty() {
                    return Err(Errno::EADDRINUSE);
                }
                self.vlans.remove(vlan);
            }
            SwitchCommand::VlanAddport { vlan, port } => {
                self.in_range(*port)?;
                self.known(*vlan)?;
                self.port(*port)?;
                self.members(vlan.0).insert(*port);
            }
            SwitchCommand::VlanDelport { vlan, port } => {
                self.in_range(*port)?;
                self.known(*vlan)?;
                if self.port(*port)?.untagged_vlan == Some(*vlan) {
                    return Err(Errno::EADDRINUSE);
                }
                self.members(vlan.0).remove(port);
            }
            other => panic!("{other:?} was carried out already"),
        }
        Ok(Reply::success())
    }

    fn create(&mut self, wanted: Option<u32>) -> Result<u32, Errno> {
        let lowest = (1..self.numports).find(|port| !self.ports.contains_key(port));
        let port = wanted.or(lowest).ok_or(Errno::ENOSPC)?;
        self.in_range(port)?;
        if self.ports.contains_key(&port) {
            return Err(Errno::EEXIST);
        }
        let view = PortView { port, untagged_vlan: Some(VlanId(0)), ..PortView::default() };
        self.ports.insert(port, view);
        self.members(0).insert(port);
        Ok(port)
    }

    fn set_vlan(&mut self, port: u32, vlan: Option<VlanId>) -> Result<(), Errno> {
        self.in_range(port)?;
        if let Some(vlan) = vlan {
            self.known(vlan)?;
        }
        let old = std::mem::replace(&mut self.port(port)?.untagged_vlan, vlan);
        if let Some(old) = old {
            self.members(old.0).remove(&port);
        }
        if let Some(vlan) = vlan {
            self.members(vlan.0).insert(port);
        }
        Ok(())
    }

    fn in_range(&self, port: u32) -> Result<(), Errno> {
        if port < self.numports { Ok(()) } else { Err(Errno::EINVAL) }
    }

    fn port(&mut self, port: u32) -> Result<&mut PortView, Errno> {
        self.in_range(port)?;
        self.ports.get_mut(&port).ok_or(Errno::ENXIO)
    }

    fn known(&self, vlan: VlanId) -> Result<(), Errno> {
        self.vlans.get(&vlan).map(|_| ()).ok_or(Errno::ENXIO)
    }

    fn members(&mut self, vlan: u16) -> &mut BTreeSet<u32> {
        self.vlans.entry(VlanId(vlan)).or_default()
    }

    fn chosen(&self, vlan: Option<VlanId>) -> Result<Vec<VlanId>, Errno> {
        match vlan {
            Some(vlan) => self.known(vlan).map(|()| vec![vlan]),
            None => Ok(self.vlans.keys().copied().collect()),
        }
    }

    fn print_vlans(&self, vlan: Option<VlanId>, inactive: bool) -> Outcome {
        let vlans = self.chosen(vlan)?.into_iter();
        Ok(Reply::data(vlans.map(|vlan| self.vlan_view(vlan, inactive))))
    }

    fn vlan_view(&self, vlan: VlanId, inactive: bool) -> VlanView {
        let members = self.vlans[&vlan].iter().map(|port| &self.ports[port]);
        let ports = members
            .map(|port| VlanPortView {
                port: port.port,
                tagged: port.untagged_vlan != Some(vlan),
                active: !port.endpoints.is_empty(),
                blocked: false,
            })
            .filter(|port| inactive || port.active);
        VlanView { vlan, ports: ports.collect() }
    }

    fn print_ports(&self, port: Option<u32>, inactive: bool) -> Outcome {
        if let Some(port) = port {
            self.in_range(port)?;
        }
        let ports: Vec<_> = self
            .ports
            .values()
            .filter(|view| port.is_none_or(|port| view.port == port))
            .filter(|view| inactive || !view.endpoints.is_empty())
            .collect();
        if port.is_some() && ports.is_empty() {
            return Err(Errno::ENXIO);
        }
        Ok(Reply::data(ports))
    }
}

/// A user database with two accounts.
fn resolve(account: &Account) -> Result<Option<String>, Errno> {
    match account {
        Account::Anyone => Ok(None),
        Account::Lookup { name, .. } if matches!(name.as_str(), "root" | "daemon") => {
            Ok(Some(name.clone()))
        }
        Account::Lookup { number, .. } => {
            number.map(|number| Some(number.to_string())).ok_or(Errno::EINVAL)
        }
    }
}
