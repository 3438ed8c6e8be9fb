//! Whether this node serves as the gateway, or another does and this one stands by.
//!
//! A mesh has one gateway. Every node that was told to be one claims the role, with the time at which
//! it first did; the earliest claim counts, at whatever node one looks. So a second gateway that is
//! started by mistake never drives the first one out, nor does a restart cost the first one its role.
//! Who sees an earlier claim that serves gives way at once, and takes over when no such claim has
//! served for a while.
//!
//! Leases are not shared: a gateway that takes over believes machines that renew, and asks on the wire
//! before it gives an address to anybody else (`Server::expect_unknown_leases`).

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use control::event::Event;
use mesh::engine::GatewayView;
use mesh::message::Bounded;
use mesh::record::GatewayClaim;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::ipv6::Ipv6;
use super::ownership::{self, AddressTaken};
use super::{Gateway, check, clean_up, start};
use crate::config::GatewayConfig;
use crate::driver::{Shard, now, wall_clock};
use crate::logging;

/// How long no other gateway must have served before this one takes over: longer than a node takes
/// to start again, shorter than half of a lease of a minute.
const TAKEOVER: Duration = Duration::from_secs(30);

/// How long a node that starts waits for its cables to tell of a gateway that is there.
const LISTEN: Duration = Duration::from_secs(2);

/// How soon the services are set up again when somebody has deleted their interface.
const AGAIN: Duration = Duration::from_secs(1);

/// The gateway's role at this node.
#[derive(Debug, Default)]
pub(crate) struct Role {
    serving: RefCell<Option<Rc<Gateway>>>,
    /// Why this node does not serve, though it was told to.
    obstacle: RefCell<Option<String>>,
    /// Others do not take this node for the gateway, and that was told.
    is_ignored: Cell<bool>,
    /// Whether it was decided, for the first time, if this node serves.
    is_settled: watch::Sender<bool>,
}

impl Role {
    /// The services, while this node is the gateway.
    pub(crate) fn gateway(&self) -> Option<Rc<Gateway>> {
        self.serving.borrow().clone()
    }

    /// Completes when it is decided whether this node serves.
    pub(crate) async fn settled(&self) {
        let mut settled = self.is_settled.subscribe();
        // The role outlives whoever waits.
        let _ = settled.wait_for(|is_settled| *is_settled).await;
    }

    fn settle(&self) {
        self.is_settled.send_replace(true);
    }

    /// Why this node is not the gateway, though it was told to be.
    pub(crate) fn obstacle(&self) -> Option<String> {
        self.obstacle.borrow().clone()
    }

    /// That other nodes do not take this node for the gateway, though it serves.
    pub(crate) fn ignored(&self, shard: &Shard) -> Option<String> {
        let own = shard.identity.public();
        let is_ignored = self.serving.borrow().is_some() && !shard.trust.may_be_gateway(own);
        let why = is_ignored.then(|| {
            format!(
                "the other nodes of this mesh do not take this node for the gateway: it was not given the role; let it join again by an invitation that has it (vdecable invite --role gateway on an administrator's host), or on each of the others: vdecable trust {own}"
            )
        });
        if let Some(why) = why.as_ref().filter(|_| !self.is_ignored.get()) {
            tracing::warn!("{why}");
        }
        self.is_ignored.set(is_ignored);
        why
    }

    /// Gives the role up, and leaves the host as it was.
    pub(crate) async fn end(&self, shard: &Shard) {
        shard.plane.borrow_mut().claim_gateway(None, now());
        let gateway = self.serving.borrow_mut().take();
        if let Some(gateway) = gateway {
            gateway.stop(shard).await;
        }
    }
}

/// Since when this node has had the role, in milliseconds since 1970, kept on disk.
#[derive(Debug, Serialize, Deserialize)]
struct Tenure {
    since: u64,
}

fn tenure_file(state: &Path) -> std::path::PathBuf {
    state.join("gateway.json")
}

fn tenure(state: &Path) -> anyhow::Result<u64> {
    let file = tenure_file(state);
    if let Some(Tenure { since }) = cable::store::load(&file)? {
        return Ok(since);
    }
    let since = wall_clock().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    cable::store::save(&file, &Tenure { since })?;
    Ok(since)
}

/// Fills the role for as long as the node runs, if the node was told to. `ready` is called when
/// nothing is missing for it: who is the gateway is decided later ([`Role::settled`]).
///
/// # Errors
/// What is missing for a gateway on this host.
pub(crate) async fn fill(
    shard: &Rc<Shard>,
    config: Option<GatewayConfig>,
    state: Option<&Path>,
    ready: impl FnOnce(),
) -> anyhow::Result<Infallible> {
    let Some(config) = config else {
        if let Some(state) = state {
            clean_up(state);
            // It may not have been there.
            let _ = std::fs::remove_file(tenure_file(state));
        }
        shard.role.settle();
        ready();
        return std::future::pending().await;
    };
    check(&config).await?;
    let since = tenure(&config.state)?;
    let ipv6 = Ipv6::new(&config)?;
    let claimant = Claimant { shard, config, since, ipv6, has_stood_by: Cell::new(false) };
    ready();
    claimant.listen().await;
    let mut takeover_at = now() + TAKEOVER;
    match claimant.rival() {
        Some(rival) if rival.claim.is_active => {
            // It may have been killed while it served.
            clean_up(&claimant.config.state);
            claimant.stand_by(&rival);
        }
        _ => claimant.serve().await.or_else(|err| claimant.put_off(err))?,
    }
    shard.role.settle();
    loop {
        let gateway = shard.role.gateway();
        takeover_at = claimant.look(gateway.as_deref(), takeover_at).await;
        let _told = shard.role.ignored(shard);
        claimant.until_change(takeover_at).await;
    }
}

/// A node that was told to be the gateway.
struct Claimant<'a> {
    shard: &'a Rc<Shard>,
    config: GatewayConfig,
    since: u64,
    ipv6: Option<Ipv6>,
    /// Whether another one served while this one ran.
    has_stood_by: Cell<bool>,
}

impl Claimant<'_> {
    fn rival(&self) -> Option<GatewayView> {
        self.shard.plane.borrow().gateway_rival(self.since)
    }

    fn claim(&self, is_active: bool) {
        let mac = self.shard.identity.interface_mac(&self.config.interface.to_string());
        let ipv6 = self.ipv6.map(|ipv6| ipv6.addresses(mac)).unwrap_or_default();
        let claim = GatewayClaim {
            is_active,
            since: self.since,
            is_guarded: self.config.guards,
            mac: mac.0,
            ipv4: self.config.address.octets(),
            prefix_len: self.config.subnet.prefix_len(),
            ipv6: Bounded::truncated(ipv6.iter().map(std::net::Ipv6Addr::octets).collect()),
        };
        self.shard.plane.borrow_mut().claim_gateway(Some(claim), now());
    }

    /// Waits until a gateway is heard of, or long enough. A node without cables has nobody to hear.
    async fn listen(&self) {
        if !ownership::may_hear_others(self.shard) {
            return;
        }
        let text = format!(
            "not the gateway yet: listening for {} s at most whether another node is",
            LISTEN.as_secs()
        );
        tracing::info!("{text}");
        *self.shard.role.obstacle.borrow_mut() = Some(text);
        let changed = self.shard.plane.borrow().gateways_changed.clone();
        let heard = async {
            while self.rival().is_none() {
                changed.notified().await;
            }
        };
        let _ = tokio::time::timeout(LISTEN, heard).await;
    }

    async fn serve(&self) -> anyhow::Result<()> {
        let succeeds = self.has_stood_by.get() || {
            // It may have served while this one was away.
            let gateways = self.shard.plane.borrow().mesh().gateways();
            gateways.iter().any(|view| !view.is_own)
        };
        let gateway = start(self.shard, self.config.clone(), succeeds).await?;
        *self.shard.role.serving.borrow_mut() = Some(gateway);
        *self.shard.role.obstacle.borrow_mut() = None;
        self.claim(true);
        Ok(())
    }

    /// Goes on without serving, when that may be mended while the node runs.
    fn put_off(&self, err: anyhow::Error) -> anyhow::Result<()> {
        if !err.is::<AddressTaken>() {
            return Err(err);
        }
        self.note_failure(&err);
        Ok(())
    }

    fn note_failure(&self, err: &anyhow::Error) {
        let obstacle = format!("this node cannot be the gateway: {}", logging::in_one_line(err));
        let before = self.shard.role.obstacle.borrow_mut().replace(obstacle.clone());
        match before.as_ref() == Some(&obstacle) {
            true => {}
            // A guest's doing.
            false if err.is::<AddressTaken>() => tracing::warn!("{obstacle}"),
            false => tracing::error!("{obstacle}"),
        }
        self.shard.plane.borrow_mut().claim_gateway(None, now());
    }

    /// Does not serve, because another node does.
    fn stand_by(&self, rival: &GatewayView) {
        self.has_stood_by.set(true);
        self.claim(false);
        let event = Event::GatewayRefused {
            node: self.shard.reporter.own(self.shard),
            by: self.shard.reporter.named(self.shard, &rival.who),
        };
        let text = event.sentence();
        let is_news = self.shard.role.obstacle.borrow().as_ref() != Some(&text);
        if is_news {
            *self.shard.role.obstacle.borrow_mut() = Some(text);
            self.shard.reporter.tell(event);
        }
    }

    /// Acts on what other nodes claim. Gives when this one may take over.
    async fn look(&self, serving: Option<&Gateway>, takeover_at: Instant) -> Instant {
        let (rival, now) = (self.rival(), now());
        match (serving, rival) {
            (Some(gateway), Some(rival)) if rival.claim.is_active => {
                self.stand_by(&rival);
                self.shard.role.serving.borrow_mut().take();
                gateway.stop(self.shard).await;
                now + TAKEOVER
            }
            (Some(gateway), _) if gateway.is_without_interface() => {
                self.shard.role.serving.borrow_mut().take();
                gateway.stop(self.shard).await;
                self.claim(false);
                now + AGAIN
            }
            (Some(_), _) => takeover_at,
            (None, Some(rival)) if rival.claim.is_active => {
                self.stand_by(&rival);
                now + TAKEOVER
            }
            // It will take over, and is seen to serve before long; if not, this one does not wait for
            // ever.
            (None, Some(_)) if now < takeover_at + TAKEOVER => takeover_at,
            (None, _) if now < takeover_at => takeover_at,
            (None, _) => {
                if let Err(err) = self.serve().await {
                    self.note_failure(&err);
                }
                now + TAKEOVER
            }
        }
    }

    /// Waits until there is something to look at.
    async fn until_change(&self, takeover_at: Instant) {
        let changed = self.shard.plane.borrow().gateways_changed.clone();
        match self.shard.role.gateway() {
            Some(gateway) => tokio::select! {
                () = changed.notified() => {}
                () = gateway.until_without_interface() => {}
            },
            None => {
                let due = takeover_at.max(now() + AGAIN);
                tokio::select! {
                    () = changed.notified() => {}
                    () = tokio::time::sleep_until(due.into()) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_the_role_since_it_was_first_told_to() {
        let state = tempfile::tempdir().unwrap();
        let first = tenure(state.path()).unwrap();
        cable::store::save(&tenure_file(state.path()), &Tenure { since: first - 5 }).unwrap();
        assert_eq!(tenure(state.path()).unwrap(), first - 5);
    }
}
