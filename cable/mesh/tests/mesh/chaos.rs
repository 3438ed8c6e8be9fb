//! Anything may happen, in any order; what must never happen never does, and in the end all is
//! well. A failing seed is in the message.

use std::collections::BTreeMap;

use ether::MacAddr;
use mesh::engine::Heard;

use super::lab::*;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

fn mac(number: usize) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, u8::try_from(number).unwrap()])
}

/// The nodes at both ends of the cables that are left, by group.
fn is_connected(lab: &Lab, nodes: usize) -> bool {
    let mut reached = vec![0];
    let mut at = 0;
    while let Some(&node) = reached.get(at) {
        for cable in lab.cables.iter().filter(|cable| cable.open) {
            let [(a, _), (b, _)] = cable.ends;
            for (from, to) in [(a, b), (b, a)] {
                if from == node && !reached.contains(&to) {
                    reached.push(to);
                }
            }
        }
        at += 1;
    }
    reached.len() == nodes
}

fn run(seed: u64) {
    let mut dice = Dice(seed);
    let nodes = 3 + dice.roll(5);
    let mut lab = Lab::new(nodes);
    let mut epochs = vec![1_u64; nodes];
    for node in 1..nodes {
        let other = dice.roll(node);
        lab.cable(node, other, ms(1 + dice.roll(30) as u64));
    }
    let mut floods = Vec::new();
    for _ in 0..60 {
        match dice.roll(12) {
            0 | 1 => {
                let cable = dice.roll(lab.cables.len());
                if lab.cables[cable].open {
                    let mute = [dice.roll(2) == 0, dice.roll(2) == 0];
                    lab.silence(cable, mute);
                }
            }
            2 => {
                let cable = dice.roll(lab.cables.len());
                if lab.cables[cable].open {
                    lab.close(cable);
                }
            }
            3 | 4 => {
                let (a, b) = (dice.roll(nodes), dice.roll(nodes));
                if a != b {
                    lab.cable(a, b, ms(1 + dice.roll(30) as u64));
                }
            }
            5 => {
                // A crash: half of the time the disk is lost, too.
                let node = dice.roll(nodes);
                epochs[node] = if dice.roll(2) == 0 { epochs[node] + 1 } else { 1 };
                lab.kill(node);
                for cable in 0..lab.cables.len() {
                    if lab.cables[cable].open && lab.cables[cable].ends.iter().any(|e| e.0 == node)
                    {
                        lab.close(cable);
                    }
                }
                lab.boot(node, epochs[node], 1 + dice.roll(1_000_000) as u64);
            }
            6 | 7 => {
                let node = dice.roll(nodes);
                let heard = if dice.roll(2) == 0 { Heard::Frame } else { Heard::Announcement };
                lab.hear(node, mac(dice.roll(20)), heard);
            }
            8 => {
                lab.hear(dice.roll(nodes), mac(dice.roll(20)), Heard::Gone);
            }
            _ => floods.push(lab.flood(dice.roll(nodes))),
        }
        lab.run(ms(dice.roll(1500) as u64));
    }
    for ((frame, node), count) in &lab.delivered {
        assert!(*count <= 1, "seed {seed}: frame {frame} came {count} times to node {node}");
    }
    for cable in 0..lab.cables.len() {
        if lab.cables[cable].open {
            lab.silence(cable, [false, false]);
        }
    }
    for node in 1..nodes {
        if !is_connected(&lab, nodes) {
            lab.cable(0, node, ms(5));
        }
    }
    lab.run(secs(40));
    let all: Vec<_> = (0..nodes).collect();
    let digest = lab.mesh(0).digest();
    for &node in &all {
        assert_eq!(lab.mesh(node).digest(), digest, "seed {seed}: node {node}");
        assert!(lab.faults.is_empty(), "seed {seed}: {:?}", lab.faults);
    }
    // Each station has one owner, the same at all nodes, and its bridge knows it alone.
    let now = lab.now;
    let owners: BTreeMap<_, _> =
        lab.mesh(0).stations(now).into_iter().map(|view| (view.mac, view.owner)).collect();
    for &node in &all {
        let views = lab.mesh(node).stations(now);
        let here: BTreeMap<_, _> = views.iter().map(|view| (view.mac, view.owner)).collect();
        assert_eq!(here, owners, "seed {seed}: node {node}");
        for (mac, owner) in &owners {
            let told = lab.owner_at(node, *mac).map(key);
            let expected = (*owner != key(node)).then_some(*owner);
            assert_eq!(told, expected, "seed {seed}: {mac} at node {node}");
        }
    }
    lab.assert_whole(&all);
}

#[test]
fn in_the_end_all_is_well_whatever_happened() {
    for seed in 0..12 {
        run(seed);
    }
}
