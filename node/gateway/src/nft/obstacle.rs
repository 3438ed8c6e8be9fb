//! Other firewalls on the host that drop what a gateway forwards, and the command that helps.
//!
//! Reads what `nft -j list chains` and `nft -j list table` print (libnftables-json(5)). Rules that
//! iptables made are in there too. The whole ruleset is not asked for: of a table that has an owner,
//! as ours has, nftables 1.0.6 prints half an object, and nothing behind it.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::{InterfaceName, TableName};

/// The family of a table that sees forwarded IP packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both.
    Inet,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
        })
    }
}

/// What of machines' packets a chain sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Those that go through the host.
    Forward,
    /// Those that are for the host.
    Input,
}

impl Hook {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Input => "input",
        }
    }
}

/// Whose chain it is, as far as one can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropper {
    /// Docker, which leaves the chain `DOCKER-USER` to others.
    Docker,
    /// ufw.
    Ufw,
    /// firewalld.
    Firewalld,
    /// Somebody.
    Unknown,
}

/// A chain that drops packets it does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// What it sees.
    pub hook: Hook,
    /// The table's family.
    pub family: Family,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// Whose it is.
    pub dropper: Dropper,
    /// What the operator runs to let our packets through.
    pub fix: String,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hook, family, table, chain, dropper, fix } = self;
        let whose = match dropper {
            Dropper::Docker => "Docker's ",
            Dropper::Ufw => "ufw's ",
            Dropper::Firewalld => "firewalld's ",
            Dropper::Unknown => "",
        };
        let what = match hook {
            Hook::Forward => "send through this host",
            Hook::Input => "ask of this host, names among it",
        };
        write!(
            f,
            "{whose}chain {chain} (table {family} {table}) drops what machines {what}; run: {fix}"
        )
    }
}

/// The text is not what `nft -j list ruleset` prints.
#[derive(Debug, thiserror::Error)]
pub enum RulesetError {
    /// Not JSON.
    #[error("the list of nftables rules is not JSON")]
    Json(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// JSON, but no list of nftables objects.
    #[error(
        "the list of nftables rules has no \"nftables\" in it; `nft -j list chains` prints one"
    )]
    NoList,
}

/// A table of somebody else, with a chain that sees machines' packets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignTable {
    /// Its family.
    pub family: Family,
    /// Its name, which `nft` takes without quotes.
    pub name: String,
}

/// Finds the tables that are to be looked at, in what `nft -j list chains` prints; those of IPv6
/// only if `ipv6` is forwarded at all.
///
/// # Errors
/// [`RulesetError`] when the text is something else.
pub fn foreign_tables(
    chains: &str,
    own: &TableName,
    hook: Hook,
    ipv6: bool,
) -> Result<Vec<ForeignTable>, RulesetError> {
    let chains: Value =
        serde_json::from_str(chains).map_err(|error| RulesetError::Json(error.into()))?;
    let objects = chains["nftables"].as_array().ok_or(RulesetError::NoList)?;
    let hooked = objects.iter().filter_map(|object| object.get("chain"));
    let hooked = hooked.filter(|chain| chain["hook"] == hook.as_str());
    let tables: BTreeSet<ForeignTable> = hooked
        .filter_map(|chain| {
            let (family, name) = (family_of(chain, ipv6)?, chain["table"].as_str()?);
            let is_ours = family == Family::Inet && name == own.to_string();
            (!is_ours && is_plain(name)).then(|| ForeignTable { family, name: name.to_owned() })
        })
        .collect();
    Ok(tables.into_iter().collect())
}

/// Whether `nft` takes a name for nothing else. The kernel allows any octets.
fn is_plain(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// Finds the chains in a host's rules, or in one table of them, that drop what machines send, IPv6 ones
/// only if `ipv6` is forwarded at all. A table that already accepts forwarded packets from and to the tap
/// is none. For [`Hook::Input`] all are named that may be the one: ask when a packet was lost.
///
/// A chain drops by its policy, or by a last rule that drops or rejects everything.
///
/// # Errors
/// [`RulesetError`] when the text is something else.
pub fn obstacles(
    ruleset: &str,
    own: &TableName,
    tap: &InterfaceName,
    hook: Hook,
    ipv6: bool,
) -> Result<Vec<Obstacle>, RulesetError> {
    let ruleset: Value =
        serde_json::from_str(ruleset).map_err(|error| RulesetError::Json(error.into()))?;
    let objects = ruleset["nftables"].as_array().ok_or(RulesetError::NoList)?;
    let of_kind = |kind: &'static str| objects.iter().filter_map(move |object| object.get(kind));
    let mut found = Vec::new();
    for chain in of_kind("chain").filter(|chain| chain["hook"] == hook.as_str()) {
        let Some(family) = family_of(chain, ipv6) else { continue };
        let (Some(table), Some(name)) = (chain["table"].as_str(), chain["name"].as_str()) else {
            continue;
        };
        if family == Family::Inet && table == own.to_string() {
            continue;
        }
        let same_table =
            |other: &&Value| other["family"] == chain["family"] && other["table"] == chain["table"];
        let in_table = || of_kind("rule").filter(same_table);
        let last = in_table().rfind(|rule| rule["chain"] == chain["name"]);
        let drops = chain["policy"] == "drop" || last.is_some_and(drops_everything);
        let accepted = |key| in_table().any(|rule| accepts_interface(rule, key, tap));
        let trusted = in_table().any(|rule| trusts_interface(rule, tap));
        let is_open = trusted || (accepted("iifname") && accepted("oifname"));
        if !drops || (hook == Hook::Forward && is_open) {
            continue;
        }
        let chains: Vec<&str> =
            of_kind("chain").filter(same_table).filter_map(|c| c["name"].as_str()).collect();
        let dropper = dropper_of(table, &chains);
        let fix = fix(dropper, hook, (family, table, name), tap);
        let (table, chain) = (table.to_owned(), name.to_owned());
        found.push(Obstacle { hook, family, table, chain, dropper, fix });
    }
    Ok(found)
}

fn family_of(chain: &Value, ipv6: bool) -> Option<Family> {
    match chain["family"].as_str()? {
        "ip" => Some(Family::Ip),
        "ip6" if ipv6 => Some(Family::Ip6),
        "inet" => Some(Family::Inet),
        _ => None,
    }
}

/// The parts of a rule that decide, without counters and logs.
fn decisive(rule: &Value) -> impl Iterator<Item = &Value> {
    let parts = rule["expr"].as_array().map(Vec::as_slice).unwrap_or_default();
    parts.iter().filter(|part| part.get("counter").is_none() && part.get("log").is_none())
}

/// Whether the rule begins with its verdict: nothing has to match before.
fn drops_everything(rule: &Value) -> bool {
    let first = decisive(rule).next();
    first.is_some_and(|part| part.get("drop").is_some() || part.get("reject").is_some())
}

/// Whether the rule is firewalld's way to put the tap into its trusted zone.
fn trusts_interface(rule: &Value, tap: &InterfaceName) -> bool {
    let parts: Vec<&Value> = decisive(rule).collect();
    let [condition, verdict] = parts[..] else { return false };
    let target = verdict["goto"]["target"].as_str().or_else(|| verdict["jump"]["target"].as_str());
    condition["match"]["right"].as_str() == Some(&tap.0)
        && target
            .is_some_and(|target| target.starts_with("filter_FWD") && target.ends_with("trusted"))
}

/// Whether the rule accepts what comes from (or goes to) the tap, and asks for nothing else.
fn accepts_interface(rule: &Value, key: &str, tap: &InterfaceName) -> bool {
    let parts: Vec<&Value> = decisive(rule).collect();
    let [condition, verdict] = parts[..] else { return false };
    let matched = &condition["match"];
    matched["op"] == "=="
        && matched["left"]["meta"]["key"] == key
        && matched["right"].as_str() == Some(&tap.0)
        && verdict.get("accept").is_some()
}

fn dropper_of(table: &str, chains: &[&str]) -> Dropper {
    if chains.contains(&"DOCKER-USER") {
        Dropper::Docker
    } else if chains.iter().any(|chain| chain.starts_with("ufw")) {
        Dropper::Ufw
    } else if table == "firewalld" {
        Dropper::Firewalld
    } else {
        Dropper::Unknown
    }
}

/// The command that lets what machines send, or ask, through a chain.
fn fix(
    dropper: Dropper,
    hook: Hook,
    (family, table, chain): (Family, &str, &str),
    tap: &InterfaceName,
) -> String {
    let both = |rule: &dyn Fn(&str) -> String, [first, second]: [&str; 2]| {
        format!("{} && {}", rule(first), rule(second))
    };
    let accept = |key: &str| format!("nft insert rule {family} {table} {chain} {key} {tap} accept");
    let iptables = if family == Family::Ip6 { "ip6tables" } else { "iptables" };
    match (dropper, hook) {
        // Now, and when its rules are made again.
        (Dropper::Firewalld, _) => both(
            &|when| format!("firewall-cmd{when} --zone=trusted --add-interface={tap}"),
            ["", " --permanent"],
        ),
        (Dropper::Ufw, Hook::Input) => format!("ufw allow in on {tap}"),
        (Dropper::Ufw, Hook::Forward) => {
            both(&|way| format!("ufw route allow {way} on {tap}"), ["in", "out"])
        }
        (Dropper::Docker, Hook::Forward) => {
            both(&|way| format!("{iptables} -I DOCKER-USER {way} {tap} -j ACCEPT"), ["-i", "-o"])
        }
        (Dropper::Docker | Dropper::Unknown, Hook::Input) => accept("iifname"),
        (Dropper::Unknown, Hook::Forward) => both(&accept, ["iifname", "oifname"]),
    }
}
