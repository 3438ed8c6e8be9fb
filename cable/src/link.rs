//! An established cable as the data plane sees it: frames in, frames out, nothing that waits.
//!
//! Sending happens inside the bridge's call. As long as quinn's short datagram queue has room, frames
//! are packed and handed over at once; beyond that they wait in this cable's own queue
//! ([`mesh::queue`]), where each flow has its turn and what is lost is counted, and [`Link::drain`]
//! feeds them on as room appears.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;

use bytes::Bytes;
use ether::limits::HEADER_LEN;
use futures_util::FutureExt as _;
use mesh::Nick;
use mesh::beat::Beat;
use mesh::framing::{
    Counters, DATAGRAM_HEADER_LEN, MIN_DATAGRAM_SIZE, Packer, Reassembler, Received, RecordHeader,
    STREAM_ROOM_INTERVAL,
};
use mesh::message::{Message, encode};
use mesh::queue::{Drops, FlowQueue, Limits, flow_of};
use quinn::{ConnectionError, SendDatagramError, SendStream};
use tokio::sync::Notify;

use crate::clock::now;
use crate::congestion::{self, is_private};
use crate::connection::Connection;
use crate::failure::{self, CloseCode};
use crate::identity::PublicKey;

/// Octets that the queue hands over at once: about one segmentation batch of quinn's. What is handed
/// over has had its turn, and a frame of another flow waits behind it.
const DRAIN_BATCH: usize = 16 << 10;

/// Datagrams taken in at once before the data plane gets its turn.
const RECEIVE_BATCH: usize = 64;

/// Octets of control messages that may wait. The mesh holds back what it has to say beyond that, and
/// says what is then true; so it is short, beside the largest message of 64 KiB.
const OUTBOX: usize = 128 << 10;

/// Octets of control messages at which a peer that does not read them is given up. Two copies of the
/// largest roster, of 4096 entries, and what else there is to say find room below it.
const MAX_OUTBOX: usize = 4 << 20;

/// Octets that a record adds to its frame at most: 4 of length, 10 of fields, 10 of virtio-net
/// header.
const OVERHEAD: usize = 24;

/// What quinn counts for each datagram that it holds, beside its octets.
const QUEUED_DATAGRAM: usize = size_of::<Bytes>();

/// Above this share of lost packets a super-frame is cut before it is sent: at 46 packets a
/// super-frame, one lost in 10 000 already costs half a per cent of all super-frames.
const SUPER_FRAME_LOSS: f64 = 1e-4;

/// What the other end said of itself.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its proved key.
    pub key: PublicKey,
    /// The name that it gives itself.
    pub name: String,
    /// Its short name in frames, new at each of its starts.
    pub nick: Nick,
    /// Its number of this cable, when it dialled it; else 0.
    pub cable: u32,
    /// The longest frame without a virtio-net header that it takes, in octets.
    pub max_frame: usize,
    /// Whether it takes virtio-net headers, and so super-frames.
    pub takes_vnet: bool,
    /// Whether both ends compare who belongs to the mesh.
    pub has_roster: bool,
}

/// What became of a batch of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Frames handed over or waiting in the queue.
    pub frames: u64,
    /// Their octets.
    pub octets: u64,
    /// Frames dropped because the peer or the framing does not take their length.
    pub oversize: u64,
}

/// Whether a cable has more to give at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Nothing more has arrived.
    All,
    /// More is there.
    Part,
}

/// One established cable. Not `Send`: it lives on the data plane's thread.
#[derive(Debug)]
pub struct Link {
    connection: Connection,
    peer: Peer,
    outbound: RefCell<Outbound>,
    inbound: RefCell<Reassembler<Bytes>>,
    /// Told when the queue has something.
    filled: Notify,
    /// Told when the queue is empty again.
    emptied: Notify,
    super_frames: Cell<bool>,
    last_counts: Cell<(u64, u64)>,
    outbox: RefCell<Outbox>,
    /// Told when the outbox has something.
    posted: Notify,
    /// The peer took no messages.
    given_up: Cell<bool>,
}

/// Control messages that wait for room in the stream.
#[derive(Debug, Default)]
struct Outbox {
    messages: Vec<u8>,
    /// Somebody was told that it is full.
    is_full: bool,
}

#[derive(Debug)]
struct Outbound {
    packer: Packer,
    queue: FlowQueue<(RecordHeader, Box<[u8]>)>,
    /// What of the queue's drops was told.
    told: Drops,
    /// Set while [`Link::drain`] has frames in hand: what comes now must queue behind them.
    draining: bool,
}

impl Link {
    /// A link over an authenticated connection whose peer has introduced itself.
    pub fn new(connection: Connection, peer: Peer, queue: Limits) -> Self {
        Self {
            // Until the first round trips have shown whether the path is short.
            super_frames: Cell::new(
                peer.takes_vnet && is_private(connection.remote_address().ip()),
            ),
            connection,
            peer,
            outbound: RefCell::new(Outbound {
                packer: Packer::new(),
                queue: FlowQueue::new(queue),
                told: Drops::default(),
                draining: false,
            }),
            inbound: RefCell::default(),
            filled: Notify::new(),
            emptied: Notify::new(),
            last_counts: Cell::new((0, 0)),
            outbox: RefCell::default(),
            posted: Notify::new(),
            given_up: Cell::default(),
        }
    }

    /// Sends a control message, in order behind those before. False when no more should be posted
    /// until there is room again. A peer that takes nothing for too long loses its connection.
    pub fn post(&self, message: &Message) -> bool {
        let mut outbox = self.outbox.borrow_mut();
        let message = encode(message);
        if outbox.messages.len() + message.len() > MAX_OUTBOX {
            self.given_up.set(true);
            failure::close(&self.connection, CloseCode::Stalled, "");
            return false;
        }
        outbox.messages.extend(message);
        outbox.is_full = outbox.messages.len() >= OUTBOX;
        self.posted.notify_one();
        !outbox.is_full
    }

    /// Why this link has closed its connection, if it has.
    pub(crate) fn given_up(&self) -> Option<CloseCode> {
        self.given_up.get().then_some(CloseCode::Stalled)
    }

    /// Whether all messages that were posted are with the stream.
    pub(crate) fn has_posted_all(&self) -> bool {
        self.outbox.borrow().messages.is_empty()
    }

    /// Hands posted messages to the stream for as long as it takes them. `room` is called when there
    /// is room again after the outbox was full.
    pub(crate) async fn deliver<R>(
        &self,
        mut stream: SendStream,
        room: impl Fn() -> R,
    ) -> Infallible
    where
        R: Future<Output = ()>,
    {
        loop {
            self.posted.notified().await;
            let (messages, was_full) = {
                let mut outbox = self.outbox.borrow_mut();
                (std::mem::take(&mut outbox.messages), std::mem::take(&mut outbox.is_full))
            };
            if stream.write_all(&messages).await.is_err() {
                // The connection's end is told by the connection.
                return std::future::pending().await;
            }
            if was_full {
                room().await;
            }
        }
    }

    /// Sends a beat, before all frames that still wait here. Should quinn's queue be full, its oldest
    /// datagram gives way.
    pub fn send_beat(&self, beat: &Beat) {
        // Fails only when the connection has ended, which is told elsewhere.
        let _ = self.connection.send_datagram(Bytes::copy_from_slice(&beat.encode()));
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The connection, for its round trip, loss and end.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether super-frames may be sent whole now. Otherwise cut them first.
    pub fn takes_super_frames(&self) -> bool {
        self.super_frames.get()
    }

    /// Whether a frame may carry a virtio-net header at all; without it, complete its checksum.
    pub fn takes_vnet(&self) -> bool {
        self.peer.takes_vnet
    }

    /// Sends a batch of frames, packed together.
    pub fn send<'a>(&self, frames: impl Iterator<Item = (RecordHeader, &'a [u8])>) -> Sent {
        let mut sent = Sent::default();
        let outbound = &mut *self.outbound.borrow_mut();
        let size = self.follow_path(&mut outbound.packer);
        let room = self.connection.datagram_send_buffer_space();
        for (header, frame) in frames {
            let limit = match header.vnet {
                Some(_) => header.max_frame(),
                None => header.max_frame().min(self.peer.max_frame),
            };
            if !(HEADER_LEN..=limit).contains(&frame.len()) {
                sent.oversize += 1;
                continue;
            }
            let pending = outbound.packer.pending_octets() + frame.len() + OVERHEAD;
            let waits = outbound.draining
                || !outbound.queue.is_empty()
                || queued_octets(pending, size) > room;
            if waits {
                let waiting = (header, frame.into());
                outbound.queue.handle_frame(flow_of(frame), frame.len(), waiting, now());
            } else if outbound.packer.push(&header, frame).is_err() {
                sent.oversize += 1;
                continue;
            }
            sent.frames += 1;
            sent.octets += frame.len() as u64;
        }
        for datagram in self.pack(&mut outbound.packer) {
            // Room and size were checked; what fails now fails because the connection has ended.
            let _ = self.connection.send_datagram(datagram);
        }
        if !outbound.queue.is_empty() {
            self.filled.notify_one();
        }
        sent
    }

    /// Ends the batch and gives its datagrams, all slices of one buffer.
    fn pack(&self, packer: &mut Packer) -> impl Iterator<Item = Bytes> + use<> {
        packer.flush();
        let packed = packer.take().map(|packed| {
            let (octets, ranges) = packed.into_parts();
            let octets = Bytes::from(octets);
            ranges.map(move |range| octets.slice(range))
        });
        packed.into_iter().flatten()
    }

    /// Sets and returns the length of the datagrams to come: discovery raises it while the cable
    /// runs, and a shrunken path lowers it. What is packed longer than that is never sent.
    fn follow_path(&self, packer: &mut Packer) -> usize {
        let size = self.connection.max_datagram_size();
        let size = size.map_or(MIN_DATAGRAM_SIZE, |size| size.max(MIN_DATAGRAM_SIZE));
        packer.set_datagram_size(size);
        size
    }

    /// Whether frames wait for room.
    pub fn is_congested(&self) -> bool {
        let outbound = self.outbound.borrow();
        outbound.draining || !outbound.queue.is_empty()
    }

    /// What was lost in the queue since the last call. Whoever sends should ask.
    pub fn take_drops(&self) -> Drops {
        let outbound = &mut *self.outbound.borrow_mut();
        let drops = outbound.queue.drops();
        let told = std::mem::replace(&mut outbound.told, drops);
        Drops { codel: drops.codel - told.codel, full: drops.full - told.full }
    }

    /// Empties the queue of a cable that has ended, and says how many frames were in it.
    pub fn give_up(&self) -> usize {
        self.outbound.borrow_mut().queue.clear()
    }

    /// Whether waiting for room is short: only this machine's speed, not a slow path, is behind it.
    pub fn is_open(&self) -> bool {
        congestion::is_open(self.connection.window())
    }

    /// Completes when no frame waits for room, or the cable has ended.
    pub async fn room(&self) {
        while self.is_congested() {
            tokio::select! {
                () = self.emptied.notified() => {}
                _ = self.connection.closed() => return,
            }
        }
    }

    /// Feeds the queue to the connection as room appears. Runs as long as the link; dropping it
    /// stops the queue.
    pub async fn drain(&self) {
        loop {
            self.filled.notified().await;
            while let Some(datagrams) = self.next_batch() {
                for datagram in datagrams {
                    match self.connection.send_datagram_wait(datagram).await {
                        // The path has shrunk since this was packed. It is lost, as those that were
                        // under way are; the next batch is packed anew.
                        Ok(()) | Err(SendDatagramError::TooLarge) => {}
                        Err(_) => return,
                    }
                }
            }
            self.emptied.notify_waiters();
        }
    }

    fn next_batch(&self) -> Option<impl Iterator<Item = Bytes> + use<>> {
        let outbound = &mut *self.outbound.borrow_mut();
        self.follow_path(&mut outbound.packer);
        let now = now();
        while outbound.packer.pending_octets() < DRAIN_BATCH
            && let Some((header, frame)) = outbound.queue.poll_frame(now)
        {
            // Its length was checked when it was queued.
            let _ = outbound.packer.push(&header, &frame);
        }
        outbound.draining = outbound.packer.pending_octets() > 0;
        outbound.draining.then(|| self.pack(&mut outbound.packer))
    }

    /// Waits for datagrams and appends the frames that they complete to `out`, and beats to
    /// `beats`. Returns whether all that has arrived was taken. If not, call again before giving way to anyone else: quinn's own
    /// queue drops its oldest datagrams when it is full, and tells nobody.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn receive(
        &self,
        out: &mut Received<Bytes>,
        beats: &mut Vec<Beat>,
    ) -> Result<Drained, ConnectionError> {
        let mut datagram = self.connection.read_datagram().await?;
        let mut inbound = self.inbound.borrow_mut();
        let mut take = |datagram: Bytes| match Beat::parse(&datagram) {
            Ok(beat) => beats.push(beat),
            // A malformed datagram is counted by the reassembler, which goes on.
            Err(_) => drop(inbound.handle_datagram(datagram, out)),
        };
        for _ in 0..RECEIVE_BATCH {
            take(datagram);
            match self.connection.read_datagram().now_or_never() {
                Some(Ok(next)) => datagram = next,
                // An end of the connection is told at the next call: these frames come first.
                Some(Err(_)) | None => return Ok(Drained::All),
            }
        }
        take(datagram);
        Ok(Drained::Part)
    }

    /// What has become of the datagrams that arrived.
    pub fn counters(&self) -> Counters {
        *self.inbound.borrow().counters()
    }

    /// Looks at the loss since the last call and decides whether super-frames go whole.
    pub fn handle_interval(&self) {
        let path = self.connection.stats().path;
        let (sent_before, lost_before) =
            self.last_counts.replace((path.sent_packets, path.lost_packets));
        let sent = path.sent_packets.saturating_sub(sent_before);
        let lost = path.lost_packets.saturating_sub(lost_before);
        // On a slow path a super-frame would hold up all other flows for as long as it takes.
        let is_clean = loss_share(sent, lost) <= SUPER_FRAME_LOSS && self.is_open();
        self.super_frames.set(self.peer.takes_vnet && is_clean);
    }

    /// Share of packets lost since the cable came up, 0 to 1.
    pub fn loss(&self) -> f64 {
        let path = self.connection.stats().path;
        loss_share(path.sent_packets, path.lost_packets)
    }
}

/// What quinn counts, at most, for so many octets of records in datagrams of `size` octets.
fn queued_octets(records: usize, size: usize) -> usize {
    let payload = size - DATAGRAM_HEADER_LEN;
    let datagrams = records / payload + 1;
    // One in so many is half as long, and the last may be short.
    let datagrams = datagrams + datagrams / STREAM_ROOM_INTERVAL as usize + 2;
    records + datagrams * (DATAGRAM_HEADER_LEN + QUEUED_DATAGRAM)
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
fn loss_share(sent: u64, lost: u64) -> f64 {
    if sent == 0 { 0.0 } else { lost as f64 / sent as f64 }
}
