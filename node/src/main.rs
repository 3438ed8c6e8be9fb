//! `vdenode`.

use std::process::ExitCode;

fn main() -> ExitCode {
    node::vdenode::main()
}
