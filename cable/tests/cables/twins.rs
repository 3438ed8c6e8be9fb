//! Two cables between the same two nodes: one serves, the other stands by.

use control::status::CableState;

use crate::lab::{self, Heard, Home, Node, introduce, link, stays, until};
use crate::relay::Relay;

/// The node with the lower key, whose cable stays, and the other.
fn nodes() -> (Node, Node) {
    let [low, high] = Home::pair().map(|home| home.start());
    introduce(&low, &high);
    (low, high)
}

/// How often a node's data plane was told of a change.
fn changes(nodes: &[&Node]) -> Vec<usize> {
    nodes.iter().map(|node| node.heard().len()).collect()
}

#[test]
fn of_two_nodes_that_dial_each_other_the_one_with_the_lower_key_keeps_its_cable() {
    lab::run(async {
        for order in 0..3 {
            let (low, high) = nodes();
            let (ours, theirs) = match order {
                0 => {
                    let ours = link(&low, &high, high.address()).await;
                    (ours, high.connect(low.address()).await)
                }
                1 => {
                    let theirs = link(&high, &low, low.address()).await;
                    (low.connect(high.address()).await, theirs)
                }
                _ => tokio::join!(low.connect(high.address()), high.connect(low.address())),
            };
            until("it is settled", || {
                low.is_up(ours)
                    && low.states() == [CableState::Up]
                    && high.status(theirs).unwrap().state == CableState::Standby
                    && high.states().len() == 2
                    && (low.link_count(), high.link_count()) == (1, 1)
            })
            .await;
            assert_eq!(high.reason(theirs), "another cable links the same two nodes");
            stays("it is settled for good", || changes(&[&low, &high])).await;
            if order == 0 {
                assert_eq!(changes(&[&low, &high]), [1, 1], "the first was left alone");
            }
            assert!(changes(&[&low, &high]) <= vec![3, 3]);

            // The one that stood by takes over when the first is pulled out.
            low.cables.disconnect(&ours.to_string()).unwrap();
            until("the other serves", || {
                high.is_up(theirs) && (low.link_count(), high.link_count()) == (1, 1)
            })
            .await;
        }
    });
}

#[test]
fn every_cable_with_a_peer_is_pulled_out_by_the_peers_key() {
    lab::run(async {
        for low_pulls in [true, false] {
            let (low, high) = nodes();
            link(&low, &high, high.address()).await;
            let theirs = high.connect(low.address()).await;
            let state = || high.status(theirs).unwrap().state;
            until("the second stands by", || state() == CableState::Standby).await;
            let (by, from) = if low_pulls { (&low, &high) } else { (&high, &low) };
            let serving = by.cables.disconnect(&from.key.to_string()).unwrap();
            assert_eq!(by.heard(), [Heard::Up(serving)]);
            if low_pulls {
                // What the other node keeps is not this one's to pull out.
                until("the other's takes over", || high.is_up(theirs)).await;
            } else {
                until("both ends are down", || low.link_count() + high.link_count() == 0).await;
                stays("nothing comes back", || changes(&[&low, &high])).await;
                assert_eq!((low.states(), high.states()), (vec![], vec![]));
            }
        }
    });
}

#[test]
fn cables_that_one_end_dials_serve_side_by_side() {
    lab::run(async {
        let (low, high) = nodes();
        for (a, b) in [(&low, &high), (&high, &low)] {
            let relay = Relay::towards(b.address()).await;
            let first = link(a, b, b.address()).await;
            let before = changes(&[a, b]);
            let second = link(a, b, relay.address).await;
            stays("both go on", || changes(&[a, b])).await;
            assert_eq!(changes(&[a, b]), before.iter().map(|n| n + 1).collect::<Vec<_>>());
            assert!(a.is_up(first) && a.is_up(second));
            assert_eq!(b.link_count(), 2);

            a.cables.disconnect(&first.to_string()).unwrap();
            until("one is left", || b.link_count() == 1).await;
            assert!(a.is_up(second), "the other was left alone");
            a.cables.disconnect(&second.to_string()).unwrap();
            until("none is left", || a.link_count() + b.link_count() == 0).await;
        }
    });
}

#[test]
fn cables_that_start_at_once_all_come_up_and_fail_one_by_one() {
    lab::run(async {
        let (low, high) = nodes();
        let mut relays = Vec::new();
        for _ in 0..4 {
            relays.push(Relay::towards(high.address()).await);
        }
        for relay in &relays {
            low.connect(relay.address).await;
        }
        until("all are up", || (low.link_count(), high.link_count()) == (4, 4)).await;
        stays("it is settled for good", || changes(&[&low, &high])).await;
        assert_eq!(changes(&[&low, &high]), [4, 4]);

        relays[2].path.limit.set(0);
        until("the broken one is given up", || (low.link_count(), high.link_count()) == (3, 3))
            .await;
        let up = |state: &CableState| *state == CableState::Up;
        assert_eq!(low.states().iter().filter(|state| up(state)).count(), 3);
        assert_eq!(changes(&[&low, &high]), [5, 5]);
    });
}

#[test]
fn a_peer_that_starts_again_takes_the_place_of_its_own_cables() {
    lab::run(async {
        let (a, b) = (Home::new(), Home::new());
        let (first, node) = (a.start(), b.start());
        introduce(&first, &node);
        let relays = [Relay::towards(node.address()).await, Relay::towards(node.address()).await];
        for relay in &relays {
            link(&first, &node, relay.address).await;
        }
        // Gone without a word: its network is cut off first.
        for relay in &relays {
            relay.path.limit.set(0);
        }
        first.cables.shut_down().await;
        drop(first);
        for relay in &relays {
            relay.path.limit.set(usize::MAX);
        }
        let again = a.start();
        until("both cables are back", || again.link_count() == 2 && node.link_count() == 2).await;
        stays("it is settled", || changes(&[&again, &node])).await;
        assert_eq!(node.states().len(), 2, "each of its cables is known once");
    });
}

#[test]
fn a_node_that_dials_itself_is_told_so() {
    lab::run(async {
        let home = Home::new();
        let node = home.start();
        let cable = node.connect(node.address()).await;
        until("there is a reason", || !node.reason(cable).is_empty()).await;
        assert_eq!(
            node.reason(cable),
            "this address leads to this node itself, or to one with a copy of its key"
        );
        assert!(node.status(cable).unwrap().fix.is_some());
        assert_eq!(node.trust.refusals(), []);
        assert_eq!(node.heard(), []);
    });
}
