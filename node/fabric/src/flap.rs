//! Stations that move to and fro: the sign of a loop outside of the mesh.
//!
//! A frame that goes around comes in by another port than its station's, and the next one moves the
//! station back. It owns the memory of recent moves; to look for the loop is the mesh's. Nothing
//! here is on the way of a frame that moves nobody.

use crate::location::Station;
use crate::port::PortId;
use crate::time::Nanos;

#[cfg(test)]
mod tests;

/// The time within which moves count, and within which a pair of ports is named once, in
/// nanoseconds: 5 s.
const WINDOW: u64 = 5_000_000_000;

/// How often a station moves between two ports before it flaps. A guest that fails over and back
/// moves twice.
const MOVES: usize = 3;

/// How many stations flap before their ports do. Two guests that claim one address flap for ever
/// without any loop.
const STATIONS: usize = 3;

/// How many pairs of ports are watched at a time, and how many stations between each. Those that
/// came first stay until they have been still for [`WINDOW`]: more may move than are watched, yet
/// some are watched for long enough.
const MAX_PAIRS: usize = 16;
const MAX_STATIONS: usize = 16;

#[derive(Debug)]
struct Mover {
    station: Station,
    /// The latest moves, the latest last.
    moves: [Option<Nanos>; MOVES],
}

impl Mover {
    fn is_still(&self, now: Nanos) -> bool {
        self.moves[MOVES - 1].is_none_or(|latest| now.since(latest) > WINDOW)
    }

    fn is_flapping(&self, now: Nanos) -> bool {
        self.moves[0].is_some_and(|first| now.since(first) <= WINDOW)
    }
}

#[derive(Debug)]
struct Pair {
    /// The lower one first.
    ports: (PortId, PortId),
    movers: Vec<Mover>,
    /// When it was named.
    named: Option<Nanos>,
}

impl Pair {
    fn was_named(&self, now: Nanos) -> bool {
        self.named.is_some_and(|named| now.since(named) <= WINDOW)
    }

    fn is_still(&self, now: Nanos) -> bool {
        !self.was_named(now) && self.movers.iter().all(|mover| mover.is_still(now))
    }
}

/// Watches moves.
#[derive(Debug, Default)]
pub(crate) struct Flaps {
    pairs: Vec<Pair>,
}

impl Flaps {
    /// Takes note of a move. Gives the two ports, the lower one first, if stations flap between
    /// them and that was not said within the last [`WINDOW`].
    pub(crate) fn handle_move(
        &mut self,
        station: Station,
        from: PortId,
        to: PortId,
        now: Nanos,
    ) -> Option<(PortId, PortId)> {
        let ports = (from.min(to), from.max(to));
        let pair = find_or_admit(
            &mut self.pairs,
            MAX_PAIRS,
            |pair| pair.ports == ports,
            |pair| pair.is_still(now),
            || Pair { ports, movers: Vec::new(), named: None },
        )?;
        let mover = find_or_admit(
            &mut pair.movers,
            MAX_STATIONS,
            |mover| mover.station == station,
            |mover| mover.is_still(now),
            || Mover { station, moves: [None; MOVES] },
        )?;
        mover.moves.rotate_left(1);
        mover.moves[MOVES - 1] = Some(now);
        let flapping = pair.movers.iter().filter(|mover| mover.is_flapping(now)).count();
        if flapping < STATIONS || pair.was_named(now) {
            return None;
        }
        pair.named = Some(now);
        Some(ports)
    }
}

/// The item that is looked for: the one that is there, or a new one in the place of one that may
/// go or behind the others. `None` when there is no room for it.
fn find_or_admit<T>(
    items: &mut Vec<T>,
    capacity: usize,
    is_it: impl Fn(&T) -> bool,
    may_go: impl Fn(&T) -> bool,
    new: impl FnOnce() -> T,
) -> Option<&mut T> {
    let at = match items.iter().position(is_it) {
        Some(at) => at,
        None if items.len() < capacity => {
            items.push(new());
            items.len() - 1
        }
        None => {
            let at = items.iter().position(may_go)?;
            items[at] = new();
            at
        }
    };
    items.get_mut(at)
}
