//! Up to 64 datagrams in one system call, on any datagram socket: recvmmsg(2) and sendmmsg(2).
//!
//! Neither direction allocates: [`RecvBatch`] keeps its buffers and the kernel's description of
//! them from call to call, [`send`] builds its description on the stack.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// Datagrams in one call. Batching saves about a sixth of a call's cost and the gain is flat
/// beyond some dozens; 64 also bounds how long one port holds the thread.
pub const BATCH: usize = 64;

/// The same in the type that the kernel takes.
const BATCH_COUNT: libc::c_uint = 64;
const _: () = assert!(BATCH_COUNT as usize == BATCH);

/// Room for [`BATCH`] received datagrams of up to a given length each.
///
/// One batch serves many sockets in turn: a receive overwrites what the one before brought.
#[derive(Debug)]
pub struct RecvBatch {
    /// `BATCH * slot_len` octets, owned; a raw pointer because `vectors` points there too.
    slots: NonNull<[u8]>,
    /// Owned; written by the kernel through the pointers in `headers`.
    vectors: NonNull<Vectors>,
    slot_len: usize,
    filled: usize,
}

/// The kernel's description of the slots. Filled once: a receive without name and control data
/// changes nothing in it but lengths and flags of the result.
struct Vectors {
    headers: [libc::mmsghdr; BATCH],
    iovecs: [libc::iovec; BATCH],
}

/// One received datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The octets that fit in the slot.
    pub bytes: &'a [u8],
    /// Whether the datagram was longer than its slot. The rest of it is lost, so it must be
    /// dropped and counted, not forwarded.
    pub truncated: bool,
}

impl RecvBatch {
    /// Makes a batch for datagrams of up to `slot_len` octets. Takes `64 * slot_len` octets of
    /// memory, which the system provides only as they are first written.
    ///
    /// # Panics
    /// When `slot_len` is 0 or beyond 16 MiB, longer than any datagram.
    pub fn new(slot_len: usize) -> Self {
        assert!((1..=16 << 20).contains(&slot_len), "slot of {slot_len} octets");
        let slots = Box::leak(vec![0u8; BATCH * slot_len].into_boxed_slice());
        let slots = NonNull::from(slots);
        let first = slots.as_ptr().cast::<u8>();
        let iovecs = std::array::from_fn(|slot| libc::iovec {
            // SAFETY: `slot < BATCH`, so the offset stays within the allocation.
            iov_base: unsafe { first.add(slot * slot_len) }.cast(),
            iov_len: slot_len,
        });
        let headers = [EMPTY_HEADER; BATCH];
        let vectors = NonNull::from(Box::leak(Box::new(Vectors { headers, iovecs })));
        for slot in 0..BATCH {
            // SAFETY: `vectors` was just allocated and nothing else refers to it. The pointer to
            // the iovec is derived from the allocation and lives as long as it.
            unsafe {
                let iovec = &raw mut (*vectors.as_ptr()).iovecs[slot];
                (*vectors.as_ptr()).headers[slot].msg_hdr.msg_iov = iovec;
            }
        }
        Self { slots, vectors, slot_len, filled: 0 }
    }

    /// Receives what is queued on `socket`, up to [`BATCH`] datagrams, without waiting. Returns
    /// their number, at least 1. After an error the batch is empty.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is queued; otherwise what recvmmsg(2) says.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.filled = 0;
        // SAFETY: `headers` holds BATCH entries, each describing one slot that this batch owns;
        // no slice of a slot can be alive, because `self` is borrowed mutably.
        self.filled = retry(|| unsafe {
            let headers = (&raw mut (*self.vectors.as_ptr()).headers).cast();
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers,
                BATCH_COUNT,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        })?;
        Ok(self.filled)
    }

    /// The datagrams of the last receive, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Datagram<'_>> {
        (0..self.filled).map(|slot| self.datagram(slot))
    }

    /// One datagram of the last receive, counted from 0; `None` beyond the last.
    pub fn get(&self, index: usize) -> Option<Datagram<'_>> {
        (index < self.filled).then(|| self.datagram(index))
    }

    /// `slot` must be below `filled`, which is at most [`BATCH`].
    fn datagram(&self, slot: usize) -> Datagram<'_> {
        assert!(slot < self.filled);
        // SAFETY: the kernel writes the headers only within `receive`, which needs `&mut`.
        let header = unsafe { &(*self.vectors.as_ptr()).headers[slot] };
        let truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        let len = (header.msg_len as usize).min(self.slot_len);
        // SAFETY: `slot < BATCH` and `len <= slot_len`, so the range lies in the allocation; it is
        // written only within `receive`, which needs `&mut`.
        let bytes = unsafe {
            let first = self.slots.as_ptr().cast::<u8>().add(slot * self.slot_len);
            std::slice::from_raw_parts(first, len)
        };
        Datagram { bytes, truncated }
    }

    /// Keeps the first `len` datagrams of the last receive.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.filled = self.filled.min(len);
    }

    /// How many datagrams the last receive brought.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether the last receive brought nothing.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }
}

impl Drop for RecvBatch {
    fn drop(&mut self) {
        // SAFETY: both came from `Box::leak` in `new` and are released only here.
        unsafe {
            drop(Box::from_raw(self.slots.as_ptr()));
            drop(Box::from_raw(self.vectors.as_ptr()));
        }
    }
}

// SAFETY: the pointers lead to memory that this batch alone owns.
unsafe impl Send for RecvBatch {}
// SAFETY: `&self` only reads.
unsafe impl Sync for RecvBatch {}

/// Sends the first [`BATCH`] of `frames`, each as one datagram, without waiting. Returns how many
/// went out, in order; fewer than given when one of them could not, and then the next call, made
/// with the rest, tells why.
///
/// # Errors
/// When the first frame could not be sent: what sendmmsg(2) says. `Ok(0)` only without frames.
pub fn send(socket: BorrowedFd<'_>, frames: &[&[u8]]) -> io::Result<usize> {
    const FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let frames = &frames[..frames.len().min(BATCH)];
    if let [frame] = frames {
        // Without a description that the kernel has to copy. A datagram goes whole or not at all.
        // SAFETY: the pointer and the length are those of a slice borrowed for the call.
        let sent = retry(|| unsafe {
            libc::send(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), FLAGS)
        });
        return sent.map(|_| 1);
    }
    let mut iovecs = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
    for ((frame, iovec), header) in frames.iter().zip(&mut iovecs).zip(&mut headers) {
        let iovec = iovec.write(libc::iovec {
            iov_base: frame.as_ptr().cast_mut().cast(),
            iov_len: frame.len(),
        });
        header.write(EMPTY_HEADER).msg_hdr.msg_iov = iovec;
    }
    let count = libc::c_uint::try_from(frames.len()).expect("at most BATCH");
    if count == 0 {
        return Ok(0);
    }
    // SAFETY: the first `count` headers are initialised, each with one iovec that describes a
    // frame borrowed for the call; sendmmsg only reads the frames. A broken connection must give
    // an error, not a signal.
    retry(|| unsafe {
        libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr().cast(), count, FLAGS as _)
    })
}

/// A header with one buffer, not yet set, no name and no control data.
const EMPTY_HEADER: libc::mmsghdr = {
    // SAFETY: a plain C structure for which all zeros (null pointers, lengths of 0) is valid.
    let mut header: libc::mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_hdr.msg_iovlen = 1;
    header
};

/// Calls again while a signal interrupts.
fn retry<T>(mut call: impl FnMut() -> T) -> io::Result<usize>
where
    usize: TryFrom<T>,
{
    loop {
        match usize::try_from(call()) {
            Ok(count) => return Ok(count),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn a_batch_arrives_whole_and_in_order() {
        let (a, b) = UnixDatagram::pair().unwrap();
        let frames: Vec<Vec<u8>> = (0..100u8).map(|n| vec![n; 60 + usize::from(n)]).collect();
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        assert_eq!(send(a.as_fd(), &frames).unwrap(), BATCH);
        let mut batch = RecvBatch::new(1518);
        assert_eq!(batch.receive(b.as_fd()).unwrap(), BATCH);
        for (datagram, frame) in batch.iter().zip(&frames) {
            assert_eq!(datagram, Datagram { bytes: frame, truncated: false });
        }
        assert_eq!(send(a.as_fd(), &frames[BATCH..]).unwrap(), 36);
        assert_eq!(batch.receive(b.as_fd()).unwrap(), 36);
        assert_eq!(batch.get(35).unwrap().bytes, frames[99]);
        assert_eq!(batch.get(36), None);
    }

    #[test]
    fn a_datagram_longer_than_its_slot_is_marked_and_harms_no_neighbour() {
        let (a, b) = UnixDatagram::pair().unwrap();
        send(a.as_fd(), &[&[1; 101], &[2; 100], &[], &[3; 1]]).unwrap();
        let mut batch = RecvBatch::new(100);
        assert_eq!(batch.receive(b.as_fd()).unwrap(), 4);
        let got: Vec<_> = batch.iter().map(|d| (d.bytes.to_vec(), d.truncated)).collect();
        assert_eq!(
            got,
            [(vec![1; 100], true), (vec![2; 100], false), (vec![], false), (vec![3], false)]
        );
    }

    #[test]
    fn an_empty_queue_would_block_and_empties_the_batch() {
        let (a, b) = UnixDatagram::pair().unwrap();
        assert_eq!(send(a.as_fd(), &[]).unwrap(), 0);
        send(a.as_fd(), &[b"frame"]).unwrap();
        let mut batch = RecvBatch::new(100);
        batch.receive(b.as_fd()).unwrap();
        assert_eq!(batch.len(), 1);
        let error = batch.receive(b.as_fd()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(batch.is_empty() && batch.iter().next().is_none());
    }
}
