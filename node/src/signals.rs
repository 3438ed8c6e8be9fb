//! The signals that end a switch.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

/// Completes with SIGTERM, SIGINT or SIGHUP.
pub(crate) async fn until_told_to_end() -> anyhow::Result<()> {
    let listen = |kind| signal(kind).context("cannot wait for signals");
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hang_up.recv() => {}
    }
    tracing::info!("ending");
    Ok(())
}
