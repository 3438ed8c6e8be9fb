//! Whatever administrators do while they do not hear each other: all who hear of it all come to the
//! same result, in whatever order they hear.

use mesh::Roster;
use mesh::roster::{Entry, Roles};
use proptest::prelude::*;

use crate::lab::{NOW, admission, admit, answers, founded, invitation, keys, merge};

/// One thing that one of several replicas does.
#[derive(Debug, Clone)]
enum Step {
    /// An administrator invites.
    Invite { at: usize, by: u64, ticket: u64, admin: bool },
    /// One honours it.
    Admit { at: usize, by: u64, ticket: u64, node: u64 },
    /// One puts somebody out.
    Revoke { at: usize, by: u64, node: u64 },
    /// One takes an invitation back.
    TakeBack { at: usize, by: u64, ticket: u64 },
    /// A node takes another key.
    Rotate { node: u64, to: u64, retire: bool },
    /// One replica hears of all that another one knows.
    Hear { at: usize, from: usize },
}

const REPLICAS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let at = 0..REPLICAS;
    let node = 1_u64..9;
    let ticket = 100_u64..104;
    prop_oneof![
        2 => (at.clone(), node.clone(), ticket.clone(), any::<bool>())
            .prop_map(|(at, by, ticket, admin)| Step::Invite { at, by, ticket, admin }),
        4 => (at.clone(), node.clone(), ticket.clone(), node.clone())
            .prop_map(|(at, by, ticket, node)| Step::Admit { at, by, ticket, node }),
        2 => (at.clone(), node.clone(), node.clone())
            .prop_map(|(at, by, node)| Step::Revoke { at, by, node }),
        1 => (at.clone(), node.clone(), ticket)
            .prop_map(|(at, by, ticket)| Step::TakeBack { at, by, ticket }),
        1 => (node, 20_u64..24, any::<bool>())
            .prop_map(|(node, to, retire)| Step::Rotate { node, to, retire }),
        2 => (at.clone(), at).prop_map(|(at, from)| Step::Hear { at, from }),
    ]
}

fn carry_out(replicas: &mut [Roster], step: &Step) {
    let (at, said) = match *step {
        Step::Invite { at, by, ticket, admin } => {
            let roles = if admin { Roles::ADMIN } else { Roles::SWITCH };
            let said = replicas[at].invite(keys(ticket).0, invitation(roles), NOW, &keys(by));
            (at, said.map(|entry| vec![entry]))
        }
        Step::Admit { at, by, ticket, node } => {
            let newcomer = admission(node, keys(ticket));
            (at, replicas[at].admit(&newcomer, NOW + node, &keys(by)))
        }
        Step::Revoke { at, by, node } => {
            (at, replicas[at].revoke(keys(node).0, false, NOW, &keys(by)))
        }
        Step::TakeBack { at, by, ticket } => {
            (at, replicas[at].take_back(keys(ticket).0, NOW, &keys(by)).map(|entry| vec![entry]))
        }
        Step::Rotate { node, to, retire } => {
            // A node takes its next key at one place: of two last words the first heard counts.
            let at = usize::try_from(node).unwrap() % REPLICAS;
            let said = replicas[at].succeed(&keys(node), &keys(to), NOW);
            let said = said.map(|entry| {
                if retire { replicas[at].retire(&keys(node), &keys(to)) } else { vec![entry] }
            });
            (at, said)
        }
        Step::Hear { at, from } => (at, Ok(replicas[from].entries().cloned().collect())),
    };
    if let Ok(said) = said {
        merge(&mut replicas[at], said);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn all_who_heard_the_same_agree(
        steps in proptest::collection::vec(step(), 1..40),
        shuffle in any::<u64>(),
        chunk in 1_usize..9,
    ) {
        let mut first = founded();
        admit(&mut first, keys(1), 2, Roles::ADMIN);
        let mut replicas = vec![first; REPLICAS];
        for step in &steps {
            carry_out(&mut replicas, step);
        }
        let mut said: Vec<Entry> =
            replicas.iter().flat_map(|replica| replica.entries().cloned()).collect();
        let mut in_turn = replicas[0].clone();
        for replica in &replicas[1..] {
            merge(&mut in_turn, replica.entries_in_order());
        }
        // Another one hears it in any order, and hears it until it knows it.
        let mut state = shuffle | 1;
        for at in (1..said.len()).rev() {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            said.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
        }
        let mut shuffled = founded();
        let mut known = 0;
        loop {
            for chunk in said.chunks(chunk) {
                merge(&mut shuffled, chunk.to_vec());
            }
            if shuffled.entries().count() == known {
                break;
            }
            known = shuffled.entries().count();
        }
        prop_assert_eq!(answers(&in_turn), answers(&shuffled));
        // And whoever gets it in its own order needs to hear it once.
        let mut told = Roster::new(*in_turn.founding());
        let merged = merge(&mut told, in_turn.entries_in_order());
        prop_assert_eq!(merged.unfounded, 0);
        prop_assert_eq!(answers(&told), answers(&in_turn));
        // No invitation has two members, and no member a voice that nobody gave it.
        let mut used: Vec<_> = in_turn.members(NOW).filter_map(|(_, m)| m.invite).collect();
        used.sort_unstable();
        prop_assert!(used.windows(2).all(|pair| pair[0] != pair[1]));
        for (key, member) in in_turn.members(NOW) {
            let is_admin = in_turn.is_admin(&key, NOW);
            prop_assert!(!is_admin || member.roles.contains(Roles::ADMIN));
        }
    }
}
