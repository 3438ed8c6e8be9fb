//! Datagrams that somebody on the path has changed.

use std::collections::HashSet;
use std::time::Duration;

use crate::lab::{self, Heard, Home, PLAIN, frame, introduce, until_within};
use crate::relay::Relay;

/// Forged copies that are sent; `VDE_FULL=1` has a million, which takes some minutes.
fn forgeries() -> u64 {
    if std::env::var_os("VDE_FULL").is_some() { 1_000_000 } else { 20_000 }
}

#[test]
fn datagrams_with_flipped_bits_change_no_frame_and_end_no_cable() {
    lab::run_for(Duration::from_secs(900), async {
        let (a, b) = (Home::new().start(), Home::new().start());
        introduce(&a, &b);
        let relay = Relay::towards(b.address()).await;
        // Also those of the handshake.
        relay.path.forgeries.set(8);
        a.connect(relay.address).await;
        until_within(2 * lab::SOON, "the cable is up", || a.link_count() + b.link_count() == 2)
            .await;
        let (wanted, mut number, mut sent) = (forgeries(), 0, HashSet::new());
        while relay.path.forged.get() < wanted {
            let octets = frame(600, number);
            for node in [&a, &b] {
                node.link().send([(PLAIN, &octets[..])].into_iter());
            }
            sent.insert(octets);
            number += 1;
            tokio::time::sleep(Duration::from_micros(200)).await;
            for node in [&a, &b] {
                for (_, got) in node.take_frames() {
                    assert!(sent.contains(&got), "a frame that nobody sent");
                }
            }
        }
        let ups = |heard: &[Heard]| heard.iter().filter(|h| matches!(h, Heard::Up(_))).count();
        assert_eq!((ups(&a.heard()), a.heard().len()), (1, 1), "a cable ended");
        assert_eq!((ups(&b.heard()), b.heard().len()), (1, 1), "a cable ended");
        assert_eq!((a.cables.strangers().faults, b.cables.strangers().faults), (0, 0));
    });
}
