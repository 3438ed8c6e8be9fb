//! What a world is and what happens in it, as data: made from a seed, so that a plan can be told,
//! run again, and run without some of its steps.

use std::fmt;
use std::time::Duration;

use crate::dice::Dice;
use crate::shapes::{Run, Shape};

/// Something that happens to a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing gets through a cable from the ends that are named.
    Cut { cable: usize, from: [bool; 2] },
    /// A cable that was cut carries again.
    Heal { cable: usize },
    /// Somebody pulls a cable out, in good order.
    Unplug { cable: usize },
    /// And in again.
    Plug { cable: usize },
    /// A cable is bad: so many of a thousand datagrams are lost, or come twice, and all are late by
    /// up to so many microseconds.
    Worsen { cable: usize, loss: usize, twice: usize, jitter: u64 },
    /// The control stream of a cable carries so many octets a second.
    Slow { cable: usize, rate: u64 },
    /// A node is killed. If its disk is lost, it does not know that it ever ran.
    Crash { node: usize, keeps_disk: bool },
    /// A node ends in good order.
    Leave { node: usize },
    /// It starts again.
    Boot { node: usize },
    /// A node does nothing; its clock may stand still meanwhile, as that of a guest that is
    /// suspended.
    Stop { node: usize, clock_runs: bool },
    /// It goes on.
    Resume { node: usize },
    /// A node's clock is so many milliseconds ahead of where it was.
    Leap { node: usize, ahead: u64 },
    /// A node's calendar is set, by so many seconds.
    Calendar { node: usize, by: i64 },
    /// A port is unplugged and plugged in again.
    Replug { node: usize, port: usize },
    /// A station goes to another port, and says so or not.
    Move { station: usize, node: usize, port: usize, says_so: bool },
    /// A station that is at two ports from now on.
    Double { station: usize, node: usize, port: usize },
    /// It is at its first port alone again.
    Undouble { station: usize },
    /// Two access ports are joined outside.
    Join { a: (usize, usize), b: (usize, usize) },
    /// All that were joined are parted.
    Part,
    /// A node runs with the key of another, on a cable to a third.
    Clone { of: usize, at: usize },
    /// It is gone.
    Unclone,
    /// The node at one end of a cable says something that nobody should believe.
    Forge { cable: usize, end: usize, how: Forgery },
}

/// What a rogue node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgery {
    /// A record of another node that was changed.
    Changed,
    /// Records as they were a while ago.
    Old,
    /// A record of somebody who is no member.
    Stranger,
    /// A record that its own key signed and that cannot be.
    Impossible,
    /// A digest that says that nothing is as it is.
    Digests,
    /// Floods of nodes that are not there.
    Floods,
}

impl Forgery {
    const ALL: [Self; 6] =
        [Self::Changed, Self::Old, Self::Stranger, Self::Impossible, Self::Digests, Self::Floods];
}

/// What the steps of a world are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    /// Cables.
    Cables,
    /// Nodes that go and come.
    Nodes,
    /// Clocks and pauses.
    Clocks,
    /// Stations.
    Stations,
    /// Loops outside.
    Loops,
    /// Rogues and clones.
    Rogues,
    /// All of these but loops and clones.
    Mixed,
}

impl Theme {
    const ALL: [Self; 7] = [
        Self::Cables,
        Self::Nodes,
        Self::Clocks,
        Self::Stations,
        Self::Loops,
        Self::Rogues,
        Self::Mixed,
    ];
}

/// Steps, then quiet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Round {
    /// By time since the round began.
    pub(crate) steps: Vec<(Duration, Step)>,
    pub(crate) length: Duration,
    /// Cables that stay cut while all must be well on either side.
    pub(crate) apart: Vec<usize>,
    /// Ports that were joined stay so.
    pub(crate) stays_joined: bool,
    /// Nodes that are down stay so.
    pub(crate) stays_down: bool,
}

/// A world and all that happens in it.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) shape: Shape,
    pub(crate) theme: Theme,
    pub(crate) nodes: usize,
    pub(crate) cables: Vec<Run>,
    /// For each node, the VLAN of each access port.
    pub(crate) ports: Vec<Vec<u16>>,
    /// Where each station is first: node and port.
    pub(crate) stations: Vec<(usize, usize)>,
    /// The calls from the mesh to the bridge come a little late.
    pub(crate) is_lazy: bool,
    /// Nodes hold fewer stations than there are.
    pub(crate) is_cramped: bool,
    /// For how long a silent station is remembered.
    pub(crate) ageing: Duration,
    pub(crate) rounds: Vec<Round>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nodes, cables) = (self.nodes, self.cables.len());
        let Self { seed, shape, is_lazy, is_cramped, .. } = self;
        writeln!(
            f,
            "seed {seed}: {shape:?}, {nodes} nodes, {cables} cables, lazy {is_lazy}, cramped \
             {is_cramped}"
        )?;
        for (number, cable) in self.cables.iter().enumerate() {
            let ([a, b], [there, back]) = (cable.ends, cable.delay);
            writeln!(f, "  cable {number}: {a} to {b}, {there:?} there, {back:?} back")?;
        }
        for round in &self.rounds {
            for (at, step) in &round.steps {
                writeln!(f, "  {at:?} {step:?}")?;
            }
            let Round { apart, stays_joined, stays_down, .. } = round;
            writeln!(f, "  quiet, apart {apart:?}, joined {stays_joined}, down {stays_down}")?;
        }
        Ok(())
    }
}

const VLANS: [u16; 3] = [0, 10, 20];

impl Round {
    /// Whether round trips are measured anew for a while after it: costs follow a path that has
    /// become better after 10 s, and from the shortest of the last 32.
    pub(crate) fn moves_costs(&self) -> bool {
        self.steps.iter().any(|(_, step)| {
            matches!(
                step,
                Step::Worsen { .. } | Step::Leap { .. } | Step::Stop { .. } | Step::Slow { .. }
            )
        })
    }
}

impl Plan {
    /// The plan of a seed. `most` bounds its nodes.
    pub(crate) fn new(seed: u64, most: usize) -> Self {
        let mut dice = Dice::new(seed ^ 0x5eed_0000_0000);
        let size = match dice.roll(100) {
            0..=79 => 3 + dice.roll(6),
            80..=95 => 8 + dice.roll(12),
            96..=98 => 20 + dice.roll(20),
            _ => 50 + dice.roll(51),
        };
        let shape = dice.pick(&Shape::ALL);
        Self::draw(seed, shape, size.min(most), &mut dice)
    }

    /// A world of just so many nodes, cabled at random.
    pub(crate) fn of_size(seed: u64, nodes: usize) -> Self {
        let mut dice = Dice::new(seed ^ 0x512e_0000_0000);
        Self::draw(seed, Shape::Random, nodes, &mut dice)
    }

    fn draw(seed: u64, shape: Shape, size: usize, dice: &mut Dice) -> Self {
        let theme = dice.pick(&Theme::ALL);
        let (nodes, cables) = shape.cables(size, dice);
        let has_vlans = dice.chance(250);
        let port = |dice: &mut Dice| if has_vlans { dice.pick(&VLANS) } else { 0 };
        let ports: Vec<Vec<u16>> =
            (0..nodes).map(|_| (0..1 + dice.roll(3)).map(|_| port(dice)).collect()).collect();
        let place = |dice: &mut Dice| {
            let node = dice.roll(nodes);
            (node, dice.roll(ports[node].len()))
        };
        let stations = (0..4 + dice.roll(8)).map(|_| place(dice)).collect();
        let mut plan = Self {
            seed,
            shape,
            theme,
            nodes,
            cables,
            ports,
            stations,
            is_lazy: dice.chance(300),
            is_cramped: dice.chance(50),
            ageing: Duration::from_secs(dice.pick(&[300, 300, 300, 40])),
            rounds: Vec::new(),
        };
        for _ in 0..1 + dice.roll(2) {
            let round = plan.draw_round(dice);
            plan.rounds.push(round);
        }
        plan
    }

    fn draw_round(&self, dice: &mut Dice) -> Round {
        let count = 1 + dice.roll(8);
        let length = Duration::from_millis(500 + 250 * dice.roll(8 * count) as u64);
        let mut steps = Vec::new();
        for _ in 0..count {
            let at = dice.time(Duration::ZERO, length);
            let later = dice.time(at, length + Duration::from_millis(500));
            for (number, step) in self.draw_step(dice).into_iter().enumerate() {
                steps.push((if number == 0 { at } else { later }, step));
            }
        }
        steps.sort_by_key(|(at, _)| *at);
        let mut apart = Vec::new();
        if dice.chance(200) {
            apart.extend((0..1 + dice.roll(3)).map(|_| dice.roll(self.cables.len())));
        }
        Round { steps, length, apart, stays_joined: dice.chance(500), stays_down: dice.chance(300) }
    }

    fn port(&self, dice: &mut Dice) -> (usize, usize) {
        let node = dice.roll(self.nodes);
        (node, dice.roll(self.ports[node].len()))
    }

    /// Something, and perhaps what undoes it later.
    fn draw_step(&self, dice: &mut Dice) -> Vec<Step> {
        let theme = match self.theme {
            Theme::Mixed => dice.pick(&[
                Theme::Cables,
                Theme::Cables,
                Theme::Nodes,
                Theme::Clocks,
                Theme::Stations,
            ]),
            // What happens to cables meanwhile matters to all.
            theme if dice.chance(700) => theme,
            _ => Theme::Cables,
        };
        let cable = dice.roll(self.cables.len());
        let node = dice.roll(self.nodes);
        match theme {
            Theme::Cables | Theme::Mixed => self.draw_cable_step(cable, dice),
            Theme::Nodes => {
                let keeps_disk = dice.chance(600);
                match dice.roll(4) {
                    0 => vec![Step::Leave { node }, Step::Boot { node }],
                    1 => vec![Step::Crash { node, keeps_disk }],
                    _ => vec![Step::Crash { node, keeps_disk }, Step::Boot { node }],
                }
            }
            Theme::Clocks => match dice.roll(4) {
                0 => vec![Step::Leap { node, ahead: 10 << dice.roll(12) }],
                1 => {
                    let by = dice.pick(&[-400_000_000, -3_600, -1, 1, 3_600, 300_000_000]);
                    let keeps_disk = dice.chance(500);
                    let crash = Step::Crash { node, keeps_disk };
                    vec![Step::Calendar { node, by }, crash, Step::Boot { node }]
                }
                _ => {
                    let clock_runs = dice.chance(500);
                    vec![Step::Stop { node, clock_runs }, Step::Resume { node }]
                }
            },
            Theme::Stations => {
                let station = dice.roll(self.stations.len());
                let (node, port) = self.port(dice);
                match dice.roll(6) {
                    0 => vec![Step::Double { station, node, port }, Step::Undouble { station }],
                    1 => vec![Step::Replug { node, port }],
                    _ => vec![Step::Move { station, node, port, says_so: dice.chance(600) }],
                }
            }
            Theme::Loops => {
                let join = Step::Join { a: self.port(dice), b: self.port(dice) };
                if dice.chance(300) { vec![join, Step::Part] } else { vec![join] }
            }
            Theme::Rogues => {
                if dice.chance(100) {
                    let at = dice.roll(self.nodes);
                    return vec![Step::Clone { of: node, at }];
                }
                let how = dice.pick(&Forgery::ALL);
                vec![Step::Forge { cable, end: dice.roll(2), how }]
            }
        }
    }

    fn draw_cable_step(&self, cable: usize, dice: &mut Dice) -> Vec<Step> {
        match dice.roll(8) {
            0..=2 => {
                let from = dice.pick(&[[true, true], [true, true], [true, false], [false, true]]);
                let cut = Step::Cut { cable, from };
                if dice.chance(700) { vec![cut, Step::Heal { cable }] } else { vec![cut] }
            }
            3 | 4 => {
                let unplug = Step::Unplug { cable };
                if dice.chance(700) { vec![unplug, Step::Plug { cable }] } else { vec![unplug] }
            }
            5 => vec![Step::Slow { cable, rate: 1 << (10 + dice.roll(10)) }],
            6 if self.cables.len() > 3 => {
                // Several at once, as when a building loses its uplink.
                let count = 2 + dice.roll(3);
                let cables: Vec<usize> = (0..count).map(|_| dice.roll(self.cables.len())).collect();
                let cut = |cable: &usize| Step::Cut { cable: *cable, from: [true, true] };
                // The first of them happens at once, the rest a little later.
                cables.iter().map(cut).collect()
            }
            _ => {
                let jitter = dice.pick(&[0, 200, 5_000, 50_000]);
                let loss = dice.pick(&[0, 10, 50, 200]);
                vec![Step::Worsen { cable, loss, twice: dice.pick(&[0, 50]), jitter }]
            }
        }
    }
}
