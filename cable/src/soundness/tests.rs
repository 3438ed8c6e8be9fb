//! What a panic in QUIC's own code costs. Packets trip it where quinn sends them, which is within its
//! locks, and where strangers' packets are tried.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use control::status::CableState;
use tokio::task::LocalSet;

use crate::cables::{CableEvent, Cables, CablesConfig};
use crate::hello::Introduction;
use crate::{Identity, PublicKey, Trust};

/// Where a packet may trip something.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where quinn sends it.
    Sent,
    /// Where it is tried.
    Tasted,
}

type Trap = (Place, fn(&[u8]) -> bool);

thread_local! {
    static TRAP: Cell<Option<Trap>> = const { Cell::new(None) };
}

/// Panics, once, on the packet for which a trap was set on this thread.
pub(crate) fn trip_over(place: Place, packet: &[u8]) {
    if TRAP.get().is_some_and(|(at, is_meant)| at == place && is_meant(packet)) {
        TRAP.set(None);
        panic!("tripped over a packet");
    }
}

/// How long anything may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);

struct Node {
    cables: Cables,
    trust: Trust,
    key: PublicKey,
    /// Cables that came up and went down.
    changes: Rc<Cell<[usize; 2]>>,
}

impl Node {
    fn start(nick: u32) -> Self {
        let identity = Identity::generate().unwrap();
        let trust = Trust::in_memory([]);
        let config = CablesConfig {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            state: None,
            introduction: Introduction {
                name: format!("node-{nick}"),
                nick: mesh::Nick::new(nick).unwrap(),
                max_frame: 1514,
            },
            queue: mesh::queue::Limits::default(),
            seed: nick.into(),
        };
        let (cables, mut events) = Cables::start(config, &identity, trust.clone()).unwrap();
        let changes = Rc::new(Cell::new([0; 2]));
        let seen = changes.clone();
        tokio::task::spawn_local(async move {
            while let Some(event) = events.recv().await {
                let [ups, downs] = seen.get();
                match event {
                    CableEvent::Up { .. } => seen.set([ups + 1, downs]),
                    CableEvent::Down { .. } => seen.set([ups, downs + 1]),
                    _ => {}
                }
            }
        });
        Self { cables, trust, key: identity.public(), changes }
    }

    async fn link(&self, other: &Self) {
        self.trust.add(other.key, None).unwrap();
        other.trust.add(self.key, None).unwrap();
        let target = other.cables.local_addr().unwrap().to_string().parse().unwrap();
        self.cables.connect(target, crate::cables::Keep::Always).await.unwrap();
        until("the cable is up", || self.is_up() && other.is_up()).await;
    }

    fn is_up(&self) -> bool {
        let statuses = self.cables.statuses();
        !statuses.is_empty() && statuses.iter().all(|cable| cable.state == CableState::Up)
    }

    fn faults(&self) -> u64 {
        self.cables.strangers().faults
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(SOON, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "not in time: {what}");
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(LocalSet::new().run_until(test));
}

#[test]
fn a_panic_in_a_connection_costs_one_redial_of_its_endpoints_cables() {
    run(async {
        let [a, b, c] = [1, 2, 3].map(Node::start);
        a.link(&b).await;
        a.link(&c).await;
        // The next packet of any of the three, which is within that connection's lock.
        TRAP.set(Some((Place::Sent, |_| true)));
        let faults = || a.faults() + b.faults() + c.faults();
        until("the endpoint was replaced", || faults() == 1).await;
        let all_again = || {
            let ups: usize = [&a, &b, &c].iter().map(|node| node.changes.get()[0]).sum();
            ups >= 6 && [&a, &b, &c].iter().all(|node| node.is_up())
        };
        until("all cables are up again", all_again).await;
        assert_eq!(faults(), 1);
        let failed = [&a, &b, &c].into_iter().find(|node| node.faults() == 1).unwrap();
        let warnings = failed.cables.warnings();
        assert!(warnings.iter().any(|w| w.contains("failed 1 times")), "{warnings:?}");
    });
}

#[test]
fn a_panic_while_a_stranger_is_answered_costs_one_redial() {
    // A Retry is sent within the endpoint's own lock.
    a_panic_among_strangers(|packet| packet[0] & 0xf0 == 0xf0);
}

#[test]
fn a_panic_in_a_strangers_handshake_costs_one_redial() {
    // A Handshake packet, or an Initial packet with one behind it.
    a_panic_among_strangers(|packet| [0xc0, 0xe0].contains(&(packet[0] & 0xf0)));
}

fn a_panic_among_strangers(is_meant: fn(&[u8]) -> bool) {
    run(async {
        let [a, b] = [1, 2].map(Node::start);
        // On the endpoint that strangers meet.
        b.link(&a).await;
        TRAP.set(Some((Place::Sent, is_meant)));
        let stranger = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let crypto = crate::tls::Tls::new(&Identity::generate().unwrap(), Trust::in_memory([]));
        let tls = crypto.unwrap().client(Default::default(), crate::tls::Purpose::Cable).unwrap();
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
        let config = quinn::ClientConfig::new(std::sync::Arc::new(crypto));
        let knocks: Vec<_> = (0..300)
            .map(|_| {
                let at = a.cables.local_addr().unwrap();
                stranger.connect_with(config.clone(), at, crate::tls::SERVER_NAME).unwrap()
            })
            .collect();
        until("the endpoint was replaced", || a.faults() == 1).await;
        drop(knocks);
        until("the cable is up again", || {
            a.changes.get()[0] == 2 && b.changes.get()[0] >= 2 && a.is_up() && b.is_up()
        })
        .await;
        assert_eq!((a.faults(), b.faults()), (1, 0));
    });
}

#[test]
fn a_packet_that_makes_quic_panic_never_reaches_the_endpoint() {
    run(async {
        let [a, b] = [1, 2].map(Node::start);
        a.link(&b).await;
        let is_meant = |packet: &[u8]| packet.starts_with(b"\xc3\0\0\0\x01\x08POISONED");
        TRAP.set(Some((Place::Tasted, is_meant)));
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut packet = b"\xc3\0\0\0\x01\x08POISONED".to_vec();
        packet.resize(1200, 0);
        socket.send_to(&packet, a.cables.local_addr().unwrap()).unwrap();
        until("it was noticed", || a.cables.strangers().ignored.contains_key("fault")).await;
        assert_eq!((a.faults(), a.changes.get(), b.changes.get()), (0, [1, 0], [1, 0]));
        // What comes next is looked at as before.
        let c = Node::start(3);
        c.link(&a).await;
    });
}
