//! This node as a stranger that asks to be let in. Those who ask here: [`newcomers`](super::newcomers).

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mesh::message::{JoinRefusal, Message, Name, Unwelcome, Welcome, encode};
use mesh::roster::MAX_ENTRIES;
use tokio::task::JoinSet;

use super::entry::{canonical, now};
use super::{CableId, Cables, Shared};
use crate::address::Target;
use crate::failure::{self, CloseCode, Failure, Phase};
use crate::hello::{ControlError, Messages};
use crate::identity::PublicKey;
use crate::invitation::Token;
use crate::trust::enrolment::{SESSION_LABEL, request};
use crate::trust::{Letter, RosterError};

/// How long an answer is awaited: with it comes the whole roster, which takes its time on a bad path.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between the dials of two addresses of one token, so that the best one wins when several work.
const STAGGER: Duration = Duration::from_millis(150);

/// For how long the inviter is awaited when somebody else has let this node in: of all who may answer it
/// alone is known not to have been put out.
const INVITER_FIRST: Duration = Duration::from_secs(1);

/// This node was let in.
#[derive(Debug, Clone)]
pub struct Joined {
    /// What it is called in the mesh.
    pub name: String,
    /// What the node is called that let it in.
    pub by: String,
    /// The cable to that node.
    pub cable: CableId,
    /// Where it leads.
    pub address: Target,
}

/// Why this node was not let in.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// It may not, or could not be put on record.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// It is its own invitation.
    #[error("this node has made that invitation itself")]
    Own,
    /// The token names no address.
    #[error("the invitation names no address")]
    NoAddress,
    /// It was refused.
    #[error("{} refuses: {}", .0, reason(*.1))]
    Refused(SocketAddr, JoinRefusal),
    /// Nobody answered as they should.
    #[error("{}", .0.join("; "))]
    Unreached(Vec<String>),
    /// The cable could not be made.
    #[error(transparent)]
    Cable(#[from] super::CableError),
}

/// A refusal in words.
pub fn reason(refusal: JoinRefusal) -> &'static str {
    match refusal {
        JoinRefusal::Unknown => "it does not know this invitation",
        JoinRefusal::Expired => "the invitation's time is over",
        JoinRefusal::Used => "the invitation was used already",
        JoinRefusal::TakenBack => "the invitation was taken back",
        JoinRefusal::OtherMesh => "it belongs to another mesh than the invitation",
        JoinRefusal::NotAdmin => "it is not an administrator of its mesh",
        JoinRefusal::Full => "its mesh has as many members as there can be",
        JoinRefusal::Busy => "it cannot let anybody in now; try again in a minute",
    }
}

/// What one address answered.
struct Accepted {
    address: Target,
    welcome: Welcome,
    letter: Letter,
}

enum Declined {
    Refused(PublicKey, SocketAddr, JoinRefusal),
    Failed(String),
}

impl Cables {
    /// Joins the mesh of a token under a name, and keeps a cable to the node that let this one in.
    ///
    /// # Errors
    /// [`JoinError`]. This node is then in the mesh in which it was, unless only the cable failed.
    pub async fn join(&self, token: &Token, name: &str) -> Result<Joined, JoinError> {
        let shared = &self.shared;
        if shared.trust.latest_key(token.inviter) == shared.own {
            return Err(JoinError::Own);
        }
        shared.trust.may_enter(token.mesh)?;
        if token.addresses.is_empty() {
            return Err(JoinError::NoAddress);
        }
        let mut accepted = shared.ask_all(token, name).await?;
        let letters: Vec<Letter> =
            accepted.iter().map(|accepted| accepted.letter.clone()).collect();
        let entered = token.clone();
        let by = shared.trust.aside(move |trust| trust.enter(&entered, &letters)).await?;
        shared.trust.forget_refusals_by_peers();
        shared.roster_changed();
        let at = accepted.iter().position(|accepted| accepted.letter.by == by);
        let Accepted { address, welcome, .. } =
            accepted.swap_remove(at.expect("it is one of those who let this node in"));
        let (cable, _) = self.connect(address.clone(), super::Keep::Always).await?;
        let text = |name: Name| name.as_str().to_owned();
        Ok(Joined { name: text(welcome.name), by: text(welcome.by), cable, address })
    }
}

impl Shared {
    /// Asks at all addresses of a token, until the inviter has answered, or others have and the inviter
    /// had its time. Who has let this node in, at least one.
    async fn ask_all(
        self: &Rc<Self>,
        token: &Token,
        name: &str,
    ) -> Result<Vec<Accepted>, JoinError> {
        let mut attempts = JoinSet::new();
        for (turn, address) in (0..).zip(token.addresses.clone()) {
            let (shared, token, name) = (self.clone(), token.clone(), Name::lossy(name));
            attempts.spawn_local(async move {
                tokio::time::sleep(STAGGER * turn).await;
                ask(&shared, &token, address, &name).await
            });
        }
        let (mut accepted, mut refused, mut failed) = (Vec::new(), None, Vec::new());
        let mut until = None;
        loop {
            let answer = tokio::select! {
                answer = attempts.join_next() => answer,
                () = sleep_until(until) => break,
            };
            match answer {
                Some(Ok(Ok(answer))) => {
                    let is_inviter = answer.letter.by == token.inviter;
                    accepted.push(answer);
                    if is_inviter {
                        break;
                    }
                    until = until.or_else(|| Some(now() + INVITER_FIRST));
                }
                Some(Ok(Err(Declined::Refused(by, remote, refusal)))) => {
                    refused = refused.max(Some((rank(refusal), remote, refusal)));
                    // Nobody knows better, whoever else has let this node in.
                    if by == token.inviter && rank(refusal) == FINAL {
                        accepted.clear();
                        break;
                    }
                }
                Some(Ok(Err(Declined::Failed(why)))) => failed.push(why),
                Some(Err(_panicked)) => {}
                None => break,
            }
        }
        match (accepted.is_empty(), refused) {
            (false, _) => Ok(accepted),
            (true, Some((_, remote, refusal))) => Err(JoinError::Refused(remote, refusal)),
            (true, None) => Err(JoinError::Unreached(failed)),
        }
    }
}

/// Until a time, or for ever.
async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// How much a refusal says about the invitation rather than about the node that was asked.
fn rank(refusal: JoinRefusal) -> u8 {
    match refusal {
        JoinRefusal::Expired | JoinRefusal::Used | JoinRefusal::TakenBack => FINAL,
        JoinRefusal::Full => 3,
        JoinRefusal::Unknown => 2,
        JoinRefusal::OtherMesh => 1,
        JoinRefusal::NotAdmin | JoinRefusal::Busy => 0,
    }
}

/// No honest node would say otherwise.
const FINAL: u8 = 4;

async fn ask(
    shared: &Shared,
    token: &Token,
    address: Target,
    name: &Name,
) -> Result<Accepted, Declined> {
    let failed = |why: String| Declined::Failed(format!("{address}: {why}"));
    let resolved = address.resolve().await.map_err(|err| failed(err.to_string()))?;
    let mut last = failed("the name has no address".into());
    for remote in resolved {
        let remote = canonical(remote);
        last = match ask_at(shared, token, remote, name).await {
            Ok(Ok((welcome, letter))) => return Ok(Accepted { address, welcome, letter }),
            Ok(Err((by, refusal))) => return Err(Declined::Refused(by, remote, refusal)),
            Err(why) => failed(why),
        };
    }
    Err(last)
}

type Answer = Result<(Welcome, Letter), (PublicKey, JoinRefusal)>;

async fn ask_at(
    shared: &Shared,
    token: &Token,
    remote: SocketAddr,
    name: &Name,
) -> Result<Answer, String> {
    let connected = shared.endpoint.dial_as_stranger(remote).await.map_err(|f| f.reason())?;
    if connected.key == shared.own {
        return Err(Failure::Local(CloseCode::OwnKey).reason());
    }
    let session = connected.connection.export(SESSION_LABEL).ok_or("TLS exports nothing")?;
    let join = request(token, &session, shared.own, name);
    let connection = &connected.connection;
    let exchange = async {
        let (mut send, recv) = connection.open_bi().await?;
        send.write_all(&encode(&Message::Join(join))).await?;
        let mut messages = Messages::new(recv);
        let welcome = match messages.next().await? {
            Message::Welcome(welcome) => welcome,
            Message::Unwelcome(Unwelcome { reason }) => {
                let refusal = JoinRefusal::from_wire(reason).unwrap_or(JoinRefusal::Busy);
                return Ok(Err((connected.key, refusal)));
            }
            _ => return Err(ControlError::Misplaced),
        };
        let mut entries = Vec::new();
        loop {
            let Message::Roster(part) = messages.next().await? else {
                return Err(ControlError::Misplaced);
            };
            entries.extend(part.entries.into_vec());
            if part.last {
                let letter = Letter { by: connected.key, founding: part.founding, entries };
                return Ok(Ok((welcome, letter)));
            }
            if entries.len() > MAX_ENTRIES {
                return Err(ControlError::Misplaced);
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, connection.run(exchange)).await;
    failure::close(connection, CloseCode::Disconnected, "");
    let answer = answer.map_err(|_elapsed| "no answer in time")?;
    let err = match answer.ok_or_else(|| Failure::Fault.reason())? {
        Ok(answer) => return Ok(answer),
        Err(err) => err,
    };
    match err.ended().map(|end| Failure::of(end, Phase::Established, remote, None)) {
        Some(Failure::Closed(CloseCode::TooMany)) => Ok(Err((connected.key, JoinRefusal::Busy))),
        Some(failure) => Err(failure.reason()),
        None => Err(err.to_string()),
    }
}
