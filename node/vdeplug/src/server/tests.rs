//! The dialogue with clients of every kind, each written with plain sockets as its original does.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};

use tempfile::TempDir;

use super::*;
use crate::request::{Kind, RequestError};
use crate::{Plug, RecvBatch, Refusal, SendError, UnixAddress};

const FRAME: [u8; 60] = [0x5a; 60];

fn serve() -> (TempDir, Server) {
    let parent = tempfile::tempdir().unwrap();
    let server = Server::bind(ServerConfig::new(parent.path().join("sw"))).unwrap();
    (parent, server)
}

/// A version 3 request with the wanted address, as the C structure lies in memory.
fn request(kind: u32, address: &[u8], description: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    for word in [0xfeed_face, 3, kind] {
        octets.extend_from_slice(&u32::to_ne_bytes(word));
    }
    octets.extend_from_slice(address);
    octets.extend_from_slice(description);
    octets
}

/// A client as libvdeplug makes it, up to its request.
struct Client {
    control: UnixStream,
    data: UnixDatagram,
    address: UnixAddress,
}

impl Client {
    fn dial(server: &Server, name: &str) -> Self {
        let path = server.directory().join(name);
        let control = UnixStream::connect(server.directory().join("ctl")).unwrap();
        let data = UnixDatagram::bind(&path).unwrap();
        Self { control, data, address: UnixAddress::from_path(&path).unwrap() }
    }

    fn ask(&mut self, description: &[u8]) {
        self.control.write_all(&request(0, self.address.as_bytes(), description)).unwrap();
    }

    /// Reads the reply in one go and connects to it, as every client does.
    fn connect(&mut self) {
        let mut reply = [0; 256];
        assert_eq!(
            self.control.read(&mut reply).unwrap(),
            110,
            "the reply is one full sockaddr_un"
        );
        assert_eq!(reply[..2], 1u16.to_ne_bytes());
        let address = UnixAddress::parse(reply[..110].try_into().unwrap()).unwrap();
        self.data.connect(address.path().unwrap()).unwrap();
    }
}

async fn pending(server: &Server) -> Pending {
    server.accept().await.unwrap().read_request().await.unwrap()
}

async fn refusal(server: &Server) -> Refusal {
    server.accept().await.unwrap().read_request().await.unwrap_err()
}

async fn carries_frames_both_ways(plug: &Plug, client: &UnixDatagram) {
    client.send(&FRAME).unwrap();
    let mut batch = RecvBatch::new(1518);
    plug.readable().await.unwrap();
    assert_eq!(plug.try_recv_batch(&mut batch).unwrap(), 1);
    assert_eq!(batch.iter().next().unwrap().bytes, FRAME);
    let outcome = plug.try_send_batch(&[&FRAME[..], &FRAME[..42]]);
    assert!(outcome.sent == 2 && outcome.stopped.is_none());
    let mut octets = [0; 100];
    assert_eq!(client.recv(&mut octets).unwrap(), 60);
    assert_eq!(client.recv(&mut octets).unwrap(), 42);
}

/// The client's next read ends at once, with an end of file or a reset.
fn is_closed(control: &mut UnixStream) -> bool {
    match control.read(&mut [0; 1]) {
        Ok(len) => len == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

#[tokio::test]
async fn a_client_with_a_path_gets_its_plug() {
    let (_parent, server) = serve();
    let mut client = Client::dial(&server, ".00042-00000");
    client.ask(b"QEMU user=root PID=42");
    let pending = pending(&server).await;
    assert_eq!(pending.request().kind, Kind::Plug);
    assert_eq!(pending.peer().pid, Some(rustix::process::getpid().as_raw_nonzero().get()));
    assert_eq!(pending.peer().uid, rustix::process::geteuid().as_raw());
    let plug = pending.accept().await.unwrap();
    client.connect();
    assert_eq!(plug.description().to_string(), "QEMU user=root PID=42");
    carries_frames_both_ways(&plug, &client.data).await;
}

#[tokio::test]
async fn an_abstract_address_with_garbage_padding_is_connected_to_whole() {
    let (_parent, server) = serve();
    let mut octets = [0xa5; 110];
    octets[..3].copy_from_slice(&[1u16.to_ne_bytes()[0], 1u16.to_ne_bytes()[1], 0]);
    octets[3..7].copy_from_slice(&std::process::id().to_ne_bytes());
    octets[7] = 0;
    let name = UnixAddress::parse(&octets).unwrap().to_socket().unwrap();
    let data = UnixDatagram::unbound().unwrap();
    rustix::net::bind(data.as_fd(), &name).unwrap();
    let mut control = UnixStream::connect(server.directory().join("ctl")).unwrap();
    // User-Mode Linux sends two stray octets of its unpacked structure.
    control.write_all(&request(0, &octets, &[0xa5, 0x00])).unwrap();
    let plug = pending(&server).await.accept().await.unwrap();
    let mut client = Client { control, data, address: UnixAddress::parse(&octets).unwrap() };
    client.connect();
    carries_frames_both_ways(&plug, &client.data).await;
}

#[tokio::test]
async fn a_version_1_client_gets_its_plug() {
    let (_parent, server) = serve();
    let mut client = Client::dial(&server, ".00042-00000");
    let version_3 = request(0, client.address.as_bytes(), b"");
    let version_1 = [&version_3[..4], &[0; 4], &[2; 6], &version_3[12..]].concat();
    client.control.write_all(&version_1).unwrap();
    let plug = pending(&server).await.accept().await.unwrap();
    client.connect();
    carries_frames_both_ways(&plug, &client.data).await;
}

#[tokio::test]
async fn a_request_without_description_is_complete() {
    let (_parent, server) = serve();
    let mut client = Client::dial(&server, ".00042-00000");
    client.ask(b"");
    let pending = pending(&server).await;
    assert_eq!(pending.request().description.as_bytes(), b"");
    pending.accept().await.unwrap();
}

/// Lets other tasks see what was written just now: the runtime looks at its sockets after every
/// 61 tasks that it ran. A paused clock stands still meanwhile.
async fn let_it_be_seen() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_may_arrive_in_pieces() {
    let (_parent, server) = serve();
    let mut client = Client::dial(&server, ".00042-00000");
    let octets = request(9 << 8, client.address.as_bytes(), b"slow");
    let reader = tokio::spawn(server.accept().await.unwrap().read_request());
    for piece in [&octets[..3], &octets[3..50], &octets[50..121], &octets[121..]] {
        client.control.write_all(piece).unwrap();
        let_it_be_seen().await;
    }
    let pending = reader.await.unwrap().unwrap();
    assert_eq!(pending.request().port, Some(9));
    assert_eq!(pending.request().description.as_bytes(), b"slow");
}

#[tokio::test(start_paused = true)]
async fn a_description_may_follow_a_request_that_was_complete_without_it() {
    let (_parent, server) = serve();
    let mut client = Client::dial(&server, ".00042-00000");
    let reader = tokio::spawn(server.accept().await.unwrap().read_request());
    client.ask(b"");
    let_it_be_seen().await;
    assert!(!reader.is_finished());
    client.control.write_all(b"late").unwrap();
    let pending = reader.await.unwrap().unwrap();
    assert_eq!(pending.request().description.as_bytes(), b"late");
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_delays_nobody_and_is_closed_at_the_deadline() {
    let (_parent, server) = serve();
    let mut silent = UnixStream::connect(server.directory().join("ctl")).unwrap();
    silent.write_all(&0xfeed_faceu32.to_ne_bytes()).unwrap();
    let first = server.accept().await.unwrap();
    let waiting = tokio::spawn(first.read_request());
    let mut client = Client::dial(&server, ".00042-00000");
    client.ask(b"second");
    let plug = pending(&server).await.accept().await.unwrap();
    client.connect();
    assert!(!waiting.is_finished());
    let refusal = waiting.await.unwrap().unwrap_err();
    assert!(matches!(refusal, Refusal::Silent { received: 4 }), "{refusal}");
    assert!(is_closed(&mut silent));
    drop(plug);
}

#[tokio::test]
async fn a_client_that_leaves_early_is_noticed_at_once() {
    let (_parent, server) = serve();
    let mut client = UnixStream::connect(server.directory().join("ctl")).unwrap();
    client.write_all(&[0; 0]).unwrap();
    drop(client);
    assert!(matches!(refusal(&server).await, Refusal::HungUp { received: 0 }));
    let mut client = UnixStream::connect(server.directory().join("ctl")).unwrap();
    client.write_all(&request(0, &[1; 50], b"")).unwrap();
    drop(client);
    assert!(matches!(refusal(&server).await, Refusal::HungUp { received: 62 }));
}

#[tokio::test]
async fn a_bad_request_is_refused_by_a_prompt_close() {
    let (_parent, server) = serve();
    let address = [1; 110];
    let cases = [
        b"GET / HTTP/1.1\r\n".to_vec(),
        request(0, &address, b"")[..4].iter().chain(&[9, 0, 0, 0]).copied().collect(),
        request(0x77, &address, b"d"),
        request(0, &address, &[b'd'; 129]),
    ];
    for octets in cases {
        let mut client = UnixStream::connect(server.directory().join("ctl")).unwrap();
        client.write_all(&octets).unwrap();
        let refusal = refusal(&server).await;
        assert!(matches!(refusal, Refusal::Request(_)), "{refusal}");
        assert!(is_closed(&mut client));
    }
}

#[tokio::test]
async fn a_refused_client_reads_an_error_not_an_end_of_file() {
    let (_parent, server) = serve();
    let mut client = Client::dial(&server, ".00042-00000");
    client.ask(b"unwanted");
    pending(&server).await.refuse(&Refusal::Denied("port 1 is in use".into()));
    let error = client.control.read(&mut [0; 110]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn addresses_that_no_honest_client_gives_are_refused() {
    let (parent, server) = serve();
    let refused = async |address: UnixAddress| {
        let mut control = UnixStream::connect(server.directory().join("ctl")).unwrap();
        control.write_all(&request(0, address.as_bytes(), b"x")).unwrap();
        pending(&server).await.accept().await.unwrap_err()
    };
    let at = |path: &Path| UnixAddress::from_path(path).unwrap();
    let file = parent.path().join("file");
    std::fs::write(&file, "").unwrap();
    let honest = parent.path().join("socket");
    let _data = UnixDatagram::bind(&honest).unwrap();
    let link = parent.path().join("link");
    std::os::unix::fs::symlink(&honest, &link).unwrap();
    for path in [&file, &link, &parent.path().join("missing")] {
        let refusal = refused(at(path)).await;
        assert!(matches!(refusal, Refusal::Unreachable { .. }), "{path:?}: {refusal}");
    }
    let stream = server.directory().join("ctl");
    assert!(matches!(refused(at(&stream)).await, Refusal::Unreachable { .. }));
    let relative = refused(at(Path::new("socket"))).await;
    assert!(matches!(relative, Refusal::RelativePath(_)), "{relative}");
    let inet = RequestError::Address(crate::address::AddressError::Family(2));
    let mut control = UnixStream::connect(server.directory().join("ctl")).unwrap();
    control
        .write_all(&request(0, &[2u16.to_ne_bytes(), [0; 2]].concat().repeat(28)[..110], b"x"))
        .unwrap();
    assert!(matches!(refusal(&server).await, Refusal::Request(error) if error == inet));
}

#[tokio::test]
async fn a_client_that_left_before_its_answer_leaves_no_socket_behind() {
    let (_parent, server) = serve();
    let mut client = Client::dial(&server, ".00042-00000");
    client.ask(b"x");
    let pending = pending(&server).await;
    let path = client.address;
    drop(client);
    assert!(pending.accept().await.is_err());
    std::fs::remove_file(path.path().unwrap()).unwrap();
    let names: Vec<_> = std::fs::read_dir(server.directory()).unwrap().collect();
    assert_eq!(names.len(), 1, "only ctl: {names:?}");
}

#[tokio::test]
async fn the_data_socket_has_the_mode_of_the_switch() {
    let parent = tempfile::tempdir().unwrap();
    let config = ServerConfig { mode: Some(0o660), ..ServerConfig::new(parent.path().join("sw")) };
    let server = Server::bind(config).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(server.directory()), 0o2770);
    assert_eq!(mode(&server.directory().join("ctl")), 0o660);
    let mut client = Client::dial(&server, ".00042-00000");
    client.ask(b"x");
    let plug = pending(&server).await.accept().await.unwrap();
    let expected = if rustix::process::geteuid().is_root() { 0o600 } else { 0o660 };
    assert_eq!(mode(&server.directory().join("plug.0")), expected);
    drop(plug);
    assert!(!server.directory().join("plug.0").exists());
}

#[tokio::test]
async fn a_frame_beyond_the_slots_is_reported_as_truncated() {
    let (_parent, server) = serve();
    let mut client = Client::dial(&server, ".00042-00000");
    client.ask(b"jumbo");
    let plug = pending(&server).await.accept().await.unwrap();
    client.connect();
    client.data.send(&[1; 9000]).unwrap();
    client.data.send(&FRAME).unwrap();
    let mut batch = RecvBatch::new(1518);
    plug.readable().await.unwrap();
    assert_eq!(plug.try_recv_batch(&mut batch).unwrap(), 2);
    let truncated: Vec<bool> = batch.iter().map(|datagram| datagram.truncated).collect();
    assert_eq!(truncated, [true, false]);
}

#[tokio::test]
async fn a_client_that_stops_reading_gives_would_block_and_recovers() {
    let (_parent, server) = serve();
    let mut client = Client::dial(&server, ".00042-00000");
    client.ask(b"stopped");
    let plug = pending(&server).await.accept().await.unwrap();
    client.connect();
    let batch = [&FRAME[..]; 64];
    let mut sent = 0;
    let stopped = loop {
        let outcome = plug.try_send_batch(&batch);
        sent += outcome.sent;
        if let Some(error) = outcome.stopped {
            break error;
        }
        assert!(sent < 1_000_000, "the queue has no limit");
    };
    assert!(matches!(stopped, SendError::WouldBlock), "{stopped}");
    let mut octets = [0; 100];
    for _ in 0..sent {
        client.data.recv(&mut octets).unwrap();
    }
    plug.writable().await.unwrap();
    assert_eq!(plug.try_send_batch(&batch).sent, 64);
}

#[tokio::test]
async fn a_frame_that_can_never_fit_is_told_from_a_full_queue() {
    let parent = tempfile::tempdir().unwrap();
    let small = ServerConfig { send_buffer: 8192, ..ServerConfig::new(parent.path().join("sw")) };
    let server = Server::bind(small).unwrap();
    let mut client = Client::dial(&server, ".00042-00000");
    client.ask(b"x");
    let plug = pending(&server).await.accept().await.unwrap();
    client.connect();
    let long = vec![0; 20_000];
    let outcome = plug.try_send_batch(&[&FRAME, &long, &FRAME]);
    assert_eq!(outcome.sent, 1);
    assert!(matches!(outcome.stopped, Some(SendError::TooLong)));
}

#[tokio::test]
async fn a_client_that_died_is_reported_by_both_sockets() {
    let (_parent, server) = serve();
    let mut client = Client::dial(&server, ".00042-00000");
    client.ask(b"x");
    let plug = pending(&server).await.accept().await.unwrap();
    client.connect();
    client.control.write_all(b"stray octets are ignored").unwrap();
    drop(client);
    assert!(matches!(plug.hung_up().await, crate::Unplugged::Closed));
    for _ in 0..2 {
        let outcome = plug.try_send_batch(&[&FRAME]);
        assert!(matches!(outcome.stopped, Some(SendError::PeerGone)), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_client_that_babbles_on_the_control_stream_is_unplugged() {
    let (_parent, server) = serve();
    let mut client = Client::dial(&server, ".00042-00000");
    client.ask(b"x");
    let plug = pending(&server).await.accept().await.unwrap();
    client.control.write_all(&[0; crate::plug::MAX_IGNORED + 1]).unwrap();
    assert!(matches!(plug.hung_up().await, crate::Unplugged::Babbled));
}

#[tokio::test]
async fn the_directory_outlives_the_server_and_goes_with_the_last_plug() {
    let (_parent, server) = serve();
    let directory = server.directory().to_owned();
    let mut client = Client::dial(&server, ".00042-00000");
    client.ask(b"x");
    let plug = pending(&server).await.accept().await.unwrap();
    client.connect();
    drop(server);
    assert!(!directory.join("ctl").exists());
    carries_frames_both_ways(&plug, &client.data).await;
    std::fs::remove_file(client.address.path().unwrap()).unwrap();
    drop(plug);
    assert!(!directory.exists());
    assert!(is_closed(&mut client.control));
}
