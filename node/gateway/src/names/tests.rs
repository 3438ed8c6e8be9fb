//! Queries as resolvers send them, and what they get back.

use std::collections::BTreeMap;

use domain::base::iana::Opcode;
use domain::rdata::AllRecordData;
use proptest::prelude::*;

use super::*;

struct Leases(BTreeMap<&'static str, Ipv4Addr>);

impl Hosts for Leases {
    fn address_of(&self, name: &Hostname) -> Option<Ipv4Addr> {
        self.0.get(name.as_str()).copied()
    }

    fn name_of(&self, address: Ipv4Addr) -> Option<Hostname> {
        self.0.iter().find(|(_, at)| **at == address).map(|(name, _)| name.parse().unwrap())
    }
}

const fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn leases() -> Leases {
    Leases([("vm1", ip(5)), ("vm2", ip(6))].into())
}

fn names() -> Names {
    Names {
        domain: Some("mesh.internal".parse().unwrap()),
        gateway_name: "gateway".parse().unwrap(),
        gateway: ip(1),
        subnet: "10.0.0.0/24".parse().unwrap(),
    }
}

fn query(name: &str, rtype: Rtype) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(4711);
    builder.header_mut().set_rd(true);
    let mut question = builder.question();
    question.push((Name::vec_from_str(name).unwrap(), rtype)).unwrap();
    question.finish()
}

fn with_edns(name: &str, rtype: Rtype, size: u16, version: u8) -> Vec<u8> {
    let message = Message::from_octets(query(name, rtype)).unwrap();
    let question = message.sole_question().unwrap();
    let mut builder = MessageBuilder::new_vec().question();
    builder.push(question).unwrap();
    let mut additional = builder.additional();
    additional
        .opt(|opt| {
            opt.set_udp_payload_size(size);
            opt.set_version(version);
            Ok(())
        })
        .unwrap();
    additional.finish()
}

/// A reply: its code, and its records as text.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    rcode: Rcode,
    answers: Vec<String>,
    authority: Vec<String>,
}

fn read(reply: &[u8]) -> Read {
    let message = Message::from_octets(reply).unwrap();
    let text = |section: domain::base::message::RecordSection<'_, &[u8]>| {
        section
            .limit_to::<AllRecordData<_, _>>()
            .map(|record| record.unwrap())
            .map(|r| format!("{} {} {}", r.owner(), r.ttl().as_secs(), r.data()))
            .collect()
    };
    Read {
        rcode: message.header().rcode(),
        answers: text(message.answer().unwrap()),
        authority: text(message.authority().unwrap()),
    }
}

fn ask(names: &Names, name: &str, rtype: Rtype) -> Option<Read> {
    match names.answer(&query(name, rtype), Transport::Udp, &leases()) {
        Answer::Reply(reply) => Some(read(&reply)),
        Answer::Forward => None,
        Answer::Drop => panic!("{name} was dropped"),
    }
}

fn found(answers: &[&str]) -> Option<Read> {
    let answers = answers.iter().map(|answer| (*answer).to_owned()).collect();
    Some(Read { rcode: Rcode::NOERROR, answers, authority: Vec::new() })
}

const SOA: &str = "5 gateway.mesh.internal. nobody.invalid. 1 3600 3600 3600 5";

fn nothing(rcode: Rcode, zone: &str) -> Option<Read> {
    Some(Read { rcode, answers: Vec::new(), authority: vec![format!("{zone} {SOA}")] })
}

#[test]
fn a_machine_is_found_by_its_short_and_its_full_name_in_any_case() {
    let names = names();
    assert_eq!(ask(&names, "vm1", Rtype::A), found(&["vm1 30 10.0.0.5"]));
    assert_eq!(
        ask(&names, "VM1.Mesh.Internal", Rtype::A),
        found(&["VM1.Mesh.Internal 30 10.0.0.5"])
    );
    assert_eq!(
        ask(&names, "vm2.mesh.internal", Rtype::ANY),
        found(&["vm2.mesh.internal 30 10.0.0.6"])
    );
    assert_eq!(
        ask(&names, "gateway.mesh.internal", Rtype::A),
        found(&["gateway.mesh.internal 30 10.0.0.1"])
    );
}

#[test]
fn an_address_is_found_by_its_reverse_name() {
    let names = names();
    assert_eq!(
        ask(&names, "5.0.0.10.in-addr.arpa", Rtype::PTR),
        found(&["5.0.0.10.in-addr.arpa 30 vm1.mesh.internal."])
    );
    assert_eq!(
        ask(&names, "1.0.0.10.in-addr.arpa", Rtype::PTR),
        found(&["1.0.0.10.in-addr.arpa 30 gateway.mesh.internal."])
    );
    let bare = Names { domain: None, ..names };
    assert_eq!(
        ask(&bare, "5.0.0.10.in-addr.arpa", Rtype::PTR),
        found(&["5.0.0.10.in-addr.arpa 30 vm1."])
    );
}

#[test]
fn a_machine_without_an_ipv6_address_is_not_asked_for_outside() {
    for rtype in [Rtype::AAAA, Rtype::MX, Rtype::TXT, Rtype::HTTPS, Rtype::PTR] {
        let name = "vm1.mesh.internal";
        assert_eq!(ask(&names(), name, rtype), nothing(Rcode::NOERROR, "mesh.internal"));
    }
    let short = ask(&names(), "vm1", Rtype::AAAA).unwrap();
    assert_eq!((short.rcode, short.answers.len()), (Rcode::NOERROR, 0));
}

#[test]
fn a_name_that_no_machine_has_does_not_exist() {
    for name in ["vm9.mesh.internal", "a.vm1.mesh.internal", "v\\240m.mesh.internal"] {
        assert_eq!(ask(&names(), name, Rtype::A), nothing(Rcode::NXDOMAIN, "mesh.internal"));
    }
    let zone = "0.0.10.in-addr.arpa";
    let name = "9.0.0.10.in-addr.arpa";
    assert_eq!(ask(&names(), name, Rtype::PTR), nothing(Rcode::NXDOMAIN, zone));
    for odd in ["05.0.0.10.in-addr.arpa", "300.0.0.10.in-addr.arpa", "1.5.0.0.10.in-addr.arpa"] {
        assert_eq!(ask(&names(), odd, Rtype::PTR), nothing(Rcode::NXDOMAIN, zone), "{odd}");
    }
}

#[test]
fn the_top_of_a_zone_says_whose_it_is() {
    for zone in ["mesh.internal", "0.0.10.in-addr.arpa"] {
        let soa = format!("{zone} {SOA}").replacen(" 5 ", " 30 ", 1);
        assert_eq!(ask(&names(), zone, Rtype::SOA), found(&[&soa]));
        let ns = format!("{zone} 30 gateway.mesh.internal.");
        assert_eq!(ask(&names(), zone, Rtype::NS), found(&[&ns]));
        assert_eq!(ask(&names(), zone, Rtype::ANY), found(&[&soa, &ns]));
        assert_eq!(ask(&names(), zone, Rtype::A), nothing(Rcode::NOERROR, zone));
    }
}

#[test]
fn other_names_are_forwarded() {
    for (name, rtype) in [
        ("example.org", Rtype::A),
        ("internal", Rtype::NS),
        ("xmesh.internal", Rtype::A),
        ("mesh.internal.example.org", Rtype::A),
        (".", Rtype::NS),
        ("com", Rtype::DS),
        ("5.1.0.10.in-addr.arpa", Rtype::PTR),
        ("0.10.in-addr.arpa", Rtype::SOA),
        ("in-addr.arpa", Rtype::NS),
        ("b.0.10.in-addr.arpa", Rtype::PTR),
    ] {
        assert_eq!(ask(&names(), name, rtype), None, "{name}");
    }
}

#[test]
fn a_short_name_that_nobody_has_does_not_leave_the_wire() {
    for rtype in [Rtype::A, Rtype::AAAA] {
        let reply = ask(&names(), "printer", rtype).unwrap();
        assert_eq!(reply.rcode, Rcode::NXDOMAIN);
    }
}

#[test]
fn reverse_zones_end_at_octets_within_the_subnet() {
    let wide = Names { subnet: "10.0.0.0/20".parse().unwrap(), ..names() };
    assert_eq!(
        ask(&wide, "9.15.0.10.in-addr.arpa", Rtype::PTR),
        nothing(Rcode::NXDOMAIN, "15.0.10.in-addr.arpa")
    );
    assert_eq!(ask(&wide, "9.16.0.10.in-addr.arpa", Rtype::PTR), None);
    let narrow = Names { subnet: "10.0.0.0/26".parse().unwrap(), ..names() };
    let name = "9.0.0.10.in-addr.arpa";
    assert_eq!(ask(&narrow, name, Rtype::PTR), nothing(Rcode::NXDOMAIN, name));
    assert_eq!(ask(&narrow, "64.0.0.10.in-addr.arpa", Rtype::PTR), None);
    let all = Names { subnet: "10.0.0.0/8".parse().unwrap(), ..names() };
    assert_eq!(
        ask(&all, "7.0.10.in-addr.arpa", Rtype::PTR),
        nothing(Rcode::NOERROR, "10.in-addr.arpa")
    );
}

#[test]
fn the_header_says_what_it_must() {
    let Answer::Reply(reply) = names().answer(&query("vm1", Rtype::A), Transport::Udp, &leases())
    else {
        panic!("no reply")
    };
    let header = Message::from_octets(&reply).unwrap().header();
    assert_eq!(header.id(), 4711);
    assert!(header.qr() && header.aa() && header.rd() && header.ra() && !header.tc());
}

#[test]
fn edns_is_answered_in_kind_and_never_unasked() {
    let opt = |query: &[u8]| {
        let Answer::Reply(reply) = names().answer(query, Transport::Udp, &leases()) else {
            panic!("no reply")
        };
        let message = Message::from_octets(reply).unwrap();
        let rcode = message.opt_rcode();
        (message.opt().map(|opt| opt.udp_payload_size()), rcode)
    };
    assert_eq!(opt(&query("vm1", Rtype::A)), (None, OptRcode::NOERROR));
    assert_eq!(opt(&with_edns("vm1", Rtype::A, 4096, 0)), (Some(1232), OptRcode::NOERROR));
    assert_eq!(opt(&with_edns("vm1", Rtype::A, 4096, 1)), (Some(1232), OptRcode::BADVERS));
}

#[test]
fn a_reply_too_long_for_udp_says_so_and_fits_tcp() {
    let long = |prefix: &str| format!("{prefix}{}", format!(".{}", "d".repeat(60)).repeat(3));
    let names = Names {
        domain: Some(long("zone").parse().unwrap()),
        gateway_name: "g".repeat(50).parse().unwrap(),
        ..names()
    };
    // No reply of ours reaches 512 octets; a lower limit shows what would happen.
    let domain = names.domain.as_ref().unwrap().to_string();
    let name = format!("{}.{domain}", "q".repeat(50));
    let query = query(&name, Rtype::A);
    let message = Message::from_octets(&query[..]).unwrap();
    let question = message.sole_question().unwrap();
    let reply = Reply { message: &message, question: &question, edns: None, limit: 300 };
    let zone = name_of(&domain);
    assert!(reply.build(zone.as_ref(), &names, Found::NoName).is_err());
    let cut = reply.truncated().unwrap();
    assert!(cut.len() <= 300);
    assert!(Message::from_octets(&cut).unwrap().header().tc());
    let Answer::Reply(whole) = names.answer(&query, Transport::Tcp, &leases()) else {
        panic!("no reply")
    };
    assert_eq!(read(&whole).rcode, Rcode::NXDOMAIN);
}

#[test]
fn what_is_no_query_is_dropped_and_what_is_no_question_refused() {
    let answer = |query: &[u8]| names().answer(query, Transport::Udp, &leases());
    assert_eq!(answer(b""), Answer::Drop);
    assert_eq!(answer(&[0; 11]), Answer::Drop);
    let mut response = query("vm1", Rtype::A);
    response[2] |= 0x80;
    assert_eq!(answer(&response), Answer::Drop);
    let rcode = |query: &[u8]| match answer(query) {
        Answer::Reply(reply) => Message::from_octets(reply).unwrap().header().rcode(),
        other => panic!("{other:?}"),
    };
    assert_eq!(rcode(&[0; 12]), Rcode::FORMERR);
    assert_eq!(rcode(&query("vm1", Rtype::A)[..15]), Rcode::FORMERR);
    let mut update = query("vm1", Rtype::A);
    domain::base::Header::for_message_slice_mut(&mut update).set_opcode(Opcode::UPDATE);
    assert_eq!(rcode(&update), Rcode::NOTIMP);
    assert_eq!(rcode(&query("mesh.internal", Rtype::AXFR)), Rcode::REFUSED);
}

proptest! {
    #[test]
    fn any_octets_are_taken_without_harm(query in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = names().answer(&query, Transport::Udp, &leases());
    }

    #[test]
    fn a_damaged_query_never_makes_a_reply_too_long(
        at in 0..40_usize,
        value in any::<u8>(),
        tail in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut query = with_edns("vm1.mesh.internal", Rtype::A, 4096, 0);
        let at = at % query.len();
        query[at] = value;
        query.extend(tail);
        if let Answer::Reply(reply) = names().answer(&query, Transport::Udp, &leases()) {
            prop_assert!(reply.len() <= MAX_UDP);
            prop_assert!(reply[2] & 0x80 != 0);
        }
    }
}
