//! `ping`: echo requests at an interval, their answers, and a summary in the manner of ping(8).

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Context;
use smoltcp::iface::SocketHandle;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::icmp;
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, IpAddress};

use crate::driver::{Command, Station, Step};

/// How long the last answer may take: more than twice around the earth.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells our answers from others' on the same host address. Any number does: the address is ours.
const IDENTIFIER: u16 = 0x5644;

/// The payload of ping(8), so that sizes compare.
const PAYLOAD: [u8; 56] = [0x5a; 56];

pub(crate) struct Ping {
    socket: SocketHandle,
    target: Ipv4Addr,
    count: u16,
    interval: Duration,
    /// When each request was handed over, and its round-trip time once answered.
    requests: Vec<(Instant, Option<Duration>)>,
}

impl Ping {
    pub(crate) fn new(
        station: &mut Station,
        target: Ipv4Addr,
        count: u16,
        interval: Duration,
    ) -> anyhow::Result<Self> {
        let buffer =
            || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 64], vec![0; 64 * 128]);
        let mut socket = icmp::Socket::new(buffer(), buffer());
        socket.bind(icmp::Endpoint::Ident(IDENTIFIER)).context("cannot open an ICMP socket")?;
        println!("PING {target}: {} data bytes", PAYLOAD.len());
        let socket = station.sockets.add(socket);
        Ok(Self { socket, target, count, interval, requests: Vec::new() })
    }

    pub(crate) fn received(&self) -> usize {
        self.requests.iter().filter(|(_, rtt)| rtt.is_some()).count()
    }

    pub(crate) fn summary(&self) -> String {
        let (sent, received) = (self.requests.len(), self.received());
        let lost = (sent - received) * 100 / sent.max(1);
        let mut text = format!(
            "--- {} ping statistics ---\n{sent} packets transmitted, {received} received, {lost}% packet loss\n",
            self.target
        );
        let rtts = || self.requests.iter().filter_map(|(_, rtt)| *rtt);
        if let (Some(min), Some(max), Ok(count)) =
            (rtts().min(), rtts().max(), u32::try_from(received))
        {
            let average = rtts().sum::<Duration>() / count;
            let [min, average, max] = [min, average, max].map(milliseconds);
            text += &format!("rtt min/avg/max = {min:.3}/{average:.3}/{max:.3} ms\n");
        }
        text
    }

    fn handle_reply(&mut self, sequence: u16, len: usize, now: Instant) {
        let request = usize::from(sequence).checked_sub(1).and_then(|i| self.requests.get_mut(i));
        // The first answer counts; a duplicate must not move the statistics.
        if let Some((sent, answer @ None)) = request {
            let rtt = now - *sent;
            *answer = Some(rtt);
            let time = milliseconds(rtt);
            println!("{len} bytes from {}: icmp_seq={sequence} time={time:.3} ms", self.target);
        }
    }
}

impl Command for Ping {
    fn step(&mut self, station: &mut Station, now: Instant) -> anyhow::Result<Step> {
        let socket = station.sockets.get_mut::<icmp::Socket<'_>>(self.socket);
        while let Ok((octets, from)) = socket.recv() {
            let reply = Icmpv4Packet::new_checked(octets)
                .and_then(|packet| Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default()));
            if let Ok(Icmpv4Repr::EchoReply { seq_no, .. }) = reply
                && from == IpAddress::Ipv4(self.target)
            {
                let len = octets.len();
                self.handle_reply(seq_no, len, now);
            }
        }
        let sent = u16::try_from(self.requests.len()).expect("count is a u16");
        let due = self.requests.last().map_or(now, |(at, _)| *at + self.interval);
        if sent < self.count && due <= now {
            let request =
                Icmpv4Repr::EchoRequest { ident: IDENTIFIER, seq_no: sent + 1, data: &PAYLOAD };
            // When the socket's queue is full of unanswered ARP, this one counts as lost.
            if let Ok(buffer) = socket.send(request.buffer_len(), IpAddress::Ipv4(self.target)) {
                let mut packet = Icmpv4Packet::new_unchecked(buffer);
                request.emit(&mut packet, &ChecksumCapabilities::default());
            }
            self.requests.push((now, None));
            return Ok(Step::Wait(Some(now + self.interval)));
        }
        if sent < self.count {
            return Ok(Step::Wait(Some(due)));
        }
        let patience = self.requests.last().map_or(now, |(at, _)| *at + PATIENCE);
        if self.received() == self.requests.len() || patience <= now {
            return Ok(Step::Done);
        }
        Ok(Step::Wait(Some(patience)))
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
