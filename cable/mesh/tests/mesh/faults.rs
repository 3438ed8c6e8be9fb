//! Cables that end, fall silent or work one way; nodes that go and come.

use std::time::Duration;

use mesh::engine::{DownReason, Event, Silence};

use super::lab::*;

/// Sends a frame every 10 ms and returns how long none arrived.
fn gap(lab: &mut Lab, from: usize, to: usize, duration: Duration) -> Duration {
    let mut longest = Duration::ZERO;
    let mut current = Duration::ZERO;
    let mut sent = Vec::new();
    let end = lab.now + duration;
    while lab.now < end {
        sent.push(lab.unicast(from, to));
        lab.run(ms(10));
    }
    lab.run(secs(1));
    for frame in sent {
        if lab.deliveries(frame)[to] == 1 {
            current = Duration::ZERO;
        } else {
            current += ms(10);
        }
        longest = longest.max(current);
    }
    longest
}

fn ring(nodes: usize) -> Lab {
    let mut lab = Lab::new(nodes);
    for node in 0..nodes {
        lab.cable(node, (node + 1) % nodes, ms(2));
    }
    lab.run(secs(5));
    lab
}

#[test]
fn a_silent_cable_is_left_within_a_second() {
    let mut lab = ring(4);
    lab.events(0);
    lab.silence(0, [true, true]);
    let gap = gap(&mut lab, 0, 1, secs(3));
    assert!(gap <= ms(1000), "{gap:?}");
    let down = lab.events(0).into_iter().any(|event| {
        matches!(event, Event::LinkDown { reason: DownReason::Silent(Silence::Inbound), .. })
    });
    assert!(down);
    lab.assert_whole(&[0, 1, 2, 3]);
    // And it is used again when it works.
    lab.silence(0, [false, false]);
    lab.run(secs(10));
    assert_eq!(lab.mesh(0).path(&key(1)), [key(0), key(1)]);
    lab.assert_whole(&[0, 1, 2, 3]);
}

#[test]
fn a_cable_that_works_one_way_is_left_by_both_ends() {
    for mute in [[true, false], [false, true]] {
        let mut lab = ring(3);
        lab.events(0);
        lab.silence(0, mute);
        let gap = gap(&mut lab, 0, 1, secs(3));
        assert!(gap <= ms(1000), "{gap:?}");
        let silence = if mute[0] { Silence::Outbound } else { Silence::Inbound };
        let reason = DownReason::Silent(silence);
        let is_told =
            |event: &Event| matches!(event, Event::LinkDown { reason: r, .. } if *r == reason);
        assert!(lab.events(0).iter().any(is_told));
        lab.assert_whole(&[0, 1, 2]);
    }
}

#[test]
fn a_closed_cable_is_left_at_once() {
    let mut lab = ring(4);
    lab.close(0);
    let gap = gap(&mut lab, 0, 1, secs(2));
    assert!(gap <= ms(50), "{gap:?}");
    lab.assert_whole(&[0, 1, 2, 3]);
}

#[test]
fn a_node_that_takes_leave_is_bypassed_at_once() {
    let mut lab = ring(4);
    let now = lab.now;
    lab.mesh(1).handle_leave(now);
    lab.settle(1);
    let gap = gap(&mut lab, 0, 2, secs(2));
    assert!(gap <= ms(50), "{gap:?}");
}

#[test]
fn a_transit_node_that_dies_is_bypassed_and_its_return_is_seen() {
    let mut lab = ring(4);
    lab.kill(1);
    let gap = gap(&mut lab, 0, 2, secs(3));
    assert!(gap <= ms(1000), "{gap:?}");
    let left = |event: &Event| matches!(event, Event::NodeLeft(who) if who.key == key(1));
    assert!(lab.events(3).iter().any(left));
    lab.close(0);
    lab.close(1);
    lab.boot(1, 2, 1);
    lab.cable(0, 1, ms(2));
    lab.cable(1, 2, ms(2));
    lab.run(secs(5));
    lab.assert_whole(&[0, 1, 2, 3]);
}

#[test]
fn two_halves_go_on_alone_and_become_one_again() {
    let mut lab = Lab::new(6);
    for half in [0, 3] {
        lab.cable(half, half + 1, ms(1));
        lab.cable(half + 1, half + 2, ms(1));
        lab.cable(half + 2, half, ms(1));
    }
    let bridge = lab.cable(2, 3, ms(10));
    lab.run(secs(5));
    lab.assert_whole(&[0, 1, 2, 3, 4, 5]);
    lab.silence(bridge, [true, true]);
    lab.run(secs(5));
    lab.assert_whole(&[0, 1, 2]);
    lab.assert_whole(&[3, 4, 5]);
    // Something changes on either side, and more than the maximum age passes.
    lab.cable(0, 1, ms(1));
    lab.cable(4, 5, ms(1));
    lab.run(secs(1500));
    assert_eq!(lab.views(0).len(), 3, "the others are forgotten");
    lab.silence(bridge, [false, false]);
    lab.run(secs(20));
    lab.assert_whole(&[0, 1, 2, 3, 4, 5]);
}

/// Floods from a node every 2 ms, from when it has news on.
fn flood_on(lab: &mut Lab, at: usize, is_news: impl Fn(&Event) -> bool) {
    lab.events(at);
    while !lab.events(at).iter().any(&is_news) {
        lab.run(ms(1));
    }
    let mut frames = Vec::new();
    for _ in 0..500 {
        frames.push(lab.flood(at));
        lab.run(ms(2));
    }
    lab.run(secs(1));
    for (number, frame) in frames.into_iter().enumerate() {
        for (node, count) in lab.deliveries(frame).into_iter().enumerate() {
            assert_eq!(count, u32::from(node != at), "frame {number} at node {node}");
        }
    }
}

#[test]
fn floods_get_through_while_a_cable_dies() {
    let mut lab = Lab::new(6);
    for node in 0..6 {
        lab.cable(node, (node + 1) % 6, ms(20));
    }
    lab.run(secs(15));
    lab.silence(0, [true, true]);
    flood_on(&mut lab, 0, |event| matches!(event, Event::LinkDown { .. }));
}

#[test]
fn floods_get_through_while_a_cable_comes() {
    for at in [0, 2, 4] {
        let mut lab = Lab::new(5);
        for node in 1..5 {
            lab.cable(node - 1, node, ms(20));
        }
        lab.run(secs(15));
        lab.events(0);
        lab.cable(4, 0, ms(1));
        if at == 2 {
            // It is told later than the ends.
            lab.run(ms(10));
            lab.cable(1, 2, ms(30));
        }
        flood_on(&mut lab, at, |event| matches!(event, Event::LinkUp { .. }));
    }
}

#[test]
fn a_neighbour_that_came_meanwhile_hears_of_nodes_that_come_back() {
    let mut lab = Lab::new(4);
    lab.cable(0, 1, ms(2));
    let broken = lab.cable(1, 2, ms(2));
    lab.run(secs(5));
    lab.close(broken);
    lab.run(secs(1));
    // Node 2 remembers node 0, of which there is nothing to tell now, nor anything new later.
    lab.cable(2, 3, ms(2));
    lab.run(secs(1));
    lab.cable(1, 2, ms(2));
    lab.run(ms(200));
    lab.assert_whole(&[0, 1, 2, 3]);
}

#[test]
fn a_new_node_knows_the_mesh_one_round_trip_after_its_cable_is_up() {
    let mut lab = Lab::new(4);
    lab.cable(0, 1, ms(5));
    lab.cable(1, 2, ms(5));
    lab.run(secs(5));
    lab.cable(2, 3, ms(5));
    lab.run(ms(70));
    assert_eq!(lab.views(3).iter().filter(|view| view.route.is_some()).count(), 4);
    assert_eq!(lab.views(0).iter().filter(|view| view.route.is_some()).count(), 4);
}
