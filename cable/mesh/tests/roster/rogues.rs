//! What administrators did who are administrators no more, and what those attempt who have gone bad.

use mesh::roster::{
    AuthorError, Entry, Invitation, Membership, Revocation, Roles, Roster, Sealer as _, Standing,
    Statement, Succession, consent_octets,
};

use crate::lab::{
    Anyone, DAY, InvitationState, Keys, NOW, admission, admit, founded, invitation, invite, keys,
    member, members, merge, name, revoke,
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

/// What somebody signs whose own program would refuse to.
fn forced(roster: &mut Roster, by: Keys, subject: u64, serial: u64, statement: Statement) {
    let entry = Entry::sign(roster.founding(), keys(subject).0, serial, statement, &by);
    merge(roster, vec![entry]);
}

fn out() -> Statement {
    Statement::Revoked(Revocation { name: name("x"), was_admin: true, joined: NOW, invite: None })
}

#[test]
fn no_administrator_puts_out_the_founder_or_an_equal() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::ADMIN);
    admit(&mut roster, keys(1), 3, Roles::ADMIN);
    for above in [1, 3] {
        let refused = roster.revoke(keys(above).0, false, NOW, &keys(2));
        assert_eq!(refused, Err(AuthorError::Outranked));
        forced(&mut roster, keys(2), above, 1 << 40, out());
    }
    assert_eq!(members(&roster), [1, 2, 3]);
    revoke(&mut roster, keys(1), 2);
    assert_eq!(members(&roster), [1, 3]);
}

#[test]
fn an_administrator_may_put_itself_out() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::ADMIN);
    revoke(&mut roster, keys(2), 2);
    assert_eq!(members(&roster), [1]);
}

#[test]
fn an_administrators_old_key_is_no_way_to_put_out_its_new_one() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::ADMIN);
    admit(&mut roster, keys(1), 3, Roles::ADMIN);
    let last = roster.retire(&keys(3), &keys(33));
    merge(&mut roster, last);
    forced(&mut roster, keys(2), 3, 1 << 40, out());
    forced(&mut roster, keys(2), 33, 1 << 40, out());
    assert_eq!(members(&roster), [1, 2, 33]);
    assert!(roster.is_admin(&keys(33).0, NOW));
}

#[test]
fn nobody_outruns_an_administrator_with_an_invitation_of_long_ago() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::ADMIN);
    admit(&mut roster, keys(1), 3, Roles::ADMIN);
    let claim = Membership { joined: 0, ..member(&roster, 3) };
    let claim = Membership { roles: Roles::SWITCH, ..claim };
    forced(&mut roster, keys(2), 66, 1, Statement::Member(claim));
    assert_eq!(members(&roster), [1, 2, 3]);
    assert!(roster.is_admin(&keys(3).0, NOW));
}

/// What a holder of `old` says of a key to follow it.
fn claim(roster: &Roster, old: u64, to: u64, retired: bool, serial: u64) -> Entry {
    let consent = keys(to).seal(&consent_octets(roster.founding(), &keys(old).0, &keys(to).0));
    let succession = Succession { to: keys(to).0, retired, consent };
    Entry::sign(
        roster.founding(),
        keys(old).0,
        serial,
        Statement::Succeeded(succession),
        &keys(old),
    )
}

#[test]
fn whoever_finds_a_key_that_is_done_with_does_nothing_with_it() {
    for old in [1, 2, 3] {
        let new = 11 * old;
        let mut roster = founded();
        admit(&mut roster, keys(1), 2, Roles::ADMIN);
        admit(&mut roster, keys(2), 3, Roles::SWITCH);
        let last = roster.retire(&keys(old), &keys(new));
        merge(&mut roster, last);
        let before: Vec<_> = roster.standings(NOW).collect();
        for (to, retired) in [(66, true), (new, false), (67, false)] {
            let theft = claim(&roster, old, to, retired, 1 << 40);
            merge(&mut roster, vec![theft]);
        }
        assert_eq!(roster.standings(NOW).collect::<Vec<_>>(), before);
        assert!(!roster.has_authority(&keys(66).0) && !roster.has_authority(&keys(old * 11 + 1).0));
        assert_eq!(roster.has_authority(&keys(new).0), old != 3);
    }
}

#[test]
fn no_administrator_says_anything_that_cannot_be_answered() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::ADMIN);
    admit(&mut roster, keys(1), 3, Roles::SWITCH);
    for serial in [u64::MAX, (1 << 63) + 1] {
        let last_word = Entry::sign(roster.founding(), keys(3).0, serial, out(), &keys(2));
        assert!(roster.merge(vec![last_word], NOW, &Anyone).is_err());
    }
    forced(&mut roster, keys(2), 3, 1 << 63, out());
    assert_eq!(members(&roster), [1, 2]);
    revoke(&mut roster, keys(1), 2);
    invite(&mut roster, keys(1), keys(100), Roles::SWITCH);
    let entries = roster.admit(&admission(3, keys(100)), NOW, &keys(1)).unwrap();
    merge(&mut roster, entries);
    assert_eq!(members(&roster), [1, 3]);
}

#[test]
fn what_a_key_says_again_of_the_next_one_is_no_news() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::SWITCH);
    for (retired, first) in [(false, 1), (true, 100)] {
        for serial in first..first + 9 {
            let again = claim(&roster, 2, 22, retired, serial);
            let merged = merge(&mut roster, vec![again]);
            assert_eq!(merged.taken.len(), usize::from(serial == first));
        }
    }
    assert_eq!(members(&roster), [1, 22]);
}

#[test]
fn an_administrator_that_ends_invitations_without_end_leaves_room_for_revocations() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::ADMIN);
    admit(&mut roster, keys(2), 3, Roles::SWITCH);
    for number in 5000..5000 + mesh::roster::MAX_ENTRIES as u64 {
        forced(&mut roster, keys(2), number, 1, Statement::Closed { expires: NOW + DAY });
    }
    revoke(&mut roster, keys(1), 3);
    assert_eq!(members(&roster), [1, 2]);
}

#[test]
fn an_invitation_without_end_is_not_taken() {
    let mut roster = founded();
    for expires in [u64::MAX, NOW + 3 * 366 * DAY] {
        for statement in [
            Statement::Invite(Invitation { expires, ..invitation(Roles::SWITCH) }),
            Statement::Closed { expires },
        ] {
            let entry = Entry::sign(roster.founding(), keys(100).0, 1, statement, &keys(1));
            assert!(merge(&mut roster, vec![entry]).taken.is_empty());
        }
    }
}

#[test]
fn an_administrator_with_all_its_invitations_leaves_room_for_those_of_others() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::ADMIN);
    for number in 0..mesh::roster::MAX_INVITES as u64 {
        let statement = Statement::Invite(invitation(Roles::SWITCH));
        forced(&mut roster, keys(2), 5000 + number, 1, statement);
    }
    admit(&mut roster, keys(1), 3, Roles::SWITCH);
    assert_eq!(members(&roster), [1, 2, 3]);
}

#[test]
fn a_roster_that_rogues_have_filled_is_cleared_by_putting_them_out() {
    let mut roster = founded();
    let rogues = 2..6;
    for rogue in rogues.clone() {
        admit(&mut roster, keys(1), rogue, Roles::ADMIN);
    }
    let junk = |by: u64| -> Vec<Entry> {
        let member = |number: u64| {
            let joined = NOW;
            let roles = Roles::SWITCH;
            let member = Membership { name: name("x"), roles, joined, expires: 0, invite: None };
            let statement = Statement::Member(member);
            Entry::sign(&crate::lab::founding(keys(1)), keys(number).0, 1, statement, &keys(by))
        };
        (10_000..10_000 + mesh::roster::MAX_MEMBERS as u64).map(member).collect()
    };
    for rogue in rogues.clone() {
        merge(&mut roster, junk(rogue));
    }
    let full = roster.entries().count();
    assert!(full > 3800, "{full}");
    // There is none for anybody's invitation but the founder's.
    let refused = roster.invite(keys(100).0, invitation(Roles::SWITCH), NOW, &keys(2)).unwrap();
    assert_eq!(merge(&mut roster, vec![refused]).no_room.len(), 1);
    for rogue in rogues.clone() {
        let said = roster.revoke(keys(rogue).0, false, NOW, &keys(1)).unwrap();
        let merged = merge(&mut roster, said);
        assert!(merged.no_room.is_empty());
        assert_eq!(roster.standing(&keys(rogue).0, NOW), Standing::Revoked);
    }
    // Whom they have let in is the founder's to put out, and there is room to say so.
    for number in 10_000..10_010 {
        revoke(&mut roster, keys(1), number);
        assert_eq!(roster.standing(&keys(number).0, NOW), Standing::Revoked);
    }
}
