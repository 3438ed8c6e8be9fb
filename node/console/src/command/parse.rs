//! The arguments of each command, and the bounds that hold on every switch.

use std::num::NonZeroU32;
use std::time::Duration;

use ether::VlanId;

use super::table::Word;
use super::{Account, Command, ConsoleCommand, SwitchCommand};
use crate::number::{decimal, integer, integers, mac, trim_end, trim_start};

/// `None`: the arguments are bad.
pub(super) fn arguments(word: Word, rest: &[u8]) -> Option<Command> {
    let text = || String::from_utf8_lossy(trim_end(rest)).into_owned();
    let console = match word {
        Word::Help => ConsoleCommand::Help { prefix: text() },
        Word::Logout => ConsoleCommand::Logout,
        Word::Shutdown => ConsoleCommand::Shutdown,
        Word::Load => ConsoleCommand::Load { path: text() },
        Word::DebugList => ConsoleCommand::DebugList { prefix: text() },
        Word::DebugAdd => ConsoleCommand::DebugAdd { prefix: text() },
        Word::DebugDel => ConsoleCommand::DebugDel { prefix: text() },
        Word::PluginList => ConsoleCommand::PluginList,
        Word::PluginAdd => ConsoleCommand::PluginAdd,
        Word::PluginDel => ConsoleCommand::PluginDel,
        _ => return switch_command(word, rest).map(Command::Switch),
    };
    Some(Command::Console(console))
}

pub(super) fn switch_command(word: Word, rest: &[u8]) -> Option<SwitchCommand> {
    Some(match word {
        Word::DsShowinfo => SwitchCommand::DsShowinfo,
        Word::Showinfo => SwitchCommand::Showinfo,
        Word::HashShowinfo => SwitchCommand::HashShowinfo,
        Word::HashSetsize => SwitchCommand::HashSetsize(positive(rest)?),
        Word::HashSetgcint => SwitchCommand::HashSetgcint(seconds(rest)?),
        Word::HashSetexpire => SwitchCommand::HashSetexpire(seconds(rest)?),
        Word::HashSetminper => SwitchCommand::HashSetminper(seconds(rest)?),
        Word::HashPrint => SwitchCommand::HashPrint,
        Word::HashFind => hash_find(rest)?,
        Word::FstpShowinfo => SwitchCommand::FstpShowinfo,
        Word::FstpSetfstp => SwitchCommand::FstpSetfstp { on: decimal(rest)? != 0 },
        Word::FstpSetedge => {
            let [vlan, port, edge] = integers(rest)?;
            SwitchCommand::FstpSetedge {
                vlan: vlan_id(vlan, 0, 4094)?,
                port: port_number(port)?,
                edge: edge != 0,
            }
        }
        Word::FstpBonus => {
            let [vlan, port, cost] = integers(rest)?;
            SwitchCommand::FstpBonus {
                vlan: vlan_id(vlan, 0, 4094)?,
                port: port_number(port)?,
                cost,
            }
        }
        Word::FstpPrint => SwitchCommand::FstpPrint(one_vlan(rest)?),
        Word::PortShowinfo => SwitchCommand::PortShowinfo,
        Word::PortSetnumports => SwitchCommand::PortSetnumports(positive(rest)?),
        Word::PortSethub => SwitchCommand::PortSethub { hub: decimal(rest)? != 0 },
        Word::PortSetvlan => {
            let [port, vlan] = integers(rest)?;
            SwitchCommand::PortSetvlan {
                vlan: match vlan {
                    4095 => None,
                    _ => Some(vlan_id(vlan, 0, 4094)?),
                },
                port: port_number(port)?,
            }
        }
        Word::PortCreateauto => SwitchCommand::PortCreateauto,
        Word::PortCreate => {
            SwitchCommand::PortCreate(NonZeroU32::new(port_number(decimal(rest)?)?))
        }
        Word::PortRemove => SwitchCommand::PortRemove(port_number(decimal(rest)?)?),
        Word::PortAllocatable => {
            let [port, value] = integers(rest)?;
            SwitchCommand::PortAllocatable { port: port_number(port)?, allocatable: value != 0 }
        }
        Word::PortSetuser => {
            let (port, user) = account(rest)?;
            SwitchCommand::PortSetuser { port, user }
        }
        Word::PortSetgroup => {
            let (port, group) = account(rest)?;
            SwitchCommand::PortSetgroup { port, group }
        }
        Word::PortEpclose => {
            let [port, endpoint] = integers(rest)?;
            SwitchCommand::PortEpclose {
                port: port_number(port)?,
                endpoint: u32::try_from(endpoint).ok()?,
            }
        }
        Word::PortResetcounter => SwitchCommand::PortResetcounter(one_port(rest)?),
        Word::PortPrint => SwitchCommand::PortPrint(one_port(rest)?),
        Word::PortAllprint => SwitchCommand::PortAllprint(one_port(rest)?),
        Word::VlanCreate => SwitchCommand::VlanCreate(vlan_id(decimal(rest)?, 1, 4093)?),
        Word::VlanRemove => SwitchCommand::VlanRemove(vlan_id(decimal(rest)?, 1, 4094)?),
        Word::VlanAddport => {
            let [vlan, port] = integers(rest)?;
            SwitchCommand::VlanAddport { vlan: vlan_id(vlan, 0, 4093)?, port: port_number(port)? }
        }
        Word::VlanDelport => {
            let [vlan, port] = integers(rest)?;
            SwitchCommand::VlanDelport { vlan: vlan_id(vlan, 0, 4093)?, port: port_number(port)? }
        }
        Word::VlanPrint => SwitchCommand::VlanPrint(one_vlan(rest)?),
        Word::VlanAllprint => SwitchCommand::VlanAllprint(one_vlan(rest)?),
        _ => return None,
    })
}

/// Blanks before a command or an argument are these two, not all that C calls space.
pub(super) fn trim_blanks(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    text
}

fn positive(rest: &[u8]) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(decimal(rest)?).ok()?)
}

fn seconds(rest: &[u8]) -> Option<Duration> {
    let seconds = u32::try_from(decimal(rest)?).ok()?;
    Some(Duration::from_secs(seconds.into()))
}

fn port_number(number: i64) -> Option<u32> {
    u32::try_from(number).ok()
}

/// The bounds differ from command to command, as they do in VDE.
fn vlan_id(number: i64, lowest: u16, highest: u16) -> Option<VlanId> {
    let number = u16::try_from(number).ok()?;
    (lowest..=highest).contains(&number).then_some(VlanId(number))
}

/// An argument that may be missing: `Some(None)`.
fn one_port(rest: &[u8]) -> Option<Option<u32>> {
    if trim_start(rest).is_empty() {
        return Some(None);
    }
    Some(Some(port_number(decimal(rest)?)?))
}

fn one_vlan(rest: &[u8]) -> Option<Option<VlanId>> {
    if trim_start(rest).is_empty() {
        return Some(None);
    }
    Some(Some(vlan_id(decimal(rest)?, 0, 4093)?))
}

fn hash_find(rest: &[u8]) -> Option<SwitchCommand> {
    let (mac, rest) = mac(rest)?;
    let vlan = match trim_start(rest) {
        [] => 0,
        number => decimal(number)?,
    };
    let vlan = vlan_id(vlan, 0, 4094)?;
    Some(SwitchCommand::HashFind { mac, vlan })
}

/// A port and, behind it, all the rest of the line as a name.
fn account(rest: &[u8]) -> Option<(u32, Account)> {
    let (number, _) = integer(rest)?;
    let port = port_number(number)?;
    let rest = trim_start(rest);
    let gap = rest.iter().position(|octet| matches!(octet, b' ' | b'\t'))?;
    let name = trim_end(trim_start(&rest[gap..]));
    if name.is_empty() {
        return None;
    }
    if matches!(name, b"NONE" | b"ANY") {
        return Some((port, Account::Anyone));
    }
    let name = str::from_utf8(name).ok()?.to_owned();
    let digits = name.bytes().all(|octet| octet.is_ascii_digit());
    // The highest number means "nobody" to every system call.
    let number = name.parse().ok().filter(|it| digits && *it != u32::MAX);
    Some((port, Account::Lookup { name, number }))
}
