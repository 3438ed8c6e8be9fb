//! The octets of protocol version 1 that are about members, written out; see `wire_v1.rs`.

use mesh::NodeKey;
use mesh::authority::Signature;
use mesh::message::{
    Bounded, Decoder, JOIN_ALPN, Join, JoinRefusal, MeshId, Message, Name, RosterDigest,
    RosterEntries, Unwelcome, Welcome, encode,
};
use mesh::record::{Contact, Contacts, Slot};
use mesh::roster::{
    Entry, Founding, Invitation, Membership, Revocation, Roles, Sealer, Statement, Succession,
    consent_octets,
};

fn entry(statement: Statement) -> Entry {
    Entry {
        subject: NodeKey([0x11; 32]),
        serial: 300,
        statement,
        signer: NodeKey([0x22; 32]),
        signature: Signature([0x33; 64]),
    }
}

/// Subject, serial, and what comes behind the statement.
fn around(statement: &[u8]) -> Vec<u8> {
    [&[0x11; 32][..], &[0xac, 0x02], statement, &[0x22; 32], &[0x33; 64]].concat()
}

#[test]
fn entries_of_the_roster() {
    let name = |text| Name::new(text).unwrap();
    let invite = [&[1][..], &[0x44; 32]].concat();
    let cases = [
        (
            Statement::Member(Membership {
                name: name("hostb"),
                roles: Roles::ADMIN.union(Roles::GATEWAY),
                joined: 1,
                expires: 128,
                invite: Some(NodeKey([0x44; 32])),
            }),
            [&[0, 5][..], b"hostb", &[3, 1, 0x80, 0x01], &invite].concat(),
        ),
        (
            Statement::Revoked(Revocation {
                name: name("b"),
                was_admin: true,
                joined: 2,
                invite: None,
            }),
            vec![1, 1, b'b', 1, 2, 0],
        ),
        (
            Statement::Invite(Invitation {
                name: name(""),
                roles: Roles::SWITCH,
                expires: 127,
                lasts: 0,
            }),
            vec![2, 0, 0, 127, 0],
        ),
        (Statement::Closed { expires: 5 }, vec![3, 5]),
        (
            Statement::Succeeded(Succession {
                to: NodeKey([0x55; 32]),
                retired: true,
                consent: Signature([0x66; 64]),
            }),
            [&[4][..], &[0x55; 32], &[1], &[0x66; 64]].concat(),
        ),
    ];
    for (statement, octets) in cases {
        let entry = entry(statement);
        let wanted = around(&octets);
        assert_eq!(postcard::to_allocvec(&entry).unwrap(), wanted);
        assert_eq!(postcard::from_bytes::<Entry>(&wanted), Ok(entry));
    }
}

#[test]
fn messages_about_members() {
    let founding = Founding { founder: NodeKey([0x01; 32]), nonce: [0x02; 16] };
    let founded = [&[0x01; 32][..], &[0x02; 16]].concat();
    let name = |text| Name::new(text).unwrap();
    let closed = entry(Statement::Closed { expires: 5 });
    let cases = [
        (
            Message::RosterDigest(RosterDigest { founding, digest: [0x03; 32] }),
            16,
            [&founded[..], &[0x03; 32]].concat(),
        ),
        (
            Message::Roster(RosterEntries {
                founding,
                entries: Bounded::truncated(vec![closed]),
                last: true,
            }),
            17,
            [&founded[..], &[1], &around(&[3, 5]), &[1]].concat(),
        ),
        (
            Message::Join(Join {
                mesh: MeshId([0x04; 16]),
                invite: NodeKey([0x05; 32]),
                name: name("b"),
                software: name("v"),
                proof: Signature([0x06; 64]),
            }),
            18,
            [&[0x04; 16][..], &[0x05; 32], &[1, b'b', 1, b'v'], &[0x06; 64]].concat(),
        ),
        (Message::Welcome(Welcome { name: name("b"), by: name("a") }), 19, vec![1, b'b', 1, b'a']),
        (Message::Unwelcome(Unwelcome { reason: JoinRefusal::Used.to_wire() }), 20, vec![3]),
    ];
    for (message, kind, fields) in cases {
        let len = u32::try_from(fields.len() + 1).unwrap().to_be_bytes();
        let octets = [&len[..], &[kind], &fields].concat();
        assert_eq!(encode(&message), octets);
        let mut decoder = Decoder::new();
        assert_eq!(decoder.handle_bytes(&octets), octets.len());
        assert_eq!(decoder.poll_message(), Ok(Some(message)));
    }
    assert_eq!(JOIN_ALPN, b"vdecable-join/1");
    for (at, refusal) in (1..).zip(JoinRefusal::ALL) {
        assert_eq!((refusal.to_wire(), JoinRefusal::from_wire(at)), (at, Some(refusal)));
    }
}

#[test]
fn what_an_administrator_signs() {
    use std::cell::RefCell;
    struct Witness(RefCell<Vec<u8>>);
    impl Sealer for Witness {
        fn key(&self) -> NodeKey {
            NodeKey([0x22; 32])
        }
        fn seal(&self, octets: &[u8]) -> Signature {
            *self.0.borrow_mut() = octets.to_vec();
            Signature([0x33; 64])
        }
    }
    let founding = Founding { founder: NodeKey([0x01; 32]), nonce: [0x02; 16] };
    let witness = Witness(RefCell::default());
    let closed = Statement::Closed { expires: 5 };
    let signed = Entry::sign(&founding, NodeKey([0x11; 32]), 300, closed.clone(), &witness);
    assert_eq!(signed, entry(closed));
    let wanted = [
        &b"vdecable roster 1\0"[..],
        &[0x01; 32],
        &[0x02; 16],
        &[0x11; 32],
        &[0xac, 0x02],
        &[3, 5],
        &[0x22; 32],
    ]
    .concat();
    assert_eq!(*witness.0.borrow(), wanted);
    let consent = consent_octets(&founding, &NodeKey([0x11; 32]), &NodeKey([0x55; 32]));
    let wanted =
        [&b"vdecable succession 1\0"[..], &[0x01; 32], &[0x02; 16], &[0x11; 32], &[0x55; 32]];
    assert_eq!(consent, wanted.concat());
}

#[test]
fn where_a_node_is_found() {
    let contacts =
        Contacts { addresses: Bounded::truncated(vec![Contact::new("192.0.2.1:7667").unwrap()]) };
    let octets = [&[1, 14][..], b"192.0.2.1:7667"].concat();
    assert_eq!(postcard::to_allocvec(&contacts).unwrap(), octets);
    assert_eq!(postcard::from_bytes::<Contacts>(&octets), Ok(contacts));
    assert_eq!(Slot::CONTACTS, Slot(67));
}
