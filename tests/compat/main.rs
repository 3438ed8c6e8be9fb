//! Ring 3: programs that the project did not write, and byte dialogues, against a node without
//! any privilege.

mod dialogue;
mod lifecycle;
mod plugs;
mod refusals;
mod switch;

use std::process::ExitCode;

use lab::{Ring, Suite};

fn main() -> ExitCode {
    let suite = Suite::new(Ring::Compat);
    switch::trials(refusals::trials(lifecycle::trials(dialogue::trials(plugs::trials(suite)))))
        .run()
}
