//! Rosters that are long or full, keys that follow each other often, and in which order all of that is
//! told.

use mesh::roster::{
    AuthorError, Entry, MAX_ENTRIES, Membership, Roles, Roster, Standing, Statement,
};

use crate::lab::{
    Anyone, Keys, NOW, admission, admit, founded, founding, invite, keys, member, members, merge,
    name, number, revoke,
};

/// As many entries as a message holds.
const PART: usize = 128;

/// That a key is a member, by somebody's word.
fn admitted(by: Keys, node: u64, roles: Roles) -> Entry {
    let name = name(&format!("n{node}"));
    let member = Membership { name, roles, joined: NOW, expires: 0, invite: None };
    Entry::sign(&founding(keys(1)), keys(node).0, 1, Statement::Member(member), &by)
}

/// The holder of a key takes the next one.
fn take_next(roster: &mut Roster, from: u64, to: u64) {
    let said = roster.succeed(&keys(from), &keys(to), NOW).unwrap();
    merge(roster, vec![said]);
    let said = roster.retire(&keys(from), &keys(to));
    merge(roster, said);
}

/// Four administrators that the founder has made have filled the roster with members.
fn filled() -> Roster {
    let mut roster = founded();
    for rogue in 2..6 {
        admit(&mut roster, keys(1), rogue, Roles::ADMIN);
    }
    for rogue in 2..6 {
        let crowd = (10_000..11_024).map(|node| admitted(keys(rogue), node, Roles::SWITCH));
        merge(&mut roster, crowd.collect());
    }
    assert!(roster.entries().count() > MAX_ENTRIES - PART * 3, "{}", roster.entries().count());
    roster
}

#[test]
fn a_founder_takes_new_keys_for_ever_and_keeps_its_mesh_when_a_roster_is_cleared() {
    let mut roster = founded();
    for rogue in 2..6 {
        admit(&mut roster, keys(1), rogue, Roles::ADMIN);
    }
    // Not in the order of their numbers, which is that of the entries.
    let line = [1, 90, 20, 80, 30, 70, 40, 60];
    for pair in line.windows(2) {
        take_next(&mut roster, pair[0], pair[1]);
    }
    let root = keys(60);
    for rogue in 2..6 {
        let crowd = (10_000..11_024).map(|node| admitted(keys(rogue), node, Roles::SWITCH));
        merge(&mut roster, crowd.collect());
    }
    let before = roster.entries().count();
    for rogue in 2..6 {
        revoke(&mut roster, root, rogue);
    }
    invite(&mut roster, root, keys(100), Roles::SWITCH);
    assert!(roster.entries().count() < before, "those without a voice gave way");
    assert!(roster.is_admin(&root.0, NOW));
    let mut reloaded = Roster::new(founding(keys(1)));
    merge(&mut reloaded, roster.entries().cloned().collect());
    assert!(reloaded.is_admin(&root.0, NOW));
    assert_eq!(reloaded.entries().count(), roster.entries().count());
}

#[test]
fn a_member_may_take_four_keys_and_as_many_again_once_an_administrator_has_said_so() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::SWITCH);
    for from in 2..6 {
        take_next(&mut roster, from, from + 1);
    }
    assert_eq!(roster.succeed(&keys(6), &keys(7), NOW), Err(AuthorError::TooManyKeys));
    assert_eq!(members(&roster), [1, 6], "it is a member still");
    invite(&mut roster, keys(1), keys(100), Roles::SWITCH);
    let said = roster.admit(&admission(6, keys(100)), NOW, &keys(1)).unwrap();
    merge(&mut roster, said);
    for from in 6..10 {
        take_next(&mut roster, from, from + 1);
    }
    assert_eq!(members(&roster), [1, 10]);
}

#[test]
fn a_line_of_keys_counts_in_whatever_order_it_and_an_administrators_word_are_heard() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::SWITCH);
    for from in 2..4 {
        take_next(&mut roster, from, from + 1);
    }
    invite(&mut roster, keys(1), keys(100), Roles::SWITCH);
    let said = roster.admit(&admission(4, keys(100)), NOW, &keys(1)).unwrap();
    merge(&mut roster, said);
    for from in 4..8 {
        take_next(&mut roster, from, from + 1);
    }
    assert_eq!(members(&roster), [1, 8]);
    let entries: Vec<_> = roster.entries().cloned().collect();
    let is_confirmation = |entry: &Entry| {
        entry.subject == keys(4).0 && matches!(entry.statement, Statement::Member(_))
    };
    let (last, first): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(is_confirmation);
    let backwards = entries.iter().rev().cloned().collect();
    for heard in [entries.clone(), backwards, [first.clone(), last.clone()].concat()] {
        let mut other = Roster::new(founding(keys(1)));
        assert_eq!(merge(&mut other, heard).unfounded, 0);
        assert_eq!(members(&other), [1, 8]);
    }
    // Or bit by bit, as they are gossiped.
    let mut other = Roster::new(founding(keys(1)));
    for part in [first, last, entries] {
        merge(&mut other, part);
    }
    assert_eq!(members(&other), [1, 8]);
}

#[test]
fn whoever_names_too_many_keys_makes_nobody_go_through_the_whole_roster() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::ADMIN);
    admit(&mut roster, keys(1), 3, Roles::SWITCH);
    merge(&mut roster, vec![admitted(keys(2), 4, Roles::SWITCH)]);
    revoke(&mut roster, keys(1), 2);
    let before = roster.entries().count();
    for next in 30..34 {
        let said = roster.succeed(&keys(3), &keys(next), NOW).unwrap();
        merge(&mut roster, vec![said]);
    }
    let one_more = roster.succeed(&keys(3), &keys(34), NOW).unwrap();
    assert_eq!(merge(&mut roster, vec![one_more]).no_room.len(), 1);
    // What has no voice would have been forgotten on the way.
    assert_eq!(roster.entries().count(), before + 4);
}

#[test]
fn who_stays_is_told_to_stay_before_the_administrator_goes() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::ADMIN);
    merge(&mut roster, vec![admitted(keys(2), 3, Roles::ADMIN)]);
    let crowd = 10_000..10_000 + 3 * PART as u64;
    merge(&mut roster, crowd.clone().map(|n| admitted(keys(2), n, Roles::SWITCH)).collect());
    merge(&mut roster, vec![admitted(keys(3), 4, Roles::SWITCH)]);
    let staying: Vec<_> = members(&roster).into_iter().filter(|node| *node != 2).collect();
    let (mut neighbour, mut absent) = (roster.clone(), roster.clone());

    let said = roster.revoke(keys(2).0, false, NOW, &keys(1)).unwrap();
    assert!(said.len() > 3 * PART);
    merge(&mut roster, said.clone());
    let whole = roster.entries_in_order();
    for (who, told) in [(&mut neighbour, &said), (&mut absent, &whole)] {
        for part in told.chunks(PART) {
            merge(who, part.to_vec());
            let there = members(who);
            let gone: Vec<_> = staying.iter().filter(|node| !there.contains(node)).collect();
            assert!(gone.is_empty(), "{} are out for a while", gone.len());
        }
        assert_eq!(who.standing(&keys(2).0, NOW), Standing::Revoked);
        assert!(!who.has_authority(&keys(3).0), "its word is not known to be good");
    }
    // Nor does anybody wait for what comes later.
    let mut newcomer = Roster::new(founding(keys(1)));
    for part in whole.chunks(PART) {
        assert_eq!(merge(&mut newcomer, part.to_vec()).unfounded, 0);
    }
    assert_eq!(members(&newcomer), staying);
}

#[test]
fn a_member_that_names_an_administrators_key_is_put_out_all_the_same() {
    let mut roster = founded();
    for admin in [2, 3] {
        admit(&mut roster, keys(1), admin, Roles::ADMIN);
    }
    admit(&mut roster, keys(1), 4, Roles::SWITCH);
    let said = roster.succeed(&keys(4), &keys(3), NOW).unwrap();
    merge(&mut roster, vec![said]);
    revoke(&mut roster, keys(2), 4);
    assert_eq!(members(&roster), [1, 2, 3]);
}

#[test]
fn whom_a_rogue_let_in_goes_with_it_if_so_wanted_and_leaves_its_place_to_others() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::ADMIN);
    admit(&mut roster, keys(1), 3, Roles::SWITCH);
    merge(&mut roster, vec![admitted(keys(2), 4, Roles::ADMIN)]);
    let crowd = 10_000..11_100;
    for by in [2, 4] {
        let said = crowd.clone().map(|node| admitted(keys(by), node, Roles::SWITCH));
        merge(&mut roster, said.collect());
    }
    let ticket = keys(500);
    invite(&mut roster, keys(1), ticket, Roles::SWITCH);
    let said = roster.admit(&admission(5, ticket), NOW, &keys(1)).unwrap();
    assert_eq!(merge(&mut roster, said.clone()).no_room.len(), 1, "all places are taken");

    let out = roster.revoke(keys(2).0, true, NOW, &keys(1)).unwrap();
    assert_eq!(out.len(), 1, "nothing is to be said of those who go");
    merge(&mut roster, out);
    assert_eq!(members(&roster), [1, 3]);
    let ticket = keys(501);
    invite(&mut roster, keys(1), ticket, Roles::SWITCH);
    let said = roster.admit(&admission(5, ticket), NOW, &keys(1)).unwrap();
    merge(&mut roster, said);
    assert_eq!(members(&roster), [1, 3, 5]);
}

#[test]
fn the_founder_puts_out_whoever_has_filled_the_roster_whoever_let_it_in() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::ADMIN);
    let rogues = 3..7;
    let made = rogues.clone().map(|rogue| admitted(keys(2), rogue, Roles::ADMIN));
    merge(&mut roster, made.collect());
    for rogue in rogues.clone() {
        let crowd = (10_000..11_024).map(|node| admitted(keys(rogue), node, Roles::SWITCH));
        merge(&mut roster, crowd.collect());
    }
    for rogue in rogues {
        let said = roster.revoke(keys(rogue).0, true, NOW, &keys(1)).unwrap();
        assert!(merge(&mut roster, said).no_room.is_empty(), "{rogue}");
        assert_eq!(roster.standing(&keys(rogue).0, NOW), Standing::Revoked);
    }
    assert_eq!(member(&roster, 2).name, name("n2"));
    assert!(members(&roster).len() < 5);
}

#[test]
fn what_is_told_in_order_is_taken_in_one_go_and_is_all_there_is() {
    let mut roster = filled();
    revoke(&mut roster, keys(1), 3);
    let told = roster.entries_in_order();
    assert_eq!(told.len(), roster.entries().count());
    let mut other = Roster::new(founding(keys(1)));
    let merged = other.merge(told, NOW, &Anyone).unwrap();
    assert_eq!((merged.unfounded, merged.no_room.len()), (0, 0));
    let standings = |roster: &Roster| roster.standings(NOW).collect::<Vec<_>>();
    assert_eq!(standings(&other), standings(&roster));
    assert_eq!(number(&keys(7).0), 7);
}
