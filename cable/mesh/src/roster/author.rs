//! What an administrator says, and a node about its own keys: the entries that do what is wanted,
//! ready to be merged, kept and passed on. Nothing here changes a roster.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{
    Entry, Founding, Invitation, MAX_SERIAL, Membership, Revocation, Roles, Sealer, Statement,
    Succession, consent_octets,
};
use super::evaluate::{Decision, Evaluation, MAX_SUCCESSIONS, about, heirs};
use super::{InvitationState, Roster, Standing};
use crate::authority::NodeKey;
use crate::message::Name;

/// Why there is nothing to be said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorError {
    /// The signer's word would not count.
    #[error("this node is not an administrator of its mesh")]
    NotAdmin,
    /// The subject is not a member.
    #[error("it is not a member")]
    NotMember,
    /// The invitation cannot be used.
    #[error("the invitation cannot be used")]
    Invitation(InvitationState),
    /// A node that has just one member cannot do without it.
    #[error("it is the only administrator; the mesh would have none")]
    LastAdmin,
    /// Its holder has taken too many keys since it was let in.
    #[error(
        "it has changed its key {MAX_SUCCESSIONS} times since an administrator let it in, which is as often as others believe it"
    )]
    TooManyKeys,
    /// The signer's word on this key does not count.
    #[error(
        "it is an administrator, and only one nearer to the mesh's founder than it has a say about it"
    )]
    Outranked,
}

/// A new member on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Its key, which it has proved.
    pub key: NodeKey,
    /// What it calls itself.
    pub name: Name,
    /// The key of the invitation with which it proved that it was invited.
    pub invite: NodeKey,
}

impl Roster {
    /// The first entry of a new mesh: the founder may do everything.
    pub fn found(founding: Founding, name: Name, now: u64, sealer: &impl Sealer) -> Entry {
        let member = Membership {
            name,
            roles: Roles::ADMIN.union(Roles::GATEWAY),
            joined: now,
            expires: 0,
            invite: None,
        };
        Entry::sign(&founding, founding.founder, 1, Statement::Member(member), sealer)
    }

    /// A serial above all that was said of a key. When somebody used up the last one, then above
    /// what counts, and what `signer` said before: it can be answered once its author is put out.
    fn next_serial(&self, subject: NodeKey, signer: &NodeKey) -> u64 {
        let last = |counts: &dyn Fn(&Entry) -> bool| {
            let known = about(&self.entries, subject).filter(|entry| counts(entry));
            known.map(|entry| entry.serial).max().unwrap_or(0)
        };
        let highest = match last(&|_| true) {
            MAX_SERIAL.. => {
                last(&|entry| entry.signer == *signer || self.has_authority(&entry.signer))
            }
            highest => highest,
        };
        highest.saturating_add(1).min(MAX_SERIAL)
    }

    fn say(&self, subject: NodeKey, statement: Statement, sealer: &impl Sealer) -> Entry {
        let serial = self.next_serial(subject, &sealer.key());
        Entry::sign(&self.founding, subject, serial, statement, sealer)
    }

    fn require_admin(&self, sealer: &impl Sealer, now: u64) -> Result<(), AuthorError> {
        if self.is_admin(&sealer.key(), now) { Ok(()) } else { Err(AuthorError::NotAdmin) }
    }

    /// Makes an invitation known.
    ///
    /// # Errors
    /// [`AuthorError::NotAdmin`].
    pub fn invite(
        &self,
        invite: NodeKey,
        invitation: Invitation,
        now: u64,
        sealer: &impl Sealer,
    ) -> Result<Entry, AuthorError> {
        self.require_admin(sealer, now)?;
        Ok(self.say(invite, Statement::Invite(invitation), sealer))
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// [`AuthorError`]: it is not open.
    pub fn take_back(
        &self,
        invite: NodeKey,
        now: u64,
        sealer: &impl Sealer,
    ) -> Result<Entry, AuthorError> {
        self.require_admin(sealer, now)?;
        match self.invitation(&invite, now) {
            InvitationState::Open(invitation) => {
                let closed = Statement::Closed { expires: invitation.expires };
                Ok(self.say(invite, closed, sealer))
            }
            other => Err(AuthorError::Invitation(other)),
        }
    }

    /// Admits whoever proved an invitation, under a name that nobody else has. None when the same
    /// key was admitted with it before and is a member: the answer was lost on its way, then.
    ///
    /// # Errors
    /// [`AuthorError`].
    pub fn admit(
        &self,
        admission: &Admission,
        now: u64,
        sealer: &impl Sealer,
    ) -> Result<Vec<Entry>, AuthorError> {
        let Admission { key, name, invite } = admission;
        self.require_admin(sealer, now)?;
        let invitation = match self.invitation(invite, now) {
            InvitationState::Open(invitation) => invitation,
            InvitationState::UsedBy(by)
                if by == *key
                    && matches!(self.standing(key, now), Standing::Member(m) if m.invite == Some(*invite)) =>
            {
                return Ok(Vec::new());
            }
            other => return Err(AuthorError::Invitation(other)),
        };
        if !self.evaluation.outranks(&sealer.key(), key) {
            return Err(AuthorError::Outranked);
        }
        let wanted = if invitation.name.as_str().is_empty() { name } else { &invitation.name };
        let member = Membership {
            name: self.free_name(wanted, key, now),
            roles: self.with_past(key, invitation.roles),
            joined: now,
            expires: if invitation.lasts == 0 { 0 } else { now.saturating_add(invitation.lasts) },
            invite: Some(*invite),
        };
        let closed = Statement::Closed { expires: invitation.expires };
        let admitted = self.say(*key, Statement::Member(member), sealer);
        let mut said = self.say_again(std::slice::from_ref(&admitted), &[*key], &[], sealer);
        said.push(admitted);
        said.push(self.say(*invite, closed, sealer));
        Ok(said)
    }

    /// What a key may do from now on, and that it has been an administrator, if it has.
    fn with_past(&self, key: &NodeKey, roles: Roles) -> Roles {
        let is_former = self.authors.contains(key) && !roles.contains(Roles::ADMIN);
        if is_former { roles.union(Roles::FORMER_ADMIN) } else { roles }
    }

    /// The name, or the name and a number, whichever no other member has.
    fn free_name(&self, wanted: &Name, key: &NodeKey, now: u64) -> Name {
        let is_free = |name: &Name| {
            self.members(now).all(|(other, member)| other == *key || member.name != *name)
        };
        let numbered = (2..).map(|number| {
            let number = format!("-{number}");
            // Room for the number is made at the end of a long name.
            let mut stem = wanted.as_str();
            while stem.len() + number.len() > 64 {
                stem = &stem[..stem.char_indices().next_back().map_or(0, |(at, _)| at)];
            }
            Name::lossy(&format!("{stem}{number}"))
        });
        std::iter::once(wanted.clone())
            .chain(numbered)
            .find(is_free)
            .expect("there are fewer members than numbers")
    }

    /// Puts a member out, with all the keys that it had. What it had done as an administrator stays
    /// done, now by the word of the signer: members stay, who was put out stays out, and so do
    /// invitations that were used or taken back. Those whom it let in, and nobody else did, go with it
    /// if they are to; nothing is remembered of them once there is no room.
    ///
    /// What stays so is said first: of a long list others hear a part at a time.
    ///
    /// # Errors
    /// [`AuthorError`].
    pub fn revoke(
        &self,
        key: NodeKey,
        with_admitted: bool,
        now: u64,
        sealer: &impl Sealer,
    ) -> Result<Vec<Entry>, AuthorError> {
        self.require_admin(sealer, now)?;
        let is_own = key == sealer.key();
        if is_own {
            let others =
                self.members(now).any(|(other, _)| other != key && self.is_admin(&other, now));
            if !others {
                return Err(AuthorError::LastAdmin);
            }
        }
        let has_a_say = |key: &NodeKey| is_own || self.evaluation.outranks(&sealer.key(), key);
        let mut line = self.line_of(key);
        if line.is_empty() {
            return Err(AuthorError::NotMember);
        }
        if !has_a_say(&key) {
            return Err(AuthorError::Outranked);
        }
        // It may name a key of somebody above to follow its own, if that one agrees.
        line.retain(has_a_say);
        let gone = if with_admitted { self.brought_by(&key, now) } else { Vec::new() };
        let ends: Vec<Entry> =
            line.iter().map(|key| self.say(*key, self.revocation_of(*key), sealer)).collect();
        let mut said = self.say_again(&ends, &line, &gone, sealer);
        said.extend(ends);
        Ok(said)
    }

    /// The members by the word of a key, or of another one of its holder's.
    pub fn admitted_by(&self, key: &NodeKey, now: u64) -> Vec<NodeKey> {
        let line = self.line_of(*key);
        let mut by = self.members_by_word(now);
        let theirs = line.iter().filter_map(|key| by.remove(key)).flatten();
        theirs.filter(|other| !line.contains(other)).collect()
    }

    /// The same, and those by the word of one of them, and so on.
    pub fn brought_by(&self, key: &NodeKey, now: u64) -> Vec<NodeKey> {
        let mut all = self.admitted_by(key, now);
        let mut by = self.members_by_word(now);
        let mut at = 0;
        while let Some(key) = all.get(at) {
            all.extend(by.remove(key).unwrap_or_default());
            at += 1;
        }
        all
    }

    /// The members by whose word counts.
    fn members_by_word(&self, now: u64) -> BTreeMap<NodeKey, Vec<NodeKey>> {
        let mut by = BTreeMap::<NodeKey, Vec<NodeKey>>::new();
        for (other, _) in self.members(now) {
            if let Some(entry) = self.evaluation.latest_that_counts(&self.entries, other) {
                by.entry(entry.signer).or_default().push(other);
            }
        }
        by
    }

    /// What must be said again so that `news`, which is about the keys of `line`, changes nothing for
    /// anybody else but those who are to go with them: what an administrator has said counts no more
    /// when it is one no more, neither of members nor of what it had ended. Whom it made administrators
    /// stay members only: it may have been put out because it chose them.
    fn say_again(
        &self,
        news: &[Entry],
        line: &[NodeKey],
        gone: &[NodeKey],
        sealer: &impl Sealer,
    ) -> Vec<Entry> {
        let mut said = Vec::new();
        let mut after = self.clone();
        for entry in news {
            after.take(entry.clone());
        }
        after.evaluation = Evaluation::of(&after.founding, &after.entries);
        for (key, before) in &self.evaluation.decisions {
            let then = after.evaluation.decisions.get(key);
            let statement = match (before, then) {
                _ if line.contains(key) || Some(before) == then => continue,
                (Decision::Member(_), _) if gone.contains(key) => continue,
                (Decision::Member(member), _) => {
                    let mut member = member.clone();
                    if !then.is_some_and(Decision::is_admin) {
                        member.roles = self.with_past(key, member.roles.without(Roles::ADMIN));
                    }
                    Statement::Member(member)
                }
                (Decision::Revoked, Some(Decision::Member(_))) => self.revocation_of(*key),
                _ => continue,
            };
            said.push(after.say(*key, statement, sealer));
        }
        let invites: BTreeSet<NodeKey> = self.invites().map(|(invite, _)| invite).collect();
        for invite in invites {
            // Not the time is asked for, but whether it can be used while it lasts.
            if let InvitationState::Open(invitation) = after.invitation(&invite, 0)
                && !matches!(self.invitation(&invite, 0), InvitationState::Open(_))
            {
                let closed = Statement::Closed { expires: invitation.expires };
                said.push(after.say(invite, closed, sealer));
            }
        }
        said
    }

    /// A key, those that it follows, and those that follow it.
    fn line_of(&self, key: NodeKey) -> Vec<NodeKey> {
        let mut line: Vec<NodeKey> =
            self.known.contains_key(&key).then_some(key).into_iter().collect();
        let mut at = 0;
        while let Some(key) = line.get(at).copied() {
            at += 1;
            let after = heirs(&self.entries, key).filter_map(|entry| match &entry.statement {
                Statement::Succeeded(succession) => Some(succession.to),
                _ => None,
            });
            let before = self.entries.values().filter_map(|entry| match &entry.statement {
                Statement::Succeeded(succession) if succession.to == key => Some(entry.subject),
                _ => None,
            });
            let near: Vec<_> = before.chain(after).collect();
            for key in near {
                if !line.contains(&key) {
                    line.push(key);
                }
            }
        }
        line
    }

    fn revocation_of(&self, key: NodeKey) -> Statement {
        let latest = about(&self.entries, key).max_by_key(|entry| entry.rank());
        let (joined, invite) = match latest.map(|entry| &entry.statement) {
            Some(Statement::Member(member)) => (member.joined, member.invite),
            Some(Statement::Revoked(revoked)) => (revoked.joined, revoked.invite),
            _ => (0, None),
        };
        Statement::Revoked(Revocation {
            name: self.name_of(&key).unwrap_or_default(),
            was_admin: self.authors.contains(&key),
            joined,
            invite,
        })
    }

    /// A node's word that another key is to follow its own. Until it [retires](Self::retire) the
    /// old one, both are good.
    ///
    /// # Errors
    /// [`AuthorError::NotMember`].
    pub fn succeed(
        &self,
        old: &impl Sealer,
        new: &impl Sealer,
        now: u64,
    ) -> Result<Entry, AuthorError> {
        match self.standing(&old.key(), now) {
            Standing::Member(_) if self.may_be_followed(&old.key()) => {
                Ok(self.succession(old, new, false))
            }
            Standing::Member(_) => Err(AuthorError::TooManyKeys),
            _ => Err(AuthorError::NotMember),
        }
    }

    fn succession(&self, old: &impl Sealer, new: &impl Sealer, retired: bool) -> Entry {
        let (from, to) = (old.key(), new.key());
        let consent = new.seal(&consent_octets(&self.founding, &from, &to));
        let serial = self.entries.values().filter(|entry| entry.subject == from);
        let serial = serial.map(|entry| entry.serial).max().unwrap_or(0).saturating_add(1);
        let serial = serial.min(MAX_SERIAL);
        let statement = Statement::Succeeded(Succession { to, retired, consent });
        Entry::sign(&self.founding, from, serial, statement, old)
    }

    /// A node's last word with its old key: it is done with. What it said as an administrator it
    /// says again with the new one, for the old one's word counts no more.
    pub fn retire(&self, old: &impl Sealer, new: &impl Sealer) -> Vec<Entry> {
        let (from, to) = (old.key(), new.key());
        let mut said = vec![self.succession(old, new, true)];
        for entry in self.entries.values().filter(|entry| entry.signer == from) {
            let subject = match &entry.statement {
                Statement::Succeeded(_) => continue,
                // The founder's own membership rests on its own word.
                Statement::Member(_) if entry.subject == from => to,
                _ => entry.subject,
            };
            if entry.subject == from && subject == from {
                continue;
            }
            let statement = entry.statement.clone();
            said.push(Entry::sign(&self.founding, subject, entry.serial, statement, new));
        }
        said
    }
}
