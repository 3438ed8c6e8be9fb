//! The management socket: a console for each client.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use console::Session;
use tokio::net::UnixListener;
use tokio::sync::{Notify, Semaphore};

use super::VERSION;
use super::console_io::{Consoles, End};
use crate::{accounts, stale};

/// Sessions at once. More wait until one ends.
const SESSIONS: usize = 32;

/// How long the socket is left alone when the system has no descriptor for a client.
const PAUSE: Duration = Duration::from_millis(100);

/// A bound management socket, or none; its file goes when it is dropped.
#[derive(Debug)]
pub(super) enum Management {
    None,
    At { listener: UnixListener, path: PathBuf },
}

impl Management {
    /// Binds in the place of a dead switch's socket.
    pub(super) fn bind(path: &Path, mode: u32, group: Option<&str>) -> anyhow::Result<Self> {
        let shown = path.display();
        let group = group
            .map(|name| {
                accounts::group_number(name).with_context(|| format!("No such group '{name}'"))
            })
            .transpose()?;
        stale::make_way(path, "--mgmt")?;
        let listener = UnixListener::bind(path).with_context(|| {
            format!("cannot make the management socket {shown}; choose another with --mgmt")
        })?;
        let management = Self::At { listener, path: path.to_owned() };
        std::fs::set_permissions(path, Permissions::from_mode(mode))
            .with_context(|| format!("cannot set the mode of {shown}"))?;
        if group.is_some() {
            std::os::unix::fs::chown(path, None, group)
                .with_context(|| format!("cannot give {shown} to that group"))?;
        }
        Ok(management)
    }

    /// Serves clients until one of them shuts the switch down.
    pub(super) async fn serve(&self, consoles: &Consoles) {
        let Self::At { listener, .. } = self else {
            return std::future::pending().await;
        };
        let places = Arc::new(Semaphore::new(SESSIONS));
        let shutdown = Arc::new(Notify::new());
        loop {
            let accepted = async {
                let place = places.clone().acquire_owned().await.ok()?;
                let (stream, _) = listener.accept().await.ok()?;
                Some((place, stream))
            };
            let accepted = tokio::select! {
                () = shutdown.notified() => return,
                accepted = accepted => accepted,
            };
            let Some((place, stream)) = accepted else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let (consoles, shutdown) = (consoles.clone(), shutdown.clone());
            tokio::spawn(async move {
                let (read, write) = stream.into_split();
                let session = Session::management(VERSION);
                if consoles.run(session, read, write).await == End::Shutdown {
                    shutdown.notify_one();
                }
                drop(place);
            });
        }
    }
}

impl Drop for Management {
    fn drop(&mut self) {
        if let Self::At { path, .. } = self {
            let _ = std::fs::remove_file(path);
        }
    }
}
