//! A thread that hands UDP packets to the kernel.
//!
//! On a wire of 1500 octets the kernel's share of sending is two thirds of all that a sending node
//! does: on the data plane's thread it would bound a cable's speed to that of one processor. So
//! batches of packets are queued here and the data plane goes on. While one batch is on its way
//! into the kernel, what quinn gives in tens grows to what one system call takes, which saves most
//! of what a call costs and wakes the receiver less often.
//!
//! A few packets on their own are not worth a change of threads: when nothing is queued they are
//! sent at once by whoever has them, so an idle cable answers no later.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use quinn::udp::{Transmit, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Octets that may wait for the thread: as much again as the kernel takes at once. Full: quinn waits,
/// and what waits then is in a cable's own queue, which knows whose turn it is.
const QUEUE: usize = 128 << 10;

/// Octets beside those for packets that come alone: quinn does not ask twice for room when it has a
/// Retry, a reset or a refusal to say.
const RESERVE: usize = 32 << 10;

/// The packets from which on a batch is worth handing over: waking a thread costs about as much as
/// sending three.
const WORTHWHILE: usize = 4;

/// The most packets in one system call: `UDP_MAX_SEGMENTS` of every kernel that has the option.
const MAX_SEGMENTS: usize = 64;

/// How long the thread waits for room in the socket before it looks whether it is still wanted.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The sending thread's queue. It ends, with what is queued sent, when this is dropped.
#[derive(Debug)]
pub(super) struct Sender {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    socket: UdpSocket,
    state: UdpSocketState,
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<Batch>,
    /// Of all that has not reached the kernel, the batch in hand included.
    octets: usize,
    is_closed: bool,
    /// Who waits for room.
    waiting: Vec<Waker>,
    /// The buffer of a batch that is sent.
    spare: Vec<u8>,
}

#[derive(Debug)]
struct Batch {
    destination: SocketAddr,
    source: Option<IpAddr>,
    segment: usize,
    octets: Vec<u8>,
}

impl Sender {
    /// Starts the thread. None where there is only one processor, or no thread to be had: then
    /// packets are better sent by whoever has them.
    pub(super) fn start(socket: &UdpSocket) -> Option<Self> {
        if std::thread::available_parallelism().map_or(1, usize::from) == 1 {
            return None;
        }
        let socket = socket.try_clone().ok()?;
        let state = UdpSocketState::new((&socket).into()).ok()?;
        let queue = Mutex::default();
        let shared = Arc::new(Shared { socket, state, queue, filled: Condvar::new() });
        let at_work = shared.clone();
        let thread = std::thread::Builder::new()
            .name("cable-send".into())
            .spawn(move || at_work.work())
            .ok()?;
        Some(Self { shared, thread: Some(thread) })
    }

    /// The most packets of a size in one system call.
    pub(super) fn max_segments(&self) -> usize {
        self.shared.state.max_gso_segments()
    }

    /// Takes a copy of packets for the thread. False when they should be sent at once instead:
    /// nothing is before them, and they are few.
    ///
    /// # Errors
    /// `WouldBlock` when the queue is full.
    pub(super) fn offer(&self, transmit: &Transmit<'_>) -> io::Result<bool> {
        let len = transmit.contents.len();
        let segment = transmit.segment_size.unwrap_or(len);
        let mut queue = self.shared.lock();
        let is_idle = queue.octets == 0;
        if is_idle && len < WORTHWHILE * segment {
            return Ok(false);
        }
        let limit = if transmit.segment_size.is_none() { QUEUE + RESERVE } else { QUEUE };
        if queue.octets >= limit {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        queue.push(transmit, segment, self.max_segments().min(MAX_SEGMENTS));
        queue.octets += len;
        drop(queue);
        if is_idle {
            self.shared.filled.notify_one();
        }
        Ok(true)
    }

    /// Ready when the queue has room.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut queue = self.shared.lock();
        if queue.octets < QUEUE {
            return Poll::Ready(());
        }
        if !queue.waiting.iter().any(|waiting| waiting.will_wake(cx.waker())) {
            queue.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            // It cannot panic, and if it did, there would be nobody to tell.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn push(&mut self, transmit: &Transmit<'_>, segment: usize, max_segments: usize) {
        let Transmit { destination, contents, src_ip, .. } = *transmit;
        let limit = usize::from(super::MAX_UDP_PAYLOAD).min(segment * max_segments);
        if let Some(last) = self.batches.back_mut()
            && (last.destination, last.source, last.segment) == (destination, src_ip, segment)
            // Only the last packet of a batch may be shorter than the others.
            && last.octets.len().is_multiple_of(segment)
            && last.octets.len() + contents.len() <= limit
        {
            last.octets.extend_from_slice(contents);
            return;
        }
        let mut octets = std::mem::take(&mut self.spare);
        octets.extend_from_slice(contents);
        self.batches.push_back(Batch { destination, source: src_ip, segment, octets });
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nobody panics while holding it, and the queue would be whole even then.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut queue = self.lock();
        loop {
            let Some(mut batch) = queue.batches.pop_front() else {
                if queue.is_closed {
                    return;
                }
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(queue);
            let was_taken = self.send(&batch);
            queue = self.lock();
            if queue.is_closed && !was_taken {
                return;
            }
            queue.octets -= batch.octets.len();
            batch.octets.clear();
            queue.spare = batch.octets;
            if queue.octets < QUEUE && !queue.waiting.is_empty() {
                let waiting = std::mem::take(&mut queue.waiting);
                // Waking is a system call, and whoever is awake wants the queue.
                drop(queue);
                waiting.into_iter().for_each(Waker::wake);
                queue = self.lock();
            }
        }
    }

    /// False when the socket had no room for as long as one waits, and nobody wants it to be waited
    /// for any longer.
    fn send(&self, batch: &Batch) -> bool {
        let transmit = Transmit {
            destination: batch.destination,
            ecn: None,
            contents: &batch.octets,
            segment_size: (batch.octets.len() > batch.segment).then_some(batch.segment),
            src_ip: batch.source,
        };
        let mut is_first = true;
        loop {
            match self.state.try_send((&self.socket).into(), &transmit) {
                Ok(()) => return true,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                    if !self.has_room_soon() && self.lock().is_closed {
                        return false;
                    }
                }
                // Not necessarily of these packets: what ICMP said of others is told to whoever sends
                // next, whose packets then stay here. It is told once.
                Err(_) if is_first => is_first = false,
                // QUIC deals with their loss.
                Err(_) => return true,
            }
        }
    }

    fn has_room_soon(&self) -> bool {
        let mut room = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::OUT)];
        poll(&mut room, Some(&PATIENCE)).is_ok_and(|ready| ready > 0)
            && room[0].revents().contains(PollFlags::OUT)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn transmit<'a>(
        to: &UdpSocket,
        contents: &'a [u8],
        segment_size: Option<usize>,
    ) -> Transmit<'a> {
        let destination = to.local_addr().unwrap();
        Transmit { destination, ecn: None, contents, segment_size, src_ip: None }
    }

    fn receiver() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    #[test]
    fn a_single_packet_on_an_idle_cable_is_left_to_who_has_it() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let Some(sender) = Sender::start(&socket) else { return };
        assert!(!sender.offer(&transmit(&receiver(), b"beat", None)).unwrap());
    }

    #[test]
    fn packets_arrive_whole_and_in_order_however_they_were_joined() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let Some(sender) = Sender::start(&socket) else { return };
        let to = receiver();
        let mut sent = Vec::new();
        for round in 0..40_u8 {
            // Full batches, such with a short end, single packets, and two sizes.
            let size = if round % 8 < 6 { 700 } else { 900 };
            let count = [10, 10, 4, 10, 1, 7, 10, 5][usize::from(round % 8)];
            let short = if round % 3 == 0 { 100 } else { 0 };
            let mut contents = Vec::new();
            for packet in 0..count {
                contents.extend(std::iter::repeat_n(round ^ packet << 4, size));
            }
            contents.truncate(contents.len() - short);
            let transmit = transmit(&to, &contents, Some(size));
            loop {
                match sender.offer(&transmit) {
                    Ok(true) => break,
                    Ok(false) => {
                        for packet in contents.chunks(size) {
                            socket.send_to(packet, to.local_addr().unwrap()).unwrap();
                        }
                        break;
                    }
                    Err(_full) => std::thread::yield_now(),
                }
            }
            sent.extend(contents.chunks(size).map(<[u8]>::to_vec));
            // The receiver's buffer is small.
            let mut buffer = [0; 2000];
            for expected in sent.drain(..) {
                let len = to.recv(&mut buffer).unwrap();
                assert_eq!(buffer[..len], expected, "round {round}");
            }
        }
    }

    #[test]
    fn batches_of_one_size_grow_together_until_the_kernel_takes_no_more() {
        let to = receiver();
        let mut queue = Queue::default();
        let full = [0; 14_000];
        for _ in 0..5 {
            queue.push(&transmit(&to, &full, Some(1400)), 1400, MAX_SEGMENTS);
        }
        assert_eq!(
            queue.batches.iter().map(|batch| batch.octets.len()).collect::<Vec<_>>(),
            [56_000, 14_000]
        );
        queue.push(&transmit(&to, &full[..13_900], Some(1400)), 1400, MAX_SEGMENTS);
        queue.push(&transmit(&to, &full, Some(1400)), 1400, MAX_SEGMENTS);
        let lengths: Vec<_> = queue.batches.iter().map(|batch| batch.octets.len()).collect();
        assert_eq!(lengths, [56_000, 27_900, 14_000], "nothing follows a short packet");
    }

    #[test]
    fn what_is_queued_is_sent_before_the_thread_ends() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let Some(sender) = Sender::start(&socket) else { return };
        let to = receiver();
        for _ in 0..5 {
            assert!(sender.offer(&transmit(&to, &[7; 4000], Some(1000))).unwrap());
        }
        drop(sender);
        let mut buffer = [0; 2000];
        for _ in 0..20 {
            assert_eq!(to.recv(&mut buffer).unwrap(), 1000);
        }
    }

    #[test]
    fn what_icmp_says_of_one_peer_costs_another_nothing() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        crate::sys::keep_errors(&socket).unwrap();
        let Some(sender) = Sender::start(&socket) else { return };
        let to = receiver();
        let nobody = receiver().local_addr().unwrap();
        let mut buffer = [0; 2000];
        for _ in 0..20 {
            // It fails if the kernel tells of the one before; both leave an error behind.
            let _ = socket.send_to(b"?", nobody);
            assert!(sender.offer(&transmit(&to, &[7; 4000], Some(1000))).unwrap());
            for _ in 0..4 {
                assert_eq!(to.recv(&mut buffer).unwrap(), 1000);
            }
        }
    }
}
