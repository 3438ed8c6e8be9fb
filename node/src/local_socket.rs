//! Unix sockets in the file system: bound in the place of a dead process's, closed to others before
//! anyone can connect, removed at the end. How that is done safely is `vdeplug`'s.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::UnixListener;
use vdeplug::path::{Holder, Ownership, Probe, SocketFile, probe};

use crate::config::SocketAccess;

/// Clients that may wait to be accepted. More are told to try again by connect(2).
const BACKLOG: i32 = 128;

/// A listening socket; its file goes when it is dropped.
#[derive(Debug)]
pub(crate) struct LocalSocket {
    /// Also of sequenced packets: accepting is the same.
    pub(crate) listener: UnixListener,
    file: SocketFile,
}

impl LocalSocket {
    /// Binds a socket of streams. `flag` is what the user can change when that fails.
    pub(crate) fn bind(path: &Path, access: SocketAccess, flag: &str) -> anyhow::Result<Self> {
        Self::bind_kind(path, SocketType::STREAM, access, flag)
    }

    /// Binds a socket of streams or sequenced packets.
    pub(crate) fn bind_kind(
        path: &Path,
        kind: SocketType,
        access: SocketAccess,
        flag: &str,
    ) -> anyhow::Result<Self> {
        let (socket, file) = bind(path, kind, access, flag)?;
        // Nobody can connect before it listens, and then its mode is what it shall be.
        let listen = || {
            rustix::net::listen(&socket, BACKLOG)?;
            UnixListener::from_std(StdListener::from(socket))
        };
        let listener = listen().with_context(|| cannot_bind(path, flag))?;
        Ok(Self { listener, file })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }
}

/// Binds a socket of any kind and closes it to all but those who shall have access.
pub(crate) fn bind(
    path: &Path,
    kind: SocketType,
    access: SocketAccess,
    flag: &str,
) -> anyhow::Result<(OwnedFd, SocketFile)> {
    make_way(path, kind, flag)?;
    let bound = || -> io::Result<_> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)?;
        // The file's mode is at first what the socket's own is (unix(7)). Otherwise a datagram socket
        // could be sent to between its binding and the setting of its mode.
        rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(0o600))?;
        let file = SocketFile::bind(socket.as_fd(), path.to_owned())?;
        let SocketAccess { mode, group } = access;
        file.admit(Ownership { owner: None, group, mode })?;
        Ok((socket, file))
    };
    bound().with_context(|| cannot_bind(path, flag))
}

fn cannot_bind(path: &Path, flag: &str) -> String {
    format!("cannot make the socket {}; choose another with {flag}", path.display())
}

/// Makes way for a new socket at `path`: removes the one of a dead process. `flag` is what the
/// user can change.
fn make_way(path: &Path, kind: SocketType, flag: &str) -> anyhow::Result<()> {
    let shown = path.display();
    match probe(path, kind).with_context(|| format!("cannot tell who holds {shown}"))? {
        Probe::Absent if std::fs::symlink_metadata(path).is_ok() => {
            bail!("{shown} is a link that leads nowhere; remove it or choose another {flag}")
        }
        Probe::Absent => Ok(()),
        Probe::Deserted => std::fs::remove_file(path)
            .with_context(|| format!("cannot remove the socket {shown} of a dead process")),
        Probe::Answered(connection) => bail!(
            "{} already answers on {shown}; stop it, or choose another {flag}",
            Holder::at(connection.as_ref())
        ),
        Probe::Other => bail!(
            "{shown} exists and is no such socket, or another program's; remove it or choose another {flag}"
        ),
    }
}
