//! Inviting, joining, putting out, among nodes in one process.

use std::time::Duration;

use cable::cables::{JoinError, Joined};
use cable::trust::{Offer, RosterError, Verdict};
use cable::{Token, Trust};
use mesh::message::{JOIN_ALPN, JoinRefusal, Message, Name, encode};
use mesh::roster::{InvitationState, Roles, Standing};

use crate::handmade::{Client, Pair, Proof};
use crate::lab::{self, Home, Node, until};

pub(crate) fn offer(roles: Roles) -> Offer {
    Offer { name: None, roles, expires: Duration::from_secs(600), lasts: None }
}

/// A token that leads to a node.
pub(crate) fn invite(at: &Node, roles: Roles) -> Token {
    at.trust.invite(&offer(roles), vec![at.address().into()]).unwrap().0
}

pub(crate) async fn join(node: &Node, token: &Token, name: &str) -> Joined {
    node.cables.join(token, name).await.unwrap()
}

/// A node of a mesh, with a cable to the one that let it in.
pub(crate) async fn member(of: &Node, roles: Roles, name: &str) -> Node {
    let node = Home::new().start_member(name);
    join(&node, &invite(of, roles), name).await;
    until("both know", || of.trust.contains(node.key) && node.link_count() == 1).await;
    node
}

#[test]
fn a_node_joins_by_a_token_and_gets_a_cable() {
    lab::run(async {
        let (a, b) = (Home::new().start_member("a"), Home::new().start_member("b"));
        let token = invite(&a, Roles::GATEWAY);
        let joined = join(&b, &token, "b").await;
        assert_eq!((joined.name.as_str(), joined.by.as_str()), ("b", "a"));
        until("the cable is up", || a.link_count() + b.link_count() == 2).await;
        assert_eq!(a.trust.name_of(b.key).as_deref(), Some("b"));
        assert_eq!(b.trust.role_of(b.key), Some(Roles::GATEWAY));
        assert_eq!(b.trust.mesh_id(), a.trust.mesh_id());
        assert_eq!(a.cables.attempts()[0].outcome, Ok("b".to_owned()));
    });
}

#[test]
fn the_gateway_of_a_mesh_is_one_that_was_given_the_role_or_named_by_hand() {
    lab::run(async {
        let a = Home::new().start_member("a");
        let stranger = Home::new().start_member("stranger");
        assert!(a.trust.may_be_gateway(a.key), "in a mesh of one");
        assert!(!a.trust.may_be_gateway(stranger.key));
        a.trust.add(stranger.key, None).unwrap();
        assert!(a.trust.may_be_gateway(stranger.key));
        let brought = Home::new().start_member("brought");
        assert!(a.trust.may_be_gateway(brought.key), "trust by hand alone knows no roles");

        let gateway = member(&a, Roles::GATEWAY, "gateway").await;
        let switch = member(&a, Roles::SWITCH, "switch").await;
        let can = [a.key, gateway.key, stranger.key].map(|key| a.trust.may_be_gateway(key));
        assert_eq!(can, [true; 3]);
        assert!(!a.trust.may_be_gateway(switch.key));
        assert!(!a.trust.may_be_gateway(brought.key), "a mesh of several knows its own");
        a.trust.add(switch.key, None).unwrap();
        assert!(a.trust.may_be_gateway(switch.key), "its operator says so");
        a.trust.revoke("gateway", false).unwrap();
        assert!(!a.trust.may_be_gateway(gateway.key));
    });
}

#[test]
fn of_thirty_two_who_race_for_one_token_one_wins() {
    lab::run(async {
        let a = Home::new().start_member("a");
        let token = invite(&a, Roles::SWITCH);
        let nodes: Vec<Node> = (0..32).map(|_| Home::new().start_member("r")).collect();
        let tries = nodes.iter().map(|node| node.cables.join(&token, "r"));
        let results = lab::all(tries).await;
        let won = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(won, 1, "{results:?}");
        assert_eq!(a.trust.members().len(), 2);
        for lost in results.iter().filter_map(|result| result.as_ref().err()) {
            // One that the limit of strangers turned away was not let in either.
            let refused =
                matches!(lost, JoinError::Refused(_, JoinRefusal::Used | JoinRefusal::Busy));
            assert!(refused || matches!(lost, JoinError::Unreached(_)), "{lost}");
        }
    });
}

#[test]
fn what_is_no_good_is_refused_with_the_reason_on_both_ends() {
    lab::run(async {
        let (a, b) = (Home::new().start_member("a"), Home::new().start_member("b"));
        let other = Home::new().start_member("other");
        let refused = async |token: &Token| match b.cables.join(token, "b").await {
            Err(JoinError::Refused(_, refusal)) => {
                assert_eq!(a.cables.attempts()[0].outcome, Err(refusal), "a knows, too");
                refusal
            }
            other => panic!("{other:?}"),
        };
        let mut foreign = invite(&other, Roles::SWITCH);
        foreign.addresses = vec![a.address().into()];
        assert_eq!(refused(&foreign).await, JoinRefusal::OtherMesh);

        let addresses = vec![a.address().into()];
        let guessed = Token::generate(a.trust.mesh_id().unwrap(), a.key, addresses);
        assert_eq!(refused(&guessed.unwrap()).await, JoinRefusal::Unknown);

        let back = invite(&a, Roles::SWITCH);
        a.trust.take_back(&back.id()).unwrap();
        assert_eq!(refused(&back).await, JoinRefusal::TakenBack);

        let short = Offer { expires: Duration::from_secs(1), ..offer(Roles::SWITCH) };
        let (short, _) = a.trust.invite(&short, vec![a.address().into()]).unwrap();
        until("its time is over", || {
            let view = a.trust.invites().into_iter().find(|view| view.id == short.id());
            view.unwrap().state == InvitationState::Expired
        })
        .await;
        assert_eq!(refused(&short).await, JoinRefusal::Expired);

        let used = invite(&a, Roles::SWITCH);
        join(&Home::new().start_member("c"), &used, "c").await;
        assert_eq!(refused(&used).await, JoinRefusal::Used);
        assert_eq!(b.trust.members().len(), 1, "b is where it was");
    });
}

#[test]
fn a_recorded_request_is_of_no_use_in_another_session() {
    lab::run(async {
        let a = Home::new().start_member("a");
        let token = invite(&a, Roles::ADMIN);
        let thief = Pair::new();
        let connect = async || {
            let client = Client::new(Proof::RawKey(thief.certified()), JOIN_ALPN);
            client.knock(a.address()).await.unwrap()
        };
        // What crosses the wire is bound to the session in which it did; here it is even the thief's
        // own key that asks.
        let first = connect().await;
        let mut session = [0; 32];
        first.export_keying_material(&mut session, b"EXPORTER-vdecable-join-1", b"").unwrap();
        let request = cable::trust::request(&token, &session, thief.key, &Name::lossy("x"));
        let second = connect().await;
        let ask = async |connection: &quinn::Connection| {
            let (mut send, mut recv) = connection.open_bi().await.unwrap();
            send.write_all(&encode(&Message::Join(request.clone()))).await.unwrap();
            let mut answer = [0; 6];
            recv.read_exact(&mut answer).await.unwrap();
            // Length, kind, and the first octet of the fields.
            (answer[4], u32::from(answer[5]))
        };
        assert_eq!(ask(&second).await, (20, JoinRefusal::Unknown.to_wire()));
        assert_eq!(a.trust.members().len(), 1);
        // In its own session it is good.
        assert_eq!(ask(&first).await.0, 19);
        assert_eq!(a.trust.members().len(), 2);
    });
}

#[test]
fn strangers_that_say_nothing_keep_nobody_out() {
    lab::run(async {
        let (a, b) = (Home::new().start_member("a"), Home::new().start_member("b"));
        let token = invite(&a, Roles::SWITCH);
        let client = Client::new(Proof::RawKey(Pair::new().certified()), JOIN_ALPN);
        let mut silent = Vec::new();
        for _ in 0..6 {
            silent.push(client.knock(a.address()).await.unwrap());
        }
        let there = || silent.iter().filter(|one| one.close_reason().is_none()).count();
        until("of one source four may wait", || there() == 4).await;
        join(&b, &token, "b").await;
        assert!(there() >= 3, "nobody else had to leave for it");
    });
}

#[test]
fn a_stranger_gets_nothing_but_an_answer() {
    lab::run(async {
        let a = Home::new().start_member("a");
        let stranger = Pair::new();
        let client = Client::new(Proof::RawKey(stranger.certified()), JOIN_ALPN);
        let connection = client.knock(a.address()).await.unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&crate::handmade::hello(1, 1)).await.unwrap();
        let closed = connection.closed().await;
        assert_eq!(cable::failure::code_of(&closed), Some(cable::failure::CloseCode::Protocol));
        // With both protocols on offer it is the cable's, and for that its key must be known.
        assert_eq!(a.heard(), []);
        assert!(a.cables.statuses().is_empty());
    });
}

#[test]
fn members_that_never_met_accept_each_other_and_one_that_is_put_out_loses_all_its_cables() {
    lab::run(async {
        let a = Home::new().start_member("a");
        let b = member(&a, Roles::ADMIN, "b").await;
        let c = member(&b, Roles::SWITCH, "c").await;
        until("a has heard of c", || a.trust.contains(c.key)).await;
        let cable = c.connect(a.address()).await;
        until("c and a are linked", || c.is_up(cable)).await;

        a.trust.revoke("c", false).unwrap();
        a.cables.handle_trust_change();
        until("c has no cable", || c.link_count() == 0).await;
        until("b knows", || b.trust.verdict(c.key) == Verdict::Revoked).await;
        until("c is told why", || c.reason(cable).contains("its key was revoked")).await;
        assert_eq!(a.link_count() + b.link_count(), 2);
    });
}

#[test]
fn a_node_that_was_away_learns_who_is_out_before_its_cable_is_used() {
    lab::run(async {
        let home = Home::new();
        let a = Home::new().start_member("a");
        let c = member(&a, Roles::SWITCH, "c").await;
        let b = home.start_member("b");
        join(&b, &invite(&a, Roles::SWITCH), "b").await;
        until("b knows c", || b.trust.contains(c.key)).await;
        b.cables.shut_down().await;
        drop(b);
        a.trust.revoke("c", false).unwrap();
        a.cables.handle_trust_change();
        // Started again without its list of cables, so that it is dialled by c first.
        std::fs::remove_file(home.path().join("cables.json")).unwrap();
        let b = home.start_member("b");
        let from_c = c.connect(b.address()).await;
        until("b and c do not know", || c.is_up(from_c)).await;
        let to_a = b.connect(a.address()).await;
        until("b and a are linked", || b.is_up(to_a)).await;
        until("b has cut c", || b.link_count() == 1).await;
        // The cable to a was told to the data plane no earlier than c was out.
        assert_eq!(b.trust.verdict(c.key), Verdict::Revoked);
    });
}

#[test]
fn a_membership_that_ends_cuts_the_cable() {
    lab::run(async {
        let (a, b) = (Home::new().start_member("a"), Home::new().start_member("b"));
        let short = Offer { lasts: Some(Duration::from_secs(2)), ..offer(Roles::SWITCH) };
        let (token, _) = a.trust.invite(&short, vec![a.address().into()]).unwrap();
        let joined = join(&b, &token, "b").await;
        until("it is over", || a.link_count() + b.link_count() == 0).await;
        until("the reason is shown", || b.reason(joined.cable).contains("has ended")).await;
        assert_eq!(a.trust.verdict(b.key), Verdict::Expired);
    });
}

#[test]
fn who_has_other_members_of_its_own_does_not_leave_them_unasked() {
    lab::run(async {
        let a = Home::new().start_member("a");
        let b = Home::new().start_member("b");
        let _c = member(&b, Roles::SWITCH, "c").await;
        let token = invite(&a, Roles::SWITCH);
        match b.cables.join(&token, "b").await {
            Err(JoinError::Roster(RosterError::OtherMembers(named))) => assert_eq!(named, "c"),
            other => panic!("{other:?}"),
        }
        assert_eq!(a.trust.members().len(), 1, "the invitation is not used up");
    });
}

#[test]
fn a_host_that_was_put_out_is_invited_again_with_the_same_key_and_another_name() {
    lab::run(async {
        let a = Home::new().start_member("a");
        let b = member(&a, Roles::SWITCH, "b").await;
        a.trust.revoke("b", false).unwrap();
        a.cables.handle_trust_change();
        until("b is out", || b.link_count() == 0).await;
        let joined = join(&b, &invite(&a, Roles::SWITCH), "bee").await;
        assert_eq!(joined.name, "bee");
        until("b is back", || b.link_count() == 1 && a.link_count() == 1).await;
        assert_eq!(a.trust.name_of(b.key).as_deref(), Some("bee"));
    });
}

#[test]
fn a_token_works_by_any_of_its_addresses() {
    lab::run(async {
        let (a, b) = (Home::new().start_member("a"), Home::new().start_member("b"));
        let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let addresses = vec![nobody.local_addr().unwrap().into(), a.address().into()];
        let (token, _) = a.trust.invite(&offer(Roles::SWITCH), addresses).unwrap();
        join(&b, &token, "b").await;
        until("the cable is up", || b.link_count() == 1).await;
    });
}

#[test]
fn membership_survives_a_restart_and_a_member_is_found_by_name() {
    lab::run(async {
        let home = Home::new();
        let a = Home::new().start_member("a");
        let b = member(&a, Roles::ADMIN, "b").await;
        let c = home.start_member("c");
        join(&c, &invite(&b, Roles::SWITCH), "c").await;
        until("a has heard of c", || a.trust.contains(c.key)).await;
        c.cables.hear_contacts([(a.key, vec![a.address().to_string()])]);
        c.cables.shut_down().await;
        drop(c);
        b.cables.shut_down().await;
        let c = home.start_member("c");
        assert!(matches!(
            c.trust.members().iter().find(|m| m.name == "a").map(|m| m.standing.clone()),
            Some(Standing::Member(_))
        ));
        let target = c.cables.target("a").unwrap();
        let (cable, created) = c.cables.connect(target, cable::cables::Keep::Always).await.unwrap();
        assert!(created);
        until("c and a are linked", || c.is_up(cable)).await;
    });
}

#[test]
fn a_member_that_has_dialled_is_not_dialled_for_its_name() {
    lab::run(async {
        let a = Home::new().start_member("a");
        let b = member(&a, Roles::SWITCH, "b").await;
        until("the cable is up", || a.link_count() == 1).await;
        let by_b = a.cables.statuses().remove(0);
        assert!(!by_b.dialled_here);
        let target = a.cables.target("b").unwrap();
        let there = a.cables.dialled_by_member(&target).map(|cable| cable.to_string());
        assert_eq!(there, Some(by_b.id));
        // What b keeps itself is its own.
        let target = b.cables.target("a").unwrap();
        assert!(b.cables.dialled_by_member(&target).is_some(), "by its address, not its name");
        b.cables.hear_contacts([(a.key, vec![a.address().to_string()])]);
        b.cables.connect(target.clone(), cable::cables::Keep::Always).await.unwrap();
        assert_eq!(b.cables.dialled_by_member(&target), None);
    });
}

#[test]
fn a_node_does_not_ask_itself_to_be_let_in() {
    lab::run(async {
        let a = Home::new().start_member("a");
        let token = invite(&a, Roles::SWITCH);
        let refused = a.cables.join(&token, "a").await;
        assert!(matches!(refused, Err(JoinError::Own)), "{refused:?}");
    });
}

#[test]
fn who_is_let_in_again_is_told_nothing_of_the_refusal_before() {
    lab::run(async {
        let a = Home::new().start_member("a");
        let b = member(&a, Roles::SWITCH, "b").await;
        a.trust.revoke("b", false).unwrap();
        a.cables.handle_trust_change();
        let by_peer = || {
            let refusals = b.trust.refusals();
            refusals.iter().any(|refusal| refusal.by == cable::trust::Refuser::Peer)
        };
        until("b is refused", by_peer).await;
        let cable = b.cables.statuses().remove(0);
        assert!(cable.refused, "{cable:?}");
        join(&b, &invite(&a, Roles::SWITCH), "b").await;
        let cable = b.cables.statuses().remove(0);
        assert!(!cable.refused && !by_peer(), "{cable:?}");
        until("b is back", || b.link_count() == 1).await;
    });
}

#[test]
fn a_roster_on_disk_that_was_tampered_with_is_not_taken() {
    lab::run(async {
        let home = Home::new();
        drop(home.start_member("a"));
        let file = home.path().join("roster.json");
        let text = std::fs::read_to_string(&file).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let entry = json["entries"][0].as_str().unwrap().to_owned();
        let last = if entry.ends_with('A') { "B" } else { "A" };
        json["entries"][0] = format!("{}{last}", &entry[..entry.len() - 1]).into();
        std::fs::write(&file, json.to_string()).unwrap();
        let identity = cable::Identity::load_or_generate(home.path()).unwrap();
        let trust = Trust::load(home.path()).unwrap();
        let err = trust.belong(Some(home.path()), &identity, "a").unwrap_err();
        assert!(err.to_string().contains("roster.json is damaged"), "{err}");
    });
}
