//! What those say whose word does not count, and what was tampered with.

use mesh::authority::Signature;
use mesh::roster::{
    Entry, Founding, Membership, Roles, Roster, Sealer as _, Standing, Statement, Succession,
    consent_octets,
};

use crate::lab::{
    Anyone, NOW, admit, answers, founded, founding, is_unfounded, keys, members, merge, name,
};

fn membership(roles: Roles) -> Statement {
    Statement::Member(Membership { name: name("x"), roles, joined: NOW, expires: 0, invite: None })
}

#[test]
fn a_member_that_is_no_administrator_admits_nobody_and_puts_nobody_out() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::GATEWAY);
    let before = answers(&roster);
    for serial in [1, u64::MAX] {
        for (subject, roles) in [(2, Roles::ADMIN), (9, Roles::SWITCH)] {
            let entry = Entry::sign(
                roster.founding(),
                keys(subject).0,
                serial,
                membership(roles),
                &keys(2),
            );
            assert!(is_unfounded(&mut roster, entry));
        }
    }
    assert_eq!(answers(&roster), before);
    // Not even together: a stranger whom it calls an administrator vouches for nobody.
    let stranger = Entry::sign(roster.founding(), keys(9).0, 1, membership(Roles::ADMIN), &keys(2));
    let mutual = Entry::sign(roster.founding(), keys(2).0, 9, membership(Roles::ADMIN), &keys(9));
    assert_eq!(merge(&mut roster, vec![stranger, mutual]).unfounded, 2);
    assert_eq!(answers(&roster), before);
}

#[test]
fn an_entry_counts_in_its_own_mesh_only_and_as_it_was_signed() {
    let mut roster = founded();
    let other_mesh = Founding { nonce: [8; 16], ..founding(keys(1)) };
    let elsewhere = Entry::sign(&other_mesh, keys(2).0, 1, membership(Roles::ADMIN), &keys(1));
    assert!(roster.merge(vec![elsewhere], NOW, &Anyone).is_err());
    let good = Entry::sign(roster.founding(), keys(2).0, 1, membership(Roles::SWITCH), &keys(1));
    let mut raised = good.clone();
    raised.statement = membership(Roles::ADMIN);
    let mut later = good.clone();
    later.serial = 2;
    let mut other = good.clone();
    other.subject = keys(3).0;
    let mut sealed = good.clone();
    sealed.signature = Signature([1; 64]);
    for forged in [raised, later, other, sealed] {
        assert!(roster.merge(vec![forged.clone()], NOW, &Anyone).is_err(), "{forged:?}");
    }
    assert_eq!(members(&roster), [1]);
    merge(&mut roster, vec![good]);
    assert_eq!(members(&roster), [1, 2]);
}

#[test]
fn nobody_claims_a_key_that_does_not_agree() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::SWITCH);
    let founding = *roster.founding();
    let claim = |to: u64, consent| {
        let succession = Succession { to: keys(to).0, retired: true, consent };
        Entry::sign(&founding, keys(2).0, 9, Statement::Succeeded(succession), &keys(2))
    };
    assert!(roster.merge(vec![claim(1, Signature([0; 64]))], NOW, &Anyone).is_err());
    // Consent to follow another key is none to follow this one.
    let elsewhere = keys(8).seal(&consent_octets(&founding, &keys(3).0, &keys(8).0));
    assert!(roster.merge(vec![claim(8, elsewhere)], NOW, &Anyone).is_err());
    // Nobody speaks for another.
    let consent = keys(8).seal(&consent_octets(&founding, &keys(1).0, &keys(8).0));
    let succession = Succession { to: keys(8).0, retired: true, consent };
    let for_another =
        Entry::sign(&founding, keys(1).0, 9, Statement::Succeeded(succession), &keys(2));
    assert!(roster.merge(vec![for_another], NOW, &Anyone).is_err());
    assert_eq!(members(&roster), [1, 2]);
}

#[test]
fn a_line_of_keys_that_nobody_confirms_ends() {
    for retired in [true, false] {
        let mut roster = founded();
        admit(&mut roster, keys(1), 2, Roles::SWITCH);
        for step in 0..10 {
            let (old, new) = (keys(200 + step), keys(201 + step));
            let old = if step == 0 { keys(2) } else { old };
            let consent = new.seal(&consent_octets(roster.founding(), &old.0, &new.0));
            let succession = Succession { to: new.0, retired, consent };
            let statement = Statement::Succeeded(succession);
            let entry = Entry::sign(roster.founding(), old.0, 1, statement, &old);
            merge(&mut roster, vec![entry]);
        }
        assert_eq!(members(&roster), if retired { [1, 204] } else { [1, 2] });
        let is_succession = |entry: &&Entry| matches!(entry.statement, Statement::Succeeded(_));
        assert_eq!(roster.entries().filter(is_succession).count(), if retired { 4 } else { 1 });
    }
}

#[test]
fn a_member_has_one_key_however_many_it_names() {
    let mut roster = founded();
    admit(&mut roster, keys(1), 2, Roles::SWITCH);
    for (serial, to) in (1..).zip(20..30) {
        let consent = keys(to).seal(&consent_octets(roster.founding(), &keys(2).0, &keys(to).0));
        let succession = Succession { to: keys(to).0, retired: false, consent };
        let statement = Statement::Succeeded(succession);
        let entry = Entry::sign(roster.founding(), keys(2).0, serial, statement, &keys(2));
        merge(&mut roster, vec![entry]);
    }
    assert_eq!(members(&roster), [1, 2]);
    let waiting = roster.standings(NOW).filter(|(_, s)| matches!(s, Standing::Waiting(_)));
    assert_eq!(waiting.count(), 1);
}

#[test]
fn a_roster_that_begins_with_another_founder_has_nothing_to_say_here() {
    let mut roster = founded();
    let mut other = Roster::new(founding(keys(5)));
    let first = Roster::found(founding(keys(5)), name("five"), NOW, &keys(5));
    merge(&mut other, vec![first]);
    admit(&mut other, keys(5), 6, Roles::ADMIN);
    let merged = merge(&mut roster, other.entries().cloned().collect());
    assert!(merged.taken.is_empty());
    assert_eq!(roster.standing(&keys(6).0, NOW), Standing::Unknown);
}
