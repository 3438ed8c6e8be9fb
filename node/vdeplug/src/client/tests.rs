//! Our client against our server.

use super::*;
use crate::{RecvBatch, Refusal, Server, ServerConfig, Unplugged};

fn serve() -> (tempfile::TempDir, Server) {
    let parent = tempfile::tempdir().unwrap();
    let server = Server::bind(ServerConfig::new(parent.path().join("sw"))).unwrap();
    (parent, server)
}

async fn grant(server: &Server) -> Plug {
    server.accept().await.unwrap().read_request().await.unwrap().accept().await.unwrap()
}

#[tokio::test]
async fn client_and_server_exchange_frames_until_one_unplugs() {
    let (_parent, server) = serve();
    let options = ClientOptions { port: Some(4), ..ClientOptions::new("station") };
    let directory = server.directory().to_owned();
    let (client, plug) = tokio::join!(connect(Some(&directory), options), grant(&server));
    let client = client.unwrap();
    assert!(plug.description().to_string().starts_with("station user="));
    assert_eq!(client.peer().pid, i32::try_from(std::process::id()).ok());
    let mut batch = RecvBatch::new(1518);
    for (from, to) in [(&client, &plug), (&plug, &client)] {
        let outcome = from.try_send_batch(&[&[7; 60], &[8; 1514]]);
        assert_eq!(outcome.sent, 2);
        to.readable().await.unwrap();
        assert_eq!(to.try_recv_batch(&mut batch).unwrap(), 2);
        assert_eq!(batch.iter().next().unwrap().bytes, [7; 60]);
        let empty = to.try_recv_batch(&mut batch).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
    }
    let names: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with('.')), "{names:?}");
    drop(plug);
    assert!(matches!(client.hung_up().await, Unplugged::Closed));
}

#[tokio::test]
async fn a_control_socket_is_as_good_as_its_directory() {
    let (_parent, server) = serve();
    let control = server.directory().join("ctl");
    let (client, _plug) =
        tokio::join!(connect(Some(&control), ClientOptions::new("x")), grant(&server));
    client.unwrap();
}

#[tokio::test]
async fn a_refusal_is_told_from_silence() {
    let (_parent, server) = serve();
    let directory = server.directory().to_owned();
    let refuse = async {
        let pending = server.accept().await.unwrap().read_request().await.unwrap();
        pending.refuse(&Refusal::Denied("no".into()));
    };
    let (client, ()) = tokio::join!(connect(Some(&directory), ClientOptions::new("x")), refuse);
    assert!(matches!(client, Err(ConnectError::Refused { .. })));

    // Other switches close without an error, or read a byte and close.
    let close = async { drop(server.accept().await.unwrap()) };
    let (client, ()) = tokio::join!(connect(Some(&directory), ClientOptions::new("x")), close);
    assert!(matches!(client, Err(ConnectError::Refused { .. })));

    let silent = connect(Some(&directory), ClientOptions::new("x"));
    tokio::time::pause();
    assert!(matches!(silent.await, Err(ConnectError::NoAnswer { .. })));
    let names = std::fs::read_dir(&directory).unwrap().count();
    assert_eq!(names, 1, "a failed client leaves nothing but ctl");
}

#[tokio::test]
async fn where_no_switch_answers_the_path_is_named() {
    let (parent, server) = serve();
    let error =
        connect(Some(&parent.path().join("none")), ClientOptions::new("x")).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoSwitch { .. }));
    assert!(error.to_string().contains("none"), "{error}");
    let options = ClientOptions { port: Some(MAX_PORT + 1), ..ClientOptions::new("x") };
    let error = connect(Some(server.directory()), options).await.unwrap_err();
    assert!(matches!(error, ConnectError::PortOutOfRange(_)), "{error}");
}

#[test]
fn the_users_own_default_switch_comes_first() {
    let candidates = default_candidates(Some("/home/u".into()));
    assert_eq!(candidates[0], Path::new("/home/u/.vde2/default.switch/ctl"));
    assert_eq!(candidates[1], Path::new("/home/u/.vde2/default.switch"));
    assert_eq!(candidates.last().unwrap(), Path::new("/tmp/vde.ctl"));
    assert_eq!(default_candidates(None)[0], Path::new("/var/run/vde.ctl/ctl"));
}
