//! The built program: in pipes, under dpipe, between switches, on its console, and beside VDE's
//! own. What needs a foreign program that is not installed counts as ignored.
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod beside;
mod console;
mod lab;
mod pipes;
mod switches;

use std::path::Path;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let trials = [pipes::TRIALS, console::TRIALS, switches::TRIALS, beside::TRIALS].concat();
    let trials = trials.into_iter().map(|(name, programs, run)| {
        let missing = programs.iter().find(|program| !is_installed(program));
        if let Some(missing) = missing {
            eprintln!("{name}: ignored, {missing} is not installed");
        }
        let run = move || {
            run();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(missing.is_some())
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

/// A name, the foreign programs it needs, what it does.
type Row = (&'static str, &'static [&'static str], fn());

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Path::new(program).is_file()
        || std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}
