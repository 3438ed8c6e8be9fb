//! Unix stream sockets in the file system: bound in the place of a dead process's, closed to others
//! before anyone can connect, removed at the end.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;

/// Clients that may wait to be accepted. More are told to try again by connect(2).
const BACKLOG: i32 = 128;

/// A listening socket; its file goes when it is dropped.
#[derive(Debug)]
pub(crate) struct LocalSocket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
}

impl LocalSocket {
    /// Binds. `flag` is what the user can change when that fails.
    pub(crate) fn bind(
        path: &Path,
        mode: u32,
        group: Option<u32>,
        flag: &str,
    ) -> anyhow::Result<Self> {
        make_way(path, flag)?;
        let shown = path.display();
        let cannot = || format!("cannot make the socket {shown}; choose another with {flag}");
        let socket = bound(path).with_context(cannot)?;
        let remove_again = |err: anyhow::Error| {
            let _ = std::fs::remove_file(path);
            err
        };
        // Nobody can connect before it listens, and then its mode is what it shall be.
        let listener = close_to_others(path, mode, group)
            .and_then(|()| Ok(rustix::net::listen(&socket, BACKLOG)?))
            .and_then(|()| UnixListener::from_std(StdListener::from(socket)))
            .with_context(cannot)
            .map_err(remove_again)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn bound(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn close_to_others(path: &Path, mode: u32, group: Option<u32>) -> io::Result<()> {
    if group.is_some() {
        std::os::unix::fs::chown(path, None, group)?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Makes way for a new socket at `path`: removes the one of a dead process. `flag` is what the
/// user can change.
fn make_way(path: &Path, flag: &str) -> anyhow::Result<()> {
    let shown = path.display();
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err).with_context(|| format!("cannot look at {shown}")),
    };
    if !metadata.file_type().is_socket() {
        bail!("{shown} exists and is not a socket; remove it or choose another {flag}");
    }
    match UnixStream::connect(path) {
        Ok(stream) => {
            let holder = rustix::net::sockopt::socket_peercred(&stream).ok();
            let pid = holder.map_or(0, |peer| peer.pid.as_raw_nonzero().get());
            bail!("process {pid} already answers on {shown}; stop it, or choose another {flag}")
        }
        Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .with_context(|| format!("cannot remove the socket {shown} of a dead process")),
        Err(err) => Err(err).with_context(|| format!("cannot tell who holds {shown}")),
    }
}
