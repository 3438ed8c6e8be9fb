//! The flags and commands of `vdecable`, exactly as typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::wire::WireArguments;

/// Plugs cables between nodes, and shows what a node knows.
#[derive(Debug, Parser)]
#[command(name = "vdecable", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// The node to talk to, by name
    #[arg(
        long,
        value_name = "NAME",
        default_value = "default",
        global = true,
        conflicts_with = "control"
    )]
    pub(crate) node: String,

    /// The node to talk to, by its control socket
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) control: Option<PathBuf>,

    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Invite another host into this one's mesh: prints the line for `vdecable join` there
    ///
    /// The line alone goes to standard output, what to do with it to standard error.
    Invite {
        /// What the new member will be called; as it calls itself unless given
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// For how long the invitation can be used: 90s, 15min, 24h, 7d
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = span)]
        expires: Duration,
        /// For how long the membership lasts; for ever unless given
        #[arg(long, value_name = "TIME", value_parser = span)]
        lasts: Option<Duration>,
        /// What the new member may do beside carrying frames: gateway, admin; repeatable
        #[arg(long, value_name = "ROLE", value_delimiter = ',')]
        role: Vec<String>,
    },
    /// Join the mesh of an invitation, and plug in a cable to the host that gave it
    ///
    /// Where other people use this host, let it read the line: `vdecable join -`. They see in the list
    /// of processes what is typed behind a command, and whoever has the line before it is used can use it.
    Join {
        /// The line that `vdecable invite` printed on the other host; `-` reads it from standard input
        token: String,
        /// What to be called there; the node's name, or the host's, unless given
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// How long to wait for the cable to come up; the node goes on trying afterwards
        #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
        wait: Duration,
    },
    /// Show the invitations, and who came with one
    Invites,
    /// Take an invitation back
    Uninvite {
        /// As `vdecable invites` shows it
        id: String,
    },
    /// Put a member out of the mesh: its cables are cut and its key is refused everywhere
    Revoke {
        /// Its name or key, as `vdecable nodes` shows it
        member: String,
        /// Also those whom it let in, and whom they did; they stay members otherwise
        #[arg(long)]
        with_admitted: bool,
    },
    /// Leave the mesh: this node is alone in one of its own again, its cables to members are pulled out
    Leave {
        /// Also as the only administrator: the others can let nobody in or out any more
        #[arg(long)]
        force: bool,
    },
    /// Make a new key for this node; it stays in the mesh
    RotateKey,
    /// Print this node's key
    Id,
    /// Let the holder of a key in here, without a mesh; do so on both ends of a cable
    Trust {
        /// The line that `vdecable id` prints on the other host
        key: String,
        /// What to call that host here
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Let the holder of a key in no more, and cut its cables
    Untrust {
        /// The key, or the name given with `trust`
        key: String,
    },
    /// Plug in a cable to another node; it is kept, and dialled again for ever
    Connect {
        /// A member of the mesh by name; or HOST, HOST:PORT or `[IPV6]:PORT`, port 7667 unless given;
        /// or USER@HOST, to let that host join by ssh first
        #[arg(value_name = "NODE|HOST[:PORT]|USER@HOST")]
        address: String,
        /// How ssh is called for USER@HOST, with its options
        #[arg(long, value_name = "COMMAND", default_value = "ssh")]
        ssh: String,
        /// How vdecable is called there, with its options, for example `vdecable --node NAME`
        #[arg(long, value_name = "COMMAND", default_value = "vdecable")]
        remote: String,
        /// Forget the cable when the node ends
        #[arg(long)]
        once: bool,
        /// Also beside one that the member has dialled
        #[arg(long)]
        parallel: bool,
        /// How long to wait for it to come up; the node goes on trying afterwards
        #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
        wait: Duration,
    },
    /// Pull a cable out and forget it, on both ends
    ///
    /// The id of a cable that is kept stays the same; one that a peer dials gets another when the node
    /// starts anew.
    Disconnect {
        /// Id (c1), address, name or key of the peer
        cable: String,
    },
    /// Show the node, its cables, and the keys that were refused
    Status,
    /// Show every node of the network, how far it is, and why it is out of reach
    Nodes,
    /// Show every cable: its path, its traffic, whether frames take it, and why not
    Cables,
    /// Show every port with its counters
    Ports,
    /// Show the addresses of machines, at the node that is the gateway
    Leases,
    /// Keep an address for a machine, or forget one
    #[command(subcommand)]
    Lease(LeaseCommand),
    /// Show the ports of the gateway's host that lead to machines, or change one
    Forward {
        /// `tcp` or `udp`
        #[arg(requires = "port")]
        protocol: Option<String>,
        /// The host's port: PORT, or ADDRESS:PORT for one of its addresses
        port: Option<String>,
        /// Where it leads: MACHINE:PORT, the machine by name or address
        #[arg(conflicts_with = "remove")]
        to: Option<String>,
        /// Let it lead there no more
        #[arg(long, requires = "port")]
        remove: bool,
    },
    /// Show every MAC address known in the whole network, and where it is
    Macs {
        /// Only those behind this node, by name or key
        #[arg(long, value_name = "NODE")]
        at: Option<String>,
        /// Only those in this VLAN; 0 is untagged
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=4094))]
        vlan: Option<u16>,
    },
    /// Show where a station or a node is, and every cable on the way there
    Trace {
        /// A MAC address, or a node's name or key
        #[arg(value_name = "MAC|NODE")]
        target: String,
        /// Only in this VLAN, when it is a station; 0 is untagged
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=4094))]
        vlan: Option<u16>,
    },
    /// Measure the way to a node, as frames travel it: round trips, loss, cables on the way
    ///
    /// A MAC address stands for the node that the station is behind; the station itself is not asked.
    /// Ends with 0 when an answer came, with 1 when none did.
    Ping {
        /// A node's name or key, or a MAC address
        #[arg(value_name = "NODE|MAC")]
        target: String,
        /// How many requests; 0 goes on until interrupted
        #[arg(short, long, value_name = "N", default_value = "5",
              value_parser = clap::value_parser!(u32).range(0..=100_000))]
        count: u32,
        /// From one request to the next, 0.01 at least; one is not sent before the answer to the one
        /// before came or is given up
        #[arg(short, long, value_name = "SECONDS", default_value = "0.5", value_parser = interval)]
        interval: Duration,
        /// How long to wait for an answer, up to 8
        #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = patience)]
        wait: Duration,
        /// How long a request and its answer are, as frames are counted
        #[arg(short, long, value_name = "OCTETS", default_value = "64",
              value_parser = clap::value_parser!(u16).range(16..=9234))]
        size: u16,
        /// Only in this VLAN, when it is a station; 0 is untagged
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=4094))]
        vlan: Option<u16>,
    },
    /// Show what happens, as it happens, until interrupted
    ///
    /// Cables and nodes that come and go, loops, duplicate stations. Ends with 3 when the node ends.
    Events {
        /// Show so many of the latest events first; the node keeps 100
        #[arg(long, value_name = "N", default_value = "0")]
        last: usize,
        /// Only those of --last: do not wait for more
        #[arg(long)]
        no_follow: bool,
    },
    /// Make the link to a guest or another node worse, or show what was made of it
    #[command(after_long_help = crate::wire::help())]
    Wire(Box<WireArguments>),
    /// Be a plug: frames on standard input and output, in VDE's stream form
    ///
    /// For dpipe, ssh and cmd://, as vde_plug is. Needs no node of ours: any VDE switch will do.
    Plug {
        /// The switch's directory; `SOCK[N]` asks for port N; default as libvdeplug looks for one
        sock: Option<String>,
        /// What to call this plug in the switch's list of ports
        #[arg(long, value_name = "TEXT", default_value = "vdecable plug")]
        descr: String,
        /// The longest frame to print, in octets; VDE 2 falls out of step above the default
        #[arg(long, value_name = "OCTETS", default_value = "1521",
              value_parser = clap::value_parser!(u16).range(60..=9236))]
        max_frame: u16,
    },
}

/// What is done to one address.
#[derive(Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// Keep an address for a machine, from its next request on
    Add {
        /// In the gateway's subnet
        address: String,
        /// The machine's MAC address
        mac: String,
        /// What to call it, whatever it calls itself
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Keep an address no more; of one that is not kept, forget the lease
    Remove {
        /// As `leases` shows it
        address: String,
    },
}

fn seconds(text: &str) -> Result<Duration, String> {
    seconds_within(text, 0.0, 3600.0)
}

fn interval(text: &str) -> Result<Duration, String> {
    seconds_within(text, 0.01, 3600.0)
}

fn patience(text: &str) -> Result<Duration, String> {
    seconds_within(text, 0.001, 8.0)
}

fn seconds_within(text: &str, least: f64, most: f64) -> Result<Duration, String> {
    let wrong = || format!("seconds are a number from {least} to {most} here");
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if (least..=most).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(wrong())
    }
}

/// A number with a unit: seconds, minutes, hours, days.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number and a unit: 90s, 15min, 24h or 7d".to_owned();
    let (number, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).filter(|n| *n > 0).map(Duration::from_secs).ok_or_else(wrong)
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
    fn a_time_has_a_unit() {
        assert_eq!(span("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(span("15min"), Ok(Duration::from_secs(900)));
        for wrong in ["", "24", "h", "0s", "1w", "-1h", "99999999999999999999d"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
