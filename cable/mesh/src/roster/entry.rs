//! What an administrator says about one key, signed: the octets, what is signed, which entry
//! replaces which. Leaves to the [roster](super) whose word counts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::authority::{NodeKey, Signature};
use crate::message::Name;

/// What is signed begins with this, so that no other signature of the same key fits.
const DOMAIN: &[u8] = b"vdecable roster 1\0";

/// The same for the new key's consent to follow an old one.
const CONSENT_DOMAIN: &[u8] = b"vdecable succession 1\0";

/// The highest serial. Honest ones count up from 1, and never come near.
pub(super) const MAX_SERIAL: u64 = 1 << 63;

/// The beginning of a mesh: the node that founded it, and a number that it drew for the occasion.
/// Two meshes that one key founds are two meshes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Founding {
    /// The founder's key at that time: the root of all authority in the mesh.
    pub founder: NodeKey,
    /// Random.
    pub nonce: [u8; 16],
}

/// What a member may do beside carrying frames. Bits without a name are carried and mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roles(pub u8);

impl Roles {
    /// A switch: carries frames, as every member does.
    pub const SWITCH: Self = Self(0);

    /// May be the way out of the mesh.
    pub const GATEWAY: Self = Self(1 << 0);

    /// May invite and revoke.
    pub const ADMIN: Self = Self(1 << 1);

    /// May not any more: what it signed is then still known, though it counts no more.
    pub const FORMER_ADMIN: Self = Self(1 << 7);

    /// Whether all of `other` are in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What either set holds.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Their names; `switch` when there is no other.
    pub fn names(self) -> Vec<&'static str> {
        let named = [(Self::ADMIN, "admin"), (Self::GATEWAY, "gateway")];
        let names: Vec<_> =
            named.iter().filter(|(role, _)| self.contains(*role)).map(|(_, name)| *name).collect();
        if names.is_empty() { vec!["switch"] } else { names }
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(", "))
    }
}

/// A member, as it was admitted. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// What all nodes call it.
    pub name: Name,
    /// What it may do.
    pub roles: Roles,
    /// When it joined.
    pub joined: u64,
    /// When its membership ends; 0: never.
    pub expires: u64,
    /// The invitation that it came with.
    pub invite: Option<NodeKey>,
}

/// A key that is not a member any more, with what must be remembered of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// What it was called.
    pub name: Name,
    /// Whether it was an administrator: what it signed is then still known, though it counts no more.
    pub was_admin: bool,
    /// When it joined.
    pub joined: u64,
    /// The invitation that it came with, which stays used up.
    pub invite: Option<NodeKey>,
}

/// An invitation. Whoever can sign with its key may become a member, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// What the new member will be called; empty: as it calls itself.
    pub name: Name,
    /// What it will be allowed to do.
    pub roles: Roles,
    /// Until when it can be used, in seconds since 1970.
    pub expires: u64,
    /// For how many seconds the membership will last; 0: for ever.
    pub lasts: u64,
}

/// What an entry says about its subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Statement {
    /// It is a member.
    Member(Membership),
    /// It is not, or not any more.
    Revoked(Revocation),
    /// It is the key of an invitation.
    Invite(Invitation),
    /// It is that of an invitation that was used or taken back. Remembered until the time given.
    Closed {
        /// As [`Invitation::expires`].
        expires: u64,
    },
    /// Its holder takes another key. The only statement that a node makes about itself without
    /// being an administrator.
    Succeeded(Succession),
}

/// The step from one key of a node to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Succession {
    /// The new key, which is a member as the old one is.
    pub to: NodeKey,
    /// Whether the old key is done with. Until then both are good.
    pub retired: bool,
    /// The new key's own word that it follows the old one, so that nobody claims another's key.
    pub consent: Signature,
}

/// What kind of statement it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// What the subject is.
    Standing,
    /// What follows it.
    Succession,
}

/// One entry is kept for each of these: the subject; who says what it is, or which key follows it.
pub type Place = (NodeKey, NodeKey, Class);

/// A signed statement about one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The key that it is about.
    pub subject: NodeKey,
    /// Of several entries about one subject the one with the highest serial counts.
    pub serial: u64,
    /// What it says.
    pub statement: Statement,
    /// Who says so.
    pub signer: NodeKey,
    /// Over the founding of the mesh and all of the above.
    pub signature: Signature,
}

/// Signs with one key.
pub trait Sealer {
    /// The public half.
    fn key(&self) -> NodeKey;

    /// Signs.
    fn seal(&self, octets: &[u8]) -> Signature;
}

/// Checks what others signed.
pub trait Checker {
    /// Whether that key signed these octets.
    fn is_signed_by(&self, key: &NodeKey, octets: &[u8], signature: &Signature) -> bool;
}

impl Entry {
    /// Makes and signs one.
    pub fn sign(
        founding: &Founding,
        subject: NodeKey,
        serial: u64,
        statement: Statement,
        sealer: &impl Sealer,
    ) -> Self {
        let (signer, signature) = (sealer.key(), Signature([0; 64]));
        let mut entry = Self { subject, serial, statement, signer, signature };
        entry.signature = sealer.seal(&entry.signed_octets(founding));
        entry
    }

    /// Whether its signer made it, for this mesh, and the key that follows another agreed.
    pub fn is_authentic(&self, founding: &Founding, checker: &impl Checker) -> bool {
        if let Statement::Succeeded(Succession { to, consent, .. }) = &self.statement {
            let octets = consent_octets(founding, &self.subject, to);
            if !checker.is_signed_by(to, &octets, consent) {
                return false;
            }
        }
        checker.is_signed_by(&self.signer, &self.signed_octets(founding), &self.signature)
    }

    /// Whether it can be honest at all.
    pub(super) fn is_plausible(&self) -> bool {
        if self.serial > MAX_SERIAL {
            return false;
        }
        match &self.statement {
            Statement::Succeeded(succession) => {
                self.signer == self.subject && succession.to != self.subject
            }
            Statement::Invite(invitation) => invitation.expires != 0,
            Statement::Closed { .. } | Statement::Member(_) | Statement::Revoked(_) => true,
        }
    }

    /// Where it is kept.
    pub fn place(&self) -> Place {
        match &self.statement {
            Statement::Succeeded(succession) => (self.subject, succession.to, Class::Succession),
            _ => (self.subject, self.signer, Class::Standing),
        }
    }

    /// Which of several entries about one subject counts: the highest serial; of equal ones that
    /// which ends something; then that with the higher signature, so that all nodes agree. Before
    /// all else, a key that is done with is so for good, whatever serial its finder thinks of.
    pub(super) fn rank(&self) -> (bool, u64, bool, &Signature) {
        let ends = matches!(self.statement, Statement::Revoked(_) | Statement::Closed { .. });
        (self.retires(), self.serial, ends, &self.signature)
    }

    /// Whether it is the last word of a key's holder with that key.
    pub(super) fn retires(&self) -> bool {
        matches!(&self.statement, Statement::Succeeded(succession) if succession.retired)
    }

    /// Whether a node says again of its own next key what it has said. It needs nobody's leave to
    /// say so, and all nodes work, write and pass on whenever there is news.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        match (&self.statement, &other.statement) {
            (Statement::Succeeded(one), Statement::Succeeded(other)) => {
                (one.to, one.retired) == (other.to, other.retired)
            }
            _ => false,
        }
    }

    fn signed_octets(&self, founding: &Founding) -> Vec<u8> {
        let fields = (founding, &self.subject, self.serial, &self.statement, &self.signer);
        postcard::to_extend(&fields, DOMAIN.to_vec()).expect("a vector takes everything")
    }
}

/// What a key signs that is to follow another.
pub fn consent_octets(founding: &Founding, old: &NodeKey, new: &NodeKey) -> Vec<u8> {
    postcard::to_extend(&(founding, old, new), CONSENT_DOMAIN.to_vec())
        .expect("a vector takes everything")
}
