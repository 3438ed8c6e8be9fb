//! The server as its clients see it: a wire, a disk and a clock, all simulated. Replies are read by
//! another implementation than the one that wrote them.

mod addresses;
mod configuration;
mod conflicts;
mod crowds;
mod durability;
mod ports;
mod replies;
mod takeover;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ether::MacAddr;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire as judge;

use super::*;
use crate::lease_log::{self, Loaded};
use crate::{ClientKey, Subnet, UtcTime};

const GATEWAY: Ipv4Addr = ip(1);
const GATEWAY_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const HERE: Source = Source { node: 1, port: Some(7) };
const BOOT: BootId = BootId([1; 16]);

const fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// 10.0.0.0/24 without probes, so that an offer follows a DISCOVER at once, and without a limit for a
/// port, as all clients are at one.
fn config() -> Config {
    let subnet: Subnet = "10.0.0.0/24".parse().unwrap();
    let (probe, leases_per_port) = (false, Some(MAX_POOL));
    Config { probe, leases_per_port, ..Config::new(subnet, GATEWAY, GATEWAY_MAC) }
}

/// The one clock reading from which the tests count.
#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
fn instant() -> Instant {
    Instant::now()
}

/// A server with a disk and a clock.
struct Lab {
    server: Server,
    now: Now,
    boot: BootId,
    disk: Vec<u8>,
    /// What the disk says to writes; `None` keeps them waiting.
    storage: Option<Result<(), StoreError>>,
    waiting: Option<Store>,
    events: Vec<Event>,
    probes: Vec<Ipv4Addr>,
}

impl Lab {
    fn new(config: Config) -> Self {
        let now = Now { instant: instant(), since_boot: secs(1000), utc: UtcTime(1_800_000_000) };
        let server = Server::new(config, Loaded::default(), BOOT, now).unwrap();
        let mut lab = Self {
            server,
            now,
            boot: BOOT,
            disk: Vec::new(),
            storage: Some(Ok(())),
            waiting: None,
            events: Vec::new(),
            probes: Vec::new(),
        };
        lab.settle();
        lab
    }

    /// Shows the server a frame and returns what it answers.
    fn send(&mut self, frame: &[u8]) -> Vec<Reply> {
        self.server.handle_frame(frame, HERE, self.now);
        self.settle()
    }

    /// Sends a message that must have exactly one answer.
    fn ask(&mut self, message: &Message) -> Reply {
        let mut replies = self.send(&message.frame());
        assert_eq!(replies.len(), 1, "{message:?} has not one answer");
        replies.remove(0)
    }

    /// Sends a message that must have no answer, and says why.
    fn unanswered(&mut self, message: &Message, reason: Ignored) {
        let before = self.server.counters().ignored(reason);
        assert_eq!(self.send(&message.frame()), [], "{message:?}");
        assert_eq!(self.server.counters().ignored(reason), before + 1, "{message:?}");
    }

    /// DISCOVER to ACK.
    fn join(&mut self, client: &Client) -> Ipv4Addr {
        let offer = self.ask(&client.discover());
        let ack = self.ask(&client.select(offer.yiaddr));
        assert_eq!((offer.kind, ack.kind), (OFFER, ACK));
        assert_eq!(ack.yiaddr, offer.yiaddr);
        ack.yiaddr
    }

    /// Writes what is to be written and collects what comes out.
    fn settle(&mut self) -> Vec<Reply> {
        while let Some(store) = self.waiting.take().or_else(|| self.server.poll_store()) {
            let Some(result) = self.storage else {
                self.waiting = Some(store);
                break;
            };
            let result = result.map(|()| self.write(&store.write));
            self.server.handle_stored(store.ticket, result, self.now);
        }
        self.events.extend(std::iter::from_fn(|| self.server.poll_event()));
        let mut replies = Vec::new();
        while let Some(frame) = self.server.poll_transmit() {
            match Reply::read(&frame) {
                Some(reply) => replies.push(reply),
                None => self.probes.push(probed(&frame)),
            }
        }
        replies
    }

    /// How long the log is now.
    fn write(&mut self, write: &Write) -> u64 {
        if let Write::Append { at, .. } | Write::Compact { at, .. } = write {
            assert_eq!(*at, self.disk.len() as u64, "the server knows the log's length");
        }
        match write {
            Write::Append { bytes, .. } => self.disk.extend(bytes),
            Write::Compact { bytes, .. } => {
                self.disk = lease_log::compacted(&self.disk, bytes).expect("the log is unharmed");
            }
            Write::Replace(bytes) => self.disk.clone_from(bytes),
        }
        self.disk.len() as u64
    }

    fn pass(&mut self, time: Duration) -> Vec<Reply> {
        self.now.instant += time;
        self.now.since_boot += time;
        self.now.utc.0 += time.as_secs();
        self.server.handle_timeout(self.now);
        self.settle()
    }

    /// Kills the server and starts it with what is on disk.
    fn crash(&mut self) {
        let config = self.server.config().clone();
        self.restart(config);
    }

    fn restart(&mut self, config: Config) {
        let log = lease_log::load(&self.disk).unwrap();
        self.disk.truncate(log.valid_len);
        self.waiting = None;
        self.server = Server::new(config, log, self.boot, self.now).unwrap();
        self.settle();
    }

    fn reboot(&mut self) {
        self.boot.0[0] += 1;
        self.now.since_boot = secs(20);
        self.crash();
    }

    fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn lease(&self, address: Ipv4Addr) -> Option<Lease> {
        self.server.snapshot().into_iter().find(|lease| lease.address == address)
    }

    fn state(&self, address: Ipv4Addr) -> Option<LeaseState> {
        self.lease(address).map(|lease| lease.state)
    }
}

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const DECLINE: u8 = 4;
const ACK: u8 = 5;
const NAK: u8 = 6;
const RELEASE: u8 = 7;
const INFORM: u8 = 8;

/// A machine that wants an address.
#[derive(Debug, Clone)]
struct Client {
    mac: MacAddr,
    options: Vec<(u8, Vec<u8>)>,
}

impl Client {
    fn new(number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        Self { mac: MacAddr([0x52, 0x54, 0, 0, high, low]), options: Vec::new() }
    }

    /// The same machine, sending one more option with everything.
    fn with(&self, code: u8, value: &[u8]) -> Self {
        let mut client = self.clone();
        client.options.push((code, value.to_vec()));
        client
    }

    fn message(&self, kind: u8) -> Message {
        let mut options = vec![(53, vec![kind])];
        options.extend(self.options.iter().cloned());
        Message {
            station: self.mac,
            chaddr: self.mac,
            xid: u32::from_be_bytes([kind, self.mac.0[3], self.mac.0[4], self.mac.0[5]]),
            flags: 0,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            destination: Ipv4Addr::BROADCAST,
            options,
        }
    }

    fn discover(&self) -> Message {
        self.message(DISCOVER)
    }

    /// The REQUEST that takes our offer.
    fn select(&self, address: Ipv4Addr) -> Message {
        self.message(REQUEST).address(54, GATEWAY).address(50, address)
    }

    /// The REQUEST of a machine that starts again with the address that it had.
    fn reboot(&self, address: Ipv4Addr) -> Message {
        self.message(REQUEST).address(50, address)
    }

    fn renew(&self, address: Ipv4Addr) -> Message {
        let message = Message { ciaddr: address, ..self.message(REQUEST) };
        Message { destination: GATEWAY, ..message }
    }

    fn rebind(&self, address: Ipv4Addr) -> Message {
        Message { ciaddr: address, ..self.message(REQUEST) }
    }

    fn release(&self, address: Ipv4Addr) -> Message {
        let message = Message { ciaddr: address, ..self.message(RELEASE) };
        Message { destination: GATEWAY, ..message }.address(54, GATEWAY)
    }

    fn decline(&self, address: Ipv4Addr) -> Message {
        self.message(DECLINE).address(54, GATEWAY).address(50, address)
    }

    fn inform(&self, address: Ipv4Addr) -> Message {
        Message { ciaddr: address, ..self.message(INFORM) }
    }
}

#[derive(Debug, Clone)]
struct Message {
    station: MacAddr,
    chaddr: MacAddr,
    xid: u32,
    flags: u16,
    ciaddr: Ipv4Addr,
    giaddr: Ipv4Addr,
    destination: Ipv4Addr,
    options: Vec<(u8, Vec<u8>)>,
}

impl Message {
    fn option(mut self, code: u8, value: &[u8]) -> Self {
        self.options.push((code, value.to_vec()));
        self
    }

    fn address(self, code: u8, address: Ipv4Addr) -> Self {
        self.option(code, &address.octets())
    }

    fn octets(&self) -> Vec<u8> {
        let mut octets = vec![1, 1, 6, 0];
        octets.extend(self.xid.to_be_bytes());
        octets.extend([0, 0]);
        octets.extend(self.flags.to_be_bytes());
        octets.extend(self.ciaddr.octets());
        octets.extend([0; 8]);
        octets.extend(self.giaddr.octets());
        octets.extend(self.chaddr.0);
        octets.resize(236, 0);
        octets.extend([99, 130, 83, 99]);
        for (code, value) in &self.options {
            octets.extend([*code, u8::try_from(value.len()).unwrap()]);
            octets.extend(value);
        }
        octets.push(255);
        octets
    }

    fn frame(&self) -> Vec<u8> {
        self.frame_of(&self.octets())
    }

    fn frame_of(&self, payload: &[u8]) -> Vec<u8> {
        let relayed = !self.giaddr.is_unspecified();
        let datagram = Datagram {
            station: self.station,
            source: if relayed { self.giaddr } else { self.ciaddr },
            destination: self.destination,
            source_port: if relayed { 67 } else { 68 },
            destination_port: 67,
            payload,
        };
        let gateway = self.destination == GATEWAY;
        datagram.encode(if gateway { GATEWAY_MAC } else { MacAddr::BROADCAST })
    }
}

/// What the server said, as another implementation understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reply {
    to_mac: MacAddr,
    to: Ipv4Addr,
    to_port: u16,
    kind: u8,
    xid: u32,
    broadcast: bool,
    ciaddr: Ipv4Addr,
    yiaddr: Ipv4Addr,
    siaddr: Ipv4Addr,
    giaddr: Ipv4Addr,
    chaddr: MacAddr,
    /// In the order of the message, pieces not joined.
    options: Vec<(u8, Vec<u8>)>,
    len: usize,
}

impl Reply {
    /// `None` for a frame that is not IPv4.
    fn read(frame: &[u8]) -> Option<Self> {
        let frame = judge::EthernetFrame::new_checked(frame).unwrap();
        assert_eq!(frame.src_addr().0, GATEWAY_MAC.0);
        if frame.ethertype() != judge::EthernetProtocol::Ipv4 {
            return None;
        }
        let packet = judge::Ipv4Packet::new_checked(frame.payload()).unwrap();
        assert!(packet.verify_checksum());
        assert_eq!(packet.src_addr(), GATEWAY);
        let (from, to) = (packet.src_addr().into(), packet.dst_addr().into());
        let udp = judge::UdpPacket::new_checked(packet.payload()).unwrap();
        assert!(udp.verify_checksum(&from, &to));
        judge::UdpRepr::parse(&udp, &from, &to, &ChecksumCapabilities::default()).unwrap();
        assert_eq!(udp.src_port(), 67);
        let dhcp = judge::DhcpPacket::new_checked(udp.payload()).unwrap();
        let options: Vec<_> =
            dhcp.options().map(|option| (option.kind, option.data.to_vec())).collect();
        // The judge knows only identifiers that are MAC addresses.
        if options.iter().all(|(code, _)| *code != 61) {
            judge::DhcpRepr::parse(&dhcp).unwrap();
        }
        assert_eq!(udp.payload()[236..240], [99, 130, 83, 99]);
        assert_eq!(udp.payload()[0], 2);
        assert_eq!(options[0].0, 53);
        Some(Self {
            to_mac: MacAddr(frame.dst_addr().0),
            to: packet.dst_addr(),
            to_port: udp.dst_port(),
            kind: options[0].1[0],
            xid: dhcp.transaction_id(),
            broadcast: dhcp.flags().contains(judge::DhcpFlags::BROADCAST),
            ciaddr: dhcp.client_ip(),
            yiaddr: dhcp.your_ip(),
            siaddr: dhcp.server_ip(),
            giaddr: dhcp.relay_agent_ip(),
            chaddr: MacAddr(dhcp.client_hardware_address().0),
            options,
            len: udp.payload().len(),
        })
    }

    /// An option, its pieces joined.
    fn option(&self, code: u8) -> Option<Vec<u8>> {
        let mut pieces = self.options.iter().filter(|(other, _)| *other == code).peekable();
        pieces.peek()?;
        Some(pieces.flat_map(|(_, value)| value.clone()).collect())
    }

    fn number(&self, code: u8) -> Option<u32> {
        self.option(code).map(|value| u32::from_be_bytes(value.try_into().unwrap()))
    }

    fn codes(&self) -> Vec<u8> {
        self.options.iter().map(|(code, _)| *code).collect()
    }
}

/// The address that an ARP probe asks for.
fn probed(frame: &[u8]) -> Ipv4Addr {
    let frame = judge::EthernetFrame::new_checked(frame).unwrap();
    assert_eq!(frame.dst_addr(), judge::EthernetAddress::BROADCAST);
    let arp = judge::ArpPacket::new_checked(frame.payload()).unwrap();
    let judge::ArpRepr::EthernetIpv4 {
        operation, source_protocol_addr, target_protocol_addr, ..
    } = judge::ArpRepr::parse(&arp).unwrap()
    else {
        panic!("another kind of ARP");
    };
    assert_eq!(operation, judge::ArpOperation::Request);
    assert_eq!(source_protocol_addr, Ipv4Addr::UNSPECIFIED);
    target_protocol_addr
}

/// A station that says it has an address.
fn claim(station: MacAddr, address: Ipv4Addr) -> Vec<u8> {
    let arp = judge::ArpRepr::EthernetIpv4 {
        operation: judge::ArpOperation::Reply,
        source_hardware_addr: judge::EthernetAddress(station.0),
        source_protocol_addr: address,
        target_hardware_addr: judge::EthernetAddress(GATEWAY_MAC.0),
        target_protocol_addr: Ipv4Addr::UNSPECIFIED,
    };
    let mut frame = [&GATEWAY_MAC.0[..], &station.0, &[8, 6], &[0; 28]].concat();
    arp.emit(&mut judge::ArpPacket::new_unchecked(&mut frame[14..]));
    frame
}
