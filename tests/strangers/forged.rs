//! Real first packets, from addresses that are not ours: each would be a handshake.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use quinn_proto::{Endpoint, EndpointConfig};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{Load, client, now};

/// Different packets; more would only take memory.
const PACKETS: u32 = 2000;

const IPV4_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

pub(crate) fn run(load: Load) -> Result<()> {
    let SocketAddr::V4(target) = load.target else { bail!("only IPv4 addresses are forged") };
    let packets = packets(load)?;
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)))?;
    socket.set_send_buffer_size(4 << 20)?;
    let (start, mut sent, mut failed) = (now(), 0_u32, 0_u32);
    let total = load.rate * u32::try_from(load.time.as_secs())?;
    let mut octets = 0_u64;
    while sent + failed < total {
        let due = now().duration_since(start).as_secs_f64() * f64::from(load.rate);
        // As many as are due, and no burst for what was missed.
        let mut budget = load.rate / 200;
        while f64::from(sent + failed) < due && budget > 0 && sent + failed < total {
            budget -= 1;
            let number = sent + failed;
            let source = Ipv4Addr::from_bits(0x0a80_0000 | number.wrapping_mul(2_654_435_761) >> 9);
            let port = 1024 + u16::try_from(number % 60_000)?;
            let payload = &packets[usize::try_from(number % PACKETS)?];
            let packet = packet((source, port), (*target.ip(), target.port()), payload)?;
            match socket.send_to(&packet, &load.target.into()) {
                Ok(_) => {
                    sent += 1;
                    octets += packet.len() as u64;
                }
                Err(_) => failed += 1,
            }
        }
        if now().duration_since(start) > load.time + Duration::from_secs(1) {
            break;
        }
        #[expect(clippy::disallowed_methods, reason = "a pace, not a wait for a condition")]
        thread::sleep(Duration::from_micros(500));
    }
    let seconds = now().duration_since(start).as_secs_f64();
    println!(
        "{}",
        serde_json::json!({"sent": sent, "octets": octets, "failed": failed, "seconds": seconds})
    );
    Ok(())
}

/// First packets of connections that were never meant to be.
fn packets(load: Load) -> Result<Vec<Vec<u8>>> {
    let config = client([])?;
    let mut endpoint = Endpoint::new(EndpointConfig::default().into(), None, false, None);
    let mut packets = Vec::new();
    for _ in 0..PACKETS {
        let at = now();
        let name = cable::tls::SERVER_NAME;
        let (_, mut connection) = endpoint.connect(at, config.clone(), load.target, name)?;
        let mut octets = Vec::new();
        if connection.poll_transmit(at, 1, &mut octets).is_some() {
            packets.push(octets);
        }
    }
    Ok(packets)
}

/// An IPv4 packet; the kernel adds what is left at zero.
fn packet(source: (Ipv4Addr, u16), target: (Ipv4Addr, u16), payload: &[u8]) -> Result<Vec<u8>> {
    let len = u16::try_from(IPV4_HEADER + UDP_HEADER + payload.len())?;
    let mut packet = vec![0x45, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    packet.extend(source.0.octets());
    packet.extend(target.0.octets());
    packet.extend(source.1.to_be_bytes());
    packet.extend(target.1.to_be_bytes());
    packet.extend((len - u16::try_from(IPV4_HEADER)?).to_be_bytes());
    // No checksum, as IPv4 allows.
    packet.extend([0, 0]);
    packet.extend(payload);
    Ok(packet)
}
