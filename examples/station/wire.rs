//! The plug as the TCP/IP stack's device: frames are taken and given 64 at a time.

use std::io;

use ether::limits::{MIN_FRAME, STANDARD_FRAME};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use vdeplug::mmsg::BATCH;
use vdeplug::{Datagram, Plug, RecvBatch, SendError};

pub(crate) struct Wire {
    plug: Plug,
    received: RecvBatch,
    /// How many of `received` the stack has taken.
    taken: usize,
    outbox: Outbox,
}

/// Frames that the stack has made and the plug has not yet taken: up to [`BATCH`]. When it is
/// full the stack keeps its segments, so nothing is lost.
struct Outbox {
    slots: Vec<[u8; STANDARD_FRAME]>,
    lens: [usize; BATCH],
    filled: usize,
}

impl Wire {
    pub(crate) fn new(plug: Plug) -> Self {
        let slots = vec![[0; STANDARD_FRAME]; BATCH];
        let outbox = Outbox { slots, lens: [0; BATCH], filled: 0 };
        Self { plug, received: RecvBatch::new(STANDARD_FRAME), taken: 0, outbox }
    }

    /// Takes the next batch from the plug, once the stack has taken the last one.
    pub(crate) fn refill(&mut self) -> io::Result<()> {
        if self.taken < self.received.len() {
            return Ok(());
        }
        self.taken = 0;
        match self.plug.try_recv_batch(&mut self.received) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives the plug what it takes of the outbox.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.outbox.filled {
            let mut frames = [&[][..]; BATCH];
            let count = self.outbox.filled - sent;
            for (frame, slot) in frames.iter_mut().zip(sent..self.outbox.filled) {
                *frame = &self.outbox.slots[slot][..self.outbox.lens[slot]];
            }
            let outcome = self.plug.try_send_batch(&frames[..count]);
            sent += outcome.sent;
            match outcome.stopped {
                None => {}
                Some(SendError::WouldBlock) => break,
                // The control stream tells of the end; until then this is a cable that loses.
                Some(SendError::PeerGone) => sent = self.outbox.filled,
                Some(SendError::TooLong) => sent += 1,
                Some(SendError::Other(error)) => return Err(error),
            }
        }
        self.outbox.remove(sent);
        Ok(())
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.outbox.filled == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.outbox.filled == BATCH
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        if self.taken < self.received.len() {
            return Ok(());
        }
        self.plug.readable().await
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.plug.writable().await
    }

    pub(crate) async fn hung_up(&self) -> vdeplug::Unplugged {
        self.plug.hung_up().await
    }
}

impl Outbox {
    fn remove(&mut self, count: usize) {
        self.slots[..self.filled].rotate_left(count);
        self.lens[..self.filled].rotate_left(count);
        self.filled -= count;
    }
}

impl Device for Wire {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Slot<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Slot<'_>)> {
        // An answer needs a slot; without one the frame waits.
        if self.is_full() {
            return None;
        }
        loop {
            let datagram = self.received.get(self.taken)?;
            self.taken += 1;
            if !datagram.truncated {
                return Some((Received(datagram), Slot(&mut self.outbox)));
            }
        }
    }

    fn transmit(&mut self, _: Instant) -> Option<Slot<'_>> {
        if self.is_full() {
            // Whatever the reason is that it stays full, the driver meets it in its own flush.
            let _ = self.flush();
        }
        (!self.is_full()).then_some(Slot(&mut self.outbox))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = STANDARD_FRAME;
        capabilities
    }
}

pub(crate) struct Received<'a>(Datagram<'a>);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0.bytes)
    }
}

/// The outbox with room for at least one frame.
pub(crate) struct Slot<'a>(&'a mut Outbox);

impl TxToken for Slot<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let Self(outbox) = self;
        let slot = &mut outbox.slots[outbox.filled];
        let result = f(&mut slot[..len]);
        // Short frames are padded as on a wire.
        let padded = len.max(MIN_FRAME);
        slot[len..padded].fill(0);
        outbox.lens[outbox.filled] = padded;
        outbox.filled += 1;
        result
    }
}
