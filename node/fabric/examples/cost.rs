//! What a frame costs in the bridge: count instructions, with `perf stat -e instructions:u` or
//! `valgrind --tool=callgrind`, divide by the number of frames that it prints, and subtract the run
//! with `none`.
//!
//! `cargo run --release -p fabric --example cost -- WHAT [FRAMES [STATIONS]]`, where WHAT is one of
//! `none`, `known`, `remote`, `cable`, `flood`, `new`, and `guard` for the guard alone.

#![expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use ether::{FrameHeader, MacAddr, VlanId};
use fabric::{
    Bridge, Config, FrameRate, GatewayAddress, Guard, GuardConfig, PortId, PortKind, PortTrust,
    Reach, RemoteId, StormControl,
};

const PORTS: u32 = 64;

fn mac(number: u32) -> MacAddr {
    let [a, b, c, d] = number.to_be_bytes();
    MacAddr([2, 0, a, b, c, d])
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_else(|| "known".to_owned());
    let mut number = |default| {
        let argument = arguments.next();
        argument.map_or(default, |text| text.parse::<u32>().expect("a number is a number"))
    };
    let (frames, stations) = (number(10_000_000), number(256));
    // Limits that are on and never reached.
    let rate = FrameRate(1_000_000_000);
    let mut bridge = Bridge::new(Config {
        capacity: 65_536,
        per_port_capacity: 65_536,
        storm_control: StormControl {
            broadcast: rate,
            multicast: rate,
            unknown_unicast: rate,
            new_stations: rate,
            cable_floods: rate,
        },
        ..Config::default()
    });
    let gateway = GatewayAddress { mac: mac(u32::MAX), ipv4: [10, 0, 0, 1], ipv6: vec![] };
    let guard = Guard::new(GuardConfig { servers: true, gateways: vec![gateway] });
    // The head of a TCP segment.
    let segment =
        [&mac(1).0[..], &mac(2).0, &[8, 0, 0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 64, 6], &[0; 64]]
            .concat();
    for port in 0..PORTS {
        bridge.add_port(PortId(port), PortKind::Access);
    }
    let start = Instant::now();
    let header = |source, destination| FrameHeader {
        destination,
        source: mac(source),
        vlan: VlanId::ZERO,
        tagged: false,
    };
    for station in 0..stations {
        let number = mac(station | 1 << 31);
        bridge.set_remote(VlanId::ZERO, number, RemoteId(station % PORTS));
        let ingress = PortId(station % PORTS);
        bridge.handle_frame(ingress, &header(station, MacAddr::BROADCAST), start);
    }
    let began = Instant::now();
    for frame in 0..frames {
        // A microsecond apart, as from a port at a million frames a second.
        let now = start + Duration::from_nanos(u64::from(frame) * 1000);
        let source = frame.wrapping_mul(0x9e37_79b1) % stations;
        let (source, destination) = match what.as_str() {
            "none" => {
                black_box((header(source, mac(source)), now));
                continue;
            }
            "guard" => {
                black_box(guard.inspect(PortTrust::Untrusted, black_box(&segment)));
                continue;
            }
            "cable" => {
                let header = header(source | 1 << 31, mac((source + 1) % stations));
                let node = RemoteId(source % PORTS);
                black_box(bridge.handle_from_cable(node, black_box(&header), Reach::Unicast, now));
                continue;
            }
            "remote" => (source, mac(source | 1 << 31)),
            "known" => (source, mac((source + 1) % stations)),
            "flood" => (source, MacAddr::BROADCAST),
            "new" => {
                let invented = header(stations + frame, MacAddr::BROADCAST);
                black_box(bridge.handle_frame(PortId(0), &invented, now));
                continue;
            }
            _ => panic!("{what} is not measured"),
        };
        let ingress = PortId(source % PORTS);
        black_box(bridge.handle_frame(ingress, black_box(&header(source, destination)), now));
    }
    let took = began.elapsed();
    println!("{frames} frames, {:.1} ns each", took.as_nanos() as f64 / f64::from(frames));
}
