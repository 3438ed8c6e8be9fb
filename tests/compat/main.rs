//! Ring 3: programs that the project did not write, and byte dialogues, against a node without
//! any privilege.

mod abuse;
mod clients;
mod console;
mod dialogue;
mod lifecycle;
mod nixos;
mod plugs;
mod refusals;
mod ring;
mod sockets;
mod switch;
mod tools;
mod views;
mod wire;

use std::process::ExitCode;

use lab::{Ring, Suite};

fn main() -> ExitCode {
    let suite = Suite::new(Ring::Compat);
    let areas = [
        plugs::trials,
        clients::trials,
        dialogue::trials,
        lifecycle::trials,
        refusals::trials,
        switch::trials,
        sockets::trials,
        console::trials,
        nixos::trials,
        tools::trials,
        wire::trials,
        ring::trials,
        abuse::trials,
        views::trials,
    ];
    areas.into_iter().fold(suite, |suite, trials| trials(suite)).run()
}
