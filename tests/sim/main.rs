//! Ring 2: worlds of many nodes, each the real bridge and the real mesh, under one seed and one
//! clock. Everything that can happen to a mesh happens; what must never happen never does, and when
//! it has been quiet for a while, all is well. `tests/README.md` lists the rules.

mod cables;
mod dice;
mod faults;
mod frame;
mod node;
mod notary;
mod plan;
mod quiet;
mod scenes;
mod seeds;
mod shapes;
mod share;
mod small;
mod stations;
mod watch;
mod world;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = scenes::trials().into_iter().chain(seeds::trials()).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
