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
mod stale;
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

/// A port needs two descriptors; the usual soft limit of 1024 is for programs that use `select`.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Not a reason to stop: it only bounds how many can plug in.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn run(cli: Cli) -> anyhow::Result<()> {
    raise_descriptor_limit();
    let root = rustix::process::geteuid().is_root();
    let config = NodeConfig::new(cli, &Surroundings::of_this_process(root))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the control runtime")?;
    let _in_runtime = runtime.enter();
    let _lock = StateLock::take(&config.state)?;
    let name = config.name.clone();
    let control_path = config.control.clone();
    let (plane, ready) = DataPlane::start(config)?;
    // Last: whoever waits for this socket finds everything else in place.
    let control = match ControlSocket::bind(&control_path) {
        Ok(control) => control,
        Err(err) => return plane.stop().and(Err(err)),
    };
    tracing::info!(
        node = name,
        vde = ready.vde,
        listen = ready.listen.as_deref().unwrap_or("no"),
        control = %control_path.display(),
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
