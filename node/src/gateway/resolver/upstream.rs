//! The host's own resolvers: who they are at the moment, and what they answer.
//!
//! They are read from `resolv.conf(5)`, again when that changes. A stub resolver on 127.0.0.53 is as
//! good as any: it is asked from this host. A query gets a number and a port of its own at random, so
//! that nobody who does not see it can answer it (RFC 5452 9).

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, UdpSocket};

use super::{PORT, read_message, write_message};
use crate::driver::now;

/// How long one resolver may take before the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many are asked at most: clients give up after five seconds (`resolv.conf(5)`, `timeout`).
const MAX_ASKED: usize = 3;

/// How old what was read of the file may be.
const FRESH: Duration = Duration::from_secs(1);

/// The longest reply over UDP.
const MAX_REPLY: usize = 65_535;

const HEADER_LEN: usize = 12;
const SERVFAIL: u8 = 2;

/// Where to ask.
#[derive(Debug)]
pub(super) struct Upstreams {
    file: PathBuf,
    /// The gateway's own addresses, where asking would go round in circles.
    own: Vec<IpAddr>,
    read: RefCell<Option<(Instant, Vec<SocketAddr>)>>,
}

impl Upstreams {
    pub(super) fn new(own: Vec<IpAddr>) -> Self {
        Self { file: "/etc/resolv.conf".into(), own, read: RefCell::default() }
    }

    /// Those of now, best first.
    pub(super) fn list(&self) -> Vec<SocketAddr> {
        let mut read = self.read.borrow_mut();
        match &*read {
            Some((at, list)) if now().saturating_duration_since(*at) < FRESH => list.clone(),
            _ => {
                let text = std::fs::read(&self.file).unwrap_or_default();
                let list = name_servers(&String::from_utf8_lossy(&text), &self.own);
                *read = Some((now(), list.clone()));
                list
            }
        }
    }

    /// The reply to a query: that of the first resolver that answers, or that none does.
    pub(super) async fn ask_udp(&self, query: &[u8]) -> Vec<u8> {
        let Some(question) = Question::of(query) else { return Vec::new() };
        for server in self.list().into_iter().take(MAX_ASKED) {
            let asked = tokio::time::timeout(PATIENCE, exchange_udp(server, query, &question));
            match asked.await {
                Ok(Ok(reply)) => return reply,
                Ok(Err(err)) => tracing::debug!(%server, %err, "a resolver does not answer"),
                Err(_) => tracing::debug!(%server, "a resolver does not answer in time"),
            }
        }
        question.failure(query)
    }

    /// The same over TCP, for replies that UDP cannot carry.
    pub(super) async fn ask_tcp(&self, query: &[u8]) -> Vec<u8> {
        let Some(question) = Question::of(query) else { return Vec::new() };
        for server in self.list().into_iter().take(MAX_ASKED) {
            let asked = tokio::time::timeout(PATIENCE, exchange_tcp(server, query, &question));
            if let Ok(Ok(reply)) = asked.await {
                return reply;
            }
        }
        question.failure(query)
    }
}

/// The `nameserver` lines of `resolv.conf(5)`.
fn name_servers(text: &str, own: &[IpAddr]) -> Vec<SocketAddr> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address =
            words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        address.parse::<IpAddr>().ok()
    });
    addresses
        .filter(|address| !own.contains(address))
        .map(|address| (address, PORT).into())
        .collect()
}

/// The part of a query that a reply repeats.
#[derive(Debug)]
struct Question {
    /// Where it ends.
    end: usize,
}

impl Question {
    /// RFC 1035 4.1: the header, a name of labels, type and class.
    fn of(query: &[u8]) -> Option<Self> {
        let mut at = HEADER_LEN;
        loop {
            let len = usize::from(*query.get(at)?);
            at += 1 + len;
            match len {
                0 => break,
                1..=63 => {}
                _ => return None,
            }
        }
        let end = at + 4;
        (end <= query.len()).then_some(Self { end })
    }

    /// Whether a message is the reply to the query with that number. Resolvers may change the case
    /// of letters.
    fn is_answered_by(&self, query: &[u8], number: [u8; 2], reply: &[u8]) -> bool {
        let is_reply = reply.get(2).is_some_and(|flags| flags & 0x80 != 0);
        let same = |range: std::ops::Range<usize>| {
            reply.get(range.clone()).is_some_and(|got| got.eq_ignore_ascii_case(&query[range]))
        };
        // The counts of questions are equal, too.
        is_reply && reply.starts_with(&number) && same(4..6) && same(HEADER_LEN..self.end)
    }

    /// That nobody could answer.
    fn failure(&self, query: &[u8]) -> Vec<u8> {
        let mut reply = query[..self.end].to_vec();
        reply[2] |= 0x80;
        reply[3] = 0x80 | SERVFAIL;
        reply[6..HEADER_LEN].fill(0);
        reply
    }
}

/// The query under a number at random, and that number.
fn renumbered(query: &[u8]) -> ([u8; 2], Vec<u8>) {
    let number: [u8; 2] = rand::random();
    let mut renumbered = query.to_vec();
    renumbered[..2].copy_from_slice(&number);
    (number, renumbered)
}

async fn exchange_udp(
    server: SocketAddr,
    query: &[u8],
    question: &Question,
) -> io::Result<Vec<u8>> {
    let anywhere: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((anywhere, 0)).await?;
    socket.connect(server).await?;
    let (number, renumbered) = renumbered(query);
    socket.send(&renumbered).await?;
    let mut reply = vec![0; MAX_REPLY];
    loop {
        let len = socket.recv(&mut reply).await?;
        if question.is_answered_by(query, number, &reply[..len]) {
            reply.truncate(len);
            reply[..2].copy_from_slice(&query[..2]);
            return Ok(reply);
        }
    }
}

async fn exchange_tcp(
    server: SocketAddr,
    query: &[u8],
    question: &Question,
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let (number, renumbered) = renumbered(query);
    write_message(&mut stream, &renumbered).await?;
    let mut reply = read_message(&mut stream).await?;
    if !question.is_answered_by(query, number, &reply) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    reply[..2].copy_from_slice(&query[..2]);
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for `ab.` with the number 0x1234.
    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x02ab\0\0\x01\0\x01";

    #[test]
    fn the_hosts_resolvers_are_those_of_its_file_but_never_ourselves() {
        let text = "# nameserver 9.9.9.9\nsearch x\nnameserver 127.0.0.53\n\
                    nameserver 10.77.0.1\nnameserver\t2001:db8::53\nnameserver fe80::1%eth0\n";
        let own = ["10.77.0.1".parse().unwrap()];
        let expected: Vec<SocketAddr> =
            vec!["127.0.0.53:53".parse().unwrap(), "[2001:db8::53]:53".parse().unwrap()];
        assert_eq!(name_servers(text, &own), expected);
    }

    #[test]
    fn only_the_reply_to_our_number_and_question_counts() {
        let question = Question::of(QUERY).unwrap();
        let mut reply = QUERY.to_vec();
        reply[2] |= 0x80;
        assert!(question.is_answered_by(QUERY, [0x12, 0x34], &reply));
        assert!(!question.is_answered_by(QUERY, [0x12, 0x35], &reply));
        assert!(!question.is_answered_by(QUERY, [0x12, 0x34], QUERY), "a query is no reply");
        reply[13] = b'A';
        assert!(question.is_answered_by(QUERY, [0x12, 0x34], &reply));
        reply[13] = b'x';
        assert!(!question.is_answered_by(QUERY, [0x12, 0x34], &reply));
    }

    #[test]
    fn a_cut_query_has_no_question_and_a_failure_repeats_it() {
        for len in 0..QUERY.len() {
            assert!(Question::of(&QUERY[..len]).is_none(), "{len} octets");
        }
        let failure = Question::of(QUERY).unwrap().failure(QUERY);
        assert_eq!(failure[..4], [0x12, 0x34, 0x81, 0x82]);
        assert_eq!(failure[HEADER_LEN..], QUERY[HEADER_LEN..]);
    }
}
