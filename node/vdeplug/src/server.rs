//! The switch's side of the dialogue: from a connection on the control socket to a plug.
//!
//! The dialogue has four steps, each a value that is used up by the next one, so that the caller
//! decides between them: [`Server::accept`] → [`Handshake::read_request`] → look at the
//! [`crate::Request`] and who sent it → [`Pending::accept`] or [`Pending::refuse`]. Run the second step
//! of each client in its own task: it may take up to [`REQUEST_DEADLINE`].

mod handshake;
mod reach;

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::UnixListener;

pub(crate) use handshake::data_socket;
pub use handshake::{Handshake, Pending};
pub use reach::LOOKUP_DEADLINE;
use reach::Lookups;

use crate::path::{
    Access, BindError, CONTROL_NAME, Directory, Holder, Modes, Ownership, Probe, SocketFile, probe,
    resolve_group,
};
use crate::plug::PeerCredentials;

/// How long a client may take for its request. Real ones send it in the same breath as they
/// connect; five seconds leave room for one that is stopped or swapped out, and bound how long a
/// silent one costs a descriptor.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(5);

/// How long to wait for more of a request that is complete but may have a description to follow:
/// the description has no length of its own. Only a client that sent none, or sent in pieces,
/// waits at all.
pub const DESCRIPTION_GRACE: Duration = Duration::from_millis(20);

/// The pause of [`Server::accept`] when the process has no descriptor left. The waiting
/// connection stays ready, so an immediate next try would spin.
pub const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Connections that may wait for [`Server::accept`]: a host's VMs all starting at once. Later
/// ones are told to try again by connect(2).
const BACKLOG: i32 = 128;

/// What a switch wants of its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where the sockets live. Made when missing (but not its parents), and then removed at the
    /// end.
    pub directory: PathBuf,
    /// Mode of the sockets; see [`Modes::resolve`]. Default: derived, 0600.
    pub mode: Option<u32>,
    /// Mode of the directory; see [`Modes::resolve`]. Default: derived, 02700.
    pub directory_mode: Option<u32>,
    /// Group of directory and sockets, by name or number. Default: what the system gives.
    pub group: Option<String>,
    /// Octets that may wait on the way to one plug, counted with the kernel's overhead of
    /// about 800 octets a frame; the kernel doubles the number. Since both ends are connected to
    /// each other nothing else limits the queue. When full, sends would block.
    ///
    /// Default 1 MiB: 900 full-size frames, 3 ms at the pace of a busy switch. Less drops bursts
    /// of TCP, more only adds delay.
    pub send_buffer: usize,
}

impl ServerConfig {
    /// A switch in `directory`, everything else default.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            mode: None,
            directory_mode: None,
            group: None,
            send_buffer: crate::plug::DEFAULT_SEND_BUFFER,
        }
    }
}

/// A switch's control socket. When dropped, no more clients are let in; the directory goes away
/// with the last plug.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    _control: SocketFile,
    site: Arc<Site>,
}

/// What the server and its plugs share.
#[derive(Debug)]
pub(crate) struct Site {
    directory: Directory,
    access: Access,
    send_buffer: usize,
    next_number: AtomicU32,
    lookups: Lookups,
}

impl Server {
    /// Makes the directory, cleans up after a dead switch, and listens. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(config: ServerConfig) -> Result<Self, BindError> {
        let group = config.group.as_deref().map(resolve_group).transpose()?;
        let access = Access {
            modes: Modes::resolve(config.mode, config.directory_mode),
            group,
            explicit: config.mode.is_some() || config.directory_mode.is_some() || group.is_some(),
        };
        let mut directory = Directory::prepare(&config.directory, access)?;
        let path = directory.path().join(CONTROL_NAME);
        if clear_stale(&directory, &path)? == Stale::Removed {
            directory.inherit();
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|errno| BindError::from_errno("make a socket for", &path, errno))?;
        let control = SocketFile::bind(socket.as_fd(), path.clone())
            .map_err(|error| BindError::io("bind", &path, error))?;
        // Nobody can connect before the mode is set: the socket does not listen yet.
        let ownership = Ownership { owner: None, group, mode: access.modes.socket };
        control.admit(ownership).map_err(|error| match group {
            Some(group) => BindError::group(group, &path, error),
            None => BindError::io("set the mode of", &path, error),
        })?;
        rustix::net::listen(&socket, BACKLOG)
            .map_err(|errno| BindError::from_errno("listen on", &path, errno))?;
        let listener = UnixListener::from_std(socket.into())
            .map_err(|error| BindError::io("watch", &path, error))?;
        directory.sweep();
        directory.unlock();
        let send_buffer = config.send_buffer;
        let (next_number, lookups) = (AtomicU32::new(0), Lookups::default());
        let site = Site { directory, access, send_buffer, next_number, lookups };
        Ok(Self { listener, _control: control, site: Arc::new(site) })
    }

    /// The directory, as an absolute path.
    pub fn directory(&self) -> &Path {
        self.site.directory.path()
    }

    /// Waits for a client to connect. Cancel safe.
    ///
    /// # Errors
    /// What accept(2) says; the server stays usable. When the process or the host has no
    /// descriptor or memory left, the error comes after [`EXHAUSTED_PAUSE`].
    pub async fn accept(&self) -> io::Result<Handshake> {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let peer = PeerCredentials::of(&stream)?;
                    return Ok(Handshake { stream, peer, site: Arc::clone(&self.site) });
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
                    if exhausted.iter().any(|e| Some(e.raw_os_error()) == error.raw_os_error()) {
                        tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    }
                    return Err(error);
                }
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Stale {
    Nothing,
    Removed,
}

/// Makes way for the control socket, unless somebody answers there.
fn clear_stale(directory: &Directory, path: &Path) -> Result<Stale, BindError> {
    let found = probe(path, SocketType::STREAM);
    match found.map_err(|error| BindError::io("connect to", path, error))? {
        Probe::Absent => Ok(Stale::Nothing),
        Probe::Deserted => {
            std::fs::remove_file(path)
                .map_err(|error| BindError::io("remove the left-over socket", path, error))?;
            tracing::debug!(path = %path.display(), "control socket of a dead switch removed");
            Ok(Stale::Removed)
        }
        Probe::Answered(socket) => Err(BindError::Taken {
            directory: directory.path().to_owned(),
            holder: Holder::at(socket.as_ref()),
        }),
        Probe::Other => Err(BindError::NotAControlSocket { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
