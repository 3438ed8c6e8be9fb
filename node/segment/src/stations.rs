//! What bridge and mesh tell each other of stations.

use std::collections::BTreeSet;
use std::time::Instant;

use ether::{FrameHeader, MacAddr, VlanId};
use fabric::{Change, Classified, DropReason, Location, PortId, RemoteId, Station, announces};
use mesh::Nick;
use mesh::authority::Authority;
use mesh::engine::{Heard, StationChange, StationVerdict};
use mesh::packet::{MAX_SEEN, SeenStation};

use crate::{Outlet, Segment};

impl<A: Authority> Segment<A> {
    /// Tells the mesh, and others, what the bridge has learned: from `frame`, if it is one that
    /// brought the news.
    ///
    /// # Errors
    /// Why that frame goes nowhere: the mesh knows its source to be somebody else's.
    #[inline]
    pub(crate) fn follow_changes(
        &mut self,
        frame: Option<(&FrameHeader, &[u8])>,
        outlet: &mut impl Outlet,
        now: Instant,
    ) -> Result<(), DropReason> {
        let mut result = Ok(());
        while let Some(change) = self.bridge.poll_change() {
            result = self.follow_change(change, frame, now).and(result);
            outlet.tell(change);
        }
        result
    }

    #[cold]
    fn follow_change(
        &mut self,
        change: Change,
        frame: Option<(&FrameHeader, &[u8])>,
        now: Instant,
    ) -> Result<(), DropReason> {
        match change {
            Change::Learned { station, .. } | Change::MovedHere { station, .. } => {
                let announces = frame.is_some_and(|(header, bytes)| announces(header, bytes));
                let heard = if announces { Heard::Announcement } else { Heard::Frame };
                return self.claim(station, heard, now);
            }
            Change::Aged { station, .. }
            | Change::Evicted { station, .. }
            | Change::Forgotten { station, .. } => {
                if !self.is_kept(station) {
                    self.mesh.handle_station(station.vlan, station.mac, Heard::Gone, now);
                    self.wants_turn = true;
                }
            }
            Change::Overflowed => self.tell_all_stations(now),
            Change::Flapping { .. } => {
                self.mesh.handle_flapping(now);
                self.wants_turn = true;
            }
            Change::Moved { .. } | Change::MovedAway { .. } => {}
        }
        Ok(())
    }

    /// Tells the mesh that a station is here now.
    fn claim(&mut self, station: Station, heard: Heard, now: Instant) -> Result<(), DropReason> {
        let Station { vlan, mac } = station;
        self.wants_turn = true;
        let verdict = self.mesh.handle_station(vlan, mac, heard, now);
        if verdict != StationVerdict::Here
            && let Some(owner) = self.mesh.owner(vlan, mac)
        {
            self.bridge.set_remote(vlan, mac, RemoteId(owner.get()));
        }
        match verdict {
            StationVerdict::Refused => Err(DropReason::ForeignSource),
            StationVerdict::Here | StationVerdict::Elsewhere => Ok(()),
        }
    }

    fn is_kept(&self, station: Station) -> bool {
        self.kept.is_some_and(|(kept, _)| kept == station)
    }

    /// The bridge had more to say than it could keep.
    fn tell_all_stations(&mut self, now: Instant) {
        let snapshot = self.bridge.snapshot(now);
        let mut here = BTreeSet::new();
        for entry in snapshot.entries {
            let station = Station { vlan: entry.vlan, mac: entry.mac };
            here.insert(station);
            // Nobody waits for what becomes of a frame.
            let _ = self.claim(station, Heard::Frame, now);
        }
        let own = self.mesh.key();
        for view in self.mesh.stations(now) {
            let station = Station { vlan: view.vlan, mac: view.mac };
            if view.owner == own && !self.is_kept(station) && !here.contains(&station) {
                self.mesh.handle_station(view.vlan, view.mac, Heard::Gone, now);
            }
        }
    }

    /// Lets the bridge follow what other nodes say of their stations.
    pub(crate) fn follow_stations(&mut self) {
        while let Some(StationChange { vlan, mac, owner }) = self.mesh.poll_station() {
            match owner {
                Some(owner) => self.bridge.set_remote(vlan, mac, RemoteId(owner.get())),
                None => {
                    self.bridge.remove_remote(vlan, mac);
                }
            }
        }
    }

    /// Another node sent a frame for a station that the bridge does not know: gives the port of one
    /// that is kept here, silent or not. Of any other, those who believe it here are told at once.
    #[cold]
    pub(crate) fn handle_stray(&mut self, header: &FrameHeader, now: Instant) -> Option<PortId> {
        let station = Station { vlan: Classified::by_tag(header).vlan, mac: header.destination };
        if let Some((kept, port)) = self.kept
            && kept == station
        {
            return (!self.bridge.is_blocked(port)).then_some(port);
        }
        self.mesh.handle_stray(station.vlan, station.mac, now);
        self.wants_turn = true;
        None
    }

    /// The node, and the port if it is this one, behind which an untagged station is.
    pub fn whereabouts(&self, mac: MacAddr, now: Instant) -> Option<(Nick, Option<PortId>)> {
        match self.bridge.locate(VlanId::ZERO, mac, now)? {
            Location::Port(port) => Some((self.mesh.nick(), Some(port))),
            Location::Remote(RemoteId(nick)) => Some((Nick::new(nick)?, None)),
        }
    }

    /// Answers what other nodes want to know of the stations here.
    pub fn answer_inquiries(&mut self, now: Instant) {
        while let Some(inquiry) = self.mesh.poll_inquiry() {
            let (vlan, mac) = inquiry.from;
            let mut rest = self.bridge.stations_from(Station { vlan, mac }, now);
            let seen = rest.by_ref().take(MAX_SEEN).map(|entry| SeenStation {
                vlan: entry.vlan,
                mac: entry.mac,
                port: entry.port.0,
                age: u32::try_from(entry.age.as_millis()).unwrap_or(u32::MAX),
            });
            let (seen, more) = (seen.collect(), rest.next().is_some());
            self.mesh.answer_stations(inquiry, seen, more);
        }
    }
}
