//! How entries get into a roster: what is new, whose word it is, and in which order entries are told so
//! that another roster takes them.

use std::collections::{BTreeMap, VecDeque};

use super::entry::{Checker, Entry, Roles, Statement, Succession};
use super::evaluate::{Evaluation, MAX_SUCCESSIONS, heirs};
use super::{Forged, Merged, Roster};
use crate::authority::NodeKey;

/// How a key came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// How many successions it is from an administrator's word.
    pub(super) steps: u8,
    /// It is by such a word, or by the last one of the key before it.
    is_taken: bool,
}

impl Known {
    pub(super) const ADMITTED: Self = Self { steps: 0, is_taken: true };

    /// Before anything was heard of it.
    const NOT: Self = Self { steps: u8::MAX, is_taken: false };

    /// How a key is known that follows this one.
    fn heir(self, succession: &Succession) -> Self {
        Self { steps: self.steps.saturating_add(1), is_taken: succession.retired }
    }
}

impl Roster {
    /// All entries, in an order in which another roster takes them without waiting for later ones:
    /// whoever signed one comes before it. What takes something away from somebody comes last, so that
    /// nobody is out for want of the rest who stays a member by another one's word.
    pub fn entries_in_order(&self) -> Vec<Entry> {
        let (last, first): (Vec<_>, Vec<_>) = self.entries.values().cloned().partition(takes_away);
        let mut other = Self::new(self.founding);
        let mut fits = |_: &Self, _: &Entry| true;
        other.take_all(first.into_iter().chain(last), 0, &mut fits, &mut |_| true).taken
    }

    /// Takes in what another node, or the disk, knows. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`Forged`]: whoever sent this is not honest, or the disk is damaged. What came before it has
    /// been taken.
    pub fn merge(
        &mut self,
        entries: Vec<Entry>,
        now: u64,
        checker: &impl Checker,
    ) -> Result<Merged, Forged> {
        let merged = self.take_in(entries, now, checker);
        merged.forged.map_or(Ok(merged), Err)
    }

    /// The same, and what of it was taken although somebody has forged something.
    pub fn take_in(&mut self, entries: Vec<Entry>, now: u64, checker: &impl Checker) -> Merged {
        let founding = self.founding;
        let mut forged = None;
        let mut is_honest = |entry: &Entry| {
            let honest = entry.is_plausible() && entry.is_authentic(&founding, checker);
            if !honest && forged.is_none() {
                forged = Some(Forged { subject: entry.subject });
            }
            honest
        };
        let mut fits = Self::has_room;
        let mut merged = self.take_all(entries, now, &mut fits, &mut is_honest);
        if !merged.taken.is_empty() {
            self.evaluation = Evaluation::of(&self.founding, &self.entries);
        }
        // What has room depends on whose word counts, which is known by now.
        let is_cleared = self.clear_for(&merged.no_room);
        if !merged.no_room.is_empty() && (is_cleared || !merged.taken.is_empty()) {
            let again = std::mem::take(&mut merged.no_room);
            let more = self.take_all(again, now, &mut fits, &mut is_honest);
            if !more.taken.is_empty() {
                self.evaluation = Evaluation::of(&self.founding, &self.entries);
            }
            merged.taken.extend(more.taken);
            merged.unfounded += more.unfounded;
            merged.no_room = more.no_room;
        }
        Merged { forged, ..merged }
    }

    /// An entry may found another one that came before it, which waits for it.
    pub(super) fn take_all(
        &mut self,
        entries: impl IntoIterator<Item = Entry>,
        now: u64,
        fits: &mut dyn FnMut(&Self, &Entry) -> bool,
        is_honest: &mut dyn FnMut(&Entry) -> bool,
    ) -> Merged {
        let mut merged = Merged::default();
        let mut next: VecDeque<Entry> = entries.into_iter().collect();
        // By the key whose word must count first.
        let mut waiting = BTreeMap::<NodeKey, Vec<Entry>>::new();
        while let Some(entry) = next.pop_front() {
            if self.is_outdated(&entry, now) {
            } else if !self.is_founded(&entry) {
                waiting.entry(speaker(&entry)).or_default().push(entry);
            } else if !fits(self, &entry) {
                merged.no_room.push(entry);
            } else if is_honest(&entry) {
                for heard in self.take(entry.clone()) {
                    next.extend(waiting.remove(&heard).into_iter().flatten());
                }
                merged.taken.push(entry);
            }
        }
        merged.unfounded = waiting.values().map(Vec::len).sum();
        merged
    }

    /// Whether it says nothing new, or something that is over.
    fn is_outdated(&self, entry: &Entry, now: u64) -> bool {
        Self::is_untimely(entry, now)
            || self
                .entries
                .get(&entry.place())
                .is_some_and(|known| known.rank() >= entry.rank() || known.says_the_same(entry))
            || entry.retires() && self.is_retired(entry.subject)
    }

    /// Whether a key's holder is done with it. The first word that says so is the last one: what comes
    /// later is from whoever found the key. Nothing in the entries tells which of two was
    /// first, so this alone depends on their order.
    fn is_retired(&self, key: NodeKey) -> bool {
        heirs(&self.entries, key).any(Entry::retires)
    }

    /// Whether the signer may have a word in this, now or at some time.
    fn is_founded(&self, entry: &Entry) -> bool {
        match &entry.statement {
            Statement::Succeeded(_) => self.may_be_followed(&entry.subject),
            _ => self.authors.contains(&entry.signer),
        }
    }

    /// Whether another key may follow this one, if its holder says so.
    pub(super) fn may_be_followed(&self, key: &NodeKey) -> bool {
        self.known.get(key).is_some_and(|known| known.is_taken && known.steps < MAX_SUCCESSIONS)
    }

    /// Gives the keys of which more is known now.
    pub(super) fn take(&mut self, entry: Entry) -> Vec<NodeKey> {
        let subject = entry.subject;
        let statement = entry.statement.clone();
        self.entries.insert(entry.place(), entry);
        match statement {
            Statement::Member(member) => {
                let roles = member.roles;
                let speaks = roles.contains(Roles::ADMIN) || roles.contains(Roles::FORMER_ADMIN);
                self.learn(subject, Known::ADMITTED, speaks)
            }
            Statement::Revoked(revoked) => self.learn(subject, Known::ADMITTED, revoked.was_admin),
            Statement::Succeeded(succession) => {
                let known = self.known.get(&subject).copied().unwrap_or(Known::NOT);
                // The founder needs nobody's word, however often it takes another key.
                let is_root = succession.retired && subject == self.root;
                let new = if is_root { Known::ADMITTED } else { known.heir(&succession) };
                if is_root {
                    self.root = succession.to;
                }
                self.learn(succession.to, new, self.authors.contains(&subject))
            }
            Statement::Invite(_) | Statement::Closed { .. } => Vec::new(),
        }
    }

    /// Notes how a key came to be known, and whether it is or was an administrator's; and what follows
    /// for the keys that follow it.
    fn learn(&mut self, key: NodeKey, new: Known, speaks: bool) -> Vec<NodeKey> {
        let mut work = vec![(key, new, speaks)];
        let mut heard = Vec::new();
        while let Some((key, new, speaks)) = work.pop() {
            let known = self.known.entry(key).or_insert(Known::NOT);
            let before = *known;
            known.steps = known.steps.min(new.steps);
            known.is_taken |= new.is_taken;
            let known = *known;
            let is_author = speaks && self.authors.insert(key);
            if known == before && !is_author {
                continue;
            }
            heard.push(key);
            let speaks = self.authors.contains(&key);
            work.extend(heirs(&self.entries, key).filter_map(|entry| match &entry.statement {
                Statement::Succeeded(succession) => {
                    Some((succession.to, known.heir(succession), speaks))
                }
                _ => None,
            }));
        }
        heard
    }
}

/// Whose word an entry is, of whom something must be known.
fn speaker(entry: &Entry) -> NodeKey {
    match &entry.statement {
        Statement::Succeeded(_) => entry.subject,
        _ => entry.signer,
    }
}

/// Whether somebody may be less by an entry than without it.
fn takes_away(entry: &Entry) -> bool {
    match &entry.statement {
        Statement::Revoked(_) => true,
        Statement::Member(member) => member.roles.contains(Roles::FORMER_ADMIN),
        Statement::Succeeded(_) | Statement::Invite(_) | Statement::Closed { .. } => false,
    }
}
