//! The records that datagrams gave.

use std::ops::Range;

use super::record::RecordHeader;

/// A batch of records, in the order in which they were completed.
///
/// Made once, filled by [`super::Reassembler::handle_datagram`] any number of times, read, and
/// cleared: the memory is used again. A record that lay whole in a datagram is a range of that
/// datagram; one that was joined from pieces was copied once.
#[derive(Debug)]
pub struct Received<D> {
    entries: Vec<Entry>,
    /// One for each datagram that held a whole record.
    datagrams: Vec<D>,
    /// The joined frames, end to end.
    joined: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    header: RecordHeader,
    source: Source,
    /// Of the frame, in its source.
    range: Range<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Datagram(usize),
    Joined,
}

impl<D> Default for Received<D> {
    fn default() -> Self {
        Self { entries: Vec::new(), datagrams: Vec::new(), joined: Vec::new() }
    }
}

impl<D> Received<D> {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the records and lets go of the datagrams. Memory for the next batch stays.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.datagrams.clear();
        self.joined.clear();
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Notes a record that lies whole in the datagram that [`Self::keep`] will be given next.
    pub(super) fn push_whole(&mut self, header: RecordHeader, range: Range<usize>) {
        let source = Source::Datagram(self.datagrams.len());
        self.entries.push(Entry { header, source, range });
    }

    /// Keeps the datagram of the records noted since the last call.
    pub(super) fn keep(&mut self, datagram: D) {
        self.datagrams.push(datagram);
    }

    /// Where the octets of a record are joined, and where the next one begins.
    pub(super) fn joined(&mut self) -> &mut Vec<u8> {
        &mut self.joined
    }

    /// Notes a record whose frame lies in the joined octets.
    pub(super) fn push_joined(&mut self, header: RecordHeader, range: Range<usize>) {
        self.entries.push(Entry { header, source: Source::Joined, range });
    }
}

impl<D: AsRef<[u8]>> Received<D> {
    /// The records, each with its frame.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&RecordHeader, &[u8])> {
        self.entries.iter().map(|entry| {
            let octets = match entry.source {
                Source::Datagram(index) => self.datagrams[index].as_ref(),
                Source::Joined => &self.joined,
            };
            (&entry.header, &octets[entry.range.clone()])
        })
    }
}
