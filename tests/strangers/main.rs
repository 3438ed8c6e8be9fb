//! What strangers on the internet can do to a node's UDP port, for trials and benches: a flood of
//! first packets from forged addresses, and handshakes with keys that nobody trusts.
//!
//!     strangers forged ADDR:PORT RATE SECONDS      needs root: it forges IPv4 addresses in 10.128.0.0/9
//!     strangers handshakes ADDR:PORT RATE SECONDS KEY SOURCE...
//!
//! KEY is the node's, as `vdecable id` prints it. SOURCE are addresses of this host, which take turns.
//! Prints what came of it as one JSON object. Works only towards private and loopback addresses.

mod forged;
mod handshakes;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cable::tls::Tls;
use cable::{Identity, PublicKey, Trust};
use quinn::crypto::rustls::QuicClientConfig;

/// How long and how fast.
#[derive(Debug, Clone, Copy)]
struct Load {
    target: SocketAddr,
    rate: u32,
    time: Duration,
}

#[expect(clippy::disallowed_methods, reason = "this program is a driver")]
fn now() -> Instant {
    Instant::now()
}

/// What a node without friends shows and believes.
fn client(trusted: impl IntoIterator<Item = PublicKey>) -> Result<quinn::ClientConfig> {
    let tls = Tls::new(&Identity::generate()?, Trust::in_memory(trusted))?;
    let crypto = QuicClientConfig::try_from(
        tls.client(cable::tls::ShownKey::default(), cable::tls::Purpose::Cable)?,
    )?;
    Ok(quinn::ClientConfig::new(std::sync::Arc::new(crypto)))
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [kind, target, rate, seconds, rest @ ..] = &words[..] else {
        bail!("usage: strangers forged|handshakes ADDR:PORT RATE SECONDS [KEY SOURCE...]");
    };
    let target: SocketAddr = target.parse().context("ADDR:PORT")?;
    let is_near = match target.ip() {
        std::net::IpAddr::V4(address) => address.is_private() || address.is_loopback(),
        std::net::IpAddr::V6(address) => address.is_unique_local() || address.is_loopback(),
    };
    ensure!(is_near, "{target} is no private address");
    let load = Load {
        target,
        rate: rate.parse().context("RATE")?,
        time: Duration::from_secs(seconds.parse().context("SECONDS")?),
    };
    match (kind.as_str(), rest) {
        ("forged", []) => forged::run(load),
        ("handshakes", [key, sources @ ..]) if !sources.is_empty() => {
            handshakes::run(load, key.parse()?, sources)
        }
        _ => bail!("that is no kind of stranger, or there is no SOURCE"),
    }
}
