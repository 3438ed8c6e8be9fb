//! Restarts, connect and disconnect.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use cable::cables::{CableError, Keep};
use cable::transport::{HANDSHAKE_TIMEOUT, IDLE_TIMEOUT};
use control::status::CableState;
use tokio::sync::oneshot;

use crate::lab::{self, Heard, Home, Node, introduce, link, linked, stays, until, until_within};
use crate::relay::Relay;

/// A node in a thread of its own, which can end without a word.
struct Mortal {
    address: SocketAddr,
    kill: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Mortal {
    fn start(state: PathBuf, listen: SocketAddr) -> Self {
        let (kill, killed) = oneshot::channel();
        let (started, address) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let tasks = tokio::task::LocalSet::new();
            let node = runtime.block_on(tasks.run_until(async {
                let node = Node::start(&state, Some(listen));
                started.send(node.address()).unwrap();
                let _ = killed.await;
                node
            }));
            // Nothing runs any more that could say goodbye when its part is dropped.
            drop(runtime);
            drop((tasks, node));
        });
        Self { address: address.recv().unwrap(), kill: Some(kill), thread: Some(thread) }
    }

    fn kill(&mut self) {
        drop(self.kill.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.kill();
    }
}

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn a_peer_that_was_killed_and_restarted_is_noticed_before_any_timeout() {
    lab::run(async {
        let (a, home) = (Home::new().start(), Home::new());
        a.trust(home.key);
        cable::Trust::load(home.path()).unwrap().add(a.key, None).unwrap();
        let mut b = Mortal::start(home.path().to_owned(), anywhere());
        let cable = a.connect(b.address).await;
        until("it is up", || a.is_up(cable)).await;
        b.kill();
        assert!(a.is_up(cable), "nobody has said anything");
        let _again = Mortal::start(home.path().to_owned(), b.address);
        let wanted = "the peer was restarted";
        until_within(IDLE_TIMEOUT, "the reason is shown", || a.reason(cable) == wanted).await;
        until("it is up again", || a.is_up(cable)).await;
        assert_eq!(a.heard(), [Heard::Up(cable), Heard::Down(cable), Heard::Up(cable)]);
    });
}

#[test]
fn a_killed_node_takes_up_its_kept_cables_and_its_place_at_the_peer() {
    lab::run(async {
        let (home, b) = (Home::new(), Home::new().start());
        b.trust(home.key);
        cable::Trust::load(home.path()).unwrap().add(b.key, None).unwrap();
        let kept = format!(r#"[{{"address": "{}"}}]"#, b.address());
        std::fs::write(home.path().join("cables.json"), kept).unwrap();
        let mut a = Mortal::start(home.path().to_owned(), anywhere());
        until("it is up", || b.link_count() == 1).await;
        a.kill();
        let _again = Mortal::start(home.path().to_owned(), a.address);
        until("it came again", || b.heard().len() == 3 && b.link_count() == 1).await;
        let [Heard::Up(first), Heard::Down(second), Heard::Up(third)] = b.heard()[..] else {
            panic!("{:?}", b.heard())
        };
        assert!(first == second && second == third, "one entry for one peer");
        assert_eq!(b.cables.statuses()[0].times_up, 2);
    });
}

#[test]
fn a_cable_pulled_out_on_either_end_is_forgotten_by_the_node_that_dialled() {
    lab::run(async {
        for dialler_pulls in [true, false] {
            let (home, b) = (Home::new(), Home::new().start());
            let a = home.start();
            introduce(&a, &b);
            let cable = link(&a, &b, b.address()).await;
            if dialler_pulls {
                assert_eq!(a.cables.disconnect(&cable.to_string()).unwrap(), cable);
            } else {
                // By the other's key, as the operator of that end may do.
                b.cables.disconnect(&a.key.to_string()).unwrap();
            }
            until("both ends are down", || a.link_count() + b.link_count() == 0).await;
            until("it is forgotten", || a.cables.statuses().is_empty()).await;
            stays("it is not dialled", || (a.heard().len(), b.heard().len())).await;
            assert!(matches!(a.cables.disconnect(&cable.to_string()), Err(CableError::Unknown(_))));
            let kept = std::fs::read_to_string(home.path().join("cables.json")).unwrap();
            assert_eq!(kept.trim(), "[]");
        }
    });
}

#[test]
fn a_cable_pulled_out_in_the_midst_of_a_handshake_stays_out() {
    lab::run(async {
        let (a, b) = (Home::new().start(), Home::new().start());
        introduce(&a, &b);
        for turns in 0..40 {
            let cable = a.connect(b.address()).await;
            // A little further into the handshake each time, until it is done.
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            a.cables.disconnect(&cable.to_string()).unwrap();
            until("both ends are down", || a.link_count() + b.link_count() == 0).await;
            assert_eq!(a.cables.statuses(), []);
        }
        stays("nothing comes back", || (a.heard().len(), b.heard().len())).await;
        assert_eq!(a.link_count() + b.link_count(), 0);
        // Nothing was left behind that keeps a new cable from coming up.
        link(&a, &b, b.address()).await;
    });
}

#[test]
fn a_cable_pulled_out_while_it_is_dialled_is_dialled_no_further() {
    lab::run(async {
        let (a, b) = (Home::new().start(), Home::new().start());
        introduce(&a, &b);
        let relay = Relay::towards(b.address()).await;
        relay.path.delay.set(Duration::from_millis(20));
        let cable = a.connect(relay.address).await;
        until("it is on its way", || relay.path.passed.get() > 0).await;
        a.cables.disconnect(&cable.to_string()).unwrap();
        stays("nothing comes up", || (a.heard(), b.heard())).await;
        assert_eq!((a.heard(), b.heard()), (vec![], vec![]));
    });
}

#[test]
fn kept_cables_come_up_again_after_a_restart() {
    lab::run(async {
        let (home, b) = (Home::new(), Home::new().start());
        let a = home.start();
        introduce(&a, &b);
        link(&a, &b, b.address()).await;
        a.cables.shut_down().await;
        until("the other end knows why", || {
            b.cables.statuses()[0].reason.as_deref() == Some("the peer was shut down")
        })
        .await;
        assert_eq!(b.cables.statuses()[0].state, CableState::AwaitingPeer);
        drop(a);
        let a = home.start();
        assert_eq!(a.cables.statuses().len(), 1);
        until("both ends are up", || a.link_count() + b.link_count() == 2).await;
    });
}

#[test]
fn a_peer_that_shuts_down_is_dialled_until_it_is_back() {
    lab::run(async {
        let (a, home) = (Home::new().start(), Home::new());
        let b = home.start();
        introduce(&a, &b);
        let address = b.address();
        let cable = link(&a, &b, address).await;
        b.cables.shut_down().await;
        until("the reason is shown", || a.reason(cable) == "the peer was shut down").await;
        assert_eq!(a.status(cable).unwrap().state, CableState::Retrying);
        drop(b);
        let restarted = || UdpSocket::bind(address).is_ok();
        until("the port is free", restarted).await;
        let b = home.start_at(address);
        until("both ends are up", || a.is_up(cable) && b.link_count() == 1).await;
    });
}

#[test]
fn a_cable_to_nobody_says_so_and_when_it_tries_again() {
    lab::run(async {
        let a = Home::new().start();
        // Someone has that port, and says nothing.
        let nobody = UdpSocket::bind(anywhere()).unwrap();
        let address = nobody.local_addr().unwrap();
        let cable = a.connect(address).await;
        assert_eq!(a.states(), [CableState::Connecting]);
        let state = || a.status(cable).unwrap().state;
        let deadline = HANDSHAKE_TIMEOUT + Duration::from_secs(5);
        until_within(deadline, "it gives up for now", || state() == CableState::Retrying).await;
        let status = a.status(cable).unwrap();
        assert_eq!(status.reason, Some(format!("no answer from {address}")));
        assert!(status.retry_in_seconds.is_some_and(|wait| wait < 1.0));
        let fix =
            format!("check that vdenode runs there and that UDP port {} is open", address.port());
        assert_eq!(status.fix, Some(fix));
        until("it tries again", || state() == CableState::Connecting).await;
        // The reason stays to be seen meanwhile.
        assert_eq!(a.reason(cable), format!("no answer from {address}"));
    });
}

#[test]
fn a_name_that_nobody_has_is_refused_and_nothing_is_kept() {
    lab::run(async {
        let home = Home::new();
        let a = home.start();
        // A label of a name has at most 63 octets (RFC 1035 2.3.4): no resolver has to be asked.
        let name = format!("{}.invalid", "x".repeat(64));
        let refused = a.cables.connect(name.parse().unwrap(), Keep::Always).await;
        assert!(matches!(refused, Err(CableError::Unresolved(..))), "{refused:?}");
        assert_eq!(a.cables.statuses(), []);
        assert!(!home.path().join("cables.json").exists());
    });
}

#[test]
fn a_target_is_dialled_by_one_cable_however_often_it_is_asked_for() {
    lab::run(async {
        let (a, b) = linked().await;
        let known = a.cables.statuses().remove(0).id;
        let target = || b.address().to_string().parse().unwrap();
        let (one, two) = tokio::join!(
            a.cables.connect(target(), Keep::Always),
            a.cables.connect(target(), Keep::Always)
        );
        for (cable, created) in [one.unwrap(), two.unwrap()] {
            assert_eq!((cable.to_string(), created), (known.clone(), false));
        }
        // A name has to be resolved, which takes a while.
        let target = || "localhost:9".parse().unwrap();
        let (one, two) = tokio::join!(
            a.cables.connect(target(), Keep::Always),
            a.cables.connect(target(), Keep::Always)
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(one.0, two.0);
        assert!(one.1 != two.1, "one of them has made it");
        assert_eq!(a.cables.statuses().len(), 2);
    });
}

#[test]
fn a_kept_cable_is_called_the_same_after_a_restart() {
    lab::run(async {
        let home = Home::new();
        let a = home.start();
        let mut made = Vec::new();
        for port in 1..=3_u16 {
            let target = format!("127.0.0.1:{port}").parse().unwrap();
            made.push(a.cables.connect(target, Keep::Always).await.unwrap().0.to_string());
        }
        a.cables.disconnect(&made[0]).unwrap();
        a.cables.shut_down().await;
        drop(a);
        let a = home.start();
        let called: Vec<_> = a.cables.statuses().into_iter().map(|cable| cable.id).collect();
        assert_eq!(called, made[1..]);
        let target = "127.0.0.1:4".parse().unwrap();
        let new = a.cables.connect(target, Keep::Always).await.unwrap().0.to_string();
        assert!(!made[1..].contains(&new), "{new}");
    });
}
