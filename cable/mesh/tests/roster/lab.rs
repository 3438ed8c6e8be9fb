//! Administrators with keys that sign by a sum that everybody can work out: enough to tell an entry
//! from one that was tampered with.

use mesh::authority::Signature;
use mesh::message::Name;
use mesh::roster::{
    Admission, Checker, Entry, Founding, Invitation, Membership, Merged, Roles, Roster, Sealer,
    Standing,
};
use mesh::{NodeKey, roster};

/// Some time.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const DAY: u64 = 86_400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keys(pub(crate) NodeKey);

pub(crate) struct Anyone;

fn sum(key: &NodeKey, octets: &[u8]) -> Signature {
    let mut lanes = [0x6a09_e667_f3bc_c908_u64; 8];
    for (at, octet) in key.0.iter().chain(octets).enumerate() {
        let lane = &mut lanes[at % 8];
        *lane = (*lane ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }
    let all = lanes.iter().fold(0_u64, |sum, lane| sum.rotate_left(7) ^ lane);
    let mut signature = [0; 64];
    for (out, lane) in signature.chunks_mut(8).zip(lanes) {
        out.copy_from_slice(&(lane ^ all).to_be_bytes());
    }
    Signature(signature)
}

impl Sealer for Keys {
    fn key(&self) -> NodeKey {
        self.0
    }

    fn seal(&self, octets: &[u8]) -> Signature {
        sum(&self.0, octets)
    }
}

impl Checker for Anyone {
    fn is_signed_by(&self, key: &NodeKey, octets: &[u8], signature: &Signature) -> bool {
        sum(key, octets) == *signature
    }
}

/// A key that is told by its number.
pub(crate) fn keys(number: u64) -> Keys {
    let mut octets = [0; 32];
    octets[24..].copy_from_slice(&number.to_be_bytes());
    Keys(NodeKey(octets))
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn founding(of: Keys) -> Founding {
    Founding { founder: of.0, nonce: [7; 16] }
}

/// The founder, node 1, alone.
pub(crate) fn founded() -> Roster {
    let founding = founding(keys(1));
    let mut roster = Roster::new(founding);
    let first = Roster::found(founding, name("n1"), NOW, &keys(1));
    merge(&mut roster, vec![first]);
    roster
}

pub(crate) fn merge(roster: &mut Roster, entries: Vec<Entry>) -> Merged {
    roster.merge(entries, NOW, &Anyone).unwrap()
}

/// What an invitation allows, for a day.
pub(crate) fn invitation(roles: Roles) -> Invitation {
    Invitation { name: Name::default(), roles, expires: NOW + DAY, lasts: 0 }
}

/// `by` invites with the key of the number, and it is taken into the roster.
pub(crate) fn invite(roster: &mut Roster, by: Keys, invite: Keys, roles: Roles) {
    let entry = roster.invite(invite.0, invitation(roles), NOW, &by).unwrap();
    merge(roster, vec![entry]);
}

pub(crate) fn admission(node: u64, invite: Keys) -> Admission {
    Admission { key: keys(node).0, name: name(&format!("n{node}")), invite: invite.0 }
}

/// `by` invites a node and admits it, by an invitation of its own.
pub(crate) fn admit(roster: &mut Roster, by: Keys, node: u64, roles: Roles) -> Vec<Entry> {
    let ticket = keys(1000 + node);
    invite(roster, by, ticket, roles);
    let entries = roster.admit(&admission(node, ticket), NOW, &by).unwrap();
    merge(roster, entries.clone());
    entries
}

pub(crate) fn revoke(roster: &mut Roster, by: Keys, node: u64) {
    let entries = roster.revoke(keys(node).0, false, NOW, &by).unwrap();
    merge(roster, entries);
}

/// The numbers of those who are members.
pub(crate) fn members(roster: &Roster) -> Vec<u64> {
    roster.members(NOW).map(|(key, _)| number(&key)).collect()
}

pub(crate) fn number(key: &NodeKey) -> u64 {
    u64::from_be_bytes(key.0[24..].try_into().unwrap())
}

pub(crate) fn member(roster: &Roster, node: u64) -> Membership {
    match roster.standing(&keys(node).0, NOW) {
        Standing::Member(member) => member,
        other => panic!("{node} is {other:?}"),
    }
}

/// Everything that a roster answers.
pub(crate) fn answers(roster: &Roster) -> (Vec<(NodeKey, Standing)>, Vec<Entry>) {
    (roster.standings(NOW).collect(), roster.entries().cloned().collect())
}

/// What two rosters know together.
pub(crate) fn joined(a: &Roster, b: &Roster) -> Roster {
    let mut both = a.clone();
    merge(&mut both, b.entries().cloned().collect());
    both
}

pub(crate) fn is_unfounded(roster: &mut Roster, entry: Entry) -> bool {
    let merged = merge(roster, vec![entry]);
    merged.taken.is_empty() && merged.unfounded == 1
}

pub(crate) use roster::InvitationState;
