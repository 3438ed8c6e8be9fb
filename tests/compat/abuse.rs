//! A million malformed datagrams, requests and lines, on every surface that a guest, a local program
//! or a stranger on the network can reach: no panic, no growth, no flood of the log, and who behaves
//! is served as before. Which octets come is drawn from a seed, the same in each run.

use std::io::{self, Read as _, Write as _};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::client::{MAGIC, address_of, path_octets, request};
use lab::frames::{STATION_A, STATION_B};
use lab::node::Setup;
use lab::plug::meet;
use lab::switch::Console;
use lab::{Client, Node, Plug, Process, Scene, Suite, Switch};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketType};

/// How long the well-behaved may need to meet while the machine works off the rest.
const MEETING: Duration = Duration::from_secs(20);

/// How much more memory the last nine tenths may take than the first tenth did. Some 17 MiB are what
/// tables and half-open handshakes take at most, however long it goes on; a leak of 20 octets for
/// each input would be seen.
const GROWTH: u64 = 32 << 20;

/// How many datagrams of strangers and lines for the control socket one percent of the trial has. With
/// `VDE_FULL=1` a million come to the port in all, no faster than the node can read them.
fn strangers() -> (usize, usize, Duration) {
    match std::env::var_os("VDE_FULL") {
        Some(_) => (10_000, 1000, Duration::from_millis(1)),
        None => (600, 100, Duration::ZERO),
    }
}

/// Requests of which one octet is changed.
const REQUESTS: [&str; 6] = [
    r#"{"v":1,"command":"trace","target":"nobody","vlan":7}"#,
    r#"{"v":1,"command":"ping","target":"nobody","octets":64,"wait_ms":1}"#,
    r#"{"v":1,"command":"revoke","member":"nobody","with_admitted":true}"#,
    r#"{"v":1,"command":"join","token":"vde1aaaaaaaaaaaaaaaaaaaaaaaa"}"#,
    r#"{"v":1,"command":"macs","vlan":4094}"#,
    r#"{"v":1,"command":"wire","target":{"cable":"c1"},"change":{"set":[]}}"#,
];

/// How much may be logged in all.
const LOG_LIMIT: usize = 64 << 10;

pub(crate) fn trials(suite: Suite) -> Suite {
    suite.trial("a_million_malformed_inputs_are_survived_by_a_node", &["vde_plug"], node).trial(
        "malformed_lines_are_survived_by_a_console",
        &["vde_plug"],
        console,
    )
}

/// Numbers that look random (xorshift64*, Vigna 2016).
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % limit
    }

    fn fill(&mut self, octets: &mut [u8]) {
        for chunk in octets.chunks_mut(8) {
            let word = self.next().to_ne_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// What no station sends: too short, too long, cut in its tag, from nobody or from everybody, or
/// nothing but noise.
fn bad_frame<'a>(random: &mut Random, room: &'a mut [u8]) -> &'a [u8] {
    random.fill(&mut room[..64]);
    let len = match random.below(8) {
        0 => 0,
        1 => 1 + random.below(13),
        2 => 9300 + random.below(700),
        3 => {
            // A tag, and no room for what follows it.
            room[12..16].copy_from_slice(&[0x81, 0, 0xff, 0xff]);
            14 + random.below(4)
        }
        4 => {
            room[6..12].fill(0xff);
            60
        }
        5 => {
            room[6..12].fill(0);
            60
        }
        6 => {
            // IPv6 that ends in its own header, from an address that is never the same.
            room[12..14].copy_from_slice(&[0x86, 0xdd]);
            room[6] &= 0xfe;
            14 + random.below(50)
        }
        _ => 14 + random.below(600),
    };
    &room[..len]
}

/// The surfaces of a node.
struct Target<'a> {
    scene: &'a Scene,
    node: Node,
    stream: PathBuf,
    dgram: PathBuf,
    seqpacket: PathBuf,
    udp: String,
    random: Random,
}

fn node(scene: &Scene) -> Result<()> {
    let udp = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let [stream, dgram, seqpacket] = ["stream", "dgram", "seqpacket"].map(|name| scene.path(name));
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let node = Setup::listening("node", &udp)
        .argument("--stream")
        .argument(&text(&stream))
        .argument("--dgram")
        .argument(&text(&dgram))
        .argument("--seqpacket")
        .argument(&text(&seqpacket))
        .start(scene)?;
    let random = Random(0x5eed);
    let mut target = Target { scene, node, stream, dgram, seqpacket, udp, random };
    target.round(10)?;
    let before = target.node.process()?.resident_bytes()?;
    target.round(90)?;
    let process = target.node.process()?;
    healthy(process, before)?;
    let mut a = Plug::insert(scene, "plug-a", target.node.socket())?;
    let mut b = Plug::insert(scene, "plug-b", target.node.socket())?;
    meet((&mut a, STATION_A), (&mut b, STATION_B), MEETING)
}

/// Runs still, has not grown, has not filled its log.
fn healthy(process: &mut Process, resident_before: u64) -> Result<()> {
    process.check_running()?;
    let grown = process.resident_bytes()?.saturating_sub(resident_before);
    ensure!(grown < GROWTH, "it has grown by {} KiB", grown >> 10);
    let log = process.log();
    ensure!(log.len() < LOG_LIMIT, "it has logged {} octets", log.len());
    ensure!(!log.contains("panicked"), "a part of it has panicked");
    Ok(())
}

impl Target<'_> {
    /// One in a hundred of a million, `percent` times.
    fn round(&mut self, percent: usize) -> Result<()> {
        self.datagrams_of_a_plug(5000 * percent).context("frames of a plug")?;
        self.datagrams(1500 * percent).context("the socket for datagrams")?;
        self.packets(500 * percent).context("the socket for sequenced packets")?;
        self.streams(2200 * percent).context("the socket for streams")?;
        self.requests(100 * percent).context("requests for a plug")?;
        let (datagrams, lines, rest) = strangers();
        self.strangers(datagrams * percent, rest).context("the port for cables")?;
        self.control_lines(lines * percent).context("the control socket")?;
        self.node.process()?.check_running()
    }

    fn datagrams_of_a_plug(&mut self, count: usize) -> Result<()> {
        let path = self.scene.path(&format!("client-{count}"));
        let mut client = Client::plug_in_at(self.node.socket(), &path, 0)?;
        let mut room = vec![0; 10_000];
        for _ in 0..count {
            client.send(bad_frame(&mut self.random, &mut room))?;
        }
        ensure!(client.is_plugged(), "the plug was pulled");
        Ok(())
    }

    fn datagrams(&mut self, count: usize) -> Result<()> {
        let own = self.scene.path(&format!("datagrams-{count}"));
        let socket = UnixDatagram::bind(own)?;
        socket.connect(&self.dgram)?;
        socket.set_write_timeout(Some(MEETING))?;
        let mut room = vec![0; 10_000];
        for _ in 0..count {
            socket.send(bad_frame(&mut self.random, &mut room))?;
        }
        Ok(())
    }

    fn packets(&mut self, count: usize) -> Result<()> {
        let mut room = vec![0; 10_000];
        // A packet of no octets is an end in this kind of socket: each sender gets to it soon.
        let mut left = count;
        while left > 0 {
            let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
            rustix::net::connect(&socket, &SocketAddrUnix::new(&self.seqpacket)?)?;
            for _ in 0..left.min(100) {
                left -= 1;
                let packet = bad_frame(&mut self.random, &mut room);
                if rustix::net::send(socket.as_fd(), packet, SendFlags::NOSIGNAL).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn streams(&mut self, count: usize) -> Result<()> {
        // Frames that are too short, each with its right length; then lengths of every size, after
        // which no frame's beginning can be found again.
        let mut short = UnixStream::connect(&self.stream)?;
        short.set_write_timeout(Some(MEETING))?;
        let mut octets = Vec::new();
        for _ in 0..count {
            let len = self.random.below(14);
            octets.extend(u32::try_from(len)?.to_be_bytes());
            octets.resize(octets.len() + len, 0x5a);
        }
        short.write_all(&octets)?;
        let mut noise = vec![0; 4096];
        for _ in 0..count / 1000 {
            self.random.fill(&mut noise);
            let mut stream = UnixStream::connect(&self.stream)?;
            stream.set_write_timeout(Some(MEETING))?;
            // Refused in the middle, most of the time.
            let _ = stream.write_all(&noise);
        }
        Ok(())
    }

    fn requests(&mut self, count: usize) -> Result<()> {
        let nowhere = self.scene.path("nowhere");
        let control = self.node.socket().join("ctl");
        let mut noise = vec![0; 300];
        for _ in 0..count {
            self.random.fill(&mut noise);
            let version = u32::try_from(self.random.below(5))?;
            let mut octets = request(&[MAGIC, version, 0], &address_of(path_octets(&nowhere)), b"");
            // The head of a request, a request with one octet changed, a longer one, or noise.
            match self.random.below(4) {
                0 => octets.truncate(self.random.below(122)),
                1 => {
                    let place = self.random.below(octets.len());
                    octets[place] ^= 0x40;
                }
                2 => octets.extend(&noise),
                _ => octets.clone_from(&noise),
            }
            let mut stream = UnixStream::connect(&control)?;
            stream.set_write_timeout(Some(MEETING))?;
            let _ = stream.write_all(&octets);
        }
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "what a full queue loses, the node never sees")]
    fn strangers(&mut self, count: usize, rest: Duration) -> Result<()> {
        let mut room = vec![0; 1500];
        for _ in 0..count.div_ceil(100) {
            // Another port each time: another stranger.
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(&self.udp)?;
            for _ in 0..100 {
                let len = self.random.below(1500);
                self.random.fill(&mut room[..len]);
                if len > 5 && self.random.below(2) == 0 {
                    // A long header of QUIC version 1: the beginning of a handshake (RFC 9000 17.2).
                    room[0] = 0xc0;
                    room[1..5].copy_from_slice(&1_u32.to_be_bytes());
                }
                // A full queue loses datagrams, as networks do.
                let _ = socket.send(&room[..len]);
            }
            std::thread::sleep(rest);
        }
        Ok(())
    }

    fn control_lines(&mut self, count: usize) -> Result<()> {
        let mut noise = vec![0; 200];
        for number in 0..count.div_ceil(50) {
            let mut stream = UnixStream::connect(self.node.control())?;
            stream.set_write_timeout(Some(MEETING))?;
            stream.set_nonblocking(true)?;
            for _ in 0..50 {
                self.random.fill(&mut noise);
                let line = match number % 4 {
                    3 => {
                        let request = REQUESTS[self.random.below(REQUESTS.len())];
                        let mut octets = request.as_bytes().to_vec();
                        let place = self.random.below(octets.len());
                        octets[place] ^= 1 << self.random.below(8);
                        [octets, b"\n".to_vec()].concat()
                    }
                    0 => b"{\"v\":1,\"command\":\"nonsense\"}\n".to_vec(),
                    1 => [b"{\"".as_slice(), &noise, b"\n"].concat(),
                    _ => [noise.as_slice(), b"\n"].concat(),
                };
                match stream.write(&line) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // It has closed, which is an answer.
                    Err(_) => break,
                }
            }
            let _ = stream.read(&mut noise);
        }
        Ok(())
    }
}

fn console(scene: &Scene) -> Result<()> {
    let mut switch = Switch::ours(scene, "switch")?;
    let mut random = Random(0x5eed);
    give_noise(&switch, &mut random, 50)?;
    let before = switch.process().resident_bytes()?;
    give_noise(&switch, &mut random, 450)?;
    healthy(switch.process(), before)?;
    ensure!(switch.ask("port/showinfo")?.contains("Numports=32"), "something has changed");
    let mut a = Plug::insert(scene, "plug-a", switch.socket())?;
    let mut b = Plug::insert(scene, "plug-b", switch.socket())?;
    meet((&mut a, STATION_A), (&mut b, STATION_B), MEETING)
}

/// Sessions of noise, of lines without end, and of commands with noise for arguments, which end
/// without a word.
fn give_noise(switch: &Switch, random: &mut Random, sessions: usize) -> Result<()> {
    const COMMANDS: [&str; 6] =
        ["port/print ", "port/setvlan ", "vlan/create ", "hash/find ", "load ", "help "];
    let mut noise = vec![0; 4000];
    for number in 0..sessions {
        let mut session = UnixStream::connect(switch.management())?;
        session.set_write_timeout(Some(MEETING))?;
        for turn in 0..20 {
            random.fill(&mut noise);
            match number % 3 {
                // No line may end a switch, not even by chance.
                0 => noise.iter_mut().for_each(|octet| *octet |= 0x80),
                1 => noise.fill(b'x'),
                _ => {
                    let command = COMMANDS[turn % COMMANDS.len()];
                    noise[..command.len()].copy_from_slice(command.as_bytes());
                    noise[command.len()..].iter_mut().for_each(|octet| *octet |= 0x80);
                    noise[command.len() + 100] = b'\n';
                }
            }
            // A session that is not heard out is closed by the switch after a while.
            if session.write_all(&noise).is_err() {
                break;
            }
            let _ = session.set_nonblocking(true);
            let _ = session.read(&mut [0; 4096]);
            let _ = session.set_nonblocking(false);
        }
    }
    Console::open(switch.management()).map(drop).context("no session is left for others")
}
