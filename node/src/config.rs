//! From flags to a configuration that holds together. The only place that knows the defaults.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use control::path::{Surroundings, is_node_name};
use fabric::PortId;

use crate::cli::Cli;
use crate::plane::Vlans;
use crate::vde_switch::execute::SwitchFacts;

/// Everything `vdenode` must know to start.
#[derive(Debug)]
pub(crate) struct NodeConfig {
    pub(crate) shard: ShardConfig,
    pub(crate) state: PathBuf,
    pub(crate) control: PathBuf,
}

/// Everything the data plane must know to start.
#[derive(Debug)]
pub(crate) struct ShardConfig {
    pub(crate) name: String,
    pub(crate) vde: vdeplug::ServerConfig,
    pub(crate) listen: Listen,
    pub(crate) taps: Vec<String>,
    pub(crate) tap_failure: TapFailure,
    pub(crate) offload: Offload,
    pub(crate) streams: Vec<StreamAddress>,
    pub(crate) hub: bool,
    pub(crate) ageing_time: Duration,
    /// Where key, cables and trust are kept; none to keep nothing.
    pub(crate) state: Option<PathBuf>,
    /// Port numbers are below this.
    pub(crate) ports: u32,
    pub(crate) vlans: Vlans,
    /// What only `vde_switch` has.
    pub(crate) switch: Option<SwitchFacts>,
}

/// What to do when a tap cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TapFailure {
    /// Do not start.
    Fatal,
    /// Tell, and start without it, as VDE does.
    Told,
}

/// Whether taps carry virtio-net headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offload {
    /// Wherever the kernel has them.
    WherePossible,
    /// Plain frames only.
    Never,
}

/// Where stream clients are awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamAddress {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
}

impl StreamAddress {
    /// A path has a slash; everything else must be an address and port.
    fn parse(text: &str) -> anyhow::Result<Self> {
        if text.contains('/') {
            return Ok(Self::Unix(text.into()));
        }
        text.parse().map(Self::Tcp).with_context(|| {
            format!("--stream {text:?} is neither a path, with a slash, nor an address and port, as 127.0.0.1:5555")
        })
    }
}

/// Where cables are awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listen {
    /// Nowhere.
    No,
    /// There and nowhere else.
    At(SocketAddr),
    /// On the default port of every address, IPv6 where the host has it.
    Anywhere,
}

impl Listen {
    /// The addresses to try, best first.
    pub(crate) fn candidates(self) -> Vec<Option<SocketAddr>> {
        let port = cable::address::DEFAULT_PORT;
        match self {
            Self::No => vec![None],
            Self::At(address) => vec![Some(address)],
            Self::Anywhere => vec![
                Some((Ipv6Addr::UNSPECIFIED, port).into()),
                Some((Ipv4Addr::UNSPECIFIED, port).into()),
            ],
        }
    }
}

impl NodeConfig {
    pub(crate) fn new(cli: Cli, surroundings: &Surroundings) -> anyhow::Result<Self> {
        if !is_node_name(&cli.name) {
            bail!(
                "{:?} cannot be a node's name: use 1 to 64 letters, digits, '-', '_' and '.', not starting with '.'",
                cli.name
            );
        }
        let no_runtime =
            "there is no default for it: XDG_RUNTIME_DIR is not set; give it on the command line";
        let directory = cli
            .sock
            .or_else(|| surroundings.vde_socket())
            .context(no_runtime)
            .context("--sock is needed")?;
        let mut vde = vdeplug::ServerConfig::new(directory);
        vde.mode = cli.mode;
        vde.directory_mode = cli.dirmode;
        vde.group = cli.group;
        let state = cli
            .state
            .or_else(|| surroundings.state(&cli.name))
            .context("there is no default for it: HOME is not set")
            .context("--state is needed")?;
        let control = cli
            .control
            .or_else(|| surroundings.control(&cli.name))
            .context(no_runtime)
            .context("--control is needed")?;
        let streams: anyhow::Result<_> =
            cli.stream.iter().map(|text| StreamAddress::parse(text)).collect();
        let streams = streams?;
        let shard = ShardConfig {
            vde,
            listen: match (cli.listen, cli.no_listen) {
                (_, true) => Listen::No,
                (Some(address), false) => Listen::At(address),
                (None, false) => Listen::Anywhere,
            },
            taps: cli.tap,
            offload: if cli.no_offload { Offload::Never } else { Offload::WherePossible },
            streams,
            hub: cli.hub,
            tap_failure: TapFailure::Fatal,
            ageing_time: fabric::Config::default().ageing_time,
            state: Some(state.clone()),
            ports: PortId::MAX.0 + 1,
            vlans: Vlans::Transparent,
            switch: None,
            name: cli.name,
        };
        Ok(Self { shard, state, control })
    }
}
