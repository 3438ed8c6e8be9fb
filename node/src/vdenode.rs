//! The program `vdenode`: arguments to configuration to a running node to an exit code.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use control::path::Surroundings;

use crate::cli::Cli;
use crate::config::NodeConfig;
use crate::control_socket::ControlSocket;
use crate::driver::DataPlane;
use crate::signals::EndSignals;
use crate::state::StateLock;
use crate::{driver, logging};

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(cli.verbose);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            tracing::error!("{}", logging::in_one_line(&err));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    driver::raise_descriptor_limit();
    driver::hide_memory();
    let root = rustix::process::geteuid().is_root();
    let config = NodeConfig::new(cli, &Surroundings::of_this_process(root))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the control runtime")?;
    let _in_runtime = runtime.enter();
    let mut end_signals = EndSignals::catch()?;
    let NodeConfig { places, shard, control: access } = config;
    let _lock = StateLock::take(&places.state)?;
    let name = shard.name.clone();
    let (plane, ready) = DataPlane::start(shard)?;
    // Last: whoever waits for this socket finds everything else in place.
    let control = match ControlSocket::bind(&places.control, access) {
        Ok(control) => control,
        Err(err) => return plane.stop().and(Err(err)),
    };
    tracing::info!(
        node = name,
        vde = ready.vde,
        listen = ready.listen.as_deref().unwrap_or("no"),
        control = %places.control.display(),
        key = ready.key,
        "ready"
    );
    let ended = runtime.block_on(async {
        tokio::select! {
            () = control.serve(&plane) => Ok(()),
            () = end_signals.received() => Ok(()),
            () = plane.until_ended() => Ok(()),
        }
    });
    drop(control);
    plane.stop().and(ended)
}
