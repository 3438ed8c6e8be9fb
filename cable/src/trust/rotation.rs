//! A node takes another key and stays in its mesh, in two steps, so that nobody misses it:
//!
//! 1. The new key is made and kept beside the old one (`identity.next`), and the mesh is told that it
//!    follows. Both are good.
//! 2. At its next start the node has the new key. It says, for the last time with the old one, that
//!    this is done with, and forgets it.
//!
//! A crash between any two octets leaves a node that has one of the two keys and the mesh's trust.

use std::path::Path;

use mesh::roster::Sealer as _;

use super::Trust;
use super::kept;
use super::membership::RosterError;
use crate::calendar::unix_seconds;
use crate::identity::{Identity, IdentityError, PublicKey};
use crate::signer::Signer;

/// Why keys were not changed.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The key cannot be made or kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The mesh cannot be told.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// It was begun before.
    #[error("a new key waits for this node's next start already: {0}")]
    Begun(PublicKey),
}

impl Trust {
    /// Makes a new key and tells the mesh. It is used from the next start on. Waits for the disk.
    ///
    /// # Errors
    /// [`RotationError`]; the old key then stays the only one.
    pub fn begin_rotation(
        &self,
        directory: &Path,
        identity: &Identity,
    ) -> Result<PublicKey, RotationError> {
        let writing = self.writing();
        let old = Signer::new(identity);
        let waiting = self.inner().mesh()?.roster.succession_of(&old.key());
        // One of which the mesh was told and that is not on disk can never be used.
        if let Some(waiting) = waiting
            && Identity::load_next(directory)?
                .is_some_and(|next| next.public() == waiting.to.into())
        {
            return Err(RotationError::Begun(waiting.to.into()));
        }
        let next = identity.make_next(directory)?;
        let new = Signer::new(&next);
        let said = self.say_when_written(&writing, |mesh| {
            Ok((vec![mesh.roster.succeed(&old, &new, mesh.now())?], ()))
        });
        match said {
            Ok(()) => Ok(next.public()),
            Err(err) => {
                Identity::drop_next(directory)?;
                Err(err.into())
            }
        }
    }
}

/// The key with which a node starts: the one that it has, or the new one that it told its mesh of.
///
/// # Errors
/// [`RotationError`].
pub fn settle(directory: &Path) -> Result<Identity, RotationError> {
    let current = Identity::load_or_generate(directory)?;
    let Some(next) = Identity::load_next(directory)? else { return Ok(current) };
    let Some(mut roster) = kept::load(directory, unix_seconds())? else {
        Identity::drop_next(directory)?;
        return Ok(current);
    };
    let (old, new) = (Signer::new(&current), Signer::new(&next));
    match roster.succession_of(&old.key()) {
        Some(succession) if succession.to == new.key() => {
            if !succession.retired {
                let last_words = roster.retire(&old, &new);
                kept::add(directory, &mut roster, last_words)?;
            }
            Identity::promote_next(directory)?;
            Ok(next)
        }
        // The mesh was never told.
        _ => {
            Identity::drop_next(directory)?;
            Ok(current)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Verdict;

    fn start(directory: &Path) -> (Identity, Trust) {
        let identity = settle(directory).unwrap();
        let trust = Trust::load(directory).unwrap();
        trust.belong(Some(directory), &identity, "a").unwrap();
        (identity, trust)
    }

    #[test]
    fn the_new_key_is_there_after_a_restart_and_the_old_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (old, trust) = start(dir.path());
        let mesh = trust.mesh_id();
        let next = trust.begin_rotation(dir.path(), &old).unwrap();
        assert_eq!(trust.verdict(next), Verdict::Waiting);
        assert_eq!(trust.verdict(old.public()), Verdict::Trusted);
        assert!(matches!(
            trust.begin_rotation(dir.path(), &old),
            Err(RotationError::Begun(waiting)) if waiting == next
        ));
        let (now, trust) = start(dir.path());
        assert_eq!(now.public(), next);
        assert_eq!(now.interface_mac("tap0"), old.interface_mac("tap0"), "neighbours know it");
        assert_eq!(trust.mesh_id(), mesh);
        assert_eq!(trust.verdict(next), Verdict::Trusted);
        assert_eq!(trust.verdict(old.public()), Verdict::Revoked);
        assert_eq!(trust.latest_key(old.public()), next);
        // And so it goes on; the founder still is who invites.
        let third = trust.begin_rotation(dir.path(), &now).unwrap();
        let (now, trust) = start(dir.path());
        assert_eq!(now.public(), third);
        assert_eq!(now.interface_mac("tap0"), old.interface_mac("tap0"));
        assert!(trust.role_of(third).unwrap().contains(mesh::roster::Roles::ADMIN));
    }

    #[test]
    fn a_next_key_that_is_lost_keeps_nobody_from_taking_another() {
        let dir = tempfile::tempdir().unwrap();
        let (old, trust) = start(dir.path());
        let lost = trust.begin_rotation(dir.path(), &old).unwrap();
        std::fs::remove_file(dir.path().join("identity.next")).unwrap();
        let (now, trust) = start(dir.path());
        assert_eq!(now.public(), old.public());
        let next = trust.begin_rotation(dir.path(), &now).unwrap();
        assert_ne!(next, lost);
        let (now, trust) = start(dir.path());
        assert_eq!(now.public(), next);
        assert_eq!(trust.verdict(next), Verdict::Trusted);
        assert_eq!(trust.verdict(lost), Verdict::Unknown);
    }

    #[test]
    fn a_crash_at_any_step_leaves_a_node_that_is_trusted() {
        // Before the mesh was told.
        let dir = tempfile::tempdir().unwrap();
        let (old, trust) = start(dir.path());
        drop(trust);
        old.make_next(dir.path()).unwrap();
        let (now, trust) = start(dir.path());
        assert_eq!(now.public(), old.public());
        // After the last words, before the old key was replaced.
        let next = trust.begin_rotation(dir.path(), &now).unwrap();
        let key = std::fs::read(dir.path().join("identity.key")).unwrap();
        let waiting = std::fs::read(dir.path().join("identity.next")).unwrap();
        assert_eq!(settle(dir.path()).unwrap().public(), next);
        crate::store::replace(&dir.path().join("identity.key"), &key).unwrap();
        crate::store::replace(&dir.path().join("identity.next"), &waiting).unwrap();
        let (now, trust) = start(dir.path());
        assert_eq!(now.public(), next);
        assert_eq!(trust.verdict(next), Verdict::Trusted);
    }
}
