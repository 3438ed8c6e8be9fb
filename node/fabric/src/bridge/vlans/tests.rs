//! VLANs made, joined, left and removed, and who hears a frame then.

use std::collections::BTreeSet;
use std::time::Instant;

use ether::{FrameHeader, MacAddr, TagAction};

use super::*;
use crate::vlan::Membership;
use crate::{Config, DropReason, Verdict};

const V0: VlanId = VlanId::ZERO;
const V5: VlanId = VlanId(5);
const V6: VlanId = VlanId(6);
const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);

const ACCESS_5: PortId = PortId(1);
const OTHER_5: PortId = PortId(2);
const ACCESS_6: PortId = PortId(3);
const TRUNK: PortId = PortId(4);
const TRANSPARENT: PortId = PortId(5);
const CABLE: PortId = PortId(6);
/// Another transparent one, where a test asks for it.
const OTHER: PortId = PortId(7);

#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
fn start() -> Instant {
    Instant::now()
}

fn aware<const N: usize>(untagged: Option<VlanId>, tagged: [VlanId; N]) -> VlanPolicy {
    let tagged = BTreeSet::from(tagged);
    VlanPolicy::Aware { untagged, tagged }
}

/// Two stations' ports in VLAN 5, one in VLAN 6, one port that has both tagged, and two that carry
/// everything.
fn bridge(hub: bool) -> Bridge {
    let mut bridge = Bridge::new(Config { hub, ..Config::default() });
    for port in [ACCESS_5, OTHER_5, ACCESS_6, TRUNK, TRANSPARENT] {
        bridge.add_port(port, PortKind::Access);
    }
    bridge.add_port(CABLE, PortKind::Cable);
    bridge.create_vlan(V5).unwrap();
    bridge.create_vlan(V6).unwrap();
    for (port, policy) in [
        (ACCESS_5, aware(Some(V5), [])),
        (OTHER_5, aware(Some(V5), [])),
        (ACCESS_6, aware(Some(V6), [])),
        (TRUNK, aware(Some(V0), [V5, V6])),
    ] {
        bridge.set_vlan_policy(port, &policy).unwrap();
        assert_eq!(bridge.vlan_policy(port), Some(policy));
    }
    bridge
}

fn untagged(source: MacAddr, destination: MacAddr) -> FrameHeader {
    FrameHeader { destination, source, vlan: V0, tagged: false }
}

fn tagged(vlan: VlanId, source: MacAddr, destination: MacAddr) -> FrameHeader {
    FrameHeader { vlan, tagged: true, ..untagged(source, destination) }
}

/// Where a frame to nobody in particular goes, cables aside.
fn flooded(bridge: &mut Bridge, ingress: PortId, header: &FrameHeader) -> Vec<(PortId, TagAction)> {
    match bridge.handle_frame(ingress, header, start()) {
        Verdict::Flood(frame) => bridge.flood_ports(Some(ingress), frame).collect(),
        verdict => panic!("{verdict:?}"),
    }
}

#[test]
fn a_flood_reaches_the_members_of_its_vlan_each_in_its_form() {
    use TagAction::{AsIs, Tag, Untag};
    let mut bridge = bridge(false);
    bridge.add_port(OTHER, PortKind::Access);
    for (ingress, header, mut expected) in [
        (
            ACCESS_5,
            untagged(A, MacAddr::BROADCAST),
            vec![(OTHER_5, AsIs), (TRUNK, Tag(V5)), (TRANSPARENT, Tag(V5))],
        ),
        (
            ACCESS_5,
            tagged(V0, A, MacAddr::BROADCAST),
            vec![(OTHER_5, Untag), (TRUNK, Tag(V5)), (TRANSPARENT, Tag(V5))],
        ),
        (
            OTHER,
            tagged(V6, A, MacAddr::BROADCAST),
            vec![(ACCESS_6, Untag), (TRUNK, AsIs), (TRANSPARENT, AsIs)],
        ),
        (OTHER, untagged(A, MacAddr::BROADCAST), vec![(TRUNK, AsIs), (TRANSPARENT, AsIs)]),
        (TRUNK, tagged(V0, A, MacAddr::BROADCAST), vec![(TRANSPARENT, AsIs), (OTHER, AsIs)]),
        // A VLAN that nobody created passes where everything does.
        (TRANSPARENT, tagged(VlanId(7), A, MacAddr::BROADCAST), vec![(OTHER, AsIs)]),
    ] {
        if ingress == ACCESS_5 {
            expected.push((OTHER, Tag(V5)));
        }
        assert_eq!(flooded(&mut bridge, ingress, &header), expected);
    }
}

#[test]
fn a_frame_in_a_vlan_that_its_port_does_not_carry_is_dropped_and_teaches_nothing() {
    let mut bridge = bridge(false);
    bridge.set_untagged_vlan(TRUNK, None).expect("it is VLAN-aware");
    for (ingress, header) in [
        (ACCESS_5, tagged(V6, A, B)),
        (ACCESS_5, tagged(VlanId(7), A, B)),
        (TRUNK, untagged(A, B)),
        (TRUNK, tagged(V0, A, B)),
    ] {
        let verdict = bridge.handle_frame(ingress, &header, start());
        assert_eq!(verdict, Verdict::Drop(DropReason::VlanNotMember));
    }
    assert_eq!(bridge.snapshot(start()).entries, []);
}

#[test]
fn a_station_is_learned_in_the_vlan_of_its_frame_not_in_that_of_its_tag() {
    let (mut bridge, now) = (bridge(false), start());
    bridge.handle_frame(ACCESS_5, &untagged(A, B), now);
    let entry = bridge.snapshot(now).entries[0];
    assert_eq!((entry.vlan, entry.port), (V5, ACCESS_5));
    let forward = |egress, tag| Verdict::Forward { egress, tag };
    assert_eq!(
        bridge.handle_frame(TRANSPARENT, &tagged(V5, B, A), now),
        forward(ACCESS_5, TagAction::Untag)
    );
    assert_eq!(
        bridge.handle_frame(ACCESS_5, &untagged(A, B), now),
        forward(TRANSPARENT, TagAction::Tag(V5))
    );
    // VLAN 6 knows nobody of VLAN 5.
    let verdict = bridge.handle_frame(TRANSPARENT, &tagged(V6, B, A), now);
    assert!(matches!(verdict, Verdict::Flood(frame) if frame.vlan == V6));
}

#[test]
fn a_hub_knows_no_vlans() {
    let mut bridge = bridge(true);
    for header in [untagged(A, B), tagged(V6, A, B)] {
        let others = [OTHER_5, ACCESS_6, TRUNK, TRANSPARENT];
        let expected = others.map(|port| (port, TagAction::AsIs));
        assert_eq!(flooded(&mut bridge, ACCESS_5, &header), expected);
    }
}

#[test]
fn vlans_are_created_once_and_within_their_range() {
    let mut bridge = bridge(false);
    for vlan in [V0, VlanId(4095), VlanId(u16::MAX)] {
        assert_eq!(bridge.create_vlan(vlan), Err(VlanError::OutOfRange(vlan)));
        assert_eq!(bridge.remove_vlan(vlan), Err(VlanError::OutOfRange(vlan)));
    }
    assert_eq!(bridge.create_vlan(V5), Err(VlanError::Exists(V5)));
    assert_eq!(bridge.create_vlan(VlanId(4094)), Ok(()));
    let unknown = VlanError::UnknownVlan(VlanId(7));
    assert_eq!(bridge.remove_vlan(VlanId(7)), Err(unknown));
}

#[test]
fn a_vlan_with_members_stays() {
    let mut bridge = bridge(false);
    let in_use = |vlan, port| Err(VlanError::InUse { vlan, port });
    assert_eq!(bridge.remove_vlan(V5), in_use(V5, ACCESS_5));
    assert_eq!(bridge.set_untagged_vlan(ACCESS_5, Some(V6)), Ok(()));
    assert_eq!(bridge.remove_vlan(V5), in_use(V5, OTHER_5));
    assert_eq!(bridge.set_vlan_policy(OTHER_5, &VlanPolicy::Transparent), Ok(()));
    assert_eq!(bridge.remove_vlan(V5), in_use(V5, TRUNK));
    bridge.remove_port(TRUNK);
    assert_eq!(bridge.remove_vlan(V5), Ok(()));
    assert_eq!(bridge.create_vlan(V5), Ok(()));
}

#[test]
fn memberships_are_listed_by_vlan_then_port() {
    let mut bridge = bridge(false);
    bridge.create_vlan(VlanId(3)).unwrap();
    let (bare, tag) = (Membership::Untagged, Membership::Tagged);
    let expected = [
        (V0, vec![(TRUNK, bare)]),
        (VlanId(3), vec![]),
        (V5, vec![(ACCESS_5, bare), (OTHER_5, bare), (TRUNK, tag)]),
        (V6, vec![(ACCESS_6, bare), (TRUNK, tag)]),
    ];
    let expected = expected.map(|(vlan, members)| VlanSnapshot { vlan, members });
    assert_eq!(bridge.vlans(), expected);
}

#[test]
fn memberships_change_one_by_one() {
    let mut bridge = bridge(false);
    let is_untagged = Err(VlanError::IsUntagged { vlan: V5, port: ACCESS_5 });
    assert_eq!(bridge.add_tagged_vlan(ACCESS_5, V5), is_untagged);
    assert_eq!(bridge.remove_tagged_vlan(ACCESS_5, V5), is_untagged);
    assert_eq!(bridge.add_tagged_vlan(ACCESS_5, V0), Ok(()));
    assert_eq!(bridge.add_tagged_vlan(ACCESS_5, V6), Ok(()));
    assert_eq!(bridge.vlan_policy(ACCESS_5), Some(aware(Some(V5), [V0, V6])));
    assert_eq!(bridge.remove_tagged_vlan(ACCESS_5, V0), Ok(()));
    assert_eq!(bridge.remove_tagged_vlan(ACCESS_5, V0), Ok(()));
    // A new untagged VLAN is not tagged any more, and the old one is gone.
    assert_eq!(bridge.set_untagged_vlan(ACCESS_5, Some(V6)), Ok(()));
    assert_eq!(bridge.vlan_policy(ACCESS_5), Some(aware(Some(V6), [])));
    assert_eq!(bridge.set_untagged_vlan(ACCESS_5, None), Ok(()));
    assert_eq!(bridge.vlan_policy(ACCESS_5), Some(aware(None, [])));
}

#[test]
fn a_change_that_is_refused_changes_nothing() {
    let mut bridge = bridge(false);
    let before = bridge.vlans();
    let (gone, v7) = (PortId(99), VlanId(7));
    let no_port = Err(VlanError::UnknownPort(gone));
    let no_vlan = Err(VlanError::UnknownVlan(v7));
    for (port, policy, expected) in [
        (gone, VlanPolicy::Transparent, no_port),
        (CABLE, aware(Some(V5), []), Err(VlanError::Cable(CABLE))),
        (ACCESS_5, aware(Some(v7), []), no_vlan),
        (ACCESS_5, aware(Some(V5), [V6, v7]), no_vlan),
    ] {
        assert_eq!(bridge.set_vlan_policy(port, &policy), expected);
    }
    for (port, vlan, expected) in [
        (gone, V5, no_port),
        (CABLE, V5, Err(VlanError::Cable(CABLE))),
        (TRANSPARENT, V5, Err(VlanError::Transparent(TRANSPARENT))),
        (TRUNK, v7, no_vlan),
    ] {
        assert_eq!(bridge.set_untagged_vlan(port, Some(vlan)), expected);
        assert_eq!(bridge.add_tagged_vlan(port, vlan), expected);
        assert_eq!(bridge.remove_tagged_vlan(port, vlan), expected);
    }
    assert_eq!(bridge.vlans(), before);
    assert_eq!(bridge.vlan_policy(gone), None);
    assert_eq!(bridge.vlan_policy(CABLE), Some(VlanPolicy::Transparent));
}

#[test]
fn stations_are_forgotten_when_the_vlans_of_their_port_change() {
    let (mut bridge, now) = (bridge(false), start());
    let mut forgets = |change: &dyn Fn(&mut Bridge)| {
        bridge.handle_frame(ACCESS_5, &untagged(A, B), now);
        bridge.handle_frame(OTHER_5, &untagged(B, A), now);
        change(&mut bridge);
        let left: Vec<_> = bridge.snapshot(now).entries.iter().map(|e| e.port).collect();
        assert!(left.contains(&OTHER_5));
        !left.contains(&ACCESS_5)
    };
    assert!(!forgets(&|bridge| {
        bridge.set_vlan_policy(ACCESS_5, &aware(Some(V5), [V5])).unwrap();
        bridge.set_untagged_vlan(ACCESS_5, Some(V5)).unwrap();
        bridge.remove_tagged_vlan(ACCESS_5, V6).unwrap();
        bridge.add_port(ACCESS_5, PortKind::Access);
        bridge.create_vlan(VlanId(8)).unwrap();
    }));
    assert!(forgets(&|bridge| bridge.add_tagged_vlan(ACCESS_5, V6).unwrap()));
    assert!(forgets(&|bridge| bridge.remove_tagged_vlan(ACCESS_5, V6).unwrap()));
    assert!(forgets(&|bridge| bridge.set_untagged_vlan(ACCESS_5, Some(V6)).unwrap()));
    let transparent = VlanPolicy::Transparent;
    assert!(forgets(&|bridge| bridge.set_vlan_policy(ACCESS_5, &transparent).unwrap()));
    let access_5 = aware(Some(V5), []);
    assert!(forgets(&|bridge| bridge.set_vlan_policy(ACCESS_5, &access_5).unwrap()));
    assert!(forgets(&|bridge| bridge.add_port(ACCESS_5, PortKind::Cable)));
}

#[test]
fn a_new_port_in_an_old_place_carries_everything() {
    let mut bridge = bridge(false);
    bridge.remove_port(ACCESS_5);
    assert_eq!(bridge.vlan_policy(ACCESS_5), None);
    bridge.add_port(ACCESS_5, PortKind::Access);
    assert_eq!(bridge.vlan_policy(ACCESS_5), Some(VlanPolicy::Transparent));
}

#[test]
fn a_port_that_becomes_a_cable_carries_everything() {
    let mut bridge = bridge(false);
    bridge.add_port(ACCESS_5, PortKind::Cable);
    assert_eq!(bridge.vlan_policy(ACCESS_5), Some(VlanPolicy::Transparent));
    assert_eq!(bridge.set_vlan_policy(ACCESS_5, &VlanPolicy::Transparent), Ok(()));
}
