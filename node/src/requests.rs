//! What the node does for each request of the control socket.

use std::rc::Rc;
use std::time::Duration;

use cable::cables::{CableError, Keep};
use cable::{CableId, PublicKey, Target};
use control::message::MAX_PING_WAIT_MS;
use control::status::{CableState, CableStatus};
use control::{Answer, Failure, Request};
use mesh::roster::Standing;

use crate::driver::{Shard, now};
use crate::readings::{self, Reading};
use crate::{gateway, membership, status, wire};

/// Carries a request out.
pub(crate) async fn handle(shard: &Rc<Shard>, request: Request) -> Result<Reading, Failure> {
    let answer = match request {
        Request::Id => {
            Answer::Id { name: shard.name.clone(), key: shard.identity.public().to_string() }
        }
        Request::Status => Answer::Status(Box::new(status::node(shard))),
        Request::Ports => return Ok(Reading::Ports(readings::ports(shard))),
        Request::Macs { node, vlan } => {
            return Ok(Reading::Macs(readings::macs(shard, node, vlan).await));
        }
        Request::Nodes => return Ok(Reading::Nodes(readings::nodes(shard))),
        Request::Cables => return Ok(Reading::Cables(readings::cables(shard))),
        Request::Trace { target, vlan } => {
            return Ok(Reading::Trace(readings::trace(shard, &target, vlan)));
        }
        Request::Ping { target, vlan, octets, wait_ms } => {
            let wait = Duration::from_millis(wait_ms.min(MAX_PING_WAIT_MS));
            let reading = readings::ping(shard, &target, vlan, octets, wait).await;
            return Ok(Reading::Ping(reading));
        }
        Request::Events { .. } => Answer::Events,
        Request::Trust { key, name } => trust(shard, &key, name).await?,
        Request::Untrust { key } => untrust(shard, &key).await?,
        Request::Connect { address, once, parallel } => {
            connect(shard, &address, once, parallel).await?
        }
        Request::Invite { .. }
        | Request::Invites
        | Request::Uninvite { .. }
        | Request::Join { .. }
        | Request::Revoke { .. }
        | Request::Leave { .. }
        | Request::RotateKey => membership::handle_request(shard, request).await?,
        Request::Disconnect { cable } => disconnect(shard, &cable).await?,
        Request::Leases
        | Request::LeaseAdd { .. }
        | Request::LeaseRemove { .. }
        | Request::Forwards
        | Request::ForwardAdd { .. }
        | Request::ForwardRemove { .. } => gateway::handle_request(shard, request).await?,
        Request::Wires => wire::requests::list(shard),
        Request::Wire { target, change } => wire::requests::handle(shard, target, change).await?,
        Request::WireProfiles => wire::requests::profiles(),
    };
    Ok(answer.into())
}

async fn trust(shard: &Shard, key: &str, name: Option<String>) -> Result<Answer, Failure> {
    let what = "the key is not trusted";
    let fix = "copy the line that vdecable id prints on the other host";
    let key: PublicKey = key.parse().map_err(|err| Failure::new(what, err, fix))?;
    if key == shard.identity.public() {
        return Err(Failure::new(what, "it is this node's own key", fix));
    }
    if let Some(member) = shard.trust.members().into_iter().find(|member| member.key == key)
        && matches!(member.standing, Standing::Revoked | Standing::Replaced(_) | Standing::Outrun)
    {
        let why = "the mesh has put this key out, which stands above trust by hand";
        let fix = "invite it again: vdecable invite here, vdecable join there";
        return Err(Failure::new(what, why, fix));
    }
    if let Some(name) = &name {
        if !control::path::is_node_name(name) {
            let why = format!("{name:?} is not a name");
            return Err(Failure::new(what, why, "use letters, digits, '-', '_' and '.'"));
        }
        if shard.trust.list().iter().any(|t| t.key != key && t.name.as_ref() == Some(name)) {
            let why = format!("another trusted key is called {name} already");
            return Err(Failure::new(what, why, "choose another name, or untrust the old key"));
        }
    }
    let added = shard.trust.aside(move |trust| trust.add(key, name)).await;
    added.map_err(|err| Failure::new(what, err, "make room or mend the state directory"))?;
    shard.cables.handle_trust_change();
    Ok(Answer::Done { message: format!("trusted: {key}") })
}

async fn untrust(shard: &Shard, which: &str) -> Result<Answer, Failure> {
    let what = "nothing was changed";
    let key = shard.trust.find(which).ok_or_else(|| {
        Failure::new(
            what,
            format!("{which} is not trusted anyway"),
            "vdecable status lists the trusted keys",
        )
    })?;
    let removed = shard.trust.aside(move |trust| trust.remove(key)).await;
    removed.map_err(|err| Failure::new(what, err, "make room or mend the state directory"))?;
    shard.cables.handle_trust_change();
    Ok(Answer::Done { message: format!("trusted no more: {key}") })
}

async fn connect(
    shard: &Shard,
    address: &str,
    once: bool,
    parallel: bool,
) -> Result<Answer, Failure> {
    let what = "no cable was made";
    membership::exchange_contacts(shard);
    let target: Target = shard.cables.target(address).map_err(|err| {
        let fix =
            "write a member's name (vdecable nodes lists them), HOST, HOST:PORT or [IPV6]:PORT";
        Failure::new(what, err, fix)
    })?;
    if let Some(cable) = shard.cables.dialled_by_member(&target).filter(|_| !parallel) {
        return Ok(Answer::Cable { cable: cable.to_string(), created: false });
    }
    let keep = if once { Keep::Once } else { Keep::Always };
    match shard.cables.connect(target, keep).await {
        Ok((cable, created)) => Ok(Answer::Cable { cable: cable.to_string(), created }),
        Err(err) => {
            let fix = match &err {
                CableError::Unresolved(..) => {
                    "check the spelling: neither a member (vdecable nodes lists them) nor a host is called so"
                }
                CableError::NoAddress(_) => {
                    "it has said nothing yet of where it can be reached; give an address: vdecable connect HOST"
                }
                CableError::Own(_) => "name another member; vdecable nodes lists them",
                CableError::TooMany => "disconnect one first",
                CableError::Store(_) => "make room or mend the state directory",
                CableError::Unknown(_) => "",
            };
            Err(Failure::new(what, err, fix))
        }
    }
}

/// Pulls a cable out, and forgets what its wire was set to.
pub(crate) fn pull_out(shard: &Shard, which: &str) -> Result<CableId, CableError> {
    let cable = shard.cables.disconnect(which)?;
    wire::requests::forget_cable(shard, &cable.to_string());
    Ok(cable)
}

/// How long after a cable was pulled out it is watched whether the peer dials another one: the peer does so
/// at once or not at all.
const WATCH: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(50);

async fn disconnect(shard: &Shard, which: &str) -> Result<Answer, Failure> {
    let before = shard.cables.statuses();
    let cable = pull_out(shard, which).map_err(|err| {
        let fix =
            "vdecable status lists the cables: give an id (c1), an address, a peer's name or key";
        Failure::new("no cable was pulled out", err, fix)
    })?;
    let mut message = format!("cable {cable} pulled out");
    let id = cable.to_string();
    if let Some(pulled) = before.into_iter().find(|before| before.id == id) {
        message.extend(what_undoes(shard, &pulled).await);
    }
    Ok(Answer::Done { message })
}

/// How the two nodes of a cable that was pulled out are linked all the same, or will be.
async fn what_undoes(shard: &Shard, pulled: &CableStatus) -> Option<String> {
    let key = pulled.key.as_deref()?;
    let peer = pulled.peer.as_deref().unwrap_or(key);
    let own = shard.trust.name_of(shard.identity.public());
    let own = own.unwrap_or_else(|| shard.identity.public().to_string());
    let there = format!("on that host: vdecable disconnect {own}");
    match pulled.state {
        CableState::Up => {
            let until = now() + WATCH;
            loop {
                let cables = shard.cables.statuses().into_iter();
                let mut others = cables.filter(|other| other.key.as_deref() == Some(key));
                if let Some(other) = others.find(|other| other.state == CableState::Up) {
                    let (id, dialled) = (&other.id, other.dialled_here);
                    let mend = if dialled { format!("vdecable disconnect {id}") } else { there };
                    let whose = if dialled { "this node" } else { peer };
                    return Some(format!(
                        "\n{peer} is linked with this node all the same, by cable {id}, which {whose} \
                         dials; for the two to be apart, {mend}"
                    ));
                }
                if now() >= until {
                    return None;
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        CableState::AwaitingPeer => Some(format!(
            "\n{peer} could not be told, and will dial it again when it can; for the two to be apart, \
             {there}"
        )),
        _ => None,
    }
}
