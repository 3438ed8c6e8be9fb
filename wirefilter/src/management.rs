//! The management socket: a console for each client.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;
use tokio::sync::Semaphore;

use crate::VERSION;
use crate::console_io::{self, End};
use crate::driver::Shared;
use crate::session::Session;

/// Sessions at once. More wait until one ends.
const SESSIONS: usize = 32;

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 15;

/// How long the socket is left alone when the system has no descriptor for a client.
const PAUSE: Duration = Duration::from_millis(100);

/// A bound management socket; its file goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Management {
    listener: UnixListener,
    path: PathBuf,
}

impl Management {
    /// Binds in the place of a dead process's socket.
    pub(crate) fn bind(path: &Path, mode: u32) -> anyhow::Result<Self> {
        let path = std::path::absolute(path).context("the path of --mgmt is no path")?;
        make_way(&path)?;
        let listener = listen(&path, mode).with_context(|| {
            format!("cannot make the socket {}; choose another with --mgmt", path.display())
        })?;
        Ok(Self { listener, path })
    }

    /// Serves clients for as long as it is polled, on the present local task set.
    pub(crate) async fn serve(&self, shared: &Rc<Shared>) {
        let places = Arc::new(Semaphore::new(SESSIONS));
        loop {
            let place = places.clone().acquire_owned().await.expect("it is never closed");
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let shared = shared.clone();
            tokio::task::spawn_local(async move {
                let (read, write) = stream.into_split();
                let session = Session::management(VERSION);
                if console_io::run(&shared, session, read, write).await == End::Shutdown {
                    shared.shutdown.notify_one();
                }
                drop(place);
            });
        }
    }
}

impl Drop for Management {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    // Nobody can connect before it listens, and then its mode is what it shall be.
    let listener = fs::set_permissions(path, Permissions::from_mode(mode))
        .and_then(|()| Ok(rustix::net::listen(&socket, BACKLOG)?))
        .and_then(|()| UnixListener::from_std(socket.into()));
    if listener.is_err() {
        let _ = fs::remove_file(path);
    }
    listener
}

/// Removes the socket of a dead process.
fn make_way(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err).with_context(|| format!("cannot look at {shown}")),
    };
    if !metadata.file_type().is_socket() {
        bail!("{shown} exists and is not a socket; remove it or choose another --mgmt");
    }
    match UnixStream::connect(path) {
        Ok(_) => bail!("another process answers on {shown}; stop it, or choose another --mgmt"),
        Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .with_context(|| format!("cannot remove the socket {shown} of a dead process")),
        Err(err) => Err(err).with_context(|| format!("cannot tell who holds {shown}")),
    }
}
