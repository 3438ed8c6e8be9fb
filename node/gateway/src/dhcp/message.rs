//! A DHCP message as octets: the BOOTP header and options, read and written (RFC 2131 2, RFC 2132).
//!
//! Options stay octets here; what they mean is their user's affair. Written by hand because a
//! server must join split options (RFC 3396), read overloaded fields, refuse truncated ones, return
//! some verbatim and keep the order that the client asked for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ether::MacAddr;

/// Option codes (RFC 2132 unless the name says otherwise).
pub(super) mod code {
    pub(in crate::dhcp) const PAD: u8 = 0;
    pub(in crate::dhcp) const SUBNET_MASK: u8 = 1;
    pub(in crate::dhcp) const ROUTER: u8 = 3;
    pub(in crate::dhcp) const DNS: u8 = 6;
    pub(in crate::dhcp) const HOSTNAME: u8 = 12;
    pub(in crate::dhcp) const DOMAIN: u8 = 15;
    pub(in crate::dhcp) const MTU: u8 = 26;
    pub(in crate::dhcp) const BROADCAST: u8 = 28;
    pub(in crate::dhcp) const NTP: u8 = 42;
    pub(in crate::dhcp) const REQUESTED_ADDRESS: u8 = 50;
    pub(in crate::dhcp) const LEASE_TIME: u8 = 51;
    pub(in crate::dhcp) const OVERLOAD: u8 = 52;
    pub(in crate::dhcp) const MESSAGE_TYPE: u8 = 53;
    pub(in crate::dhcp) const SERVER_ID: u8 = 54;
    pub(in crate::dhcp) const PARAMETERS: u8 = 55;
    pub(in crate::dhcp) const MESSAGE: u8 = 56;
    pub(in crate::dhcp) const MAX_SIZE: u8 = 57;
    pub(in crate::dhcp) const T1: u8 = 58;
    pub(in crate::dhcp) const T2: u8 = 59;
    pub(in crate::dhcp) const CLIENT_ID: u8 = 61;
    /// RFC 4039.
    pub(in crate::dhcp) const RAPID_COMMIT: u8 = 80;
    /// RFC 4702.
    pub(in crate::dhcp) const FQDN: u8 = 81;
    /// RFC 3046.
    pub(in crate::dhcp) const RELAY: u8 = 82;
    /// RFC 8925.
    pub(in crate::dhcp) const IPV6_ONLY: u8 = 108;
    /// RFC 3011.
    pub(in crate::dhcp) const SUBNET_SELECTION: u8 = 118;
    /// RFC 3397.
    pub(in crate::dhcp) const SEARCH: u8 = 119;
    /// RFC 3442.
    pub(in crate::dhcp) const ROUTES: u8 = 121;
    /// The same as `ROUTES`, as older Windows asks for it.
    pub(in crate::dhcp) const ROUTES_MICROSOFT: u8 = 249;
    pub(in crate::dhcp) const END: u8 = 255;
}

/// What a message is for (option 53, RFC 2132 9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Decline = 4,
    Ack = 5,
    Nak = 6,
    Release = 7,
    Inform = 8,
}

/// What precedes the options (RFC 2131 2): 236 octets and the cookie.
pub(super) const HEADER_LEN: usize = 240;

/// The least that old relays and clients take (RFC 1542 2.1).
pub(super) const MIN_LEN: usize = 300;

const COOKIE: [u8; 4] = [99, 130, 83, 99];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const ETHERNET: u8 = 1;
const BROADCAST_FLAG: u16 = 0x8000;
const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;

/// Why octets are no request of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    /// Shorter than its header, another operation, another cookie, not an Ethernet station.
    Header,
    /// An option that runs past its field, or one of a length that its definition forbids.
    Option,
    /// A type that no client sends, or none: a BOOTP client, perhaps.
    Kind,
}

/// A client's message.
#[derive(Debug, Clone)]
pub(super) struct Request<'a> {
    pub(super) kind: Kind,
    pub(super) xid: u32,
    pub(super) broadcast: bool,
    pub(super) ciaddr: Ipv4Addr,
    pub(super) giaddr: Ipv4Addr,
    pub(super) chaddr: MacAddr,
    /// As they stand in the message, reserved bits included: a reply repeats them.
    flags: u16,
    options: BTreeMap<u8, Cow<'a, [u8]>>,
}

impl<'a> Request<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let (header, options) =
            message.split_first_chunk::<HEADER_LEN>().ok_or(Malformed::Header)?;
        let address = |at: usize| Ipv4Addr::from([0, 1, 2, 3].map(|index| header[at + index]));
        let chaddr = MacAddr([0, 1, 2, 3, 4, 5].map(|index| header[28 + index]));
        if header[..3] != [REQUEST, ETHERNET, 6] || header[236..] != COOKIE {
            return Err(Malformed::Header);
        }
        if chaddr.is_zero() || chaddr.is_group() {
            return Err(Malformed::Header);
        }
        let mut parsed = BTreeMap::new();
        parse_options(options, &mut parsed)?;
        let overload = match parsed.get(&code::OVERLOAD).map(Cow::as_ref) {
            None => 0,
            Some([overload @ 1..=3]) => *overload,
            Some(_) => return Err(Malformed::Option),
        };
        // First the file field, then sname (RFC 3396 5).
        for (bit, field) in [(1, FILE), (2, SNAME)] {
            if overload & bit != 0 {
                parse_options(&message[field], &mut parsed)?;
            }
        }
        check_lengths(&parsed)?;
        let kind = match parsed.get(&code::MESSAGE_TYPE).map(Cow::as_ref) {
            Some([1]) => Kind::Discover,
            Some([3]) => Kind::Request,
            Some([4]) => Kind::Decline,
            Some([7]) => Kind::Release,
            Some([8]) => Kind::Inform,
            _ => return Err(Malformed::Kind),
        };
        let flags = u16::from_be_bytes([header[10], header[11]]);
        Ok(Self {
            kind,
            xid: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            broadcast: flags & BROADCAST_FLAG != 0,
            ciaddr: address(12),
            giaddr: address(24),
            chaddr,
            flags,
            options: parsed,
        })
    }

    pub(super) fn option(&self, code: u8) -> Option<&[u8]> {
        self.options.get(&code).map(Cow::as_ref)
    }

    pub(super) fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.option(code)?.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))
    }

    /// The codes that the client asks for, in its order, or none.
    pub(super) fn parameters(&self) -> &[u8] {
        self.option(code::PARAMETERS).unwrap_or_default()
    }

    /// The same, owning its octets.
    pub(super) fn into_owned(self) -> Request<'static> {
        let options = self
            .options
            .into_iter()
            .map(|(code, value)| (code, Cow::Owned(value.into_owned())))
            .collect();
        let Self { kind, xid, broadcast, ciaddr, giaddr, chaddr, flags, options: _ } = self;
        Request { kind, xid, broadcast, ciaddr, giaddr, chaddr, flags, options }
    }
}

/// Reads one field of options. Those of the same code are joined (RFC 3396 5).
fn parse_options<'a>(
    mut field: &'a [u8],
    parsed: &mut BTreeMap<u8, Cow<'a, [u8]>>,
) -> Result<(), Malformed> {
    loop {
        match *field {
            // Some clients leave the end out; the field's end says the same.
            [] | [code::END, ..] => return Ok(()),
            [code::PAD, ..] => field = &field[1..],
            [code, len, ..] => {
                let value = field.get(2..2 + usize::from(len)).ok_or(Malformed::Option)?;
                parsed
                    .entry(code)
                    .and_modify(|whole| whole.to_mut().extend(value))
                    .or_insert(Cow::Borrowed(value));
                field = &field[2 + value.len()..];
            }
            [_] => return Err(Malformed::Option),
        }
    }
}

/// The lengths of the options that a server acts upon.
fn check_lengths(options: &BTreeMap<u8, Cow<'_, [u8]>>) -> Result<(), Malformed> {
    let right = options.iter().all(|(code, value)| match *code {
        code::MESSAGE_TYPE => value.len() == 1,
        code::REQUESTED_ADDRESS | code::SERVER_ID | code::LEASE_TIME => value.len() == 4,
        code::MAX_SIZE => value.len() == 2,
        // RFC 2132 9.14 wants two octets, and clients send one.
        code::CLIENT_ID | code::RELAY | code::PARAMETERS => (1..=255).contains(&value.len()),
        _ => true,
    });
    if right { Ok(()) } else { Err(Malformed::Option) }
}

/// A server's message in the making.
#[derive(Debug)]
pub(super) struct Reply {
    octets: Vec<u8>,
    /// How long it may become, the end option and what must come last included.
    limit: usize,
    tail: Vec<u8>,
}

impl Reply {
    /// A reply to `request` that is at most `limit` octets long, with its first two options.
    pub(super) fn new(request: &Request<'_>, kind: Kind, server: Ipv4Addr, limit: usize) -> Self {
        let mut octets = vec![0; HEADER_LEN];
        octets[..3].copy_from_slice(&[REPLY, ETHERNET, 6]);
        octets[4..8].copy_from_slice(&request.xid.to_be_bytes());
        octets[10..12].copy_from_slice(&request.flags.to_be_bytes());
        octets[24..28].copy_from_slice(&request.giaddr.octets());
        octets[28..34].copy_from_slice(&request.chaddr.0);
        octets[236..].copy_from_slice(&COOKIE);
        // Returned verbatim; the relay's last of all (RFC 6842 3, RFC 3046 2.2).
        let mut tail = Vec::new();
        for code in [code::CLIENT_ID, code::RELAY] {
            if let Some(value) = request.option(code) {
                encode_option(&mut tail, code, value);
            }
        }
        tail.push(code::END);
        let mut reply = Self { octets, limit, tail };
        reply.push(code::MESSAGE_TYPE, &[kind as u8]);
        reply.push(code::SERVER_ID, &server.octets());
        reply
    }

    pub(super) fn set_broadcast(&mut self) {
        self.octets[10] |= BROADCAST_FLAG.to_be_bytes()[0];
    }

    pub(super) fn set_ciaddr(&mut self, address: Ipv4Addr) {
        self.octets[12..16].copy_from_slice(&address.octets());
    }

    pub(super) fn set_yiaddr(&mut self, address: Ipv4Addr) {
        self.octets[16..20].copy_from_slice(&address.octets());
    }

    /// Appends an option, in pieces of 255 octets where it is longer (RFC 3396 7). Whether there
    /// was room for it; if not, the reply is as before.
    pub(super) fn push(&mut self, code: u8, value: &[u8]) -> bool {
        let before = self.octets.len();
        encode_option(&mut self.octets, code, value);
        let fits = self.octets.len() + self.tail.len() <= self.limit;
        if !fits {
            self.octets.truncate(before);
        }
        fits
    }

    /// The message, or `None` when what the client wants returned alone exceeds the limit.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        self.octets.append(&mut self.tail);
        if self.octets.len() > self.limit {
            return None;
        }
        self.octets.resize(self.octets.len().max(MIN_LEN), code::PAD);
        Some(self.octets)
    }
}

fn encode_option(octets: &mut Vec<u8>, code: u8, value: &[u8]) {
    if value.is_empty() {
        octets.extend([code, 0]);
    }
    for piece in value.chunks(255) {
        octets.extend([code, u8::try_from(piece.len()).expect("a piece has at most 255")]);
        octets.extend(piece);
    }
}
