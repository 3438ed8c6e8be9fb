//! `vde_switch`.

use std::process::ExitCode;

fn main() -> ExitCode {
    node::vde_switch::main()
}
