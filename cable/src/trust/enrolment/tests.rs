//! What one node says and writes, without any cable.

use super::*;
use crate::identity::Identity;

#[test]
fn invitations_that_are_long_over_make_room_while_the_node_runs() {
    let directory = tempfile::tempdir().unwrap();
    let identity = Identity::generate().unwrap();
    let trust = Trust::in_memory([]);
    trust.belong(Some(directory.path()), &identity, "a").unwrap();
    let offer =
        Offer { name: None, roles: Roles::SWITCH, expires: Duration::from_secs(1), lasts: None };
    trust.invite(&offer, Vec::new()).unwrap();
    let digest = trust.roster_digest();
    trust.forget_old_invitations(trust.now());
    assert_eq!(trust.invites().len(), 1, "it is over, and not for long");
    assert_eq!(trust.roster_digest(), digest);

    trust.forget_old_invitations(trust.now() + 8 * 86_400);
    assert_eq!(trust.invites().len(), 0);
    assert!(trust.write());
    let again = Trust::in_memory([]);
    again.belong(Some(directory.path()), &identity, "a").unwrap();
    assert_eq!(again.roster_digest(), trust.roster_digest(), "the disk has forgotten it, too");
    assert_ne!(again.roster_digest(), digest);
}

/// A node with a member of its mesh, and what a neighbour may tell it.
fn couple() -> (tempfile::TempDir, Trust, PublicKey) {
    let directory = tempfile::tempdir().unwrap();
    let (own, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let trust = Trust::in_memory([]);
    trust.belong(Some(directory.path()), &own, "a").unwrap();
    let token = trust.invite(&offer(), Vec::new()).unwrap().0;
    let (session, name) = ([0; 32], Name::lossy("b"));
    let join = request(&token, &session, other.public(), &name);
    trust.honour(&join, &session, other.public()).unwrap();
    (directory, trust, other.public())
}

fn offer() -> Offer {
    let expires = Duration::from_secs(60);
    Offer { name: None, roles: Roles::SWITCH, expires, lasts: None }
}

#[test]
fn a_disk_that_takes_its_time_holds_up_those_alone_who_need_it() {
    let (directory, trust, other) = couple();
    let disk = trust.writing();
    let slow = trust.clone();
    let waiting = std::thread::spawn(move || slow.invite(&offer(), Vec::new()).unwrap());
    // Who comes and goes meanwhile is asked for, heard of, and put out.
    assert!(trust.contains(other));
    let founding = *trust.inner().mesh().unwrap().roster.founding();
    assert!(!trust.merge(&founding, Vec::new()).is_news);
    trust.revoke("b", false).unwrap();
    assert!(!trust.contains(other));
    let open = || {
        let is_open = |view: &&InviteView| matches!(view.state, InvitationState::Open(_));
        trust.invites().iter().filter(is_open).count()
    };
    assert_eq!(open(), 0, "nobody is invited before it is on disk");
    drop(disk);
    waiting.join().unwrap();
    assert_eq!(open(), 1);
    assert!(trust.write());
    let again = Trust::in_memory([]);
    again.belong(Some(directory.path()), &Identity::generate().unwrap(), "a").unwrap();
    assert_eq!(again.roster_digest(), trust.roster_digest());
}

#[test]
fn what_is_heard_while_something_is_written_is_not_taken_for_written() {
    let (directory, trust, other) = couple();
    let draft = {
        let inner = trust.inner();
        let mesh = inner.mesh().unwrap();
        let token = Token::generate(mesh.mesh_id(), mesh.key().into(), Vec::new()).unwrap();
        let invitation = Invitation {
            name: Name::default(),
            roles: Roles::SWITCH,
            expires: mesh.now() + 60,
            lasts: 0,
        };
        let ticket = token.ticket().key();
        let entry = mesh.roster.invite(ticket, invitation, mesh.now(), mesh.signer()).unwrap();
        mesh.draft(vec![entry]).unwrap()
    };
    trust.revoke("b", false).unwrap();
    draft.writing.as_ref().unwrap().carry_out().unwrap();
    trust.inner().mesh_mut().unwrap().adopt(draft).unwrap();
    assert!(trust.inner().mesh().unwrap().is_unwritten());
    assert!(trust.write());
    let again = Trust::in_memory([]);
    again.belong(Some(directory.path()), &Identity::generate().unwrap(), "a").unwrap();
    assert_eq!(again.roster_digest(), trust.roster_digest());
    assert!(!again.contains(other));
}
