//! Which VLAN a frame is in, and with which tag it leaves.

use ether::MacAddr;

use super::*;

const V0: VlanId = VlanId::ZERO;
const V5: VlanId = VlanId(5);
const V6: VlanId = VlanId(6);
const V7: VlanId = VlanId(7);

/// The frames of the tables below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Untagged,
    Tagged(VlanId),
}

fn header(sent: Sent) -> FrameHeader {
    let (vlan, tagged) = match sent {
        Sent::Untagged => (V0, false),
        Sent::Tagged(vlan) => (vlan, true),
    };
    FrameHeader {
        destination: MacAddr::BROADCAST,
        source: MacAddr([2, 0, 0, 0, 0, 1]),
        vlan,
        tagged,
    }
}

fn aware<const N: usize>(untagged: Option<VlanId>, tagged: [VlanId; N]) -> Memberships {
    Memberships::new(untagged, tagged.into_iter().collect())
}

#[test]
fn a_frame_is_in_the_vlan_of_its_tag_or_of_its_port_or_is_refused() {
    use Sent::{Tagged, Untagged};
    let default = aware(Some(V0), []);
    let access = aware(Some(V5), []);
    let trunk = aware(None, [V5, V6]);
    let hybrid = aware(Some(V5), [V0, V6]);
    let in_vlan = |vlan, carried| Some(Classified { vlan, carried });
    for (port, sent, expected) in [
        // The standard's and VDE's default: VLAN 0 without a tag and nothing else.
        (&default, Untagged, in_vlan(V0, CarriedTag::None)),
        (&default, Tagged(V0), in_vlan(V0, CarriedTag::Same)),
        (&default, Tagged(V5), None),
        // A tagged frame of the port's own VLAN is accepted.
        (&access, Untagged, in_vlan(V5, CarriedTag::None)),
        (&access, Tagged(V0), in_vlan(V5, CarriedTag::Priority)),
        (&access, Tagged(V5), in_vlan(V5, CarriedTag::Same)),
        (&access, Tagged(V6), None),
        // Without an untagged VLAN there is no place for a frame that names none.
        (&trunk, Untagged, None),
        (&trunk, Tagged(V0), None),
        (&trunk, Tagged(V5), in_vlan(V5, CarriedTag::Same)),
        (&trunk, Tagged(V6), in_vlan(V6, CarriedTag::Same)),
        (&trunk, Tagged(V7), None),
        // Where VLAN 0 is tagged, a priority tag names it.
        (&hybrid, Untagged, in_vlan(V5, CarriedTag::None)),
        (&hybrid, Tagged(V0), in_vlan(V0, CarriedTag::Same)),
        (&hybrid, Tagged(V6), in_vlan(V6, CarriedTag::Same)),
        (&hybrid, Tagged(V7), None),
    ] {
        assert_eq!(port.classify(&header(sent)), expected, "{sent:?} at {port:?}");
    }
}

#[test]
fn a_frame_leaves_through_members_with_the_tag_that_they_send() {
    use CarriedTag::{None as Bare, Priority, Same};
    use TagAction::{AsIs, Tag, Untag};
    let untagged = |vlan| aware(Some(vlan), [V7]);
    let tagged = |vlan| aware(Some(V7), [vlan]);
    for (vlan, carried, through_trunk, through_untagged, through_tagged) in [
        (V0, Bare, AsIs, AsIs, Tag(V0)),
        (V0, Same, AsIs, Untag, AsIs),
        (V5, Bare, Tag(V5), AsIs, Tag(V5)),
        (V5, Same, AsIs, Untag, AsIs),
        (V5, Priority, Tag(V5), Untag, Tag(V5)),
    ] {
        let frame = Classified { vlan, carried };
        assert_eq!(frame.trunk_tag(), through_trunk, "{frame:?}");
        assert_eq!(untagged(vlan).tag_for(frame), Some(through_untagged), "{frame:?}");
        assert_eq!(tagged(vlan).tag_for(frame), Some(through_tagged), "{frame:?}");
        assert_eq!(untagged(V6).tag_for(frame), None, "{frame:?}");
        assert_eq!(tagged(V6).tag_for(frame), None, "{frame:?}");
    }
}

#[test]
fn a_vlan_is_carried_untagged_or_tagged_not_both() {
    let vlans = aware(Some(V5), [V5, V6]);
    assert_eq!(vlans.membership(V5), Some(Membership::Untagged));
    let expected = [(V5, Membership::Untagged), (V6, Membership::Tagged)];
    assert!(vlans.iter().eq(expected));
}

#[test]
fn a_set_holds_every_vlan_and_nothing_else() {
    let mut set: VlanSet = (0..=u16::MAX).map(VlanId).collect();
    assert!(set.iter().eq((0..=4094).map(VlanId)));
    assert!(!set.contains(VlanId(4095)) && !set.contains(VlanId(u16::MAX)));
    assert!(!set.insert(VlanId(4095)) && !set.remove(VlanId(4095)));
    assert!(set.remove(VlanId(4094)) && !set.remove(VlanId(4094)));
    assert!(set.insert(VlanId(4094)) && !set.insert(VlanId(4094)));
    let few: VlanSet = [V6, V0].into_iter().collect();
    assert_eq!(format!("{few:?}"), "{VlanId(0), VlanId(6)}");
}
