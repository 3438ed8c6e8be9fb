//! Which cables count, and the shortest paths over them.

use std::time::Instant;

use mesh::engine::NextHop;
use mesh::message::{Bounded, Message, Records};

use super::lab::*;
use super::observer::*;

#[test]
fn a_cable_counts_when_both_ends_name_it_by_the_same_numbers() {
    let mut observer = Observer::new();
    let back = observer.back;
    let one = |sequence, link| link_state(1, sequence, vec![back, link]);
    // Node 2 names a cable that node 1 does not.
    observer.tell(&[link_state(1, 1, vec![back]), link_state(2, 1, vec![link(1, 8, 9, 5)])]);
    observer.wait();
    assert!(observer.reaches(key(1)) && !observer.reaches(key(2)));
    // Node 1 names one by numbers of which one is right.
    for (sequence, wrong) in [(2, link(2, 9, 7, 5)), (3, link(2, 7, 8, 5))] {
        observer.tell(&[one(sequence, wrong)]);
        observer.wait();
        assert!(!observer.reaches(key(2)), "{wrong:?}");
    }
    observer.tell(&[one(4, link(2, 9, 8, 5))]);
    observer.wait();
    assert!(observer.reaches(key(2)));
    let view = observer.mesh.nodes(observer.now);
    // The higher of the two costs counts, on both cables.
    assert_eq!(view[2].route.unwrap().cost, 12 + 5);
}

#[test]
fn a_frame_does_not_go_back_to_the_node_it_came_from() {
    let mut observer = Observer::new();
    let links = vec![observer.back, link(2, 9, 8, 5)];
    observer.tell(&[link_state(1, 1, links), link_state(2, 1, vec![link(1, 8, 9, 5)])]);
    observer.wait();
    let egress = observer.mesh.nodes(observer.now)[2].nick;
    let from = Some(observer.link);
    assert_eq!(observer.mesh.next_hop(egress, None, 0), NextHop::Link(observer.link));
    assert_eq!(observer.mesh.next_hop(egress, from, 0), NextHop::Back);
    let nobody = mesh::Nick::new(1).unwrap();
    assert_eq!(observer.mesh.next_hop(nobody, from, 0), NextHop::Unreachable);
    let own = observer.mesh.nick();
    assert_eq!(observer.mesh.next_hop(own, from, 0), NextHop::Here);
}

const NODES: usize = 1000;

#[expect(clippy::disallowed_methods, reason = "prints what the work took")]
fn timed(what: &str, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    println!("{what}: {:?}", start.elapsed());
}

/// A ring with chords. Nothing here asserts a time; what it took is printed (`--nocapture`, in an
/// optimised build).
#[test]
fn a_thousand_nodes_are_known_and_reached() {
    let mut observer = Observer::new();
    let number = |a: usize, b: usize| u32::try_from(a * 2000 + b).unwrap();
    let record = |node: usize| {
        let to = |steps: usize| {
            let to = 1 + (node - 1 + steps) % NODES;
            let cost = 3 + u32::try_from((node * to) % 17).unwrap();
            link(to, number(node, to), number(to, node), cost)
        };
        let mut links: Vec<_> = [1, NODES - 1, 37, NODES - 37].map(to).into();
        links.extend((node == 1).then_some(observer.back));
        link_state(node, 1, links)
    };
    let records: Vec<_> = (1..=NODES).map(record).collect();
    timed("1000 records", || observer.tell(&records));
    observer.now += ms(10);
    timed("the paths from here", || observer.mesh.handle_timeout(observer.now));
    timed("the paths from one neighbour", || observer.mesh.handle_timeout(observer.now));
    let nodes = observer.mesh.nodes(observer.now);
    let reached = nodes.iter().filter(|node| node.route.is_some()).count();
    assert_eq!(reached, NODES + 1);
    let farthest = nodes.iter().filter_map(|node| node.route).map(|route| route.hops).max();
    assert!(farthest.unwrap() < 40, "{farthest:?}");
}

#[test]
fn news_of_a_whole_mesh_is_checked_a_little_at_a_time_and_none_is_lost() {
    let Observer { mut mesh, now, link: cable, .. } = Observer::new();
    let before = mesh.counters().verified;
    let records: Vec<_> = (1..=NODES).map(|node| link_state(node, 1, Vec::new())).collect();
    let mut counts = vec![before];
    for chunk in records.chunks(200) {
        let records = Records { records: Bounded::truncated(chunk.to_vec()) };
        mesh.handle_message(cable, Message::Records(records), now).unwrap();
        counts.push(mesh.counters().verified);
    }
    while mesh.poll_timeout().is_some_and(|due| due <= now) {
        mesh.handle_timeout(now);
        counts.push(mesh.counters().verified);
    }
    assert!(counts.windows(2).all(|turn| turn[1] - turn[0] <= 4), "{counts:?}");
    assert_eq!(mesh.counters().verified - before, NODES as u64);
    assert_eq!(mesh.counters().accepted, NODES as u64);
}
