//! Whole handshakes from real addresses, with a key that nobody trusts.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cable::PublicKey;
use tokio::task::LocalSet;

use crate::{Load, client, now};

/// Handshakes that may be waited for; one that gets no answer is given up after a second.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Counts {
    refused: Cell<u64>,
    unanswered: Cell<u64>,
}

pub(crate) fn run(load: Load, key: PublicKey, sources: &[String]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let counts = Rc::new(Counts::default());
    let begun = LocalSet::new().block_on(&runtime, knock(load, key, sources, counts.clone()))?;
    println!(
        "{}",
        serde_json::json!({
            "begun": begun,
            "refused": counts.refused.get(),
            "unanswered": counts.unanswered.get(),
        })
    );
    Ok(())
}

async fn knock(load: Load, key: PublicKey, sources: &[String], counts: Rc<Counts>) -> Result<u64> {
    let mut endpoints = Vec::new();
    for source in sources {
        let address: std::net::IpAddr = source.parse().context("SOURCE")?;
        endpoints.push(quinn::Endpoint::client(SocketAddr::new(address, 0))?);
    }
    let config = client([key])?;
    let (start, mut begun) = (now(), 0_u32);
    let mut pace = tokio::time::interval(Duration::from_millis(2));
    while now().duration_since(start) < load.time {
        pace.tick().await;
        let due = now().duration_since(start).as_secs_f64() * f64::from(load.rate);
        while f64::from(begun) < due {
            let endpoint = &endpoints[usize::try_from(begun)? % endpoints.len()];
            begun += 1;
            let name = cable::tls::SERVER_NAME;
            let connecting = endpoint.connect_with(config.clone(), load.target, name)?;
            let counts = counts.clone();
            tokio::task::spawn_local(async move {
                // Its own part is done before the node has looked at the key.
                let ended = tokio::time::timeout(PATIENCE, async {
                    if let Ok(connection) = connecting.await {
                        connection.closed().await;
                    }
                });
                let count = if ended.await.is_ok() { &counts.refused } else { &counts.unanswered };
                count.set(count.get() + 1);
            });
        }
    }
    tokio::time::sleep(PATIENCE).await;
    Ok(begun.into())
}
