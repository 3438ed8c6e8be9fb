//! Sockets whose process is gone: how they are recognised and removed.
//!
//! Nothing is removed by its name alone. A stream socket must refuse a connection, a datagram
//! socket must refuse too, and a client's process must have ended.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Pid;

use super::file::is_socket;

/// Who answers at the path of a socket.
#[derive(Debug)]
pub enum Probe {
    /// Nothing has the name.
    Absent,
    /// The socket file is there, its process is not.
    Deserted,
    /// Somebody does; the connection, when one could be had at once.
    Answered(Option<OwnedFd>),
    /// Something that is no socket of that kind has the name.
    Other,
}

/// Tries to connect to the socket of that kind at `path`, without waiting.
///
/// # Errors
/// What connect(2) says, for instance that this user may not connect.
pub fn probe(path: &Path, kind: SocketType) -> io::Result<Probe> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) => Ok(Probe::Answered(Some(socket))),
        // It has too much to do, or is for one peer only.
        Err(Errno::AGAIN | Errno::PERM) => Ok(Probe::Answered(None)),
        // A file that is no socket refuses as well.
        Err(Errno::CONNREFUSED) if is_socket(path) => Ok(Probe::Deserted),
        Err(Errno::CONNREFUSED | Errno::PROTOTYPE) => Ok(Probe::Other),
        Err(Errno::NOENT) => Ok(Probe::Absent),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes the data sockets in `directory` that nobody holds any more.
pub(super) fn sweep(directory: &Path) {
    clear(directory, |name, path| {
        let gone = match name {
            Name::Client(pid) => !is_alive(pid),
            Name::Switch => true,
            Name::Control => false,
        };
        gone && is_deserted(path)
    });
}

/// Removes every data socket in `directory`, also those of clients that live: their switch is gone.
/// One that was in the midst of its request still has a socket here.
pub(super) fn sweep_all(directory: &Path) {
    clear(directory, |name, _| name != Name::Control);
}

fn clear(directory: &Path, is_gone: impl Fn(Name, &Path) -> bool) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let Some(name) = Name::parse(&entry.file_name()) else { continue };
        if is_socket(&path) && is_gone(name, &path) {
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

/// Whether no process has the datagram socket at `path` open.
fn is_deserted(path: &Path) -> bool {
    matches!(probe(path, SocketType::DGRAM), Ok(Probe::Deserted))
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
