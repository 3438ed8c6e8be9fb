//! A crowd of DHCP clients on one plug, who remember what they were promised and check every
//! answer against it. What it never finds: that a lease is lost, or that one address is two
//! clients'.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lab::dhcp::{Kind, Message, Reply};
use lab::{Node, StreamPlug, wait_for};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// How many clients wait for an answer at any time: more than the server probes for at once, so
/// that the disk decides how fast it goes.
const WINDOW: usize = 96;

/// When nothing came for so long, frames were lost, and clients repeat themselves.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often in a row, before somebody is to blame.
const MAX_SILENCES: u32 = 20;

/// How long a node may take until it listens.
const LISTENS: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// For an offer.
    Offer,
    /// For the ACK to its first request.
    Ack,
    /// For the ACK to its renewal.
    Renewal,
}

#[derive(Debug, Clone, Copy, Default)]
struct Client {
    /// What it was promised.
    has: Option<Ipv4Addr>,
    waits: Option<(Waits, u32)>,
    /// What it sent, to be repeated.
    said: Option<Message>,
}

/// The crowd.
#[derive(Debug)]
pub(crate) struct Crowd {
    clients: Vec<Client>,
    owners: HashMap<Ipv4Addr, usize>,
    waiting: usize,
    rng: SmallRng,
    next_xid: u32,
    /// DISCOVER to ACK.
    pub(crate) exchanges: u64,
    /// ACKs to clients that had their address before.
    pub(crate) renewals: u64,
}

/// Where the crowd stands; nothing is sent while it is only heard.
enum Course {
    /// Keep the window full.
    Press,
    /// Take in what comes.
    Hear,
}

impl Crowd {
    pub(crate) fn new(size: usize, seed: u64) -> Self {
        Self {
            clients: vec![Client::default(); size],
            owners: HashMap::new(),
            waiting: 0,
            rng: SmallRng::seed_from_u64(seed),
            next_xid: 0,
            exchanges: 0,
            renewals: 0,
        }
    }

    /// Plugs in as soon as a node listens.
    pub(crate) fn plug_in(path: &Path) -> Result<StreamPlug> {
        wait_for("a stream socket that listens", LISTENS, || Ok(StreamPlug::insert(path).ok()))
    }

    pub(crate) fn random(&mut self, below: u64) -> u64 {
        self.rng.random_range(0..below)
    }

    /// Who has an address, by its station.
    pub(crate) fn promises(&self) -> impl Iterator<Item = (String, Ipv4Addr)> {
        let promised = |(number, client): (usize, &Client)| Some((text(number), client.has?));
        self.clients.iter().enumerate().filter_map(promised)
    }

    /// Asks, renews and releases, until so many answers were heard.
    pub(crate) fn press(&mut self, plug: &mut StreamPlug, answers: u64) -> Result<()> {
        self.go(plug, &Course::Press, answers)
    }

    /// Takes in what a killed node had sent.
    pub(crate) fn hear_the_last(&mut self, plug: &mut StreamPlug) -> Result<()> {
        self.go(plug, &Course::Hear, u64::MAX)?;
        // What was not answered by then is not answered any more.
        for client in &mut self.clients {
            (client.waits, client.said) = (None, None);
        }
        self.waiting = 0;
        Ok(())
    }

    /// Everybody who has an address asks to keep it.
    pub(crate) fn renew_all(&mut self, plug: &mut StreamPlug) -> Result<()> {
        for number in 0..self.clients.len() {
            if self.clients[number].has.is_some() && self.clients[number].waits.is_none() {
                self.renew(plug, number)?;
            }
            if self.waiting >= WINDOW {
                self.go(plug, &Course::Hear, 1)?;
            }
        }
        while self.waiting > 0 {
            self.go(plug, &Course::Hear, 1)?;
        }
        Ok(())
    }

    fn go(&mut self, plug: &mut StreamPlug, course: &Course, answers: u64) -> Result<()> {
        let (mut heard, mut silences) = (0, 0);
        while heard < answers {
            while matches!(course, Course::Press) && self.waiting < WINDOW {
                self.one_more(plug)?;
            }
            match plug.receive(PATIENCE)? {
                Some(frame) => {
                    silences = 0;
                    heard += u64::from(self.hear(plug, &frame)?);
                }
                None if plug.has_ended() => return Ok(()),
                None => {
                    silences += 1;
                    ensure!(silences < MAX_SILENCES, "the server is silent");
                    self.repeat(plug)?;
                }
            }
        }
        Ok(())
    }

    /// Lets a client that waits for nothing do something.
    fn one_more(&mut self, plug: &mut StreamPlug) -> Result<()> {
        let number = loop {
            let number = self.rng.random_range(0..self.clients.len());
            if self.clients[number].waits.is_none() {
                break number;
            }
        };
        match self.clients[number].has {
            None => {
                let message = Message::discover(station(number), self.xid());
                self.say(plug, number, Waits::Offer, message)
            }
            Some(_) if self.rng.random_range(0..4) > 0 => self.renew(plug, number),
            Some(address) => {
                // Nobody answers it: from here on the address may be anybody's.
                self.clients[number].has = None;
                self.owners.remove(&address);
                let server = Ipv4Addr::new(10, 77, 0, 1);
                let message = Message::release(station(number), self.xid(), address, server);
                plug.send(&message.frame()).map(drop)
            }
        }
    }

    fn renew(&mut self, plug: &mut StreamPlug, number: usize) -> Result<()> {
        let address = self.clients[number].has.context("a client renews what it has")?;
        let xid = self.xid();
        // Half of them as after a power cut.
        let message = match xid % 2 {
            0 => Message::rebind(station(number), xid, address),
            _ => Message::reboot(station(number), xid, address),
        };
        self.say(plug, number, Waits::Renewal, message)
    }

    fn say(
        &mut self,
        plug: &mut StreamPlug,
        number: usize,
        waits: Waits,
        message: Message,
    ) -> Result<()> {
        let client = &mut self.clients[number];
        self.waiting += usize::from(client.waits.is_none());
        client.waits = Some((waits, message.xid));
        client.said = Some(message);
        plug.send(&message.frame()).map(drop)
    }

    fn repeat(&self, plug: &mut StreamPlug) -> Result<()> {
        for message in self.clients.iter().filter_map(|client| client.said) {
            plug.send(&message.frame())?;
        }
        Ok(())
    }

    /// Whether the frame was an answer that somebody waited for.
    fn hear(&mut self, plug: &mut StreamPlug, frame: &[u8]) -> Result<bool> {
        let Some(reply) = Reply::read(frame) else { return Ok(false) };
        let Some(number) = number_of(reply.station) else { return Ok(false) };
        let client = self.clients[number];
        let Some((waits, _)) = client.waits.filter(|(_, xid)| *xid == reply.xid) else {
            return Ok(false);
        };
        match (waits, reply.kind) {
            (Waits::Offer, Kind::Offer) => {
                let message = Message::select(station(number), self.xid(), &reply);
                self.say(plug, number, Waits::Ack, message)?;
                return Ok(true);
            }
            (Waits::Ack, Kind::Ack) => {
                self.exchanges += 1;
                self.promise(number, reply.address)?;
            }
            // The offer was forgotten: the server was killed meanwhile and knows better now.
            (Waits::Ack, Kind::Nak) => {}
            (Waits::Renewal, Kind::Ack) => {
                self.renewals += 1;
                let has = client.has.context("it renewed something")?;
                ensure!(reply.address == has, "{} had {has}, now {reply:?}", text(number));
                self.promise(number, reply.address)?;
            }
            (Waits::Renewal, Kind::Nak) => {
                bail!("the lease of {} for {:?} is lost", text(number), client.has)
            }
            _ => return Ok(false),
        }
        let client = &mut self.clients[number];
        (client.waits, client.said) = (None, None);
        self.waiting -= 1;
        Ok(true)
    }

    fn promise(&mut self, number: usize, address: Ipv4Addr) -> Result<()> {
        if let Some(other) = self.owners.insert(address, number)
            && other != number
        {
            bail!("{address} was given to {} and to {}", text(other), text(number));
        }
        self.clients[number].has = Some(address);
        Ok(())
    }

    fn xid(&mut self) -> u32 {
        self.next_xid += 1;
        self.next_xid
    }
}

fn station(number: usize) -> [u8; 6] {
    let [.., a, b, c] = number.to_be_bytes();
    [0x02, 0xd1, 0xc0, a, b, c]
}

fn number_of(station: [u8; 6]) -> Option<usize> {
    let [0x02, 0xd1, 0xc0, a, b, c] = station else { return None };
    Some(usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c))
}

fn text(number: usize) -> String {
    station(number).map(|octet| format!("{octet:02x}")).join(":")
}

/// Every promise that the crowd was given stands in the node's leases.
pub(crate) fn check(crowd: &Crowd, node: &Node) -> Result<usize> {
    let leases = node.leases()?;
    let known: HashMap<&str, (&str, &str)> = leases
        .iter()
        .filter_map(|lease| {
            let text = |key: &str| lease[key].as_str();
            Some((text("address")?, (text("mac")?, text("state")?)))
        })
        .collect();
    let mut count = 0;
    for (mac, address) in crowd.promises() {
        let address = address.to_string();
        let lease = known.get(address.as_str());
        ensure!(
            lease == Some(&(mac.as_str(), "bound")),
            "{mac} was promised {address}, and the node says {lease:?}"
        );
        count += 1;
    }
    Ok(count)
}
