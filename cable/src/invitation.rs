//! The line that one host prints and another types: `vde1…`. It holds which mesh, who invites, where to
//! ask, and a secret.
//!
//! The secret is the seed of an Ed25519 key. The roster knows the public half alone, so that every
//! administrator can honour the invitation and nobody who reads a roster can use it; and the one
//! who joins signs its own TLS session with it, so that what crosses the wire is of no use again.
//! The inviter's key tells whoever joins an honest answer from that of an administrator who was put out
//! (`trust/entering.rs`).
//!
//! ```text
//! "vde1"  base32( mesh id, 16 | secret, 16 | inviter's key, 32
//!                 | number of addresses, 1 | addresses | check, 4 )
//! address: 4, IPv4 (4), port (2)  |  6, IPv6 (16), port (2)  |  0, length (1), host name, port (2)
//! ```
//!
//! The check is the beginning of the SHA-256 of what stands before it: it tells a typing error from
//! a wrong invitation.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use mesh::authority::{NodeKey, Signature};
use mesh::message::MeshId;
use mesh::roster::{Founding, Sealer};
use zeroize::Zeroizing;

use crate::address::Target;
use crate::identity::{PublicKey, expand};

/// What every token of this version begins with.
pub const PREFIX: &str = "vde1";

/// Addresses in a token. More would make the line long and its use slow.
pub const MAX_ADDRESSES: usize = 8;

/// The longest token: eight host names of the greatest length.
const MAX_TEXT: usize = 4 * 1024;

const SECRET_LEN: usize = 16;
const CHECK_LEN: usize = 4;

/// The text is not an invitation that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseTokenError {
    /// It does not begin as one.
    #[error("an invitation begins with {PREFIX}, as vdecable invite prints it")]
    Other,
    /// It is of a later version.
    #[error("this invitation is of a newer version than this program; upgrade it")]
    Version,
    /// Some of its characters are missing or wrong.
    #[error("the invitation is incomplete or mistyped; copy the whole line")]
    Mistyped,
}

/// An invitation as it is handed over. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Which mesh.
    pub mesh: MeshId,
    /// Who invites, by the key that it had then.
    pub inviter: PublicKey,
    secret: Zeroizing<[u8; SECRET_LEN]>,
    /// Where to ask, the best first.
    pub addresses: Vec<Target>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// What stands for a mesh: the beginning of a hash of its founding.
pub fn mesh_id(founding: &Founding) -> MeshId {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"vdecable mesh 1\0");
    context.update(&founding.founder.0);
    context.update(&founding.nonce);
    let hash = context.finish();
    MeshId(hash.as_ref()[..16].try_into().expect("SHA-256 has 32 octets"))
}

impl Token {
    /// A new one, or none when the system has no random numbers.
    pub fn generate(mesh: MeshId, inviter: PublicKey, mut addresses: Vec<Target>) -> Option<Self> {
        let mut secret = Zeroizing::new([0; SECRET_LEN]);
        aws_lc_rs::rand::fill(&mut *secret).ok()?;
        addresses.truncate(MAX_ADDRESSES);
        Some(Self { mesh, inviter, secret, addresses })
    }

    /// The line to be handed over. Whoever reads it can join.
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut octets = Zeroizing::new(Vec::with_capacity(256));
        octets.extend(self.mesh.0);
        octets.extend(*self.secret);
        octets.extend(self.inviter.octets());
        octets.push(u8::try_from(self.addresses.len()).expect("there are few"));
        for address in &self.addresses {
            encode_address(address, &mut octets);
        }
        let check = check(&octets);
        octets.extend(check);
        let text = Zeroizing::new(data_encoding::BASE32_NOPAD.encode(&octets));
        Zeroizing::new(format!("{PREFIX}{}", text.to_ascii_lowercase()))
    }

    /// What names the invitation where it need not be used: the beginning of its public key.
    pub fn id(&self) -> String {
        PublicKey::from(self.ticket_key()).short()
    }

    /// The public half of this invitation's key, by which the roster knows it.
    pub fn ticket_key(&self) -> NodeKey {
        self.ticket().key()
    }

    /// The key of this invitation.
    pub fn ticket(&self) -> Ticket {
        Ticket::from_secret(&self.secret)
    }
}

impl FromStr for Token {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let text = text.trim();
        let Some(rest) = text.strip_prefix("vde") else { return Err(ParseTokenError::Other) };
        let Some(rest) = rest.strip_prefix('1') else {
            let newer = rest.starts_with(|c: char| c.is_ascii_digit());
            return Err(if newer { ParseTokenError::Version } else { ParseTokenError::Other });
        };
        parse_body(rest).ok_or(ParseTokenError::Mistyped)
    }
}

fn parse_body(text: &str) -> Option<Token> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let upper = Zeroizing::new(text.to_ascii_uppercase());
    let octets = Zeroizing::new(data_encoding::BASE32_NOPAD.decode(upper.as_bytes()).ok()?);
    let (body, sum) = octets.split_at_checked(octets.len().checked_sub(CHECK_LEN)?)?;
    if sum != check(body) {
        return None;
    }
    let (mesh, rest) = body.split_first_chunk::<16>()?;
    let (secret, rest) = rest.split_first_chunk::<SECRET_LEN>()?;
    let (inviter, rest) = rest.split_first_chunk::<32>()?;
    let (count, mut rest) = rest.split_first()?;
    let mut addresses = Vec::new();
    for _ in 0..*count {
        addresses.push(decode_address(&mut rest)?);
    }
    let fits = rest.is_empty() && addresses.len() <= MAX_ADDRESSES;
    let (mesh, secret) = (MeshId(*mesh), Zeroizing::new(*secret));
    fits.then(|| Token { mesh, inviter: NodeKey(*inviter).into(), secret, addresses })
}

fn check(octets: &[u8]) -> [u8; CHECK_LEN] {
    let hash = digest::digest(&digest::SHA256, octets);
    hash.as_ref()[..CHECK_LEN].try_into().expect("SHA-256 has 32 octets")
}

fn encode_address(address: &Target, out: &mut Vec<u8>) {
    match address.host().parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            out.push(4);
            out.extend(ip.octets());
        }
        Ok(IpAddr::V6(ip)) => {
            out.push(6);
            out.extend(ip.octets());
        }
        Err(_) => {
            let name = address.host().as_bytes();
            out.push(0);
            out.push(u8::try_from(name.len()).expect("host names have at most 253 octets"));
            out.extend(name);
        }
    }
    out.extend(address.port().to_be_bytes());
}

fn decode_address(octets: &mut &[u8]) -> Option<Target> {
    let (tag, rest) = octets.split_first()?;
    let (host, rest) = match tag {
        4 => {
            let (ip, rest) = rest.split_first_chunk::<4>()?;
            (IpAddr::from(Ipv4Addr::from(*ip)).to_string(), rest)
        }
        6 => {
            let (ip, rest) = rest.split_first_chunk::<16>()?;
            (IpAddr::from(Ipv6Addr::from(*ip)).to_string(), rest)
        }
        0 => {
            let (len, rest) = rest.split_first()?;
            let (name, rest) = rest.split_at_checked(usize::from(*len))?;
            (std::str::from_utf8(name).ok()?.to_owned(), rest)
        }
        _ => return None,
    };
    let (port, rest) = rest.split_first_chunk::<2>()?;
    *octets = rest;
    let port = u16::from_be_bytes(*port);
    match host.parse::<IpAddr>() {
        Ok(ip) => Some(SocketAddr::new(ip, port).into()),
        Err(_) => format!("{host}:{port}").parse().ok(),
    }
}

/// The key of an invitation. Whoever has it can join once.
pub struct Ticket {
    pair: Ed25519KeyPair,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("key", &self.key()).finish_non_exhaustive()
    }
}

impl Ticket {
    fn from_secret(secret: &[u8; SECRET_LEN]) -> Self {
        let seed = expand(secret, "invitation");
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed);
        Self { pair: pair.expect("every 32 octets are a seed") }
    }
}

impl Sealer for Ticket {
    fn key(&self) -> NodeKey {
        NodeKey(self.pair.public_key().as_ref().try_into().expect("Ed25519 keys have 32 octets"))
    }

    fn seal(&self, octets: &[u8]) -> Signature {
        Signature(self.pair.sign(octets).as_ref().try_into().expect("signatures have 64 octets"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(addresses: &[&str]) -> Token {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Token::generate(MeshId([5; 16]), NodeKey([9; 32]).into(), addresses).unwrap()
    }

    #[test]
    fn a_token_comes_back_as_it_was() {
        let long = format!("{}.example:1", "h".repeat(60));
        for addresses in [
            &[][..],
            &["192.0.2.1", "[2001:db8::1]:99", "host-b.example:7000"],
            &[long.as_str(); 8],
        ] {
            let token = token(addresses);
            let text = token.reveal();
            assert_eq!(text.parse(), Ok(token.clone()));
            assert_eq!(format!(" {}\n", text.as_str()).parse(), Ok(token.clone()));
            let again: Token = text.parse().unwrap();
            assert_eq!(again.ticket().key(), token.ticket().key());
        }
        assert!(token(&["192.0.2.1"]).reveal().len() < 132, "it can be read out");
    }

    #[test]
    fn a_token_that_was_mistyped_or_cut_is_told_from_another_text() {
        let text = token(&["192.0.2.1"]).reveal().to_string();
        for at in PREFIX.len()..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'a' { b'b' } else { b'a' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert_eq!(wrong.parse::<Token>(), Err(ParseTokenError::Mistyped), "{at}");
            assert!(text[..at].parse::<Token>().is_err());
        }
        assert_eq!("hostB".parse::<Token>(), Err(ParseTokenError::Other));
        assert_eq!("vde2abc".parse::<Token>(), Err(ParseTokenError::Version));
        assert_eq!("vdenode".parse::<Token>(), Err(ParseTokenError::Other));
    }

    #[test]
    fn nothing_printed_of_a_token_holds_the_secret() {
        let token = token(&["192.0.2.1"]);
        let (shown, line) = (format!("{token:?} {:?}", token.ticket()), token.reveal());
        assert!(!shown.contains(&line[30..50]), "{shown}");
        assert!(!shown.contains(&format!("{:?}", *token.secret)));
    }
}
