//! Peers of another version, broken ones, and silent ones.

use cable::Identity;
use cable::endpoint::Endpoint;
use cable::failure::{CloseCode, Failure, Phase, code_of};
use cable::transport::HANDSHAKE_TIMEOUT;
use mesh::NodeKey;
use mesh::message::{MAX_MESSAGE_LEN, Message, RosterDigest, encode};
use mesh::roster::Founding;

use crate::handmade::{self, Client, Pair, Proof, hello};
use crate::lab::{self, Heard, Home, Node, introduce, link, until, until_within};
use crate::relay::Relay;

const OLD: &[u8] = b"vdecable/0";

/// TLS alert `no_application_protocol` as a QUIC error (RFC 9001 section 4.8).
const NO_APPLICATION_PROTOCOL: u64 = 0x178;

#[test]
fn a_dialling_peer_of_another_protocol_is_told_so() {
    lab::run(async {
        let pair = Pair::new();
        let identity = Identity::generate().unwrap();
        let trust = cable::Trust::in_memory([pair.key]);
        let listen = "127.0.0.1:0".parse().unwrap();
        let endpoint = Endpoint::new(&identity, trust, Some(listen)).unwrap();
        let client = Client::new(Proof::RawKey(pair.certified()), OLD);
        let answered = async {
            let knock = endpoint.accept().await.unwrap();
            endpoint.answer(knock).await
        };
        let connecting = client.knock(endpoint.local_addr().unwrap());
        let (theirs, ours) = tokio::join!(connecting, answered);
        let (remote, failure) = ours.unwrap_err();
        assert_eq!(failure, Failure::Version(remote));
        let quinn::ConnectionError::ConnectionClosed(close) = theirs.unwrap_err() else {
            panic!("the peer was not told")
        };
        assert_eq!(u64::from(close.error_code), NO_APPLICATION_PROTOCOL);
    });
}

/// The reason shown for a cable to a handmade server that has done its part.
async fn shown(node: &Node, server: &quinn::Endpoint) -> (String, Option<String>) {
    let address = server.local_addr().unwrap();
    let cable = node.connect(address).await;
    until("there is a reason", || !node.reason(cable).is_empty()).await;
    let status = node.status(cable).unwrap();
    assert_eq!(status.times_up, 0);
    (status.reason.unwrap(), status.fix)
}

#[test]
fn a_dialled_peer_of_another_version_is_shown_with_what_to_do() {
    lab::run(async {
        let node = Home::new().start();
        let pair = Pair::new();
        node.trust(pair.key);
        let fix = Some("upgrade the older of the two nodes".to_owned());
        let wanted = |server: &quinn::Endpoint| {
            let address = server.local_addr().unwrap();
            format!("{address} speaks another version of the cable protocol")
        };

        let server = handmade::server(&pair, OLD);
        let accepting = server.clone();
        let task = tokio::task::spawn_local(async move {
            while let Some(incoming) = accepting.accept().await {
                let _ = incoming.await;
            }
        });
        assert_eq!(shown(&node, &server).await, (wanted(&server), fix.clone()));
        task.abort();

        let server = handmade::server(&pair, mesh::message::ALPN);
        let accepting = server.clone();
        let peer = tokio::task::spawn_local(async move {
            let connection = accepting.accept().await.unwrap().await.unwrap();
            let (mut send, _recv) = connection.accept_bi().await.unwrap();
            send.write_all(&hello(2, 9)).await.unwrap();
            code_of(&connection.closed().await)
        });
        assert_eq!(shown(&node, &server).await, (wanted(&server), fix));
        assert_eq!(peer.await.unwrap(), Some(CloseCode::Version));
    });
}

#[test]
fn a_hello_of_other_versions_is_answered_with_a_code() {
    lab::run(async {
        let (node, pair) = (Home::new().start(), Pair::new());
        node.trust(pair.key);
        let client = Client::honest(&pair);
        let connection = client.connect(node.address()).await;
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&hello(2, 3)).await.unwrap();
        assert_eq!(code_of(&connection.closed().await), Some(CloseCode::Version));
        assert!(node.cables.statuses().is_empty());
    });
}

#[test]
fn a_broken_control_stream_ends_that_cable_and_no_other() {
    lab::run(async {
        let (a, b) = (Home::new().start(), Home::new().start());
        introduce(&a, &b);
        link(&a, &b, b.address()).await;
        let pair = Pair::new();
        b.trust(pair.key);
        let too_long = u32::try_from(MAX_MESSAGE_LEN).unwrap() + 1;
        for (broken, how) in [
            (too_long.to_be_bytes().to_vec(), "65537 octets"),
            (0_u32.to_be_bytes().to_vec(), "malformed control message"),
            // A Hello cut short.
            (vec![0, 0, 0, 2, 1, 1], "malformed control message"),
            (hello(1, 1), "a second Hello"),
        ] {
            let client = Client::honest(&pair);
            let (connection, mut send, _recv) = client.introduce(b.address()).await;
            until("it is up", || b.link_count() == 2).await;
            send.write_all(&broken).await.unwrap();
            let end = connection.closed().await;
            assert_eq!(code_of(&end), Some(CloseCode::Protocol));
            let told = Failure::of(&end, Phase::Established, b.address(), None).reason();
            assert!(
                told.starts_with("the peer says that this node broke") && told.contains(how),
                "{told}"
            );
            until("it is down", || b.link_count() == 1).await;
            let reason = b.cables.statuses()[1].reason.clone().unwrap();
            assert!(reason.starts_with("the peer broke the protocol: "), "{reason}");
            assert!(reason.contains(how), "{reason}");
        }
        // The same before the introduction.
        let connection = Client::honest(&pair).connect(b.address()).await;
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&[0xff; 100]).await.unwrap();
        assert_eq!(code_of(&connection.closed().await), Some(CloseCode::Protocol));
        assert_eq!((a.heard().len(), a.link_count(), b.link_count()), (1, 1, 1));
    });
}

#[test]
fn messages_that_a_newer_peer_may_send_do_no_harm() {
    lab::run(async {
        let (node, pair) = (Home::new().start(), Pair::new());
        node.trust(pair.key);
        let client = Client::honest(&pair);
        let (connection, mut send, _recv) = client.introduce(node.address()).await;
        let mut longest = u32::try_from(MAX_MESSAGE_LEN).unwrap().to_be_bytes().to_vec();
        longest.resize(longest.len() + MAX_MESSAGE_LEN, 0xee);
        for _ in 0..8 {
            send.write_all(&longest).await.unwrap();
            send.write_all(&[0, 0, 0, 1, 200]).await.unwrap();
        }
        // More than both windows and the decoder hold: all of it was read.
        assert_eq!(connection.close_reason(), None);
        until("it is up", || node.link_count() == 1).await;
        // What is understood is still understood behind it.
        send.write_all(&hello(1, 1)).await.unwrap();
        assert_eq!(code_of(&connection.closed().await), Some(CloseCode::Protocol));
    });
}

#[test]
fn a_peer_that_never_introduces_itself_is_dropped_and_in_nobodys_way() {
    lab::run(async {
        let (a, b) = (Home::new().start(), Home::new().start());
        introduce(&a, &b);
        let pair = Pair::new();
        b.trust(pair.key);
        let client = Client::honest(&pair);
        let mut silent = Vec::new();
        for _ in 0..20 {
            silent.push(client.connect(b.address()).await);
        }
        link(&a, &b, b.address()).await;
        let gone = || silent.iter().all(|c| c.close_reason().is_some());
        until_within(HANDSHAKE_TIMEOUT + lab::SOON, "they are dropped", gone).await;
        assert_eq!(b.cables.statuses().len(), 1);
        assert_eq!((a.heard().len(), b.heard().len()), (1, 1));
    });
}

#[test]
fn forged_addresses_do_not_keep_an_honest_peer_out() {
    lab::run(async {
        let (a, b) = (Home::new().start(), Home::new().start());
        introduce(&a, &b);
        // Whoever forges an address never sees an answer.
        let relay = Relay::towards(b.address()).await;
        relay.path.one_way.set(true);
        let stranger = Client::honest(&Pair::new());
        let forged: Vec<_> = (0..200).map(|_| stranger.knock(relay.address)).collect();
        until("they have knocked", || relay.path.passed.get() >= 200).await;
        a.connect(b.address()).await;
        // None of them has given up yet.
        let up = || a.link_count() + b.link_count() == 2;
        until_within(HANDSHAKE_TIMEOUT / 2, "both ends are up", up).await;
        drop(forged);
    });
}

#[test]
fn a_peer_that_takes_no_messages_is_given_up_before_they_fill_the_memory() {
    lab::run(async {
        let (a, b) = lab::linked().await;
        let message = Message::RosterDigest(RosterDigest {
            founding: Founding { founder: NodeKey([1; 32]), nonce: [0; 16] },
            digest: [0; 32],
        });
        let link = a.link();
        let posted_in_vain = encode(&message).len();
        // Nothing is delivered in between.
        for _ in 0..(4 << 20) / posted_in_vain {
            link.post(&message);
        }
        assert_eq!((a.link_count(), b.link_count()), (1, 1));
        for _ in 0..2 {
            assert!(!link.post(&message), "there is no room");
        }
        until("it was given up", || a.heard().iter().any(|h| matches!(h, Heard::Down(..)))).await;
        // Both ends say what it was for.
        let reason = |node: &Node| node.cables.statuses()[0].reason.clone().unwrap_or_default();
        until("b says why", || reason(&b).contains("in vain for this node to read")).await;
    });
}
