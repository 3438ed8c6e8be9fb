//! What goes out on the cables. Messages are made when the shell asks for them, from what is known
//! then: what waits for a slow cable is a list of names, and grows with the mesh only.

use super::database::Node;
use super::link::{DigestCursor, Link};
use super::{LinkId, Mesh, Payload, Transmit};
use crate::authority::{Authority, NodeKey};
use crate::message::{Bounded, Digest, MAX_DIGEST_ENTRIES, MAX_RECORDS, Message, Records, Slots};

/// Octets of records in one message; the last record may exceed it by its own length. Beats and what is
/// newer by then must not wait for long behind one.
const RECORD_OCTETS: usize = 16 << 10;

impl<A: Authority> Mesh<A> {
    /// The next thing to send. A cable without [room](super::Room) gets beats only.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        if let Some((link, beat)) = self.beats.pop_front() {
            return Some(Transmit { link, payload: Payload::Beat(beat) });
        }
        let after = self.links.range(self.turn..).map(|(id, _)| *id);
        let before = self.links.range(..self.turn).map(|(id, _)| *id);
        let ids: Vec<LinkId> = after.chain(before).collect();
        for id in ids {
            if let Some(message) = self.poll_message(id) {
                self.turn = LinkId(id.0.wrapping_add(1));
                return Some(Transmit { link: id, payload: Payload::Message(message) });
            }
        }
        None
    }

    fn poll_message(&mut self, id: LinkId) -> Option<Message> {
        let link = self.links.get_mut(&id)?;
        if link.is_blocked {
            return None;
        }
        if let Some(message) = link.poll_cable() {
            return Some(message);
        }
        if !link.is_up() {
            return None;
        }
        self.poll_digest(id).or_else(|| self.poll_slots(id)).or_else(|| self.poll_records(id))
    }

    fn poll_digest(&mut self, id: LinkId) -> Option<Message> {
        let link = self.links.get_mut(&id)?;
        let DigestCursor { next: first, answer } = link.digest_due.take()?;
        let mut reachable = self
            .database
            .range(first, NodeKey::MAX)
            .filter(|node| node.is_reachable())
            .map(|node| node.digest_entry());
        let entries: Vec<_> = reachable.by_ref().take(MAX_DIGEST_ENTRIES).collect();
        let next = reachable.next().map(|entry| entry.origin);
        let last = match (next, entries.last()) {
            (Some(_), Some(last)) => last.origin,
            _ => NodeKey::MAX,
        };
        link.digest_due =
            next.and_then(|_| last.successor()).map(|next| DigestCursor { next, answer });
        Some(Message::Digest(Digest { first, last, answer, entries: Bounded::truncated(entries) }))
    }

    fn poll_slots(&mut self, id: LinkId) -> Option<Message> {
        let link = self.links.get_mut(&id)?;
        loop {
            let origin = link.slots_due.pop_first()?;
            if let Some(node) = self.database.by_key(&origin) {
                return Some(Message::Slots(Slots {
                    origin,
                    incarnation: node.incarnation,
                    slots: Bounded::truncated(node.slot_versions()),
                }));
            }
        }
    }

    fn poll_records(&mut self, id: LinkId) -> Option<Message> {
        let link: &mut Link = self.links.get_mut(&id)?;
        let mut records = Vec::new();
        let mut octets = 0;
        while octets < RECORD_OCTETS
            && records.len() < MAX_RECORDS
            && let Some((slot, origin)) = link.pending.pop_first()
        {
            let node = self.database.by_key(&origin);
            // It may have gone with an earlier run of its node.
            let Some(record) = node.and_then(|node| node.records.get(&slot)) else { continue };
            octets += record.len();
            records.push(record.clone());
        }
        while octets < RECORD_OCTETS
            && records.len() < MAX_RECORDS
            && let Some(origin) = link.rivals_due.pop_first()
        {
            let node = self.database.by_key(&origin);
            // Its origin may have gone above it by now.
            let Some(record) = node.and_then(Node::rival) else { continue };
            octets += record.len();
            records.push(record.clone());
        }
        (!records.is_empty())
            .then(|| Message::Records(Records { records: Bounded::truncated(records) }))
    }
}
