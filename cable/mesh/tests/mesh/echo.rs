//! Echoes from node to node, and what else they ask each other the way of frames.

use std::time::Duration;

use ether::{MacAddr, VlanId};
use mesh::Nick;
use mesh::engine::{EchoError, EchoOutcome};
use mesh::packet::{
    ECHO_LEN, Echo, EchoKind, MAX_PACKET_LEN, SeenStation, Stations, StationsAsked,
};

use super::lab::*;

/// Nodes in a row, with cables of these delays.
fn chain(delays: &[u64]) -> Lab {
    let mut lab = Lab::new(delays.len() + 1);
    for (node, delay) in delays.iter().enumerate() {
        lab.cable(node, node + 1, ms(*delay));
    }
    lab.run(secs(2));
    lab
}

fn echo(lab: &mut Lab, from: usize, to: usize, len: usize) -> Result<EchoOutcome, EchoError> {
    let now = lab.now;
    let id = lab.mesh(from).send_echo(&key(to), len, secs(1), now)?;
    lab.settle(from);
    lab.run(secs(2));
    let (done, outcome) = lab.mesh(from).poll_echo().expect("something becomes of it");
    assert_eq!((done, lab.mesh(from).poll_echo()), (id, None));
    Ok(outcome)
}

fn answered(milliseconds: u64, cables: u8) -> Result<EchoOutcome, EchoError> {
    let round_trip = ms(milliseconds);
    Ok(EchoOutcome::Answered { round_trip, there: cables, back: cables })
}

#[test]
fn an_echo_tells_the_round_trip_and_the_cables_on_the_way() {
    let mut lab = chain(&[3, 4, 5]);
    assert_eq!(echo(&mut lab, 0, 1, 64), answered(6, 1));
    assert_eq!(echo(&mut lab, 0, 3, ECHO_LEN), answered(24, 3));
    assert_eq!(echo(&mut lab, 3, 0, MAX_PACKET_LEN), answered(24, 3));
    assert_eq!(echo(&mut lab, 2, 2, 64), answered(0, 0), "a node reaches itself");
}

#[test]
fn an_echo_that_gets_no_answer_is_lost_after_the_time_that_was_given() {
    let mut lab = chain(&[3, 4]);
    // The answer does not get through, and the cable is not yet known to be dead.
    lab.silence(1, [false, true]);
    let now = lab.now;
    lab.mesh(0).send_echo(&key(2), 64, ms(200), now).unwrap();
    lab.settle(0);
    lab.run(ms(199));
    assert_eq!(lab.mesh(0).poll_echo(), None);
    lab.run(ms(1));
    assert!(matches!(lab.mesh(0).poll_echo(), Some((_, EchoOutcome::Lost))));
}

#[test]
fn without_a_way_no_echo_is_sent() {
    let mut lab = chain(&[3, 4]);
    assert_eq!(echo(&mut lab, 0, 7, 64), Err(EchoError::Unreachable), "nobody knows it");
    lab.close(1);
    lab.run(secs(1));
    assert_eq!(echo(&mut lab, 0, 2, 64), Err(EchoError::Unreachable));
    assert_eq!(echo(&mut lab, 0, 1, ECHO_LEN - 1), Err(EchoError::Length));
    assert_eq!(echo(&mut lab, 0, 1, MAX_PACKET_LEN + 1), Err(EchoError::Length));
}

#[test]
fn echoes_take_parallel_cables_in_turn() {
    let mut lab = chain(&[5]);
    lab.cable(0, 1, ms(5));
    lab.run(secs(2));
    // One of the two is cut and not yet known to be.
    lab.silence(0, [true, true]);
    let now = lab.now;
    for _ in 0..10 {
        lab.mesh(0).send_echo(&key(1), 64, ms(300), now).unwrap();
    }
    lab.settle(0);
    lab.run(ms(300));
    let outcomes: Vec<_> = std::iter::from_fn(|| lab.mesh(0).poll_echo()).collect();
    let lost = outcomes.iter().filter(|(_, outcome)| *outcome == EchoOutcome::Lost).count();
    assert_eq!((outcomes.len(), lost), (10, 5), "{outcomes:?}");
}

#[test]
fn answers_that_nobody_waits_for_change_nothing() {
    let mut lab = chain(&[3, 4]);
    let now = lab.now;
    lab.mesh(0).send_echo(&key(2), 64, secs(1), now).unwrap();
    let sent = Echo::parse(&lab.mesh(0).poll_packet().unwrap().octets).unwrap();
    let answer = Echo { kind: EchoKind::Answer, ..sent };
    let (one, two) = (lab.mesh(1).nick(), lab.mesh(2).nick());
    let wrong_token = Echo { token: answer.token ^ 1, ..answer };
    for (ingress, octets) in [
        (one, answer.encode()),
        (Nick::new(u32::MAX).unwrap(), answer.encode()),
        (two, wrong_token.encode()),
        (two, answer.encode()[..ECHO_LEN - 1].to_vec()),
        (two, vec![0xff; 100]),
        (two, Vec::new()),
    ] {
        lab.mesh(0).handle_packet(ingress, 8, &octets, now);
        assert_eq!(lab.mesh(0).poll_echo(), None);
    }
    assert_eq!(lab.mesh(0).counters().packets_ignored, 6);
    lab.mesh(0).handle_packet(two, answer.hops, &answer.encode(), now);
    assert!(matches!(lab.mesh(0).poll_echo(), Some((_, EchoOutcome::Answered { .. }))));
    lab.mesh(0).handle_packet(two, answer.hops, &answer.encode(), now);
    assert_eq!(lab.mesh(0).poll_echo(), None, "a second answer");
}

fn station(number: u8) -> SeenStation {
    SeenStation { vlan: VlanId(7), mac: MacAddr([2, 0, 0, 0, 0, number]), port: 3, age: 1500 }
}

#[test]
fn a_node_that_is_asked_for_its_stations_tells_them_to_who_asked() {
    let mut lab = chain(&[3, 4]);
    let (from, now) = ((VlanId(7), station(5).mac), lab.now);
    let id = lab.mesh(0).ask_stations(&key(2), from, secs(1), now).unwrap();
    lab.settle(0);
    lab.run(ms(100));
    let inquiry = lab.mesh(2).poll_inquiry().unwrap();
    assert_eq!(inquiry.from, from);
    lab.mesh(2).answer_stations(inquiry, vec![station(5), station(6)], true);
    lab.settle(2);
    lab.run(ms(100));
    let (answered, answer) = lab.mesh(0).poll_stations().unwrap();
    let answer = answer.unwrap();
    assert_eq!((answered, answer.more), (id, true));
    assert_eq!(answer.stations, [station(5), station(6)]);
    // One that does not answer is not waited for, and one out of reach not asked.
    let now = lab.now;
    let id = lab.mesh(0).ask_stations(&key(1), from, secs(1), now).unwrap();
    lab.settle(0);
    lab.run(secs(1));
    assert_eq!(lab.mesh(0).poll_stations(), Some((id, None)));
    lab.close(1);
    lab.run(secs(1));
    let now = lab.now;
    assert_eq!(lab.mesh(0).ask_stations(&key(2), from, secs(1), now), None);
    // Another node's word for it does not count, nor what was not asked.
    lab.mesh(0).ask_stations(&key(1), from, secs(1), now).unwrap();
    let asked = StationsAsked::parse(&lab.mesh(0).poll_packet().unwrap().octets).unwrap();
    let (turn, more) = (asked.turn, false);
    let stations = vec![station(1)];
    for (ingress, token) in [(Nick::new(99).unwrap(), asked.token), (lab.mesh(1).nick(), 1)] {
        let forged = Stations { turn, token, stations: stations.clone(), more }.encode();
        lab.mesh(0).handle_packet(ingress, 8, &forged, now);
        assert_eq!(lab.mesh(0).poll_stations(), None);
    }
}

#[test]
fn a_flood_of_requests_fills_no_memory() {
    let mut lab = chain(&[3]);
    let (asker, now) = (lab.mesh(1).nick(), lab.now);
    let request = Echo { kind: EchoKind::Request, hops: 9, crossed: 0, turn: 1, token: 1, len: 64 };
    for _ in 0..10_000 {
        lab.mesh(0).handle_packet(asker, 9, &request.encode(), now);
    }
    let waiting = std::iter::from_fn(|| lab.mesh(0).poll_packet()).count();
    assert!(waiting <= 128, "{waiting} answers wait");
    let asked = StationsAsked { turn: 1, token: 1, from: (VlanId(0), MacAddr([0; 6])) };
    for _ in 0..10_000 {
        lab.mesh(0).handle_packet(asker, 9, &asked.encode(), now);
    }
    let waiting = std::iter::from_fn(|| lab.mesh(0).poll_inquiry()).count();
    assert!(waiting <= 64, "{waiting} questions wait");
    let sent = |lab: &mut Lab| lab.mesh(0).send_echo(&key(1), 64, Duration::from_secs(1), now);
    let waited_for = (0..10_000).take_while(|_| sent(&mut lab).is_ok()).count();
    assert_eq!((waited_for, sent(&mut lab)), (256, Err(EchoError::TooMany)));
}

#[test]
fn who_asks_without_end_leaves_others_their_answers() {
    let mut lab = chain(&[3]);
    let (greedy, start) = (lab.mesh(1).nick(), lab.now);
    let about = |vlan| StationsAsked { turn: 1, token: 1, from: (VlanId(vlan), MacAddr([0; 6])) };
    let mut answered = [0; 2];
    for hundredth in 0..200 {
        let now = start + ms(10) * hundredth;
        for _ in 0..100 {
            lab.mesh(0).handle_packet(greedy, 9, &about(0).encode(), now);
        }
        // Others want to know something ten times a second, each time somebody else.
        let other = Nick::new(1000 + hundredth).unwrap();
        if hundredth % 10 == 0 {
            lab.mesh(0).handle_packet(other, 9, &about(1).encode(), now);
        }
        while let Some(inquiry) = lab.mesh(0).poll_inquiry() {
            answered[usize::from(inquiry.from.0.0)] += 1;
        }
    }
    assert_eq!(answered[1], 20, "the others' answers");
    assert!((100..=140).contains(&answered[0]), "{answered:?}");
}
