//! Packing and reassembly together: what goes in comes out, whatever happens to the datagrams.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]
#![expect(clippy::cast_possible_truncation, reason = "patterns of octets are cut on purpose")]

mod faults;
mod joining;
mod packing;
mod properties;

use std::sync::Arc;

use mesh::Nick;
use mesh::framing::{
    DATAGRAM_HEADER_LEN, Packer, Reach, Reassembler, Received, RecordHeader, TYPE_FRAMES,
};

type Datagram = Arc<[u8]>;
type Record = (RecordHeader, Vec<u8>);

/// A record that can be told from all others by its number.
fn record(number: u32, len: usize) -> Record {
    let header = RecordHeader {
        hops: 8,
        ingress: Nick::new(7).unwrap(),
        reach: Reach::Flood { sequence: number },
        vnet: (len > ether::limits::MAX_FRAME).then_some([number as u8; 10]),
    };
    let frame = (0..len).map(|at| (at as u32 ^ number.wrapping_mul(31)) as u8).collect();
    (header, frame)
}

/// Octets of a record in the stream.
fn record_len((header, frame): &Record) -> usize {
    let body = 10 + header.vnet.map_or(0, |vnet| vnet.len()) + frame.len();
    body + match body {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        _ => 4,
    }
}

fn number((header, _): &Record) -> u32 {
    match header.reach {
        Reach::Flood { sequence } => sequence,
        Reach::Unicast { .. } | Reach::Node { .. } => panic!("the tests flood"),
    }
}

/// All records packed into one batch.
fn pack(records: &[Record], size: usize) -> Vec<Datagram> {
    let mut packer = Packer::new();
    packer.set_datagram_size(size);
    for (header, frame) in records {
        packer.push(header, frame).unwrap();
    }
    packer.flush();
    packer.take().map_or_else(Vec::new, |packed| {
        packed.ranges().map(|range| packed.octets()[range].into()).collect()
    })
}

/// A datagram by hand. The offset `0xffff` means that no record starts.
fn datagram(sequence: u32, first: u16, payload: &[u8]) -> Datagram {
    let [_, s0, s1, s2] = sequence.to_be_bytes();
    let [f0, f1] = first.to_be_bytes();
    [&[TYPE_FRAMES, s0, s1, s2, f0, f1], payload].concat().into()
}

fn payload(datagram: &Datagram) -> &[u8] {
    &datagram[DATAGRAM_HEADER_LEN..]
}

/// The record stream of some records, without datagrams.
fn stream(records: &[Record]) -> Vec<u8> {
    pack(records, 60_000).iter().flat_map(|datagram| payload(datagram).to_vec()).collect()
}

/// A reassembler with a batch that is read and cleared after each datagram.
#[derive(Default)]
struct Receiver {
    reassembler: Reassembler<Datagram>,
    received: Received<Datagram>,
}

impl Receiver {
    /// What one datagram, which must be well formed, completes.
    #[track_caller]
    fn take(&mut self, datagram: &Datagram) -> Vec<Record> {
        self.received.clear();
        self.reassembler.handle_datagram(datagram.clone(), &mut self.received).unwrap();
        self.drain()
    }

    fn drain(&self) -> Vec<Record> {
        self.received.iter().map(|(header, frame)| (*header, frame.to_vec())).collect()
    }

    #[track_caller]
    fn take_all<'a>(&mut self, datagrams: impl IntoIterator<Item = &'a Datagram>) -> Vec<Record> {
        datagrams.into_iter().flat_map(|datagram| self.take(datagram)).collect()
    }
}
