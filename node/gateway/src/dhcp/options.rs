//! What clients are told: the options of a configuration as octets, and which of them go into a
//! reply, in which order.

use std::net::Ipv4Addr;

use super::config::{Config, Route};
use super::message::{Reply, Request, code};
use crate::hostname::{DomainName, Hostname};

/// The longest configured option: what fits a message of 1500 octets with room for the rest.
pub(super) const MAX_OPTION: usize = 1024;

/// The options that are the same for all clients, in the order in which they are sent to a client
/// that has no wish.
#[derive(Debug)]
pub(super) struct Standard {
    mask: [u8; 4],
    options: Vec<(u8, Vec<u8>)>,
}

impl Standard {
    pub(super) fn new(config: &Config) -> Self {
        let addresses =
            |list: &[Ipv4Addr]| list.iter().flat_map(Ipv4Addr::octets).collect::<Vec<_>>();
        let mut options = vec![
            (code::ROUTER, addresses(&config.routers)),
            (code::DNS, addresses(&config.dns)),
            (code::BROADCAST, config.subnet.broadcast().octets().to_vec()),
            (code::NTP, addresses(&config.ntp)),
        ];
        if let Some(domain) = &config.domain {
            options.push((code::DOMAIN, domain.as_str().into()));
        }
        if let Some(mtu) = config.mtu {
            options.push((code::MTU, mtu.to_be_bytes().to_vec()));
        }
        options.push((code::SEARCH, search(&config.search)));
        if !config.routes.is_empty() {
            let routes = routes(config);
            options.push((code::ROUTES, routes.clone()));
            options.push((code::ROUTES_MICROSOFT, routes));
        }
        options.extend(config.options.iter().cloned());
        // An empty list is no option; an option set by number may be empty on purpose.
        let by_number = |code: u8| config.options.iter().any(|(other, _)| *other == code);
        options.retain(|(code, value)| !value.is_empty() || by_number(*code));
        Self { mask: config.subnet.mask().octets(), options }
    }

    /// Appends what the client asks for, in its order, or everything where it asks for nothing.
    /// What does not fit is left out; how many options that were.
    ///
    /// The mask comes first, because the router may not precede it (RFC 2132 3.3).
    pub(super) fn append(
        &self,
        request: &Request<'_>,
        hostname: Option<&Hostname>,
        reply: &mut Reply,
    ) -> u64 {
        let mut left_out = u64::from(!reply.push(code::SUBNET_MASK, &self.mask));
        let mut sent = [false; 256];
        sent[usize::from(code::SUBNET_MASK)] = true;
        let mut push = |code: u8, value: &[u8]| {
            if !std::mem::replace(&mut sent[usize::from(code)], true) {
                left_out += u64::from(!reply.push(code, value));
            }
        };
        let wishes = request.parameters();
        if wishes.is_empty() {
            // Whoever reads 249 asks for it, and others should not have the routes twice.
            let all = self.options.iter().filter(|(code, _)| *code != code::ROUTES_MICROSOFT);
            all.for_each(|(code, value)| push(*code, value));
        }
        for &wish in wishes {
            if wish == code::HOSTNAME
                && let Some(name) = hostname
            {
                push(wish, name.as_str().as_bytes());
            }
            if let Some((_, value)) = self.options.iter().find(|(code, _)| *code == wish) {
                push(wish, value);
            }
        }
        left_out
    }
}

/// Routes as RFC 3442 writes them: prefix length, significant octets, next hop. The default route
/// is among them, because a client that reads them ignores the router option.
fn routes(config: &Config) -> Vec<u8> {
    let all = "0.0.0.0/0".parse().expect("it is a subnet");
    let default = config.routers.first().map(|via| Route { destination: all, via: *via });
    let given = config.routes.iter().any(|route| route.destination == all);
    let default = default.filter(|_| !given);
    let mut octets = Vec::new();
    for route in config.routes.iter().copied().chain(default) {
        let prefix_len = route.destination.prefix_len();
        octets.push(prefix_len);
        let significant = usize::from(prefix_len.div_ceil(8));
        octets.extend(&route.destination.network().octets()[..significant]);
        octets.extend(route.via.octets());
    }
    octets
}

/// Domains as RFC 3397 writes them: DNS names, a shared tail replaced by a pointer to where it
/// stood before.
fn search(domains: &[DomainName]) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut seen: Vec<(&str, u16)> = Vec::new();
    for domain in domains {
        let mut rest = domain.as_str();
        loop {
            if let Some((_, at)) = seen.iter().find(|(tail, _)| *tail == rest) {
                octets.extend((0xc000 | at).to_be_bytes());
                break;
            }
            // A pointer has 14 bits (RFC 1035 4.1.4).
            if let Some(at) = u16::try_from(octets.len()).ok().filter(|at| *at < 0x4000) {
                seen.push((rest, at));
            }
            let (label, tail) = rest.split_once('.').unwrap_or((rest, ""));
            push_label(&mut octets, label);
            if tail.is_empty() {
                octets.push(0);
                break;
            }
            rest = tail;
        }
    }
    octets
}

fn push_label(octets: &mut Vec<u8>, label: &str) {
    octets.push(u8::try_from(label.len()).expect("a label has at most 63 octets"));
    octets.extend(label.as_bytes());
}

/// The flags of the client's fully qualified name (RFC 4702 2.1).
mod fqdn {
    /// The server answers for the name.
    pub(super) const S: u8 = 1;
    /// The server does so although the client wanted it otherwise.
    pub(super) const O: u8 = 2;
    /// The name is written as in DNS.
    pub(super) const E: u8 = 4;
    /// Nobody shall answer for the name.
    pub(super) const N: u8 = 8;
}

/// What the client calls itself, in option 81 before option 12 (RFC 4702 4).
pub(super) fn hostname(request: &Request<'_>) -> Option<Hostname> {
    let Some([flags, _, _, name @ ..]) = request.option(code::FQDN) else {
        return request.option(code::HOSTNAME).and_then(Hostname::from_client);
    };
    if flags & fqdn::E == 0 {
        return Hostname::from_client(name);
    }
    let (len, rest) = name.split_first()?;
    Hostname::from_client(rest.get(..usize::from(*len))?)
}

/// The answer to the client's option 81: which name it has, and that the server answers for it
/// (RFC 4702 3.1), unless the client wants nobody to.
pub(super) fn fqdn_reply(
    request: &Request<'_>,
    hostname: Option<&Hostname>,
    domain: Option<&DomainName>,
) -> Option<Vec<u8>> {
    let asked = *request.option(code::FQDN)?.first_chunk::<3>()?.first()?;
    let mut flags = asked & fqdn::E;
    if asked & fqdn::N != 0 {
        flags |= fqdn::N;
    } else {
        flags |= fqdn::S | if asked & fqdn::S == 0 { fqdn::O } else { 0 };
    }
    // The two result codes are always 255 (RFC 4702 2.2).
    let mut octets = vec![flags, 255, 255];
    let labels = hostname.into_iter().map(Hostname::as_str);
    let labels: Vec<&str> = labels.chain(domain.into_iter().flat_map(DomainName::labels)).collect();
    if hostname.is_none() {
        return Some(octets);
    }
    if flags & fqdn::E == 0 {
        octets.extend(labels.join(".").as_bytes());
    } else {
        labels.into_iter().for_each(|label| push_label(&mut octets, label));
        if domain.is_some() {
            octets.push(0);
        }
    }
    // What does not fit one option is no name in DNS either.
    Some(if octets.len() <= 255 { octets } else { vec![flags, 255, 255] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_list_shares_tails() {
        let domains = ["eng.apple.com", "marketing.apple.com"].map(|name| name.parse().unwrap());
        // The example of RFC 3397 section 2.
        let octets = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";
        assert_eq!(search(&domains), octets);
    }

    #[test]
    fn a_domain_that_is_a_tail_of_another_is_one_pointer() {
        let domains = ["a.example", "example", "a.example"].map(|name| name.parse().unwrap());
        assert_eq!(search(&domains), b"\x01a\x07example\x00\xc0\x02\xc0\x00");
    }
}
