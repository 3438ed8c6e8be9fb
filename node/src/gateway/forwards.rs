//! The ports of the host that lead to machines: as the operator wants them, kept on disk, and as they
//! are at the moment, when names stand for addresses.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail};
use control::gateway::ForwardView;
use gateway::dhcp::Server;
use gateway::nft::{self, Protocol, Rules};
use gateway::{DomainName, Hostname};
use serde::{Deserialize, Serialize};

/// How many ports may be forwarded: each is two rules that every new connection is compared with.
const MAX_FORWARDS: usize = 1024;

/// A machine as the operator names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Machine {
    Address(Ipv4Addr),
    Name(Hostname),
}

/// A port that shall lead to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Forward {
    /// `tcp` or `udp`.
    protocol: String,
    listen: Option<Ipv4Addr>,
    port: u16,
    to: Machine,
    to_port: u16,
}

/// The host's end of a forward, as typed: `8080` or `192.0.2.1:8080`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outside {
    pub(super) listen: Option<Ipv4Addr>,
    pub(super) port: u16,
}

impl FromStr for Outside {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (listen, port) = match text.rsplit_once(':') {
            Some((listen, port)) => {
                let wrong = || format!("{listen:?} is no IPv4 address");
                (Some(listen.parse().with_context(wrong)?), port)
            }
            None => (None, text),
        };
        Ok(Self { listen, port: port_number(port)? })
    }
}

fn port_number(text: &str) -> anyhow::Result<u16> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => bail!("{text:?} is no port; use 1 to 65535"),
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl Machine {
    /// `vm1`, `vm1.` and the domain, or an address.
    fn parse(text: &str, domain: &DomainName) -> anyhow::Result<Self> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let in_domain = text.strip_suffix(domain.as_str()).and_then(|text| text.strip_suffix('.'));
        Ok(Self::Name(in_domain.unwrap_or(text).parse()?))
    }

    fn address(&self, leases: &Server) -> Option<Ipv4Addr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name(name) => leases.address_of(name),
        }
    }
}

impl Forward {
    /// As typed: protocol, the host's end, `MACHINE:PORT`.
    pub(super) fn parse(
        protocol: &str,
        outside: &str,
        to: &str,
        domain: &DomainName,
    ) -> anyhow::Result<Self> {
        let protocol: Protocol = protocol.parse()?;
        let Outside { listen, port } = outside.parse()?;
        let (machine, to_port) =
            to.rsplit_once(':').with_context(|| format!("{to:?} is not MACHINE:PORT"))?;
        Ok(Self {
            protocol: protocol.to_string(),
            listen,
            port,
            to: Machine::parse(machine, domain)?,
            to_port: port_number(to_port)?,
        })
    }

    fn protocol(&self) -> Option<Protocol> {
        self.protocol.parse().ok()
    }

    /// As the kernel can be told, while the machine has an address.
    fn now(&self, leases: &Server) -> Option<nft::Forward> {
        Some(nft::Forward {
            protocol: self.protocol()?,
            listen: self.listen,
            port: self.port,
            to: self.to.address(leases)?,
            to_port: self.to_port,
        })
    }

    fn clashes(&self, other: &Self) -> bool {
        let everywhere = self.listen.is_none() || other.listen.is_none();
        self.protocol == other.protocol
            && self.port == other.port
            && (everywhere || self.listen == other.listen)
    }

    fn view(&self, leases: &Server) -> ForwardView {
        ForwardView {
            protocol: self.protocol.clone(),
            listen: self.listen.map(|listen| listen.to_string()),
            port: self.port,
            to: self.to.to_string(),
            to_port: self.to_port,
            address: self.to.address(leases).map(|address| address.to_string()),
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Forwards {
    path: PathBuf,
    list: Vec<Forward>,
}

impl Forwards {
    /// Those that were wanted when the node ended.
    pub(super) fn load(state: &Path) -> anyhow::Result<Self> {
        let path = state.join("forwards.json");
        let list = cable::store::load(&path)?.unwrap_or_default();
        Ok(Self { path, list })
    }

    /// Rules with the ports that lead somewhere now.
    pub(super) fn apply(&self, mut rules: Rules, leases: &Server) -> Rules {
        for forward in self.list.iter().filter_map(|forward| forward.now(leases)) {
            if let Err(err) = rules.add_forward(forward) {
                tracing::debug!(%err, "a port is not forwarded");
            }
        }
        rules
    }

    pub(super) fn views(&self, leases: &Server) -> Vec<ForwardView> {
        self.list.iter().map(|forward| forward.view(leases)).collect()
    }

    /// Adds one. `rules` have no forwards; they only judge this one.
    pub(super) fn add(
        &mut self,
        forward: Forward,
        mut rules: Rules,
        leases: &Server,
    ) -> anyhow::Result<ForwardView> {
        if let Some(other) = self.list.iter().find(|other| other.clashes(&forward)) {
            let Forward { protocol, port, to, to_port, .. } = other;
            bail!("{protocol} port {port} already leads to {to}:{to_port}; remove that first");
        }
        if self.list.len() >= MAX_FORWARDS {
            bail!("there are already {MAX_FORWARDS}");
        }
        if let Some(now) = forward.now(leases) {
            rules.add_forward(now)?;
        }
        let view = forward.view(leases);
        let before = self.list.clone();
        self.list.push(forward);
        self.list.sort_by_key(|forward| (forward.protocol.clone(), forward.port, forward.listen));
        self.save_or(before)?;
        Ok(view)
    }

    /// Removes one, or those of a port at every address. Whether there was any.
    pub(super) fn remove(&mut self, protocol: Protocol, outside: Outside) -> anyhow::Result<bool> {
        let before = self.list.clone();
        self.list.retain(|forward| {
            let meant = outside.listen.is_none() || forward.listen == outside.listen;
            !(forward.protocol() == Some(protocol) && forward.port == outside.port && meant)
        });
        let removed = self.list.len() < before.len();
        if removed {
            self.save_or(before)?;
        }
        Ok(removed)
    }

    /// What is not on disk is not so.
    fn save_or(&mut self, before: Vec<Forward>) -> anyhow::Result<()> {
        let saved = cable::store::save(&self.path, &self.list);
        if saved.is_err() {
            self.list = before;
        }
        Ok(saved?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: [&str; 3]) -> anyhow::Result<Forward> {
        let domain = "vde.internal".parse().unwrap();
        Forward::parse(words[0], words[1], words[2], &domain)
    }

    #[test]
    fn a_forward_is_typed_as_protocol_port_and_machine() {
        let forward = parse(["tcp", "192.0.2.1:8080", "vm1.vde.internal:80"]).unwrap();
        assert_eq!(forward.listen, Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!((forward.port, forward.to_port), (8080, 80));
        assert_eq!(forward.to, Machine::Name("vm1".parse().unwrap()));
        let forward = parse(["udp", "53", "10.77.0.9:5353"]).unwrap();
        assert_eq!(forward.to, Machine::Address(Ipv4Addr::new(10, 77, 0, 9)));
        for words in [
            ["sctp", "80", "vm1:80"],
            ["tcp", "0", "vm1:80"],
            ["tcp", "80", "vm1"],
            ["tcp", "80", "vm1:70000"],
            ["tcp", "x:80", "vm1:80"],
            ["tcp", "80", "-x:80"],
        ] {
            assert!(parse(words).is_err(), "{words:?} was accepted");
        }
    }

    #[test]
    fn two_forwards_of_a_port_clash_unless_at_different_addresses() {
        let anywhere = parse(["tcp", "80", "vm1:80"]).unwrap();
        let here = parse(["tcp", "192.0.2.1:80", "vm1:80"]).unwrap();
        let there = parse(["tcp", "192.0.2.2:80", "vm2:80"]).unwrap();
        assert!(anywhere.clashes(&here) && here.clashes(&anywhere));
        assert!(!here.clashes(&there));
        assert!(!anywhere.clashes(&parse(["udp", "80", "vm1:80"]).unwrap()));
    }
}
