//! `wirefilter`.

use std::process::ExitCode;

fn main() -> ExitCode {
    wirefilter::program::main()
}
