//! Frames arrive whole, once and in order; those that cannot be sent are counted.

use std::rc::Rc;

use cable::Link;
use cable::link::Sent;
use ether::limits::{MAX_FRAME, MAX_SUPER_FRAME};
use mesh::Nick;
use mesh::framing::{Reach, RecordHeader};
use mesh::queue::Drops;

use crate::lab::{self, Node, PLAIN, frame, has_short_buffers, linked, until};
use crate::paths::over;

/// Octets of frames that are handed over at once: what a port reads in one turn.
const BATCH: usize = 64 << 10;

const SUPER: RecordHeader =
    RecordHeader { vnet: Some([1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0]), ..PLAIN };

/// Sends numbered frames as a port does that heeds the room, and never has more than `ahead` octets
/// on the way.
async fn send_all(
    link: &Rc<Link>,
    to: &Node,
    header: RecordHeader,
    len: usize,
    count: usize,
    ahead: usize,
) {
    let frames: Vec<_> = (0..count).map(|number| frame(len, number)).collect();
    let mut sent = 0;
    for batch in frames.chunks(BATCH.div_ceil(len)) {
        link.room().await;
        let all = link.send(batch.iter().map(|frame| (header, &frame[..])));
        assert_eq!((all.oversize, link.take_drops()), (0, Drops::default()));
        sent += batch.len();
        // The receiver shares this thread.
        tokio::task::yield_now().await;
        until("the receiver keeps up", || (sent - to.arrived()) * len <= ahead).await;
    }
}

#[track_caller]
fn assert_frames(node: &Node, header: RecordHeader, len: usize, count: usize) {
    let frames = node.take_frames();
    assert_eq!(frames.len(), count);
    for (number, (found, octets)) in frames.iter().enumerate() {
        assert_eq!(*found, header);
        assert!(octets[..] == frame(len, number)[..], "frame {number} of {len} octets");
    }
}

#[test]
fn frames_of_all_sizes_cross_both_ways_whole_and_in_order() {
    lab::run(async {
        let (a, b) = linked().await;
        let (link_a, link_b) = (a.link(), b.link());
        assert!(link_a.takes_super_frames());
        let ahead = if has_short_buffers(&a) { 64 << 10 } else { usize::MAX };
        for (header, len, count) in [
            (PLAIN, 60, 10_000),
            (PLAIN, 1514, 4000),
            (PLAIN, 9014, 1500),
            (PLAIN, MAX_FRAME, 1500),
            (SUPER, MAX_SUPER_FRAME, 200),
        ] {
            tokio::join!(
                send_all(&link_a, &b, header, len, count, ahead),
                send_all(&link_b, &a, header, len, count, ahead),
            );
            until("all have arrived", || a.arrived() >= count && b.arrived() >= count).await;
            assert_frames(&a, header, len, count);
            assert_frames(&b, header, len, count);
        }
        let counters = link_b.counters();
        assert_eq!((counters.malformed_datagrams, counters.skipped_datagrams), (0, 0));
    });
}

#[test]
fn the_first_frames_of_a_new_cable_may_be_the_longest() {
    lab::run(async {
        let (a, b) = linked().await;
        // Long before path discovery is done, and 26 times the first window.
        let ahead = if has_short_buffers(&a) { 64 << 10 } else { usize::MAX };
        send_all(&a.link(), &b, SUPER, MAX_SUPER_FRAME, 32, ahead).await;
        until("all have arrived", || b.arrived() >= 32).await;
        assert_frames(&b, SUPER, MAX_SUPER_FRAME, 32);
    });
}

#[test]
fn every_kind_of_record_arrives_as_it_was_sent() {
    lab::run(async {
        let (a, b) = linked().await;
        let headers = [
            PLAIN,
            SUPER,
            RecordHeader {
                hops: 0,
                ingress: Nick::new(u32::MAX).unwrap(),
                reach: Reach::Flood { sequence: u32::MAX },
                vnet: None,
            },
            RecordHeader { reach: Reach::Unicast { egress: Nick::new(77) }, ..PLAIN },
        ];
        let octets = frame(14, 0);
        a.link().send(headers.iter().map(|header| (*header, &octets[..])));
        until("all have arrived", || b.arrived() >= headers.len()).await;
        let found: Vec<_> = b.take_frames().into_iter().map(|(header, _)| header).collect();
        assert_eq!(found, headers);
    });
}

/// Sends without a pause, at once, and returns what became of it.
fn overload(link: &Link, header: RecordHeader, frames: &[Vec<u8>]) -> Sent {
    let mut total = Sent::default();
    for batch in frames.chunks(64) {
        let sent = link.send(batch.iter().map(|frame| (header, &frame[..])));
        total.frames += sent.frames;
        total.octets += sent.octets;
        total.oversize += sent.oversize;
    }
    total
}

#[test]
fn a_sender_that_ignores_the_room_loses_only_what_is_counted() {
    lab::run(async {
        let (a, b) = linked().await;
        assert_overload_is_counted(&a, &b).await;
    });
}

#[test]
fn nor_does_it_lose_more_where_datagrams_are_small() {
    lab::run(async {
        let (a, b, _relay) = over(1232).await;
        assert_overload_is_counted(&a, &b).await;
    });
}

async fn assert_overload_is_counted(a: &Node, b: &Node) {
    if has_short_buffers(a) {
        return;
    }
    let link = a.link();
    let mut number = 0;
    for (header, len, count) in [
        (PLAIN, 60, 40_000),
        (PLAIN, 1514, 2000),
        (PLAIN, MAX_FRAME, 500),
        (SUPER, MAX_SUPER_FRAME, 50),
    ] {
        let frames: Vec<_> = (number..number + count).map(|n| frame(len, n)).collect();
        number += count;
        let sent = overload(&link, header, &frames);
        assert_eq!((sent.frames, sent.oversize), (frames.len() as u64, 0));
        link.room().await;
        let Drops { codel, full } = link.take_drops();
        assert!(full > 0, "{len}: this was no overload");
        let expected = usize::try_from(sent.frames - full - codel).unwrap();
        until("what was not dropped has arrived", || b.arrived() >= expected).await;
        let found = b.take_frames();
        assert_eq!(found.len(), expected);
        // Some are missing, but none is out of its turn.
        let mut all = frames.iter();
        for (_, octets) in &found {
            assert!(all.any(|frame| octets[..] == frame[..]), "frames of {len} octets");
        }
    }
    assert_eq!(b.link().counters().lost_datagrams(), 0);
}

#[test]
fn frames_that_the_peer_does_not_take_are_counted_also_while_others_wait() {
    lab::run(async {
        let (a, b) = linked().await;
        if has_short_buffers(&a) {
            return;
        }
        let link = a.link();
        let long = vec![0; MAX_FRAME + 1];
        let longest = vec![0; MAX_SUPER_FRAME + 1];
        let runt = [0; 13];
        let refused = [(PLAIN, &long[..]), (SUPER, &longest[..]), (PLAIN, &runt[..])];
        assert_eq!(link.send(refused.into_iter()).oversize, 3);
        let filler = vec![0; MAX_FRAME];
        let mut sent = 0;
        while !link.is_congested() {
            sent += link.send([(PLAIN, &filler[..])].into_iter()).frames;
        }
        assert_eq!(link.send(refused.into_iter()).oversize, 3);
        let sent = usize::try_from(sent).unwrap();
        until("what was sent has arrived", || b.arrived() >= sent).await;
        link.room().await;
        assert_eq!(b.arrived(), sent);
    });
}
