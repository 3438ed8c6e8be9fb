//! Who is the gateway of the mesh, and who sends what only it may.
//!
//! Every node that wants the role says so in a record, and whether it serves or stands by. All see
//! the same claims in the same order, so that no election is needed: of those who may have the role
//! ([`Authority::may_be_gateway`]) the earliest counts. When to
//! begin, to give way and to take over is for the shell, which asks [`Mesh::gateway_rival`].

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ether::MacAddr;

use super::database::Node;
use super::event::{Event, Who};
use super::{Mesh, PortId};
use crate::authority::{Authority, NodeKey};
use crate::message::Bounded;
use crate::record::{GatewayClaim, GatewayRecord, Notice, Offence, PortName, Record, Slot};

/// How long a port is told of after it last sent what it may not.
const GUARD_NOTICE: Duration = Duration::from_secs(60);

/// Ports that are told of at once. Notices of loops, which nodes act on, must find room beside them.
const MAX_GUARD_NOTICES: usize = 8;

/// How often it is looked whether those who claim the role still may, and whether others do now:
/// nobody tells when a membership ends by time.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

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
    /// All whose claims count.
    counted: BTreeSet<NodeKey>,
    /// When to look again who may have the role; none while nobody else claims it.
    look_at: Option<Instant>,
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

    /// The claims of the nodes that can be reached and may have the role, the one that counts first.
    /// A node always sees its own.
    pub fn gateways(&self) -> Vec<GatewayView> {
        let own = self.config.key;
        let mut views: Vec<GatewayView> = self
            .database
            .iter()
            .filter(|(_, node)| node.is_reachable())
            .filter_map(|(_, node)| {
                let claim = self.gateway_claim(node)?;
                Some(GatewayView { who: self.who(node.key), is_own: node.key == own, claim })
            })
            .collect();
        views.sort_by_key(|view| view.claim.rank(view.who.key));
        views
    }

    /// What a node claims, if it may.
    pub(super) fn gateway_claim(&self, node: &Node) -> Option<GatewayClaim> {
        let claim = claim_of(node.records.get(&Slot::GATEWAY)?)?;
        let counts = node.key == self.config.key || self.authority.may_be_gateway(&node.key);
        counts.then_some(claim)
    }

    /// Another node whose claim counts more than one that this node makes, or would make, since
    /// then: one that serves if there is one, else one that stands by. Every claim does, if this node
    /// may not have the role: the others do not see its own.
    pub fn gateway_rival(&self, since: u64) -> Option<GatewayView> {
        let own = (since, self.config.key);
        let may_serve = self.authority.may_be_gateway(&self.config.key);
        let is_above = |view: &GatewayView| !may_serve || view.claim.rank(view.who.key) < own;
        let others = self.gateways().into_iter().filter(|view| !view.is_own);
        let above: Vec<GatewayView> = others.filter(is_above).collect();
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

    /// When to look again who may have the role.
    pub(super) fn next_gateway_look(&self) -> Option<Instant> {
        self.gateways.look_at
    }

    /// Looks whether roles were given or taken.
    pub(super) fn look_at_gateways_when_due(&mut self, now: Instant) {
        if self.gateways.look_at.take_if(|at| now >= *at).is_none() {
            return;
        }
        let views = self.gateways().into_iter().filter(|view| !view.is_own);
        let counted: BTreeSet<NodeKey> = views.map(|view| view.who.key).collect();
        if counted == self.gateways.counted {
            self.gateways.look_at = self.is_gateway_claimed().then(|| now + LOOK_INTERVAL);
        } else {
            self.gateways_changed(now);
        }
    }

    /// Whether another node claims the role, rightly or not.
    fn is_gateway_claimed(&self) -> bool {
        let mut others = self.database.iter().filter(|(_, node)| node.key != self.config.key);
        others.any(|(_, node)| node.records.contains_key(&Slot::GATEWAY))
    }

    /// Another node's claim, or the way to it, has changed.
    pub(super) fn gateways_changed(&mut self, now: Instant) {
        self.gateways.has_changed = true;
        self.gateways.look_at = self.is_gateway_claimed().then(|| now + LOOK_INTERVAL);
        let views = self.gateways();
        let others = || views.iter().filter(|view| !view.is_own);
        self.gateways.counted = others().map(|view| view.who.key).collect();
        let serving: BTreeSet<NodeKey> =
            others().filter(|view| view.claim.is_active).map(|view| view.who.key).collect();
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

fn claim_of(record: &Record) -> Option<GatewayClaim> {
    record.decode::<GatewayRecord>()?.into_vec().pop()
}
