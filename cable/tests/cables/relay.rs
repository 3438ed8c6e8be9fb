//! The path between two nodes: a relay of UDP datagrams that loses, delays and narrows.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What a path does to datagrams, in both directions. May be changed at any time.
pub(crate) struct Path {
    /// The longest UDP payload that passes; longer ones are lost without a word.
    pub(crate) limit: Cell<usize>,
    /// How long each takes.
    pub(crate) delay: Cell<Duration>,
    /// Octets that leave in a millisecond.
    pub(crate) rate: Cell<usize>,
    /// Nothing comes back.
    pub(crate) one_way: Cell<bool>,
    /// Copies with flipped bits that come before each datagram.
    pub(crate) forgeries: Cell<usize>,
    /// How many there were.
    pub(crate) forged: Cell<u64>,
    /// Datagrams that were too long.
    pub(crate) too_long: Cell<u64>,
    /// Datagrams that were passed on.
    pub(crate) passed: Cell<u64>,
}

/// Datagrams that a narrow path holds; more are lost.
const QUEUE: usize = 200;

/// A relay towards one address. Gone when dropped.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    pub(crate) path: Rc<Path>,
    _tasks: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn towards(target: SocketAddr) -> Self {
        let path = Rc::new(Path {
            limit: Cell::new(usize::MAX),
            delay: Cell::new(Duration::ZERO),
            rate: Cell::new(usize::MAX),
            one_way: Cell::new(false),
            forgeries: Cell::new(0),
            forged: Cell::new(0),
            too_long: Cell::new(0),
            passed: Cell::new(0),
        });
        let inner = Rc::new(socket());
        let outer = Rc::new(socket());
        outer.connect(target).await.unwrap();
        let address = inner.local_addr().unwrap();
        let client = Rc::new(Cell::new(None));

        let mut tasks = JoinSet::new();
        let there = Rc::new(Direction::new(path.clone(), outer.clone()));
        let back = Rc::new(Direction::new(path.clone(), inner.clone()));
        tasks.spawn_local(there.clone().deliver(|| None));
        let to = client.clone();
        tasks.spawn_local(back.clone().deliver(move || to.get()));
        tasks.spawn_local(async move {
            let mut datagram = vec![0; 65_536];
            loop {
                let (len, from) = inner.recv_from(&mut datagram).await.unwrap();
                client.set(Some(from));
                there.take(&datagram[..len]);
            }
        });
        let one_way = path.clone();
        tasks.spawn_local(async move {
            let mut datagram = vec![0; 65_536];
            loop {
                // A port that nobody has is reported as an error here.
                if let Ok(len) = outer.recv(&mut datagram).await
                    && !one_way.one_way.get()
                {
                    back.take(&datagram[..len]);
                }
            }
        });
        Self { address, path, _tasks: tasks }
    }
}

fn socket() -> UdpSocket {
    let bound = cable::socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    UdpSocket::from_std(bound.socket).unwrap()
}

/// One direction of a path.
struct Direction {
    path: Rc<Path>,
    socket: Rc<UdpSocket>,
    waiting: std::cell::RefCell<VecDeque<(Instant, Vec<u8>)>>,
    filled: Notify,
}

impl Direction {
    fn new(path: Rc<Path>, socket: Rc<UdpSocket>) -> Self {
        Self { path, socket, waiting: std::cell::RefCell::default(), filled: Notify::new() }
    }

    fn take(&self, datagram: &[u8]) {
        let mut waiting = self.waiting.borrow_mut();
        if datagram.len() > self.path.limit.get() {
            self.path.too_long.set(self.path.too_long.get() + 1);
        } else if self.path.rate.get() == usize::MAX || waiting.len() < QUEUE {
            let due = Instant::now() + self.path.delay.get();
            for _ in 0..self.path.forgeries.get() {
                let number = self.path.forged.get();
                self.path.forged.set(number + 1);
                waiting.push_back((due, with_flipped_bits(datagram, number)));
            }
            waiting.push_back((due, datagram.to_vec()));
            self.filled.notify_one();
        }
    }

    async fn deliver(self: Rc<Self>, to: impl Fn() -> Option<SocketAddr>) {
        loop {
            let mut budget = self.path.rate.get();
            while let Some((_, datagram)) = self.next_due(&mut budget) {
                self.path.passed.set(self.path.passed.get() + 1);
                let _ = match to() {
                    Some(to) => self.socket.send_to(&datagram, to).await,
                    None => self.socket.send(&datagram).await,
                };
            }
            let next = self.waiting.borrow().front().map(|(due, _)| *due);
            match next {
                // The rate counts by the millisecond, which is also what the timer can do.
                Some(due) => {
                    let tick = Instant::now() + Duration::from_millis(1);
                    tokio::time::sleep_until(due.max(tick)).await;
                }
                None => self.filled.notified().await,
            }
        }
    }

    fn next_due(&self, budget: &mut usize) -> Option<(Instant, Vec<u8>)> {
        let mut waiting = self.waiting.borrow_mut();
        let (due, datagram) = waiting.front()?;
        if *due > Instant::now() || *budget < datagram.len() {
            return None;
        }
        *budget -= datagram.len();
        waiting.pop_front()
    }
}

/// The same datagram with one to eight bits flipped, the same ones for the same number.
fn with_flipped_bits(datagram: &[u8], number: u64) -> Vec<u8> {
    let mut forged = datagram.to_vec();
    // splitmix64 (Steele, Lea, Flood 2014).
    let mut state = number;
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from(mixed >> 32).unwrap()
    };
    for _ in 0..=random() % 8 {
        // Half of them in the header.
        let reach = if random() % 2 == 0 { forged.len().min(24) } else { forged.len() };
        let at = random() % reach;
        forged[at] ^= 1 << (random() % 8);
    }
    forged
}
