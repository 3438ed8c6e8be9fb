//! What comes on the control stream.

use std::time::{Duration, Instant};

use super::budget::Budget;
use super::database::{Installed, Judgement, Node};
use super::event::{Event, RefusalReason};
use super::link::DigestCursor;
use super::notices::CLONE_NOTICE;
use super::{LinkId, Mesh, NextHop, ProtocolFault, Silence};
use crate::authority::{Authority, NodeKey};
use crate::message::{Cable, Digest, DigestEntry, Message, Slots};
use crate::record::{Notice, Record, Slot};

/// Alarms that anyone in the mesh can cause, of each kind.
const ALARM_BURST: u32 = 10;
const ALARM_INTERVAL: Duration = Duration::from_secs(1);

fn alarm_budget(now: Instant) -> Budget {
    Budget::new(ALARM_BURST, ALARM_INTERVAL, now)
}

impl<A: Authority> Mesh<A> {
    /// Takes in a message of a cable's control stream.
    ///
    /// # Errors
    /// [`ProtocolFault`]: close the connection with
    /// [`CloseCode::Protocol`](crate::message::CloseCode::Protocol) and say why.
    pub fn handle_message(
        &mut self,
        id: LinkId,
        message: Message,
        now: Instant,
    ) -> Result<(), ProtocolFault> {
        let now = self.advance(now);
        if !self.links.contains_key(&id) {
            return Err(ProtocolFault::UnknownLink);
        }
        match message {
            Message::Hello(_) => Err(ProtocolFault::Again("Hello")),
            Message::Cable(cable) => self.handle_cable(id, cable, now),
            Message::Records(records) => {
                self.records_arrived(id, records.records.into_vec(), now);
                Ok(())
            }
            Message::Digest(digest) => self.handle_digest(id, &digest, now),
            Message::Slots(slots) => {
                self.handle_slots(id, &slots);
                Ok(())
            }
            // Who belongs to the mesh is settled before a cable is one of it.
            Message::RosterDigest(_)
            | Message::Roster(_)
            | Message::Join(_)
            | Message::Welcome(_)
            | Message::Unwelcome(_) => Err(ProtocolFault::Misplaced),
        }
    }

    fn handle_cable(
        &mut self,
        id: LinkId,
        cable: Cable,
        now: Instant,
    ) -> Result<(), ProtocolFault> {
        let link = self.links.get_mut(&id).ok_or(ProtocolFault::UnknownLink)?;
        if link.peer_number.is_some() {
            return Err(ProtocolFault::Again("Cable"));
        }
        link.peer_number = Some(cable.number);
        if link.is_up() {
            link.update_cost(now);
            self.link_changed(id, Silence::Inbound, now);
        }
        Ok(())
    }

    pub(super) fn handle_record(&mut self, id: LinkId, record: Record, now: Instant) {
        if record.origin == self.config.key {
            return self.handle_own_record(id, &record, now);
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        let place = (record.slot, record.origin);
        match self.database.judge(&record, now) {
            Judgement::Known => {
                link.pending.remove(&place);
            }
            Judgement::Outdated => {
                self.counters.outdated += 1;
                let run = self.database.by_key(&record.origin).map(|node| node.incarnation);
                let slot = if run == Some(record.version.incarnation) {
                    record.slot
                } else {
                    Slot::LINK_STATE
                };
                link.pending.insert((slot, record.origin));
            }
            Judgement::Refused(reason) => self.refuse(id, record.origin, reason, now),
            Judgement::New | Judgement::Rival if link.forged.is_spent(now) => {
                self.refuse(id, record.origin, RefusalReason::TooMany, now);
            }
            Judgement::New
                if self.database.index_of(&record.origin).is_none()
                    && !link.newcomers.take(now) =>
            {
                self.refuse(id, record.origin, RefusalReason::TooMany, now);
            }
            Judgement::Rival => {
                let origin = record.origin;
                self.counters.verified += 1;
                let kept = self.database.keep_rival(record, &self.authority, now);
                let reason = kept.err().unwrap_or(RefusalReason::Cloned);
                self.refuse_verified(id, origin, reason, now);
            }
            Judgement::New => {
                while self.database.is_full_for(&record) && self.forget_one(&record.origin, now) {}
                let (origin, slot) = (record.origin, record.slot);
                self.counters.verified += 1;
                match self.database.install(record, &self.authority, now) {
                    Ok(installed) => self.installed(id, (slot, origin), &installed, now),
                    Err(reason) => self.refuse_verified(id, origin, reason, now),
                }
            }
        }
    }

    /// Refuses a record that was looked at more closely.
    fn refuse_verified(
        &mut self,
        id: LinkId,
        origin: NodeKey,
        reason: RefusalReason,
        now: Instant,
    ) {
        match reason {
            RefusalReason::Signature => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.forged.take(now);
                }
            }
            RefusalReason::Cloned => {
                self.clone_seen(origin, now);
                self.pass_rival(id, origin);
            }
            _ => {}
        }
        self.refuse(id, origin, reason, now);
    }

    /// Sends the rival of a node to it, one cable further.
    fn pass_rival(&mut self, from: LinkId, origin: NodeKey) {
        let Some(node) = self.database.by_key(&origin) else { return };
        let from = self.links.get(&from).map(|link| link.bit);
        if let NextHop::Link(next) = self.forwarding.next_hop(node.state.nick, from, 0)
            && let Some(link) = self.links.get_mut(&next)
        {
            link.rivals_due.insert(origin);
        }
    }

    /// A record that claims to be this node's own.
    fn handle_own_record(&mut self, id: LinkId, record: &Record, now: Instant) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let own = self.database.get(self.own).expect("a node knows itself");
        let (run, seen) = (own.incarnation, record.version.incarnation);
        let is_later = seen > run
            || seen == run
                && own.records.get(&record.slot).is_none_or(|own| record.supersedes(own));
        if own.records.get(&record.slot) == Some(record) {
            link.pending.remove(&(record.slot, record.origin));
        } else if !is_later {
            let slot = if seen == run { record.slot } else { Slot::LINK_STATE };
            link.pending.insert((slot, record.origin));
        } else if link.forged.is_spent(now) {
            self.refuse(id, record.origin, RefusalReason::TooMany, now);
        } else {
            self.counters.verified += 1;
            if record.is_authentic(&self.authority) {
                self.overtake(record.version, now);
            } else {
                link.forged.take(now);
                self.refuse(id, record.origin, RefusalReason::Signature, now);
            }
        }
    }

    /// Follows up on a record that was new.
    fn installed(
        &mut self,
        id: LinkId,
        (slot, origin): (Slot, NodeKey),
        installed: &Installed,
        now: Instant,
    ) {
        self.counters.accepted += 1;
        self.spread(slot, origin, Some(id));
        if installed.cloned {
            self.clone_seen(origin, now);
        }
        let notices = installed.gone.iter().find(|record| record.slot == Slot::NOTICES);
        if notices.is_some() {
            self.notices_replaced(installed.index, notices, None, now);
        }
        if installed.gone.iter().any(|record| record.slot == Slot::GATEWAY) {
            self.gateways_changed(now);
        }
        self.pages_gone(installed.index, &installed.gone, now);
        match slot {
            Slot::LINK_STATE => self.link_state_installed(installed, now),
            slot if slot.is_page() => self.page_installed(slot, installed, now),
            Slot::NOTICES => {
                let node = self.database.get(installed.index);
                let after = node.and_then(|node| node.records.get(&slot)).cloned();
                let before = installed.replaced.as_ref();
                self.notices_replaced(installed.index, before, after.as_ref(), now);
            }
            Slot::GATEWAY => self.gateways_changed(now),
            _ => {}
        }
    }

    fn link_state_installed(&mut self, installed: &Installed, now: Instant) {
        let Some(node) = self.database.get(installed.index) else { return };
        let (key, after) = (node.key, node.state.clone());
        if let Some(before) = &installed.state_before {
            self.forwarding.remove_nick(before.nick);
        }
        self.forwarding.add_nick(after.nick);
        if installed.state_before.as_ref().map(|before| before.nick) != Some(after.nick) {
            self.check_nick(key, after.nick, now);
            self.owner_changed(installed.index, now);
        }
        match &installed.state_before {
            Some(before) => self.topology_changed(before, &after, now),
            None => self.topology_grew(now),
        }
    }

    /// A node has a nick that it did not have before.
    fn check_nick(&mut self, key: NodeKey, nick: crate::nick::Nick, now: Instant) {
        // Most nicks are one node's.
        if self.forwarding.claims_of(nick) < 2 {
            return;
        }
        let other = self
            .database
            .iter()
            .map(|(_, node)| node)
            .find(|node| node.key != key && node.state.nick == nick && node.is_reachable());
        let Some(other) = other.map(|node| node.key) else { return };
        // Both change, and not only the higher: what the one has flooded under this nick would be
        // taken for what the other floods.
        if key == self.config.key {
            return self.change_nick(other, now);
        }
        if other == self.config.key {
            return self.change_nick(key, now);
        }
        let (keeper, loser) = (self.who(key.min(other)), self.who(key.max(other)));
        self.alarm(Event::NickClash { nick, keeper, loser }, now);
    }

    fn handle_digest(
        &mut self,
        id: LinkId,
        digest: &Digest,
        now: Instant,
    ) -> Result<(), ProtocolFault> {
        let entries = &digest.entries;
        let in_range = |entry: &DigestEntry| (digest.first..=digest.last).contains(&entry.origin);
        if digest.first > digest.last
            || !entries.iter().all(in_range)
            || !entries.is_sorted_by(|a, b| a.origin < b.origin)
        {
            return Err(ProtocolFault::Order);
        }
        let link = self.links.get_mut(&id).ok_or(ProtocolFault::UnknownLink)?;
        if !link.digests.take(now) {
            self.counters.digests_dropped += 1;
            return Ok(());
        }
        let mut untold = Vec::new();
        for node in self.database.range(digest.first, digest.last) {
            let theirs = entries.binary_search_by_key(&node.key, |entry| entry.origin);
            let Ok(at) = theirs else {
                // What cannot be reached is news to nobody, until it can be.
                if node.is_reachable() {
                    push_all(&mut link.pending, node);
                } else {
                    untold.push(node.key);
                }
                continue;
            };
            let (ours, theirs) = (node.digest_entry(), &entries[at]);
            if ours.incarnation > theirs.incarnation {
                push_all(&mut link.pending, node);
            } else if ours.incarnation == theirs.incarnation {
                if ours.sequence > theirs.sequence {
                    link.pending.insert((Slot::LINK_STATE, node.key));
                }
                if ours.fingerprint != theirs.fingerprint {
                    link.slots_due.insert(node.key);
                    // This end's digest leaves it out, so that the other does not ask for what it lacks.
                    if !node.is_reachable() {
                        push_all(&mut link.pending, node);
                    }
                }
            }
        }
        if digest.answer && digest.first == NodeKey::MIN {
            link.digest_due = Some(DigestCursor { next: NodeKey::MIN, answer: false });
        }
        for key in untold {
            self.database.set_untold(&key);
        }
        Ok(())
    }

    fn handle_slots(&mut self, id: LinkId, slots: &Slots) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(node) = self.database.by_key(&slots.origin) else { return };
        if node.incarnation != slots.incarnation {
            return;
        }
        for (slot, record) in &node.records {
            let theirs = slots.slots.iter().find(|theirs| theirs.slot == *slot);
            let is_news = theirs.is_none_or(|theirs| {
                record.version.sequence > theirs.sequence
                    || record.version.sequence == theirs.sequence
                        && record.fingerprint() != theirs.fingerprint
            });
            if is_news {
                link.pending.insert((*slot, node.key));
            }
        }
    }

    /// Makes room by forgetting a node that cannot be reached; not the one it is made for.
    fn forget_one(&mut self, keep: &NodeKey, now: Instant) -> bool {
        match self.database.longest_unreachable() {
            Some((index, _)) if self.database.index_of(keep) != Some(index) => {
                self.forget(index, now);
                true
            }
            _ => false,
        }
    }

    fn refuse(&mut self, link: LinkId, origin: NodeKey, reason: RefusalReason, now: Instant) {
        *self.counters.refused.entry(reason).or_default() += 1;
        let origin = self.who(origin);
        self.alarm(Event::RecordRefused { link, origin, reason }, now);
    }

    /// Two nodes run with one key.
    pub(super) fn clone_seen(&mut self, key: NodeKey, now: Instant) {
        let who = self.who(key);
        self.alarm(Event::KeyCloned(who), now);
        self.notify(Notice::ClonedKey { key }, now + CLONE_NOTICE, now);
    }

    /// Tells of something that others can cause as often as they like.
    pub(super) fn alarm(&mut self, event: Event, now: Instant) {
        let kind = std::mem::discriminant(&event);
        let budget = self.alarms.entry(kind).or_insert_with(|| alarm_budget(now));
        if budget.take(now) {
            self.events.push(event);
        } else {
            self.counters.alarms_dropped += 1;
        }
    }
}

fn push_all(pending: &mut std::collections::BTreeSet<(Slot, NodeKey)>, node: &Node) {
    pending.extend(node.records.keys().map(|slot| (*slot, node.key)));
}
