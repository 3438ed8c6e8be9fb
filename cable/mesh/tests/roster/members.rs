//! Inviting, joining, putting out.

use mesh::roster::{AuthorError, Invitation, Roles, Standing};

use crate::lab::{
    DAY, InvitationState, NOW, admission, admit, founded, invitation, invite, joined, keys, member,
    members, merge, name, revoke,
};

#[test]
fn whoever_uses_an_invitation_becomes_a_member_and_nobody_after_it() {
    let mut roster = founded();
    let ticket = keys(100);
    invite(&mut roster, keys(1), ticket, Roles::GATEWAY);
    assert!(matches!(roster.invitation(&ticket.0, NOW), InvitationState::Open(_)));
    let entries = roster.admit(&admission(2, ticket), NOW, &keys(1)).unwrap();
    merge(&mut roster, entries);
    assert_eq!(members(&roster), [1, 2]);
    assert_eq!(roster.role_of(&keys(2).0, NOW), Some(Roles::GATEWAY));
    let again = roster.admit(&admission(3, ticket), NOW, &keys(1)).unwrap_err();
    assert_eq!(again, AuthorError::Invitation(InvitationState::UsedBy(keys(2).0)));
    // Who was admitted and did not hear of it may ask again.
    assert_eq!(roster.admit(&admission(2, ticket), NOW, &keys(1)), Ok(Vec::new()));
}

#[test]
fn any_administrator_honours_an_invitation_and_nobody_else() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::ADMIN);
    admit(&mut roster, keys(1), 3, Roles::SWITCH);
    let ticket = keys(100);
    invite(&mut roster, keys(1), ticket, Roles::SWITCH);
    let by_a_switch = roster.admit(&admission(4, ticket), NOW, &keys(3));
    assert_eq!(by_a_switch, Err(AuthorError::NotAdmin));
    assert_eq!(
        roster.invite(keys(7).0, invitation(Roles::ADMIN), NOW, &keys(3)),
        Err(AuthorError::NotAdmin)
    );
    let entries = roster.admit(&admission(4, ticket), NOW, &keys(2)).unwrap();
    merge(&mut roster, entries);
    assert_eq!(members(&roster), [1, 2, 3, 4]);
}

#[test]
fn an_invitation_ends_by_time_and_can_be_taken_back() {
    let mut roster = founded();
    invite(&mut roster, keys(1), keys(100), Roles::SWITCH);
    let late = roster.admit(&admission(2, keys(100)), NOW + DAY, &keys(1)).unwrap_err();
    assert_eq!(late, AuthorError::Invitation(InvitationState::Expired));
    let back = roster.take_back(keys(100).0, NOW, &keys(1)).unwrap();
    merge(&mut roster, vec![back]);
    let gone = roster.admit(&admission(2, keys(100)), NOW, &keys(1)).unwrap_err();
    assert_eq!(gone, AuthorError::Invitation(InvitationState::TakenBack));
    let unknown = roster.admit(&admission(2, keys(101)), NOW, &keys(1)).unwrap_err();
    assert_eq!(unknown, AuthorError::Invitation(InvitationState::Unknown));
}

#[test]
fn a_membership_may_end_by_time() {
    let mut roster = founded();
    let ticket = Invitation { lasts: 3600, ..invitation(Roles::SWITCH) };
    let entry = roster.invite(keys(100).0, ticket, NOW, &keys(1)).unwrap();
    merge(&mut roster, vec![entry]);
    let entries = roster.admit(&admission(2, keys(100)), NOW, &keys(1)).unwrap();
    merge(&mut roster, entries);
    assert!(matches!(roster.standing(&keys(2).0, NOW + 3599), Standing::Member(_)));
    assert!(matches!(roster.standing(&keys(2).0, NOW + 3600), Standing::Expired(_)));
    assert_eq!(roster.role_of(&keys(2).0, NOW + 3600), None);
}

#[test]
fn who_was_put_out_is_out_until_invited_anew_with_the_same_key() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::SWITCH);
    revoke(&mut roster, keys(1), 2);
    assert_eq!(roster.standing(&keys(2).0, NOW), Standing::Revoked);
    assert_eq!(roster.name_of(&keys(2).0), Some(name("n2")));
    // Its old invitation stays used.
    let old = roster.admit(&admission(2, keys(1002)), NOW, &keys(1)).unwrap_err();
    assert_eq!(old, AuthorError::Invitation(InvitationState::UsedBy(keys(2).0)));

    let ticket = keys(100);
    invite(&mut roster, keys(1), ticket, Roles::SWITCH);
    let mut renamed = admission(2, ticket);
    renamed.name = name("other");
    let entries = roster.admit(&renamed, NOW, &keys(1)).unwrap();
    merge(&mut roster, entries);
    assert_eq!(member(&roster, 2).name, name("other"));
    // Nor can the first one be used now that the key came with another.
    let stranger = roster.admit(&admission(3, keys(1002)), NOW, &keys(1)).unwrap_err();
    assert_eq!(stranger, AuthorError::Invitation(InvitationState::TakenBack));
}

#[test]
fn an_administrator_that_is_invited_again_as_less_is_no_administrator() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::ADMIN);
    invite(&mut roster, keys(2), keys(100), Roles::ADMIN);
    invite(&mut roster, keys(1), keys(101), Roles::SWITCH);
    let entries = roster.admit(&admission(2, keys(101)), NOW, &keys(1)).unwrap();
    merge(&mut roster, entries);
    assert!(!roster.has_authority(&keys(2).0));
    assert_eq!(roster.invitation(&keys(100).0, NOW), InvitationState::Unknown);
    // Whoever hears of all this at once knows as much.
    let mut told = mesh::Roster::new(*roster.founding());
    assert_eq!(merge(&mut told, roster.entries_in_order()).unfounded, 0);
}

#[test]
fn two_members_never_get_one_name() {
    let mut roster = founded();
    for (node, expected) in [(2, "host"), (3, "host-2"), (4, "host-3")] {
        let ticket = keys(100 + node);
        invite(&mut roster, keys(1), ticket, Roles::SWITCH);
        let mut wanted = admission(node, ticket);
        wanted.name = name("host");
        let entries = roster.admit(&wanted, NOW, &keys(1)).unwrap();
        merge(&mut roster, entries);
        assert_eq!(member(&roster, node).name.as_str(), expected);
    }
    let long = "ä".repeat(32);
    for node in [5, 6] {
        let ticket = keys(100 + node);
        let named = Invitation { name: name(&long), ..invitation(Roles::SWITCH) };
        let entry = roster.invite(ticket.0, named, NOW, &keys(1)).unwrap();
        merge(&mut roster, vec![entry]);
        let entries = roster.admit(&admission(node, ticket), NOW, &keys(1)).unwrap();
        merge(&mut roster, entries);
    }
    assert_eq!(member(&roster, 5).name, name(&long));
    assert_eq!(member(&roster, 6).name, name(&format!("{}-2", "ä".repeat(31))));
}

#[test]
fn of_two_who_used_one_invitation_at_administrators_out_of_reach_the_first_stays() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::ADMIN);
    let ticket = keys(100);
    invite(&mut roster, keys(1), ticket, Roles::SWITCH);
    let (mut here, mut there) = (roster.clone(), roster);
    let late = here.admit(&admission(4, ticket), NOW + 9, &keys(1)).unwrap();
    merge(&mut here, late);
    let early = there.admit(&admission(5, ticket), NOW + 3, &keys(2)).unwrap();
    merge(&mut there, early);
    let mut both = joined(&here, &there);
    assert_eq!(members(&both), [1, 2, 5]);
    assert_eq!(both.standing(&keys(4).0, NOW), Standing::Outrun);
    // Putting the first one out does not let the second one in.
    revoke(&mut both, keys(1), 5);
    assert_eq!(members(&both), [1, 2]);
}

#[test]
fn those_whom_an_administrator_admitted_stay_when_it_is_put_out_but_are_no_administrators() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::ADMIN);
    admit(&mut roster, keys(2), 3, Roles::ADMIN);
    admit(&mut roster, keys(3), 4, Roles::SWITCH);
    assert_eq!(roster.admitted_by(&keys(2).0, NOW), [keys(3).0]);
    revoke(&mut roster, keys(1), 2);
    assert_eq!(roster.admitted_by(&keys(2).0, NOW), []);
    assert_eq!(members(&roster), [1, 3, 4]);
    // Not as administrators: it may have been put out for whom it let in.
    assert!(!roster.has_authority(&keys(3).0));
    assert_eq!(member(&roster, 3).roles, Roles::FORMER_ADMIN);
    assert_eq!(
        roster.invite(keys(99).0, invitation(Roles::SWITCH), NOW, &keys(3)),
        Err(AuthorError::NotAdmin)
    );
    // What it says now, or pretends to have said before, does not count.
    let mut its_own = founded();
    admit(&mut its_own, keys(1), 2, Roles::ADMIN);
    admit(&mut its_own, keys(2), 66, Roles::ADMIN);
    admit(&mut its_own, keys(2), 3, Roles::SWITCH);
    revoke(&mut its_own, keys(2), 3);
    assert_eq!(members(&joined(&roster, &its_own)), [1, 3, 4]);
}

#[test]
fn the_only_administrator_cannot_put_itself_out() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::SWITCH);
    assert_eq!(roster.revoke(keys(1).0, false, NOW, &keys(1)), Err(AuthorError::LastAdmin));
    assert_eq!(roster.revoke(keys(9).0, false, NOW, &keys(1)), Err(AuthorError::NotMember));
    assert_eq!(roster.revoke(keys(1).0, false, NOW, &keys(2)), Err(AuthorError::NotAdmin));
}

#[test]
fn a_roster_holds_so_many_and_no_more() {
    let mut roster = founded();
    for number in 0..2 * mesh::roster::MAX_INVITES_OF_SIGNER as u64 {
        let entry = roster.invite(keys(5000 + number).0, invitation(Roles::SWITCH), NOW, &keys(1));
        let merged = merge(&mut roster, vec![entry.unwrap()]);
        let room = number < mesh::roster::MAX_INVITES_OF_SIGNER as u64;
        assert_eq!((merged.taken.len(), merged.no_room.len()), if room { (1, 0) } else { (0, 1) });
    }
    // A week after their end they are forgotten, and take no room.
    roster.forget_old_invitations(NOW + 9 * DAY);
    assert_eq!(roster.invites().count(), 0);
    assert_eq!(roster.invitation(&keys(5000).0, NOW), InvitationState::Unknown);
}
