//! Invitations as text.

use std::fmt::Write as _;

use super::{Table, duration, or_dash};
use crate::membership::{AttemptStatus, InviteStatus, NewInvitation, OwnMembership};

/// What to do with a new invitation; the line itself is apart from it.
pub fn invitation(invitation: &NewInvitation) -> String {
    let span = span(invitation.expires_in_seconds);
    let mut out = format!(
        "on the host that is to join, once, within {span}:\n  vdecable join {}\nwhere others use that host, type vdecable join - there and paste the line: ps shows what is typed\n",
        invitation.token.0
    );
    let may = format!("role {}: it {}", invitation.roles.join(", "), rights(&invitation.roles));
    let _ = match &invitation.name {
        Some(name) => writeln!(out, "it will be called {name}; {may}"),
        None => writeln!(out, "{may}"),
    };
    if let Some(lasts) = invitation.lasts_seconds {
        let _ = writeln!(out, "its membership will end {} after it has joined", self::span(lasts));
    }
    let _ = writeln!(
        out,
        "it will ask at {}\nwhoever reads the line can join in its place; to take it back: vdecable uninvite {}",
        invitation.addresses.join(", "),
        invitation.id
    );
    out
}

/// What roles allow, which is not what their node does at the moment.
fn rights(roles: &[String]) -> &'static str {
    let has = |role: &str| roles.iter().any(|it| it == role);
    match (has("admin"), has("gateway")) {
        (true, true) => "may invite and be the gateway",
        (true, false) => "may invite",
        (false, true) => "may be the gateway",
        (false, false) => "may neither invite nor be the gateway",
    }
}

/// What this node is in its mesh.
pub(super) fn own(mesh: &OwnMembership, key: &str) -> String {
    let short = key.get(..8).unwrap_or(key);
    let (name, may) = (&mesh.name, rights(&mesh.roles));
    match (mesh.state.as_str(), mesh.members) {
        ("member", 0 | 1) => {
            format!(
                "alone in its own, as {name}; {may}; key {short}; to let others in: vdecable invite; to go into another: vdecable join"
            )
        }
        ("member", members) => {
            format!("{members} members, who call it {name}; it {may}; key {short}")
        }
        (state, _) => format!(
            "none any more: {state}; was {name}, key {short}; to be let in again: vdecable join"
        ),
    }
}

/// The answer to `vdecable invites`.
pub fn invites(invites: &[InviteStatus], attempts: &[AttemptStatus]) -> String {
    if invites.is_empty() && attempts.is_empty() {
        return "no invitations; make one with: vdecable invite\n".to_owned();
    }
    let mut out = String::new();
    if !invites.is_empty() {
        let mut table = Table::new(&["ID", "STATE", "BY", "FOR", "ROLE", "ENDS"]);
        for invite in invites {
            table.row([
                invite.id.clone(),
                match &invite.used_by {
                    Some(by) => format!("{} by {by}", invite.state),
                    None => invite.state.clone(),
                },
                invite.by.clone(),
                or_dash(invite.name.clone()),
                if invite.roles.is_empty() { "-".to_owned() } else { invite.roles.join(", ") },
                or_dash(invite.expires_in_seconds.map(|seconds| format!("in {}", span(seconds)))),
            ]);
        }
        out.push_str(&table.finish());
        if invites.iter().any(|invite| invite.state == "void") {
            out.push_str(
                "void: whoever made it is no administrator any more, so that nobody can use it\n",
            );
        }
    }
    for attempt in attempts {
        let ago = duration(attempt.age_seconds);
        let key = attempt.key.get(..8).unwrap_or(&attempt.key);
        let _ = match (&attempt.joined_as, &attempt.refused) {
            (Some(name), _) => {
                writeln!(out, "joined    {name} from {} ({ago} ago), key {key}", attempt.address)
            }
            (None, Some(why)) => {
                writeln!(out, "refused   {} ({ago} ago), key {key}: {why}", attempt.address)
            }
            (None, None) => Ok(()),
        };
    }
    out
}

/// A time that somebody waits for, in the unit that fits.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
