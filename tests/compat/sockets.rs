//! Sockets other than VDE's: datagrams, as QEMU's `-netdev dgram` and vfkit's `unixgram` have them,
//! and sequenced packets, as User-Mode Linux has them.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::frames::{BROADCAST, LOOP_PROBE, STATION_A, STATION_B, frame};
use lab::node::Setup;
use lab::process::Signal;
use lab::{Node, Scene, Suite, wait_until};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType};

/// How long a frame may take on a busy machine, and a node to notice who is there.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to listen before a call is repeated.
const LISTEN: Duration = Duration::from_millis(50);

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("frames_pass_between_all_kinds_of_datagram_sockets", &[], all_kinds)
        .trial("a_datagram_peer_that_comes_back_has_its_old_port", &[], comes_back)
        .trial("a_stream_client_that_dials_again_has_its_old_port", &[], redialled)
        .trial("a_datagram_peer_that_is_named_is_found_when_it_starts", &[], named_peer)
        .trial("a_sequenced_client_that_ends_gives_its_port_back", &[], sequenced_end)
        .trial("sockets_of_vms_get_the_mode_that_was_asked_for", &[], modes)
        .trial("sockets_of_a_dead_node_do_not_stop_the_next", &[], dead_node)
}

/// A raw client of one of the sockets.
#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    station: [u8; 6],
}

impl Client {
    fn new(socket: impl Into<OwnedFd>, station: [u8; 6]) -> Result<Self> {
        let socket = socket.into();
        rustix::net::sockopt::set_socket_timeout(
            &socket,
            rustix::net::sockopt::Timeout::Recv,
            Some(LISTEN),
        )?;
        Ok(Self { socket, station })
    }

    /// As QEMU: bound, and connected to the node's socket.
    fn dgram(own: &Path, node: &Path, station: [u8; 6]) -> Result<Self> {
        let socket = UnixDatagram::bind(own)?;
        socket.connect(node)?;
        Self::new(socket, station)
    }

    fn sequenced(node: &Path, station: [u8; 6]) -> Result<Self> {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(node)?)?;
        Self::new(socket, station)
    }

    fn send(&self, octets: &[u8]) -> Result<()> {
        rustix::net::send(&self.socket, octets, SendFlags::empty())?;
        Ok(())
    }

    /// What has come, if anything has.
    fn receive(&self) -> Option<Vec<u8>> {
        loop {
            let mut octets = vec![0; 10_000];
            let (len, _) = rustix::net::recv(&self.socket, &mut octets, RecvFlags::empty()).ok()?;
            octets.truncate(len);
            if !octets.starts_with(&LOOP_PROBE) {
                return Some(octets);
            }
        }
    }

    fn call(&self, seed: u8) -> Vec<u8> {
        frame(BROADCAST, self.station, 60, seed)
    }
}

/// Repeats a call until it is heard; then both are plugged in.
fn is_heard(from: &Client, to: &Client) -> Result<()> {
    let call = from.call(7);
    wait_until("a call to be heard", PATIENCE, || {
        // Nobody may be there yet.
        let _ = from.send(&call);
        Ok(to.receive().is_some_and(|heard| heard == call))
    })
}

/// Frames of many lengths in both directions, each whole and nothing beside it.
fn exchange(a: &Client, b: &Client) -> Result<()> {
    is_heard(a, b)?;
    is_heard(b, a)?;
    for client in [a, b] {
        while client.receive().is_some() {}
    }
    for (seed, len) in (1..).zip([14, 60, 777, 1514, 1518, 9018]) {
        for (from, to) in [(a, b), (b, a)] {
            let sent = frame(to.station, from.station, len, seed);
            from.send(&sent)?;
            let got = to.receive().with_context(|| format!("{len} octets did not arrive"))?;
            ensure!(got == sent, "{len} octets arrived as {} others", got.len());
        }
    }
    Ok(())
}

/// On a unix socket a client is known by its process, on TCP by its host.
fn redialled(scene: &Scene) -> Result<()> {
    let path = scene.path("stream");
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let node = Setup::local("node")
        .argument("--stream")
        .argument(text(&path)?)
        .argument("--stream")
        .argument(&address.to_string())
        .start(scene)?;
    let unix = || Ok(OwnedFd::from(UnixStream::connect(&path)?));
    let tcp = || Ok(OwnedFd::from(TcpStream::connect(address)?));
    let dials: [(&str, &dyn Fn() -> Result<OwnedFd>); 2] = [("unix", &unix), ("tcp", &tcp)];
    for (name, dial) in dials {
        // The lowest port is taken at first, and free when the client comes back.
        let other = lab::client::Client::plug_in_at(node.socket(), &scene.path(name), 0)?;
        let first = dial()?;
        wait_until("a stream at port 2", PATIENCE, || Ok(port_of(&node, "stream")? == Some(2)))?;
        drop((first, other));
        wait_until("no port in use", PATIENCE, || Ok(node.ports()?.is_empty()))?;
        let again = dial()?;
        wait_until("the stream again", PATIENCE, || Ok(port_of(&node, "stream")?.is_some()))?;
        ensure!(port_of(&node, "stream")? == Some(2), "{name}: {:?}", node.ports()?);
        drop(again);
        wait_until("no port in use", PATIENCE, || Ok(node.ports()?.is_empty()))?;
    }
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path of a scene is text")
}

/// The port whose kind is this.
fn port_of(node: &Node, kind: &str) -> Result<Option<u64>> {
    let ports = node.ports()?;
    let port = ports.iter().find(|port| port["kind"] == kind);
    Ok(port.and_then(|port| port["port"].as_u64()))
}

fn all_kinds(scene: &Scene) -> Result<()> {
    const STATIONS: [[u8; 6]; 4] =
        [STATION_A, STATION_B, [0x02, 0, 0, 0, 0, 0x0c], [0x02, 0, 0, 0, 0, 0x0d]];
    let (one, hello, sequenced) = (scene.path("one"), scene.path("vfkit"), scene.path("bess"));
    let peer = UdpSocket::bind("127.0.0.1:0")?;
    let ours = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let _node = Setup::local("node")
        .argument("--dgram")
        .argument(text(&one)?)
        .argument("--dgram")
        .argument(text(&hello)?)
        .argument("--seqpacket")
        .argument(text(&sequenced)?)
        .argument("--dgram")
        .argument(&format!("{ours}={}", peer.local_addr()?))
        .start(scene)?;
    peer.connect(ours)?;
    let vfkit = Client::dgram(&scene.path("peer-2"), &hello, STATIONS[1])?;
    vfkit.send(b"VFKT")?;
    let clients = [
        Client::dgram(&scene.path("peer-1"), &one, STATIONS[0])?,
        vfkit,
        Client::sequenced(&sequenced, STATIONS[2])?,
        Client::new(peer, STATIONS[3])?,
    ];
    for (index, a) in clients.iter().enumerate() {
        for b in &clients[index + 1..] {
            exchange(a, b).with_context(|| format!("{:?} and {:?}", a.station, b.station))?;
        }
    }
    Ok(())
}

fn comes_back(scene: &Scene) -> Result<()> {
    let (path, sequenced) = (scene.path("one"), scene.path("bess"));
    let node = Setup::local("node")
        .argument("--dgram")
        .argument(text(&path)?)
        .argument("--seqpacket")
        .argument(text(&sequenced)?)
        .start(scene)?;
    let own = scene.path("peer");
    let first = Client::dgram(&own, &path, STATION_A)?;
    first.send(&first.call(0))?;
    wait_until("the peer to be plugged in", PATIENCE, || Ok(port_of(&node, "dgram")?.is_some()))?;
    let port = port_of(&node, "dgram")?;
    // Somebody else takes the next port meanwhile.
    let other = Client::sequenced(&sequenced, STATION_B)?;
    is_heard(&first, &other)?;
    drop(first);
    std::fs::remove_file(&own)?;
    wait_until("the port to be given back", PATIENCE, || Ok(port_of(&node, "dgram")?.is_none()))?;
    wait_until("the socket to be there again", PATIENCE, || {
        let again = scene.path("again");
        let Ok(second) = Client::dgram(&again, &path, STATION_A) else {
            let _ = std::fs::remove_file(&again);
            return Ok(false);
        };
        exchange(&second, &other)?;
        ensure!(port_of(&node, "dgram")? == port, "it came back at another port");
        Ok(true)
    })
}

fn named_peer(scene: &Scene) -> Result<()> {
    let (path, own, sequenced) = (scene.path("node-end"), scene.path("vm-end"), scene.path("bess"));
    let _node = Setup::local("node")
        .argument("--dgram")
        .argument(&format!("{}={}", text(&path)?, text(&own)?))
        .argument("--seqpacket")
        .argument(text(&sequenced)?)
        .start(scene)?;
    let other = Client::sequenced(&sequenced, STATION_B)?;
    // It never says a word before it hears one.
    let silent = Client::dgram(&own, &path, STATION_A)?;
    is_heard(&other, &silent)?;
    exchange(&silent, &other)
}

fn sequenced_end(scene: &Scene) -> Result<()> {
    let path = scene.path("bess");
    let node = Setup::local("node").argument("--seqpacket").argument(text(&path)?).start(scene)?;
    let client = Client::sequenced(&path, STATION_A)?;
    wait_until("the client to be plugged in", PATIENCE, || {
        Ok(port_of(&node, "seqpacket")?.is_some())
    })?;
    let ports = node.ports()?;
    let port = ports.iter().find(|port| port["kind"] == "seqpacket").context("no port")?;
    ensure!(
        port["pid"].as_u64() == Some(u64::from(std::process::id())),
        "the peer is not this process: {port}"
    );
    drop(client);
    wait_until("its port to be given back", PATIENCE, || Ok(port_of(&node, "seqpacket")?.is_none()))
}

fn modes(scene: &Scene) -> Result<()> {
    let mode = |path: &Path| Ok(std::fs::metadata(path)?.permissions().mode() & 0o777);
    let paths = ["stream", "dgram", "seqpacket"].map(|name| (name, scene.path(name)));
    for (asked, expected) in [(None, 0o600), (Some("0660"), 0o660)] {
        let mut setup = Setup::local(asked.unwrap_or("default"));
        for (name, path) in &paths {
            setup = setup.argument(&format!("--{name}")).argument(text(path)?);
        }
        if let Some(asked) = asked {
            setup = setup.argument("--mode").argument(asked);
        }
        let mut node = setup.start(scene)?;
        for (name, path) in &paths {
            let mode: Result<u32> = mode(path);
            ensure!(mode? == expected, "--{name} is not {expected:o}");
        }
        node.process()?.signal(Signal::TERM)?;
        wait_until("the sockets to be removed", PATIENCE, || {
            Ok(paths.iter().all(|(_, path)| !path.exists()))
        })?;
    }
    Ok(())
}

fn dead_node(scene: &Scene) -> Result<()> {
    let paths = ["stream", "dgram", "seqpacket"].map(|name| (name, scene.path(name)));
    let mut setup = Setup::local("node");
    for (name, path) in &paths {
        setup = setup.argument(&format!("--{name}")).argument(text(path)?);
    }
    let mut node = setup.start(scene)?;
    node.process()?.signal(Signal::KILL)?;
    node.process()?.wait_end(PATIENCE)?;
    ensure!(paths.iter().all(|(_, path)| path.exists()), "a killed node cannot have cleaned up");
    node.start(scene)?;
    let client = Client::sequenced(&paths[2].1, STATION_A)?;
    let peer = Client::dgram(&scene.path("peer"), &paths[1].1, STATION_B)?;
    // A datagram peer is nobody before it speaks.
    exchange(&peer, &client)
}
