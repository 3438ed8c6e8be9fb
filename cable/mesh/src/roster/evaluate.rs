//! Whose word counts, and what follows from it for each key. A function of the entries alone: the
//! same at all nodes that have the same ones, in whatever order they came.
//!
//! Authority comes from the founder, level by level. Whether a key is an administrator say only
//! those who stand nearer to the founder than it does; so no two can take it from each other. The same
//! goes for whether an administrator is a member. Who else is one say all administrators.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Class, Entry, Founding, Membership, Place, Roles, Statement, Succession};
use crate::authority::NodeKey;

/// Keys of one node, from one that an administrator admitted to the newest, before another
/// administrator has confirmed them.
pub(super) const MAX_SUCCESSIONS: u8 = 4;

/// What the entries say of one key, whatever the time is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is a member.
    Member(Membership),
    /// It was put out.
    Revoked,
    /// Its holder has another key now.
    Replaced(NodeKey),
    /// It is to follow this one, which its holder still has.
    Waiting(NodeKey),
    /// Somebody else came first with the same invitation, at an administrator out of reach then.
    Outrun,
}

impl Decision {
    /// Whether it is a member that may invite and revoke.
    pub(super) fn is_admin(&self) -> bool {
        matches!(self, Self::Member(member) if member.roles.contains(Roles::ADMIN))
    }
}

/// What follows from all entries.
#[derive(Debug, Clone, Default)]
pub(super) struct Evaluation {
    /// How far each administrator stands from the founder. Not all are members: an administrator
    /// that has put itself out, or whose time is over, keeps its voice.
    pub(super) levels: BTreeMap<NodeKey, u32>,
    /// The same for all keys of administrators, also those that are done with: only who stands
    /// nearer to the founder says what they are.
    pub(super) ranks: BTreeMap<NodeKey, u32>,
    pub(super) decisions: BTreeMap<NodeKey, Decision>,
}

impl Evaluation {
    pub(super) fn of(founding: &Founding, entries: &BTreeMap<Place, Entry>) -> Self {
        let mut evaluation = Self::default();
        evaluation.find_authorities(founding, entries);
        evaluation.decide(founding, entries);
        evaluation
    }

    fn find_authorities(&mut self, founding: &Founding, entries: &BTreeMap<Place, Entry>) {
        let line = retired_line(entries, founding.founder);
        let root = line.last().copied().unwrap_or(founding.founder);
        self.ranks.extend(line.iter().chain([&founding.founder]).map(|key| (*key, 0)));
        let mut level = BTreeSet::from([root]);
        self.levels.insert(root, 0);
        // Keys that have been administrators and have handed on.
        let mut passed: BTreeSet<NodeKey> = BTreeSet::from([founding.founder]);
        // A line of administrators who made each other may be as long as the roster.
        let mut grants = BTreeMap::<NodeKey, Vec<NodeKey>>::new();
        for entry in entries.values().filter(|entry| grants_admin(entry)) {
            grants.entry(entry.signer).or_default().push(entry.subject);
        }
        for depth in 0.. {
            let candidates: BTreeSet<NodeKey> =
                level.iter().filter_map(|key| grants.get(key)).flatten().copied().collect();
            let mut next = BTreeSet::new();
            for candidate in candidates {
                if passed.contains(&candidate) || !self.is_admin_by_now(entries, candidate) {
                    continue;
                }
                passed.insert(candidate);
                self.ranks.entry(candidate).or_insert(depth + 1);
                let heirs = retired_line(entries, candidate);
                // An heir of whom somebody has said something else stands for itself.
                let is_free = |heir: &NodeKey| self.latest(entries, *heir).is_none();
                let own = heirs.iter().all(is_free);
                let holder = match heirs.last() {
                    Some(last) if own => *last,
                    Some(_) => continue,
                    None => candidate,
                };
                if !self.levels.contains_key(&holder) {
                    for heir in heirs {
                        self.ranks.entry(heir).or_insert(depth + 1);
                    }
                    next.insert(holder);
                }
            }
            if next.is_empty() {
                return;
            }
            // Not before: those of one level have no say about each other.
            self.levels.extend(next.iter().map(|holder| (*holder, depth + 1)));
            level = next;
        }
    }

    fn is_admin_by_now(&self, entries: &BTreeMap<Place, Entry>, key: NodeKey) -> bool {
        self.latest(entries, key).is_some_and(grants_admin)
    }

    /// What counts of that which the authorities found so far say about a key.
    fn latest<'a>(&self, entries: &'a BTreeMap<Place, Entry>, key: NodeKey) -> Option<&'a Entry> {
        about(entries, key)
            .filter(|entry| self.levels.contains_key(&entry.signer))
            .max_by_key(|entry| entry.rank())
    }

    /// How far a key stands from the founder; the farthest for one that is no administrator's.
    pub(super) fn rank_of(&self, key: &NodeKey) -> u32 {
        self.ranks.get(key).copied().unwrap_or(u32::MAX)
    }

    /// Whether the word of `signer` on `subject` counts, if it is not about itself.
    pub(super) fn outranks(&self, signer: &NodeKey, subject: &NodeKey) -> bool {
        self.levels.get(signer).is_some_and(|level| *level < self.rank_of(subject))
    }

    /// Whether what an entry says of a key's standing counts. All may leave, and of the root only
    /// the root itself can say anything.
    fn counts(&self, entry: &Entry) -> bool {
        if entry.signer != entry.subject {
            return self.outranks(&entry.signer, &entry.subject);
        }
        match self.levels.get(&entry.signer) {
            Some(0) => true,
            Some(_) => matches!(entry.statement, Statement::Revoked(_)),
            None => false,
        }
    }

    /// The entry that says what a key is; none if it only follows another one.
    pub(super) fn latest_that_counts<'a>(
        &self,
        entries: &'a BTreeMap<Place, Entry>,
        key: NodeKey,
    ) -> Option<&'a Entry> {
        about(entries, key).filter(|entry| self.counts(entry)).max_by_key(|entry| entry.rank())
    }

    fn decide(&mut self, founding: &Founding, entries: &BTreeMap<Place, Entry>) {
        let mut used = BTreeMap::<NodeKey, Vec<(u32, u64, NodeKey)>>::new();
        let mut latest = BTreeMap::<NodeKey, &Entry>::new();
        for entry in entries.values().filter(|entry| self.counts(entry)) {
            if !matches!(entry.statement, Statement::Member(_) | Statement::Revoked(_)) {
                continue;
            }
            let known = latest.entry(entry.subject).or_insert(entry);
            if known.rank() < entry.rank() {
                *known = entry;
            }
        }
        for (key, entry) in latest {
            let (invite, joined, decision) = match &entry.statement {
                Statement::Member(member) => {
                    (member.invite, member.joined, Decision::Member(member.clone()))
                }
                Statement::Revoked(revoked) => (revoked.invite, revoked.joined, Decision::Revoked),
                _ => continue,
            };
            if let Some(invite) = invite {
                used.entry(invite).or_default().push((self.rank_of(&key), joined, key));
            }
            self.decisions.insert(key, decision);
        }
        // An invitation that two administrators honoured, neither knowing of the other, counts for
        // the one who came first; also when that one was put out later. An administrator cannot be
        // outrun by whom an equal calls the first.
        for mut users in used.into_values() {
            users.sort_unstable();
            for (_, _, key) in users.drain(1..) {
                if let Some(decision @ Decision::Member(_)) = self.decisions.get_mut(&key) {
                    *decision = Decision::Outrun;
                }
            }
        }
        self.follow_successions(founding, entries);
    }

    fn follow_successions(&mut self, founding: &Founding, entries: &BTreeMap<Place, Entry>) {
        // The founder's line needs nobody's word but its own.
        let mut old = founding.founder;
        for heir in retired_line(entries, founding.founder) {
            self.decisions.insert(old, Decision::Replaced(heir));
            old = heir;
        }
        let admitted: Vec<NodeKey> = self.decisions.keys().copied().collect();
        for key in admitted {
            let mut old = key;
            for _ in 0..MAX_SUCCESSIONS {
                let Some(Decision::Member(member)) = self.decisions.get(&old) else { break };
                let Some(succession) = succession(entries, old) else { break };
                if !succession.retired {
                    break;
                }
                let inherited = Membership { invite: None, ..member.clone() };
                self.decisions.insert(old, Decision::Replaced(succession.to));
                if self.decisions.contains_key(&succession.to) {
                    break;
                }
                self.decisions.insert(succession.to, Decision::Member(inherited));
                old = succession.to;
            }
        }
        // A member has one key at a time: the next one is none before this one is done with.
        let waiting: Vec<_> = self
            .decisions
            .iter()
            .filter(|(_, decision)| matches!(decision, Decision::Member(_)))
            .filter_map(|(key, _)| Some((*key, succession(entries, *key)?.to)))
            .collect();
        for (key, next) in waiting {
            self.decisions.entry(next).or_insert(Decision::Waiting(key));
        }
    }
}

/// The entries about what a key is.
pub(super) fn about(
    entries: &BTreeMap<Place, Entry>,
    key: NodeKey,
) -> impl Iterator<Item = &Entry> {
    of_class(entries, key, Class::Standing)
}

/// What a key's holder has said of keys to follow it. More than one only if two hold the key.
pub(super) fn heirs(
    entries: &BTreeMap<Place, Entry>,
    key: NodeKey,
) -> impl Iterator<Item = &Entry> {
    of_class(entries, key, Class::Succession)
}

fn of_class(
    entries: &BTreeMap<Place, Entry>,
    key: NodeKey,
    wanted: Class,
) -> impl Iterator<Item = &Entry> {
    let range = (key, NodeKey::MIN, Class::Standing)..=(key, NodeKey::MAX, Class::Succession);
    entries.range(range).filter(move |((_, _, class), _)| *class == wanted).map(|(_, entry)| entry)
}

/// What follows a key, as its holder says.
pub(super) fn succession(entries: &BTreeMap<Place, Entry>, key: NodeKey) -> Option<Succession> {
    match heirs(entries, key).max_by_key(|entry| entry.rank())?.statement {
        Statement::Succeeded(succession) => Some(succession),
        _ => None,
    }
}

/// The keys that follow one that is done with, in order.
fn retired_line(entries: &BTreeMap<Place, Entry>, from: NodeKey) -> Vec<NodeKey> {
    let mut line = Vec::new();
    let mut at = from;
    while let Some(succession) = succession(entries, at).filter(|s| s.retired)
        && succession.to != from
        && !line.contains(&succession.to)
    {
        line.push(succession.to);
        at = succession.to;
    }
    line
}

fn grants_admin(entry: &Entry) -> bool {
    matches!(&entry.statement, Statement::Member(m) if m.roles.contains(Roles::ADMIN))
}
