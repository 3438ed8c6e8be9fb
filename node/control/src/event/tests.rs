//! Sentences and times of events.

use super::*;

fn named(name: &str) -> Named {
    Named { name: name.into(), key: "abcdefghijkl".into() }
}

fn port() -> NamedPort {
    NamedPort { port: 3, description: "QEMU".into() }
}

/// One of each kind.
fn all() -> Vec<Event> {
    let (cable, peer) = ("c1".to_owned(), named("b"));
    let (vlan, mac) = (5, "02:00:00:00:00:01".to_owned());
    let owner = named("c");
    let notice = Notice::Loop { port: port(), other: named("c"), other_port: 4 };
    let down = |loss| Event::LinkDown { cable: "c1".into(), peer: named("b"), loss };
    vec![
        Event::CableUp { cable: cable.clone(), peer: peer.clone(), address: None },
        Event::CableDown {
            cable: cable.clone(),
            peer: peer.clone(),
            reason: "no answer".into(),
            fix: Some("look there".into()),
        },
        Event::LinkUp { cable: cable.clone(), peer: peer.clone() },
        down(LinkLoss::Closed),
        down(LinkLoss::Inbound),
        down(LinkLoss::Outbound),
        Event::NodeJoined { node: peer.clone() },
        Event::NodeLeft { node: peer.clone() },
        Event::EpochRaised { epoch: 7 },
        Event::NickChanged { nick: "0000000a".into(), keeper: peer.clone() },
        Event::NickClash { nick: "0000000a".into(), keeper: peer.clone(), loser: named("d") },
        Event::RecordRefused { cable, origin: peer.clone(), reason: "malformed".into() },
        Event::KeyCloned { node: peer.clone() },
        Event::DuplicateStation { vlan, mac: mac.clone(), owner: owner.clone() },
        Event::StickyStation { vlan: 0, mac: mac.clone(), owner: owner.clone() },
        Event::LoopFound {
            port: port(),
            other: owner.clone(),
            other_port: "tap0".into(),
            blocked_here: true,
        },
        Event::GatewayServes { node: named("c") },
        Event::GatewayGone { node: named("c") },
        Event::GatewayRefused { node: named("b"), by: named("c") },
        Event::Guarded { port: port(), offence: Offence::DhcpServer, mac: mac.clone() },
        Event::LoopCleared { port: port() },
        Event::NoticeRaised { from: peer.clone(), notice: notice.clone() },
        Event::NoticeRaised {
            from: peer.clone(),
            notice: Notice::DuplicateStation { vlan, mac: mac.clone(), owner },
        },
        Event::NoticeRaised { from: peer.clone(), notice: Notice::ClonedKey { node: named("c") } },
        Event::NoticeRaised {
            from: peer.clone(),
            notice: Notice::Guarded { port: port(), offence: Offence::Router, mac },
        },
        Event::NoticeCleared { from: peer, notice },
    ]
}

#[test]
fn every_event_has_a_sentence_that_names_where_and_survives_json() {
    for event in all() {
        let told = Told::new(SystemTime::UNIX_EPOCH, event.clone());
        let text = &told.text;
        assert!(!text.contains('\n') && !text.contains("  ") && !text.ends_with('.'), "{text}");
        let is_of_this_node = matches!(
            event,
            Event::EpochRaised { .. } | Event::LoopCleared { .. } | Event::Guarded { .. }
        );
        if !is_of_this_node {
            let names_node = ["b", "c"]
                .iter()
                .any(|name| text.split(' ').any(|w| w.trim_end_matches([':', ',', ';']) == *name));
            assert!(names_node, "{text}");
        }
        let json = serde_json::to_string(&told).unwrap();
        assert_eq!(serde_json::from_str::<Told>(&json).unwrap(), told, "{json}");
    }
}

#[test]
fn the_sentences_an_operator_acts_upon_say_what_to_do() {
    let text = |index: usize| all()[index].sentence();
    assert_eq!(text(1), "cable c1 to b has ended: no answer; look there");
    assert_eq!(
        text(13),
        "station 02:00:00:00:00:01 in VLAN 5 speaks here and at node c in turn, and frames for it \
         go to c for half an hour; give one of the two stations another address, or look for a loop"
    );
    assert_eq!(
        text(15),
        "loop: port 3 (QEMU) here and the port \"tap0\" of node c are joined outside of the mesh; \
         port 3 (QEMU) is blocked until they are taken apart"
    );
    let nameless = Event::NodeLeft { node: named("") };
    assert!(nameless.sentence().starts_with("node abcdefgh has left"), "{}", nameless.sentence());
}

#[test]
fn what_a_fault_on_the_network_can_cause_often_is_no_more_than_debug() {
    for event in all() {
        let refused = matches!(event, Event::RecordRefused { .. });
        assert_eq!(event.level() == Level::Debug, refused, "{event:?}");
    }
}

#[test]
fn times_are_in_utc_for_programs_and_in_the_readers_zone_for_people() {
    let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_007);
    let utc = in_utc(at);
    assert_eq!(utc, "2023-11-14T22:13:20.007Z");
    let zone = TimeZone::fixed(jiff::tz::offset(2));
    assert_eq!(in_zone(&utc, zone.clone()), "2023-11-15T00:13:20.007+02:00");
    assert_eq!(in_zone("yesterday", zone), "yesterday");
}
