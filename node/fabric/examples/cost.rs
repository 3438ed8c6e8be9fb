//! What a frame costs in the bridge: run it under `perf stat -e instructions:u`, divide by the
//! number of frames that it prints, and subtract the run with `none`.
//!
//! `cargo run --release -p fabric --example cost -- none|known|flood|new [FRAMES [STATIONS]]`

#![expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use ether::{FrameHeader, MacAddr, VlanId};
use fabric::{Bridge, Config, PortId, PortKind};

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
    let (capacity, per_port_capacity) = (65_536, 65_536);
    let mut bridge = Bridge::new(Config { capacity, per_port_capacity, ..Config::default() });
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
