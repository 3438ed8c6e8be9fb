//! Unix sockets in the file system: bound in the place of a dead process's, closed to others before
//! anyone can connect, removed at the end.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;

use crate::config::SocketAccess;

/// Clients that may wait to be accepted. More are told to try again by connect(2).
const BACKLOG: i32 = 128;

/// The file of a bound socket. Dropping it removes the file, unless another has its name by now.
#[derive(Debug)]
pub(crate) struct SocketPath {
    path: PathBuf,
    /// Device and inode number.
    file: Option<(u64, u64)>,
}

/// A listening socket; its file goes when it is dropped.
#[derive(Debug)]
pub(crate) struct LocalSocket {
    /// Also of sequenced packets: accepting is the same.
    pub(crate) listener: UnixListener,
    path: SocketPath,
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
        let (socket, path) = bind(path, kind, access, flag)?;
        // Nobody can connect before it listens, and then its mode is what it shall be.
        let listen = || {
            rustix::net::listen(&socket, BACKLOG)?;
            UnixListener::from_std(StdListener::from(socket))
        };
        let listener = listen().with_context(|| cannot_bind(&path.path, flag))?;
        Ok(Self { listener, path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path.path
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        if self.file.is_some() && identity(&self.path) == self.file {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Binds a socket of any kind and closes it to all but those who shall have access.
///
/// A datagram socket can be sent to between its binding and the setting of its mode, by those whom
/// the umask of this process lets: so that is closed for the moment.
pub(crate) fn bind(
    path: &Path,
    kind: SocketType,
    access: SocketAccess,
    flag: &str,
) -> anyhow::Result<(OwnedFd, SocketPath)> {
    make_way(path, kind, flag)?;
    let cannot = || cannot_bind(path, flag);
    let socket = bound(path, kind).with_context(cannot)?;
    let at = SocketPath { path: path.to_owned(), file: identity(path) };
    close_to_others(path, access).with_context(cannot)?;
    Ok((socket, at))
}

fn cannot_bind(path: &Path, flag: &str) -> String {
    format!("cannot make the socket {}; choose another with {flag}", path.display())
}

fn bound(path: &Path, kind: SocketType) -> io::Result<OwnedFd> {
    let socket = unnamed(kind)?;
    let address = SocketAddrUnix::new(path)?;
    // Its mode, as of any file, is at first what the socket's own is (unix(7)).
    rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(0o600))?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

fn unnamed(kind: SocketType) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)?)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn close_to_others(path: &Path, access: SocketAccess) -> io::Result<()> {
    if access.group.is_some() {
        std::os::unix::fs::chown(path, None, access.group)?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(access.mode))
}

/// Makes way for a new socket at `path`: removes the one of a dead process. `flag` is what the
/// user can change.
fn make_way(path: &Path, kind: SocketType, flag: &str) -> anyhow::Result<()> {
    let shown = path.display();
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err).with_context(|| format!("cannot look at {shown}")),
    };
    if !metadata.file_type().is_socket() {
        bail!("{shown} exists and is not a socket; remove it or choose another {flag}");
    }
    let probe = unnamed(kind)?;
    match rustix::net::connect(&probe, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path)
            .with_context(|| format!("cannot remove the socket {shown} of a dead process")),
        Ok(()) => {
            let holder = rustix::net::sockopt::socket_peercred(&probe).ok();
            let pid = holder.map_or(0, |peer| peer.pid.as_raw_nonzero().get());
            bail!("process {pid} already answers on {shown}; stop it, or choose another {flag}")
        }
        // Somebody has it for another kind of socket, for one peer only, or has too much to do.
        Err(Errno::PROTOTYPE | Errno::PERM | Errno::AGAIN) => {
            bail!("a process already answers on {shown}; stop it, or choose another {flag}")
        }
        Err(err) => Err(err).with_context(|| format!("cannot tell who holds {shown}")),
    }
}
