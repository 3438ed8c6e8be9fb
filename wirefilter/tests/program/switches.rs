//! Between two switches.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use vdeplug::{Plug, RecvBatch, Server, ServerConfig};

use super::Row;
use super::lab::{OURS, Running, frame, number, wait_for};

pub(crate) const TRIALS: &[Row] = &[
    ("two_switches_are_joined_by_v_and_by_two_networks", &[], joined),
    ("it_ends_when_a_switch_hangs_up", &[], hang_up),
    ("the_console_is_standard_input_and_its_end_is_the_end", &[], console),
    ("one_side_can_be_standard_input_and_output", &[], half_a_pipe),
];

fn switch() -> (TempDir, Server) {
    let parent = super::lab::scene();
    let server = Server::bind(ServerConfig::new(parent.path().join("sw"))).unwrap();
    (parent, server)
}

async fn plugged(server: &Server) -> Plug {
    let handshake = server.accept().await.unwrap();
    handshake.read_request().await.unwrap().accept().await.unwrap()
}

async fn receive(plug: &Plug) -> Vec<Vec<u8>> {
    let mut batch = RecvBatch::new(9234);
    loop {
        plug.readable().await.unwrap();
        if plug.try_recv_batch(&mut batch).is_ok() {
            return batch.iter().map(|frame| frame.bytes.to_vec()).collect();
        }
    }
}

fn block_on<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result =
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), test).await });
    result.expect("it is done in time");
}

fn filter(options: &[&str]) -> Running {
    let mut command = Command::new(OURS);
    command.args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running(command.spawn().unwrap())
}

fn joined() {
    block_on(async {
        let ((_a, left), (_b, right)) = (switch(), switch());
        let dirs = [&left, &right].map(|server| server.directory().display().to_string());
        let [a, b] = &dirs;
        let both = format!("{a}:{b}");
        let vnl = format!("vde://{a}");
        for sides in [&["-v", &both][..], &[&vnl, b]] {
            let mut options = vec!["-m", "LR100", "-d", "RL3"];
            options.extend(sides);
            let mut running = filter(&options);
            let (l, r) = (plugged(&left).await, plugged(&right).await);
            assert!(l.description().to_string().starts_with("wirefilter user="));
            for octets in [101, 100] {
                assert_eq!(l.try_send_batch(&[&frame(octets, octets as usize)]).sent, 1);
            }
            assert_eq!(number(&receive(&r).await[0]), 100, "the longer one was dropped");
            r.try_send_batch(&[&frame(7, 9000)]);
            assert_eq!(receive(&l).await, [frame(7, 9000)]);
            running.terminate();
            assert!(running.ended().success());
        }
    });
}

fn hang_up() {
    block_on(async {
        for goes_first in [0, 1] {
            let ((_a, left), (_b, right)) = (switch(), switch());
            let [a, b] = [&left, &right].map(|server| server.directory().display().to_string());
            let mut running = filter(&["-v", &format!("{a}:{b}")]);
            let mut plugs = vec![plugged(&left).await, plugged(&right).await];
            // Only who is plugged in on both sides can hang up.
            plugs[0].try_send_batch(&[&frame(1, 60)]);
            assert_eq!(receive(&plugs[1]).await, [frame(1, 60)]);
            plugs.remove(goes_first);
            assert!(running.ended().success());
        }
    });
}

fn console() {
    block_on(async {
        let ((_a, left), (_b, right)) = (switch(), switch());
        let [a, b] = [&left, &right].map(|server| server.directory().display().to_string());
        let mut running = filter(&["-v", &format!("{a}:{b}"), "-l", "LR2"]);
        let (_l, _r) = (plugged(&left).await, plugged(&right).await);
        let mut input = running.0.stdin.take().unwrap();
        input.write_all(b"loss RL3\nshowinfo\n").unwrap();
        drop(input);
        assert!(running.ended().success());
        let mut said = String::new();
        std::io::Read::read_to_string(&mut running.0.stdout.take().unwrap(), &mut said).unwrap();
        assert!(said.starts_with("1000 Success\n\nVDEwf$ 0000 DATA END WITH '.'\n"), "{said}");
        assert!(said.contains("\nLoss   L->R 2+0U   R->L 3+0U\n"), "{said}");
    });
}

fn half_a_pipe() {
    block_on(async {
        let (_dir, server) = switch();
        let directory = server.directory().display().to_string();
        let mut running = filter(&["-", &directory]);
        let plug = plugged(&server).await;
        let mut input = running.0.stdin.take().unwrap();
        super::lab::write_frame(&mut input, &frame(5, 60)).unwrap();
        assert_eq!(receive(&plug).await, [frame(5, 60)]);
        drop(input);
        assert!(running.ended().success());
        let left: Vec<_> = fs::read_dir(&directory).unwrap().collect();
        wait_for("the switch to be as it was", || (left.len() <= 2).then_some(()));
    });
}
