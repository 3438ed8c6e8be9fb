//! The flags of `vdenode`, exactly as typed.

mod gateway;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

pub(crate) use gateway::{GatewayFlags, Ipv6Flag, LanFlag};

/// What flags are about; `-h` shows those that most people use, `--help` all.
const NODE: &str = "Node";
const PORTS: &str = "Ports, for VMs and for this host";
const CABLES: &str = "Cables, to other nodes";
const SWITCHING: &str = "Switching";
const CONTROL: &str = "Control, by vdecable";

/// One switch of a virtual Ethernet that spans hosts: VMs plug into its VDE socket, cables
/// (vdecable connect HOST) link it with other nodes.
#[derive(Debug, Parser)]
#[command(name = "vdenode", version, max_term_width = 100)]
#[command(
    after_help = "All flags, in full: vdenode --help. A running node is seen and changed by vdecable."
)]
#[command(after_long_help = "A running node is seen and changed by vdecable: vdecable --help.")]
pub(crate) struct Cli {
    /// Name of this node: shown to its peers, and part of the paths of its state and control socket
    ///
    /// A second node of one host needs --sock and --listen (or --no-listen) of its own, too.
    #[arg(long, value_name = "NAME", default_value = "default", help_heading = NODE)]
    pub(crate) name: String,

    /// Directory of the VDE socket, with which VMs plug in
    ///
    /// Default: /run/vde.ctl as root, else $XDG_RUNTIME_DIR/vde.ctl
    #[arg(long, short, value_name = "DIR", help_heading = PORTS)]
    pub(crate) sock: Option<PathBuf>,

    /// Mode of the sockets that VMs use, in octal [default: 0600]
    #[arg(long, short, value_name = "OCT", value_parser = octal, help_heading = PORTS)]
    pub(crate) mode: Option<u32>,

    /// Mode of the VDE directory, in octal [default: from --mode, with setgid]
    #[arg(long, value_name = "OCT", value_parser = octal, help_heading = PORTS, hide_short_help = true)]
    pub(crate) dirmode: Option<u32>,

    /// Group of the VDE directory and of the sockets that VMs use, by name or number
    #[arg(long, short, value_name = "GROUP", help_heading = PORTS)]
    pub(crate) group: Option<String>,

    /// Await QEMU's stream netdevs on a unix socket or a TCP address; repeatable
    ///
    /// Also for passt, libkrun and socket_vmnet: a frame is a 32-bit big-endian length and octets.
    /// TCP is neither encrypted nor authenticated: keep it to addresses that only friends reach.
    #[arg(long, value_name = "PATH|ADDR:PORT", help_heading = PORTS)]
    pub(crate) stream: Vec<String>,

    /// Exchange frames as datagrams on a unix or UDP socket, with one peer; repeatable
    ///
    /// For QEMU's dgram netdevs, and for unixgram clients of vfkit and libkrun. REMOTE is the other
    /// end; without it that is whoever sends first. UDP is neither encrypted nor authenticated.
    #[arg(long, value_name = "LOCAL[=REMOTE]", help_heading = PORTS)]
    pub(crate) dgram: Vec<String>,

    /// Await clients that send frames as sequenced packets (UML's bess); repeatable
    #[arg(long, value_name = "PATH", help_heading = PORTS, hide_short_help = true)]
    pub(crate) seqpacket: Vec<PathBuf>,

    /// UDP address on which cables are awaited
    ///
    /// Default: `[::]:7667`, which takes IPv4 too
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "no_listen", value_parser = address, help_heading = CABLES)]
    pub(crate) listen: Option<SocketAddr>,

    /// Await no cables; this node only dials
    #[arg(long, help_heading = CABLES, hide_short_help = true)]
    pub(crate) no_listen: bool,

    /// Where other hosts reach this node, if not at the addresses of its interfaces; repeatable
    ///
    /// For a node behind a port forward, or one that has a name. It goes into invitations, and to the
    /// other members of the mesh.
    #[arg(long, value_name = "HOST[:PORT]", value_parser = target, help_heading = CABLES)]
    pub(crate) announce: Vec<cable::Target>,

    /// Plug in a tap interface of this host, made when missing (root); repeatable
    #[arg(long, short, value_name = "IF", help_heading = PORTS)]
    pub(crate) tap: Vec<String>,

    /// Plug in the tap, or macvtap, on which this inherited descriptor is open; repeatable
    #[arg(long, value_name = "FD", value_parser = clap::value_parser!(i32).range(3..), help_heading = PORTS, hide_short_help = true)]
    pub(crate) tap_fd: Vec<i32>,

    /// Take plain frames from taps: no segmentation offload, no partial checksums
    #[arg(long, help_heading = PORTS, hide_short_help = true)]
    pub(crate) no_offload: bool,

    /// Repeat every frame to every port and learn nothing
    #[arg(long, short = 'x', help_heading = SWITCHING, hide_short_help = true)]
    pub(crate) hub: bool,

    /// Do not look for loops that somebody else makes by joining two ports
    ///
    /// Otherwise every port sends a small multicast frame (EtherType 0x88b5) every 5 s, and one of two
    /// ports that are joined outside is blocked.
    #[arg(long, help_heading = SWITCHING, hide_short_help = true)]
    pub(crate) no_probes: bool,

    /// Let every port flood as much as it likes
    ///
    /// Otherwise a port may send 1000 broadcasts, 2000 multicasts and 1000 frames to unknown stations
    /// a second, and bring 100 new stations.
    #[arg(long, help_heading = SWITCHING, hide_short_help = true)]
    pub(crate) no_storm_control: bool,

    /// Where this node keeps its key, its cables and whom it trusts
    ///
    /// Default: /var/lib/vdenode/NAME as root, else ~/.local/state/vdenode/NAME
    #[arg(long, value_name = "DIR", help_heading = NODE)]
    pub(crate) state: Option<PathBuf>,

    /// Log more: -v decisions, -vv everything; RUST_LOG overrides
    #[arg(long, short, action = clap::ArgAction::Count, help_heading = NODE)]
    pub(crate) verbose: u8,

    /// Control socket, for vdecable
    ///
    /// Default: /run/vdenode/NAME.ctl as root, else $XDG_RUNTIME_DIR/vdenode/NAME.ctl
    #[arg(long, value_name = "PATH", help_heading = CONTROL, hide_short_help = true)]
    pub(crate) control: Option<PathBuf>,

    /// Let a group change this node by its control socket, by name or number
    #[arg(long, value_name = "GROUP", help_heading = CONTROL, hide_short_help = true)]
    pub(crate) control_group: Option<String>,

    /// Mode of the control socket, in octal [default: 0600, with --control-group 0660]
    #[arg(long, value_name = "OCT", value_parser = octal, help_heading = CONTROL, hide_short_help = true)]
    pub(crate) control_mode: Option<u32>,

    /// Let a group look at this node, and not change it, by a socket of its own
    ///
    /// It lies beside the control socket: NAME.view beside NAME.ctl. vdecable finds it by itself.
    #[arg(long, value_name = "GROUP", help_heading = CONTROL, hide_short_help = true)]
    pub(crate) view_group: Option<String>,

    /// Mode of that socket, in octal: 0666 lets everybody on this host look [default: 0660]
    #[arg(long, value_name = "OCT", value_parser = octal, help_heading = CONTROL, hide_short_help = true)]
    pub(crate) view_mode: Option<u32>,

    #[command(flatten)]
    pub(crate) gateway: GatewayFlags,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "write an address and a port, for example 0.0.0.0:7667 or [::]:7667".to_owned()
    })
}

fn target(text: &str) -> Result<cable::Target, cable::address::ParseTargetError> {
    text.parse()
}

fn octal(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        _ => Err("a mode is an octal number up to 7777, for example 0660".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_short_help_is_a_screen_and_the_long_one_has_every_flag_under_its_heading() {
        use clap::CommandFactory as _;
        let short = Cli::command().term_width(100).render_help().to_string();
        assert!(short.lines().count() <= 40, "it has {} lines", short.lines().count());
        for flag in ["--name", "--sock", "--tap", "--gateway <", "--listen", "--help", "--stream"] {
            assert!(short.contains(flag), "{flag} is not in {short}");
        }
        assert!(!short.contains("--dhcp-option") && short.contains("vdenode --help"));
        let long = Cli::command().term_width(100).render_long_help().to_string();
        for argument in Cli::command().get_arguments() {
            let flag = format!("--{}", argument.get_long().unwrap());
            assert!(long.contains(&flag), "{flag} is not in the long help");
            assert!(argument.get_help_heading().is_some(), "{flag} is under no heading");
        }
    }

    #[test]
    fn modes_are_octal() {
        let cli = Cli::parse_from(["vdenode", "--mode", "0660"]);
        assert_eq!(cli.mode, Some(0o660));
        assert!(Cli::try_parse_from(["vdenode", "--mode", "8"]).is_err());
    }
}
