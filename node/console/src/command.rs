//! One line of the console as a typed command.
//!
//! A line means the first command of the table whose whole path it begins with; the rest are its
//! arguments, read as C's `atoi` and `scanf` read them. There are no abbreviations. What can be
//! wrong about a line by itself is found here; whether a port exists, or is within the number of
//! ports, only the switch knows.
//!
//! Where VDE takes a number without digits for 0 (`port/sethub` turns the hub off, `port/create x`
//! makes a port, `vlan/print x` prints VLAN 0), the line is refused with [`Errno::EINVAL`]: a slip
//! must not change the switch.

mod parse;
mod table;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::time::Duration;

use ether::{MacAddr, VlanId};

use crate::errno::Errno;
use crate::reply::Reply;
use crate::view::NO_SPANNING_TREE;
use parse::{arguments, trim_blanks};
use table::{Block, TABLE};

/// A command, by who carries it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// By the [`Session`](crate::Session).
    Console(ConsoleCommand),
    /// By the switch.
    Switch(SwitchCommand),
}

/// What concerns the console alone. `prefix` limits a list to the paths that begin with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleCommand {
    /// `help [prefix]`
    Help {
        /// Empty: all.
        prefix: String,
    },
    /// `logout`
    Logout,
    /// `shutdown`
    Shutdown,
    /// `load path`
    Load {
        /// As it was written, relative to the switch's working directory.
        path: String,
    },
    /// `debug/list [prefix]`
    DebugList {
        /// Empty: all.
        prefix: String,
    },
    /// `debug/add [prefix]`
    DebugAdd {
        /// Empty: all.
        prefix: String,
    },
    /// `debug/del [prefix]`
    DebugDel {
        /// Empty: all.
        prefix: String,
    },
    /// `plugin/list [prefix]`: there are none.
    PluginList,
    /// `plugin/add library`: always refused, for it would run foreign code inside the switch.
    PluginAdd,
    /// `plugin/del name`: there are none.
    PluginDel,
}

/// What the switch carries out.
///
/// Each variant says which [`view`](crate::view) its answer is made of
/// ([`Reply::data`]; without one [`Reply::success`]), and which errors VDE answers with
/// ([`SwitchCommand::failure`] puts them into the right shape). Common to all with a port: `EINVAL` when it is not below the number of ports, then `ENXIO` when it does not
/// exist; `ENXIO` for a VLAN that does not exist. Numbers that no switch can have were refused
/// before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchCommand {
    /// `ds/showinfo`: one [`DataSocketView`](crate::view::DataSocketView).
    DsShowinfo,
    /// `showinfo`: one [`SwitchView`](crate::view::SwitchView).
    Showinfo,
    /// `hash/showinfo`: one [`HashView`](crate::view::HashView).
    HashShowinfo,
    /// `hash/setsize N`: entries; VDE rounds up to a power of two and forgets all addresses.
    HashSetsize(NonZeroU32),
    /// `hash/setgcint N`: whole seconds, from 0.
    HashSetgcint(Duration),
    /// `hash/setexpire N`: whole seconds, from 0.
    HashSetexpire(Duration),
    /// `hash/setminper N`: whole seconds, from 0.
    HashSetminper(Duration),
    /// `hash/print`: a [`HashEntryView`](crate::view::HashEntryView) for each entry.
    HashPrint,
    /// `hash/find MAC [VLAN]`: one [`HashEntryView`](crate::view::HashEntryView); `ENODEV` if there
    /// is none.
    HashFind {
        /// The station.
        mac: MacAddr,
        /// 0 when none was named.
        vlan: VlanId,
    },
    /// `fstp/showinfo`: one [`FstpView`](crate::view::FstpView).
    FstpShowinfo,
    /// `fstp/setfstp 1` or `0`: see [`SwitchCommand::fstp_reply`].
    FstpSetfstp {
        /// Whether it shall be on.
        on: bool,
    },
    /// `fstp/setedge VLAN PORT 1/0`: see [`SwitchCommand::fstp_reply`]. `EINVAL` and `ENXIO` come
    /// first; VDE does not ask whether the port exists.
    FstpSetedge {
        /// 0 to 4094.
        vlan: VlanId,
        /// The port.
        port: u32,
        /// Whether a host is behind it.
        edge: bool,
    },
    /// `fstp/bonus VLAN PORT COST`: as [`FstpSetedge`](Self::FstpSetedge).
    FstpBonus {
        /// 0 to 4094.
        vlan: VlanId,
        /// The port.
        port: u32,
        /// How much cheaper it gets.
        cost: i64,
    },
    /// `fstp/print [VLAN]`: an [`FstpVlanView`](crate::view::FstpVlanView) for each VLAN, or this
    /// one.
    FstpPrint(Option<VlanId>),
    /// `port/showinfo`: one [`PortsView`](crate::view::PortsView).
    PortShowinfo,
    /// `port/setnumports N`: `EADDRINUSE` while there is a port beyond it.
    PortSetnumports(NonZeroU32),
    /// `port/sethub 1` or `0`.
    PortSethub {
        /// Whether to flood every frame.
        hub: bool,
    },
    /// `port/setvlan N VLAN`: the VLAN of frames without a tag.
    PortSetvlan {
        /// The port.
        port: u32,
        /// `None`, written 4095: takes and sends no frame without a tag.
        vlan: Option<VlanId>,
    },
    /// `port/createauto`: the lowest free port from 1 on; one
    /// [`CreatedPort`](crate::view::CreatedPort); `ENOSPC`. Inactive and not allocatable.
    PortCreateauto,
    /// `port/create N`: `EEXIST`. Inactive and not allocatable. `None`, written 0: like
    /// [`PortCreateauto`](Self::PortCreateauto), but without telling which (as VDE).
    PortCreate(Option<NonZeroU32>),
    /// `port/remove N`: `EADDRINUSE` while it has a plug.
    PortRemove(u32),
    /// `port/allocatable N 0/1`.
    PortAllocatable {
        /// The port.
        port: u32,
        /// Whether a plug that names no port may get it.
        allocatable: bool,
    },
    /// `port/setuser N user`: `EINVAL` for an unknown user.
    PortSetuser {
        /// The port.
        port: u32,
        /// Who may plug in.
        user: Account,
    },
    /// `port/setgroup N group`: `EINVAL` for an unknown group.
    PortSetgroup {
        /// The port.
        port: u32,
        /// Who may plug in.
        group: Account,
    },
    /// `port/epclose N ID`: disconnects a plug; `ENXIO` if it is not there.
    PortEpclose {
        /// The port.
        port: u32,
        /// The number that `port/print` shows.
        endpoint: u32,
    },
    /// `port/resetcounter [N]`: of all ports, or this one; one that does not exist is no error.
    PortResetcounter(Option<u32>),
    /// `port/print [N]`: a [`PortView`](crate::view::PortView) for each active port, or for this
    /// one (`ENXIO` if it is not active).
    PortPrint(Option<u32>),
    /// `port/allprint [N]`: the same with inactive ports.
    PortAllprint(Option<u32>),
    /// `vlan/create N`, 1 to 4093: `EEXIST`.
    VlanCreate(VlanId),
    /// `vlan/remove N`, 1 to 4094: `EADDRINUSE` while a port belongs to it.
    VlanRemove(VlanId),
    /// `vlan/addport VLAN PORT`: its frames carry a tag on this port. No error for a port whose
    /// untagged VLAN it is, nor for a member.
    VlanAddport {
        /// 0 to 4093.
        vlan: VlanId,
        /// The port.
        port: u32,
    },
    /// `vlan/delport VLAN PORT`: `EADDRINUSE` when it is the port's untagged VLAN. No error for a
    /// port that is no member.
    VlanDelport {
        /// 0 to 4093.
        vlan: VlanId,
        /// The port.
        port: u32,
    },
    /// `vlan/print [N]`: a [`VlanView`](crate::view::VlanView) with the active ports for each VLAN,
    /// or for this one.
    VlanPrint(Option<VlanId>),
    /// `vlan/allprint [N]`: the same with all ports.
    VlanAllprint(Option<VlanId>),
}

/// Who may use a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// `NONE` or `ANY`: everyone. VDE looks for a user of that name first.
    Anyone,
    /// The account of this name, or, when there is none, of this number.
    Lookup {
        /// As it was written, without blanks at the end.
        name: String,
        /// The name, if it is made of digits.
        number: Option<u32>,
    },
}

/// Why a line is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{errno}")]
pub struct Refusal {
    /// [`Errno::ENOSYS`] for an unknown command, [`Errno::EINVAL`] for its arguments.
    pub errno: Errno,
    block: bool,
}

impl Refusal {
    /// The answer, with the empty block that some commands send first.
    pub const fn reply(self) -> Reply {
        failure(self.errno, self.block)
    }
}

const fn failure(errno: Errno, block: bool) -> Reply {
    if block { Reply::empty().but(errno) } else { Reply::failure(errno) }
}

impl SwitchCommand {
    /// The answer when the switch cannot carry it out, in the shape that VDE gives it: a command
    /// that shows something sends an empty block before the code.
    pub const fn failure(&self, errno: Errno) -> Reply {
        let block = matches!(
            self,
            Self::DsShowinfo
                | Self::Showinfo
                | Self::HashShowinfo
                | Self::HashPrint
                | Self::HashFind { .. }
                | Self::FstpShowinfo
                | Self::FstpSetfstp { .. }
                | Self::FstpPrint(_)
                | Self::PortShowinfo
                | Self::PortCreateauto
                | Self::PortPrint(_)
                | Self::PortAllprint(_)
                | Self::VlanPrint(_)
                | Self::VlanAllprint(_)
        );
        failure(errno, block)
    }

    /// What a switch without a spanning tree answers to `fstp/setfstp`, `fstp/setedge` and
    /// `fstp/bonus` once their VLAN and port have been found good; `None` for other commands.
    ///
    /// Turning it off succeeds, for it is off. The rest is refused with [`Errno::EOPNOTSUPP`] and
    /// the reason, where VDE would start its own dialect.
    pub fn fstp_reply(&self) -> Option<Reply> {
        match self {
            Self::FstpSetfstp { on: false } => Some(Reply::empty()),
            Self::FstpSetfstp { on: true } => {
                Some(Reply::data([NO_SPANNING_TREE]).but(Errno::EOPNOTSUPP))
            }
            Self::FstpSetedge { .. } | Self::FstpBonus { .. } => {
                Some(Reply::failure(Errno::EOPNOTSUPP).because(NO_SPANNING_TREE))
            }
            _ => None,
        }
    }
}

impl Command {
    /// Reads one line, without its line feed. `None`: a blank line or a comment (`#`).
    ///
    /// Blanks before the command, a carriage return at the end and everything from a NUL on are
    /// ignored.
    ///
    /// # Errors
    /// [`Refusal`] for an unknown command and for arguments that no switch can accept.
    pub fn parse(line: &[u8]) -> Result<Option<Self>, Refusal> {
        let line = line.split(|octet| *octet == 0).next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = trim_blanks(line);
        if line.is_empty() || line.starts_with(b"#") {
            return Ok(None);
        }
        for row in &TABLE {
            if let Some((word, block)) = row.word
                && let Some(rest) = line.strip_prefix(row.path.as_bytes())
            {
                return match arguments(word, trim_blanks(rest)) {
                    Some(command) => Ok(Some(command)),
                    None => Err(Refusal { errno: Errno::EINVAL, block: block == Block::Yes }),
                };
            }
        }
        Err(Refusal { errno: Errno::ENOSYS, block: false })
    }
}

/// The answer to `help`: the rows whose path begins with `prefix`.
pub(crate) fn help(prefix: &str) -> Reply {
    let row = |path, syntax, help| format!("{path:<18} {syntax:<15} {help}");
    let head = [
        row("COMMAND PATH", "SYNTAX", "HELP"),
        row("------------", "--------------", "------------"),
    ];
    let rows = TABLE.iter().filter(|it| it.path.starts_with(prefix));
    Reply::data(head.into_iter().chain(rows.map(|it| row(it.path, it.syntax, it.help))))
}
