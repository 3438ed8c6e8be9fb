//! The dialogue on a switch's control socket, octet by octet: what must be answered, and what
//! must be refused by closing the connection, since the protocol has no error message.

use std::io::{Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lab::frames::{BROADCAST, STATION_A, STATION_B, frame};
use lab::node::Setup;
use lab::{Plug, Scene, Suite, wait_until};

/// How long a node may take to answer or to close.
const ANSWER: Duration = Duration::from_secs(10);

/// `sockaddr_un` on Linux: a family of 2 octets and a path of 108 (unix(7)).
const ADDRESS_LEN: usize = 110;

const MAGIC: u32 = 0xfeed_face;

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("a_request_that_cannot_be_served_is_refused_by_closing", &[], refusals)
        .trial("a_client_with_an_abstract_address_gets_a_plug", &["vde_plug"], abstract_client)
        .trial("a_request_in_pieces_gets_a_plug", &[], pieces)
        .trial("silent_clients_keep_nobody_out", &["vde_plug"], silent_clients)
        .trial("garbage_on_the_control_socket_of_the_node_is_survived", &[], control_garbage)
}

/// A request of version 3 in the host's byte order.
fn request(magic: u32, version: u32, address: &[u8; ADDRESS_LEN], description: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    for word in [magic, version, 0] {
        request.extend(word.to_ne_bytes());
    }
    request.extend(address);
    request.extend(description);
    request
}

fn address_of(path: &[u8]) -> [u8; ADDRESS_LEN] {
    let mut address = [0; ADDRESS_LEN];
    address[..2].copy_from_slice(&1_u16.to_ne_bytes());
    address[2..2 + path.len()].copy_from_slice(path);
    address
}

fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

fn dial(switch: &Path) -> Result<UnixStream> {
    let stream = UnixStream::connect(switch.join("ctl")).context("the switch does not listen")?;
    stream.set_read_timeout(Some(ANSWER))?;
    Ok(stream)
}

/// Sends octets and returns what comes back until the switch closes; fails when it does not.
fn dialogue(switch: &Path, octets: &[u8]) -> Result<Vec<u8>> {
    let mut stream = dial(switch)?;
    // A switch that has closed already takes no more, which is an answer too.
    let _ = stream.write_all(octets);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => Ok(answer),
        // Closed while octets that it did not read were under way.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(answer),
        Err(error) => Err(error).context("the switch did not close the connection"),
    }
}

fn refusals(scene: &Scene) -> Result<()> {
    let node = Setup::local("node").start(scene)?;
    let path = scene.path("client");
    let _client = UnixDatagram::bind(&path)?;
    let address = address_of(path_bytes(&path));
    let absent = address_of(path_bytes(&scene.path("nobody")));
    let cases: [(&str, Vec<u8>); 8] = [
        ("another magic", request(0xdead_beef, 3, &address, b"")),
        ("the magic in the other byte order", request(MAGIC.swap_bytes(), 3, &address, b"")),
        ("version 2", request(MAGIC, 2, &address, b"")),
        ("version 4", request(MAGIC, 4, &address, b"")),
        ("an address where nobody is", request(MAGIC, 3, &absent, b"")),
        ("a relative path", request(MAGIC, 3, &address_of(b"client"), b"")),
        ("a megabyte of nothing", vec![0; 1 << 20]),
        ("a line of text", b"GET / HTTP/1.1\r\nHost: switch\r\n\r\n".repeat(20)),
    ];
    for (what, octets) in cases {
        let answer = dialogue(node.socket(), &octets).with_context(|| what.to_owned())?;
        ensure!(answer.is_empty(), "{what} was answered: {answer:02x?}");
    }
    // And the next client is served as if nothing had been.
    accept(node.socket(), &request(MAGIC, 3, &address, b"good")).map(drop)
}

/// Asks for a plug and returns the connection and the switch's data socket.
fn accept(switch: &Path, octets: &[u8]) -> Result<(UnixStream, PathBuf)> {
    let mut stream = dial(switch)?;
    stream.write_all(octets)?;
    let mut answer = [0; ADDRESS_LEN];
    stream.read_exact(&mut answer).context("the switch did not answer with an address")?;
    ensure!(answer[..2] == 1_u16.to_ne_bytes(), "no unix address: {answer:02x?}");
    let end = answer[2..].iter().position(|&octet| octet == 0).context("no end of the path")?;
    let path = std::str::from_utf8(&answer[2..2 + end]).context("the path is no text")?;
    ensure!(answer[2 + end..].iter().all(|&octet| octet == 0), "octets behind the path");
    // The answer is all that is ever said on this connection.
    stream.set_nonblocking(true)?;
    match stream.read(&mut [0; 1]) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
        other => bail!("after the answer came {other:?}"),
    }
    Ok((stream, PathBuf::from(path)))
}

/// A client as User-Mode Linux is one: an abstract address that fills the field, two stray
/// octets behind it, and every frame sent to the address of the answer.
fn abstract_client(scene: &Scene) -> Result<()> {
    let node = Setup::local("node").start(scene)?;
    let mut name = [0x5a; 107];
    name[..4].copy_from_slice(&std::process::id().to_ne_bytes());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    socket.set_read_timeout(Some(ANSWER))?;
    let mut path = [0; 108];
    path[1..].copy_from_slice(&name);
    let (_control, switch) =
        accept(node.socket(), &request(MAGIC, 3, &address_of(&path), &[0x11, 0x22]))?;

    let mut plug = Plug::insert(scene, "plug", node.socket())?;
    let call = frame(BROADCAST, STATION_A, 1514, 1);
    wait_until("a frame of the abstract client", ANSWER, || {
        socket.send_to(&call, &switch)?;
        Ok(plug.drain().contains(&call))
    })?;
    let answer = frame(STATION_A, STATION_B, 1514, 2);
    plug.send(&answer)?;
    let mut received = [0; 2048];
    let len = socket.recv(&mut received).context("no frame for the abstract client")?;
    ensure!(received[..len] == answer, "another frame came: {:02x?}", &received[..len]);
    Ok(())
}

/// Nothing promises that a request arrives whole.
fn pieces(scene: &Scene) -> Result<()> {
    let node = Setup::local("node").start(scene)?;
    let path = scene.path("client");
    let _client = UnixDatagram::bind(&path)?;
    let octets = request(MAGIC, 3, &address_of(path_bytes(&path)), b"");
    let mut stream = dial(node.socket())?;
    for piece in octets.chunks(30) {
        stream.write_all(piece)?;
        // An answered question puts time between two pieces without a clock.
        node.status()?;
    }
    let mut answer = [0; ADDRESS_LEN];
    stream.read_exact(&mut answer).context("no answer to a request in pieces")
}

/// Connections that say nothing, or half a request, must not use up what others need.
fn silent_clients(scene: &Scene) -> Result<()> {
    let node = Setup::local("node").start(scene)?;
    let half = request(MAGIC, 3, &address_of(b"/"), b"")[..50].to_vec();
    let mut silent = Vec::new();
    for number in 0..200 {
        let mut stream = dial(node.socket())?;
        if number % 2 == 0 {
            stream.write_all(&half)?;
        }
        silent.push(stream);
    }
    let mut a = Plug::insert(scene, "plug-a", node.socket())?;
    let mut b = Plug::insert(scene, "plug-b", node.socket())?;
    lab::plug::meet((&mut a, STATION_A), (&mut b, STATION_B), ANSWER)
}

fn control_garbage(scene: &Scene) -> Result<()> {
    let mut node = Setup::local("node").start(scene)?;
    for octets in
        [&b"\0\0\0\0"[..], b"{}\n", b"{\"v\":99}\n", b"[[[[[[[[[[[[[[[[\n", &[0xff; 1 << 20]]
    {
        let mut stream = UnixStream::connect(node.control())?;
        stream.set_read_timeout(Some(ANSWER))?;
        let _ = stream.write_all(octets);
        drop(stream);
    }
    node.process()?.check_running()?;
    node.status().map(drop)
}
