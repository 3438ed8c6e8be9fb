//! DNS answers from leases: what `vm1` and its address resolve to.
//!
//! Pure: a query's octets in, a reply's octets out, or the word that somebody else must answer.
//! Owns two zones, the domain of the machines and the reverse of their subnet; is authoritative for
//! both and knows no other. Forwarding, sockets and retries are the caller's. Octets are read and
//! written by the `domain` crate; sources are RFC 1034, 1035, 2308 and 6891.

use std::net::Ipv4Addr;

use domain::base::iana::{Class, Opcode, OptRcode, Rcode};
use domain::base::message_builder::{AdditionalBuilder, PushError};
use domain::base::{
    Message, MessageBuilder, Name, ParsedName, Question, Rtype, Serial, StaticCompressor, Ttl,
};
use domain::rdata::{A, Ns, Ptr, Soa};

use crate::hostname::{DomainName, Hostname};
use crate::subnet::Subnet;

/// How long resolvers may keep an answer: shorter than a machine takes to be replaced.
const TTL: Ttl = Ttl::from_secs(30);

/// How long they may keep that there is none: a machine that has just started is found at once.
const NEGATIVE_TTL: Ttl = Ttl::from_secs(5);

/// The largest reply without EDNS (RFC 1035 2.3.4).
const PLAIN_UDP: usize = 512;

/// The largest over UDP at all: no fragment on any path (RFC 9715 3.2).
const MAX_UDP: usize = 1232;

/// Header of a DNS message.
const HEADER_LEN: usize = 12;

type Builder = AdditionalBuilder<StaticCompressor<Vec<u8>>>;

/// Who has which name. Only live leases count.
pub trait Hosts {
    /// The address of a machine.
    fn address_of(&self, name: &Hostname) -> Option<Ipv4Addr>;
    /// The name of the machine that has an address.
    fn name_of(&self, address: Ipv4Addr) -> Option<Hostname>;
}

impl Hosts for crate::dhcp::Server {
    fn address_of(&self, name: &Hostname) -> Option<Ipv4Addr> {
        Self::address_of(self, name)
    }

    fn name_of(&self, address: Ipv4Addr) -> Option<Hostname> {
        Self::name_of(self, address).cloned()
    }
}

/// How a query came, which decides how long the reply may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// 512 octets, or up to 1232 where the client takes more (EDNS).
    Udp,
    /// Without the two octets of length before a message.
    Tcp,
}

/// What to do with a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Send this back: an answer, a "no such name" or an error.
    Reply(Vec<u8>),
    /// Not of our zones: ask the host's resolvers.
    Forward,
    /// Not a query. Say nothing, or two servers may talk to each other for ever.
    Drop,
}

/// The zones of one gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The machines' domain; without one, only short names are answered.
    pub domain: Option<DomainName>,
    /// The gateway's own name.
    pub gateway_name: Hostname,
    /// The gateway's address.
    pub gateway: Ipv4Addr,
    /// The subnet whose reverse zone is ours.
    pub subnet: Subnet,
}

/// What a name turned out to be.
enum Found {
    /// A machine's address.
    Address(Ipv4Addr),
    /// A machine's full name, for its address.
    Pointer(Name<Vec<u8>>),
    /// The top of a zone.
    Apex,
    /// A name that exists and has no records of its own.
    Nothing,
    /// A name of ours that does not exist.
    NoName,
    /// A name of another.
    Foreign,
}

impl Names {
    /// Answers one query.
    ///
    /// Short names (`vm1`) and names in the domain are answered for A and ANY; other types of a
    /// machine that exists are empty, so that no one asks outside for its AAAA. Addresses of the
    /// subnet are answered for PTR. A short name that no machine has is not asked outside for its
    /// addresses, where it would reach the root servers.
    pub fn answer(&self, query: &[u8], transport: Transport, hosts: &impl Hosts) -> Answer {
        let Ok(message) = Message::from_octets(query) else { return Answer::Drop };
        let header = message.header();
        if header.qr() {
            return Answer::Drop;
        }
        if header.opcode() != Opcode::QUERY {
            return error(&message, Rcode::NOTIMP);
        }
        let Ok(question) = message.sole_question() else {
            return error(&message, Rcode::FORMERR);
        };
        let edns = match Edns::read(&message) {
            Ok(edns) => edns,
            Err(rcode) => return error(&message, rcode),
        };
        if question.qclass() != Class::IN && question.qclass() != Class::ANY {
            return Answer::Forward;
        }
        let (zone, found) = self.find(&question, hosts);
        if matches!(found, Found::Foreign) {
            return Answer::Forward;
        }
        let limit = match transport {
            Transport::Tcp => usize::from(u16::MAX),
            Transport::Udp => edns.map_or(PLAIN_UDP, |edns| edns.udp_size()),
        };
        let reply = Reply { message: &message, question: &question, edns, limit };
        let built = if edns.is_some_and(|edns| edns.version > 0) {
            reply.bad_version()
        } else if matches!(question.qtype(), Rtype::AXFR | Rtype::IXFR) {
            return error(&message, Rcode::REFUSED);
        } else {
            reply.build(zone.as_ref(), self, found)
        };
        let octets = built.or_else(|_| reply.truncated());
        octets.map_or(Answer::Drop, Answer::Reply)
    }

    /// The zone that a name is in and what it is there.
    fn find(
        &self,
        question: &Question<ParsedName<&[u8]>>,
        hosts: &impl Hosts,
    ) -> (Option<Name<Vec<u8>>>, Found) {
        let name = question.qname();
        // What is no text equals no label of ours, but may stand below our domain.
        let labels: Vec<String> = name
            .iter()
            .filter(|label| !label.is_root())
            .map(|label| String::from_utf8_lossy(label.as_slice()).to_ascii_lowercase())
            .collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        if let [host @ .., "in-addr", "arpa"] = &labels[..] {
            return self.find_reverse(host, hosts);
        }
        if let [name] = labels[..] {
            let found = self.find_host(name, hosts);
            let top_level = !matches!(question.qtype(), Rtype::A | Rtype::AAAA | Rtype::ANY);
            let ours = self.domain.as_ref().is_some_and(|domain| domain.as_str() == name);
            if !ours {
                let foreign = matches!(found, Found::NoName) && top_level;
                return (None, if foreign { Found::Foreign } else { found });
            }
        }
        let Some(domain) = &self.domain else { return (None, Found::Foreign) };
        let suffix: Vec<&str> = domain.labels().collect();
        let Some(host) = labels.strip_suffix(&suffix[..]) else { return (None, Found::Foreign) };
        let found = match host {
            [] => Found::Apex,
            [name] => self.find_host(name, hosts),
            _ => Found::NoName,
        };
        (name_of(domain.as_str()), found)
    }

    fn find_host(&self, label: &str, hosts: &impl Hosts) -> Found {
        let Ok(name) = label.parse::<Hostname>() else { return Found::NoName };
        if name == self.gateway_name {
            return Found::Address(self.gateway);
        }
        hosts.address_of(&name).map_or(Found::NoName, Found::Address)
    }

    /// `labels` are those before `in-addr.arpa`, the address's last octet first.
    ///
    /// Zones end at octets. Ours is the largest such zone around the name that lies in the subnet:
    /// in a /20 each /24 is one, in a /26 each address.
    fn find_reverse(&self, labels: &[&str], hosts: &impl Hosts) -> (Option<Name<Vec<u8>>>, Found) {
        let apex_len = usize::from(self.subnet.prefix_len().div_ceil(8));
        let Some(apex) = labels.len().checked_sub(apex_len).map(|at| &labels[at..]) else {
            return (None, Found::Foreign);
        };
        let mut octets = [0; 4];
        for (octet, label) in octets.iter_mut().zip(apex.iter().rev()) {
            let Some(number) = decimal(label) else { return (None, Found::Foreign) };
            *octet = number;
        }
        if !self.subnet.contains(Ipv4Addr::from(octets)) {
            return (None, Found::Foreign);
        }
        let zone = name_of(&format!("{}.in-addr.arpa", apex.join(".")));
        for (octet, label) in octets.iter_mut().zip(labels.iter().rev()).skip(apex_len) {
            let Some(number) = decimal(label) else { return (zone, Found::NoName) };
            *octet = number;
        }
        let address = Ipv4Addr::from(octets);
        let found = match labels.len() {
            5.. => Found::NoName,
            4 => self.find_pointer(address, hosts),
            len if len == apex_len => Found::Apex,
            _ => Found::Nothing,
        };
        (zone, found)
    }

    fn find_pointer(&self, address: Ipv4Addr, hosts: &impl Hosts) -> Found {
        let gateway = (address == self.gateway).then(|| self.gateway_name.clone());
        let name = gateway.or_else(|| hosts.name_of(address));
        let name = name.and_then(|name| self.full_name(&name));
        name.map_or(Found::NoName, Found::Pointer)
    }

    fn full_name(&self, name: &Hostname) -> Option<Name<Vec<u8>>> {
        match &self.domain {
            Some(domain) => name_of(&format!("{name}.{domain}")),
            None => name_of(name.as_str()),
        }
    }
}

/// An octet as reverse names write it: without leading zeros.
fn decimal(label: &str) -> Option<u8> {
    let number: u8 = label.parse().ok()?;
    (number.to_string() == label).then_some(number)
}

/// `None` where a host and a long domain together exceed a name.
fn name_of(text: &str) -> Option<Name<Vec<u8>>> {
    Name::vec_from_str(text).ok()
}

/// What a query says of EDNS.
#[derive(Clone, Copy)]
struct Edns {
    udp_payload: u16,
    version: u8,
}

impl Edns {
    /// `None` without; an error with more than one (RFC 6891 6.1.1) or a malformed section.
    fn read(message: &Message<&[u8]>) -> Result<Option<Self>, Rcode> {
        let mut found = None;
        for record in message.additional().map_err(|_| Rcode::FORMERR)? {
            let record = record.map_err(|_| Rcode::FORMERR)?;
            if record.rtype() != Rtype::OPT {
                continue;
            }
            // The class is a size and the second octet of the TTL the version (RFC 6891 6.1.2).
            let [_, version, ..] = record.ttl().as_secs().to_be_bytes();
            let edns = Self { udp_payload: record.class().to_int(), version };
            if found.replace(edns).is_some() {
                return Err(Rcode::FORMERR);
            }
        }
        Ok(found)
    }

    fn udp_size(self) -> usize {
        usize::from(self.udp_payload).clamp(PLAIN_UDP, MAX_UDP)
    }
}

/// A reply in the making.
struct Reply<'a> {
    message: &'a Message<&'a [u8]>,
    question: &'a Question<ParsedName<&'a [u8]>>,
    edns: Option<Edns>,
    limit: usize,
}

impl Reply<'_> {
    fn builder(&self) -> MessageBuilder<StaticCompressor<Vec<u8>>> {
        let target = StaticCompressor::new(Vec::new());
        let mut builder = MessageBuilder::from_target(target).expect("a header fits memory");
        builder.set_push_limit(self.limit);
        let asked = self.message.header();
        let header = builder.header_mut();
        header.set_ra(true);
        header.set_cd(asked.cd());
        builder
    }

    fn build(
        &self,
        zone: Option<&Name<Vec<u8>>>,
        names: &Names,
        found: Found,
    ) -> Result<Vec<u8>, PushError> {
        let rcode = if matches!(found, Found::NoName) { Rcode::NXDOMAIN } else { Rcode::NOERROR };
        let mut answer = self.builder().start_answer(self.message, rcode)?;
        answer.header_mut().set_aa(true);
        let (name, qtype) = (self.question.qname(), self.question.qtype());
        let wants = |rtype: Rtype| qtype == rtype || qtype == Rtype::ANY;
        match &found {
            Found::Address(address) if wants(Rtype::A) => {
                answer.push((name, TTL, A::new(*address)))?;
            }
            Found::Pointer(pointer) if wants(Rtype::PTR) => {
                answer.push((name, TTL, Ptr::new(pointer)))?;
            }
            _ => {}
        }
        if let (Found::Apex, Some(zone)) = (&found, zone) {
            if wants(Rtype::SOA) {
                answer.push((name, TTL, names.soa(zone)))?;
            }
            if wants(Rtype::NS) {
                answer.push((name, TTL, Ns::new(names.server(zone))))?;
            }
        }
        let empty = answer.counts().ancount() == 0;
        let mut authority = answer.authority();
        if let Some(zone) = zone.filter(|_| empty) {
            // RFC 2308 3: with a TTL that is the negative one too.
            authority.push((zone, NEGATIVE_TTL, names.soa(zone)))?;
        }
        self.finish(authority.additional(), Rcode::NOERROR.into())
    }

    fn bad_version(&self) -> Result<Vec<u8>, PushError> {
        let answer = self.builder().start_answer(self.message, Rcode::NOERROR)?;
        self.finish(answer.additional(), OptRcode::BADVERS)
    }

    /// The question alone and the word that there is more over TCP.
    fn truncated(&self) -> Result<Vec<u8>, PushError> {
        let mut answer = self.builder().start_answer(self.message, Rcode::NOERROR)?;
        answer.header_mut().set_tc(true);
        self.finish(answer.additional(), Rcode::NOERROR.into())
    }

    /// Appends our own EDNS record if the query had one (RFC 6891 6.1.1).
    fn finish(&self, mut builder: Builder, rcode: OptRcode) -> Result<Vec<u8>, PushError> {
        if self.edns.is_some() {
            builder.opt(|opt| {
                opt.set_udp_payload_size(u16::try_from(MAX_UDP).expect("it is small"));
                if rcode != OptRcode::NOERROR {
                    opt.set_rcode(rcode);
                }
                Ok(())
            })?;
        }
        Ok(builder.finish().into_target())
    }
}

impl Names {
    /// Who answers for a zone.
    fn server(&self, zone: &Name<Vec<u8>>) -> Name<Vec<u8>> {
        self.full_name(&self.gateway_name).unwrap_or_else(|| zone.clone())
    }

    /// Nobody transfers these zones, so that only the last number means something: how long "no
    /// such name" may be kept (RFC 2308 4).
    fn soa(&self, zone: &Name<Vec<u8>>) -> Soa<Name<Vec<u8>>> {
        let hour = Ttl::from_secs(3600);
        let mailbox = name_of("nobody.invalid").expect("it is a name");
        Soa::new(self.server(zone), mailbox, Serial(1), hour, hour, hour, NEGATIVE_TTL)
    }
}

/// A reply without records: the header, and the question where there is one.
fn error(message: &Message<&[u8]>, rcode: Rcode) -> Answer {
    let question = message.sole_question().is_ok();
    let builder = MessageBuilder::new_vec();
    if question {
        return Answer::Reply(builder.start_error(message, rcode).finish());
    }
    let mut reply = builder.finish();
    reply.truncate(HEADER_LEN);
    let asked = message.header();
    let header = domain::base::Header::for_message_slice_mut(&mut reply);
    header.set_id(asked.id());
    header.set_qr(true);
    header.set_opcode(asked.opcode());
    header.set_rd(asked.rd());
    header.set_rcode(rcode);
    Answer::Reply(reply)
}

#[cfg(test)]
mod tests;
