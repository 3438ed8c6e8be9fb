//! Cables in a ring: no frame goes round, none comes twice.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::frames::{BROADCAST, STATION_A, STATION_B, frame};
use lab::node::{CABLE_UP, Setup, trust_each_other};
use lab::plug::meet;
use lab::{Node, Plug, Scene, Suite};

const STATION_C: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0c];
const MEETING: Duration = Duration::from_secs(20);

/// Broadcasts sent in a row, numbered apart from greetings. One that went round would have many
/// turns before the last is read.
const NUMBERS: std::ops::Range<u8> = 100..200;

pub(crate) fn trials(suite: Suite) -> Suite {
    suite.trial("a_broadcast_in_a_ring_of_three_nodes_comes_once", &["vde_plug"], ring)
}

fn ring(scene: &Scene) -> Result<()> {
    let mut nodes: Vec<(Node, String)> = Vec::new();
    for name in ["one", "two", "three"] {
        // A port that nobody uses at this moment.
        let address = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.to_string();
        // More broadcasts at once than a guest has reason to send.
        let setup = Setup::listening(name, &address).argument("--no-storm-control");
        nodes.push((setup.start(scene)?, address));
    }
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        trust_each_other(&nodes[from].0, &nodes[to].0)?;
        nodes[from].0.connect(&nodes[to].1)?;
    }
    lab::wait_until("two cables at each node", CABLE_UP, || {
        nodes.iter().try_fold(true, |all, (node, _)| Ok(all && node.cables_up()? == 2))
    })?;

    let mut plugs = Vec::new();
    for (index, (node, _)) in nodes.iter().enumerate() {
        plugs.push(Plug::insert(scene, &format!("plug-{index}"), node.socket())?);
    }
    let [mut a, mut b, mut c] =
        <[Plug; 3]>::try_from(plugs).ok().context("three nodes, three plugs")?;
    meet((&mut a, STATION_A), (&mut b, STATION_B), MEETING)?;
    meet((&mut b, STATION_B), (&mut c, STATION_C), MEETING)?;
    meet((&mut c, STATION_C), (&mut a, STATION_A), MEETING)?;
    for number in NUMBERS {
        a.send(&frame(BROADCAST, STATION_A, 60, number))?;
    }
    for plug in [&mut b, &mut c] {
        let mut heard: Vec<u8> = Vec::new();
        while heard.len() < NUMBERS.len() {
            heard.extend(number_of(&plug.receive()?));
        }
        // Two paths lead here, and a later frame may be faster on the other one.
        heard.sort_unstable();
        ensure!(heard.iter().copied().eq(NUMBERS), "these came: {heard:?}");
    }
    // Whatever went round would have come in front of these answers.
    for (from, station) in [(&mut b, STATION_B), (&mut c, STATION_C)] {
        let answer = frame(STATION_A, station, 60, 7);
        from.send(&answer)?;
        loop {
            let heard = a.receive()?;
            ensure!(number_of(&heard).is_none(), "the sender heard its own broadcast");
            if heard == answer {
                break;
            }
        }
    }
    for plug in [&mut b, &mut c] {
        let again = plug.drain().iter().filter_map(|frame| number_of(frame)).count();
        ensure!(again == 0, "{again} broadcasts came more than once");
    }
    Ok(())
}

/// The number of one of our broadcasts; none for the greetings with which plugs have met, which may
/// still be under way to the third one.
fn number_of(frame: &[u8]) -> Option<u8> {
    let number = *frame.get(14)?;
    (frame[..12] == [BROADCAST, STATION_A].concat() && NUMBERS.contains(&number)).then_some(number)
}
