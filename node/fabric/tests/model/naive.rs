//! The simple bridge.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ether::{MacAddr, VlanId};
use fabric::{
    Change, DropReason, PortId, PortKind, Reach, RemoteId, Station, VlanError, VlanPolicy,
};

use crate::{
    AGEING_TIME, CAPACITY, CONTAINMENT, Frame, Ingress, Outcome, PER_PORT_CAPACITY, REMOTE_CAPACITY,
};

/// A bucket that is filled by the nanosecond.
#[derive(Clone, Copy)]
struct Bucket {
    level: u128,
    filled: Instant,
}

/// Whose bucket, and what for.
type BucketOf = (Result<PortId, RemoteId>, DropReason);

#[derive(Default)]
pub(crate) struct Model {
    limits_storms: bool,
    buckets: BTreeMap<BucketOf, Bucket>,
    ports: BTreeMap<PortId, PortKind>,
    pub(crate) blocked: BTreeSet<PortId>,
    /// Transparent ports are not in it.
    policies: BTreeMap<PortId, (Option<VlanId>, BTreeSet<VlanId>)>,
    /// But for VLAN 0, which always exists.
    vlans: BTreeSet<VlanId>,
    /// Least recently refreshed first. Some may be due.
    pub(crate) entries: Vec<(Station, PortId, Instant)>,
    /// First told first.
    pub(crate) remotes: Vec<(Station, RemoteId)>,
    pub(crate) changes: Vec<Change>,
    /// What the bridge evicted in this step, and the remote stations that it knows after it.
    pub(crate) evicted: Option<Station>,
    pub(crate) remotes_left: BTreeSet<Station>,
}

impl Model {
    pub(crate) fn new(limits_storms: bool) -> Self {
        Self { limits_storms, ..Self::default() }
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(&(station, port, seen)) = self.entries.first()
            && now - seen >= AGEING_TIME
        {
            self.entries.remove(0);
            self.changes.push(Change::Aged { station, port });
        }
    }

    /// Whether one more frame or station is within its limit.
    fn may_send(&mut self, of: BucketOf, now: Instant) -> bool {
        if !self.limits_storms {
            return true;
        }
        let (rate, burst) = match of.1 {
            DropReason::BroadcastStorm | DropReason::UnknownUnicastStorm => (10, 1),
            DropReason::MulticastStorm | DropReason::FloodBudget => (20, 2),
            DropReason::StationStorm => (2, 4),
            other => panic!("{other} is no storm"),
        };
        let price = 1_000_000_000 / rate;
        let full = Bucket { level: burst * price, filled: now };
        let bucket = self.buckets.entry(of).or_insert(full);
        let filled = bucket.level + (now - bucket.filled).as_nanos();
        *bucket = Bucket { level: filled.min(burst * price), filled: now };
        let within = bucket.level >= price;
        if within {
            bucket.level -= price;
        }
        within
    }

    fn is_open(&self, port: PortId) -> bool {
        self.ports.get(&port) == Some(&PortKind::Access) && !self.blocked.contains(&port)
    }

    /// The port on which a station was last heard, and when, if that is not too long ago.
    fn local(&self, station: Station, now: Instant) -> Option<(PortId, Instant)> {
        let mut entries = self.entries.iter();
        let &(_, port, seen) = entries.find(|(known, _, _)| *known == station)?;
        (now - seen < AGEING_TIME).then_some((port, seen))
    }

    fn remote(&self, station: Station) -> Option<RemoteId> {
        let known = self.remotes.iter().find(|(known, _)| *known == station);
        known.map(|(_, owner)| *owner)
    }

    pub(crate) fn outcome(&mut self, ingress: Ingress, frame: &Frame, now: Instant) -> Outcome {
        let vlan = match ingress {
            Ingress::Cable(..) => frame.tag.map(|(_, vlan)| vlan).unwrap_or_default(),
            Ingress::Port(port) if self.is_open(port) => match self.classify(port, frame) {
                Some(vlan) => vlan,
                None => return Outcome::Dropped(DropReason::VlanNotMember),
            },
            Ingress::Port(port) if self.ports.get(&port) == Some(&PortKind::Access) => {
                return Outcome::Dropped(DropReason::Blocked);
            }
            Ingress::Port(_) => return Outcome::Dropped(DropReason::UnknownPort),
        };
        let source = Station { vlan, mac: frame.source };
        match ingress {
            Ingress::Port(port) => {
                let is_new = self.local(source, now).is_none_or(|(known, _)| known != port);
                let storm = DropReason::StationStorm;
                if is_new && !self.may_send((Ok(port), storm), now) {
                    return Outcome::Dropped(storm);
                }
                self.learn(source, port, now);
            }
            Ingress::Cable(node, reach) => {
                let storm = DropReason::FloodBudget;
                if reach == Reach::Flood && !self.may_send((Err(node), storm), now) {
                    return Outcome::Dropped(storm);
                }
                if self.local(source, now).is_some_and(|(_, seen)| now - seen < CONTAINMENT) {
                    return Outcome::Dropped(DropReason::LocalSource);
                }
            }
        }
        if frame.destination.is_bridge_reserved() {
            return Outcome::Dropped(DropReason::Reserved);
        }
        let destination = Station { vlan, mac: frame.destination };
        let local = self.local(destination, now).map(|(port, _)| port);
        if let Some(port) = local {
            return match self.leave(port, vlan, frame) {
                _ if ingress.port() == local => Outcome::Dropped(DropReason::SamePort),
                Some(octets) => Outcome::Sent(vec![(port, octets)]),
                None => panic!("a station is behind a port that its VLAN does not reach"),
            };
        }
        match (ingress, self.remote(destination)) {
            (Ingress::Port(_), Some(owner)) => {
                return Outcome::Carried(owner, self.carry(vlan, frame));
            }
            (Ingress::Cable(_, Reach::Unicast), _) => {
                return Outcome::Dropped(DropReason::NotHere);
            }
            (Ingress::Port(port), None) => {
                let storm = match frame.destination {
                    MacAddr::BROADCAST => DropReason::BroadcastStorm,
                    mac if mac.is_group() => DropReason::MulticastStorm,
                    _ => DropReason::UnknownUnicastStorm,
                };
                if !self.may_send((Ok(port), storm), now) {
                    return Outcome::Dropped(storm);
                }
            }
            (Ingress::Cable(_, Reach::Flood), _) => {}
        }
        let others = self.ports.keys().filter(|port| Some(**port) != ingress.port());
        let open = others.filter(|port| self.is_open(**port));
        let leaving = open.filter_map(|port| Some((*port, self.leave(*port, vlan, frame)?)));
        Outcome::Sent(leaving.collect())
    }

    fn classify(&self, ingress: PortId, frame: &Frame) -> Option<VlanId> {
        let named = frame.tag.map(|(_, vlan)| vlan);
        let Some((untagged, tagged)) = self.policies.get(&ingress) else {
            return Some(named.unwrap_or_default());
        };
        match named {
            Some(vlan) if tagged.contains(&vlan) || *untagged == Some(vlan) => named,
            Some(VlanId::ZERO) | None => *untagged,
            Some(_) => None,
        }
    }

    /// The octets of a frame that leaves for another node.
    fn carry(&self, vlan: VlanId, frame: &Frame) -> Vec<u8> {
        let with_tag = || Some((frame.tag.map_or(0, |(priority, _)| priority), vlan));
        let tag = if vlan == VlanId::ZERO { frame.tag } else { with_tag() };
        Frame { tag, ..frame.clone() }.octets()
    }

    /// The octets of a frame that leaves through a port, if its VLAN does.
    fn leave(&self, egress: PortId, vlan: VlanId, frame: &Frame) -> Option<Vec<u8>> {
        let tag = match self.policies.get(&egress) {
            None => return Some(self.carry(vlan, frame)),
            Some((untagged, _)) if *untagged == Some(vlan) => None,
            Some((_, tagged)) if tagged.contains(&vlan) => {
                Some((frame.tag.map_or(0, |(priority, _)| priority), vlan))
            }
            Some(_) => return None,
        };
        let frame = Frame { tag, ..frame.clone() };
        Some(frame.octets())
    }

    pub(crate) fn forget(&mut self, port: PortId) {
        let behind = self.entries.extract_if(.., |(_, holder, _)| *holder == port);
        self.changes.extend(behind.map(|(station, port, _)| Change::Forgotten { station, port }));
    }

    pub(crate) fn remove_port(&mut self, port: PortId) {
        self.ports.remove(&port);
        self.policies.remove(&port);
        self.blocked.remove(&port);
        self.buckets.retain(|(of, _), _| *of != Ok(port));
        self.forget(port);
    }

    pub(crate) fn add_port(&mut self, port: PortId, kind: PortKind) {
        self.ports.insert(port, kind);
        if kind == PortKind::Cable {
            self.policies.remove(&port);
            self.forget(port);
        }
    }

    pub(crate) fn set_blocked(&mut self, port: PortId, blocked: bool) {
        if blocked && self.ports.contains_key(&port) {
            self.blocked.insert(port);
            self.forget(port);
        } else {
            self.blocked.remove(&port);
        }
    }

    pub(crate) fn set_policy(
        &mut self,
        port: PortId,
        policy: &VlanPolicy,
    ) -> Result<(), VlanError> {
        let kind = *self.ports.get(&port).ok_or(VlanError::UnknownPort(port))?;
        let new = match policy {
            VlanPolicy::Transparent => None,
            VlanPolicy::Aware { .. } if kind == PortKind::Cable => {
                return Err(VlanError::Cable(port));
            }
            VlanPolicy::Aware { untagged, tagged } => {
                let exists = |vlan: &&VlanId| **vlan == VlanId::ZERO || self.vlans.contains(vlan);
                if let Some(unknown) = untagged.iter().chain(tagged).find(|vlan| !exists(vlan)) {
                    return Err(VlanError::UnknownVlan(*unknown));
                }
                let mut tagged = tagged.clone();
                tagged.retain(|vlan| Some(*vlan) != *untagged);
                Some((*untagged, tagged))
            }
        };
        if self.policies.get(&port) != new.as_ref() {
            self.policies.remove(&port);
            self.policies.extend(new.map(|new| (port, new)));
            self.forget(port);
        }
        Ok(())
    }

    pub(crate) fn create_vlan(&mut self, vlan: VlanId) -> Result<(), VlanError> {
        let is_new = self.vlans.insert(vlan);
        is_new.then_some(()).ok_or(VlanError::Exists(vlan))
    }

    pub(crate) fn remove_vlan(&mut self, vlan: VlanId) -> Result<(), VlanError> {
        if !self.vlans.contains(&vlan) {
            return Err(VlanError::UnknownVlan(vlan));
        }
        for (&port, (untagged, tagged)) in &self.policies {
            if tagged.contains(&vlan) || *untagged == Some(vlan) {
                return Err(VlanError::InUse { vlan, port });
            }
        }
        self.vlans.remove(&vlan);
        Ok(())
    }

    fn learn(&mut self, station: Station, port: PortId, now: Instant) {
        if let Some((known_port, seen)) = self.local(station, now)
            && known_port == port
        {
            if now - seen >= Duration::from_secs(1) {
                self.entries.retain(|(known, _, _)| *known != station);
                self.entries.push((station, port, now));
            }
            return;
        }
        self.expire(now);
        let from = self.local(station, now).map(|(from, _)| from);
        self.entries.retain(|(known, _, _)| *known != station);
        let owner = self.remote(station);
        self.remotes.retain(|(known, _)| *known != station);
        let held = |port| self.entries.iter().filter(|(_, holder, _)| *holder == port).count();
        let bounded = held(port) >= PER_PORT_CAPACITY;
        if bounded || self.entries.len() >= CAPACITY {
            let most = self.ports.keys().map(|port| held(*port)).max().unwrap_or_default();
            let payer = if bounded || most <= held(port).max(1) {
                port
            } else {
                let evicted = self.evicted.expect("somebody made room");
                let known = self.entries.iter().find(|(known, _, _)| *known == evicted);
                known.expect("what was evicted was there").1
            };
            assert!(payer == port || held(payer) == most, "port {payer} did not hold most");
            match self.entries.iter().position(|(_, holder, _)| *holder == payer) {
                Some(oldest) => {
                    let (station, port, _) = self.entries.remove(oldest);
                    self.changes.push(Change::Evicted { station, port });
                }
                None => return,
            }
        }
        self.entries.push((station, port, now));
        self.changes.push(match (from, owner) {
            (Some(from), _) => Change::Moved { station, from, to: port },
            (None, Some(from)) => Change::MovedHere { station, from, to: port },
            (None, None) => Change::Learned { station, port },
        });
    }

    pub(crate) fn set_remote(&mut self, station: Station, owner: RemoteId) {
        if self.remote(station) == Some(owner) {
            return;
        }
        self.remotes.retain(|(known, _)| *known != station);
        if let Some(at) = self.entries.iter().position(|(known, _, _)| *known == station) {
            let (station, from, _) = self.entries.remove(at);
            self.changes.push(Change::MovedAway { station, from, to: owner });
        }
        if self.remotes.len() >= REMOTE_CAPACITY {
            let held = |owner| self.remotes.iter().filter(|(_, holder)| *holder == owner).count();
            let most = self.remotes.iter().map(|(_, owner)| held(*owner)).max().unwrap_or(0);
            let payers = |payer: RemoteId| {
                if most > held(owner).max(1) { held(payer) == most } else { payer == owner }
            };
            let oldest = |owner| self.remotes.iter().find(|(_, holder)| *holder == owner);
            let mut victims = self.remotes.iter().filter(|victim| {
                payers(victim.1)
                    && oldest(victim.1) == Some(victim)
                    && !self.remotes_left.contains(&victim.0)
            });
            let victim = victims.next().map(|(station, _)| *station);
            match victim {
                Some(victim) => self.remotes.retain(|(known, _)| *known != victim),
                None if most <= 1 && held(owner) == 0 => return,
                None => panic!("nobody of those who should made room"),
            }
        }
        self.remotes.push((station, owner));
    }

    pub(crate) fn remove_remote(&mut self, station: Station) -> bool {
        let known = self.remotes.len();
        self.remotes.retain(|(known, _)| *known != station);
        self.remotes.len() < known
    }
}
