//! `serve`: a TCP port that swallows whatever is sent. ARP and pings the stack answers by itself.

use std::time::Instant;

use anyhow::Context;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;

use crate::driver::{Command, Station, Step};

/// The port of iperf3, whose server this one stands in for.
pub(crate) const DEFAULT_PORT: u16 = 5201;

/// How many senders may be connected at once; more are refused.
const CONNECTIONS: usize = 4;

/// The receive window: 90 full frames, just what the queue of a plug with the system's default
/// send buffer holds (93). A larger one loses frames in switches that do not raise theirs.
pub(crate) const RECEIVE_BUFFER: usize = 128 * 1024;

pub(crate) struct Serve {
    port: u16,
    sinks: Vec<Sink>,
}

struct Sink {
    socket: SocketHandle,
    /// Since the first octet of the present connection, and how many there were.
    count: Option<(Instant, u64)>,
}

impl Serve {
    pub(crate) fn new(station: &mut Station, port: u16) -> anyhow::Result<Self> {
        anyhow::ensure!(port != 0, "TCP port 0 cannot be listened on; choose 1 to 65535");
        let sink = |_| {
            let buffer = |len| tcp::SocketBuffer::new(vec![0; len]);
            let socket = tcp::Socket::new(buffer(RECEIVE_BUFFER), buffer(1024));
            Sink { socket: station.sockets.add(socket), count: None }
        };
        Ok(Self { port, sinks: (0..CONNECTIONS).map(sink).collect() })
    }
}

impl Command for Serve {
    fn step(&mut self, station: &mut Station, now: Instant) -> anyhow::Result<Step> {
        for sink in &mut self.sinks {
            let socket = station.sockets.get_mut::<tcp::Socket<'_>>(sink.socket);
            while let Ok(len @ 1..) = socket.recv(|octets| (octets.len(), octets.len())) {
                let (_, total) = sink.count.get_or_insert((now, 0));
                *total += len as u64;
            }
            let ended = socket.is_active()
                && !socket.may_recv()
                && socket.state() != tcp::State::SynReceived;
            if ended {
                socket.close();
            }
            if (ended || !socket.is_open())
                && let Some((since, total)) = sink.count.take()
            {
                let seconds = (now - since).as_secs_f64();
                println!("received {:.1} MB in {seconds:.1} s", total as f64 / 1e6);
            }
            if !socket.is_open() {
                socket.listen(self.port).context("cannot listen")?;
            }
        }
        Ok(Step::Wait(None))
    }
}
