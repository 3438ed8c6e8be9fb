//! What administrators did who are administrators no more, and what those attempt who have gone bad.

use mesh::roster::{Roles, Roster, Standing};

use crate::lab::{
    InvitationState, NOW, admission, admit, founded, invite, keys, members, merge, revoke,
};

/// The founder, an administrator 2, and of the others those that it has left.
fn with_an_administrator_that_did_much() -> Roster {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::ADMIN);
    admit(&mut roster, keys(1), 3, Roles::SWITCH);
    admit(&mut roster, keys(2), 4, Roles::SWITCH);
    invite(&mut roster, keys(1), keys(100), Roles::SWITCH);
    let back = roster.take_back(keys(100).0, NOW, &keys(2)).unwrap();
    merge(&mut roster, vec![back]);
    revoke(&mut roster, keys(2), 3);
    assert_eq!(members(&roster), [1, 2, 4]);
    roster
}

#[test]
fn what_an_administrator_ended_stays_ended_when_it_is_put_out() {
    let mut roster = with_an_administrator_that_did_much();
    revoke(&mut roster, keys(1), 2);
    assert_eq!(members(&roster), [1, 4]);
    assert_eq!(roster.standing(&keys(3).0, NOW), Standing::Revoked);
    assert_eq!(roster.invitation(&keys(100).0, NOW), InvitationState::TakenBack);
}

#[test]
fn what_an_administrator_did_stays_done_when_it_is_invited_again_as_less() {
    let mut roster = with_an_administrator_that_did_much();
    invite(&mut roster, keys(1), keys(101), Roles::SWITCH);
    let entries = roster.admit(&admission(2, keys(101)), NOW, &keys(1)).unwrap();
    merge(&mut roster, entries);
    assert!(!roster.has_authority(&keys(2).0));
    assert_eq!(members(&roster), [1, 2, 4]);
    assert_eq!(roster.standing(&keys(3).0, NOW), Standing::Revoked);
    assert_eq!(roster.invitation(&keys(100).0, NOW), InvitationState::TakenBack);
}
