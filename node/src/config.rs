//! From flags to a configuration that holds together. The only place that knows the defaults.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use control::path::{Surroundings, is_node_name};

use crate::cli::Cli;

/// Everything a node must know to start.
#[derive(Debug)]
pub(crate) struct NodeConfig {
    pub(crate) name: String,
    pub(crate) vde: vdeplug::ServerConfig,
    pub(crate) listen: Listen,
    pub(crate) taps: Vec<String>,
    pub(crate) offload: Offload,
    pub(crate) streams: Vec<StreamAddress>,
    pub(crate) hub: bool,
    pub(crate) state: PathBuf,
    pub(crate) control: PathBuf,
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
    /// What is no address and port is a path.
    fn parse(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Unix(text.into()), Self::Tcp)
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
        Ok(Self {
            vde,
            listen: match (cli.listen, cli.no_listen) {
                (_, true) => Listen::No,
                (Some(address), false) => Listen::At(address),
                (None, false) => Listen::Anywhere,
            },
            taps: cli.tap,
            offload: if cli.no_offload { Offload::Never } else { Offload::WherePossible },
            streams: cli.stream.iter().map(|text| StreamAddress::parse(text)).collect(),
            hub: cli.hub,
            state: cli
                .state
                .or_else(|| surroundings.state(&cli.name))
                .context("there is no default for it: HOME is not set")
                .context("--state is needed")?,
            control: cli
                .control
                .or_else(|| surroundings.control(&cli.name))
                .context(no_runtime)
                .context("--control is needed")?,
            name: cli.name,
        })
    }
}
