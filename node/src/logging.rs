//! Where the log goes and how much of it.
//!
//! error: a person must act · warn: wrong, and we go on · info: rare changes that an operator wants
//! to know · debug: why a decision was made · trace: each frame.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Logs to standard error from now on. `RUST_LOG` outranks the flags.
pub(crate) fn start(verbose: u8) {
    let default = match verbose {
        0 => "info,quinn=warn,quinn_proto=warn,quinn_udp=error",
        1 => "debug,quinn=warn,quinn_proto=warn,quinn_udp=error",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// An error and its causes on one line, each text once: a cause that is part of the text before it
/// is not repeated.
pub(crate) fn in_one_line(err: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in err.chain().map(ToString::to_string) {
        if line.contains(&cause) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&cause);
    }
    line
}
