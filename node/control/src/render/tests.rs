//! Golden screens: what a person sees.

use super::*;
use crate::membership::{InviteStatus, MemberStatus, OwnMembership};
use crate::network::{CableDetail, Hop, NodeStatus, Trace};
use crate::status::RefusedKey;

fn cable(state: CableState) -> CableStatus {
    CableStatus {
        id: "c1".into(),
        state,
        reason: None,
        fix: None,
        refused: false,
        retry_in_seconds: None,
        dialled_here: true,
        address: "hostb:7667".into(),
        remote: None,
        peer: None,
        key: None,
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

#[test]
fn a_cable_that_is_up_shows_its_path() {
    let up = CableStatus {
        peer: Some("b".into()),
        remote: Some("192.0.2.7:7667".into()),
        up_seconds: Some(185.0),
        rtt_ms: Some(0.254),
        loss: Some(0.0),
        rx_lost_datagrams: Some(0),
        path_mtu: Some(1472),
        profile: Some("open".into()),
        port: Some(3),
        ..cable(CableState::Up)
    };
    assert_eq!(
        cables(&[up]),
        "cable c1  up            hostb:7667  → b (192.0.2.7:7667)\n          \
         up 3 min, rtt 0.25 ms, loss 0.00 %, path mtu 1472, open, port 3\n"
    );
}

#[test]
fn a_cable_that_is_down_says_why_when_it_tries_again_and_what_to_do() {
    let down = CableStatus {
        reason: Some("no answer from 192.0.2.7:7667".into()),
        fix: Some("check that vdenode runs there".into()),
        retry_in_seconds: Some(3.21),
        ..cable(CableState::Retrying)
    };
    assert_eq!(
        cables(&[down]),
        "cable c1  down          hostb:7667\n          \
         no answer from 192.0.2.7:7667; next try in 3.2 s\n          \
         → check that vdenode runs there\n"
    );
}

#[test]
fn a_refused_key_is_shown_with_the_command_that_lets_it_in() {
    let view = Status {
        name: "a".into(),
        key: "ownkey".into(),
        version: "0.1.0".into(),
        pid: 7,
        uptime_seconds: 61.0,
        vde_socket: "/run/vde.ctl".into(),
        listen: Some("[::]:7667".into()),
        ports: BTreeMap::from([("vde".into(), 2)]),
        macs: 3,
        refused: vec![
            RefusedKey {
                key: "otherkey".into(),
                by: RefusedBy::Us,
                address: "192.0.2.7:4000".into(),
                count: 2,
                age_seconds: 1.0,
            },
            RefusedKey {
                key: "ownkey".into(),
                by: RefusedBy::Peer,
                address: "192.0.2.8:7667".into(),
                count: 1,
                age_seconds: 1.0,
            },
        ],
        ..Status::default()
    };
    assert_eq!(
        status(&view),
        "node      a  (pid 7, version 0.1.0, up 61 s)\n\
         key       ownkey\n\
         vde       /run/vde.ctl\n\
         listen    [::]:7667\n\
         ports     2 vde;  3 MAC addresses known\n\
         \n\
         no cables; plug one in with: vdecable connect HOST\n\
         refused   192.0.2.7:4000 presented a key that is not trusted here (1.0 s ago, 2 times):\n          \
         otherkey\n          \
         to let it in: vdecable invite here, vdecable join there; without a mesh: vdecable trust otherkey\n\
         refused   192.0.2.8:7667 does not trust this node's key (1.0 s ago):\n          \
         ownkey\n          \
         to be let in: vdecable invite there, vdecable join here; without a mesh, there: vdecable trust ownkey --name a\n"
    );
}

#[test]
fn ports_are_a_table_with_drops_by_reason() {
    let port = PortStatus {
        port: 1,
        kind: "vde".into(),
        description: "QEMU".into(),
        blocked: true,
        listening: false,
        pid: Some(42),
        uid: Some(1000),
        max_frame: 9234,
        offload: false,
        rx_frames: 10,
        rx_bytes: 999,
        tx_frames: 2_000_000,
        tx_bytes: 3_000_000_000,
        drops: BTreeMap::from([("queue-full".into(), 7)]),
    };
    assert_eq!(
        ports(&[port]),
        "PORT  KIND  RX FRAMES  RX BYTES  TX FRAMES  TX BYTES  DROPS         WHO\n\
         1     vde   10         999 B     2000000    3.0 GB    7 queue-full  QEMU (pid 42, uid 1000); blocked: it is part of a loop outside\n"
    );
}

#[test]
fn cables_are_a_table_with_reasons_below() {
    let detail = |cable| CableDetail {
        cable,
        in_use: false,
        in_use_seconds: None,
        silent_seconds: None,
        beat_rtt_ms: None,
        beat_loss: None,
        cost: None,
        rx_frames: 0,
        rx_bytes: 0,
        tx_frames: 0,
        tx_bytes: 0,
        drops: BTreeMap::new(),
    };
    let up = CableStatus {
        peer: Some("b".into()),
        rtt_ms: Some(0.254),
        loss: Some(0.01),
        path_mtu: Some(1472),
        ..cable(CableState::Up)
    };
    let flows = CableDetail {
        in_use: true,
        in_use_seconds: Some(3.0),
        rx_bytes: 1500,
        ..detail(up.clone())
    };
    let silent = CableDetail { silent_seconds: Some(4.0), ..detail(up) };
    let down = detail(CableStatus {
        id: "c22".into(),
        reason: Some("no answer".into()),
        fix: Some("look there".into()),
        retry_in_seconds: Some(3.21),
        ..cable(CableState::Retrying)
    });
    assert_eq!(
        cable_table(&[flows, silent, down]),
        "\
CABLE  STATE  PEER  ADDRESS     RTT      LOSS    MTU   RX      TX   DROPS  FRAMES
c1     up     b     hostb:7667  0.25 ms  1.00 %  1472  1.5 kB  0 B  -      flow for 3.0 s
c1     up     b     hostb:7667  0.25 ms  1.00 %  1472  0 B     0 B  -      none: silent for 4.0 s
c22    down   -     hostb:7667  -        -       -     0 B     0 B  -      -

c22: no answer; next try in 3.2 s
    → look there
"
    );
}

fn node(name: &str, key: &str, hops: Option<u16>) -> NodeStatus {
    NodeStatus {
        name: name.into(),
        key: key.into(),
        nick: Some("0000000a".into()),
        own: hops == Some(0),
        reachable: hops.is_some(),
        reason: hops.is_none().then(|| "shut down".into()),
        hops,
        rtt_ms: hops.map(|hops| f64::from(hops) * 0.3),
        cost: hops.map(|hops| u32::from(hops) * 5),
        next: hops.filter(|&hops| hops > 0).map(|_| "b".into()),
        cables: 2,
        stations: 4,
        gateway: None,
        news_age_seconds: Some(12.0),
        member: None,
    }
}

#[test]
fn nodes_are_a_table_in_which_equal_names_are_told_apart() {
    assert_eq!(
        nodes(&[
            NodeStatus {
                member: Some(MemberStatus {
                    state: "member".into(),
                    roles: vec!["admin".into(), "gateway".into()],
                    expires_unix: None,
                    expires_in_seconds: None,
                }),
                ..node("a", "aaaaaaaaaaaa", Some(0))
            },
            NodeStatus {
                member: Some(MemberStatus {
                    state: "member".into(),
                    roles: vec!["switch".into()],
                    expires_unix: Some(9),
                    expires_in_seconds: Some(7200),
                }),
                ..node("b", "bbbbbbbbbbbb", Some(1))
            },
            node("c", "cccccccccccc", Some(2)),
            node("c", "dddddddddddd", None),
        ]),
        "\
NODE          ROLE            HOPS  RTT     NEXT  CABLES  STATIONS  NEWS
a             admin, gateway  0     -       -     2       4         12 s ago  this node
b             switch          1     0.3 ms  b     2       4         12 s ago  membership ends in 2 h
c (cccccccc)  -               2     0.6 ms  b     2       4         12 s ago
c (dddddddd)  -               -     -       -     2       4         12 s ago  unreachable: shut down
"
    );
}

#[test]
fn a_trace_says_where_the_station_is_and_how_to_get_there() {
    let hop = |node: &str, via: &[&str], cables, rtt_ms| Hop {
        node: node.into(),
        key: String::new(),
        via: via.iter().map(|&id| id.to_owned()).collect(),
        cables,
        rtt_ms,
        cost: None,
    };
    let trace = Trace {
        mac: Some("02:00:00:00:00:01".into()),
        vlan: Some(5),
        node: "c".into(),
        key: String::new(),
        port: None,
        description: None,
        hops: vec![
            hop("a", &[], 0, None),
            hop("b", &["c1", "c4"], 2, Some(0.3)),
            hop("c", &[], 1, Some(0.0)),
        ],
    };
    let own = Trace {
        node: "a".into(),
        vlan: Some(0),
        port: Some(3),
        description: Some("QEMU".into()),
        hops: vec![hop("a", &[], 0, None)],
        ..trace.clone()
    };
    assert_eq!(
        traces(&[trace, own]),
        "\
02:00:00:00:00:01 in VLAN 5 is behind node c; at which port, vdecable macs says on that host
HOP  NODE  RTT       BY
0    a     -         this node
1    b     0.3 ms    cables c1, c4
2    c     < 0.1 ms  1 cable
02:00:00:00:00:01 is behind node a, port 3 (QEMU)
HOP  NODE  RTT  BY
0    a     -    this node
"
    );
}

#[test]
fn stations_of_other_nodes_are_listed_with_what_is_known_of_them() {
    let here = MacEntry {
        mac: "02:00:00:00:00:01".into(),
        vlan: 0,
        node: Some("a".into()),
        key: None,
        here: true,
        port: Some(1),
        kind: Some("vde".into()),
        description: Some("QEMU".into()),
        age_seconds: Some(4.0),
    };
    let there = MacEntry {
        vlan: 7,
        node: Some("b".into()),
        here: false,
        port: None,
        kind: None,
        description: None,
        age_seconds: None,
        ..here.clone()
    };
    assert_eq!(
        macs(&[here, there]),
        "\
MAC                VLAN  NODE  PORT  KIND  AGE    WHERE
02:00:00:00:00:01  -     a     1     vde   4.0 s  QEMU
02:00:00:00:00:01  7     b     -     -     -      -
"
    );
}

#[test]
fn warnings_stand_out_among_events() {
    let heard = |level: &str| crate::message::Heard {
        at: "?".into(),
        level: level.into(),
        text: "it happened".into(),
        rest: serde_json::Map::new(),
    };
    assert_eq!(event(&heard("warning")), "?  warning: it happened\n");
    assert_eq!(event(&heard("info")), "?  it happened\n");
}

#[test]
fn what_a_node_is_in_its_mesh_is_told_apart_from_its_own_name() {
    let mesh = |state: &str, members, next_key: Option<&str>| Status {
        name: "default".into(),
        key: "abcdefghijkl".into(),
        mesh: Some(OwnMembership {
            name: "attic".into(),
            state: state.into(),
            roles: vec!["admin".into(), "gateway".into()],
            members,
            next_key: next_key.map(str::to_owned),
        }),
        ..Status::default()
    };
    let shown = status(&mesh("member", 3, Some("mnopqrst")));
    let lines: Vec<_> = shown.lines().skip(1).take(3).collect();
    assert_eq!(
        lines,
        [
            "key       abcdefghijkl",
            "mesh      3 members, who call it attic; it may invite and be the gateway; key abcdefgh",
            "next key  mnopqrst  (from the next start of this node on)",
        ]
    );
    let alone = status(&mesh("member", 1, None));
    assert!(alone.contains("mesh      alone in its own, as attic") && !alone.contains("next key"));
    let out = status(&mesh("revoked", 2, None));
    assert!(out.contains("mesh      none any more: revoked; was attic"), "{out}");
}

#[test]
fn an_invitation_that_nobody_can_use_any_more_says_why() {
    let invite = |state: &str| InviteStatus {
        id: "abcdefgh".into(),
        by: "attic".into(),
        state: state.into(),
        used_by: None,
        name: None,
        roles: Vec::new(),
        expires_in_seconds: None,
    };
    assert!(invites(&[invite("void")], &[]).contains("void: whoever made it is no administrator"));
    assert!(!invites(&[invite("open")], &[]).contains("void"));
}
