//! From flags to a configuration that holds together. The only place that knows the defaults.

mod address;
mod gateway;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use control::path::{Surroundings, is_node_name};
use fabric::{PortId, StormControl};

pub(crate) use address::{DgramAddress, StreamAddress, TapAddress};
pub(crate) use gateway::GatewayConfig;

use crate::accounts;
use crate::cli::Cli;
use crate::plane::Vlans;
use crate::vde_switch::execute::SwitchFacts;

/// Everything `vdenode` must know to start.
#[derive(Debug)]
pub(crate) struct NodeConfig {
    pub(crate) shard: ShardConfig,
    pub(crate) places: Places,
    pub(crate) control: ControlAccess,
}

/// Where a node is found and what it keeps, by its name.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) state: PathBuf,
    pub(crate) control: PathBuf,
}

impl Places {
    /// Those that are given, and the defaults for the others.
    pub(crate) fn resolve(
        name: &str,
        state: Option<PathBuf>,
        control: Option<PathBuf>,
        surroundings: &Surroundings,
    ) -> anyhow::Result<Self> {
        if !is_node_name(name) {
            bail!(
                "{name:?} cannot be a node's name: use 1 to 64 letters, digits, '-', '_' and '.', not starting with '.'"
            );
        }
        let state = state
            .or_else(|| surroundings.state(name))
            .context("there is no default for it: HOME is not set")
            .context("--state is needed")?;
        let control = control
            .or_else(|| surroundings.control(name))
            .context(NO_RUNTIME)
            .context("--control is needed")?;
        Ok(Self { state, control })
    }
}

const NO_RUNTIME: &str =
    "there is no default for it: XDG_RUNTIME_DIR is not set; give it on the command line";

/// Everything the data plane must know to start.
#[derive(Debug)]
pub(crate) struct ShardConfig {
    pub(crate) name: String,
    pub(crate) vde: vdeplug::ServerConfig,
    pub(crate) listen: Listen,
    /// Where others reach this node, beside the addresses of its interfaces.
    pub(crate) announce: Vec<cable::Target>,
    pub(crate) taps: Vec<TapAddress>,
    pub(crate) tap_failure: TapFailure,
    pub(crate) offload: Offload,
    pub(crate) streams: Vec<StreamAddress>,
    pub(crate) dgrams: Vec<DgramAddress>,
    /// Unix sockets on which clients of sequenced packets are awaited.
    pub(crate) sequenced: Vec<PathBuf>,
    pub(crate) sockets: SocketAccess,
    pub(crate) hub: bool,
    pub(crate) storm_control: StormControl,
    /// Whether loops outside are looked for.
    pub(crate) probes: bool,
    /// Whether ports are kept from doing the gateway's work while there is one.
    pub(crate) guards: bool,
    pub(crate) ageing_time: Duration,
    /// Where key, cables and trust are kept; none to keep nothing.
    pub(crate) state: Option<PathBuf>,
    /// Port numbers are below this.
    pub(crate) ports: u32,
    pub(crate) vlans: Vlans,
    /// Whether this node is the way out of the mesh, and how.
    pub(crate) gateway: Option<GatewayConfig>,
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

/// Who may use the sockets of VMs that are not VDE's, as mode bits of chmod(2) and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SocketAccess {
    pub(crate) mode: u32,
    pub(crate) group: Option<u32>,
}

impl Default for SocketAccess {
    /// The owner alone.
    fn default() -> Self {
        Self { mode: 0o600, group: None }
    }
}

/// Who may change the node, and who may look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ControlAccess {
    pub(crate) admin: SocketAccess,
    /// None: nobody but those who may change it.
    pub(crate) view: Option<SocketAccess>,
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
        let places = Places::resolve(&cli.name, cli.state, cli.control, surroundings)?;
        let directory = cli
            .sock
            .or_else(|| surroundings.vde_socket())
            .context(NO_RUNTIME)
            .context("--sock is needed")?;
        let mut vde = vdeplug::ServerConfig::new(directory);
        vde.mode = cli.mode;
        vde.directory_mode = cli.dirmode;
        vde.group = cli.group.clone();
        let streams: Result<_, _> = cli.stream.iter().map(|at| StreamAddress::parse(at)).collect();
        let dgrams: Result<_, _> = cli.dgram.iter().map(|at| DgramAddress::parse(at)).collect();
        let group = |name: &String| {
            accounts::group_number(name).with_context(|| format!("there is no group {name:?}"))
        };
        // A group that is named is let in, unless the mode says otherwise.
        let control_access = |mode: Option<u32>, name: &Option<String>| -> anyhow::Result<_> {
            let closed = if name.is_some() { 0o660 } else { SocketAccess::default().mode };
            let group = name.as_ref().map(group).transpose()?;
            Ok(SocketAccess { mode: mode.unwrap_or(closed), group })
        };
        let has_view = cli.view_mode.is_some() || cli.view_group.is_some();
        let view = has_view.then(|| control_access(cli.view_mode, &cli.view_group)).transpose()?;
        let admin = control_access(cli.control_mode, &cli.control_group)?;
        let control = ControlAccess { admin, view };
        let sockets = SocketAccess {
            mode: cli.mode.unwrap_or_else(|| SocketAccess::default().mode),
            group: cli.group.as_ref().map(group).transpose()?,
        };
        let shard = ShardConfig {
            vde,
            listen: match (cli.listen, cli.no_listen) {
                (_, true) => Listen::No,
                (Some(address), false) => Listen::At(address),
                (None, false) => Listen::Anywhere,
            },
            announce: cli.announce,
            taps: cli
                .tap
                .into_iter()
                .map(TapAddress::Name)
                .chain(cli.tap_fd.into_iter().map(TapAddress::Descriptor))
                .collect(),
            offload: if cli.no_offload { Offload::Never } else { Offload::WherePossible },
            streams: streams?,
            dgrams: dgrams?,
            sequenced: cli.seqpacket,
            sockets,
            hub: cli.hub,
            probes: !cli.no_probes,
            guards: !cli.gateway.no_guard,
            storm_control: if cli.no_storm_control {
                StormControl::OFF
            } else {
                StormControl::STANDARD
            },
            tap_failure: TapFailure::Fatal,
            ageing_time: fabric::Config::default().ageing_time,
            state: Some(places.state.clone()),
            ports: PortId::MAX.0 + 1,
            vlans: Vlans::Transparent,
            gateway: GatewayConfig::new(cli.gateway, &cli.name, places.state.clone())?,
            switch: None,
            name: cli.name,
        };
        Ok(Self { shard, places, control })
    }
}
