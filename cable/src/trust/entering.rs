//! Entering another mesh: what a newcomer must be shown before it believes that it was let in, and by
//! whom.
//!
//! The invitation names the mesh, and the administrator that made it. Whoever answers at one of its
//! addresses may be another administrator, or have been one: all it has to show is a roster, and an old
//! one is as well signed as a new one. So it must also show the inviter's own word for this very
//! invitation, which nobody has who was put out before it was made; and when several answer, what any
//! of them knows counts against the others.

use mesh::NodeKey;
use mesh::message::MeshId;
use mesh::roster::{Entry, Founding, Roster, Standing, Statement};

use super::membership::{Membership, RosterError};
use super::{Inner, Trust};
use crate::identity::PublicKey;
use crate::invitation::{Token, mesh_id};
use crate::signer::Signatures;

/// What a node shows that has let this one in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its key, which it has proved.
    pub by: PublicKey,
    /// Where its mesh comes from.
    pub founding: Founding,
    /// What it knows of the mesh's members.
    pub entries: Vec<Entry>,
}

impl Trust {
    /// Whether this node may enter a mesh now: it would not leave other members of its own behind.
    ///
    /// # Errors
    /// [`RosterError::OtherMembers`].
    pub fn may_enter(&self, wanted: MeshId) -> Result<(), RosterError> {
        self.inner().mesh()?.may_enter(wanted)
    }

    /// Enters the mesh that has just let this node in. Of several that did so gives the first one that
    /// is to be believed. Waits for the disk.
    ///
    /// # Errors
    /// [`RosterError`]; this node is then in the mesh in which it was.
    pub fn enter(&self, token: &Token, letters: &[Letter]) -> Result<PublicKey, RosterError> {
        let _writing = self.writing();
        let (by, roster, turn, writing) = {
            let inner = self.inner();
            let mesh = inner.mesh()?;
            // It was asked before, and has waited for answers since.
            mesh.may_enter(token.mesh)?;
            let (by, roster) = mesh.read(token, letters)?;
            let writing = mesh.draft_of(&roster);
            (by, roster, mesh.turn(), writing)
        };
        if let Some(writing) = writing {
            writing.carry_out()?;
        }
        self.inner().mesh_mut()?.change_to(roster, turn);
        Ok(by)
    }
}

impl Inner {
    pub(super) fn mesh(&self) -> Result<&Membership, RosterError> {
        self.membership.as_ref().ok_or(RosterError::NoMesh)
    }

    pub(super) fn mesh_mut(&mut self) -> Result<&mut Membership, RosterError> {
        self.membership.as_mut().ok_or(RosterError::NoMesh)
    }
}

impl Membership {
    fn may_enter(&self, wanted: MeshId) -> Result<(), RosterError> {
        let (own, now) = (self.key(), self.now());
        let is_out = !matches!(self.roster.standing(&own, now), Standing::Member(_));
        if self.mesh_id() == wanted || is_out {
            return Ok(());
        }
        let others: Vec<String> = self
            .roster
            .members(now)
            .filter(|(key, _)| *key != own)
            .map(|(_, member)| member.name.as_str().to_owned())
            .collect();
        match &others[..] {
            [] => Ok(()),
            [some @ .., _] if some.len() > 3 => {
                let named = others[..3].join(", ");
                Err(RosterError::OtherMembers(format!("{named} and {} more", others.len() - 3)))
            }
            _ => Err(RosterError::OtherMembers(others.join(", "))),
        }
    }

    /// What the mesh is to which this node was let in, and by whom.
    fn read(&self, token: &Token, letters: &[Letter]) -> Result<(PublicKey, Roster), RosterError> {
        let now = self.now();
        let mut letters: Vec<&Letter> = letters.iter().collect();
        letters.retain(|letter| mesh_id(&letter.founding) == token.mesh);
        let Some(founding) = letters.first().map(|letter| letter.founding) else {
            return Err(RosterError::WrongMesh("it was founded by somebody else"));
        };
        let mut roster = if founding == *self.roster.founding() {
            self.roster.clone()
        } else {
            Roster::new(founding)
        };
        let mut forged = None;
        letters.retain(|letter| {
            let merged = roster.take_in(letter.entries.clone(), now, &Signatures);
            forged = forged.or(merged.forged);
            merged.forged.is_none()
        });
        let by = believed(&roster, &letters, token, now);
        let by = by.map_err(|err| forged.map_or(err, RosterError::Forged))?;
        if !matches!(roster.standing(&self.key(), now), Standing::Member(_)) {
            return Err(RosterError::WrongMesh("it does not list this node as a member"));
        }
        Ok((by, roster))
    }
}

/// Who of those who let this node in is to be believed, by all that they have shown.
fn believed(
    roster: &Roster,
    letters: &[&Letter],
    token: &Token,
    now: u64,
) -> Result<PublicKey, RosterError> {
    // A key that it has changed since is still the inviter's.
    let inviter = roster.latest_key(&token.inviter.into());
    if !roster.has_authority(&inviter) {
        return Err(RosterError::WrongMesh("the inviter is no administrator of it"));
    }
    let ticket = token.ticket_key();
    // The word of a key that the inviter has changed may have been forgotten where the roster was full.
    let is_inviters = |key: &NodeKey| roster.latest_key(key) == inviter;
    let mut letters = letters.iter().filter(|letter| letter.shows(ticket, is_inviters));
    let Some(first) = letters.next() else {
        return Err(RosterError::WrongMesh(
            "it does not have the inviter's word for this invitation",
        ));
    };
    std::iter::once(first)
        .chain(letters)
        .map(|letter| letter.by)
        .find(|by| roster.is_admin(&(*by).into(), now))
        .ok_or(RosterError::WrongMesh("whoever answered is no administrator of it"))
}

impl Letter {
    /// Whether the inviter's own word about the invitation is in it: that it is one, or is over.
    fn shows(&self, ticket: NodeKey, is_inviters: impl Fn(&NodeKey) -> bool) -> bool {
        self.entries.iter().any(|entry| {
            entry.subject == ticket
                && is_inviters(&entry.signer)
                && matches!(entry.statement, Statement::Invite(_) | Statement::Closed { .. })
                && entry.is_authentic(&self.founding, &Signatures)
        })
    }
}

#[cfg(test)]
mod tests;
