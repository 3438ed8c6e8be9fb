//! What `vde_switch` says and understands: its command line, its management console, its scripts.
//!
//! Pure: no socket, no file, no clock, no user database. A program feeds octets into a [`Session`],
//! executes the [`SwitchCommand`]s that come out, and answers each with a [`Reply`] filled from the
//! plain structs in [`view`]. Sources: the answers of `vde_switch` 2.3.2 recorded in `tests/golden`,
//! `getopt_long_only(3)`. Where this console departs from the recording, the item says so and
//! `tests/golden/README.md` lists it.
//!
//! | I want… | Open |
//! |---|---|
//! | what the command line asks for | [`arguments`] |
//! | what a line of the console asks for | [`command`] |
//! | an answer, with its code | [`reply`] |
//! | the text of a port, a VLAN, an address | [`view`] |
//! | lines cut out of a stream, scripts, the prompt | [`session`] |
//! | asynchronous lines and who wants them | [`event`] |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod arguments;
pub mod command;
pub mod errno;
pub mod event;
mod number;
pub mod reply;
pub mod session;
pub mod view;

pub use arguments::{ArgumentError, Invocation, SwitchArguments};
pub use command::{Account, Command, ConsoleCommand, Refusal, SwitchCommand};
pub use errno::Errno;
pub use event::{Event, Subscriptions};
pub use reply::Reply;
pub use session::{Complaint, Session, Step};
