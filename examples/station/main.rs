//! A station: an IPv4 host in one process, plugged into a VDE switch. No root, no VM, no kernel
//! network. It answers ARP and pings, pings others, and measures throughput.
//!
//! ```text
//! station --sock /tmp/vde.ctl --ip 10.0.0.2/24 serve
//! station --sock /tmp/vde.ctl --ip 10.0.0.1/24 ping 10.0.0.2
//! station --sock /tmp/vde.ctl --ip 10.0.0.1/24 throughput 10.0.0.2
//! ```
//!
//! | I want… | Open |
//! |---|---|
//! | the loop that ties plug and TCP/IP together | `driver.rs` |
//! | frames in and out, 64 at a time | `wire.rs` |
//! | what a command does | `ping.rs`, `serve.rs`, `throughput.rs` |

mod driver;
mod ping;
mod serve;
mod throughput;
mod wire;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use ether::MacAddr;
use smoltcp::wire::Ipv4Cidr;

use driver::{Ended, Station};

/// An IPv4 host in one process, plugged into a VDE switch.
#[derive(Parser)]
struct Args {
    /// The switch's directory or control socket [default: as libvdeplug looks for it]
    #[arg(long, value_name = "DIR")]
    sock: Option<PathBuf>,
    /// Own address and prefix length, for example 10.0.0.1/24
    #[arg(long, value_name = "ADDRESS/LEN", value_parser = cidr)]
    ip: Ipv4Cidr,
    /// Own MAC address [default: 02:00 and the IPv4 address]
    #[arg(long)]
    mac: Option<MacAddr>,
    /// Port of the switch to plug into [default: the switch chooses]
    #[arg(long, value_name = "N")]
    port: Option<u32>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer ARP and pings, swallow TCP, until Ctrl-C
    Serve {
        /// TCP port
        #[arg(long, value_name = "PORT", default_value_t = serve::DEFAULT_PORT)]
        tcp: u16,
    },
    /// Send ICMP echo requests; exit code 1 when no answer came
    Ping {
        /// Whom
        target: Ipv4Addr,
        /// How many
        #[arg(short, long, value_name = "N", default_value_t = 4,
              value_parser = clap::value_parser!(u16).range(1..))]
        count: u16,
        /// Seconds from one to the next
        #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
        interval: Duration,
    },
    /// Send TCP to a serving station as fast as it goes
    Throughput {
        /// Where `station serve` runs
        target: Ipv4Addr,
        /// For how long
        #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
        seconds: Duration,
        /// TCP port
        #[arg(long, value_name = "PORT", default_value_t = serve::DEFAULT_PORT)]
        tcp: u16,
    },
}

fn cidr(text: &str) -> Result<Ipv4Cidr, &'static str> {
    text.parse().map_err(|()| "write an IPv4 address and a prefix length, for example 10.0.0.1/24")
}

/// A thousandth of a second to an hour: enough for a demonstration.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    seconds
        .filter(|s| (Duration::from_millis(1)..=Duration::from_secs(3600)).contains(s))
        .ok_or("write a number of seconds, 0.001 to 3600")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("station: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let [a, b, c, d] = args.ip.address().octets();
    let mac = args.mac.unwrap_or(MacAddr([0x02, 0x00, a, b, c, d]));
    anyhow::ensure!(!mac.is_group() && !mac.is_zero(), "{mac} is not the address of one station");
    let options = vdeplug::ClientOptions {
        port: args.port,
        ..vdeplug::ClientOptions::new(format!("station {}", args.ip.address()))
    };
    let plug = vdeplug::connect(args.sock.as_deref(), options).await.context("cannot plug in")?;
    let mut station = Station::new(plug, mac, args.ip);
    match args.command {
        Command::Serve { tcp } => {
            println!("serving {} ({mac}), TCP port {tcp}; Ctrl-C ends", args.ip.address());
            let mut serve = serve::Serve::new(&mut station, tcp)?;
            station.run(&mut serve).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Ping { target, count, interval } => {
            let mut ping = ping::Ping::new(&mut station, target, count, interval)?;
            station.run(&mut ping).await?;
            print!("{}", ping.summary());
            Ok(if ping.received() > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Throughput { target, seconds, tcp } => {
            let mut throughput = throughput::Throughput::new(&mut station, target, tcp, seconds)?;
            let ended = station.run(&mut throughput).await?;
            println!("{}", throughput.report()?);
            Ok(if ended == Ended::Done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

#[cfg(test)]
mod tests;
