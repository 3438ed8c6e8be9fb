//! Tags put in, changed and taken out, and the virtio-net header that goes along.

use proptest::prelude::*;

use super::*;
use crate::segment::{SegmentBuffer, split_into};
use crate::vnet::builder::{Packet, any_packet};

const ADDRESSES: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
const FIVE: VlanId = VlanId(5);

/// A frame whose EtherTypes, tags and payload are `rest`.
fn frame(rest: &[u8]) -> Vec<u8> {
    [&ADDRESSES[..], rest].concat()
}

/// What the action makes of an ordinary frame, without the addresses, which must not change.
fn apply(action: TagAction, rest: &[u8]) -> Vec<u8> {
    // What is in the buffer stays there: results of a whole batch are behind one another.
    let mut out = vec![0xee];
    let vnet = action.apply(VnetHeader::PLAIN, &frame(rest), &mut out);
    assert_eq!(vnet, Ok(VnetHeader::PLAIN));
    assert_eq!(out.remove(0), 0xee);
    let (addresses, rest) = out.split_at(12);
    assert_eq!(addresses, ADDRESSES);
    rest.to_vec()
}

const PLAIN: [u8; 4] = [0x08, 0x00, 1, 2];
/// PCP 5, DEI 1, VLAN 0.
const PRIORITY: [u8; 8] = [0x81, 0x00, 0xb0, 0x00, 0x08, 0x00, 1, 2];
/// PCP 7, DEI 0, VLAN 9.
const IN_9: [u8; 8] = [0x81, 0x00, 0xe0, 0x09, 0x08, 0x00, 1, 2];
/// A service tag of VLAN 9 around a customer tag of VLAN 8.
const QINQ: [u8; 12] = [0x88, 0xa8, 0x00, 0x09, 0x81, 0x00, 0x20, 0x08, 8, 0, 1, 2];

#[test]
fn as_it_is_nothing_changes() {
    for rest in [&PLAIN[..], &PRIORITY, &IN_9, &QINQ] {
        assert_eq!(apply(TagAction::AsIs, rest), rest);
    }
}

#[test]
fn only_a_customer_tag_outside_is_removed() {
    assert_eq!(apply(TagAction::Untag, &PLAIN), PLAIN);
    assert_eq!(apply(TagAction::Untag, &PRIORITY), PLAIN);
    assert_eq!(apply(TagAction::Untag, &IN_9), PLAIN);
    assert_eq!(apply(TagAction::Untag, &QINQ), QINQ);
    let twice = [&[0x81, 0x00, 0x00, 0x05][..], &IN_9].concat();
    assert_eq!(apply(TagAction::Untag, &twice), IN_9);
}

#[test]
fn a_new_tag_has_the_lowest_priority() {
    let tag = [0x81, 0x00, 0x00, 0x05];
    let tagged = |rest: &[u8]| [&tag[..], rest].concat();
    assert_eq!(apply(TagAction::Tag(FIVE), &PLAIN), tagged(&PLAIN));
    // A service tag is payload.
    assert_eq!(apply(TagAction::Tag(FIVE), &QINQ), tagged(&QINQ));
}

#[test]
fn a_replaced_tag_keeps_priority_and_drop_eligibility() {
    let from_priority = [0x81, 0x00, 0xb0, 0x05, 0x08, 0x00, 1, 2];
    assert_eq!(apply(TagAction::Tag(FIVE), &PRIORITY), from_priority);
    let from_9 = [0x81, 0x00, 0xe0, 0x05, 0x08, 0x00, 1, 2];
    assert_eq!(apply(TagAction::Tag(FIVE), &IN_9), from_9);
}

#[test]
fn a_tag_may_be_put_around_another() {
    let mut out = Vec::new();
    insert_tag(&frame(&IN_9), Tci(0x6005), &mut out);
    assert_eq!(out, frame(&[&[0x81, 0x00, 0x60, 0x05][..], &IN_9].concat()));
}

#[test]
fn a_tag_is_read_bit_by_bit() {
    assert_eq!(Tci::of(&frame(&PLAIN)), None);
    assert_eq!(Tci::of(&frame(&QINQ)), None);
    assert_eq!(Tci::of(&frame(&IN_9)), Some(Tci(0xe009)));
    assert_eq!(Tci(0xe009).vlan(), VlanId(9));
    assert_eq!(Tci(0xf009).with_vlan(VlanId(0xffa)), Tci(0xfffa));
    assert_eq!(Tci::new(VlanId(0xffa)), Tci(0x0ffa));
}

#[test]
fn what_is_no_whole_frame_or_tag_is_passed_on() {
    for len in 0..12 {
        let mut out = Vec::new();
        set_tag(&ADDRESSES[..len], FIVE, &mut out);
        assert_eq!(out, ADDRESSES[..len]);
    }
    let cut_tag = frame(&[0x81, 0x00, 0x00]);
    let mut out = Vec::new();
    remove_tag(&cut_tag, &mut out);
    assert_eq!(out, cut_tag);
}

#[test]
fn a_tag_that_makes_a_frame_too_long_is_refused_and_leaves_the_buffer_alone() {
    let mut long = frame(&PLAIN);
    long.resize(MAX_FRAME, 0);
    let mut out = Vec::new();
    let refused = TagAction::Tag(FIVE).apply(VnetHeader::PLAIN, &long, &mut out);
    let (len, limit) = (MAX_FRAME + TAG_LEN, MAX_FRAME);
    assert_eq!(refused, Err(VnetError::TooLong { len, limit }));
    assert_eq!(out, []);
    long.truncate(MAX_FRAME - TAG_LEN);
    let accepted = TagAction::Tag(FIVE).apply(VnetHeader::PLAIN, &long, &mut out);
    assert_eq!(accepted, Ok(VnetHeader::PLAIN));
    assert_eq!(out.len(), MAX_FRAME);
}

#[test]
fn a_checksum_that_begins_in_the_tag_cannot_lose_it() {
    let tagged = [&frame(&IN_9)[..], &[0; 40]].concat();
    let mut out = Vec::new();
    let mut untag = |start| {
        let checksum = Checksum::Partial { start, offset: 2 };
        let vnet = VnetHeader { checksum, ..VnetHeader::PLAIN };
        assert_eq!(vnet.validate(&tagged), Ok(()));
        out.clear();
        let result = TagAction::Untag.apply(vnet, &tagged, &mut out);
        (result.map(|vnet| vnet.validate(&out)), out.len())
    };
    for start in 14..18 {
        let misplaced = VnetError::ChecksumPlace { start, offset: 2 };
        assert_eq!(untag(start), (Err(misplaced), 0));
    }
    assert_eq!(untag(18), (Ok(Ok(())), tagged.len() - TAG_LEN));
}

#[test]
fn a_hint_that_is_not_there_stays_away() {
    let packet = Packet::tcp_v4(100);
    let mut out = Vec::new();
    let vnet = TagAction::Tag(FIVE).apply(packet.partial(), &packet.frame(), &mut out);
    assert_eq!(vnet.map(|vnet| vnet.header_len), Ok(0));
}

proptest! {
    #[test]
    fn a_super_frame_is_cut_alike_before_and_after_its_tag_changes(
        mut packet in any_packet(),
        is_tagged: bool,
    ) {
        packet.tags = if is_tagged { vec![0x8100] } else { vec![] };
        // The tag as the builder writes it: PCP 1, VLAN 5.
        let action = if is_tagged { TagAction::Untag } else { TagAction::Tag(FIVE) };
        let mut out = Vec::new();
        let vnet = action.apply(packet.super_frame(1000), &packet.frame(), &mut out).unwrap();
        let cut = |vnet, frame: &[u8]| {
            let mut segments = SegmentBuffer::new();
            split_into(vnet, frame, &mut segments).unwrap();
            segments.iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        let apply_later = |segment: &Vec<u8>| {
            let mut out = Vec::new();
            action.apply(VnetHeader::PLAIN, segment, &mut out).unwrap();
            out
        };
        let later: Vec<_> =
            cut(packet.super_frame(1000), &packet.frame()).iter().map(apply_later).collect();
        prop_assert_eq!(cut(vnet, &out), later);
        packet.tags = if is_tagged { vec![] } else { vec![0x8100] };
        prop_assert_eq!(vnet, packet.super_frame(1000));
    }
}
