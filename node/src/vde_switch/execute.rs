//! The commands of VDE's console, carried out on the data plane.

use std::path::PathBuf;
use std::time::Duration;

use console::view::{
    CreatedPort, DataSocketView, EndpointView, FstpView, FstpVlanView, HashEntryView, HashView,
    Module, PortView, PortsView, SwitchView, Traffic, VlanPortView, VlanView,
};
use console::{Errno, Reply, SwitchCommand};
use ether::{MacAddr, VlanId};
use fabric::vlan::{Membership, VlanError};
use fabric::{PortId, VlanPolicy};

use crate::accounts;
use crate::driver::{Shard, now};
use crate::plane::{Denied, Plane};
use crate::port::{Endpoint, Port, PortIo};

/// What the console shows and sets beyond the data plane.
#[derive(Debug, Clone)]
pub(crate) struct SwitchFacts {
    pub(crate) mac: MacAddr,
    pub(crate) priority: u16,
    /// Permissions of the data sockets.
    pub(crate) mode: u32,
    pub(crate) management: Option<(PathBuf, u32)>,
    /// Size, collection interval and persistence are kept to be shown; only the expiry acts.
    pub(crate) hash: HashView,
}

type Outcome = Result<Reply, Errno>;

/// Carries a command out.
pub(crate) fn execute(shard: &Shard, command: &SwitchCommand) -> Reply {
    let Some(facts) = &shard.switch else {
        return command.failure(Errno::ENOSYS);
    };
    let mut console =
        Console { shard, facts: &mut facts.borrow_mut(), plane: &mut shard.plane.borrow_mut() };
    console.execute(command).unwrap_or_else(|errno| command.failure(errno))
}

struct Console<'a> {
    shard: &'a Shard,
    facts: &'a mut SwitchFacts,
    plane: &'a mut Plane,
}

impl Console<'_> {
    fn execute(&mut self, command: &SwitchCommand) -> Outcome {
        match command {
            SwitchCommand::DsShowinfo => Ok(Reply::data([DataSocketView {
                directory: self.shard.server.directory().to_path_buf(),
                mode: self.facts.mode,
            }])),
            SwitchCommand::Showinfo => Ok(Reply::data([SwitchView {
                version: super::VERSION.to_owned(),
                pid: std::process::id(),
                mac: self.facts.mac,
                uptime: now().saturating_duration_since(self.shard.started),
                management: self.facts.management.clone(),
            }])),
            SwitchCommand::HashShowinfo
            | SwitchCommand::HashSetsize(_)
            | SwitchCommand::HashSetgcint(_)
            | SwitchCommand::HashSetexpire(_)
            | SwitchCommand::HashSetminper(_)
            | SwitchCommand::HashPrint
            | SwitchCommand::HashFind { .. } => self.hash(command),
            SwitchCommand::FstpShowinfo
            | SwitchCommand::FstpSetfstp { .. }
            | SwitchCommand::FstpSetedge { .. }
            | SwitchCommand::FstpBonus { .. }
            | SwitchCommand::FstpPrint(_) => self.fstp(command),
            SwitchCommand::VlanCreate(_)
            | SwitchCommand::VlanRemove(_)
            | SwitchCommand::VlanAddport { .. }
            | SwitchCommand::VlanDelport { .. }
            | SwitchCommand::VlanPrint(_)
            | SwitchCommand::VlanAllprint(_) => self.vlan(command),
            _ => self.port(command),
        }
    }

    fn hash(&mut self, command: &SwitchCommand) -> Outcome {
        let hash = &mut self.facts.hash;
        match command {
            SwitchCommand::HashShowinfo => return Ok(Reply::data([&*hash])),
            SwitchCommand::HashPrint => return Ok(Reply::data(self.stations())),
            SwitchCommand::HashFind { mac, vlan } => {
                let found = self.stations().find(|it| it.mac == *mac && it.vlan == *vlan);
                return found.map(|entry| Reply::data([entry])).ok_or(Errno::ENODEV);
            }
            SwitchCommand::HashSetsize(size) => {
                hash.size = size.get().checked_next_power_of_two().unwrap_or(1 << 31);
                self.plane.segment.bridge.flush();
            }
            SwitchCommand::HashSetgcint(time) => hash.collection_interval = *time,
            SwitchCommand::HashSetminper(time) => hash.minimum_persistence = *time,
            SwitchCommand::HashSetexpire(time) => {
                hash.expiry = *time;
                self.plane.segment.bridge.set_ageing_time(*time);
            }
            _ => return Err(Errno::ENOSYS),
        }
        Ok(Reply::success())
    }

    fn stations(&self) -> impl Iterator<Item = HashEntryView> + use<> {
        let entries = self.plane.segment.bridge.snapshot(now()).entries.into_iter();
        entries.map(|entry| HashEntryView {
            bucket: 0,
            mac: entry.mac,
            vlan: entry.vlan,
            port: entry.port.0,
            age: entry.age,
        })
    }

    fn fstp(&self, command: &SwitchCommand) -> Outcome {
        let (mac, priority) = (self.facts.mac, self.facts.priority);
        match command {
            SwitchCommand::FstpShowinfo => return Ok(Reply::data([FstpView { mac, priority }])),
            SwitchCommand::FstpPrint(vlan) => {
                let mut vlans = self.vlans(*vlan, false)?;
                for view in &mut vlans {
                    view.ports.sort_by_key(|port| port.tagged);
                }
                return Ok(Reply::data(
                    vlans.into_iter().map(|VlanView { vlan, ports }| FstpVlanView {
                        vlan,
                        mac,
                        priority,
                        ports,
                    }),
                ));
            }
            SwitchCommand::FstpSetedge { vlan, port, .. }
            | SwitchCommand::FstpBonus { vlan, port, .. } => {
                self.in_range(*port)?;
                self.known(*vlan)?;
            }
            _ => {}
        }
        command.fstp_reply().ok_or(Errno::ENOSYS)
    }

    fn vlan(&mut self, command: &SwitchCommand) -> Outcome {
        match *command {
            SwitchCommand::VlanCreate(vlan) => {
                self.plane.segment.bridge.create_vlan(vlan).map_err(IntoErrno::into_errno)?
            }
            SwitchCommand::VlanRemove(vlan) => {
                self.plane.segment.bridge.remove_vlan(vlan).map_err(IntoErrno::into_errno)?
            }
            SwitchCommand::VlanAddport { vlan, port } => {
                let id = self.existing(port)?;
                self.known(vlan)?;
                if self.untagged(id) != Some(vlan) {
                    self.plane
                        .segment
                        .bridge
                        .add_tagged_vlan(id, vlan)
                        .map_err(IntoErrno::into_errno)?;
                }
            }
            SwitchCommand::VlanDelport { vlan, port } => {
                let id = self.existing(port)?;
                self.known(vlan)?;
                self.plane
                    .segment
                    .bridge
                    .remove_tagged_vlan(id, vlan)
                    .map_err(IntoErrno::into_errno)?;
            }
            SwitchCommand::VlanPrint(vlan) => return self.vlans(vlan, false).map(Reply::data),
            SwitchCommand::VlanAllprint(vlan) => return self.vlans(vlan, true).map(Reply::data),
            _ => return Err(Errno::ENOSYS),
        }
        Ok(Reply::success())
    }

    fn vlans(&self, chosen: Option<VlanId>, inactive: bool) -> Result<Vec<VlanView>, Errno> {
        if let Some(vlan) = chosen {
            self.known(vlan)?;
        }
        let vlans = self.plane.segment.bridge.vlans().into_iter();
        let wanted = vlans.filter(|vlan| chosen.is_none_or(|chosen| vlan.vlan == chosen));
        let views = wanted.map(|vlan| {
            let ports = vlan.members.iter().map(|(id, membership)| VlanPortView {
                port: id.0,
                tagged: *membership == Membership::Tagged,
                active: self.plane.port(*id).is_some_and(|port| !port.endpoints.is_empty()),
                blocked: false,
            });
            let ports = ports.filter(|port| inactive || port.active).collect();
            VlanView { vlan: vlan.vlan, ports }
        });
        Ok(views.collect())
    }

    fn port(&mut self, command: &SwitchCommand) -> Outcome {
        match command {
            SwitchCommand::PortShowinfo => {
                let (numports, hub) =
                    (self.plane.settings.ports, self.plane.segment.bridge.is_hub());
                return Ok(Reply::data([PortsView { numports, hub }]));
            }
            SwitchCommand::PortPrint(port) => return self.ports(*port, false),
            SwitchCommand::PortAllprint(port) => return self.ports(*port, true),
            SwitchCommand::PortSetnumports(number) => {
                if self.plane.all_ports().any(|(id, _)| id.0 >= number.get()) {
                    return Err(Errno::EADDRINUSE);
                }
                self.plane.settings.ports = number.get().min(PortId::MAX.0 + 1);
            }
            SwitchCommand::PortSethub { hub } => {
                self.plane.segment.bridge.set_hub(*hub);
            }
            SwitchCommand::PortCreateauto => {
                let port = self.plane.create(None).map_err(IntoErrno::into_errno)?;
                return Ok(Reply::data([CreatedPort(port.0)]));
            }
            SwitchCommand::PortCreate(port) => {
                self.plane
                    .create(port.map(|port| PortId(port.get())))
                    .map_err(IntoErrno::into_errno)?;
            }
            SwitchCommand::PortRemove(port) => {
                let id = self.existing(*port)?;
                if self.plane.port(id).is_some_and(|port| !port.endpoints.is_empty()) {
                    return Err(Errno::EADDRINUSE);
                }
                self.plane.remove(id);
            }
            SwitchCommand::PortAllocatable { port, allocatable } => {
                self.change(*port)?.reserved = !allocatable;
            }
            SwitchCommand::PortSetuser { port, user } => {
                self.existing(*port)?;
                let user = accounts::find_user(user)?;
                self.change(*port)?.access.user = user;
            }
            SwitchCommand::PortSetgroup { port, group } => {
                self.existing(*port)?;
                let group = accounts::find_group(group)?;
                self.change(*port)?.access.group = group;
            }
            SwitchCommand::PortSetvlan { port, vlan } => {
                let id = self.existing(*port)?;
                self.plane
                    .segment
                    .bridge
                    .set_untagged_vlan(id, *vlan)
                    .map_err(IntoErrno::into_errno)?;
            }
            SwitchCommand::PortEpclose { port, endpoint } => {
                let endpoints = &self.change(*port)?.endpoints;
                let found = endpoints.iter().find(|known| known.id.0 == *endpoint);
                found.ok_or(Errno::ENXIO)?.cut.notify_one();
            }
            SwitchCommand::PortResetcounter(port) => {
                if let Some(port) = port {
                    self.in_range(*port)?;
                }
                self.plane.reset_counters(port.map(PortId));
            }
            _ => return Err(Errno::ENOSYS),
        }
        Ok(Reply::success())
    }

    fn ports(&self, chosen: Option<u32>, inactive: bool) -> Outcome {
        if let Some(port) = chosen {
            self.in_range(port)?;
        }
        let wanted = self.plane.all_ports().filter(|(id, port)| {
            chosen.is_none_or(|chosen| id.0 == chosen) && (inactive || !port.endpoints.is_empty())
        });
        let views: Vec<_> = wanted.map(|(id, port)| self.port_view(id, port)).collect();
        if chosen.is_some() && views.is_empty() {
            return Err(Errno::ENXIO);
        }
        Ok(Reply::data(views))
    }

    fn port_view(&self, id: PortId, port: &Port) -> PortView {
        let counters = &port.counters;
        PortView {
            port: id.0,
            untagged_vlan: self.untagged(id),
            allocatable: !port.reserved,
            current_user: port.user.map(accounts::user_name),
            user: port.access.user.map(accounts::user_name),
            group: port.access.group.map(accounts::group_name),
            ingress: Traffic { frames: counters.rx_frames, octets: counters.rx_bytes },
            egress: Traffic { frames: counters.tx_frames, octets: counters.tx_bytes },
            endpoints: port.endpoints.iter().rev().map(endpoint_view).collect(),
        }
    }

    fn untagged(&self, id: PortId) -> Option<VlanId> {
        match self.plane.segment.bridge.vlan_policy(id)? {
            VlanPolicy::Transparent => Some(VlanId::ZERO),
            VlanPolicy::Aware { untagged, .. } => untagged,
        }
    }

    fn in_range(&self, port: u32) -> Result<(), Errno> {
        if port < self.plane.settings.ports { Ok(()) } else { Err(Errno::EINVAL) }
    }

    fn existing(&self, port: u32) -> Result<PortId, Errno> {
        self.in_range(port)?;
        let id = PortId(port);
        self.plane.port(id).map(|_| id).ok_or(Errno::ENXIO)
    }

    fn change(&mut self, port: u32) -> Result<&mut Port, Errno> {
        let id = self.existing(port)?;
        self.plane.port_mut(id).ok_or(Errno::ENXIO)
    }

    fn known(&self, vlan: VlanId) -> Result<(), Errno> {
        let known = self.plane.segment.bridge.vlans().iter().any(|known| known.vlan == vlan);
        if known { Ok(()) } else { Err(Errno::ENXIO) }
    }
}

fn endpoint_view(endpoint: &Endpoint) -> EndpointView {
    EndpointView {
        id: endpoint.id.0,
        module: match endpoint.io {
            PortIo::Vde(_) => Module::UnixProgram,
            PortIo::Tap(_) => Module::Tap,
            PortIo::Stream(_) | PortIo::Dgram(_) => Module::Other(endpoint.io.kind()),
            PortIo::Cable(_) => Module::Other("cable"),
        },
        description: Some(endpoint.description.clone()),
    }
}

/// VDE's defaults: 2 s between collections, 100 s of life. A station that moves is heard at once, so
/// the persistence is 0 where VDE has 3 s.
pub(crate) fn hash_defaults(size: u32) -> HashView {
    HashView {
        size: size.checked_next_power_of_two().unwrap_or(1 << 31),
        collection_interval: Duration::from_secs(2),
        expiry: Duration::from_secs(100),
        minimum_persistence: Duration::ZERO,
    }
}

/// The codes with which VDE's console says the same.
trait IntoErrno {
    fn into_errno(self) -> Errno;
}

impl IntoErrno for VlanError {
    fn into_errno(self) -> Errno {
        match self {
            Self::OutOfRange(_) => Errno::EINVAL,
            Self::Exists(_) => Errno::EEXIST,
            Self::UnknownVlan(_) | Self::UnknownPort(_) => Errno::ENXIO,
            Self::InUse { .. } | Self::IsUntagged { .. } => Errno::EADDRINUSE,
            Self::Cable(_) | Self::Transparent(_) => Errno::EINVAL,
        }
    }
}

impl IntoErrno for Denied {
    fn into_errno(self) -> Errno {
        match self {
            Self::Full => Errno::ENOSPC,
            Self::Taken(_) => Errno::EEXIST,
            Self::OutOfRange(_) => Errno::EINVAL,
            Self::NotYours(_) => Errno::EACCES,
            Self::Crowded(_) => Errno::EADDRINUSE,
        }
    }
}
