//! The shapes in which worlds are cabled.

use std::time::Duration;

use crate::dice::Dice;

/// A cable between two nodes, and how long what it carries takes each way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) ends: [usize; 2],
    pub(crate) delay: [Duration; 2],
}

/// How a world is cabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Chain,
    Ring,
    Star,
    /// Every node to every other.
    Full,
    /// Two that are joined by several cables, and others behind them.
    Parallel,
    /// Two groups in which everybody is joined, and one cable between them.
    Cliques,
    /// A tree with cables added at random (Erdos and Renyi, but connected).
    Random,
    /// A ring with spokes: many equal ways.
    Wheel,
    /// The bridges of a building: two in the middle, the others joined to both.
    Leaves,
}

impl Shape {
    pub(crate) const ALL: [Self; 9] = [
        Self::Chain,
        Self::Ring,
        Self::Star,
        Self::Full,
        Self::Parallel,
        Self::Cliques,
        Self::Random,
        Self::Wheel,
        Self::Leaves,
    ];

    /// The most nodes: a node has at most 64 cables.
    fn most(self) -> usize {
        match self {
            Self::Full => 14,
            Self::Cliques => 20,
            Self::Star | Self::Wheel | Self::Leaves => 50,
            Self::Chain => 24,
            Self::Ring => 40,
            Self::Parallel => 12,
            Self::Random => 1000,
        }
    }

    /// The cables of a world of about so many nodes, and how many nodes it has.
    pub(crate) fn cables(self, nodes: usize, dice: &mut Dice) -> (usize, Vec<Run>) {
        let nodes = nodes.clamp(3, self.most());
        let mut pairs = Vec::new();
        match self {
            Self::Chain => pairs.extend((1..nodes).map(|node| (node - 1, node))),
            Self::Ring => pairs.extend((0..nodes).map(|node| (node, (node + 1) % nodes))),
            Self::Star => pairs.extend((1..nodes).map(|node| (0, node))),
            Self::Full => pairs.extend(all_pairs(0, nodes)),
            Self::Parallel => {
                pairs.extend(std::iter::repeat_n((0, 1), 2 + dice.roll(3)));
                pairs.extend((2..nodes).map(|node| (node % 2, node)));
                pairs.push((nodes - 1, 0));
            }
            Self::Cliques => {
                let half = nodes / 2;
                pairs.extend(all_pairs(0, half));
                pairs.extend(all_pairs(half, nodes));
                pairs.push((0, nodes - 1));
            }
            Self::Random => {
                pairs.extend((1..nodes).map(|node| (dice.roll(node), node)));
                for _ in 0..nodes {
                    let (a, b) = (dice.roll(nodes), dice.roll(nodes));
                    if a != b {
                        pairs.push((a, b));
                    }
                }
            }
            Self::Wheel => {
                pairs.extend((1..nodes).map(|node| (0, node)));
                pairs.extend((1..nodes).map(|node| (node, 1 + node % (nodes - 1))));
                pairs.retain(|(a, b)| a != b);
            }
            Self::Leaves => {
                pairs.push((0, 1));
                pairs.extend((2..nodes).flat_map(|node| [(0, node), (1, node)]));
            }
        }
        let alike = dice.chance(400);
        let usual = delay(dice);
        let run = |(a, b): (usize, usize)| {
            let there = if alike { usual } else { delay(dice) };
            let back = if dice.chance(200) { delay(dice) } else { there };
            let ends = if dice.chance(500) { [a, b] } else { [b, a] };
            Run { ends, delay: [there, back] }
        };
        (nodes, pairs.into_iter().map(run).collect())
    }
}

fn all_pairs(from: usize, to: usize) -> impl Iterator<Item = (usize, usize)> {
    (from..to).flat_map(move |a| (a + 1..to).map(move |b| (a, b)))
}

/// From a rack to another continent.
fn delay(dice: &mut Dice) -> Duration {
    let longest = dice.pick(&[300, 1_000, 5_000, 20_000, 80_000]);
    dice.time(Duration::from_micros(50), Duration::from_micros(longest))
}
