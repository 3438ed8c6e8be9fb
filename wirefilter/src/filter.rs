//! The link and its commands: everything that needs neither a socket nor a clock.

use std::sync::Arc;
use std::time::Instant;

use console::Errno;
use emulator::{
    Both, DelayTable, Direction, EditError, Field, FieldError, Link, Seed, Settings, Verdict,
};

use crate::command::LinkCommand;
use crate::reply::{Failure, Reply};
use crate::stats;
use crate::view::{self, LinkView};

/// A frame in the link.
pub type Octets = Box<[u8]>;

/// The link, and what its console can ask and tell.
#[derive(Debug)]
pub struct Filter {
    link: Link<Octets>,
    seed: u64,
    one_way: bool,
    blink: Option<Blink>,
    table: Option<Arc<DelayTable>>,
}

/// Where a message is sent for every frame that is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blink {
    /// The datagram socket.
    pub socket: String,
    /// What each message begins with.
    pub id: String,
}

impl Filter {
    /// A link that changes nothing yet.
    pub fn new(seed: u64, one_way: bool, blink: Option<Blink>, now: Instant) -> Self {
        let link = Link::new(Both::default(), Seed::new(seed), now);
        Self { link, seed, one_way, blink, table: None }
    }

    /// Gives shape `T` its meaning, for settings made from now on.
    pub fn set_table(&mut self, table: DelayTable) {
        self.table = Some(Arc::new(table));
    }

    /// Whether frames go from left to right only.
    pub const fn is_one_way(&self) -> bool {
        self.one_way
    }

    /// The seed of all chance.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The link, to look at.
    pub const fn link(&self) -> &Link<Octets> {
        &self.link
    }

    /// As [`Link::handle_frame`].
    pub fn handle_frame(&mut self, direction: Direction, frame: Octets, now: Instant) -> Verdict {
        self.link.handle_frame(direction, frame, now)
    }

    /// As [`Link::poll_delivery`].
    pub fn poll_delivery(&mut self, direction: Direction, now: Instant) -> Option<Octets> {
        self.link.poll_delivery(direction, now)
    }

    /// When to call [`Self::poll_delivery`] again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.link.poll_timeout()
    }

    /// The oldest change of state that was not told yet, as sessions show it.
    pub fn poll_step(&mut self) -> Option<String> {
        let step = self.link.poll_step()?;
        Some(view::step(self.link.chain(), step.from, step.to))
    }

    /// Makes one setting from `now` on. Where no state is named it is made in state 0, as in VDE;
    /// only the order of frames is one for all states.
    ///
    /// # Errors
    /// Says which setting and what is wrong with its value; then nothing is changed.
    pub fn set(&mut self, field: Field, value: &str, now: Instant) -> Result<(), Failure> {
        let change = field.parse(value, self.table.as_ref()).map_err(Failure::invalid)?;
        let states = match change.target.state {
            Some(state) => state..state + 1,
            None if field == Field::Fifo => 0..self.link.chain().len(),
            None => 0..1,
        };
        for state in states {
            let apply = |settings: &mut Both<Settings>| change.apply(settings);
            self.link
                .edit(state, now, apply)
                .map_err(|err: EditError<FieldError>| Failure::invalid(err))?;
        }
        Ok(())
    }

    /// Carries out a command.
    pub fn execute(&mut self, command: &LinkCommand, now: Instant) -> Reply {
        let link = &mut self.link;
        let result = match command {
            LinkCommand::Set { field, value } => return self.set(*field, value, now).into(),
            LinkCommand::ShowInfo(state) => return self.show(*state),
            LinkCommand::ShowEdges(state) => {
                let state = state.unwrap_or_else(|| link.chain().current());
                return match link.chain().name(state) {
                    Ok(_) => Reply::data(view::edges(link.chain(), state)),
                    Err(err) => Reply::success().but(Failure::invalid(err)),
                };
            }
            LinkCommand::ShowCurrent => return Reply::data([view::current(link.chain())]),
            LinkCommand::Stats { json: false } => return Reply::data(stats::text(self)),
            LinkCommand::Stats { json: true } => return Reply::data([stats::json(self)]),
            LinkCommand::NumNodes(len) => link.set_len(*len, now),
            LinkCommand::SetNode(state) => link.set_current(*state, now),
            LinkCommand::Name { state, name } => link.set_name(*state, name),
            LinkCommand::Time(period) => link.set_period(*period, now),
            LinkCommand::SetEdge { from, to, weight } => link.set_edge(*from, *to, *weight, now),
        };
        result.map_err(Failure::invalid).into()
    }

    fn show(&self, state: Option<usize>) -> Reply {
        let chain = self.link.chain();
        let waiting = |direction| self.link.direction(direction).waiting();
        let view = LinkView {
            one_way: self.one_way,
            chain,
            waiting: Both {
                left_to_right: waiting(Direction::LeftToRight),
                right_to_left: waiting(Direction::RightToLeft),
            },
            blink: self.blink.as_ref().map(|blink| (&*blink.socket, &*blink.id)),
        };
        let state = state.unwrap_or_else(|| chain.current());
        match chain.name(state) {
            Ok(_) => Reply::data(view.show(state)),
            Err(err) => {
                Reply::success().but(Failure { errno: Errno::EINVAL, reason: err.to_string() })
            }
        }
    }
}
