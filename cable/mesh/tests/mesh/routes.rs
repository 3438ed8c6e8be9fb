//! Where frames go when nothing is wrong.

use super::lab::*;

#[test]
fn a_pair_finds_each_other_at_once() {
    let mut lab = Lab::new(2);
    lab.cable(0, 1, ms(5));
    lab.run(ms(60));
    lab.assert_whole(&[0, 1]);
}

#[test]
fn a_ring_delivers_each_frame_once_and_uses_all_its_cables() {
    for nodes in [3, 4, 7] {
        let mut lab = Lab::new(nodes);
        for node in 0..nodes {
            lab.cable(node, (node + 1) % nodes, ms(2));
        }
        lab.run(secs(5));
        let all: Vec<_> = (0..nodes).collect();
        lab.assert_whole(&all);
        // Each tree leaves out one cable: n - 1 copies, none of them twice.
        let flood = lab.flood(0);
        lab.run(secs(1));
        assert_eq!(lab.copies[&flood], u32::try_from(nodes).unwrap() - 1);
    }
}

#[test]
fn a_full_mesh_delivers_each_frame_once() {
    let mut lab = Lab::new(6);
    for a in 0..6 {
        for b in 0..a {
            lab.cable(a, b, ms(1 + (a * 7 + b * 3) as u64 % 5));
        }
    }
    lab.run(secs(5));
    lab.assert_whole(&[0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_chain_of_forty_nodes_is_crossed() {
    let mut lab = Lab::new(40);
    for node in 1..40 {
        lab.cable(node - 1, node, ms(1));
    }
    lab.run(secs(5));
    let frame = lab.unicast(0, 39);
    let flood = lab.flood(39);
    lab.run(secs(2));
    assert_eq!(lab.deliveries(frame)[39], 1);
    assert_eq!(lab.deliveries(flood)[..39], [1; 39]);
}

#[test]
fn parallel_cables_carry_different_flows_and_each_frame_once() {
    let mut lab = Lab::new(3);
    lab.cable(0, 1, ms(2));
    lab.cable(0, 1, ms(2));
    lab.cable(1, 2, ms(2));
    lab.run(secs(5));
    lab.assert_whole(&[0, 1, 2]);
    let egress = lab.mesh(2).nick();
    let used: std::collections::BTreeSet<_> =
        (0..16).map(|flow| format!("{:?}", lab.mesh(0).next_hop(egress, None, flow))).collect();
    assert_eq!(used.len(), 2, "{used:?}");
}

/// The cables that frames of many flows take first.
fn first_cables(lab: &mut Lab, from: usize, to: usize) -> std::collections::BTreeSet<String> {
    let egress = lab.mesh(to).nick();
    (0..32).map(|flow| format!("{:?}", lab.mesh(from).next_hop(egress, None, flow))).collect()
}

#[test]
fn equal_ways_by_different_nodes_share_the_flows_at_every_node_that_has_them() {
    // Two diamonds in a row.
    let mut lab = Lab::new(7);
    for (left, right) in [(0, 3), (3, 6)] {
        for middle in [left + 1, left + 2] {
            lab.cable(left, middle, ms(2));
            lab.cable(middle, right, ms(2));
        }
    }
    lab.run(secs(5));
    assert_eq!(first_cables(&mut lab, 0, 6).len(), 2);
    assert_eq!(first_cables(&mut lab, 3, 6).len(), 2);
    // Flows that took one of the two ways to node 3 take both from there on.
    let egress = lab.mesh(6).nick();
    let here = |lab: &mut Lab, at, flow| format!("{:?}", lab.mesh(at).next_hop(egress, None, flow));
    let first = here(&mut lab, 0, 0);
    let same: Vec<u32> = (0..64).filter(|flow| here(&mut lab, 0, *flow) == first).collect();
    let onward: std::collections::BTreeSet<_> =
        same.iter().map(|flow| here(&mut lab, 3, *flow)).collect();
    assert_eq!(onward.len(), 2);
    let frame = lab.unicast(0, 6);
    lab.run(secs(1));
    assert_eq!(lab.copies[&frame], 4);
    lab.assert_whole(&[0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn when_one_of_two_equal_ways_ends_its_flows_take_the_other_at_once() {
    let mut lab = Lab::new(4);
    let cables = [(0, 1), (1, 3), (0, 2), (2, 3)].map(|(a, b)| lab.cable(a, b, ms(2)));
    lab.run(secs(5));
    lab.close(cables[0]);
    let frame = lab.unicast(0, 3);
    lab.run(ms(10));
    assert_eq!(lab.deliveries(frame)[3], 1);
}

#[test]
fn a_way_that_is_worse_or_has_more_cables_is_not_shared() {
    // By node 2 it takes longer; by nodes 4 and 5 it takes as long, and crosses three cables.
    let mut lab = Lab::new(6);
    for (a, b, delay) in [(0, 1, 9), (1, 3, 9), (0, 2, 9), (2, 3, 25), (0, 4, 6), (4, 5, 6)] {
        lab.cable(a, b, ms(delay));
    }
    lab.cable(5, 3, ms(6));
    lab.run(secs(5));
    assert_eq!(first_cables(&mut lab, 0, 3).len(), 1);
    lab.assert_whole(&[0, 1, 2, 3, 4, 5]);
}

#[test]
fn the_faster_way_is_taken_although_it_has_more_cables() {
    let mut lab = Lab::new(3);
    lab.cable(0, 2, ms(50));
    lab.cable(0, 1, ms(5));
    lab.cable(1, 2, ms(5));
    lab.run(secs(3));
    assert_eq!(lab.mesh(0).path(&key(2)), [key(0), key(1), key(2)]);
    lab.assert_whole(&[0, 1, 2]);
}

#[test]
fn jitter_moves_no_route_and_a_lasting_change_does() {
    let mut lab = Lab::new(3);
    let direct = lab.cable(0, 2, ms(10));
    lab.cable(0, 1, ms(6));
    lab.cable(1, 2, ms(6));
    lab.run(secs(30));
    let runs = lab.mesh(0).counters().runs;
    for step in 0..100 {
        lab.cables[direct].delay = ms(9 + step % 3);
        lab.run(ms(300));
    }
    assert_eq!(lab.mesh(0).counters().runs, runs, "jitter of a tenth");
    assert_eq!(lab.mesh(0).path(&key(2)), [key(0), key(2)]);
    lab.cables[direct].delay = ms(40);
    lab.run(secs(30));
    assert_eq!(lab.mesh(0).path(&key(2)), [key(0), key(1), key(2)]);
    lab.assert_whole(&[0, 1, 2]);
}

#[test]
fn nothing_but_beats_is_sent_when_nothing_changes() {
    let mut lab = Lab::new(4);
    for node in 0..4 {
        lab.cable(node, (node + 1) % 4, ms(3));
    }
    lab.run(secs(30));
    let before = lab.control_messages;
    lab.run(secs(600));
    assert_eq!(lab.control_messages, before);
}
