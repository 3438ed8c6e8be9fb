//! Our stream form against other people's `vde_plug` and `dpipe`. Where these are not installed
//! the tests count as ignored.
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use tempfile::TempDir;
use vdeplug::stream::{Decoder, Framing, RecvError, StreamConfig, StreamPort};
use vdeplug::{Plug, RecvBatch, Server, ServerConfig};

/// How long anything may take; reached only when something is broken.
const DEADLINE: Duration = Duration::from_secs(20);

fn main() {
    let trials = [
        trial("frames_cross_vde_plug_on_pipes_both_ways", &["vde_plug"], vde_plug_on_pipes),
        trial(
            "two_switches_are_joined_by_dpipe_and_vde_plug",
            &["vde_plug", "dpipe", example().to_str().unwrap()],
            dpipe_between_switches,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit();
}

/// A test that is ignored where a program is missing.
fn trial<F>(name: &str, programs: &[&str], test: fn() -> F) -> Trial
where
    F: Future<Output = ()> + 'static,
{
    let missing = programs.iter().find(|program| !is_installed(program));
    if let Some(missing) = missing {
        eprintln!("{name}: ignored, {missing} is not installed");
    }
    let run = move || -> Result<(), Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(async { tokio::time::timeout(DEADLINE, test()).await })?)
    };
    Trial::test(name, run).with_ignored_flag(missing.is_some())
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn switch() -> (TempDir, Server) {
    let parent = tempfile::tempdir().unwrap();
    let server = Server::bind(ServerConfig::new(parent.path().join("sw"))).unwrap();
    (parent, server)
}

async fn plugged(server: &Server) -> Plug {
    let handshake = server.accept().await.unwrap();
    handshake.read_request().await.unwrap().accept().await.unwrap()
}

fn frames() -> Vec<Vec<u8>> {
    let mut frames: Vec<_> = [60, 61, 255, 256, 257, 1514, 1518]
        .iter()
        .map(|&len| (0..len).map(|n| u8::try_from((n + len) % 251).unwrap()).collect())
        .collect();
    frames.resize(frames.len() * 3, vec![0x55; 60]);
    frames
}

async fn from_stream(port: &StreamPort, decoder: &mut Decoder) -> Vec<Vec<u8>> {
    loop {
        port.readable(decoder).await.unwrap();
        match port.try_recv_batch(decoder) {
            Ok(_) => return decoder.frames().map(<[u8]>::to_vec).collect(),
            Err(RecvError::WouldBlock) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn from_plug(plug: &Plug) -> Vec<Vec<u8>> {
    let mut batch = RecvBatch::new(9234);
    loop {
        plug.readable().await.unwrap();
        if plug.try_recv_batch(&mut batch).is_ok() {
            return batch.iter().map(|frame| frame.bytes.to_vec()).collect();
        }
    }
}

async fn vde_plug_on_pipes() {
    let (_parent, server) = switch();
    let child = Command::new("vde_plug")
        .arg(server.directory())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Running(child);
    let input = child.0.stdout.take().unwrap();
    let output = child.0.stdin.take().unwrap();
    let port = StreamPort::pair(input, output, StreamConfig::new(Framing::Vde)).unwrap();
    let plug = plugged(&server).await;
    let mut decoder = port.decoder();

    // One frame at a time: more than a read of its own could end between the two octets of a
    // length, which it does not survive.
    for frame in frames() {
        assert_eq!(port.try_send_batch(&[&frame]).sent, 1);
        assert_eq!(from_plug(&plug).await, [&frame[..]]);
    }
    let mut got = Vec::new();
    for frame in frames() {
        assert_eq!(plug.try_send_batch(&[&frame]).sent, 1);
    }
    while got.len() < frames().len() {
        got.extend(from_stream(&port, &mut decoder).await);
    }
    assert_eq!(got, frames());

    drop(plug);
    loop {
        port.readable(&decoder).await.unwrap();
        match port.try_recv_batch(&mut decoder) {
            Err(RecvError::WouldBlock) => {}
            Err(RecvError::Closed) => return,
            other => panic!("{other:?}"),
        }
    }
}

/// `dpipe vde_plug ONE = stream OTHER`, where `stream` is the example of this package.
async fn dpipe_between_switches() {
    let (_one_parent, one) = switch();
    let (_other_parent, other) = switch();
    let child = Command::new("dpipe")
        .arg("vde_plug")
        .arg(one.directory())
        .arg("=")
        .arg(example())
        .arg(other.directory())
        .spawn()
        .unwrap();
    let _child = Running(child);
    let one = plugged(&one).await;
    let other = plugged(&other).await;
    for frame in frames() {
        for (from, to) in [(&one, &other), (&other, &one)] {
            assert_eq!(from.try_send_batch(&[&frame]).sent, 1);
            assert_eq!(from_plug(to).await, [&frame[..]]);
        }
    }
}

/// Where cargo puts the example `stream` when it builds this test with the package.
fn example() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let profile = here.ancestors().nth(2).unwrap();
    profile.join("examples/stream")
}
