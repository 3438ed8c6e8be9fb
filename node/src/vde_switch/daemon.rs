//! `--daemon`: the program starts itself again as a daemon, waits until that one is ready, and ends.
//! A second program rather than a fork, because a process with threads cannot fork safely.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Tells the second program that it is the daemon.
const MARK: &str = "VDE_SWITCH_IS_DAEMON";

/// What the daemon says on its standard output when all is in place.
const READY: &[u8] = b"ready\n";

/// The system's log (RFC 3164, local form).
const SYSLOG: &str = "/dev/log";

/// Set when the terminal has been left: the log goes to the system's from then on.
static LEFT: AtomicBool = AtomicBool::new(false);

/// Whether this process is the daemon.
pub(super) fn is_daemon() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Starts the daemon; ends with its result once it is ready or has failed.
pub(super) fn start() -> ExitCode {
    match start_and_wait() {
        Ok(code) => code,
        Err(err) => {
            eprintln!("vde_switch: cannot become a daemon: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_and_wait() -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("this program's file is unknown")?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("the second program does not start")?;
    let mut said = Vec::new();
    if let Some(mut output) = child.stdout.take() {
        output.read_to_end(&mut said).context("the daemon cannot be heard")?;
    }
    if said == READY {
        return Ok(ExitCode::SUCCESS);
    }
    // It has said why on the standard error that it shares.
    let status = child.wait().context("the daemon's end cannot be waited for")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code.max(1)))
}

/// Leaves session, directory and terminal, and tells the waiting program that all is in place.
pub(super) fn leave_terminal() -> anyhow::Result<()> {
    // Refused to the leader of a process group, which then has what it needs already.
    let _ = rustix::process::setsid();
    std::env::set_current_dir("/").context("cannot leave the directory")?;
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .context("cannot open /dev/null")?;
    LEFT.store(true, Ordering::Relaxed);
    let mut out = io::stdout();
    out.write_all(READY).and_then(|()| out.flush()).context("nobody waits for this daemon")?;
    rustix::stdio::dup2_stderr(&null).context("cannot leave standard error")?;
    rustix::stdio::dup2_stdout(&null).context("cannot leave standard output")
}

/// Logs to standard error, and to the system's log once the terminal has been left.
pub(super) fn start_log() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,quinn=warn,quinn_proto=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Log)
        .with_ansi(io::stderr().is_terminal() && !is_daemon())
        .with_target(false)
        .init();
}

struct Log;

impl<'a> MakeWriter<'a> for Log {
    type Writer = Box<dyn io::Write>;

    fn make_writer(&'a self) -> Self::Writer {
        if LEFT.load(Ordering::Relaxed) { Box::new(Syslog) } else { Box::new(io::stderr()) }
    }
}

/// One line, one datagram. A log that cannot be reached is no reason to stop switching.
struct Syslog;

impl io::Write for Syslog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Facility daemon (3), severity notice (5).
        let head = format!("<{}>vde_switch[{}]: ", 3 * 8 + 5, std::process::id());
        let text = [head.as_bytes(), line.trim_ascii_end()].concat();
        if let Ok(socket) = UnixDatagram::unbound() {
            let _ = socket.send_to(&text, SYSLOG);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
