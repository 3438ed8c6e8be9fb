//! Who is the gateway, and what is told of ports that pretend to be.

use std::cell::RefCell;
use std::collections::BTreeSet;

use ether::MacAddr;
use mesh::NodeKey;
use mesh::engine::{Event, PortId};
use mesh::message::Bounded;
use mesh::record::{GatewayClaim, Notice, Offence};

use super::lab::*;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

thread_local! {
    /// Those who may not be the gateway, in the test that runs on this thread.
    static WITHOUT_ROLE: RefCell<BTreeSet<NodeKey>> = RefCell::default();
}

pub(crate) fn has_role(key: &NodeKey) -> bool {
    WITHOUT_ROLE.with_borrow(|without| !without.contains(key))
}

fn take_role(node: usize) {
    WITHOUT_ROLE.with_borrow_mut(|without| without.insert(key(node)));
}

fn give_role(node: usize) {
    WITHOUT_ROLE.with_borrow_mut(|without| without.remove(&key(node)));
}

fn claim(is_active: bool, since: u64) -> GatewayClaim {
    GatewayClaim {
        is_active,
        since,
        is_guarded: true,
        mac: [2, 0, 0, 0, 0, 1],
        ipv4: [10, 77, 0, 1],
        prefix_len: 24,
        ipv6: Bounded::default(),
    }
}

impl Lab {
    fn claim(&mut self, node: usize, claim: Option<GatewayClaim>) {
        let now = self.now;
        self.mesh(node).set_gateway(claim, now);
        self.settle(node);
    }

    /// The nodes that claim the role, by name, as one of them sees it.
    fn claimants(&mut self, node: usize) -> Vec<(String, bool)> {
        let views = self.mesh(node).gateways().into_iter();
        views.map(|view| (view.who.name.to_string(), view.claim.is_active)).collect()
    }

    fn rival(&mut self, node: usize, since: u64) -> Option<String> {
        self.mesh(node).gateway_rival(since).map(|view| view.who.name.to_string())
    }
}

#[test]
fn every_node_knows_the_gateway_and_hears_when_it_is_gone() {
    let mut lab = Lab::new(3);
    lab.cable(0, 1, ms(2));
    let far = lab.cable(1, 2, ms(2));
    lab.claim(0, Some(claim(true, 100)));
    lab.run(secs(2));
    assert_eq!(lab.claimants(2), [("n0".to_owned(), true)]);
    assert!(lab.mesh(2).poll_gateways_changed());
    assert!(!lab.mesh(2).poll_gateways_changed());
    let events = lab.events(2);
    assert!(events.iter().any(|e| matches!(e, Event::GatewayServes(who) if who.key == key(0))));

    lab.close(far);
    lab.run(secs(2));
    assert_eq!(lab.claimants(2), []);
    assert!(lab.mesh(2).poll_gateways_changed());
    let events = lab.events(2);
    assert!(events.iter().any(|e| matches!(e, Event::GatewayGone(who) if who.key == key(0))));

    lab.cable(1, 2, ms(2));
    lab.run(secs(2));
    assert_eq!(lab.claimants(2), [("n0".to_owned(), true)]);
    lab.claim(0, None);
    lab.run(secs(1));
    assert_eq!(lab.claimants(2), [], "the role was given up");
}

#[test]
fn of_two_gateways_that_meet_the_one_that_was_first_stays_whoever_looks() {
    for (since, first) in [([200, 100], 1), ([100, 200], 0), ([100, 100], 0)] {
        let mut lab = Lab::new(2);
        lab.claim(0, Some(claim(true, since[0])));
        lab.claim(1, Some(claim(true, since[1])));
        lab.cable(0, 1, ms(2));
        lab.run(secs(2));
        let second = 1 - first;
        assert_eq!(lab.rival(first, since[first]), None, "{since:?}");
        assert_eq!(lab.rival(second, since[second]), Some(format!("n{first}")), "{since:?}");
    }
}

#[test]
fn a_gateway_that_serves_matters_more_than_one_that_stands_by() {
    let mut lab = Lab::new(3);
    lab.cable(0, 1, ms(2));
    lab.cable(1, 2, ms(2));
    lab.claim(0, Some(claim(false, 100)));
    lab.claim(1, Some(claim(true, 200)));
    lab.run(secs(2));
    assert_eq!(lab.rival(2, 300), Some("n1".to_owned()));
    assert_eq!(lab.rival(1, 200), Some("n0".to_owned()), "it will take over");
    assert_eq!(lab.rival(0, 100), None);
}

#[test]
fn the_claim_of_a_node_without_the_gateways_role_counts_nowhere_else() {
    take_role(1);
    let mut lab = Lab::new(3);
    lab.cable(0, 1, ms(2));
    lab.cable(1, 2, ms(2));
    lab.claim(0, Some(claim(true, 100)));
    lab.claim(1, Some(claim(true, 0)));
    lab.run(secs(2));
    for node in [0, 2] {
        assert_eq!(lab.claimants(node), [("n0".to_owned(), true)], "as n{node} sees it");
        let now = lab.now;
        let shown = lab.mesh(node).nodes(now).into_iter().filter(|node| node.gateway.is_some());
        assert_eq!(shown.map(|node| node.key).collect::<Vec<_>>(), [key(0)]);
        let of_thief = |e: &Event| matches!(e, Event::GatewayServes(who) if who.key == key(1));
        assert!(!lab.events(node).iter().any(of_thief));
    }
    assert_eq!(lab.rival(0, 100), None, "the gateway does not give way");
    assert_eq!(lab.rival(1, 0), Some("n0".to_owned()), "it gives way to whoever has the role");
}

#[test]
fn a_gateway_counts_from_when_it_gets_the_role_until_it_loses_it() {
    take_role(0);
    let mut lab = Lab::new(2);
    lab.cable(0, 1, ms(2));
    lab.claim(0, Some(claim(true, 100)));
    lab.run(secs(2));
    assert_eq!(lab.claimants(1), []);
    lab.mesh(1).poll_gateways_changed();

    give_role(0);
    lab.run(secs(6));
    assert!(lab.mesh(1).poll_gateways_changed());
    assert_eq!(lab.claimants(1), [("n0".to_owned(), true)]);

    take_role(0);
    lab.run(secs(6));
    assert!(lab.mesh(1).poll_gateways_changed());
    assert_eq!(lab.claimants(1), []);
    let events = lab.events(1);
    assert!(events.iter().any(|e| matches!(e, Event::GatewayGone(who) if who.key == key(0))));
}

#[test]
fn a_port_that_pretends_to_be_the_gateway_is_told_of_everywhere_once_until_it_stops() {
    let mut lab = Lab::new(2);
    lab.cable(0, 1, ms(2));
    lab.run(secs(1));
    lab.events(0);
    for _ in 0..100 {
        let now = lab.now;
        lab.mesh(0).handle_guarded(PortId(7), "vm", Offence::DhcpServer, MAC, now);
        lab.settle(0);
        lab.run(ms(100));
    }
    let own = lab.events(0);
    let told = own.iter().filter(|e| matches!(e, Event::Guarded { port: PortId(7), .. })).count();
    assert_eq!(told, 1);
    let is_notice = |notice: &Notice| {
        matches!(notice, Notice::Guarded { number: 7, offence: Offence::DhcpServer, .. })
    };
    let raised = lab.events(1).into_iter();
    let raised =
        raised.filter(|e| matches!(e, Event::NoticeRaised { notice, .. } if is_notice(notice)));
    assert_eq!(raised.count(), 1);
    assert!(lab.mesh(1).notices().iter().any(|(who, n)| who.key == key(0) && is_notice(n)));
    lab.run(secs(65));
    assert_eq!(lab.mesh(1).notices(), [], "it has stopped");
}

#[test]
fn ports_that_pretend_leave_room_for_notices_of_loops() {
    let mut lab = Lab::new(2);
    lab.cable(0, 1, ms(2));
    for port in 0..100 {
        let now = lab.now;
        lab.mesh(0).handle_guarded(PortId(port), "vm", Offence::Router, MAC, now);
    }
    lab.run(secs(2));
    assert_eq!(lab.mesh(1).notices().len(), 8);
}
