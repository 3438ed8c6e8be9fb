//! A founder, administrators honest and not, and newcomers, without any cable.

use std::time::Duration;

use mesh::message::{Message, Name};
use mesh::roster::{Entry, Membership as Member, Roles, Sealer as _};

use super::*;
use crate::identity::Identity;
use crate::trust::enrolment::request;
use crate::trust::{Offer, Verdict, settle};

/// A node without cables.
struct Host {
    state: tempfile::TempDir,
    identity: Identity,
    trust: Trust,
}

impl Host {
    fn new(name: &str) -> Self {
        Self::in_state(tempfile::tempdir().unwrap(), name)
    }

    fn in_state(state: tempfile::TempDir, name: &str) -> Self {
        let identity = settle(state.path()).unwrap();
        let trust = Trust::load(state.path()).unwrap();
        trust.belong(Some(state.path()), &identity, name).unwrap();
        Self { state, identity, trust }
    }

    fn restarted(self) -> Self {
        Self::in_state(self.state, "again")
    }

    fn key(&self) -> PublicKey {
        self.identity.public()
    }

    fn invite(&self, roles: Roles) -> Token {
        let expires = Duration::from_secs(600);
        let offer = Offer { name: None, roles, expires, lasts: None };
        self.trust.invite(&offer, Vec::new()).unwrap().0
    }

    /// What it knows.
    fn letter(&self) -> Letter {
        let inner = self.trust.inner();
        let roster = &inner.mesh().unwrap().roster;
        let (founding, entries) = (*roster.founding(), roster.entries_in_order());
        Letter { by: self.key(), founding, entries }
    }

    /// What it answers to a newcomer.
    fn honour(&self, token: &Token, newcomer: &Self) -> Letter {
        let session = [7; 32];
        let join = request(token, &session, newcomer.key(), &Name::lossy("newcomer"));
        let honoured = self.trust.honour(&join, &session, newcomer.key()).unwrap();
        let part = |message| match message {
            Message::Roster(part) => part.entries.into_vec(),
            other => panic!("{other:?}"),
        };
        let entries = honoured.roster.into_iter().flat_map(part).collect();
        Letter { entries, ..self.letter() }
    }

    fn hear(&self, other: &Self) {
        let Letter { founding, entries, .. } = other.letter();
        self.trust.merge(&founding, entries);
    }

    /// One that it has let in.
    fn member(&self, roles: Roles) -> Self {
        let (newcomer, token) = (Self::new("newcomer"), self.invite(roles));
        let letter = self.honour(&token, &newcomer);
        newcomer.trust.enter(&token, &[letter]).unwrap();
        newcomer
    }

    /// What it shows to capture a newcomer: what it knows, and its own word that that is a member.
    fn lure(&self, newcomer: &Self) -> Letter {
        let inner = self.trust.inner();
        let signer = inner.mesh().unwrap().signer();
        let name = Name::lossy("captured");
        let (joined, expires) = (self.trust.now(), 0);
        let member = Member { name, roles: Roles::SWITCH, joined, expires, invite: None };
        let (subject, statement) = (newcomer.key().into(), Statement::Member(member));
        let founding = *inner.mesh().unwrap().roster.founding();
        let entry = Entry::sign(&founding, subject, 1, statement, signer);
        assert_eq!(entry.signer, signer.key());
        drop(inner);
        let mut letter = self.letter();
        letter.entries.push(entry);
        letter
    }
}

#[test]
fn any_administrator_honours_the_invitation_of_another() {
    let founder = Host::new("founder");
    let other = founder.member(Roles::ADMIN);
    let switch = founder.member(Roles::SWITCH);
    let token = founder.invite(Roles::SWITCH);
    other.hear(&founder);
    switch.hear(&founder);
    let newcomer = Host::new("newcomer");
    let lure = switch.lure(&newcomer);
    assert!(newcomer.trust.enter(&token, &[lure]).is_err(), "by one that is no administrator");
    let letter = other.honour(&token, &newcomer);
    assert_eq!(newcomer.trust.enter(&token, &[letter]).unwrap(), other.key());
    assert_eq!(newcomer.trust.mesh_id(), founder.trust.mesh_id());
}

#[test]
fn an_administrator_that_was_put_out_before_the_invitation_captures_nobody() {
    let founder = Host::new("founder");
    let out = founder.member(Roles::ADMIN);
    let newcomer = Host::new("newcomer");
    let before = newcomer.trust.mesh_id();
    founder.trust.revoke(&out.key().to_string(), false).unwrap();
    // It hears of that no more than of the invitation.
    let token = founder.invite(Roles::SWITCH);
    let refused = newcomer.trust.enter(&token, &[out.lure(&newcomer)]).unwrap_err();
    assert!(refused.to_string().contains("the inviter's word"), "{refused}");
    // Nor with an invitation of its own, which has the same public key.
    let mut forged = out.lure(&newcomer);
    let inner = out.trust.inner();
    let signer = inner.mesh().unwrap().signer();
    let closed = Statement::Closed { expires: u64::MAX / 2 };
    forged.entries.push(Entry::sign(&forged.founding, token.ticket_key(), 1, closed, signer));
    assert!(newcomer.trust.enter(&token, &[forged]).is_err());
    assert_eq!(newcomer.trust.mesh_id(), before);
    let letter = founder.honour(&token, &newcomer);
    assert_eq!(newcomer.trust.enter(&token, &[letter]).unwrap(), founder.key());
}

#[test]
fn an_administrator_that_was_put_out_later_is_not_believed_where_somebody_knows() {
    let founder = Host::new("founder");
    let (out, other) = (founder.member(Roles::ADMIN), founder.member(Roles::ADMIN));
    let token = founder.invite(Roles::SWITCH);
    out.hear(&founder);
    founder.trust.revoke(&out.key().to_string(), false).unwrap();
    other.hear(&founder);
    for honest in [&founder, &other] {
        let newcomer = Host::new("newcomer");
        let lure = out.lure(&newcomer);
        let token = if honest.key() == founder.key() {
            token.clone()
        } else {
            let token = founder.invite(Roles::SWITCH);
            other.hear(&founder);
            token
        };
        let letters = [lure, honest.honour(&token, &newcomer)];
        assert_eq!(newcomer.trust.enter(&token, &letters).unwrap(), honest.key());
        assert_eq!(newcomer.trust.verdict(out.key()), Verdict::Revoked);
    }
}

#[test]
fn an_inviter_that_has_another_key_by_now_is_known_by_the_one_in_the_invitation() {
    let founder = Host::new("founder");
    let token = founder.invite(Roles::SWITCH);
    let old = founder.key();
    founder.trust.begin_rotation(founder.state.path(), &founder.identity).unwrap();
    let founder = founder.restarted();
    assert_ne!(founder.key(), old);
    let newcomer = Host::new("newcomer");
    let mut letter = founder.honour(&token, &newcomer);
    // What the old key signed may have given way where the roster was full.
    let is_of_old = |entry: &Entry| entry.signer == old.into();
    letter.entries.retain(|e| !is_of_old(e) || matches!(e.statement, Statement::Succeeded(_)));
    assert_eq!(newcomer.trust.enter(&token, &[letter]).unwrap(), founder.key());
}

#[test]
fn who_has_let_others_in_while_it_waited_for_an_answer_does_not_leave_them() {
    let founder = Host::new("founder");
    let token = founder.invite(Roles::SWITCH);
    let newcomer = Host::new("newcomer");
    newcomer.trust.may_enter(token.mesh).unwrap();
    let letter = founder.honour(&token, &newcomer);
    let _own = newcomer.member(Roles::SWITCH);
    let refused = newcomer.trust.enter(&token, &[letter]).unwrap_err();
    assert!(matches!(refused, RosterError::OtherMembers(_)), "{refused}");
}

#[test]
fn who_has_expired_stays_so_when_the_clock_is_set_back() {
    let founder = Host::new("founder");
    let (newcomer, token) = (Host::new("newcomer"), {
        let expires = Duration::from_secs(600);
        let lasts = Some(Duration::from_secs(3600));
        let offer = Offer { name: None, roles: Roles::SWITCH, expires, lasts };
        founder.trust.invite(&offer, Vec::new()).unwrap().0
    });
    founder.honour(&token, &newcomer);
    assert_eq!(founder.trust.verdict(newcomer.key()), Verdict::Trusted);
    // The clock was there once.
    founder.trust.calendar().see(founder.trust.now() + 7200);
    assert_eq!(founder.trust.verdict(newcomer.key()), Verdict::Expired);
    founder.trust.calendar().keep().unwrap();
    let founder = founder.restarted();
    assert_eq!(founder.trust.verdict(newcomer.key()), Verdict::Expired);
}
