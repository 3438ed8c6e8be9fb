//! Sockets whose process is gone: how they are recognised and removed.
//!
//! Nothing is removed by its name alone. A stream socket must refuse a connection, a datagram
//! socket must refuse too, and a client's process must have ended.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Pid;
use tokio::net::UnixStream;

use super::file::is_socket;

/// What answers on a stream socket.
#[derive(Debug)]
pub(crate) enum StreamProbe {
    /// Nothing has the name.
    Absent,
    /// The socket file is there, its process is not.
    Refused,
    /// Somebody listens; the connection, unless the backlog was full.
    Answered(Option<UnixStream>),
    /// Something that is no stream socket has the name.
    Other,
}

/// Tries to connect to the stream socket at `path`, without waiting.
///
/// # Errors
/// What connect(2) says, for instance that this user may not connect.
pub(crate) fn probe_stream(path: &Path) -> io::Result<StreamProbe> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) => {
            let stream = UnixStream::from_std(socket.into())?;
            Ok(StreamProbe::Answered(Some(stream)))
        }
        Err(Errno::AGAIN) => Ok(StreamProbe::Answered(None)),
        // A file that is no socket refuses as well.
        Err(Errno::CONNREFUSED) if is_socket(path) => Ok(StreamProbe::Refused),
        Err(Errno::CONNREFUSED | Errno::PROTOTYPE) => Ok(StreamProbe::Other),
        Err(Errno::NOENT) => Ok(StreamProbe::Absent),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes the data sockets in `directory` that nobody holds any more.
pub(super) fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let gone = match Name::parse(&entry.file_name()) {
            Some(Name::Client(pid)) => !is_alive(pid),
            Some(Name::Switch) => true,
            Some(Name::Control) | None => false,
        };
        if gone && is_socket(&path) && is_deserted(&path) {
            match fs::remove_file(&path) {
                Ok(()) => tracing::debug!(path = %path.display(), "left-over socket removed"),
                Err(err) => {
                    tracing::debug!(path = %path.display(), %err, "left-over socket stays");
                }
            }
        }
    }
}

/// Whether a switch or its client gives its sockets such a name.
pub(super) fn is_switch_name(name: &OsStr) -> bool {
    Name::parse(name).is_some()
}

/// The names in a switch's directory, ours and those of VDE.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    /// `ctl`.
    Control,
    /// `plug.N` (ours), `PPP.N` (`vde_switch`), `fdN` (libvdeplug 4 serving a hub).
    Switch,
    /// `.PID-N`.
    Client(i32),
}

impl Name {
    fn parse(name: &OsStr) -> Option<Self> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let name = name.to_str()?;
        if name == super::CONTROL_NAME {
            return Some(Self::Control);
        }
        if let Some((pid, number)) = name.strip_prefix('.').and_then(|rest| rest.split_once('-')) {
            return (digits(pid) && digits(number)).then(|| pid.parse().ok().map(Self::Client))?;
        }
        let switch = match name.split_once('.') {
            Some((port, number)) => (port == "plug" || digits(port)) && digits(number),
            None => name.strip_prefix("fd").is_some_and(digits),
        };
        switch.then_some(Self::Switch)
    }
}

fn is_alive(pid: i32) -> bool {
    // A process that may not be signalled exists all the same.
    Pid::from_raw(pid)
        .is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(Errno::SRCH))
}

/// Whether no process has the datagram socket at `path` open. A socket that is connected
/// elsewhere answers with another error than refusal.
fn is_deserted(path: &Path) -> bool {
    let probe = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)
    };
    probe() == Err(Errno::CONNREFUSED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_switch_and_clients_are_recognised() {
        let parse = |name: &str| Name::parse(OsStr::new(name));
        assert_eq!(parse("ctl"), Some(Name::Control));
        assert_eq!(parse(".00042-00003"), Some(Name::Client(42)));
        for name in ["plug.1", "plug.999999999", "001.7", "fd5"] {
            assert_eq!(parse(name), Some(Name::Switch), "{name}");
        }
        for name in
            ["", ".", ".42", ".x-1", ".1-", ".99999999999-1", "12", "plug.", "a.1", "fd", "notes"]
        {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
