//! Answers from readings made by hand: this node (a), its neighbour b, and c behind b.

use std::time::Duration;

use ether::{MacAddr, VlanId};
use fabric::{PortId, RemoteEntry, RemoteId, Snapshot, SnapshotEntry};
use mesh::Nick;
use mesh::engine::{CableView, LinkId, LinkView, RouteView};
use mesh::message::Name;

use super::*;
use crate::readings::Seen;

const A: NodeKey = NodeKey([1; 32]);
const B: NodeKey = NodeKey([2; 32]);
const C: NodeKey = NodeKey([3; 32]);

fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

fn view(key: NodeKey, name: &str, route: Option<(u16, u32)>, links: &[(NodeKey, u32)]) -> NodeView {
    NodeView {
        key,
        name: Name::lossy(name),
        nick: Nick::new(key.0[0].into()).unwrap(),
        epoch: 1,
        is_own: key == A,
        route: route.map(|(hops, cost)| RouteView { hops, cost, next: B }),
        links: links.iter().map(|&(peer, cost)| LinkView { peer, cost }).collect(),
        stations: 3,
        gateway: None,
        age: Duration::from_secs(1),
    }
}

/// Two cables lead from b to c; b is called `bee` here.
fn chain() -> Nodes {
    Nodes {
        known: vec![
            view(A, "a", Some((0, 0)), &[(B, 5)]),
            view(B, "b", Some((1, 5)), &[(A, 4), (C, 30), (C, 7)]),
            view(C, "c", Some((2, 13)), &[(B, 8), (B, 22)]),
        ],
        given: BTreeMap::from([(B, "bee".to_owned())]),
    }
}

fn cut_off(links_of_c: &[(NodeKey, u32)]) -> Nodes {
    let mut nodes = chain();
    nodes.known[2] = view(C, "c", None, links_of_c);
    nodes
}

fn status(id: &str, key: NodeKey, state: CableState, reason: Option<&str>) -> CableStatus {
    CableStatus {
        id: id.into(),
        state,
        reason: reason.map(str::to_owned),
        fix: None,
        refused: false,
        retry_in_seconds: None,
        dialled_here: true,
        address: "hostb:7667".into(),
        remote: None,
        peer: None,
        key: Some(key.to_string()),
        up_seconds: None,
        rtt_ms: None,
        loss: None,
        rx_lost_datagrams: None,
        rx_broken_frames: None,
        path_mtu: None,
        profile: None,
        port: None,
        times_up: 0,
    }
}

fn stations(node: Option<&str>, vlan: Option<u16>) -> Result<Vec<MacEntry>, Failure> {
    let port = PortReading {
        port: PortId(4),
        kind: "vde",
        description: "QEMU".into(),
        blocked: false,
        listening: false,
        peer: None,
        max_frame: 1514,
        offload: false,
        counters: Default::default(),
    };
    let remote = |last, vlan, owner| RemoteEntry {
        mac: mac(last),
        vlan: VlanId(vlan),
        owner: RemoteId(owner),
    };
    macs(&MacsReading {
        snapshot: Snapshot {
            entries: vec![SnapshotEntry {
                mac: mac(2),
                vlan: VlanId(0),
                port: PortId(4),
                age: Duration::from_secs(9),
            }],
            remotes: vec![remote(1, 0, 2), remote(1, 7, 3), remote(3, 0, 99)],
            counters: Default::default(),
        },
        seen: Seen::from([((B, VlanId(0), mac(1)), (7, Duration::from_secs(3)))]),
        ports: vec![port],
        nodes: chain(),
        node: node.map(str::to_owned),
        vlan,
    })
}

#[test]
fn stations_are_listed_with_their_nodes_by_vlan_and_address() {
    let all = stations(None, None).unwrap();
    let brief: Vec<_> =
        all.iter().map(|e| (e.vlan, &e.mac[15..], e.node.as_deref(), e.port)).collect();
    assert_eq!(
        brief,
        [
            (0, "01", Some("bee"), Some(7)),
            (0, "02", Some("a"), Some(4)),
            (0, "03", None, None),
            (7, "01", Some("c"), None),
        ]
    );
    assert_eq!((all[0].here, all[0].age_seconds), (false, Some(3.0)));
    assert!(all[1].here && all[1].age_seconds == Some(9.0), "{:?}", all[1]);
    assert_eq!(all[1].description.as_deref(), Some("QEMU"));
}

#[test]
fn stations_are_filtered_by_node_and_vlan() {
    fn count(node: Option<&str>, vlan: Option<u16>) -> usize {
        stations(node, vlan).unwrap().len()
    }
    assert_eq!(count(None, Some(7)), 1);
    assert_eq!(count(None, Some(0)), 3);
    assert_eq!(count(Some("a"), None), 1);
    assert_eq!(count(Some("bee"), None), 1);
    assert_eq!(count(Some("b"), None), 1, "by the name that it gives itself");
    assert_eq!(count(Some(&C.to_string()), Some(7)), 1);
    assert_eq!(count(Some("c"), Some(0)), 0);
    assert!(stations(Some("nobody"), None).unwrap_err().why.contains("nobody"));
}

#[test]
fn nodes_are_listed_by_distance_with_the_next_on_the_way() {
    let mut reading =
        NodesReading { nodes: chain(), cables: Vec::new(), members: Vec::new(), wall: 0 };
    reading.nodes.known.reverse();
    let views = nodes(&reading);
    let brief: Vec<_> =
        views.iter().map(|n| (n.name.as_str(), n.hops, n.rtt_ms, n.next.as_deref())).collect();
    assert_eq!(
        brief,
        [
            ("a", Some(0), Some(0.0), None),
            ("bee", Some(1), Some(0.3), Some("bee")),
            ("c", Some(2), Some(0.9), Some("bee")),
        ]
    );
    assert!(views[0].own && views.iter().all(|node| node.reachable && node.reason.is_none()));
}

#[test]
fn a_node_out_of_reach_is_listed_last_with_what_is_known_of_why() {
    let why = |nodes_known, cables: &[CableStatus]| {
        let views = nodes(&NodesReading {
            nodes: nodes_known,
            cables: cables.to_vec(),
            members: Vec::new(),
            wall: 0,
        });
        let last = views.last().unwrap();
        assert!(last.name == "c" && !last.reachable && last.hops.is_none(), "{last:?}");
        last.reason.clone().unwrap()
    };
    assert!(why(cut_off(&[]), &[]).contains("no cable of its works"));
    assert!(why(cut_off(&[(B, 1)]), &[]).contains("its cables lead to bee, where nothing"));
    let mut both = cut_off(&[(B, 1)]);
    both.known[1].route = None;
    both.known[1].links.clear();
    both.known.swap(1, 2);
    both.known.remove(2);
    both.known.push(view(B, "b", None, &[(C, 1)]));
    let views =
        nodes(&NodesReading { nodes: both, cables: Vec::new(), members: Vec::new(), wall: 0 });
    let c = views.iter().find(|node| node.name == "c").unwrap();
    assert!(c.reason.as_ref().unwrap().contains("no way leads there either"), "{c:?}");

    let down = status("c5", C, CableState::Retrying, Some("no answer"));
    assert_eq!(why(cut_off(&[(B, 1)]), &[down]), "cable c5 is down: no answer");
    let silent = status("c5", C, CableState::Up, None);
    assert_eq!(why(cut_off(&[]), &[silent]), "nothing gets through cable c5");
}

fn way(target: Target, nodes: Nodes, places: Vec<Place>) -> Result<Vec<Trace>, Failure> {
    traces(&TraceReading {
        target,
        places,
        nodes,
        own_cables: BTreeMap::from([(B, vec!["c1".to_owned()])]),
        cables: Vec::new(),
    })
}

fn place(node: NodeKey, path: &[NodeKey]) -> Place {
    Place { vlan: None, port: None, node, path: path.to_vec() }
}

#[test]
fn a_way_has_the_cables_that_both_ends_tell_of_at_the_higher_of_their_costs() {
    let target = Target::Node("c".into());
    let traces = way(target, chain(), vec![place(C, &[A, B, C])]).unwrap();
    let [trace] = &traces[..] else { panic!("{traces:?}") };
    let brief: Vec<_> = trace
        .hops
        .iter()
        .map(|hop| (hop.node.as_str(), &hop.via[..], hop.cables, hop.cost, hop.rtt_ms))
        .collect();
    assert_eq!(
        brief,
        [
            ("a", &[][..], 0, None, None),
            ("bee", &["c1".to_owned()][..], 1, Some(5), Some(0.3)),
            ("c", &[][..], 2, Some(8), Some(0.6)),
        ]
    );
}

#[test]
fn a_way_that_is_not_there_is_a_failure_that_says_why() {
    let trace = |target: &str, places| way(Target::Node(target.into()), cut_off(&[(B, 1)]), places);
    let failure = trace("c", vec![place(C, &[])]).unwrap_err();
    assert!(failure.what.contains("node c") && failure.why.contains("bee"), "{failure:?}");
    assert!(trace("nobody", Vec::new()).unwrap_err().why.contains("nobody"));
    let station = way(Target::Station(mac(1)), chain(), Vec::new()).unwrap_err();
    assert!(station.why.contains("02:00:00:00:00:01"), "{station:?}");
    // One VLAN in which the station can be reached is enough.
    let places = vec![place(C, &[]), place(A, &[A])];
    assert_eq!(way(Target::Station(mac(1)), cut_off(&[]), places).unwrap().len(), 1);
}

#[test]
fn two_nodes_of_one_name_must_be_told_apart_by_key() {
    let mut nodes = chain();
    nodes.known[2] = view(C, "bee", Some((2, 13)), &[]);
    assert!(one(&nodes, "bee", "x").unwrap_err().fix.contains("key"));
    assert_eq!(one(&nodes, &C.to_string(), "x").unwrap().key, C);
}

#[test]
fn a_cable_shows_what_the_mesh_makes_of_it() {
    let mesh = CableView {
        link: LinkId(1),
        peer: B,
        peer_name: Name::lossy("b"),
        up_for: None,
        round_trip: Some(Duration::from_micros(1500)),
        loss: 0.25,
        cost: 17,
        pending: 0,
    };
    let read = |up_for, silent| {
        cable(CableReading {
            status: status("c1", B, CableState::Up, None),
            mesh: Some(CableView { up_for, ..mesh.clone() }),
            silent,
            counters: None,
        })
    };
    let silent = read(None, Some(Duration::from_secs(4)));
    assert_eq!((silent.in_use, silent.silent_seconds, silent.cost), (false, Some(4.0), None));
    assert_eq!((silent.beat_rtt_ms, silent.beat_loss), (Some(1.5), Some(0.25)));
    let used = read(Some(Duration::from_secs(2)), None);
    assert_eq!((used.in_use, used.in_use_seconds, used.cost), (true, Some(2.0), Some(17)));
}
