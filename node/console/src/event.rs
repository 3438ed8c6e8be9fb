//! Asynchronous lines of a management session: what happened, and which sessions want to know.
//!
//! A line is `3`, a tag of three octal digits, the path of its category and a text. `debug/list`
//! shows the categories, `debug/add` and `debug/del` subscribe a session by the beginning of a path.

use std::fmt;

use ether::{MacAddr, VlanId};

use crate::errno::Errno;
use crate::reply::Reply;
use crate::view::Printable;

/// A kind of event.
struct Category {
    path: &'static str,
    /// Programs tell events apart by it.
    tag: u16,
    help: &'static str,
}

const fn category(path: &'static str, tag: u16, help: &'static str) -> Category {
    Category { path, tag, help }
}

/// In the order in which `debug/list` prints them. Those of the spanning tree can be subscribed to,
/// as scripts do, and never occur.
const CATEGORIES: [Category; 11] = [
    category("hash/+", 0o011, "hash: new element"),
    category("hash/-", 0o012, "hash: discarded element"),
    category("fstp/status", 0o044, "fstp: status change"),
    category("fstp/root", 0o045, "fstp: rootswitch/port change"),
    category("fstp/+", 0o041, "fstp: port becomes active"),
    category("fstp/-", 0o042, "fstp: port becomes inactive"),
    category("port/+", 0o021, "new port"),
    category("port/-", 0o022, "closed port"),
    category("port/descr", 0o023, "set port description"),
    category("port/ep/+", 0o031, "new endpoint"),
    category("port/ep/-", 0o032, "closed endpoint"),
];

/// Categories that VDE keeps for plugins: no session can have them, but `debug/del` knows them.
const HIDDEN: [&str; 5] = ["packet/in", "packet/out", "mgmt/+", "mgmt/-", "sig/hup"];

/// The lines above the table of `debug/list`.
const HEAD_LEN: usize = 2;

/// Something happened in the switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A port came to be, with its first plug or by `port/create`.
    PortOpened {
        /// Its number.
        port: u32,
    },
    /// The last plug left a port.
    PortClosed {
        /// Its number.
        port: u32,
    },
    /// A plug said what it is, if only with an empty text.
    Described {
        /// The port it is on.
        port: u32,
        /// Its number, as `port/print` shows it.
        endpoint: u32,
        /// What it said.
        description: String,
    },
    /// A plug came.
    EndpointOpened {
        /// The port it is on.
        port: u32,
        /// Its number, as `port/print` shows it.
        endpoint: u32,
    },
    /// A plug left.
    EndpointClosed {
        /// The port it was on.
        port: u32,
        /// Its number.
        endpoint: u32,
    },
    /// An address was learned.
    Learned {
        /// The station.
        mac: MacAddr,
        /// Its VLAN.
        vlan: VlanId,
        /// The port behind which it is.
        port: u32,
    },
    /// An address was forgotten.
    Forgotten {
        /// The station.
        mac: MacAddr,
        /// Its VLAN.
        vlan: VlanId,
        /// The port behind which it was.
        port: u32,
    },
}

impl Event {
    fn category(&self) -> usize {
        let path = match self {
            Self::Learned { .. } => "hash/+",
            Self::Forgotten { .. } => "hash/-",
            Self::PortOpened { .. } => "port/+",
            Self::PortClosed { .. } => "port/-",
            Self::Described { .. } => "port/descr",
            Self::EndpointOpened { .. } => "port/ep/+",
            Self::EndpointClosed { .. } => "port/ep/-",
        };
        CATEGORIES
            .iter()
            .position(|category| category.path == path)
            .expect("every event has a category")
    }
}

/// The whole line, without the line feed.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Category { path, tag, .. } = CATEGORIES[self.category()];
        write!(f, "3{tag:03o} {path} ")?;
        match self {
            Self::PortOpened { port } | Self::PortClosed { port } => write!(f, "{port:02}"),
            Self::EndpointOpened { port, endpoint } | Self::EndpointClosed { port, endpoint } => {
                write!(f, "Port {port:02} FD {endpoint:2}")
            }
            Self::Described { port, endpoint, description } => {
                let description = Printable(description);
                write!(f, "Port {port:02} FD {endpoint:2} -> \"{description}\"")
            }
            Self::Learned { mac, vlan, port } | Self::Forgotten { mac, vlan, port } => {
                // The low octet first: VLAN 5 is 05:00.
                let [low, high] = vlan.0.to_le_bytes();
                write!(f, "{mac} VLAN {low:02x}:{high:02x} Port {port}")
            }
        }
    }
}

/// The categories that one session wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Subscriptions(pub(crate) u16);

impl Subscriptions {
    /// Whether events of this kind are wanted.
    pub fn wants(self, event: &Event) -> bool {
        self.has(event.category())
    }

    /// Subscribes to every category whose path begins with `prefix`.
    ///
    /// # Errors
    /// [`Errno::EINVAL`] when there is none, [`Errno::EEXIST`] when all were there already.
    pub fn add(&mut self, prefix: &str) -> Result<(), Errno> {
        let matching = matching(prefix);
        if matching == 0 {
            return Err(Errno::EINVAL);
        }
        let before = self.0;
        self.0 |= matching;
        if self.0 == before {
            return Err(Errno::EEXIST);
        }
        Ok(())
    }

    /// Unsubscribes from every category whose path begins with `prefix`.
    ///
    /// # Errors
    /// [`Errno::EINVAL`] when there is none, [`Errno::ENOENT`] when none was subscribed to.
    pub fn remove(&mut self, prefix: &str) -> Result<(), Errno> {
        let matching = matching(prefix);
        if matching == 0 && !HIDDEN.iter().any(|path| path.starts_with(prefix)) {
            return Err(Errno::EINVAL);
        }
        if self.0 & matching == 0 {
            return Err(Errno::ENOENT);
        }
        self.0 &= !matching;
        Ok(())
    }

    /// The table of `debug/list`, limited to the paths that begin with `prefix`.
    pub fn list(self, prefix: &str) -> Reply {
        let head: [String; HEAD_LEN] = [
            row("CATEGORY", "TAG", "STATUS", "HELP"),
            row("------------", "---", "------", "----"),
        ];
        let mut rows = Vec::from(head);
        for (index, category) in CATEGORIES.iter().enumerate() {
            if category.path.starts_with(prefix) {
                let status = if self.has(index) { "ON" } else { "OFF" };
                let tag = format!("{:03o}", category.tag);
                rows.push(row(category.path, &tag, status, category.help));
            }
        }
        let empty = rows.len() == HEAD_LEN;
        let reply = Reply::data(rows);
        if empty { reply.but(Errno::ENOENT) } else { reply }
    }

    const fn has(self, index: usize) -> bool {
        self.0 & (1 << index) != 0
    }
}

fn row(path: &str, tag: &str, status: &str, help: &str) -> String {
    format!("{path:<22} {tag:<3} {status:<6} {help}")
}

fn matching(prefix: &str) -> u16 {
    let mut bits = 0;
    for (index, category) in CATEGORIES.iter().enumerate() {
        if category.path.starts_with(prefix) {
            bits |= 1 << index;
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);

    #[test]
    fn lines_are_those_of_the_recorded_switch() {
        let recorded = include_str!("../tests/golden/events.txt");
        let events = [
            Event::PortOpened { port: 1 },
            Event::EndpointOpened { port: 1, endpoint: 6 },
            Event::Described { port: 1, endpoint: 6, description: "alpha".to_owned() },
            Event::EndpointOpened { port: 12, endpoint: 10 },
            Event::Described { port: 12, endpoint: 8, description: String::new() },
            Event::Learned { mac: STATION, vlan: VlanId(5), port: 1 },
            Event::Forgotten { mac: STATION, vlan: VlanId(5), port: 1 },
            Event::EndpointClosed { port: 12, endpoint: 8 },
            Event::PortClosed { port: 12 },
        ];
        let lines: Vec<_> = events.iter().map(Event::to_string).collect();
        assert_eq!(lines, recorded.lines().collect::<Vec<_>>());
    }

    #[test]
    fn a_session_gets_what_it_subscribed_to() {
        let mut wanted = Subscriptions::default();
        let opened = Event::PortOpened { port: 1 };
        assert!(!wanted.wants(&opened));
        assert_eq!(wanted.add("port/+"), Ok(()));
        assert!(wanted.wants(&opened));
        assert!(!wanted.wants(&Event::PortClosed { port: 1 }));
        assert_eq!(wanted.remove(""), Ok(()));
        assert_eq!(wanted, Subscriptions::default());
    }
}
