//! A node takes a new key without leaving.

use mesh::roster::{Roles, Roster, Standing};

use crate::lab::{NOW, admit, founded, joined, keys, member, members, merge, name, revoke};

fn rotate(roster: &mut Roster, old: u64, new: u64) {
    let both = roster.succeed(&keys(old), &keys(new), NOW).unwrap();
    merge(roster, vec![both]);
    assert!(matches!(roster.standing(&keys(old).0, NOW), Standing::Member(_)));
    assert_eq!(roster.standing(&keys(new).0, NOW), Standing::Waiting(keys(old).0));
    let last = roster.retire(&keys(old), &keys(new));
    merge(roster, last);
}

#[test]
fn the_new_key_is_what_the_old_one_was_and_the_old_one_is_refused() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::GATEWAY);
    rotate(&mut roster, 2, 22);
    assert_eq!(members(&roster), [1, 22]);
    assert_eq!(roster.standing(&keys(2).0, NOW), Standing::Replaced(keys(22).0));
    assert_eq!(roster.latest_key(&keys(2).0), keys(22).0);
    let after = member(&roster, 22);
    assert_eq!((after.name, after.roles), (name("n2"), Roles::GATEWAY));
}

#[test]
fn an_administrator_and_the_founder_stay_what_they_are() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::ADMIN);
    admit(&mut roster, keys(2), 3, Roles::SWITCH);
    rotate(&mut roster, 2, 22);
    rotate(&mut roster, 1, 11);
    assert_eq!(members(&roster), [3, 11, 22]);
    assert!(roster.is_admin(&keys(11).0, NOW) && roster.is_admin(&keys(22).0, NOW));
    admit(&mut roster, keys(11), 4, Roles::SWITCH);
    admit(&mut roster, keys(22), 5, Roles::SWITCH);
    rotate(&mut roster, 22, 222);
    assert_eq!(members(&roster), [3, 4, 5, 11, 222]);
    // Whoever finds the old key has no voice with it.
    let mut thief = founded();
    admit(&mut thief, keys(1), 66, Roles::ADMIN);
    assert_eq!(members(&joined(&roster, &thief)), [3, 4, 5, 11, 222]);
}

#[test]
fn who_is_put_out_is_so_with_all_its_keys() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::SWITCH);
    rotate(&mut roster, 2, 22);
    let mut thief = roster.clone();
    revoke(&mut roster, keys(1), 22);
    assert_eq!(members(&roster), [1]);
    // The old key was stolen and names another heir.
    let stolen = thief.retire(&keys(2), &keys(66));
    merge(&mut thief, stolen);
    assert_eq!(members(&joined(&roster, &thief)), [1]);
}

#[test]
fn a_key_that_was_put_out_has_no_heir() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::SWITCH);
    revoke(&mut roster, keys(1), 2);
    assert!(roster.succeed(&keys(2), &keys(22), NOW).is_err());
    let forced = roster.retire(&keys(2), &keys(22));
    merge(&mut roster, forced);
    assert_eq!(members(&roster), [1]);
}
