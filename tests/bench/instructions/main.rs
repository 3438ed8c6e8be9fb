//! What the pure cores do for each frame, as programs whose instructions `./bench instructions`
//! counts: `instructions SCENARIO ROUNDS`. A count does not depend on what else the machine does.
//!
//! Each scenario prepares its core and then does one thing `ROUNDS` times; the count of twice as
//! many rounds less that of as many is what the rounds cost.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use emulator::settings::Settings;
use emulator::spread::{Shape, Spread};
use emulator::units::Percent;
use emulator::{Emulator, Seed};
use ether::{FrameHeader, MacAddr};
use fabric::{Bridge, PortId, PortKind, Verdict};
use gateway::dhcp::{Server, Source};
use gateway::lease_log::Loaded;
use gateway::{BootId, Now, UtcTime};
use mesh::Nick;
use mesh::framing::{Packer, Reach, Reassembler, Received, RecordHeader, VNET_HEADER_LEN};
use mesh::queue::{FlowQueue, Limits, flow_of};

/// What a round is, and how it is done.
type Scenario = (&'static str, fn(u32));

const SCENARIOS: [Scenario; 10] = [
    ("bridge: unicast among 64 ports and 1000 stations, a frame", bridge_unicast),
    ("bridge: broadcast to 64 ports, a frame", bridge_broadcast),
    ("framing: pack 64 frames of 1514 octets", pack),
    ("framing: pack and reassemble 64 frames of 1514 octets", reassemble),
    ("framing: pack and reassemble 64 frames of 64 octets", reassemble_small),
    ("framing: pack and reassemble a super-frame of 64 KiB", reassemble_super),
    ("queue: 64 frames of 8 flows in and out", queue),
    ("queue: the flow of a TCP frame", flow),
    ("emulator: a frame with loss and varying delay", emulate),
    ("gateway: DISCOVER to OFFER", discover),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let scenario = |name: &str| SCENARIOS.iter().find(|(known, _)| *known == name);
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [name, rounds] if scenario(name).is_some() => {
            let (_, run) = scenario(name).expect("it was found just now");
            run(rounds.parse().expect("the number of rounds is a number"));
        }
        // cargo's own way to start a bench has words of its own.
        _ => SCENARIOS.iter().for_each(|(name, _)| println!("{name}")),
    }
}

#[expect(clippy::disallowed_methods, reason = "an arbitrary instant to start from")]
fn start() -> Instant {
    Instant::now()
}

fn station(number: u32) -> MacAddr {
    let [a, b, c, d] = number.to_be_bytes();
    MacAddr([2, 1, a, b, c, d])
}

fn frame(destination: MacAddr, source: MacAddr, len: usize) -> Vec<u8> {
    let mut frame = vec![0x5a; len];
    frame[..6].copy_from_slice(&destination.0);
    frame[6..12].copy_from_slice(&source.0);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}

fn bridge(now: Instant) -> Bridge {
    let mut bridge = Bridge::new(fabric::Config::default());
    for port in 1..=64 {
        bridge.add_port(PortId(port), PortKind::Access);
    }
    for number in 0..1000 {
        let hello = frame(MacAddr([0xff; 6]), station(number), 64);
        let header = FrameHeader::parse(&hello).expect("the frame is sound");
        bridge.handle_frame(PortId(1 + number % 64), &header, now);
        while bridge.poll_change().is_some() {}
    }
    bridge
}

fn bridge_unicast(rounds: u32) {
    let now = start();
    let mut bridge = bridge(now);
    for round in 0..rounds {
        let (from, to) = (round * 7 % 1000, round * 13 % 1000);
        let octets = frame(station(to), station(from), 64);
        let header = FrameHeader::parse(black_box(&octets)).expect("the frame is sound");
        black_box(bridge.handle_frame(PortId(1 + from % 64), &header, now));
    }
}

fn bridge_broadcast(rounds: u32) {
    let now = start();
    let mut bridge = bridge(now);
    let octets = frame(MacAddr([0xff; 6]), station(0), 100);
    for _ in 0..rounds {
        let header = FrameHeader::parse(black_box(&octets)).expect("the frame is sound");
        match bridge.handle_frame(PortId(1), &header, now) {
            Verdict::Flood(frame) => {
                assert_eq!(black_box(bridge.flood_ports(Some(PortId(1)), frame)).count(), 63);
            }
            other => panic!("a broadcast is flooded, not {other:?}"),
        }
    }
}

fn header(vnet: bool) -> RecordHeader {
    RecordHeader {
        hops: 3,
        ingress: Nick::new(7).expect("not zero"),
        reach: Reach::Unicast { egress: Nick::new(8) },
        vnet: vnet.then_some([0; VNET_HEADER_LEN]),
    }
}

fn pack(rounds: u32) {
    let octets = frame(station(1), station(2), 1514);
    let mut packer = Packer::new();
    packer.set_datagram_size(1434);
    for _ in 0..rounds {
        for _ in 0..64 {
            packer.push(&header(false), black_box(&octets)).expect("the frame is sound");
        }
        packer.flush();
        black_box(packer.take());
    }
}

fn pack_and_reassemble(rounds: u32, vnet: bool, len: usize, count: usize) {
    let octets = frame(station(1), station(2), len);
    let mut packer = Packer::new();
    packer.set_datagram_size(1434);
    let mut reassembler = Reassembler::<Vec<u8>>::new();
    let mut received = Received::new();
    for _ in 0..rounds {
        for _ in 0..count {
            packer.push(&header(vnet), black_box(&octets)).expect("the frame is sound");
        }
        packer.flush();
        let packed = packer.take().expect("frames were pushed");
        for range in packed.ranges() {
            let datagram = packed.octets()[range].to_vec();
            reassembler.handle_datagram(datagram, &mut received).expect("it was packed well");
        }
        assert_eq!(black_box(&received).len(), count);
        received.clear();
    }
}

fn reassemble(rounds: u32) {
    pack_and_reassemble(rounds, false, 1514, 64);
}

fn reassemble_small(rounds: u32) {
    pack_and_reassemble(rounds, false, 64, 64);
}

fn reassemble_super(rounds: u32) {
    pack_and_reassemble(rounds, true, 65_226, 1);
}

fn queue(rounds: u32) {
    let mut now = start();
    let mut queue = FlowQueue::new(Limits::default());
    for _ in 0..rounds {
        for number in 0..64 {
            queue.handle_frame(number % 8 * 1001, 1514, number, now);
        }
        now += Duration::from_micros(100);
        while black_box(queue.poll_frame(now)).is_some() {}
    }
}

fn flow(rounds: u32) {
    let mut octets = frame(station(1), station(2), 1514);
    octets[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
    octets[23] = 6;
    for _ in 0..rounds {
        black_box(flow_of(black_box(&octets)));
    }
}

fn emulate(rounds: u32) {
    let mut now = start();
    let percent = Percent::new(1.0).expect("1 is a percentage");
    let delay = Spread::new(0.01, 0.001, Shape::Normal).expect("such a delay is possible");
    let settings = Settings { loss: percent.into(), delay, ..Settings::default() };
    let mut link = Emulator::new(settings, Seed::new(1), now);
    for _ in 0..rounds {
        now += Duration::from_micros(100);
        black_box(link.handle_frame(vec![0_u8; 100], now));
        while black_box(link.poll_delivery(now)).is_some() {}
    }
}

/// A DHCPDISCOVER as udhcpc sends it: Ethernet, IPv4, UDP, BOOTP, options.
fn discover_frame(client: u32) -> Vec<u8> {
    let mut bootp = vec![1, 1, 6, 0];
    bootp.extend(client.to_be_bytes());
    bootp.resize(28, 0);
    bootp.extend(station(client).0);
    bootp.resize(236, 0);
    bootp.extend([99, 130, 83, 99, 53, 1, 1, 55, 4, 1, 3, 6, 15, 255]);
    bootp.resize(300, 0);
    let udp_len = u16::try_from(8 + bootp.len()).expect("short");
    let mut packet = vec![0x45, 0];
    packet.extend((20 + udp_len).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
    let sum: u32 =
        packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).expect("a short header");
    packet[10..12].copy_from_slice(&(!folded).to_be_bytes());
    packet.extend([0, 68, 0, 67]);
    packet.extend(udp_len.to_be_bytes());
    // No checksum, which UDP over IPv4 allows.
    packet.extend([0, 0]);
    packet.extend(bootp);
    let mut frame = frame(MacAddr([0xff; 6]), station(client), 14);
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    frame.extend(packet);
    frame
}

fn discover(rounds: u32) {
    let now = Now {
        instant: start(),
        since_boot: Duration::from_secs(1000),
        utc: UtcTime(1_800_000_000),
    };
    let subnet = "10.0.0.0/16".parse().expect("a subnet");
    let gateway = Ipv4Addr::new(10, 0, 0, 1);
    let config = gateway::dhcp::Config::new(subnet, gateway, MacAddr([2, 0, 0, 0, 0, 1]));
    let config = gateway::dhcp::Config { probe: false, ..config };
    let mut server = Server::new(config, Loaded::default(), BootId([1; 16]), now)
        .expect("the configuration is sound");
    for round in 0..rounds {
        // The same clients again and again: the table stays as long as it is.
        let octets = discover_frame(round % 100);
        server.handle_frame(black_box(&octets), Source { node: 1, port: Some(7) }, now);
        let mut answers = 0;
        while black_box(server.poll_transmit()).is_some() {
            answers += 1;
        }
        assert_eq!(answers, 1, "a DISCOVER has one answer");
        while server.poll_event().is_some() {}
    }
}
