//! Invitations, joining and leaving, as one node carries them out.

use std::sync::MutexGuard;
use std::time::Duration;

use mesh::NodeKey;
use mesh::message::{Join, JoinRefusal, MeshId, Message, Name, RosterDigest, Welcome};
use mesh::roster::{
    Admission, AuthorError, Checker as _, Entry, Founding, Invitation, InvitationState, Roles,
    Sealer as _, Standing,
};

use super::Trust;
use super::membership::{Heard, Membership, RosterError, found, in_messages};
use crate::address::Target;
use crate::identity::PublicKey;
use crate::invitation::{Token, mesh_id};
use crate::signer::Signatures;

/// What an invitation offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What the new member will be called; none: as it calls itself.
    pub name: Option<String>,
    /// What it will be allowed to do.
    pub roles: Roles,
    /// For how long the invitation can be used.
    pub expires: Duration,
    /// For how long the membership lasts; none: for ever.
    pub lasts: Option<Duration>,
}

/// An invitation that is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteView {
    /// The beginning of its public key: enough to name it.
    pub id: String,
    /// Who made it.
    pub by: String,
    /// What has become of it.
    pub state: InvitationState,
}

/// A key that is or was a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Its key.
    pub key: PublicKey,
    /// What the mesh calls it.
    pub name: String,
    /// What it is now.
    pub standing: Standing,
}

/// A stranger's request was honoured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Honoured {
    /// What to answer.
    pub welcome: Welcome,
    /// The roster that goes with it.
    pub roster: Vec<Message>,
}

/// A member that was put out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Its key.
    pub key: PublicKey,
    /// Its name.
    pub name: String,
    /// The names of those whom it had admitted. They stay members, by this node's word, but no
    /// administrators; or they went with it, and all that came by their word. None if this node put
    /// itself out.
    pub admitted: Vec<String>,
    /// If it was an administrator, the invitations that can still be used. It may have heard of them, and
    /// their lines may lead to it.
    pub open_invitations: Vec<String>,
}

/// What the stranger's invitation signs: this TLS session, the key that it proved in it, and the
/// name that it wants. `session` is what TLS exports under [`SESSION_LABEL`].
fn challenge(session: &[u8; 32], stranger: PublicKey, mesh: MeshId, name: &Name) -> Vec<u8> {
    let mut octets = b"vdecable join 1\0".to_vec();
    octets.extend(session);
    octets.extend(stranger.octets());
    octets.extend(mesh.0);
    octets.extend(name.as_str().as_bytes());
    octets
}

/// The label of RFC 5705 under which both ends draw the same octets from their session.
pub(crate) const SESSION_LABEL: &[u8] = b"EXPORTER-vdecable-join-1";

/// Asks for what an invitation promises, in a session of which both ends draw the same octets.
pub fn request(token: &Token, session: &[u8; 32], own: PublicKey, name: &Name) -> Join {
    let ticket = token.ticket();
    Join {
        mesh: token.mesh,
        invite: ticket.key(),
        name: name.clone(),
        software: Name::lossy(concat!("vdenode ", env!("CARGO_PKG_VERSION"))),
        proof: ticket.seal(&challenge(session, own, token.mesh, name)),
    }
}

impl Trust {
    /// Says what `draw` finds is to be said, once it is on disk. Meanwhile this node hears others, and
    /// nobody else finds anything to be said. `_writing` is held by the caller.
    pub(super) fn say_when_written<T>(
        &self,
        _writing: &MutexGuard<'_, ()>,
        draw: impl FnOnce(&Membership) -> Result<(Vec<Entry>, T), RosterError>,
    ) -> Result<T, RosterError> {
        let (mut draft, value) = {
            let inner = self.inner();
            let mesh = inner.mesh()?;
            let (entries, value) = draw(mesh)?;
            if entries.is_empty() {
                return Ok(value);
            }
            (mesh.draft(entries)?, value)
        };
        if let Some(writing) = draft.writing.take() {
            writing.carry_out()?;
        }
        self.inner().mesh_mut()?.adopt(draft)?;
        Ok(value)
    }

    /// Makes an invitation: the token, to be handed over, and when it ends. Waits for the disk.
    ///
    /// # Errors
    /// [`RosterError`].
    pub fn invite(
        &self,
        offer: &Offer,
        addresses: Vec<Target>,
    ) -> Result<(Token, u64), RosterError> {
        self.say_when_written(&self.writing(), |mesh| {
            let now = mesh.now();
            let token = Token::generate(mesh.mesh_id(), mesh.key().into(), addresses)
                .ok_or(RosterError::Random)?;
            let expires = now.saturating_add(offer.expires.as_secs().max(1));
            let invitation = Invitation {
                name: offer.name.as_deref().map(Name::lossy).unwrap_or_default(),
                roles: offer.roles,
                expires,
                lasts: offer.lasts.map_or(0, |lasts| lasts.as_secs().max(1)),
            };
            let entry = mesh.roster.invite(token.ticket().key(), invitation, now, mesh.signer())?;
            Ok((vec![entry], (token, expires)))
        })
    }

    /// The invitations that are remembered, open ones first.
    pub fn invites(&self) -> Vec<InviteView> {
        let (inner, now) = (self.inner(), self.now());
        let Ok(mesh) = inner.mesh() else { return Vec::new() };
        let view = |(key, (by, state))| {
            let by = mesh.roster.name_of(&by).unwrap_or_default().as_str().to_owned();
            InviteView { id: PublicKey::from(key).short(), by, state }
        };
        let mut views: Vec<_> = mesh.roster.invitations(now).into_iter().map(view).collect();
        views.sort_by_key(|view| !matches!(view.state, InvitationState::Open(_)));
        views
    }

    /// Takes an invitation back, named by the beginning of its key: at once, even if the disk
    /// [fails](Self::trouble).
    ///
    /// # Errors
    /// [`RosterError`].
    pub fn take_back(&self, id: &str) -> Result<(), RosterError> {
        let mut inner = self.inner();
        let mesh = inner.mesh_mut()?;
        let found = mesh.roster.invites().map(|(key, _)| key);
        let found = found.into_iter().find(|key| PublicKey::from(*key).short() == id);
        let key =
            found.ok_or_else(|| RosterError::NotFound(format!("there is no invitation {id}")))?;
        let entry = mesh.roster.take_back(key, self.now(), mesh.signer())?;
        mesh.say(vec![entry])?;
        self.changed.notify_one();
        Ok(())
    }

    /// Lets a stranger in who proves an invitation. One step: what it was given is on disk when this
    /// returns, and whoever asks next finds the invitation used. Waits for the disk.
    ///
    /// # Errors
    /// Why not.
    pub fn honour(
        &self,
        join: &Join,
        session: &[u8; 32],
        stranger: PublicKey,
    ) -> Result<Honoured, JoinRefusal> {
        match self.mesh_id() {
            None => return Err(JoinRefusal::NotAdmin),
            Some(mesh) if join.mesh != mesh => return Err(JoinRefusal::OtherMesh),
            Some(_) => {}
        }
        // What has become of an invitation learns only who has its secret.
        let octets = challenge(session, stranger, join.mesh, &join.name);
        if !Signatures.is_signed_by(&join.invite, &octets, &join.proof) {
            return Err(JoinRefusal::Unknown);
        }
        let admission =
            Admission { key: stranger.into(), name: tidy(&join.name), invite: join.invite };
        let said = self.say_when_written(&self.writing(), |mesh| {
            Ok((mesh.roster.admit(&admission, mesh.now(), mesh.signer())?, ()))
        });
        said.map_err(|err| match err {
            RosterError::Author(err) => refusal(err),
            RosterError::Full => JoinRefusal::Full,
            err => {
                tracing::warn!(%err, "an invitation cannot be honoured");
                JoinRefusal::Busy
            }
        })?;
        let (roster, own) = {
            let inner = self.inner();
            let mesh = inner.mesh().map_err(|_| JoinRefusal::NotAdmin)?;
            (mesh.roster.clone(), mesh.key())
        };
        let name = |key| roster.name_of(&key).unwrap_or_default();
        let welcome = Welcome { name: name(stranger.into()), by: name(own) };
        Ok(Honoured { welcome, roster: in_messages(&roster) })
    }

    /// Leaves the mesh: this node is alone in one of its own again. Waits for the disk.
    ///
    /// # Errors
    /// [`RosterError`].
    pub fn leave(&self) -> Result<(), RosterError> {
        let _writing = self.writing();
        let (roster, turn, writing) = {
            let inner = self.inner();
            let mesh = inner.mesh()?;
            let name = mesh.roster.name_of(&mesh.key()).unwrap_or_default();
            let roster = found(mesh.signer(), name, mesh.now())?;
            let writing = mesh.draft_of(&roster);
            (roster, mesh.turn(), writing)
        };
        if let Some(writing) = writing {
            writing.carry_out()?;
        }
        self.inner().mesh_mut()?.change_to(roster, turn);
        Ok(())
    }

    /// Puts a member out of the mesh, by name or key, and those whom it let in if they are to go with
    /// it: at once, even if the disk [fails](Self::trouble).
    ///
    /// # Errors
    /// [`RosterError`].
    pub fn revoke(&self, which: &str, with_admitted: bool) -> Result<Removed, RosterError> {
        let key = self.member(which)?;
        let mut inner = self.inner();
        let mesh = inner.mesh_mut()?;
        let name = |key| mesh.roster.name_of(&key).unwrap_or_default().as_str().to_owned();
        // Of who puts itself out the word counts on.
        let admitted = match mesh.key() {
            own if own == key.into() => Vec::new(),
            _ if with_admitted => mesh.roster.brought_by(&key.into(), self.now()),
            _ => mesh.roster.admitted_by(&key.into(), self.now()),
        };
        let admitted = admitted.into_iter().map(name).collect();
        let name = name(key.into());
        let was_admin = mesh.roster.has_authority(&key.into());
        let entries = mesh.roster.revoke(key.into(), with_admitted, self.now(), mesh.signer())?;
        mesh.say(entries)?;
        let (roster, now) = (&mesh.roster, self.now());
        let is_open = |state: &InvitationState| matches!(state, InvitationState::Open(_));
        let open = roster.invitations(now).into_iter();
        let open = open.filter(|(_, (_, state))| was_admin && is_open(state));
        let open_invitations = open.map(|(key, _)| PublicKey::from(key).short()).collect();
        self.changed.notify_one();
        Ok(Removed { key, name, admitted, open_invitations })
    }

    /// The member of that name, or with that key.
    ///
    /// # Errors
    /// [`RosterError::NotFound`], [`RosterError::Ambiguous`].
    pub fn member(&self, which: &str) -> Result<PublicKey, RosterError> {
        let is_meant = |member: &MemberView| match which.parse::<PublicKey>() {
            Ok(key) => key == member.key,
            Err(_) => member.name == which,
        };
        let meant: Vec<_> = self.members().into_iter().filter(is_meant).collect();
        let current = |member: &&MemberView| {
            matches!(member.standing, Standing::Member(_) | Standing::Expired(_))
        };
        let now: Vec<_> = meant.iter().filter(current).collect();
        match (&now[..], &meant[..]) {
            ([one], _) => Ok(one.key),
            ([], []) => Err(RosterError::NotFound(format!("no member is called {which}"))),
            ([], _) => Err(RosterError::NotFound(format!("{which} is not a member any more"))),
            _ => Err(RosterError::Ambiguous(which.to_owned())),
        }
    }

    /// Every key that is or was a member, by name.
    pub fn members(&self) -> Vec<MemberView> {
        let (inner, now) = (self.inner(), self.now());
        let Ok(mesh) = inner.mesh() else { return Vec::new() };
        let view = |(key, standing)| MemberView {
            key: PublicKey::from(key),
            name: mesh.roster.name_of(&key).unwrap_or_default().as_str().to_owned(),
            standing,
        };
        // A key that is to follow another is not another member.
        let is_one = |standing: &Standing| !matches!(standing, Standing::Waiting(_));
        let standings = mesh.roster.standings(now).filter(|(_, standing)| is_one(standing));
        let mut members: Vec<_> = standings.map(view).collect();
        members.sort_by(|a, b| (&a.name, a.key).cmp(&(&b.name, b.key)));
        members
    }

    /// The key that a member has now, of which this was one.
    pub fn latest_key(&self, key: PublicKey) -> PublicKey {
        let inner = self.inner();
        inner.mesh().map_or(key, |mesh| mesh.roster.latest_key(&key.into()).into())
    }

    /// The key that is to follow one, as its holder says.
    pub fn next_key(&self, key: PublicKey) -> Option<PublicKey> {
        let inner = self.inner();
        let next = inner.mesh().ok()?.roster.succession_of(&key.into())?;
        (!next.retired).then(|| next.to.into())
    }

    /// Whether a key is a member's, or is to be: by the key that it had at some time.
    pub(crate) fn is_key_of(&self, key: PublicKey, member: PublicKey) -> bool {
        let inner = self.inner();
        let Ok(mesh) = inner.mesh() else { return key == member };
        let latest = mesh.roster.latest_key(&member.into());
        let standing = mesh.roster.standing(&key.into(), self.now());
        key == member || NodeKey::from(key) == latest || standing == Standing::Waiting(latest)
    }

    /// The mesh that this node belongs to.
    pub fn mesh_id(&self) -> Option<MeshId> {
        self.inner().mesh().ok().map(|mesh| mesh_id(mesh.roster.founding()))
    }

    /// What a neighbour is told first.
    pub(crate) fn roster_digest(&self) -> Option<RosterDigest> {
        self.inner().mesh().ok().map(Membership::digest)
    }

    /// The whole roster, in messages.
    pub(crate) fn roster_messages(&self) -> Vec<Message> {
        self.inner().mesh().map(Membership::messages).unwrap_or_default()
    }

    /// Forgets invitations that are long over.
    pub(crate) fn forget_old_invitations(&self, now: u64) {
        if let Ok(mesh) = self.inner().mesh_mut() {
            mesh.forget(now);
        }
        self.changed.notify_one();
    }

    /// What neighbours have not heard yet, in messages.
    pub(crate) fn take_untold(&self) -> Vec<Message> {
        self.inner().mesh_mut().map(Membership::take_untold).unwrap_or_default()
    }

    /// Takes in what a neighbour says of its mesh.
    pub(crate) fn merge(&self, founding: &Founding, entries: Vec<Entry>) -> Heard {
        let mut inner = self.inner();
        let heard = match inner.mesh_mut() {
            // Otherwise its keys were trusted by hand; its mesh is another.
            Ok(mesh) if mesh.roster.founding() == founding => mesh.merge(entries),
            _ => return Heard::default(),
        };
        if heard.is_news {
            self.changed.notify_one();
        }
        heard
    }

    /// Completes when there is something to be written.
    pub(crate) async fn is_unwritten(&self) {
        while !self.inner().mesh().is_ok_and(Membership::is_unwritten) {
            self.changed.notified().await;
        }
    }

    /// Writes what is not on disk, and says whether it is there now. Waits for the disk.
    pub(crate) fn write(&self) -> bool {
        let _writing = self.writing();
        let unwritten = self.inner().mesh().ok().and_then(Membership::unwritten);
        let Some(writing) = unwritten else { return true };
        let result = writing.carry_out();
        let is_written = result.is_ok();
        if let Ok(mesh) = self.inner().mesh_mut() {
            mesh.handle_written(writing.turn(), result);
        }
        is_written
    }

    /// Waits until what counts is on disk, and says whether it is. What the disk does not take is tried
    /// again for ever. To be called within a runtime.
    pub async fn written(&self) -> bool {
        self.aside(Self::write).await
    }

    /// Why what this node knows of its mesh's members is not on disk, though it counts.
    pub fn trouble(&self) -> Option<String> {
        self.inner().mesh().ok()?.trouble().map(str::to_owned)
    }
}

/// What a newcomer calls itself, as a name that can be typed.
fn tidy(name: &Name) -> Name {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let tidied: String = name.as_str().chars().map(|c| if is_fine(c) { c } else { '-' }).collect();
    match tidied.trim_start_matches('.') {
        "" => Name::lossy("node"),
        tidied => Name::lossy(tidied),
    }
}

fn refusal(err: AuthorError) -> JoinRefusal {
    match err {
        // Another administrator, nearer to the founder, may be asked.
        AuthorError::NotAdmin | AuthorError::Outranked => JoinRefusal::NotAdmin,
        AuthorError::Invitation(InvitationState::Expired) => JoinRefusal::Expired,
        AuthorError::Invitation(InvitationState::UsedBy(_)) => JoinRefusal::Used,
        AuthorError::Invitation(InvitationState::TakenBack) => JoinRefusal::TakenBack,
        AuthorError::Invitation(InvitationState::Unknown | InvitationState::Open(_))
        | AuthorError::NotMember
        | AuthorError::TooManyKeys
        | AuthorError::LastAdmin => JoinRefusal::Unknown,
    }
}

#[cfg(test)]
mod tests;
