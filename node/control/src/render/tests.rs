//! Golden screens: what a person sees.

use super::*;
use crate::status::RefusedKey;

fn cable(state: CableState) -> CableStatus {
    CableStatus {
        id: "c1".into(),
        state,
        reason: None,
        fix: None,
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
         to let it in: vdecable trust otherkey\n\
         refused   192.0.2.8:7667 does not trust this node's key (1.0 s ago):\n          \
         ownkey\n          \
         to be let in, run there: vdecable trust ownkey --name a\n"
    );
}

#[test]
fn ports_are_a_table_with_drops_by_reason() {
    let port = PortStatus {
        port: 1,
        kind: "vde".into(),
        description: "QEMU".into(),
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
         1     vde   10         999 B     2000000    3.0 GB    7 queue-full  QEMU (pid 42, uid 1000)\n"
    );
}
