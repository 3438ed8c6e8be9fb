//! `--daemon`: the program starts itself again as a daemon, waits until that one is ready, and ends.
//! A second program rather than a fork, because a process with threads cannot fork safely. The
//! pipes of the link, which are descriptors of this process, are inherited.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use rustix::pipe::PipeFlags;

use crate::sys::inherited;

/// Tells the second program that it is the daemon, and the descriptor on which to say that it is
/// ready.
const MARK: &str = "WIREFILTER_READY_DESCRIPTOR";

const READY: &[u8] = b"ready\n";

/// The system's log (RFC 3164, local form).
const SYSLOG: &str = "/dev/log";

/// Set when the terminal has been left: messages go to the system's log from then on.
static LEFT: AtomicBool = AtomicBool::new(false);

/// Whether this process is the daemon.
pub(crate) fn is_daemon() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Says something to the user: on standard error, and in the system's log once the terminal has
/// been left.
pub(crate) fn tell(text: &str) {
    if !LEFT.load(Ordering::Relaxed) {
        eprintln!("wirefilter: {text}");
        return;
    }
    // Facility daemon (3), severity notice (5). A log that cannot be reached is no reason to stop.
    let line = format!("<{}>wirefilter[{}]: {text}", 3 * 8 + 5, std::process::id());
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.send_to(line.as_bytes(), SYSLOG);
    }
}

/// Starts the daemon; ends with its result once it is ready or has failed. `pipes`: the link is on
/// standard input and output, which the daemon keeps.
pub(crate) fn start(pipes: bool) -> ExitCode {
    match start_and_wait(pipes) {
        Ok(code) => code,
        Err(err) => {
            eprintln!("wirefilter: cannot become a daemon: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_and_wait(pipes: bool) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("this program's file is unknown")?;
    let (read, write) =
        rustix::pipe::pipe_with(PipeFlags::empty()).context("cannot make a pipe")?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(MARK, write.as_raw_fd().to_string());
    if !pipes {
        command.stdin(Stdio::null()).stdout(Stdio::null());
    }
    let mut child = command.spawn().context("the second program does not start")?;
    drop(write);
    let mut said = vec![0; READY.len()];
    if File::from(read).read_exact(&mut said).is_ok() && said == READY {
        return Ok(ExitCode::SUCCESS);
    }
    // It has said why on the standard error that it shares.
    let status = child.wait().context("the daemon's end cannot be waited for")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code.max(1)))
}

/// Leaves session, directory and terminal, and tells the waiting program that all is in place.
pub(crate) fn leave_terminal() -> anyhow::Result<()> {
    let ready = std::env::var(MARK).ok().and_then(|number| number.parse().ok());
    let ready = ready.context("this daemon does not know who waits for it")?;
    let ready = inherited(ready).context("nobody waits for this daemon")?;
    // Refused to the leader of a process group, which then has what it needs already.
    let _ = rustix::process::setsid();
    std::env::set_current_dir("/").context("cannot leave the directory")?;
    let null = File::options().write(true).open("/dev/null").context("cannot open /dev/null")?;
    LEFT.store(true, Ordering::Relaxed);
    let told = File::from(ready).write_all(READY);
    told.context("nobody waits for this daemon")?;
    rustix::stdio::dup2_stderr(&null).map_err(io::Error::from).context("cannot leave the terminal")
}
