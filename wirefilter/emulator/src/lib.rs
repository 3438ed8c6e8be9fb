//! A link as bad as it is told to be: loss, delay, rate, noise, exactly and from a seed.
//!
//! Pure: frames and instants go in, frames come out; no socket, no clock, no randomness but the
//! seed's. One [`Emulator`] is one direction; a [`Link`] has two and a Markov chain of states.
//!
//! Effects in their order, which is VDE's:
//!
//! | | Effect | Of [`Settings`] |
//! |---|---|---|
//! | 1 | too long frames are dropped | `mtu` |
//! | 2 | frames are lost | `loss`, `burst`, `loss_states` |
//! | 3 | frames are copied | `duplication` |
//! | 4 | frames and copies beyond the link's capacity are dropped | `capacity` |
//! | 5 | the sender's interface | `speed` |
//! | 6 | the bottleneck and its queue | `bandwidth`, `trace`, `queue` |
//! | 7 | bits are flipped | `corruption`, `noise` |
//! | 8 | the way | `delay`, `delay_correlation`, `reorder`, `order` |
//!
//! | I want… | Open |
//! |---|---|
//! | to impair one direction | [`Emulator`] |
//! | to impair both, in states that change | [`Link`], [`Chain`] |
//! | the loss models | [`LossStates`] |
//! | a distribution, from a file too | [`Spread`], [`Shape`], [`DelayTable`] |
//! | settings as people write them | [`Field`], [`notation`] |
//! | a recorded bottleneck | [`Trace`] |
//! | links with names | [`Profile`] |
//! | settings over time | [`Timeline`] |
//! | settings for pairs of stations | [`PairTable`] |
//! | what was done | [`Counters`] |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod action;
mod bottleneck;
pub mod chain;
mod chance;
mod codel;
pub mod counters;
pub mod emulator;
pub mod field;
pub mod frame;
mod lane;
mod line;
pub mod link;
pub mod loss;
mod noise;
pub mod notation;
pub mod pairs;
pub mod profile;
mod random;
pub mod settings;
pub mod spread;
pub mod timeline;
pub mod trace;
pub mod units;

pub use action::{Action, ActionError};
pub use chain::{Chain, ChainError, Step};
pub use counters::{Counters, DropReason, Statistic};
pub use emulator::{
    Emulator, FRAME_OVERHEAD, MAX_COPIES, MAX_WAITING, READY_AHEAD, Snapshot, Verdict, Waiting,
};
pub use field::{Change, Field, FieldError};
pub use frame::Frame;
pub use link::{Both, Direction, EditError, Link};
pub use loss::{FourStates, LossStates, RowError};
pub use notation::{NotationError, Target};
pub use pairs::{Pair, PairError, PairTable};
pub use profile::Profile;
pub use random::Seed;
pub use settings::{Chance, Discipline, Order, Queue, Settings};
pub use spread::{DelayTable, Shape, Spread, TableError};
pub use timeline::{Timeline, TimelineError, TimelinePlayer};
pub use trace::{Trace, TraceError};
pub use units::{BurstLength, Noise, Octets, Percent, Quantity, Rate, ValueError};
