//! `vdecable`: asks a node, shows the answer, says by its exit code how it went: 0 done, 1 failed,
//! 2 wrong usage, 3 no node running.

mod cli;
mod commands;
mod ping;
mod plug;
mod wire;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use control::path::Surroundings;
use control::transport::AskError;

fn main() -> ExitCode {
    // Not `Cli::parse`: its exit code for help would be the same, but not for a closed pipe.
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) if err.use_stderr() => {
            // The flags were not understood; the wish for JSON is.
            if std::env::args_os().skip(1).take_while(|w| w != "--").any(|w| w == "--json") {
                commands::show_json_failure(&usage_failure(&err));
            } else {
                let _ = err.print();
            }
            return ExitCode::from(2);
        }
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
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

/// What clap has to say of a command line, in the three parts of a failure.
fn usage_failure(err: &clap::Error) -> control::Failure {
    let text = err.render().to_string();
    let (why, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
    let why = match err.kind() {
        // In its place clap shows the whole help.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "no command is given".to_owned(),
        _ => why.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" "),
    };
    let tip = rest.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let fix =
        tip.unwrap_or("vdecable --help lists the commands, vdecable COMMAND --help its flags");
    control::Failure::new("the command line was not understood", why, fix)
}

fn describe(err: &anyhow::Error) -> (u8, control::Failure) {
    match err.downcast_ref::<AskError>() {
        Some(AskError::Refused(failure)) => (1, failure.clone()),
        Some(AskError::NotRunning { path, source }) => {
            let fix = match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    format!(
                        "run as the user who started the node ({path} is closed to you), or have it started with --view-group or --control-group"
                    )
                }
                _ => match &nodes_beside(Path::new(path))[..] {
                    [] => {
                        "start vdenode, or name the right one with --node or --control".to_owned()
                    }
                    others => format!(
                        "start vdenode, or name the right one; these answer: {}",
                        others.join(", ")
                    ),
                },
            };
            (3, control::Failure::new("no node answers", format!("{path}: {source}"), fix))
        }
        Some(AskError::Ended { path }) => {
            let fix = "start it again, and follow its events again";
            (3, control::Failure::new("the node has ended", path, fix))
        }
        Some(AskError::Broken { path, source }) => (1, broken(path, source)),
        None => (1, control::Failure::new("failed", format!("{err:#}"), "")),
    }
}

/// The nodes that answer at control sockets beside one, as the flags that name them.
fn nodes_beside(path: &Path) -> Vec<String> {
    /// As many as one looks through.
    const MOST: usize = 8;
    let Some(directory) = path.parent() else { return Vec::new() };
    let surroundings = Surroundings::of_this_process(rustix::process::geteuid().is_root());
    let sockets = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut sockets: Vec<PathBuf> = sockets.map(|entry| entry.path()).collect();
    sockets.retain(|socket| {
        socket.extension().is_some_and(|ext| ext == "ctl")
            && match UnixStream::connect(socket) {
                Ok(_) => true,
                Err(err) => err.kind() == io::ErrorKind::PermissionDenied,
            }
    });
    sockets.sort();
    let flags = sockets.into_iter().map(|socket| {
        let name = socket.file_stem().and_then(|name| name.to_str());
        match name.filter(|name| surroundings.control(name).as_ref() == Some(&socket)) {
            Some(name) => format!("--node {name}"),
            None => format!("--control {}", socket.display()),
        }
    });
    flags.take(MOST).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn failure_of(words: &[&str]) -> control::Failure {
        let words = std::iter::once("vdecable").chain(words.iter().copied());
        usage_failure(&cli::Cli::try_parse_from(words).unwrap_err())
    }

    #[test]
    fn a_wrong_command_line_is_told_in_the_parts_of_a_failure() {
        let unknown = failure_of(&["statu", "--json"]);
        assert_eq!(unknown.why, "unrecognized subcommand 'statu'");
        assert!(unknown.fix.contains("'status'"), "{unknown:?}");
        let value = failure_of(&["macs", "--vlan", "5000"]);
        assert!(value.why.contains("5000") && value.why.contains("4094"), "{value:?}");
        let missing = failure_of(&["trust"]);
        assert!(missing.why.contains("<KEY>"), "{missing:?}");
        assert_eq!(failure_of(&[]).why, "no command is given");
    }
}
