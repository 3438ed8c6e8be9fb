//! Who is let in, who is not, and that both sides are told.

use cable::trust::{Refusal, Refuser};
use cable::{PublicKey, Trust};

use crate::handmade::{Client, Pair, Proof, certified};
use crate::lab::{self, Home, introduce, link, linked, until};

/// Whose key was refused by whom.
fn refusals(trust: &Trust) -> Vec<(PublicKey, Refuser)> {
    let named = |refusal: Refusal| (refusal.key, refusal.by);
    trust.refusals().into_iter().map(named).collect()
}

#[test]
fn a_key_that_the_listening_node_does_not_trust_is_named_on_both_ends() {
    lab::run(async {
        let (a, b) = (Home::new().start(), Home::new().start());
        a.trust(b.key);
        let cable = a.connect(b.address()).await;
        let wanted = format!("{} does not trust this node's key", b.address());
        until("the reason is shown", || a.reason(cable) == wanted).await;
        let status = a.status(cable).unwrap();
        let fix = status.fix.unwrap();
        for word in ["vdecable invite", "vdecable join", "vdecable connect USER@HOST"] {
            assert!(fix.contains(word), "{fix}");
        }
        assert!(fix.ends_with(&format!("on that host: vdecable trust {}", a.key)), "{fix}");
        assert_eq!(status.times_up, 0);
        assert_eq!(refusals(&a.trust), [(a.key, Refuser::Peer)]);
        until("it is on record", || !b.trust.refusals().is_empty()).await;
        assert_eq!(refusals(&b.trust), [(a.key, Refuser::Us)]);
        assert!(b.cables.statuses().is_empty());

        // Trust given later mends it, with nothing else done.
        b.trust(a.key);
        until("both ends are up", || a.is_up(cable) && b.link_count() == 1).await;
        assert_eq!(refusals(&a.trust), []);
        assert_eq!(refusals(&b.trust), []);
    });
}

#[test]
fn a_key_that_the_dialling_node_does_not_trust_is_named_on_both_ends() {
    lab::run(async {
        let (a, b) = (Home::new().start(), Home::new().start());
        b.trust(a.key);
        let cable = a.connect(b.address()).await;
        let wanted = format!("presented a key that is not trusted here: {}", b.key);
        until("the reason is shown", || a.reason(cable).contains(&wanted)).await;
        let fix = a.status(cable).unwrap().fix.unwrap();
        assert!(fix.contains("vdecable invite") && fix.contains("vdecable join"), "{fix}");
        assert!(fix.ends_with(&format!("vdecable trust {}", b.key)), "{fix}");
        assert_eq!(refusals(&a.trust), [(b.key, Refuser::Us)]);
        until("it is on record", || !b.trust.refusals().is_empty()).await;
        assert_eq!(refusals(&b.trust), [(b.key, Refuser::Peer)]);

        a.trust(b.key);
        until("both ends are up", || a.is_up(cable) && b.link_count() == 1).await;
        assert_eq!(refusals(&a.trust), []);
        assert_eq!(refusals(&b.trust), []);
    });
}

#[test]
fn a_key_that_is_trusted_no_more_loses_its_cable_at_once() {
    lab::run(async {
        for dialler_untrusts in [true, false] {
            let (a, b) = linked().await;
            let (by, out) = if dialler_untrusts { (&a, &b) } else { (&b, &a) };
            by.untrust(out.key);
            until("both ends are down", || a.link_count() + b.link_count() == 0).await;
            let reasons = |node: &lab::Node| node.cables.statuses()[0].reason.clone().unwrap();
            if dialler_untrusts {
                let wanted = "presented a key that is not trusted here";
                until("it is tried again", || reasons(&a).contains(wanted)).await;
            } else {
                let wanted = "does not trust this node's key";
                until("it is tried again", || reasons(&a).contains(wanted)).await;
                assert_eq!(reasons(&b), "the peer's key is trusted no more");
            }
            by.trust(out.key);
            until("both ends are up", || a.link_count() + b.link_count() == 2).await;
        }
    });
}

#[test]
fn a_key_that_loses_trust_during_the_handshake_never_comes_up() {
    lab::run(async {
        let (a, b) = (Home::new().start(), Home::new().start());
        introduce(&a, &b);
        let pair = Pair::new();
        b.trust(pair.key);
        let client = Client::honest(&pair);
        let connection = client.connect(b.address()).await;
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        // The node answers this, so that it has seen the proof; now the peer takes its time.
        let hello = crate::handmade::hello(1, 1);
        send.write_all(&hello[..5]).await.unwrap();
        recv.read_exact(&mut [0; 4]).await.unwrap();
        b.untrust(pair.key);
        send.write_all(&hello[5..]).await.unwrap();
        let closed = connection.closed().await;
        assert_eq!(cable::failure::code_of(&closed), Some(cable::failure::CloseCode::Untrusted));
        assert_eq!(b.heard(), []);
        link(&a, &b, b.address()).await;
    });
}

#[test]
fn who_does_not_prove_a_trusted_key_is_refused() {
    lab::run(async {
        let node = Home::new().start();
        let (trusted, other) = (Pair::new(), Pair::new());
        node.trust(trusted.key);
        let alpn = mesh::message::ALPN;
        let impostor = certified(trusted.key, other.signing.clone());
        for (what, proof) in [
            ("a key signed with another", Proof::RawKey(impostor)),
            ("a certificate", Proof::Certificate(trusted.certified())),
            ("nothing", Proof::None),
        ] {
            let client = Client::new(proof, alpn);
            let err = match client.knock(node.address()).await {
                Ok(connection) => connection.closed().await,
                Err(err) => err,
            };
            // Refused in the TLS handshake (RFC 9001 section 4.8), by us or by the node.
            let code = match &err {
                quinn::ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
                quinn::ConnectionError::TransportError(err) => u64::from(err.code),
                _ => 0,
            };
            assert!((0x100..0x200).contains(&code), "{what}: {err}");
            assert_eq!(refusals(&node.trust), [], "{what}");
        }
        assert!(node.cables.statuses().is_empty());
        assert_eq!(node.heard(), []);
        // The same client with a proof is let in.
        let client = Client::honest(&trusted);
        let _held = client.introduce(node.address()).await;
        until("it is up", || node.link_count() == 1).await;
    });
}
