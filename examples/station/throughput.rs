//! `throughput`: one TCP connection, as much as goes through in a given time.

use std::net::Ipv4Addr;
use std::process;
use std::time::{Duration, Instant};

use anyhow::Context;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;

use crate::driver::{Command, Station, Step};

/// How long connecting may take, ARP included: a lost packet or two.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long the other side may take to acknowledge the end.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// More than the receiver's window, so that the stack never waits for this program.
const SEND_BUFFER: usize = 4 * crate::serve::RECEIVE_BUFFER;

/// What is sent, again and again.
const FILLER: [u8; 16 * 1024] = [0x5a; 16 * 1024];

pub(crate) struct Throughput {
    socket: SocketHandle,
    target: Ipv4Addr,
    port: u16,
    duration: Duration,
    state: State,
    written: u64,
    /// Octets acknowledged, and in what time.
    result: Option<(u64, Duration)>,
}

#[derive(Clone, Copy)]
enum State {
    New,
    Connecting { until: Instant },
    Sending { since: Instant },
    Closing { until: Instant },
}

impl Throughput {
    pub(crate) fn new(
        station: &mut Station,
        target: Ipv4Addr,
        port: u16,
        duration: Duration,
    ) -> anyhow::Result<Self> {
        let buffer = |len| tcp::SocketBuffer::new(vec![0; len]);
        let mut socket = tcp::Socket::new(buffer(1024), buffer(SEND_BUFFER));
        // Without it one lost frame stops the connection for a whole timeout.
        socket.set_congestion_control(tcp::CongestionControl::Cubic);
        // The dynamic ports (RFC 6335 6). A second run in a row should not meet the first one's
        // connection, which the receiver may remember.
        let local = 0xc000 | u16::try_from(process::id() & 0x3fff).expect("14 bits");
        socket
            .connect(station.interface.context(), (target, port), local)
            .with_context(|| format!("cannot connect to {target} port {port}"))?;
        let socket = station.sockets.add(socket);
        let state = State::New;
        Ok(Self { socket, target, port, duration, state, written: 0, result: None })
    }

    pub(crate) fn report(&self) -> anyhow::Result<String> {
        let (octets, time) = self.result.context("interrupted before there was a result")?;
        let (megabytes, seconds) = (octets as f64 / 1e6, time.as_secs_f64());
        let rate = megabytes * 8.0 / seconds;
        let to = self.target;
        Ok(format!("sent {megabytes:.1} MB to {to} in {seconds:.1} s: {rate:.0} Mbit/s"))
    }

    fn unreachable(&self) -> anyhow::Error {
        let Self { target, port, .. } = self;
        anyhow::anyhow!("no answer from {target} port {port}; is `station serve` running there?")
    }
}

impl Command for Throughput {
    fn step(&mut self, station: &mut Station, now: Instant) -> anyhow::Result<Step> {
        let socket = station.sockets.get_mut::<tcp::Socket<'_>>(self.socket);
        match self.state {
            State::New => {
                let until = now + CONNECT_PATIENCE;
                self.state = State::Connecting { until };
                Ok(Step::Wait(Some(until)))
            }
            State::Connecting { until } => {
                if socket.may_send() {
                    self.state = State::Sending { since: now };
                    return self.step(station, now);
                }
                anyhow::ensure!(socket.is_open() && now < until, self.unreachable());
                Ok(Step::Wait(Some(until)))
            }
            State::Sending { since } => {
                anyhow::ensure!(socket.may_send(), "{} closed the connection", self.target);
                let end = since + self.duration;
                if now >= end {
                    self.result = Some((self.written - socket.send_queue() as u64, now - since));
                    socket.close();
                    let until = now + CLOSE_PATIENCE;
                    self.state = State::Closing { until };
                    return Ok(Step::Wait(Some(until)));
                }
                while let Ok(len @ 1..) = socket.send_slice(&FILLER) {
                    self.written += len as u64;
                }
                Ok(Step::Wait(Some(end)))
            }
            State::Closing { until } => {
                // Waiting for stray segments is of no use to a host that is about to vanish.
                let closed = matches!(socket.state(), tcp::State::Closed | tcp::State::TimeWait);
                Ok(if closed || now >= until { Step::Done } else { Step::Wait(Some(until)) })
            }
        }
    }
}
