//! What a frame costs in the emulator, in time and in memory. `./bench wire` runs it.
//!
//! `cargo run --release -p emulator --example emulator_cost -- WHAT [FRAMES]`, where WHAT is
//!
//! * `speed`: frames a second through delay, loss and rate together, on one core;
//! * `jitter`, `reorder`: the same with a delay that is drawn for each frame, in order or not;
//! * `memory`: octets that each of FRAMES frames in the delay line takes beside its own.

#![expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use emulator::{Both, Direction, Emulator, Field, Order, Seed, Settings};

/// A frame of the shortest length without its padding and checksum.
const OCTETS: usize = 64;

/// Frames that come at once, as from a port of a node.
const BATCH: u32 = 64;

/// Between one frame and the next, in the time of the link: 5.1 Gbit/s of frames of 64 octets.
const INTERVAL: Duration = Duration::from_nanos(100);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_else(|| "speed".to_owned());
    let frames = arguments.next().map(|text| text.parse::<u32>().expect("FRAMES is a number"));
    match what.as_str() {
        "speed" => speed("delay 10 ms, loss 1 %, 10 Gbit/s", &steady(), frames),
        "jitter" => speed("delay 10+2N ms, loss 1 %, 10 Gbit/s, in order", &varied(), frames),
        "reorder" => {
            let free = Settings { order: Order::Free, ..varied() };
            speed("delay 10+2N ms, loss 1 %, 10 Gbit/s, overtaking", &free, frames);
        }
        "memory" => memory(frames.unwrap_or(1_000_000)),
        _ => panic!("{what} is not measured"),
    }
}

fn steady() -> Settings {
    settings(&[("delay", "10"), ("loss", "1"), ("bandwidth", "10Gbit")])
}

fn varied() -> Settings {
    settings(&[("delay", "10+2N"), ("loss", "1"), ("bandwidth", "10Gbit")])
}

fn settings(values: &[(&str, &str)]) -> Settings {
    let mut settings = Both::<Settings>::default();
    for (name, value) in values {
        let field = Field::named(name).expect("it is a setting");
        let change = field.parse(value, None).expect("it is a value");
        change.apply(&mut settings).expect("the values fit together");
    }
    settings[Direction::LeftToRight].clone()
}

fn speed(title: &str, settings: &Settings, frames: Option<u32>) {
    let frames = frames.unwrap_or(20_000_000);
    let start = Instant::now();
    let mut link = Emulator::new(settings.clone(), Seed::new(1), start);
    // What comes out goes in again: the link is measured, not the allocator.
    let mut pool: Vec<Box<[u8]>> = Vec::new();
    let began = Instant::now();
    let (mut now, mut sent) = (start, 0);
    while sent < frames {
        now += INTERVAL * BATCH;
        for _ in 0..BATCH {
            let frame = pool.pop().unwrap_or_else(|| vec![0; OCTETS].into());
            black_box(link.handle_frame(frame, now));
        }
        while let Some(frame) = link.poll_delivery(now) {
            pool.push(frame);
        }
        black_box(link.poll_timeout());
        sent += BATCH;
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "{title}: mfps={:.2} ns={:.0}",
        f64::from(sent) / took / 1e6,
        took * 1e9 / f64::from(sent)
    );
}

fn memory(frames: u32) {
    let start = Instant::now();
    let mut link = Emulator::<Box<[u8]>>::new(settings(&[("delay", "1000")]), Seed::new(1), start);
    let before = resident();
    for _ in 0..frames {
        black_box(link.handle_frame(vec![0x5a; OCTETS].into(), start));
    }
    let grown = resident() - before;
    assert_eq!(link.waiting().frames, u64::from(frames));
    let each = grown as f64 / f64::from(frames) - OCTETS as f64;
    println!("{frames} frames in the delay line: octets={each:.0}");
}

/// Octets of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("it has memory");
    let kibibytes = line.split_whitespace().nth(1).expect("the line has a number");
    kibibytes.parse::<usize>().expect("it is a number") * 1024
}
