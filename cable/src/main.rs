//! `vdecable`: asks a node, shows the answer, says by its exit code how it went: 0 done, 1 failed,
//! 2 wrong usage, 3 no node running.

mod cli;
mod commands;
mod plug;
mod wire;

use std::io;
use std::process::ExitCode;

use clap::Parser as _;
use control::transport::AskError;

fn main() -> ExitCode {
    // Not `Cli::parse`: its exit code for help would be the same, but not for a closed pipe.
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => {
            let _ = err.print();
            return if err.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let json = cli.json;
    match commands::run(cli) {
        Ok(outcome) => outcome,
        Err(err) => {
            let (code, failure) = describe(&err);
            if json {
                commands::show_json_failure(&failure);
            } else {
                eprintln!("vdecable: {}: {}", failure.what, failure.why);
                if !failure.fix.is_empty() {
                    eprintln!("  → {}", failure.fix);
                }
            }
            ExitCode::from(code)
        }
    }
}

fn describe(err: &anyhow::Error) -> (u8, control::Failure) {
    match err.downcast_ref::<AskError>() {
        Some(AskError::Refused(failure)) => (1, failure.clone()),
        Some(AskError::NotRunning { path, source }) => {
            let fix = match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    format!("run as the user who started the node ({path} is closed to you)")
                }
                _ => "start vdenode, or name the right one with --node or --control".to_owned(),
            };
            (3, control::Failure::new("no node answers", format!("{path}: {source}"), fix))
        }
        Some(AskError::Broken { path, source }) => (1, broken(path, source)),
        None => (1, control::Failure::new("failed", format!("{err:#}"), "")),
    }
}

fn broken(path: &str, source: &io::Error) -> control::Failure {
    let what = "the node stopped answering";
    match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => control::Failure::new(
            what,
            format!("{path}: no answer for ten seconds"),
            "the node is stopped or overloaded; look at its log",
        ),
        _ => control::Failure::new(
            what,
            format!("{path}: {source}"),
            "the node ended, or that is not the control socket of a node",
        ),
    }
}
