//! `vdenode`: arguments to configuration to a running node to an exit code.

mod cli;
mod config;
mod control_socket;
mod driver;
mod logging;
mod plane;
mod port;
mod refused;
mod requests;
mod state;
mod status;
mod sys;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use control::path::Surroundings;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Cli;
use crate::config::NodeConfig;
use crate::control_socket::ControlSocket;
use crate::driver::DataPlane;
use crate::state::StateLock;

/// How soon the end of the data plane is noticed, should it end by itself.
const LOOK_AFTER: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(cli.verbose);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            tracing::error!("{err:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let root = rustix::process::geteuid().is_root();
    let config = NodeConfig::new(cli, &Surroundings::of_this_process(root))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the control runtime")?;
    let _in_runtime = runtime.enter();
    let _lock = StateLock::take(&config.state)?;
    let control = ControlSocket::bind(&config.control)?;
    let name = config.name.clone();
    let control_path = config.control.display().to_string();
    let (plane, ready) = DataPlane::start(config)?;
    tracing::info!(
        node = name,
        vde = ready.vde,
        listen = ready.listen.as_deref().unwrap_or("no"),
        control = control_path,
        key = ready.key,
        "ready"
    );
    let ended = runtime.block_on(async {
        tokio::select! {
            () = control.serve(plane.requests.clone()) => Ok(()),
            result = until_told_to_end() => result,
            () = until_ended(&plane) => Ok(()),
        }
    });
    drop(control);
    plane.stop().and(ended)
}

async fn until_told_to_end() -> anyhow::Result<()> {
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

async fn until_ended(plane: &DataPlane) {
    while !plane.has_ended() {
        tokio::time::sleep(LOOK_AFTER).await;
    }
}
