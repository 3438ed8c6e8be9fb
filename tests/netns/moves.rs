//! Stations that move from node to node.

use anyhow::{Context as _, Result, ensure};
use lab::frames::{BROADCAST, EXPERIMENTAL, frame};
use lab::{Plug, Scene, Suite, wait_until};

use crate::world::{NEWS, World};

/// Moves of each station: a fifth one within three minutes would be taken for two stations with one
/// address.
const MOVES: usize = 4;

const STATIONS: u8 = 6;

/// The station that all others talk to.
const PEER: [u8; 6] = [0x02, 0xa0, 0, 0, 0, 0xff];

pub(crate) fn trials(suite: Suite) -> Suite {
    suite.trial(
        "a_station_that_moves_is_reached_where_it_is_and_nowhere_else",
        &["vde_plug"],
        moves,
    )
}

/// The gratuitous ARP (RFC 5227 section 3) of a station that has moved.
fn announcement(station: [u8; 6]) -> Vec<u8> {
    let fixed = [0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1];
    let ip = [10, 0, 0, station[5]];
    let mut frame = [&BROADCAST[..], &station, &fixed, &station, &ip, &[0; 6], &ip].concat();
    frame.resize(60, 0);
    frame
}

/// The numbers of the frames from the peer to a station that have come.
fn heard(plug: &mut Plug, station: [u8; 6]) -> Vec<u8> {
    let is_for = |frame: &Vec<u8>| {
        frame[..6] == station && frame[6..12] == PEER && frame[12..14] == EXPERIMENTAL.to_be_bytes()
    };
    plug.drain().iter().filter(|frame| is_for(frame)).map(|frame| frame[14]).collect()
}

/// Whether the peer's node takes a station to be at that node.
fn is_at(world: &World, station: [u8; 6], node: &str) -> Result<bool> {
    let macs = world.hosts[2].node.macs()?;
    let mac = station.map(|octet| format!("{octet:02x}")).join(":");
    Ok(macs.iter().any(|entry| entry["mac"] == mac && entry["node"] == node))
}

/// What each node has dropped, for a report.
fn drops(world: &World) -> String {
    let ports = world.hosts.iter().map(|host| (host.node.name(), host.node.ports()));
    let of = |(name, ports): (&str, Result<Vec<serde_json::Value>>)| {
        let ports = ports.unwrap_or_default();
        let drops = ports.iter().map(|port| format!("{} {}", port["description"], port["drops"]));
        format!("{name}: {}", drops.collect::<Vec<_>>().join(", "))
    };
    ports.map(of).collect::<Vec<_>>().join("; ")
}

fn moves(scene: &Scene) -> Result<()> {
    let world = World::build(scene, 3, &[[0, 1], [1, 2], [2, 0]])?;
    let socket = |host: usize| world.hosts[host].node.socket();
    let mut places = Vec::new();
    for host in 0..3 {
        places.push(Plug::insert(scene, &format!("place-{host}"), socket(host))?);
    }
    let mut peer = Plug::insert(scene, "peer", socket(2))?;
    for number in 0..STATIONS {
        let station = [0x02, 0xa0, 0, 0, 0, number];
        for step in 0..=MOVES {
            let (before, here) = ((step + 2) % 3, step % 3);
            // The first one may be lost: the switch has not answered the plug yet.
            let mut tries = 0;
            wait_until("a station to be reached where it has moved", NEWS, || {
                if tries % 40 == 0 {
                    places[here].send(&announcement(station))?;
                }
                tries += 1;
                peer.send(&frame(station, PEER, 60, 1))?;
                Ok(!heard(&mut places[here], station).is_empty())
            })
            .with_context(|| format!("station {number}, move {step}"))?;
            // As long as the peer's node knows of neither place it asks everywhere, and of the two the
            // older may be the first to be heard of.
            let name = world.hosts[here].node.name();
            wait_until("the peer's node to know where it is", NEWS, || {
                is_at(&world, station, name)
            })?;
            // From now on all of it comes here, and none where it was.
            heard(&mut places[before], station);
            for sequence in 100..110 {
                peer.send(&frame(station, PEER, 60, sequence))?;
            }
            let mut came = Vec::new();
            wait_until("all frames to come", NEWS, || {
                came.extend(heard(&mut places[here], station).into_iter().filter(|n| *n >= 100));
                Ok(came.len() >= 10)
            })
            .with_context(|| format!("station {number}, move {step}: {}", drops(&world)))?;
            ensure!(came == (100..110).collect::<Vec<_>>(), "these came: {came:?}");
            let astray = heard(&mut places[before], station);
            ensure!(astray.iter().all(|n| *n < 100), "these came to the old place: {astray:?}");
        }
    }
    let last = world.hosts[MOVES % 3].node.name();
    for host in &world.hosts {
        wait_until("all nodes to agree where stations are", NEWS, || {
            let macs = host.node.macs()?;
            let moved = macs.iter().filter(|entry| {
                entry["mac"].as_str().is_some_and(|mac| mac.starts_with("02:a0:00:00:00:0"))
            });
            Ok(moved.filter(|entry| entry["node"] == last).count() == usize::from(STATIONS))
        })?;
        let told = host.node.told()?;
        ensure!(!told.contains("in turn"), "a move was taken for two stations: {told}");
    }
    Ok(())
}
