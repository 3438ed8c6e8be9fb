//! Two stations on one wire, with real plugs and a real clock, in one process.

use std::time::Duration;

use tokio::task::LocalSet;
use vdeplug::{ClientOptions, Plug, RecvBatch, Server, ServerConfig};

use super::*;

/// Two plugs with a patient wire between them, carried by a task of the current [`LocalSet`].
async fn wire() -> (Plug, Plug) {
    let parent = tempfile::tempdir().unwrap();
    let server = Server::bind(ServerConfig::new(parent.path().join("sw"))).unwrap();
    let plug = async || {
        let grant =
            async { server.accept().await.unwrap().read_request().await.unwrap().accept().await };
        let options = ClientOptions::new("test");
        let (client, ours) =
            tokio::join!(vdeplug::connect(Some(server.directory()), options), grant);
        (client.unwrap(), ours.unwrap())
    };
    let (a, ours_a) = plug().await;
    let (b, ours_b) = plug().await;
    tokio::task::spawn_local(async move {
        tokio::join!(relay(&ours_a, &ours_b), relay(&ours_b, &ours_a));
    });
    (a, b)
}

async fn relay(from: &Plug, to: &Plug) {
    let mut batch = RecvBatch::new(1518);
    while from.readable().await.is_ok() {
        if from.try_recv_batch(&mut batch).is_err() {
            continue;
        }
        let frames: Vec<&[u8]> = batch.iter().map(|datagram| datagram.bytes).collect();
        let mut sent = 0;
        while sent < frames.len() && to.writable().await.is_ok() {
            sent += to.try_send_batch(&frames[sent..]).sent;
        }
    }
}

fn station(plug: Plug, ip: &str) -> Station {
    let ip = cidr(ip).unwrap();
    let [_, _, _, last] = ip.address().octets();
    Station::new(plug, MacAddr([2, 0, 0, 0, 0, last]), ip)
}

const TARGET: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

#[tokio::test]
async fn a_serving_station_answers_pings_and_swallows_tcp() {
    let scene = async {
        let (a, b) = wire().await;
        tokio::task::spawn_local(async move {
            let mut server = station(b, "10.0.0.2/24");
            let mut serve = serve::Serve::new(&mut server, 5201).unwrap();
            server.run(&mut serve).await
        });
        let mut client = station(a, "10.0.0.1/24");
        let mut ping = ping::Ping::new(&mut client, TARGET, 3, Duration::from_millis(1)).unwrap();
        assert_eq!(client.run(&mut ping).await.unwrap(), Ended::Done);
        assert_eq!(ping.received(), 3);
        assert!(ping.summary().contains("3 received, 0% packet loss"), "{}", ping.summary());
        let time = Duration::from_millis(50);
        let mut throughput = throughput::Throughput::new(&mut client, TARGET, 5201, time).unwrap();
        assert_eq!(client.run(&mut throughput).await.unwrap(), Ended::Done);
        let report = throughput.report().unwrap();
        assert!(report.starts_with("sent ") && !report.starts_with("sent 0.0 MB"), "{report}");
    };
    LocalSet::new().run_until(scene).await;
}

#[tokio::test]
async fn a_closed_port_is_told_at_once_with_what_to_do() {
    let scene = async {
        let (a, b) = wire().await;
        tokio::task::spawn_local(async move {
            let mut server = station(b, "10.0.0.2/24");
            let mut serve = serve::Serve::new(&mut server, 5202).unwrap();
            server.run(&mut serve).await
        });
        let mut client = station(a, "10.0.0.1/24");
        let time = Duration::from_millis(1);
        let mut throughput = throughput::Throughput::new(&mut client, TARGET, 5201, time).unwrap();
        let error = client.run(&mut throughput).await.unwrap_err();
        assert!(error.to_string().contains("station serve"), "{error}");
        assert!(throughput.report().is_err());
    };
    LocalSet::new().run_until(scene).await;
}

#[tokio::test]
async fn a_pulled_plug_ends_the_station_with_its_reason() {
    let parent = tempfile::tempdir().unwrap();
    let server = Server::bind(ServerConfig::new(parent.path().join("sw"))).unwrap();
    let grant =
        async { server.accept().await.unwrap().read_request().await.unwrap().accept().await };
    let options = ClientOptions::new("test");
    let (client, plug) = tokio::join!(vdeplug::connect(Some(server.directory()), options), grant);
    let mut lonely = station(client.unwrap(), "10.0.0.1/24");
    let mut ping = ping::Ping::new(&mut lonely, TARGET, 100, Duration::from_secs(60)).unwrap();
    drop(plug.unwrap());
    let error = lonely.run(&mut ping).await.unwrap_err();
    assert!(error.to_string().contains("closed the plug"), "{error}");
}

#[test]
fn what_is_no_address_or_duration_is_refused() {
    assert!(cidr("10.0.0.1").is_err() && cidr("10.0.0.1/33").is_err() && cidr("x/24").is_err());
    assert!(seconds("0.2").is_ok());
    for text in ["0", "-1", "inf", "NaN", "1e9", "x"] {
        assert!(seconds(text).is_err(), "{text}");
    }
}
