//! Who is the gateway of the mesh, and who sends what only it may.
//!
//! Every node that wants the role says so in a record, and whether it serves or stands by. All see
//! the same claims in the same order, so that no election is needed: the earliest counts. When to
//! begin, to give way and to take over is for the shell, which asks [`Mesh::gateway_rival`].

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ether::MacAddr;

use super::event::{Event, Who};
use super::{Mesh, PortId};
use crate::authority::{Authority, NodeKey};
use crate::message::Bounded;
use crate::record::{GatewayClaim, GatewayRecord, Notice, Offence, PortName, Record, Slot};

/// How long a port is told of after it last sent what it may not.
const GUARD_NOTICE: Duration = Duration::from_secs(60);

/// Ports that are told of at once. Notices of loops, which nodes act on, must find room beside them.
const MAX_GUARD_NOTICES: usize = 8;

/// What a node says of the gateway's role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayView {
    /// The node.
    pub who: Who,
    /// Whether it is this one.
    pub is_own: bool,
    /// What it says.
    pub claim: GatewayClaim,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Gateways {
    /// What this node says.
    own: Option<GatewayClaim>,
    /// The other nodes that serve.
    serving: BTreeSet<NodeKey>,
    /// Whether the shell should look again.
    has_changed: bool,
}

impl<A: Authority> Mesh<A> {
    /// Says what this node wants of the gateway's role; nothing at first.
    pub fn set_gateway(&mut self, claim: Option<GatewayClaim>, now: Instant) {
        let now = self.advance(now);
        if self.gateways.own != claim {
            self.gateways.own = claim;
            self.gateways.has_changed = true;
            self.issue_gateway(now);
        }
    }

    /// The claims of the nodes that can be reached, the one that counts first.
    pub fn gateways(&self) -> Vec<GatewayView> {
        let own = self.config.key;
        let mut views: Vec<GatewayView> = self
            .database
            .iter()
            .filter(|(_, node)| node.is_reachable())
            .filter_map(|(_, node)| {
                let claim = claim_of(node.records.get(&Slot::GATEWAY)?)?;
                Some(GatewayView { who: self.who(node.key), is_own: node.key == own, claim })
            })
            .collect();
        views.sort_by_key(|view| view.claim.rank(view.who.key));
        views
    }

    /// Another node whose claim counts more than one that this node makes, or would make, since
    /// then: one that serves if there is one, else one that stands by.
    pub fn gateway_rival(&self, since: u64) -> Option<GatewayView> {
        let own = (since, self.config.key);
        let others = self.gateways().into_iter();
        let above: Vec<GatewayView> =
            others.filter(|view| !view.is_own && view.claim.rank(view.who.key) < own).collect();
        above.iter().find(|view| view.claim.is_active).or_else(|| above.first()).cloned()
    }

    /// Whether [`gateways`](Self::gateways) may have changed since this was last asked.
    pub fn poll_gateways_changed(&mut self) -> bool {
        std::mem::take(&mut self.gateways.has_changed)
    }

    /// A frame that only the gateway may send came in at a port, and was dropped.
    pub fn handle_guarded(
        &mut self,
        id: PortId,
        name: &str,
        offence: Offence,
        mac: MacAddr,
        now: Instant,
    ) {
        let now = self.advance(now);
        let until = now + GUARD_NOTICE;
        let of_port = |notice: &&Notice| {
            matches!(notice, Notice::Guarded { number, offence: known, .. }
                     if (*number, *known) == (id.0, offence))
        };
        if let Some(known) = self.notices.find(of_port) {
            return self.notify(known, until, now);
        }
        let is_guard = |notice: &&Notice| matches!(notice, Notice::Guarded { .. });
        if self.notices.count(is_guard) < MAX_GUARD_NOTICES {
            let port = PortName::lossy(name);
            let notice = Notice::Guarded { port, number: id.0, offence, mac: mac.0 };
            self.notify(notice, until, now);
        }
        self.alarm(Event::Guarded { port: id, offence, mac }, now);
    }

    /// The claim must be told again, in a new run.
    pub(super) fn renew_gateway(&mut self, now: Instant) {
        if self.gateways.own.is_some() {
            self.issue_gateway(now);
        }
    }

    fn issue_gateway(&mut self, now: Instant) {
        let claims: GatewayRecord = Bounded::truncated(self.gateways.own.iter().cloned().collect());
        self.issue(Slot::GATEWAY, &claims, now);
    }

    /// Another node's claim, or the way to it, has changed.
    pub(super) fn gateways_changed(&mut self, now: Instant) {
        self.gateways.has_changed = true;
        let views = self.gateways().into_iter();
        let serving: BTreeSet<NodeKey> = views
            .filter(|view| !view.is_own && view.claim.is_active)
            .map(|view| view.who.key)
            .collect();
        let before = std::mem::replace(&mut self.gateways.serving, serving.clone());
        for key in before.difference(&serving) {
            let who = self.who(*key);
            self.alarm(Event::GatewayGone(who), now);
        }
        for key in serving.difference(&before) {
            let who = self.who(*key);
            self.alarm(Event::GatewayServes(who), now);
        }
    }
}

pub(super) fn claim_of(record: &Record) -> Option<GatewayClaim> {
    record.decode::<GatewayRecord>()?.into_vec().pop()
}
