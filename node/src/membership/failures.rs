//! Why something about members was not done, and what to do about it.

use cable::cables::{JoinError, join_refusal};
use cable::trust::RosterError;
use control::Failure;
use mesh::message::JoinRefusal;
use mesh::roster::AuthorError;

/// Of joining.
pub(super) fn join_failure(what: &str, err: &JoinError) -> Failure {
    let fix = match err {
        JoinError::Roster(err) => return roster_failure(what, err),
        JoinError::Own => "it is for another host: type it there",
        JoinError::NoAddress => "make a new one on a node that awaits cables",
        JoinError::Refused(_, refusal) => match refusal {
            JoinRefusal::Unknown | JoinRefusal::OtherMesh => {
                "is it that mesh's latest invitation? Make a new one there: vdecable invite"
            }
            JoinRefusal::Expired | JoinRefusal::Used | JoinRefusal::TakenBack => {
                "make a new one on a host of that mesh: vdecable invite"
            }
            JoinRefusal::NotAdmin => "an administrator of that mesh must be reachable",
            JoinRefusal::Full => "revoke members that are not needed any more, there",
            JoinRefusal::Busy => "wait a minute; the node there may have something in its log",
        },
        JoinError::Unreached(_) => {
            "check that vdenode runs there and that its UDP port is open; the invitation is not used up"
        }
        JoinError::Cable(_) => "this node is a member now; plug the cable in with vdecable connect",
    };
    Failure::new(what, err, fix)
}

/// A refusal as the node says it that refused.
pub(super) fn refused_because(refusal: JoinRefusal) -> &'static str {
    match refusal {
        JoinRefusal::Unknown => "an invitation that nobody made, or without its secret",
        JoinRefusal::OtherMesh => "an invitation into another mesh",
        JoinRefusal::NotAdmin => "this node is not an administrator",
        JoinRefusal::Full => "the roster is full",
        JoinRefusal::Busy => "too many wrong tries, or this node's disk fails",
        other => join_refusal(other),
    }
}

/// Of all else.
pub(super) fn roster_failure(what: &str, err: &RosterError) -> Failure {
    let fix = match err {
        RosterError::Author(AuthorError::NotAdmin) => {
            "do it on an administrator's host: vdecable nodes lists them"
        }
        RosterError::Author(AuthorError::LastAdmin) => "invite another with --role admin first",
        RosterError::Author(AuthorError::TooManyKeys) => {
            "have an administrator confirm it: vdecable invite there, vdecable join here"
        }
        RosterError::Author(_) | RosterError::NotFound(_) => {
            "vdecable nodes lists the members, vdecable invites the invitations"
        }
        RosterError::Ambiguous(_) => "vdecable --json nodes has the keys",
        RosterError::OtherMembers(_) => {
            "let those join the other mesh instead; or give them up here first: vdecable leave --force"
        }
        RosterError::Full => {
            "a mesh has at most 1024 members, and an administrator 256 invitations; take some back"
        }
        RosterError::Store(_) => "make room or mend the state directory",
        RosterError::WrongMesh(_) | RosterError::Forged(_) => {
            "do not trust what answered; ask who gave you the invitation"
        }
        RosterError::NoMesh | RosterError::Random => "",
    };
    Failure::new(what, err, fix)
}
