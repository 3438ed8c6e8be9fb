//! The mesh as an operator handles it: inviting, joining, putting out; and where members are found.

mod addresses;
mod failures;

use std::rc::Rc;
use std::time::Duration;

use cable::cables::Attempt;
use cable::trust::{InviteView, MemberView, Offer, RotationError};
use cable::{PublicKey, Target, Token, Trust};
use control::membership::{
    AttemptStatus, InviteStatus, MemberStatus, NewInvitation, OwnMembership, TokenText,
};
use control::network::NodeStatus;
use control::{Answer, Failure, Request};
use mesh::NodeKey;
use mesh::record::Contact;
use mesh::roster::{InvitationState, Roles, Standing};

use crate::driver::{Shard, now, unix_seconds};
use crate::readings::NodesReading;
use crate::requests;
use failures::{join_failure, refused_because, roster_failure};

/// For how long an invitation can be used unless it is said otherwise.
const INVITATION: Duration = Duration::from_secs(86_400);

/// The longest for which one can be used: a year.
const LONGEST_INVITATION: Duration = Duration::from_secs(366 * 86_400);

/// How often a node looks whether addresses have changed, its own and others'.
const LOOK: Duration = Duration::from_secs(1);

/// What a node is called in its mesh: the host's name, unless its operator gave it one.
pub(crate) fn name_in_mesh(name: &str) -> String {
    if name != control::path::DEFAULT_NAME {
        return name.to_owned();
    }
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let host = host.split('.').next().unwrap_or_default().to_owned();
    if control::path::is_node_name(&host) { host } else { name.to_owned() }
}

/// Tells the mesh where this node is found, and hears where others are, for as long as the shard
/// lives.
pub(crate) async fn follow_contacts(shard: &Shard) {
    /// Its own change seldom.
    const OWN: u32 = 5;
    let mut known = None;
    for look in (0..OWN).cycle() {
        let digest = shard.plane.borrow().mesh().digest();
        if look == 0 || known != Some(digest) {
            known = Some(digest);
            exchange_contacts(shard);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Tells where this node is found, and hears where others are.
pub(crate) fn exchange_contacts(shard: &Shard) {
    let own = own_addresses(shard);
    let own = own.iter().filter_map(|target| Contact::new(&target.to_string()).ok()).collect();
    let heard = shard.plane.borrow_mut().exchange_contacts(own, now());
    let heard = heard.into_iter().map(|(key, addresses)| {
        let addresses = addresses.iter().map(|address| address.as_str().to_owned()).collect();
        (PublicKey::from(key), addresses)
    });
    let own = shard.identity.public();
    shard.cables.hear_contacts(heard.filter(|(key, _)| *key != own));
}

/// Where others reach this node, the best first.
fn own_addresses(shard: &Shard) -> Vec<Target> {
    let mut targets = shard.announce.clone();
    if let Some(listen) = shard.cables.local_addr() {
        let inner = shard.plane.borrow().interfaces();
        let found = addresses::of_host(listen, &inner).into_iter().map(Target::from);
        targets.extend(found);
    }
    let mut known = Vec::new();
    targets.retain(|target| {
        let is_new = !known.contains(target);
        known.push(target.clone());
        is_new
    });
    targets
}

/// Carries a request about the mesh out.
pub(crate) async fn handle_request(shard: &Rc<Shard>, request: Request) -> Result<Answer, Failure> {
    match request {
        Request::Invite { name, roles, expires_seconds, lasts_seconds } => {
            invite(shard, name, &roles, expires_seconds, lasts_seconds).await
        }
        Request::Uninvite { id } => {
            let taken_back = shard.trust.take_back(&id);
            taken_back.map_err(|err| roster_failure("nothing was changed", &err))?;
            shard.cables.handle_trust_change();
            let mut message = format!("invitation {id} taken back");
            add_trouble(shard, &mut message).await;
            Ok(Answer::Done { message })
        }
        Request::Join { token, name } => join(shard, &token, name).await,
        Request::Revoke { member, with_admitted } => revoke(shard, &member, with_admitted).await,
        Request::Leave { force } => leave(shard, force).await,
        Request::RotateKey => rotate_key(shard).await,
        _ => Ok(invites(shard)),
    }
}

async fn invite(
    shard: &Shard,
    name: Option<String>,
    roles: &[String],
    expires: Option<u64>,
    lasts: Option<u64>,
) -> Result<Answer, Failure> {
    let what = "nobody was invited";
    if let Some(name) = &name {
        check_name(what, name)?;
        if shard.trust.member(name).is_ok() {
            let why = format!("a member is called {name} already");
            return Err(Failure::new(what, why, "choose another name, or revoke that one first"));
        }
    }
    let roles = parse_roles(what, roles)?;
    let expires = expires.map_or(INVITATION, Duration::from_secs);
    if expires.is_zero() || expires > LONGEST_INVITATION {
        let why = "an invitation can be used for between a second and a year";
        return Err(Failure::new(what, why, "write for example --expires 24h"));
    }
    if lasts.is_some() && roles.contains(Roles::ADMIN) {
        let why =
            "an administrator's membership does not end by time: what it has signed would end, too";
        return Err(Failure::new(
            what,
            why,
            "leave out --lasts, and revoke it when the time has come",
        ));
    }
    let own = own_addresses(shard);
    let addresses = with_other_admins(shard, own);
    if addresses.is_empty() {
        let why = "this node awaits no cables (--no-listen), so nobody could ask it";
        return Err(Failure::new(
            what,
            why,
            "start it without --no-listen, or invite on another administrator's host",
        ));
    }
    let lasts = lasts.map(Duration::from_secs);
    let offer = Offer { name: name.clone(), roles, expires, lasts };
    let invited = shard.trust.aside(move |trust| trust.invite(&offer, addresses)).await;
    let (token, until) = invited.map_err(|err| roster_failure(what, &err))?;
    shard.cables.handle_trust_change();
    Ok(Answer::Invitation(NewInvitation {
        id: token.id(),
        token: TokenText(token.reveal().to_string()),
        name,
        roles: words(roles),
        expires_in_seconds: until.saturating_sub(unix_seconds()),
        lasts_seconds: lasts.map(|lasts| lasts.as_secs()),
        addresses: token.addresses.iter().map(ToString::to_string).collect(),
    }))
}

/// This node's own addresses, and the best one of some other administrators, who can honour the
/// invitation as well when this node is away.
fn with_other_admins(shard: &Shard, mut own: Vec<Target>) -> Vec<Target> {
    const OWN: usize = 5;
    own.truncate(OWN);
    exchange_contacts(shard);
    let key = shard.identity.public();
    let others = shard.trust.members().into_iter().filter(|member| {
        let is_admin = |m: &mesh::roster::Membership| m.roles.contains(Roles::ADMIN);
        member.key != key && matches!(&member.standing, Standing::Member(m) if is_admin(m))
    });
    for other in others {
        own.extend(shard.cables.contacts_of(other.key).into_iter().take(1));
    }
    own.truncate(cable::invitation::MAX_ADDRESSES);
    own
}

async fn join(shard: &Shard, token: &TokenText, name: Option<String>) -> Result<Answer, Failure> {
    let what = "this node has joined no mesh";
    let token: Token = token.0.parse().map_err(|err| {
        Failure::new(what, err, "copy the line that vdecable invite printed on the other host")
    })?;
    if let Some(name) = &name {
        check_name(what, name)?;
    }
    let name = name.unwrap_or_else(|| name_in_mesh(&shard.name));
    let joined = shard.cables.join(&token, &name).await;
    let joined = joined.map_err(|err| join_failure(what, &err))?;
    Ok(Answer::Joined {
        name: joined.name,
        by: joined.by,
        cable: joined.cable.to_string(),
        address: joined.address.to_string(),
    })
}

async fn revoke(shard: &Shard, which: &str, with_admitted: bool) -> Result<Answer, Failure> {
    let removed = shard.trust.revoke(which, with_admitted);
    let removed = removed.map_err(|err| roster_failure("nobody was revoked", &err))?;
    shard.cables.handle_trust_change();
    let mut message = format!("revoked: {} ({})", removed.name, removed.key);
    if !removed.admitted.is_empty() {
        let admitted = removed.admitted.join(", ");
        message.push_str(&if with_admitted {
            format!("; so are those whom it had admitted, and whom they had: {admitted}")
        } else {
            format!(
                "; whom it had admitted stays a member, and is no administrator: {admitted}\nif they \
                 are not to stay: vdecable revoke NAME for each"
            )
        });
    }
    if !removed.open_invitations.is_empty() {
        message.push_str(&format!(
            "\nit may answer those who join by a line made before: take the open invitations back and make \
             new ones (vdecable uninvite {})",
            removed.open_invitations.join(", ")
        ));
    }
    add_trouble(shard, &mut message).await;
    Ok(Answer::Done { message })
}

/// Says that something counts and is not on disk.
async fn add_trouble(shard: &Shard, message: &mut String) {
    /// How long an operator waits for a disk that takes its time.
    const PATIENCE: Duration = Duration::from_secs(3);
    let why = match tokio::time::timeout(PATIENCE, shard.trust.written()).await {
        Err(_elapsed) => Some("the disk takes its time".to_owned()),
        Ok(is_written) => shard.trust.trouble().filter(|_| !is_written),
    };
    if let Some(why) = why {
        message.push_str(&format!(
            "\nit counts, here and everywhere, but is not on disk: {why}\nmake room or mend the state \
             directory before this node ends, or it will not know of it; vdecable status says when it is \
             written"
        ));
    }
}

async fn leave(shard: &Shard, force: bool) -> Result<Answer, Failure> {
    let what = "this node is where it was";
    let (mut others, mut admins) = (Vec::new(), 0);
    for member in shard.trust.members() {
        if let Standing::Member(membership) = member.standing
            && member.key != shard.identity.public()
        {
            admins += usize::from(membership.roles.contains(Roles::ADMIN));
            others.push(member.key);
        }
    }
    if others.is_empty() {
        return Err(Failure::new(what, "it is alone in its mesh already", ""));
    }
    if admins == 0 && !force {
        let why = "it is the only administrator: the others could let nobody in or out any more";
        let fix = "let another in as one first (vdecable invite --role admin), or leave them so: vdecable leave --force";
        return Err(Failure::new(what, why, fix));
    }
    let left = shard.trust.aside(Trust::leave).await;
    left.map_err(|err| roster_failure(what, &err))?;
    let pulled = pull_cables(shard, &others);
    shard.cables.handle_trust_change();
    let mut message =
        "left: this node is alone in a mesh of its own; the others still list it until an \
                       administrator revokes it"
            .to_owned();
    if !pulled.is_empty() {
        message.push_str(&format!("\npulled out: {}", pulled.join(", ")));
    }
    Ok(Answer::Done { message })
}

/// Pulls out the cables to those who were members and are trusted for no other reason.
fn pull_cables(shard: &Shard, members: &[PublicKey]) -> Vec<String> {
    let is_meant = |key: Option<&str>| {
        let key = key.and_then(|key| key.parse().ok());
        key.is_some_and(|key| members.contains(&key) && !shard.trust.contains(key))
    };
    let cables = shard.cables.statuses().into_iter();
    let ids = cables.filter(|cable| is_meant(cable.key.as_deref())).map(|cable| cable.id);
    // What cannot be forgotten on disk is pulled out all the same.
    ids.inspect(|id| drop(requests::pull_out(shard, id))).collect()
}

async fn rotate_key(shard: &Shard) -> Result<Answer, Failure> {
    let what = "this node keeps its key";
    let Some(state) = &shard.state else {
        let why = "this node keeps nothing on disk, its key neither";
        return Err(Failure::new(what, why, "start it with --state"));
    };
    let (state, identity) = (state.clone(), shard.identity.clone());
    let rotate = move |trust: &Trust| trust.begin_rotation(&state, &identity);
    let rotated = shard.trust.aside(rotate).await;
    let key = rotated.map_err(|err| match err {
        RotationError::Roster(err) => roster_failure(what, &err),
        RotationError::Begun(_) => Failure::new(what, err, "start the node again to use that one"),
        RotationError::Identity(_) => {
            Failure::new(what, err, "make room or mend the state directory")
        }
    })?;
    shard.cables.handle_trust_change();
    let mut message = format!(
        "a new key waits: {key}\nstart this node again to use it; the old one is refused from then on"
    );
    let absent = absent_members(shard);
    if !absent.is_empty() {
        message.push_str(&format!(
            "\nnot there now: {}; let them hear of it from another member before they are to connect \
             to this node, or they will not know the new key",
            absent.join(", ")
        ));
    }
    Ok(Answer::Done { message })
}

/// The names of members to which there is no way now.
fn absent_members(shard: &Shard) -> Vec<String> {
    let reachable: Vec<PublicKey> = {
        let known = shard.plane.borrow().mesh().nodes(now());
        let there = known.into_iter().filter(|node| node.is_own || node.route.is_some());
        there.map(|node| node.key.into()).collect()
    };
    let members = shard.trust.members().into_iter().filter(|member| {
        matches!(member.standing, Standing::Member(_)) && !reachable.contains(&member.key)
    });
    members.map(|member| member.name).collect()
}

fn invites(shard: &Shard) -> Answer {
    let invites = shard.trust.invites().into_iter().map(|view| invite_status(shard, view));
    let attempts = shard.cables.attempts().into_iter().map(attempt_status);
    Answer::Invites { invites: invites.collect(), attempts: attempts.collect() }
}

fn invite_status(shard: &Shard, view: InviteView) -> InviteStatus {
    let mut status = InviteStatus {
        id: view.id,
        by: view.by,
        state: String::new(),
        used_by: None,
        name: None,
        roles: Vec::new(),
        expires_in_seconds: None,
    };
    let state = match view.state {
        InvitationState::Open(invitation) => {
            let name = invitation.name.as_str();
            status.name = (!name.is_empty()).then(|| name.to_owned());
            status.roles = words(invitation.roles);
            status.expires_in_seconds = Some(invitation.expires.saturating_sub(unix_seconds()));
            "open"
        }
        InvitationState::UsedBy(key) => {
            let key = PublicKey::from(key);
            status.used_by = Some(shard.trust.name_of(key).unwrap_or_else(|| key.short()));
            "used"
        }
        InvitationState::Expired => "expired",
        InvitationState::TakenBack => "taken-back",
        InvitationState::Unknown => "void",
    };
    state.clone_into(&mut status.state);
    status
}

fn attempt_status(attempt: Attempt) -> AttemptStatus {
    AttemptStatus {
        age_seconds: now().saturating_duration_since(attempt.at).as_secs_f64(),
        address: attempt.remote.to_string(),
        key: attempt.key.to_string(),
        refused: attempt.outcome.as_ref().err().map(|refusal| refused_because(*refusal).to_owned()),
        joined_as: attempt.outcome.ok(),
    }
}

fn check_name(what: &str, name: &str) -> Result<(), Failure> {
    if control::path::is_node_name(name) {
        return Ok(());
    }
    let why = format!("{name:?} is not a name");
    Err(Failure::new(what, why, "use letters, digits, '-', '_' and '.'"))
}

fn parse_roles(what: &str, texts: &[String]) -> Result<Roles, Failure> {
    let mut roles = Roles::SWITCH;
    for text in texts.iter().flat_map(|text| text.split(',')) {
        roles = roles.union(match text.trim() {
            "switch" => Roles::SWITCH,
            "gateway" => Roles::GATEWAY,
            "admin" => Roles::ADMIN,
            other => {
                let why = format!("there is no role {other:?}");
                return Err(Failure::new(what, why, "roles are switch, gateway and admin"));
            }
        });
    }
    Ok(roles)
}

fn words(roles: Roles) -> Vec<String> {
    roles.names().into_iter().map(str::to_owned).collect()
}

/// What this node is in its mesh.
pub(crate) fn own(shard: &Shard) -> Option<OwnMembership> {
    let (key, members) = (shard.identity.public(), shard.trust.members());
    let own = members.iter().find(|member| member.key == key)?;
    let status = member_status(&own.standing, shard.trust.now())?;
    let is_member = |member: &&MemberView| matches!(member.standing, Standing::Member(_));
    Some(OwnMembership {
        name: own.name.clone(),
        state: status.state,
        roles: status.roles,
        members: members.iter().filter(is_member).count(),
        next_key: shard.trust.next_key(key).map(|next| next.to_string()),
    })
}

/// What the roster says of a node.
pub(crate) fn status_of(members: &[MemberView], key: &NodeKey, wall: u64) -> Option<MemberStatus> {
    let key = PublicKey::from(*key);
    member_status(&members.iter().find(|member| member.key == key)?.standing, wall)
}

fn member_status(standing: &Standing, wall: u64) -> Option<MemberStatus> {
    let (state, member) = match standing {
        Standing::Member(member) => ("member", Some(member)),
        Standing::Expired(member) => ("expired", Some(member)),
        Standing::Revoked | Standing::Replaced(_) | Standing::Outrun => ("revoked", None),
        Standing::Waiting(_) | Standing::Unknown => return None,
    };
    let expires = member.map(|member| member.expires).filter(|expires| *expires != 0);
    Some(MemberStatus {
        state: state.to_owned(),
        roles: member.map(|member| words(member.roles)).unwrap_or_default(),
        expires_unix: expires,
        expires_in_seconds: expires.map(|expires| expires.saturating_sub(wall)),
    })
}

/// The members of whom the mesh knows nothing now.
pub(crate) fn absent(reading: &NodesReading) -> impl Iterator<Item = NodeStatus> {
    let is_known = |key: PublicKey| reading.nodes.known.iter().any(|n| n.key == NodeKey::from(key));
    let absent = reading.members.iter().filter(move |member| {
        !is_known(member.key)
            && matches!(member.standing, Standing::Member(_) | Standing::Expired(_))
    });
    absent.map(|member| NodeStatus {
        name: member.name.clone(),
        key: member.key.to_string(),
        nick: None,
        own: false,
        reachable: false,
        reason: Some("it is not there: nothing has been heard of it".to_owned()),
        hops: None,
        rtt_ms: None,
        cost: None,
        next: None,
        cables: 0,
        stations: 0,
        gateway: None,
        news_age_seconds: None,
        member: member_status(&member.standing, reading.wall),
    })
}
