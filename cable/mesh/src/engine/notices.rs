//! What this node wants known everywhere, and what others do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::database::NodeIndex;
use super::event::{Event, Who};
use super::{Mesh, PortId};
use crate::authority::{Authority, NodeKey};
use crate::message::Bounded;
use crate::record::{MAX_NOTICES, Notice, Notices, Record, Slot};

/// Notices told at once, and in the long run.
const ISSUE_BURST: u32 = 5;
const ISSUE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a clone is told of after it was last seen.
pub(super) const CLONE_NOTICE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone)]
pub(super) struct OwnNotices {
    /// What holds now; until when, if that is known.
    now: BTreeMap<Notice, Option<Instant>>,
    /// As last told.
    told: Vec<Notice>,
    budget: Budget,
    issue_at: Option<Instant>,
}

impl OwnNotices {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            now: BTreeMap::new(),
            told: Vec::new(),
            budget: Budget::new(ISSUE_BURST, ISSUE_INTERVAL, now),
            issue_at: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.now.len()
    }

    pub(super) fn find(&self, is_it: impl Fn(&&Notice) -> bool) -> Option<Notice> {
        self.now.keys().find(is_it).cloned()
    }

    pub(super) fn count(&self, is_it: impl Fn(&&Notice) -> bool) -> usize {
        self.now.keys().filter(is_it).count()
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.now.values().flatten().copied().chain(self.issue_at).min()
    }
}

impl<A: Authority> Mesh<A> {
    /// What the nodes that can be reached want known, this one included.
    pub fn notices(&self) -> Vec<(Who, Notice)> {
        let nodes = self.database.iter().map(|(_, node)| node).filter(|node| node.is_reachable());
        nodes
            .flat_map(|node| {
                let notices = node.records.get(&Slot::NOTICES).map(notices_of).unwrap_or_default();
                let who = self.who(node.key);
                notices.into_vec().into_iter().map(move |notice| (who.clone(), notice))
            })
            .collect()
    }

    /// Wants something known until then.
    pub(super) fn notify(&mut self, notice: Notice, until: Instant, now: Instant) {
        let is_there = self.notices.now.contains_key(&notice);
        if is_there || self.notices.now.len() < MAX_NOTICES {
            self.notices.now.insert(notice, Some(until));
            self.notices_changed(now);
        }
    }

    /// Something is not so any more.
    pub(super) fn denounce(&mut self, notice: &Notice, now: Instant) {
        if self.notices.now.remove(notice).is_some() {
            self.notices_changed(now);
        }
    }

    /// Replaces the notices of loops.
    pub(super) fn set_loop_notices(&mut self, loops: Vec<Notice>, now: Instant) {
        let is_other =
            |notice: &Notice| !matches!(notice, Notice::Loop { .. }) || loops.contains(notice);
        self.notices.now.retain(|notice, _| is_other(notice));
        for notice in loops {
            if self.notices.now.len() < MAX_NOTICES {
                self.notices.now.insert(notice, None);
            }
        }
        self.notices_changed(now);
    }

    /// The nonce by which the sender of a probe was told of it.
    pub(super) fn told_nonce(&self, port: PortId, end: (NodeKey, u32)) -> Option<u64> {
        self.notices.now.keys().find_map(|notice| match notice {
            Notice::Loop { number, sender, sender_number, nonce, .. }
                if *number == port.0 && (*sender, *sender_number) == end =>
            {
                Some(*nonce)
            }
            _ => None,
        })
    }

    fn notices_changed(&mut self, now: Instant) {
        if !self.notices.now.keys().eq(self.notices.told.iter()) {
            let ready = self.notices.budget.ready_at(now);
            self.notices.issue_at.get_or_insert(ready);
        }
    }

    pub(super) fn notify_what_is_due(&mut self, now: Instant) {
        let before = self.notices.now.len();
        self.notices.now.retain(|_, until| until.is_none_or(|until| now < until));
        if self.notices.now.len() != before {
            self.notices_changed(now);
        }
        if self.notices.issue_at.is_some_and(|at| now >= at) {
            self.notices.budget.take(now);
            self.issue_notices(now);
        }
    }

    fn issue_notices(&mut self, now: Instant) {
        self.notices.issue_at = None;
        self.notices.told = self.notices.now.keys().cloned().collect();
        let notices: Notices = Bounded::truncated(self.notices.told.clone());
        self.issue(Slot::NOTICES, &notices, now);
    }

    /// The notices must be told again, in a new run.
    pub(super) fn renew_notices(&mut self, now: Instant) {
        if !self.notices.told.is_empty() {
            self.issue_notices(now);
        }
    }

    /// Another node's notices were replaced, or went with its run.
    pub(super) fn notices_replaced(
        &mut self,
        node: NodeIndex,
        before: Option<&Record>,
        after: Option<&Record>,
        now: Instant,
    ) {
        let Some(key) = self.database.get(node).map(|node| node.key) else { return };
        let before = before.map(notices_of).unwrap_or_default();
        let after = after.map(notices_of).unwrap_or_default();
        let from = self.who(key);
        for notice in after.iter().filter(|notice| !before.contains(notice)) {
            if matches!(notice, Notice::Loop { .. }) {
                self.blame_loop(now);
            }
            let (from, notice) = (from.clone(), notice.clone());
            self.alarm(Event::NoticeRaised { from, notice }, now);
        }
        for notice in before.iter().filter(|notice| !after.contains(notice)) {
            let (from, notice) = (from.clone(), notice.clone());
            self.alarm(Event::NoticeCleared { from, notice }, now);
        }
        self.loop_notices_changed(key, &after, now);
    }
}

fn notices_of(record: &Record) -> Notices {
    record.decode().unwrap_or_default()
}
