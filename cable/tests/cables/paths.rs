//! Paths that are narrow, become so, or are too slow for what is sent.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use cable::congestion;
use cable::endpoint::{Connected, Endpoint};
use cable::link::Peer;
use cable::{Identity, Link, Trust};
use mesh::Nick;
use mesh::queue::{Drops, Limits};

use crate::lab::{self, Heard, Home, Node, PLAIN, frame, introduce, link, until};
use crate::relay::Relay;

/// Two nodes with a path between them that is already narrow.
pub(crate) async fn over(limit: usize) -> (Node, Node, Relay) {
    over_path(limit, Duration::ZERO).await
}

/// The same with too long a way for a LAN, so that its measurement decides how much is sent.
async fn over_slow(limit: usize) -> (Node, Node, Relay) {
    over_path(limit, Duration::from_millis(2)).await
}

async fn over_path(limit: usize, delay: Duration) -> (Node, Node, Relay) {
    let (a, b) = (Home::new().start(), Home::new().start());
    introduce(&a, &b);
    let relay = Relay::towards(b.address()).await;
    relay.path.limit.set(limit);
    relay.path.delay.set(delay);
    link(&a, &b, relay.address).await;
    (a, b, relay)
}

fn path_mtu(node: &Node) -> usize {
    let status = node.cables.statuses().remove(0);
    status.path_mtu.unwrap_or(0).into()
}

/// Sends frames of 1514 octets, a few at a time, until `done`; returns how many.
async fn stream_until(node: &Node, first: usize, mut done: impl FnMut(usize) -> bool) -> usize {
    let mut number = first;
    let sending = async {
        while !done(number - first) {
            let frames: Vec<_> = (number..number + 8).map(|n| frame(1514, n)).collect();
            let link = node.link();
            link.room().await;
            let sent = link.send(frames.iter().map(|frame| (PLAIN, &frame[..])));
            assert_eq!((sent.oversize, link.take_drops()), (0, Drops::default()));
            number += 8;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let sent = tokio::time::timeout(lab::SOON, sending).await;
    assert!(sent.is_ok(), "frames stopped to flow");
    number - first
}

#[test]
fn full_frames_cross_the_narrowest_path_that_ipv6_allows() {
    lab::run(async {
        // An MTU of 1280 less the headers of IPv6 and UDP.
        let (a, b, relay) = over(1232).await;
        let sent = stream_until(&a, 0, |sent| sent >= 400).await;
        until("all have arrived", || b.arrived() >= sent).await;
        for (number, (_, octets)) in b.take_frames().iter().enumerate() {
            assert!(octets[..] == frame(1514, number)[..], "frame {number}");
        }
        // Larger ones were tried, and nothing but tries was lost.
        assert!(relay.path.too_long.get() > 0);
        assert_eq!(b.link().counters().lost_datagrams(), 0);
        assert!((1200..=1232).contains(&path_mtu(&a)), "{}", path_mtu(&a));
    });
}

#[test]
fn a_path_that_shrinks_under_traffic_is_found_out_and_the_cable_lives_on() {
    lab::run(async {
        let (a, b, relay) = over(1472).await;
        stream_until(&a, 0, |_| path_mtu(&a) > 1400).await;
        relay.path.limit.set(1250);
        stream_until(&a, 1_000_000, |_| path_mtu(&a) <= 1250).await;
        let arrived = b.arrived();
        let last = 2_000_000;
        let sent = stream_until(&a, last, |sent| sent >= 200).await;
        until("frames cross again", || b.arrived() >= arrived + sent).await;
        let frames = b.take_frames();
        let tail = &frames[frames.len() - sent..];
        for (number, (_, octets)) in tail.iter().enumerate() {
            assert!(octets[..] == frame(1514, last + number)[..], "frame {number}");
        }
        for node in [&a, &b] {
            assert!(matches!(node.heard()[..], [Heard::Up(_)]), "{:?}", node.heard());
        }
    });
}

#[test]
fn a_path_that_shrinks_while_frames_wait_does_not_end_the_cable() {
    lab::run(async {
        let (a, b, relay) = over_slow(1472).await;
        stream_until(&a, 0, |_| path_mtu(&a) > 1400).await;
        relay.path.limit.set(1250);
        // More than both queues hold, so that frames wait until the very moment.
        let link_a = a.link();
        let frames: Vec<_> = (0..400).map(|n| frame(1514, n)).collect();
        until("the path is found to have shrunk", || {
            link_a.send(frames.iter().map(|frame| (PLAIN, &frame[..])));
            path_mtu(&a) <= 1250
        })
        .await;
        let arrived = b.arrived();
        until("frames cross again", || {
            link_a.send(frames.iter().map(|frame| (PLAIN, &frame[..])));
            b.arrived() > arrived + 400
        })
        .await;
        let profile = a.cables.statuses().remove(0).profile;
        assert_eq!(profile.as_deref(), Some("measured"));
        for node in [&a, &b] {
            assert!(matches!(node.heard()[..], [Heard::Up(_)]), "{:?}", node.heard());
        }
    });
}

/// Two endpoints, and the connection between them as either end sees it.
async fn connected() -> (Connected, Connected, Relay) {
    let identities = [Identity::generate().unwrap(), Identity::generate().unwrap()];
    let [a, b] = identities.each_ref().map(|identity| {
        let trust = Trust::in_memory(identities.iter().map(Identity::public));
        let listen = "127.0.0.1:0".parse().unwrap();
        Endpoint::new(identity, trust, Some(listen)).unwrap()
    });
    let relay = Relay::towards(b.local_addr().unwrap()).await;
    relay.path.limit.set(1472);
    relay.path.delay.set(Duration::from_millis(2));
    let answered = async {
        let knock = b.accept().await.unwrap();
        b.answer(knock).await.unwrap()
    };
    let (dialled, answered) = tokio::join!(a.dial(relay.address), answered);
    // Endpoints end when they are dropped, but their connections do not.
    (dialled.unwrap(), answered, relay)
}

#[test]
fn a_flood_of_frames_does_not_starve_the_control_stream() {
    lab::run(async {
        let (a, b, relay) = connected().await;
        // About 50 Mbit/s, with a queue that overflows.
        relay.path.rate.set(6000);
        let peer = Peer {
            key: a.key,
            name: String::new(),
            nick: Nick::new(1).unwrap(),
            cable: 0,
            max_frame: 1514,
            takes_vnet: false,
            has_roster: false,
        };
        let flooded = Rc::new(Link::new(a.connection.clone(), peer, Limits::default()));
        let waiting = Rc::new(Cell::new(true));
        let flood = {
            let (flooded, waiting) = (flooded.clone(), waiting.clone());
            tokio::task::spawn_local(async move {
                let octets = frame(1514, 0);
                loop {
                    flooded.send((0..400).map(|_| (PLAIN, &octets[..])));
                    waiting.set(waiting.get() && flooded.is_congested());
                    tokio::task::yield_now().await;
                }
            })
        };
        let draining = flooded.clone();
        let drain = tokio::task::spawn_local(async move { draining.drain().await });
        let swallow = b.connection.clone();
        let swallow =
            tokio::task::spawn_local(async move { while swallow.read_datagram().await.is_ok() {} });

        let (mut send, _recv) = a.connection.open_bi().await.unwrap();
        let exchange = async {
            send.write_all(b"1").await.unwrap();
            let (_send, mut recv) = b.connection.accept_bi().await.unwrap();
            for round in 0..20_u8 {
                let mut octet = [0];
                recv.read_exact(&mut octet).await.unwrap();
                send.write_all(&[round]).await.unwrap();
            }
        };
        let crossed = tokio::time::timeout(lab::SOON, exchange).await;
        assert!(crossed.is_ok(), "the control stream stands still");
        assert!(waiting.get(), "this was no flood");
        let window = a.connection.window();
        assert_eq!(congestion::profile_of(window), "measured");
        assert!(!drain.is_finished());
        for task in [flood, drain, swallow] {
            task.abort();
        }
    });
}
