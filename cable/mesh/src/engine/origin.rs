//! What this node says of itself: its records, when they are made, and what it does when others
//! hold some that it did not make.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::budget::Budget;
use super::database::{Database, NodeIndex};
use super::event::Event;
use super::{Config, Mesh};
use crate::authority::{Authority, NodeKey};
use crate::message::Bounded;
use crate::nick::Nick;
use crate::record::{Contact, Contacts, Incarnation, LinkEntry, LinkState, Record, Slot, Version};

/// Link states: a change is told at once, five in a row, then ten a second.
const ISSUE_BURST: u32 = 5;
const ISSUE_INTERVAL: Duration = Duration::from_millis(100);

/// How often this node goes above records of its own key that it did not make, before it takes it
/// that another node lives with the same key; and how long it then keeps quiet. The one that was
/// there first, with the lower instance, goes on for longer.
const JUMP_BURST: u32 = 3;
const FIRST_JUMP_BURST: u32 = 20;
const JUMP_INTERVAL: Duration = Duration::from_secs(20);

/// New nicks: more than one a second is no accident.
const NICK_BURST: u32 = 3;
const NICK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) incarnation: Incarnation,
    sequence: u64,
    /// As it is now; what was last told may be older.
    pub(super) state: LinkState,
    /// When [`Self::state`] is to be told.
    issue_at: Option<Instant>,
    issue_budget: Budget,
    jump_budget: Budget,
    first_jump_budget: Budget,
    nick_budget: Budget,
    /// When to look again for a node with this one's nick.
    nick_at: Option<Instant>,
    pub(super) is_leaving: bool,
    /// Where this node can be reached, as it was last told.
    contacts: Contacts,
}

impl Origin {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        Self {
            incarnation: config.incarnation,
            sequence: 0,
            state: LinkState {
                nick: config.nick,
                name: config.name.clone(),
                capabilities: 0,
                links: Bounded::default(),
            },
            issue_at: None,
            issue_budget: Budget::new(ISSUE_BURST, ISSUE_INTERVAL, now),
            jump_budget: Budget::new(JUMP_BURST, JUMP_INTERVAL, now),
            first_jump_budget: Budget::new(FIRST_JUMP_BURST, JUMP_INTERVAL, now),
            nick_budget: Budget::new(NICK_BURST, NICK_INTERVAL, now),
            nick_at: None,
            is_leaving: false,
            contacts: Contacts::default(),
        }
    }

    /// The first record, which makes this node the first in its database.
    pub(super) fn begin(
        &mut self,
        config: &Config,
        database: &mut Database,
        authority: &impl Authority,
        now: Instant,
    ) -> NodeIndex {
        let version = self.next_version();
        let record = Record::sign(config.key, version, Slot::LINK_STATE, &self.state, authority);
        let index = database.install_own(record, now).index;
        database.set_reachable(index, true, now);
        index
    }

    fn next_version(&mut self) -> Version {
        self.sequence = self.sequence.saturating_add(1);
        Version { incarnation: self.incarnation, sequence: self.sequence }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.issue_at.into_iter().chain(self.nick_at).min()
    }
}

impl<A: Authority> Mesh<A> {
    /// Follows the state of this node's cables.
    pub(super) fn own_links_changed(&mut self, now: Instant) {
        let mut links: Vec<LinkEntry> = self
            .links
            .values()
            .filter(|link| link.live.is_alive() && !self.origin.is_leaving)
            .filter_map(|link| {
                Some(LinkEntry {
                    peer: link.neighbour.key,
                    number: link.number,
                    peer_number: link.peer_number?,
                    cost: link.cost(),
                })
            })
            .collect();
        links.sort_unstable();
        if links == self.origin.state.links[..] {
            return;
        }
        let state = LinkState { links: Bounded::truncated(links), ..self.origin.state.clone() };
        let before = std::mem::replace(&mut self.origin.state, state);
        let after = self.origin.state.clone();
        self.topology_changed(&before, &after, now);
        self.state_changed(now);
    }

    /// Tells the others of [`Origin::state`], now if the pace allows it.
    fn state_changed(&mut self, now: Instant) {
        if self.origin.issue_budget.is_spent(now) {
            let ready = self.origin.issue_budget.ready_at(now);
            self.origin.issue_at.get_or_insert(ready);
        } else {
            self.issue_link_state(now);
        }
    }

    pub(super) fn issue_what_is_due(&mut self, now: Instant) {
        if self.origin.issue_at.is_some_and(|at| now >= at) {
            self.issue_link_state(now);
        }
        if self.origin.nick_at.is_some_and(|at| now >= at) {
            self.origin.nick_at = None;
            let (own, nick) = (self.config.key, self.forwarding.nick());
            let others = self.database.iter().map(|(_, node)| node).filter(|node| node.key != own);
            let other =
                others.filter(|node| node.is_reachable()).find(|node| node.state.nick == nick);
            if let Some(other) = other.map(|node| node.key) {
                self.change_nick(other, now);
            }
        }
    }

    pub(super) fn issue_link_state(&mut self, now: Instant) {
        self.origin.issue_at = None;
        self.origin.issue_budget.take(now);
        let state = self.origin.state.clone();
        self.issue(Slot::LINK_STATE, &state, now);
    }

    /// Signs a record of this node, keeps it, and sends it to all.
    pub(super) fn issue(&mut self, slot: Slot, body: &impl Serialize, now: Instant) {
        let version = self.origin.next_version();
        let record = Record::sign(self.config.key, version, slot, body, &self.authority);
        self.database.install_own(record, now);
        self.counters.issued += 1;
        self.spread(slot, self.config.key, None);
    }

    /// Others hold a record that this node's key signed in a later run than this one, or later in
    /// this run. Either the disk forgot the epoch, or the node was set back to a copy of itself:
    /// then it goes on above that record. Or another node lives with the same key, and answers
    /// every such step with one of its own.
    pub(super) fn overtake(&mut self, seen: Version, now: Instant) {
        let origin = &mut self.origin;
        let was_first = origin.incarnation.instance < seen.incarnation.instance;
        let allowed =
            origin.jump_budget.take(now) || (was_first && origin.first_jump_budget.take(now));
        if origin.jump_budget.is_spent(now) {
            self.clone_seen(self.config.key, now);
        }
        if !allowed {
            return;
        }
        let epoch = seen.incarnation.epoch.max(self.origin.incarnation.epoch).saturating_add(1);
        self.origin.incarnation.epoch = epoch;
        self.counters.overtaken += 1;
        self.events.push(Event::EpochRaised(epoch));
        self.issue_link_state(now);
        self.renew_notices(now);
        self.renew_gateway(now);
        if self.origin.contacts != Contacts::default() {
            self.issue_contacts(now);
        }
        self.flush_all(now);
    }

    /// Says where this node can be reached, the best address first. Nothing is told when that is what
    /// was told last.
    pub fn handle_contacts(&mut self, addresses: Vec<Contact>, now: Instant) {
        let now = self.advance(now);
        let contacts = Contacts { addresses: Bounded::truncated(addresses) };
        if contacts != self.origin.contacts {
            self.origin.contacts = contacts;
            self.issue_contacts(now);
        }
    }

    fn issue_contacts(&mut self, now: Instant) {
        let contacts = self.origin.contacts.clone();
        self.issue(Slot::CONTACTS, &contacts, now);
    }

    /// Draws a new nick, as another node has the present one too.
    pub(super) fn change_nick(&mut self, other: NodeKey, now: Instant) {
        if !self.origin.nick_budget.take(now) {
            self.origin.nick_at = Some(self.origin.nick_budget.ready_at(now));
            return;
        }
        let nick = loop {
            if let Some(nick) = Nick::new(self.random.next_u32())
                && !self.forwarding.knows(nick)
            {
                break nick;
            }
        };
        self.forwarding.remove_nick(self.forwarding.nick());
        self.forwarding.add_nick(nick);
        self.forwarding.set_nick(nick);
        let keeper = self.who(other);
        self.events.push(Event::NickChanged { nick, keeper });
        let before = self.origin.state.clone();
        self.origin.state.nick = nick;
        let after = self.origin.state.clone();
        self.topology_changed(&before, &after, now);
        self.state_changed(now);
    }
}
