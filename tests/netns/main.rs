//! Ring 4: nodes in network namespaces, with taps and cables between them. Nothing here measures
//! speed; what must arrive arrives, and what must come back comes back.

mod cable;
mod faults;
mod hosts;
mod users;
mod wire;

use std::process::ExitCode;

use lab::{Ring, Suite};

fn main() -> ExitCode {
    let suite = Suite::new(Ring::Netns).needs(&["ip", "nft", "ping", "sh"]);
    wire::trials(users::trials(faults::trials(cable::trials(suite)))).run()
}
