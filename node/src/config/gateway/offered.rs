//! What machines are told by DHCP beside their addresses, from the flags.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use gateway::DomainName;
use gateway::dhcp::{self, Route};

use crate::cli::GatewayFlags;

/// Only what was asked for; the rest is the server's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offered {
    pools: Vec<RangeInclusive<Ipv4Addr>>,
    /// None unless given; empty for `none`.
    routers: Option<Vec<Ipv4Addr>>,
    /// The same.
    pub(super) dns: Option<Vec<Ipv4Addr>>,
    pub(super) search: Vec<DomainName>,
    ntp: Vec<Ipv4Addr>,
    routes: Vec<Route>,
    options: Vec<(u8, Vec<u8>)>,
}

impl Offered {
    pub(super) fn new(flags: &GatewayFlags) -> anyhow::Result<Self> {
        Ok(Self {
            pools: each(&flags.pool, "--pool", pool)?,
            routers: addresses(&flags.router, "--router")?,
            dns: addresses(&flags.dns, "--dns")?,
            search: each(&flags.search, "--search", |text| Ok(text.parse()?))?,
            ntp: flags.ntp.clone(),
            routes: each(&flags.route, "--route", route)?,
            options: each(&flags.dhcp_option, "--dhcp-option", option)?,
        })
    }

    pub(super) fn fill_in(&self, dhcp: &mut dhcp::Config) {
        dhcp.pools.clone_from(&self.pools);
        if let Some(routers) = &self.routers {
            dhcp.routers.clone_from(routers);
        }
        if let Some(dns) = &self.dns {
            dhcp.dns.clone_from(dns);
        }
        dhcp.search.clone_from(&self.search);
        dhcp.ntp.clone_from(&self.ntp);
        dhcp.routes.clone_from(&self.routes);
        dhcp.options.clone_from(&self.options);
    }
}

fn each<T>(
    texts: &[String],
    flag: &str,
    parse: impl Fn(&str) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let parsed = texts.iter().map(|text| parse(text).with_context(|| format!("{flag} {text}")));
    parsed.collect()
}

fn addresses(texts: &[String], flag: &str) -> anyhow::Result<Option<Vec<Ipv4Addr>>> {
    match texts {
        [] => Ok(None),
        [none] if none == "none" => Ok(Some(Vec::new())),
        texts => each(texts, flag, address).map(Some),
    }
}

fn address(text: &str) -> anyhow::Result<Ipv4Addr> {
    text.trim().parse().with_context(|| format!("{text:?} is no IPv4 address"))
}

fn pool(text: &str) -> anyhow::Result<RangeInclusive<Ipv4Addr>> {
    let (first, last) = text
        .split_once('-')
        .context("a pool is written FIRST-LAST, for example 10.77.0.100-10.77.0.199")?;
    Ok(address(first)?..=address(last)?)
}

fn route(text: &str) -> anyhow::Result<Route> {
    let (destination, via) = text
        .split_once('=')
        .context("a route is written SUBNET=ADDRESS, for example 10.9.0.0/16=10.77.0.5")?;
    Ok(Route { destination: destination.parse()?, via: address(via)? })
}

fn option(text: &str) -> anyhow::Result<(u8, Vec<u8>)> {
    const FORM: &str =
        "an option is written CODE=VALUE, for example 66=boot.lab or 150=ip:10.77.0.5";
    let (code, value) = text.split_once('=').context(FORM)?;
    let code = code.parse().ok().context("an option's code is a number from 1 to 254")?;
    Ok((code, octets(value)?))
}

fn octets(value: &str) -> anyhow::Result<Vec<u8>> {
    Ok(match value.split_once(':') {
        Some(("ip", list)) => {
            let each = list.split(',').map(address);
            each.collect::<anyhow::Result<Vec<_>>>()?.iter().flat_map(Ipv4Addr::octets).collect()
        }
        Some(("u8", number)) => parse_number::<u8>(number)?.to_be_bytes().to_vec(),
        Some(("u16", number)) => parse_number::<u16>(number)?.to_be_bytes().to_vec(),
        Some(("u32", number)) => parse_number::<u32>(number)?.to_be_bytes().to_vec(),
        Some(("hex", digits)) => hex(digits)?,
        Some(("text", text)) => text.as_bytes().to_vec(),
        _ => value.as_bytes().to_vec(),
    })
}

fn parse_number<T: FromStr>(text: &str) -> anyhow::Result<T> {
    text.parse().ok().with_context(|| format!("{text:?} is no number of that size"))
}

fn hex(digits: &str) -> anyhow::Result<Vec<u8>> {
    let digits = digits.as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        bail!("octets have two hexadecimal digits each");
    }
    let octet = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| !pair.contains('+'));
        let octet = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        octet.context("octets are hexadecimal digits")
    };
    digits.chunks(2).map(octet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_options_value_is_text_unless_it_says_what_it_is() {
        assert_eq!(option("66=boot.lab").unwrap(), (66, b"boot.lab".to_vec()));
        assert_eq!(option("150=ip:10.0.0.1,10.0.0.2").unwrap().1, [10, 0, 0, 1, 10, 0, 0, 2]);
        assert_eq!(option("2=u32:3600").unwrap().1, [0, 0, 0x0e, 0x10]);
        assert_eq!(option("252=hex:0aff").unwrap().1, [0x0a, 0xff]);
        assert_eq!(option("114=http://x/").unwrap().1, b"http://x/");
        assert_eq!(option("67=text:hex:0a").unwrap().1, b"hex:0a");
        for wrong in ["66", "x=1", "300=1", "150=ip:1.2.3", "2=u8:256", "9=hex:0", "9=hex:+1"] {
            assert!(option(wrong).is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn lists_are_repeated_flags_and_none_is_an_empty_one() {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(addresses(&texts(&[]), "--dns").unwrap(), None);
        assert_eq!(addresses(&texts(&["none"]), "--dns").unwrap(), Some(vec![]));
        let two = addresses(&texts(&["10.0.0.1", "10.0.0.2"]), "--dns").unwrap().unwrap();
        assert_eq!(two.len(), 2);
        let err = addresses(&texts(&["10.0.0.1", "none"]), "--dns").unwrap_err();
        assert!(format!("{err:#}").contains("--dns none"), "{err:#}");
        assert!(pool("10.0.0.1-10.0.0.9").is_ok() && pool("10.0.0.1").is_err());
        assert!(route("10.9.0.0/16=10.0.0.5").is_ok() && route("10.9.0.0/16").is_err());
    }
}
