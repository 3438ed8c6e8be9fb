//! The program `vde_switch`: VDE's command line and console around the same engine.

mod console_io;
mod daemon;
pub(crate) mod execute;
mod management;
mod pidfile;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use console::arguments::NodeArguments;
use console::arguments::{USAGE_EXIT_CODE, usage, version};
use console::session::Prompt;
use console::{Invocation, Session, SwitchArguments};
use control::path::Surroundings;
use ether::MacAddr;
use fabric::StormControl;
use rand::RngExt as _;

use crate::config::{
    ControlAccess, Listen, Offload, Places, ShardConfig, SocketAccess, TapAddress, TapFailure,
};
use crate::control_socket::ControlSocket;
use crate::driver::{self, DataPlane};
use crate::logging;
use crate::plane::Vlans;
use crate::signals::EndSignals;
use crate::state::StateLock;
use console_io::{Consoles, End};
use execute::SwitchFacts;
use management::Management;
use pidfile::Pidfile;

/// What `vde_switch --version` and the banner say.
pub(crate) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (vdenode)");

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let arguments = match Invocation::parse(words) {
        Ok(Invocation::Run(arguments)) => arguments,
        Ok(Invocation::Help) => {
            print!("{}", usage());
            return ExitCode::from(USAGE_EXIT_CODE);
        }
        Ok(Invocation::Version) => {
            println!("{}", version(VERSION));
            return ExitCode::SUCCESS;
        }
        Err(err) => {
            eprint!("vde_switch: {err}\n{}", usage());
            return ExitCode::from(USAGE_EXIT_CODE);
        }
    };
    if arguments.daemon && !daemon::is_daemon() {
        return daemon::start();
    }
    daemon::start_log();
    match run(*arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            tracing::error!("{}", logging::in_one_line(&err));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: SwitchArguments) -> anyhow::Result<()> {
    driver::raise_descriptor_limit();
    driver::hide_memory();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the console's runtime")?;
    let _in_runtime = runtime.enter();
    let mut end_signals = EndSignals::catch()?;
    let _pidfile = arguments.pidfile.as_deref().map(Pidfile::create).transpose()?;
    let places = arguments.node.as_ref().map(places).transpose()?;
    let _lock = places.as_ref().map(|places| StateLock::take(&places.state)).transpose()?;
    let (plane, _) = DataPlane::start(shard_config(&arguments, places.as_ref())?)?;
    let consoles = Consoles::new(&plane);
    let ended = runtime.block_on(async {
        let management = bind_management(&arguments)?;
        let bind = |places: Places| ControlSocket::bind(&places.control, ControlAccess::default());
        let control = places.map(bind).transpose()?;
        start_script(&consoles, &arguments).await;
        let is_daemon = daemon::is_daemon();
        if is_daemon {
            daemon::leave_terminal()?;
        }
        let has_console = !arguments.nostdin && !is_daemon;
        tokio::select! {
            () = management.serve(&consoles) => Ok(()),
            () = serve_control(control.as_ref(), &plane) => Ok(()),
            () = stdin_console(&consoles), if has_console => Ok(()),
            () = end_signals.received() => Ok(()),
            () = plane.until_ended() => Ok(()),
        }
    });
    plane.stop().and(ended)
}

/// Where the switch is found as a node.
fn places(node: &NodeArguments) -> anyhow::Result<Places> {
    let root = rustix::process::geteuid().is_root();
    let (state, control) = (node.state.clone(), node.control.clone());
    Places::resolve(node_name(Some(node)), state, control, &Surroundings::of_this_process(root))
}

fn node_name(node: Option<&NodeArguments>) -> &str {
    node.and_then(|node| node.name.as_deref()).unwrap_or("vde_switch")
}

async fn serve_control(control: Option<&ControlSocket>, plane: &DataPlane) {
    match control {
        Some(control) => control.serve(plane).await,
        None => std::future::pending().await,
    }
}

fn listen(node: Option<&NodeArguments>) -> anyhow::Result<Listen> {
    let Some(node) = node else { return Ok(Listen::No) };
    let Some(address) = &node.listen else { return Ok(Listen::Anywhere) };
    let address = address.parse().with_context(|| {
        format!("--listen {address:?} is not an address and a port, for example [::]:7667")
    })?;
    Ok(Listen::At(address))
}

fn shard_config(
    arguments: &SwitchArguments,
    places: Option<&Places>,
) -> anyhow::Result<ShardConfig> {
    let root = rustix::process::geteuid().is_root();
    // VDE 2's own places, so that its clients find the switch without being told.
    let default = if root { "/var/run/vde.ctl" } else { "/tmp/vde.ctl" };
    let directory = arguments.sock.clone().unwrap_or_else(|| PathBuf::from(default));
    let mut vde = vdeplug::ServerConfig::new(absolute(&directory)?);
    vde.mode = arguments.mode;
    vde.directory_mode = arguments.dirmode;
    vde.group = arguments.group.clone();
    let (mode, _) = arguments.permissions();
    let management = arguments.mgmt.clone().map(|path| (path, arguments.mgmtmode));
    let hash = execute::hash_defaults(arguments.hashsize.get());
    Ok(ShardConfig {
        name: node_name(arguments.node.as_ref()).to_owned(),
        vde,
        listen: listen(arguments.node.as_ref())?,
        announce: Vec::new(),
        taps: arguments.taps.iter().cloned().map(TapAddress::Name).collect(),
        tap_failure: TapFailure::Told,
        offload: Offload::WherePossible,
        streams: Vec::new(),
        dgrams: Vec::new(),
        sequenced: Vec::new(),
        sockets: SocketAccess::default(),
        hub: arguments.hub,
        // As VDE's: whoever runs a switch for one host may flood it.
        storm_control: StormControl::OFF,
        probes: false,
        guards: true,
        ageing_time: hash.expiry,
        state: places.map(|places| places.state.clone()),
        ports: arguments.numports.get(),
        vlans: Vlans::Aware,
        gateway: None,
        switch: Some(SwitchFacts {
            mac: arguments.macaddr.unwrap_or_else(random_mac),
            priority: arguments.priority,
            mode,
            management,
            hash,
        }),
    })
}

/// `00:ff:` and four random octets, as VDE's own.
fn random_mac() -> MacAddr {
    let [a, b, c, d] = rand::rng().random();
    MacAddr([0x00, 0xff, a, b, c, d])
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))
}

fn bind_management(arguments: &SwitchArguments) -> anyhow::Result<Management> {
    let Some(path) = &arguments.mgmt else { return Ok(Management::None) };
    Management::bind(&absolute(path)?, arguments.mgmtmode, arguments.mgmtgroup.as_deref())
}

/// Runs the start script, if there is one.
async fn start_script(consoles: &Consoles, arguments: &SwitchArguments) {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let candidates = match &arguments.rcfile {
        Some(path) => vec![path.clone()],
        None => home
            .map(|home| home.join(".vde2/vde_switch.rc"))
            .into_iter()
            .chain([PathBuf::from("/etc/vde2/vde_switch.rc")])
            .collect(),
    };
    for path in candidates {
        match std::fs::read(&path) {
            Ok(text) => {
                consoles.run_script(&path.to_string_lossy(), text).await;
                return;
            }
            Err(err) if arguments.rcfile.is_some() => {
                tracing::warn!(path = %path.display(), %err, "the start script is not read");
            }
            Err(_) => {}
        }
    }
}

/// The console on standard input. Its end is the switch's end, as in VDE.
async fn stdin_console(consoles: &Consoles) {
    // A person sees both. Who types by program and reads a pipe wants answers alone: VDE writes its
    // prompt to the terminal that it reads from, never among them.
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let prompt = if is_terminal { Prompt::Shown } else { Prompt::Hidden };
    let (read, write) = (console_io::stdin(), tokio::io::stdout());
    match consoles.run(Session::console(prompt), read, write).await {
        End::Closed | End::Shutdown => {}
    }
}
