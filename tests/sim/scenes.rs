//! The small worlds that are looked at in every order of events.

use std::env;
use std::time::Duration;

use lab::Ring;
use libtest_mimic::{Completion, Failed, Trial};
use mesh::engine::Heard;

use crate::plan::{Plan, Round, Step, Theme};
use crate::seeds;
use crate::shapes::{Run, Shape};
use crate::small::Happening::{Close, Flood, Hear, Open, Restart};
use crate::small::{Explored, Small, explore};

/// The most states of one world that are looked at.
const STATES: &str = "VDE_SIM_STATES";
const USUAL_STATES: usize = 12_000;

const RING: &[[usize; 2]] = &[[0, 1], [1, 2], [2, 0]];
const RING_AND_ONE: &[[usize; 2]] = &[[0, 1], [1, 2], [2, 0], [2, 3]];
const FIVE_CABLES: &[[usize; 2]] = &[[0, 1], [1, 2], [2, 3], [3, 0], [0, 2]];
const TWICE: &[[usize; 2]] = &[[0, 1], [0, 1], [1, 2]];
const PAIRS: &[[usize; 2]] = &[[0, 1], [1, 2]];

const fn hear(node: usize, mac: u8, heard: Heard) -> crate::small::Happening {
    Hear { node, mac, heard }
}

const fn close(cable: usize, end: usize) -> crate::small::Happening {
    Close { cable, end }
}

const WORLDS: &[Small] = &[
    Small {
        name: "a cable of a ring ends",
        nodes: 3,
        cables: RING,
        happenings: &[(close(0, 0), None), (close(0, 1), None)],
        ticks: 2,
    },
    Small {
        name: "a cable ends and comes back",
        nodes: 3,
        cables: PAIRS,
        happenings: &[(close(1, 0), None), (close(1, 1), None), (Open { cable: 1 }, Some(1))],
        ticks: 1,
    },
    Small {
        name: "a cable of a ring with a tail ends, and a flood is under way",
        nodes: 4,
        cables: RING_AND_ONE,
        happenings: &[(Flood { node: 3 }, None), (close(0, 0), None), (close(0, 1), None)],
        ticks: 1,
    },
    Small {
        name: "one of five cables ends",
        nodes: 4,
        cables: FIVE_CABLES,
        happenings: &[(close(0, 0), None), (close(0, 1), None)],
        ticks: 1,
    },
    Small {
        name: "a node of a ring is killed and starts again",
        nodes: 3,
        cables: RING,
        happenings: &[
            (Restart { node: 2, keeps_disk: true }, None),
            (close(1, 0), Some(0)),
            (close(2, 1), Some(0)),
            (Open { cable: 1 }, Some(1)),
        ],
        ticks: 1,
    },
    Small {
        name: "a node that lost its disk starts again",
        nodes: 3,
        cables: PAIRS,
        happenings: &[
            (Restart { node: 2, keeps_disk: false }, None),
            (close(1, 0), Some(0)),
            (Open { cable: 1 }, Some(1)),
            (hear(2, 1, Heard::Frame), Some(0)),
        ],
        ticks: 1,
    },
    Small {
        name: "a station speaks at two nodes",
        nodes: 3,
        cables: RING,
        happenings: &[(hear(0, 1, Heard::Frame), None), (hear(2, 1, Heard::Announcement), None)],
        ticks: 4,
    },
    Small {
        name: "two stations speak at two nodes each",
        nodes: 3,
        cables: PAIRS,
        happenings: &[
            (hear(0, 1, Heard::Frame), None),
            (hear(2, 1, Heard::Announcement), None),
            (hear(1, 2, Heard::Frame), None),
            (hear(2, 2, Heard::Frame), None),
        ],
        ticks: 3,
    },
    Small {
        name: "a station moves while one of two cables ends",
        nodes: 3,
        cables: TWICE,
        happenings: &[
            (hear(0, 1, Heard::Frame), None),
            (hear(2, 1, Heard::Announcement), None),
            (close(0, 0), None),
            (close(0, 1), None),
        ],
        ticks: 2,
    },
    Small {
        name: "a station speaks on both sides of a cut that heals",
        nodes: 3,
        cables: PAIRS,
        happenings: &[
            (close(1, 0), None),
            (close(1, 1), None),
            (hear(0, 1, Heard::Frame), None),
            (hear(2, 1, Heard::Frame), None),
            (Open { cable: 1 }, Some(1)),
        ],
        ticks: 1,
    },
    Small {
        name: "a station goes and another node hears it",
        nodes: 3,
        cables: PAIRS,
        happenings: &[
            (hear(0, 1, Heard::Frame), None),
            (hear(0, 1, Heard::Gone), Some(0)),
            (hear(1, 1, Heard::Frame), None),
            (close(1, 0), None),
            (close(1, 1), None),
        ],
        ticks: 2,
    },
];

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |small: &'static Small| {
        Trial::ignorable_test(format!("in every order of events, {}", small.name), move || {
            if let Some(reason) = Ring::Sim.unselected() {
                return Ok(Completion::ignored_with(reason));
            }
            let most = env::var(STATES).ok().and_then(|most| most.parse().ok());
            let explored = explore(small, most.unwrap_or(USUAL_STATES));
            let Explored { states, ends, is_all } = explored;
            println!("{states} states, all of them: {is_all}; {ends} ends");
            if ends == 0 {
                return Err(Failed::from("nothing came to an end"));
            }
            Ok(Completion::Completed)
        })
    };
    let mut trials: Vec<Trial> = WORLDS.iter().map(trial).collect();
    let name = "frames that have gone around outside are known, in a VLAN too";
    trials.push(Trial::ignorable_test(name, || {
        if let Some(reason) = Ring::Sim.unselected() {
            return Ok(Completion::ignored_with(reason));
        }
        for vlan in [0, 10] {
            let mut returned = 0;
            for seed in 0..10 {
                returned += seeds::run(&looped(seed, vlan), false)?.watch.returned;
            }
            println!("{returned} were");
            if returned == 0 {
                return Err(Failed::from(format!("none was, in VLAN {vlan}")));
            }
        }
        Ok(Completion::Completed)
    }));
    trials
}

/// A ring of nodes. Two of them have ports to a network each, which are joined while all talk.
fn looped(seed: u64, vlan: u16) -> Plan {
    let delay = [Duration::from_millis(2); 2];
    let steps = vec![(Duration::from_millis(700), Step::Join { a: (0, 1), b: (2, 1) })];
    let length = Duration::from_secs(4);
    Plan {
        seed,
        shape: Shape::Ring,
        theme: Theme::Loops,
        nodes: 4,
        cables: (0..4).map(|node| Run { ends: [node, (node + 1) % 4], delay }).collect(),
        ports: vec![vec![vlan, vlan]; 4],
        stations: (0..8).map(|station| (station % 4, 1)).collect(),
        is_lazy: false,
        is_cramped: false,
        ageing: Duration::from_secs(300),
        rounds: vec![Round { steps, length, stays_joined: true, ..Round::default() }],
    }
}
