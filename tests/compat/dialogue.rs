//! The dialogue on a switch's control socket, octet by octet: what must be answered, and what
//! must be refused by closing the connection, since the protocol has no error message.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};

use anyhow::{Context as _, Result, ensure};
use lab::client::{ADDRESS_LEN, ANSWER, MAGIC, address_of, dial, dialogue, path_octets, request};
use lab::frames::{STATION_A, STATION_B};
use lab::node::Setup;
use lab::{Client, Plug, Scene, Suite};

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("a_request_that_cannot_be_served_is_refused_by_closing", &[], refusals)
        .trial("a_request_in_pieces_gets_a_plug", &[], pieces)
        .trial("silent_clients_keep_nobody_out", &["vde_plug"], silent_clients)
        .trial("garbage_on_the_control_socket_of_the_node_is_survived", &[], control_garbage)
}

fn refusals(scene: &Scene) -> Result<()> {
    let node = Setup::local("node").start(scene)?;
    let path = scene.path("client");
    let _client = UnixDatagram::bind(&path)?;
    let address = address_of(path_octets(&path));
    let absent = address_of(path_octets(&scene.path("nobody")));
    let cases: [(&str, Vec<u8>); 8] = [
        ("another magic", request(&[0xdead_beef, 3, 0], &address, b"")),
        ("the magic in the other byte order", request(&[MAGIC.swap_bytes(), 3, 0], &address, b"")),
        ("version 2", request(&[MAGIC, 2, 0], &address, b"")),
        ("version 4", request(&[MAGIC, 4, 0], &address, b"")),
        ("an address where nobody is", request(&[MAGIC, 3, 0], &absent, b"")),
        ("a relative path", request(&[MAGIC, 3, 0], &address_of(b"client"), b"")),
        ("a megabyte of nothing", vec![0; 1 << 20]),
        ("a line of text", b"GET / HTTP/1.1\r\nHost: switch\r\n\r\n".repeat(20)),
    ];
    for (what, octets) in cases {
        let answer = dialogue(node.socket(), &octets).with_context(|| what.to_owned())?;
        ensure!(answer.is_empty(), "{what} was answered: {answer:02x?}");
    }
    // And the next client is served as if nothing had been.
    std::fs::remove_file(&path)?;
    Client::plug_in_at(node.socket(), &path, 0).map(drop)
}

/// Nothing promises that a request arrives whole.
fn pieces(scene: &Scene) -> Result<()> {
    let node = Setup::local("node").start(scene)?;
    let path = scene.path("client");
    let _client = UnixDatagram::bind(&path)?;
    let octets = request(&[MAGIC, 3, 0], &address_of(path_octets(&path)), b"");
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
    let half = request(&[MAGIC, 3, 0], &address_of(b"/"), b"")[..50].to_vec();
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
