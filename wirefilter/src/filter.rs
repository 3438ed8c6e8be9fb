//! The link and its commands: everything that needs neither a socket nor a clock.

use std::sync::Arc;
use std::time::Instant;

use console::Errno;
use emulator::{
    Both, DelayTable, Direction, EditError, Field, FieldError, Link, PairTable, Seed, Settings,
    Timeline, Trace, Verdict,
};

use crate::command::{FileKind, LinkCommand};
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

    /// Takes what a file holds; `None`: goes on without. Shape `T` gets its meaning for settings
    /// made from now on.
    ///
    /// # Errors
    /// Says in which line what is wrong; then nothing is changed.
    pub fn take_file(
        &mut self,
        kind: FileKind,
        text: Option<&str>,
        now: Instant,
    ) -> Result<(), Failure> {
        let table = self.table.as_ref();
        match kind {
            FileKind::Distribution => {
                let table = text.map(DelayTable::parse).transpose();
                self.table = table.map_err(Failure::invalid)?.map(Arc::new);
            }
            FileKind::Timeline => {
                let timeline = text.map(|text| Timeline::parse(text, table)).transpose();
                let timeline = timeline.map_err(Failure::invalid)?.map(Arc::new);
                self.link.set_timeline(timeline, now);
            }
            FileKind::Pairs => {
                let pairs = text.map(|text| PairTable::parse(text, table)).transpose();
                let pairs = pairs.map_err(Failure::invalid)?.unwrap_or_default();
                self.link.set_pairs(Arc::new(pairs), now);
            }
            FileKind::Trace(only) => {
                let trace = text.map(Trace::parse).transpose().map_err(Failure::invalid)?;
                let trace = trace.map(Arc::new);
                self.edit(0, now, |settings| {
                    for direction in Direction::ALL {
                        if only.is_none_or(|only| only == direction) {
                            settings[direction].trace.clone_from(&trace);
                        }
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn edit(
        &mut self,
        state: usize,
        now: Instant,
        edit: impl FnOnce(&mut Both<Settings>) -> Result<(), FieldError>,
    ) -> Result<(), Failure> {
        self.link.edit(state, now, edit).map_err(|err: EditError<_>| Failure::invalid(err))
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

    /// As [`Emulator::is_blocked`](emulator::Emulator::is_blocked).
    pub fn is_blocked(&self, direction: Direction, now: Instant) -> bool {
        self.link.direction(direction).is_blocked(now)
    }

    /// Where messages for delivered frames go.
    pub const fn blink(&self) -> Option<&Blink> {
        self.blink.as_ref()
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
            self.edit(state, now, |settings| change.apply(settings))?;
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
            LinkCommand::Profile(profile) => return self.replace(profile.settings(), now).into(),
            LinkCommand::Clear => return self.replace(Both::default(), now).into(),
            LinkCommand::File { kind, path: None } => {
                return self.take_file(*kind, None, now).into();
            }
            // Who reads files does so before.
            LinkCommand::File { path: Some(_), .. } => return Reply::failure(Errno::EOPNOTSUPP),
            LinkCommand::NumNodes(len) => link.set_len(*len, now),
            LinkCommand::SetNode(state) => link.set_current(*state, now),
            LinkCommand::Name { state, name } => link.set_name(*state, name),
            LinkCommand::Time(period) => link.set_period(*period, now),
            LinkCommand::SetEdge { from, to, weight } => link.set_edge(*from, *to, *weight, now),
        };
        result.map_err(Failure::invalid).into()
    }

    fn replace(&mut self, settings: Both<Settings>, now: Instant) -> Result<(), Failure> {
        self.edit(0, now, |state| {
            *state = settings;
            Ok(())
        })
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
